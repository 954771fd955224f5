/* Reading files of build contexts: checksums of what comes, and signatures that run out meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/buf.h"
#include "client/clock.h"
#include "client/crc64.h"
#include "tests/unit/armfixture.h"

#define FOLDER "/acct/c1/LocalUpload/h/ctx/"
#define STORES "GET " WS "/datastores?"
#define SECRET "POST " WS "/datastores/s/listSecrets?"
#define LIST   "GET /acct/c1?restype=container"
#define SIZE   "6000000"

#define STORE(type)                                                                             \
	"{\"value\":[{\"name\":\"s\",\"properties\":{\"datastoreType\":\"AzureBlob\","          \
	"\"accountName\":\"acct\",\"containerName\":\"c1\",\"endpoint\":\"{base}\","            \
	"\"protocol\":\"http\",\"isDefault\":true,\"credentials\":{\"credentialsType\":\"" type \
	"\"}}}]}"
#define XML(name, size)                                                            \
	"<EnumerationResults><Blobs><Blob><Name>LocalUpload/h/ctx/" name "</Name>" \
	"<Properties><Content-Length>" size "</Content-Length><Etag>0x1</Etag>"    \
	"</Properties></Blob></Blobs><NextMarker/></EnumerationResults>"

/* MD5 of "hello\n", and what the ranges of the tests hold. */
#define HELLO     "hello\n"
#define HELLO_MD5 "sZRqySSS0jR8YjW00mERhA=="
#define PART      "Content-Range: bytes 100-105/" SIZE "\r\n"

static void list(struct arm_fixture *f, struct context **ctx)
{
	char uri[256];
	struct version fields = {.env = "e1", .version = "1", .context_uri = uri}, *v;

	snprintf(uri, sizeof(uri), "%s" FOLDER, stub_base(f->stub));
	v = version_new(&fields);
	assert_non_null(v);
	stub_json(f->stub, LIST, 200, XML("big", SIZE));
	assert_int_equal(
		f->source->ops->list_context(f->source, f->workspace, v, &f->call, ctx, &f->err),
		0);
	version_unref(v);
}

static void with_key(struct arm_fixture *f, struct context **ctx)
{
	stub_json(f->stub, STORES, 200, STORE("AccountKey"));
	stub_json(f->stub, SECRET, 200, "{\"secretsType\":\"AccountKey\",\"key\":\"a2V5\"}");
	list(f, ctx);
}

/* Reads the six bytes at 100. */
static int read_part(struct arm_fixture *f, struct context *ctx, struct buf *out)
{
	buf_reset(out);
	return f->source->ops->read_context(f->source, f->workspace, ctx, &ctx->files[0], 100, 6,
					    &f->call, out, &f->err);
}

/* ---- checksums ---- */

static void test_crc64(void **state)
{
	char text[CRC64_TEXT];

	(void)state;
	/* The check value of this polynomial, known as CRC-64/NVME. */
	assert_true(crc64("123456789", 9) == UINT64_C(0xAE8B14860A799888));
	assert_true(crc64("", 0) == 0);
	crc64_text("123456789", 9, text);
	assert_string_equal(text, "iJh5CoYUi64=");
}

static const struct {
	const char *headers;
	const char *body;
	int code;
	const char *text;
} parts[] = {
	{PART, HELLO, 0, NULL},
	{PART "Content-MD5: " HELLO_MD5 "\r\n", HELLO, 0, NULL},
	{PART "Content-MD5: " HELLO_MD5 "\r\n", "hellp\n", -EIO, "MD5"},
	{PART "x-ms-content-crc64: B1ZarUv7Q2o=\r\n", HELLO, 0, NULL},
	{PART "x-ms-content-crc64: M0nV0XdWxcg=\r\n", "hellp\n", -EIO, "CRC-64"},
	/* The MD5 of the whole blob says nothing of a part. */
	{PART "x-ms-blob-content-md5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", HELLO, 0, NULL},
};

static void test_parts(void **state)
{
	struct arm_fixture *f = *state;
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;
	char *head, *value;

	with_key(f, &ctx);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct stub_rule rule = {.match = "GET " FOLDER "big ",
					 .status = 206,
					 .headers = parts[i].headers,
					 .body = parts[i].body,
					 .times = parts[i].code ? 2 : 1};

		stub_add(f->stub, &rule);
		assert_int_equal(read_part(f, ctx, &out), parts[i].code);
		if (!parts[i].code) {
			assert_string_equal(buf_str(&out), HELLO);
			continue;
		}
		assert_int_equal(out.len, 0);
		assert_non_null(strstr(f->err.msg, "big"));
		assert_non_null(strstr(f->err.msg, "not those that were stored"));
		assert_non_null(strstr(f->err.msg, parts[i].text));
	}
	head = stub_head(f->stub, "GET " FOLDER, 0);
	value = stub_header(head, "x-ms-range-get-content-md5");
	assert_string_equal(value, "true");
	free(value);
	free(head);
	context_unref(ctx);
	buf_free(&out);
}

static void test_spoilt_on_the_way(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule spoilt = {.match = "GET " FOLDER,
				   .status = 206,
				   .headers = PART "Content-MD5: " HELLO_MD5 "\r\n",
				   .body = "hellp\n",
				   .times = 1};
	struct stub_rule right = spoilt;
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;

	right.body = HELLO;
	with_key(f, &ctx);
	stub_add(f->stub, &spoilt);
	stub_add(f->stub, &right);
	assert_int_equal(read_part(f, ctx, &out), 0);
	assert_string_equal(buf_str(&out), HELLO);
	context_unref(ctx);
	buf_free(&out);
}

/* A store that does not compute a range's MD5 is asked without. */
static void test_no_range_md5(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule refuses = {
		.match = "GET " FOLDER, .contain = "x-ms-range-get-content-md5", .status = 400};
	struct stub_rule gives = {
		.match = "GET " FOLDER, .status = 206, .headers = PART, .body = HELLO};
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;

	with_key(f, &ctx);
	stub_add(f->stub, &refuses);
	stub_add(f->stub, &gives);
	assert_int_equal(read_part(f, ctx, &out), 0);
	assert_string_equal(buf_str(&out), HELLO);
	context_unref(ctx);
	buf_free(&out);
}

/* ---- signatures ---- */

/* listSecrets answers once with a signature that is valid for so many seconds. */
static void give_sas(struct arm_fixture *f, const char *name, int seconds)
{
	time_t t = time(NULL) + seconds;
	static char bodies[8][256]; /* rules borrow them */
	static unsigned int next;
	char *body = bodies[next++ % 8], se[32];
	struct stub_rule rule = {.match = SECRET, .body = body, .times = 1};
	struct tm tm;

	assert_non_null(gmtime_r(&t, &tm));
	strftime(se, sizeof(se), "%Y-%m-%dT%H%%3A%M%%3A%SZ", &tm);
	snprintf(body, sizeof(bodies[0]), "{\"secretsType\":\"Sas\",\"sasToken\":\"se=%s&sig=%s\"}",
		 se, name);
	stub_add(f->stub, &rule);
}

static void give_part(struct arm_fixture *f, const char *sig, int status)
{
	struct stub_rule rule = {.match = "GET " FOLDER,
				 .contain = sig,
				 .status = status,
				 .headers = status == 206 ? PART : "",
				 .body = status == 206 ? HELLO
						       : "<Error><Code>AuthenticationFailed</Code>"
							 "<Message>expired</Message></Error>"};

	stub_add(f->stub, &rule);
}

/* Storage refuses a signature in the middle of a file: another one is asked for, once. */
static void test_sas_refused(void **state)
{
	struct arm_fixture *f = *state;
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;

	stub_json(f->stub, STORES, 200, STORE("Sas"));
	give_sas(f, "one", 3600);
	list(f, &ctx);
	give_part(f, "sig=one", 403);
	give_sas(f, "two", 3600);
	give_part(f, "sig=two", 206);
	assert_int_equal(read_part(f, ctx, &out), 0);
	assert_string_equal(buf_str(&out), HELLO);
	assert_int_equal(stub_count(f->stub, SECRET), 2);
	assert_int_equal(read_part(f, ctx, &out), 0);
	assert_int_equal(stub_count(f->stub, SECRET), 2);
	context_unref(ctx);
	buf_free(&out);
}

/* One that is about to run out is not used any more: no read is refused for it. */
static void test_sas_runs_out(void **state)
{
	struct arm_fixture *f = *state;
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;
	const struct timespec pause = {.tv_nsec = 20 * NS_PER_MS}; /* the stub remembers 4,096 */
	int64_t end = clock_mono() + 20 * NS_PER_S;

	stub_json(f->stub, STORES, 200, STORE("Sas"));
	give_sas(f, "one", 2);
	list(f, &ctx);
	give_part(f, "sig=one", 206);
	give_part(f, "sig=two", 206);
	give_sas(f, "two", 3600);
	do {
		assert_int_equal(read_part(f, ctx, &out), 0);
		assert_true(clock_mono() < end);
		nanosleep(&pause, NULL);
	} while (stub_count(f->stub, SECRET) < 2);
	assert_int_equal(stub_count(f->stub, SECRET), 2);
	context_unref(ctx);
	buf_free(&out);
}

/* Ours or the service's clock is wrong: it is used until it is refused, and not asked for anew. */
static void test_sas_of_another_time(void **state)
{
	struct arm_fixture *f = *state;
	struct buf out = BUF_INIT(100);
	struct context *ctx = NULL;

	stub_json(f->stub, STORES, 200, STORE("Sas"));
	give_sas(f, "one", -3600);
	list(f, &ctx);
	give_part(f, "sig=one", 206);
	for (int i = 0; i < 3; i++)
		assert_int_equal(read_part(f, ctx, &out), 0);
	assert_int_equal(stub_count(f->stub, SECRET), 1);
	context_unref(ctx);
	buf_free(&out);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc64),          WITH_SOURCE(test_parts),
		WITH_SOURCE(test_spoilt_on_the_way),   WITH_SOURCE(test_no_range_md5),
		WITH_SOURCE(test_sas_refused),         WITH_SOURCE(test_sas_runs_out),
		WITH_SOURCE(test_sas_of_another_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
