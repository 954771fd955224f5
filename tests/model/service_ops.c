/* service_ops - the methods of the service in memory, as client/source.h describes them. */
#include "tests/model/service_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"

#define FROM(s) ((struct service *)(s))

enum { FILES_MAX = 1024, TAGS_MAX = 256, FILE_MAX = 1 << 20 };

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "service: no memory\n");
		exit(1);
	}
	return p;
}

/* ---- faults ---- */

enum method { READING, LOOKING, UPLOADING, PUTTING, CHANGING };

/* Takes the lock; what the fault does to such a call. */
static int enter(struct service *s, enum method method, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->cut)
		return err_set(e, -ECANCELED, "the connection was cut");
	switch (s->fault) {
	case FAULT_DOWN:
		rc = -EHOSTUNREACH;
		break;
	case FAULT_DENIED:
		rc = method >= UPLOADING ? -EACCES : 0;
		break;
	case FAULT_BUSY:
		rc = method >= UPLOADING ? -EBUSY : 0;
		break;
	case FAULT_PUT:
		rc = method == PUTTING ? -EIO : 0;
		break;
	case FAULT_UPLOAD:
		rc = method == UPLOADING ? -EIO : 0;
		break;
	case FAULT_LOOK:
		rc = method == LOOKING ? -ETIMEDOUT : 0;
		break;
	default:
		break;
	}
	return rc ? err_set(e, rc, "the service fails: %s", strerror(-rc)) : 0;
}

static int leave(struct service *s, int rc)
{
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int missing(struct err *e, const char *what)
{
	return err_set(e, -ENOENT, "there is no %s", what);
}

/* ---- reading ---- */

static int list_scopes(struct source *s, struct call *c, struct scope_list **out, struct err *e)
{
	const struct scope fields = {
		.name = SERVICE_SCOPE,
		.subscription = "sub",
		.resource_group = "group",
		.writable = true,
	};
	struct scope *scope = must(scope_new(&fields));
	int rc = enter(FROM(s), READING, e);

	(void)c;
	if (rc)
		scope_unref(scope);
	else
		*out = must(scope_list_take(&scope, 1));
	return leave(FROM(s), rc);
}

static long next_number(const struct service_env *env)
{
	long next = 1;

	for (size_t i = 0; i < env->n; i++) {
		char *end;
		long n = strtol(env->versions[i]->version, &end, 10);

		if (!*end && n >= next)
			next = n + 1;
	}
	return next;
}

static struct env *make_env(const struct service_env *env)
{
	char next[32];
	const struct env fields = {
		.name = env->name, .archived = env->archived, .next_version = next};

	snprintf(next, sizeof(next), "%ld", next_number(env));
	return must(env_new(&fields));
}

static int list_envs(struct source *source, struct scope *scope, struct call *c,
		     struct env_list **out, struct err *e)
{
	struct service *s = FROM(source);
	struct env *items[ENVS_MAX];
	int rc = enter(s, READING, e);

	(void)scope, (void)c;
	if (rc)
		return leave(s, rc);
	for (size_t i = 0; i < s->n_envs; i++)
		items[i] = make_env(&s->envs[i]);
	*out = must(env_list_take(items, s->n_envs));
	return leave(s, 0);
}

static int list_versions(struct source *source, struct scope *scope, const char *name,
			 struct call *c, struct version_list **out, struct err *e)
{
	struct service *s = FROM(source);
	struct version *items[VERSIONS_MAX];
	struct service_env *env;
	int rc = enter(s, READING, e);

	(void)scope, (void)c;
	env = rc ? NULL : service_find_env(s, name);
	if (!env)
		return leave(s, rc ? rc : missing(e, name));
	for (size_t i = 0; i < env->n; i++)
		items[i] = must(version_new(env->versions[i]));
	*out = must(version_list_take(items, env->n));
	return leave(s, 0);
}

static int get_version(struct source *source, struct scope *scope, const char *env,
		       const char *version, struct call *c, struct version **out, struct err *e)
{
	struct service *s = FROM(source);
	struct version **at;
	int rc = enter(s, LOOKING, e);

	(void)scope, (void)c;
	at = rc ? NULL : service_find_version(service_find_env(s, env), version);
	if (!at)
		return leave(s, rc ? rc : missing(e, version));
	*out = must(version_new(*at));
	return leave(s, 0);
}

static int list_context(struct source *source, struct scope *scope, struct version *v,
			struct call *c, struct context **out, struct err *e)
{
	struct service *s = FROM(source);
	struct context_file files[FILES_MAX];
	struct context fields = {.uri = v->context_uri, .files = files};
	const struct service_context *from;
	int rc = enter(s, READING, e);

	(void)scope, (void)c;
	from = rc ? NULL : service_find_context(s, v->context_uri);
	if (!from)
		return leave(s, rc ? rc : missing(e, "such context"));
	for (size_t i = 0; i < from->n; i++)
		files[i] = (struct context_file){.path = from->files[i].path,
						 .path_len = strlen(from->files[i].path),
						 .size = from->files[i].len,
						 .etag = "1"};
	fields.n_files = from->n;
	*out = must(context_new(&fields));
	return leave(s, 0);
}

static const struct service_file *file_of(const struct service_context *from, const char *path)
{
	for (size_t i = 0; from && i < from->n; i++)
		if (strcmp(from->files[i].path, path) == 0)
			return &from->files[i];
	return NULL;
}

static int read_context(struct source *source, struct scope *scope, struct context *ctx,
			const struct context_file *file, uint64_t offset, size_t len,
			struct call *c, struct buf *out, struct err *e)
{
	struct service *s = FROM(source);
	const struct service_file *f;
	int rc = enter(s, READING, e);

	(void)scope, (void)c;
	f = rc ? NULL : file_of(service_find_context(s, ctx->uri), file->path);
	if (!f)
		return leave(s, rc ? rc : missing(e, file->path));
	if (offset < f->len)
		rc = buf_add(out, f->text + offset,
			     len < f->len - offset ? len : f->len - (size_t)offset);
	return leave(s, rc);
}

/* ---- writing ---- */

static int create_workspace(struct source *s, const char *name, struct call *c, struct scope **out,
			    struct err *e)
{
	(void)s, (void)c, (void)out;
	return err_set(e, -EPERM, "the workspace %s can't be made", name);
}

static int read_file(const struct upload_file *from, struct service_file *to)
{
	char *text = must(malloc(from->size + 1));
	ssize_t n = from->size < FILE_MAX ? pread(from->fd, text, from->size, 0) : -1;

	*to = (struct service_file){.path = from->path, .text = text, .len = from->size};
	return n < 0 || (uint64_t)n != from->size ? -EIO : 0;
}

static int upload_context(struct source *source, struct scope *scope, const char *env,
			  const char *version, const struct upload_file *files, size_t n,
			  struct call *c, char **uri, struct err *e)
{
	struct service *s = FROM(source);
	struct service_file *texts = must(calloc(n, sizeof(*texts)));
	int rc = enter(s, UPLOADING, e);

	(void)scope, (void)env, (void)version, (void)c;
	for (size_t i = 0; !rc && i < n; i++)
		rc = read_file(&files[i], &texts[i]);
	if (!rc)
		*uri = must(strdup(service_store_context(s, texts, n)));
	for (size_t i = 0; i < n; i++)
		free((char *)texts[i].text);
	free(texts);
	return leave(s, rc);
}

/* The service compares what it would store. */
static bool same_as_stored(const struct version *stored, const struct version *v)
{
	_cleanup_free_ char *conda = service_conda(v->conda);
	struct version fields = *v;

	fields.conda = conda;
	return version_same_content(stored, &fields);
}

static int put_version(struct source *source, struct scope *scope, const struct version *v,
		       struct call *c, struct version **out, struct err *e)
{
	struct service *s = FROM(source);
	struct version **at;
	int rc = enter(s, PUTTING, e);

	(void)scope, (void)c;
	if (rc)
		return leave(s, rc);
	at = service_find_version(service_find_env(s, v->env), v->version);
	if (at && !same_as_stored(*at, v))
		return leave(s, err_set(e, -EEXIST, "version %s exists", v->version));
	if (!at) {
		service_store(s, v);
		s->counts.puts++;
		at = service_find_version(service_find_env(s, v->env), v->version);
	}
	if (s->fault == FAULT_LOST)
		return leave(s, err_set(e, -ETIMEDOUT, "the answer was lost"));
	*out = must(version_new(*at));
	return leave(s, 0);
}

static int change_tag(struct kv *tags, size_t *n, const struct tag_change *t)
{
	size_t i = 0;

	while (i < *n && strcmp(tags[i].key, t->key) != 0)
		i++;
	if (i == *n && (!t->value || t->flags & TAG_REPLACE))
		return -ENODATA;
	if (i < *n && t->flags & TAG_CREATE)
		return -EEXIST;
	if (i == *n)
		must(++*n <= TAGS_MAX ? tags : NULL);
	if (t->value)
		tags[i] = (struct kv){t->key, t->value};
	else
		memmove(&tags[i], &tags[i + 1], (--*n - i) * sizeof(*tags));
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
		fields.description =
			change->description && change->description[0] ? change->description : NULL;
	if (change->archived >= 0)
		fields.archived = change->archived;
	*at = must(version_new(&fields));
	version_unref(old);
	return 0;
}

void service_tag(struct service *s, const char *env, const char *version, const char *key,
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
	struct version **at;

	pthread_mutex_lock(&s->lock);
	at = service_find_version(service_find_env(s, env), version);
	if (at && apply(at, &change))
		fprintf(stderr, "service: %s has no tag %s\n", version, key);
	pthread_mutex_unlock(&s->lock);
}

static int update_version(struct source *source, struct scope *scope, const char *env,
			  const char *version, const struct version_change *change, struct call *c,
			  struct version **out, struct err *e)
{
	struct service *s = FROM(source);
	struct version **at, *before;
	int rc = enter(s, CHANGING, e);

	(void)scope, (void)c;
	at = rc ? NULL : service_find_version(service_find_env(s, env), version);
	if (!at)
		return leave(s, rc ? rc : missing(e, version));
	before = version_ref(*at);
	rc = apply(at, change);
	if (rc)
		err_set(e, rc, "the tag: %s", strerror(-rc));
	else
		*out = must(version_new(*at));
	s->counts.updates += !version_equal(before, *at);
	version_unref(before);
	return leave(s, rc);
}

static int update_env(struct source *source, struct scope *scope, const char *name, bool archived,
		      struct call *c, struct env **out, struct err *e)
{
	struct service *s = FROM(source);
	struct service_env *env;
	int rc = enter(s, CHANGING, e);

	(void)scope, (void)c;
	env = rc ? NULL : service_find_env(s, name);
	if (!env)
		return leave(s, rc ? rc : missing(e, name));
	env->archived = archived;
	s->counts.updates++;
	*out = make_env(env);
	return leave(s, 0);
}

static int delete_version(struct source *source, struct scope *scope, const char *env,
			  const char *version, struct call *c, struct err *e)
{
	struct service *s = FROM(source);
	int rc = enter(s, CHANGING, e);

	(void)scope, (void)c;
	if (!rc)
		s->counts.deletes += service_take_out(s, env, version);
	return leave(s, rc);
}

static int delete_env(struct source *source, struct scope *scope, const char *env, struct call *c,
		      struct err *e)
{
	struct service *s = FROM(source);
	int rc = enter(s, CHANGING, e);

	(void)scope, (void)c;
	if (!rc)
		s->counts.deletes += service_take_out_env(s, env);
	return leave(s, rc);
}

static void stop(struct source *s)
{
	(void)s; /* nothing waits in here */
}

static void keep(struct source *s)
{
	(void)s; /* the test frees it */
}

const struct source_ops service_ops = {
	.list_scopes = list_scopes,
	.list_envs = list_envs,
	.list_versions = list_versions,
	.get_version = get_version,
	.list_context = list_context,
	.read_context = read_context,
	.create_workspace = create_workspace,
	.upload_context = upload_context,
	.put_version = put_version,
	.update_version = update_version,
	.update_env = update_env,
	.delete_version = delete_version,
	.delete_env = delete_env,
	.stop = stop,
	.free = keep,
};
