#include "tests/unit/memsource.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/clock.h"

enum { PATIENCE_S = 10, ENVS_MAX = 2048, SCOPES_MAX = 64 };

struct mem_env {
	char *name;
	char *description; /* NULL: no version */
	bool archived;
};

struct memsource {
	struct source source;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock */
	char *scopes[SCOPES_MAX];
	size_t n_scopes;
	struct mem_env envs[ENVS_MAX];
	size_t n_envs;
	char *path;
	char *etag;
	uint64_t size;
	int64_t surplus;
	int fail[MEM_OPS];
	const char *fail_text[MEM_OPS];
	int64_t delay;
	bool held;
	bool passes[MEM_OPS];
	bool stopped;
	unsigned int calls[MEM_OPS];
	unsigned int inside;
	unsigned int peak;
	unsigned int cancelled;
	char *asked[MEM_LOG_MAX];
};

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "memsource: no memory\n");
		exit(1);
	}
	return p;
}

static char *dup_text(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

/* ---- the way in and out of every call ---- */

struct visit {
	struct memsource *m;
	enum mem_op op;
	bool cancelled; /* protected by m->lock */
};

static void visit_wake(void *arg)
{
	struct visit *v = arg;

	pthread_mutex_lock(&v->m->lock);
	v->cancelled = true;
	pthread_cond_broadcast(&v->m->cond);
	pthread_mutex_unlock(&v->m->lock);
}

static void visit_count(struct memsource *m, enum mem_op op, const char *env)
{
	if (op == MEM_VERSIONS && m->calls[op] < MEM_LOG_MAX)
		m->asked[m->calls[op]] = dup_text(env);
	m->calls[op]++;
	if (++m->inside > m->peak)
		m->peak = m->inside;
	pthread_cond_broadcast(&m->cond);
}

static int visit_stay(struct visit *v, int64_t until, int64_t deadline)
{
	struct memsource *m = v->m;

	for (;;) {
		int64_t now = clock_mono();
		bool held = m->held && !m->passes[v->op];
		int64_t next = held || until > deadline ? deadline : until;
		struct timespec ts = clock_timespec(next);

		if (v->cancelled || m->stopped)
			return -ECANCELED;
		if (now >= deadline)
			return -ETIMEDOUT;
		if (!held && now >= until)
			return 0;
		pthread_cond_timedwait(&m->cond, &m->lock, &ts);
	}
}

/* The lock is held before and after, but not while the call is inside. */
static int visit(struct memsource *m, enum mem_op op, const char *env, struct call *call,
		 struct err *e)
{
	struct visit v = {.m = m, .op = op};
	int64_t until = clock_mono() + m->delay;
	int failure = m->fail[op];
	const char *text = m->fail_text[op];
	int rc;

	visit_count(m, op, env);
	pthread_mutex_unlock(&m->lock);
	call_set_wake(call, visit_wake, &v);
	pthread_mutex_lock(&m->lock);
	rc = visit_stay(&v, until, call->deadline);
	m->inside--;
	m->cancelled += rc == -ECANCELED;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
	call_set_wake(call, NULL, NULL);
	pthread_mutex_lock(&m->lock);
	if (rc)
		return err_set(e, rc, "memsource: %s", strerror(-rc));
	return failure ? err_set(e, failure, "%s", text) : 0;
}

/* ---- the operations ---- */

#define FROM(s) ((struct memsource *)(s))

static struct scope *make_scope(const char *name)
{
	struct scope fields = {
		.name = name,
		.subscription = "sub",
		.resource_group = "group",
		.writable = true,
	};

	return must(scope_new(&fields));
}

static int mem_list_scopes(struct source *s, struct call *c, struct scope_list **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct scope *items[SCOPES_MAX];
	struct scope_list *list;
	int rc;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_scopes; i++)
		items[i] = make_scope(m->scopes[i]);
	list = must(scope_list_take(items, m->n_scopes));
	rc = visit(m, MEM_SCOPES, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	if (rc)
		scope_list_unref(list);
	else
		*out = list;
	return rc;
}

static int mem_list_envs(struct source *s, struct scope *scope, struct call *c,
			 struct env_list **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct env_list *list;
	struct env **items;
	int rc;

	(void)scope;
	pthread_mutex_lock(&m->lock);
	items = must(calloc(ENVS_MAX, sizeof(struct env *)));
	for (size_t i = 0; i < m->n_envs; i++) {
		struct env fields = {.name = m->envs[i].name, .archived = m->envs[i].archived};

		items[i] = must(env_new(&fields));
	}
	list = must(env_list_take(items, m->n_envs));
	rc = visit(m, MEM_ENVS, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	free(items);
	if (rc)
		env_list_unref(list);
	else
		*out = list;
	return rc;
}

static struct mem_env *find_env(struct memsource *m, const char *name)
{
	for (size_t i = 0; i < m->n_envs; i++)
		if (strcmp(m->envs[i].name, name) == 0)
			return &m->envs[i];
	return NULL;
}

static struct version_list *make_versions(const struct mem_env *env)
{
	struct version fields = {
		.env = env->name,
		.version = "1",
		.description = env->description,
		.context_uri = "https://blobs.example/context",
	};
	struct version *items[1];

	if (!env->description)
		return must(version_list_take(items, 0));
	items[0] = must(version_new(&fields));
	return must(version_list_take(items, 1));
}

static int mem_list_versions(struct source *s, struct scope *scope, const char *name,
			     struct call *c, struct version_list **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct version_list *list = NULL;
	struct mem_env *env;
	int rc;

	(void)scope;
	pthread_mutex_lock(&m->lock);
	env = find_env(m, name);
	if (env)
		list = make_versions(env);
	rc = visit(m, MEM_VERSIONS, name, c, e);
	pthread_mutex_unlock(&m->lock);
	if (!rc && !list)
		rc = err_set(e, -ENOENT, "there is no environment %s", name);
	if (rc)
		version_list_unref(list);
	else
		*out = list;
	return rc;
}

static int mem_list_context(struct source *s, struct scope *scope, struct version *v,
			    struct call *c, struct context **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct context_file file = {0};
	struct context fields = {.uri = v->context_uri, .files = &file, .n_files = 1};
	struct context *context;
	int rc;

	(void)scope;
	pthread_mutex_lock(&m->lock);
	file.path = m->path;
	file.path_len = strlen(m->path);
	file.size = m->size;
	file.etag = m->etag;
	context = must(context_new(&fields));
	rc = visit(m, MEM_CONTEXT, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	if (rc)
		context_unref(context);
	else
		*out = context;
	return rc;
}

char memsource_byte(uint64_t offset)
{
	return (char)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static int mem_read_context(struct source *s, struct scope *scope, struct context *ctx,
			    const struct context_file *file, uint64_t offset, size_t len,
			    struct call *c, struct buf *out, struct err *e)
{
	struct memsource *m = FROM(s);
	uint64_t size, end;
	int rc;

	(void)scope;
	(void)ctx;
	pthread_mutex_lock(&m->lock);
	size = (uint64_t)((int64_t)file->size + m->surplus);
	rc = visit(m, MEM_READ, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	end = offset + len < size ? offset + len : size;
	for (; !rc && offset < end; offset++)
		rc = buf_addch(out, memsource_byte(offset));
	return rc;
}

static int mem_create_workspace(struct source *s, const char *name, struct call *c,
				struct scope **out, struct err *e)
{
	struct memsource *m = FROM(s);
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = visit(m, MEM_CREATE, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	if (rc)
		return rc;
	memsource_add_scope(m, name);
	*out = make_scope(name);
	return 0;
}

static void mem_stop(struct source *s)
{
	struct memsource *m = FROM(s);

	pthread_mutex_lock(&m->lock);
	m->stopped = true;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static void mem_free(struct source *s)
{
	memsource_free(FROM(s));
}

static const struct source_ops mem_ops = {
	.list_scopes = mem_list_scopes,
	.list_envs = mem_list_envs,
	.list_versions = mem_list_versions,
	.list_context = mem_list_context,
	.read_context = mem_read_context,
	.create_workspace = mem_create_workspace,
	.stop = mem_stop,
	.free = mem_free,
};

/* ---- for the test ---- */

struct memsource *memsource_new(void)
{
	struct memsource *m = must(calloc(1, sizeof(*m)));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&m->lock, NULL);
	m->source.ops = &mem_ops;
	m->path = dup_text("Dockerfile");
	memsource_add_scope(m, "ws");
	return m;
}

void memsource_free(struct memsource *m)
{
	for (size_t i = 0; i < m->n_scopes; i++)
		free(m->scopes[i]);
	for (size_t i = 0; i < m->n_envs; i++) {
		free(m->envs[i].name);
		free(m->envs[i].description);
	}
	for (size_t i = 0; i < MEM_LOG_MAX; i++)
		free(m->asked[i]);
	free(m->path);
	free(m->etag);
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

struct source *memsource_source(struct memsource *m)
{
	return &m->source;
}

void memsource_add_scope(struct memsource *m, const char *name)
{
	pthread_mutex_lock(&m->lock);
	must(m->n_scopes < SCOPES_MAX ? m : NULL);
	m->scopes[m->n_scopes++] = dup_text(name);
	pthread_mutex_unlock(&m->lock);
}

void memsource_remove_scope(struct memsource *m, const char *name)
{
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_scopes; i++)
		if (strcmp(m->scopes[i], name) == 0) {
			free(m->scopes[i]);
			m->scopes[i--] = m->scopes[--m->n_scopes];
		}
	pthread_mutex_unlock(&m->lock);
}

void memsource_add_env(struct memsource *m, const char *name, bool archived)
{
	pthread_mutex_lock(&m->lock);
	must(m->n_envs < ENVS_MAX ? m : NULL);
	m->envs[m->n_envs++] = (struct mem_env){
		.name = dup_text(name),
		.description = dup_text("first"),
		.archived = archived,
	};
	pthread_mutex_unlock(&m->lock);
}

void memsource_remove_env(struct memsource *m, const char *name)
{
	struct mem_env *env;

	pthread_mutex_lock(&m->lock);
	env = find_env(m, name);
	if (env) {
		free(env->name);
		free(env->description);
		*env = m->envs[--m->n_envs];
	}
	pthread_mutex_unlock(&m->lock);
}

void memsource_describe(struct memsource *m, const char *name, const char *description)
{
	struct mem_env *env;

	pthread_mutex_lock(&m->lock);
	env = must(find_env(m, name));
	free(env->description);
	env->description = dup_text(description);
	pthread_mutex_unlock(&m->lock);
}

void memsource_set_file(struct memsource *m, const char *path, uint64_t size, const char *etag)
{
	pthread_mutex_lock(&m->lock);
	free(m->path);
	free(m->etag);
	m->path = dup_text(path);
	m->etag = dup_text(etag);
	m->size = size;
	pthread_mutex_unlock(&m->lock);
}

void memsource_set_surplus(struct memsource *m, int64_t bytes)
{
	pthread_mutex_lock(&m->lock);
	m->surplus = bytes;
	pthread_mutex_unlock(&m->lock);
}

void memsource_fail(struct memsource *m, enum mem_op op, int rc, const char *text)
{
	pthread_mutex_lock(&m->lock);
	m->fail[op] = rc;
	m->fail_text[op] = text;
	pthread_mutex_unlock(&m->lock);
}

void memsource_delay(struct memsource *m, int64_t ns)
{
	pthread_mutex_lock(&m->lock);
	m->delay = ns;
	pthread_mutex_unlock(&m->lock);
}

void memsource_hold(struct memsource *m)
{
	pthread_mutex_lock(&m->lock);
	m->held = true;
	pthread_mutex_unlock(&m->lock);
}

void memsource_release(struct memsource *m)
{
	pthread_mutex_lock(&m->lock);
	m->held = false;
	pthread_cond_broadcast(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

void memsource_let_pass(struct memsource *m, enum mem_op op)
{
	pthread_mutex_lock(&m->lock);
	m->passes[op] = true;
	pthread_mutex_unlock(&m->lock);
}

bool memsource_wait_inside(struct memsource *m, unsigned int n)
{
	struct timespec ts = clock_timespec(clock_mono() + PATIENCE_S * NS_PER_S);
	int rc = 0;
	bool met;

	pthread_mutex_lock(&m->lock);
	while (m->inside != n && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&m->cond, &m->lock, &ts);
	met = m->inside == n;
	pthread_mutex_unlock(&m->lock);
	return met;
}

bool memsource_wait_calls(struct memsource *m, enum mem_op op, unsigned int n)
{
	struct timespec ts = clock_timespec(clock_mono() + PATIENCE_S * NS_PER_S);
	int rc = 0;
	bool met;

	pthread_mutex_lock(&m->lock);
	while ((m->calls[op] < n || m->inside) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&m->cond, &m->lock, &ts);
	met = m->calls[op] == n && !m->inside;
	pthread_mutex_unlock(&m->lock);
	return met;
}

static unsigned int locked_read(struct memsource *m, const unsigned int *field)
{
	unsigned int n;

	pthread_mutex_lock(&m->lock);
	n = *field;
	pthread_mutex_unlock(&m->lock);
	return n;
}

unsigned int memsource_calls(struct memsource *m, enum mem_op op)
{
	return locked_read(m, &m->calls[op]);
}

unsigned int memsource_peak(struct memsource *m)
{
	return locked_read(m, &m->peak);
}

unsigned int memsource_cancelled(struct memsource *m)
{
	return locked_read(m, &m->cancelled);
}

bool memsource_stopped(struct memsource *m)
{
	bool stopped;

	pthread_mutex_lock(&m->lock);
	stopped = m->stopped;
	pthread_mutex_unlock(&m->lock);
	return stopped;
}

const char *memsource_asked(struct memsource *m, unsigned int n)
{
	const char *env;

	pthread_mutex_lock(&m->lock);
	env = n < MEM_LOG_MAX ? m->asked[n] : NULL;
	pthread_mutex_unlock(&m->lock);
	return env;
}
