#include "fs/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/dockerfile.h"
#include "fs/name.h"
#include "fs/tree_int.h"
#include "fs/whiteout.h"

/* The identity of listings that never change: of a version and of a build context. */
enum { FIXED_LISTING = 1 };

/* The root's inode number: where local files, which have numbers of their own, hang. */
enum { FUSE_ROOT = 1 };

static const char ANONYMOUS_ENV[] = "CliV2AnonymousEnvironment";

/* ---- listings ---- */

struct listing *tree_listing_new(size_t room)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->cap = room ? room : 1;
	l->items = calloc(l->cap, sizeof(*l->items));
	l->text_cap = l->cap;
	l->texts = calloc(l->text_cap, sizeof(*l->texts));
	if (!l->items || !l->texts) {
		listing_free(l);
		return NULL;
	}
	return l;
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_texts; i++)
		free(l->texts[i]);
	free(l->texts);
	free(l->items);
	scope_list_unref(l->scopes);
	env_list_unref(l->envs);
	version_list_unref(l->versions);
	ctxtree_unref(l->ctx);
	scope_unref(l->scope);
	version_unref(l->version);
	free(l);
}

/* Adds an item; its name is used as it is when it lives as long as the listing, else copied. */
static int add(struct listing *l, struct tree_item item, const char *encoded)
{
	if (encoded) {
		char *copy = strdup(encoded);

		if (!copy || l->n_texts >= l->text_cap) {
			free(copy);
			return -ENOMEM;
		}
		l->texts[l->n_texts++] = copy;
		item.name = copy;
	}
	if (l->count >= l->cap)
		return -ENOMEM;
	if (!item.own_name)
		item.own_name = "";
	l->items[l->count++] = item;
	return 0;
}

int tree_add_copy(struct listing *l, struct tree_item item, const char *name, const char *own_name,
		  const char *local)
{
	char **slots[] = {(char **)&item.name, (char **)&item.own_name, (char **)&item.local};
	const char *const texts[] = {name, own_name, local};

	if (l->count == l->cap || l->n_texts + 3 > l->text_cap) {
		size_t cap = 2 * l->cap + 8, text_cap = l->text_cap + 3 * cap;
		struct tree_item *items = reallocarray(l->items, cap, sizeof(*items));
		char **all;

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
		all = reallocarray(l->texts, text_cap, sizeof(*all));
		if (!all)
			return -ENOMEM;
		l->texts = all;
		l->text_cap = text_cap;
	}
	for (size_t i = 0; i < 3; i++) {
		*slots[i] = texts[i] ? strdup(texts[i]) : NULL;
		if (texts[i] && !*slots[i])
			return -ENOMEM;
		if (texts[i])
			l->texts[l->n_texts++] = *slots[i];
	}
	return add(l, item, NULL);
}

/* The encoded form of text when it differs from it, else NULL. */
static const char *encoded(enum name_place place, const char *text, char out[NAME_SIZE])
{
	name_encode(place, text, strlen(text), out);
	return strcmp(out, text) == 0 ? NULL : out;
}

static struct tree_item inherited(const struct node *dir, enum node_kind kind, const char *name)
{
	return (struct tree_item){
		.kind = kind, .archived = dir->archived, .name = name, .scope = dir->scope};
}

/* ---- the root ---- */

const char *tree_scope_key(const struct scope *s, char out[SCOPE_KEY_SIZE])
{
	snprintf(out, SCOPE_KEY_SIZE, "%s\n%s\n%s", s->name,
		 s->resource_group ? s->resource_group : "",
		 s->subscription ? s->subscription : "");
	return out;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What a scope's directory is called: enough of it to tell it from its namesakes. */
static void scope_dir_name(const struct scope_list *list, const struct scope *s,
			   char out[NAME_SIZE])
{
	char plain[NAME_SIZE], text[3 * NAME_SIZE];
	bool twin = false, same_group = false;

	name_encode(NAME_SCOPE, s->name, strlen(s->name), plain);
	if (s->kind == SCOPE_REGISTRY) {
		snprintf(text, sizeof(text), "@%s", plain);
		name_encode(NAME_CONTEXT, text, strlen(text), out);
		return;
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct scope *o = list->items[i];

		if (o == s || o->kind != s->kind || strcmp(o->name, s->name) != 0)
			continue;
		twin = true;
		same_group |= same_text(o->resource_group, s->resource_group);
	}
	if (!twin) {
		memcpy(out, plain, NAME_SIZE);
		return;
	}
	snprintf(text, sizeof(text), "%s@%s%s%s", plain, s->resource_group ? s->resource_group : "",
		 same_group ? "@" : "", same_group && s->subscription ? s->subscription : "");
	name_encode(NAME_CONTEXT, text, strlen(text), out);
}

static int add_scope(struct listing *l, struct scope *s, const char *name)
{
	char key[SCOPE_KEY_SIZE];
	struct tree_item item = {.kind = NODE_SCOPE, .scope = s};
	char *copy = strdup(tree_scope_key(s, key));

	if (!copy || l->n_texts >= l->text_cap) {
		free(copy);
		return -ENOMEM;
	}
	l->texts[l->n_texts++] = copy;
	item.own_name = copy;
	return add(l, item, name);
}

static int list_root(struct fsys *fs, const char *wanted, struct call *c, struct listing **out,
		     struct err *e)
{
	struct scope_list *scopes;
	char name[NAME_SIZE];
	int rc = catalog_scopes(fs->catalog, c, &scopes, e);

	if (rc)
		return rc;
	*out = tree_listing_new(2 * scopes->count);
	if (!*out) {
		scope_list_unref(scopes);
		return -ENOMEM;
	}
	(*out)->scopes = scopes;
	(*out)->identity = scopes->serial;
	for (size_t i = 0; !rc && i < scopes->count; i++) {
		scope_dir_name(scopes, scopes->items[i], name);
		if (!wanted || strcmp(wanted, name) == 0)
			rc = add_scope(*out, scopes->items[i], name);
	}
	return rc;
}

/* ---- a workspace or registry, and its .archived ---- */

static bool env_shown(const struct fsys *fs, const struct env *env)
{
	return fs->anonymous || strcmp(env->name, ANONYMOUS_ENV) != 0;
}

/* Whether the environment has something to show below .archived. Asks for its versions. */
static int has_archived(struct fsys *fs, struct scope *s, struct env *env, struct call *c,
			bool *out, struct err *e)
{
	struct version_list *versions;
	int rc;

	*out = env->archived;
	if (env->archived)
		return 0;
	rc = catalog_versions(fs->catalog, s, env->name, c, &versions, e);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (size_t i = 0; i < versions->count && !*out; i++)
		*out = versions->items[i]->archived;
	version_list_unref(versions);
	return 0;
}

static uint64_t env_number(const struct node *dir, const struct env *env)
{
	char name[NAME_SIZE];

	name_encode(NAME_ENV, env->name, strlen(env->name), name);
	return node_number(dir->ino, NODE_ENV, name);
}

static int env_belongs(struct fsys *fs, struct node *dir, struct env *env, struct call *c,
		       bool *out, struct err *e)
{
	*out = false;
	if (!env_shown(fs, env))
		return 0;
	if (!dir->archived) {
		*out = !env->archived;
		return 0;
	}
	return has_archived(fs, dir->scope, env, c, out, e);
}

static int add_env(struct listing *l, struct node *dir, struct env *env)
{
	struct tree_item item = inherited(dir, NODE_ENV, env->name);
	char name[NAME_SIZE];

	item.own_name = env->name;
	item.env = env;
	return add(l, item, encoded(NAME_ENV, env->name, name));
}

static struct tree_item archive_item(const struct node *dir)
{
	struct tree_item item = inherited(dir, NODE_ARCHIVE, ".archived");

	item.archived = true;
	return item;
}

/* Whether an error says something about one environment, and there is time for the others. */
static bool is_of_one_env(int rc, struct call *c)
{
	return rc != -ECANCELED && rc != -ENOMEM && rc != -EHOSTUNREACH && rc != -EBUSY &&
	       !call_check(c);
}

static int list_envs(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
		     struct err *e)
{
	struct env_list *envs;
	int rc = catalog_envs(fs->catalog, dir->scope, c, &envs, e);

	if (rc)
		return rc;
	*out = tree_listing_new(envs->count);
	if (!*out) {
		env_list_unref(envs);
		return -ENOMEM;
	}
	(*out)->envs = envs;
	/* Which environments .archived shows depends on more than this one list. */
	(*out)->identity = dir->archived ? 0 : envs->serial;
	(*out)->scope = scope_ref(dir->scope);
	for (size_t i = 0; !rc && i < envs->count; i++) {
		bool belongs;

		rc = env_belongs(fs, dir, envs->items[i], c, &belongs, e);
		if (rc && is_of_one_env(rc, c)) {
			/* Not known: shown, so that who copies the tree sees the error. */
			belongs = true;
			rc = 0;
		}
		if (!rc && belongs)
			rc = add_env(*out, dir, envs->items[i]);
	}
	return rc;
}

static struct env *find_env(const struct env_list *envs, const char *name)
{
	char text[NAME_SIZE];
	size_t len;

	if (!name_decode(NAME_ENV, name, text, &len))
		return env_list_find(envs, text);
	for (size_t i = 0; strstr(name, "%~") && i < envs->count; i++) {
		name_encode(NAME_ENV, envs->items[i]->name, strlen(envs->items[i]->name), text);
		if (strcmp(text, name) == 0)
			return envs->items[i];
	}
	return NULL;
}

static int lookup_env(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		      struct listing *l, struct err *e)
{
	struct env *env;
	bool belongs;
	int rc;

	l->scope = scope_ref(dir->scope);
	if (!dir->archived && strcmp(name, ".archived") == 0)
		return add(l, archive_item(dir), NULL);
	rc = catalog_envs(fs->catalog, dir->scope, c, &l->envs, e);
	if (rc)
		return rc;
	env = find_env(l->envs, name);
	if (!env)
		return -ENOENT;
	rc = env_belongs(fs, dir, env, c, &belongs, e);
	if (rc)
		return rc;
	/* One that was emptied a moment ago is still there for the rmdir that is about to follow.
	 */
	belongs |= dir->archived && whiteout_has(fs->emptied, dir->ino, env_number(dir, env));
	return belongs ? add_env(l, dir, env) : -ENOENT;
}

/* ---- an environment ---- */

/* Below .archived: everything of an archived environment, else what is archived itself. */
static bool version_belongs(const struct fsys *fs, const struct node *dir, bool env_archived,
			    const struct version *v)
{
	if (v->anonymous && !fs->anonymous)
		return false;
	return dir->archived ? env_archived || v->archived : !v->archived;
}

static bool env_is_archived(struct fsys *fs, struct node *dir)
{
	struct env *env = node_get_env(fs->nodes, dir);
	bool archived = env && env->archived;

	env_unref(env);
	return archived;
}

static int add_version(struct listing *l, struct node *dir, struct version *v)
{
	struct tree_item item = inherited(dir, NODE_VERSION, v->version);
	char name[NAME_SIZE];

	item.own_name = v->version;
	item.version = v;
	return add(l, item, encoded(NAME_VERSION, v->version, name));
}

/* While rm -r takes out the versions, `latest` stays for its unlink, wherever it points. */
static int add_latest(struct fsys *fs, struct listing *l, struct node *dir)
{
	struct tree_item item = inherited(dir, NODE_LATEST, "latest");

	if (dir->archived)
		return 0;
	item.version = version_list_latest(l->versions);
	if (!item.version && !whiteout_any(fs->whiteouts, dir->ino))
		return 0;
	return add(l, item, NULL);
}

static int list_versions(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
			 struct err *e)
{
	bool env_archived = env_is_archived(fs, dir);
	struct version_list *versions;
	int rc = catalog_versions(fs->catalog, dir->scope, dir->name, c, &versions, e);

	if (rc)
		return rc;
	*out = tree_listing_new(versions->count + 1);
	if (!*out) {
		version_list_unref(versions);
		return -ENOMEM;
	}
	(*out)->versions = versions;
	(*out)->identity = versions->serial;
	(*out)->scope = scope_ref(dir->scope);
	for (size_t i = 0; !rc && i < versions->count; i++)
		if (version_belongs(fs, dir, env_archived, versions->items[i]))
			rc = add_version(*out, dir, versions->items[i]);
	return rc ? rc : add_latest(fs, *out, dir);
}

static struct version *find_version(const struct version_list *versions, const char *name)
{
	char text[NAME_SIZE];
	size_t len;

	if (!name_decode(NAME_VERSION, name, text, &len))
		return version_list_find(versions, text);
	for (size_t i = 0; strstr(name, "%~") && i < versions->count; i++) {
		const char *v = versions->items[i]->version;

		name_encode(NAME_VERSION, v, strlen(v), text);
		if (strcmp(text, name) == 0)
			return versions->items[i];
	}
	return NULL;
}

static int lookup_version(struct fsys *fs, struct node *dir, const char *name, struct call *c,
			  struct listing *l, struct err *e)
{
	struct version *v;
	int rc = catalog_versions(fs->catalog, dir->scope, dir->name, c, &l->versions, e);

	if (rc)
		return rc;
	l->scope = scope_ref(dir->scope);
	if (strcmp(name, "latest") == 0) {
		rc = add_latest(fs, l, dir);
		return rc || l->count ? rc : -ENOENT;
	}
	v = find_version(l->versions, name);
	if (!v || !version_belongs(fs, dir, env_is_archived(fs, dir), v))
		return -ENOENT;
	return add_version(l, dir, v);
}

int tree_latest(struct fsys *fs, struct node *env, struct call *c, struct version **out,
		struct err *e)
{
	struct version_list *versions;
	int rc = catalog_versions(fs->catalog, env->scope, env->name, c, &versions, e);

	*out = NULL;
	if (rc)
		return rc;
	*out = version_ref(version_list_latest(versions));
	version_list_unref(versions);
	return 0;
}

/* ---- a version ---- */

static bool version_has(const struct version *v, enum node_kind kind)
{
	switch (kind) {
	case NODE_SPEC:
	case NODE_BUILD_LOG:
		return true;
	case NODE_CONDA:
		return v->conda != NULL;
	case NODE_CONTEXT:
		return version_context_has_files(v);
	case NODE_DOCKERFILE:
		return version_context_has_files(v) || dockerfile_is_derived(v);
	default:
		return false;
	}
}

static const struct {
	const char *name;
	enum node_kind kind;
} version_files[] = {
	{"Dockerfile", NODE_DOCKERFILE}, {"build.log", NODE_BUILD_LOG}, {"conda.yml", NODE_CONDA},
	{"context", NODE_CONTEXT},       {"spec.yml", NODE_SPEC},
};

static int list_version(struct fsys *fs, struct node *dir, const char *wanted, struct listing **out)
{
	size_t n = sizeof(version_files) / sizeof(*version_files);
	int rc = 0;

	*out = tree_listing_new(n);
	if (!*out)
		return -ENOMEM;
	(*out)->version = node_get_version(fs->nodes, dir);
	(*out)->identity = FIXED_LISTING;
	(*out)->scope = scope_ref(dir->scope);
	for (size_t i = 0; !rc && i < n; i++) {
		struct tree_item item =
			inherited(dir, version_files[i].kind, version_files[i].name);

		if (wanted && strcmp(wanted, item.name) != 0)
			continue;
		if (version_has((*out)->version, item.kind))
			rc = add(*out, item, NULL);
	}
	return rc;
}

/* ---- a build context ---- */

struct node *tree_version_of(struct node *n)
{
	while (n && n->kind != NODE_VERSION)
		n = n->parent;
	return n;
}

int tree_context(struct fsys *fs, struct node *version, struct call *c, struct ctxtree **out,
		 struct err *e)
{
	struct version *v = node_get_version(fs->nodes, version);
	struct context *ctx;
	int rc;

	*out = node_get_tree(fs->nodes, version);
	/* A version that was made anew has another context. */
	if (*out && same_text(ctxtree_context(*out)->uri, v->context_uri)) {
		version_unref(v);
		return 0;
	}
	ctxtree_unref(*out);
	*out = NULL;
	rc = catalog_context(fs->catalog, version->scope, v, c, &ctx, e);
	version_unref(v);
	if (rc)
		return rc;
	rc = ctxtree_new(ctx, out, e);
	context_unref(ctx);
	if (!rc)
		node_set_tree(fs->nodes, version, *out);
	return rc;
}

/* The tree and the place in it that a NODE_CONTEXT directory stands for. */
static int context_place(struct fsys *fs, struct node *dir, struct call *c, struct ctxtree **tree,
			 uint32_t *index, struct err *e)
{
	*index = dir->ctx_index;
	if (dir->ctx) {
		*tree = ctxtree_ref(dir->ctx);
		return 0;
	}
	return tree_context(fs, dir->parent, c, tree, e);
}

static int add_context(struct listing *l, struct node *dir, uint32_t index)
{
	struct tree_item item = inherited(dir, NODE_CONTEXT, ctxtree_get(l->ctx, index)->name);

	item.ctx = l->ctx;
	item.ctx_index = index;
	return add(l, item, NULL);
}

static int list_context(struct fsys *fs, struct node *dir, const char *wanted, struct call *c,
			struct listing **out, struct err *e)
{
	const struct ctxtree_entry *place;
	struct ctxtree *tree;
	uint32_t index;
	int rc = context_place(fs, dir, c, &tree, &index, e);

	if (rc)
		return rc;
	place = ctxtree_get(tree, index);
	*out = tree_listing_new(wanted ? 1 : place->count);
	if (!*out) {
		ctxtree_unref(tree);
		return -ENOMEM;
	}
	(*out)->ctx = tree;
	(*out)->identity = FIXED_LISTING;
	(*out)->scope = scope_ref(dir->scope);
	if (place->file)
		return -ENOTDIR;
	if (wanted) {
		int64_t found = ctxtree_find(tree, index, wanted);

		return found < 0 ? -ENOENT : add_context(*out, dir, (uint32_t)found);
	}
	for (uint32_t i = 0; !rc && i < place->count; i++)
		rc = add_context(*out, dir, place->first + i);
	return rc;
}

/* ---- all of them ---- */

int tree_list_any(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
		  struct err *e)
{
	switch (dir->kind) {
	case NODE_ROOT:
		return list_root(fs, NULL, c, out, e);
	case NODE_SCOPE:
	case NODE_ARCHIVE:
		return list_envs(fs, dir, c, out, e);
	case NODE_ENV:
		return list_versions(fs, dir, c, out, e);
	case NODE_VERSION:
		return list_version(fs, dir, NULL, out);
	case NODE_CONTEXT:
		return list_context(fs, dir, NULL, c, out, e);
	default:
		return -ENOTDIR;
	}
}

int tree_lookup_any(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		    struct listing **out, struct err *e)
{
	switch (dir->kind) {
	case NODE_ROOT:
		return list_root(fs, name, c, out, e);
	case NODE_SCOPE:
	case NODE_ARCHIVE:
	case NODE_ENV:
		*out = tree_listing_new(2);
		if (!*out)
			return -ENOMEM;
		return dir->kind == NODE_ENV ? lookup_version(fs, dir, name, c, *out, e)
					     : lookup_env(fs, dir, name, c, *out, e);
	case NODE_VERSION:
		return list_version(fs, dir, name, out);
	case NODE_CONTEXT:
		return list_context(fs, dir, name, c, out, e);
	default:
		return -ENOTDIR;
	}
}

uint64_t tree_number(const struct node *dir, const struct tree_item *item)
{
	/* A draft has the number of the version that it becomes. */
	if (item->kind == NODE_LOCAL && dir->kind == NODE_ENV && S_ISDIR(item->type) &&
	    !tree_is_draft_name(item->name))
		return node_number(dir->ino, NODE_VERSION, item->name);
	if (item->kind == NODE_LOCAL)
		return node_number(FUSE_ROOT, item->kind, item->own_name);
	return node_number(dir->ino, item->kind,
			   item->kind == NODE_SCOPE ? item->own_name : item->name);
}

uint64_t tree_group(struct node *dir)
{
	struct node *version = tree_version_of(dir);

	return version ? version->ino : dir->ino;
}

struct node *tree_intern(struct fsys *fs, struct node *dir, const struct tree_item *item)
{
	struct node_fields f = {
		.kind = item->kind,
		.archived = item->archived,
		.ctx_index = item->ctx_index,
		.scope = item->scope,
		.name = item->own_name,
		.label = item->kind == NODE_SCOPE ? item->own_name : item->name,
		.env = item->env,
		.version = item->version,
		.ctx = item->ctx,
		.local = item->local,
	};

	return node_intern(fs->nodes, dir, &f);
}

/* ---- keeping nodes up to date ---- */

static int refresh_env(struct fsys *fs, struct node *n, struct call *c, struct err *e)
{
	struct env_list *envs;
	struct env *env;
	int rc = catalog_envs(fs->catalog, n->scope, c, &envs, e);

	if (rc)
		return rc;
	env = env_list_find(envs, n->name);
	if (env)
		node_set_env(fs->nodes, n, env);
	env_list_unref(envs);
	return 0;
}

static int refresh_version(struct fsys *fs, struct node *n, struct call *c, struct err *e)
{
	struct version_list *versions;
	struct version *v;
	int rc = catalog_versions(fs->catalog, n->scope, n->parent->name, c, &versions, e);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	v = version_list_find(versions, n->name);
	if (v)
		node_set_version(fs->nodes, n, v);
	version_list_unref(versions);
	return 0;
}

int tree_refresh(struct fsys *fs, struct node *n, struct call *c, struct err *e)
{
	if (node_is_local(fs->nodes, n))
		return 0;
	switch (n->kind) {
	case NODE_ENV:
		return refresh_env(fs, n, c, e);
	case NODE_VERSION:
		return refresh_version(fs, n, c, e);
	case NODE_SPEC:
		return refresh_version(fs, n->parent, c, e);
	default:
		return 0;
	}
}
