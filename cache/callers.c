#include "cache/callers.h"

#include <stddef.h>

#include "client/clock.h"

enum { EACH_S = 2 }; /* one request in so many seconds is forgotten */

static double level_at(const struct caller *c, int64_t now)
{
	double left = c->level - (double)(now - c->at) / (double)(EACH_S * NS_PER_S);

	return left > 0 ? left : 0;
}

/* Who it is, or the place of the one who asked least. */
static struct caller *place_of(struct callers *c, int64_t who, int64_t now)
{
	struct caller *least = &c->items[0];

	for (size_t i = 0; i < CALLERS_KEPT; i++) {
		if (c->items[i].who == who)
			return &c->items[i];
		if (level_at(&c->items[i], now) < level_at(least, now))
			least = &c->items[i];
	}
	*least = (struct caller){.who = who, .at = now};
	return least;
}

bool callers_count(struct callers *c, int64_t who, int64_t now)
{
	struct caller *caller;

	if (!who)
		return false;
	caller = place_of(c, who, now);
	caller->level = level_at(caller, now) + 1;
	caller->at = now;
	/* Else a long walk would be remembered long after its end. */
	if (caller->level > 2 * CALLERS_AT_ONCE)
		caller->level = 2 * CALLERS_AT_ONCE;
	return caller->level > CALLERS_AT_ONCE;
}
