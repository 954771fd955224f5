#include "fs/change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "fs/filelock.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/whiteout.h"

enum { LOCK_NAME_MAX = 4096 };

int change_allowed(const struct node *n, struct err *e)
{
	if (!n->scope)
		return err_set(e, -EPERM, "workspaces are neither removed nor renamed here");
	if (!n->scope->writable)
		return err_set(e, -EROFS, "%s is read-only", n->scope->name);
	return 0;
}

/* Reads, changes and sends back a version, with all other mounts of this user kept out. */
int change_version_named(struct fsys *fs, struct scope *s, const char *env, const char *version,
			 const struct version_change *change, struct call *c, struct version **out,
			 struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(LOCK_NAME_MAX);
	char key[SCOPE_KEY_SIZE];
	int lock, rc = buf_addf(&name, "%s\n%s\n%s", tree_scope_key(s, key), env, version);

	if (rc)
		return rc;
	lock = filelock_take(buf_str(&name), c, e);
	if (lock < 0)
		return lock;
	rc = catalog_update_version(fs->catalog, s, env, version, change, c, out, e);
	filelock_release(lock);
	return rc;
}

static int set_archived(struct fsys *fs, struct scope *s, const char *env, const char *version,
			bool archived, struct call *c, struct err *e)
{
	struct version_change change = {.archived = archived};
	struct version *v = NULL;
	int rc = change_version_named(fs, s, env, version, &change, c, &v, e);

	version_unref(v);
	return rc;
}

static int set_env_archived(struct fsys *fs, struct scope *s, const char *env, bool archived,
			    struct call *c, struct err *e)
{
	struct env *result = NULL;
	int rc = catalog_update_env(fs->catalog, s, env, archived, c, &result, e);

	env_unref(result);
	return rc;
}

/* ---- versions ---- */

/* The environment in .archived may be empty now: it stays until its own rmdir, or for a moment. */
static void note_emptied(struct fsys *fs, const struct node *env)
{
	if (env->archived && whiteout_add(fs->emptied, env->parent->ino, env->ino))
		log_warn("op=rmdir env=%s: no memory to note it", env->name);
}

/* The versions of an environment that one process has taken out are a group of their own. */
static uint64_t taken_out_by(uint64_t env, pid_t by)
{
	char label[32];

	snprintf(label, sizeof(label), "taken out by %d", by);
	return node_number(env, NODE_VERSION, label);
}

int change_remove_version(struct fsys *fs, struct node *env, const struct tree_item *version,
			  pid_t by, struct call *c, struct err *e)
{
	uint64_t ino = tree_number(env, version);
	int rc;

	if (env->archived || fs->delete_permanent) {
		note_emptied(fs, env);
		rc = catalog_delete_version(fs->catalog, env->scope, env->name, version->own_name,
					    c, e);
	} else {
		rc = set_archived(fs, env->scope, env->name, version->own_name, true, c, e);
	}
	if (rc)
		return rc;
	whiteout_clear(fs->whiteouts, ino);
	/* For change_remove_env(). When it can't be noted, the version just stays archived. */
	if (!env->archived && (whiteout_add(fs->whiteouts, env->ino, ino) ||
			       whiteout_add(fs->whiteouts, taken_out_by(env->ino, by), ino)))
		log_warn("op=rmdir env=%s version=%s: no memory to note it", env->name,
			 version->own_name);
	return 0;
}

int change_move_version(struct fsys *fs, struct node *to, const char *name, bool archived,
			struct call *c, struct err *e)
{
	int rc = set_archived(fs, to->scope, to->name, name, archived, c, e);
	char file[NAME_SIZE];

	if (rc)
		return rc;
	name_encode(NAME_VERSION, name, strlen(name), file);
	whiteout_remove(fs->whiteouts, to->ino, node_number(to->ino, NODE_VERSION, file));
	return 0;
}

/* ---- environments ---- */

/* Restores the versions that the process which now takes out the environment took out before. */
static int restore_versions(struct fsys *fs, struct scope *s, const char *env, uint64_t env_ino,
			    pid_t by, struct call *c, struct err *e)
{
	struct version_list *versions;
	char file[NAME_SIZE];
	int rc = catalog_versions(fs->catalog, s, env, c, &versions, e);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (size_t i = 0; !rc && i < versions->count; i++) {
		const struct version *v = versions->items[i];
		uint64_t ino;

		name_encode(NAME_VERSION, v->version, strlen(v->version), file);
		ino = node_number(env_ino, NODE_VERSION, file);
		if (v->archived && whiteout_has(fs->whiteouts, taken_out_by(env_ino, by), ino))
			rc = set_archived(fs, s, env, v->version, false, c, e);
	}
	version_list_unref(versions);
	return rc;
}

static int archive_env(struct fsys *fs, struct scope *s, const char *env, uint64_t env_ino,
		       pid_t by, struct call *c, struct err *e)
{
	/* First: a version of an archived environment can't be restored (azureml-rest.md section
	 * 7). */
	int rc = restore_versions(fs, s, env, env_ino, by, c, e);

	return rc ? rc : set_env_archived(fs, s, env, true, c, e);
}

/* One that was never published: only its place on the disk goes, if nothing came into it. */
static int remove_local_env(struct fsys *fs, const struct scope *s, const char *env)
{
	_cleanup_free_ char *path = local_env_path(s, env);

	if (!path)
		return -ENOMEM;
	return unlinkat(local_fd(fs->local), path, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int change_remove_env(struct fsys *fs, struct node *dir, const struct tree_item *env, pid_t by,
		      struct call *c, struct err *e)
{
	uint64_t ino = tree_number(dir, env);
	int rc;

	if (!env->env)
		return remove_local_env(fs, dir->scope, env->own_name);
	if (dir->archived && !env->env->archived)
		rc = 0; /* an active one: nothing of it was archived but what is deleted now */
	else if (dir->archived || fs->delete_permanent)
		rc = catalog_delete_env(fs->catalog, dir->scope, env->own_name, c, e);
	else
		rc = archive_env(fs, dir->scope, env->own_name, ino, by, c, e);
	if (!rc) {
		whiteout_clear(fs->whiteouts, ino);
		whiteout_clear(fs->whiteouts, taken_out_by(ino, by));
		whiteout_remove(fs->emptied, dir->ino, ino);
	}
	return rc;
}

int change_move_env(struct fsys *fs, struct node *to, const char *name, bool archived,
		    struct call *c, struct err *e)
{
	return set_env_archived(fs, to->scope, name, archived, c, e);
}

/* ---- tags ---- */

int change_version(struct fsys *fs, struct node *n, const struct version_change *change,
		   struct call *c, struct err *e)
{
	struct version *v = NULL;
	int rc = change_version_named(fs, n->scope, n->parent->name, n->name, change, c, &v, e);

	if (!rc)
		node_set_version(fs->nodes, n, v);
	version_unref(v);
	return rc;
}
