/*
 * flight - pieces of work that several threads wait for, and the workers that do them.
 *
 * A flight is started once and joined by whoever wants the same answer; each waiter has its own
 * deadline and can be cancelled by itself. Interactive flights go before those of a traversal
 * (CALL_BULK), and these before prefetched ones; a flight becomes as urgent as the most urgent of
 * those who join it. Only interactive ones take the last workers (see flights_new()). A flight that
 * was started for somebody is cancelled when its last waiter has left; nobody can join it after
 * that.
 *
 * Threads are made when they are needed and stay until flights_free().
 *
 * Locks: the pool has one. flight_start() and flight_join() may be called under the lock of the
 * caller's own data (so that looking for a flight and joining it is one step); everything else is
 * called without locks. The lock of a struct call is never taken under the pool's: call_cancel()
 * wakes a waiter while it holds the former.
 */
#ifndef MLENVFS_CACHE_FLIGHT_H
#define MLENVFS_CACHE_FLIGHT_H

#include <stddef.h>
#include <stdint.h>

#include "client/call.h"
#include "client/err.h"

struct flight;
struct flights;

enum {
	FLIGHT_STACK = 512 * 1024, /* bytes of a worker's stack; TLS and JSON parsing need some */
	FLIGHT_SPARE = 2,          /* workers that all others leave to interactive flights */
};

/* What a flight does. All of these are called without locks. */
struct flight_ops {
	/*
	 * Does the work, on a worker, exactly once; when the flight was cancelled before its turn,
	 * call is cancelled already. What waiters get goes to *result as a reference.
	 */
	int (*run)(void *job, struct call *call, void **result, struct err *e);
	/* Called on the worker after the waiters got their answer. May be NULL. */
	void (*after)(void *job);
	/* Frees the job, after all the others; any thread. */
	void (*free_job)(void *job);
	void *(*ref)(void *job, void *result);
	void (*unref)(void *job, void *result);
};

struct flights_conf {
	unsigned int max;      /* workers, at least 1 */
	size_t prefetch_queue; /* prefetches that may wait for their turn */
	int64_t deadline;      /* ns one flight may take from its start */
};

/*
 * A pool without threads yet. max - FLIGHT_SPARE workers do what is not interactive (with two: one;
 * with one: that one, and no prefetches).
 * NULL and -ENOMEM in e.
 */
struct flights *flights_new(const struct flights_conf *conf, struct err *e);

/* Cancels every flight; waiters get -ECANCELED at once, as does everything that follows. */
void flights_stop(struct flights *p);

/* flights_stop(), then waits for the workers and frees the pool. Nobody may wait any more. */
void flights_free(struct flights *p);

/*
 * Queues a flight. Takes job over when it succeeds. what says what is waited for, in words
 * ("the versions of x"); copied. But for CALL_PREFETCH the caller has joined it and must
 * flight_wait(); for CALL_PREFETCH *out is borrowed until run has returned.
 * -EAGAIN: too many prefetches wait, or none are possible. -ECANCELED: stopped. -ENOMEM.
 */
int flight_start(struct flights *p, const struct flight_ops *ops, void *job, const char *what,
		 enum call_prio prio, struct flight **out, struct err *e);

/*
 * Joins f, of which the caller knows that run has not returned, for a waiter of that urgency.
 * Returns 1, to be followed by flight_wait(), or 0 when f was cancelled.
 */
int flight_join(struct flight *f, enum call_prio prio);

/*
 * Waits for a flight that was joined, then leaves it. Returns what run returned, with a reference
 * in *result; -ETIMEDOUT when the call's deadline passes first, -ECANCELED when the call is
 * cancelled or the pool stopped.
 */
int flight_wait(struct flight *f, struct call *call, void **result, struct err *e);

#endif
