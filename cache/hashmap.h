/*
 * hashmap - byte keys to pointers.
 *
 * Keys are copied and may hold NUL bytes; values are the caller's own. The hash is keyed with a
 * random seed (SipHash), because keys are names that a service chose. Not thread-safe: the owner's
 * lock protects it.
 */
#ifndef MLENVFS_CACHE_HASHMAP_H
#define MLENVFS_CACHE_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>

struct hashmap;

/* NULL when there is no memory. */
struct hashmap *hashmap_new(void);

/* Frees the map, not the values. NULL is allowed. */
void hashmap_free(struct hashmap *m);

size_t hashmap_count(const struct hashmap *m);

/* The value of key; NULL when there is none. */
void *hashmap_get(const struct hashmap *m, const void *key, size_t len);

/* Adds a key that is not in the map yet; value is not NULL. 0 or -ENOMEM. */
int hashmap_put(struct hashmap *m, const void *key, size_t len, void *value);

/* Takes key out and gives its value; NULL when there was none. */
void *hashmap_remove(struct hashmap *m, const void *key, size_t len);

/*
 * Calls keep() for every key (NUL-terminated behind len) and takes those out for which it says no;
 * keep() has then taken care of the value. keep() must not change the map.
 */
typedef bool hashmap_keep_fn(void *arg, const char *key, size_t len, void *value);
void hashmap_filter(struct hashmap *m, hashmap_keep_fn *keep, void *arg);

#endif
