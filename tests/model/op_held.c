/* op_held - files that a process keeps open while other things happen. */
#include <fcntl.h>

#include "tests/model/dances.h"

enum { TEXT_MAX = 1 << 16 };

/* Its process may have ended meanwhile. */
static struct hold *hold_of(struct model *m, int slot)
{
	struct hold *h = &m->holds[slot % MODEL_HOLDS];

	h->held = h->held && m->fds[h->fd].open;
	return h;
}

/* slot, how, env, directory, file, process */
void op_hold(struct model *m, const int *args)
{
	static const int flags[] = {O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC,
				    O_WRONLY | O_APPEND, O_RDWR};
	struct hold *h = hold_of(m, args[0]);
	char path[TREE_PATH];

	if (h->held || !op_path(m, args[2], args[3], args[4], path))
		return;
	h->fd = step_open(m, args[5], path, flags[args[1] % 4]);
	h->held = h->fd >= 0;
	for (int i = 0; i < 3; i++)
		h->args[i] = args[i + 2];
}

/* slot, kind, image, tag */
void op_hold_write(struct model *m, const int *args)
{
	const struct hold *h = hold_of(m, args[0]);
	const int about[] = {h->args[0], h->args[1], h->args[2], args[1], args[2], args[3], 0};
	struct buf text = BUF_INIT(TEXT_MAX);

	if (!h->held)
		return;
	op_make_text(m, &text, about);
	step_write(m, h->fd, buf_str(&text), text.len, 0);
	buf_free(&text);
}

void op_hold_cut(struct model *m, const int *args)
{
	const struct hold *h = hold_of(m, args[0]);

	if (h->held)
		step_ftruncate(m, h->fd, (size_t)args[1] * 8);
}

void op_hold_sync(struct model *m, const int *args)
{
	const struct hold *h = hold_of(m, args[0]);

	if (h->held)
		step_fsync(m, h->fd);
}

/* slot, how */
void op_hold_close(struct model *m, const int *args)
{
	struct hold *h = hold_of(m, args[0]);

	if (h->held)
		step_close(m, h->fd, (enum step_close)(args[1] % CLOSES));
	h->held = false;
}
