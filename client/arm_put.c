/*
 * Registering a version. Workspaces answer a PUT at once (200 or 201); registries answer 202 and
 * name an operation to be polled (azureml-rest.md sections 11 and 13).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"

enum { POLL_FIRST_MS = 500, POLL_MAX_MS = 10000 };

enum progress { PROGRESS_RUNNING, PROGRESS_DONE };

struct operation {
	struct arm *arm;
	struct call *call;
	char *url;     /* what to poll; NULL: the version itself */
	bool is_async; /* an Azure-AsyncOperation: the state is in its body */
	int64_t wait;  /* ns before the next poll */
};

/*
 * Our token follows an operation to where the endpoint, the registry or Azure ML's regional
 * services are, and nowhere else; an operation elsewhere is waited for by looking at the version.
 */
static bool may_poll(const struct arm *a, const struct scope *scope, const char *url)
{
	static const char *const services[] = {".azureml.ms", ".azureml.net", ".ml.azure.cn",
					       ".ml.azure.us"};
	_cleanup_url_ struct url u = {0}, base = {0};

	if (url_parse(url, &u, NULL))
		return false;
	if (url_same_origin(&u, &a->origin))
		return true;
	if (!u.https)
		return false;
	if (scope->base_url && url_parse(scope->base_url, &base, NULL) == 0 &&
	    url_same_origin(&u, &base))
		return true;
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
		if (url_host_under(&u, services[i]))
			return true;
	return false;
}

/* Takes the operation's URL out of an answer; the one before stays when there is none. */
static int operation_follow(struct operation *op, const struct scope *scope,
			    const struct http_response *r, struct err *e)
{
	const char *url = http_response_header(r, "Azure-AsyncOperation");
	bool is_async = url != NULL;
	char *copy;

	if (!url)
		url = http_response_header(r, "Location");
	if (!url || !may_poll(op->arm, scope, url))
		return 0;
	copy = strdup(url);
	if (!copy)
		return err_set(e, -ENOMEM, "no memory for an operation");
	free(op->url);
	op->url = copy;
	op->is_async = is_async;
	return 0;
}

static bool is_state(const char *state, const char *name)
{
	return strcasecmp(state, name) == 0;
}

/* The body of an Azure-AsyncOperation. */
static int async_progress(const struct http_response *r, enum progress *progress, struct err *e)
{
	_cleanup_buf_ struct buf words = BUF_INIT(ERR_MSG_MAX);
	cJSON *json = NULL;
	const char *state;
	int rc = asset_json_parse(buf_str(&r->body), r->body.len, &json, e);

	if (rc)
		return err_prefix(e, rc, "an operation's state: ");
	state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "status"));
	if (!state)
		rc = err_set(e, -EBADMSG, "an operation's state has no status");
	else if (is_state(state, "Succeeded"))
		*progress = PROGRESS_DONE;
	else if (is_state(state, "Failed") || is_state(state, "Canceled")) {
		arm_error_words(r, &words);
		rc = err_set(e, -EIO, "the service could not register the version: %s %s", state,
			     buf_str(&words));
	}
	cJSON_Delete(json);
	return rc;
}

static void operation_set_wait(struct operation *op, const struct http_response *r)
{
	if (r->retry_after > 0)
		op->wait = r->retry_after;
	else if (op->wait < POLL_MAX_MS * NS_PER_MS)
		op->wait *= 2;
}

static int operation_poll(struct operation *op, const struct scope *scope, enum progress *progress,
			  struct err *e)
{
	struct arm_call q = {.method = "GET", .url = op->url};
	struct http_response r = {0};
	int rc = arm_perform(op->arm, &q, op->call, &r, e);

	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc && op->is_async)
		rc = async_progress(&r, progress, e);
	else if (!rc && r.status != 202)
		*progress = PROGRESS_DONE;
	operation_set_wait(op, &r);
	if (!rc && *progress == PROGRESS_RUNNING)
		rc = operation_follow(op, scope, &r, e);
	http_response_clear(&r);
	return rc;
}

/* No operation to poll: the version is registered when it is there and says so. */
static int version_progress(struct operation *op, struct scope *scope, const struct version *v,
			    enum progress *progress, struct err *e)
{
	struct version *now = NULL;
	int rc = arm_fetch_version(op->arm, scope, v->env, v->version, op->call, &now, e);

	op->wait = op->wait < POLL_MAX_MS * NS_PER_MS ? op->wait * 2 : op->wait;
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	if (!now->provisioning_state || is_state(now->provisioning_state, "Succeeded"))
		*progress = PROGRESS_DONE;
	else if (is_state(now->provisioning_state, "Failed") ||
		 is_state(now->provisioning_state, "Canceled"))
		rc = err_set(e, -EIO, "the service could not register the version: %s",
			     now->provisioning_state);
	version_unref(now);
	return rc;
}

static int operation_wait(struct operation *op, struct scope *scope, const struct version *v,
			  struct err *e)
{
	for (;;) {
		enum progress progress = PROGRESS_RUNNING;
		int rc = op->url ? operation_poll(op, scope, &progress, e)
				 : version_progress(op, scope, v, &progress, e);

		if (rc || progress == PROGRESS_DONE)
			return rc;
		rc = http_pause(op->arm->http, op->call, clock_mono() + op->wait);
		if (rc)
			return err_set(e, rc, "%s:%s is still being registered by the service",
				       v->env, v->version);
	}
}

/* The record in the answer of a PUT, or the version as it is now when that is none. */
static int take_answer(struct arm *a, struct scope *scope, const struct version *v,
		       const struct http_response *r, struct call *c, struct version **out,
		       struct err *e)
{
	cJSON *json = NULL;
	int rc = asset_json_parse(buf_str(&r->body), r->body.len, &json, NULL);

	if (!rc && cJSON_IsObject(json))
		rc = asset_json_version(json, v->env, out, e);
	else
		rc = arm_fetch_version(a, scope, v->env, v->version, c, out, e);
	cJSON_Delete(json);
	return rc;
}

static bool is_accepted(const struct http_response *r)
{
	return r->status == 202 || http_response_header(r, "Azure-AsyncOperation");
}

static int put(struct arm *a, struct scope *scope, const struct version *v, const char *body,
	       const char *url, struct call *c, struct version **out, struct err *e)
{
	struct arm_call q = {.method = "PUT", .url = url, .body = body};
	struct operation op = {.arm = a, .call = c, .wait = POLL_FIRST_MS * NS_PER_MS};
	struct http_response r = {0};
	int rc = arm_perform(a, &q, c, &r, e);

	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc && is_accepted(&r)) {
		rc = operation_follow(&op, scope, &r, e);
		if (!rc)
			rc = operation_wait(&op, scope, v, e);
		if (!rc)
			rc = arm_fetch_version(a, scope, v->env, v->version, c, out, e);
	} else if (!rc) {
		rc = take_answer(a, scope, v, &r, c, out, e);
	}
	free(op.url);
	http_response_clear(&r);
	return rc;
}

int arm_put_version(struct source *source, struct scope *scope, const struct version *v,
		    struct call *c, struct version **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	_cleanup_free_ char *body = NULL;
	cJSON *json;
	int rc;

	*out = NULL;
	if (!scope->writable)
		return err_set(e, -EROFS, "%s can't be changed", scope->name);
	if (!v->env || !*v->env || !v->version || !*v->version)
		return err_set(e, -EINVAL, "a version to be registered has no name");
	json = asset_json_version_body(v);
	body = json ? cJSON_PrintUnformatted(json) : NULL;
	cJSON_Delete(json);
	if (!body)
		return err_set(e, -ENOMEM, "no memory for a version");
	if (strlen(body) > ARM_BODY_MAX)
		return err_set(e, -EFBIG, "the version has more than %d bytes", ARM_BODY_MAX);
	arm_add_version_url(a, &url, scope, v->env, v->version);
	rc = arm_add_version(a, &url, scope);
	if (rc)
		return err_set(e, rc, "the version's URL is too long");
	return put(a, scope, v, body, buf_str(&url), c, out, e);
}
