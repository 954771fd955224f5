/*
 * Registering a version. Workspaces answer a PUT at once (200 or 201); registries answer 202 and
 * name an operation to be waited for (azureml-rest.md section 11).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/turns.h"

static int failure(const struct version *v, struct err *e)
{
	return err_set(e, -EIO, "the service could not register the version: %s",
		       v->provisioning_state);
}

/* No operation to poll: the version is registered when it is there and says so. */
static int look(struct arm *a, struct scope *scope, const struct arm_work *w, struct call *c,
		bool *done, struct err *e)
{
	struct version *now = NULL;
	int rc = arm_fetch_version(a, scope, w->env, w->version, c, &now, e);

	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	*done = !version_is_unfinished(now);
	if (version_has_failed(now))
		rc = failure(now, e);
	version_unref(now);
	return rc;
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

struct arm_work arm_registering(const char *env, const char *version, const char *resource)
{
	return (struct arm_work){
		.verb = "register",
		.participle = "registered",
		.env = env,
		.version = version,
		.resource = resource,
		.look = look,
	};
}

static int put(struct arm *a, struct scope *scope, const struct version *v, const char *body,
	       const char *url, struct call *c, struct version **out, struct err *e)
{
	_cleanup_free_ char *resource = strndup(url, strcspn(url, "?"));
	struct arm_work work = arm_registering(v->env, v->version, resource);
	struct arm_call q = {.method = "PUT", .url = url, .body = body};
	struct http_response r = {0};
	bool accepted;
	int rc = resource ? arm_perform(a, &q, c, &r, e)
			  : err_set(e, -ENOMEM, "no memory for a version");

	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	accepted = !rc && arm_is_accepted(&r);
	if (!rc && !accepted)
		rc = take_answer(a, scope, v, &r, c, out, e);
	/* An answer may name no operation, and say that the version is not ready all the same. */
	if (!rc && (accepted || version_is_unfinished(*out))) {
		version_unref(*out);
		*out = NULL;
		rc = arm_work_wait(a, scope, &work, &r, c, e);
		if (!rc)
			rc = arm_fetch_version(a, scope, v->env, v->version, c, out, e);
	}
	if (!rc && version_has_failed(*out)) {
		rc = failure(*out, e);
		version_unref(*out);
		*out = NULL;
	}
	http_response_clear(&r);
	return rc;
}

/* Not beside a change of its tags: a repeated PUT would take them back. */
static int put_in_turn(struct arm *a, struct scope *scope, const struct version *v,
		       const char *body, const char *url, struct call *c, struct version **out,
		       struct err *e)
{
	struct turn turn;
	int rc = turn_take(a->turns, &turn, url, c);

	if (rc)
		return err_set(e, rc, "%s:%s is being written by somebody else here", v->env,
			       v->version);
	rc = put(a, scope, v, body, url, c, out, e);
	turn_end(&turn);
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
	return put_in_turn(a, scope, v, body, buf_str(&url), c, out, e);
}
