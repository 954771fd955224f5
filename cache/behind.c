#include "cache/behind.h"

#include <poll.h>

#include "cache/fetch_int.h"
#include "client/clock.h"

enum { LOOK_MS = 20 };

/* False: there is no room among the flights just now; f waits on. */
static bool start(struct catalog *c, struct fetch *f, struct entry **trash)
{
	struct entry_time t = catalog_time(c);
	struct entry *entry = f->entry;

	/* Somebody has asked meanwhile, or nobody can find it any more. */
	if (entry->dead || entry->fetch || entry_read(entry, &t) == ENTRY_USE) {
		entry->behind = false;
		fetch_drop(f, trash);
		return true;
	}
	if (fetch_launch(f, CALL_PREFETCH, NULL))
		return false;
	entry->behind = false;
	c->behind.running++;
	return true;
}

static void run(struct catalog *c, struct entry **trash)
{
	struct behind_queue *q = &c->behind;

	while (q->first && !q->held && q->running < BEHIND_AT_ONCE && !c->stopped) {
		struct fetch *f = q->first;

		q->first = f->next;
		if (!q->first)
			q->last = &q->first;
		if (!start(c, f, trash)) {
			f->next = q->first;
			if (!q->first)
				q->last = &f->next;
			q->first = f;
			return;
		}
		q->waiting--;
	}
}

/* ---- until it is quiet ---- */

static bool is_over(struct catalog *c)
{
	const struct behind_queue *q = &c->behind;
	int64_t now = clock_mono(), quiet = c->conf.behind_quiet;
	bool over;

	catalog_lock(c);
	over = now - q->added_at >= quiet || now - q->held_at >= BEHIND_HELD_MAX * quiet;
	catalog_unlock(c);
	return over;
}

static int hold_run(void *job, struct call *call, void **result, struct err *e)
{
	struct catalog *c = job;

	(void)e;
	*result = NULL;
	while (!call_check(call) && !is_over(c))
		(void)poll(NULL, 0, LOOK_MS);
	return 0;
}

static void hold_end(void *job)
{
	struct entry *trash = NULL;
	struct catalog *c = job;

	catalog_lock(c);
	c->behind.held = false;
	run(c, &trash);
	catalog_unlock(c);
	entry_trash_free(trash);
}

static void *nothing_ref(void *job, void *result)
{
	(void)job;
	return result;
}

static void nothing_unref(void *job, void *result)
{
	(void)job;
	(void)result;
}

static const struct flight_ops hold_ops = {
	.run = hold_run,
	.free_job = hold_end,
	.ref = nothing_ref,
	.unref = nothing_unref,
};

/* Where that is not possible they go at once. */
static void hold(struct catalog *c)
{
	struct behind_queue *q = &c->behind;
	struct flight *flight;

	q->added_at = clock_mono();
	if (!c->conf.behind_quiet || q->held || q->running || q->waiting > 1)
		return;
	q->held_at = q->added_at;
	q->held = !flight_start(c->flights, &hold_ops, c, "a moment of quiet", CALL_PREFETCH,
				&flight, NULL);
}

/* ---- the queue ---- */

void behind_add(struct catalog *c, const struct want *w, struct entry *entry, struct entry **trash)
{
	struct behind_queue *q = &c->behind;
	struct fetch *f;

	if (entry->behind || entry->fetch || c->stopped || q->waiting >= BEHIND_MAX)
		return;
	f = fetch_new(c, w, entry);
	if (!f)
		return;
	f->behind = true;
	entry->behind = true;
	*q->last = f;
	q->last = &f->next;
	q->waiting++;
	hold(c);
	run(c, trash);
}

void behind_ended(struct catalog *c, bool behind, struct entry **trash)
{
	c->behind.running -= behind;
	run(c, trash);
}

void behind_clear(struct catalog *c, struct entry **trash)
{
	struct behind_queue *q = &c->behind;

	while (q->first) {
		struct fetch *f = q->first;

		q->first = f->next;
		fetch_drop(f, trash);
	}
	q->last = &q->first;
	q->waiting = 0;
}
