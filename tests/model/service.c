#include "tests/model/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/conda.h"
#include "tests/model/service_int.h"

#define FIRST_TIME (INT64_C(1700000000) * NS_PER_S)

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "service: no memory\n");
		exit(1);
	}
	return p;
}

/* ---- contexts ---- */

static void context_clear(struct service_context *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free((char *)c->files[i].path);
		free((char *)c->files[i].text);
	}
	free(c->files);
	free(c->uri);
}

static struct service_context *find_context(struct service *s, const char *uri)
{
	for (size_t i = 0; i < s->n_contexts; i++)
		if (strcmp(s->contexts[i].uri, uri) == 0)
			return &s->contexts[i];
	return NULL;
}

/* FNV-1a over paths and bytes. */
static uint64_t hash_files(const struct service_file *files, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++) {
		for (const char *p = files[i].path; *p; p++)
			h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
		h = (h ^ files[i].len) * UINT64_C(0x100000001b3);
		for (size_t k = 0; k < files[i].len; k++)
			h = (h ^ (unsigned char)files[i].text[k]) * UINT64_C(0x100000001b3);
	}
	return h;
}

const char *service_store_context(struct service *s, const struct service_file *files, size_t n)
{
	struct service_context *c, fresh = {.n = n};

	if (asprintf(&fresh.uri, "https://blobs.example/c/%016llx/",
		     (unsigned long long)hash_files(files, n)) < 0)
		must(NULL);
	c = find_context(s, fresh.uri);
	if (c) {
		free(fresh.uri);
		return c->uri;
	}
	fresh.files = must(calloc(n, sizeof(*fresh.files)));
	for (size_t i = 0; i < n; i++) {
		char *text = must(malloc(files[i].len + 1));

		memcpy(text, files[i].text, files[i].len);
		fresh.files[i] = (struct service_file){
			.path = must(strdup(files[i].path)), .text = text, .len = files[i].len};
	}
	must(s->n_contexts < CONTEXTS_MAX ? s : NULL);
	s->contexts[s->n_contexts] = fresh;
	return s->contexts[s->n_contexts++].uri;
}

const char *service_upload(struct service *s, const struct service_file *files, size_t n)
{
	const char *uri;

	pthread_mutex_lock(&s->lock);
	uri = service_store_context(s, files, n);
	pthread_mutex_unlock(&s->lock);
	return uri;
}

struct service_context *service_find_context(struct service *s, const char *uri)
{
	return uri ? find_context(s, uri) : NULL;
}

bool service_context_file(struct service *s, const char *uri, size_t i, struct service_file *out)
{
	const struct service_context *c;
	bool found;

	pthread_mutex_lock(&s->lock);
	c = service_find_context(s, uri);
	found = c && i < c->n;
	if (found)
		*out = c->files[i];
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* ---- environments and versions; under the lock ---- */

struct service_env *service_find_env(struct service *s, const char *name)
{
	for (size_t i = 0; i < s->n_envs; i++)
		if (strcmp(s->envs[i].name, name) == 0)
			return &s->envs[i];
	return NULL;
}

struct version **service_find_version(struct service_env *env, const char *version)
{
	for (size_t i = 0; env && i < env->n; i++)
		if (strcmp(env->versions[i]->version, version) == 0)
			return &env->versions[i];
	return NULL;
}

char *service_conda(const char *conda)
{
	struct buf json = BUF_INIT(1 << 20);

	if (!conda)
		return NULL;
	if (conda_to_json(conda, strlen(conda), &json, NULL)) {
		buf_free(&json);
		return must(strdup(conda));
	}
	return must(buf_steal(&json, NULL));
}

void service_store(struct service *s, const struct version *v)
{
	struct service_env *env = service_find_env(s, v->env);
	struct version **at, fields = *v;
	_cleanup_free_ char *conda = service_conda(v->conda);

	if (!env) {
		must(s->n_envs < ENVS_MAX ? s : NULL);
		env = &s->envs[s->n_envs++];
		*env = (struct service_env){.name = must(strdup(v->env))};
	}
	fields.conda = conda;
	fields.created = FIRST_TIME + s->clock++ * NS_PER_S;
	fields.modified = fields.created;
	fields.environment_type = "UserCreated";
	at = service_find_version(env, v->version);
	if (at) {
		version_unref(*at);
	} else {
		must(env->n < VERSIONS_MAX ? env : NULL);
		at = &env->versions[env->n++];
	}
	*at = must(version_new(&fields));
}

bool service_take_out(struct service *s, const char *env, const char *version)
{
	struct service_env *e = service_find_env(s, env);
	struct version **at = service_find_version(e, version);

	if (!at)
		return false;
	version_unref(*at);
	*at = e->versions[--e->n];
	return true;
}

static void env_clear(struct service_env *e)
{
	for (size_t i = 0; i < e->n; i++)
		version_unref(e->versions[i]);
	free(e->name);
}

bool service_take_out_env(struct service *s, const char *env)
{
	struct service_env *e = service_find_env(s, env);

	if (!e)
		return false;
	env_clear(e);
	*e = s->envs[--s->n_envs];
	return true;
}

/* ---- for the test ---- */

struct service *service_new(void)
{
	struct service *s = must(calloc(1, sizeof(*s)));

	s->source.ops = &service_ops;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void service_free(struct service *s)
{
	for (size_t i = 0; i < s->n_envs; i++)
		env_clear(&s->envs[i]);
	for (size_t i = 0; i < s->n_contexts; i++)
		context_clear(&s->contexts[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct source *service_source(struct service *s)
{
	return &s->source;
}

void service_cut(struct source *source, bool cut)
{
	struct service *s = (struct service *)source;

	pthread_mutex_lock(&s->lock);
	s->cut = cut;
	pthread_mutex_unlock(&s->lock);
}

void service_set_fault(struct service *s, enum service_fault fault)
{
	pthread_mutex_lock(&s->lock);
	s->fault = fault;
	pthread_mutex_unlock(&s->lock);
}

struct service_counts service_counts(struct service *s)
{
	struct service_counts counts;

	pthread_mutex_lock(&s->lock);
	counts = s->counts;
	pthread_mutex_unlock(&s->lock);
	return counts;
}

void service_put(struct service *s, const struct version *fields)
{
	pthread_mutex_lock(&s->lock);
	service_store(s, fields);
	pthread_mutex_unlock(&s->lock);
}

void service_each(struct service *s, service_tell_fn *tell, void *arg)
{
	struct version **all = must(calloc(ENVS_MAX * VERSIONS_MAX, sizeof(*all)));
	bool *archived = must(calloc(ENVS_MAX * VERSIONS_MAX, sizeof(*archived)));
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_envs; i++)
		for (size_t k = 0; k < s->envs[i].n; k++, n++) {
			all[n] = version_ref(s->envs[i].versions[k]);
			archived[n] = s->envs[i].archived;
		}
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++) {
		tell(arg, archived[i], all[i]);
		version_unref(all[i]);
	}
	free(all);
	free(archived);
}
