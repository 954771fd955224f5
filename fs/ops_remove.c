/* ops_remove - unlink, rmdir and rename of published things. */
#include "fs/ops.h"

#include <errno.h>
#include <string.h>

#include "fs/change.h"
#include "fs/whiteout.h"

/* A rename with flags that no two published things can be asked for. */
enum { RENAME_KNOWN = 1 /* RENAME_NOREPLACE: nothing is ever replaced here */ };

static int find(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		struct listing **out, struct err *e)
{
	int rc = change_allowed(dir, e);

	return rc ? rc : tree_lookup(fs, dir, name, c, out, e);
}

/* ---- unlink ---- */

static int unlink_item(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		       struct err *e)
{
	struct listing *found;
	int rc = find(fs, dir, name, c, &found, e);

	if (rc)
		return rc;
	rc = whiteout_add(fs->whiteouts, tree_group(dir), tree_number(dir, &found->items[0]));
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
	ops_wait_begin(&w, req);
	rc = unlink_item(ops_fsys(req), dir, name, &w.call, &e);
	ops_wait_end(&w);
	reply(req, "unlink", dir, name, rc, &e);
}

/* ---- rmdir ---- */

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
		if (l->items[i].kind != NODE_LATEST)
			rc = -ENOTEMPTY;
	listing_free(l);
	node_forget(fs->nodes, n->ino, 1);
	return rc;
}

static int remove_dir(struct fsys *fs, struct node *dir, const struct tree_item *item, pid_t by,
		      struct call *c, struct err *e)
{
	int rc = item->kind == NODE_ARCHIVE ? -EBUSY : check_empty(fs, dir, item, c, e);

	if (rc)
		return rc;
	switch (item->kind) {
	case NODE_VERSION:
		return change_remove_version(fs, dir, item, by, c, e);
	case NODE_ENV:
		return change_remove_env(fs, dir, item, by, c, e);
	case NODE_CONTEXT:
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
	ops_wait_begin(&w, req);
	rc = find(fs, dir, name, &w.call, &found, &e);
	if (!rc)
		rc = remove_dir(fs, dir, &found->items[0], fuse_req_ctx(req)->pid, &w.call, &e);
	ops_wait_end(&w);
	listing_free(found);
	reply(req, "rmdir", dir, name, rc, &e);
}

/* ---- rename ---- */

static bool same_scope(const struct node *a, const struct node *b)
{
	char ka[SCOPE_KEY_SIZE], kb[SCOPE_KEY_SIZE];

	return a->scope && b->scope &&
	       strcmp(tree_scope_key(a->scope, ka), tree_scope_key(b->scope, kb)) == 0;
}

static bool is_env_dir(const struct node *n)
{
	return n->kind == NODE_SCOPE || n->kind == NODE_ARCHIVE;
}

/* -EEXIST when the place is taken. */
static int check_free(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		      struct err *e)
{
	struct listing *taken;
	int rc = tree_lookup(fs, dir, name, c, &taken, e);

	if (rc == -ENOENT)
		return 0;
	if (!rc)
		listing_free(taken);
	return rc ? rc : -EEXIST;
}

/*
 * Between a place and its twin in .archived, things move; everywhere else mv(1) is told to copy
 * (EXDEV), because published things keep their names.
 */
static int move(struct fsys *fs, struct node *from, const struct tree_item *item, struct node *to,
		const char *newname, struct call *c, struct err *e)
{
	bool twins = same_scope(from, to) && from->archived != to->archived &&
		     strcmp(item->name, newname) == 0;
	int rc;

	if (item->kind != NODE_VERSION && item->kind != NODE_ENV)
		return -EROFS;
	if (!twins)
		return -EXDEV;
	rc = check_free(fs, to, newname, c, e);
	if (rc)
		return rc;
	if (item->kind == NODE_ENV && is_env_dir(to))
		return change_move_env(fs, to, item->own_name, to->archived, c, e);
	if (item->kind == NODE_VERSION && to->kind == NODE_ENV && strcmp(from->name, to->name) == 0)
		return change_move_version(fs, to, item->own_name, to->archived, c, e);
	return -EXDEV;
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		const char *newname, unsigned int flags)
{
	struct fsys *fs = ops_fsys(req);
	struct node *from = ops_node(req, parent), *to = from ? ops_node(req, newparent) : NULL;
	struct listing *found = NULL;
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!to)
		return;
	if (flags & ~(unsigned)RENAME_KNOWN) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	ops_wait_begin(&w, req);
	rc = find(fs, from, name, &w.call, &found, &e);
	if (!rc)
		rc = move(fs, from, &found->items[0], to, newname, &w.call, &e);
	ops_wait_end(&w);
	listing_free(found);
	if (rc == -EXDEV || rc == -EEXIST)
		fuse_reply_err(req, -rc);
	else
		reply(req, "rename", from, name, rc, &e);
}
