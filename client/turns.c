#include "client/turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

struct turns {
	pthread_mutex_t lock;
	/* protected by lock */
	struct turn *first; /* all names in one queue: those under way at once are few */
};

int turns_new(struct turns **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void turns_free(struct turns *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static int turn_init(struct turns *t, struct turn *turn, const char *name)
{
	pthread_condattr_t attr;

	*turn = (struct turn){.turns = t, .name = name};
	if (pthread_condattr_init(&attr))
		return -ENOMEM;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (pthread_cond_init(&turn->cond, &attr)) {
		pthread_condattr_destroy(&attr);
		return -ENOMEM;
	}
	pthread_condattr_destroy(&attr);
	return 0;
}

/* Runs under the call's lock. */
static void turn_wake(void *arg)
{
	struct turn *turn = arg;

	pthread_mutex_lock(&turn->turns->lock);
	turn->cancelled = true;
	pthread_cond_signal(&turn->cond);
	pthread_mutex_unlock(&turn->turns->lock);
}

/* Under the lock. The first of that name from here on. */
static struct turn *first_of(struct turn *from, const char *name)
{
	while (from && strcmp(from->name, name) != 0)
		from = from->next;
	return from;
}

/* Under the lock. */
static void queue(struct turn *turn)
{
	struct turn **at = &turn->turns->first;

	while (*at)
		at = &(*at)->next;
	*at = turn;
}

/* Under the lock. Whoever is the first of that name then learns it. */
static void leave(struct turn *turn)
{
	struct turn **at = &turn->turns->first;
	struct turn *next;

	while (*at != turn)
		at = &(*at)->next;
	*at = turn->next;
	next = first_of(turn->turns->first, turn->name);
	if (next)
		pthread_cond_signal(&next->cond);
}

/* Under the lock. */
static int wait_for_turn(struct turn *turn, int64_t deadline)
{
	struct timespec ts = clock_timespec(deadline);

	while (first_of(turn->turns->first, turn->name) != turn) {
		if (turn->cancelled)
			return -ECANCELED;
		if (clock_mono() >= deadline)
			return -ETIMEDOUT;
		pthread_cond_timedwait(&turn->cond, &turn->turns->lock, &ts);
	}
	return 0;
}

int turn_take(struct turns *t, struct turn *turn, const char *name, struct call *c)
{
	int rc = turn_init(t, turn, name);

	if (rc)
		return rc;
	pthread_mutex_lock(&t->lock);
	queue(turn);
	pthread_mutex_unlock(&t->lock);

	/* The call's lock goes first: call_cancel() holds it when it wakes us. */
	call_set_wake(c, turn_wake, turn);
	pthread_mutex_lock(&t->lock);
	rc = wait_for_turn(turn, c->deadline);
	pthread_mutex_unlock(&t->lock);
	call_set_wake(c, NULL, NULL);
	if (rc)
		turn_end(turn);
	return rc;
}

void turn_end(struct turn *turn)
{
	pthread_mutex_lock(&turn->turns->lock);
	leave(turn);
	pthread_mutex_unlock(&turn->turns->lock);
	pthread_cond_destroy(&turn->cond);
}
