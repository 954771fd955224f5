/* ops_rename - rename: of drafts and files of the disk, of published files while they are edited,
 * and between a place and its twin in .archived. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "fs/change.h"
#include "fs/context_walk.h"
#include "client/dockerfile.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/publish.h"
#include "fs/render.h"
#include "fs/save.h"
#include "fs/shown.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

/* One rename(2). */
struct renaming {
	struct fsys *fs;
	struct node *from;
	const char *name;
	const struct tree_item *item; /* what is at name in from */
	struct node *to;
	const char *newname;
	unsigned int flags;
	pid_t by;
	struct call *call;
	struct err *e;
};

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
static int check_free(struct renaming *r)
{
	struct listing *taken;
	int rc = tree_lookup(r->fs, r->to, r->newname, r->call, &taken, r->e);

	if (rc == -ENOENT)
		return 0;
	if (!rc)
		listing_free(taken);
	return rc ? rc : -EEXIST;
}

/* ---- what leaves its name ---- */

/* A published file gets bytes on the disk, and a name there; its own name is free for a while. */
static int move_published(struct renaming *r, const char *target)
{
	struct fsys *fs = r->fs;
	struct node *n = tree_intern(fs, r->from, r->item);
	_cleanup_free_ char *copy = edit_temporary_path(fs);
	int dir = local_fd(fs->local), rc = n && copy ? edit_allowed(fs, n, r->e) : -ENOMEM;
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;

	/* What is at the target goes when all of the copy is there. */
	if (!rc)
		rc = edit_copy(fs, n, copy, r->call, r->e);
	if (!rc && renameat(dir, copy, dir, target) < 0) {
		rc = -errno;
		unlinkat(dir, copy, 0);
	}
	if (!rc)
		rc = local_identify(fs->local, target, &st, number);
	if (!rc)
		rc = node_set_local(fs->nodes, n, target, number);
	if (!rc)
		rc = whiteout_add(fs->whiteouts, tree_group(r->from),
				  tree_number(r->from, r->item));
	if (n)
		node_forget(fs->nodes, n->ino, 1);
	return rc;
}

/* A file of a build context gets another name there: one version without the old and with the new.
 */
static int move_in_context(struct renaming *r, const char *target)
{
	struct fsys *fs = r->fs;
	struct node *n = tree_intern(fs, r->from, r->item);
	uint64_t number = tree_number(r->from, r->item), group = tree_group(r->from);
	_cleanup_free_ char *copy = edit_temporary_path(fs);
	int rc = n && copy ? edit_allowed(fs, n, r->e) : -ENOMEM;

	if (!rc)
		rc = edit_copy(fs, n, copy, r->call, r->e);
	if (!rc)
		rc = whiteout_add(fs->whiteouts, group, number);
	if (!rc) {
		rc = save_onto(fs, r->to->scope, copy, target, false, r->by, r->e);
		if (rc)
			whiteout_remove(fs->whiteouts, group, number);
	}
	if (rc && copy)
		unlinkat(local_fd(fs->local), copy, 0);
	if (!rc)
		ops_uncover(fs, r->to, ops_published(fs, r->to, r->newname, r->call));
	if (n)
		node_forget(fs->nodes, n->ino, 1);
	return rc;
}

/* What was edited under the name is not any more; what is published there is hidden for a while. */
static int leave_name(struct renaming *r, const struct upper_place *was)
{
	_cleanup_free_ char *vdir = upper_dir(was);
	uint64_t published;

	if (!vdir)
		return -ENOMEM;
	if (was->area != UPPER_SHOWN && was->area != UPPER_EDIT)
		return 0;
	edits_leave(r->fs->edits, vdir, was->rel);
	published = ops_published(r->fs, r->from, r->name, r->call);
	return published ? whiteout_add(r->fs->whiteouts, tree_group(r->from), published) : 0;
}

static int rename_on_disk(struct renaming *r, const char *source, const char *target)
{
	int dir = local_fd(r->fs->local);

	if (renameat2(dir, source, dir, target, r->flags) < 0)
		return -errno;
	node_moved_local(r->fs->nodes, source, target);
	return 0;
}

/* ---- files of the disk ---- */

/* The name becomes that of an asset file: its bytes are saved first, and it is moved after that. */
static int move_onto_asset(struct renaming *r, const char *target)
{
	struct upper_place was;
	int rc = S_ISREG(r->item->type) ? 0 : -EPERM;

	if (!rc)
		rc = save_errno(
			save_onto(r->fs, r->to->scope, r->item->local, target, false, r->by, r->e));
	if (rc)
		return rc;
	ops_uncover(r->fs, r->to, ops_published(r->fs, r->to, r->newname, r->call));
	return upper_parse(r->item->local, &was) ? 0 : leave_name(r, &was);
}

static int move_local(struct renaming *r, const struct upper_place *to, const char *target)
{
	struct upper_place was;
	int rc;

	if (to->area == UPPER_SHOWN)
		return move_onto_asset(r, target);
	rc = rename_on_disk(r, r->item->local, target);
	if (!rc && !upper_parse(r->item->local, &was))
		rc = leave_name(r, &was);
	if (!rc)
		save_touched(r->fs, r->from->scope, r->item->local);
	return rc ? rc : save_in_draft(r->fs, r->to->scope, target, r->by, r->e);
}

/* A derived file that a copying program brings along: it is dropped, but for its time. */
static int drop(struct renaming *r)
{
	struct stat st;

	if (r->item->kind != NODE_LOCAL)
		return -EROFS;
	ops_uncover(r->fs, r->to, ops_published(r->fs, r->to, r->newname, r->call));
	if (r->to->kind == NODE_VERSION && !local_stat(r->fs->local, r->item->local, &st))
		shown_keep_derived(r->fs, r->to, r->newname, &st);
	return unlinkat(local_fd(r->fs->local), r->item->local, 0) < 0 ? -errno : 0;
}

/* A Dockerfile is, but for a link into a build context. */
static bool is_derived(struct renaming *r, enum node_kind kind)
{
	struct version *v = node_get_version(r->fs->nodes, r->to);
	bool derived = kind != NODE_DOCKERFILE || dockerfile_is_derived(v);

	version_unref(v);
	return derived;
}

/* Whether the file of the disk says just what the derived file says, as a copy of it does. */
static bool says_the_same(struct renaming *r)
{
	enum node_kind kind =
		strcmp(r->newname, "Dockerfile") == 0 ? NODE_DOCKERFILE : NODE_BUILD_LOG;
	_cleanup_buf_ struct buf mine = BUF_INIT(RENDER_MAX);
	_cleanup_buf_ struct buf theirs = BUF_INIT(RENDER_MAX);
	_cleanup_close_ int fd = -1;

	if (r->item->kind != NODE_LOCAL || !S_ISREG(r->item->type) || !is_derived(r, kind) ||
	    shown_text(r->fs, r->to, kind, &theirs))
		return false;
	fd = openat(local_fd(r->fs->local), r->item->local,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && !context_read_file(fd, &mine) && mine.len == theirs.len &&
	       memcmp(buf_str(&mine), buf_str(&theirs), mine.len) == 0;
}

/* A link that is copied over `latest`: that points where the versions say. */
static bool is_latest(const struct renaming *r)
{
	return r->to->kind == NODE_ENV && strcmp(r->newname, "latest") == 0 &&
	       S_ISLNK(r->item->type);
}

static bool is_derived_name(const struct renaming *r)
{
	return r->to->kind == NODE_VERSION &&
	       (strcmp(r->newname, "Dockerfile") == 0 || strcmp(r->newname, "build.log") == 0);
}

/*
 * Programs that replace Dockerfile (sed -i) mean the file in the context that it leads to: the
 * directory and the name of that, the node with a lookup. -EROFS when it is derived.
 */
static int follow_dockerfile(struct renaming *r, struct node **dir, char **name)
{
	struct version *v = node_get_version(r->fs->nodes, r->to);
	const char *path = version_dockerfile_path(v), *slash = strrchr(path, '/');
	struct listing *found = NULL;
	int rc = version_context_has_files(v) && !slash && strcmp(r->newname, "Dockerfile") == 0
			 ? 0
			 : -EROFS;

	*name = strdup(path);
	version_unref(v);
	if (!rc)
		rc = *name ? tree_published(r->fs, r->to, "context", r->call, &found, r->e)
			   : -ENOMEM;
	if (!rc && !found->count)
		rc = -EROFS;
	*dir = rc ? NULL : tree_intern(r->fs, r->to, &found->items[0]);
	listing_free(found);
	return rc ? rc : *dir ? 0 : -ENOMEM;
}

static int move_file(struct renaming *r);

static int move_onto_dockerfile(struct renaming *r)
{
	_cleanup_free_ char *name = NULL;
	struct renaming through = *r;
	bool sink = ops_is_sink(r->fs, r->to, r->newname);
	int rc;

	/* A copy of the link, or of a file that nobody can change. */
	if ((sink && !S_ISREG(r->item->type)) || says_the_same(r))
		return drop(r);
	rc = follow_dockerfile(r, &through.to, &name);
	if (rc == -EROFS && sink)
		return drop(r);
	if (rc)
		return rc == -EROFS ? err_set(r->e, rc, "this file is derived from the others")
				    : rc;
	through.newname = name;
	rc = move_file(&through);
	node_forget(r->fs->nodes, through.to->ino, 1);
	return rc;
}

static int check_flags(struct renaming *r)
{
	if (r->flags & ~(unsigned int)RENAME_NOREPLACE)
		return -EINVAL;
	return r->flags & RENAME_NOREPLACE ? check_free(r) : 0;
}

static int move_file(struct renaming *r)
{
	_cleanup_free_ char *target = NULL;
	struct upper_place to;
	int rc;

	if (is_latest(r))
		return drop(r);
	if (is_derived_name(r))
		return move_onto_dockerfile(r);
	target = upper_new_path(r->fs, r->to, r->newname, &rc);
	if (!rc)
		rc = upper_parse(target, &to);
	if (!rc)
		rc = check_flags(r);
	if (rc)
		return rc;
	if (r->item->kind == NODE_LOCAL)
		return move_local(r, &to, target);
	if (to.area != UPPER_SHOWN)
		return move_published(r, target);
	if (r->item->kind == NODE_CONTEXT && strncmp(to.rel, "context/", strlen("context/")) == 0)
		return move_in_context(r, target);
	return err_set(r->e, -EROFS, "what is published keeps its names: make a draft of it");
}

/* ---- drafts and published directories ---- */

static bool is_version_name(const struct renaming *r)
{
	return r->to->kind == NODE_ENV && !tree_is_draft_name(r->newname) && S_ISDIR(r->item->type);
}

/* A version that is there already, archived or not, keeps its name. */
static int check_version(struct renaming *r, const char *name)
{
	struct version_list *list;
	const struct version *taken;
	int rc = catalog_versions(r->fs->catalog, r->to->scope, r->to->name, r->call, &list, r->e);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	taken = version_list_find(list, name);
	if (taken)
		rc = err_set(r->e, -EEXIST, "version %s of %s exists already%s", name, r->to->name,
			     taken->archived ? " (it is archived)" : "");
	version_list_unref(list);
	return rc;
}

/* Onto a version's name a draft is published. */
static int publish(struct renaming *r)
{
	char version[NAME_SIZE];
	size_t len;
	int rc;

	if (r->flags & ~(unsigned int)RENAME_NOREPLACE)
		return -EINVAL;
	if (name_decode(NAME_VERSION, r->newname, version, &len))
		return err_set(r->e, -EBADMSG, "%s is no name for a version", r->newname);
	rc = check_version(r, version);
	if (rc)
		return rc;
	return save_errno(save_draft_as(r->fs, r->to, r->item->local, version, r->by, r->e));
}

/*
 * Between a place and its twin in .archived, things move; everywhere else mv(1) is told to copy
 * (EXDEV), because published things keep their names.
 */
static int move_twin(struct renaming *r)
{
	bool twins = same_scope(r->from, r->to) && r->from->archived != r->to->archived &&
		     strcmp(r->item->name, r->newname) == 0;
	int rc;

	if (r->flags & ~(unsigned int)RENAME_NOREPLACE)
		return -EINVAL;
	if (!twins)
		return -EXDEV;
	rc = check_free(r);
	if (rc)
		return rc;
	if (r->item->kind == NODE_ENV && is_env_dir(r->to))
		return change_move_env(r->fs, r->to, r->item->own_name, r->to->archived, r->call,
				       r->e);
	if (r->item->kind == NODE_VERSION && r->to->kind == NODE_ENV &&
	    strcmp(r->from->name, r->to->name) == 0)
		return change_move_version(r->fs, r->to, r->item->own_name, r->to->archived,
					   r->call, r->e);
	return -EXDEV;
}

static int move(struct renaming *r)
{
	switch (r->item->kind) {
	case NODE_LOCAL:
		return is_version_name(r) ? publish(r) : move_file(r);
	case NODE_SPEC:
	case NODE_CONDA:
		return move_file(r);
	case NODE_CONTEXT:
		return r->item->ctx && ctxtree_get(r->item->ctx, r->item->ctx_index)->file
			       ? move_file(r)
			       : -EROFS;
	case NODE_VERSION:
	case NODE_ENV:
		return move_twin(r);
	default:
		return -EROFS;
	}
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
	rc = change_allowed(from, &e);
	if (!rc)
		rc = tree_lookup(fs, from, name, &w.call, &found, &e);
	if (!rc) {
		struct renaming r = {.fs = fs,
				     .from = from,
				     .name = name,
				     .item = &found->items[0],
				     .to = to,
				     .newname = newname,
				     .flags = flags,
				     .by = fuse_req_ctx(req)->pid,
				     .call = &w.call,
				     .e = &e};

		rc = move(&r);
	}
	ops_wait_end(&w);
	listing_free(found);
	/* Not a save: mv(1) copies then, or says what it always says. */
	if (rc == -EXDEV || rc == -EINVAL || rc == -ENOTEMPTY || rc == -EISDIR || rc == -ENOTDIR)
		fuse_reply_err(req, -rc);
	else
		ops_reply_save(req, "rename", from, newname, rc, &e);
}
