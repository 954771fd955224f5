/*
 * fetch_int - what the parts of a fetch (fetch.c, behind.c) share.
 */
#ifndef MLENVFS_CACHE_FETCH_INT_H
#define MLENVFS_CACHE_FETCH_INT_H

#include "cache/fetch.h"

/* The job of a flight. */
struct fetch {
	struct catalog *catalog;
	struct entry *entry; /* a reference */
	struct want want;    /* with references of its own */
	char *env;
	bool ahead;            /* started before anybody wanted it */
	bool behind;           /* started for what was answered already (behind.h) */
	struct fetch *next;    /* while it waits in the catalog's queue for that */
	struct flight *flight; /* valid while entry->fetch points here */
	/* protected by the catalog's lock */
	bool started;
	uint64_t asked; /* the epoch it was sent in, once started */

	/* For the worker alone: the change to tell after the waiters have their answer. */
	void *before;
	void *after;
};

/* Locked. A job for w, which entry is of, with references of its own; NULL: no memory. */
struct fetch *fetch_new(struct catalog *c, const struct want *w, struct entry *entry);

/* Locked. Frees a job that was never launched. */
void fetch_drop(struct fetch *f, struct entry **trash);

/* Locked. Starts the flight of f (taken when it succeeds). 0 or a negative errno. */
int fetch_launch(struct fetch *f, enum call_prio prio, struct err *e);

#endif
