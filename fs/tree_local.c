/* tree_local - drafts in the tree: real directories beside the published versions. */
#include "fs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/publish.h"
#include "fs/settle.h"
#include "fs/tempname.h"
#include "fs/upper.h"

bool tree_is_draft_name(const char *name)
{
	return name[0] == '.' && name[strspn(name, ".")] && strcmp(name, ".archived") != 0;
}

static struct tree_item *find_item(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].name, name) == 0)
			return &l->items[i];
	return NULL;
}

static bool listed(const struct listing *l, const char *name)
{
	return find_item(l, name) != NULL;
}

/* Gone in between is no error: it is not listed. What is listed already goes before. */
static int add_file(struct fsys *fs, struct listing *l, struct node *dir, const char *path,
		    const char *name)
{
	struct tree_item item = {.kind = NODE_LOCAL, .scope = dir->scope};
	_cleanup_free_ char *at = NULL;
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;
	int rc;

	if (listed(l, name))
		return 0;
	at = local_join(path, name);
	rc = at ? local_identify(fs->local, at, &st, number) : -ENOMEM;
	if (rc)
		return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
	item.type = st.st_mode & S_IFMT;
	l->identity = 0;
	return tree_add_copy(l, item, name, number, at);
}

/* Where names of the disk are added to. */
struct adding {
	struct fsys *fs;
	struct listing *l;
	struct node *dir;
};

static int add_name(void *arg, const char *path, const char *name)
{
	const struct adding *a = arg;

	return add_file(a->fs, a->l, a->dir, path, name);
}

static int add_files(struct fsys *fs, struct listing *l, struct node *dir, const char *path,
		     const char *wanted)
{
	struct adding a = {fs, l, dir};
	int rc;

	if (wanted)
		return add_file(fs, l, dir, path, wanted);
	rc = local_each(fs->local, path, add_name, &a);
	return rc == -ENOENT ? 0 : rc;
}

static int add_local_env(struct fsys *fs, struct listing *l, struct node *dir, const char *path,
			 const char *name)
{
	struct tree_item item = {.kind = NODE_ENV, .scope = dir->scope};
	_cleanup_free_ char *at = local_join(path, name);
	char own[NAME_SIZE];
	struct stat st;
	size_t len;

	if (!at)
		return -ENOMEM;
	if (local_stat(fs->local, at, &st) || !S_ISDIR(st.st_mode) || listed(l, name) ||
	    name_decode(NAME_ENV, name, own, &len) || (l->envs && env_list_find(l->envs, own)))
		return 0;
	l->identity = 0;
	return tree_add_copy(l, item, name, own, NULL);
}

static int add_env_name(void *arg, const char *path, const char *name)
{
	const struct adding *a = arg;

	return add_local_env(a->fs, a->l, a->dir, path, name);
}

static int add_local_envs(struct fsys *fs, struct listing *l, struct node *dir, const char *wanted)
{
	_cleanup_free_ char *path = local_scope_path(dir->scope);
	struct adding a = {fs, l, dir};
	int rc;

	if (!path)
		return -ENOMEM;
	if (wanted)
		return add_local_env(fs, l, dir, path, wanted);
	rc = local_each(fs->local, path, add_env_name, &a);
	return rc == -ENOENT ? 0 : rc;
}

bool tree_has_local(const struct fsys *fs, const struct node *dir)
{
	if (!fs->local || !dir->scope || !dir->scope->writable || dir->archived)
		return false;
	return dir->kind == NODE_SCOPE || dir->kind == NODE_ENV || dir->kind == NODE_VERSION ||
	       dir->kind == NODE_CONTEXT || dir->kind == NODE_LOCAL;
}

/* ---- the areas of a version's directory ---- */

/* The name of rel when it lies directly in the directory `in`, else NULL. */
static const char *name_in(const char *rel, const char *in)
{
	const char *slash = strrchr(rel, '/');
	size_t len = slash ? (size_t)(slash - rel) : 0;

	if (len != strlen(in) || strncmp(rel, in, len) != 0)
		return NULL;
	return slash ? slash + 1 : rel;
}

static void remove_item(struct listing *l, const char *name)
{
	struct tree_item *item = find_item(l, name);

	if (item)
		*item = l->items[--l->count];
}

/* A file that is edited is shown instead of the published one. */
static int add_edited(struct fsys *fs, struct listing *l, struct node *dir, const char *vdir,
		      const char *in, const char *name)
{
	static const enum upper_area areas[] = {UPPER_EDIT, UPPER_SHOWN, UPPER_EDIT};
	int rc = 0;

	/* Twice: it may move from the one to the other meanwhile. */
	for (size_t i = 0; !rc && i < sizeof(areas) / sizeof(*areas); i++) {
		_cleanup_free_ char *at = upper_path(fs, areas[i], vdir, in);
		size_t before;
		struct stat st;
		_cleanup_free_ char *path = at ? local_join(at, name) : NULL;

		if (!path)
			return -ENOMEM;
		if (local_stat(fs->local, path, &st))
			continue;
		remove_item(l, name);
		before = l->count;
		rc = add_file(fs, l, dir, at, name);
		if (l->count > before)
			return rc;
	}
	return rc;
}

static int add_edits(struct fsys *fs, struct listing *l, struct node *dir, const char *vdir,
		     const char *in, const char *wanted)
{
	char **rels;
	int rc = 0, n;

	edit_sweep(fs, vdir);
	if (!edits_any(fs->edits, vdir))
		return 0;
	n = edits_list(fs->edits, vdir, &rels);
	if (n < 0)
		return n;
	for (int i = 0; !rc && i < n; i++) {
		const char *name = name_in(rels[i], in);

		if (name && (!wanted || strcmp(wanted, name) == 0))
			rc = add_edited(fs, l, dir, vdir, in, name);
	}
	edits_list_free(rels, n);
	return rc;
}

/* What was saved and belongs to no definition is shown instead of a published file of its name. */
static void uncover_asides(struct fsys *fs, struct listing *l, const char *vdir, const char *in)
{
	const char *version = strrchr(vdir, '/') + 1;

	for (size_t i = 0; i < l->count; i++) {
		_cleanup_free_ char *rel =
			*in ? local_join(in, l->items[i].name) : strdup(l->items[i].name);
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (!rel || l->items[i].kind == NODE_LOCAL || !upper_is_asset(version, rel))
			continue;
		path = upper_path(fs, UPPER_LOCAL, vdir, rel);
		if (path && !local_stat(fs->local, path, &st) && S_ISREG(st.st_mode))
			l->items[i--] = l->items[--l->count];
	}
}

static int add_area(struct fsys *fs, struct listing *l, struct node *dir, enum upper_area area,
		    const char *vdir, const char *in, const char *wanted)
{
	_cleanup_free_ char *path = upper_path(fs, area, vdir, in);

	return path ? add_files(fs, l, dir, path, wanted) : -ENOMEM;
}

/* A draft whose version is there now, by somebody else: it gets out of its way. */
static void uncover_draft(struct fsys *fs, const char *env, const struct tree_item *version)
{
	_cleanup_free_ char *path = local_join(env, version->name);
	struct stat st;

	if (path && !local_stat(fs->local, path, &st) && S_ISDIR(st.st_mode) &&
	    !settle_is_busy(fs->settle, path))
		publish_step_aside(fs, path);
}

static int add_environment_files(struct fsys *fs, struct listing *l, struct node *dir,
				 const char *wanted)
{
	_cleanup_free_ char *path = local_env_path(dir->scope, dir->name);

	for (size_t i = 0; path && i < l->count; i++)
		if (l->items[i].kind == NODE_VERSION)
			uncover_draft(fs, path, &l->items[i]);
	return path ? add_files(fs, l, dir, path, wanted) : -ENOMEM;
}

/* A directory that is there only because temporary files of contexts lie in it. */
static bool is_way_to_scratch(const struct tree_item *item, const char *in)
{
	return item->kind == NODE_LOCAL && S_ISDIR(item->type) && !tempname_is(item->name) &&
	       (*in ? strncmp(in, "context", strlen("context")) == 0
		    : strcmp(item->name, "context") == 0);
}

/* Versions that have no such directory do not get one by that. */
static int add_scratch(struct fsys *fs, struct listing *l, struct node *dir, const char *vdir,
		       const char *in, const char *wanted)
{
	size_t had = l->count;
	int rc = add_area(fs, l, dir, UPPER_SCRATCH, vdir, in, wanted);

	for (size_t i = had; !rc && i < l->count; i++)
		if (is_way_to_scratch(&l->items[i], in))
			l->items[i--] = l->items[--l->count];
	return rc;
}

static int merge_version(struct fsys *fs, struct listing *l, struct node *dir, const char *vdir,
			 const char *in, const char *wanted)
{
	int rc = add_edits(fs, l, dir, vdir, in, wanted);

	uncover_asides(fs, l, vdir, in);
	if (rc || (wanted && listed(l, wanted) && dir->kind != NODE_ENV))
		return rc;
	rc = add_area(fs, l, dir, UPPER_LOCAL, vdir, in, wanted);
	if (rc)
		return rc;
	if (dir->kind == NODE_ENV)
		return add_environment_files(fs, l, dir, wanted);
	/* A directory of one version has scratch of its own, but for what lies in a context. */
	if (dir->kind == NODE_LOCAL && strncmp(in, "context", strlen("context")) != 0)
		return 0;
	return add_scratch(fs, l, dir, vdir, in, wanted);
}

int tree_merge_local(struct fsys *fs, struct node *dir, struct listing *l, const char *wanted)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *in = NULL;
	int rc;

	if (dir->kind == NODE_SCOPE)
		return add_local_envs(fs, l, dir, wanted);
	rc = upper_of_dir(fs, dir, &vdir, &in);
	if (!rc)
		return merge_version(fs, l, dir, vdir, in, wanted);
	if (rc != -ENOENT || dir->kind != NODE_LOCAL)
		return rc == -ENOENT ? 0 : rc;
	path = node_get_local(fs->nodes, dir);
	return path ? add_files(fs, l, dir, path, wanted) : -ENOMEM;
}

bool tree_env_is_local(struct fsys *fs, const struct node *env)
{
	_cleanup_free_ char *path = local_env_path(env->scope, env->name);
	struct stat st;

	return path && local_stat(fs->local, path, &st) == 0;
}
