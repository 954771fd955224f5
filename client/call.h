/*
 * call - how long a caller is willing to wait for the service, how urgent it is, and whether it
 * still wants the answer.
 *
 * One call accompanies one piece of work through all layers, however many requests it takes. The
 * deadline is absolute and covers them all. call_cancel() may come from any thread; the work
 * then ends with -ECANCELED as soon as the layer that waits notices, which is at once.
 */
#ifndef MLENVFS_CLIENT_CALL_H
#define MLENVFS_CLIENT_CALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum call_prio {
	CALL_INTERACTIVE, /* somebody waits for this one answer */
	CALL_BULK,        /* somebody waits, as for many before it: a traversal */
	CALL_PREFETCH,    /* nobody waits yet; goes behind everything else */
};

struct call {
	int64_t deadline; /* clock_mono() time */
	int64_t who; /* the process that asks, for telling traversals; 0: nobody in particular */
	pthread_mutex_t lock;
	/* protected by lock */
	enum call_prio prio;
	bool begun; /* a prefetch of which a request was sent: it is carried through */
	void (*promoted)(void *arg, enum call_prio prio); /* as wake, by call_promote() */
	void *promoted_arg;
	bool cancelled;
	void (*wake)(void *arg); /* set by the layer that waits, called under lock by call_cancel */
	void *wake_arg;
};

/* A call that may take until deadline (absolute, clock_mono()). Pair with call_destroy(). */
void call_init(struct call *c, int64_t deadline, enum call_prio prio);
void call_destroy(struct call *c);

/* Nobody wants the answer any more. Idempotent. Any thread. */
void call_cancel(struct call *c);
bool call_cancelled(struct call *c);

/*
 * Registers what call_cancel() calls while the owner waits; NULL takes it away. When the call is
 * cancelled already, wake is called at once. wake must not block and not call back into c.
 */
void call_set_wake(struct call *c, void (*wake)(void *arg), void *arg);

/* How urgent it is now. */
enum call_prio call_prio(struct call *c);

/* Somebody waits for it who is more urgent. A less urgent prio changes nothing. Any thread. */
void call_promote(struct call *c, enum call_prio prio);

/*
 * Registers what call_promote() calls while the owner waits for his turn, and calls it at once with
 * how urgent it is now; NULL takes it away. promoted must not block and not call back into c.
 */
void call_set_promoted(struct call *c, void (*promoted)(void *arg, enum call_prio prio), void *arg);

/* A request of it was sent: what is a prefetch from here on waits rather than gives up. */
void call_begin(struct call *c);

/*
 * For its owner, around a part of the work that may take less time: lowers the deadline, never
 * raises it, and returns what it was, to be put back.
 */
int64_t call_lower(struct call *c, int64_t deadline);

/* 0 while there is time and the call is wanted, else -ETIMEDOUT or -ECANCELED. */
int call_check(struct call *c);

#endif
