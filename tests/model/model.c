#include "tests/model/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/conda.h"
#include "fs/spec.h"

enum { TEXT_MAX = 1 << 20, CONTEXT_FILES = 64 };

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "model: no memory\n");
		exit(1);
	}
	return p;
}

void model_fail(struct model *m, const char *fmt, ...)
{
	va_list ap;

	if (m->failure[0])
		return;
	va_start(ap, fmt);
	vsnprintf(m->failure, sizeof(m->failure), fmt, ap);
	va_end(ap);
}

bool model_failed(const struct model *m)
{
	return m->failure[0];
}

void model_init(struct model *m, struct backend *b)
{
	*m = (struct model){.b = b};
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		snprintf(m->envs[i].name, sizeof(m->envs[i].name), "%c", (char)('a' + i));
		m->envs[i].top = tree_new("", TREE_DIR);
	}
}

static void version_clear(struct mversion *v)
{
	version_unref(v->v);
	tree_free(v->context);
	free(v);
}

void model_clear(struct model *m)
{
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		struct menv *env = &m->envs[i];

		while (env->versions)
			model_remove(env, env->versions->name);
		tree_free(env->top);
	}
	for (size_t i = 0; i < MODEL_FDS; i++)
		bytes_unref(m->fds[i].bytes);
}

/* ---- versions ---- */

struct mversion *model_version(struct menv *env, const char *name)
{
	struct mversion *v = env->versions;

	while (v && strcmp(v->name, name) != 0)
		v = v->next;
	return v;
}

bool model_shows(const struct menv *env, const struct mversion *v, bool archived)
{
	return archived ? env->archived || v->archived : !env->archived && !v->archived;
}

bool model_env_shown(const struct menv *env, bool archived)
{
	if (!archived)
		return env->there ? !env->archived : env->local;
	for (const struct mversion *v = env->versions; v; v = v->next)
		if (env->there && v->archived)
			return true;
	return env->there && env->archived;
}

struct mversion *model_pick(struct menv *env, unsigned int i, bool archived)
{
	unsigned int n = 0;

	for (struct mversion *v = env->versions; v; v = v->next)
		n += model_shows(env, v, archived);
	if (!n)
		return NULL;
	i %= n;
	for (struct mversion *v = env->versions; v; v = v->next)
		if (model_shows(env, v, archived) && !i--)
			return v;
	return NULL;
}

struct mversion *model_latest(struct menv *env)
{
	struct mversion *latest = NULL;

	for (struct mversion *v = env->versions; v; v = v->next)
		if (!v->archived && (!latest || v->order > latest->order))
			latest = v;
	return latest;
}

static long number_of(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	return *end ? 0 : n;
}

long model_next(const struct menv *env, bool ever)
{
	long highest = ever ? env->highest : 0;

	for (const struct mversion *v = env->versions; v; v = v->next)
		if (number_of(v->name) > highest)
			highest = number_of(v->name);
	return highest + 1;
}

struct mversion *model_add(struct model *m, struct menv *env, struct version *v,
			   struct tree *context)
{
	struct mversion *new = must(calloc(1, sizeof(*new)));

	snprintf(new->name, sizeof(new->name), "%s", v->version);
	new->v = v;
	new->context = context;
	new->order = ++m->order;
	if (number_of(new->name) > env->highest)
		env->highest = number_of(new->name);
	new->next = env->versions;
	env->versions = new;
	env->there = true;
	return new;
}

void model_remove(struct menv *env, const char *name)
{
	struct mversion **at = &env->versions, *v;

	while ((v = *at) && strcmp(v->name, name) != 0)
		at = &v->next;
	if (!v)
		return;
	*at = v->next;
	version_clear(v);
}

/* ---- definitions ---- */

/* The service's form of conda text: NULL when it is none. */
static char *conda_json(const struct bytes *text)
{
	struct buf json = BUF_INIT(TEXT_MAX);

	if (!conda_to_json(text->data, text->len, &json, NULL))
		return must(buf_steal(&json, NULL));
	buf_free(&json);
	return NULL;
}

struct gathered {
	struct service_file files[CONTEXT_FILES];
	char paths[CONTEXT_FILES][TREE_PATH];
	size_t n;
	struct tree *copy;
	bool bad;
};

static void gather(void *arg, const char *path, struct tree *t)
{
	struct gathered *g = arg;

	if (t->kind == TREE_LINK || g->n == CONTEXT_FILES) {
		g->bad = true;
		return;
	}
	snprintf(g->paths[g->n], TREE_PATH, "%s", path);
	g->files[g->n] = (struct service_file){
		.path = g->paths[g->n], .text = t->bytes->data, .len = t->bytes->len};
	g->n++;
	tree_put(g->copy, path, t->bytes);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct service_file *)a)->path,
		      ((const struct service_file *)b)->path);
}

/* The bytes of what is gathered must not change with those of the files they come from. */
static void detach(void *arg, const char *path, struct tree *t)
{
	struct bytes *own = bytes_new(t->bytes->data, t->bytes->len);

	(void)arg, (void)path;
	bytes_unref(t->bytes);
	t->bytes = own;
}

static int read_context(struct model *m, struct tree *dir, const struct spec *spec,
			struct tree **context, const char **uri)
{
	struct tree *from = tree_at(dir, spec->build_path);
	struct gathered *g;
	bool good;

	if (!from || from->kind != TREE_DIR)
		return -EBADMSG;
	g = must(calloc(1, sizeof(*g)));
	g->copy = tree_new("context", TREE_DIR);
	tree_each(from, gather, g);
	qsort(g->files, g->n, sizeof(*g->files), by_path);
	good = !g->bad &&
	       tree_at(g->copy, spec->dockerfile_path ? spec->dockerfile_path : "Dockerfile");
	if (good) {
		*uri = m->b->ops->upload(m->b, g->files, g->n);
		tree_each(g->copy, detach, NULL);
		*context = g->copy;
	} else {
		tree_free(g->copy);
	}
	free(g);
	return good ? 0 : -EBADMSG;
}

static int read_conda(struct tree *dir, const struct spec *spec, char **conda)
{
	struct tree *file;

	if (!spec->conda_path)
		return 0;
	file = tree_at(dir, spec->conda_path);
	*conda = file && file->kind == TREE_FILE ? conda_json(file->bytes) : NULL;
	return *conda ? 0 : -EBADMSG;
}

int model_read(struct model *m, struct tree *dir, const char *env, const char *version,
	       struct version **out, struct tree **context)
{
	struct tree *file = tree_at(dir, "spec.yml");
	_cleanup_free_ char *conda = NULL;
	struct spec *spec = NULL;
	const char *uri = NULL;
	int rc = -EBADMSG;

	*out = NULL;
	*context = NULL;
	if (file && file->kind == TREE_FILE)
		rc = spec_parse(file->bytes->data, file->bytes->len, &spec, NULL);
	if (!rc)
		rc = read_conda(dir, spec, &conda);
	if (!rc && spec->build_path && !spec->build_is_url)
		rc = read_context(m, dir, spec, context, &uri);
	if (!rc)
		*out = must(spec_to_version(spec, env, version, conda, uri));
	spec_free(spec);
	return rc;
}

static void put_text(struct tree *dir, const char *path, const struct buf *text)
{
	struct bytes *bytes = bytes_new(buf_str(text), text->len);

	tree_put(dir, path, bytes);
	bytes_unref(bytes);
}

struct copying {
	struct tree *to;
};

static void copy_file(void *arg, const char *path, struct tree *t)
{
	const struct copying *c = arg;
	struct bytes *own = bytes_new(t->bytes->data, t->bytes->len);

	tree_put(c->to, path, own);
	bytes_unref(own);
}

struct tree *model_files(const struct mversion *v)
{
	struct tree *files = tree_new("", TREE_DIR), *context;
	struct buf text = BUF_INIT(TEXT_MAX);
	struct copying c;

	must(spec_render(v->v, &text) ? NULL : files);
	put_text(files, "spec.yml", &text);
	if (v->v->conda) {
		buf_reset(&text);
		must(conda_render(v->v->conda, strlen(v->v->conda), &text, NULL) ? NULL : files);
		put_text(files, "conda.yml", &text);
	}
	buf_free(&text);
	if (v->context) {
		context = tree_new("context", TREE_DIR);
		tree_add(files, context);
		c.to = context;
		tree_each(v->context, copy_file, &c);
	}
	return files;
}
