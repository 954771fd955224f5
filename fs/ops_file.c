/* ops_file - attributes, symlinks, and reading files. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/buildlog.h"
#include "fs/edit.h"
#include "fs/handle.h"
#include "fs/name.h"
#include "fs/render.h"
#include "fs/seen.h"
#include "fs/shown.h"
#include "fs/tree.h"

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	struct err e = ERR_INIT;
	struct ops_wait w;
	struct stat st;
	double timeout;
	int rc;

	if (!n)
		return;
	edit_sweep_of(fs, n);
	ops_wait_begin(&w, req);
	rc = tree_refresh(fs, n, &w.call, &e);
	/* With a file: it is about to be read, or its end is looked for. */
	if (!rc && fi && fs->kernel.no_open && n->kind == NODE_BUILD_LOG)
		rc = buildlog_look(fs, n, &w.call, &e);
	ops_wait_end(&w);
	if (!rc)
		rc = attr_fill(fs, n, &st, &timeout);
	if (rc)
		ops_reply_error(req, "getattr", n, NULL, rc, &e);
	else
		fuse_reply_attr(req, &st, timeout);
}

static int link_target(struct fsys *fs, struct node *n, struct call *c, struct buf *out,
		       struct err *e)
{
	struct version_list *versions;
	char name[NAME_SIZE];
	struct version *v;
	int rc;

	if (n->kind == NODE_DOCKERFILE) {
		v = node_get_version(fs->nodes, n->parent);
		rc = render_dockerfile_link(v, out);
		version_unref(v);
		return rc;
	}
	if (node_is_local(fs->nodes, n))
		return ops_local_readlink(fs, n, out);
	if (n->kind != NODE_LATEST)
		return -EINVAL;
	/*
	 * Of what is known: the lookup before this has asked where that was old. The kernel keeps
	 * the page of a link locked until this is answered, and notify_link() waits for it.
	 */
	if (!catalog_peek_versions(fs->catalog, n->scope, n->parent->name, &versions)) {
		rc = tree_latest(fs, n->parent, c, &v, e);
		if (rc)
			return rc;
	} else {
		v = version_ref(version_list_latest(versions));
		version_list_unref(versions);
	}
	if (!v)
		return -ENOENT;
	name_encode(NAME_VERSION, v->version, strlen(v->version), name);
	node_set_version(fs->nodes, n, v);
	version_unref(v);
	return buf_addstr(out, name);
}

void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	_cleanup_buf_ struct buf target = BUF_INIT(PATH_MAX);
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!n)
		return;
	ops_wait_begin(&w, req);
	rc = link_target(fs, n, &w.call, &target, &e);
	ops_wait_end(&w);
	if (rc)
		ops_reply_error(req, "readlink", n, NULL, rc, &e);
	else
		fuse_reply_readlink(req, buf_str(&target));
}

static void note_seen(struct fsys *fs, struct node *n, pid_t by)
{
	struct version *v =
		n->kind == NODE_SPEC && fs->seen ? node_get_version(fs->nodes, n->parent) : NULL;

	seen_note(fs->seen, by, v);
	version_unref(v);
}

/*
 * Its text is made when it is read: most of what is opened again is in the kernel's cache. *grows:
 * see buildlog_open().
 */
static int open_published(struct fsys *fs, struct node *n, pid_t by, struct call *c,
			  struct handle *h, bool *grows, struct err *e)
{
	int rc;

	if (attr_type(fs->nodes, n) == S_IFDIR)
		return -EISDIR;
	if (n->kind == NODE_CONTEXT)
		return 0;
	if (n->kind == NODE_BUILD_LOG)
		return buildlog_open(fs, n, c, h, grows, e);
	rc = tree_refresh(fs, n, c, e);
	if (!rc)
		note_seen(fs, n, by);
	return rc;
}

static int file_open(struct fsys *fs, struct node *n, int flags, pid_t by, struct call *c,
		     struct handle *h, bool *grows, struct err *e)
{
	int rc;

	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return ops_write_open(fs, n, flags, by, c, h, e);
	edit_sweep_of(fs, n);
	if (node_is_local(fs->nodes, n)) {
		rc = ops_local_open(fs, n, flags, h);
		/* Between the two it became the published file again. */
		if (rc != -ESTALE || n->kind == NODE_LOCAL)
			return rc;
	}
	return open_published(fs, n, by, c, h, grows, e);
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino);
	struct handle *h;
	struct err e = ERR_INIT;
	struct ops_wait w;
	bool grows = false;
	int rc;

	if (!n)
		return;
	/* The kernel asks no more, and reads without a handle. */
	if (fs->kernel.no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	h = handle_new(fs->handles);
	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	ops_wait_begin(&w, req);
	rc = file_open(fs, n, fi->flags, fuse_req_ctx(req)->pid, &w.call, h, &grows, &e);
	ops_wait_end(&w);
	if (rc) {
		handle_free(fs->handles, h);
		ops_reply_error(req, "open", n, NULL, rc, &e);
		return;
	}
	fi->fh = (uintptr_t)h;
	/* What is cached of a file whose time and size did not move is right. A log that may grow
	 * is read past its size as the kernel knows it: that may be a moment old. */
	fi->direct_io = grows;
	fi->keep_cache = !grows && n->kind != NODE_LOCAL && !node_was_edited(fs->nodes, n);
	/* Nothing is decided when a reader closes. */
	fi->noflush = !h->writing && fs->kernel.no_flush;
	if (fuse_reply_open(req, fi) == -ENOENT)
		handle_free(fs->handles, h);
}

static void read_build_log(fuse_req_t req, struct node *n, const struct handle *h, size_t size,
			   uint64_t off)
{
	_cleanup_buf_ struct buf data = BUF_INIT(size);
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = buildlog_read(ops_fsys(req), n, h, off, size, &w.call, &data, &e);
	ops_wait_end(&w);
	if (rc)
		ops_reply_error(req, "read", tree_version_of(n), "build.log", rc, &e);
	else
		fuse_reply_buf(req, data.data, data.len);
}

static void read_context(fuse_req_t req, struct node *n, size_t size, uint64_t off)
{
	struct fsys *fs = ops_fsys(req);
	const struct ctxtree_entry *entry = ctxtree_get(n->ctx, n->ctx_index);
	_cleanup_buf_ struct buf data = BUF_INIT(size);
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc = 0;

	if (off < entry->file->size) {
		ops_wait_begin(&w, req);
		rc = catalog_read(fs->catalog, n->scope, ctxtree_context(n->ctx), entry->file, off,
				  size, &w.call, &data, &e);
		ops_wait_end(&w);
	}
	if (rc)
		ops_reply_error(req, "read", tree_version_of(n), entry->name, rc, &e);
	else
		fuse_reply_buf(req, data.data, data.len);
}

static void reply_part(fuse_req_t req, const char *text, size_t len, size_t size, off_t off)
{
	_cleanup_buf_ struct buf data = BUF_INIT(size);
	size_t left = (uint64_t)off < len ? len - (size_t)off : 0;

	/* A copy: the reader may close, and the text be freed, before the reply's write returns. */
	if (buf_add(&data, text + (left ? off : 0), left < size ? left : size))
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, data.data, data.len);
}

static int make_text(fuse_req_t req, struct node *n, struct buf *text, struct err *e)
{
	struct fsys *fs = ops_fsys(req);
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = tree_refresh(fs, n, &w.call, e);
	ops_wait_end(&w);
	return rc ? rc : shown_text(fs, n->parent, n->kind, text);
}

/*
 * The same text for all reads of one handle. Without a handle it is made for each request, of which
 * small files need one.
 */
static void read_text(fuse_req_t req, struct node *n, struct handle *h, size_t size, off_t off)
{
	struct handles *hs = ops_fsys(req)->handles;
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	struct err e = ERR_INIT;
	size_t len = 0;
	const char *kept = h ? handle_text(hs, h, &len) : NULL;
	char *made;
	int rc;

	if (kept) {
		reply_part(req, kept, len, size, off);
		return;
	}
	rc = make_text(req, n, &text, &e);
	if (rc) {
		ops_reply_error(req, "read", n, NULL, rc, &e);
		return;
	}
	if (!h) {
		reply_part(req, text.data, text.len, size, off);
		return;
	}
	made = buf_steal(&text, &len);
	kept = made ? handle_keep_text(hs, h, made, &len) : NULL;
	if (kept)
		reply_part(req, kept, len, size, off);
	else
		fuse_reply_err(req, ENOMEM);
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = ops_node(req, ino);
	struct handle *h = handle_of(fi->fh);

	if (!n)
		return;
	if (h && h->fd >= 0)
		ops_local_read(req, h, size, off);
	else if (n->kind == NODE_CONTEXT)
		read_context(req, n, size, (uint64_t)off);
	else if (n->kind == NODE_BUILD_LOG)
		read_build_log(req, n, h, size, (uint64_t)off);
	else
		read_text(req, n, h, size, off);
}
