#include "client/arm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/clock.h"
#include "client/datastore.h"
#include "client/limiter.h"
#include "client/operations.h"
#include "client/turns.h"

enum { BACKOFF_MS = 250 };

/* Where each cloud's registry discovery is; any region's would do, the SDK asks these. */
static const struct {
	const char *endpoint_host;
	const char *discovery;
} clouds[] = {
	{"management.azure.com", "https://eastus.api.azureml.ms"},
	{"management.chinacloudapi.cn", "https://chinaeast2.api.ml.azure.cn"},
	{"management.usgovcloudapi.net", "https://usgovarizona.api.ml.azure.us"},
};

static void arm_stop(struct source *s)
{
	limiter_stop(arm_of(s)->limiter);
	http_stop(arm_of(s)->http);
	credential_stop(arm_of(s)->credential);
}

static void arm_free(struct source *s)
{
	struct arm *a = arm_of(s);

	http_free(a->http);
	datastores_free(a->datastores);
	completions_free(a->completions);
	registries_free(a->known_registries);
	regions_free(a->regions);
	image_logs_free(a->image_logs);
	turns_free(a->turns);
	apiversion_free(a->api_version);
	limiter_free(a->limiter);
	operations_free(a->operations);
	url_clear(&a->origin);
	for (size_t i = 0; i < a->n_registries; i++)
		free(a->registries[i]);
	free(a->registries);
	free(a->endpoint);
	free(a->subscription);
	free(a->resource_group);
	free(a->create_group);
	free(a->workspace);
	free(a->discovery_host);
	free(a);
}

static const struct source_ops arm_ops = {
	.list_scopes = arm_list_scopes,
	.list_envs = arm_list_envs,
	.list_versions = arm_list_versions,
	.get_version = arm_get_version,
	.list_context = arm_list_context,
	.read_context = arm_read_context,
	.create_workspace = arm_create_workspace,
	.upload_context = arm_upload_context,
	.put_version = arm_put_version,
	.update_version = arm_update_version,
	.update_env = arm_update_env,
	.delete_version = arm_delete_version,
	.delete_env = arm_delete_env,
	.about = arm_about,
	.start_build = arm_start_build,
	.get_build = arm_get_build,
	.cancel_build = arm_cancel_build,
	.read_log = arm_read_log,
	.get_image = arm_get_image,
	.find_log = arm_find_log,
	.expect_logs = arm_expect_logs,
	.no_log = arm_no_log,
	.stop = arm_stop,
	.free = arm_free,
};

static int copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

/* A base URL without the slashes at its end. */
static int copy_base(char **to, const char *url)
{
	size_t n = strlen(url);

	while (n && url[n - 1] == '/')
		n--;
	*to = strndup(url, n);
	return *to ? 0 : -ENOMEM;
}

static int copy_registries(struct arm *a, const struct arm_conf *conf)
{
	a->registries = calloc(conf->n_registries + 1, sizeof(*a->registries));
	if (!a->registries)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_registries; i++) {
		if (copy(&a->registries[i], conf->registries[i]))
			return -ENOMEM;
		a->n_registries++;
	}
	return 0;
}

static const char *default_discovery(const struct arm *a)
{
	for (size_t i = 0; i < sizeof(clouds) / sizeof(*clouds); i++)
		if (strcmp(a->origin.host, clouds[i].endpoint_host) == 0)
			return clouds[i].discovery;
	return a->endpoint;
}

static int copy_conf(struct arm *a, const struct arm_conf *conf)
{
	const char *discovery = conf->discovery_host ? conf->discovery_host : default_discovery(a);

	if (copy(&a->subscription, conf->subscription) ||
	    copy(&a->resource_group, conf->resource_group) ||
	    copy(&a->workspace, conf->workspace) || copy(&a->create_group, conf->create_group) ||
	    copy_base(&a->discovery_host, discovery) || copy_registries(a, conf))
		return -ENOMEM;
	a->credential = conf->credential;
	a->list_registries = conf->list_registries;
	a->backoff = conf->backoff ? conf->backoff : BACKOFF_MS * NS_PER_MS;
	return 0;
}

static int set_endpoint(struct arm *a, const struct arm_conf *conf, struct err *e)
{
	const char *endpoint = conf->endpoint ? conf->endpoint : ARM_ENDPOINT;
	int rc = url_parse(endpoint, &a->origin, e);

	if (rc)
		return err_prefix(e, rc == -EBADMSG ? -EINVAL : rc, "the ARM endpoint: ");
	if (a->origin.query)
		return err_set(e, -EINVAL, "the ARM endpoint has a query");
	if (!a->origin.https && !conf->unix_socket && !url_is_loopback(&a->origin))
		return err_set(e, -EINVAL,
			       "the ARM endpoint %s is neither https nor on this machine: the "
			       "access token would go there in the clear",
			       a->origin.host);
	return copy_base(&a->endpoint, endpoint) ? err_set(e, -ENOMEM, "no memory") : 0;
}

static int check_conf(const struct arm_conf *conf, struct err *e)
{
	if (!conf->credential)
		return err_set(e, -EINVAL, "no credential");
	if (conf->workspace && (!conf->resource_group || !conf->subscription))
		return err_set(e, -EINVAL, "a workspace needs a subscription and resource group");
	if (conf->resource_group && !conf->subscription)
		return err_set(e, -EINVAL, "a resource group needs a subscription");
	if (conf->api_version &&
	    (!*conf->api_version || strlen(conf->api_version) >= APIVERSION_SIZE))
		return err_set(e, -EINVAL, "the api-version is not a date");
	return 0;
}

static int start_http(struct arm *a, const struct arm_conf *conf, struct err *e)
{
	struct buf origin = BUF_INIT(URL_HOST_MAX + 32);
	struct http_conf hc = {
		.unix_socket = conf->unix_socket,
		.ca_file = conf->ca_file,
		.user_agent = conf->user_agent,
		.max_transfers = conf->max_connections,
		.connect_timeout = conf->connect_timeout,
		.backoff = conf->backoff,
	};
	int rc = url_add_origin(&origin, &a->origin);

	hc.socket_origin = buf_str(&origin);
	rc = rc ? err_set(e, rc, "no memory") : http_new(&hc, &a->http, e);
	buf_free(&origin);
	return rc;
}

int arm_source_new(const struct arm_conf *conf, struct source **out, struct err *e)
{
	struct arm *a;
	int rc = check_conf(conf, e);

	if (rc)
		return rc;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "no memory");
	a->source.ops = &arm_ops;
	rc = set_endpoint(a, conf, e);
	if (!rc && (copy_conf(a, conf) || datastores_new(&a->datastores) ||
		    completions_new(&a->completions) || registries_new(&a->known_registries) ||
		    regions_new(&a->regions) || image_logs_new(&a->image_logs) ||
		    turns_new(&a->turns) || apiversion_new(conf->api_version, &a->api_version) ||
		    limiter_new(&a->limiter) || operations_new(&a->operations)))
		rc = err_set(e, -ENOMEM, "no memory");
	if (!rc)
		rc = start_http(a, conf, e);
	if (rc) {
		arm_free(&a->source);
		return rc;
	}
	*out = &a->source;
	return 0;
}
