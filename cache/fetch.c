#include "cache/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/behind.h"
#include "cache/fetch_int.h"
#include "cache/recall.h"
#include "client/clock.h"
#include "client/log.h"

enum { GIVEN_WAY_MAX = 8 }; /* prefetches that one reader finds to have given way */

int fetch_stopped(struct err *e)
{
	return err_set(e, -ECANCELED, "the file system is being unmounted");
}

/* ---- making and freeing ---- */

static void fetch_free(struct fetch *f)
{
	const struct entry_type *type = &f->want.kind->type;

	if (f->before)
		type->unref(f->before);
	if (f->after)
		type->unref(f->after);
	buf_free(&f->want.key);
	scope_unref(f->want.scope);
	version_unref(f->want.version);
	context_unref(f->want.context);
	free(f->env);
	free(f);
}

struct fetch *fetch_new(struct catalog *c, const struct want *w, struct entry *entry)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->catalog = c;
	f->want = *w;
	f->want.key = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	f->want.scope = scope_ref(w->scope);
	f->want.version = version_ref(w->version);
	f->want.context = context_ref(w->context);
	f->env = w->env ? strdup(w->env) : NULL;
	f->want.env = f->env;
	if ((w->env && !f->env) || buf_add(&f->want.key, w->key.data, w->key.len)) {
		fetch_free(f);
		return NULL;
	}
	f->entry = entry_ref(entry);
	return f;
}

void fetch_drop(struct fetch *f, struct entry **trash)
{
	entry_put(f->entry, trash);
	fetch_free(f);
}

static void job_free(void *job)
{
	struct fetch *f = job;
	struct entry *trash = NULL;

	catalog_lock(f->catalog);
	entry_put(f->entry, &trash);
	behind_ended(f->catalog, f->behind, &trash);
	catalog_unlock(f->catalog);
	entry_trash_free(trash);
	fetch_free(f);
}

static void *job_ref(void *job, void *result)
{
	return ((struct fetch *)job)->want.kind->type.ref(result);
}

static void job_unref(void *job, void *result)
{
	((struct fetch *)job)->want.kind->type.unref(result);
}

/* ---- on the worker ---- */

static void fetch_begin(struct fetch *f)
{
	catalog_lock(f->catalog);
	f->started = true;
	f->asked = f->catalog->epoch;
	f->catalog->stats.flights++;
	catalog_unlock(f->catalog);
}

/* Locked. Nobody can join any more. */
static void fetch_end(struct fetch *f)
{
	if (f->entry->fetch == f)
		f->entry->fetch = NULL;
}

/*
 * Takes the lock, and says whether answer equals the snapshot that is there then (which goes to
 * *old as a reference). Comparing is slow, so it happens before; hence the loop.
 */
static bool lock_compared(struct fetch *f, const void *answer, void **old)
{
	const struct entry_type *type = &f->want.kind->type;
	bool same = false;

	*old = NULL;
	catalog_lock(f->catalog);
	while (f->entry->snapshot != *old) {
		void *previous = *old;

		*old = f->entry->snapshot ? type->ref(f->entry->snapshot) : NULL;
		catalog_unlock(f->catalog);
		if (previous)
			type->unref(previous);
		same = *old && type->equal && type->equal(*old, answer);
		catalog_lock(f->catalog);
	}
	return same;
}

static void log_recovered(const struct want *w)
{
	char what[WANT_TEXT_MAX];

	w->kind->describe(w, what, sizeof(what));
	log_info("cache: the service answers again for %s", what);
}

/* Puts the answer (taken) into the entry; what waiters get goes to *result. */
static void fetch_keep(struct fetch *f, void *answer, void **result)
{
	const struct fetch_kind *kind = f->want.kind;
	struct catalog *c = f->catalog;
	struct entry_time t;
	struct entry *trash = NULL;
	void *old, *replaced;
	bool same = lock_compared(f, answer, &old), failing, stored;

	*result = kind->type.ref(same ? old : answer);
	t = catalog_time(c);
	failing = entry_error_is_failure(f->entry->error);
	stored = entry_store(f->entry, f->asked, *result, &t, &replaced);
	failing = failing && !f->entry->error;
	if (stored && !same && kind->stored)
		kind->stored(c, &f->want, f->entry, *result, &trash);
	/* In the order in which entries change: a change that is made here must not be overtaken.
	 */
	if (stored)
		recall_keep(c, &f->want, *result, same, f->asked >= entry_floor(f->entry, &t));
	c->away = 0;
	fetch_end(f);
	catalog_unlock(c);

	if (replaced) {
		f->before = replaced;
		f->after = kind->type.ref(*result);
	}
	if (failing)
		log_recovered(&f->want);
	if (old)
		kind->type.unref(old);
	kind->type.unref(answer);
	entry_trash_free(trash);
}

static void log_failed(const struct want *w, int rc, const struct err *e, bool has_old)
{
	char what[WANT_TEXT_MAX];

	w->kind->describe(w, what, sizeof(what));
	log_warn("cache: can't get %s%s: %s", what, has_old ? " (using what was there before)" : "",
		 err_text(e, rc));
}

/* Locked. What is told on the status page; that something isn't there is an answer, no failure. */
static void count_failure(struct catalog *c, int rc, const struct err *e)
{
	if (rc == -ECANCELED || rc == -ENOENT || rc == -EAGAIN)
		return;
	c->stats.errors++;
	c->stats.last_error_at = clock_wall();
	snprintf(c->stats.last_error, sizeof(c->stats.last_error), "%s", err_text(e, rc));
}

/* Locked. Whether the service is there at all is known from every answer. */
static void note_away(struct catalog *c, uint64_t asked, int rc)
{
	if (rc == -EHOSTUNREACH || rc == -ETIMEDOUT)
		c->away = asked > c->away ? asked : c->away;
	else if (rc == -ENOENT || rc == -EACCES)
		c->away = 0;
}

static void fetch_failed(struct fetch *f, int rc, const struct err *e)
{
	const struct fetch_kind *kind = f->want.kind;
	struct catalog *c = f->catalog;
	bool was_failing, failing, has_old;
	struct entry *trash = NULL;
	struct entry_time t;

	catalog_lock(c);
	t = catalog_time(c);
	was_failing = entry_error_is_failure(f->entry->error);
	failing = entry_fail(f->entry, f->asked, rc, err_text(e, rc), &t, &f->before) &&
		  entry_error_is_failure(rc);
	has_old = f->entry->snapshot;
	if (f->before && kind->stored)
		kind->stored(c, &f->want, f->entry, NULL, &trash);
	if (f->ahead && rc != -ENOENT && rc != -EAGAIN && kind->ahead_failed)
		kind->ahead_failed(c, &f->want);
	count_failure(c, rc, e);
	note_away(c, f->asked, rc);
	if (rc == -ENOENT)
		recall_drop(c, &f->want);
	fetch_end(f);
	catalog_unlock(c);

	if (failing && !was_failing)
		log_failed(&f->want, rc, e, has_old);
	entry_trash_free(trash);
}

/* ---- from the disk ---- */

/* Locked. Whether nothing is known of it and the disk was not asked yet; it is now. */
static bool recall_begin(struct fetch *f)
{
	struct entry *entry = f->entry;
	bool first = !entry->recalled && !entry->snapshot && !entry->dead;

	entry->recalled = true;
	return first;
}

/* What the disk has is the answer: true, and waiters get it. */
static bool job_recall(struct fetch *f, void **result)
{
	const struct fetch_kind *kind = f->want.kind;
	struct catalog *c = f->catalog;
	struct recalled found = {0};
	struct entry *trash = NULL;
	enum entry_verdict verdict = ENTRY_ASK;
	struct entry_time t;
	bool first;

	if (!c->conf.store)
		return false;
	catalog_lock(c);
	first = recall_begin(f);
	catalog_unlock(c);
	if (!first || recall_get(c, &f->want, &found))
		return false;
	catalog_lock(c);
	t = catalog_time(c);
	if (!f->entry->snapshot && !f->entry->dead) {
		entry_recall(f->entry, found.snapshot, t.now - found.age, found.doubtful);
		if (kind->type.forever && kind->stored)
			kind->stored(c, &f->want, f->entry, found.snapshot, &trash);
		verdict = entry_read(f->entry, &t);
		c->stats.recalled++;
	}
	if (verdict == ENTRY_USE || verdict == ENTRY_USE_BEHIND) {
		*result = kind->type.ref(found.snapshot);
		c->stats.remembered += verdict == ENTRY_USE_BEHIND;
		fetch_end(f);
		if (verdict == ENTRY_USE_BEHIND)
			behind_add(c, &f->want, f->entry, &trash);
	}
	catalog_unlock(c);
	entry_trash_free(trash);
	kind->type.unref(found.snapshot);
	return *result != NULL;
}

static int job_run(void *job, struct call *call, void **result, struct err *e)
{
	struct fetch *f = job;
	void *answer = NULL;
	int rc = call_check(call);

	if (rc) {
		catalog_lock(f->catalog);
		fetch_end(f);
		catalog_unlock(f->catalog);
		return err_set(e, rc, "nobody waits for it any more");
	}
	if (job_recall(f, result))
		return 0;
	fetch_begin(f);
	rc = f->want.kind->ask(f->catalog, &f->want, call, &answer, e);
	if (rc)
		fetch_failed(f, rc, e);
	else
		fetch_keep(f, answer, result);
	return rc;
}

static void job_after(void *job)
{
	struct fetch *f = job;

	if (f->before && f->want.kind->changed && f->catalog->conf.changed)
		f->want.kind->changed(f->catalog, &f->want, f->before, f->after);
}

static const struct flight_ops fetch_ops = {
	.run = job_run,
	.after = job_after,
	.free_job = job_free,
	.ref = job_ref,
	.unref = job_unref,
};

/* ---- for the reader (locked, but for the waiting) ---- */

/* An answer that was asked for before the last change can't become fresh: don't wait for it. */
static bool fetch_is_current(const struct catalog *c, const struct entry *entry)
{
	struct entry_time t = catalog_time(c);
	const struct fetch *f = entry->fetch;

	return f && (!f->started || f->asked >= entry_floor(entry, &t));
}

int fetch_launch(struct fetch *f, enum call_prio prio, struct err *e)
{
	char what[WANT_TEXT_MAX];
	int rc;

	f->want.kind->describe(&f->want, what, sizeof(what));
	rc = flight_start(f->catalog->flights, &fetch_ops, f, what, prio, &f->flight, e);
	if (!rc)
		f->entry->fetch = f;
	return rc;
}

static int fetch_start(struct catalog *c, const struct want *w, struct entry *entry,
		       enum call_prio prio, struct flight **out, struct err *e)
{
	struct fetch *f = fetch_new(c, w, entry);
	struct entry *none = NULL;
	int rc;

	if (!f)
		return err_set(e, -ENOMEM, "no memory to ask for something");
	f->ahead = prio == CALL_PREFETCH;
	rc = fetch_launch(f, prio, e);
	if (rc)
		fetch_drop(f, &none); /* the entry is the map's, too */
	else
		*out = f->flight;
	return rc;
}

/* How urgent it is for a reader who has to wait. */
static enum call_prio fetch_prio(struct catalog *c, const struct want *w, const struct call *call)
{
	bool many = callers_count(&c->callers, call->who, catalog_time(c).now);

	return many || (w->kind->walks && w->kind->walks(c, w)) ? CALL_BULK : CALL_INTERACTIVE;
}

static int fetch_join(struct catalog *c, const struct want *w, struct entry *entry,
		      const struct call *call, struct flight **out, struct err *e)
{
	enum call_prio prio = fetch_prio(c, w, call);

	if (fetch_is_current(c, entry) && flight_join(entry->fetch->flight, prio)) {
		c->stats.joined++;
		*out = entry->fetch->flight;
		return 0;
	}
	c->stats.bulk += prio == CALL_BULK;
	return fetch_start(c, w, entry, prio, out, e);
}

void fetch_ahead(struct catalog *c, const struct want *w, struct entry **trash)
{
	struct entry_time t = catalog_time(c);
	struct flight *flight;
	struct entry *entry;

	if (w->kind->find(c, w, &entry, trash) || entry_read(entry, &t) != ENTRY_ASK)
		return;
	if (!fetch_is_current(c, entry) && !fetch_start(c, w, entry, CALL_PREFETCH, &flight, NULL))
		c->stats.prefetched++;
}

/* Answers from the entry, or joins a flight: then *flight is set. */
static int fetch_decide(struct catalog *c, const struct want *w, struct entry *entry,
			const struct call *call, struct flight **flight, void **out,
			struct entry **trash, struct err *e)
{
	struct entry_time t = catalog_time(c);

	switch (entry_read(entry, &t)) {
	case ENTRY_USE_BEHIND:
		*(entry->remembered ? &c->stats.remembered : &c->stats.stale) += 1;
		*out = entry->type->ref(entry->snapshot);
		behind_add(c, w, entry, trash);
		return 0;
	case ENTRY_USE_STALE:
		c->stats.stale++;
		*out = entry->type->ref(entry->snapshot);
		return 0;
	case ENTRY_USE:
		c->stats.hits++;
		*out = entry->type->ref(entry->snapshot);
		return 0;
	case ENTRY_REFUSE:
		c->stats.hits++;
		return err_set(e, entry->error, "%s",
			       entry->error_text ? entry->error_text : strerror(-entry->error));
	case ENTRY_ASK:
		break;
	}
	return fetch_join(c, w, entry, call, flight, e);
}

/*
 * A reader ran out of time before the request did: the next ones are not to wait as long for the
 * same. True when that is news.
 */
static bool fetch_out_of_patience(struct catalog *c, struct entry *entry, int rc,
				  const struct err *e)
{
	bool was_failing = entry_error_is_failure(entry->error);
	struct entry_time t = catalog_time(c);
	void *none;

	if (rc != -ETIMEDOUT || entry_read(entry, &t) != ENTRY_ASK)
		return false;
	count_failure(c, rc, e);
	return entry_fail(entry, c->epoch, rc, err_text(e, rc), &t, &none) && !was_failing;
}

/* Without locks. What was known before is better than nothing when the service failed. */
static int fetch_wait(struct catalog *c, const struct want *w, struct entry *entry,
		      struct flight *flight, struct call *call, void **out, struct err *e)
{
	struct err why = ERR_INIT;
	struct entry *trash = NULL;
	bool news = false;
	int rc = flight_wait(flight, call, out, &why);

	catalog_lock(c);
	if (entry->snapshot && entry_error_is_failure(rc)) {
		news = fetch_out_of_patience(c, entry, rc, &why);
		c->stats.stale++;
		*out = entry->type->ref(entry->snapshot);
	}
	entry_put(entry, &trash);
	catalog_unlock(c);
	entry_trash_free(trash);
	if (news)
		log_failed(w, rc, &why, true);
	return *out ? 0 : err_set(e, rc, "%s", why.msg);
}

static int fetch_once(struct catalog *c, const struct want *w, struct call *call, void **out,
		      struct err *e)
{
	struct flight *flight = NULL;
	struct entry *trash = NULL;
	struct entry *entry;
	int rc;

	*out = NULL;
	catalog_lock(c);
	if (c->stopped)
		rc = fetch_stopped(e);
	else if (w->kind->find(c, w, &entry, &trash))
		rc = err_set(e, -ENOMEM, "no memory for the cache");
	else
		rc = fetch_decide(c, w, entry, call, &flight, out, &trash, e);
	if (flight)
		entry_ref(entry);
	if (!rc && w->kind->ahead)
		w->kind->ahead(c, w, &trash);
	catalog_unlock(c);
	entry_trash_free(trash);
	return flight ? fetch_wait(c, w, entry, flight, call, out, e) : rc;
}

int fetch_get(struct catalog *c, const struct want *w, struct call *call, void **out, struct err *e)
{
	int rc = -EAGAIN;

	/* A prefetch that was joined a moment after it gave way to others: asked for by itself. */
	for (int i = 0; rc == -EAGAIN && i < GIVEN_WAY_MAX; i++)
		rc = fetch_once(c, w, call, out, e);
	return rc == -EAGAIN ? err_set(e, -EBUSY, "the service has no requests left") : rc;
}
