/*
 * Changing and deleting what is published. The service has neither PATCH nor ETags: a change is
 * GET, edit, PUT of the whole, and the last writer wins (azureml-rest.md sections 2 and 7).
 *
 * One round of a change:
 *
 *   GET        what is there, always from the resource itself
 *   edit       nothing differs: done, no PUT
 *   PUT        the answer says what we sent: done
 *              it says something else, or there is none: another round, which begins by looking
 *              whether the change is there
 *
 * Nothing comes between GET and PUT, and the PUT is not repeated by itself (http.h: once): what it
 * says would by then be older than what somebody else wrote.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/turns.h"

enum { ROUNDS_MAX = 4 };

struct work {
	struct arm *arm;
	const char *url;
	const char *what; /* for texts */
	const struct version_change *change;
	struct call *call;
	cJSON *json;  /* the resource as it was read, then edited */
	bool fixed;   /* it can't be changed, only found to be as it is wanted */
	bool sent;    /* this round came to the PUT */
	int64_t wait; /* ns the service asked for; -1: it did not */
};

/* ---- what can't be changed ---- */

/*
 * The curated environments that a workspace lists among its own; these names are reserved
 * (azureml-rest.md section 1).
 */
static bool is_reserved(const struct scope *scope, const char *env)
{
	return scope->kind == SCOPE_WORKSPACE &&
	       (strncmp(env, "AzureML", strlen("AzureML")) == 0 ||
		strncmp(env, "Microsoft", strlen("Microsoft")) == 0);
}

static int check_writable(const struct scope *scope, const char *env, struct err *e)
{
	if (!scope->writable)
		return err_set(e, -EROFS, "%s can't be changed", scope->name);
	if (is_reserved(scope, env))
		return err_set(e, -EROFS, "%s is a curated environment", env);
	if (!*env)
		return err_set(e, -EINVAL, "an environment without a name");
	return 0;
}

/*
 * Azure's own clients find no way to change what is published in a registry (azureml-rest.md
 * section 11). What would be the same as before is no change: cp -a sets the tags that it has.
 */
static int refuse_change(const struct work *w, struct err *e)
{
	return err_set(e, -EROFS,
		       "%s: what is published in a registry can't be changed; publish another "
		       "version",
		       w->what);
}

/* ---- rounds ---- */

static int fetch(struct work *w, struct err *e)
{
	const cJSON *type;
	int rc;

	cJSON_Delete(w->json);
	w->json = NULL;
	rc = arm_get(w->arm, w->url, w->call, &w->json, e);
	if (rc)
		return rc;
	type = cJSON_GetObjectItemCaseSensitive(
		cJSON_GetObjectItemCaseSensitive(w->json, "properties"), "environmentType");
	if (cJSON_IsString(type) && strcmp(type->valuestring, "Curated") == 0)
		return err_set(e, -EROFS, "%s is curated", w->what);
	return 0;
}

/* A conflict has another meaning here than that of a tag that is there already. */
static int refused(const struct arm_call *q, const struct http_response *r, struct err *e)
{
	int rc = arm_error(q->method, q->url, r, e);

	return rc == -EEXIST ? err_prefix(e, -EROFS, "the service does not change it: ") : rc;
}

/* 1: the answer says what was sent, and replaces w->json. 0: it does not. */
static int take_answer(struct work *w, const struct http_response *r)
{
	cJSON *answer = NULL;

	if (asset_json_parse(buf_str(&r->body), r->body.len, &answer, NULL) == 0 &&
	    arm_edit_agrees(answer, w->json)) {
		cJSON_Delete(w->json);
		w->json = answer;
		return 1;
	}
	cJSON_Delete(answer);
	return 0;
}

/* As take_answer(); or a negative errno. */
static int send(struct work *w, struct err *e)
{
	_cleanup_free_ char *body = arm_edit_body(w->json);
	struct arm_call q = {.method = "PUT", .url = w->url, .body = body, .once = true};
	struct http_response r = {0};
	int rc;

	if (!body)
		return err_set(e, -ENOMEM, "no memory for a change");
	if (strlen(body) > ARM_BODY_MAX)
		return err_set(e, -EFBIG, "%s has more than %d bytes then", w->what, ARM_BODY_MAX);
	w->sent = true;
	rc = arm_perform(w->arm, &q, w->call, &r, e);
	w->wait = rc ? -1 : r.retry_after;
	if (!rc)
		rc = http_status_errno(r.status) ? refused(&q, &r, e) : take_answer(w, &r);
	http_response_clear(&r);
	return rc;
}

/* 1: done, 0: to be looked at again, or a negative errno. */
static int try_once(struct work *w, bool first, struct err *e)
{
	bool differs = false;
	int rc = fetch(w, e);

	if (!rc)
		rc = arm_edit(w->json, w->change, first, &differs, e);
	if (rc)
		return rc;
	if (differs && w->fixed)
		return refuse_change(w, e);
	return differs ? send(w, e) : 1;
}

/* The GET has been repeated already where that helps. */
static bool may_pass(const struct work *w, int rc)
{
	if (!w->sent)
		return false;
	return rc == -EIO || rc == -EBUSY || rc == -ETIMEDOUT || rc == -EHOSTUNREACH;
}

/* Waits before another round. False: no time for one. */
static bool pause_round(struct work *w, unsigned int round, int rc)
{
	int64_t next = clock_mono() + (w->wait >= 0 ? w->wait : w->arm->backoff << round);

	if (!rc)
		return true;
	return next < w->call->deadline && http_pause(w->arm->http, w->call, next) == 0;
}

static int all_rounds(struct work *w, struct err *e)
{
	for (unsigned int round = 0; round < ROUNDS_MAX; round++) {
		int rc;

		w->sent = false;
		w->wait = -1;
		rc = try_once(w, round == 0, e);
		if (rc == 1)
			return 0;
		if (rc && (!may_pass(w, rc) || round + 1 == ROUNDS_MAX))
			return rc;
		if (!pause_round(w, round, rc))
			return rc;
	}
	return err_set(e, -EIO, "the service answers the change of %s without making it", w->what);
}

/* Makes the change; w->json is the resource then, for the caller to free. */
static int make_change(struct work *w, struct err *e)
{
	struct turn turn;
	int rc = turn_take(w->arm->turns, &turn, w->url, w->call);

	if (rc)
		return err_set(e, rc, "%s is being written by somebody else here", w->what);
	rc = all_rounds(w, e);
	turn_end(&turn);
	return rc;
}

/* ---- URLs ---- */

static int version_url(const struct arm *a, struct buf *url, const struct scope *scope,
		       const char *env, const char *version, struct err *e)
{
	int rc;

	if (!*version)
		return err_set(e, -EINVAL, "a version without a name");
	arm_add_version_url(a, url, scope, env, version);
	rc = arm_add_version(a, url, scope);
	return rc ? err_set(e, rc, "the version's URL is too long") : 0;
}

static int env_url(const struct arm *a, struct buf *url, const struct scope *scope, const char *env,
		   struct err *e)
{
	int rc;

	arm_add_scope_url(a, url, scope);
	buf_addstr(url, "/environments");
	arm_add_segment(url, env);
	rc = arm_add_version(a, url, scope);
	return rc ? err_set(e, rc, "the environment's URL is too long") : 0;
}

/* ---- updates ---- */

int arm_update_version(struct source *s, struct scope *scope, const char *env, const char *version,
		       const struct version_change *change, struct call *c, struct version **out,
		       struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct work w = {.arm = arm_of(s), .what = "the version", .change = change, .call = c};
	int rc = check_writable(scope, env, e);

	*out = NULL;
	if (!rc)
		rc = version_url(w.arm, &url, scope, env, version, e);
	w.url = buf_str(&url);
	w.fixed = scope->kind == SCOPE_REGISTRY;
	if (!rc)
		rc = make_change(&w, e);
	if (!rc)
		rc = asset_json_version(w.json, env, out, e);
	cJSON_Delete(w.json);
	return rc;
}

int arm_update_env(struct source *s, struct scope *scope, const char *env, bool archived,
		   struct call *c, struct env **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct version_change change = {.archived = archived};
	struct work w = {.arm = arm_of(s), .what = "the environment", .change = &change, .call = c};
	int rc = check_writable(scope, env, e);

	*out = NULL;
	if (!rc)
		rc = env_url(w.arm, &url, scope, env, e);
	w.url = buf_str(&url);
	w.fixed = scope->kind == SCOPE_REGISTRY;
	if (!rc)
		rc = make_change(&w, e);
	if (!rc)
		rc = asset_json_env(w.json, out, e);
	cJSON_Delete(w.json);
	return rc;
}

/* ---- deleting ---- */

/* No operation to poll: it is deleted when it is not there any more. */
static int look(struct arm *a, struct scope *scope, const struct arm_work *work, struct call *c,
		bool *done, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	cJSON *json = NULL;
	int rc;

	if (work->version)
		rc = version_url(a, &url, scope, work->env, work->version, e);
	else
		rc = env_url(a, &url, scope, work->env, e);
	if (!rc)
		rc = arm_get(a, buf_str(&url), c, &json, e);
	cJSON_Delete(json);
	*done = rc == -ENOENT;
	return *done ? 0 : rc;
}

static int delete_error(const struct arm_call *q, const struct http_response *r, struct err *e)
{
	int rc;

	/* An attempt whose answer was lost has deleted it. */
	if (r->status == 404 && r->attempts > 1)
		return 0;
	rc = arm_error(q->method, q->url, r, e);
	if (r->status == 400 || r->status == 405)
		return err_prefix(e, -EPERM, "the service does not delete it, archive it: ");
	return rc;
}

static int delete_url(struct arm *a, struct scope *scope, const struct arm_work *work,
		      const char *url, struct call *c, struct err *e)
{
	struct arm_call q = {.method = "DELETE", .url = url};
	struct http_response r = {0};
	struct turn turn;
	int rc = turn_take(a->turns, &turn, url, c);

	if (rc)
		return err_set(e, rc, "%s is being written by somebody else here", work->env);
	rc = arm_perform(a, &q, c, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = delete_error(&q, &r, e);
	else if (!rc && arm_is_accepted(&r))
		rc = arm_work_wait(a, scope, work, &r, c, e);
	http_response_clear(&r);
	turn_end(&turn);
	return rc;
}

int arm_delete_version(struct source *s, struct scope *scope, const char *env, const char *version,
		       struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	const struct arm_work work = {
		.verb = "delete",
		.participle = "deleted",
		.env = env,
		.version = version,
		.look = look,
	};
	int rc = check_writable(scope, env, e);

	if (!rc)
		rc = version_url(arm_of(s), &url, scope, env, version, e);
	return rc ? rc : delete_url(arm_of(s), scope, &work, buf_str(&url), c, e);
}

int arm_delete_env(struct source *s, struct scope *scope, const char *env, struct call *c,
		   struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	const struct arm_work work = {
		.verb = "delete",
		.participle = "deleted",
		.env = env,
		.look = look,
	};
	int rc = check_writable(scope, env, e);

	if (!rc)
		rc = env_url(arm_of(s), &url, scope, env, e);
	return rc ? rc : delete_url(arm_of(s), scope, &work, buf_str(&url), c, e);
}
