/*
 * store - what is known of one service, kept on the disk: lists of scopes, environments and
 * versions, lists of context files, content of context files, and small facts.
 *
 * Nothing here is the truth: it is what the service said once, with the time when it did. What is
 * on the disk may be missing, old, damaged or forged, and is then as if it were not there; writing
 * may fail, and then it is not there the next time. No caller is told of either, or waits for the
 * disk to be written: puts are queued and written by one thread, and gets see what is queued. Any
 * number of mounts use one store at once.
 *
 * Doubts. A change that is under way makes what is written down of a list wrong, and the process
 * may end before the list with the change is written. So a change is announced first, by a file; a
 * list whose file is still there when another process reads it is doubtful: good when the service
 * can't be reached, and otherwise to be asked for again.
 *
 * Keys are borrowed. Any thread; gets read files or the database.
 */
#ifndef MLENVFS_CACHE_STORE_H
#define MLENVFS_CACHE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/record.h"
#include "client/asset.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/err.h"

struct store;

enum {
	STORE_JOBS_MAX = 65536,               /* writes that wait; more are not kept */
	STORE_CONTENT_MAX = 32 * 1024 * 1024, /* bytes of content among them */
	STORE_FACT_MAX = 64 * 1024,           /* bytes of a fact */
	STORE_CLOSE_S = 5,                    /* how long the end waits for what is queued */
};

struct store_conf {
	const char *dir;  /* the cache's directory, absolute: content is shared by all services */
	const char *name; /* of the service's own directory in it: a single name */
	uint64_t max;     /* bytes: a quarter of it for lists, the rest for content */
};

/*
 * Opens the store, made when it is not there, and starts its thread. A negative errno with a
 * text: it can't be used, or not now.
 */
_must_check_ int store_open(const struct store_conf *conf, struct store **out, struct err *e);

/* Writes what is queued, for STORE_CLOSE_S at most, and ends. NULL is allowed. */
void store_close(struct store *s);

/* Waits until all that is queued now is written: 0, or -ETIMEDOUT at the deadline (clock_mono()).
 */
_must_check_ int store_flush(struct store *s, int64_t deadline);

/* Which list is meant: RECORD_SCOPE (key: what names the view), RECORD_ENV, RECORD_VERSION. */
struct store_list {
	enum record_kind kind;
	const struct buf *key; /* of the scope (catalog_int.h) */
	const char *env;       /* RECORD_VERSION: the environment */
};

struct store_found {
	void *list;     /* a reference */
	int64_t learnt; /* clock_wall() time at which the service said so */
	bool doubtful;  /* something may have changed it since: see above */
};

/* 0, or -ENOENT. */
_must_check_ int store_get_list(struct store *s, const struct store_list *l,
				struct store_found *out);

/*
 * The service said so at `learnt`. settled: the answer is no older than any change that was made
 * here, so nothing is in doubt any more.
 */
void store_put_list(struct store *s, const struct store_list *l, void *list, int64_t learnt,
		    bool settled);

/* The same list with a change that was made here since. */
void store_change_list(struct store *s, const struct store_list *l, void *list, int64_t learnt);

/* The service said the same as before. */
void store_touch_list(struct store *s, const struct store_list *l, int64_t learnt, bool settled);

/* It is gone, or nothing is known of it any more. */
void store_drop_list(struct store *s, const struct store_list *l);

/* All of a scope, lists of environments and versions. */
void store_drop_scope(struct store *s, const struct buf *key);

/* A change of that list is about to be made: written when this returns. NULL: it can't be. */
struct store_doubt;
struct store_doubt *store_doubt_begin(struct store *s, const struct store_list *l);

/* It has ended. settled: the list with it was put. doubt (taken) may be NULL. */
void store_doubt_end(struct store *s, struct store_doubt *doubt_take, bool settled);

/* The files of a build context, by the context's key. 0 or -ENOENT. */
_must_check_ int store_get_context(struct store *s, const struct buf *key, struct context **out);
void store_put_context(struct store *s, const struct buf *key, struct context *context);

/* Content that never changes, by a key that says which (objects.h). 0 or -ENOENT, -EFBIG. */
_must_check_ int store_get_content(struct store *s, const void *key, size_t len, struct buf *out);

/* The content is borrowed until release(owner) is called, from any thread, even before the return.
 */
void store_put_content(struct store *s, const void *key, size_t len, const void *data, size_t size,
		       void (*release)(void *owner), void *owner);

/* Small texts of their users' own: a key of any bytes, at most STORE_FACT_MAX bytes. */
_must_check_ int store_get_fact(struct store *s, const void *key, size_t len, struct buf *out);
void store_put_fact(struct store *s, const void *key, size_t len, const void *data, size_t size);

/* Calls fn for all facts whose keys begin so; those that are queued are not among them. */
typedef void store_fact_fn(void *arg, const void *key, size_t key_len, const void *data,
			   size_t len);
void store_each_fact(struct store *s, const void *prefix, size_t len, store_fact_fn *fn, void *arg);

struct store_stats {
	uint64_t read;    /* lists and contexts that were found */
	uint64_t written; /* rows of lists and facts */
	uint64_t content; /* content that was kept */
	uint64_t damaged; /* what was found damaged, and dropped */
	uint64_t lost;    /* what could not be kept */
	size_t queued;
	uint64_t evicted; /* content that had to go, for other content */
	bool off;         /* the database is of no use any more */
};
void store_get_stats(struct store *s, struct store_stats *out);

#endif
