#include "fs/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "client/arm.h"
#include "client/auth.h"
#include "client/cleanup.h"
#include "client/credential.h"
#include "emulator/emu.h"
#include "fs/paths.h"
#include "fs/settings.h"
#include "fs/sockdir.h"

static const char EMBEDDED_URL[] = "http://localhost";
static const char SYSTEM_REGISTRY[] = "azureml";

struct backend {
	struct emu *emu;
	struct sockdir *sockdir;
	struct credential *credential;
	struct source *source;
	char *about;
	char *local_dir;
	char *identity;
	char *view;
};

/* ---- files ---- */

static int set_local_dir(struct backend *b, const char *store)
{
	const char *slash = strrchr(store, '/');

	b->local_dir = slash && slash != store ? strndup(store, (size_t)(slash - store))
					       : strdup(slash ? "/" : ".");
	return b->local_dir ? 0 : -ENOMEM;
}

/* ---- the embedded service ---- */

static int make_socket_dir(struct backend *b, struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	return sockdir_new(run && run[0] == '/' ? run : "/tmp", &b->sockdir, e);
}

static int start_embedded(struct backend *b, const struct options *o, struct err *e)
{
	_cleanup_free_ char *store = o->store ? strdup(o->store) : paths_store();
	struct emu_conf conf = {.builder = o->builder};
	int rc = store ? set_local_dir(b, store) : -ENOMEM;

	if (rc)
		return rc;
	rc = paths_make_parents(store);
	if (rc)
		return err_set(e, rc, "the directory %s for the embedded service can't be made: %s",
			       b->local_dir, strerror(-rc));
	conf.store = store;
	b->identity = strdup(store);
	if (!b->identity)
		return -ENOMEM;
	rc = emu_new(&conf, &b->emu, e);
	if (!rc)
		rc = make_socket_dir(b, e);
	return rc ? rc : emu_listen_unix(b->emu, sockdir_socket(b->sockdir), e);
}

/* ---- the endpoint ---- */

static const char *endpoint_of(const struct settings *s)
{
	return s->endpoint ? s->endpoint : EMBEDDED_URL;
}

static int sign_in(struct backend *b, const struct options *o, const struct auth_env *env,
		   const struct settings *s, struct err *e)
{
	_cleanup_free_ char *login_file = paths_login();
	struct auth_conf conf = settings_auth(s, o, env, login_file);

	if (!login_file)
		return -ENOMEM;
	return auth_new(&conf, env, &b->credential, e);
}

static size_t collect_registries(const struct options *o, const struct source_uri *uri,
				 const char *names[OPTIONS_REGISTRIES_MAX + 2])
{
	size_t n = 0;

	if (uri->registry)
		names[n++] = uri->registry;
	else
		names[n++] = SYSTEM_REGISTRY;
	for (size_t i = 0; i < o->n_registries; i++)
		names[n++] = o->registries[i];
	return n;
}

static int open_source(struct backend *b, const struct options *o, const struct settings *s,
		       struct err *e)
{
	const struct source_uri *uri = &s->uri;
	const char *names[OPTIONS_REGISTRIES_MAX + 2];
	struct arm_conf conf = {
		.endpoint = endpoint_of(s),
		.unix_socket = b->sockdir ? sockdir_socket(b->sockdir) : NULL,
		.credential = b->credential,
		.subscription = s->uri.subscription,
		.resource_group = uri->resource_group,
		.workspace = uri->workspace,
		.api_version = o->api_version,
		.ca_file = o->cafile,
		.max_connections = o->max_requests,
		.create_group = uri->embedded ? EMU_RESOURCE_GROUP : NULL,
		.list_registries = uri->embedded,
	};

	conf.registries = names;
	conf.n_registries = collect_registries(o, uri, names);
	return arm_source_new(&conf, &b->source, e);
}

static int set_identity(struct backend *b, const struct settings *s)
{
	const char *subscription = s->uri.subscription;

	if (asprintf(&b->identity, "%s %s", endpoint_of(s), subscription ? subscription : "") >= 0)
		return 0;
	b->identity = NULL;
	return -ENOMEM;
}

/* Names have no line ends. */
static int set_view(struct backend *b, const struct options *o, const struct settings *s)
{
	const struct source_uri *uri = &s->uri;
	const char *names[OPTIONS_REGISTRIES_MAX + 2];
	size_t n = collect_registries(o, uri, names), len;
	FILE *f = open_memstream(&b->view, &len);

	if (!f)
		return -ENOMEM;
	fprintf(f, "%s\n%s\n%s\n", uri->registry ? "registry" : "subscription",
		uri->resource_group ? uri->resource_group : "",
		uri->workspace ? uri->workspace : "");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\n", names[i]);
	return fclose(f) ? -ENOMEM : 0;
}

/* What `status` shows and `import` connects with. */
static int describe(struct backend *b, const struct options *o, const struct settings *s)
{
	const char *subscription = s->uri.subscription;
	cJSON *root = cJSON_CreateObject();
	bool ok = root != NULL;

	ok = ok && cJSON_AddStringToObject(root, "source", o->source ? o->source : "embedded");
	ok = ok && cJSON_AddStringToObject(root, "endpoint", endpoint_of(s));
	if (ok && s->endpoint)
		ok = cJSON_AddStringToObject(root, "cloud", s->cloud->name) &&
		     cJSON_AddStringToObject(root, "credential", auth_kind_name(o->credential));
	if (ok && o->cafile)
		ok = cJSON_AddStringToObject(root, "cafile", o->cafile);
	if (ok && b->sockdir)
		ok = cJSON_AddStringToObject(root, "socket", sockdir_socket(b->sockdir));
	if (ok && subscription)
		ok = cJSON_AddStringToObject(root, "subscription", subscription);
	if (ok && b->emu)
		ok = cJSON_AddStringToObject(root, "store_directory", b->local_dir);
	ok = ok && cJSON_AddNumberToObject(root, "refresh_s", o->refresh);
	b->about = ok ? cJSON_PrintUnformatted(root) : NULL;
	cJSON_Delete(root);
	return b->about ? 0 : -ENOMEM;
}

/* The parts, in the order in which they need each other. */
static int open_parts(struct backend *b, const struct options *o, const struct auth_env *env,
		      const struct settings *s, struct err *e)
{
	int rc = s->endpoint ? set_local_dir(b, "/tmp/") : start_embedded(b, o, e);

	if (!rc && !b->identity)
		rc = set_identity(b, s);
	if (!rc)
		rc = set_view(b, o, s);
	if (!rc)
		rc = sign_in(b, o, env, s, e);
	if (!rc)
		rc = open_source(b, o, s, e);
	return rc ? rc : describe(b, o, s);
}

int backend_open(const struct options *o, struct backend **out, struct err *e)
{
	struct backend *b = calloc(1, sizeof(*b));
	struct settings s = {0};
	struct auth_env env = {0};
	int rc = b ? auth_env_take(&env, e) : -ENOMEM;

	*out = NULL;
	if (!rc)
		rc = settings_resolve(o, &env, &s, e);
	if (!rc)
		rc = open_parts(b, o, &env, &s, e);
	settings_clear(&s);
	auth_env_clear(&env);
	if (rc) {
		backend_close(b);
		return e && e->msg[0] ? rc : err_set(e, rc, "%s", strerror(-rc));
	}
	*out = b;
	return 0;
}

struct source *backend_source(struct backend *b)
{
	return b->source;
}

const char *backend_about(const struct backend *b)
{
	return b->about;
}

const char *backend_identity(const struct backend *b)
{
	return b->identity;
}

const char *backend_view(const struct backend *b)
{
	return b->view;
}

bool backend_is_embedded(const struct backend *b)
{
	return b->emu != NULL;
}

const char *backend_local_dir(const struct backend *b)
{
	return b->local_dir;
}

void backend_close(struct backend *b)
{
	if (!b)
		return;
	source_free(b->source);
	credential_free(b->credential);
	emu_free(b->emu);
	sockdir_free(b->sockdir);
	free(b->local_dir);
	free(b->identity);
	free(b->view);
	free(b->about);
	free(b);
}

/* ---- from another process ---- */

static const char *member(const cJSON *root, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
}

/* The options of the mount that say who it is to the service. */
static int options_of(const cJSON *root, struct options *o, struct err *e)
{
	const char *credential = member(root, "credential"), *cloud = member(root, "cloud");
	const char *cafile = member(root, "cafile");

	options_init(o);
	o->arm_endpoint = strdup(member(root, "endpoint"));
	o->source = strdup(member(root, "source") ? member(root, "source") : "embedded");
	o->cloud = cloud ? strdup(cloud) : NULL;
	o->cafile = cafile ? strdup(cafile) : NULL;
	if (!o->arm_endpoint || !o->source || (cloud && !o->cloud) || (cafile && !o->cafile))
		return -ENOMEM;
	if (credential && auth_kind_parse(credential, &o->credential))
		return err_set(e, -EBADMSG, "the mount's status can't be understood");
	return 0;
}

static int settings_of(const cJSON *root, const struct options *o, struct settings *s,
		       struct err *e)
{
	const char *subscription = member(root, "subscription");
	int rc = source_uri_parse(o->source, &s->uri, e);

	if (rc)
		return rc;
	s->cloud = o->cloud ? cloud_by_name(o->cloud) : NULL;
	if (subscription) {
		free(s->uri.subscription);
		s->uri.subscription = strdup(subscription);
		if (!s->uri.subscription)
			return -ENOMEM;
	}
	return settings_find_cli_subscription(s, e);
}

/* Signs in as the mount does; the environment may have changed since. */
static int connect_as(const cJSON *root, bool mine, struct credential **cred, struct err *e)
{
	_cleanup_free_ char *login_file = paths_login();
	struct settings s = {0};
	struct auth_env env = {0};
	struct auth_conf conf;
	struct options o;
	int rc = options_of(root, &o, e);

	if (!mine)
		o.credential = AUTH_DEFAULT;
	if (!rc)
		rc = settings_of(root, &o, &s, e);
	if (!rc)
		rc = login_file ? auth_env_take(&env, e) : -ENOMEM;
	if (!rc) {
		conf = settings_auth(&s, &o, &env, login_file);
		if (!mine && !auth_env_get(&env, AUTH_ACCESS_TOKEN))
			conf.kind = AUTH_NONE;
		rc = auth_new(&conf, &env, cred, e);
	}
	auth_env_clear(&env);
	settings_clear(&s);
	options_clear(&o);
	return rc;
}

int backend_connect(const char *status_json, bool mine, struct source **out,
		    struct credential **cred, struct err *e)
{
	cJSON *root = cJSON_Parse(status_json);
	struct arm_conf conf = {0};
	int rc = 0;

	*cred = NULL;
	if (!root)
		return err_set(e, -EBADMSG, "the mount's status can't be understood");
	conf.endpoint = member(root, "endpoint");
	conf.unix_socket = member(root, "socket");
	conf.subscription = member(root, "subscription");
	conf.ca_file = member(root, "cafile");
	if (!conf.endpoint)
		rc = err_set(e, -EBADMSG, "the mount's status names no endpoint");
	if (!rc)
		rc = connect_as(root, mine, cred, e);
	conf.credential = *cred;
	if (!rc)
		rc = arm_source_new(&conf, out, e);
	if (rc) {
		credential_free(*cred);
		*cred = NULL;
	}
	cJSON_Delete(root);
	return rc;
}
