#include "fs/edit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/writeall.h"
#include "fs/attr.h"
#include "fs/change.h"
#include "fs/edits.h"
#include "fs/render.h"
#include "fs/shown.h"
#include "fs/tree.h"
#include "fs/writing.h"
#include "fs/xattr.h"

enum { COPY_BLOCK = 1024 * 1024 };

/* ---- whether ---- */

bool edit_is_possible(const struct node *n)
{
	if (n->kind == NODE_CONTEXT)
		return n->ctx && ctxtree_get(n->ctx, n->ctx_index)->file;
	return n->kind == NODE_SPEC || n->kind == NODE_CONDA;
}

int edit_allowed(struct fsys *fs, struct node *n, struct err *e)
{
	struct node *version = tree_version_of(n);
	struct version *v;
	bool curated;
	int rc = change_allowed(n, e);

	if (rc)
		return rc;
	if (!fs->local)
		return err_set(e, -EROFS, "this mount is read-only");
	if (n->archived)
		return err_set(e, -EROFS, "what is archived is not changed: mv it back first");
	if (!edit_is_possible(n))
		return err_set(e, -EROFS, "this file is derived from the others");
	v = node_get_version(fs->nodes, version);
	curated = version_is_curated(v);
	version_unref(v);
	if (curated)
		return err_set(e, -EROFS,
			       "a curated environment can't be changed: copy its directory");
	return 0;
}

/* ---- bytes onto the disk ---- */

static int write_context_file(struct fsys *fs, struct node *n, int fd, struct call *c,
			      struct err *e)
{
	const struct context_file *file = ctxtree_get(n->ctx, n->ctx_index)->file;
	int rc = 0;

	for (uint64_t off = 0; !rc && off < file->size; off += COPY_BLOCK) {
		_cleanup_buf_ struct buf data = BUF_INIT(COPY_BLOCK);

		rc = catalog_read(fs->catalog, n->scope, ctxtree_context(n->ctx), file, off,
				  COPY_BLOCK, c, &data, e);
		if (!rc)
			rc = write_all(fd, buf_str(&data), data.len);
	}
	return rc;
}

static int write_published(struct fsys *fs, struct node *n, int fd, struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	int rc;

	if (n->kind == NODE_CONTEXT)
		return write_context_file(fs, n, fd, c, e);
	rc = shown_text(fs, n->parent, n->kind, &text);
	return rc ? rc : write_all(fd, buf_str(&text), text.len);
}

/* Makes the file `to` with the bytes (none when empty) and the time that n shows. */
static int make_copy(struct fsys *fs, struct node *n, const char *to, bool empty, struct call *c,
		     struct err *e)
{
	struct timespec times[2];
	_cleanup_close_ int fd = -1;
	struct stat st;
	double timeout;
	int rc = attr_fill(fs, n, &st, &timeout);

	if (rc)
		return rc;
	fd = openat(local_fd(fs->local), to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    (st.st_mode & 0777) | S_IRUSR | S_IWUSR);
	if (fd < 0)
		return err_set(e, -errno, "the local disk: %s", strerror(errno));
	if (!empty)
		rc = write_published(fs, n, fd, c, e);
	times[0] = times[1] = st.st_mtim;
	if (!rc && futimens(fd, times) < 0)
		rc = -errno;
	if (rc)
		unlinkat(local_fd(fs->local), to, 0);
	return rc;
}

int edit_copy(struct fsys *fs, struct node *n, const char *to, struct call *c, struct err *e)
{
	return make_copy(fs, n, to, false, c, e);
}

/* The directory of the version and the path in it of a published file. */
static int place_of(struct fsys *fs, struct node *n, char **vdir, char **rel)
{
	_cleanup_free_ char *in = NULL;
	const char *name = n->kind == NODE_CONTEXT ? ctxtree_get(n->ctx, n->ctx_index)->name
			   : n->kind == NODE_SPEC  ? "spec.yml"
						   : "conda.yml";
	int rc = upper_of_dir(fs, n->parent, vdir, &in);

	if (rc)
		return rc;
	*rel = *in ? local_join(in, name) : strdup(name);
	if (*rel)
		return 0;
	free(*vdir);
	*vdir = NULL;
	return -ENOMEM;
}

char *edit_temporary_path(struct fsys *fs)
{
	static _Atomic unsigned int count;
	char *path;

	return asprintf(&path, "%s/tmp/copy-%u", upper_run_path(fs->run), count++) < 0 ? NULL
										       : path;
}

static int rename_on_disk(struct fsys *fs, const char *from, const char *to)
{
	int rc = local_make_parents(fs->local, to);

	if (!rc && renameat(local_fd(fs->local), from, local_fd(fs->local), to) < 0)
		rc = -errno;
	return rc;
}

/* Under the lock of moves: the copy becomes what n shows. */
static int adopt(struct fsys *fs, struct node *n, const char *copy, const char *vdir,
		 const char *rel)
{
	_cleanup_free_ char *path = upper_path(fs, UPPER_SHOWN, vdir, rel);
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;
	int rc = path ? rename_on_disk(fs, copy, path) : -ENOMEM;

	if (!rc)
		rc = edits_add(fs->edits, vdir, rel, false);
	if (!rc)
		rc = local_identify(fs->local, path, &st, number);
	if (!rc)
		rc = node_set_local(fs->nodes, n, path, number);
	if (!rc)
		edits_hold(fs->edits, vdir, rel, node_hold(fs->nodes, n->ino));
	return rc;
}

int edit_begin(struct fsys *fs, struct node *n, bool truncate, struct call *c, struct err *e)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *rel = NULL;
	_cleanup_free_ char *copy = edit_temporary_path(fs);
	int rc = edit_allowed(fs, n, e);

	if (rc)
		return rc;
	rc = copy ? place_of(fs, n, &vdir, &rel) : -ENOMEM;
	if (!rc)
		rc = make_copy(fs, n, copy, truncate, c, e);
	if (rc)
		return rc;
	edits_lock(fs->edits);
	/* Somebody else may have been faster. */
	if (!node_is_local(fs->nodes, n) && !edits_get(fs->edits, vdir, rel, NULL))
		rc = adopt(fs, n, copy, vdir, rel);
	else
		rc = -EEXIST;
	edits_unlock(fs->edits);
	if (rc)
		unlinkat(local_fd(fs->local), copy, 0);
	if (rc != -EEXIST)
		return rc;
	/* Else another file was renamed onto the name: whoever asks looks the name up again. */
	return node_is_local(fs->nodes, n) ? 0 : -ESTALE;
}

int edit_copy_file(struct fsys *fs, const char *from, const char *to)
{
	_cleanup_close_ int in =
		openat(local_fd(fs->local), from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct timespec times[2];
	struct stat st;
	ssize_t n = 1;

	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	out = openat(local_fd(fs->local), to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		     (st.st_mode & 0777) | S_IRUSR | S_IWUSR);
	if (out < 0)
		return -errno;
	while (n > 0)
		n = copy_file_range(in, NULL, out, NULL, COPY_BLOCK, 0);
	times[0] = times[1] = st.st_mtim;
	return n < 0 || futimens(out, times) < 0 || fsync(out) < 0 ? -errno : 0;
}

int edit_echo(struct fsys *fs, const char *vdir, const char *rel, const char *path,
	      const struct proc_id *who)
{
	_cleanup_free_ char *copy = edit_temporary_path(fs);
	_cleanup_free_ char *to = upper_path(fs, UPPER_SHOWN, vdir, rel);
	int rc = copy && to ? edit_copy_file(fs, path, copy) : -ENOMEM;

	if (rc)
		return rc;
	edits_lock(fs->edits);
	rc = edits_get(fs->edits, vdir, rel, NULL) ? -EEXIST : rename_on_disk(fs, copy, to);
	if (!rc)
		rc = edits_add(fs->edits, vdir, rel, false);
	if (!rc)
		edits_attempted(fs->edits, vdir, rel, who, 0);
	edits_unlock(fs->edits);
	if (rc)
		unlinkat(local_fd(fs->local), copy, 0);
	return rc;
}

/* ---- between the areas ---- */

int edit_move(struct fsys *fs, enum upper_area from, enum upper_area to, const char *vdir,
	      const char *rel)
{
	_cleanup_free_ char *source = upper_path(fs, from, vdir, rel);
	_cleanup_free_ char *target = upper_path(fs, to, vdir, rel);
	int rc = source && target ? rename_on_disk(fs, source, target) : -ENOMEM;

	if (!rc)
		node_moved_local(fs->nodes, source, target);
	return rc;
}

/* Under the lock of moves. */
static int wrote(struct fsys *fs, const struct upper_place *p, const char *vdir)
{
	int rc;

	if (p->area == UPPER_LOCAL) {
		rc = edit_move(fs, UPPER_LOCAL, UPPER_EDIT, vdir, p->rel);
		if (!rc)
			rc = edits_add(fs->edits, vdir, p->rel, true);
		if (!rc)
			edits_dirty(fs->edits, vdir, p->rel);
		return rc;
	}
	if (edits_dirty(fs->edits, vdir, p->rel) && p->area == UPPER_SHOWN)
		return edit_move(fs, UPPER_SHOWN, UPPER_EDIT, vdir, p->rel);
	return 0;
}

int edit_wrote(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;
	int rc = 0;

	edits_lock(fs->edits);
	path = node_get_local(fs->nodes, n);
	if (path && !upper_parse(path, &p) && p.area != UPPER_DRAFT && p.area != UPPER_SCRATCH &&
	    upper_is_asset(p.version, p.rel)) {
		vdir = upper_dir(&p);
		rc = vdir ? wrote(fs, &p, vdir) : -ENOMEM;
	}
	edits_unlock(fs->edits);
	return rc;
}

/* ---- the end ---- */

static void drop_locked(struct fsys *fs, const char *vdir, const char *rel, bool leave)
{
	static const enum upper_area areas[] = {UPPER_EDIT, UPPER_SHOWN};

	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		_cleanup_free_ char *path = upper_path(fs, areas[i], vdir, rel);

		if (!path)
			return; /* it is shown for a while longer */
		unlinkat(local_fd(fs->local), path, 0);
		node_clear_local(fs->nodes, path);
	}
	if (leave)
		edits_leave(fs->edits, vdir, rel);
	else
		edits_remove(fs->edits, vdir, rel);
}

void edit_drop(struct fsys *fs, const char *vdir, const char *rel)
{
	edits_lock(fs->edits);
	drop_locked(fs, vdir, rel, false);
	edits_unlock(fs->edits);
}

void edit_leave(struct fsys *fs, const char *vdir, const char *rel)
{
	edits_lock(fs->edits);
	drop_locked(fs, vdir, rel, true);
	edits_unlock(fs->edits);
}

/* A file that was open already when it got its name has writers that nobody counted. */
static bool has_writers(struct fsys *fs, const char *vdir, const char *rel)
{
	_cleanup_free_ char *path = upper_path(fs, UPPER_SHOWN, vdir, rel);

	return !path || writing_at(fs, path, WRITING_OPEN);
}

void edit_sweep(struct fsys *fs, const char *vdir)
{
	char **rels;
	int n;

	if (!fs->edits || !edits_any(fs->edits, vdir))
		return;
	n = edits_list(fs->edits, vdir, &rels);
	edits_lock(fs->edits);
	for (int i = 0; i < n; i++)
		if (edits_is_over(fs->edits, vdir, rels[i]) && !has_writers(fs, vdir, rels[i]))
			drop_locked(fs, vdir, rels[i], false);
	edits_unlock(fs->edits);
	if (n >= 0)
		edits_list_free(rels, n);
}

void edit_sweep_of(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = fs->edits ? node_get_local(fs->nodes, n) : NULL;
	_cleanup_free_ char *vdir = NULL;
	struct upper_place p;

	if (!path || upper_parse(path, &p) || p.area != UPPER_SHOWN)
		return;
	vdir = upper_dir(&p);
	if (vdir)
		edit_sweep(fs, vdir);
}

/* ---- reasons ---- */

void edit_note(struct fsys *fs, const char *path, const char *reason)
{
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return;
	if (reason && *reason)
		rc = fsetxattr(fd, XATTR_ERROR, reason, strlen(reason), 0);
	else
		rc = fremovexattr(fd, XATTR_ERROR);
	if (rc < 0 && errno != ENODATA)
		log_debug("op=save path=%s: the reason can't be kept: %s", path, strerror(errno));
}

void edit_set_reason(struct fsys *fs, const char *vdir, const char *reason)
{
	_cleanup_free_ char *path = upper_path(fs, UPPER_LOCAL, vdir, "");

	if (!path || (reason && *reason && local_make_dirs(fs->local, path)))
		return;
	edit_note(fs, path, reason);
}

int edit_get_note(struct fsys *fs, const char *path, struct buf *out)
{
	_cleanup_free_ char *value = malloc(XATTR_VALUE_MAX);
	_cleanup_close_ int fd = -1;
	ssize_t len;

	if (!value)
		return -ENOMEM;
	fd = openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	len = fgetxattr(fd, XATTR_ERROR, value, XATTR_VALUE_MAX);
	return len < 0 ? -ENODATA : buf_add(out, value, (size_t)len);
}

int edit_get_reason(struct fsys *fs, const char *vdir, struct buf *out)
{
	_cleanup_free_ char *path = upper_path(fs, UPPER_LOCAL, vdir, "");

	return path ? edit_get_note(fs, path, out) : -ENOMEM;
}
