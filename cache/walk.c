#include "cache/walk.h"

#include <string.h>

#include "cache/blocks.h"
#include "cache/fetch.h"
#include "cache/lists.h"

static unsigned int wider(const struct catalog *c, unsigned int window)
{
	unsigned int max = c->conf.readahead_max;

	if (!window)
		return max < READAHEAD_FIRST ? max : READAHEAD_FIRST;
	return window > max / 2 ? max : 2 * window;
}

/* ---- files ---- */

/* Asks for the beginnings of n files of a context. */
static void files_ahead(struct catalog *c, struct scope *scope, struct context *context,
			size_t first, unsigned int n, struct entry **trash)
{
	struct want w = {
		.kind = &fetch_block,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = scope,
		.context = context,
	};
	uint64_t room = c->conf.content_max / WALK_SHARE;

	for (size_t i = first; n && i < context->n_files; i++) {
		w.file = &context->files[i];
		if (!w.file->size || w.file->size > WALK_FILE_MAX)
			continue;
		if (w.file->size > room)
			break;
		room -= w.file->size;
		n--;
		buf_reset(&w.key);
		if (!block_key(&w.key, &w))
			fetch_ahead(c, &w, trash);
	}
	buf_free(&w.key);
}

void walk_files(struct catalog *c, const struct want *w, struct entry **trash)
{
	struct file_walk *walk = &c->file_walk;
	size_t file = (size_t)(w->file - w->context->files);
	bool same = walk->context == w->context;

	if (!c->conf.readahead_max || (same && file == walk->file))
		return;
	/* The next context is begun with what the last one has come to. */
	if (same ? file > walk->file && file - walk->file <= walk->window + 1
		 : walk->window && file <= 1)
		walk->window = wider(c, walk->window);
	else
		walk->window = 0;
	walk->context = w->context;
	walk->file = file;
	if (walk->window)
		files_ahead(c, w->scope, w->context, file + 1, walk->window, trash);
}

/* ---- contexts ---- */

static const struct version_list *versions_of(const struct place *p, const struct env *env)
{
	const struct entry *entry = hashmap_get(p->versions, env->name, strlen(env->name));

	return entry ? entry->snapshot : NULL;
}

static size_t version_position(const struct version_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i]->version, name) == 0)
			return i;
	return list->count;
}

/* Asks for the context of v; of one that is known, and in a walk through files, for its files. */
static void context_ahead(struct catalog *c, const struct want *w, struct version *v,
			  struct entry **trash)
{
	struct want next = *w;
	struct entry *known;

	next.key = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	next.version = v;
	if (!context_key(&next.key, w->scope, v)) {
		fetch_ahead(c, &next, trash);
		known = lru_peek(c->contexts, next.key.data, next.key.len);
		if (known && known->snapshot && c->file_walk.window)
			files_ahead(c, w->scope, known->snapshot, 0, c->file_walk.window, trash);
	}
	buf_free(&next.key);
}

/* The next contexts behind the walk's place, as far as versions are known. */
static void contexts_ahead(struct catalog *c, const struct want *w, struct place *p,
			   struct entry **trash)
{
	const struct env_list *envs = p->envs->snapshot;
	size_t from = p->walk.version, scanned = 0;
	unsigned int left = p->walk.window;

	for (size_t i = p->walk.env - 1; left && i < envs->count && scanned < WALK_SCAN; i++) {
		const struct version_list *list = versions_of(p, envs->items[i]);

		for (size_t j = from; list && left && j < list->count; j++, scanned++) {
			struct version *v = list->items[j];

			if (v->archived != w->version->archived || !version_context_has_files(v))
				continue;
			context_ahead(c, w, v, trash);
			left--;
		}
		from = 0;
		scanned++;
	}
}

/* Whether (env, version) comes after the last place, and not far. */
static bool goes_on(const struct walk *walk, const struct catalog *c, size_t env, size_t version)
{
	if (!walk->env || env < walk->env || env - walk->env > c->conf.readahead_max)
		return false;
	return env > walk->env || version > walk->version;
}

void walk_contexts(struct catalog *c, const struct want *w, struct entry **trash)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	const struct version_list *list = NULL;
	const struct env_list *envs;
	size_t env, version;
	struct place *p;

	if (!c->conf.readahead_max || scope_key(&key, w->scope))
		return;
	p = place_find(c, &key);
	envs = p && p->envs ? p->envs->snapshot : NULL;
	if (!envs)
		return;
	env = readahead_position(envs, w->version->env);
	if (env < envs->count)
		list = versions_of(p, envs->items[env]);
	if (!list)
		return;
	version = version_position(list, w->version->version) + 1;
	env++;
	if (env == p->walk.env && version == p->walk.version)
		return;
	p->walk.window = goes_on(&p->walk, c, env, version) ? wider(c, p->walk.window) : 0;
	p->walk.env = env;
	p->walk.version = version;
	if (p->walk.window)
		contexts_ahead(c, w, p, trash);
}
