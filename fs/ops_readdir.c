/* ops_readdir - the names in directories. No handle is needed for them (listed.h). */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "fs/ahead.h"
#include "fs/listed.h"
#include "fs/tree.h"

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *dir = ops_node(req, ino);

	if (!dir)
		return;
	/* The kernel asks no more, and keeps the names of directories. */
	if (ops_fsys(req)->kernel.no_opendir)
		fuse_reply_err(req, ENOSYS);
	else
		fuse_reply_open(req, fi);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fi;
	fuse_reply_err(req, 0);
}

/* Where a reply to readdir is put together. */
struct fill {
	fuse_req_t req;
	struct fsys *fs;
	const struct reading *r;
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
	if (ops_fill_entry(f->fs, f->r->dir, item, &entry))
		return fill_plain(f, item->name, tree_number(f->r->dir, item), 0, next);
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
	return fill_plain(f, item->name, tree_number(f->r->dir, item), item_type(item), next);
}

/* The first two are "." and "..". */
enum { DOTS = 2 };

static void fill_all(struct fill *f)
{
	const struct listing *l = f->r->listing;
	const struct node *dir = f->r->dir;
	uint64_t up = dir->parent ? dir->parent->ino : dir->ino;
	size_t i = f->r->next;

	if (i < 1 && !fill_plain(f, ".", dir->ino, S_IFDIR, listed_offset(f->r, 1)))
		return;
	if (i < DOTS && !fill_plain(f, "..", up, S_IFDIR, listed_offset(f->r, DOTS)))
		return;
	for (i = i > DOTS ? i - DOTS : 0; i < l->count; i++)
		if (!fill_item(f, &l->items[i], listed_offset(f->r, i + DOTS + 1)))
			return;
}

static void readdir_any(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct fill f = {.req = req, .fs = ops_fsys(req), .size = size, .plus = plus};
	struct node *dir = ops_node(req, ino);
	struct err e = ERR_INIT;
	struct reading r;
	struct ops_wait w;
	int rc;

	if (!dir)
		return;
	ops_wait_begin(&w, req);
	rc = listed_begin(f.fs, dir, ino, off, &w.call, &r, &e);
	ops_wait_end(&w);
	/* Of ENOENT, readdir(3) makes an end without an error: an empty directory, to be backed up.
	 */
	if (rc == -ENOENT)
		rc = -ESTALE;
	if (rc) {
		ops_reply_error(req, "readdir", dir, NULL, rc, &e);
		return;
	}
	f.r = &r;
	f.data = malloc(size);
	if (f.data)
		fill_all(&f);
	if (f.data && !f.used) {
		ahead_store(f.fs, dir, r.listing);
		listed_end(f.fs, &r);
		if (dir->kind == NODE_SCOPE || dir->kind == NODE_ARCHIVE)
			catalog_listed(f.fs->catalog, dir->scope, fuse_req_ctx(req)->pid);
	}
	listed_put(f.fs, &r);
	if (f.data)
		fuse_reply_buf(req, f.data, f.used);
	else
		fuse_reply_err(req, ENOMEM);
	free(f.data);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	readdir_any(req, ino, size, off, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)fi;
	readdir_any(req, ino, size, off, true);
}
