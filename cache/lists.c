#include "cache/lists.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/change.h"
#include "cache/recall.h"
#include "cache/written.h"

/* The entry_type functions of a record or list: the compiler wants their exact types. */
#define TYPE_FUNCTIONS(name)                  \
	static void *name##_any_ref(void *p)  \
	{                                     \
		return name##_ref(p);         \
	}                                     \
	static void name##_any_unref(void *p) \
	{                                     \
		name##_unref(p);              \
	}

#define LIST_FUNCTIONS(item)                                                                  \
	TYPE_FUNCTIONS(item##_list)                                                           \
	static bool item##_list_equal(const void *a, const void *b)                           \
	{                                                                                     \
		const struct item##_list *x = a, *y = b;                                      \
                                                                                              \
		if (x->count != y->count)                                                     \
			return false;                                                         \
		for (size_t i = 0; i < x->count; i++)                                         \
			if (!item##_equal(x->items[i], y->items[i]))                          \
				return false;                                                 \
		return true;                                                                  \
	}                                                                                     \
	/* A list that is gone is told as an empty one, unless it was that. */                \
	static void item##_list_tell(struct catalog *c, const struct want *w,                 \
				     enum catalog_event event, struct item##_list *before,    \
				     struct item##_list *after)                               \
	{                                                                                     \
		struct item##_list *empty = NULL;                                             \
                                                                                              \
		if (!after && before->count)                                                  \
			after = empty = item##_list_take(NULL, 0);                            \
		if (after)                                                                    \
			c->conf.changed(c->conf.changed_arg, event, w->scope, w->env, before, \
					after);                                               \
		item##_list_unref(empty);                                                     \
	}

LIST_FUNCTIONS(scope)
LIST_FUNCTIONS(env)
LIST_FUNCTIONS(version)
TYPE_FUNCTIONS(context)

/* ---- places ---- */

static int key_text(struct buf *key, const char *s)
{
	return buf_add(key, s ? s : "", s ? strlen(s) + 1 : 1);
}

int scope_key(struct buf *key, const struct scope *s)
{
	(void)buf_addch(key, s->kind == SCOPE_REGISTRY ? 'r' : 'w');
	(void)key_text(key, s->subscription);
	(void)key_text(key, s->resource_group);
	return key_text(key, s->name);
}

int context_key(struct buf *key, const struct scope *s, const struct version *v)
{
	(void)scope_key(key, s);
	return key_text(key, v->context_uri);
}

struct place *place_find(struct catalog *c, const struct buf *key)
{
	return hashmap_get(c->places, key->data, key->len);
}

static bool drop_version(void *arg, const char *key, size_t len, void *value)
{
	(void)key;
	(void)len;
	entry_drop(value, arg);
	return false;
}

static void place_clear(struct place *p, struct entry **trash)
{
	if (p->envs)
		entry_drop(p->envs, trash);
	p->envs = NULL;
	hashmap_filter(p->versions, drop_version, trash);
	readahead_reset(&p->readahead);
	p->walk = (struct walk){0};
}

void place_free(struct place *p, struct entry **trash)
{
	place_clear(p, trash);
	hashmap_free(p->versions);
	free(p);
}

static struct place *place_make(struct catalog *c, const struct buf *key)
{
	struct place *p = place_find(c, key);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->sweep_at = CATALOG_SWEEP_FIRST;
	p->versions = hashmap_new();
	if (p->versions && !hashmap_put(c->places, key->data, key->len, p))
		return p;
	hashmap_free(p->versions);
	free(p);
	return NULL;
}

/* ---- scopes ---- */

static int scopes_find(struct catalog *c, const struct want *w, struct entry **out,
		       struct entry **trash)
{
	(void)w;
	(void)trash;
	*out = c->scopes;
	return 0;
}

static int scopes_ask(struct catalog *c, const struct want *w, struct call *call, void **out,
		      struct err *e)
{
	struct scope_list *list = NULL;
	int rc = c->conf.source->ops->list_scopes(c->conf.source, call, &list, e);

	(void)w;
	*out = list;
	return rc;
}

struct clear_gone {
	struct catalog *c;
	struct written *written;
	uint64_t seen;
	struct entry **trash;
};

static bool clear_if_gone(void *arg, const char *key, size_t len, void *value)
{
	struct clear_gone *g = arg;
	struct place *p = value;
	const struct buf scope = {.data = (char *)(uintptr_t)key, .len = len};

	if (p->seen == g->seen)
		return true;
	place_clear(p, g->trash);
	written_forget(g->written, &scope, NULL);
	recall_drop_scope(g->c, &scope);
	return true;
}

/* What was known of scopes that are gone must not come back with a new one of that name. */
static void scopes_stored(struct catalog *c, const struct want *w, struct entry *entry,
			  void *snapshot, struct entry **trash)
{
	struct clear_gone g = {c, c->written, ++c->renewals, trash};
	const struct scope_list *list = snapshot;

	(void)w;
	(void)entry;
	for (size_t i = 0; list && i < list->count; i++) {
		_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
		struct place *p = NULL;

		if (!scope_key(&key, list->items[i]))
			p = place_find(c, &key);
		if (p)
			p->seen = g.seen;
	}
	hashmap_filter(c->places, clear_if_gone, &g);
}

static void scopes_changed(struct catalog *c, const struct want *w, void *before, void *after)
{
	scope_list_tell(c, w, CATALOG_SCOPES, before, after);
}

static void scopes_describe(const struct want *w, char *text, size_t size)
{
	(void)w;
	snprintf(text, size, "the list of workspaces and registries");
}

/* ---- environments ---- */

static int envs_find(struct catalog *c, const struct want *w, struct entry **out,
		     struct entry **trash)
{
	struct place *p = place_make(c, &w->key);

	(void)trash;
	if (p && !p->envs)
		p->envs = entry_new(&w->kind->type);
	*out = p ? p->envs : NULL;
	return *out ? 0 : -ENOMEM;
}

static int envs_ask(struct catalog *c, const struct want *w, struct call *call, void **out,
		    struct err *e)
{
	uint64_t asked = change_begin(c);
	struct env_list *list = NULL;
	int rc = c->conf.source->ops->list_envs(c->conf.source, w->scope, call, &list, e);

	if (!rc)
		rc = change_merge_envs(c, w, asked, &list, e);
	*out = list;
	return rc;
}

struct drop_gone {
	struct catalog *c;
	const struct want *want;     /* of the list of environments */
	const struct env_list *list; /* NULL: none is left */
	struct entry **trash;
};

static bool keep_listed(void *arg, const char *key, size_t len, void *value)
{
	struct drop_gone *g = arg;

	struct want versions = *g->want;

	if (g->list && env_list_find(g->list, key))
		return true;
	versions.kind = &fetch_versions;
	versions.env = key;
	recall_drop(g->c, &versions);
	return drop_version(g->trash, key, len, value);
}

static void envs_stored(struct catalog *c, const struct want *w, struct entry *entry,
			void *snapshot, struct entry **trash)
{
	struct drop_gone g = {c, w, snapshot, trash};
	struct place *p = place_find(c, &w->key);

	(void)entry;
	if (p)
		hashmap_filter(p->versions, keep_listed, &g);
}

static void envs_changed(struct catalog *c, const struct want *w, void *before, void *after)
{
	env_list_tell(c, w, CATALOG_ENVS, before, after);
}

static void envs_describe(const struct want *w, char *text, size_t size)
{
	snprintf(text, size, "the environments of %.200s", w->scope->name);
}

/* ---- versions ---- */

struct sweep {
	struct entry_time time;
	struct entry **trash;
};

static bool keep_useful(void *arg, const char *key, size_t len, void *value)
{
	struct sweep *s = arg;

	if (entry_is_useful(value, &s->time))
		return true;
	return drop_version(s->trash, key, len, value);
}

/* Names that don't exist would else stay for ever. Doubling keeps the cost a constant. */
static void place_sweep(struct catalog *c, struct place *p, struct entry **trash)
{
	struct sweep s = {catalog_time(c), trash};

	if (hashmap_count(p->versions) < p->sweep_at)
		return;
	hashmap_filter(p->versions, keep_useful, &s);
	p->sweep_at = 2 * hashmap_count(p->versions) + CATALOG_SWEEP_FIRST;
}

static int versions_find(struct catalog *c, const struct want *w, struct entry **out,
			 struct entry **trash)
{
	struct place *p = place_make(c, &w->key);
	size_t len = strlen(w->env);

	if (!p)
		return -ENOMEM;
	*out = hashmap_get(p->versions, w->env, len);
	if (*out)
		return 0;
	place_sweep(c, p, trash);
	*out = entry_new(&w->kind->type);
	if (!*out)
		return -ENOMEM;
	if (!hashmap_put(p->versions, w->env, len, *out))
		return 0;
	entry_drop(*out, trash);
	return -ENOMEM;
}

static int versions_ask(struct catalog *c, const struct want *w, struct call *call, void **out,
			struct err *e)
{
	uint64_t asked = change_begin(c);
	struct version_list *list = NULL;
	int rc = c->conf.source->ops->list_versions(c->conf.source, w->scope, w->env, call, &list,
						    e);

	rc = change_merge_versions(c, w, asked, rc, &list, e);
	*out = list;
	return rc;
}

static void versions_ahead(struct catalog *c, const struct want *w, struct entry **trash)
{
	struct place *p = place_find(c, &w->key);
	const struct env_list *list = p && p->envs ? p->envs->snapshot : NULL;
	struct readahead_range range;
	struct want next = *w;
	unsigned int before;
	bool listed, many;

	if (!list || !c->conf.readahead_max)
		return;
	before = p->readahead.window;
	many = list->count >= READAHEAD_LONG;
	listed = p->lister && w->who == p->lister;
	if (listed)
		p->lister = 0;
	range = (listed && many ? readahead_begin : readahead_read)(
		&p->readahead, list, readahead_position(list, w->env), c->conf.readahead_max);
	if (c->conf.walks && many && !before && p->readahead.window)
		c->conf.walks(c->conf.walks_arg, w->scope);
	for (size_t i = range.from; i < range.to; i++) {
		if (list->items[i]->archived != p->readahead.archived)
			continue;
		next.env = list->items[i]->name;
		fetch_ahead(c, &next, trash);
	}
}

static bool versions_walk(struct catalog *c, const struct want *w)
{
	struct place *p = place_find(c, &w->key);
	const struct env_list *list = p && p->envs ? p->envs->snapshot : NULL;

	return list && readahead_walks(&p->readahead, list, readahead_position(list, w->env));
}

/* A service that fails or throttles is not asked for more than somebody waits for. */
static void versions_ahead_failed(struct catalog *c, const struct want *w)
{
	struct place *p = place_find(c, &w->key);

	if (p)
		readahead_reset(&p->readahead);
}

static void versions_changed(struct catalog *c, const struct want *w, void *before, void *after)
{
	version_list_tell(c, w, CATALOG_VERSIONS, before, after);
}

static void versions_describe(const struct want *w, char *text, size_t size)
{
	snprintf(text, size, "the versions of %.200s/%.200s", w->scope->name, w->env);
}

/* ---- the files of a build context ---- */

static int context_find(struct catalog *c, const struct want *w, struct entry **out,
			struct entry **trash)
{
	struct entry_time t = catalog_time(c);

	*out = lru_find(c->contexts, w->key.data, w->key.len);
	if (*out)
		return 0;
	return lru_add(c->contexts, w->key.data, w->key.len, &w->kind->type, &t, out, trash);
}

static int context_ask(struct catalog *c, const struct want *w, struct call *call, void **out,
		       struct err *e)
{
	struct context *context = NULL;
	int rc = c->conf.source->ops->list_context(c->conf.source, w->scope, w->version, call,
						   &context, e);

	*out = context;
	return rc;
}

static void context_stored(struct catalog *c, const struct want *w, struct entry *entry,
			   void *snapshot, struct entry **trash)
{
	enum { TYPICAL_PATH = 64 };
	const struct context *context = snapshot;
	size_t file = sizeof(struct context_file) + TYPICAL_PATH;

	(void)w;
	if (context)
		lru_loaded(c->contexts, entry, sizeof(*context) + context->n_files * file, trash);
}

static void context_ahead_failed(struct catalog *c, const struct want *w)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	struct place *p = scope_key(&key, w->scope) ? NULL : place_find(c, &key);

	if (p)
		p->walk = (struct walk){0};
}

static void context_describe(const struct want *w, char *text, size_t size)
{
	snprintf(text, size, "the build context of %.200s:%.100s", w->version->env,
		 w->version->version);
}

#define LIST_TYPE(item)                                                     \
	{                                                                   \
		.ref = item##_list_any_ref, .unref = item##_list_any_unref, \
		.equal = item##_list_equal,                                 \
	}

const struct fetch_kind fetch_scopes = {
	.type = LIST_TYPE(scope),
	.find = scopes_find,
	.ask = scopes_ask,
	.stored = scopes_stored,
	.changed = scopes_changed,
	.describe = scopes_describe,
};

const struct fetch_kind fetch_envs = {
	.type = LIST_TYPE(env),
	.find = envs_find,
	.ask = envs_ask,
	.stored = envs_stored,
	.changed = envs_changed,
	.describe = envs_describe,
};

const struct fetch_kind fetch_versions = {
	.type = LIST_TYPE(version),
	.find = versions_find,
	.ask = versions_ask,
	.ahead = versions_ahead,
	.walks = versions_walk,
	.ahead_failed = versions_ahead_failed,
	.changed = versions_changed,
	.describe = versions_describe,
};

const struct fetch_kind fetch_context = {
	.type = {.ref = context_any_ref, .unref = context_any_unref, .forever = true},
	.find = context_find,
	.ask = context_ask,
	.stored = context_stored,
	.ahead = walk_contexts,
	.ahead_failed = context_ahead_failed,
	.describe = context_describe,
};
