/* mini_name - names and attributes. */
#include "tests/model/mini_int.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"

enum { READDIR_SIZE = 1024 };

/* The kernel asks again with larger room; entries of one name and a few digits fit. */
_Static_assert(READDIR_SIZE > sizeof(struct fuse_direntplus) + MINI_NAME_MAX, "no entry fits");

int mini_stat(struct mini *m, pid_t by, const char *path, struct stat *st)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "getattr");
	ops_table.getattr(req, inode->ino, NULL);
	rc = mini_wait(req, REPLY_ATTR);
	if (rc)
		return rc;
	*st = req->attr;
	if ((st->st_mode & S_IFMT) != inode->type)
		mini_complain(m, "%s: getattr tells of another file than lookup", path);
	return 0;
}

int mini_readlink(struct mini *m, pid_t by, const char *path, struct buf *out)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	if (inode->type != S_IFLNK)
		return -EINVAL;
	req = mini_request(m, by, "readlink");
	ops_table.readlink(req, inode->ino);
	rc = mini_wait(req, REPLY_DATA);
	return rc ? rc : buf_add(out, req->data, req->len);
}

/* ---- directories ---- */

/* Reads the entries of one answer; returns the offset behind the last, or a negative errno. */
static int64_t take_entries(struct mini *m, const struct fuse_req *req, mini_name_fn *tell,
			    void *arg)
{
	int64_t next = -EIO;

	for (size_t at = 0; at < req->len;) {
		const struct fuse_direntplus *d = (const void *)(req->data + at);
		const struct fuse_dirent *plain = &d->dirent;
		char name[MINI_NAME_MAX];
		struct fuse_entry_param entry = {
			.ino = d->entry_out.nodeid,
			.attr = {.st_ino = d->entry_out.attr.ino,
				 .st_mode = d->entry_out.attr.mode},
		};

		if (plain->namelen >= MINI_NAME_MAX || !plain->namelen ||
		    at + FUSE_DIRENTPLUS_SIZE(d) > req->len)
			return -EIO;
		snprintf(name, sizeof(name), "%.*s", (int)plain->namelen, plain->name);
		next = (int64_t)plain->off;
		at += FUSE_DIRENTPLUS_SIZE(d);
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (entry.ino)
			mini_told(m, &entry, name);
		tell(arg, name, plain->type << 12);
	}
	return next;
}

static int read_names(struct mini *m, pid_t by, fuse_ino_t ino, struct fuse_file_info *fi,
		      mini_name_fn *tell, void *arg)
{
	int64_t off = 0;

	for (;;) {
		struct fuse_req *req = mini_request(m, by, "readdir");
		int rc;

		ops_table.readdirplus(req, ino, READDIR_SIZE, off, fi);
		rc = mini_wait(req, REPLY_DATA);
		if (rc || !req->len)
			return rc;
		off = take_entries(m, req, tell, arg);
		if (off < 0)
			return (int)off;
	}
}

static int with_dir(struct mini *m, pid_t by, const char *path, struct fuse_file_info *fi,
		    fuse_ino_t *ino)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, true, &inode);

	if (rc)
		return rc;
	if (inode->type != S_IFDIR)
		return -ENOTDIR;
	*ino = inode->ino;
	req = mini_request(m, by, "opendir");
	ops_table.opendir(req, inode->ino, fi);
	rc = mini_wait(req, REPLY_OPEN);
	*fi = req->fi;
	return rc;
}

static void close_dir(struct mini *m, pid_t by, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_req *req = mini_request(m, by, "releasedir");

	ops_table.releasedir(req, ino, fi);
	mini_wait(req, REPLY_ERR);
}

int mini_list(struct mini *m, pid_t by, const char *path, mini_name_fn *name, void *arg)
{
	struct fuse_file_info fi = {0};
	fuse_ino_t ino;
	int rc = with_dir(m, by, path, &fi, &ino);

	if (rc)
		return rc;
	rc = read_names(m, by, ino, &fi, name, arg);
	close_dir(m, by, ino, &fi);
	return rc;
}

int mini_fsyncdir(struct mini *m, pid_t by, const char *path)
{
	struct fuse_file_info fi = {0};
	struct fuse_req *req;
	fuse_ino_t ino;
	int rc = with_dir(m, by, path, &fi, &ino);

	if (rc)
		return rc;
	req = mini_request(m, by, "fsyncdir");
	ops_table.fsyncdir(req, ino, 0, &fi);
	rc = mini_wait(req, REPLY_ERR);
	close_dir(m, by, ino, &fi);
	return rc;
}

/* ---- making ---- */

/* A place where something can be made. */
static int free_place(struct mini *m, pid_t by, const char *path, struct mini_place *p)
{
	int rc = mini_walk(m, by, path, false, p);

	return rc ? rc : p->inode ? -EEXIST : 0;
}

static int made(struct fuse_req *req, const char *name)
{
	int rc = mini_wait(req, REPLY_ENTRY);

	if (rc)
		return rc;
	return mini_told(req->m, &req->entry, name) ? 0 : -EIO;
}

int mini_mkdir(struct mini *m, pid_t by, const char *path, mode_t mode)
{
	struct mini_place p;
	struct fuse_req *req;
	int rc = free_place(m, by, path, &p);

	if (rc)
		return rc;
	req = mini_request(m, by, "mkdir");
	ops_table.mkdir(req, p.dir, p.name, S_IFDIR | mode);
	return made(req, p.name);
}

int mini_mknod(struct mini *m, pid_t by, const char *path, mode_t mode)
{
	struct mini_place p;
	struct fuse_req *req;
	int rc = free_place(m, by, path, &p);

	if (rc)
		return rc;
	req = mini_request(m, by, "mknod");
	ops_table.mknod(req, p.dir, p.name, mode, 0);
	return made(req, p.name);
}

int mini_symlink(struct mini *m, pid_t by, const char *target, const char *path)
{
	struct mini_place p;
	struct fuse_req *req;
	int rc = free_place(m, by, path, &p);

	if (rc)
		return rc;
	req = mini_request(m, by, "symlink");
	ops_table.symlink(req, target, p.dir, p.name);
	return made(req, p.name);
}

int mini_link(struct mini *m, pid_t by, const char *from, const char *to)
{
	struct mini_inode *inode;
	struct mini_place p;
	struct fuse_req *req;
	int rc = mini_find(m, by, from, false, &inode);

	if (!rc)
		rc = free_place(m, by, to, &p);
	if (rc)
		return rc;
	if (inode->type == S_IFDIR)
		return -EPERM;
	req = mini_request(m, by, "link");
	ops_table.link(req, inode->ino, p.dir, p.name);
	return made(req, p.name);
}

/* ---- removing and renaming ---- */

int mini_rmdir(struct mini *m, pid_t by, const char *path)
{
	struct mini_place p;
	struct fuse_req *req;
	int rc = mini_walk(m, by, path, false, &p);

	if (rc || !p.inode)
		return rc ? rc : -ENOENT;
	if (p.inode->type != S_IFDIR)
		return -ENOTDIR;
	req = mini_request(m, by, "rmdir");
	ops_table.rmdir(req, p.dir, p.name);
	return mini_wait(req, REPLY_ERR);
}

int mini_unlink(struct mini *m, pid_t by, const char *path)
{
	struct mini_place p;
	struct fuse_req *req;
	int rc = mini_walk(m, by, path, false, &p);

	if (rc || !p.inode)
		return rc ? rc : -ENOENT;
	if (p.inode->type == S_IFDIR)
		return -EISDIR;
	req = mini_request(m, by, "unlink");
	ops_table.unlink(req, p.dir, p.name);
	return mini_wait(req, REPLY_ERR);
}

/* What the kernel refuses by itself; 1: nothing is to be done. */
static int check_rename(const struct mini_place *from, const struct mini_place *to,
			const char *from_path, const char *to_path, unsigned int flags)
{
	size_t len = strlen(from_path);

	if (!from->inode)
		return -ENOENT;
	if (strncmp(from_path, to_path, len) == 0 && to_path[len] == '/')
		return -EINVAL;
	if (!to->inode)
		return flags & RENAME_EXCHANGE ? -ENOENT : 0;
	if (flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (from->inode == to->inode)
		return 1;
	if (flags & RENAME_EXCHANGE)
		return 0;
	if (from->inode->type == S_IFDIR)
		return to->inode->type == S_IFDIR ? 0 : -ENOTDIR;
	return to->inode->type == S_IFDIR ? -EISDIR : 0;
}

int mini_rename(struct mini *m, pid_t by, const char *from, const char *to, unsigned int flags)
{
	struct mini_place a, b;
	struct fuse_req *req;
	int rc = mini_walk(m, by, from, false, &a);

	if (!rc)
		rc = mini_walk(m, by, to, false, &b);
	if (!rc)
		rc = check_rename(&a, &b, from, to, flags);
	if (rc)
		return rc > 0 ? 0 : rc;
	req = mini_request(m, by, "rename");
	ops_table.rename(req, a.dir, a.name, b.dir, b.name, flags);
	return mini_wait(req, REPLY_ERR);
}

/* ---- attributes ---- */

static int set_attr(struct mini *m, pid_t by, const char *path, struct stat *attr, int to_set)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "setattr");
	ops_table.setattr(req, inode->ino, attr, to_set, NULL);
	return mini_wait(req, REPLY_ATTR);
}

int mini_chmod(struct mini *m, pid_t by, const char *path, mode_t mode)
{
	struct stat attr = {.st_mode = mode};

	return set_attr(m, by, path, &attr, FUSE_SET_ATTR_MODE);
}

int mini_utimens(struct mini *m, pid_t by, const char *path, int64_t mtime_ns)
{
	struct stat attr = {.st_mtim = {mtime_ns / 1000000000, mtime_ns % 1000000000}};

	return set_attr(m, by, path, &attr, FUSE_SET_ATTR_MTIME);
}

int mini_truncate(struct mini *m, pid_t by, const char *path, off_t size)
{
	struct stat attr = {.st_size = size};

	return set_attr(m, by, path, &attr, FUSE_SET_ATTR_SIZE);
}

int mini_setxattr(struct mini *m, pid_t by, const char *path, const char *name, const void *value,
		  size_t size, int flags)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "setxattr");
	ops_table.setxattr(req, inode->ino, name, value, size, flags);
	return mini_wait(req, REPLY_ERR);
}

static ssize_t taken(struct fuse_req *req, void *out, size_t size)
{
	int rc = mini_wait(req, REPLY_DATA);

	if (rc)
		return rc;
	if (req->len > size)
		return -ERANGE;
	if (req->len)
		memcpy(out, req->data, req->len);
	return (ssize_t)req->len;
}

ssize_t mini_getxattr(struct mini *m, pid_t by, const char *path, const char *name, void *value,
		      size_t size)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "getxattr");
	ops_table.getxattr(req, inode->ino, name, size);
	return taken(req, value, size);
}

ssize_t mini_listxattr(struct mini *m, pid_t by, const char *path, char *names, size_t size)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "listxattr");
	ops_table.listxattr(req, inode->ino, size);
	return taken(req, names, size);
}

int mini_removexattr(struct mini *m, pid_t by, const char *path, const char *name)
{
	struct mini_inode *inode;
	struct fuse_req *req;
	int rc = mini_find(m, by, path, false, &inode);

	if (rc)
		return rc;
	req = mini_request(m, by, "removexattr");
	ops_table.removexattr(req, inode->ino, name);
	return mini_wait(req, REPLY_ERR);
}
