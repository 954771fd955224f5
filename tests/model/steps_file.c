/* steps_file - opening, writing and cutting files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/steps.h"

static int new_fd(struct model *m)
{
	for (int i = 0; i < MODEL_FDS; i++)
		if (!m->fds[i].open)
			return i;
	return -EMFILE;
}

bool step_for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* ---- open ---- */

static int check_open(const struct place *p, int flags)
{
	const char *name;
	int rc;

	tree_parent(p->view, p->rel, &name, &rc);
	if (rc)
		return rc;
	if (!p->t)
		return flags & O_CREAT ? 0 : -ENOENT;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	switch (p->t->kind) {
	case TREE_DIR:
		return -EISDIR;
	case TREE_LINK:
		return -ELOOP;
	case TREE_DERIVED:
		return step_for_writing(flags) && !p->v->glowing ? -EROFS : 0;
	default:
		return 0;
	}
}

static bool is_published(struct mversion *v, const char *rel)
{
	struct tree *files = model_files(v);
	bool found = tree_at(files, rel);

	tree_free(files);
	return found;
}

/* The bytes that a descriptor writes to; borrowed. */
static struct bytes *bytes_at(struct place *p)
{
	struct medit *edit = p->asset ? model_edit(p->v, p->rel) : NULL;
	int rc;

	if (edit)
		return edit->bytes;
	if (p->t && p->t->kind == TREE_DERIVED) {
		p->t->bytes = bytes_new("", 0); /* taken, and dropped */
		return p->t->bytes;
	}
	if (!p->asset || tree_at(p->v->local, p->rel))
		return tree_open(place_tree(p), p->rel, true, false, &rc)->bytes;
	edit = model_edit_begin(p->v, p->rel,
				p->t ? bytes_new(p->t->bytes->data, p->t->bytes->len)
				     : bytes_new("", 0));
	edit->fresh = !p->t && !is_published(p->v, p->rel);
	return edit->bytes;
}

int step_open(struct model *m, int proc, const char *path, int flags)
{
	char real[TREE_PATH];
	struct medit *edit;
	struct place p;
	struct mfd *f;
	int expected, got, at = new_fd(m);

	if (at < 0)
		return at;
	f = &m->fds[at];
	place_at(m, path, &p);
	expected = check_open(&p, flags);
	got = m->b->ops->open(m->b, proc, step_path(m, path, real), flags | O_NOFOLLOW, 0644);
	step_expect(m, "open", path, got < 0 ? got : 0, expected);
	if (!expected && got >= 0 && !p.v && !p.t)
		model_draft_touched(p.env, p.rel);
	if (!expected && got >= 0) {
		*f = (struct mfd){.open = true, .fd = got, .proc = proc, .flags = flags};
		f->bytes = bytes_ref(bytes_at(&p));
		edit = p.asset ? model_edit(p.v, p.rel) : NULL;
		if (flags & O_TRUNC) {
			/* What is left counts for nothing until something is written. */
			if (edit) {
				edit->cut = true;
				edit->stamped = false;
			}
			bytes_resize(f->bytes, 0);
		}
		f->counted = edit && step_for_writing(flags);
		if (edit) {
			edit->writers += f->counted;
			edit->old = false;
		}
	}
	place_clear(&p);
	return expected ? expected : at;
}

/* ---- write ---- */

/* A file beside a definition, under the name of a part of it. */
struct aside {
	const struct bytes *bytes;
	struct mversion *v; /* NULL: it is none */
	char rel[TREE_PATH];
	struct mversion *looked_at;
};

static void look_for(void *arg, const char *path, struct tree *t)
{
	struct aside *a = arg;

	if (t->bytes != a->bytes || !model_is_asset(path))
		return;
	a->v = a->looked_at;
	path_print(a->rel, "%s", path);
}

static void find_aside(struct model *m, struct aside *a)
{
	for (size_t i = 0; i < MODEL_ENVS && !a->v; i++)
		FOR_EACH_DIR(&m->envs[i], v)
		{
			a->looked_at = v;
			tree_each(v->local, look_for, a);
		}
}

/* It is edited from now on, by all who have it open for writing. */
static struct medit *edit_aside(struct model *m, const struct aside *a)
{
	struct medit *edit = model_edit_begin(a->v, a->rel, bytes_ref((struct bytes *)a->bytes));

	tree_unlink(a->v->local, a->rel);
	for (int i = 0; i < MODEL_FDS; i++) {
		struct mfd *f = &m->fds[i];

		if (f->open && f->bytes == a->bytes && step_for_writing(f->flags) && !f->counted) {
			f->counted = true;
			edit->writers++;
		}
	}
	return edit;
}

void step_wrote(struct model *m, struct bytes *bytes)
{
	struct menv *env;
	struct mversion *v;
	struct medit *edit = model_edit_of(m, bytes, &env, &v);
	struct aside a = {.bytes = bytes};
	struct draft_place at;

	if (model_draft_of(m, bytes, &at))
		model_draft_touched(at.env, at.draft);
	if (!edit)
		find_aside(m, &a);
	if (a.v)
		edit = edit_aside(m, &a);
	if (edit) {
		edit->dirty = true;
		edit->killed = false;
		edit->stamped = false;
		edit->old = false;
	}
}

int step_write(struct model *m, int fd, const void *data, size_t len, size_t off)
{
	struct mfd *f = &m->fds[fd];

	if (f->flags & O_APPEND)
		off = f->bytes->len;
	if (len) {
		bytes_write(f->bytes, data, len, off);
		step_wrote(m, f->bytes);
		f->wrote = true;
	}
	step_expect(m, "write", "", m->b->ops->pwrite(m->b, f->fd, data, len, (off_t)off),
		    (long)len);
	return 0;
}

int step_ftruncate(struct model *m, int fd, size_t size)
{
	struct mfd *f = &m->fds[fd];

	if (f->bytes->len != size) {
		step_wrote(m, f->bytes);
		f->wrote = true;
	}
	bytes_resize(f->bytes, size);
	step_expect(m, "ftruncate", "", m->b->ops->ftruncate(m->b, f->fd, (off_t)size), 0);
	return 0;
}

/* By name: nobody closes it, so nothing is saved, and it comes to nothing when nothing follows. */
int step_truncate(struct model *m, int proc, const char *path, size_t size)
{
	char real[TREE_PATH];
	struct medit *edit;
	struct bytes *bytes;
	struct place p;
	int got;

	place_at(m, path, &p);
	if (!p.t || p.t->kind != TREE_FILE) {
		place_clear(&p);
		return -ENOENT;
	}
	bytes = bytes_at(&p);
	edit = p.asset ? model_edit(p.v, p.rel) : NULL;
	if (edit) {
		edit->old = false;
		edit->cut = true;
		edit->stamped = false;
	}
	bytes_resize(bytes, size);
	if (!p.v)
		model_draft_touched(p.env, p.rel);
	got = m->b->ops->truncate(m->b, proc, step_path(m, path, real), (off_t)size);
	step_expect(m, "truncate", path, got, 0);
	place_clear(&p);
	return got;
}
