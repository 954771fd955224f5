#include "client/call.h"

#include <errno.h>

#include "client/clock.h"

void call_init(struct call *c, int64_t deadline, enum call_prio prio)
{
	*c = (struct call){.deadline = deadline, .prio = prio};
	pthread_mutex_init(&c->lock, NULL);
}

void call_destroy(struct call *c)
{
	pthread_mutex_destroy(&c->lock);
}

void call_cancel(struct call *c)
{
	pthread_mutex_lock(&c->lock);
	if (!c->cancelled) {
		c->cancelled = true;
		if (c->wake)
			c->wake(c->wake_arg);
	}
	pthread_mutex_unlock(&c->lock);
}

bool call_cancelled(struct call *c)
{
	bool cancelled;

	pthread_mutex_lock(&c->lock);
	cancelled = c->cancelled;
	pthread_mutex_unlock(&c->lock);
	return cancelled;
}

void call_set_wake(struct call *c, void (*wake)(void *arg), void *arg)
{
	pthread_mutex_lock(&c->lock);
	c->wake = wake;
	c->wake_arg = arg;
	if (wake && c->cancelled)
		wake(arg);
	pthread_mutex_unlock(&c->lock);
}

/* Under the lock. */
static enum call_prio prio_now(const struct call *c)
{
	return c->prio == CALL_PREFETCH && c->begun ? CALL_BULK : c->prio;
}

enum call_prio call_prio(struct call *c)
{
	enum call_prio prio;

	pthread_mutex_lock(&c->lock);
	prio = c->prio;
	pthread_mutex_unlock(&c->lock);
	return prio;
}

void call_promote(struct call *c, enum call_prio prio)
{
	pthread_mutex_lock(&c->lock);
	if (prio < c->prio) {
		c->prio = prio;
		if (c->promoted)
			c->promoted(c->promoted_arg, prio);
	}
	pthread_mutex_unlock(&c->lock);
}

void call_set_promoted(struct call *c, void (*promoted)(void *arg, enum call_prio prio), void *arg)
{
	pthread_mutex_lock(&c->lock);
	c->promoted = promoted;
	c->promoted_arg = arg;
	if (promoted)
		promoted(arg, prio_now(c));
	pthread_mutex_unlock(&c->lock);
}

void call_begin(struct call *c)
{
	pthread_mutex_lock(&c->lock);
	c->begun = true;
	pthread_mutex_unlock(&c->lock);
}

int64_t call_lower(struct call *c, int64_t deadline)
{
	int64_t old = c->deadline;

	if (deadline < old)
		c->deadline = deadline;
	return old;
}

int call_check(struct call *c)
{
	if (call_cancelled(c))
		return -ECANCELED;
	return clock_mono() >= c->deadline ? -ETIMEDOUT : 0;
}
