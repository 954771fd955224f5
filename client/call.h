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
	CALL_INTERACTIVE, /* somebody waits */
	CALL_PREFETCH,    /* nobody waits yet; goes behind everything interactive */
};

struct call {
	int64_t deadline; /* clock_mono() time */
	enum call_prio prio;
	pthread_mutex_t lock;
	/* protected by lock */
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

/*
 * For its owner, around a part of the work that may take less time: lowers the deadline, never
 * raises it, and returns what it was, to be put back.
 */
int64_t call_lower(struct call *c, int64_t deadline);

/* 0 while there is time and the call is wanted, else -ETIMEDOUT or -ECANCELED. */
int call_check(struct call *c);

#endif
