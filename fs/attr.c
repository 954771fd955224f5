#include "fs/attr.h"

#include <errno.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/buildlog.h"
#include "fs/edits.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/notify.h"
#include "fs/render.h"
#include "fs/rendered.h"
#include "fs/shown.h"
#include "fs/tree.h"
#include "fs/upper.h"

enum { BLOCK = 512, PREFERRED_IO = 128 * 1024, FUSE_ROOT_INO = 1 };

/* Seconds that the attributes of what can grow, or become another file, may be kept. */
#define GROWING_S 1.0

static bool writable(const struct node *n)
{
	return !n->scope || n->scope->writable;
}

static mode_t dir_mode(const struct node *n)
{
	return S_IFDIR | (writable(n) ? 0755 : 0555);
}

static mode_t file_mode(const struct node *n)
{
	return S_IFREG | (writable(n) ? 0644 : 0444);
}

static void set_size(struct stat *st, int64_t size)
{
	st->st_size = size;
	st->st_blocks = (size + BLOCK - 1) / BLOCK;
}

static void set_times(struct stat *st, int64_t modified, int64_t created)
{
	if (!modified)
		modified = created;
	st->st_mtim = clock_timespec(modified);
	st->st_atim = st->st_mtim;
	st->st_ctim = clock_timespec(created ? created : modified);
}

/*
 * Seconds that what a list says of n may be kept: as long as the list itself is fresh, so that
 * nothing is ever shown that is older than `refresh`.
 */
static double list_timeout(struct fsys *fs, struct node *n)
{
	int64_t left;

	switch (n->kind) {
	case NODE_ROOT:
	case NODE_SCOPE:
		left = catalog_left(fs->catalog, NULL, NULL);
		break;
	case NODE_ARCHIVE:
	case NODE_ENV:
		left = catalog_left(fs->catalog, n->scope, NULL);
		break;
	case NODE_SPEC:
		left = catalog_left(fs->catalog, n->scope, n->parent->parent->name);
		break;
	default:
		left = catalog_left(fs->catalog, n->scope, n->parent->name);
		break;
	}
	return (double)left / (double)NS_PER_S;
}

/*
 * The service does not move lastModifiedAt when tags change, so where we saw content change
 * under the same time, the time is when it was seen (semantics.md section 1).
 */
static void set_version_times(struct fsys *fs, struct stat *st, const struct node *n,
			      const struct version *v)
{
	int64_t noticed = notify_noticed(fs->notify, n->ino);
	int64_t modified = v->modified > noticed ? v->modified : noticed;

	set_times(st, modified, v->created);
	if (noticed)
		st->st_ctim = clock_timespec(noticed);
}

static bool is_link(const struct version *v, enum node_kind kind)
{
	return kind == NODE_DOCKERFILE && version_context_has_files(v);
}

static int fill_link(struct stat *st, const struct version *v)
{
	_cleanup_buf_ struct buf target = BUF_INIT(ASSET_PATH_MAX * 4);
	int rc = render_dockerfile_link(v, &target);

	st->st_mode = S_IFLNK | 0777;
	set_size(st, (int64_t)target.len);
	st->st_blocks = 0;
	return rc;
}

/* A program that copies a version here brings its derived files along, and must not fail on them.
 */
static bool taken_and_dropped(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *in = NULL;

	return fs->edits && !upper_of_dir(fs, n->parent, &vdir, &in) &&
	       edits_glowing(fs->edits, vdir);
}

/* Read-only, but for a while after the version was copied here. */
static mode_t derived_mode(struct fsys *fs, struct node *n)
{
	return S_IFREG | (taken_and_dropped(fs, n) ? 0644 : 0444);
}

/*
 * What grows is asked for again and again, though the kernel is told of it too; of what does not,
 * a build that somebody else starts is noticed like a change of a list.
 */
static int fill_build_log(struct fsys *fs, struct node *n, struct stat *st, double *timeout)
{
	struct version *v = node_get_version(fs->nodes, n->parent);
	struct build_info info;
	double left;
	int rc = 0;

	buildlog_info(fs, n->parent, &info);
	set_times(st, v->created, v->created);
	st->st_mode = derived_mode(fs, n);
	set_size(st, (int64_t)info.size);
	if (info.modified)
		set_times(st, info.modified, info.modified);
	else
		rc = shown_stat(fs, n, v, st);
	*timeout = fs->refresh_s;
	if ((info.growing || st->st_mode & S_IWUSR) && *timeout > GROWING_S)
		*timeout = GROWING_S;
	/* Nobody opens it here: the kernel asks before it reads, when this is over. */
	if (fs->kernel.no_open && fs->builds) {
		left = (double)builds_left(fs->builds, n->scope, v) / NS_PER_S;
		if (left < *timeout)
			*timeout = left;
	}
	version_unref(v);
	return rc;
}

/* spec.yml, conda.yml, Dockerfile */
static int fill_version_file(struct fsys *fs, struct node *n, struct stat *st, double *timeout)
{
	struct version *v = node_get_version(fs->nodes, n->parent);
	int64_t size;
	int rc;

	if (n->kind == NODE_SPEC)
		set_version_times(fs, st, n->parent, v);
	else
		set_times(st, v->created, v->created);
	if (is_link(v, n->kind)) {
		rc = fill_link(st, v);
	} else {
		st->st_mode = file_mode(n);
		if (n->kind == NODE_DOCKERFILE)
			st->st_mode = derived_mode(fs, n);
		rc = rendered_size(fs->rendered, fs->nodes, n->parent, v, n->kind, &size);
		set_size(st, size);
	}
	if (!rc)
		rc = shown_stat(fs, n, v, st);
	if (n->kind == NODE_SPEC)
		*timeout = list_timeout(fs, n);
	if (n->kind == NODE_DOCKERFILE && st->st_mode & S_IWUSR)
		*timeout = GROWING_S < fs->refresh_s ? GROWING_S : fs->refresh_s;
	version_unref(v);
	return rc;
}

static void fill_context(struct fsys *fs, struct node *n, struct stat *st)
{
	struct version *v = node_get_version(fs->nodes, tree_version_of(n));
	int64_t when = v->created;

	st->st_mode = dir_mode(n);
	if (n->ctx) {
		const struct ctxtree_entry *entry = ctxtree_get(n->ctx, n->ctx_index);

		if (entry->modified)
			when = entry->modified;
		if (entry->file) {
			st->st_mode = file_mode(n);
			set_size(st, (int64_t)entry->file->size);
		}
	}
	set_times(st, when, when);
	if (shown_stat(fs, n, v, st))
		log_debug("op=getattr: no memory for what was set here");
	version_unref(v);
}

static void fill_latest(struct fsys *fs, struct node *n, struct stat *st)
{
	struct version *v = node_get_version(fs->nodes, n);
	char target[NAME_SIZE];

	st->st_mode = S_IFLNK | 0777;
	if (v) {
		set_times(st, v->created, v->created);
		name_encode(NAME_VERSION, v->version, strlen(v->version), target);
		set_size(st, (int64_t)strlen(target));
		st->st_blocks = 0;
	}
	version_unref(v);
}

/* An environment without a version has the times of its place on the disk. */
static void set_local_times(struct fsys *fs, struct node *n, struct stat *st)
{
	_cleanup_free_ char *path = fs->local ? local_env_path(n->scope, n->name) : NULL;
	struct stat local;

	if (!path || local_stat(fs->local, path, &local))
		return;
	st->st_mtim = st->st_atim = local.st_mtim;
	st->st_ctim = local.st_ctim;
}

static void fill_env(struct fsys *fs, struct node *n, struct stat *st)
{
	struct env *env = node_get_env(fs->nodes, n);

	st->st_mode = dir_mode(n);
	if (env)
		set_times(st, env->modified, env->created);
	else
		set_local_times(fs, n, st);
	env_unref(env);
}

static void fill_version(struct fsys *fs, struct node *n, struct stat *st)
{
	struct version *v = node_get_version(fs->nodes, n);

	st->st_mode = dir_mode(n);
	set_version_times(fs, st, n, v);
	if (shown_stat(fs, n, v, st))
		log_debug("op=getattr: no memory for what was set here");
	version_unref(v);
}

static void fill_list_dir(struct fsys *fs, struct node *n, struct stat *st)
{
	switch (n->kind) {
	case NODE_ROOT:
		st->st_mode = S_IFDIR | 0755;
		set_times(st, fs->started, fs->started);
		break;
	case NODE_ENV:
		fill_env(fs, n, st);
		break;
	case NODE_LATEST:
		fill_latest(fs, n, st);
		break;
	case NODE_VERSION:
		fill_version(fs, n, st);
		break;
	default:
		st->st_mode = dir_mode(n);
		set_times(st, n->scope->modified, n->scope->created);
		break;
	}
}

/* A draft that becomes a version has that version's number from the start: programs that look at
 * the directory again find it to be the same. */
static uint64_t local_number_of(const struct node *n, const char *path, const struct stat *st)
{
	struct upper_place p;
	char key[SCOPE_KEY_SIZE];
	uint64_t scope;

	if (!S_ISDIR(st->st_mode) || !path || upper_parse(path, &p) || p.area != UPPER_DRAFT ||
	    *p.rel || tree_is_draft_name(p.version))
		return n->ino;
	scope = node_number(FUSE_ROOT_INO, NODE_SCOPE, tree_scope_key(n->scope, key));
	return node_number(node_number(scope, NODE_ENV, p.env), NODE_VERSION, p.version);
}

/* A file of the disk: its own attributes, under the number that the mount has for it. */
static int fill_local(struct fsys *fs, struct node *n, struct stat *st)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	char number[LOCAL_NUMBER_SIZE];
	int rc = path ? local_identify(fs->local, path, st, number) : -ENOMEM;

	/* Another file may have its name by now. */
	if (!rc && !node_is_file(fs->nodes, n, number))
		rc = -ENOENT;
	if (rc == -ENOENT)
		rc = handles_stat(fs->handles, n->ino, st);
	/* The published file has the name again: the kernel looks once more. */
	if (rc == -ENOENT && path && upper_is_over(path))
		rc = -ESTALE;
	st->st_ino = rc ? n->ino : local_number_of(n, path, st);
	st->st_uid = fs->uid;
	st->st_gid = fs->gid;
	return rc;
}

int attr_fill(struct fsys *fs, struct node *n, struct stat *st, double *timeout)
{
	*st = (struct stat){
		.st_ino = n->ino,
		.st_nlink = 1,
		.st_uid = fs->uid,
		.st_gid = fs->gid,
		.st_blksize = PREFERRED_IO,
	};
	*timeout = FSYS_FOREVER_S;
	if (node_is_local(fs->nodes, n)) {
		*timeout = 0;
		return fill_local(fs, n, st);
	}
	switch (n->kind) {
	case NODE_LOCAL:
		return -ESTALE;
	case NODE_CONTEXT:
		fill_context(fs, n, st);
		return 0;
	case NODE_SPEC:
	case NODE_CONDA:
	case NODE_DOCKERFILE:
		return fill_version_file(fs, n, st, timeout);
	case NODE_BUILD_LOG:
		return fill_build_log(fs, n, st, timeout);
	default:
		*timeout = list_timeout(fs, n);
		fill_list_dir(fs, n, st);
		return 0;
	}
}

/* An archived environment, or version: rename(2) takes it out of there. */
static bool can_come_back(const struct fsys *fs, const struct node *n)
{
	return fs->local && ((n->kind == NODE_ENV && n->parent->kind == NODE_ARCHIVE) ||
			     (n->kind == NODE_VERSION && n->parent->parent->kind == NODE_ARCHIVE));
}

double attr_entry_timeout(struct fsys *fs, struct node *n)
{
	/* The kernel takes a name along in a rename, with all that it knows of it. */
	if (node_is_local(fs->nodes, n) || can_come_back(fs, n))
		return 0;
	switch (n->kind) {
	case NODE_SPEC:
	case NODE_CONDA:
	case NODE_DOCKERFILE:
	case NODE_BUILD_LOG:
	case NODE_CONTEXT:
		return FSYS_FOREVER_S;
	case NODE_LOCAL:
		return 0;
	default:
		return list_timeout(fs, n);
	}
}

mode_t attr_type(struct node_table *t, struct node *n)
{
	struct version *v;
	bool link;

	switch (n->kind) {
	case NODE_LATEST:
		return S_IFLNK;
	case NODE_SPEC:
	case NODE_CONDA:
	case NODE_BUILD_LOG:
		return S_IFREG;
	case NODE_DOCKERFILE:
		v = node_get_version(t, n->parent);
		link = is_link(v, n->kind);
		version_unref(v);
		return link ? S_IFLNK : S_IFREG;
	case NODE_LOCAL:
		return 0;
	case NODE_CONTEXT:
		if (n->ctx && ctxtree_get(n->ctx, n->ctx_index)->file)
			return S_IFREG;
		return S_IFDIR;
	default:
		return S_IFDIR;
	}
}
