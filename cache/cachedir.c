#include "cache/cachedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)
#define OTHERS       (S_IRWXG | S_IRWXO)

/* Takes fd when it is a directory that only this user can write in; makes it private. */
static int take_dir(int fd, const char *what, struct err *e)
{
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		rc = err_set(e, -errno, "%s: %s", what, strerror(errno));
	else if (st.st_uid != geteuid())
		rc = err_set(e, -EACCES, "%s belongs to another user", what);
	else if (st.st_mode & OTHERS_WRITE)
		rc = err_set(e, -EACCES, "%s can be written by others: chmod go-w it", what);
	else if (st.st_mode & OTHERS && fchmod(fd, 0700) < 0)
		rc = err_set(e, -errno, "%s can't be made private: %s", what, strerror(errno));
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* Makes the directories that lead to path, and path itself. */
static int make_all(char *path)
{
	for (char *p = path + 1;; p++) {
		char was = *p;

		if (was && was != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = was;
		if (!was)
			return 0;
	}
}

int cachedir_open(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = strdup(path);
	int rc, fd;

	if (!copy || !*path)
		return err_set(e, -ENOMEM, "no memory for the cache");
	rc = make_all(copy);
	if (rc)
		return err_set(e, rc, "%s can't be made: %s", path, strerror(-rc));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return take_dir(fd, path, e);
}

int cachedir_sub(int dir, const char *name, struct err *e)
{
	int fd;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "%s can't be made: %s", name, strerror(errno));
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", name, strerror(errno));
	return take_dir(fd, name, e);
}

int cachedir_file(int dir, const char *name, int flags, uint64_t *size)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == EISDIR || errno == EACCES
			       ? -EBADMSG
			       : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & OTHERS || st.st_size < 0) {
		close(fd);
		return -EBADMSG;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

/* ---- names ---- */

DIR *cachedir_names(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !names)
		close(fd);
	return names;
}

const char *cachedir_next(DIR *names)
{
	const struct dirent *d;

	errno = 0;
	do {
		d = readdir(names); /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
	} while (d && (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0));
	return d ? d->d_name : NULL;
}

/* Depth first; a tree deeper than that was not made by us, and stays. */
static int remove_at(int dir, const char *name, int depth)
{
	_cleanup_names_ DIR *names = NULL;
	_cleanup_close_ int sub = -1;
	const char *below;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	names = sub < 0 ? NULL : cachedir_names(sub);
	if (!names)
		return -errno;
	while (depth && (below = cachedir_next(names)))
		(void)remove_at(sub, below, depth - 1);
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int cachedir_remove(int dir, const char *name)
{
	enum { DEPTH_MAX = 8 };

	return remove_at(dir, name, DEPTH_MAX);
}
