/* ops_local - files of the disk: drafts, scratch and edits. Each function is the system call of its
 * name. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/edits.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/upper.h"
#include "fs/xattr.h"

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

int ops_local_mkdir(struct fsys *fs, struct node *dir, const char *name, mode_t mode)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *in_version = NULL;
	struct upper_place p;
	int rc;

	path = upper_new_path(fs, dir, name, &rc);
	if (rc)
		return rc;
	/* A directory is nothing by itself: what is in it may be edited, it lies with the version.
	 */
	if (!upper_parse(path, &p) && p.area == UPPER_SHOWN) {
		vdir = upper_dir(&p);
		in_version = vdir ? upper_path(fs, UPPER_LOCAL, vdir, p.rel) : NULL;
		rc = in_version ? local_make_parents(fs->local, in_version) : -ENOMEM;
		if (rc)
			return rc;
	}
	return result(mkdirat(local_fd(fs->local), in_version ? in_version : path,
			      (mode & 0777) | S_IRWXU));
}

/* ---- open files ---- */

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* Its writers keep an edited file from being dropped. Under the lock of moves. */
static void note_writer(struct fsys *fs, const char *path, int flags, struct handle *h)
{
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;

	if (upper_parse(path, &p) || (p.area != UPPER_SHOWN && p.area != UPPER_EDIT))
		return;
	vdir = upper_dir(&p);
	h->counted = vdir && edits_writers(fs->edits, vdir, p.rel, 1);
	if (vdir && flags & O_TRUNC && p.area == UPPER_SHOWN)
		edits_emptied(fs->edits, vdir, p.rel);
}

int ops_local_open(struct fsys *fs, struct node *n, int flags, struct handle *h)
{
	_cleanup_free_ char *path = NULL;
	int fd, rc = -ESTALE;

	/* It moves when it is written or saved, and may go: not between these two. */
	edits_lock(fs->edits);
	path = node_get_local(fs->nodes, n);
	fd = path ? openat(local_fd(fs->local), path,
			   (flags & ~(O_CREAT | O_EXCL | O_DIRECT)) | O_NOFOLLOW | O_CLOEXEC)
		  : -1;
	if (path)
		rc = fd < 0 ? -errno : 0;
	/* The published file has the name again: the kernel looks once more. */
	if (rc == -ENOENT && upper_is_over(path))
		rc = -ESTALE;
	if (!rc) {
		handle_set_file(fs->handles, h, fd, n->ino, writes(flags));
		if (writes(flags))
			note_writer(fs, path, flags, h);
	}
	edits_unlock(fs->edits);
	return rc;
}

int ops_sink_open(struct handle *h)
{
	int fd = memfd_create("mlenvfs-dropped", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	h->fd = fd;
	h->sink = true;
	return 0;
}

void ops_local_read(fuse_req_t req, const struct handle *h, size_t size, off_t off)
{
	_cleanup_free_ char *data = malloc(size);
	ssize_t n = data ? pread(h->fd, data, size, off) : -1;

	if (n < 0)
		fuse_reply_err(req, data ? errno : ENOMEM);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

int ops_local_readlink(struct fsys *fs, struct node *n, struct buf *out)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	char target[PATH_MAX];
	ssize_t len = path ? readlinkat(local_fd(fs->local), path, target, sizeof(target)) : -1;

	if (len < 0)
		return path ? -errno : -ESTALE;
	return buf_add(out, target, (size_t)len);
}

/* ---- attributes ---- */

static int set_times(struct fsys *fs, const char *path, const struct stat *attr, int to_set)
{
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

	if (to_set & FUSE_SET_ATTR_ATIME)
		ts[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	if (to_set & FUSE_SET_ATTR_MTIME)
		ts[1] = attr->st_mtim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	return result(utimensat(local_fd(fs->local), path, ts, AT_SYMLINK_NOFOLLOW));
}

static int set_size(struct fsys *fs, const char *path, off_t size, const struct handle *h)
{
	_cleanup_close_ int fd = -1;

	if (h && h->fd >= 0)
		return result(ftruncate(h->fd, size));
	fd = openat(local_fd(fs->local), path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : result(ftruncate(fd, size));
}

int ops_local_set(struct fsys *fs, const char *path, const struct stat *attr, int to_set,
		  const struct handle *h)
{
	int rc = 0;

	/* Owners are the mount's; programs that set them go on. */
	if (to_set & FUSE_SET_ATTR_SIZE)
		rc = set_size(fs, path, attr->st_size, h);
	if (!rc && to_set & FUSE_SET_ATTR_MODE)
		rc = result(fchmodat(local_fd(fs->local), path,
				     (attr->st_mode & 0777) | S_IRUSR | S_IWUSR, 0));
	if (!rc && to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			     FUSE_SET_ATTR_MTIME_NOW))
		rc = set_times(fs, path, attr, to_set);
	return rc;
}

/* ---- extended attributes ---- */

/* A descriptor for f*xattr(2), or a negative errno. Symlinks have none. */
static int open_for_xattr(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	int fd;

	if (!path)
		return -ESTALE;
	fd = openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -ENODATA : -errno;
	return fd;
}

static bool ends_in_rejected(const char *path)
{
	static const char end[] = ".rejected";
	size_t len = strlen(path);

	return len >= sizeof(end) && strcmp(path + len - (sizeof(end) - 1), end) == 0;
}

static const char *state_on_show(struct fsys *fs, const struct upper_place *p)
{
	_cleanup_free_ char *vdir = upper_dir(p);
	struct edit edit;

	if (!vdir || !edits_get(fs->edits, vdir, p->rel, &edit) || !edit.attempted)
		return "draft";
	return edit_is_saved(&edit) ? "published" : "rejected";
}

/* What a file of the disk is, in one word. */
static const char *state_of(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	struct upper_place p;

	if (!path || upper_parse(path, &p) || p.area == UPPER_DRAFT)
		return "draft";
	if (p.area == UPPER_LOCAL && ends_in_rejected(path))
		return "rejected";
	return p.area == UPPER_SHOWN ? state_on_show(fs, &p) : "draft";
}

/* The reason of a draft is that of its directory, that of an edited file that of its version. */
static int get_reason(struct fsys *fs, struct node *n, struct buf *out)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;

	if (!path || upper_parse(path, &p))
		return -ENODATA;
	vdir = upper_dir(&p);
	if (!vdir)
		return -ENOMEM;
	if (p.area == UPPER_DRAFT)
		return edit_get_note(fs, vdir, out);
	return edit_get_reason(fs, vdir, out);
}

int ops_local_getxattr(struct fsys *fs, struct node *n, const char *name, struct buf *out)
{
	_cleanup_free_ char *value = malloc(XATTR_VALUE_MAX);
	_cleanup_close_ int fd = open_for_xattr(fs, n);
	ssize_t len;

	if (fd < 0 || !value)
		return fd < 0 ? fd : -ENOMEM;
	if (strcmp(name, XATTR_STATE) == 0)
		return buf_addstr(out, state_of(fs, n));
	len = fgetxattr(fd, name, value, XATTR_VALUE_MAX);
	if (len < 0 && strcmp(name, XATTR_ERROR) == 0)
		return get_reason(fs, n, out);
	return len < 0 ? -errno : buf_add(out, value, (size_t)len);
}

int ops_local_listxattr(struct fsys *fs, struct node *n, struct buf *out)
{
	_cleanup_free_ char *names = malloc(XATTR_NAMES_MAX);
	_cleanup_close_ int fd = open_for_xattr(fs, n);
	ssize_t len;

	if (fd == -ENODATA)
		return 0;
	if (fd < 0 || !names)
		return fd < 0 ? fd : -ENOMEM;
	len = flistxattr(fd, names, XATTR_NAMES_MAX);
	if (len < 0)
		return -errno;
	/* What only the mount sets is read by name: copies could not set it. */
	for (const char *p = names; p < names + len; p += strlen(p) + 1)
		if (strncmp(p, XATTR_USER, strlen(XATTR_USER)) == 0 &&
		    strncmp(p, XATTR_MLENVFS, strlen(XATTR_MLENVFS)) != 0)
			buf_add(out, p, strlen(p) + 1);
	return buf_error(out);
}

int ops_local_setxattr(struct fsys *fs, struct node *n, const char *name, const char *value,
		       size_t size, int flags)
{
	_cleanup_close_ int fd = open_for_xattr(fs, n);

	if (fd < 0)
		return fd;
	if (strncmp(name, XATTR_MLENVFS, strlen(XATTR_MLENVFS)) == 0)
		return -EACCES;
	return result(value ? fsetxattr(fd, name, value, size, flags) : fremovexattr(fd, name));
}
