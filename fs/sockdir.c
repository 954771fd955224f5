#include "fs/sockdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"

static const char PREFIX[] = "mlenvfs-";
static const char LOCK[] = "lock";
static const char SOCKET[] = "service";

enum { TRIES = 10, DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

struct sockdir {
	char *path;
	char *socket;
	int lock;
};

/* The lock of a directory, when nobody has it; -EBUSY, -ENOENT, ... */
static int take_lock(int dir, int flags)
{
	int fd = openat(dir, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	/* Who had it before may have removed it. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || !st.st_nlink) {
		close(fd);
		return -EBUSY;
	}
	return fd;
}

static bool is_mine(int dir)
{
	struct stat st;

	return !fstat(dir, &st) && st.st_uid == geteuid() && (st.st_mode & 0777) == 0700;
}

/* Removes the directory if it is one of ours that nobody uses. */
static void sweep_one(int in, const char *name)
{
	_cleanup_close_ int dir = openat(in, name, DIR_FLAGS);
	_cleanup_close_ int lock = dir >= 0 && is_mine(dir) ? take_lock(dir, 0) : -1;

	if (lock < 0)
		return;
	unlinkat(dir, SOCKET, 0);
	unlinkat(dir, LOCK, 0);
	if (!unlinkat(in, name, AT_REMOVEDIR))
		log_info("op=mount: removed %s, which a killed mount had left", name);
}

static void sweep(const char *in)
{
	DIR *all = opendir(in);
	const struct dirent *d;

	if (!all)
		return;
	while ((d = readdir(all))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (strncmp(d->d_name, PREFIX, strlen(PREFIX)) == 0)
			sweep_one(dirfd(all), d->d_name);
	closedir(all);
}

static int lock_own(struct sockdir *d)
{
	_cleanup_close_ int dir = open(d->path, DIR_FLAGS);

	d->lock = dir < 0 ? -errno : take_lock(dir, O_CREAT);
	return d->lock < 0 ? d->lock : 0;
}

static int make_own(struct sockdir *d, const char *in)
{
	int rc;

	free(d->path);
	if (asprintf(&d->path, "%s/%sXXXXXX", in, PREFIX) < 0) {
		d->path = NULL;
		return -ENOMEM;
	}
	if (!mkdtemp(d->path)) {
		rc = -errno;
		free(d->path);
		d->path = NULL;
		return rc;
	}
	rc = lock_own(d);
	if (rc)
		rmdir(d->path);
	return rc;
}

int sockdir_new(const char *in, struct sockdir **out, struct err *e)
{
	struct sockdir *d = calloc(1, sizeof(*d));
	int rc = d ? -EBUSY : -ENOMEM;

	*out = NULL;
	if (d)
		d->lock = -1;
	sweep(in);
	/* Another mount's sweep may take a directory that is not locked yet for an old one. */
	for (int i = 0; i < TRIES && (rc == -EBUSY || rc == -ENOENT); i++)
		rc = make_own(d, in);
	if (!rc && asprintf(&d->socket, "%s/%s", d->path, SOCKET) < 0) {
		d->socket = NULL;
		rc = -ENOMEM;
	}
	if (rc) {
		sockdir_free(d);
		return err_set(e, rc, "a private directory in %s can't be made: %s", in,
			       strerror(-rc));
	}
	*out = d;
	return 0;
}

const char *sockdir_socket(const struct sockdir *d)
{
	return d->socket;
}

void sockdir_free(struct sockdir *d)
{
	_cleanup_close_ int dir = d && d->path && d->lock >= 0 ? open(d->path, DIR_FLAGS) : -1;

	if (!d)
		return;
	if (dir >= 0) {
		unlinkat(dir, SOCKET, 0);
		unlinkat(dir, LOCK, 0);
		rmdir(d->path);
	}
	if (d->lock >= 0)
		close(d->lock);
	free(d->socket);
	free(d->path);
	free(d);
}
