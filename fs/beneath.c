#include "fs/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"

enum {
	DEPTH_MAX = 256, /* directories below root */
	LINKS_MAX = 40,  /* what the kernel allows too */
	REST_MAX = 64 * 1024,
	EXTRA_FLAGS = O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
};

/* Where a walk is: the directories from root down to here, and what is left of the path. */
struct walk {
	int fds[DEPTH_MAX];
	int depth;
	int links;
	char *rest;
};

static void walk_cleanup(struct walk *w)
{
	while (w->depth > 0)
		close(w->fds[--w->depth]);
	free(w->rest);
}
#define _cleanup_walk_ __attribute__((cleanup(walk_cleanup)))

static int walk_push(struct walk *w, int fd)
{
	if (fd < 0)
		return -errno;
	if (w->depth == DEPTH_MAX) {
		close(fd);
		return -ENAMETOOLONG;
	}
	w->fds[w->depth++] = fd;
	return 0;
}

static int here(const struct walk *w)
{
	return w->fds[w->depth - 1];
}

static bool same_dir(int a, int b, int *rc)
{
	struct stat sa, sb;

	if (fstat(a, &sa) || fstat(b, &sb)) {
		*rc = -errno;
		return false;
	}
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/*
 * Fills w with the directories from dir up to root, then turns them round. A dir that is not below
 * root gets itself as the only one: nothing outside it can be reached.
 */
static int walk_begin(struct walk *w, int root, int dir)
{
	int rc = walk_push(w, openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));

	while (!rc && !same_dir(here(w), root, &rc) && !rc) {
		rc = walk_push(w, openat(here(w), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
		if (rc || !same_dir(here(w), w->fds[w->depth - 2], &rc))
			continue;
		while (w->depth > 1)
			close(w->fds[--w->depth]);
		break;
	}
	for (int i = 0, j = w->depth - 1; i < j; i++, j--) {
		int fd = w->fds[i];

		w->fds[i] = w->fds[j];
		w->fds[j] = fd;
	}
	return rc;
}

/* Puts the target of a link in front of what is left of the path. */
static int expand_link(struct walk *w, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(here(w), name, target, sizeof(target));
	size_t rest = strlen(w->rest);
	char *joined;

	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(target) || (size_t)n + rest + 2 > REST_MAX)
		return -ENAMETOOLONG;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (n == 0 || target[0] == '/')
		return n ? -EXDEV : -ENOENT;
	joined = malloc((size_t)n + rest + 2);
	if (!joined)
		return -ENOMEM;
	memcpy(joined, target, (size_t)n);
	joined[n] = '/';
	memcpy(joined + n + 1, w->rest, rest + 1);
	free(w->rest);
	w->rest = joined;
	return 0;
}

/* Takes the next component off the path; false at its end. *last: nothing but slashes follows. */
static bool next_name(struct walk *w, char name[NAME_MAX + 1], bool *last, int *rc)
{
	const char *p = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(p, "/");

	if (!n)
		return false;
	if (n > NAME_MAX) {
		*rc = -ENAMETOOLONG;
		return false;
	}
	memcpy(name, p, n);
	name[n] = '\0';
	p += n;
	*last = p[strspn(p, "/")] == '\0';
	memmove(w->rest, p, strlen(p) + 1);
	return true;
}

static bool is_link(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

static int step(struct walk *w, const char *name)
{
	int fd;

	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		if (w->depth == 1)
			return -EXDEV;
		close(w->fds[--w->depth]);
		return 0;
	}
	if (is_link(here(w), name))
		return expand_link(w, name);
	fd = openat(here(w), name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return walk_push(w, fd);
}

int beneath_open(int root, int dir, const char *path, int flags)
{
	_cleanup_walk_ struct walk w = {.rest = strdup(path)};
	char name[NAME_MAX + 1];
	bool last = false;
	int fd, rc;

	if (!w.rest)
		return -ENOMEM;
	rc = path[0] == '/' ? -EXDEV : walk_begin(&w, root, dir);
	while (!rc && next_name(&w, name, &last, &rc)) {
		if (!last || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    is_link(here(&w), name)) {
			rc = step(&w, name);
			continue;
		}
		fd = openat(here(&w), name, flags | O_NOFOLLOW | EXTRA_FLAGS);
		return fd < 0 ? -errno : fd;
	}
	if (rc)
		return rc;
	fd = openat(here(&w), ".", flags | EXTRA_FLAGS);
	return fd < 0 ? -errno : fd;
}
