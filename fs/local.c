#include "fs/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/name.h"
#include "fs/node.h"
#include "fs/paths.h"
#include "fs/tree.h"

enum { DEPTH_MAX = 256 };

struct local {
	int fd;
};

int local_open(const char *root, struct local **out, struct err *e)
{
	_cleanup_free_ char *below = local_join(root, "x");
	int rc = below ? paths_make_parents(below) : -ENOMEM;

	*out = rc ? NULL : malloc(sizeof(**out));
	if (rc || !*out)
		return err_set(e, rc ? rc : -ENOMEM, "the directory %s for drafts: %s", root,
			       strerror(rc ? -rc : ENOMEM));
	(*out)->fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if ((*out)->fd >= 0)
		return 0;
	rc = err_set(e, -errno, "the directory %s for drafts: %s", root, strerror(errno));
	free(*out);
	*out = NULL;
	return rc;
}

void local_close(struct local *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l);
}

int local_fd(const struct local *l)
{
	return l->fd;
}

char *local_join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

char *local_scope_path(const struct scope *s)
{
	char key[SCOPE_KEY_SIZE], *path;
	uint64_t number = node_number(1, NODE_SCOPE, tree_scope_key(s, key));

	return asprintf(&path, "%016llx", (unsigned long long)number) < 0 ? NULL : path;
}

char *local_env_path(const struct scope *s, const char *env)
{
	_cleanup_free_ char *scope = local_scope_path(s);
	char name[NAME_SIZE];

	name_encode(NAME_ENV, env, strlen(env), name);
	return scope ? local_join(scope, name) : NULL;
}

int local_make_dirs(struct local *l, const char *path)
{
	_cleanup_free_ char *copy = local_join(path, "");

	if (!copy)
		return -ENOMEM;
	for (char *p = copy; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdirat(l->fd, copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

int local_make_parents(struct local *l, const char *path)
{
	_cleanup_free_ char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));

	return parent ? local_make_dirs(l, parent) : -ENOMEM;
}

static void from_statx(const struct statx *x, struct stat *st)
{
	*st = (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_mode = x->stx_mode,
		.st_nlink = x->stx_nlink,
		.st_size = (off_t)x->stx_size,
		.st_blocks = (blkcnt_t)x->stx_blocks,
		.st_blksize = (blksize_t)x->stx_blksize,
		.st_atim = {.tv_sec = x->stx_atime.tv_sec, .tv_nsec = x->stx_atime.tv_nsec},
		.st_mtim = {.tv_sec = x->stx_mtime.tv_sec, .tv_nsec = x->stx_mtime.tv_nsec},
		.st_ctim = {.tv_sec = x->stx_ctime.tv_sec, .tv_nsec = x->stx_ctime.tv_nsec},
	};
}

int local_identify(struct local *l, const char *path, struct stat *st,
		   char number[LOCAL_NUMBER_SIZE])
{
	struct statx x;

	if (statx(l->fd, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
		return -errno;
	if (!(x.stx_mask & STATX_BTIME))
		x.stx_btime = (struct statx_timestamp){0};
	from_statx(&x, st);
	snprintf(number, LOCAL_NUMBER_SIZE, "%llx-%llx-%llx.%x", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino, (unsigned long long)x.stx_btime.tv_sec,
		 x.stx_btime.tv_nsec);
	return 0;
}

int local_stat(struct local *l, const char *path, struct stat *st)
{
	return fstatat(l->fd, path, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int local_open_dir(struct local *l, const char *path)
{
	int fd = openat(l->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int local_each(struct local *l, const char *path, local_name_fn *fn, void *arg)
{
	int fd = local_open_dir(l, path), rc = 0;
	const struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (!rc && (d = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			rc = fn(arg, path, d->d_name);
	closedir(dir);
	return rc;
}

/*
 * Takes over fd. Removes every directory below it that is empty, or gets so; and all files when
 * they go too.
 */
static void remove_in(int fd, int depth, bool files)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		close(fd);
		return;
	}
	while ((d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		int below;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (files && !unlinkat(fd, d->d_name, 0))
			continue;
		below = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below < 0)
			continue;
		if (depth < DEPTH_MAX)
			remove_in(below, depth + 1, files);
		else
			close(below);
		unlinkat(fd, d->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

int local_remove_empty(struct local *l, const char *path)
{
	int fd = local_open_dir(l, path);

	if (fd < 0)
		return fd;
	remove_in(fd, 0, false);
	return unlinkat(l->fd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int local_remove_all(struct local *l, const char *path)
{
	int fd;

	if (!unlinkat(l->fd, path, 0))
		return 0;
	fd = local_open_dir(l, path);
	if (fd < 0)
		return fd;
	remove_in(fd, 0, true);
	return unlinkat(l->fd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
}
