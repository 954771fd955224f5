#include "tests/model/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <curl/curl.h>

#include "client/arm.h"
#include "client/buf.h"
#include "client/call.h"
#include "client/clock.h"
#include "client/credential.h"
#include "emulator/emu.h"

enum { FILES_MAX = 64, CONTEXTS_MAX = 256, TEXT_SIZE = 1024, PATIENCE_S = 30, FILE_MAX = 1 << 20 };

struct known_context {
	char *uri;
	struct service_file files[FILES_MAX];
	size_t n;
};

struct remote {
	char *url;
	char *token;
	struct credential *credential;
	struct source *source;
	struct scope *scope;
	struct known_context contexts[CONTEXTS_MAX];
	size_t n_contexts;
	enum service_fault fault;
};

static void must(bool good, const char *what, const struct err *e)
{
	if (good)
		return;
	fprintf(stderr, "remote: %s%s%s\n", what, e ? ": " : "", e ? e->msg : "");
	exit(1);
}

/* ---- what only the embedded service has ---- */

static size_t nowhere(char *data, size_t size, size_t n, void *arg)
{
	(void)data, (void)arg;
	return size * n;
}

static void ask(struct remote *r, const char *method, const char *path, const char *body)
{
	char url[TEXT_SIZE], authorization[TEXT_SIZE];
	struct curl_slist *headers;
	CURL *curl = curl_easy_init();
	long status = 0;
	CURLcode rc;

	must(curl, "no libcurl", NULL);
	snprintf(url, sizeof(url), "%s%s", r->url, path);
	snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s", r->token);
	headers = curl_slist_append(NULL, authorization);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, nowhere);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	must(rc == CURLE_OK && status >= 200 && status < 300, path, NULL);
}

/* What a client meets within its patience, without the many repetitions that other faults cost. */
enum service_fault remote_fault(struct remote *r, enum service_fault fault)
{
	const char *plan = "{\"rules\": []}";

	if (fault == FAULT_DENIED)
		plan = "{\"rules\": [{\"method\": \"PUT\", \"status\": 403},"
		       " {\"method\": \"DELETE\", \"status\": 403}]}";
	else if (fault == FAULT_LOST)
		plan = "{\"rules\": [{\"method\": \"PUT\", \"path\": \"*/versions/*\", \"lost\": "
		       "true,"
		       " \"times\": 1}]}";
	else
		fault = FAULT_NONE;
	if (fault != r->fault)
		ask(r, "PUT", "/__mlenvfs/faults", plan);
	r->fault = fault;
	return fault;
}

/* ---- the source ---- */

static void find_scope(struct remote *r, const char *workspace)
{
	struct scope_list *scopes;
	struct err e = ERR_INIT;
	struct call c;

	call_init(&c, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	must(!r->source->ops->list_scopes(r->source, &c, &scopes, &e), "workspaces", &e);
	call_destroy(&c);
	r->scope = scope_ref(scope_list_find(scopes, workspace));
	scope_list_unref(scopes);
	must(r->scope, "the workspace that was made is not there", NULL);
}

struct remote *remote_new(const char *url, const char *token, const char *workspace)
{
	struct remote *r = calloc(1, sizeof(*r));
	const struct arm_conf conf = {.endpoint = url,
				      .subscription = EMU_SUBSCRIPTION,
				      .resource_group = EMU_RESOURCE_GROUP};
	struct arm_conf filled = conf;
	struct err e = ERR_INIT;
	char path[TEXT_SIZE];

	must(r, "no memory", NULL);
	r->url = strdup(url);
	r->token = strdup(token);
	must(!credential_static_new(token, strlen(token), &r->credential, &e), "token", &e);
	filled.credential = r->credential;
	must(!arm_source_new(&filled, &r->source, &e), url, &e);
	snprintf(path, sizeof(path), "/__mlenvfs/workspaces/%s", workspace);
	ask(r, "POST", path, "");
	ask(r, "PUT", "/__mlenvfs/faults", "{\"rules\": []}");
	find_scope(r, workspace);
	return r;
}

void remote_free(struct remote *r)
{
	remote_fault(r, FAULT_NONE);
	scope_unref(r->scope);
	source_free(r->source);
	credential_free(r->credential);
	for (size_t i = 0; i < r->n_contexts; i++) {
		for (size_t k = 0; k < r->contexts[i].n; k++) {
			free((char *)r->contexts[i].files[k].path);
			free((char *)r->contexts[i].files[k].text);
		}
		free(r->contexts[i].uri);
	}
	free(r->url);
	free(r->token);
	free(r);
}

struct gathered {
	struct upload_file files[FILES_MAX];
	size_t n;
};

static void gather(void *arg, const char *path, struct tree *t)
{
	struct gathered *g = arg;
	int fd = memfd_create("model", MFD_CLOEXEC);

	must(g->n < FILES_MAX && fd >= 0 &&
		     write(fd, t->bytes->data, t->bytes->len) == (ssize_t)t->bytes->len,
	     "a file can't be uploaded", NULL);
	g->files[g->n++] =
		(struct upload_file){.path = strdup(path), .fd = fd, .size = t->bytes->len};
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct upload_file *)a)->path, ((const struct upload_file *)b)->path);
}

static char *upload(struct remote *r, const struct version *v, struct tree *context, struct call *c)
{
	struct gathered *g = calloc(1, sizeof(*g));
	struct err e = ERR_INIT;
	char *uri = NULL;

	must(g, "no memory", NULL);
	tree_each(context, gather, g);
	qsort(g->files, g->n, sizeof(*g->files), by_path);
	must(!r->source->ops->upload_context(r->source, r->scope, v->env, v->version, g->files,
					     g->n, c, &uri, &e),
	     "upload", &e);
	for (size_t i = 0; i < g->n; i++) {
		close(g->files[i].fd);
		free((char *)g->files[i].path);
	}
	free(g);
	return uri;
}

void remote_put(struct remote *r, const struct version *v, struct tree *context)
{
	struct version fields = *v, *stored;
	struct err e = ERR_INIT;
	char *uri = NULL;
	struct call c;

	call_init(&c, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	if (context) {
		uri = upload(r, v, context, &c);
		fields.context_uri = uri;
	}
	must(!r->source->ops->put_version(r->source, r->scope, &fields, &c, &stored, &e), "put",
	     &e);
	version_unref(stored);
	call_destroy(&c);
	free(uri);
}

void remote_tag(struct remote *r, const char *env, const char *version, const char *key,
		const char *value)
{
	const struct tag_change tag = {.key = key, .value = value};
	const struct version_change change = {
		.tags = &tag,
		.n_tags = key != NULL,
		.set_description = !key,
		.description = value,
		.archived = -1,
	};
	struct version *stored;
	struct err e = ERR_INIT;
	struct call c;

	call_init(&c, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	must(!r->source->ops->update_version(r->source, r->scope, env, version, &change, &c,
					     &stored, &e),
	     "tag", &e);
	version_unref(stored);
	call_destroy(&c);
}

/* ---- looking at it ---- */

static void read_file(struct remote *r, struct context *context, const struct context_file *file,
		      struct service_file *out, struct call *c)
{
	struct buf text = BUF_INIT(FILE_MAX);
	struct err e = ERR_INIT;

	must(!r->source->ops->read_context(r->source, r->scope, context, file, 0, FILE_MAX, c,
					   &text, &e),
	     file->path, &e);
	*out = (struct service_file){.path = strdup(file->path), .len = text.len};
	out->text = text.len ? buf_steal(&text, NULL) : strdup("");
	buf_free(&text);
}

static struct known_context *find_context(struct remote *r, const char *uri)
{
	for (size_t i = 0; i < r->n_contexts; i++)
		if (strcmp(r->contexts[i].uri, uri) == 0)
			return &r->contexts[i];
	return NULL;
}

static void learn_context(struct remote *r, struct version *v, struct call *c)
{
	struct known_context *k = &r->contexts[r->n_contexts];
	struct context *context;
	struct err e = ERR_INIT;

	if (!v->context_uri || find_context(r, v->context_uri))
		return;
	must(r->n_contexts < CONTEXTS_MAX, "too many contexts", NULL);
	must(!r->source->ops->list_context(r->source, r->scope, v, c, &context, &e), "context", &e);
	k->uri = strdup(v->context_uri);
	for (size_t i = 0; i < context->n_files && i < FILES_MAX; i++)
		read_file(r, context, &context->files[i], &k->files[k->n++], c);
	r->n_contexts++;
	context_unref(context);
}

bool remote_context_file(struct remote *r, const char *uri, size_t i, struct service_file *out)
{
	const struct known_context *k = find_context(r, uri);

	if (!k || i >= k->n)
		return false;
	*out = k->files[i];
	return true;
}

static void each_version(struct remote *r, const struct env *env, struct call *c,
			 service_tell_fn *tell, void *arg)
{
	struct version_list *versions;
	struct err e = ERR_INIT;

	must(!r->source->ops->list_versions(r->source, r->scope, env->name, c, &versions, &e),
	     env->name, &e);
	for (size_t i = 0; i < versions->count; i++) {
		learn_context(r, versions->items[i], c);
		tell(arg, env->archived, versions->items[i]);
	}
	version_list_unref(versions);
}

void remote_each(struct remote *r, service_tell_fn *tell, void *arg)
{
	struct env_list *envs;
	struct err e = ERR_INIT;
	struct call c;

	call_init(&c, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	must(!r->source->ops->list_envs(r->source, r->scope, &c, &envs, &e), "environments", &e);
	for (size_t i = 0; i < envs->count; i++)
		each_version(r, envs->items[i], &c, tell, arg);
	env_list_unref(envs);
	call_destroy(&c);
}
