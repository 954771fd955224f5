/*
 * Attempts of one request. What is repeated, and when, is in docs/client.md; in short: only what
 * is safe to repeat, at most HTTP_ATTEMPTS_MAX times, and only when the wait before it ends within
 * the call's deadline - a wait that does not fit is not begun.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "client/clock.h"
#include "client/http_int.h"
#include "client/log.h"

enum { RETRY_AFTER_MAX_S = 24 * 3600 };

/* ---- headers ---- */

int http_headers_add(struct http_headers *h, const char *name, const char *value)
{
	size_t n = strlen(value);
	char *copy;

	if (h->n == HTTP_HEADERS_MAX || n > HTTP_HEADER_VALUE_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
			return -EINVAL;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	h->items[h->n++] = (struct kv){.key = name, .value = copy};
	return 0;
}

void http_headers_clear(struct http_headers *h)
{
	for (size_t i = 0; i < h->n; i++) {
		char *value = (char *)(uintptr_t)h->items[i].value;

		explicit_bzero(value, strlen(value));
		free(value);
	}
	h->n = 0;
}

/* A random (version 4) UUID. */
static int make_request_id(char out[HTTP_ID_SIZE])
{
	unsigned char r[16];

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return -EIO;
	r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
	r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
	snprintf(out, HTTP_ID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
		 r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
		 r[15]);
	return 0;
}

/* All headers of one attempt; the request id stays the same for all attempts. */
static int make_headers(const struct http_request *r, const char *request_id,
			struct http_headers *h, struct call *call, struct err *e)
{
	char length[32];
	int rc = 0;

	for (size_t i = 0; i < r->n_headers && !rc; i++)
		rc = http_headers_add(h, r->headers[i].key, r->headers[i].value);
	if (!rc)
		rc = http_headers_add(h, "x-ms-client-request-id", request_id);
	if (!rc && r->body_len) {
		snprintf(length, sizeof(length), "%zu", r->body_len);
		rc = http_headers_add(h, "Content-Length", length);
	}
	if (rc)
		return err_set(e, rc, "a request header can't be sent");
	return r->auth ? r->auth->apply(r->auth, r, h, call, e) : 0;
}

/* ---- answers ---- */

const char *http_response_header(const struct http_response *r, const char *name)
{
	const char *at = r->head.data, *end = at ? at + r->head.len : at;
	size_t n = strlen(name);

	for (; at < end; at += strlen(at) + 1) {
		if (strncasecmp(at, name, n) == 0 && at[n] == ':') {
			at += n + 1;
			return at + strspn(at, " \t");
		}
	}
	return NULL;
}

void http_response_clear(struct http_response *r)
{
	buf_wipe(&r->body);
	buf_wipe(&r->head);
	*r = (struct http_response){.retry_after = -1};
}

/* A number of units (ns each); -1 when text is not a number. */
static int64_t parse_wait(const char *text, int64_t unit)
{
	int64_t max = RETRY_AFTER_MAX_S * NS_PER_S / unit;
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || end[strspn(end, " \t")] || n < 0)
		return -1;
	return (errno || n > max ? max : n) * unit;
}

static int64_t parse_date_wait(const char *text)
{
	time_t when = curl_getdate(text, NULL);
	int64_t wait;

	if (when < 0)
		return -1;
	wait = (int64_t)when * NS_PER_S - clock_wall();
	if (wait > RETRY_AFTER_MAX_S * NS_PER_S)
		wait = RETRY_AFTER_MAX_S * NS_PER_S;
	return wait > 0 ? wait : 0;
}

static int64_t retry_after(const struct http_response *r)
{
	static const char *const in_ms[] = {"retry-after-ms", "x-ms-retry-after-ms"};
	const char *text;
	int64_t wait;

	for (size_t i = 0; i < sizeof(in_ms) / sizeof(*in_ms); i++) {
		text = http_response_header(r, in_ms[i]);
		wait = text ? parse_wait(text, NS_PER_MS) : -1;
		if (wait >= 0)
			return wait;
	}
	text = http_response_header(r, "retry-after");
	if (!text)
		return -1;
	wait = parse_wait(text, NS_PER_S);
	return wait >= 0 ? wait : parse_date_wait(text);
}

static void log_attempt(const struct http_request *r, const struct http_response *resp, int rc,
			const char *client_id, int64_t start)
{
	const char *id = http_response_header(resp, "x-ms-request-id");
	char path[HTTP_SHOWN_PATH];

	if (log_get_level() < LOG_LEVEL_DEBUG)
		return;
	if (!id)
		id = http_response_header(resp, "x-ms-correlation-request-id");
	http_shown_path(r->url, path);
	log_debug("op=http method=%s path=%s status=%d error=%d ms=%lld bytes=%zu attempt=%u "
		  "req=%.80s client_req=%s",
		  r->method, path, resp->status, rc,
		  (long long)((clock_mono() - start) / NS_PER_MS), resp->body.len, resp->attempts,
		  id ? id : "-", client_id);
}

/* ---- attempts ---- */

struct attempts {
	struct http *http;
	const struct http_request *r;
	struct call *call;
	struct http_response *out;
	struct err *e;
	char request_id[HTTP_ID_SIZE];
	bool repeatable;
	bool refused; /* a 401 has been answered with fresh credentials */
	bool unsent;  /* what failed was not this request, and says itself what it was */
	enum http_retry again;
};

static int attempt_once(struct attempts *a, const struct http_headers *headers)
{
	const struct http_gate *gate = a->r->gate;
	int64_t start;
	int rc = gate ? gate->enter(gate, a->r->method, a->call, a->e) : 0;

	a->unsent = rc;
	if (rc)
		return rc;
	start = clock_mono();
	rc = http_once(a->http, a->r, headers, a->call, a->out, &a->again, a->e);
	log_attempt(a->r, a->out, rc, a->request_id, start);
	if (!rc)
		a->out->retry_after = retry_after(a->out);
	if (gate)
		gate->leave(gate, a->r->method, a->out);
	return rc;
}

static int attempt(struct attempts *a)
{
	struct http_headers headers = {.n = 0};
	unsigned int n = a->out->attempts + 1;
	int rc;

	http_response_clear(a->out);
	a->out->attempts = n;
	memcpy(a->out->id, a->request_id, sizeof(a->request_id));
	a->again = HTTP_RETRY_NO;
	rc = call_check(a->call);
	if (rc)
		err_set(a->e, rc, rc == -ECANCELED ? "cancelled" : "no time left for a request");
	else
		rc = make_headers(a->r, a->request_id, &headers, a->call, a->e);
	a->unsent = rc && !call_check(a->call);
	if (!rc)
		rc = attempt_once(a, &headers);
	http_headers_clear(&headers);
	return rc;
}

/* Whether the attempt that ended with rc deserves another. */
static bool worth_another(struct attempts *a, int rc)
{
	if (a->out->attempts >= HTTP_ATTEMPTS_MAX || (a->r->once && a->out->status != 401))
		return false;
	if (rc)
		return a->again == HTTP_RETRY_ALWAYS ||
		       (a->again == HTTP_RETRY_SAFE && a->repeatable);
	if (a->out->status == 401 && !a->refused && a->r->auth && a->r->auth->refused) {
		a->refused = true;
		a->r->auth->refused(a->r->auth);
		return true;
	}
	return http_status_retry(a->out->status, a->repeatable);
}

/* Half of the doubling step and up to as much again: clients that failed together spread. */
static int64_t backoff(const struct attempts *a)
{
	int64_t half = a->http->backoff << (a->out->attempts - 1) >> 1;
	uint16_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != (ssize_t)sizeof(r))
		r = UINT16_MAX / 2;
	return half + half * r / UINT16_MAX;
}

static int64_t wait_before_next(const struct attempts *a, int rc)
{
	if (!rc && a->out->retry_after >= 0)
		return a->out->retry_after;
	return !rc && a->out->status == 401 ? 0 : backoff(a);
}

bool http_repeatable(const struct http_request *r)
{
	return r->repeatable || strcmp(r->method, "POST") != 0;
}

/* There is no answer with an id of the service's, so ours is what its people can look for. */
static int describe_failure(const struct attempts *a, int rc)
{
	struct err why = a->e ? *a->e : (struct err)ERR_INIT;
	char tries[32] = "";

	if (a->out->attempts > 1)
		snprintf(tries, sizeof(tries), "(%u attempts) ", a->out->attempts);
	return err_set(a->e, rc, "%s %s%s [x-ms-client-request-id %s]", a->r->method, tries,
		       err_text(&why, rc), a->request_id);
}

int http_perform(struct http *h, const struct http_request *r, struct call *call,
		 struct http_response *out, struct err *e)
{
	struct attempts a = {.http = h,
			     .r = r,
			     .call = call,
			     .out = out,
			     .e = e,
			     .repeatable = http_repeatable(r)};
	int rc;

	http_response_clear(out);
	if (r->id && strlen(r->id) < sizeof(a.request_id))
		memcpy(a.request_id, r->id, strlen(r->id) + 1);
	else if (make_request_id(a.request_id))
		return err_set(e, -EIO, "no random bytes");
	for (;;) {
		int64_t next;
		int pause;

		rc = attempt(&a);
		if (!worth_another(&a, rc))
			break;
		next = clock_mono() + wait_before_next(&a, rc);
		if (next >= call->deadline)
			break;
		pause = http_pause(h, call, next);
		if (pause) {
			rc = err_set(e, pause, "cancelled while waiting to try again");
			break;
		}
	}
	return rc && !a.unsent ? describe_failure(&a, rc) : rc;
}
