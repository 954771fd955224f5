#include "fs/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "client/arm.h"
#include "client/cleanup.h"
#include "client/credential.h"
#include "emulator/emu.h"
#include "fs/paths.h"
#include "fs/sockdir.h"

static const char AZURE_ENDPOINT[] = "https://management.azure.com";
static const char EMBEDDED_URL[] = "http://localhost";
static const char TOKEN_VARIABLE[] = "AZURE_ACCESS_TOKEN";
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

/* Takes the token out of the environment, so that no child and no /proc/PID/environ has it. */
static int take_token(struct credential **out, struct err *e)
{
	char *token = getenv(TOKEN_VARIABLE);
	size_t len = token ? strlen(token) : 0;
	int rc;

	if (!token)
		return credential_none_new(out, e);
	/* From here on a core dump would hold it. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set(e, -errno, "core dumps can't be switched off");
	rc = credential_static_new(token, len, out, e);
	explicit_bzero(token, len);
	unsetenv(TOKEN_VARIABLE);
	return rc;
}

static const char *endpoint_of(const struct options *o, const struct source_uri *uri)
{
	if (o->arm_endpoint)
		return o->arm_endpoint;
	return uri->embedded ? EMBEDDED_URL : AZURE_ENDPOINT;
}

static const char *subscription_of(const struct options *o, const struct source_uri *uri)
{
	const char *id = getenv("AZURE_SUBSCRIPTION_ID");

	if (uri->subscription)
		return uri->subscription;
	if (uri->registry || (uri->embedded && !o->arm_endpoint))
		return uri->registry ? NULL : EMU_SUBSCRIPTION;
	return id && *id ? id : EMU_SUBSCRIPTION;
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

static int open_source(struct backend *b, const struct options *o, const struct source_uri *uri,
		       struct err *e)
{
	const char *names[OPTIONS_REGISTRIES_MAX + 2];
	struct arm_conf conf = {
		.endpoint = endpoint_of(o, uri),
		.unix_socket = b->sockdir ? sockdir_socket(b->sockdir) : NULL,
		.credential = b->credential,
		.subscription = subscription_of(o, uri),
		.resource_group = uri->resource_group,
		.workspace = uri->workspace,
		.api_version = o->api_version,
		.max_connections = o->max_requests,
		.create_group = uri->embedded ? EMU_RESOURCE_GROUP : NULL,
		.list_registries = uri->embedded,
	};

	conf.registries = names;
	conf.n_registries = collect_registries(o, uri, names);
	return arm_source_new(&conf, &b->source, e);
}

static int set_identity(struct backend *b, const struct options *o, const struct source_uri *uri)
{
	const char *subscription = subscription_of(o, uri);

	if (asprintf(&b->identity, "%s %s", endpoint_of(o, uri),
		     subscription ? subscription : "") >= 0)
		return 0;
	b->identity = NULL;
	return -ENOMEM;
}

/* Names have no line ends. */
static int set_view(struct backend *b, const struct options *o, const struct source_uri *uri)
{
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
static int describe(struct backend *b, const struct options *o, const struct source_uri *uri)
{
	const char *subscription = subscription_of(o, uri);
	cJSON *root = cJSON_CreateObject();
	bool ok = root != NULL;

	ok = ok && cJSON_AddStringToObject(root, "source", o->source ? o->source : "embedded");
	ok = ok && cJSON_AddStringToObject(root, "endpoint", endpoint_of(o, uri));
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

int backend_open(const struct options *o, struct backend **out, struct err *e)
{
	struct backend *b = calloc(1, sizeof(*b));
	struct source_uri uri = {0};
	int rc = b ? source_uri_parse(o->source, &uri, e) : -ENOMEM;

	*out = NULL;
	if (!rc && uri.embedded && !o->arm_endpoint)
		rc = start_embedded(b, o, e);
	else if (!rc)
		rc = set_local_dir(b, "/tmp/");
	if (!rc && !b->identity)
		rc = set_identity(b, o, &uri);
	if (!rc)
		rc = set_view(b, o, &uri);
	if (!rc)
		rc = take_token(&b->credential, e);
	if (!rc)
		rc = open_source(b, o, &uri, e);
	if (!rc)
		rc = describe(b, o, &uri);
	source_uri_clear(&uri);
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

int backend_connect(const char *status_json, struct source **out, struct credential **cred,
		    struct err *e)
{
	cJSON *root = cJSON_Parse(status_json);
	struct arm_conf conf = {0};
	int rc;

	*cred = NULL;
	if (!root)
		return err_set(e, -EBADMSG, "the mount's status can't be understood");
	rc = take_token(cred, e);
	conf.endpoint = member(root, "endpoint");
	conf.unix_socket = member(root, "socket");
	conf.subscription = member(root, "subscription");
	conf.credential = *cred;
	if (!rc && !conf.endpoint)
		rc = err_set(e, -EBADMSG, "the mount's status names no endpoint");
	if (!rc)
		rc = arm_source_new(&conf, out, e);
	if (rc) {
		credential_free(*cred);
		*cred = NULL;
	}
	cJSON_Delete(root);
	return rc;
}
