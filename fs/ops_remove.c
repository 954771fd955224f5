/* ops_remove - unlink, rmdir and rename of published things. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "client/log.h"
#include "fs/change.h"
#include "fs/name.h"
#include "fs/publish.h"
#include "fs/whiteout.h"

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
	if (found->items[0].kind == NODE_LOCAL)
		rc = ops_local_remove(fs, found->items[0].local, 0);
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
	int rc;

	if (item->kind == NODE_LOCAL)
		return ops_local_remove(fs, item->local, AT_REMOVEDIR);
	rc = item->kind == NODE_ARCHIVE ? -EBUSY : check_empty(fs, dir, item, c, e);
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

/* Onto a version's name a draft is published; everywhere else it is a real rename. */
static int move_draft(struct fsys *fs, const struct tree_item *item, struct node *to,
		      const char *newname, unsigned int flags, struct call *c, struct err *e)
{
	char version[NAME_SIZE];
	size_t len;

	if (to->kind != NODE_ENV || tree_is_draft_name(newname))
		return ops_local_rename(fs, item->local, to, newname, flags);
	if (!S_ISDIR(item->type))
		return -EROFS;
	if (name_decode(NAME_VERSION, newname, version, &len))
		return err_set(e, -EBADMSG, "%s is no name for a version", newname);
	return publish_draft(fs, item->local, to, version, c, e);
}

/*
 * Between a place and its twin in .archived, things move; everywhere else mv(1) is told to copy
 * (EXDEV), because published things keep their names.
 */
static int move(struct fsys *fs, struct node *from, const struct tree_item *item, struct node *to,
		const char *newname, unsigned int flags, struct call *c, struct err *e)
{
	bool twins = same_scope(from, to) && from->archived != to->archived &&
		     strcmp(item->name, newname) == 0;
	int rc;

	if (item->kind == NODE_LOCAL)
		return move_draft(fs, item, to, newname, flags, c, e);
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
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

/* What is wrong with a draft is told as it is, and why in the log. */
static void reply_reason(fuse_req_t req, const struct node *to, const char *name, int rc,
			 const struct err *e)
{
	log_warn("op=rename env=%s name=%s errno=%d: %s", to->name, name, -rc, err_text(e, rc));
	fuse_reply_err(req, -rc);
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
	ops_wait_begin(&w, req);
	rc = find(fs, from, name, &w.call, &found, &e);
	if (!rc)
		rc = move(fs, from, &found->items[0], to, newname, flags, &w.call, &e);
	ops_wait_end(&w);
	listing_free(found);
	if (rc == -EBADMSG || rc == -EEXIST || rc == -EFBIG || rc == -EINVAL)
		reply_reason(req, to, newname, rc, &e);
	else if (rc == -EXDEV)
		fuse_reply_err(req, EXDEV);
	else
		reply(req, "rename", from, name, rc, &e);
}
