#include "fs/upper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "fs/change.h"
#include "fs/edits.h"
#include "fs/tempname.h"
#include "fs/tree.h"

static const char SCRATCH[] = ".scratch", LOCAL[] = ".local", RUN[] = ".run";

/* ---- paths ---- */

/* Takes the next part off *path into out; false when there is none or it does not fit. */
static bool next_part(const char **path, char *out, size_t size)
{
	size_t len = strcspn(*path, "/");

	if (!len || len >= size)
		return false;
	memcpy(out, *path, len);
	out[len] = '\0';
	*path += len + ((*path)[len] == '/');
	return true;
}

static bool parse_names(const char *at, struct upper_place *out, bool version)
{
	if (!next_part(&at, out->scope, sizeof(out->scope)) ||
	    !next_part(&at, out->env, sizeof(out->env)))
		return false;
	out->version[0] = '\0';
	if (version && !next_part(&at, out->version, sizeof(out->version)))
		return false;
	out->rel = at;
	return true;
}

/* .run/<k>/edit/... or .run/<k>/shown/... */
static bool parse_run(const char *at, struct upper_place *out)
{
	char part[NAME_SIZE];

	/* <k>, which says nothing, and the area. */
	for (int i = 0; i < 2; i++)
		if (!next_part(&at, part, sizeof(part)))
			return false;
	if (strcmp(part, "edit") == 0)
		out->area = UPPER_EDIT;
	else if (strcmp(part, "shown") == 0)
		out->area = UPPER_SHOWN;
	else
		return false;
	return parse_names(at, out, true);
}

int upper_parse(const char *path, struct upper_place *out)
{
	char part[NAME_SIZE];
	const char *at = path;
	bool ok;

	if (!next_part(&at, part, sizeof(part)))
		return -ENOENT;
	if (strcmp(part, RUN) == 0) {
		ok = parse_run(at, out);
	} else if (strcmp(part, SCRATCH) == 0) {
		out->area = UPPER_SCRATCH;
		ok = parse_names(at, out, false);
	} else if (strcmp(part, LOCAL) == 0) {
		out->area = UPPER_LOCAL;
		ok = parse_names(at, out, true);
	} else {
		out->area = UPPER_DRAFT;
		ok = part[0] != '.' && parse_names(path, out, true);
	}
	return ok ? 0 : -ENOENT;
}

bool upper_is_over(const char *path)
{
	struct upper_place p;

	return !upper_parse(path, &p) && (p.area == UPPER_EDIT || p.area == UPPER_SHOWN);
}

char *upper_dir(const struct upper_place *p)
{
	char *dir;

	return asprintf(&dir, "%s/%s/%s", p->scope, p->env, p->version) < 0 ? NULL : dir;
}

char *upper_path(const struct fsys *fs, enum upper_area area, const char *dir, const char *rel)
{
	const char *run = fs->run ? upper_run_path(fs->run) : RUN;
	const char *slash = *rel ? "/" : "", *version = strrchr(dir, '/');
	char *path = NULL;
	int n = -1;

	switch (area) {
	case UPPER_SCRATCH:
		n = asprintf(&path, "%s/%.*s%s%s", SCRATCH, (int)(version - dir), dir, slash, rel);
		break;
	case UPPER_LOCAL:
		n = asprintf(&path, "%s/%s%s%s", LOCAL, dir, slash, rel);
		break;
	case UPPER_EDIT:
	case UPPER_SHOWN:
		n = asprintf(&path, "%s/%s/%s%s%s", run, area == UPPER_EDIT ? "edit" : "shown", dir,
			     slash, rel);
		break;
	case UPPER_DRAFT:
		n = asprintf(&path, "%s%s%s", dir, slash, rel);
		break;
	}
	return n < 0 ? NULL : path;
}

/* ---- names ---- */

static bool has_temporary_part(const char *rel)
{
	char part[NAME_SIZE];

	while (next_part(&rel, part, sizeof(part)))
		if (tempname_is(part))
			return true;
	return false;
}

bool upper_is_asset(const char *version, const char *rel)
{
	static const char context[] = "context/";

	if (strcmp(rel, "spec.yml") == 0 || strcmp(rel, "conda.yml") == 0)
		return true;
	return strcmp(version, UPPER_ENV) != 0 && strncmp(rel, context, sizeof(context) - 1) == 0 &&
	       !has_temporary_part(rel + sizeof(context) - 1);
}

char *upper_rejected_name(const char *rel)
{
	static const char end[] = ".rejected";
	/* A number may follow. */
	const size_t room = NAME_SIZE - sizeof(end) - strlen(".99");
	const char *slash = strrchr(rel, '/'), *last = slash ? slash + 1 : rel;
	size_t len = strlen(last);
	char *name;

	if (len > room)
		for (len = room; len && ((unsigned char)last[len] & 0xc0) == 0x80;)
			len--;
	return asprintf(&name, "%.*s%s", (int)((size_t)(last - rel) + len), rel, end) < 0 ? NULL
											  : name;
}

/* ---- directories of the mount ---- */

static char *version_dir(const struct node *env, const char *version)
{
	_cleanup_free_ char *at = local_env_path(env->scope, env->name);

	return at ? local_join(at, version) : NULL;
}

/* The path of a build context's directory within its version. */
static char *context_rel(const struct node *n)
{
	_cleanup_free_ char *above = NULL;

	if (!n->ctx)
		return strdup("context");
	above = context_rel(n->parent);
	return above ? local_join(above, ctxtree_get(n->ctx, n->ctx_index)->name) : NULL;
}

static int of_local(struct fsys *fs, struct node *dir, char **vdir, char **rel)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, dir);
	struct upper_place p;

	if (!path)
		return -ENOMEM;
	if (upper_parse(path, &p) || p.area != UPPER_LOCAL)
		return -ENOENT;
	*vdir = upper_dir(&p);
	*rel = strdup(p.rel);
	return 0;
}

static int of_published(struct node *dir, char **vdir, char **rel)
{
	struct node *version = tree_version_of(dir);
	char name[NAME_SIZE];

	if (dir->kind == NODE_ENV) {
		*vdir = version_dir(dir, UPPER_ENV);
		*rel = strdup("");
		return 0;
	}
	name_encode(NAME_VERSION, version->name, strlen(version->name), name);
	*vdir = version_dir(version->parent, name);
	*rel = dir->kind == NODE_VERSION ? strdup("") : context_rel(dir);
	return 0;
}

int upper_of_dir(struct fsys *fs, struct node *dir, char **vdir, char **rel)
{
	int rc;

	*vdir = *rel = NULL;
	if (!fs->local || dir->archived || !dir->scope || !dir->scope->writable)
		return -ENOENT;
	switch (dir->kind) {
	case NODE_LOCAL:
		rc = of_local(fs, dir, vdir, rel);
		break;
	case NODE_ENV:
	case NODE_VERSION:
	case NODE_CONTEXT:
		rc = of_published(dir, vdir, rel);
		break;
	default:
		return -ENOENT;
	}
	if (!rc && *vdir && *rel)
		return 0;
	free(*vdir);
	free(*rel);
	*vdir = *rel = NULL;
	return rc ? rc : -ENOMEM;
}

/* Where a name goes that is no part of the definition. */
static enum upper_area side_area(struct fsys *fs, const struct node *dir, const char *vdir,
				 const char *rel)
{
	if (dir->kind == NODE_ENV)
		return UPPER_DRAFT;
	/* Within a directory of one version, and what follows the files of a draft: that version's.
	 */
	if (dir->kind == NODE_LOCAL &&
	    !tempname_is(strrchr(rel, '/') ? strrchr(rel, '/') + 1 : rel))
		return UPPER_LOCAL;
	if (!edits_glowing(fs->edits, vdir) || has_temporary_part(rel))
		return UPPER_SCRATCH;
	edits_set_glowing(fs->edits, vdir);
	return UPPER_LOCAL;
}

static char *path_in_version(struct fsys *fs, const struct node *dir, const char *vdir,
			     const char *rel, bool private)
{
	const char *version = strrchr(vdir, '/') + 1;
	enum upper_area area;

	if (upper_is_asset(version, rel))
		return upper_path(fs, private ? UPPER_SCRATCH : UPPER_SHOWN, vdir, rel);
	area = strcmp(rel, "context") == 0 && dir->kind == NODE_VERSION
		       ? UPPER_LOCAL
		       : side_area(fs, dir, vdir, rel);
	if (area == UPPER_DRAFT) {
		_cleanup_free_ char *env = strndup(vdir, (size_t)(version - vdir) - 1);

		return env ? local_join(env, rel) : NULL;
	}
	return upper_path(fs, area, vdir, rel);
}

static char *new_path(struct fsys *fs, struct node *dir, const char *name, bool private, int *rc)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *in = NULL;
	_cleanup_free_ char *rel = NULL;
	_cleanup_free_ char *at = NULL;
	char *path = NULL;

	*rc = change_allowed(dir, NULL);
	if (!*rc)
		*rc = upper_of_dir(fs, dir, &vdir, &in);
	if (!*rc) {
		rel = *in ? local_join(in, name) : strdup(name);
		path = rel ? path_in_version(fs, dir, vdir, rel, private) : NULL;
	} else if (*rc == -ENOENT && dir->kind == NODE_LOCAL) {
		*rc = 0;
		at = node_get_local(fs->nodes, dir);
		path = at ? local_join(at, name) : NULL;
		return path;
	}
	if (*rc) {
		*rc = *rc == -ENOENT ? -EROFS : *rc;
		return NULL;
	}
	*rc = path ? local_make_parents(fs->local, path) : -ENOMEM;
	if (!*rc)
		return path;
	free(path);
	return NULL;
}

char *upper_new_path(struct fsys *fs, struct node *dir, const char *name, int *rc)
{
	return new_path(fs, dir, name, false, rc);
}

char *upper_private_path(struct fsys *fs, struct node *dir, const char *name, int *rc)
{
	return new_path(fs, dir, name, dir->kind != NODE_VERSION && tempname_may_be(name), rc);
}
