/*
 * throttle - the budget of requests to the management plane, as Azure Resource Manager has one: a
 * bucket each for reads, writes and deletes, that fills steadily; one request takes one out, and
 * who finds it empty is answered 429. Off unless it is set. Any thread.
 */
#ifndef MLENVFS_EMULATOR_THROTTLE_H
#define MLENVFS_EMULATOR_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct throttle;

/* What a request found. */
struct throttled {
	bool refused;
	long left;        /* after it; -1: there is no limit */
	long retry_after; /* seconds until there is one again */
};

/* per_minute is the depth of each bucket, too; 0: no limits. NULL when there is no memory. */
struct throttle *throttle_new(unsigned int per_minute);
void throttle_free(struct throttle *t); /* NULL is allowed */

/* Takes one out of the bucket of that method. */
void throttle_take(struct throttle *t, const char *method, struct throttled *out);

#endif
