/*
 * What the service does in its own time: it answers 202, or names an operation to be polled
 * (azureml-rest.md sections 11 and 13).
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

struct operation {
	struct arm *arm;
	const struct arm_work *work;
	struct call *call;
	char *url;     /* what to poll; NULL: nothing, we look for ourselves */
	bool is_async; /* an Azure-AsyncOperation: the state is in its body */
	int64_t wait;  /* ns before the next poll */
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

/* Takes the operation's URL out of an answer; the one before stays when there is none. */
static int operation_follow(struct operation *op, const struct scope *scope,
			    const struct http_response *r, struct err *e)
{
	const char *url = http_response_header(r, "Azure-AsyncOperation");
	bool is_async = url != NULL;
	char *copy;

	if (!url)
		url = http_response_header(r, "Location");
	if (!url || !arm_may_poll(op->arm, scope, url))
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
static int async_progress(const struct operation *op, const struct http_response *r, bool *done,
			  struct err *e)
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
		*done = true;
	else if (is_state(state, "Failed") || is_state(state, "Canceled")) {
		arm_error_words(r, &words);
		rc = err_set(e, -EIO, "the service could not %s it: %s %s", op->work->verb, state,
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

static int operation_poll(struct operation *op, const struct scope *scope, bool *done,
			  struct err *e)
{
	struct arm_call q = {.method = "GET", .url = op->url};
	struct http_response r = {0};
	int rc = arm_perform(op->arm, &q, op->call, &r, e);

	if (!rc && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc && op->is_async)
		rc = async_progress(op, &r, done, e);
	else if (!rc && r.status != 202)
		*done = true;
	operation_set_wait(op, &r);
	if (!rc && !*done)
		rc = operation_follow(op, scope, &r, e);
	http_response_clear(&r);
	return rc;
}

static int look(struct operation *op, struct scope *scope, bool *done, struct err *e)
{
	if (op->wait < POLL_MAX_MS * NS_PER_MS)
		op->wait *= 2;
	return op->work->look(op->arm, scope, op->work, op->call, done, e);
}

static int operation_wait(struct operation *op, struct scope *scope, struct err *e)
{
	const struct arm_work *w = op->work;

	for (;;) {
		bool done = false;
		int rc = op->url ? operation_poll(op, scope, &done, e) : look(op, scope, &done, e);

		if (rc || done)
			return rc;
		rc = http_pause(op->arm->http, op->call, clock_mono() + op->wait);
		if (rc)
			return err_set(e, rc, "%s%s%s is still being %s by the service", w->env,
				       w->version ? ":" : "", w->version ? w->version : "",
				       w->participle);
	}
}

bool arm_is_accepted(const struct http_response *r)
{
	return r->status == 202 || http_response_header(r, "Azure-AsyncOperation");
}

int arm_work_wait(struct arm *a, struct scope *scope, const struct arm_work *w,
		  const struct http_response *accepted, struct call *c, struct err *e)
{
	struct operation op = {
		.arm = a,
		.work = w,
		.call = c,
		.wait = POLL_FIRST_MS * NS_PER_MS,
	};
	int rc = operation_follow(&op, scope, accepted, e);

	if (!rc)
		rc = operation_wait(&op, scope, e);
	free(op.url);
	return rc;
}
