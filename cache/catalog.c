#include "cache/catalog.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/behind.h"
#include "cache/blocks.h"
#include "cache/catalog_int.h"
#include "cache/fetch.h"
#include "cache/lists.h"
#include "cache/recall.h"
#include "cache/written.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/turns.h"

/* ---- the lock and the time ---- */

/* The mutex checks for errors, so that taking it twice fails loudly in every build. */
void catalog_lock(struct catalog *c)
{
	int rc = pthread_mutex_lock(&c->lock);

	assert(rc == 0);
	(void)rc;
}

void catalog_unlock(struct catalog *c)
{
	int rc = pthread_mutex_unlock(&c->lock);

	assert(rc == 0);
	(void)rc;
}

static int lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;
	int rc = pthread_mutexattr_init(&attr);

	if (rc)
		return -rc;
	rc = pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	if (!rc)
		rc = pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -rc;
}

struct entry_time catalog_time(const struct catalog *c)
{
	return (struct entry_time){
		.now = c->conf.now(),
		.refresh = c->conf.refresh,
		.negative = c->conf.negative,
		.floor = c->floor,
		.away = c->away,
	};
}

/* ---- from start to end ---- */

static bool free_place(void *arg, const char *key, size_t len, void *value)
{
	(void)key;
	(void)len;
	place_free(value, arg);
	return false;
}

/* Frees what catalog_new() made; works on half-made ones. */
static void catalog_release(struct catalog *c)
{
	struct entry *trash = NULL;

	behind_clear(c, &trash);
	if (c->places)
		hashmap_filter(c->places, free_place, &trash);
	hashmap_free(c->places);
	lru_free(c->contexts, &trash);
	lru_free(c->blocks, &trash);
	if (c->scopes)
		entry_drop(c->scopes, &trash);
	entry_trash_free(trash);
	written_free(c->written);
	turns_free(c->turns);
	buf_free(&c->view);
	free(c);
}

static bool catalog_fill(struct catalog *c)
{
	c->scopes = entry_new(&fetch_scopes.type);
	c->places = hashmap_new();
	c->contexts = lru_new(CATALOG_CONTEXT_BYTES, CATALOG_CONTEXTS);
	c->blocks = lru_new(c->conf.content_max, SIZE_MAX);
	c->written = written_new();
	return !buf_addstr(&c->view, c->conf.view ? c->conf.view : "") && c->scopes && c->places &&
	       c->contexts && c->blocks && c->written && !turns_new(&c->turns);
}

struct catalog *catalog_new(const struct catalog_conf *conf, struct err *e)
{
	enum { SPARE_QUEUE = 16 };
	struct flights_conf flights = {
		.max = conf->max_in_flight,
		.prefetch_queue = 2 * (size_t)conf->readahead_max + SPARE_QUEUE,
		.deadline = conf->request_deadline,
	};
	struct catalog *c = calloc(1, sizeof(*c));

	if (!c)
		goto err;
	c->conf = *conf;
	if (!c->conf.now)
		c->conf.now = clock_mono;
	c->epoch = 1;
	c->behind.last = &c->behind.first;
	c->view = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	if (!catalog_fill(c) || lock_init(&c->lock))
		goto err_catalog;
	c->flights = flights_new(&flights, e);
	if (!c->flights)
		goto err_lock;
	return c;
err_lock:
	pthread_mutex_destroy(&c->lock);
err_catalog:
	catalog_release(c);
err:
	err_set(e, -ENOMEM, "no memory for the cache");
	return NULL;
}

static void catalog_close(struct catalog *c)
{
	catalog_lock(c);
	c->stopped = true;
	catalog_unlock(c);
	flights_stop(c->flights);
}

void catalog_stop(struct catalog *c)
{
	catalog_close(c);
	c->conf.source->ops->stop(c->conf.source);
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	catalog_close(c);
	flights_free(c->flights);
	pthread_mutex_destroy(&c->lock);
	catalog_release(c);
}

/* ---- reading ---- */

int catalog_scopes(struct catalog *c, struct call *call, struct scope_list **out, struct err *e)
{
	struct want w = {.kind = &fetch_scopes};
	void *list;
	int rc = fetch_get(c, &w, call, &list, e);

	*out = list;
	return rc;
}

static int name_too_long(struct err *e, int rc)
{
	return err_set(e, rc, "the names of what is wanted are too long");
}

int catalog_envs(struct catalog *c, struct scope *s, struct call *call, struct env_list **out,
		 struct err *e)
{
	struct want w = {.kind = &fetch_envs, .key = BUF_INIT(CATALOG_KEY_MAX), .scope = s};
	void *list = NULL;
	int rc = scope_key(&w.key, s);

	rc = rc ? name_too_long(e, rc) : fetch_get(c, &w, call, &list, e);
	buf_free(&w.key);
	*out = list;
	return rc;
}

int catalog_versions(struct catalog *c, struct scope *s, const char *env, struct call *call,
		     struct version_list **out, struct err *e)
{
	struct want w = {
		.kind = &fetch_versions,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = s,
		.env = env,
		.who = call->who,
	};
	void *list = NULL;
	int rc = scope_key(&w.key, s);

	rc = rc ? name_too_long(e, rc) : fetch_get(c, &w, call, &list, e);
	buf_free(&w.key);
	*out = list;
	return rc;
}

void catalog_listed(struct catalog *c, const struct scope *s, int64_t who)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	struct place *p;

	if (scope_key(&key, s))
		return;
	catalog_lock(c);
	p = place_find(c, &key);
	if (p)
		p->lister = who;
	catalog_unlock(c);
}

int catalog_context(struct catalog *c, struct scope *s, struct version *v, struct call *call,
		    struct context **out, struct err *e)
{
	struct want w = {
		.kind = &fetch_context,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = s,
		.version = v,
	};
	void *context = NULL;
	int rc;

	*out = NULL;
	if (!v->context_uri)
		return err_set(e, -EINVAL, "the version has no build context");
	rc = context_key(&w.key, s, v);
	rc = rc ? name_too_long(e, rc) : fetch_get(c, &w, call, &context, e);
	buf_free(&w.key);
	*out = context;
	return rc;
}

/* ---- looking without asking ---- */

static void *peek(const struct entry *entry)
{
	return entry && entry->snapshot ? entry->type->ref(entry->snapshot) : NULL;
}

int catalog_peek_versions(struct catalog *c, struct scope *s, const char *env,
			  struct version_list **out)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	struct place *p;

	*out = NULL;
	if (scope_key(&key, s))
		return 0;
	catalog_lock(c);
	p = place_find(c, &key);
	if (p)
		*out = peek(hashmap_get(p->versions, env, strlen(env)));
	catalog_unlock(c);
	return *out != NULL;
}

int catalog_peek_context(struct catalog *c, struct scope *s, struct version *v,
			 struct context **out)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);

	*out = NULL;
	if (!v->context_uri || context_key(&key, s, v))
		return 0;
	catalog_lock(c);
	*out = peek(lru_find(c->contexts, key.data, key.len));
	catalog_unlock(c);
	return *out != NULL;
}

static const struct entry *list_entry(struct catalog *c, const struct buf *key, const char *env)
{
	const struct place *p;

	if (!key->len)
		return c->scopes;
	p = place_find(c, key);
	if (!p || !env)
		return p ? p->envs : NULL;
	return hashmap_get(p->versions, env, strlen(env));
}

int64_t catalog_left(struct catalog *c, struct scope *s, const char *env)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	const struct entry *entry;
	struct entry_time t;
	int64_t left = 0;

	if (s && scope_key(&key, s))
		return 0;
	catalog_lock(c);
	t = catalog_time(c);
	entry = list_entry(c, &key, env);
	if (entry)
		left = entry_left(entry, &t);
	catalog_unlock(c);
	return left;
}

/* ---- changing ---- */

static struct scope_list *list_with(const struct scope_list *old, struct scope *extra)
{
	_cleanup_free_ struct scope **items = calloc(old->count + 1, sizeof(struct scope *));

	if (!items)
		return NULL;
	for (size_t i = 0; i < old->count; i++)
		items[i] = scope_ref(old->items[i]);
	items[old->count] = scope_ref(extra);
	return scope_list_take(items, old->count + 1);
}

/* Without a list, or the memory for another one, the next reader asks. */
static void scopes_add(struct catalog *c, struct scope *s)
{
	struct entry *entry = c->scopes;
	struct scope_list *list = NULL;
	const struct want w = {.kind = &fetch_scopes};
	struct entry_time t;
	void *old = NULL;

	catalog_lock(c);
	t = catalog_time(c);
	if (entry->snapshot)
		list = list_with(entry->snapshot, s);
	c->epoch++;
	if (list) {
		recall_change(c, &w, list, t.now - entry->stamp);
		old = entry_amend(entry, c->epoch, list, &t);
	} else {
		entry_invalidate(entry, c->epoch);
		recall_drop(c, &w);
	}
	c->epoch++;
	catalog_unlock(c);
	scope_list_unref(old);
}

int catalog_create_workspace(struct catalog *c, const char *name, struct call *call,
			     struct scope **out, struct err *e)
{
	const struct want scopes = {.kind = &fetch_scopes};
	struct source *source = c->conf.source;
	struct store_doubt *doubt;
	bool stopped;
	int rc;

	*out = NULL;
	catalog_lock(c);
	stopped = c->stopped;
	catalog_unlock(c);
	if (stopped)
		return fetch_stopped(e);
	doubt = recall_doubt(c, &scopes);
	rc = source->ops->create_workspace(source, name, call, out, e);
	if (!rc)
		scopes_add(c, *out);
	recall_doubt_end(c, doubt, !rc);
	return rc;
}

void catalog_expire(struct catalog *c)
{
	catalog_lock(c);
	c->floor = ++c->epoch;
	catalog_unlock(c);
}

/* ---- counting ---- */

struct survey {
	int64_t now;
	int64_t oldest; /* age */
	size_t lists;
	size_t unconfirmed;
};

static void survey_take(struct survey *s, const struct entry *entry)
{
	if (!entry)
		return;
	s->lists++;
	s->unconfirmed += entry->snapshot && entry->remembered;
	if (entry->snapshot && s->now - entry->stamp > s->oldest)
		s->oldest = s->now - entry->stamp;
}

static bool survey_version(void *arg, const char *key, size_t len, void *value)
{
	(void)key;
	(void)len;
	survey_take(arg, value);
	return true;
}

static bool survey_place(void *arg, const char *key, size_t len, void *value)
{
	struct place *p = value;

	(void)key;
	(void)len;
	survey_take(arg, p->envs);
	hashmap_filter(p->versions, survey_version, arg);
	return true;
}

void catalog_get_stats(struct catalog *c, struct catalog_stats *out)
{
	struct survey s = {.now = c->conf.now()};

	catalog_lock(c);
	*out = c->stats;
	out->content_bytes = lru_weight(c->blocks);
	out->behind = c->behind.waiting + c->behind.running;
	out->away = c->away != 0;
	survey_take(&s, c->scopes);
	hashmap_filter(c->places, survey_place, &s);
	catalog_unlock(c);
	out->oldest_age = s.oldest;
	out->lists = s.lists;
	out->unconfirmed = s.unconfirmed;
}
