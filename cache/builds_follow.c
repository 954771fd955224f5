/* The thread that follows builds for as long as somebody is interested. */
#include <errno.h>
#include <stdlib.h>

#include "cache/builds_int.h"
#include "client/cleanup.h"
#include "client/log.h"

/* What one round is about: references. */
struct followed {
	struct build_entry *entry;
	bool dropped; /* nobody wants it any more: its place in the list is given back */
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

/* Takes the answer, or leaves it to others when there is none yet after that time. */
static void end_poll(struct build_entry *e, int64_t patience)
{
	struct err err = ERR_INIT;
	struct call call;
	int rc;

	if (!e->polled)
		return;
	call_init(&call, clock_mono() + patience, CALL_INTERACTIVE);
	rc = builds_ask_end(steal_ptr(&e->polled), &call, &err);
	call_destroy(&call);
	if (rc && rc != -ECANCELED)
		log_debug("op=follow env=%s version=%s msg=\"%s\"", e->of->env, e->of->version,
			  err_text(&err, rc));
	err_clear(&err);
}

/*
 * Asks what is due of one; *next is brought forward to when there is something to do again. An
 * answer is taken in a later round: one that takes long must not keep the others waiting.
 */
static void follow(struct build_entry *e, int64_t *next)
{
	int64_t now = clock_mono(), due = now + builds_paces(e->builds, PACES_IDLE);
	bool ask;

	if (e->polled && !builds_ask_runs(e, e->polled))
		end_poll(e, e->builds->conf.request_deadline);
	if (build_entry_sync(e))
		build_entry_changed(e);
	pthread_mutex_lock(&e->lock);
	ask = build_entry_is_open(e) && !e->polled && e->next <= now;
	if (build_entry_is_open(e))
		due = ask || e->polled ? now + e->builds->conf.pace : e->next;
	pthread_mutex_unlock(&e->lock);
	if (ask)
		(void)builds_ask_begin(e, JOB_POLL, 0, &e->polled, NULL);
	if (build_entry_may_look(e))
		builds_ask_ahead(e, JOB_LOOK);
	if (due < *next)
		*next = due;
}

/* One round; when the next one is due. Without locks. */
static int64_t follow_all(struct builds *b, const struct round *r)
{
	int64_t next = clock_mono() + builds_paces(b, PACES_IDLE);

	for (size_t i = 0; i < r->n; i++) {
		if (r->items[i].dropped)
			end_poll(r->items[i].entry, 0);
		else
			follow(r->items[i].entry, &next);
		build_entry_put(r->items[i].entry);
	}
	return next;
}

static void *follow_main(void *arg)
{
	struct round r = {0};
	struct builds *b = arg;
	struct build_entry *left;
	struct timespec ts;
	int64_t next;

	pthread_mutex_lock(&b->lock);
	while (!b->stopping) {
		if (!b->active) {
			pthread_cond_wait(&b->wake, &b->lock);
			continue;
		}
		b->activated = false;
		take_active(b, &r, clock_mono());
		pthread_mutex_unlock(&b->lock);
		next = follow_all(b, &r);
		ts = clock_timespec(next);
		pthread_mutex_lock(&b->lock);
		if (b->active && !b->activated && !b->stopping)
			pthread_cond_timedwait(&b->wake, &b->lock, &ts);
	}
	/* Others put new ones before these only. */
	left = b->active;
	pthread_mutex_unlock(&b->lock);
	for (; left; left = left->next_active)
		end_poll(left, 0);
	free(r.items);
	return NULL;
}

int builds_start_following(struct builds *b)
{
	int rc = pthread_create(&b->thread, NULL, follow_main, b);

	b->started = rc == 0;
	return -rc;
}
