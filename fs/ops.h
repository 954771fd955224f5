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
};

void ops_wait_begin(struct ops_wait *w, fuse_req_t req);
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
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
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
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);

#endif
