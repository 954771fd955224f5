/*
 * parallel - the same work on many items, a few at a time, on threads of their own that may block.
 *
 * For work that waits for the service: parallel_run() makes the threads, waits for them, and has
 * joined every one of them when it returns, whatever happened. The first error ends the rest.
 */
#ifndef MLENVFS_CLIENT_PARALLEL_H
#define MLENVFS_CLIENT_PARALLEL_H

#include <stddef.h>

#include "client/call.h"
#include "client/err.h"

enum { PARALLEL_THREADS_MAX = 16 };

struct parallel {
	size_t n;             /* items 0 to n - 1, begun in this order */
	unsigned int threads; /* at once; at most PARALLEL_THREADS_MAX */
	size_t memory;        /* bytes that the items under way take together; an item that takes
				 more by itself goes alone */
	void *arg;

	/* How many bytes an item takes. Called under a lock: must not block. */
	size_t (*memory_of)(void *arg, size_t item);

	/*
	 * Works on an item, on any of the threads. c is a call of that thread's own with the
	 * caller's deadline and urgency; it is cancelled when another item fails.
	 */
	int (*work)(void *arg, size_t item, struct call *c, struct err *e);
};

/*
 * Works on all items. 0, or the error of the first that failed; then those not begun are left and
 * those under way are cancelled. -ECANCELED when c is cancelled before all are done. Where only one
 * thread is needed, or none can be made, the caller's own does the work.
 */
int parallel_run(const struct parallel *p, struct call *c, struct err *e);

#endif
