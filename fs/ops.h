/*
 * ops - the libfuse low-level operations. Thin: each finds its node, asks tree, attr, render or
 * xattr, and replies exactly once.
 */
#ifndef MLENVFS_FS_OPS_H
#define MLENVFS_FS_OPS_H

#include <fuse_lowlevel.h>

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

/* All operations; the session's userdata must be the struct fsys. */
extern const struct fuse_lowlevel_ops ops_table;

/* ---- for the ops_*.c files ---- */

/*
 * What one request that may wait needs: its deadline, and the interrupt that cancels it. Not for
 * requests that answer from memory.
 */
struct ops_wait {
	fuse_req_t req;
	struct call call;
	bool names;
};

void ops_wait_begin(struct ops_wait *w, fuse_req_t req);
/* The same for a request on names, whose directory is locked until it is answered: nothing is
 * pushed to the kernel meanwhile that would wait for that lock. */
void ops_wait_begin_names(struct ops_wait *w, fuse_req_t req);
void ops_wait_end(struct ops_wait *w); /* before the reply */

struct fsys *ops_fsys(fuse_req_t req);

/* The node, or NULL after replying ESTALE. */
struct node *ops_node(fuse_req_t req, fuse_ino_t ino);

/*
 * Replies with the errno that a program should see for rc, and logs e when it is more than an
 * ordinary "not there". what names the operation, n the node.
 */
void ops_reply_error(fuse_req_t req, const char *what, const struct node *n, const char *name,
		     int rc, const struct err *e);

/* A directory entry for an item, with one lookup added to its node. 0 or a negative errno. */
struct tree_item;
int ops_fill_entry(struct fsys *fs, struct node *dir, const struct tree_item *item,
		   struct fuse_entry_param *entry);

/*
 * The number of what is published under a name in dir, also when it was removed here; 0 when
 * nothing is. Makes no request for what is known.
 */
uint64_t ops_published(struct fsys *fs, struct node *dir, const char *name, struct call *c);

/* The name is there again: what was removed under it here is not any more. */
void ops_uncover(struct fsys *fs, struct node *dir, uint64_t published);

/* Replies with the errno of a saving call (save.h), and logs e. */
void ops_reply_save(fuse_req_t req, const char *what, const struct node *n, const char *name,
		    int rc, const struct err *e);

/* ---- files of the disk (ops_local.c): the system calls of their names; 0 or a negative errno ----
 */

struct buf;
struct handle;

int ops_local_mkdir(struct fsys *fs, struct node *dir, const char *name, mode_t mode);
int ops_local_open(struct fsys *fs, struct node *n, int flags, struct handle *h);
void ops_local_read(fuse_req_t req, const struct handle *h, size_t size, off_t off);
int ops_local_readlink(struct fsys *fs, struct node *n, struct buf *out);
int ops_local_getxattr(struct fsys *fs, struct node *n, const char *name, struct buf *out);
int ops_local_listxattr(struct fsys *fs, struct node *n, struct buf *out);
int ops_local_setxattr(struct fsys *fs, struct node *n, const char *name, const char *value,
		       size_t size, int flags); /* value NULL: remove */
int ops_local_set(struct fsys *fs, const char *path, const struct stat *attr, int to_set,
		  const struct handle *h);

/* A file whose bytes go nowhere, for h; 0 or a negative errno. */
int ops_sink_open(struct handle *h);

/* Opens n for h, which gets what the flags ask for (ops_write.c). Blocks. */
int ops_write_open(struct fsys *fs, struct node *n, int flags, pid_t by, struct call *c,
		   struct handle *h, struct err *e);

/* Whether name in dir is a derived file of a version that is being copied here, which is taken and
 * dropped. */
bool ops_is_sink(struct fsys *fs, struct node *dir, const char *name);

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		   struct fuse_file_info *fi);
void ops_statfs(fuse_req_t req, fuse_ino_t ino);
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		const char *newname, unsigned int flags);
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		 struct fuse_file_info *fi);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *fi);
void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	       struct fuse_file_info *fi);
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);

#endif
