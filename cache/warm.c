#include "cache/warm.h"

#include <errno.h>
#include <string.h>

#include "cache/blocks.h"
#include "cache/lists.h"
#include "cache/recall.h"
#include "cache/store.h"

static int no_store(struct err *e)
{
	return err_set(e, -EOPNOTSUPP, "nothing is kept on the disk: `mlenvfs status` says why");
}

static uint64_t lost(struct catalog *c)
{
	struct store_stats s;

	store_get_stats(c->conf.store, &s);
	return s.lost + s.off;
}

int warm_finish(struct catalog *c, struct call *call, struct err *e)
{
	int rc;

	if (!c->conf.store)
		return no_store(e);
	rc = store_flush(c->conf.store, call->deadline);
	return rc ? err_set(e, rc, "the cache's disk is too slow") : 0;
}

/* Waits for what was queued since `before` things were lost. */
static int finish(struct catalog *c, uint64_t before, struct call *call, struct err *e)
{
	int rc = warm_finish(c, call, e);

	if (!rc && lost(c) != before)
		rc = err_set(e, -EIO, "the cache can't be written: is the disk full?");
	return rc;
}

/* Locked. The entry of a list; NULL: there is none. */
static const struct entry *list_entry(struct catalog *c, const struct want *w)
{
	const struct place *p;

	if (w->kind == &fetch_scopes)
		return c->scopes;
	p = place_find(c, &w->key);
	if (!p || !w->env)
		return p ? p->envs : NULL;
	return hashmap_get(p->versions, w->env, strlen(w->env));
}

/* As it is known now, not as it was read: a change that was made meanwhile must not be undone. */
static void keep_list(struct catalog *c, const struct want *w)
{
	const struct entry *entry;

	catalog_lock(c);
	entry = list_entry(c, w);
	if (entry && entry->snapshot)
		recall_keep_known(c, w, entry->snapshot, c->conf.now() - entry->stamp);
	catalog_unlock(c);
}

static int get_list(struct catalog *c, const struct want *w, struct call *call, struct err *e)
{
	uint64_t before = lost(c);
	void *list;
	int rc = fetch_get(c, w, call, &list, e);

	if (rc)
		return rc;
	w->kind->type.unref(list);
	keep_list(c, w);
	return finish(c, before, call, e);
}

int warm_list(struct catalog *c, struct scope *s, const char *env, struct call *call, struct err *e)
{
	struct want w = {
		.kind = !s    ? &fetch_scopes
			: env ? &fetch_versions
			      : &fetch_envs,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = s,
		.env = env,
	};
	int rc = s ? scope_key(&w.key, s) : 0;

	if (!c->conf.store)
		rc = no_store(e);
	else if (rc)
		err_set(e, rc, "the names of what is wanted are too long");
	if (!rc)
		rc = get_list(c, &w, call, e);
	buf_free(&w.key);
	return rc;
}

int warm_context(struct catalog *c, struct scope *s, struct version *v, struct call *call,
		 struct err *e)
{
	struct want w = {
		.kind = &fetch_context, .key = BUF_INIT(CATALOG_KEY_MAX), .scope = s, .version = v};
	struct context *context = NULL;
	uint64_t before;
	int rc;

	if (!c->conf.store)
		return no_store(e);
	if (!version_context_has_files(v))
		return 0;
	before = lost(c);
	rc = context_key(&w.key, s, v);
	if (!rc)
		rc = catalog_context(c, s, v, call, &context, e);
	if (!rc) {
		recall_keep_known(c, &w, context, 0);
		context_unref(context);
		rc = finish(c, before, call, e);
	}
	buf_free(&w.key);
	return rc;
}

/* One block: from the disk, where it is checked, or through memory to the disk. */
static int warm_block(struct catalog *c, const struct want *w, struct call *call, struct err *e)
{
	uint64_t before = lost(c);
	void *block;
	int rc = block_recall(c, w, &block);

	if (!rc) {
		w->kind->type.unref(block);
		return 0;
	}
	rc = fetch_get(c, w, call, &block, e);
	if (rc)
		return rc;
	recall_keep_known(c, w, block, 0);
	w->kind->type.unref(block);
	return finish(c, before, call, e);
}

int warm_content(struct catalog *c, struct scope *s, struct context *ctx,
		 const struct context_file *file, uint64_t offset, uint64_t len, struct call *call,
		 struct err *e)
{
	struct want w = {
		.kind = &fetch_block,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = s,
		.context = ctx,
		.file = file,
	};
	uint64_t end = len < file->size - offset ? offset + len : file->size;
	int rc = c->conf.store ? 0 : no_store(e);

	for (w.index = offset / BLOCK_SIZE; !rc && w.index * BLOCK_SIZE < end; w.index++) {
		buf_reset(&w.key);
		rc = block_key(&w.key, &w);
		if (!rc)
			rc = warm_block(c, &w, call, e);
	}
	buf_free(&w.key);
	return rc;
}
