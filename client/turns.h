/*
 * turns - one at a time for each name, in the order of asking.
 *
 * For work that takes requests: who waits holds no mutex, and stops waiting when its call is
 * cancelled or out of time. Different names don't wait for each other. Any thread.
 */
#ifndef MLENVFS_CLIENT_TURNS_H
#define MLENVFS_CLIENT_TURNS_H

#include <pthread.h>
#include <stdbool.h>

#include "client/call.h"

struct turns;

/* A place in the queue; on the stack of who takes it. All of it belongs to turns.c. */
struct turn {
	struct turns *turns;
	struct turn *next;
	const char *name;
	pthread_cond_t cond;
	bool cancelled;
};

/* 0 or -ENOMEM. */
int turns_new(struct turns **out);

/* Nobody may wait or have a turn any more. NULL is allowed. */
void turns_free(struct turns *t);

/*
 * Waits until everybody who came before under that name (borrowed until turn_end()) has ended his
 * turn. 0, to be followed by turn_end(); -ETIMEDOUT or -ECANCELED as the call says; -ENOMEM.
 */
int turn_take(struct turns *t, struct turn *turn, const char *name, struct call *c);
void turn_end(struct turn *turn);

#endif
