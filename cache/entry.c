/*
 * The states of an entry (tests/unit/test_entry.c walks this table row by row).
 *
 *   absent    no snapshot, no error
 *   fetching  no fresh snapshot, no error to remember, a request is under way
 *   fresh     a snapshot younger than `refresh`, asked for after the last invalidation
 *   old       a snapshot that is not fresh
 *   failed    the last request failed less than `negative` ago; with or without a snapshot
 *
 *   state     event                     next      what a reader gets
 *   --------  ------------------------  --------  ------------------------------------------------
 *   absent    read                      fetching  waits for the request
 *   fetching  read                      fetching  waits for the same request
 *   fetching  answer                    fresh     the answer
 *   fetching  answer, invalidated since old       who waited gets it; the next reader asks again
 *   fetching  the service fails,        failed    who waited gets the snapshot; so does every
 *             a snapshot is there                 reader until `negative` has passed
 *   fetching  the service fails, none   failed    the error; so does every reader until then
 *   fetching  -ENOENT                   failed    the error; the snapshot is gone
 *   fetching  another error (-EACCES)   failed    the error; the snapshot is kept, not shown
 *   fetching  cancelled, no memory      absent,   the error; nothing is remembered
 *                                       old
 *   fetching  invalidated               fetching  a new request; the one under way is for those
 *                                                 who wait for it already
 *   fresh     read                      fresh     the snapshot, no request
 *   fresh     `refresh` passes          old
 *   fresh     invalidated               old
 *   old       read                      fetching  waits for the request
 *   failed    read                      failed    the snapshot or the error, no request
 *   failed    `negative` passes         old,      the next reader asks
 *                                       absent
 *   failed    invalidated               old,      the next reader asks
 *                                       absent
 *   failed    a late answer             fresh     the answer
 *   any       an answer older than what same      who waited gets it; it is not kept
 *             is known
 *
 * "The service fails": -ETIMEDOUT -EHOSTUNREACH -EBUSY -EIO -EBADMSG -EFBIG. These say nothing
 * about the thing itself, so what was true before is the best guess. What is named by its content
 * (contexts, blocks: type->forever) never turns old.
 */
#include "cache/entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whatever was asked for in this process was asked for in this epoch or later. */
enum { FIRST_EPOCH = 1 };

struct entry *entry_new(const struct entry_type *type)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->type = type;
	e->refs = 1;
	return e;
}

struct entry *entry_ref(struct entry *e)
{
	e->refs++;
	return e;
}

void entry_put(struct entry *e, struct entry **trash)
{
	if (--e->refs)
		return;
	e->trash = *trash;
	*trash = e;
}

void entry_drop(struct entry *e, struct entry **trash)
{
	e->dead = true;
	entry_put(e, trash);
}

void entry_trash_free(struct entry *trash)
{
	while (trash) {
		struct entry *next = trash->trash;

		if (trash->snapshot)
			trash->type->unref(trash->snapshot);
		free(trash->error_text);
		free(trash);
		trash = next;
	}
}

uint64_t entry_floor(const struct entry *e, const struct entry_time *t)
{
	return e->type->forever || e->needs > t->floor ? e->needs : t->floor;
}

static bool entry_is_fresh(const struct entry *e, const struct entry_time *t)
{
	if (!e->snapshot)
		return false;
	if (e->type->forever)
		return true;
	return !e->remembered && e->asked >= entry_floor(e, t) && t->now - e->stamp < t->refresh;
}

/*
 * Whether an old snapshot is the answer while the service is asked: what is remembered from an
 * earlier mount, and everything while the service is known to be away. Not after it was
 * invalidated, unless the service was away since then, and not for who wants it asked each time.
 */
static bool entry_is_used_behind(const struct entry *e, const struct entry_time *t)
{
	uint64_t floor = entry_floor(e, t);

	if (!e->snapshot || !t->refresh || e->type->forever)
		return false;
	return (e->remembered && e->asked >= floor) || (t->away && t->away >= floor);
}

int64_t entry_left(const struct entry *e, const struct entry_time *t)
{
	if (entry_is_used_behind(e, t) && !entry_is_fresh(e, t))
		return e->behind || e->fetch ? t->refresh : 0;
	if (!entry_is_fresh(e, t))
		return 0;
	return e->type->forever ? INT64_MAX : e->stamp + t->refresh - t->now;
}

static bool entry_remembers_error(const struct entry *e, const struct entry_time *t)
{
	return e->error && e->failed_in >= entry_floor(e, t) && t->now - e->failed_at < t->negative;
}

enum entry_state entry_state(const struct entry *e, const struct entry_time *t)
{
	if (entry_remembers_error(e, t))
		return ENTRY_FAILED;
	if (entry_is_fresh(e, t))
		return ENTRY_FRESH;
	if (e->fetch)
		return ENTRY_FETCHING;
	return e->snapshot ? ENTRY_OLD : ENTRY_ABSENT;
}

enum entry_verdict entry_read(const struct entry *e, const struct entry_time *t)
{
	if (entry_remembers_error(e, t))
		return e->snapshot && entry_error_is_failure(e->error) ? ENTRY_USE_STALE
								       : ENTRY_REFUSE;
	if (entry_is_fresh(e, t))
		return ENTRY_USE;
	return entry_is_used_behind(e, t) ? ENTRY_USE_BEHIND : ENTRY_ASK;
}

static void entry_clear_error(struct entry *e)
{
	e->error = 0;
	free(e->error_text);
	e->error_text = NULL;
}

bool entry_store(struct entry *e, uint64_t asked, void *snapshot, const struct entry_time *t,
		 void **old)
{
	*old = NULL;
	if (e->dead || (e->snapshot && asked < e->asked))
		return false;
	if (snapshot != e->snapshot) {
		*old = e->snapshot;
		e->snapshot = e->type->ref(snapshot);
	}
	e->stamp = t->now;
	e->asked = asked;
	e->remembered = false;
	if (asked >= e->failed_in)
		entry_clear_error(e);
	return true;
}

void entry_recall(struct entry *e, void *snapshot, int64_t stamp, bool doubtful)
{
	e->snapshot = e->type->ref(snapshot);
	e->stamp = stamp;
	e->asked = 0;
	e->remembered = !e->type->forever && !doubtful;
	if (doubtful)
		entry_invalidate(e, FIRST_EPOCH);
}

bool entry_error_is_failure(int code)
{
	switch (code) {
	case -ETIMEDOUT:
	case -EHOSTUNREACH:
	case -EBUSY:
	case -EIO:
	case -EBADMSG:
	case -EFBIG:
		return true;
	default:
		return false;
	}
}

bool entry_fail(struct entry *e, uint64_t asked, int code, const char *text,
		const struct entry_time *t, void **old)
{
	*old = NULL;
	/* These say something about this process, nothing about the service. */
	if (code == -ECANCELED || code == -ENOMEM || code == -EAGAIN)
		return false;
	if (e->dead || (e->snapshot && asked < e->asked) || (e->error && asked < e->failed_in))
		return false;
	entry_clear_error(e);
	e->error = code;
	e->error_text = text ? strdup(text) : NULL;
	e->failed_at = t->now;
	e->failed_in = asked;
	/* What was remembered is not to come back after an answer. */
	if (!entry_error_is_failure(code) && e->remembered) {
		e->remembered = false;
		entry_invalidate(e, FIRST_EPOCH);
	}
	if (code == -ENOENT) {
		*old = e->snapshot;
		e->snapshot = NULL;
	}
	return true;
}

void entry_invalidate(struct entry *e, uint64_t epoch)
{
	if (epoch > e->needs)
		e->needs = epoch;
}

void *entry_amend(struct entry *e, uint64_t epoch, void *snapshot_take, const struct entry_time *t)
{
	bool current = e->asked >= entry_floor(e, t);
	void *old = e->snapshot;

	e->snapshot = snapshot_take;
	e->asked = epoch;
	entry_invalidate(e, current ? epoch : epoch + 1);
	return old;
}

bool entry_is_useful(const struct entry *e, const struct entry_time *t)
{
	return e->snapshot || e->fetch || e->refs > 1 || entry_remembers_error(e, t);
}
