/*
 * Image builds: started, asked about and cancelled on the workspace's regional services, which ARM
 * itself knows nothing of (azureml-rest.md section 12).
 */
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"

enum { REGIONS_MAX = 4096 };

/* Where each cloud's regional services are, for a workspace that does not say it (section 15). */
static const struct {
	const char *endpoint_host;
	const char *suffix;
} clouds[] = {
	{"management.azure.com", ".api.azureml.ms"},
	{"management.chinacloudapi.cn", ".api.ml.azure.cn"},
	{"management.usgovcloudapi.net", ".api.ml.azure.us"},
};

/* ---- where a workspace's services are ---- */

/* The answer of one discovery; it does not change. */
struct region {
	char *discovery; /* URL */
	char *api;       /* base URL, without a slash at its end */
};

struct regions {
	pthread_mutex_t lock;
	/* protected by lock */
	void *tree;
	size_t n;
};

static int region_compare(const void *a, const void *b)
{
	return strcmp(((const struct region *)a)->discovery, ((const struct region *)b)->discovery);
}

static void region_free(void *p)
{
	struct region *r = p;

	if (!r)
		return;
	free(r->discovery);
	free(r->api);
	free(r);
}

int regions_new(struct regions **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void regions_free(struct regions *r)
{
	if (!r)
		return;
	tdestroy(r->tree, region_free);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static char *region_find(struct regions *r, const char *discovery)
{
	struct region key = {.discovery = (char *)(uintptr_t)discovery}, **found;
	char *api = NULL;

	pthread_mutex_lock(&r->lock);
	found = tfind(&key, &r->tree, region_compare);
	if (found)
		api = strdup((*found)->api);
	pthread_mutex_unlock(&r->lock);
	return api;
}

/* Only saves a request: without memory the next one asks again. */
static void region_put(struct regions *r, const char *discovery, const char *api)
{
	struct region *region = calloc(1, sizeof(*region)), **found;

	assert(api);
	if (region) {
		region->discovery = strdup(discovery);
		region->api = strdup(api);
	}
	if (!region || !region->discovery || !region->api) {
		region_free(region);
		return;
	}
	pthread_mutex_lock(&r->lock);
	found = r->n < REGIONS_MAX ? tsearch(region, &r->tree, region_compare) : NULL;
	if (found && *found == region) {
		r->n++;
		region = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	region_free(region);
}

/* The base URL out of {"api": ...}; our token will go there. */
static int take_api(struct arm *a, const cJSON *json, char **out, struct err *e)
{
	const char *api = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "api"));
	_cleanup_url_ struct url u = {0};
	size_t n = api ? strlen(api) : 0;

	if (!n || url_parse(api, &u, e) || u.query)
		return err_set(e, -EBADMSG, "the workspace's discovery names no services");
	if (!arm_may_ask(a, &u))
		return err_set(e, -EBADMSG,
			       "the workspace's discovery leads to %s, which is neither the "
			       "endpoint nor https",
			       u.host);
	while (n && api[n - 1] == '/')
		n--;
	*out = strndup(api, n);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for an address");
}

static int discover(struct arm *a, const char *url, struct call *c, char **out, struct err *e)
{
	cJSON *json = NULL;
	int rc;

	*out = region_find(a->regions, url);
	if (*out)
		return 0;
	rc = arm_get(a, url, c, &json, e);
	if (!rc)
		rc = take_api(a, json, out, e);
	cJSON_Delete(json);
	if (!rc)
		region_put(a->regions, url, *out);
	return rc;
}

/* Where the regional services are when the workspace does not say it. */
static int guess(const struct arm *a, const struct scope *s, char **out, struct err *e)
{
	for (size_t i = 0; i < sizeof(clouds) / sizeof(*clouds); i++) {
		struct buf url = BUF_INIT(URL_MAX);

		if (strcmp(a->origin.host, clouds[i].endpoint_host) != 0)
			continue;
		if (!s->location)
			return err_set(e, -EOPNOTSUPP, "the workspace's region is not known");
		buf_addstr(&url, "https://");
		url_add_segment(&url, s->location, strlen(s->location));
		buf_addstr(&url, clouds[i].suffix);
		*out = buf_steal(&url, NULL);
		buf_free(&url);
		return *out ? 0 : err_set(e, -ENOMEM, "no memory for an address");
	}
	*out = strdup(a->endpoint);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for an address");
}

static int api_of(struct arm *a, const struct scope *s, struct call *c, char **out, struct err *e)
{
	*out = NULL;
	if (s->kind != SCOPE_WORKSPACE)
		return err_set(e, -EOPNOTSUPP,
			       "%s is a registry: its images are built where its environments are "
			       "made",
			       s->name);
	return s->discovery_url ? discover(a, s->discovery_url, c, out, e) : guess(a, s, out, e);
}

/* "{api}/environment/{version}{W}/environments/{n}/versions/{v}/image" */
static int image_url(const char *api, const char *service, const struct scope *s, const char *env,
		     const char *version, struct buf *url, struct err *e)
{
	buf_addf(url, "%s/environment/%s/subscriptions", api, service);
	arm_add_segment(url, s->subscription);
	buf_addstr(url, "/resourceGroups");
	arm_add_segment(url, s->resource_group);
	buf_addstr(url, "/" ARM_PROVIDER "/workspaces");
	arm_add_segment(url, s->name);
	buf_addstr(url, "/environments");
	arm_add_segment(url, env);
	buf_addstr(url, "/versions");
	arm_add_segment(url, version);
	return buf_addstr(url, "/image") ? err_set(e, buf_error(url), "the image's URL is too long")
					 : 0;
}

/* ---- locations ---- */

/*
 * An operation as it is remembered: the path alone when it is at our endpoint, which may be reached
 * in another way next time.
 */
static int make_location(struct arm *a, const struct scope *s, const char *api, const char *url,
			 char **out, struct err *e)
{
	_cleanup_url_ struct url u = {0}, base = {0};
	_cleanup_buf_ struct buf path = BUF_INIT(URL_MAX);

	if (url_parse(url, &u, e))
		return err_prefix(e, -EBADMSG, "a build's location: ");
	if (url_same_origin(&u, &a->origin)) {
		buf_addf(&path, "%s%s%s", u.path, u.query ? "?" : "", u.query ? u.query : "");
		*out = buf_steal(&path, NULL);
	} else if (arm_may_poll(a, s, url) ||
		   (u.https && !url_parse(api, &base, NULL) && url_same_origin(&u, &base))) {
		*out = strdup(url);
	} else {
		return err_set(e, -EBADMSG,
			       "a build is said to be at %s, which is none of Azure "
			       "ML's services",
			       u.host);
	}
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for a build's location");
}

/* What was remembered may have been changed on the disk: it is as hostile as an answer. */
static int location_url(struct arm *a, const struct scope *s, const char *location, struct call *c,
			struct buf *url, struct err *e)
{
	_cleanup_url_ struct url u = {0}, base = {0};
	_cleanup_free_ char *api = NULL;
	bool ours;

	if (location[0] == '/')
		url_add_origin(url, &a->origin);
	buf_addstr(url, location);
	if (buf_error(url) || url_parse(buf_str(url), &u, e))
		return err_set(e, -EBADMSG, "a build's location is no address");
	ours = url_same_origin(&u, &a->origin) || arm_may_poll(a, s, buf_str(url));
	if (!ours && u.https && api_of(a, s, c, &api, NULL) == 0)
		ours = url_parse(api, &base, NULL) == 0 && url_same_origin(&u, &base);
	return ours ? 0
		    : err_set(e, -EACCES, "a build's location is at %s, which is not asked",
			      u.host);
}

/* ---- builds ---- */

static int take_location(struct arm *a, const struct scope *s, const char *api,
			 const struct http_response *r, char **out, struct err *e)
{
	const char *url = NULL;
	cJSON *json = NULL;
	int rc = 0;

	if (r->body.len)
		rc = asset_json_parse(buf_str(&r->body), r->body.len, &json, e);
	if (!rc && json)
		url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "location"));
	if (!rc && (!url || !*url))
		url = http_response_header(r, "Location");
	if (!rc)
		rc = url ? make_location(a, s, api, url, out, e)
			 : err_set(e, -EBADMSG, "the service does not say where the build is");
	cJSON_Delete(json);
	return rc;
}

int arm_start_build(struct source *source, struct scope *scope, const char *env,
		    const char *version, struct call *c, char **location, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_free_ char *api = NULL;
	struct arm *a = arm_of(source);
	struct arm_call q = {.method = "POST", .body = "{}"};
	struct http_response r = {0};
	int rc;

	*location = NULL;
	rc = api_of(a, scope, c, &api, e);
	if (!rc)
		rc = image_url(api, "v2.0", scope, env, version, &url, e);
	if (rc)
		return rc;
	q.url = buf_str(&url);
	rc = arm_perform(a, &q, c, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc)
		rc = take_location(a, scope, api, &r, location, e);
	http_response_clear(&r);
	return rc;
}

int arm_get_build(struct source *source, struct scope *scope, const char *location, struct call *c,
		  struct image_build *out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct arm_call q = {.method = "GET"};
	struct http_response r = {0};
	int rc = location_url(a, scope, location, c, &url, e);

	*out = (struct image_build){0};
	if (rc)
		return rc;
	q.url = buf_str(&url);
	rc = arm_perform(a, &q, c, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc)
		rc = image_build_parse(buf_str(&r.body), r.body.len, out, e);
	http_response_clear(&r);
	return rc;
}

/* Azure has no documented way; where the operation knows no DELETE, nothing can be done. */
int arm_cancel_build(struct source *source, struct scope *scope, const char *location,
		     struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct arm_call q = {.method = "DELETE"};
	struct http_response r = {0};
	int rc = location_url(a, scope, location, c, &url, e);

	if (rc)
		return rc;
	q.url = buf_str(&url);
	rc = arm_perform(a, &q, c, &r, e);
	if (!rc && (r.status == 404 || r.status == 405 || r.status == 501))
		rc = err_set(e, -EOPNOTSUPP, "this service can't cancel a build");
	else if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	http_response_clear(&r);
	return rc;
}

/* ---- images ---- */

/* A registry's answer is asked for by asset, at the host of its data plane. */
static int ask_registry(struct arm *a, const struct scope *s, const struct version *v,
			struct call *c, struct http_response *r, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_buf_ struct buf id = BUF_INIT(URL_MAX);
	_cleanup_free_ char *body = NULL;
	_cleanup_url_ struct url base = {0};
	struct arm_call q = {.method = "POST", .repeatable = true};
	cJSON *json = cJSON_CreateObject();
	int rc = s->base_url ? url_parse(s->base_url, &base, e) : -EOPNOTSUPP;

	buf_addf(&id, "azureml://registries/%s/environments/%s/versions/%s", s->name, v->env,
		 v->version);
	if (!rc && !buf_error(&id) && cJSON_AddStringToObject(json, "assetId", buf_str(&id)))
		body = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (rc)
		return err_set(e, rc, "registry %s was not found through discovery", s->name);
	if (!body)
		return err_set(e, -ENOMEM, "no memory for a request");
	url_add_origin(&url, &base);
	rc = buf_addstr(&url, "/environment/v1.0/consume/imageDetails");
	q.url = buf_str(&url);
	q.body = body;
	if (!rc)
		rc = arm_perform(a, &q, c, r, e);
	if (!rc && http_status_errno(r->status))
		rc = arm_error(q.method, q.url, r, e);
	return rc;
}

static int ask_workspace(struct arm *a, const struct scope *s, const struct version *v,
			 struct call *c, struct http_response *r, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_free_ char *api = NULL;
	struct arm_call q = {.method = "GET"};
	int rc = api_of(a, s, c, &api, e);

	if (!rc)
		rc = image_url(api, "v1.0", s, v->env, v->version, &url, e);
	if (!rc)
		rc = buf_addstr(&url, "?secrets=false");
	q.url = buf_str(&url);
	if (!rc)
		rc = arm_perform(a, &q, c, r, e);
	if (!rc && http_status_errno(r->status))
		rc = arm_error(q.method, q.url, r, e);
	return rc;
}

int arm_get_image(struct source *source, struct scope *scope, const struct version *v,
		  struct call *c, struct image *out, struct err *e)
{
	struct arm *a = arm_of(source);
	struct http_response r = {0};
	int rc = scope->kind == SCOPE_REGISTRY ? ask_registry(a, scope, v, c, &r, e)
					       : ask_workspace(a, scope, v, c, &r, e);

	*out = (struct image){0};
	if (!rc)
		rc = image_parse(buf_str(&r.body), r.body.len, out, e);
	http_response_clear(&r);
	return rc;
}
