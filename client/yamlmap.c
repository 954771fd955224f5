/*
 * The pairs of a mapping while a tree is loaded: keys are checked, "<<" is merged, doubles refused.
 * Sorting keeps all of it in n log n, whatever a file has in it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/utf8.h"
#include "client/yamltree_int.h"

/* A pair while a map is put together; rank is the order written, own pairs before merged ones. */
struct pair {
	struct yaml_node *key, *value;
	size_t rank;
	bool merged;
};

struct pairs {
	struct pair *at;
	size_t count, cap;
};

static void pairs_cleanup(struct pairs *p)
{
	free(p->at);
}
#define _cleanup_pairs_ __attribute__((cleanup(pairs_cleanup)))

static int pairs_add(struct pairs *p, struct yaml_node *key, struct yaml_node *value, bool merged)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct pair *at = realloc(p->at, cap * sizeof(*at));

		if (!at)
			return -ENOMEM;
		p->at = at;
		p->cap = cap;
	}
	p->at[p->count] = (struct pair){key, value, p->count, merged};
	p->count++;
	return 0;
}

static int pair_key_order(const void *pa, const void *pb)
{
	const struct pair *a = pa, *b = pb;
	int c = strcmp(a->key->text, b->key->text);

	if (c)
		return c;
	return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static int pair_rank_order(const void *pa, const void *pb)
{
	const struct pair *a = pa, *b = pb;

	return a->rank < b->rank ? -1 : a->rank > b->rank;
}

/* Keys have a bound that lets every form they are written in be a simple key again. */
static int check_key(struct loader *l, const struct yaml_node *key)
{
	size_t cost = 0;
	uint32_t cp;

	if (key->kind == YAML_MAP)
		return yamltree_fail_node(l, key,
					  "a key must be a text (or is it a {{placeholder}} that "
					  "was not filled in?)");
	if (key->kind != YAML_SCALAR)
		return yamltree_fail_node(l, key, "a key must be a text");
	for (size_t i = 0, n; i < key->len; i += n) {
		n = utf8_decode(key->text + i, key->len - i, &cp);
		if (!n)
			n = 1;
		cost += utf8_printable(cp) && cp != '"' && cp != '\\' ? 1 : 6;
	}
	return cost > YAML_KEY_MAX ? yamltree_fail_node(l, key, "this key is too long") : 0;
}

static int merge_map(struct loader *l, struct pairs *pairs, const struct yaml_node *from)
{
	if (from->kind != YAML_MAP)
		return yamltree_fail_node(l, from, "\"<<\" merges mappings only");
	for (size_t i = 0; i < from->count; i++)
		if (pairs_add(pairs, from->keys[i], from->items[i], true))
			return yamltree_no_memory(l);
	return 0;
}

static int merge(struct loader *l, struct pairs *pairs, const struct yaml_node *from)
{
	int rc = 0;

	if (from->kind != YAML_LIST)
		return merge_map(l, pairs, from);
	for (size_t i = 0; i < from->count && !rc; i++)
		rc = merge_map(l, pairs, from->items[i]);
	return rc;
}

static bool is_merge_key(const struct yaml_node *key)
{
	return key->plain && strcmp(key->text, "<<") == 0;
}

/* The pairs as written, then those merged in (YAML 1.1). */
static int collect_pairs(struct loader *l, const struct nodes *list, struct pairs *pairs)
{
	int rc = 0;

	for (size_t i = 0; i < list->count && !rc; i += 2) {
		struct yaml_node *key = &list->at[i]->pub;

		rc = check_key(l, key);
		if (!rc && !is_merge_key(key) &&
		    pairs_add(pairs, key, &list->at[i + 1]->pub, false))
			rc = yamltree_no_memory(l);
	}
	for (size_t i = 0; i < list->count && !rc; i += 2)
		if (is_merge_key(&list->at[i]->pub))
			rc = merge(l, pairs, &list->at[i + 1]->pub);
	return rc;
}

/* Drops merged pairs whose key was there before; a key written twice is an error. */
static int drop_doubles(struct loader *l, struct pairs *pairs)
{
	size_t kept = 0;

	if (pairs->count)
		qsort(pairs->at, pairs->count, sizeof(*pairs->at), pair_key_order);
	for (size_t i = 0; i < pairs->count; i++) {
		const struct pair *p = &pairs->at[i];

		if (kept && strcmp(pairs->at[kept - 1].key->text, p->key->text) == 0) {
			if (!p->merged)
				return yamltree_fail_node(l, p->key, "this key is given twice");
			continue;
		}
		pairs->at[kept++] = *p;
	}
	pairs->count = kept;
	if (kept)
		qsort(pairs->at, kept, sizeof(*pairs->at), pair_rank_order);
	return 0;
}

static int set_pairs(struct loader *l, struct node *n, const struct pairs *pairs)
{
	size_t size = pairs->count * sizeof(struct yaml_node *);
	struct yaml_node **keys = yamltree_alloc(l->tree, size);
	struct yaml_node **items = yamltree_alloc(l->tree, size);

	if (!keys || !items)
		return yamltree_no_memory(l);
	for (size_t i = 0; i < pairs->count; i++) {
		keys[i] = pairs->at[i].key;
		items[i] = pairs->at[i].value;
	}
	n->pub.keys = keys;
	n->pub.items = items;
	n->pub.count = pairs->count;
	return 0;
}

int yamltree_map_fill(struct loader *l, struct node *map, const struct nodes *list)
{
	_cleanup_pairs_ struct pairs pairs = {0};
	int rc = collect_pairs(l, list, &pairs);

	if (!rc)
		rc = drop_doubles(l, &pairs);
	if (!rc)
		rc = set_pairs(l, map, &pairs);
	return rc;
}
