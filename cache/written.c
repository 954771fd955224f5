/*
 * What a list says of a name, and what we wrote of it, make what is shown:
 *
 *   we wrote          the list has it                     the list does not have it
 *   ----------------  ----------------------------------  -------------------------------------
 *   it is new         the list's                   shown  ours
 *   a change of what  the list's, with what we changed;   nothing: somebody deleted it    shown
 *     was known       nothing differs              shown
 *   a change of what  ours; it says the same       shown  ours
 *     was not known
 *   it is deleted     nothing                             nothing                         shown
 *
 * "shown": the write needs no remembering any more. A record that was made and then changed counts
 * as a change of what was known, but is added where it is missing; one that was deleted and made
 * again as a change of what was not known, because a list may still show the old one.
 */
#include "cache/written.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/hashmap.h"
#include "client/cleanup.h"

enum { SWEEP_FIRST = 64, KEY_MAX = 64 * 1024 };

/* What a kind of record can do. */
struct record_ops {
	void *(*ref)(void *record);
	void (*unref)(void *record);
	const char *(*name)(const void *record);
	/* The record to be shown (a new reference); listed itself when it says what we wrote. */
	void *(*resolve)(void *listed, const void *before, void *after);
};

struct written_item {
	const struct record_ops *ops;
	char *name;
	void *before;
	void *after;
	bool created;
	bool shown;
	uint64_t epoch;
	int64_t until;
};

struct written {
	struct hashmap *lists; /* key of the scope, env -> hashmap of name -> struct written_item */
	size_t sweep_at;
};

/* ---- records ---- */

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static const struct kv *find_tag(const struct version *v, const char *key)
{
	for (size_t i = 0; i < v->n_tags; i++)
		if (strcmp(v->tags[i].key, key) == 0)
			return &v->tags[i];
	return NULL;
}

static bool tag_same(const struct kv *a, const struct kv *b)
{
	return a && b ? text_equal(a->value, b->value) : a == b;
}

/* The listed tags with the difference between before and after; returns how many. */
static size_t rebase_tags(const struct version *listed, const struct version *before,
			  const struct version *after, struct kv *out)
{
	size_t n = 0;

	for (size_t i = 0; i < listed->n_tags; i++) {
		const struct kv *was = find_tag(before, listed->tags[i].key);
		const struct kv *is = find_tag(after, listed->tags[i].key);

		if (tag_same(was, is))
			out[n++] = listed->tags[i];
		else if (is)
			out[n++] = *is;
	}
	for (size_t i = 0; i < after->n_tags; i++) {
		const struct kv *is = &after->tags[i];

		if (!find_tag(listed, is->key) && !tag_same(find_tag(before, is->key), is))
			out[n++] = *is;
	}
	return n;
}

static struct version *version_rebase(struct version *listed, const struct version *before,
				      const struct version *after)
{
	_cleanup_free_ struct kv *tags =
		calloc(listed->n_tags + after->n_tags + 1, sizeof(struct kv));
	struct version fields = version_copy_fields(listed);
	struct version *v;

	if (!tags)
		return NULL;
	fields.n_tags = rebase_tags(listed, before, after, tags);
	fields.tags = tags;
	if (!text_equal(before->description, after->description))
		fields.description = after->description;
	if (before->archived != after->archived)
		fields.archived = after->archived;
	v = version_new(&fields);
	if (!v || !version_equal(v, listed))
		return v;
	version_unref(v);
	return version_ref(listed);
}

static void *version_resolve(void *listed, const void *before, void *after)
{
	const struct version *l = listed, *a = after;

	if (before)
		return version_rebase(listed, before, after);
	return version_ref(version_same_content(l, a) && l->archived == a->archived ? listed
										    : after);
}

static void *env_resolve(void *listed, const void *before, void *after)
{
	const struct env *l = listed, *b = before, *a = after;
	struct env fields = env_copy_fields(l);

	if (l->archived == a->archived || (b && b->archived == a->archived))
		return env_ref(listed);
	fields.archived = a->archived;
	return env_new(&fields);
}

#define RECORD_OPS(type, key)                             \
	static void *type##_any_ref(void *p)              \
	{                                                 \
		return type##_ref(p);                     \
	}                                                 \
	static void type##_any_unref(void *p)             \
	{                                                 \
		type##_unref(p);                          \
	}                                                 \
	static const char *type##_any_name(const void *p) \
	{                                                 \
		return ((const struct type *)p)->key;     \
	}                                                 \
	static const struct record_ops type##_ops = {     \
		.ref = type##_any_ref,                    \
		.unref = type##_any_unref,                \
		.name = type##_any_name,                  \
		.resolve = type##_resolve,                \
	};

RECORD_OPS(version, version)
RECORD_OPS(env, name)

/* ---- items ---- */

static void item_clear(struct written_item *item)
{
	if (item->before)
		item->ops->unref(item->before);
	if (item->after)
		item->ops->unref(item->after);
	free(item->name);
	*item = (struct written_item){0};
}

static void item_free(struct written_item *item)
{
	item_clear(item);
	free(item);
}

static void *maybe_ref(const struct record_ops *ops, void *record)
{
	return record ? ops->ref(record) : NULL;
}

/* A copy with references of its own. False: no memory. */
static bool item_copy(struct written_item *to, const struct written_item *from)
{
	*to = *from;
	to->name = strdup(from->name);
	to->before = maybe_ref(from->ops, from->before);
	to->after = maybe_ref(from->ops, from->after);
	if (to->name)
		return true;
	item_clear(to);
	return false;
}

static bool drop_item(void *arg, const char *key, size_t len, void *value)
{
	(void)arg;
	(void)key;
	(void)len;
	item_free(value);
	return false;
}

static bool keep_live(void *arg, const char *key, size_t len, void *value)
{
	const int64_t *now = arg;

	return ((struct written_item *)value)->until > *now || drop_item(NULL, key, len, value);
}

/* ---- lists of them ---- */

struct written *written_new(void)
{
	struct written *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->sweep_at = SWEEP_FIRST;
	w->lists = hashmap_new();
	if (w->lists)
		return w;
	free(w);
	return NULL;
}

static bool drop_list(void *arg, const char *key, size_t len, void *value)
{
	(void)arg;
	(void)key;
	(void)len;
	hashmap_filter(value, drop_item, NULL);
	hashmap_free(value);
	return false;
}

void written_free(struct written *w)
{
	if (!w)
		return;
	hashmap_filter(w->lists, drop_list, NULL);
	hashmap_free(w->lists);
	free(w);
}

static int list_key(struct buf *out, const struct buf *key, const char *env)
{
	int rc = buf_add(out, key->data, key->len);

	return rc || !env ? rc : buf_add(out, env, strlen(env) + 1);
}

/* NULL: nothing was written to that list. */
static struct hashmap *find_list(struct written *w, const struct buf *key, const char *env)
{
	_cleanup_buf_ struct buf k = BUF_INIT(KEY_MAX);

	return list_key(&k, key, env) ? NULL : hashmap_get(w->lists, k.data, k.len);
}

static bool keep_live_list(void *arg, const char *key, size_t len, void *value)
{
	hashmap_filter(value, keep_live, arg);
	return hashmap_count(value) || drop_list(NULL, key, len, value);
}

/* Doubling keeps the cost a constant. */
static void sweep(struct written *w, int64_t now)
{
	if (hashmap_count(w->lists) < w->sweep_at)
		return;
	hashmap_filter(w->lists, keep_live_list, &now);
	w->sweep_at = 2 * hashmap_count(w->lists) + SWEEP_FIRST;
}

static struct hashmap *make_list(struct written *w, const struct write *write)
{
	struct hashmap *list = find_list(w, write->key, write->env);
	_cleanup_buf_ struct buf k = BUF_INIT(KEY_MAX);

	if (list || list_key(&k, write->key, write->env))
		return list;
	sweep(w, write->now);
	list = hashmap_new();
	if (!list || !hashmap_put(w->lists, k.data, k.len, list))
		return list;
	hashmap_free(list);
	return NULL;
}

/* ---- writing ---- */

/* What is remembered of the write before this one to the same name; old may be NULL. */
static void item_follow(struct written_item *item, struct written_item *old)
{
	if (!old || !item->after)
		return;
	if (item->before)
		item->ops->unref(item->before);
	item->before = NULL;
	item->created = old->created;
	if (old->after && old->created && !old->before)
		item->before = steal_ptr(&old->after);
	else if (old->after)
		item->before = steal_ptr(&old->before);
}

static struct written_item *item_new(const struct write *write)
{
	struct written_item from = {
		.ops = write->env ? &version_ops : &env_ops,
		.name = (char *)(uintptr_t)write->name,
		.before = write->after ? write->before : NULL,
		.after = write->after,
		.created = write->created && write->after,
		.epoch = write->epoch,
		.until = write->now + WRITTEN_KEPT,
	};
	struct written_item *item = calloc(1, sizeof(*item));

	if (item && item_copy(item, &from))
		return item;
	free(item);
	return NULL;
}

int written_add(struct written *w, const struct write *write)
{
	struct written_item *item = item_new(write), *old = NULL;
	struct hashmap *list = make_list(w, write);
	size_t len = strlen(write->name);
	int64_t now = write->now;
	int rc = -ENOMEM;

	if (list) {
		hashmap_filter(list, keep_live, &now);
		old = hashmap_remove(list, write->name, len);
	}
	if (list && item) {
		item_follow(item, old);
		rc = hashmap_put(list, write->name, len, item);
	}
	if (old)
		item_free(old);
	if (rc && item)
		item_free(item);
	return rc;
}

struct forget {
	const char *key;
	size_t len;
};

static bool keep_others(void *arg, const char *key, size_t len, void *value)
{
	const struct forget *f = arg;

	if (len < f->len || memcmp(key, f->key, f->len) != 0)
		return true;
	return drop_list(NULL, key, len, value);
}

/* Every part of a key ends with NUL, so a key that begins with another is a part of it. */
void written_forget(struct written *w, const struct buf *key, const char *env)
{
	_cleanup_buf_ struct buf k = BUF_INIT(KEY_MAX);
	struct forget f;

	if (!hashmap_count(w->lists) || list_key(&k, key, env))
		return;
	f = (struct forget){k.data, k.len};
	hashmap_filter(w->lists, keep_others, &f);
}

bool written_is_deleted(struct written *w, const struct buf *key, const char *env, int64_t now)
{
	const struct hashmap *list = find_list(w, key, NULL);
	const struct written_item *item = list ? hashmap_get(list, env, strlen(env)) : NULL;

	return item && !item->after && item->until > now;
}

/* ---- merging ---- */

static int item_order(const void *a, const void *b)
{
	return strcmp(((const struct written_item *)a)->name,
		      ((const struct written_item *)b)->name);
}

struct take {
	struct writes *out;
	bool failed;
};

static bool take_item(void *arg, const char *key, size_t len, void *value)
{
	struct take *t = arg;

	(void)key;
	(void)len;
	if (item_copy(&t->out->items[t->out->n], value))
		t->out->n++;
	else
		t->failed = true;
	return true;
}

int written_get(struct written *w, const struct buf *key, const char *env, int64_t now,
		struct writes *out)
{
	struct hashmap *list = find_list(w, key, env);
	struct take t = {.out = out};

	*out = (struct writes){0};
	if (!list)
		return 0;
	hashmap_filter(list, keep_live, &now);
	if (!hashmap_count(list))
		return 0;
	out->items = calloc(hashmap_count(list), sizeof(*out->items));
	if (!out->items)
		return -ENOMEM;
	hashmap_filter(list, take_item, &t);
	if (t.failed) {
		writes_clear(out);
		return -ENOMEM;
	}
	qsort(out->items, out->n, sizeof(*out->items), item_order);
	return 0;
}

void writes_clear(struct writes *writes)
{
	for (size_t i = 0; i < writes->n; i++)
		item_clear(&writes->items[i]);
	free(writes->items);
	*writes = (struct writes){0};
}

bool writes_create(const struct writes *writes)
{
	for (size_t i = 0; i < writes->n; i++)
		if (writes->items[i].after && writes->items[i].created)
			return true;
	return false;
}

/* A merge of two sorted arrays. */
struct merge {
	void **out;
	size_t n;
	bool differs; /* from what was listed */
};

static int merge_missing(struct merge *m, struct written_item *item)
{
	if (item->after && (item->created || !item->before)) {
		m->out[m->n++] = item->ops->ref(item->after);
		m->differs = true;
	} else {
		item->shown = true;
	}
	return 0;
}

static int merge_both(struct merge *m, struct written_item *item, void *listed)
{
	void *record;

	if (!item->after) {
		m->differs = true;
		return 0;
	}
	if (item->created && !item->before)
		record = item->ops->ref(listed);
	else
		record = item->ops->resolve(listed, item->before, item->after);
	if (!record)
		return -ENOMEM;
	item->shown = record == listed;
	m->differs |= record != listed;
	m->out[m->n++] = record;
	return 0;
}

static int merge(struct merge *m, struct writes *w, void *const *listed, size_t n,
		 const struct record_ops *ops)
{
	size_t i = 0, k = 0;
	int rc = 0;

	while (!rc && (i < n || k < w->n)) {
		int order = i == n ? 1 : k == w->n ? -1 : 0;

		if (!order)
			order = strcmp(ops->name(listed[i]), w->items[k].name);
		if (order < 0)
			m->out[m->n++] = ops->ref(listed[i++]);
		else if (order > 0)
			rc = merge_missing(m, &w->items[k++]);
		else
			rc = merge_both(m, &w->items[k++], listed[i++]);
	}
	return rc;
}

static void merge_drop(struct merge *m, const struct record_ops *ops)
{
	for (size_t i = 0; i < m->n; i++)
		ops->unref(m->out[i]);
}

#define DEFINE_LIST(type)                                                                         \
	struct type##_list *writes_merge_##type##s(struct writes *w,                              \
						   struct type##_list *list_take)                 \
	{                                                                                         \
		_cleanup_free_ void **out = calloc(list_take->count + w->n + 1, sizeof(*out));    \
		struct type##_list *list = list_take, *merged = NULL;                             \
		struct merge m = {.out = out};                                                    \
		int rc = out ? merge(&m, w, (void *const *)list->items, list->count, &type##_ops) \
			     : -ENOMEM;                                                           \
                                                                                                  \
		if (!rc && m.differs)                                                             \
			merged = type##_list_take((struct type **)m.out, m.n);                    \
		else                                                                              \
			merge_drop(&m, &type##_ops);                                              \
		if (!rc && !m.differs)                                                            \
			return list;                                                              \
		type##_list_unref(list);                                                          \
		return merged;                                                                    \
	}                                                                                         \
	struct type##_list *type##_list_with(const struct type##_list *l, const char *name,       \
					     struct type *record)                                 \
	{                                                                                         \
		_cleanup_free_ struct type **items = calloc(l->count + 1, sizeof(*items));        \
		size_t n = 0;                                                                     \
                                                                                                  \
		if (!items)                                                                       \
			return NULL;                                                              \
		for (size_t i = 0; i < l->count; i++)                                             \
			if (strcmp(type##_any_name(l->items[i]), name) != 0)                      \
				items[n++] = type##_ref(l->items[i]);                             \
		if (record)                                                                       \
			items[n++] = type##_ref(record);                                          \
		return type##_list_take(items, n);                                                \
	}

DEFINE_LIST(version)
DEFINE_LIST(env)

void written_settle(struct written *w, const struct buf *key, const char *env,
		    const struct writes *writes, uint64_t asked)
{
	struct hashmap *list = find_list(w, key, env);

	for (size_t i = 0; list && i < writes->n; i++) {
		const struct written_item *seen = &writes->items[i];
		size_t len = strlen(seen->name);
		const struct written_item *item = hashmap_get(list, seen->name, len);

		if (seen->shown && item && item->epoch == seen->epoch && item->epoch < asked)
			item_free(hashmap_remove(list, seen->name, len));
	}
}
