/*
 * catalog_int - what the parts of the catalog (catalog.c, fetch.c, lists.c, blocks.c,
 * change.c) share.
 *
 * Lock order: struct call -> the flights' lock or the turns', catalog -> the flights' lock or the
 * store's. Nothing else nests; the catalog's lock and a call's are never held together. The source,
 * the changed callback and the freeing of snapshots run without any of them.
 */
#ifndef MLENVFS_CACHE_CATALOG_INT_H
#define MLENVFS_CACHE_CATALOG_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/callers.h"
#include "cache/catalog.h"
#include "cache/entry.h"
#include "cache/flight.h"
#include "cache/hashmap.h"
#include "cache/lru.h"
#include "cache/readahead.h"
#include "cache/walk.h"
#include "client/buf.h"

struct fetch;
struct turns;
struct written;

enum {
	CATALOG_KEY_MAX = 64 * 1024,              /* bytes in a key made of names */
	CATALOG_CONTEXTS = 4096,                  /* lists of context files kept */
	CATALOG_CONTEXT_BYTES = 64 * 1024 * 1024, /* and their size, roughly */
	CATALOG_SWEEP_FIRST = 256, /* version entries before useless ones are sought */
};

/*
 * What is known of one scope. Scope records change when their list is renewed, so this is found by
 * their identity. A place stays until the catalog goes, its content only while the scope exists.
 */
struct place {
	struct entry *envs;       /* NULL: not asked for yet */
	struct hashmap *versions; /* environment name -> struct entry */
	size_t sweep_at;          /* number of versions at which to look for useless ones */
	struct readahead readahead;
	int64_t lister; /* who has read all names here and looked into none yet; 0: nobody */
	struct walk walk;
	uint64_t seen; /* the renewal of the list of scopes that it was in last */
};

/* What waits to be asked for behind (behind.h), and how much of it is under way. */
struct behind_queue {
	struct fetch *first, **last;
	size_t waiting;
	unsigned int running;
	bool held;        /* until somebody's reading is over */
	int64_t held_at;  /* clock_mono(); since when, */
	int64_t added_at; /* and when the newest was added */
};

struct catalog {
	struct catalog_conf conf;
	struct flights *flights;
	struct buf view;     /* the key of the list of scopes on the disk */
	struct turns *turns; /* one change at a time for one name */
	pthread_mutex_t lock;
	/* protected by lock */
	bool stopped;
	uint64_t epoch; /* counts changes; see entry.h */
	uint64_t floor; /* the epoch of the last catalog_expire() */
	uint64_t away;  /* the epoch in which the service was last away; 0: it is there */
	uint64_t renewals;
	struct behind_queue behind;
	struct entry *scopes;
	struct hashmap *places; /* identity of a scope -> struct place */
	struct lru *contexts;   /* scope, URI -> struct context */
	struct lru *blocks;     /* file, index -> struct block */
	struct file_walk file_walk;
	struct written *written;
	struct callers callers; /* who causes how many requests */
	struct catalog_stats stats;
};

void catalog_lock(struct catalog *c);
void catalog_unlock(struct catalog *c);

/* Under the lock. */
struct entry_time catalog_time(const struct catalog *c);

/* The identity of s as a key: appended to key. 0 or a negative errno. */
int scope_key(struct buf *key, const struct scope *s);

/* What is known of the scope with that key; NULL when it was never asked about. Under the lock. */
struct place *place_find(struct catalog *c, const struct buf *key);

/* Frees a place; entries go to *trash. Under the lock. */
void place_free(struct place *p, struct entry **trash);

#endif
