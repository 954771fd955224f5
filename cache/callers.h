/*
 * callers - tells programs that walk through much from those that look at a few things, by how many
 * requests each process has caused lately.
 *
 * A process may cause a few dozen at once and one every other second for good; beyond that it is a
 * traversal (find, grep -r, rsync, an indexer), whose requests go behind those of others where the
 * service has few left (client/budget.h). Plain arithmetic; the owner's lock protects it.
 */
#ifndef MLENVFS_CACHE_CALLERS_H
#define MLENVFS_CACHE_CALLERS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	CALLERS_KEPT = 64,   /* processes remembered; the one that asked least lately goes */
	CALLERS_AT_ONCE = 24 /* requests that are not a traversal yet */
};

struct caller {
	int64_t who;
	double level; /* requests, less what has run out of the bucket since */
	int64_t at;   /* ns: when that was so */
};

/* Start with all zero. */
struct callers {
	struct caller items[CALLERS_KEPT];
};

/* who (0: nobody in particular) causes a request now; true when he has caused many. */
bool callers_count(struct callers *c, int64_t who, int64_t now);

#endif
