#include "emulator/dispatch.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "client/clock.h"
#include "emulator/access.h"
#include "emulator/counters.h"
#include "emulator/entra_reply.h"
#include "emulator/exchange.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"
#include "emulator/throttle.h"
#include "emulator/verstore.h"

enum route_flags {
	ROUTE_ARM = 1,       /* needs api-version */
	ROUTE_WORKSPACE = 2, /* lies in a workspace, whose three parameters come first */
	ROUTE_REGISTRY = 4,
	ROUTE_WRITES = 8, /* only where the scope may be written to */
	ROUTE_DATA = 16,  /* only below /mferp/managementfrontend */
	ROUTE_REGIONAL = 32,
	ROUTE_OPEN = 64, /* needs no token */
};

struct endpoint {
	const char *method;
	const char *pattern;
	void (*handle)(struct exchange *x);
	const char *name;
	unsigned int flags;
};

#define IN_SUB        "/subscriptions/{}/providers/" EMU_PROVIDER
#define IN_GROUP      "/subscriptions/{}/resourceGroups/{}/providers/" EMU_PROVIDER
#define W             IN_GROUP "/workspaces/{}"
#define R             IN_GROUP "/registries/{}"
#define IN_W          (ROUTE_ARM | ROUTE_WORKSPACE)
#define IN_R          (ROUTE_ARM | ROUTE_REGISTRY)
#define IN_W_REGIONAL (ROUTE_REGIONAL | ROUTE_WORKSPACE)
#define W_ENV         W "/environments/{}"
#define W_VER         W_ENV "/versions/{}"
#define R_ENV         R "/environments/{}"
#define R_VER         R_ENV "/versions/{}"

static const struct endpoint routes[] = {
	{"GET", "/subscriptions", subscriptions_list, "GET subscriptions", ROUTE_ARM},
	{"GET", "/subscriptions/{}", subscriptions_get, "GET subscription", ROUTE_ARM},
	{"GET", "/subscriptions/{}/resourceGroups", groups_list, "GET groups", ROUTE_ARM},
	{"GET", "/subscriptions/{}/resourceGroups/{}", groups_get, "GET group", ROUTE_ARM},
	{"GET", "/tenants", tenants_list, "GET tenants", ROUTE_ARM},
	{"GET", "/metadata/endpoints", clouds_list, "GET clouds", ROUTE_ARM | ROUTE_OPEN},

	{"GET", IN_SUB "/workspaces", workspaces_list, "GET workspaces", ROUTE_ARM},
	{"GET", IN_GROUP "/workspaces", workspaces_list_group, "GET workspaces", ROUTE_ARM},
	{"GET", W, workspaces_get, "GET workspace", IN_W},
	{"PUT", W, workspaces_put, "PUT workspace", ROUTE_ARM},
	{"GET", W "/environments", environments_list, "GET environments", IN_W},
	{"GET", W_ENV, environments_get, "GET environment", IN_W},
	{"PUT", W_ENV, environments_put, "PUT environment", IN_W},
	{"DELETE", W_ENV, environments_delete, "DELETE environment", IN_W},
	{"GET", W_ENV "/versions", versions_list, "GET versions", IN_W},
	{"GET", W_VER, versions_get, "GET version", IN_W},
	{"PUT", W_VER, versions_put, "PUT version", IN_W},
	{"DELETE", W_VER, versions_delete, "DELETE version", IN_W},
	{"POST", W_VER "/publish", versions_publish, "POST publish", IN_W},
	{"GET", W "/datastores", datastores_list, "GET datastores", IN_W},
	{"GET", W "/datastores/{}", datastores_get, "GET datastore", IN_W},
	{"POST", W "/datastores/{}/listSecrets", datastores_list_secrets, "POST listSecrets", IN_W},

	{"GET", IN_SUB "/registries", registries_list, "GET registries", ROUTE_ARM},
	{"GET", IN_GROUP "/registries", registries_list_group, "GET registries", ROUTE_ARM},
	{"GET", R, registries_get, "GET registry", IN_R},
	{"GET", R "/environments", environments_list, "GET registry environments", IN_R},
	{"GET", R_ENV, environments_get, "GET registry environment", IN_R},
	{"PUT", R_ENV, environments_put, "PUT registry environment", IN_R | ROUTE_WRITES},
	{"DELETE", R_ENV, environments_delete, "DELETE registry environment", IN_R | ROUTE_WRITES},
	{"GET", R_ENV "/versions", versions_list, "GET registry versions", IN_R},
	{"GET", R_VER, versions_get, "GET registry version", IN_R},
	{"PUT", R_VER, versions_put, "PUT registry version", IN_R | ROUTE_WRITES},
	{"DELETE", R_VER, versions_delete, "DELETE registry version", IN_R | ROUTE_WRITES},
	{"POST", R "/datareferences/{}/versions/{}", registries_dataref, "POST dataref", IN_R},
	{"POST", R "/datarefs/{}/versions/{}", registries_dataref, "POST dataref",
	 IN_R | ROUTE_DATA},
	{"PUT", R "/tempdatarefs/{}/versions/{}", registries_tempdataref, "PUT tempdataref",
	 IN_R | ROUTE_DATA | ROUTE_WRITES},
	{"POST", R "/import", registries_import, "POST import", IN_R | ROUTE_DATA | ROUTE_WRITES},
	{"GET", IN_SUB "/locations/{}/operations/{}", operations_status, "GET operation",
	 ROUTE_ARM},

	{"GET", "/discovery", regional_services, "GET services", ROUTE_REGIONAL},
	{"GET", "/registrymanagement/v1.0/registries/{}/discovery", regional_registry,
	 "GET discovery", ROUTE_REGIONAL},
	{"GET", "/environment/v1.0/operations/{}", images_operation, "GET operation",
	 ROUTE_REGIONAL},
	{"DELETE", "/environment/v1.0/operations/{}", images_cancel, "DELETE operation",
	 ROUTE_REGIONAL},
	{"GET", "/environment/v1.0" W_VER "/image", images_details, "GET image", IN_W_REGIONAL},
	{"POST", "/environment/v2.0" W_VER "/image", images_build, "POST image", IN_W_REGIONAL},
	{"POST", "/environment/v1.0/consume/imageDetails", images_consume, "POST imageDetails",
	 ROUTE_REGIONAL},

	{"POST", "/{}/oauth2/v2.0/token", entra_token_v2, "POST token", ROUTE_OPEN},
	{"POST", "/{}/oauth2/token", entra_token_v1, "POST token", ROUTE_OPEN},
	{"POST", "/{}/oauth2/v2.0/devicecode", entra_devicecode, "POST devicecode", ROUTE_OPEN},
	{"GET", "/devicelogin", entra_devicelogin, "GET devicelogin", ROUTE_OPEN},
	{"GET", "/{}/v2.0/.well-known/openid-configuration", entra_configuration,
	 "GET openid-configuration", ROUTE_OPEN},
	{"GET", "/{}/.well-known/openid-configuration", entra_configuration,
	 "GET openid-configuration", ROUTE_OPEN},
	{"GET", "/{}/discovery/instance", entra_instance, "GET instance", ROUTE_OPEN},
	{"GET", "/{}/discovery/v2.0/keys", entra_keys, "GET keys", ROUTE_OPEN},

	{"GET", "/__mlenvfs/counters", control_counters, "", 0},
	{"DELETE", "/__mlenvfs/counters", control_counters_reset, "", 0},
	{"PUT", "/__mlenvfs/faults", control_faults, "", 0},
	{"PUT", "/__mlenvfs/registries/{}", control_registry, "", 0},
	{"POST", "/__mlenvfs/workspaces/{}", control_workspace, "", 0},
	{"PUT", "/__mlenvfs/raw/{}/{}/{}", control_raw, "", 0},
	{"PUT", "/__mlenvfs/entra/apps/{}", entra_control_app, "", 0},
	{"DELETE", "/__mlenvfs/entra/apps/{}", entra_control_remove, "", 0},
	{"PUT", "/__mlenvfs/entra/settings", entra_control_settings, "", 0},
	{"POST", "/__mlenvfs/entra/devicecodes/{}", entra_control_device, "", 0},
	{"DELETE", "/__mlenvfs/entra/tokens", entra_control_revoke, "", 0},
};

static bool is_below(const char *path, const char *root)
{
	size_t len = strlen(root);

	return strncmp(path, root, len) == 0 && (path[len] == '/' || !path[len]);
}

bool dispatch_is_blob(const char *path)
{
	return is_below(path, "/" EMU_ACCOUNT);
}

bool dispatch_is_control(const char *path)
{
	return is_below(path, "/__mlenvfs");
}

static enum reply_plane plane_of(const char *path)
{
	static const char *const arm[] = {"/subscriptions", "/tenants", "/metadata", "/__mlenvfs"};

	for (size_t i = 0; i < sizeof(arm) / sizeof(arm[0]); i++)
		if (strncasecmp(path, arm[i], strlen(arm[i])) == 0 &&
		    (path[strlen(arm[i])] == '/' || !path[strlen(arm[i])]))
			return REPLY_ARM;
	return entra_is_path(path) ? REPLY_ENTRA : REPLY_DATA;
}

static void add_headers(const struct emu_request *req, struct emu_reply *reply, double seconds)
{
	if (plane_of(req->path) == REPLY_ENTRA)
		entra_reply_headers(reply);
	else
		reply_headers(reply, req->method, seconds);
}

void dispatch_error(const struct emu_request *req, struct emu_reply *reply, int status,
		    const char *code, const char *message)
{
	reply_error(reply, plane_of(req->path), status, *code ? code : reply_code(status), "%s",
		    message);
	add_headers(req, reply, 0);
}

/* "2026-05-01", with anything in lower case behind another dash. */
static bool api_version_ok(const char *v)
{
	static const char form[] = "dddd-dd-dd";
	size_t i;

	for (i = 0; form[i]; i++)
		if (form[i] == 'd' ? v[i] < '0' || v[i] > '9' : v[i] != form[i])
			return false;
	return !v[i] || (v[i] == '-' && v[i + 1] &&
			 strspn(v + i, "-abcdefghijklmnopqrstuvwxyz0123456789.") == strlen(v + i));
}

/* The data plane of registries has versions of its own. */
static bool api_version_known(const struct emu *emu, const char *v, enum reply_plane plane)
{
	const char *list = emu->conf.api_versions;
	size_t len = strlen(v);

	if (!list || plane == REPLY_DATA)
		return true;
	while (*list) {
		size_t n = strcspn(list, ",");

		if (n == len && strncmp(list, v, n) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static bool check_api_version(struct exchange *x)
{
	const char *v = emu_param(x->req, "api-version");

	if (v && api_version_ok(v) && api_version_known(x->emu, v, x->plane))
		return true;
	if (v && api_version_ok(v))
		exchange_error(x, 400, "NoRegisteredProviderFound",
			       "No registered resource provider found for location '" EMU_LOCATION
			       "' and API version '%s' for type 'workspaces'. The supported "
			       "api-versions are '%s'. The supported locations are '" EMU_LOCATION
			       "'.",
			       v, x->emu->conf.api_versions);
	else if (!v || !*v)
		exchange_error(
			x, 400, "MissingApiVersionParameter",
			"The api-version query parameter (?api-version=) is required for all "
			"requests.");
	else
		exchange_error(x, 400, "InvalidApiVersionParameter",
			       "The api-version '%s' is invalid.", v);
	return false;
}

/* Fills in the exchange's scope. false: the reply is an error. */
static bool find_scope(struct exchange *x, const struct endpoint *r)
{
	bool registry = r->flags & ROUTE_REGISTRY;
	struct text name = x->param[PARAM_SCOPE], group = x->param[PARAM_GROUP];
	/* The data plane goes by the registry's name, which is the only one of its kind. */
	bool anywhere = registry && x->plane == REPLY_DATA;
	struct text any = {0};
	struct err e = ERR_INIT;
	int ret = scopes_find(x->emu, registry ? SCOPE_REGISTRY : SCOPE_WORKSPACE,
			      anywhere ? any : x->param[PARAM_SUBSCRIPTION], anywhere ? any : group,
			      name, &x->scope, &e);

	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		exchange_error(x, 404, "ResourceNotFound",
			       "The Resource '" EMU_PROVIDER
			       "/%s/%.*s' under resource group '%.*s' was not found.",
			       registry ? "registries" : "workspaces", (int)name.len, name.ptr,
			       (int)group.len, group.ptr);
	else if ((r->flags & ROUTE_WRITES) && !x->scope.writable)
		exchange_error(x, 403, "AuthorizationFailed",
			       "The client does not have authorization to write to the registry "
			       "'%s'.",
			       x->scope.name);
	else
		return true;
	return false;
}

/* HEAD is answered as GET; libmicrohttpd leaves the body out. */
static const char *as_method(const char *method)
{
	return strcmp(method, "HEAD") == 0 ? "GET" : method;
}

/* Where the routes' own part of the path begins; *data: below the data plane's root. */
static size_t skip_data_root(const struct path *p, bool *data)
{
	*data = p->n >= 2 && text_is_case(p->segment[0], "mferp") &&
		text_is_case(p->segment[1], "managementfrontend");
	return *data ? 2 : 0;
}

/* The route of the request; NULL: none, then *other_method says whether the path is known. */
static const struct endpoint *find_route(struct exchange *x, const char *method, bool *other_method)
{
	bool data;
	size_t first = skip_data_root(&x->path, &data);

	*other_method = false;
	x->plane = data ? REPLY_DATA : plane_of(x->req->path);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct endpoint *r = &routes[i];

		if ((r->flags & ROUTE_DATA && !data) || (data && !(r->flags & ROUTE_ARM)) ||
		    !route_match(r->pattern, &x->path, first, x->param, &x->n_params))
			continue;
		if (strcmp(r->method, method) == 0)
			return r;
		*other_method = true;
	}
	return NULL;
}

/* What a request's token is worth for its route; r NULL: there is none. */
static enum entra_verdict check_access(const struct exchange *x, const struct endpoint *r)
{
	unsigned int audiences = x->plane == REPLY_ARM ? ENTRA_ARM : ENTRA_ARM | ENTRA_ML;

	if (r && (r->flags & ROUTE_OPEN))
		return ENTRA_GOOD;
	if (dispatch_is_control(x->req->path))
		audiences = ENTRA_NOWHERE;
	return access_check(x->emu, x->req, audiences);
}

bool dispatch_authorized(struct emu *emu, const struct emu_request *req)
{
	struct exchange x = {.emu = emu, .req = req, .plane = plane_of(req->path)};
	const struct endpoint *r = NULL;
	bool other_method, authorized;

	if (dispatch_is_blob(req->path))
		return true;
	if (path_split(req->path, &x.path, NULL) == 0)
		r = find_route(&x, as_method(req->method), &other_method);
	authorized = check_access(&x, r) == ENTRA_GOOD;
	path_free(&x.path);
	return authorized;
}

static void answer(struct exchange *x)
{
	const struct endpoint *r = NULL;
	struct err e = ERR_INIT;
	bool other_method = false;
	enum entra_verdict verdict;
	int bad;

	x->plane = plane_of(x->req->path);
	bad = path_split(x->req->path, &x->path, &e);
	if (!bad)
		r = find_route(x, as_method(x->req->method), &other_method);
	verdict = check_access(x, r);
	if (verdict != ENTRA_GOOD)
		access_refuse(x, verdict);
	else if (bad)
		exchange_error(x, 400, "InvalidRequestUri", "%s", err_text(&e, -EINVAL));
	else if (!r && other_method)
		exchange_error(x, 405, "HttpMethodNotAllowed",
			       "The method %s is not supported by this resource.", x->req->method);
	else if (!r)
		exchange_error(x, 404, "ResourceNotFound", "There is no resource of this path.");
	else if (!(r->flags & ROUTE_ARM) || check_api_version(x)) {
		if (!(r->flags & (ROUTE_WORKSPACE | ROUTE_REGISTRY)) || find_scope(x, r))
			r->handle(x);
	}
	if (buf_error(&x->reply->body))
		exchange_failure(x, buf_error(&x->reply->body), NULL);
}

/* Takes the request out of the caller's budget. False: there is none left, and the reply says so.
 */
static bool within_budget(struct exchange *x, long *left)
{
	struct throttled t = {.left = -1};

	if (plane_of(x->req->path) == REPLY_ARM && !dispatch_is_control(x->req->path))
		throttle_take(x->emu->throttle, x->req->method, &t);
	*left = t.left;
	if (!t.refused)
		return true;
	counters_throttled(x->emu->counters);
	exchange_error(x, 429, "SubscriptionRequestsThrottled",
		       "Number of requests for subscription '" EMU_SUBSCRIPTION
		       "' exceeded the limit. Please try again after '%ld' seconds.",
		       t.retry_after);
	emu_reply_header(x->reply, "Retry-After", "%ld", t.retry_after);
	return false;
}

void dispatch(struct emu *emu, const struct emu_request *req, struct emu_reply *reply)
{
	struct exchange x = {.emu = emu, .req = req, .reply = reply};
	int64_t begun = clock_mono();
	long left;

	if (dispatch_is_blob(req->path)) {
		blobs_handle(emu, req, reply);
		return;
	}
	if (within_budget(&x, &left))
		answer(&x);
	reply->requests_left = left;
	add_headers(req, reply, (double)(clock_mono() - begun) / NS_PER_S);
	entra_add_date(emu->entra, reply);
	scope_release(&x.scope);
	path_free(&x.path);
}

static const char *blob_name(const struct emu_request *req)
{
	static const char *const names[] = {"GET blob", "HEAD blob", "PUT blob"};
	const char *comp = emu_param(req, "comp");

	if (comp)
		return strcmp(comp, "list") == 0 && strcmp(req->method, "GET") == 0 ? "GET blobs"
										    : "other";
	if (strcmp(req->method, "PUT") == 0 && emu_header(req, "x-ms-copy-source"))
		return "PUT blob copy";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(names[i], req->method, strlen(req->method)) == 0 &&
		    names[i][strlen(req->method)] == ' ')
			return names[i];
	return "other";
}

const char *dispatch_name(const struct emu_request *req)
{
	struct exchange x = {.req = req};
	const struct endpoint *r = NULL;
	bool other_method;

	if (dispatch_is_blob(req->path))
		return blob_name(req);
	if (path_split(req->path, &x.path, NULL) == 0)
		r = find_route(&x, as_method(req->method), &other_method);
	path_free(&x.path);
	return r ? r->name : "other";
}

int exchange_json(struct exchange *x, cJSON **out)
{
	struct err e = ERR_INIT;
	int ret = json_parse(x->req->body ? x->req->body : "", x->req->body_len, out, &e);

	if (ret)
		exchange_error(x, 400, "InvalidRequestContent", "%s", err_text(&e, ret));
	return ret;
}

void exchange_api_version(const struct exchange *x, struct buf *b)
{
	const char *v = emu_param(x->req, "api-version");

	if (v)
		buf_addf(b, "?api-version=%s", v);
}

int64_t exchange_list_cutoff(const struct exchange *x)
{
	return verstore_cutoff(x->emu);
}
