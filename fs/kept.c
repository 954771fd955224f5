#include "fs/kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "client/sha256.h"
#include "fs/context_walk.h"
#include "fs/wholefile.h"

/*
 * In the directory of a version:
 *
 *     record      which record of the version the rest belongs to
 *     f-<name>    a file whose path has one part, or the version itself: the text, or nothing
 *     h-<hash>    any other file
 *
 * The mode of such a file is the one that is kept; mode 0: none. Its time is the one that is kept,
 * unless the sticky bit says that it is not.
 */
enum {
	PLAIN_MAX = 200, /* bytes of a name that is used as it is */
	DIGEST_SIZE = 32,
	FILE_NAME_SIZE = NAME_MAX + 1,
	TRIES = 10,
	PERMISSIONS = 0777,
	NO_TIME = S_ISVTX,
	DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
};

static const char record_name[] = "record";

struct kept {
	int dir;
	pthread_mutex_t lock;  /* for changes of times and modes: they take several calls */
	pthread_mutex_t names; /* for directories that are made or removed part by part */
};

/* ---- names ---- */

/* Whether nothing but names is in the path. */
static bool is_plain_path(const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 0 || n > NAME_MAX || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += n;
		if (*path && !*++path)
			return false;
	}
	return true;
}

static int make_file_name(const char *name, char out[FILE_NAME_SIZE])
{
	unsigned char digest[DIGEST_SIZE];
	size_t len = strlen(name);
	int n;

	if (!is_plain_path(name))
		return -EINVAL;
	if (len <= PLAIN_MAX && !strchr(name, '/')) {
		snprintf(out, FILE_NAME_SIZE, "f-%s", name);
		return 0;
	}
	if (!EVP_Digest(name, len, digest, NULL, sha256(), NULL))
		return -EIO;
	n = snprintf(out, FILE_NAME_SIZE, "h-");
	for (int i = 0; i < DIGEST_SIZE; i++)
		n += snprintf(out + n, (size_t)(FILE_NAME_SIZE - n), "%02x", digest[i]);
	return 0;
}

/* ---- the directory of a version ---- */

/* Takes fd and gives the directory of that name in it, made if it may be. */
static int step(int fd, const char *name, bool make)
{
	int next = -1;

	if (!make || mkdirat(fd, name, 0700) == 0 || errno == EEXIST)
		next = openat(fd, name, DIR_FLAGS);
	if (next < 0)
		next = -errno;
	close(fd);
	return next;
}

/* Part by part, so that no link is followed on the way. */
static int walk(const struct kept *k, const char *dir, bool make)
{
	_cleanup_free_ char *copy = strdup(dir);
	char *rest = copy;
	const char *name;
	int fd = copy ? openat(k->dir, ".", DIR_FLAGS) : -1;

	if (fd < 0)
		return copy ? -errno : -ENOMEM;
	while (fd >= 0 && (name = strsep(&rest, "/")))
		fd = step(fd, name, make);
	return fd;
}

static int open_version(const struct kept *k, const char *dir)
{
	struct stat st;

	if (!*dir || !is_plain_path(dir))
		return -EINVAL;
	if (fstatat(k->dir, dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	return walk(k, dir, false);
}

static int make_version(struct kept *k, const char *dir)
{
	int fd = *dir && is_plain_path(dir) ? -ENOENT : -EINVAL;

	/* A directory that was just made is empty: kept_drop() of another version would remove it.
	 * That waits here; the tries are for one in another process. */
	pthread_mutex_lock(&k->names);
	for (int i = 0; i < TRIES && fd == -ENOENT; i++)
		fd = walk(k, dir, true);
	pthread_mutex_unlock(&k->names);
	return fd;
}

/* Removes the directory at path, which is cut, and those above it as far as nothing else is in
 * them. */
static int remove_version(struct kept *k, char *path)
{
	int rc = 0;

	pthread_mutex_lock(&k->names);
	if (unlinkat(k->dir, path, AT_REMOVEDIR) < 0)
		rc = -errno;
	for (char *slash; !rc && (slash = strrchr(path, '/'));) {
		*slash = '\0';
		if (unlinkat(k->dir, path, AT_REMOVEDIR) < 0)
			break;
	}
	pthread_mutex_unlock(&k->names);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- what is kept of a file ---- */

static int stat_file(int dir, const char *file, struct stat *st)
{
	if (fstatat(dir, file, st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? 0 : -ENOENT;
}

/* As the file has it on the disk, to what is kept. */
static void read_attr(struct stat *st)
{
	if (st->st_mode & NO_TIME)
		st->st_mtim = (struct timespec){.tv_nsec = UTIME_OMIT};
	st->st_mode &= PERMISSIONS;
}

/* The mode on the disk. A text has to be readable for us. */
static mode_t disk_mode(mode_t mode, bool text, bool timed)
{
	return (mode & PERMISSIONS) | (text ? S_IRUSR : 0) | (timed ? 0 : NO_TIME);
}

static int change_attr(int dir, const char *file, const struct stat *old,
		       const struct timespec *mtime, mode_t mode)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
	bool timed = mtime || !(old->st_mode & NO_TIME);

	if (mtime) {
		times[1] = *mtime;
		if (utimensat(dir, file, times, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	mode = disk_mode(mode ? mode : old->st_mode, old->st_size > 0, timed);
	if (mode != (old->st_mode & 07777) && fchmodat(dir, file, mode, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int put_attr_locked(int dir, const char *file, const struct timespec *mtime, mode_t mode)
{
	struct wholefile empty = {.mode = disk_mode(mode, false, mtime != NULL), .mtime = mtime};
	struct stat old;
	int rc = stat_file(dir, file, &old);

	if (rc == -ENOENT)
		return wholefile_write(dir, file, &empty);
	return rc ? rc : change_attr(dir, file, &old, mtime, mode);
}

/* A regular file with something in it; appends that to out. */
static int read_file(int dir, const char *file, struct buf *out, struct stat *st)
{
	_cleanup_close_ int fd =
		openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) && st->st_size ? context_read_file(fd, out) : -ENOENT;
}

/* ---- for all ---- */

int kept_open(int dirfd, struct kept **out)
{
	struct kept *k = calloc(1, sizeof(*k));

	*out = k;
	if (!k)
		return -ENOMEM;
	k->dir = dirfd;
	pthread_mutex_init(&k->lock, NULL);
	pthread_mutex_init(&k->names, NULL);
	return 0;
}

void kept_close(struct kept *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->names);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

int kept_put_text(struct kept *k, const char *dir, const char *name, const char *text, size_t len,
		  const struct timespec *mtime, mode_t mode)
{
	struct wholefile file = {
		.data = text,
		.len = len,
		.mode = disk_mode(mode, len > 0, true),
		.mtime = mtime,
		.sync = true,
	};
	_cleanup_close_ int fd = -1;
	char file_name[FILE_NAME_SIZE];
	int rc = mode & PERMISSIONS ? make_file_name(name, file_name) : -EINVAL;

	if (rc)
		return rc;
	fd = make_version(k, dir);
	return fd < 0 ? fd : wholefile_write(fd, file_name, &file);
}

int kept_put_attr(struct kept *k, const char *dir, const char *name, const struct timespec *mtime,
		  mode_t mode)
{
	_cleanup_close_ int fd = -1;
	char file_name[FILE_NAME_SIZE];
	int rc = make_file_name(name, file_name);

	if (rc || (!mtime && !mode))
		return rc;
	fd = make_version(k, dir);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&k->lock);
	rc = put_attr_locked(fd, file_name, mtime, mode);
	pthread_mutex_unlock(&k->lock);
	return rc;
}

int kept_get_text(struct kept *k, const char *dir, const char *name, struct buf *out,
		  struct stat *st)
{
	_cleanup_close_ int fd = -1;
	char file_name[FILE_NAME_SIZE];
	int rc = make_file_name(name, file_name);

	if (rc)
		return rc;
	fd = open_version(k, dir);
	rc = fd < 0 ? fd : read_file(fd, file_name, out, st);
	if (!rc)
		read_attr(st);
	return rc;
}

int kept_get_attr(struct kept *k, const char *dir, const char *name, struct stat *st)
{
	_cleanup_close_ int fd = -1;
	char file_name[FILE_NAME_SIZE];
	int rc = make_file_name(name, file_name);

	if (rc)
		return rc;
	fd = open_version(k, dir);
	rc = fd < 0 ? fd : stat_file(fd, file_name, st);
	if (!rc)
		read_attr(st);
	return rc;
}

/* Takes fd. */
static void remove_files(int fd)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		close(fd);
		return;
	}
	while ((d = readdir(dir))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			unlinkat(fd, d->d_name, 0);
	closedir(dir);
}

int kept_drop(struct kept *k, const char *dir)
{
	int fd = open_version(k, dir);
	_cleanup_free_ char *path = NULL;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	remove_files(fd);
	path = strdup(dir);
	return path ? remove_version(k, path) : -ENOMEM;
}

int kept_drop_file(struct kept *k, const char *dir, const char *name)
{
	_cleanup_close_ int fd = -1;
	char file_name[FILE_NAME_SIZE];
	int rc = make_file_name(name, file_name);

	if (rc)
		return rc;
	fd = open_version(k, dir);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return unlinkat(fd, file_name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int kept_set_record(struct kept *k, const char *dir, const char *fingerprint)
{
	struct wholefile file = {.data = fingerprint, .len = strlen(fingerprint), .mode = 0600};
	_cleanup_close_ int fd = -1;

	if (file.len > KEPT_RECORD_MAX)
		return -EFBIG;
	fd = make_version(k, dir);
	return fd < 0 ? fd : wholefile_write(fd, record_name, &file);
}

int kept_get_record(struct kept *k, const char *dir, struct buf *out)
{
	_cleanup_close_ int fd = open_version(k, dir);
	struct stat st;

	return fd < 0 ? fd : read_file(fd, record_name, out, &st);
}
