#include "tests/model/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "tests/model/steps.h"

enum { NAMES = 64, FILE_MAX = 1 << 16, SHOWN = 300 };

/* ---- names ---- */

struct names {
	char names[NAMES][TREE_NAME];
	size_t n;
};

static void add_name(void *arg, const char *name)
{
	struct names *all = arg;

	if (all->n < NAMES)
		snprintf(all->names[all->n++], TREE_NAME, "%s", name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void join(const struct names *all, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < all->n && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", all->names[i]);
}

/* The names in a directory are these. */
static void check_names(struct model *m, const char *path, struct names *expected)
{
	struct names found = {0};
	char real[TREE_PATH], a[MODEL_FAILURE / 4], b[MODEL_FAILURE / 4];
	int rc = m->b->ops->list(m->b, 0, step_path(m, path, real), add_name, &found);

	if (rc) {
		model_fail(m, "ls %s: %s", path, strerror(-rc));
		return;
	}
	qsort(found.names, found.n, TREE_NAME, by_name);
	qsort(expected->names, expected->n, TREE_NAME, by_name);
	join(&found, a, sizeof(a));
	join(expected, b, sizeof(b));
	if (strcmp(a, b) != 0)
		model_fail(m, "ls %s shows \"%s\", should show \"%s\"", path, a, b);
}

/* ---- content ---- */

static void quote(const char *data, size_t len, char out[SHOWN])
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < SHOWN - 3; i++) {
		if (data[i] == '\n') {
			out[n++] = '\\';
			out[n++] = 'n';
		} else {
			out[n++] = data[i];
		}
	}
	out[n] = '\0';
}

static void check_bytes(struct model *m, const char *path, const struct bytes *expected)
{
	char real[TREE_PATH], a[SHOWN], b[SHOWN];
	static char data[FILE_MAX];
	struct stat st;
	ssize_t n;
	int fd = m->b->ops->open(m->b, 0, step_path(m, path, real), O_RDONLY, 0);

	if (fd < 0) {
		model_fail(m, "open %s to read it: %s", path, strerror(-fd));
		return;
	}
	n = m->b->ops->pread(m->b, fd, data, sizeof(data), 0);
	m->b->ops->close(m->b, fd);
	if (n < 0) {
		model_fail(m, "read %s: %s", path, strerror((int)-n));
		return;
	}
	if (!bytes_equal(expected, data, (size_t)n)) {
		quote(data, (size_t)n, a);
		quote(expected->data, expected->len, b);
		model_fail(m, "%s holds \"%s\", should hold \"%s\"", path, a, b);
	}
	if (m->b->ops->stat(m->b, 0, real, &st) || st.st_size != n)
		model_fail(m, "%s: its size is not that of its content", path);
}

static void check_link(struct model *m, const char *path, const char *target)
{
	struct buf found = BUF_INIT(TREE_PATH);
	char real[TREE_PATH];
	int rc = m->b->ops->readlink(m->b, 0, step_path(m, path, real), &found);

	if (rc || strcmp(buf_str(&found), target) != 0)
		model_fail(m, "readlink %s gives \"%s\" (%d), should give \"%s\"", path,
			   buf_str(&found), rc, target);
	buf_free(&found);
}

/* A directory that shows exactly a tree. */
static void check_tree(struct model *m, const char *path, struct tree *t)
{
	struct names names = {0};
	char below[TREE_PATH];

	for (struct tree *c = t->first; c; c = c->next)
		add_name(&names, c->name);
	check_names(m, path, &names);
	for (struct tree *c = t->first; c && !model_failed(m); c = c->next) {
		path_print(below, "%s/%s", path, c->name);
		if (c->kind == TREE_DIR)
			check_tree(m, below, c);
		else if (c->kind == TREE_LINK)
			check_link(m, below, c->target);
		else
			check_bytes(m, below, c->bytes);
	}
}

/* ---- versions ---- */

static void check_attribute(struct model *m, const char *path, const char *name,
			    const char *expected)
{
	char real[TREE_PATH], value[TREE_PATH] = "";
	ssize_t n = m->b->ops->getxattr(m->b, 0, step_path(m, path, real), name, value,
					sizeof(value) - 1);

	if (!expected && n == -ENODATA)
		return;
	if (!expected || n < 0 || strcmp(value, expected) != 0)
		model_fail(m, "getxattr %s %s gives \"%s\" (%zd), should give \"%s\"", path, name,
			   value, n, expected ? expected : "(none)");
}

static void check_attributes(struct model *m, const char *path, const struct mversion *v)
{
	char name[TREE_NAME];

	check_attribute(m, path, "user.description", v->v->description);
	check_attribute(m, path, "user.tag.nobody-has-this", NULL);
	for (size_t i = 0; i < v->v->n_tags; i++) {
		snprintf(name, sizeof(name), "user.tag.%s", v->v->tags[i].key);
		check_attribute(m, path, name, v->v->tags[i].value ? v->v->tags[i].value : "");
	}
	check_attribute(m, path, "user.mlenvfs.state", "published");
}

static void check_version(struct model *m, const char *dir, struct menv *env, struct mversion *v,
			  bool deep)
{
	struct tree *files = model_files(v);
	struct names names = {0};
	char path[TREE_PATH], below[TREE_PATH];

	(void)env;
	path_print(path, "%s/%s", dir, v->name);
	for (struct tree *c = files->first; c; c = c->next)
		add_name(&names, c->name);
	add_name(&names, "Dockerfile");
	add_name(&names, "build.log");
	check_names(m, path, &names);
	for (struct tree *c = files->first; deep && c && !model_failed(m); c = c->next) {
		path_print(below, "%s/%s", path, c->name);
		if (c->kind == TREE_DIR)
			check_tree(m, below, c);
		else
			check_bytes(m, below, c->bytes);
	}
	if (deep && !model_failed(m))
		check_attributes(m, path, v);
	tree_free(files);
}

/* ---- environments ---- */

static void check_env(struct model *m, struct menv *env, bool archived, bool deep)
{
	struct names names = {0};
	char path[TREE_PATH], below[TREE_PATH];

	path_print(path, "%s%s", archived ? ".archived/" : "", env->name);
	for (struct mversion *v = env->versions; v; v = v->next)
		if (model_shows(env, v, archived))
			add_name(&names, v->name);
	for (struct tree *c = archived ? NULL : env->top->first; c; c = c->next)
		add_name(&names, c->name);
	if (!archived && model_latest(env))
		add_name(&names, "latest");
	check_names(m, path, &names);
	for (struct mversion *v = env->versions; v && !model_failed(m); v = v->next)
		if (model_shows(env, v, archived))
			check_version(m, path, env, v, deep);
	if (archived || model_failed(m))
		return;
	path_print(below, "%s/latest", env->name);
	if (model_latest(env))
		check_link(m, below, model_latest(env)->name);
	for (struct tree *c = env->top->first; c && !model_failed(m); c = c->next) {
		path_print(below, "%s/%s", env->name, c->name);
		check_tree(m, below, c);
	}
}

static void check_envs(struct model *m, bool archived, bool deep)
{
	struct names names = {0};

	for (size_t i = 0; i < MODEL_ENVS; i++)
		if (model_env_shown(&m->envs[i], archived))
			add_name(&names, m->envs[i].name);
	check_names(m, archived ? ".archived" : "", &names);
	for (size_t i = 0; i < MODEL_ENVS && !model_failed(m); i++)
		if (model_env_shown(&m->envs[i], archived))
			check_env(m, &m->envs[i], archived, deep);
}

/* ---- the service ---- */

struct comparing {
	struct model *m;
	size_t n;
};

static void compare_context(struct model *m, struct mversion *expected, const struct version *v)
{
	struct service_file file;
	size_t n = 0, count = 0;
	struct tree *t;

	for (; m->b->ops->context_file(m->b, v->context_uri, n, &file); n++) {
		t = expected->context ? tree_at(expected->context, file.path) : NULL;
		if (!t || !bytes_equal(t->bytes, file.text, file.len))
			model_fail(m, "the service has another %s in the context of %s/%s",
				   file.path, v->env, v->version);
	}
	for (struct tree *c = expected->context ? expected->context->first : NULL; c; c = c->next)
		count++;
	if (!n && count)
		model_fail(m, "the service has no context for %s/%s", v->env, v->version);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static void compare_version(void *arg, bool env_archived, const struct version *v)
{
	struct comparing *c = arg;
	struct model *m = c->m;
	struct mversion *expected = NULL;
	struct menv *env = NULL;

	c->n++;
	for (size_t i = 0; i < MODEL_ENVS; i++)
		if (strcmp(m->envs[i].name, v->env) == 0)
			env = &m->envs[i];
	expected = env ? model_version(env, v->version) : NULL;
	if (!expected) {
		model_fail(m, "the service has a version %s/%s (image %s)", v->env, v->version,
			   v->image ? v->image : "-");
		return;
	}
	if (!version_same_content(v, expected->v))
		model_fail(m,
			   "the service has another %s/%s: image %s (%s), conda %s (%s), "
			   "description %s (%s), %zu tags (%zu), context %s (%s)",
			   v->env, v->version, v->image ? v->image : "-",
			   expected->v->image ? expected->v->image : "-", v->conda ? v->conda : "-",
			   expected->v->conda ? expected->v->conda : "-",
			   v->description ? v->description : "-",
			   expected->v->description ? expected->v->description : "-", v->n_tags,
			   expected->v->n_tags, v->context_uri ? v->context_uri : "-",
			   expected->v->context_uri ? expected->v->context_uri : "-");
	if (v->archived != expected->archived || env_archived != env->archived)
		model_fail(m, "%s/%s is archived: %d (its environment: %d), should be: %d (%d)",
			   v->env, v->version, v->archived, env_archived, expected->archived,
			   env->archived);
	if (same_text(v->context_uri, expected->v->context_uri) && v->context_uri)
		compare_context(m, expected, v);
}

static void check_service(struct model *m)
{
	struct service_counts counts = m->b->ops->counts(m->b);
	struct comparing c = {.m = m};
	size_t n = 0;

	m->b->ops->each(m->b, compare_version, &c);
	for (size_t i = 0; i < MODEL_ENVS; i++)
		for (struct mversion *v = m->envs[i].versions; v; v = v->next)
			n++;
	if (c.n != n)
		model_fail(m, "the service has %zu versions, should have %zu", c.n, n);
	if (counts.puts != m->expected.puts || counts.updates != m->expected.updates ||
	    counts.deletes != m->expected.deletes)
		model_fail(m, "versions made: %u (%u), records changed: %u (%u), deleted: %u (%u)",
			   counts.puts, m->expected.puts, counts.updates, m->expected.updates,
			   counts.deletes, m->expected.deletes);
}

void check_all(struct model *m, bool deep)
{
	enum service_fault fault = m->fault;

	if (model_failed(m))
		return;
	m->b->ops->fault(m->b, FAULT_NONE);
	check_service(m);
	if (!model_failed(m))
		check_envs(m, false, deep);
	if (!model_failed(m))
		check_envs(m, true, deep);
	m->b->ops->fault(m->b, fault);
	if (m->b->ops->problem(m->b))
		model_fail(m, "%s", m->b->ops->problem(m->b));
}
