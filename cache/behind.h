/*
 * behind - requests for what was answered already with what is remembered from an earlier mount, or
 * with what was known before the service went away.
 *
 * They wait in a queue of their own, a few of them are under way at once, and they go behind
 * everything that somebody waits for. The first of them wait until nothing has been added for
 * struct catalog_conf.behind_quiet: whoever goes through what is remembered would have to share the
 * processors with them. All functions are called under the catalog's lock.
 */
#ifndef MLENVFS_CACHE_BEHIND_H
#define MLENVFS_CACHE_BEHIND_H

#include "cache/fetch.h"

enum {
	BEHIND_AT_ONCE = 4,
	BEHIND_MAX = 100000, /* waiting; what does not fit is asked for when it is next read */
	BEHIND_HELD_MAX = 8, /* times behind_quiet: however much is read, they wait no longer */
};

/* Queues a request for w, which entry is of, when none is. */
void behind_add(struct catalog *c, const struct want *w, struct entry *entry, struct entry **trash);

/* A flight has ended, one of these or another: the next ones go. */
void behind_ended(struct catalog *c, bool behind, struct entry **trash);

/* Drops those that wait. */
void behind_clear(struct catalog *c, struct entry **trash);

#endif
