/*
 * entry - one thing that the catalog knows or wants to know: a snapshot, how old it is, and why
 * the last try to renew it failed. The state table is in entry.c.
 *
 * An entry decides, it does nothing: no requests, no locks, no clock. The owner (catalog.c) calls
 * every function but entry_trash_free() under its own lock and gives the time.
 *
 * An epoch is a moment in the order of asking and changing. Each request notes the epoch at which
 * it was sent; an entry (or, for all of them, entry_time.floor) says which epoch an answer must at
 * least be from to count as fresh.
 */
#ifndef MLENVFS_CACHE_ENTRY_H
#define MLENVFS_CACHE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch;
struct lru_item;

/* What a kind of snapshot can do. Snapshots are immutable and reference-counted. */
struct entry_type {
	void *(*ref)(void *snapshot);
	void (*unref)(void *snapshot);
	bool (*equal)(const void *a, const void *b); /* NULL: not worth comparing */
	bool forever;                                /* named by its content: never old */
};

struct entry {
	const struct entry_type *type;
	unsigned int refs;
	bool dead;          /* nobody finds it any more; what arrives for it is not kept */
	void *snapshot;     /* a reference, or NULL */
	int64_t stamp;      /* when the snapshot arrived */
	uint64_t asked;     /* the epoch it was asked for in */
	uint64_t needs;     /* the epoch an answer must be from to count as fresh */
	bool recalled;      /* it was looked for on the disk (store.h) */
	bool remembered;    /* the snapshot is from there: not what the service said to us */
	bool behind;        /* a request waits to be made that nobody waits for (behind.h) */
	int error;          /* how the last try failed; 0: it did not */
	char *error_text;   /* may be NULL */
	int64_t failed_at;  /* when */
	uint64_t failed_in; /* the epoch that try was made in */

	struct fetch *fetch;   /* who asks at the moment (fetch.c); NULL: nobody */
	struct lru_item *item; /* its place in an LRU (lru.c); NULL: it has none */
	struct entry *trash;
};

/* What the owner knows when it asks an entry something. */
struct entry_time {
	int64_t now;
	int64_t refresh;  /* ns a snapshot is fresh */
	int64_t negative; /* ns an error is remembered */
	uint64_t floor;   /* the epoch every answer must at least be from */
	uint64_t away; /* the epoch in which the service was last found to be away; 0: it is not */
};

enum entry_state {
	ENTRY_ABSENT,   /* nothing is known */
	ENTRY_FETCHING, /* nothing usable without waiting, and somebody asks */
	ENTRY_FRESH,    /* a snapshot that may be used as it is */
	ENTRY_OLD,      /* a snapshot that has to be renewed first */
	ENTRY_FAILED,   /* the last try failed a moment ago */
};

/* What a reader is to do. */
enum entry_verdict {
	ENTRY_USE,        /* the snapshot is the answer */
	ENTRY_USE_BEHIND, /* the snapshot is the answer for now, and the service is to be asked */
	ENTRY_USE_STALE,  /* the snapshot is the answer, because the service failed a moment ago */
	ENTRY_REFUSE,     /* the remembered error is the answer */
	ENTRY_ASK,        /* ask the service, or wait for who asks it already */
};

/* An entry with one reference, absent. NULL when there is no memory. */
struct entry *entry_new(const struct entry_type *type);

struct entry *entry_ref(struct entry *e);

/*
 * Gives a reference back. The last one moves e to *trash, for entry_trash_free() to free it after
 * the lock was released: freeing a large list takes a while.
 */
void entry_put(struct entry *e, struct entry **trash);

/* As entry_put(), for the reference of the map that e was found in. */
void entry_drop(struct entry *e, struct entry **trash);

/* Frees what was collected. Without the lock. */
void entry_trash_free(struct entry *trash);

enum entry_state entry_state(const struct entry *e, const struct entry_time *t);
enum entry_verdict entry_read(const struct entry *e, const struct entry_time *t);

/*
 * How long, in ns, the snapshot stays fresh; 0 when there is none or it is old. One that is to be
 * used until the answer to a request under way is there counts as fresh: a change is told.
 */
int64_t entry_left(const struct entry *e, const struct entry_time *t);

/* The epoch that an answer has to be from to be fresh here. */
uint64_t entry_floor(const struct entry *e, const struct entry_time *t);

/*
 * An answer that was asked for in epoch asked. False when something newer is known: e is
 * unchanged. Else e holds a new reference of snapshot (which may be the one it holds: its age is
 * renewed), and *old gets the reference of the one before, or NULL; release it without the lock.
 */
bool entry_store(struct entry *e, uint64_t asked, void *snapshot, const struct entry_time *t,
		 void **old);

/*
 * What was known at stamp, found on the disk: e, which has no snapshot, holds a new reference of
 * it. It is older than whatever the service is asked from now on. doubtful: good only when the
 * service fails.
 */
void entry_recall(struct entry *e, void *snapshot, int64_t stamp, bool doubtful);

/*
 * A request that was sent in epoch asked failed with code (negative errno) and text (copied, may
 * be NULL). True when the failure counts. After -ENOENT the snapshot is gone: *old gets its
 * reference (else NULL).
 */
bool entry_fail(struct entry *e, uint64_t asked, int code, const char *text,
		const struct entry_time *t, void **old);

/* Something changed in epoch: answers asked for before are not fresh. */
void entry_invalidate(struct entry *e, uint64_t epoch);

/*
 * As entry_invalidate(), where the change is known: snapshot (taken over) is the one that e holds,
 * with the change. It is as fresh as that was; answers asked for before the change don't replace
 * it. Returns the reference of the one before; release it without the lock. The next epoch has to
 * begin before anything is asked again.
 */
void *entry_amend(struct entry *e, uint64_t epoch, void *snapshot_take, const struct entry_time *t);

/* Whether an old snapshot may be used when the service answers with code. */
bool entry_error_is_failure(int code);

/* False when the entry says nothing that an absent one would not say. */
bool entry_is_useful(const struct entry *e, const struct entry_time *t);

#endif
