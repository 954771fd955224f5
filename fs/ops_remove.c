/* ops_remove - unlink and rmdir. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "fs/change.h"
#include "fs/edit.h"
#include "fs/local.h"
#include "fs/save.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

static int find(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		struct listing **out, struct err *e)
{
	int rc = change_allowed(dir, e);

	return rc ? rc : tree_lookup(fs, dir, name, c, out, e);
}

/* ---- unlink ---- */

static int remove_local(struct fsys *fs, struct node *dir, const char *path, int flags)
{
	if (unlinkat(local_fd(fs->local), path, flags) < 0)
		return -errno;
	save_touched(fs, dir->scope, path);
	return 0;
}

/* An edited file goes, and so does the published one below it, for a while. */
static int unlink_local(struct fsys *fs, struct node *dir, const char *name, const char *path,
			struct call *c)
{
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;
	uint64_t published;
	int rc = 0;

	if (upper_parse(path, &p) || !upper_is_asset(p.version, p.rel) ||
	    (p.area != UPPER_SHOWN && p.area != UPPER_EDIT && p.area != UPPER_LOCAL))
		return remove_local(fs, dir, path, 0);
	vdir = upper_dir(&p);
	if (!vdir)
		return -ENOMEM;
	published = ops_published(fs, dir, name, c);
	if (p.area == UPPER_LOCAL)
		rc = remove_local(fs, dir, path, 0);
	else
		edit_leave(fs, vdir, p.rel);
	if (rc)
		return rc;
	return published ? whiteout_add(fs->whiteouts, tree_group(dir), published) : 0;
}

static int unlink_item(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		       struct err *e)
{
	struct listing *found;
	int rc = find(fs, dir, name, c, &found, e);

	if (rc)
		return rc;
	if (found->items[0].kind == NODE_LOCAL)
		rc = unlink_local(fs, dir, name, found->items[0].local, c);
	else
		rc = whiteout_add(fs->whiteouts, tree_group(dir),
				  tree_number(dir, &found->items[0]));
	listing_free(found);
	return rc;
}

/* Answers what has no answer but success or failure. */
static void reply(fuse_req_t req, const char *what, const struct node *dir, const char *name,
		  int rc, const struct err *e)
{
	if (rc == -ENOTEMPTY)
		fuse_reply_err(req, ENOTEMPTY);
	else if (rc)
		ops_reply_error(req, what, dir, name, rc, e);
	else
		fuse_reply_err(req, 0);
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *dir = ops_node(req, parent);
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	ops_wait_begin_names(&w, req);
	rc = unlink_item(ops_fsys(req), dir, name, &w.call, &e);
	ops_wait_end(&w);
	reply(req, "unlink", dir, name, rc, &e);
}

/* ---- rmdir ---- */

/* Scratch is the environment's: it is seen in the directory, and stays when that goes. */
static bool is_shared(const struct tree_item *item)
{
	struct upper_place p;

	return item->kind == NODE_LOCAL && !upper_parse(item->local, &p) && p.area == UPPER_SCRATCH;
}

/* 0 when nothing is left in the directory that an item stands for. */
static int check_empty(struct fsys *fs, struct node *dir, const struct tree_item *item,
		       struct call *c, struct err *e)
{
	struct node *n = tree_intern(fs, dir, item);
	struct listing *l;
	int rc;

	if (!n)
		return -ENOMEM;
	rc = tree_list(fs, n, c, &l, e);
	/* `latest` goes with the versions. */
	for (size_t i = 0; !rc && i < l->count; i++)
		if (l->items[i].kind != NODE_LATEST && !is_shared(&l->items[i]))
			rc = -ENOTEMPTY;
	listing_free(l);
	node_forget(fs->nodes, n->ino, 1);
	return rc;
}

/* The empty directories of the disk that a context's directory was seen together with. */
static void remove_beside(struct fsys *fs, struct node *dir, const char *name)
{
	static const enum upper_area areas[] = {UPPER_LOCAL, UPPER_SCRATCH};
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *in = NULL;
	_cleanup_free_ char *rel = NULL;

	if (upper_of_dir(fs, dir, &vdir, &in))
		return;
	rel = *in ? local_join(in, name) : strdup(name);
	for (size_t i = 0; rel && i < sizeof(areas) / sizeof(*areas); i++) {
		_cleanup_free_ char *path = upper_path(fs, areas[i], vdir, rel);
		int rc = path ? local_remove_empty(fs->local, path) : -ENOMEM;

		if (rc && rc != -ENOENT && rc != -ENOTEMPTY)
			log_debug("op=rmdir path=%s: %s", path ? path : rel, strerror(-rc));
	}
}

static int remove_dir(struct fsys *fs, struct node *dir, const struct tree_item *item, pid_t by,
		      struct call *c, struct err *e)
{
	int rc;

	if (item->kind == NODE_LOCAL)
		return remove_local(fs, dir, item->local, AT_REMOVEDIR);
	rc = item->kind == NODE_ARCHIVE ? -EBUSY : check_empty(fs, dir, item, c, e);
	if (rc)
		return rc;
	switch (item->kind) {
	case NODE_VERSION:
		return change_remove_version(fs, dir, item, by, c, e);
	case NODE_ENV:
		return change_remove_env(fs, dir, item, by, c, e);
	case NODE_CONTEXT:
		remove_beside(fs, dir, item->name);
		return whiteout_add(fs->whiteouts, tree_group(dir), tree_number(dir, item));
	default:
		return -ENOTDIR;
	}
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	struct listing *found = NULL;
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	ops_wait_begin_names(&w, req);
	rc = find(fs, dir, name, &w.call, &found, &e);
	if (!rc)
		rc = remove_dir(fs, dir, &found->items[0], fuse_req_ctx(req)->pid, &w.call, &e);
	ops_wait_end(&w);
	listing_free(found);
	reply(req, "rmdir", dir, name, rc, &e);
}
