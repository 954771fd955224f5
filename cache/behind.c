#include "cache/behind.h"

#include "cache/fetch_int.h"

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

	while (q->first && q->running < BEHIND_AT_ONCE && !c->stopped) {
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
