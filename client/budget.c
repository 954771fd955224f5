#include "client/budget.h"

#include <stdbool.h>

#include "client/clock.h"

enum {
	OBSERVE_S = 1, /* the shortest time in which the refill is measured */
	PROBE_FIRST_S = 1,
	PROBE_MAX_S = 30,
	THROTTLED_S = 5, /* when the service did not say how long */
};

void budget_init(struct budget *b)
{
	*b = (struct budget){.told = -1, .probe_wait = PROBE_FIRST_S * NS_PER_S};
}

/* As a fraction, for the time until the next one. Those in flight may be counted already or not. */
static double estimate(const struct budget *b, int64_t now)
{
	double left = (double)b->told - b->in_flight + b->refill * (double)(now - b->told_at);

	return left < (double)b->most ? left : (double)b->most;
}

int64_t budget_left(const struct budget *b, int64_t now)
{
	double left = estimate(b, now);

	if (b->told < 0)
		return -1;
	return left > 0 ? (int64_t)left : 0;
}

int64_t budget_reserve(const struct budget *b)
{
	int64_t part = b->most / BUDGET_RESERVE_PART;

	return part < BUDGET_RESERVE_MAX ? part : BUDGET_RESERVE_MAX;
}

/* Until there is one more than the reserve; or until somebody has to look whether there is. */
static int64_t bulk_wait(const struct budget *b, double missing, int64_t now)
{
	int64_t probe = b->probe_at > now ? b->probe_at - now : 0;
	double refilled = b->refill > 0 ? missing / b->refill : (double)probe;

	return refilled < (double)probe ? (int64_t)refilled + 1 : probe;
}

int64_t budget_wait(const struct budget *b, enum call_prio prio, int64_t now)
{
	double missing = (double)budget_reserve(b) + 1 - estimate(b, now);

	if (now < b->closed_until)
		return prio == CALL_PREFETCH ? BUDGET_NEVER : b->closed_until - now;
	if (prio == CALL_INTERACTIVE)
		return 0;
	if (now < b->background_until)
		return prio == CALL_PREFETCH ? BUDGET_NEVER : b->background_until - now;
	if (b->told < 0 || missing <= 0)
		return 0;
	return prio == CALL_PREFETCH ? BUDGET_NEVER : bulk_wait(b, missing, now);
}

void budget_sent(struct budget *b, enum call_prio prio, int64_t now)
{
	bool below = b->told >= 0 && estimate(b, now) < (double)budget_reserve(b) + 1;

	if (prio == CALL_BULK && below && now >= b->probe_at) {
		b->probe_at = now + b->probe_wait;
		if (b->probe_wait < PROBE_MAX_S * NS_PER_S)
			b->probe_wait *= 2;
	}
	b->in_flight++;
}

/* What came in while we took so many out. Others who take from the same bucket make it less. */
static void observe(struct budget *b, int64_t left, int64_t now)
{
	double rate, gained;

	b->answered++;
	if (now - b->since < OBSERVE_S * NS_PER_S)
		return;
	gained = (double)(left - b->then) + b->answered;
	rate = gained > 0 ? gained / (double)(now - b->since) : 0;
	/* A full bucket takes no more in, so this says little of how fast it fills. */
	if (left + 1 < b->most || rate > b->refill)
		b->refill = b->refill > 0 ? (b->refill + rate) / 2 : rate;
	b->since = now;
	b->then = left;
	b->answered = 0;
}

static void begin_observing(struct budget *b, int64_t left, int64_t now)
{
	b->since = now;
	b->then = left;
	b->answered = 0;
}

void budget_answered(struct budget *b, int64_t left, int64_t now)
{
	if (b->in_flight)
		b->in_flight--;
	if (left < 0)
		return;
	if (b->told < 0 || left > b->told + 1)
		b->probe_wait = PROBE_FIRST_S * NS_PER_S;
	if (b->told < 0)
		begin_observing(b, left, now);
	else
		observe(b, left, now);
	if (left > b->most)
		b->most = left;
	b->told = left;
	b->told_at = now;
}

void budget_throttled(struct budget *b, int64_t wait, int64_t now)
{
	int64_t until = now + (wait >= 0 ? wait : THROTTLED_S * NS_PER_S);

	if (until > b->background_until)
		b->background_until = until;
	/* Asking before that begins a new wait; but only where it is this bucket that is empty. */
	if (b->told == 0 && wait >= 0 && until > b->closed_until)
		b->closed_until = until;
}
