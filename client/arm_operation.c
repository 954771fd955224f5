/*
 * What the service does in its own time: it answers 202, or names an operation to be polled
 * (azureml-rest.md sections 11 and 13).
 *
 * Which of three ways says that it is done, the first that there is:
 *
 *   Azure-AsyncOperation          its body has a status
 *   Location, Operation-Location  202 until it is done
 *   none, or not ours to ask      we look at the resource itself, at its provisioningState
 *
 * Who runs out of time leaves the operation to be found by arm_operation_look(), so that a
 * resource that is not there yet is not taken for one that was never accepted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/operations.h"

enum { POLL_FIRST_MS = 500, POLL_MAX_MS = 10000 };

struct operation {
	struct arm *arm;
	struct scope *scope;
	const struct arm_work *work;
	struct call *call;
	struct operation_left where;
	struct operation_note note;
	int64_t wait; /* ns before the next poll */
	bool refused; /* the service says that it has failed, or knows nothing of it */
};

/* An operation elsewhere is waited for by looking at the version. */
bool arm_may_poll(const struct arm *a, const struct scope *scope, const char *url)
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

/* In the order in which Azure's own clients look for them; the first one tells by its body. */
static const char *const places[] = {"Azure-AsyncOperation", "Location", "Operation-Location"};

/* Takes the operation's URL out of an answer; the one before stays when there is none. */
static int operation_follow(struct operation *op, const struct http_response *r, struct err *e)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const char *url = http_response_header(r, places[i]);
		char *copy;

		if (!url || !arm_may_poll(op->arm, op->scope, url))
			continue;
		copy = strdup(url);
		if (!copy)
			return err_set(e, -ENOMEM, "no memory for an operation");
		free(op->where.url);
		op->where.url = copy;
		op->where.is_async = i == 0;
		return 0;
	}
	return 0;
}

static bool is_state(const char *state, const char *name)
{
	return strcasecmp(state, name) == 0;
}

/* The body of an Azure-AsyncOperation. */
static int async_progress(struct operation *op, const struct http_response *r, bool *done,
			  struct err *e)
{
	_cleanup_buf_ struct buf words = BUF_INIT(ERR_MSG_MAX);
	cJSON *json = NULL;
	const char *state;
	int rc = asset_json_parse(buf_str(&r->body), r->body.len, &json, e);

	if (rc)
		return err_prefix(e, rc, "an operation's state: ");
	state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "status"));
	operations_polled(op->arm->operations, &op->note, state);
	if (!state)
		rc = err_set(e, -EBADMSG, "an operation's state has no status");
	else if (is_state(state, "Succeeded"))
		*done = true;
	else if (is_state(state, "Failed") || is_state(state, "Canceled")) {
		arm_error_words(r, &words);
		op->refused = true;
		rc = err_set(e, -EIO, "the service could not %s it: %s %s", op->work->verb, state,
			     buf_str(&words));
	}
	cJSON_Delete(json);
	return rc;
}

static int location_progress(struct operation *op, const struct http_response *r, bool *done)
{
	*done = r->status != 202;
	operations_polled(op->arm->operations, &op->note, *done ? "Succeeded" : "Accepted");
	return 0;
}

static void operation_set_wait(struct operation *op, const struct http_response *r)
{
	if (r->retry_after > 0)
		op->wait = r->retry_after;
	else if (op->wait < POLL_MAX_MS * NS_PER_MS)
		op->wait *= 2;
}

/* An error that says something of the operation, not of the service's state at the moment. */
static bool is_final(int status)
{
	return status >= 400 && status < 500 && status != 401 && status != 403 && status != 408 &&
	       status != 429;
}

static int operation_poll(struct operation *op, bool *done, struct err *e)
{
	/* Polls of one operation have one id, as those of Azure's own clients do. */
	struct arm_call q = {.method = "GET", .url = op->where.url, .id = op->where.id};
	struct http_response r = {0};
	int rc = arm_perform(op->arm, &q, op->call, &r, e);

	if (!rc && http_status_errno(r.status)) {
		op->refused = is_final(r.status);
		rc = arm_error(q.method, q.url, &r, e);
	}
	if (!rc && op->where.is_async)
		rc = async_progress(op, &r, done, e);
	else if (!rc)
		rc = location_progress(op, &r, done);
	operation_set_wait(op, &r);
	if (!rc && !*done)
		rc = operation_follow(op, &r, e);
	http_response_clear(&r);
	return rc;
}

static int look(struct operation *op, bool *done, struct err *e)
{
	if (op->wait < POLL_MAX_MS * NS_PER_MS)
		op->wait *= 2;
	operations_polled(op->arm->operations, &op->note, NULL);
	return op->work->look(op->arm, op->scope, op->work, op->call, done, e);
}

static int out_of_time(const struct operation *op, struct err *e)
{
	const struct arm_work *w = op->work;

	return err_set(e, -EINPROGRESS,
		       "%s%s%s is still being %s by the service, which has accepted it: that goes "
		       "on by itself",
		       w->env, w->version ? ":" : "", w->version ? w->version : "", w->participle);
}

static int operation_wait(struct operation *op, struct err *e)
{
	for (;;) {
		bool done = false;
		int rc = op->where.url ? operation_poll(op, &done, e) : look(op, &done, e);

		if (rc == -ETIMEDOUT)
			return out_of_time(op, e);
		if (rc || done)
			return rc;
		rc = http_pause(op->arm->http, op->call, clock_mono() + op->wait);
		if (rc == -ETIMEDOUT)
			return out_of_time(op, e);
		if (rc)
			return err_set(e, rc, "cancelled while the service was at it");
	}
}

bool arm_is_accepted(const struct http_response *r)
{
	return r->status == 202 || http_response_header(r, "Azure-AsyncOperation") ||
	       http_response_header(r, "Operation-Location");
}

/* Whatever kept us from hearing how it ended says nothing of how it will. */
static bool is_open(const struct operation *op, int rc)
{
	return rc && !op->refused;
}

int arm_work_wait(struct arm *a, struct scope *scope, const struct arm_work *w,
		  const struct http_response *accepted, struct call *c, struct err *e)
{
	struct operation op = {
		.arm = a,
		.scope = scope,
		.work = w,
		.call = c,
		.note = {.scope = scope->name,
			 .env = w->env,
			 .version = w->version,
			 .participle = w->participle},
		.wait = POLL_FIRST_MS * NS_PER_MS,
	};
	int rc = operation_follow(&op, accepted, e);

	memcpy(op.where.id, accepted->id, sizeof(op.where.id));
	operations_begin(a->operations, &op.note);
	if (!rc)
		rc = operation_wait(&op, e);
	operations_end(a->operations, &op.note);
	if (is_open(&op, rc) && w->resource)
		operations_leave(a->operations, w->resource, &op.where, &op.note);
	operation_left_clear(&op.where);
	return rc;
}

int arm_operation_look(struct arm *a, struct scope *scope, const struct arm_work *w, struct call *c,
		       struct err *e)
{
	struct operation op = {.arm = a, .scope = scope, .work = w, .call = c};
	bool done = false;
	int rc = 0;

	if (!operations_find(a->operations, w->resource, &op.where))
		return 0;
	if (op.where.url)
		rc = operation_poll(&op, &done, e);
	if (!rc && !done)
		rc = out_of_time(&op, e);
	operation_left_clear(&op.where);
	if (is_open(&op, rc))
		return rc;
	/* Done, or the service says how it failed: now the resource itself is the truth. */
	operations_forget(a->operations, w->resource);
	err_clear(e);
	return 1;
}
