/* ops_dir - names: lookup, directories, the one directory that can be made. */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/change.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/spec.h"
#include "fs/tree.h"
#include "fs/whiteout.h"

/* Seconds that the kernel may remember that a name is not there; for ever where that is certain. */
#define NEGATIVE_S 1.0

/* ---- lookup ---- */

int ops_fill_entry(struct fsys *fs, struct node *dir, const struct tree_item *item,
		   struct fuse_entry_param *entry)
{
	struct node *n = tree_intern(fs, dir, item);
	int rc;

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
	ops_wait_begin_names(&w, req);
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

/* ---- directories ---- */

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, ino);
	struct handle *h;
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	h = handle_new(fs->handles);
	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	ops_wait_begin(&w, req);
	rc = tree_list(fs, dir, &w.call, &h->listing, &e);
	ops_wait_end(&w);
	if (rc) {
		handle_free(fs->handles, h);
		ops_reply_error(req, "opendir", dir, NULL, rc, &e);
		return;
	}
	fi->fh = (uintptr_t)h;
	fi->cache_readdir = dir->kind != NODE_LOCAL;
	/* The kernel's own copy of the listing holds for as long as the snapshot is the same. */
	fi->keep_cache = node_swap_listed(fs->nodes, dir, h->listing->identity);
	if (fuse_reply_open(req, fi) == -ENOENT)
		handle_free(fs->handles, h);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(ops_fsys(req)->handles, handle_of(fi->fh));
	fuse_reply_err(req, 0);
}

/* Where a reply to readdir is put together. */
struct fill {
	fuse_req_t req;
	struct fsys *fs;
	struct node *dir;
	char *data;
	size_t size;
	size_t used;
	bool plus;
};

/* Adds a directory entry; false when it does not fit any more. */
static bool fill_plain(struct fill *f, const char *name, uint64_t ino, mode_t type, off_t next)
{
	struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = type}};
	char *at = f->data + f->used;
	size_t room = f->size - f->used, need;

	if (f->plus)
		need = fuse_add_direntry_plus(f->req, at, room, name, &entry, next);
	else
		need = fuse_add_direntry(f->req, at, room, name, &entry.attr, next);
	if (need > room)
		return false;
	f->used += need;
	return true;
}

/* Adds an item with its attributes, as a lookup would have; a stat of one that fails says why. */
static bool fill_plus(struct fill *f, const struct tree_item *item, off_t next)
{
	struct fuse_entry_param entry;
	size_t room = f->size - f->used, need;

	if (fuse_add_direntry_plus(f->req, NULL, 0, item->name, NULL, 0) > room)
		return false;
	if (ops_fill_entry(f->fs, f->dir, item, &entry))
		return fill_plain(f, item->name, tree_number(f->dir, item), 0, next);
	need = fuse_add_direntry_plus(f->req, f->data + f->used, room, item->name, &entry, next);
	f->used += need;
	return true;
}

static mode_t item_type(const struct tree_item *item)
{
	switch (item->kind) {
	case NODE_LATEST:
		return S_IFLNK;
	case NODE_SPEC:
	case NODE_CONDA:
	case NODE_BUILD_LOG:
		return S_IFREG;
	case NODE_DOCKERFILE:
		return 0; /* DT_UNKNOWN: a file or a symlink */
	case NODE_LOCAL:
		return item->type;
	case NODE_CONTEXT:
		return item->ctx && ctxtree_get(item->ctx, item->ctx_index)->file ? S_IFREG
										  : S_IFDIR;
	default:
		return S_IFDIR;
	}
}

static bool fill_item(struct fill *f, const struct tree_item *item, off_t next)
{
	if (f->plus)
		return fill_plus(f, item, next);
	return fill_plain(f, item->name, tree_number(f->dir, item), item_type(item), next);
}

/* Offsets: 1 is behind ".", 2 behind "..", 3 + i behind item i. */
static void fill_all(struct fill *f, const struct listing *l, off_t off)
{
	uint64_t up = f->dir->parent ? f->dir->parent->ino : f->dir->ino;

	if (off < 1 && !fill_plain(f, ".", f->dir->ino, S_IFDIR, 1))
		return;
	if (off < 2 && !fill_plain(f, "..", up, S_IFDIR, 2))
		return;
	for (size_t i = off > 2 ? (size_t)off - 2 : 0; i < l->count; i++)
		if (!fill_item(f, &l->items[i], (off_t)i + 3))
			return;
}

static void readdir_any(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi, bool plus)
{
	struct fill f = {.req = req, .fs = ops_fsys(req), .size = size, .plus = plus};
	_cleanup_free_ char *data = malloc(size);

	f.dir = ops_node(req, ino);
	if (!f.dir)
		return;
	if (!data) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f.data = data;
	/* The kernel caches what it is told now: perhaps an older listing than the last opened. */
	node_unlist(f.fs->nodes, f.dir, handle_of(fi->fh)->listing->identity);
	fill_all(&f, handle_of(fi->fh)->listing, off);
	fuse_reply_buf(req, data, f.used);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, off, fi, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, off, fi, true);
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
	ops_wait_begin_names(&w, req);
	rc = make_and_fill(fs, dir, name, mode, &w.call, &entry, &e);
	ops_wait_end(&w);
	if (rc == -EINVAL || rc == -EEXIST)
		fuse_reply_err(req, -rc); /* no name for it, or taken: mkdir(2)'s words */
	else if (rc)
		ops_reply_error(req, "mkdir", dir, name, rc, &e);
	else if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(fs->nodes, entry.ino, 1);
}
