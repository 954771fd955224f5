#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/bearer.h"
#include "client/clock.h"
#include "client/http.h"
#include "client/log.h"
#include "tests/unit/stubserver.h"

enum { DEADLINE_S = 20, SOON_MS = 3000 };

struct fixture {
	struct stub *stub;
	struct http *http;
};

static struct http *make_http(unsigned int transfers)
{
	struct http_conf conf = {.max_transfers = transfers, .backoff = 10 * NS_PER_MS};
	struct http *h = NULL;

	assert_int_equal(http_new(&conf, &h, NULL), 0);
	return h;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->stub = stub_start(NULL);
	f->http = make_http(0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_free(f->http);
	stub_stop(f->stub);
	free(f);
	return 0;
}

static void make_url(const struct fixture *f, const char *path, char *out, size_t size)
{
	snprintf(out, size, "%s%s", stub_base(f->stub), path);
}

/* One request with a deadline of its own; the answer goes to *resp. */
static int ask_within(const struct fixture *f, const char *method, const char *path, size_t max,
		      int64_t ns, struct http_response *resp, struct err *e)
{
	char url[256];
	struct http_request r = {.method = method, .url = url, .max_body = max};
	struct call call;
	int rc;

	make_url(f, path, url, sizeof(url));
	call_init(&call, clock_mono() + ns, CALL_INTERACTIVE);
	rc = http_perform(f->http, &r, &call, resp, e);
	call_destroy(&call);
	return rc;
}

static int ask(const struct fixture *f, const char *method, const char *path,
	       struct http_response *resp, struct err *e)
{
	return ask_within(f, method, path, HTTP_JSON_MAX, DEADLINE_S * NS_PER_S, resp, e);
}

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct http_response r = {0};
	struct stub_rule rule = {.match = "GET /a?x=1",
				 .headers = "X-Ms-Thing:  v 1 \r\nETag: \"q\"\r\n",
				 .body = "hello"};

	stub_add(f->stub, &rule);
	assert_int_equal(ask(f, "GET", "/a?x=1", &r, NULL), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.attempts, 1);
	assert_int_equal(r.body.len, 5);
	assert_memory_equal(r.body.data, "hello", 5);
	assert_string_equal(http_response_header(&r, "etag"), "\"q\"");
	assert_null(http_response_header(&r, "x-ms"));
	assert_null(http_response_header(&r, "x-none"));
	http_response_clear(&r);
}

/* What is signed must be what is sent: nothing that libcurl likes to add may be there. */
static void test_headers_as_given(void **state)
{
	struct fixture *f = *state;
	char url[256], *head, *value, *body;
	struct kv headers[] = {{"x-ms-meta-a", "b c"}, {"Content-MD5", "abc="}};
	struct http_request q = {.method = "PUT",
				 .url = url,
				 .headers = headers,
				 .n_headers = 2,
				 .body = "x\0y",
				 .body_len = 3,
				 .max_body = 100,
				 .identity = true};
	struct http_response r = {0};
	struct call call;
	size_t len;

	stub_json(f->stub, "PUT /p", 201, "");
	make_url(f, "/p/%2E%2E/q", url, sizeof(url));
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), 0);
	assert_int_equal(r.status, 201);
	head = stub_head(f->stub, "PUT /p/%2E%2E/q ", 0);
	assert_string_not_equal(head, "");
	assert_null(stub_header(head, "Content-Type"));
	assert_null(stub_header(head, "Expect"));
	assert_null(stub_header(head, "Accept"));
	assert_null(stub_header(head, "Accept-Encoding"));
	value = stub_header(head, "x-ms-meta-a");
	assert_string_equal(value, "b c");
	free(value);
	value = stub_header(head, "Content-Length");
	assert_string_equal(value, "3");
	free(value);
	body = stub_body(f->stub, "PUT /p", 0, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(body, "x\0y", 3);
	free(body);
	free(head);

	/* An empty body is announced as such. */
	q.body = NULL;
	q.body_len = 0;
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), 0);
	head = stub_head(f->stub, "PUT /p", 1);
	value = stub_header(head, "Content-Length");
	assert_string_equal(value, "0");
	free(value);
	free(head);
	http_response_clear(&r);
	call_destroy(&call);
}

static void test_header_injection(void **state)
{
	struct fixture *f = *state;
	char url[256];
	struct kv header = {"x-a", "b\r\nEvil: 1"};
	struct http_request q = {
		.method = "GET", .url = url, .headers = &header, .n_headers = 1, .max_body = 10};
	struct http_response r = {0};
	struct call call;

	make_url(f, "/", url, sizeof(url));
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), -EINVAL);
	assert_int_equal(stub_count(f->stub, ""), 0);
	call_destroy(&call);
}

/* Every class of failure: its errno, and how many attempts it is worth. */
static void test_failures(void **state)
{
	static const struct {
		const char *method;
		enum stub_wrong wrong;
		const char *body;
		int code;
		unsigned int attempts;
		const char *text;
	} cases[] = {
		{"GET", STUB_CLOSE, NULL, -EIO, 4, "4 attempts"},
		{"POST", STUB_CLOSE, NULL, -EIO, 1, "POST /x: "},
		{"GET", STUB_RESET, NULL, -EIO, 4, "/x: "},
		{"GET", STUB_TRUNCATE, "0123456789", -EIO, 4, "/x: "},
		{"PUT", STUB_TRUNCATE, "0123456789", -EIO, 4, "/x: "},
		{"POST", STUB_TRUNCATE, "0123456789", -EIO, 1, "/x: "},
		{"GET", STUB_RAW, "\x16\x03garbage that is no HTTP\r\n\r\n", -EBADMSG, 1, "/x: "},
		{"GET", STUB_RAW, "HTTP/1.1 abc\r\n\r\n", -EBADMSG, 1, "/x: "},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct stub_rule rule = {
			.match = "", .wrong = cases[i].wrong, .body = cases[i].body};
		unsigned int before = stub_count(f->stub, "");
		struct http_response r = {0};
		struct err e = ERR_INIT;
		int64_t start = clock_mono();
		int rc;

		stub_clear(f->stub);
		stub_add(f->stub, &rule);
		rc = ask(f, cases[i].method, "/x", &r, &e);
		if (rc != cases[i].code || !strstr(e.msg, cases[i].text))
			fail_msg("case %zu: %d, %s", i, rc, e.msg);
		assert_int_equal(stub_count(f->stub, "") - before, cases[i].attempts);
		assert_int_equal(e.code, cases[i].code);
		assert_true(clock_mono() - start < SOON_MS * NS_PER_MS);
		http_response_clear(&r);
	}
}

static void test_refused_connection(void **state)
{
	struct fixture *f = *state;
	struct http_response r = {0};
	struct err e = ERR_INIT;
	struct stub *gone = stub_start(NULL);
	char url[256];
	struct http_request q = {.method = "POST", .url = url, .max_body = 10};
	struct call call;

	/* A port that nobody listens on any more; even a POST is tried again. */
	snprintf(url, sizeof(url), "%s/x", stub_base(gone));
	stub_stop(gone);
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(http_perform(f->http, &q, &call, &r, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.msg, "POST (4 attempts) /x: "));
	call_destroy(&call);
}

static void test_unknown_host(void **state)
{
	struct fixture *f = *state;
	struct http_response r = {0};
	struct http_request q = {
		.method = "GET", .url = "http://no-such-host.invalid/x", .max_body = 10};
	struct call call;
	int rc;

	call_init(&call, clock_mono() + 3 * NS_PER_S, CALL_INTERACTIVE);
	rc = http_perform(f->http, &q, &call, &r, NULL);
	/* A resolver that never answers is possible as well; either way it ends. */
	assert_true(rc == -EHOSTUNREACH || rc == -ETIMEDOUT);
	call_destroy(&call);
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	struct stub_rule fixed = {.match = "GET /fixed", .fill = 2000000};
	struct stub_rule open = {.match = "GET /open",
				 .wrong = STUB_RAW,
				 .body = "HTTP/1.1 200 OK\r\n\r\n0123456789012345678901234567890"};
	struct http_response r = {0};
	struct err e = ERR_INIT;

	stub_add(f->stub, &fixed);
	stub_add(f->stub, &open);
	assert_int_equal(ask_within(f, "GET", "/fixed", 1000, NS_PER_S * 5, &r, &e), -EFBIG);
	assert_non_null(strstr(e.msg, "more than 1000 bytes"));
	assert_int_equal(ask_within(f, "GET", "/open", 20, NS_PER_S * 5, &r, &e), -EFBIG);
	assert_int_equal(stub_count(f->stub, ""), 2);
	assert_int_equal(ask_within(f, "GET", "/fixed", 2000000, NS_PER_S * 5, &r, &e), 0);
	assert_int_equal(r.body.len, 2000000);
	http_response_clear(&r);
}

/* The body of an error is kept, but not all of a huge one, whatever was asked for. */
static void test_error_body(void **state)
{
	struct fixture *f = *state;
	struct stub_rule huge = {.match = "GET /huge", .status = 400, .fill = 20000000};
	struct http_response r = {0};

	stub_json(f->stub, "GET /small", 404, "{\"error\":{}}");
	stub_add(f->stub, &huge);
	assert_int_equal(ask_within(f, "GET", "/small", 1, NS_PER_S * 5, &r, NULL), 0);
	assert_int_equal(r.status, 404);
	assert_int_equal(r.body.len, 12);
	assert_int_equal(ask_within(f, "GET", "/huge", 1, NS_PER_S * 5, &r, NULL), 0);
	assert_int_equal(r.status, 400);
	assert_int_equal(r.body.len, HTTP_ERROR_BODY_MAX);
	http_response_clear(&r);
}

static void test_huge_head(void **state)
{
	struct fixture *f = *state;
	size_t n = HTTP_HEAD_MAX + 4096;
	char *head = malloc(n + 1), line[] = "X-Filler: 0123456789012345678901234567890123456\r\n";
	struct stub_rule rule = {.match = "GET /", .headers = head};
	struct http_response r = {0};
	size_t at = 0;

	assert_non_null(head);
	for (; at + sizeof(line) < n; at += sizeof(line) - 1)
		memcpy(head + at, line, sizeof(line));
	stub_add(f->stub, &rule);
	assert_int_equal(ask(f, "GET", "/", &r, NULL), -EBADMSG);
	http_response_clear(&r);
	stub_clear(f->stub);
	free(head);
}

static void test_deadline(void **state)
{
	static const enum stub_wrong wrongs[] = {STUB_HANG, STUB_STALL};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct stub_rule rule = {.match = "", .wrong = wrongs[i], .body = "0123456789"};
		struct http_response r = {0};
		struct err e = ERR_INIT;
		int64_t start = clock_mono();

		stub_clear(f->stub);
		stub_add(f->stub, &rule);
		assert_int_equal(ask_within(f, "GET", "/slow", 100, 200 * NS_PER_MS, &r, &e),
				 -ETIMEDOUT);
		assert_true(clock_mono() - start >= 190 * NS_PER_MS);
		assert_true(clock_mono() - start < SOON_MS * NS_PER_MS);
		assert_non_null(strstr(e.msg, "/slow"));
		http_response_clear(&r);
	}
}

/* ---- attempts ---- */

static void test_retry_statuses(void **state)
{
	static const struct {
		const char *method;
		int status;
		unsigned int attempts;
	} cases[] = {
		{"GET", 408, 4},  {"GET", 429, 4},  {"GET", 500, 4},  {"GET", 502, 4},
		{"GET", 503, 4},  {"GET", 504, 4},  {"PUT", 500, 4},  {"HEAD", 503, 4},
		{"POST", 500, 1}, {"POST", 503, 1}, {"POST", 429, 4}, {"GET", 400, 1},
		{"GET", 401, 1},  {"GET", 403, 1},  {"GET", 404, 1},  {"PUT", 409, 1},
		{"GET", 501, 1},  {"GET", 301, 1},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned int before = stub_count(f->stub, "");
		struct http_response r = {0};

		stub_clear(f->stub);
		stub_json(f->stub, "", cases[i].status, "{}");
		assert_int_equal(ask(f, cases[i].method, "/x", &r, NULL), 0);
		assert_int_equal(r.status, cases[i].status);
		assert_int_equal(r.attempts, cases[i].attempts);
		assert_int_equal(stub_count(f->stub, "") - before, cases[i].attempts);
		http_response_clear(&r);
	}
}

/*
 * A request that must not be repeated is not repeated below us either: libcurl would, when the
 * connection that it reuses turns out to be dead.
 */
static void test_post_once(void **state)
{
	struct fixture *f = *state;
	struct stub_rule lost = {.match = "POST /x", .wrong = STUB_CLOSE};
	struct http_response r = {0};

	stub_add(f->stub, &lost);
	stub_json(f->stub, "GET /x", 200, "{}");
	assert_int_equal(ask(f, "GET", "/x", &r, NULL), 0);
	assert_int_equal(ask(f, "POST", "/x", &r, NULL), -EIO);
	assert_int_equal(stub_count(f->stub, "POST /x"), 1);
	http_response_clear(&r);
}

static void test_retry_succeeds(void **state)
{
	struct fixture *f = *state;
	struct stub_rule bad = {.match = "GET /x", .status = 503, .times = 2};
	struct stub_rule lost = {.match = "GET /x", .wrong = STUB_CLOSE, .times = 1};
	struct http_response r = {0};
	char *one, *two, *a, *b;

	/* Lost first: on a connection that was used before, libcurl itself asks again. */
	stub_add(f->stub, &lost);
	stub_add(f->stub, &bad);
	stub_json(f->stub, "GET /x", 200, "{}");
	assert_int_equal(ask(f, "GET", "/x", &r, NULL), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.attempts, 4);
	one = stub_head(f->stub, "GET /x", 0);
	two = stub_head(f->stub, "GET /x", 3);
	a = stub_header(one, "x-ms-client-request-id");
	b = stub_header(two, "x-ms-client-request-id");
	assert_int_equal(strlen(a), 36);
	assert_string_equal(a, b);
	free(a);
	free(b);
	free(one);
	free(two);
	http_response_clear(&r);
}

/* A redirect is an answer like any other: the token goes nowhere else. */
static void test_no_redirect(void **state)
{
	struct fixture *f = *state;
	struct stub_rule rule = {
		.match = "GET /from", .status = 302, .headers = "Location: {base}/to\r\n"};
	struct http_response r = {0};

	stub_add(f->stub, &rule);
	stub_json(f->stub, "GET /to", 200, "{}");
	assert_int_equal(ask(f, "GET", "/from", &r, NULL), 0);
	assert_int_equal(r.status, 302);
	assert_int_equal(stub_count(f->stub, "GET /to"), 0);
	http_response_clear(&r);
}

static void test_retry_after_is_waited(void **state)
{
	static const char *const headers[] = {"retry-after-ms: 300\r\n",
					      "x-ms-retry-after-ms: 300\r\n", "Retry-After: 1\r\n"};
	static const int64_t least[] = {300, 300, 1000};
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		struct stub_rule busy = {
			.match = "", .status = 429, .times = 1, .headers = headers[i]};
		struct http_response r = {0};
		int64_t start = clock_mono();

		stub_clear(f->stub);
		stub_add(f->stub, &busy);
		stub_json(f->stub, "", 200, "{}");
		assert_int_equal(ask(f, "GET", "/x", &r, NULL), 0);
		assert_int_equal(r.status, 200);
		assert_int_equal(r.attempts, 2);
		assert_true(clock_mono() - start >= least[i] * NS_PER_MS);
		http_response_clear(&r);
	}
}

/* A wait that does not fit into the deadline is not begun. */
static void test_retry_after_too_long(void **state)
{
	struct fixture *f = *state;
	char date[128];
	time_t then = time(NULL) + 120;
	struct tm tm;
	const char *headers[] = {"Retry-After: 60\r\n", "Retry-After: 99999999999999999999\r\n",
				 date};

	gmtime_r(&then, &tm);
	strftime(date, sizeof(date), "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	for (size_t i = 0; i < 3; i++) {
		struct stub_rule busy = {.match = "", .status = 503, .headers = headers[i]};
		struct http_response r = {0};
		int64_t start = clock_mono();

		stub_clear(f->stub);
		stub_add(f->stub, &busy);
		assert_int_equal(ask(f, "GET", "/x", &r, NULL), 0);
		assert_int_equal(r.status, 503);
		assert_int_equal(r.attempts, 1);
		assert_true(r.retry_after >= 59 * NS_PER_S);
		assert_true(clock_mono() - start < SOON_MS * NS_PER_MS);
		http_response_clear(&r);
	}
	stub_clear(f->stub);
}

/* ---- credentials ---- */

struct counting_credential {
	struct credential base;
	int invalidated;
};

static int counting_get(struct credential *c, const char *scope, struct call *call, struct buf *out,
			struct err *e)
{
	struct counting_credential *self = (struct counting_credential *)c;

	(void)scope;
	(void)call;
	(void)e;
	return buf_addf(out, "token%d", self->invalidated);
}

static void counting_invalidate(struct credential *c, const char *scope, uint64_t refused)
{
	(void)scope;
	(void)refused;
	((struct counting_credential *)c)->invalidated++;
}

static const struct credential_ops counting_ops = {.get_token = counting_get,
						   .invalidate = counting_invalidate};

static void test_unauthorized(void **state)
{
	struct fixture *f = *state;
	struct counting_credential cred = {.base.ops = &counting_ops};
	struct bearer_auth auth = bearer_auth(&cred.base, SCOPE_ARM);
	char url[256];
	struct http_request q = {.method = "POST", .url = url, .auth = &auth.base, .max_body = 100};
	struct http_response r = {0};
	struct stub_rule good = {
		.match = "POST /x", .contain = "Authorization: Bearer token1\r\n", .body = "{}"};
	struct call call;

	make_url(f, "/x", url, sizeof(url));
	stub_add(f->stub, &good);
	stub_json(f->stub, "", 401, "{}");
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.attempts, 2);
	assert_int_equal(cred.invalidated, 1);
	/* A second 401 is final. */
	stub_clear(f->stub);
	stub_json(f->stub, "", 401, "{}");
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), 0);
	assert_int_equal(r.status, 401);
	assert_int_equal(r.attempts, 2);
	assert_int_equal(cred.invalidated, 2);
	http_response_clear(&r);
	call_destroy(&call);
}

static void test_static_credential(void **state)
{
	struct credential *c = NULL;
	struct buf token = BUF_INIT(1000);

	(void)state;
	assert_int_equal(credential_static_new(" abc.def\n", 9, &c, NULL), 0);
	assert_int_equal(credential_get_token(c, SCOPE_ARM, NULL, &token, NULL), 0);
	assert_string_equal(buf_str(&token), "abc.def");
	credential_invalidate(c, SCOPE_ARM, 0);
	credential_free(c);
	buf_wipe(&token);
	assert_int_equal(credential_static_new("", 0, &c, NULL), -EINVAL);
	assert_int_equal(credential_static_new("a b", 3, &c, NULL), -EINVAL);
	assert_int_equal(credential_static_new("a\r\nX: y", 7, &c, NULL), -EINVAL);
	assert_int_equal(credential_none_new(&c, NULL), 0);
	assert_int_equal(credential_get_token(c, SCOPE_ARM, NULL, &token, NULL), 0);
	assert_int_equal(token.len, 0);
	credential_free(c);
}

/* ---- cancelling and stopping ---- */

struct asker {
	const struct fixture *f;
	const char *path;
	struct call call;
	int64_t ended;
	int rc;
	pthread_t thread;
};

static void *ask_thread(void *arg)
{
	struct asker *a = arg;
	char url[256];
	struct http_request q = {.method = "GET", .url = url, .max_body = 1000};
	struct http_response r = {0};

	make_url(a->f, a->path, url, sizeof(url));
	a->rc = http_perform(a->f->http, &q, &a->call, &r, NULL);
	a->ended = clock_mono();
	http_response_clear(&r);
	return NULL;
}

static void asker_start(struct asker *a, const struct fixture *f, const char *path,
			enum call_prio prio)
{
	*a = (struct asker){.f = f, .path = path};
	call_init(&a->call, clock_mono() + DEADLINE_S * NS_PER_S, prio);
	assert_int_equal(pthread_create(&a->thread, NULL, ask_thread, a), 0);
}

static int asker_end(struct asker *a)
{
	pthread_join(a->thread, NULL);
	call_destroy(&a->call);
	return a->rc;
}

static void test_cancel_hanging(void **state)
{
	static const enum stub_wrong wrongs[] = {STUB_HANG, STUB_STALL};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		struct stub_rule rule = {.match = "", .wrong = wrongs[i], .body = "0123456789"};
		struct asker a;
		int64_t at;

		stub_clear(f->stub);
		stub_add(f->stub, &rule);
		asker_start(&a, f, "/x", CALL_INTERACTIVE);
		stub_wait(f->stub, i + 1);
		at = clock_mono();
		call_cancel(&a.call);
		assert_int_equal(asker_end(&a), -ECANCELED);
		assert_true(a.ended - at < NS_PER_S);
	}
}

static void test_cancel_before(void **state)
{
	struct fixture *f = *state;
	struct call call;
	struct http_request q = {.method = "GET", .url = "http://127.0.0.1:1/", .max_body = 1};
	struct http_response r = {0};

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	call_cancel(&call);
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), -ECANCELED);
	call_destroy(&call);
	call_init(&call, clock_mono() - 1, CALL_INTERACTIVE);
	assert_int_equal(http_perform(f->http, &q, &call, &r, NULL), -ETIMEDOUT);
	call_destroy(&call);
	assert_int_equal(stub_count(f->stub, ""), 0);
}

/* Cancelled while it waits for a place, and while it waits to try again. */
static void test_cancel_queued_and_pausing(void **state)
{
	struct fixture *f = *state;
	struct stub_rule hang = {.match = "GET /hang", .wrong = STUB_HANG};
	struct stub_rule busy = {
		.match = "GET /busy", .status = 429, .headers = "Retry-After: 15\r\n"};
	struct asker running, queued, pausing;
	int64_t at;

	http_free(f->http);
	f->http = make_http(1);
	stub_add(f->stub, &hang);
	stub_add(f->stub, &busy);
	asker_start(&pausing, f, "/busy", CALL_INTERACTIVE);
	stub_wait(f->stub, 1);
	asker_start(&running, f, "/hang", CALL_INTERACTIVE);
	stub_wait(f->stub, 2);
	asker_start(&queued, f, "/hang", CALL_INTERACTIVE);
	at = clock_mono();
	call_cancel(&queued.call);
	call_cancel(&pausing.call);
	assert_int_equal(asker_end(&queued), -ECANCELED);
	assert_int_equal(asker_end(&pausing), -ECANCELED);
	call_cancel(&running.call);
	assert_int_equal(asker_end(&running), -ECANCELED);
	assert_true(running.ended - at < 2 * NS_PER_S);
	assert_int_equal(stub_count(f->stub, ""), 2);
}

static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct stub_rule hang = {.match = "GET /hang", .wrong = STUB_HANG};
	struct stub_rule busy = {
		.match = "GET /busy", .status = 429, .headers = "Retry-After: 15\r\n"};
	struct asker askers[6];
	struct http_response r = {0};
	int64_t at;

	http_free(f->http);
	f->http = make_http(2);
	stub_add(f->stub, &hang);
	stub_add(f->stub, &busy);
	asker_start(&askers[0], f, "/busy", CALL_INTERACTIVE);
	stub_wait(f->stub, 1);
	for (int i = 1; i < 6; i++)
		asker_start(&askers[i], f, "/hang", i % 2 ? CALL_PREFETCH : CALL_INTERACTIVE);
	stub_wait(f->stub, 3);
	at = clock_mono();
	http_stop(f->http);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(asker_end(&askers[i]), -ECANCELED);
		assert_true(askers[i].ended - at < NS_PER_S);
	}
	assert_int_equal(ask(f, "GET", "/hang", &r, NULL), -ECANCELED);
	assert_int_equal(stub_count(f->stub, ""), 3);
}

/* With one place, what somebody waits for goes before what nobody waits for yet. */
static void test_priority(void **state)
{
	struct fixture *f = *state;
	struct stub_rule first = {.match = "GET /first", .delay_ms = 300, .body = "1"};
	struct asker a, prefetch, urgent;
	struct call probe;
	char *second;

	http_free(f->http);
	f->http = make_http(1);
	stub_add(f->stub, &first);
	stub_json(f->stub, "GET /", 200, "2");
	asker_start(&a, f, "/first", CALL_INTERACTIVE);
	stub_wait(f->stub, 1);
	asker_start(&prefetch, f, "/prefetch", CALL_PREFETCH);
	/* Its place in the queue is taken before the other's: give it a moment of the 300 ms. */
	call_init(&probe, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(http_pause(f->http, &probe, clock_mono() + 50 * NS_PER_MS), 0);
	call_destroy(&probe);
	asker_start(&urgent, f, "/urgent", CALL_INTERACTIVE);
	assert_int_equal(asker_end(&a), 0);
	assert_int_equal(asker_end(&prefetch), 0);
	assert_int_equal(asker_end(&urgent), 0);
	second = stub_head(f->stub, "GET /", 1);
	assert_non_null(strstr(second, "GET /urgent "));
	free(second);
}

/* ---- many ---- */

enum { THREADS = 8, EACH = 125 };

static void *many_thread(void *arg)
{
	const struct fixture *f = arg;
	intptr_t failed = 0;

	for (int i = 0; i < EACH; i++) {
		struct http_response r = {0};
		int rc = ask(f, i % 3 ? "GET" : "PUT", "/many", &r, NULL);

		failed += rc || r.status != 200 || r.body.len != 10;
		http_response_clear(&r);
	}
	return (void *)failed;
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[THREADS];
	void *failed;

	stub_json(f->stub, "", 200, "0123456789");
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, many_thread, f), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(stub_count(f->stub, ""), THREADS * EACH);
	/* Connections are kept: no more than run at once. */
	assert_true(stub_connections(f->stub) <= HTTP_TRANSFERS_DEFAULT);
}

/* Callers that leave at any moment: nothing is lost, nothing is used after it was freed. */
static void *leaving_thread(void *arg)
{
	const struct fixture *f = arg;

	for (int i = 0; i < 40; i++) {
		struct http_response r = {0};

		(void)ask_within(f, "PUT", "/leave", 100, (i % 7) * NS_PER_MS, &r, NULL);
		http_response_clear(&r);
	}
	return NULL;
}

static void test_leaving(void **state)
{
	struct fixture *f = *state;
	struct stub_rule slow = {.match = "PUT /leave", .delay_ms = 3, .body = "0123456789"};
	pthread_t threads[THREADS];

	stub_add(f->stub, &slow);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, leaving_thread, f), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void test_unix_socket(void **state)
{
	char dir[] = "/tmp/test-http-XXXXXX", path[64];
	struct http_conf conf = {.unix_socket = path, .socket_origin = "http://localhost"};
	struct fixture f = {0};
	struct http_response r = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	f.stub = stub_start(path);
	assert_int_equal(http_new(&conf, &f.http, NULL), 0);
	stub_json(f.stub, "GET /x", 200, "{}");
	assert_int_equal(ask(&f, "GET", "/x", &r, NULL), 0);
	assert_int_equal(r.status, 200);
	http_response_clear(&r);
	http_free(f.http);
	stub_stop(f.stub);
	rmdir(dir);
}

static void test_shown_path(void **state)
{
	char out[HTTP_SHOWN_PATH], url[1024];

	(void)state;
	http_shown_path("https://h/subscriptions/s/resourceGroups/g/providers/"
			"Microsoft.MachineLearningServices/workspaces/w/environments?a=b&sig=c",
			out);
	assert_string_equal(out, "workspaces/w/environments");
	http_shown_path("https://h?sig=1", out);
	assert_string_equal(out, "");
	memset(url, 'a', sizeof(url));
	memcpy(url, "https://h/", 10);
	memcpy(url + 1000, "?sig=secret", sizeof("?sig=secret"));
	http_shown_path(url, out);
	assert_int_equal(strlen(out), HTTP_SHOWN_PATH - 2);
	assert_null(strstr(out, "secret"));
}

#define WITH_STUB(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STUB(test_get),
		WITH_STUB(test_headers_as_given),
		WITH_STUB(test_header_injection),
		WITH_STUB(test_failures),
		WITH_STUB(test_refused_connection),
		WITH_STUB(test_unknown_host),
		WITH_STUB(test_too_large),
		WITH_STUB(test_error_body),
		WITH_STUB(test_huge_head),
		WITH_STUB(test_deadline),
		WITH_STUB(test_retry_statuses),
		WITH_STUB(test_post_once),
		WITH_STUB(test_retry_succeeds),
		WITH_STUB(test_no_redirect),
		WITH_STUB(test_retry_after_is_waited),
		WITH_STUB(test_retry_after_too_long),
		WITH_STUB(test_unauthorized),
		cmocka_unit_test(test_static_credential),
		WITH_STUB(test_cancel_hanging),
		WITH_STUB(test_cancel_before),
		WITH_STUB(test_cancel_queued_and_pausing),
		WITH_STUB(test_stop),
		WITH_STUB(test_priority),
		WITH_STUB(test_many),
		WITH_STUB(test_leaving),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_shown_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
