#include "cache/recall.h"

#include <errno.h>

#include "cache/blocks.h"
#include "cache/lists.h"
#include "client/clock.h"

/* The list that is meant; false: it is none. */
static bool list_of(const struct catalog *c, const struct want *w, struct store_list *out)
{
	if (w->kind == &fetch_scopes)
		*out = (struct store_list){.kind = RECORD_SCOPE, .key = &c->view};
	else if (w->kind == &fetch_envs)
		*out = (struct store_list){.kind = RECORD_ENV, .key = &w->key};
	else if (w->kind == &fetch_versions)
		*out = (struct store_list){.kind = RECORD_VERSION, .key = &w->key, .env = w->env};
	else
		return false;
	return true;
}

/* A time that is still to come says nothing. */
static int64_t age_of(int64_t learnt)
{
	int64_t age = clock_wall() - learnt;

	return age > 0 ? age : 0;
}

static int get_context(struct catalog *c, const struct want *w, struct recalled *out)
{
	struct context *context;
	int rc = store_get_context(c->conf.store, &w->key, &context);

	out->snapshot = context;
	return rc;
}

int recall_get(struct catalog *c, const struct want *w, struct recalled *out)
{
	struct store_found found;
	struct store_list l;
	int rc;

	*out = (struct recalled){0};
	if (!c->conf.store)
		return -ENOENT;
	if (w->kind == &fetch_context)
		return get_context(c, w, out);
	if (w->kind == &fetch_block)
		return block_recall(c, w, &out->snapshot);
	if (!list_of(c, w, &l))
		return -ENOENT;
	rc = store_get_list(c->conf.store, &l, &found);
	if (rc)
		return rc;
	*out = (struct recalled){found.list, age_of(found.learnt), found.doubtful};
	return 0;
}

void recall_keep(struct catalog *c, const struct want *w, void *snapshot, bool same, bool settled)
{
	struct store *s = c->conf.store;
	struct store_list l;

	if (!s)
		return;
	if (w->kind == &fetch_context)
		store_put_context(s, &w->key, snapshot);
	else if (w->kind == &fetch_block)
		block_keep(c, w, snapshot);
	else if (list_of(c, w, &l) && same)
		store_touch_list(s, &l, clock_wall(), settled);
	else if (list_of(c, w, &l))
		store_put_list(s, &l, snapshot, clock_wall(), settled);
}

void recall_keep_known(struct catalog *c, const struct want *w, void *snapshot, int64_t age)
{
	struct store_list l;

	if (!c->conf.store)
		return;
	if (list_of(c, w, &l))
		store_put_list(c->conf.store, &l, snapshot, clock_wall() - age, false);
	else
		recall_keep(c, w, snapshot, false, false);
}

void recall_change(struct catalog *c, const struct want *w, void *list, int64_t age)
{
	struct store_list l;

	if (c->conf.store && list_of(c, w, &l))
		store_change_list(c->conf.store, &l, list, clock_wall() - age);
}

void recall_drop(struct catalog *c, const struct want *w)
{
	struct store_list l;

	if (c->conf.store && list_of(c, w, &l))
		store_drop_list(c->conf.store, &l);
}

void recall_drop_scope(struct catalog *c, const struct buf *key)
{
	if (c->conf.store)
		store_drop_scope(c->conf.store, key);
}

struct store_doubt *recall_doubt(struct catalog *c, const struct want *w)
{
	struct store_list l;

	return c->conf.store && list_of(c, w, &l) ? store_doubt_begin(c->conf.store, &l) : NULL;
}

void recall_doubt_end(struct catalog *c, struct store_doubt *doubt_take, bool settled)
{
	if (c->conf.store)
		store_doubt_end(c->conf.store, doubt_take, settled);
}
