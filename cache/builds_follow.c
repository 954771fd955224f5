/* The thread that follows builds for as long as somebody is interested. */
#include <errno.h>
#include <stdlib.h>

#include "cache/builds_int.h"
#include "client/log.h"

/* What one round is about: references, and what is asked about each. */
struct followed {
	struct build_entry *entry;
	struct flight *flight; /* NULL: nothing is asked */
	bool dropped;          /* nobody wants it any more: its place in the list is given back */
};

struct round {
	struct followed *items;
	size_t n;
	size_t cap;
};

/* Takes those out that nobody wants any more, and all others with references. Locked. */
static void take_active(struct builds *b, struct round *r, int64_t now)
{
	struct build_entry **at = &b->active, *e;

	r->n = 0;
	if (b->n_active > r->cap) {
		struct followed *items = realloc(r->items, 2 * b->n_active * sizeof(*items));

		if (items) {
			r->items = items;
			r->cap = 2 * b->n_active;
		}
	}
	while ((e = *at) && r->n < r->cap) {
		bool wanted = e->watchers || e->wanted_until > now;

		r->items[r->n++] = (struct followed){.entry = e, .dropped = !wanted};
		if (wanted) {
			e->refs++;
			at = &e->next_active;
		} else {
			*at = e->next_active;
			e->active = false;
			b->n_active--;
		}
	}
}

/* Asks what is due of one; *next is brought forward to when there is something to do again. */
static void follow(struct followed *f, int64_t *next)
{
	struct build_entry *e = f->entry;
	int64_t now = clock_mono(), due = now + builds_paces(e->builds, PACES_IDLE);
	bool ask;

	if (build_entry_sync(e))
		build_entry_changed(e);
	pthread_mutex_lock(&e->lock);
	ask = build_entry_is_open(e) && e->next <= now;
	if (build_entry_is_open(e))
		due = ask ? now + e->builds->conf.pace : e->next;
	pthread_mutex_unlock(&e->lock);
	if (ask && builds_ask_begin(e, JOB_POLL, 0, &f->flight, NULL))
		f->flight = NULL;
	if (build_entry_may_look(e))
		builds_ask_ahead(e, JOB_LOOK);
	if (due < *next)
		*next = due;
}

/* One round; when the next one is due. Without locks. */
static int64_t follow_all(struct builds *b, struct round *r)
{
	int64_t next = clock_mono() + builds_paces(b, PACES_IDLE);
	struct err e = ERR_INIT;
	struct call call;

	for (size_t i = 0; i < r->n; i++)
		if (!r->items[i].dropped)
			follow(&r->items[i], &next);
	call_init(&call, clock_mono() + b->conf.request_deadline, CALL_INTERACTIVE);
	for (size_t i = 0; i < r->n; i++) {
		struct followed *f = &r->items[i];
		int rc = f->flight ? builds_ask_end(f->flight, &call, &e) : 0;

		if (rc && rc != -ECANCELED)
			log_debug("op=follow env=%s version=%s msg=\"%s\"", f->entry->of->env,
				  f->entry->of->version, err_text(&e, rc));
		err_clear(&e);
	}
	call_destroy(&call);
	for (size_t i = 0; i < r->n; i++)
		build_entry_put(r->items[i].entry);
	return next;
}

static void *follow_main(void *arg)
{
	struct round r = {0};
	struct builds *b = arg;
	struct timespec ts;
	int64_t next;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping) {
		if (!b->active) {
			pthread_cond_wait(&b->wake, &b->lock);
			continue;
		}
		take_active(b, &r, clock_mono());
		pthread_mutex_unlock(&b->lock);
		next = follow_all(b, &r);
		ts = clock_timespec(next);
		pthread_mutex_lock(&b->lock);
		if (b->active && !b->stopping)
			pthread_cond_timedwait(&b->wake, &b->lock, &ts);
	}
	pthread_mutex_unlock(&b->lock);
	free(r.items);
	return NULL;
}

int builds_start_following(struct builds *b)
{
	int rc = pthread_create(&b->thread, NULL, follow_main, b);

	b->started = rc == 0;
	return -rc;
}
