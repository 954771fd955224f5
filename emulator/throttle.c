#include "emulator/throttle.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "client/clock.h"

enum { READS, WRITES, DELETES, KINDS };

struct bucket {
	double left;
	int64_t at;
};

struct throttle {
	double per_minute;
	pthread_mutex_t lock;
	/* protected by lock */
	struct bucket buckets[KINDS];
};

struct throttle *throttle_new(unsigned int per_minute)
{
	struct throttle *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->per_minute = per_minute;
	pthread_mutex_init(&t->lock, NULL);
	for (int k = 0; k < KINDS; k++)
		t->buckets[k] = (struct bucket){t->per_minute, clock_mono()};
	return t;
}

void throttle_free(struct throttle *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static int kind_of(const char *method)
{
	if (strcasecmp(method, "GET") == 0 || strcasecmp(method, "HEAD") == 0)
		return READS;
	return strcasecmp(method, "DELETE") == 0 ? DELETES : WRITES;
}

/* Under the lock. */
static void take(const struct throttle *t, struct bucket *b, struct throttled *out)
{
	double per_ns = t->per_minute / (60.0 * (double)NS_PER_S);
	int64_t now = clock_mono();

	b->left += per_ns * (double)(now - b->at);
	if (b->left > t->per_minute)
		b->left = t->per_minute;
	b->at = now;
	out->refused = b->left < 1;
	if (!out->refused)
		b->left--;
	out->left = (long)b->left;
	/* Whole seconds, and not too few. */
	out->retry_after = out->refused ? 1 + (long)((1 - b->left) / per_ns / NS_PER_S) : 0;
}

void throttle_take(struct throttle *t, const char *method, struct throttled *out)
{
	*out = (struct throttled){.left = -1};
	if (t->per_minute <= 0)
		return;
	pthread_mutex_lock(&t->lock);
	take(t, &t->buckets[kind_of(method)], out);
	pthread_mutex_unlock(&t->lock);
}
