/* tree_local - drafts in the tree: real directories beside the published versions. */
#include "fs/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/local.h"
#include "fs/name.h"

bool tree_is_draft_name(const char *name)
{
	return name[0] == '.' && name[strspn(name, ".")] && strcmp(name, ".archived") != 0;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Gone in between is no error: it is not listed. */
static int add_file(struct fsys *fs, struct listing *l, struct node *dir, const char *path,
		    const char *name)
{
	struct tree_item item = {.kind = NODE_LOCAL, .scope = dir->scope};
	_cleanup_free_ char *at = local_join(path, name);
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;
	int rc = at ? local_stat(fs->local, at, &st) : -ENOMEM;

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	item.type = st.st_mode & S_IFMT;
	l->identity = 0;
	return tree_add_copy(l, item, name, local_number(&st, number), at);
}

static int add_files(struct fsys *fs, struct listing *l, struct node *dir, const char *path,
		     const char *wanted)
{
	const struct dirent *d;
	DIR *names;
	int rc = 0, fd;

	if (wanted)
		return add_file(fs, l, dir, path, wanted);
	fd = local_open_dir(fs->local, path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	names = fdopendir(fd);
	if (!names) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (!rc && (d = readdir(names))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (!is_dots(d->d_name))
			rc = add_file(fs, l, dir, path, d->d_name);
	closedir(names);
	return rc;
}

static bool listed(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i].name, name) == 0)
			return true;
	return false;
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

static int add_local_envs(struct fsys *fs, struct listing *l, struct node *dir, const char *wanted)
{
	_cleanup_free_ char *path = local_scope_path(dir->scope);
	const struct dirent *d;
	DIR *names;
	int rc = 0, fd;

	if (!path)
		return -ENOMEM;
	if (wanted)
		return add_local_env(fs, l, dir, path, wanted);
	fd = local_open_dir(fs->local, path);
	names = fd < 0 ? NULL : fdopendir(fd);
	if (!names) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (!rc && (d = readdir(names))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (!is_dots(d->d_name))
			rc = add_local_env(fs, l, dir, path, d->d_name);
	closedir(names);
	return rc;
}

bool tree_has_drafts(const struct fsys *fs, const struct node *dir)
{
	return fs->local && dir->scope && dir->scope->writable && !dir->archived &&
	       (dir->kind == NODE_ENV || dir->kind == NODE_SCOPE);
}

/* The directory on the disk that a node's names lie in. To be freed. */
static char *path_of(struct fsys *fs, struct node *dir)
{
	if (dir->kind == NODE_LOCAL)
		return node_get_local(fs->nodes, dir);
	return local_env_path(dir->scope, dir->name);
}

int tree_merge_local(struct fsys *fs, struct node *dir, struct listing *l, const char *wanted)
{
	_cleanup_free_ char *path = NULL;

	if (dir->kind == NODE_SCOPE)
		return add_local_envs(fs, l, dir, wanted);
	path = path_of(fs, dir);
	return path ? add_files(fs, l, dir, path, wanted) : -ENOMEM;
}

bool tree_env_is_local(struct fsys *fs, const struct node *env)
{
	_cleanup_free_ char *path = local_env_path(env->scope, env->name);
	struct stat st;

	return path && local_stat(fs->local, path, &st) == 0;
}
