#include "emulator/counters.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* Routes are fixed texts of the service, so this is never reached; what is beyond is
	 * counted as "other", so that the sum stays right. */
	ROUTES_MAX = 256,
	ROUTE_SIZE = 64,
};

struct route_count {
	char name[ROUTE_SIZE];
	uint64_t count;
};

struct counters {
	pthread_mutex_t lock;
	/* protected by lock */
	struct route_count routes[ROUTES_MAX]; /* sorted by name */
	size_t n;
	uint64_t other;
	uint64_t total;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t connections;
	uint64_t throttled;
	uint64_t answering;
	uint64_t at_once; /* the highest that answering was */
};

struct counters *counters_new(void)
{
	struct counters *c = calloc(1, sizeof(*c));

	if (c && pthread_mutex_init(&c->lock, NULL)) {
		free(c);
		return NULL;
	}
	return c;
}

void counters_free(struct counters *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* The place of a route, made when it is new; NULL when there is no room. Needs the lock. */
static uint64_t *route_slot(struct counters *c, const char *route)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strncmp(c->routes[middle].name, route, ROUTE_SIZE - 1);

		if (order == 0)
			return &c->routes[middle].count;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (c->n == ROUTES_MAX)
		return NULL;
	memmove(&c->routes[low + 1], &c->routes[low], (c->n - low) * sizeof(c->routes[0]));
	memset(&c->routes[low], 0, sizeof(c->routes[low]));
	memcpy(c->routes[low].name, route, strnlen(route, ROUTE_SIZE - 1));
	c->n++;
	return &c->routes[low].count;
}

void counters_add(struct counters *c, const char *route, uint64_t bytes_in, uint64_t bytes_out)
{
	uint64_t *slot;

	pthread_mutex_lock(&c->lock);
	slot = route_slot(c, route);
	++*(slot ? slot : &c->other);
	c->total++;
	c->bytes_in += bytes_in;
	c->bytes_out += bytes_out;
	pthread_mutex_unlock(&c->lock);
}

void counters_begin(struct counters *c)
{
	pthread_mutex_lock(&c->lock);
	if (++c->answering > c->at_once)
		c->at_once = c->answering;
	pthread_mutex_unlock(&c->lock);
}

void counters_end(struct counters *c)
{
	pthread_mutex_lock(&c->lock);
	c->answering--;
	pthread_mutex_unlock(&c->lock);
}

void counters_connection(struct counters *c)
{
	pthread_mutex_lock(&c->lock);
	c->connections++;
	pthread_mutex_unlock(&c->lock);
}

void counters_throttled(struct counters *c)
{
	pthread_mutex_lock(&c->lock);
	c->throttled++;
	pthread_mutex_unlock(&c->lock);
}

void counters_reset(struct counters *c)
{
	pthread_mutex_lock(&c->lock);
	c->n = 0;
	c->other = 0;
	c->total = 0;
	c->bytes_in = 0;
	c->bytes_out = 0;
	c->connections = 0;
	c->throttled = 0;
	c->at_once = c->answering;
	pthread_mutex_unlock(&c->lock);
}

static void add_route(struct buf *out, const char *name, uint64_t count, bool first)
{
	(void)buf_addf(out, "%s\"%s\": %llu", first ? "" : ", ", name, (unsigned long long)count);
}

int counters_json(struct counters *c, struct buf *out)
{
	size_t i;

	pthread_mutex_lock(&c->lock);
	(void)buf_addf(out, "{\"total\": %llu, \"routes\": {", (unsigned long long)c->total);
	for (i = 0; i < c->n; i++)
		add_route(out, c->routes[i].name, c->routes[i].count, i == 0);
	if (c->other)
		add_route(out, "other", c->other, c->n == 0);
	(void)buf_addf(out,
		       "}, \"bytes_in\": %llu, \"bytes_out\": %llu, \"connections\": %llu,"
		       " \"throttled\": %llu, \"at_once\": %llu}",
		       (unsigned long long)c->bytes_in, (unsigned long long)c->bytes_out,
		       (unsigned long long)c->connections, (unsigned long long)c->throttled,
		       (unsigned long long)c->at_once);
	pthread_mutex_unlock(&c->lock);
	return buf_error(out);
}
