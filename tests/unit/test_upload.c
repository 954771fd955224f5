/* Uploads of build contexts: several files at once, copies inside the service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/blob.h"
#include "client/buf.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/armfixture.h"

#define KEY      "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define STORES   "GET " WS "/datastores?"
#define SECRET   "POST " WS "/datastores/workspaceblobstore/listSecrets?"
#define UP       "/acct/c1/LocalUpload/"
#define OLD      "/acct/c1/LocalUpload/old/context/"
#define STARTED  "x-ms-meta-upload_status: started\r\n"
#define CONFIRM  "comp=metadata"
#define BY_COPY  "x-ms-copy-source: "
#define HELLO    "sZRqySSS0jR8YjW00mERhA==" /* the MD5 of "hello\n" */
#define NOTHING  "1B2M2Y8AsgTpgAmY7PhCfg==" /* the MD5 of "" */
#define ERROR(c) "<Error><Code>" c "</Code><Message>m</Message></Error>"
#define STORE(credentials)                                                                \
	"{\"value\":[{\"name\":\"workspaceblobstore\",\"properties\":{\"datastoreType\":" \
	"\"AzureBlob\",\"accountName\":\"acct\",\"containerName\":\"c1\",\"endpoint\":"   \
	"\"{base}\",\"protocol\":\"http\",\"isDefault\":true,\"credentials\":"            \
	"{\"credentialsType\":\"" credentials "\"}}}]}"

enum {
	FILES_MAX = 20,
	AT_ONCE = 6,    /* as docs/client.md says */
	LARGE_ONCE = 4, /* files of a whole part */
	BEFORE = 3,     /* requests before the first file: datastores, secret, HEAD */
};

/* An upload of n files, all with the same bytes, and the published context they may name. */
struct upload {
	struct arm_fixture *f;
	size_t n;
	struct upload_file files[FILES_MAX];
	char paths[FILES_MAX][32];
	struct context_file old[FILES_MAX];
	char old_uri[128];
	struct context context;
	char *uri;
	int rc;
};

static int memfile(const char *text, uint64_t len)
{
	int fd = memfd_create("upload", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (text)
		assert_int_equal(write(fd, text, len), len);
	else
		assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

/* Files "f00", "f01", ... of "hello\n", or of size zeros. */
static void upload_init(struct upload *u, struct arm_fixture *f, size_t n, uint64_t size)
{
	*u = (struct upload){.f = f, .n = n};
	snprintf(u->old_uri, sizeof(u->old_uri), "%s" OLD, stub_base(f->stub));
	u->context = (struct context){.uri = u->old_uri, .files = u->old, .n_files = n};
	for (size_t i = 0; i < n; i++) {
		snprintf(u->paths[i], sizeof(u->paths[i]), "f%02zu", i);
		u->files[i] = (struct upload_file){.path = u->paths[i],
						   .fd = size ? memfile(NULL, size)
							      : memfile("hello\n", 6),
						   .size = size ? size : 6};
		u->old[i] = (struct context_file){.path = u->paths[i],
						  .path_len = 3,
						  .size = u->files[i].size,
						  .etag = "\"0x1\"",
						  .md5 = HELLO};
	}
}

static void upload_clear(struct upload *u)
{
	for (size_t i = 0; i < u->n; i++)
		close(u->files[i].fd);
	free(u->uri);
}

/* The files are those of the published context. */
static void upload_from(struct upload *u)
{
	for (size_t i = 0; i < u->n; i++) {
		u->files[i].from = &u->context;
		u->files[i].from_file = &u->old[i];
	}
}

static int upload_run(struct upload *u)
{
	struct arm_fixture *f = u->f;

	u->rc = f->source->ops->upload_context(f->source, f->workspace, "e", "1", u->files, u->n,
					       &f->call, &u->uri, &f->err);
	return u->rc;
}

static void *upload_main(void *arg)
{
	upload_run(arg);
	return NULL;
}

static void add_store(struct arm_fixture *f)
{
	stub_json(f->stub, STORES, 200, STORE("AccountKey"));
	stub_json(f->stub, SECRET, 200, "{\"secretsType\":\"AccountKey\",\"key\":\"" KEY "\"}");
	stub_json(f->stub, "HEAD " UP, 404, NULL);
}

/* How many PUTs have this in their head. */
static unsigned int puts_with(struct arm_fixture *f, const char *text)
{
	unsigned int n = stub_count(f->stub, "PUT "), found = 0;

	for (unsigned int i = 0; i < n; i++) {
		char *head = stub_head(f->stub, "PUT ", i);

		found += strstr(head, text) != NULL;
		free(head);
	}
	return found;
}

/* ---- several at once ---- */

/* As many as allowed come in while none is answered; when the caller goes, all do. */
static void run_until_cancelled(struct upload *u, unsigned int at_once)
{
	struct arm_fixture *f = u->f;
	struct stub_rule hang = {.match = "PUT " UP, .wrong = STUB_HANG};
	pthread_t thread;

	add_store(f);
	stub_add(f->stub, &hang);
	assert_int_equal(pthread_create(&thread, NULL, upload_main, u), 0);
	stub_wait(f->stub, BEFORE + at_once);
	call_cancel(&f->call);
	pthread_join(thread, NULL);
	assert_int_equal(u->rc, -ECANCELED);
	assert_null(u->uri);
	assert_int_equal(stub_count(f->stub, "PUT "), at_once);
}

static void test_at_once(void **state)
{
	struct upload u;

	upload_init(&u, *state, 20, 0);
	run_until_cancelled(&u, AT_ONCE);
	upload_clear(&u);
}

static void test_large_at_once(void **state)
{
	struct upload u;

	upload_init(&u, *state, 6, BLOB_PART_MAX);
	run_until_cancelled(&u, LARGE_ONCE);
	upload_clear(&u);
}

/* Everything arrives, and only then the context is said to be there. */
static void test_confirmed_last(void **state)
{
	struct arm_fixture *f = *state;
	struct upload u;
	char *head;

	add_store(f);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 20, 0);
	assert_int_equal(upload_run(&u), 0);
	assert_non_null(u.uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 21);
	assert_int_equal(puts_with(f, CONFIRM), 1);
	head = stub_head(f->stub, "PUT ", 20);
	assert_non_null(strstr(head, "/f00?" CONFIRM " "));
	free(head);
	for (unsigned int i = 0; i < 20; i++) {
		char text[64];

		snprintf(text, sizeof(text), "/f%02u HTTP", i);
		assert_int_equal(puts_with(f, text), 1);
	}
	upload_clear(&u);
}

/* Whichever file fails, that is the error, and the context is not there. */
static void test_each_fails(void **state)
{
	struct arm_fixture *f = *state;
	char bad[FILES_MAX][40];
	struct upload u;

	upload_init(&u, f, 10, 0);
	for (size_t i = 0; i < u.n; i++) {
		struct stub_rule fail = {.match = "PUT " UP,
					 .contain = bad[i],
					 .status = 400,
					 .body = ERROR("Nope")};

		snprintf(bad[i], sizeof(bad[i]), "/f%02zu HTTP", i);
		stub_clear(f->stub);
		add_store(f);
		stub_add(f->stub, &fail);
		stub_json(f->stub, "PUT " UP, 201, "");
		assert_int_equal(upload_run(&u), -EINVAL);
		assert_null(u.uri);
		assert_non_null(strstr(f->err.msg, "Nope"));
		assert_non_null(strstr(f->err.msg, u.paths[i]));
	}
	assert_int_equal(puts_with(f, CONFIRM), 0);
	upload_clear(&u);
}

/* One fails while others wait for their answer: they do not wait any longer. */
static void test_failure_ends_others(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule fail = {
		.match = "PUT " UP, .contain = "/f02 HTTP", .status = 400, .body = ERROR("Nope")};
	struct stub_rule hang = {.match = "PUT " UP, .wrong = STUB_HANG};
	struct upload u;

	add_store(f);
	stub_add(f->stub, &fail);
	stub_add(f->stub, &hang);
	upload_init(&u, f, 20, 0);
	assert_int_equal(upload_run(&u), -EINVAL);
	assert_true(stub_count(f->stub, "PUT ") <= AT_ONCE);
	upload_clear(&u);
}

static void test_deadline(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule hang = {.match = "PUT " UP, .wrong = STUB_HANG};
	struct upload u;

	add_store(f);
	stub_add(f->stub, &hang);
	upload_init(&u, f, 20, 0);
	upload_from(&u);
	arm_fixture_deadline(f, 300 * NS_PER_MS);
	assert_int_equal(upload_run(&u), -ETIMEDOUT);
	assert_int_equal(puts_with(f, CONFIRM), 0);
	upload_clear(&u);
}

static void test_stop(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule hang = {.match = "PUT " UP, .wrong = STUB_HANG};
	struct upload u;
	pthread_t thread;

	add_store(f);
	stub_add(f->stub, &hang);
	upload_init(&u, f, 20, 0);
	assert_int_equal(pthread_create(&thread, NULL, upload_main, &u), 0);
	stub_wait(f->stub, BEFORE + AT_ONCE);
	f->source->ops->stop(f->source);
	pthread_join(thread, NULL);
	assert_int_equal(u.rc, -ECANCELED);
	upload_clear(&u);
}

/* A key that is refused is asked for anew, and everything is sent again. */
static void test_refused_access(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule refuse = {.match = "PUT " UP,
				   .times = 1,
				   .status = 403,
				   .body = ERROR("AuthenticationFailed")};
	struct upload u;

	add_store(f);
	stub_add(f->stub, &refuse);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 20, 0);
	assert_int_equal(upload_run(&u), 0);
	assert_int_equal(stub_count(f->stub, SECRET), 2);
	assert_int_equal(puts_with(f, CONFIRM), 1);
	upload_clear(&u);
}

/* A file that is shorter than it was said to be. */
static void test_changed_file(void **state)
{
	struct arm_fixture *f = *state;
	struct upload u;

	add_store(f);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 20, 0);
	assert_int_equal(ftruncate(u.files[7].fd, 3), 0);
	assert_int_equal(upload_run(&u), -EIO);
	assert_non_null(strstr(f->err.msg, "f07 changed"));
	upload_clear(&u);
}

/* ---- copies ---- */

static void check_header(const char *head, const char *name, const char *expected)
{
	char *value = stub_header(head, name);

	assert_non_null(value);
	assert_string_equal(value, expected);
	free(value);
}

static void test_copies(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule made = {.match = "PUT " UP,
				 .contain = BY_COPY,
				 .status = 201,
				 .headers = "Content-MD5: " HELLO "\r\n"};
	struct upload u;
	char expected[256], *head, *value, *body;
	size_t len;

	add_store(f);
	stub_add(f->stub, &made);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 20, 0);
	upload_from(&u);
	u.files[7].from = NULL;
	u.files[7].from_file = NULL;
	assert_int_equal(upload_run(&u), 0);
	assert_int_equal(stub_count(f->stub, "PUT "), 21);
	assert_int_equal(puts_with(f, BY_COPY), 19);
	assert_int_equal(puts_with(f, "/f07 HTTP"), 1);
	/* The first file does not say that all are there because its source does. */
	assert_int_equal(puts_with(f, STARTED), 1);
	for (unsigned int i = 0; i < 20; i++) {
		head = stub_head(f->stub, "PUT ", i);
		assert_true(!strstr(head, STARTED) || strstr(head, "/f00 HTTP"));
		check_header(head, "If-None-Match", "*");
		if (!strstr(head, "/f19 HTTP")) {
			free(head);
			continue;
		}
		check_header(head, "x-ms-blob-type", "BlockBlob");
		check_header(head, "x-ms-source-content-md5", HELLO);
		assert_null(stub_header(head, "x-ms-copy-source-authorization"));
		/* The key does not go there; what is signed with it opens this one blob, for
		 * reading. */
		value = stub_header(head, "x-ms-copy-source");
		snprintf(expected, sizeof(expected),
			 "%s" OLD "f19?sv=2021-12-02&sr=b&se=", stub_base(f->stub));
		assert_int_equal(strncmp(value, expected, strlen(expected)), 0);
		assert_non_null(strstr(value, "&sp=r&sig="));
		assert_null(strstr(value, KEY));
		free(value);
		body = stub_body(f->stub, "PUT ", i, &len);
		assert_int_equal(len, 0);
		free(body);
		free(head);
	}
	upload_clear(&u);
}

static void test_copy_with_sas(void **state)
{
	struct arm_fixture *f = *state;
	char expected[256], *head;
	struct upload u;

	stub_json(f->stub, STORES, 200, STORE("Sas"));
	stub_json(f->stub, SECRET, 200,
		  "{\"secretsType\":\"Sas\",\"sasToken\":\"?sv=1&sig=sas%3D\"}");
	stub_json(f->stub, "HEAD " UP, 404, NULL);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 1, 0);
	upload_from(&u);
	assert_int_equal(upload_run(&u), 0);
	head = stub_head(f->stub, "PUT ", 0);
	snprintf(expected, sizeof(expected), "%s" OLD "f00?sv=1&sig=sas%%3D", stub_base(f->stub));
	check_header(head, "x-ms-copy-source", expected);
	assert_null(stub_header(head, "Authorization"));
	free(head);
	upload_clear(&u);
}

static void test_copy_with_token(void **state)
{
	struct arm_fixture *f = *state;
	char expected[256], *head;
	struct upload u;

	stub_json(f->stub, STORES, 200, STORE("None"));
	stub_json(f->stub, "HEAD " UP, 404, NULL);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 1, 0);
	upload_from(&u);
	assert_int_equal(upload_run(&u), 0);
	head = stub_head(f->stub, "PUT ", 0);
	snprintf(expected, sizeof(expected), "%s" OLD "f00", stub_base(f->stub));
	check_header(head, "x-ms-copy-source", expected);
	check_header(head, "x-ms-copy-source-authorization", "Bearer tok-secret");
	free(head);
	upload_clear(&u);
}

/* What a service answers that will not copy: then the bytes are sent. */
static void test_copy_refused(void **state)
{
	static const struct {
		int status;
		const char *headers;
		bool for_all; /* the other files are not asked about any more */
	} cases[] = {
		{403, NULL, true},
		{501, NULL, true},
		{405, NULL, true},
		{400, NULL, false},
		{404, NULL, false},
		{409, NULL, false},
		{412, NULL, false},
		{202, NULL, false},                           /* some day, perhaps */
		{201, "Content-MD5: " NOTHING "\r\n", false}, /* it saw an empty blob */
	};
	struct arm_fixture *f = *state;
	struct upload u;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct stub_rule refuse = {.match = "PUT " UP,
					   .contain = BY_COPY,
					   .status = cases[i].status,
					   .headers = cases[i].headers,
					   .body = ERROR("CannotVerifyCopySource")};
		struct arm_conf conf = {.subscription = "s1"};
		unsigned int before = puts_with(f, BY_COPY),
			     sent = puts_with(f, "Content-MD5: " HELLO);

		arm_fixture_remake(f, &conf);
		stub_clear(f->stub);
		add_store(f);
		stub_add(f->stub, &refuse);
		stub_json(f->stub, "PUT " UP, 201, "");
		upload_init(&u, f, 20, 0);
		upload_from(&u);
		if (upload_run(&u))
			fail_msg("status %d: %s", cases[i].status, f->err.msg);
		assert_non_null(u.uri);
		assert_int_equal(puts_with(f, "Content-MD5: " HELLO) - sent, 20);
		if (cases[i].for_all)
			assert_true(puts_with(f, BY_COPY) - before <= AT_ONCE);
		else
			assert_true(puts_with(f, BY_COPY) - before >= 20);
		upload_clear(&u);
	}
}

/* Copies that can't be right are not asked for. */
static void test_not_copied(void **state)
{
	static const char *const uris[] = {
		"/acct/c2/LocalUpload/old/context/", "/other/c1/LocalUpload/old/context/",
		"https://acct.blob.core.windows.net/c1/p/", "https://github.com/o/r.git#main"};
	struct arm_fixture *f = *state;
	struct upload u;

	add_store(f);
	stub_json(f->stub, "PUT " UP, 201, "");
	for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++) {
		upload_init(&u, f, 2, 0);
		upload_from(&u);
		snprintf(u.old_uri, sizeof(u.old_uri), "%s%s",
			 *uris[i] == '/' ? stub_base(f->stub) : "", uris[i]);
		assert_int_equal(upload_run(&u), 0);
		upload_clear(&u);
	}
	upload_init(&u, f, 2, 0);
	upload_from(&u);
	u.old[0].size = 7;
	u.old[1].md5 = NOTHING;
	assert_int_equal(upload_run(&u), 0);
	upload_clear(&u);
	assert_int_equal(stub_count(f->stub, "PUT "), 5 * 3);
	assert_int_equal(puts_with(f, BY_COPY), 0);
}

/* The list may not know an MD5; the service compares it with the bytes, so it need not. */
static void test_copy_without_md5(void **state)
{
	struct arm_fixture *f = *state;
	struct upload u;

	add_store(f);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 1, 0);
	upload_from(&u);
	u.old[0].md5 = NULL;
	assert_int_equal(upload_run(&u), 0);
	assert_int_equal(puts_with(f, BY_COPY), 1);
	assert_int_equal(puts_with(f, "x-ms-source-content-md5: " HELLO), 1);
	upload_clear(&u);
}

/* A large file is one request when it can be copied. */
static void test_copy_large(void **state)
{
	struct arm_fixture *f = *state;
	struct upload u;

	add_store(f);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 1, 2 * BLOB_PART_MAX + 5);
	upload_from(&u);
	u.old[0].md5 = NULL;
	assert_int_equal(upload_run(&u), 0);
	assert_int_equal(stub_count(f->stub, "PUT "), 2);
	assert_int_equal(puts_with(f, BY_COPY), 1);
	upload_clear(&u);
}

/* From an upload that broke off: the blob is there, and is copied over. */
static void test_copy_over(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule taken = {.match = "PUT " UP, .contain = "If-None-Match: *", .status = 409};
	struct upload u;

	add_store(f);
	stub_add(f->stub, &taken);
	stub_json(f->stub, "PUT " UP, 201, "");
	upload_init(&u, f, 3, 0);
	upload_from(&u);
	assert_int_equal(upload_run(&u), 0);
	assert_int_equal(puts_with(f, BY_COPY), 6);
	assert_int_equal(stub_count(f->stub, "PUT "), 7);
	upload_clear(&u);
}

/* No signature, token or key in what is logged or told. */
static void test_nothing_leaks(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule refuse = {.match = "PUT " UP,
				   .contain = BY_COPY,
				   .status = 404,
				   .body = ERROR("CannotVerifyCopySource")};
	int log = memfd_create("log", MFD_CLOEXEC);
	char *head, *value, *sig, text[64 * 1024];
	struct upload u;
	ssize_t n;

	add_store(f);
	stub_add(f->stub, &refuse);
	stub_json(f->stub, "PUT " UP, 400, ERROR("Nope"));
	upload_init(&u, f, 1, 0);
	upload_from(&u);
	log_set_fd(log);
	log_set_level(LOG_LEVEL_DEBUG);
	assert_int_equal(upload_run(&u), -EINVAL);
	log_set_level(LOG_LEVEL_ERROR);
	log_set_fd(STDERR_FILENO);
	n = pread(log, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	head = stub_head(f->stub, "PUT ", 0);
	value = stub_header(head, "x-ms-copy-source");
	sig = strstr(value, "sig=") + 4;
	assert_non_null(strstr(text, "op=copy-blob"));
	assert_non_null(strstr(text, "CannotVerifyCopySource"));
	assert_null(strstr(text, sig));
	assert_null(strstr(text, "sig="));
	assert_null(strstr(text, KEY));
	assert_null(strstr(f->err.msg, sig));
	free(value);
	free(head);
	close(log);
	upload_clear(&u);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SOURCE(test_at_once),
		WITH_SOURCE(test_large_at_once),
		WITH_SOURCE(test_confirmed_last),
		WITH_SOURCE(test_each_fails),
		WITH_SOURCE(test_failure_ends_others),
		WITH_SOURCE(test_deadline),
		WITH_SOURCE(test_stop),
		WITH_SOURCE(test_refused_access),
		WITH_SOURCE(test_changed_file),
		WITH_SOURCE(test_copies),
		WITH_SOURCE(test_copy_with_sas),
		WITH_SOURCE(test_copy_with_token),
		WITH_SOURCE(test_copy_refused),
		WITH_SOURCE(test_not_copied),
		WITH_SOURCE(test_copy_without_md5),
		WITH_SOURCE(test_copy_large),
		WITH_SOURCE(test_copy_over),
		WITH_SOURCE(test_nothing_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
