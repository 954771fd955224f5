/* node_cached - which directories the kernel may have cached the names of, and until when. */
#include "fs/node_int.h"

#include <errno.h>
#include <stdlib.h>

uint64_t node_list(struct node_table *t, uint64_t ino)
{
	uint64_t relisted = 0;
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	if (n) {
		n->listed = true;
		relisted = n->relisted;
	}
	pthread_mutex_unlock(&t->lock);
	return relisted;
}

static bool unlist_locked(struct node *n)
{
	bool was = n->listed;

	n->relisted++;
	n->listed = false;
	return was;
}

bool node_unlist(struct node_table *t, uint64_t ino)
{
	struct node *n;
	bool was;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	was = n && unlist_locked(n);
	pthread_mutex_unlock(&t->lock);
	return was;
}

static bool is_below(const struct node *n, const struct node *top)
{
	while (n && n != top)
		n = n->parent;
	return n != NULL;
}

ssize_t node_unlist_below(struct node_table *t, struct node *top, uint64_t **out)
{
	ssize_t count = 0;

	pthread_mutex_lock(&t->lock);
	*out = calloc(t->count + 1, sizeof(**out));
	for (uint64_t i = 0; *out && i < t->n_buckets; i++)
		for (struct node *n = t->buckets[i]; n; n = n->next)
			if (is_below(n, top) && unlist_locked(n))
				(*out)[count++] = n->ino;
	pthread_mutex_unlock(&t->lock);
	return *out ? count : -ENOMEM;
}

uint64_t node_relisted(struct node_table *t, uint64_t ino)
{
	const struct node *n;
	uint64_t relisted;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	relisted = n ? n->relisted : 0;
	pthread_mutex_unlock(&t->lock);
	return relisted;
}

bool node_set_expiry(struct node_table *t, uint64_t ino, int64_t due)
{
	bool first = false;
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	if (n) {
		first = !n->expires;
		n->expires = due;
	}
	pthread_mutex_unlock(&t->lock);
	return first;
}

int64_t node_expire(struct node_table *t, uint64_t ino, int64_t now)
{
	int64_t later = 0;
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	if (n && n->expires > now)
		later = n->expires;
	else if (n)
		n->expires = 0;
	pthread_mutex_unlock(&t->lock);
	return later;
}

bool node_set_stored(struct node_table *t, struct node *n)
{
	bool was;

	pthread_mutex_lock(&t->lock);
	was = n->stored;
	n->stored = true;
	pthread_mutex_unlock(&t->lock);
	return !was;
}

int64_t node_touch(struct node_table *t, struct node *n, int64_t now)
{
	int64_t before;

	pthread_mutex_lock(&t->lock);
	before = n->touched;
	n->touched = now;
	pthread_mutex_unlock(&t->lock);
	return before;
}

int64_t node_touched(struct node_table *t, struct node *n)
{
	int64_t when;

	pthread_mutex_lock(&t->lock);
	when = n->touched;
	pthread_mutex_unlock(&t->lock);
	return when;
}
