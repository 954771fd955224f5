#include "fs/context_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/utf8.h"
#include "fs/assetdir.h"
#include "fs/beneath.h"
#include "fs/ignore.h"
#include "fs/tempname.h"

enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY };

struct walk {
	int top;
	struct ignore *ignore;
	struct upload_file *files;
	size_t n, cap;
	size_t entries;
	char path[ASSET_PATH_MAX + 1]; /* of the entry looked at, relative to top */
	struct {
		dev_t dev;
		ino_t ino;
	} above[ASSETDIR_DEPTH_MAX]; /* the directories that the walk is in */
	int depth;
	struct err *e;
};

static void dir_cleanup(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define _cleanup_dir_ __attribute__((cleanup(dir_cleanup)))

/* ---- errors ---- */

static int fail(const struct walk *w, int rc, const char *what)
{
	char shown[UTF8_EXCERPT_SIZE];

	return err_set(w->e, rc, "the build context's \"%s\" %s",
		       utf8_excerpt(shown, w->path, strlen(w->path)), what);
}

static int open_failed(const struct walk *w, int rc)
{
	struct rlimit limit;

	switch (rc) {
	case -EXDEV:
		return fail(w, -EBADMSG, "is a link that leads out of it");
	case -ELOOP:
		return fail(w, -EBADMSG, "is a link in a circle of links");
	case -ENOENT:
	case -ENOTDIR:
		return fail(w, -EBADMSG, "is a link to nothing");
	case -EMFILE:
		if (getrlimit(RLIMIT_NOFILE, &limit))
			limit.rlim_cur = 0;
		return err_set(w->e, rc,
			       "the build context has more files than may be open at once (%llu); "
			       "raise the limit (ulimit -n) or leave files out with .amlignore",
			       (unsigned long long)limit.rlim_cur);
	default:
		return fail(w, rc, strerror(-rc));
	}
}

/* ---- files ---- */

int context_read_file(int fd, struct buf *out)
{
	char chunk[16 * 1024];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : buf_error(out);
		if (buf_add(out, chunk, (size_t)n))
			return buf_error(out);
	}
}

/* Takes the descriptor, also on failure. */
static int add_file(struct walk *w, int fd, const struct stat *st)
{
	char *path = strdup(w->path);

	if (w->n == ASSETDIR_FILES_MAX) {
		close(fd);
		free(path);
		return err_set(w->e, -EFBIG, "the build context has more than %d files",
			       ASSETDIR_FILES_MAX);
	}
	if (path && w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 16;
		struct upload_file *files = realloc(w->files, cap * sizeof(*files));

		if (files) {
			w->files = files;
			w->cap = cap;
		}
	}
	if (!path || w->n == w->cap) {
		close(fd);
		free(path);
		return err_set(w->e, -ENOMEM, "out of memory");
	}
	w->files[w->n++] =
		(struct upload_file){.path = path, .fd = fd, .size = (uint64_t)st->st_size};
	return 0;
}

/* ---- the walk ---- */

static int walk_dir(struct walk *w, int fd, size_t len);

static bool inside(const struct walk *w, const struct stat *st)
{
	for (int i = 0; i < w->depth; i++)
		if (w->above[i].dev == st->st_dev && w->above[i].ino == st->st_ino)
			return true;
	return false;
}

/* Goes into a directory open as fd, which is taken. */
static int enter(struct walk *w, int fd, const struct stat *st, size_t len)
{
	int rc;

	if (inside(w, st) || w->depth == ASSETDIR_DEPTH_MAX) {
		close(fd);
		if (w->depth == ASSETDIR_DEPTH_MAX)
			return fail(w, -EFBIG, "is nested too deep");
		return fail(w, -EBADMSG, "is a link to a folder that it lies in");
	}
	w->above[w->depth].dev = st->st_dev;
	w->above[w->depth].ino = st->st_ino;
	w->depth++;
	rc = walk_dir(w, fd, len);
	w->depth--;
	return rc;
}

/* What an entry turned out to be once it was open; the descriptor is taken. */
static int take_open(struct walk *w, int fd, size_t len)
{
	struct stat st;

	if (fstat(fd, &st)) {
		int rc = -errno;

		close(fd);
		return open_failed(w, rc);
	}
	if (ignore_match(w->ignore, w->path, S_ISDIR(st.st_mode))) {
		close(fd);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return enter(w, fd, &st, len);
	if (S_ISREG(st.st_mode))
		return add_file(w, fd, &st);
	close(fd);
	return fail(w, -EBADMSG, "is neither a file nor a folder");
}

static int walk_entry(struct walk *w, int dir, const char *name, size_t len)
{
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : open_failed(w, -errno);
	if (ignore_match(w->ignore, w->path, S_ISDIR(st.st_mode)))
		return 0;
	if (S_ISLNK(st.st_mode)) {
		fd = beneath_open(w->top, dir, name, O_RDONLY);
	} else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		fd = openat(dir, name, OPEN_FLAGS);
		fd = fd < 0 ? -errno : fd;
	} else {
		return fail(w, -EBADMSG, "is neither a file nor a folder");
	}
	return fd < 0 ? open_failed(w, fd) : take_open(w, fd, len);
}

/* Puts name behind the len bytes of the path; the new length, or a negative errno. */
static ssize_t append_name(struct walk *w, size_t len, const char *name)
{
	size_t n = strlen(name), slash = len != 0;

	if (len + slash + n > ASSET_PATH_MAX)
		return fail(w, -EFBIG, "has a path that is too long");
	if (slash)
		w->path[len] = '/';
	memcpy(w->path + len + slash, name, n + 1);
	if (!utf8_valid(name, n))
		return fail(w, -EBADMSG, "has a name that is not UTF-8");
	if (++w->entries > ASSETDIR_ENTRIES_MAX)
		return err_set(w->e, -EFBIG, "the build context has more than %d entries",
			       ASSETDIR_ENTRIES_MAX);
	return (ssize_t)(len + slash + n);
}

static int walk_dir(struct walk *w, int fd, size_t len)
{
	_cleanup_dir_ DIR *dir = fdopendir(fd);
	struct dirent *entry;
	ssize_t n;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		close(fd);
		return open_failed(w, rc);
	}
	while (!rc) {
		errno = 0;
		w->path[len] = '\0';
		entry = readdir(dir);
		if (!entry)
			return errno ? open_failed(w, -errno) : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    tempname_is(entry->d_name))
			continue;
		n = append_name(w, len, entry->d_name);
		rc = n < 0 ? (int)n : walk_entry(w, dirfd(dir), entry->d_name, (size_t)n);
	}
	return rc;
}

/* ---- ignore rules ---- */

static int read_rules(struct walk *w, const char *name, bool *found)
{
	_cleanup_buf_ struct buf text = BUF_INIT(IGNORE_SIZE_MAX);
	_cleanup_close_ int fd = beneath_open(w->top, w->top, name, O_RDONLY);
	int rc;

	*found = fd != -ENOENT;
	memcpy(w->path, name, strlen(name) + 1);
	if (fd < 0)
		return *found ? open_failed(w, fd) : 0;
	rc = context_read_file(fd, &text);
	if (rc)
		return rc == -EFBIG ? fail(w, rc, "is too large") : open_failed(w, rc);
	rc = ignore_parse(buf_str(&text), text.len, &w->ignore, w->e);
	return rc ? err_prefix(w->e, rc, "%s: ", name) : 0;
}

/* As the CLI: the one file or the other, at the top only. */
static int find_rules(struct walk *w)
{
	bool found;
	int rc = read_rules(w, ".amlignore", &found);

	return rc || found ? rc : read_rules(w, ".gitignore", &found);
}

static int file_order(const void *pa, const void *pb)
{
	const struct upload_file *a = pa, *b = pb;

	return strcmp(a->path, b->path);
}

static int walk_top(struct walk *w)
{
	struct stat st;
	int fd, rc = find_rules(w);

	if (rc)
		return rc;
	w->path[0] = '\0';
	fd = openat(w->top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return open_failed(w, rc);
	}
	return enter(w, fd, &st, 0);
}

int context_walk(int top, struct upload_file **files, size_t *n, struct err *e)
{
	_cleanup_free_ struct walk *w = calloc(1, sizeof(*w));
	int rc;

	*files = NULL;
	*n = 0;
	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	w->top = top;
	w->e = e;
	rc = walk_top(w);
	ignore_free(w->ignore);
	if (rc) {
		context_walk_free(w->files, w->n);
		return rc;
	}
	if (w->n)
		qsort(w->files, w->n, sizeof(*w->files), file_order);
	*files = w->files;
	*n = w->n;
	return 0;
}

void context_walk_free(struct upload_file *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		close(files[i].fd);
		free((char *)(uintptr_t)files[i].path);
	}
	free(files);
}
