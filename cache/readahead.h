/*
 * readahead - recognises that somebody walks through the environments of a scope in their order,
 * and says which ones to fetch before they are asked for.
 *
 * The window starts at 4 with the second environment in a row, or at 32 with the first when they
 * were listed before, and doubles each time the walker enters the newest window, up to a maximum;
 * so one to two windows are under way ahead of it. A
 * jump starts anew. Active and archived environments are walked separately (they are listed in
 * different directories), so only those of the walker's own kind count. Pure arithmetic: no
 * requests, no locks; the owner's lock protects the state.
 */
#ifndef MLENVFS_CACHE_READAHEAD_H
#define MLENVFS_CACHE_READAHEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "client/asset.h"

enum {
	READAHEAD_FIRST = 4,   /* the first window */
	READAHEAD_SURE = 32,   /* the same of somebody who has listed them all before */
	READAHEAD_LONG = 16,   /* environments in a row that make a traversal */
	READAHEAD_SCAN = 4096, /* items of the other kind looked past; more is a jump */
};

/* Start with all zero. Positions are those in the env list. */
struct readahead {
	bool walking;
	bool archived;       /* the kind that is walked */
	size_t last;         /* the newest position read */
	size_t mark;         /* reading here or behind it asks for the next window */
	size_t ahead;        /* the first position not asked for yet */
	unsigned int window; /* the size of the newest window; 0: none yet */
	size_t run;          /* environments read one after the other */
};

/* Positions from..to (to not included) of the walker's kind are to be fetched; from == to: none. */
struct readahead_range {
	size_t from;
	size_t to;
};

/* Somebody reads the environment at position (inside list); windows have at most max (0: off). */
struct readahead_range readahead_read(struct readahead *r, const struct env_list *list,
				      size_t position, unsigned int max);

/*
 * The same of somebody who has just listed all environments: the first of them, of either kind,
 * begins a walk.
 */
struct readahead_range readahead_begin(struct readahead *r, const struct env_list *list,
				       size_t position, unsigned int max);

/* Whether reading the environment at position goes on with a long walk. */
bool readahead_walks(const struct readahead *r, const struct env_list *list, size_t position);

/* Forgets the walk, for instance because fetching ahead failed. */
void readahead_reset(struct readahead *r);

/* The position of the environment of that name; list->count when it is not there. */
size_t readahead_position(const struct env_list *list, const char *name);

#endif
