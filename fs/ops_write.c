/* ops_write - files that are written: open for it, write, close, sync, and attributes. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/change.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/save.h"
#include "fs/shown.h"
#include "fs/tree.h"
#include "fs/upper.h"

enum { OPEN_TRIES = 3 };

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* ---- open ---- */

static const char *derived_name(const struct node *n)
{
	return n->kind == NODE_DOCKERFILE ? "Dockerfile" : "build.log";
}

static bool is_sink(struct fsys *fs, const struct node *n)
{
	return (n->kind == NODE_DOCKERFILE || n->kind == NODE_BUILD_LOG) &&
	       ops_is_sink(fs, n->parent, derived_name(n));
}

int ops_write_open(struct fsys *fs, struct node *n, int flags, pid_t by, struct call *c,
		   struct handle *h, struct err *e)
{
	int rc = -ESTALE;

	/* What was edited may become the published file again before it is open. */
	for (int tries = 0; tries < OPEN_TRIES && rc == -ESTALE; tries++) {
		if (!node_is_local(fs->nodes, n)) {
			if (is_sink(fs, n))
				return ops_sink_open(h);
			rc = edit_begin(fs, n, flags & O_TRUNC, c, e);
			if (rc)
				return rc;
		}
		rc = ops_local_open(fs, n, flags, h);
	}
	if (rc)
		return rc;
	h->sync = flags & (O_SYNC | O_DSYNC);
	if (proc_of_thread(by, &h->who))
		h->who = (struct proc_id){0};
	return 0;
}

/* ---- write ---- */

/* Before anything is written: where it lies says that it is not saved, also after a crash. */
static int begin_write(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = NULL;
	int rc = edit_wrote(fs, n);

	if (rc)
		return rc;
	path = node_get_local(fs->nodes, n);
	if (path)
		save_touched(fs, n->scope, path);
	return 0;
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	       struct fuse_file_info *fi)
{
	struct node *n = ops_node(req, ino);
	struct handle *h = handle_of(fi->fh);
	ssize_t done;
	int rc;

	if (!n)
		return;
	if (!h || h->fd < 0) {
		fuse_reply_err(req, EBADF);
		return;
	}
	rc = h->sink ? 0 : begin_write(ops_fsys(req), n);
	atomic_store(&h->wrote, true);
	done = rc ? -1 : pwrite(h->fd, data, size, off);
	/* Once more: what was there before this may have been published meanwhile. */
	atomic_store(&h->wrote, true);
	if (done < 0)
		fuse_reply_err(req, rc ? -rc : errno);
	else
		fuse_reply_write(req, (size_t)done);
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		   struct fuse_file_info *fi)
{
	struct node *n = ops_node(req, ino);
	struct handle *h = handle_of(fi->fh);
	int rc;

	if (!n)
		return;
	if (!h || h->fd < 0) {
		fuse_reply_err(req, EBADF);
		return;
	}
	rc = h->sink ? 0 : begin_write(ops_fsys(req), n);
	atomic_store(&h->wrote, true);
	if (!rc)
		rc = result(fallocate(h->fd, mode, offset, length));
	fuse_reply_err(req, -rc);
}

/* ---- close and sync ---- */

void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = ops_node(req, ino);
	struct handle *h = handle_of(fi->fh);
	struct err e = ERR_INIT;
	int rc = 0;

	if (!n)
		return;
	/* Nothing is open for writing in a read-only mount: the kernel need not ask again. */
	if (!h) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	if (h->writing)
		rc = save_flush(ops_fsys(req), n, h, fuse_req_ctx(req)->pid, &e);
	ops_reply_save(req, "flush", n, NULL, rc, &e);
}

void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	const struct handle *h = handle_of(fi->fh);
	struct err e = ERR_INIT;
	int rc = 0;

	if (!n)
		return;
	if (h && h->fd >= 0 && !h->sink)
		rc = result(datasync ? fdatasync(h->fd) : fsync(h->fd));
	/* After every write of an O_SYNC descriptor the kernel sends one, on half of the text. */
	if (!rc && h && h->writing && !h->sync)
		rc = save_check(fs, n, h, &e);
	ops_reply_save(req, "fsync", n, NULL, rc, &e);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	int rc = 0;

	(void)datasync, (void)fi;
	if (!n)
		return;
	path = n->kind == NODE_LOCAL ? node_get_local(fs->nodes, n) : NULL;
	if (path) {
		fd = local_open_dir(fs->local, path);
		rc = fd < 0 ? fd : result(fsync(fd));
		if (!rc)
			rc = save_draft_now(fs, n->scope, path, &e);
	}
	ops_reply_save(req, "fsyncdir", n, NULL, rc, &e);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct handle *h = handle_of(fi->fh);

	if (h && h->writing)
		save_release(fs, node_get(fs->nodes, ino), h);
	if (h)
		handle_free(fs->handles, h);
	fuse_reply_err(req, 0);
}

/* ---- attributes ---- */

/* What was saved there is not all there any more. */
static void note_cut(struct fsys *fs, struct node *n, off_t size)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;
	struct stat st;

	if (!path || upper_parse(path, &p) || p.area != UPPER_SHOWN ||
	    local_stat(fs->local, path, &st) || st.st_size == size)
		return;
	vdir = upper_dir(&p);
	if (vdir)
		edits_emptied(fs->edits, vdir, p.rel);
}

/* truncate(2) by name has no close that could save or fail: what follows it counts. */
static int begin_resize(struct fsys *fs, struct node *n, off_t size, struct handle *h)
{
	struct stat st;
	int rc;

	if (!h || h->fd < 0) {
		note_cut(fs, n, size);
		return 0;
	}
	rc = result(fstat(h->fd, &st));
	if (rc || st.st_size == size)
		return rc;
	atomic_store(&h->wrote, true);
	return edit_wrote(fs, n);
}

static int set_local(struct fsys *fs, struct node *n, const struct stat *attr, int to_set,
		     struct handle *h)
{
	_cleanup_free_ char *at = NULL;
	int rc = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		rc = begin_resize(fs, n, attr->st_size, h);
	if (rc)
		return rc;
	/* It may have moved by that. */
	at = node_get_local(fs->nodes, n);
	rc = at ? ops_local_set(fs, at, attr, to_set, h) : -ESTALE;
	if (!rc) {
		save_touched(fs, n->scope, at);
		shown_note_attributes(fs, n, at);
	}
	return rc;
}

/* Where nothing lies on the disk yet. */
static int set_published(fuse_req_t req, struct node *n, const struct stat *attr, int to_set,
			 struct handle *h, struct err *e)
{
	struct fsys *fs = ops_fsys(req);
	struct ops_wait w;
	int rc;

	if (!(to_set & FUSE_SET_ATTR_SIZE))
		return shown_set_attributes(fs, n, attr, to_set, e);
	if ((h && h->sink) || is_sink(fs, n))
		return 0;
	/* Open for writing, and gone since: a file without a name. */
	if (h && h->fd >= 0)
		return result(ftruncate(h->fd, attr->st_size));
	ops_wait_begin(&w, req);
	rc = edit_begin(fs, n, attr->st_size == 0, &w.call, e);
	ops_wait_end(&w);
	if (rc)
		return rc;
	return set_local(fs, n, attr, to_set, h);
}

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		 struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	struct handle *h = fi ? handle_of(fi->fh) : NULL;
	struct err e = ERR_INIT;
	struct stat st;
	double timeout;
	int rc;

	if (!n)
		return;
	if (node_is_local(fs->nodes, n))
		rc = set_local(fs, n, attr, to_set, h);
	else
		rc = set_published(req, n, attr, to_set, h, &e);
	if (!rc)
		rc = attr_fill(fs, n, &st, &timeout);
	if (rc)
		ops_reply_save(req, "setattr", n, NULL, rc, &e);
	else
		fuse_reply_attr(req, &st, timeout);
}
