#include "fs/whiteout.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "client/clock.h"

enum { GROUP_BUCKETS = 256, INO_BUCKETS = 64 };

struct removed {
	uint64_t ino;
	struct removed *next;
};

struct group {
	uint64_t id;
	int64_t touched;
	struct removed *removed[INO_BUCKETS];
	struct group *next;
};

struct whiteouts {
	int64_t (*now)(void);
	pthread_mutex_t lock;
	struct group *groups[GROUP_BUCKETS]; /* protected by lock */
};

struct whiteouts *whiteouts_new(int64_t (*now)(void))
{
	struct whiteouts *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->now = now ? now : clock_mono;
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

static void group_free(struct group *g)
{
	for (size_t i = 0; i < INO_BUCKETS; i++) {
		for (struct removed *r = g->removed[i], *next; r; r = next) {
			next = r->next;
			free(r);
		}
	}
	free(g);
}

void whiteouts_free(struct whiteouts *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < GROUP_BUCKETS; i++) {
		for (struct group *g = w->groups[i], *next; g; g = next) {
			next = g->next;
			group_free(g);
		}
	}
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* The link to the living group of that id, or to the end of its chain; what has expired goes. */
static struct group **find_locked(struct whiteouts *w, uint64_t id)
{
	struct group **link = &w->groups[id % GROUP_BUCKETS];
	int64_t now = w->now();

	while (*link) {
		struct group *g = *link;

		if (now - g->touched > WHITEOUT_LIFE) {
			*link = g->next;
			group_free(g);
		} else if (g->id == id) {
			break;
		} else {
			link = &g->next;
		}
	}
	return link;
}

static struct removed *removed_find(const struct group *g, uint64_t ino)
{
	struct removed *r = g->removed[ino % INO_BUCKETS];

	while (r && r->ino != ino)
		r = r->next;
	return r;
}

static int add_locked(struct whiteouts *w, uint64_t id, uint64_t ino)
{
	struct group **link = find_locked(w, id);
	struct removed *r;

	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			return -ENOMEM;
		(*link)->id = id;
	}
	(*link)->touched = w->now();
	if (removed_find(*link, ino))
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->ino = ino;
	r->next = (*link)->removed[ino % INO_BUCKETS];
	(*link)->removed[ino % INO_BUCKETS] = r;
	return 0;
}

int whiteout_add(struct whiteouts *w, uint64_t group, uint64_t ino)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	rc = add_locked(w, group, ino);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

bool whiteout_has(struct whiteouts *w, uint64_t group, uint64_t ino)
{
	const struct group *g;
	bool has;

	pthread_mutex_lock(&w->lock);
	g = *find_locked(w, group);
	has = g && removed_find(g, ino);
	pthread_mutex_unlock(&w->lock);
	return has;
}

bool whiteout_any(struct whiteouts *w, uint64_t group)
{
	bool any;

	pthread_mutex_lock(&w->lock);
	any = *find_locked(w, group) != NULL;
	pthread_mutex_unlock(&w->lock);
	return any;
}

static bool is_one_of(uint64_t ino, const uint64_t *but, int n)
{
	for (int i = 0; i < n; i++)
		if (but[i] == ino)
			return true;
	return false;
}

bool whiteout_others(struct whiteouts *w, uint64_t group, const uint64_t *but, int n)
{
	const struct group *g;
	bool found = false;

	pthread_mutex_lock(&w->lock);
	g = *find_locked(w, group);
	for (size_t i = 0; g && !found && i < INO_BUCKETS; i++)
		for (const struct removed *r = g->removed[i]; r && !found; r = r->next)
			found = !is_one_of(r->ino, but, n);
	pthread_mutex_unlock(&w->lock);
	return found;
}

void whiteout_remove(struct whiteouts *w, uint64_t group, uint64_t ino)
{
	struct removed *found = NULL;
	struct group *g;

	pthread_mutex_lock(&w->lock);
	g = *find_locked(w, group);
	for (struct removed **r = g ? &g->removed[ino % INO_BUCKETS] : &found; *r;
	     r = &(*r)->next) {
		if ((*r)->ino == ino) {
			found = *r;
			*r = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&w->lock);
	free(found);
}

void whiteout_clear(struct whiteouts *w, uint64_t group)
{
	struct group **link, *g;

	pthread_mutex_lock(&w->lock);
	link = find_locked(w, group);
	g = *link;
	if (g)
		*link = g->next;
	pthread_mutex_unlock(&w->lock);
	if (g)
		group_free(g);
}
