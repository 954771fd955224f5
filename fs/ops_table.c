/*
 * ops_table - what is done around every operation: it is counted; what it may change is not kept by
 * the kernel any more (listed.h); nothing is pushed to the kernel while a name is asked for.
 */
#include "fs/ops.h"

#include <fcntl.h>
#include <string.h>

#include "fs/handle.h"
#include "fs/listed.h"
#include "fs/notify.h"
#include "fs/upcalls.h"
#include "fs/xattr.h"

/* For measuring what each is worth: MLENVFS_WITHOUT=opendir,store (docs/kernel.md). */
static bool wanted(const struct fsys *fs, const char *what)
{
	return !fs->without || !strstr(fs->without, what);
}

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fsys *fs = userdata;

	/* Saving decides at flush, which writeback caching would defer or hide. */
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	/* The device is read and written by device_read() and device_writev() (mount.c). */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	if (!wanted(fs, "readdirplus"))
		conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS;
	/* What is kept of a directory or file is looked at again when its time or size moved. */
	if (!(conn->capable & FUSE_CAP_AUTO_INVAL_DATA))
		return;
	conn->want |= FUSE_CAP_AUTO_INVAL_DATA;
	atomic_store(&fs->kernel.no_opendir,
		     conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT && wanted(fs, "opendir"));
	/* Reading a file changes nothing there: nobody has to know of the opening. */
	atomic_store(&fs->kernel.no_open, !fs->local && conn->capable & FUSE_CAP_NO_OPEN_SUPPORT &&
						  wanted(fs, "noopen"));
	if (conn->capable & FUSE_CAP_CACHE_SYMLINKS && wanted(fs, "symlinks")) {
		conn->want |= FUSE_CAP_CACHE_SYMLINKS;
		atomic_store(&fs->kernel.symlinks, true);
	}
	atomic_store(&fs->kernel.no_flush, wanted(fs, "flush"));
	atomic_store(&fs->kernel.store, wanted(fs, "store"));
}

static struct fsys *count(fuse_req_t req, enum upcall kind)
{
	struct fsys *fs = ops_fsys(req);

	upcalls_add(fs->upcalls, kind);
	return fs;
}

/* ---- changes ---- */

static void touch(struct fsys *fs, fuse_ino_t ino)
{
	struct node *n = fs->local ? node_get(fs->nodes, ino) : NULL;

	if (n)
		listed_touch(fs, n);
}

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* ---- requests on names ---- */

/*
 * The kernel holds the lock of their directory until they are answered. Nothing is pushed to it
 * meanwhile: that would wait for this lock in a way that no signal ends (notify.h).
 */
static struct fsys *begin_name(fuse_req_t req, enum upcall kind)
{
	struct fsys *fs = count(req, kind);

	notify_hold(fs->notify);
	return fs;
}

static void end_name(struct fsys *fs)
{
	notify_release(fs->notify);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = begin_name(req, UPCALL_LOOKUP);

	ops_lookup(req, parent, name);
	end_name(fs);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fsys *fs = begin_name(req, UPCALL_MKNOD);

	touch(fs, parent);
	ops_mknod(req, parent, name, mode, rdev);
	end_name(fs);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fsys *fs = begin_name(req, UPCALL_MKDIR);

	touch(fs, parent);
	ops_mkdir(req, parent, name, mode);
	end_name(fs);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = begin_name(req, UPCALL_UNLINK);

	touch(fs, parent);
	ops_unlink(req, parent, name);
	end_name(fs);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = begin_name(req, UPCALL_RMDIR);

	touch(fs, parent);
	ops_rmdir(req, parent, name);
	end_name(fs);
}

static void do_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = begin_name(req, UPCALL_SYMLINK);

	touch(fs, parent);
	ops_symlink(req, link, parent, name);
	end_name(fs);
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned int flags)
{
	struct fsys *fs = begin_name(req, UPCALL_RENAME);

	touch(fs, parent);
	touch(fs, newparent);
	ops_rename(req, parent, name, newparent, newname, flags);
	end_name(fs);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fsys *fs = begin_name(req, UPCALL_LINK);

	touch(fs, ino);
	touch(fs, newparent);
	ops_link(req, ino, newparent, newname);
	end_name(fs);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fsys *fs = begin_name(req, UPCALL_CREATE);

	touch(fs, parent);
	ops_create(req, parent, name, mode, fi);
	end_name(fs);
}

/* ---- requests on what is open, or known by its number ---- */

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	count(req, UPCALL_FORGET);
	ops_forget(req, ino, nlookup);
}

static void do_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	count(req, UPCALL_FORGET);
	ops_forget_multi(req, n, forgets);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, UPCALL_GETATTR);
	ops_getattr(req, ino, fi);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	touch(count(req, UPCALL_SETATTR), ino);
	ops_setattr(req, ino, attr, to_set, fi);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	count(req, UPCALL_READLINK);
	ops_readlink(req, ino);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = count(req, UPCALL_OPEN);

	if (writes(fi->flags))
		touch(fs, ino);
	ops_open(req, ino, fi);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	count(req, UPCALL_READ);
	ops_read(req, ino, size, off, fi);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	touch(count(req, UPCALL_WRITE), ino);
	ops_write(req, ino, data, size, off, fi);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = count(req, UPCALL_FLUSH);

	if (fi->fh && handle_of(fi->fh)->writing)
		touch(fs, ino);
	ops_flush(req, ino, fi);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	touch(count(req, UPCALL_FSYNC), ino);
	ops_fsync(req, ino, datasync, fi);
}

static void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	touch(count(req, UPCALL_FSYNCDIR), ino);
	ops_fsyncdir(req, ino, datasync, fi);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = count(req, UPCALL_RELEASE);

	if (fi->fh && handle_of(fi->fh)->writing)
		touch(fs, ino);
	ops_release(req, ino, fi);
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	touch(count(req, UPCALL_FALLOCATE), ino);
	ops_fallocate(req, ino, mode, offset, length, fi);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, UPCALL_OPENDIR);
	ops_opendir(req, ino, fi);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	count(req, UPCALL_READDIR);
	ops_readdir(req, ino, size, off, fi);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	count(req, UPCALL_READDIRPLUS);
	ops_readdirplus(req, ino, size, off, fi);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(req, UPCALL_RELEASEDIR);
	ops_releasedir(req, ino, fi);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	count(req, UPCALL_STATFS);
	ops_statfs(req, ino);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	/* Whoever reads the counters is not counted. */
	if (!xattr_is_status(name))
		count(req, UPCALL_GETXATTR);
	ops_getxattr(req, ino, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	count(req, UPCALL_LISTXATTR);
	ops_listxattr(req, ino, size);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	touch(count(req, UPCALL_SETXATTR), ino);
	ops_setxattr(req, ino, name, value, size, flags);
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	touch(count(req, UPCALL_REMOVEXATTR), ino);
	ops_removexattr(req, ino, name);
}

const struct fuse_lowlevel_ops ops_table = {
	.init = ops_init,
	.lookup = do_lookup,
	.forget = do_forget,
	.forget_multi = do_forget_multi,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.readlink = do_readlink,
	.mknod = do_mknod,
	.mkdir = do_mkdir,
	.unlink = do_unlink,
	.rmdir = do_rmdir,
	.symlink = do_symlink,
	.rename = do_rename,
	.link = do_link,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.fsync = do_fsync,
	.fsyncdir = do_fsyncdir,
	.release = do_release,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
	.releasedir = do_releasedir,
	.statfs = do_statfs,
	.setxattr = do_setxattr,
	.getxattr = do_getxattr,
	.listxattr = do_listxattr,
	.removexattr = do_removexattr,
	.create = do_create,
	.fallocate = do_fallocate,
};
