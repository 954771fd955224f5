#include "tests/model/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/clock.h"
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

static void check_bytes(struct model *m, const char *path, const struct tree *t)
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
	if (n >= 0 && (m->b->ops->fstat(m->b, fd, &st) || st.st_size != n))
		model_fail(m, "%s: its size is not that of its content", path);
	m->b->ops->close(m->b, fd);
	if (n < 0) {
		model_fail(m, "read %s: %s", path, strerror((int)-n));
		return;
	}
	if (!bytes_equal(t->bytes, data, (size_t)n) &&
	    !(t->other && bytes_equal(t->other, data, (size_t)n))) {
		quote(data, (size_t)n, a);
		quote(t->bytes->data, t->bytes->len, b);
		model_fail(m, "%s holds \"%s\", should hold \"%s\"", path, a, b);
	}
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

static void check_tree(struct model *m, const char *path, struct tree *t);

/* What a directory holds of a tree is as it says. */
static void check_below(struct model *m, const char *path, struct tree *t)
{
	char below[TREE_PATH];

	for (struct tree *c = t->first; c && !model_failed(m); c = c->next) {
		path_print(below, "%s/%s", path, c->name);
		if (c->kind == TREE_DIR)
			check_tree(m, below, c);
		else if (c->kind == TREE_DERIVED)
			continue; /* its content is somebody else's business */
		else if (c->kind == TREE_LINK)
			check_link(m, below, c->target);
		else
			check_bytes(m, below, c);
	}
}

/* A directory that shows exactly a tree. */
static void check_tree(struct model *m, const char *path, struct tree *t)
{
	struct names names = {0};

	for (struct tree *c = t->first; c; c = c->next)
		add_name(&names, c->name);
	check_names(m, path, &names);
	if (!model_failed(m))
		check_below(m, path, t);
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

/* Why the last save failed. */
static void check_reason(struct model *m, const char *path, bool refused)
{
	char real[TREE_PATH], value[TREE_PATH];
	ssize_t n = m->b->ops->getxattr(m->b, 0, step_path(m, path, real), "user.mlenvfs.error",
					value, sizeof(value));

	if (refused ? n <= 0 : n != -ENODATA)
		model_fail(m, "getxattr %s user.mlenvfs.error gives %zd, should %s", path, n,
			   refused ? "tell why the save failed" : "not be there");
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
			  bool archived, bool deep)
{
	struct tree *view = archived ? model_published(v) : model_view(env, v);
	char path[TREE_PATH];

	path_print(path, "%s/%s", dir, v->name);
	check_tree(m, path, view);
	if (deep && !model_failed(m))
		check_attributes(m, path, v);
	if (!archived && !v->noted && !model_failed(m))
		check_reason(m, path, v->refused);
	if (!archived && !model_failed(m))
		check_stamps(m, env, v);
	tree_free(view);
}

/* ---- environments ---- */

static void check_env(struct model *m, struct menv *env, bool archived, bool deep)
{
	struct names names = {0};
	struct tree *own;
	char path[TREE_PATH], below[TREE_PATH];

	path_print(path, "%s%s", archived ? ".archived/" : "", env->name);
	for (struct mversion *v = env->versions; v; v = v->next)
		if (model_shows(env, v, archived))
			add_name(&names, v->name);
	for (struct tree *c = archived ? NULL : env->top->first; c; c = c->next)
		add_name(&names, c->name);
	own = archived ? tree_new("", TREE_DIR) : model_view(env, &env->self);
	for (struct tree *c = own->first; c; c = c->next)
		add_name(&names, c->name);
	if (!archived && model_latest(env))
		add_name(&names, "latest");
	check_names(m, path, &names);
	for (struct mversion *v = env->versions; v && !model_failed(m); v = v->next)
		if (model_shows(env, v, archived) && (deep || v->touched || v->edits))
			check_version(m, path, env, v, archived, deep);
	check_below(m, path, own);
	tree_free(own);
	if (archived || model_failed(m))
		return;
	check_stamps(m, env, &env->self);
	path_print(below, "%s/latest", env->name);
	if (model_latest(env))
		check_link(m, below, model_latest(env)->name);
	check_below(m, env->name, env->top);
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

struct counting {
	size_t n;
};

static void count_file(void *arg, const char *path, struct tree *t)
{
	struct counting *c = arg;

	(void)path, (void)t;
	c->n++;
}

/* A context by its files; its name is the service's own. */
static void compare_context(struct model *m, struct mversion *expected, const struct version *v)
{
	struct counting count = {0};
	struct service_file file;
	struct tree *t;
	size_t n = 0;

	for (; m->b->ops->context_file(m->b, v->context_uri, n, &file); n++) {
		t = expected->context ? tree_at(expected->context, file.path) : NULL;
		if (!t || !bytes_equal(t->bytes, file.text, file.len))
			model_fail(m, "the service has another %s in the context of %s/%s: %.*s",
				   file.path, v->env, v->version, (int)file.len, file.text);
	}
	if (expected->context)
		tree_each(expected->context, count_file, &count);
	if (n != count.n)
		model_fail(m, "the service has %zu files in the context of %s/%s, should have %zu",
			   n, v->env, v->version, count.n);
}

/* What the service has is what it should have, but for the name of its context. */
static bool same_record(const struct version *found, const struct version *expected)
{
	struct version fields = *expected, *like;
	bool same;

	if (found->context_uri && expected->context_uri)
		fields.context_uri = found->context_uri;
	like = version_new(&fields);
	same = like && version_same_content(found, like);
	version_unref(like);
	return same;
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
	if (!same_record(v, expected->v))
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
	if (v->context_uri)
		compare_context(m, expected, v);
}

static void check_service(struct model *m)
{
	struct service_counts counts;
	struct comparing c = {.m = m};
	size_t n = 0;

	m->b->ops->each(m->b, compare_version, &c);
	for (size_t i = 0; i < MODEL_ENVS; i++)
		for (struct mversion *v = m->envs[i].versions; v; v = v->next)
			n++;
	if (c.n != n)
		model_fail(m, "the service has %zu versions, should have %zu", c.n, n);
	if (!m->b->ops->counts(m->b, &counts))
		return;
	if (counts.puts != m->expected.puts || counts.updates != m->expected.updates ||
	    counts.deletes != m->expected.deletes)
		model_fail(m, "versions made: %u (%u), records changed: %u (%u), deleted: %u (%u)",
			   counts.puts, m->expected.puts, counts.updates, m->expected.updates,
			   counts.deletes, m->expected.deletes);
}

static void look(struct model *m, bool deep)
{
	check_service(m);
	if (!model_failed(m))
		check_envs(m, false, deep);
	if (!model_failed(m) && deep)
		check_envs(m, true, true);
}

static void wait_a_little(void)
{
	const struct timespec ts = {.tv_nsec = 20 * NS_PER_MS};

	nanosleep(&ts, NULL);
}

void check_all(struct model *m, bool deep)
{
	int64_t until = clock_mono() + m->b->patience_ms * NS_PER_MS;
	enum service_fault fault = m->fault;

	if (model_failed(m))
		return;
	model_sweep(m);
	m->b->ops->fault(m->b, FAULT_NONE);
	look(m, deep);
	/* What is told behind a call's back, to the kernel or by a last close, takes a moment. */
	while (model_failed(m) && clock_mono() < until) {
		wait_a_little();
		m->failure[0] = '\0';
		look(m, true);
	}
	m->b->ops->fault(m->b, fault);
	for (size_t i = 0; i < MODEL_ENVS; i++)
		FOR_EACH_DIR(&m->envs[i], v)
	v->touched = false;
	if (m->b->ops->problem(m->b))
		model_fail(m, "%s", m->b->ops->problem(m->b));
}
