#include <errno.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/bearer.h"
#include "client/cleanup.h"
#include "client/limiter.h"

static const char *scope_base(const struct arm *a, const struct scope *s)
{
	return s && s->base_url ? s->base_url : a->endpoint;
}

int arm_add_segment(struct buf *b, const char *segment)
{
	if (!segment)
		return buf_error(b);
	buf_addch(b, '/');
	return url_add_segment(b, segment, strlen(segment));
}

int arm_add_scope_url(const struct arm *a, struct buf *b, const struct scope *s)
{
	const char *kind = s->kind == SCOPE_REGISTRY ? "registries" : "workspaces";

	buf_addf(b, "%s/subscriptions", scope_base(a, s));
	arm_add_segment(b, s->subscription);
	buf_addstr(b, "/resourceGroups");
	arm_add_segment(b, s->resource_group);
	buf_addf(b, "/" ARM_PROVIDER "/%s", kind);
	return arm_add_segment(b, s->name);
}

int arm_add_version(const struct arm *a, struct buf *b, const struct scope *s)
{
	char version[APIVERSION_SIZE];

	buf_addstr(b, "?api-version=");
	if (s && s->base_url)
		return buf_addstr(b, ARM_DATA_PLANE_VERSION);
	apiversion_get(a->api_version, version);
	return url_add_value(b, version, strlen(version));
}

bool arm_may_ask(const struct arm *a, const struct url *u)
{
	return u->https || url_same_origin(u, &a->origin);
}

struct arm_gate {
	struct http_gate base;
	struct limiter *limiter;
};

static int gate_enter(const struct http_gate *g, const char *method, struct call *c, struct err *e)
{
	return limiter_enter(((const struct arm_gate *)g)->limiter, method, c, e);
}

static void gate_leave(const struct http_gate *g, const char *method, const struct http_response *r)
{
	limiter_leave(((const struct arm_gate *)g)->limiter, method, r);
}

/* Resource Manager itself: it counts requests. */
static bool is_managed(const struct arm *a, const char *url)
{
	size_t n = strlen(a->endpoint);

	return strncmp(url, a->endpoint, n) == 0 && strncmp(url + n, "/subscriptions/", 15) == 0;
}

/* What api-versions there are each provider decides for itself: Azure ML's can be another one. */
static bool is_negotiable(const struct arm *a, const char *url)
{
	return is_managed(a, url) && strstr(url, "/" ARM_PROVIDER "/");
}

static int perform(struct arm *a, const struct arm_call *q, const char *url, struct call *c,
		   struct http_response *out, struct err *e)
{
	struct bearer_auth auth = bearer_auth(a->credential, SCOPE_ARM);
	struct arm_gate gate = {.base = {gate_enter, gate_leave}, .limiter = a->limiter};
	struct kv headers[] = {{"Accept", "application/json"},
			       {"Content-Type", "application/json"}};
	struct http_request r = {
		.method = q->method,
		.url = url,
		.headers = headers,
		.n_headers = q->body ? 2 : 1,
		.auth = &auth.base,
		.gate = is_managed(a, url) ? &gate.base : NULL,
		.id = q->id,
		.body = q->body,
		.body_len = q->body ? strlen(q->body) : 0,
		.max_body = HTTP_JSON_MAX,
		.repeatable = q->repeatable,
		.once = q->once,
	};

	return http_perform(a->http, &r, c, out, e);
}

/* Asks again with another api-version for as long as the service does not have it. */
static int renegotiate(struct arm *a, const struct arm_call *q, struct call *c,
		       struct http_response *out, struct err *e)
{
	char version[APIVERSION_SIZE];
	int rc = 0;

	if (!apiversion_of_url(q->url, version))
		return 0;
	for (int i = 0; i < APIVERSION_TRIES && !rc && apiversion_is_refused(out); i++) {
		_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);

		if (!apiversion_refused(a->api_version, version, out))
			return 0;
		apiversion_get(a->api_version, version);
		rc = apiversion_replace(&url, q->url, version);
		rc = rc ? err_set(e, rc, "the URL is too long")
			: perform(a, q, buf_str(&url), c, out, e);
	}
	return rc;
}

int arm_perform(struct arm *a, const struct arm_call *q, struct call *c, struct http_response *out,
		struct err *e)
{
	_cleanup_url_ struct url u = {0};
	int rc = url_parse(q->url, &u, e);

	if (rc)
		return rc;
	if (!arm_may_ask(a, &u))
		return err_set(e, -EACCES, "%s is not asked: it is neither the endpoint nor https",
			       u.host);
	rc = perform(a, q, q->url, c, out, e);
	return rc || !is_negotiable(a, q->url) ? rc : renegotiate(a, q, c, out, e);
}

int arm_json(struct arm *a, const struct arm_call *q, struct call *c, cJSON **json, struct err *e)
{
	struct http_response r = {0};
	char path[HTTP_SHOWN_PATH];
	int rc;

	rc = arm_perform(a, q, c, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = arm_error(q->method, q->url, &r, e);
	if (!rc) {
		rc = asset_json_parse(buf_str(&r.body), r.body.len, json, e);
		http_shown_path(q->url, path);
		if (rc)
			err_prefix(e, rc, "%s %s: ", q->method, path);
	}
	http_response_clear(&r);
	return rc;
}

int arm_get(struct arm *a, const char *url, struct call *c, cJSON **json, struct err *e)
{
	struct arm_call q = {.method = "GET", .url = url};

	return arm_json(a, &q, c, json, e);
}
