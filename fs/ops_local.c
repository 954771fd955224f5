/* ops_local - drafts: the operations on real files of the disk. Each is the system call of its
 * name. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/change.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/tree.h"
#include "fs/xattr.h"

/* A path below the drafts' directory for a name in dir; NULL with *rc set when there can be none.
 */
static char *path_in(struct fsys *fs, struct node *dir, const char *name, int *rc)
{
	_cleanup_free_ char *at = NULL;
	char *path;

	*rc = change_allowed(dir, NULL);
	if (*rc)
		return NULL;
	if (dir->kind == NODE_LOCAL)
		at = node_get_local(fs->nodes, dir);
	else if (dir->kind == NODE_ENV && tree_has_drafts(fs, dir) && tree_is_draft_name(name))
		at = local_env_path(dir->scope, dir->name);
	else
		*rc = -EROFS;
	if (*rc)
		return NULL;
	path = at ? local_join(at, name) : NULL;
	*rc = path ? 0 : -ENOMEM;
	return path;
}

/* Answers with the file that is at name in dir now. */
static int reply_made(fuse_req_t req, struct node *dir, const char *name,
		      struct fuse_entry_param *entry)
{
	struct fsys *fs = ops_fsys(req);
	struct listing *found;
	int rc = tree_lookup(fs, dir, name, NULL, &found, NULL);

	if (rc)
		return rc;
	rc = ops_fill_entry(fs, dir, &found->items[0], entry);
	listing_free(found);
	return rc;
}

static void finish_made(fuse_req_t req, struct node *dir, const char *name, int rc)
{
	struct fuse_entry_param entry;

	if (!rc)
		rc = reply_made(req, dir, name, &entry);
	if (rc)
		fuse_reply_err(req, -rc);
	else if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(ops_fsys(req)->nodes, entry.ino, 1);
}

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* ---- making ---- */

int ops_local_mkdir(struct fsys *fs, struct node *dir, const char *name, mode_t mode)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *env = NULL;
	int rc;

	path = path_in(fs, dir, name, &rc);
	if (path && dir->kind == NODE_ENV) {
		env = local_env_path(dir->scope, dir->name);
		rc = env ? local_make_dirs(fs->local, env) : -ENOMEM;
	}
	if (rc)
		return rc;
	return result(mkdirat(local_fd(fs->local), path, (mode & 0777) | S_IRWXU));
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	_cleanup_free_ char *path = NULL;
	int rc;

	(void)rdev;
	if (!dir)
		return;
	path = path_in(fs, dir, name, &rc);
	if (!rc && (!S_ISREG(mode) || dir->kind != NODE_LOCAL))
		rc = -EPERM;
	if (!rc)
		rc = result(mknodat(local_fd(fs->local), path, mode, 0));
	finish_made(req, dir, name, rc);
}

void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	_cleanup_free_ char *path = NULL;
	int rc;

	if (!dir)
		return;
	path = path_in(fs, dir, name, &rc);
	if (!rc && dir->kind != NODE_LOCAL)
		rc = -EROFS;
	if (!rc)
		rc = result(symlinkat(link, local_fd(fs->local), path));
	finish_made(req, dir, name, rc);
}

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino), *dir = n ? ops_node(req, newparent) : NULL;
	_cleanup_free_ char *from = NULL;
	_cleanup_free_ char *to = NULL;
	int rc;

	if (!dir)
		return;
	to = path_in(fs, dir, newname, &rc);
	if (!rc && (n->kind != NODE_LOCAL || dir->kind != NODE_LOCAL))
		rc = -EXDEV;
	if (!rc) {
		from = node_get_local(fs->nodes, n);
		rc = from ? result(linkat(local_fd(fs->local), from, local_fd(fs->local), to, 0))
			  : -ENOMEM;
	}
	finish_made(req, dir, newname, rc);
}

/* ---- open files ---- */

int ops_local_open(struct fsys *fs, struct node *n, int flags, mode_t mode, struct handle *h)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = openat(local_fd(fs->local), path,
		    (flags & ~(O_CREAT | O_EXCL | O_DIRECT)) | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	h->fd = fd;
	h->ino = n->ino;
	return 0;
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	struct fuse_entry_param entry = {0};
	_cleanup_free_ char *path = NULL;
	struct handle *h;
	int rc;

	if (!dir)
		return;
	path = path_in(fs, dir, name, &rc);
	if (!rc && dir->kind != NODE_LOCAL)
		rc = -EROFS;
	h = rc ? NULL : handle_new(fs->handles);
	if (!rc && !h)
		rc = -ENOMEM;
	if (!rc) {
		h->fd = openat(local_fd(fs->local), path,
			       (fi->flags & ~O_DIRECT) | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			       (mode & 0777) | S_IRUSR | S_IWUSR);
		rc = h->fd < 0 ? -errno : reply_made(req, dir, name, &entry);
	}
	if (rc) {
		if (h)
			handle_free(fs->handles, h);
		fuse_reply_err(req, -rc);
		return;
	}
	h->ino = entry.ino;
	fi->fh = (uintptr_t)h;
	if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
		node_forget(fs->nodes, entry.ino, 1);
		handle_free(fs->handles, h);
	}
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

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	       struct fuse_file_info *fi)
{
	const struct handle *h = handle_of(fi->fh);
	ssize_t n;

	(void)ino;
	if (h->fd < 0) {
		fuse_reply_err(req, EBADF);
		return;
	}
	n = pwrite(h->fd, data, size, off);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)n);
}

void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	const struct handle *h = handle_of(fi->fh);
	int rc = 0;

	(void)ino;
	if (h->fd >= 0)
		rc = result(datasync ? fdatasync(h->fd) : fsync(h->fd));
	fuse_reply_err(req, -rc);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int rc = 0;

	(void)datasync, (void)fi;
	if (!n)
		return;
	if (n->kind == NODE_LOCAL) {
		path = node_get_local(fs->nodes, n);
		fd = path ? local_open_dir(fs->local, path) : -ENOMEM;
		rc = fd < 0 ? fd : result(fsync(fd));
	}
	fuse_reply_err(req, -rc);
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

static int set_attributes(struct fsys *fs, const char *path, const struct stat *attr, int to_set,
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

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		 struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	_cleanup_free_ char *path = NULL;
	struct stat st;
	double timeout;
	int rc;

	if (!n)
		return;
	path = n->kind == NODE_LOCAL ? node_get_local(fs->nodes, n) : NULL;
	rc = n->kind != NODE_LOCAL ? -EROFS : path ? 0 : -ENOMEM;
	if (!rc)
		rc = set_attributes(fs, path, attr, to_set, fi ? handle_of(fi->fh) : NULL);
	if (!rc)
		rc = attr_fill(fs, n, &st, &timeout);
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, timeout);
}

int ops_local_readlink(struct fsys *fs, struct node *n, struct buf *out)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	char target[PATH_MAX];
	ssize_t len = path ? readlinkat(local_fd(fs->local), path, target, sizeof(target)) : -1;

	if (len < 0)
		return path ? -errno : -ENOMEM;
	return buf_add(out, target, (size_t)len);
}

/* ---- extended attributes ---- */

/* A descriptor for f*xattr(2), or a negative errno. Symlinks have none. */
static int open_for_xattr(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -ENODATA : -errno;
	return fd;
}

int ops_local_getxattr(struct fsys *fs, struct node *n, const char *name, struct buf *out)
{
	_cleanup_free_ char *value = malloc(XATTR_VALUE_MAX);
	_cleanup_close_ int fd = open_for_xattr(fs, n);
	ssize_t len;

	if (fd < 0 || !value)
		return fd < 0 ? fd : -ENOMEM;
	if (strcmp(name, XATTR_STATE) == 0)
		return buf_addstr(out, "draft");
	len = fgetxattr(fd, name, value, XATTR_VALUE_MAX);
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

/* ---- removing and renaming ---- */

int ops_local_remove(struct fsys *fs, const char *path, int flags)
{
	return result(unlinkat(local_fd(fs->local), path, flags));
}

int ops_local_rename(struct fsys *fs, const char *from, struct node *to, const char *name,
		     unsigned int flags)
{
	_cleanup_free_ char *path = NULL;
	int rc;

	path = path_in(fs, to, name, &rc);
	if (!rc)
		rc = result(renameat2(local_fd(fs->local), from, local_fd(fs->local), path, flags));
	if (!rc)
		node_moved_local(fs->nodes, from, path);
	return rc;
}
