/* ops_dir - names: lookup, and the directories that can be made. */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/change.h"
#include "fs/local.h"
#include "fs/notify.h"
#include "fs/spec.h"
#include "fs/tree.h"
#include "fs/whiteout.h"

/* Seconds that the kernel may remember that a name is not there; for ever where that is certain. */
#define NEGATIVE_S 1.0

/* ---- lookup ---- */

/* `latest` leads elsewhere than when the kernel was last told of it. */
static void note_moved_link(struct fsys *fs, struct node *dir, const struct tree_item *item)
{
	uint64_t ino = tree_number(dir, item);
	struct node *n = node_hold(fs->nodes, ino);
	struct version *v = n ? node_get_version(fs->nodes, n) : NULL;

	if (n && n->kind == NODE_LATEST &&
	    (!v || !item->version || strcmp(v->version, item->version->version) != 0))
		notify_link(fs->notify, ino);
	version_unref(v);
	node_put(fs->nodes, n);
}

int ops_fill_entry(struct fsys *fs, struct node *dir, const struct tree_item *item,
		   struct fuse_entry_param *entry)
{
	struct node *n;
	int rc;

	if (item->kind == NODE_LATEST && fs->kernel.symlinks)
		note_moved_link(fs, dir, item);
	n = tree_intern(fs, dir, item);
	if (!n)
		return -ENOMEM;
	*entry = (struct fuse_entry_param){.ino = n->ino,
					   .entry_timeout = attr_entry_timeout(fs, n)};
	rc = attr_fill(fs, n, &entry->attr, &entry->attr_timeout);
	if (rc)
		node_forget(fs->nodes, n->ino, 1);
	return rc;
}

/* Whether a name that is not in dir can never be there. */
static bool missing_for_ever(struct fsys *fs, struct node *dir, const char *name)
{
	if (tree_is_probe(dir, name))
		return !tree_has_local(fs, dir);
	/* What can be made here may be seen from elsewhere; what was removed comes back. */
	return (dir->kind == NODE_VERSION || dir->kind == NODE_CONTEXT) &&
	       !tree_has_local(fs, dir) && !whiteout_any(fs->whiteouts, tree_group(dir));
}

static void reply_missing(fuse_req_t req, struct fsys *fs, struct node *dir, const char *name)
{
	struct fuse_entry_param entry = {.entry_timeout = NEGATIVE_S};

	if (entry.entry_timeout > fs->refresh_s)
		entry.entry_timeout = fs->refresh_s;
	if (missing_for_ever(fs, dir, name))
		entry.entry_timeout = FSYS_FOREVER_S;
	else if (tree_has_local(fs, dir) && dir->kind != NODE_SCOPE)
		entry.entry_timeout = 0;
	fuse_reply_entry(req, &entry);
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	struct fuse_entry_param entry;
	struct listing *found;
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	ops_wait_begin(&w, req);
	rc = tree_lookup(fs, dir, name, &w.call, &found, &e);
	ops_wait_end(&w);
	if (rc == -ENOENT) {
		reply_missing(req, fs, dir, name);
		return;
	}
	if (!rc)
		rc = ops_fill_entry(fs, dir, &found->items[0], &entry);
	listing_free(found);
	if (rc)
		ops_reply_error(req, "lookup", dir, name, rc, &e);
	else if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(fs->nodes, entry.ino, 1); /* the caller was interrupted */
}

void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	node_forget(ops_fsys(req)->nodes, ino, nlookup);
	fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		node_forget(ops_fsys(req)->nodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* ---- making directories ---- */

static int make_workspace(struct fsys *fs, const char *name, struct call *c, struct err *e)
{
	struct scope *s;
	int rc;

	if (strncmp(name, ".Trash", 6) == 0)
		return -EACCES;
	rc = catalog_create_workspace(fs->catalog, name, c, &s, e);
	if (!rc)
		scope_unref(s);
	return rc;
}

/* An environment is local until its first version is published. */
static int make_env(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		    struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct env_list *envs;
	bool taken;
	int rc = change_allowed(dir, e);

	if (!rc)
		rc = spec_check_name("environment", name, e);
	if (rc)
		return rc == -EBADMSG ? -EINVAL : rc;
	rc = catalog_envs(fs->catalog, dir->scope, c, &envs, e);
	if (rc)
		return rc;
	taken = env_list_find(envs, name) != NULL;
	env_list_unref(envs);
	if (taken)
		return err_set(e, -EEXIST, "the environment %s exists (it may be archived)", name);
	path = local_env_path(dir->scope, name);
	return path ? local_make_dirs(fs->local, path) : -ENOMEM;
}

/* A draft of a version that can be published under that name. */
static int check_version(struct fsys *fs, struct node *dir, const char *name, struct call *c,
			 struct err *e)
{
	struct version_list *list;
	const struct version *taken;
	int rc = change_allowed(dir, e);

	if (!rc && dir->archived)
		rc = err_set(e, -EROFS, "what is archived is not changed: mv it back first");
	if (!rc && spec_check_name("version", name, e))
		rc = -EINVAL;
	if (rc)
		return rc;
	rc = catalog_versions(fs->catalog, dir->scope, dir->name, c, &list, e);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	taken = version_list_find(list, name);
	if (taken)
		rc = err_set(e, -EEXIST, "version %s exists%s", name,
			     taken->archived ? " (it is archived)" : "");
	version_list_unref(list);
	return rc;
}

/* In a version's directory: what is published there goes on being there. */
static int make_beside(struct fsys *fs, struct node *dir, const char *name, mode_t mode,
		       struct call *c)
{
	uint64_t published = ops_published(fs, dir, name, c);

	if (!published)
		return ops_local_mkdir(fs, dir, name, mode);
	if (!whiteout_has(fs->whiteouts, tree_group(dir), published))
		return -EEXIST;
	ops_uncover(fs, dir, published);
	return 0;
}

static int make_dir(struct fsys *fs, struct node *dir, const char *name, mode_t mode,
		    struct call *c, struct err *e)
{
	int rc;

	switch (dir->kind) {
	case NODE_ROOT:
		return make_workspace(fs, name, c, e);
	case NODE_SCOPE:
		return make_env(fs, dir, name, c, e);
	case NODE_ENV:
		rc = tree_is_draft_name(name) ? 0 : check_version(fs, dir, name, c, e);
		return rc ? rc : ops_local_mkdir(fs, dir, name, mode);
	case NODE_LOCAL:
	case NODE_VERSION:
	case NODE_CONTEXT:
		return make_beside(fs, dir, name, mode, c);
	default:
		return -EROFS;
	}
}

static int make_and_fill(struct fsys *fs, struct node *dir, const char *name, mode_t mode,
			 struct call *c, struct fuse_entry_param *entry, struct err *e)
{
	struct listing *found;
	int rc = make_dir(fs, dir, name, mode, c, e);

	if (rc)
		return rc;
	rc = tree_lookup(fs, dir, name, c, &found, e);
	if (rc)
		return rc;
	rc = ops_fill_entry(fs, dir, &found->items[0], entry);
	listing_free(found);
	return rc;
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	struct fuse_entry_param entry;
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	ops_wait_begin(&w, req);
	rc = make_and_fill(fs, dir, name, mode, &w.call, &entry, &e);
	ops_wait_end(&w);
	if (rc == -EINVAL || rc == -EEXIST)
		fuse_reply_err(req, -rc); /* no name for it, or taken: mkdir(2)'s words */
	else if (rc)
		ops_reply_error(req, "mkdir", dir, name, rc, &e);
	else if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(fs->nodes, entry.ino, 1);
}
