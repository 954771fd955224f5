#include "fs/xattr.h"

#include <errno.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "fs/edit.h"
#include "fs/shown.h"
#include "fs/status.h"
#include "fs/tree.h"
#include "fs/upper.h"

enum { XATTR_NAME_SIZE = 256 };

const char *const xattr_facts[] = {
	"user.azureml.id",
	"user.azureml.reference",
	"user.azureml.type",
	"user.azureml.stage",
	"user.azureml.created_at",
	"user.azureml.created_by",
	"user.azureml.modified_at",
	"user.azureml.modified_by",
	"user.azureml.context_uri",
	XATTR_IMAGE,
	XATTR_BUILD_STATE,
	XATTR_BUILD_STAGE,
	"user.mlenvfs.state",
	"user.mlenvfs.error",
	NULL,
};

static int add_text(struct buf *out, const char *text)
{
	return text ? buf_addstr(out, text) : -ENODATA;
}

static int add_time(struct buf *out, int64_t when)
{
	char text[CLOCK_ISO_SIZE];

	if (!when)
		return -ENODATA;
	clock_format_iso(when, text);
	return buf_addstr(out, text);
}

/* A SAS in a context's URI is nobody's business: the query is cut off. */
static int add_uri(struct buf *out, const char *uri)
{
	return uri ? buf_add(out, uri, strcspn(uri, "?")) : -ENODATA;
}

static int add_reference(struct buf *out, const struct node *n, const struct version *v)
{
	if (n->scope->kind == SCOPE_REGISTRY)
		return buf_addf(out, "azureml://registries/%s/environments/%s/versions/%s",
				n->scope->name, v->env, v->version);
	return buf_addf(out, "azureml:%s:%s", v->env, v->version);
}

static int get_azureml(const struct node *n, const struct version *v, const char *what,
		       struct buf *out)
{
	if (strcmp(what, "id") == 0)
		return add_text(out, v->id);
	if (strcmp(what, "reference") == 0)
		return add_reference(out, n, v);
	if (strcmp(what, "type") == 0)
		return add_text(out, v->environment_type);
	if (strcmp(what, "stage") == 0)
		return add_text(out, v->stage);
	if (strcmp(what, "created_at") == 0)
		return add_time(out, v->created);
	if (strcmp(what, "created_by") == 0)
		return add_text(out, v->created_by);
	if (strcmp(what, "modified_at") == 0)
		return add_time(out, v->modified);
	if (strcmp(what, "modified_by") == 0)
		return add_text(out, v->modified_by);
	if (strcmp(what, "context_uri") == 0)
		return add_uri(out, v->context_uri);
	return -ENODATA;
}

static int get_tag(const struct version *v, const char *key, struct buf *out)
{
	bool found;
	const char *value = version_tag(v, key, &found);

	if (!found)
		return -ENODATA;
	return value ? buf_addstr(out, value) : 0;
}

static int get_version(const struct node *n, const struct version *v, const char *name,
		       struct buf *out)
{
	if (strncmp(name, XATTR_TAG, strlen(XATTR_TAG)) == 0)
		return get_tag(v, name + strlen(XATTR_TAG), out);
	if (strcmp(name, XATTR_DESCRIPTION) == 0)
		return add_text(out, v->description);
	if (strcmp(name, "user.mlenvfs.state") == 0)
		return buf_addstr(out, "published");
	if (strncmp(name, "user.azureml.", 13) == 0)
		return get_azureml(n, v, name + 13, out);
	return -ENODATA;
}

/* The version whose attributes n shows, a reference; NULL when it shows none. */
static struct version *version_of(struct fsys *fs, struct node *n)
{
	if (n->kind == NODE_SPEC)
		n = n->parent;
	return n->kind == NODE_VERSION ? node_get_version(fs->nodes, n) : NULL;
}

/* Why the last save under n's version, or in an environment's directory, failed. */
static int get_reason(struct fsys *fs, struct node *n, struct buf *out)
{
	struct node *dir = n->kind == NODE_ENV ? n : tree_version_of(n);
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *rel = NULL;

	if (!dir || upper_of_dir(fs, dir, &vdir, &rel))
		return -ENODATA;
	return edit_get_reason(fs, vdir, out);
}

bool xattr_is_status(const char *name)
{
	return strcmp(name, XATTR_STATUS) == 0;
}

int xattr_get(struct fsys *fs, struct node *n, const char *name, struct buf *out)
{
	struct version *v;
	int rc;

	if (strncmp(name, XATTR_USER, strlen(XATTR_USER)) != 0)
		return -EOPNOTSUPP;
	if (n->kind == NODE_ROOT && xattr_is_status(name))
		return status_json(fs, out);
	if (strcmp(name, XATTR_ERROR) == 0)
		return get_reason(fs, n, out);
	v = version_of(fs, n);
	if (!v)
		return -ENODATA;
	rc = get_version(n, v, name, out);
	version_unref(v);
	return rc == -EFBIG ? -E2BIG : rc;
}

/* A key that an attribute's name can carry; others are in spec.yml only. */
static bool fits_name(const char *key)
{
	return key[0] && strlen(key) + strlen(XATTR_TAG) < XATTR_NAME_SIZE;
}

static bool fits_value(const char *value)
{
	return !value || strlen(value) <= XATTR_VALUE_MAX;
}

struct node *xattr_node(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	struct upper_place p;

	if (!path || upper_parse(path, &p) || (p.area != UPPER_SHOWN && p.area != UPPER_EDIT) ||
	    strcmp(p.rel, "spec.yml") != 0)
		return n;
	return n->parent->kind == NODE_VERSION ? n->parent : n;
}

int xattr_list(struct fsys *fs, struct node *n, struct buf *out)
{
	struct version *v = version_of(fs, n);

	if (!v)
		return 0;
	if (!shown_lists_tags(fs, tree_version_of(n), v)) {
		version_unref(v);
		return 0;
	}
	if (v->description && fits_value(v->description))
		buf_add(out, XATTR_DESCRIPTION, sizeof(XATTR_DESCRIPTION));
	for (size_t i = 0; i < v->n_tags; i++) {
		if (!fits_name(v->tags[i].key) || !fits_value(v->tags[i].value))
			continue;
		buf_addstr(out, XATTR_TAG);
		buf_add(out, v->tags[i].key, strlen(v->tags[i].key) + 1);
	}
	version_unref(v);
	return buf_error(out) == -EFBIG ? -E2BIG : buf_error(out);
}
