/*
 * everything - asks all that the client can ask of a service, so that a test can look at the
 * requests: everything ENDPOINT REGISTRY. The token is in EVERYTHING_TOKEN. Prints a line for each
 * method of struct source, "sources scope method result", and ends with status 0.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/arm.h"
#include "client/blob.h"
#include "client/buf.h"
#include "client/clock.h"
#include "client/image.h"
#include "client/log.h"

#define SUBSCRIPTION "00000000-0000-0000-0000-000000000000"
#define GROUP        "local"
#define KEPT         "kept"
#define CONDA        "channels:\n- conda-forge\ndependencies:\n- python=3.11\n"

enum { DEADLINE_S = 60, POLL_MS = 20, LARGE = BLOB_PART_MAX + 1, FILES = 2, TOKEN_MAX = 4096 };

/* One way to come to scopes, and a scope that was found. */
struct asker {
	const char *sources;
	struct source *source;
	struct scope *scope;
	struct call call;
};

static void report(const struct asker *a, const char *method, int rc, const struct err *e)
{
	printf("%s %s %s %d\n", a->sources, a->scope ? a->scope->name : "-", method, rc);
	if (rc)
		fprintf(stderr, "%s: %s\n", method, err_text(e, rc));
}

/* ---- contexts ---- */

static int make_file(size_t size, char fill)
{
	char *bytes = malloc(size);
	int fd = memfd_create("file", MFD_CLOEXEC);

	if (!bytes || fd < 0)
		abort();
	memset(bytes, fill, size);
	if (write(fd, bytes, size) != (ssize_t)size)
		abort();
	free(bytes);
	return fd;
}

static struct context *context_of(struct asker *a, const char *env, const char *version)
{
	struct context *ctx = NULL;
	struct err e = ERR_INIT;
	struct version *v = NULL;
	int rc = a->source->ops->get_version(a->source, a->scope, env, version, &a->call, &v, &e);

	report(a, "get_version", rc, &e);
	if (!rc) {
		rc = a->source->ops->list_context(a->source, a->scope, v, &a->call, &ctx, &e);
		report(a, "list_context", rc, &e);
	}
	version_unref(v);
	return ctx;
}

/* A context with a large file that is like the one of from, where that is given. */
static char *upload(struct asker *a, const char *env, const char *version, char fill,
		    const struct context *from)
{
	struct upload_file files[FILES] = {{.path = "Dockerfile", .size = 1},
					   {.path = "large", .size = LARGE}};
	struct err e = ERR_INIT;
	char *uri = NULL;
	int rc;

	files[0].fd = make_file(1, fill);
	files[1].fd = make_file(LARGE, 'x');
	for (size_t i = 0; from && i < from->n_files; i++)
		if (strcmp(from->files[i].path, "large") == 0) {
			files[1].from = from;
			files[1].from_file = &from->files[i];
		}
	rc = a->source->ops->upload_context(a->source, a->scope, env, version, files, FILES,
					    &a->call, &uri, &e);
	report(a, "upload_context", rc, &e);
	close(files[0].fd);
	close(files[1].fd);
	return uri;
}

static void read_all(struct asker *a, const struct context *ctx)
{
	struct buf b = BUF_INIT(LARGE);
	struct err e = ERR_INIT;
	int rc = -ENOENT;

	if (ctx && ctx->n_files)
		rc = a->source->ops->read_context(a->source, a->scope, (struct context *)ctx,
						  &ctx->files[0], 0, 1, &a->call, &b, &e);
	report(a, "read_context", rc, &e);
	buf_free(&b);
}

/* ---- versions ---- */

static void put(struct asker *a, const char *env, const char *version, const char *uri)
{
	static const struct kv tags[] = {{"team", "ml"}};
	struct version fields = {.env = env,
				 .version = version,
				 .description = "all of it",
				 .tags = tags,
				 .n_tags = 1,
				 .os_type = "linux",
				 .context_uri = uri};
	struct version *v, *made = NULL;
	struct err e = ERR_INIT;
	int rc;

	if (uri) {
		fields.dockerfile_path = "Dockerfile";
	} else {
		fields.image = "docker.io/library/busybox:latest";
		fields.conda = CONDA;
		fields.liveness = fields.readiness = fields.scoring = (struct route){"/x", 80};
	}
	v = version_new(&fields);
	if (!v)
		abort();
	rc = a->source->ops->put_version(a->source, a->scope, v, &a->call, &made, &e);
	report(a, "put_version", rc, &e);
	version_unref(made);
	version_unref(v);
}

static void change(struct asker *a, const char *env)
{
	static const struct tag_change tags[] = {{"team", "other", 0}, {"new", "1", TAG_CREATE}};
	struct version_change what = VERSION_CHANGE_INIT;
	struct version *v = NULL;
	struct env *changed = NULL;
	struct err e = ERR_INIT;
	int rc;

	what.tags = tags;
	what.n_tags = 2;
	what.set_description = true;
	what.archived = 1;
	rc = a->source->ops->update_version(a->source, a->scope, env, "1", &what, &a->call, &v, &e);
	report(a, "update_version", rc, &e);
	version_unref(v);
	rc = a->source->ops->update_env(a->source, a->scope, env, true, &a->call, &changed, &e);
	report(a, "update_env", rc, &e);
	env_unref(changed);
}

static void list(struct asker *a, const char *env)
{
	struct version_list *versions = NULL;
	struct env_list *envs = NULL;
	struct err e = ERR_INIT;
	int rc = a->source->ops->list_envs(a->source, a->scope, &a->call, &envs, &e);

	report(a, "list_envs", rc, &e);
	env_list_unref(envs);
	rc = a->source->ops->list_versions(a->source, a->scope, env, &a->call, &versions, &e);
	report(a, "list_versions", rc, &e);
	version_list_unref(versions);
}

static void remove_all(struct asker *a, const char *env)
{
	struct err e = ERR_INIT;
	int rc = a->source->ops->delete_version(a->source, a->scope, env, "1", &a->call, &e);

	report(a, "delete_version", rc, &e);
	rc = a->source->ops->delete_env(a->source, a->scope, env, &a->call, &e);
	report(a, "delete_env", rc, &e);
}

/* ---- image builds ---- */

/* Asks until the build is over and its log is there; the log's place, to be freed, or NULL. */
static char *log_of(struct asker *a, const char *location)
{
	struct image_build b = {0};
	struct err e = ERR_INIT;
	int rc = -EOPNOTSUPP;
	char *log = NULL;

	while (location) {
		image_build_clear(&b);
		rc = a->source->ops->get_build(a->source, a->scope, location, &a->call, &b, &e);
		if (rc || (b.final && b.log) || call_check(&a->call))
			break;
		poll(NULL, 0, POLL_MS);
	}
	report(a, "get_build", rc, &e);
	if (!rc && b.log)
		log = strdup(b.log);
	image_build_clear(&b);
	return log;
}

static void read_log(struct asker *a, const char *log)
{
	struct buf b = BUF_INIT(IMAGE_LOG_PART_MAX);
	struct err e = ERR_INIT;
	uint64_t size = 0;
	int rc = -EOPNOTSUPP;

	if (log)
		rc = a->source->ops->read_log(a->source, a->scope, log, 0, IMAGE_LOG_PART_MAX,
					      &a->call, &b, &size, &e);
	report(a, "read_log", rc, &e);
	buf_free(&b);
}

static void look_for_image(struct asker *a, const char *env)
{
	struct version *v = NULL;
	struct image image = {0};
	struct err e = ERR_INIT;
	char *log = NULL;
	int rc = a->source->ops->get_version(a->source, a->scope, env, "1", &a->call, &v, &e);

	report(a, "get_version", rc, &e);
	if (rc)
		return;
	rc = a->source->ops->get_image(a->source, a->scope, v, &a->call, &image, &e);
	report(a, "get_image", rc, &e);
	rc = a->source->ops->expect_logs(a->source, a->scope, &a->call, &e);
	report(a, "expect_logs", rc, &e);
	(void)a->source->ops->no_log(a->source, a->scope, v);
	report(a, "no_log", 0, &e);
	rc = a->source->ops->find_log(a->source, a->scope, v, &a->call, &log, &e);
	report(a, "find_log", rc, &e);
	free(log);
	image_clear(&image);
	version_unref(v);
}

static void build(struct asker *a, const char *env)
{
	struct err e = ERR_INIT;
	char *location = NULL, *log;
	int rc =
		a->source->ops->start_build(a->source, a->scope, env, "1", &a->call, &location, &e);

	report(a, "start_build", rc, &e);
	log = log_of(a, location);
	read_log(a, log);
	rc = location ? a->source->ops->cancel_build(a->source, a->scope, location, &a->call, &e)
		      : -EOPNOTSUPP;
	report(a, "cancel_build", rc, &e);
	look_for_image(a, env);
	free(log);
	free(location);
}

static void tell(struct asker *a)
{
	struct cJSON *about = NULL;
	struct err e = ERR_INIT;

	report(a, "about", a->source->ops->about(a->source, &about), &e);
	cJSON_Delete(about);
}

static void ask_scope(struct asker *a)
{
	char env[64], *uri;
	struct context *ctx;

	snprintf(env, sizeof(env), "env-%s", a->sources);
	put(a, env, "1", NULL);
	uri = upload(a, env, "2", 'a', NULL);
	put(a, env, "2", uri);
	free(uri);
	ctx = context_of(a, env, "2");
	read_all(a, ctx);
	uri = upload(a, env, "3", 'b', ctx);
	put(a, env, "3", uri);
	free(uri);
	context_unref(ctx);
	list(a, env);
	build(a, env);
	tell(a);
	change(a, env);
	remove_all(a, env);
}

/* A version that stays: another source finds its context in another way. */
static void keep(struct asker *a)
{
	char *uri = upload(a, KEPT, "1", 'k', NULL);

	put(a, KEPT, "1", uri);
	free(uri);
}

/* ---- sources ---- */

static void make_workspace(struct asker *a)
{
	struct scope *made = NULL;
	struct err e = ERR_INIT;
	int rc = a->source->ops->create_workspace(a->source, "made-here", &a->call, &made, &e);

	report(a, "create_workspace", rc, &e);
	scope_unref(made);
}

/* Asks for all scopes, and everything of the one called wanted. */
static void ask(const char *sources, struct arm_conf *conf, const char *wanted)
{
	struct asker a = {.sources = sources};
	struct scope_list *scopes = NULL;
	struct err e = ERR_INIT;
	int rc;

	if (arm_source_new(conf, &a.source, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	call_init(&a.call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = a.source->ops->list_scopes(a.source, &a.call, &scopes, &e);
	report(&a, "list_scopes", rc, &e);
	if (conf->create_group)
		make_workspace(&a);
	a.scope = rc ? NULL : scope_list_find(scopes, wanted);
	if (a.scope)
		ask_scope(&a);
	if (a.scope && conf->n_registries)
		keep(&a);
	else if (a.scope && conf->list_registries)
		context_unref(context_of(&a, KEPT, "1"));
	scope_list_unref(scopes);
	call_destroy(&a.call);
	source_free(a.source);
}

int main(int argc, char **argv)
{
	const char *token = getenv("EVERYTHING_TOKEN");
	struct arm_conf conf = {.subscription = SUBSCRIPTION};
	struct err e = ERR_INIT;

	if (argc != 3 || !token ||
	    credential_static_new(token, strnlen(token, TOKEN_MAX), &conf.credential, &e)) {
		fprintf(stderr, "usage: everything ENDPOINT REGISTRY\n");
		return 2;
	}
	log_set_level(LOG_LEVEL_ERROR);
	conf.endpoint = argv[1];
	conf.subscription = NULL;
	conf.registries = (const char *const *)&argv[2];
	conf.n_registries = 1;
	ask("discovery", &conf, argv[2]);
	conf.subscription = SUBSCRIPTION;
	conf.n_registries = 0;
	conf.create_group = GROUP;
	ask("subscription", &conf, "local");
	conf.create_group = NULL;
	conf.list_registries = true;
	ask("registries", &conf, argv[2]);
	conf.list_registries = false;
	conf.resource_group = GROUP;
	ask("group", &conf, "local");
	conf.workspace = "local";
	ask("workspace", &conf, "local");
	credential_free(conf.credential);
	return 0;
}
