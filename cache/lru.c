#include "cache/lru.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/hashmap.h"

enum { SWEEP_FIRST = 256 };

struct lru_item {
	struct lru_item *prev; /* towards the more recently used; NULL when not in the order */
	struct lru_item *next;
	struct entry *entry;
	size_t weight; /* 0: not in the order */
	size_t len;
	char key[];
};

struct lru {
	struct hashmap *map; /* of struct lru_item */
	struct lru_item *first;
	struct lru_item *last;
	size_t weight;
	size_t count; /* items in the order */
	size_t max_weight;
	size_t max_count;
	size_t sweep_at; /* number of items at which to look for useless ones */
};

struct lru *lru_new(size_t max_weight, size_t max_count)
{
	struct lru *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->max_weight = max_weight;
	l->max_count = max_count;
	l->sweep_at = SWEEP_FIRST;
	l->map = hashmap_new();
	if (!l->map) {
		free(l);
		return NULL;
	}
	return l;
}

static void item_free(struct lru_item *item, struct entry **trash)
{
	item->entry->item = NULL;
	entry_drop(item->entry, trash);
	free(item);
}

static bool item_free_all(void *arg, const char *key, size_t len, void *value)
{
	(void)key;
	(void)len;
	item_free(value, arg);
	return false;
}

void lru_free(struct lru *l, struct entry **trash)
{
	if (!l)
		return;
	hashmap_filter(l->map, item_free_all, trash);
	hashmap_free(l->map);
	free(l);
}

static void order_unlink(struct lru *l, struct lru_item *item)
{
	*(item->prev ? &item->prev->next : &l->first) = item->next;
	*(item->next ? &item->next->prev : &l->last) = item->prev;
	item->prev = item->next = NULL;
}

static void order_push(struct lru *l, struct lru_item *item)
{
	item->prev = NULL;
	item->next = l->first;
	*(l->first ? &l->first->prev : &l->last) = item;
	l->first = item;
}

struct entry *lru_peek(struct lru *l, const void *key, size_t len)
{
	struct lru_item *item = hashmap_get(l->map, key, len);

	return item ? item->entry : NULL;
}

struct entry *lru_find(struct lru *l, const void *key, size_t len)
{
	struct lru_item *item = hashmap_get(l->map, key, len);

	if (!item)
		return NULL;
	if (item->weight) {
		order_unlink(l, item);
		order_push(l, item);
	}
	return item->entry;
}

struct sweep {
	const struct entry_time *time;
	struct entry **trash;
};

static bool item_keep_useful(void *arg, const char *key, size_t len, void *value)
{
	struct sweep *s = arg;
	struct lru_item *item = value;

	(void)key;
	(void)len;
	if (item->weight || entry_is_useful(item->entry, s->time))
		return true;
	item_free(item, s->trash);
	return false;
}

/* Failed entries would else stay for ever. Doubling the threshold keeps the cost a constant. */
static void lru_sweep(struct lru *l, const struct entry_time *t, struct entry **trash)
{
	struct sweep s = {t, trash};

	if (hashmap_count(l->map) < l->sweep_at)
		return;
	hashmap_filter(l->map, item_keep_useful, &s);
	l->sweep_at = 2 * hashmap_count(l->map) + SWEEP_FIRST;
}

int lru_add(struct lru *l, const void *key, size_t len, const struct entry_type *type,
	    const struct entry_time *t, struct entry **out, struct entry **trash)
{
	struct lru_item *item = calloc(1, sizeof(*item) + len);

	if (!item)
		return -ENOMEM;
	lru_sweep(l, t, trash);
	item->len = len;
	memcpy(item->key, key, len);
	item->entry = entry_new(type);
	if (!item->entry)
		goto err_item;
	if (hashmap_put(l->map, key, len, item))
		goto err_entry;
	item->entry->item = item;
	*out = item->entry;
	return 0;
err_entry:
	entry_drop(item->entry, trash);
err_item:
	free(item);
	return -ENOMEM;
}

static void lru_evict(struct lru *l, struct lru_item *item, struct entry **trash)
{
	order_unlink(l, item);
	l->weight -= item->weight;
	l->count--;
	hashmap_remove(l->map, item->key, item->len);
	item_free(item, trash);
}

void lru_loaded(struct lru *l, struct entry *e, size_t weight, struct entry **trash)
{
	struct lru_item *item = e->item;

	if (item->weight) {
		order_unlink(l, item);
		l->weight -= item->weight;
		l->count--;
	}
	item->weight = weight + sizeof(*item) + sizeof(*e) + 2 * item->len;
	l->weight += item->weight;
	l->count++;
	order_push(l, item);
	while (l->last && (l->weight > l->max_weight || l->count > l->max_count))
		lru_evict(l, l->last, trash);
}

size_t lru_weight(const struct lru *l)
{
	return l->weight;
}
