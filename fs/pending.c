#include "fs/pending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "fs/change.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/journal.h"
#include "fs/local.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/xattr.h"

enum {
	TEXT_MAX = 40 * 1024, /* of all items: an attribute's value has 64 KiB */
	DEPTH_MAX = 80,
	SCOPES_WAIT_S = 1,
};

struct pending {
	struct fsys *fs;
	struct listing *scopes; /* NULL: not known */
	cJSON *drafts, *rejected, *unsaved, *publishing;
	unsigned int discarded;
	size_t used;
	unsigned int more;
	bool failed; /* no memory */
};

/* ---- paths in the mount ---- */

static const char *scope_name(const struct pending *p, const char *hex)
{
	for (size_t i = 0; p->scopes && i < p->scopes->count; i++) {
		_cleanup_free_ char *own = local_scope_path(p->scopes->items[i].scope);

		if (own && strcmp(own, hex) == 0)
			return p->scopes->items[i].name;
	}
	return hex;
}

static void add_item(struct pending *p, cJSON *list, const char *path, const char *reason)
{
	size_t size = strlen(path) + (reason ? strlen(reason) : 0) + 64;
	cJSON *item;

	if (p->used + size > TEXT_MAX) {
		p->more++;
		return;
	}
	p->used += size;
	item = cJSON_CreateObject();
	p->failed |= !cJSON_AddStringToObject(item, "path", path);
	if (reason && *reason)
		p->failed |= !cJSON_AddStringToObject(item, "reason", reason);
	if (!cJSON_AddItemToArray(list, item)) {
		cJSON_Delete(item);
		p->failed = true;
	}
}

static void add_place(struct pending *p, cJSON *list, const struct upper_place *at, const char *rel,
		      const char *reason)
{
	_cleanup_free_ char *path = NULL;
	bool env = strcmp(at->version, UPPER_ENV) == 0;

	if (asprintf(&path, "%s/%s%s%s%s%s", scope_name(p, at->scope), at->env, env ? "" : "/",
		     env ? "" : at->version, *rel ? "/" : "", rel) < 0) {
		path = NULL;
		p->failed = true;
		return;
	}
	add_item(p, list, path, reason);
}

/* ---- walking the disk ---- */

typedef void name_fn(struct pending *p, const char *path, const char *name);

struct visit {
	struct pending *p;
	name_fn *fn;
};

static int visit_name(void *arg, const char *dir, const char *name)
{
	const struct visit *v = arg;
	_cleanup_free_ char *path = strcmp(dir, ".") == 0 ? strdup(name) : local_join(dir, name);

	if (path)
		v->fn(v->p, path, name);
	v->p->failed |= !path;
	return 0;
}

/* What can't be read is not there for whoever asks. */
static void each_name(struct pending *p, const char *dir, name_fn *fn)
{
	struct visit v = {p, fn};

	p->failed |= local_each(p->fs->local, dir, visit_name, &v) == -ENOMEM;
}

static bool is_dir(struct pending *p, const char *path)
{
	struct stat st;

	return !local_stat(p->fs->local, path, &st) && S_ISDIR(st.st_mode);
}

/* A directory in an environment's directory: a draft. */
static void add_draft(struct pending *p, const char *path, const char *name)
{
	_cleanup_buf_ struct buf reason = BUF_INIT(XATTR_VALUE_MAX);
	struct upper_place at;

	(void)name;
	if (!is_dir(p, path) || upper_parse(path, &at) || at.area != UPPER_DRAFT)
		return;
	if (edit_get_note(p->fs, path, &reason) && settle_waits(p->fs->settle, path))
		buf_addstr(&reason, "waits until nothing is written to it");
	add_place(p, p->drafts, &at, "", buf_str(&reason));
}

static void add_env(struct pending *p, const char *path, const char *name)
{
	(void)name;
	each_name(p, path, add_draft);
}

/* The areas beside the workspaces have names with a dot. */
static void add_scope(struct pending *p, const char *path, const char *name)
{
	if (name[0] != '.')
		each_name(p, path, add_env);
}

static bool is_rejected(const char *name)
{
	const char *end = strstr(name, ".rejected");

	return end && (!end[9] || end[9] == '.');
}

static void add_rejected(struct pending *p, const char *path, const char *name)
{
	_cleanup_buf_ struct buf reason = BUF_INIT(XATTR_VALUE_MAX);
	struct upper_place at;

	if (is_dir(p, path)) {
		each_name(p, path, add_rejected);
		return;
	}
	if (!is_rejected(name) || upper_parse(path, &at))
		return;
	if (edit_get_note(p->fs, path, &reason))
		buf_reset(&reason);
	add_place(p, p->rejected, &at, at.rel, buf_str(&reason));
}

/* ---- what is in memory and in the journal ---- */

static void add_unsaved_of(struct pending *p, const char *vdir)
{
	char **rels;
	struct upper_place at;
	struct edit edit;
	int n = upper_parse(vdir, &at) ? -ENOENT : edits_list(p->fs->edits, vdir, &rels);

	for (int i = 0; i < n; i++)
		if (edits_get(p->fs->edits, vdir, rels[i], &edit) && edit.dirty)
			add_place(p, p->unsaved, &at, rels[i], NULL);
	if (n >= 0)
		edits_list_free(rels, n);
}

static void add_unsaved(struct pending *p)
{
	char **dirs;
	int n = edits_dirs(p->fs->edits, &dirs);

	for (int i = 0; i < n; i++)
		add_unsaved_of(p, dirs[i]);
	if (n >= 0)
		edits_list_free(dirs, n);
}

static void add_publication(void *arg, uint64_t id, const struct journal_entry *entry)
{
	struct pending *p = arg;
	_cleanup_free_ char *path = NULL;
	bool active = settle_is_active(p->fs->settle, id);

	/* The key's first line is the workspace's name. */
	if (asprintf(&path, "%.*s/%s/%s", (int)strcspn(entry->scope, "\n"), entry->scope,
		     entry->env, entry->version) < 0) {
		path = NULL;
		p->failed = true;
		return;
	}
	add_item(p, p->publishing, path,
		 active ? "under way" : "whether the service has it is not known yet");
}

/* ---- all of it ---- */

static struct listing *list_scopes(struct fsys *fs)
{
	struct listing *l = NULL;
	struct call c;

	call_init(&c, clock_mono() + SCOPES_WAIT_S * NS_PER_S, CALL_INTERACTIVE);
	if (tree_list(fs, node_root(fs->nodes), &c, &l, NULL))
		l = NULL;
	call_destroy(&c);
	return l;
}

int pending_add(struct fsys *fs, cJSON *to)
{
	struct pending p = {.fs = fs};

	if (!fs->local)
		return 0;
	p.scopes = list_scopes(fs);
	p.drafts = cJSON_AddArrayToObject(to, "drafts");
	p.rejected = cJSON_AddArrayToObject(to, "rejected");
	p.unsaved = cJSON_AddArrayToObject(to, "unsaved");
	p.publishing = cJSON_AddArrayToObject(to, "publishing");
	p.failed = !p.drafts || !p.rejected || !p.unsaved || !p.publishing;
	if (!p.failed) {
		each_name(&p, ".local", add_rejected);
		each_name(&p, ".", add_scope);
		add_unsaved(&p);
		p.failed |= journal_each(fs->journal, add_publication, &p) == -ENOMEM;
		p.failed |= !cJSON_AddNumberToObject(to, "more", p.more);
	}
	listing_free(p.scopes);
	return p.failed ? -ENOMEM : 0;
}

/* ---- throwing away ---- */

static void discard_rejected(struct pending *p, const char *path, const char *name)
{
	if (is_dir(p, path))
		each_name(p, path, discard_rejected);
	else if (is_rejected(name) && !unlinkat(local_fd(p->fs->local), path, 0))
		p->discarded++;
}

/* All that was written in a version's directory and not published. */
static int discard_version(struct fsys *fs, const char *vdir, struct err *e)
{
	_cleanup_free_ char *local = upper_path(fs, UPPER_LOCAL, vdir, "");
	struct pending p = {.fs = fs};
	char **rels;
	int n = local ? edits_list(fs->edits, vdir, &rels) : -ENOMEM;

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		edit_drop(fs, vdir, rels[i]);
	p.discarded += (unsigned int)n;
	edits_list_free(rels, n);
	each_name(&p, local, discard_rejected);
	edit_set_reason(fs, vdir, NULL);
	if (!p.discarded && !p.failed)
		return err_set(e, -EPERM, "nothing in it waits to be published");
	return p.failed ? -ENOMEM : 0;
}

static int discard_local(struct fsys *fs, const char *path, struct err *e)
{
	_cleanup_free_ char *vdir = NULL;
	struct upper_place at;

	if (upper_parse(path, &at))
		return -ENOENT;
	vdir = upper_dir(&at);
	if (!vdir)
		return -ENOMEM;
	if (at.area == UPPER_DRAFT) {
		if (!*at.rel)
			settle_forget(fs->settle, path);
		return local_remove_all(fs->local, path);
	}
	if (at.area == UPPER_EDIT || at.area == UPPER_SHOWN) {
		edit_drop(fs, vdir, at.rel);
		return 0;
	}
	if (at.area == UPPER_LOCAL && is_rejected(at.rel)) {
		edit_set_reason(fs, vdir, NULL);
		return local_remove_all(fs->local, path);
	}
	return err_set(e, -EPERM, "this is nothing that waits to be published: rm removes it");
}

int pending_discard(struct fsys *fs, struct node *n, struct err *e)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *rel = NULL;
	int rc = change_allowed(n, e);

	if (rc)
		return rc;
	if (path)
		return discard_local(fs, path, e);
	if (n->kind == NODE_VERSION && !upper_of_dir(fs, n, &vdir, &rel))
		return discard_version(fs, vdir, e);
	return err_set(e, -EPERM, "this is published: rm archives it");
}
