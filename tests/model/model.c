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

enum { TEXT_MAX = 1 << 20, URI_SIZE = 64 };

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
		m->envs[i].scratch = tree_new("", TREE_DIR);
		m->envs[i].self.gone = tree_new("", TREE_DIR);
		m->envs[i].self.local = tree_new("", TREE_DIR);
	}
}

static void dir_clear(struct mversion *v)
{
	version_unref(v->v);
	version_unref(v->spec_of);
	version_unref(v->conda_of);
	tree_free(v->context);
	tree_free(v->gone);
	tree_free(v->local);
	bytes_unref(v->spec);
	bytes_unref(v->conda);
	while (v->edits)
		model_edit_drop(v, v->edits->rel);
	model_forget(v);
}

static void version_clear(struct mversion *v)
{
	dir_clear(v);
	free(v);
}

void model_clear(struct model *m)
{
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		struct menv *env = &m->envs[i];

		while (env->versions)
			model_remove(env, env->versions->name);
		dir_clear(&env->self);
		tree_free(env->top);
		tree_free(env->scratch);
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
	new->gone = tree_new("", TREE_DIR);
	new->local = tree_new("", TREE_DIR);
	if (number_of(new->name) > env->highest)
		env->highest = number_of(new->name);
	new->touched = true;
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
	uint64_t hash;
	struct tree *copy;
	bool bad;
};

static void hash_bytes(uint64_t *h, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*h = (*h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
}

/* The order in which files come must not matter: sums of their hashes. */
static void gather(void *arg, const char *path, struct tree *t)
{
	struct gathered *g = arg;
	struct bytes *own;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	if (t->kind != TREE_FILE) {
		g->bad = true;
		return;
	}
	hash_bytes(&h, path, strlen(path) + 1);
	hash_bytes(&h, t->bytes->data, t->bytes->len);
	g->hash += h;
	own = bytes_new(t->bytes->data, t->bytes->len);
	tree_put(g->copy, path, own);
	bytes_unref(own);
}

/* The model's own name for a context, by its content. */
static int read_context(struct tree *dir, const struct spec *spec, struct tree **context,
			char uri[URI_SIZE])
{
	struct tree *from = tree_at(dir, spec->build_path);
	struct gathered g = {.copy = tree_new("context", TREE_DIR)};

	if (!from || from->kind != TREE_DIR)
		g.bad = true;
	else
		tree_each(from, gather, &g);
	if (g.bad ||
	    !tree_at(g.copy, spec->dockerfile_path ? spec->dockerfile_path : "Dockerfile")) {
		tree_free(g.copy);
		return -EBADMSG;
	}
	snprintf(uri, URI_SIZE, "https://model.example/%016llx/", (unsigned long long)g.hash);
	*context = g.copy;
	return 0;
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

int model_read(struct tree *dir, const char *env, const char *version, struct version **out,
	       struct tree **context)
{
	struct tree *file = tree_at(dir, "spec.yml");
	_cleanup_free_ char *conda = NULL;
	struct spec *spec = NULL;
	char uri[URI_SIZE] = "";
	int rc = -EBADMSG;

	*out = NULL;
	*context = NULL;
	if (file && file->kind == TREE_FILE)
		rc = spec_parse(file->bytes->data, file->bytes->len, &spec, NULL);
	if (!rc)
		rc = read_conda(dir, spec, &conda);
	if (!rc && spec->build_path && !spec->build_is_url)
		rc = read_context(dir, spec, context, uri);
	if (!rc)
		*out = must(spec_to_version(spec, env, version, conda, uri[0] ? uri : NULL));
	spec_free(spec);
	return rc;
}

static void put_text(struct tree *dir, const char *path, const struct buf *text)
{
	struct bytes *bytes = bytes_new(buf_str(text), text->len);

	tree_put(dir, path, bytes);
	bytes_unref(bytes);
}

struct tree *model_files(const struct mversion *v)
{
	struct tree *files = tree_new("", TREE_DIR), *context;
	struct buf text = BUF_INIT(TEXT_MAX);

	if (!v->v)
		return files;
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
		tree_overlay(context, v->context);
	}
	return files;
}
