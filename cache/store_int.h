/*
 * store_int - what the parts of the store (store.c, store_job.c, store_write.c, store_doubt.c)
 * share.
 *
 * Locks: the store has one, held for a few instructions and never while a file is used.
 */
#ifndef MLENVFS_CACHE_STORE_INT_H
#define MLENVFS_CACHE_STORE_INT_H

#include <pthread.h>

#include "cache/cachedb.h"
#include "cache/hashmap.h"
#include "cache/objects.h"
#include "cache/store.h"
#include "cache/sum.h"

enum job_type {
	JOB_LIST,
	JOB_TOUCH,
	JOB_DROP,
	JOB_DROP_SCOPE,
	JOB_CONTEXT,
	JOB_FACT,
	JOB_CONTENT,
	JOB_USED,
	JOB_CLEAR, /* a doubt */
};

/* One write that waits. */
struct job {
	enum job_type type;
	struct buf key; /* with its letter (store_key.h) */
	enum record_kind kind;
	void *list; /* a reference */
	int64_t learnt;
	bool anew;    /* what is there goes first: it may be damaged */
	bool changed; /* the list has a change that was made here */
	struct context *context;
	struct buf data;
	const void *content; /* borrowed until release(owner) */
	size_t size;
	void (*release)(void *owner);
	void *owner;
	char *doubt;    /* the name of its file */
	uint64_t since; /* of the doubt */
	bool taken;     /* being written */
	struct job *next;
};

/* A change that is under way, or that ended without a list that has it. */
struct store_doubt {
	char *name; /* of its file */
	struct sum of;
	uint64_t since; /* so many jobs were written before: the list with the change was not */
	bool ended;
	bool foreign; /* another process's: it was there when this one began */
	struct store_doubt *next;
};

struct store {
	struct objects *objects;
	struct cachedb *db; /* NULL: none */
	int dir;            /* the cache's */
	int objects_dir;
	int own_dir; /* the service's */
	int doubts_dir;
	pthread_t writer;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t work; /* something is queued, or the end has come */
	pthread_cond_t idle; /* a batch was written */
	/* protected by lock */
	bool stopping;
	int64_t stop_at; /* clock_mono(): what is not written then is not */
	struct job *first, **last;
	size_t n_jobs;            /* waiting and being written */
	uint64_t queued, written; /* jobs, since the start; they are written in order */
	uint64_t lost_at;         /* one before that number was not written: doubts stay */
	size_t content_bytes;
	size_t scope_drops;      /* JOB_DROP_SCOPE among them */
	struct hashmap *pending; /* key -> the newest job of that list, context or fact */
	struct store_doubt *doubts;
	uint64_t next_doubt;
	struct store_stats stats;
};

/* The key of a list, with its letter: appended. 0 or a negative errno. */
int store_list_key(struct buf *out, const struct store_list *l);

/* ---- store_job.c ---- */

void job_free(struct job *j);

/* A job with a copy of the key (letter and rest); NULL when there is no memory. */
struct job *job_new(enum job_type type, const struct buf *key);

/* Queues it (taken), in place of one of the same key that waits. */
void job_add(struct store *s, struct job *job_take);

/* Under the lock: the newest job of that key; NULL: none waits. */
struct job *job_pending(struct store *s, const struct buf *key);

/* ---- store_write.c ---- */

void *store_write_main(void *arg);

/* ---- store_doubt.c ---- */

int doubts_read(struct store *s);
void doubts_free(struct store *s);

/* Whether a change of that list may not be in it. Takes the lock. */
bool doubt_of(struct store *s, const struct buf *key);

/* Queues the end of all that doubts that list and has ended. Takes the lock. */
void doubt_settle(struct store *s, const struct buf *key);

/* By the writer: the file of a doubt is not needed any more, unless its list may be lost. */
void doubt_clear(struct store *s, const struct job *j);

#endif
