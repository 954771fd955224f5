/*
 * lru - entries by key, of which those that hold something are bounded in weight and number: the
 * least recently used go first.
 *
 * An entry that holds nothing yet (it is being fetched, or that failed) weighs nothing and is not
 * in the order. Not thread-safe: the owner's lock protects it.
 */
#ifndef MLENVFS_CACHE_LRU_H
#define MLENVFS_CACHE_LRU_H

#include <stddef.h>

#include "cache/entry.h"

struct lru;

/* At most max_weight in all and max_count loaded entries. NULL when there is no memory. */
struct lru *lru_new(size_t max_weight, size_t max_count);

/* Frees the LRU; entries go to *trash. NULL is allowed. */
void lru_free(struct lru *l, struct entry **trash);

/* The entry of key (borrowed), now the most recently used; NULL when there is none. */
struct entry *lru_find(struct lru *l, const void *key, size_t len);

/* The same without using it. */
struct entry *lru_peek(struct lru *l, const void *key, size_t len);

/*
 * Adds a new entry of that type under key and gives it in *out (borrowed). What is of no use any
 * more (see entry_is_useful()) goes to *trash now and then. 0 or -ENOMEM.
 */
int lru_add(struct lru *l, const void *key, size_t len, const struct entry_type *type,
	    const struct entry_time *t, struct entry **out, struct entry **trash);

/*
 * The entry, found here, holds something of that weight now; what keeping it costs is added.
 * Others, in the end itself, go to *trash until all fits.
 */
void lru_loaded(struct lru *l, struct entry *e, size_t weight, struct entry **trash);

/* The weight of all that is loaded. */
size_t lru_weight(const struct lru *l);

#endif
