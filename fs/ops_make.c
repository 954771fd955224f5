/* ops_make - files that are made: create, mknod, symlink, link. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/save.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

/* Seconds that the kernel may remember a `latest` that was copied. */
#define LATEST_S 1.0

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* ---- what a new name covers ---- */

uint64_t ops_published(struct fsys *fs, struct node *dir, const char *name, struct call *c)
{
	struct listing *found = NULL;
	uint64_t number = 0;

	if (tree_published(fs, dir, name, c, &found, NULL) == 0 && found->count)
		number = tree_number(dir, &found->items[0]);
	listing_free(found);
	return number;
}

void ops_uncover(struct fsys *fs, struct node *dir, uint64_t published)
{
	if (published)
		whiteout_remove(fs->whiteouts, tree_group(dir), published);
}

bool ops_is_sink(struct fsys *fs, struct node *dir, const char *name)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *in = NULL;

	if (dir->kind != NODE_VERSION ||
	    (strcmp(name, "Dockerfile") != 0 && strcmp(name, "build.log") != 0))
		return false;
	if (upper_of_dir(fs, dir, &vdir, &in) || !edits_glowing(fs->edits, vdir))
		return false;
	edits_set_glowing(fs->edits, vdir);
	return true;
}

/* ---- the ends of all of them ---- */

/* The entry of the file that is at name in dir now. */
static int fill_made(fuse_req_t req, struct node *dir, const char *name,
		     struct fuse_entry_param *entry)
{
	struct fsys *fs = ops_fsys(req);
	struct err e = ERR_INIT;
	struct listing *found;
	struct ops_wait w;
	int rc;

	ops_wait_begin_names(&w, req);
	rc = tree_lookup(fs, dir, name, &w.call, &found, &e);
	ops_wait_end(&w);
	if (rc)
		return rc;
	rc = ops_fill_entry(fs, dir, &found->items[0], entry);
	listing_free(found);
	return rc;
}

static void finish_made(fuse_req_t req, struct node *dir, const char *name, int rc)
{
	struct fuse_entry_param entry;

	if (!rc)
		rc = fill_made(req, dir, name, &entry);
	if (rc)
		fuse_reply_err(req, -rc);
	else if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(ops_fsys(req)->nodes, entry.ino, 1);
}

/*
 * A file was made at path for name in dir: when it is part of a published version, it is edited
 * now.
 */
static int made(fuse_req_t req, struct node *dir, const char *name, const char *path)
{
	struct fsys *fs = ops_fsys(req);
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;
	uint64_t published;
	struct ops_wait w;
	int rc;

	save_touched(fs, dir->scope, path);
	if (upper_parse(path, &p) || p.area != UPPER_SHOWN)
		return 0;
	vdir = upper_dir(&p);
	if (!vdir)
		return -ENOMEM;
	ops_wait_begin_names(&w, req);
	published = ops_published(fs, dir, name, &w.call);
	ops_wait_end(&w);
	rc = edits_add(fs->edits, vdir, p.rel, published == 0);
	ops_uncover(fs, dir, published);
	return rc;
}

/* ---- create ---- */

static int open_new(fuse_req_t req, struct node *dir, const char *name, mode_t mode, int flags,
		    struct handle *h)
{
	struct fsys *fs = ops_fsys(req);
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;
	int fd, rc;

	if (flags & O_EXCL && (mode & 0777) == (S_IRUSR | S_IWUSR))
		path = upper_private_path(fs, dir, name, &rc);
	else
		path = upper_new_path(fs, dir, name, &rc);
	if (rc)
		return rc;
	fd = openat(local_fd(fs->local), path,
		    (flags & ~O_DIRECT) | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
		    (mode & 0777) | S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -errno;
	handle_set_file(fs->handles, h, fd, 0, (flags & O_ACCMODE) != O_RDONLY);
	h->sync = flags & (O_SYNC | O_DSYNC);
	if (h->writing && proc_of_thread(fuse_req_ctx(req)->pid, &h->who))
		h->who = (struct proc_id){0};
	rc = made(req, dir, name, path);
	if (!rc && h->writing && !upper_parse(path, &p) && p.area == UPPER_SHOWN) {
		vdir = upper_dir(&p);
		h->counted = vdir && edits_writers(fs->edits, vdir, p.rel, 1);
	}
	return rc;
}

/* A derived file of a version that is being copied here: it is there already. */
static int open_sink(fuse_req_t req, struct node *dir, const char *name, struct handle *h)
{
	struct fsys *fs = ops_fsys(req);
	struct ops_wait w;

	ops_wait_begin_names(&w, req);
	ops_uncover(fs, dir, ops_published(fs, dir, name, &w.call));
	ops_wait_end(&w);
	return ops_sink_open(h);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *fi)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	struct fuse_entry_param entry = {0};
	struct handle *h;
	int rc;

	if (!dir)
		return;
	h = handle_new(fs->handles);
	rc = h ? 0 : -ENOMEM;
	if (!rc && ops_is_sink(fs, dir, name))
		rc = open_sink(req, dir, name, h);
	else if (!rc)
		rc = open_new(req, dir, name, mode, fi->flags, h);
	if (!rc)
		rc = fill_made(req, dir, name, &entry);
	if (rc) {
		if (h)
			handle_free(fs->handles, h);
		fuse_reply_err(req, -rc);
		return;
	}
	handle_set_file(fs->handles, h, h->fd, entry.ino, h->writing);
	fi->fh = (uintptr_t)h;
	if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
		node_forget(fs->nodes, entry.ino, 1);
		handle_free(fs->handles, h);
	}
}

/* ---- mknod, symlink ---- */

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	_cleanup_free_ char *path = NULL;
	int rc;

	(void)rdev;
	if (!dir)
		return;
	path = upper_new_path(fs, dir, name, &rc);
	if (!rc && !S_ISREG(mode))
		rc = -EPERM;
	if (!rc)
		rc = result(mknodat(local_fd(fs->local), path, mode, 0));
	if (!rc)
		rc = made(req, dir, name, path);
	finish_made(req, dir, name, rc);
}

/*
 * A copied `latest` is taken and dropped: the versions say where it points. It is there for a
 * moment, for the program that goes on to set its time.
 */
static void reply_latest(fuse_req_t req, struct node *dir)
{
	struct fsys *fs = ops_fsys(req);
	const struct tree_item item = {
		.kind = NODE_LATEST, .name = "latest", .own_name = "", .scope = dir->scope};
	struct fuse_entry_param entry;
	int rc = ops_fill_entry(fs, dir, &item, &entry);

	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	entry.entry_timeout = LATEST_S;
	entry.attr_timeout = LATEST_S;
	if (fuse_reply_entry(req, &entry) == -ENOENT)
		node_forget(fs->nodes, entry.ino, 1);
}

/* What is published holds files only: a link there would be a file of that content. */
void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct fsys *fs = ops_fsys(req);
	struct node *dir = ops_node(req, parent);
	_cleanup_free_ char *path = NULL;
	struct upper_place p;
	int rc;

	if (!dir)
		return;
	if (dir->kind == NODE_ENV && tree_has_local(fs, dir) && strcmp(name, "latest") == 0) {
		reply_latest(req, dir);
		return;
	}
	path = upper_new_path(fs, dir, name, &rc);
	if (!rc && !upper_parse(path, &p) && p.area == UPPER_SHOWN)
		rc = -EPERM;
	if (!rc)
		rc = result(symlinkat(link, local_fd(fs->local), path));
	if (!rc)
		save_touched(fs, dir->scope, path);
	finish_made(req, dir, name, rc);
}

/* ---- link ---- */

/* The asset file at path is to be what n holds: that is a save. */
static int link_asset(struct fsys *fs, struct node *dir, const char *name, const char *from,
		      const char *path, pid_t by, struct call *c, struct err *e)
{
	int rc = save_onto(fs, dir->scope, from, path, true, by, e);

	if (!rc)
		ops_uncover(fs, dir, ops_published(fs, dir, name, c));
	return rc;
}

static int link_file(fuse_req_t req, struct node *n, struct node *dir, const char *name,
		     const char *path, struct err *e)
{
	struct fsys *fs = ops_fsys(req);
	_cleanup_free_ char *from = node_get_local(fs->nodes, n);
	pid_t by = fuse_req_ctx(req)->pid;
	struct upper_place p;
	struct ops_wait w;
	int rc;

	rc = upper_parse(path, &p);
	if (rc)
		return rc;
	if (from && p.area == UPPER_SHOWN) {
		ops_wait_begin_names(&w, req);
		rc = link_asset(fs, dir, name, from, path, by, &w.call, e);
		ops_wait_end(&w);
		return rc;
	}
	if (from)
		return result(linkat(local_fd(fs->local), from, local_fd(fs->local), path, 0));
	/* A backup of what is published: there is nothing on the disk yet to link to. */
	if (p.area == UPPER_SHOWN || !edit_is_possible(n))
		return -EPERM;
	ops_wait_begin_names(&w, req);
	rc = edit_copy(fs, n, path, &w.call, e);
	ops_wait_end(&w);
	return rc;
}

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fsys *fs = ops_fsys(req);
	struct node *n = ops_node(req, ino), *dir = n ? ops_node(req, newparent) : NULL;
	_cleanup_free_ char *path = NULL;
	struct err e = ERR_INIT;
	int rc;

	if (!dir)
		return;
	path = upper_new_path(fs, dir, newname, &rc);
	if (!rc)
		rc = link_file(req, n, dir, newname, path, &e);
	if (!rc)
		rc = save_in_draft(fs, dir->scope, path, fuse_req_ctx(req)->pid, &e);
	if (rc && e.msg[0])
		ops_reply_save(req, "link", dir, newname, rc, &e);
	else
		finish_made(req, dir, newname, rc);
}
