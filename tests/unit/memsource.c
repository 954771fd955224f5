#include "tests/unit/memsource.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/clock.h"
#include "client/conda.h"

enum {
	PATIENCE_S = 10,
	ENVS_MAX = 2048,
	SCOPES_MAX = 64,
	VERSIONS_MAX = 64,
	TAGS_MAX = 16,
	CONDA_MAX = 65536,
};

struct mem_env {
	char *name;
	const char *next;
	bool archived;
	struct version *versions[VERSIONS_MAX];
	size_t n_versions;
};

struct mem_state {
	struct mem_env envs[ENVS_MAX];
	size_t n;
};

struct memsource {
	struct source source;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock */
	char *scopes[SCOPES_MAX];
	size_t n_scopes;
	struct mem_state now;
	struct mem_state *listed; /* what lists say; NULL: what is */
	char *path;
	char *etag;
	uint64_t size;
	int64_t surplus;
	int fail[MEM_OPS];
	unsigned int fail_left[MEM_OPS]; /* so often; 0: always */
	int lose[MEM_OPS];
	const char *fail_text[MEM_OPS];
	void (*before[MEM_OPS])(void *arg);
	void *before_arg[MEM_OPS];
	struct memcontexts *contexts;
	int64_t created; /* time of the last version put */
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
	int failure = m->fail[op] ? m->fail[op] : m->lose[op];
	const char *text = m->fail_text[op];
	int rc;

	if (m->fail_left[op] && !--m->fail_left[op])
		m->fail[op] = 0;
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

/* Takes the lock, before anything is done for op. */
static void enter(struct memsource *m, enum mem_op op)
{
	void (*fn)(void *arg);
	void *arg;

	pthread_mutex_lock(&m->lock);
	fn = m->before[op];
	arg = m->before_arg[op];
	if (!fn)
		return;
	pthread_mutex_unlock(&m->lock);
	fn(arg);
	pthread_mutex_lock(&m->lock);
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

	enter(m, MEM_SCOPES);
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

static const struct mem_state *listed(const struct memsource *m)
{
	return m->listed ? m->listed : &m->now;
}

static struct env *make_env(const struct mem_env *env)
{
	struct env fields = {
		.name = env->name, .archived = env->archived, .next_version = env->next};

	return must(env_new(&fields));
}

static int mem_list_envs(struct source *s, struct scope *scope, struct call *c,
			 struct env_list **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct env_list *list;
	struct env **items;
	int rc;

	(void)scope;
	enter(m, MEM_ENVS);
	items = must(calloc(ENVS_MAX, sizeof(struct env *)));
	for (size_t i = 0; i < listed(m)->n; i++)
		items[i] = make_env(&listed(m)->envs[i]);
	list = must(env_list_take(items, listed(m)->n));
	rc = visit(m, MEM_ENVS, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	free(items);
	if (rc)
		env_list_unref(list);
	else
		*out = list;
	return rc;
}

static struct mem_env *find_env(struct mem_state *state, const char *name)
{
	for (size_t i = 0; i < state->n; i++)
		if (strcmp(state->envs[i].name, name) == 0)
			return &state->envs[i];
	return NULL;
}

static struct version **find_version(struct mem_env *env, const char *version)
{
	for (size_t i = 0; env && i < env->n_versions; i++)
		if (strcmp(env->versions[i]->version, version) == 0)
			return &env->versions[i];
	return NULL;
}

static struct version_list *make_versions(const struct mem_env *env)
{
	struct version *items[VERSIONS_MAX];

	for (size_t i = 0; i < env->n_versions; i++)
		items[i] = must(version_new(env->versions[i]));
	return must(version_list_take(items, env->n_versions));
}

static int mem_list_versions(struct source *s, struct scope *scope, const char *name,
			     struct call *c, struct version_list **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct version_list *list = NULL;
	struct mem_env *env;
	int rc;

	(void)scope;
	enter(m, MEM_VERSIONS);
	env = find_env(m->listed ? m->listed : &m->now, name);
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
	enter(m, MEM_CONTEXT);
	file.path = m->path;
	file.path_len = strlen(m->path);
	file.size = m->size;
	file.etag = m->etag;
	context = memcontexts_list(m->contexts, v->context_uri);
	if (!context)
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
	const char *text;
	uint64_t size, end;
	int rc;

	(void)scope;
	enter(m, MEM_READ);
	text = memcontexts_text(m->contexts, ctx->uri, file->path);
	size = (uint64_t)((int64_t)file->size + m->surplus);
	rc = visit(m, MEM_READ, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	end = offset + len < size ? offset + len : size;
	for (; !rc && offset < end; offset++)
		rc = buf_addch(out, text ? text[offset] : memsource_byte(offset));
	return rc;
}

static int mem_create_workspace(struct source *s, const char *name, struct call *c,
				struct scope **out, struct err *e)
{
	struct memsource *m = FROM(s);
	int rc;

	enter(m, MEM_CREATE);
	rc = visit(m, MEM_CREATE, NULL, c, e);
	pthread_mutex_unlock(&m->lock);
	if (rc)
		return rc;
	memsource_add_scope(m, name);
	*out = make_scope(name);
	return 0;
}

/* ---- changes ---- */

static struct mem_env *add_env(struct memsource *m, const char *name, bool archived)
{
	struct mem_env *env = must(m->now.n < ENVS_MAX ? &m->now.envs[m->now.n++] : NULL);

	*env = (struct mem_env){.name = dup_text(name), .archived = archived};
	return env;
}

/* Takes v. */
static void store_version(struct mem_env *env, struct version *v)
{
	struct version **at = find_version(env, v->version);

	if (at) {
		version_unref(*at);
		*at = v;
		return;
	}
	must(env->n_versions < VERSIONS_MAX ? env : NULL);
	env->versions[env->n_versions++] = v;
}

static bool drop_version(struct mem_env *env, const char *version)
{
	struct version **at = find_version(env, version);

	if (!at)
		return false;
	version_unref(*at);
	*at = env->versions[--env->n_versions];
	return true;
}

static void env_free(struct mem_env *env)
{
	free(env->name);
	for (size_t i = 0; i < env->n_versions; i++)
		version_unref(env->versions[i]);
}

static bool drop_env(struct memsource *m, const char *name)
{
	struct mem_env *env = find_env(&m->now, name);

	if (!env)
		return false;
	env_free(env);
	*env = m->now.envs[--m->now.n];
	return true;
}

static int change_tag(struct kv *tags, size_t *n, const struct tag_change *t)
{
	size_t i = 0;

	while (i < *n && strcmp(tags[i].key, t->key) != 0)
		i++;
	if (i == *n && !t->value)
		return t->flags & TAG_IF_THERE ? 0 : -ENODATA;
	if (i == *n)
		must(++*n <= TAGS_MAX ? tags : NULL);
	if (t->value)
		tags[i] = (struct kv){t->key, t->value};
	else
		tags[i] = tags[--*n];
	return 0;
}

static int apply(struct version **at, const struct version_change *change)
{
	struct version fields = **at;
	struct kv tags[TAGS_MAX];
	struct version *old = *at;
	int rc = 0;

	if (change->replace_tags)
		fields.n_tags = 0;
	for (size_t i = 0; i < fields.n_tags; i++)
		tags[i] = fields.tags[i];
	for (size_t i = 0; i < change->n_tags && !rc; i++)
		rc = change_tag(tags, &fields.n_tags, &change->tags[i]);
	if (rc)
		return rc;
	fields.tags = tags;
	if (change->set_description)
		fields.description = change->description;
	if (change->archived >= 0)
		fields.archived = change->archived;
	*at = must(version_new(&fields));
	version_unref(old);
	return 0;
}

/* v as the service has it then: conda text as JSON, and a time. */
static struct version *as_stored(struct memsource *m, const struct version *v)
{
	struct buf conda = BUF_INIT(CONDA_MAX);
	struct version fields = *v, *stored;

	if (v->conda && !conda_to_json(v->conda, strlen(v->conda), &conda, NULL))
		fields.conda = buf_str(&conda);
	m->created += NS_PER_S;
	if (!fields.created)
		fields.created = m->created;
	stored = must(version_new(&fields));
	buf_free(&conda);
	return stored;
}

/* Keeps what is there when it says the same, unless it has failed. -EEXIST when it does not. */
static int put(struct memsource *m, const struct version *v)
{
	struct mem_env *env = find_env(&m->now, v->env);
	struct version *stored = as_stored(m, v);
	struct version **at = find_version(env, v->version);
	bool failed = at && version_has_failed(*at);
	int rc = at && !failed && !version_same_content(*at, stored) ? -EEXIST : 0;

	if (at && !failed)
		version_unref(stored);
	else
		store_version(env ? env : add_env(m, v->env, false), stored);
	return rc;
}

static int mem_put_version(struct source *s, struct scope *scope, const struct version *v,
			   struct call *c, struct version **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct version *answer = NULL;
	int rc = 0, visited;

	(void)scope;
	enter(m, MEM_PUT);
	if (!m->fail[MEM_PUT]) {
		rc = put(m, v);
		answer = must(version_new(*find_version(find_env(&m->now, v->env), v->version)));
	}
	visited = visit(m, MEM_PUT, v->env, c, e);
	pthread_mutex_unlock(&m->lock);
	if (visited || rc) {
		version_unref(answer);
		return visited ? visited : err_set(e, rc, "version %s exists", v->version);
	}
	*out = answer;
	return 0;
}

static int mem_get_version(struct source *s, struct scope *scope, const char *name,
			   const char *version, struct call *c, struct version **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct version **at, *answer;
	int rc;

	(void)scope;
	enter(m, MEM_GET);
	at = find_version(find_env(&m->now, name), version);
	answer = at ? must(version_new(*at)) : NULL;
	rc = visit(m, MEM_GET, name, c, e);
	pthread_mutex_unlock(&m->lock);
	if (!rc && !answer)
		rc = err_set(e, -ENOENT, "there is no version %s of %s", version, name);
	if (rc)
		version_unref(answer);
	else
		*out = answer;
	return rc;
}

static int mem_upload_context(struct source *s, struct scope *scope, const char *env,
			      const char *version, const struct upload_file *files, size_t n,
			      struct call *c, char **uri, struct err *e)
{
	struct memsource *m = FROM(s);
	const char *stored = NULL;
	int rc = 0, visited;

	(void)scope;
	(void)version;
	enter(m, MEM_UPLOAD);
	if (!m->fail[MEM_UPLOAD])
		rc = memcontexts_upload(m->contexts, files, n, &stored);
	visited = visit(m, MEM_UPLOAD, env, c, e);
	if (!visited && !rc)
		*uri = dup_text(stored);
	pthread_mutex_unlock(&m->lock);
	return visited ? visited : rc ? err_set(e, rc, "memsource: %s", strerror(-rc)) : 0;
}

static int mem_update_version(struct source *s, struct scope *scope, const char *name,
			      const char *version, const struct version_change *change,
			      struct call *c, struct version **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct version **at, *answer = NULL;
	int rc = 0, visited;

	(void)scope;
	enter(m, MEM_UPDATE);
	at = find_version(find_env(&m->now, name), version);
	if (!m->fail[MEM_UPDATE])
		rc = at ? apply(at, change) : -ENOENT;
	if (!rc && at)
		answer = must(version_new(*at));
	visited = visit(m, MEM_UPDATE, name, c, e);
	pthread_mutex_unlock(&m->lock);
	if (visited || rc) {
		version_unref(answer);
		return visited ? visited : err_set(e, rc, "memsource: %s", strerror(-rc));
	}
	*out = answer;
	return 0;
}

static int mem_update_env(struct source *s, struct scope *scope, const char *name, bool archived,
			  struct call *c, struct env **out, struct err *e)
{
	struct memsource *m = FROM(s);
	struct env *answer = NULL;
	struct mem_env *env;
	int rc;

	(void)scope;
	enter(m, MEM_UPDATE_ENV);
	env = find_env(&m->now, name);
	if (env && !m->fail[MEM_UPDATE_ENV]) {
		env->archived = archived;
		answer = make_env(env);
	}
	rc = visit(m, MEM_UPDATE_ENV, name, c, e);
	pthread_mutex_unlock(&m->lock);
	if (!rc && !answer)
		rc = err_set(e, -ENOENT, "there is no environment %s", name);
	if (rc)
		env_unref(answer);
	else
		*out = answer;
	return rc;
}

static int mem_delete_version(struct source *s, struct scope *scope, const char *name,
			      const char *version, struct call *c, struct err *e)
{
	struct memsource *m = FROM(s);
	struct mem_env *env;
	int rc;

	(void)scope;
	enter(m, MEM_DELETE);
	env = find_env(&m->now, name);
	if (env && !m->fail[MEM_DELETE])
		drop_version(env, version);
	rc = visit(m, MEM_DELETE, name, c, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int mem_delete_env(struct source *s, struct scope *scope, const char *name, struct call *c,
			  struct err *e)
{
	struct memsource *m = FROM(s);
	int rc;

	(void)scope;
	enter(m, MEM_DELETE_ENV);
	if (!m->fail[MEM_DELETE_ENV])
		drop_env(m, name);
	rc = visit(m, MEM_DELETE_ENV, name, c, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
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
	.get_version = mem_get_version,
	.upload_context = mem_upload_context,
	.put_version = mem_put_version,
	.update_version = mem_update_version,
	.update_env = mem_update_env,
	.delete_version = mem_delete_version,
	.delete_env = mem_delete_env,
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
	m->contexts = memcontexts_new();
	m->path = dup_text("Dockerfile");
	memsource_add_scope(m, "ws");
	return m;
}

static void state_clear(struct mem_state *state)
{
	for (size_t i = 0; i < state->n; i++)
		env_free(&state->envs[i]);
	state->n = 0;
}

void memsource_free(struct memsource *m)
{
	memsource_lag(m, false);
	state_clear(&m->now);
	for (size_t i = 0; i < m->n_scopes; i++)
		free(m->scopes[i]);
	for (size_t i = 0; i < MEM_LOG_MAX; i++)
		free(m->asked[i]);
	free(m->path);
	free(m->etag);
	memcontexts_free(m->contexts);
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

/* Every version of ours lies in the same context. */
static struct version *make_version(const char *env, const char *description)
{
	struct version fields = {
		.env = env,
		.version = "1",
		.description = description,
		.context_uri = "https://blobs.example/context",
	};

	return must(version_new(&fields));
}

void memsource_add_env(struct memsource *m, const char *name, bool archived)
{
	pthread_mutex_lock(&m->lock);
	store_version(add_env(m, name, archived), make_version(name, "first"));
	pthread_mutex_unlock(&m->lock);
}

void memsource_remove_env(struct memsource *m, const char *name)
{
	pthread_mutex_lock(&m->lock);
	drop_env(m, name);
	pthread_mutex_unlock(&m->lock);
}

void memsource_describe(struct memsource *m, const char *name, const char *description)
{
	pthread_mutex_lock(&m->lock);
	store_version(must(find_env(&m->now, name)), make_version(name, description));
	pthread_mutex_unlock(&m->lock);
}

void memsource_set_version(struct memsource *m, const struct version *fields)
{
	pthread_mutex_lock(&m->lock);
	store_version(must(find_env(&m->now, fields->env)), must(version_new(fields)));
	pthread_mutex_unlock(&m->lock);
}

void memsource_remove_version(struct memsource *m, const char *name, const char *version)
{
	pthread_mutex_lock(&m->lock);
	drop_version(must(find_env(&m->now, name)), version);
	pthread_mutex_unlock(&m->lock);
}

void memsource_put(struct memsource *m, const struct version *fields)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = put(m, fields);
	pthread_mutex_unlock(&m->lock);
	must(rc ? NULL : m);
}

struct version *memsource_get(struct memsource *m, const char *name, const char *version)
{
	struct version **at, *v;

	pthread_mutex_lock(&m->lock);
	at = find_version(find_env(&m->now, name), version);
	v = at ? version_ref(*at) : NULL;
	pthread_mutex_unlock(&m->lock);
	return v;
}

void memsource_set_next(struct memsource *m, const char *name, const char *next)
{
	struct mem_env *env;

	pthread_mutex_lock(&m->lock);
	env = must(find_env(&m->now, name));
	env->next = next;
	pthread_mutex_unlock(&m->lock);
}

struct memcontexts *memsource_contexts(struct memsource *m)
{
	return m->contexts;
}

void memsource_lag(struct memsource *m, bool lag)
{
	pthread_mutex_lock(&m->lock);
	if (m->listed)
		state_clear(m->listed);
	free(m->listed);
	m->listed = NULL;
	if (lag) {
		m->listed = must(malloc(sizeof(*m->listed)));
		*m->listed = m->now;
	}
	for (size_t i = 0; lag && i < m->now.n; i++) {
		struct mem_env *env = &m->listed->envs[i];

		env->name = dup_text(env->name);
		for (size_t k = 0; k < env->n_versions; k++)
			version_ref(env->versions[k]);
	}
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
	m->fail_left[op] = 0;
	m->fail_text[op] = text;
	pthread_mutex_unlock(&m->lock);
}

void memsource_fail_once(struct memsource *m, enum mem_op op, int rc, const char *text)
{
	memsource_fail(m, op, rc, text);
	pthread_mutex_lock(&m->lock);
	m->fail_left[op] = 1;
	pthread_mutex_unlock(&m->lock);
}

void memsource_lose(struct memsource *m, enum mem_op op, int rc, const char *text)
{
	pthread_mutex_lock(&m->lock);
	m->lose[op] = rc;
	m->fail_text[op] = text;
	pthread_mutex_unlock(&m->lock);
}

void memsource_before(struct memsource *m, enum mem_op op, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&m->lock);
	m->before[op] = fn;
	m->before_arg[op] = arg;
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

void memsource_restart(struct memsource *m)
{
	pthread_mutex_lock(&m->lock);
	m->stopped = false;
	pthread_mutex_unlock(&m->lock);
}

const char *memsource_asked(struct memsource *m, unsigned int n)
{
	const char *env;

	pthread_mutex_lock(&m->lock);
	env = n < MEM_LOG_MAX ? m->asked[n] : NULL;
	pthread_mutex_unlock(&m->lock);
	return env;
}
