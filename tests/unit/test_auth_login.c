/* client/auth_login and auth_store: a code in a browser, and what is kept of it. */
#include "client/auth_login.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/stubserver.h"

#define CODES  "POST /tenant/oauth2/v2.0/devicecode"
#define TOKENS "POST /tenant/oauth2/v2.0/token"
#define CODE                                                                               \
	"{\"device_code\":\"dev-secret\",\"user_code\":\"ABC-123\",\"interval\":\"0.02\"," \
	"\"verification_uri\":\"https://microsoft.com/devicelogin\\u001b[2J\",\"expires_in\":%s}"
#define GOOD           "{\"access_token\":\"tok\",\"expires_in\":3600,\"refresh_token\":\"refresh-1\"}"
#define REFUSAL(error) "{\"error\":\"" error "\",\"error_description\":\"AADSTS1: x\"}"

enum { DEADLINE_S = 20 };

struct fixture {
	struct stub *stub;
	struct http *http;
	struct auth_entra *entra;
	char dir[64];
	char path[80];
	char shown[512];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct http_conf conf = {.backoff = NS_PER_MS};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->stub = stub_start(NULL);
	assert_int_equal(http_new(&conf, &f->http, NULL), 0);
	assert_int_equal(auth_entra_new(f->http, stub_base(f->stub), &f->entra, NULL), 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/mlenvfs-login-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/login.json", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	auth_entra_free(f->entra);
	http_free(f->http);
	stub_stop(f->stub);
	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void on_show(void *arg, const char *message)
{
	struct fixture *f = arg;

	snprintf(f->shown, sizeof(f->shown), "%s", message);
}

static int sign_in(struct fixture *f, struct auth_login *out, struct err *e)
{
	struct auth_login_conf conf = {.http = f->http,
				       .entra = f->entra,
				       .tenant = "tenant",
				       .client_id = "client",
				       .scope = SCOPE_ARM,
				       .show = on_show,
				       .show_arg = f,
				       .slower = NS_PER_MS};
	struct call call;
	int rc;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = auth_login_device(&conf, &call, out, e);
	call_destroy(&call);
	return rc;
}

static void add(struct fixture *f, const char *match, int status, int times, const char *body)
{
	struct stub_rule rule = {.match = match, .status = status, .times = times, .body = body};

	stub_add(f->stub, &rule);
}

static void add_code(struct fixture *f, const char *expires, char store[512])
{
	snprintf(store, 512, CODE, expires);
	add(f, CODES, 200, 0, store);
}

static void test_device_code(void **state)
{
	struct fixture *f = *state;
	struct auth_login l = {0};
	char store[512], *body;

	add_code(f, "900", store);
	add(f, TOKENS, 400, 2, REFUSAL("authorization_pending"));
	add(f, TOKENS, 400, 1, REFUSAL("slow_down"));
	add(f, TOKENS, 200, 0, GOOD);
	assert_int_equal(sign_in(f, &l, NULL), 0);
	assert_int_equal(stub_count(f->stub, TOKENS), 4);
	assert_string_equal(buf_str(&l.refresh), "refresh-1");
	assert_string_equal(l.tenant, "tenant");
	assert_string_equal(l.authority, stub_base(f->stub));
	/* What is shown has the code, and nothing that a terminal acts on. */
	assert_non_null(strstr(f->shown, "ABC-123"));
	assert_non_null(strstr(f->shown, "https://microsoft.com/devicelogin?[2J"));
	assert_null(strstr(f->shown, "dev-secret"));
	body = stub_body(f->stub, CODES, 0, NULL);
	assert_string_equal(body, "client_id=client&scope=https%3A%2F%2Fmanagement.azure.com%2F"
				  ".default%20offline_access");
	free(body);
	body = stub_body(f->stub, TOKENS, 0, NULL);
	assert_non_null(strstr(body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A"
				     "device_code&client_id=client&device_code=dev-secret"));
	free(body);
	auth_login_clear(&l);
}

static void test_device_code_that_comes_to_nothing(void **state)
{
	static const struct {
		const char *answer;
		const char *words;
	} table[] = {
		{REFUSAL("authorization_declined"), "declined"},
		{REFUSAL("access_denied"), "declined"},
		{REFUSAL("expired_token"), "in time"},
		{REFUSAL("bad_verification_code"), "bad_verification_code"},
	};
	struct fixture *f = *state;
	struct auth_login l = {0};
	struct err e = ERR_INIT;
	char store[512];

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		stub_clear(f->stub);
		add_code(f, "900", store);
		add(f, TOKENS, 400, 0, table[i].answer);
		assert_int_equal(sign_in(f, &l, &e), -EACCES);
		if (!strstr(e.msg, table[i].words))
			fail_msg("%s", e.msg);
	}
	stub_clear(f->stub);
	add_code(f, "0.1", store);
	add(f, TOKENS, 400, 0, REFUSAL("authorization_pending"));
	assert_int_equal(sign_in(f, &l, &e), -EACCES);
	assert_non_null(strstr(e.msg, "in time"));
	stub_clear(f->stub);
	add(f, CODES, 200, 0, "{\"user_code\":\"A\"}");
	assert_int_equal(sign_in(f, &l, &e), -EBADMSG);
	stub_clear(f->stub);
	add_code(f, "900", store);
	add(f, TOKENS, 200, 0, "{\"access_token\":\"tok\",\"expires_in\":1}");
	assert_int_equal(sign_in(f, &l, &e), -EBADMSG);
}

/* A line that is down for a while does not undo what is typed elsewhere. */
static void test_device_code_over_a_bad_line(void **state)
{
	struct fixture *f = *state;
	struct stub_rule lost = {.match = TOKENS, .wrong = STUB_RESET, .times = 6};
	struct auth_login l = {0};
	char store[512];

	add_code(f, "900", store);
	stub_add(f->stub, &lost);
	add(f, TOKENS, 503, 5, "");
	add(f, TOKENS, 200, 0, GOOD);
	assert_int_equal(sign_in(f, &l, NULL), 0);
	auth_login_clear(&l);
}

/* ---- what is kept ---- */

static void keep(struct fixture *f, const char *authority, const char *refresh)
{
	struct auth_login l = {.refresh = BUF_INIT(1000)};
	struct call call;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(auth_login_set(&l, authority, "tenant", "client"), 0);
	assert_int_equal(buf_addstr(&l.refresh, refresh), 0);
	assert_int_equal(auth_store_save(f->path, &l, &call, NULL), 0);
	call_destroy(&call);
	auth_login_clear(&l);
}

static int load(struct fixture *f, struct auth_login *l, struct err *e)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = auth_store_load(f->path, &call, l, e);
	call_destroy(&call);
	return rc;
}

static int ask(struct fixture *f, char token[64], struct err *e)
{
	struct auth_source *s = NULL;
	struct auth_token t = {0};
	struct call call;
	int rc;

	assert_int_equal(auth_login_new(f->entra, f->path, &s, NULL), 0);
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = auth_source_get(s, SCOPE_STORAGE, &call, &t, e);
	call_destroy(&call);
	snprintf(token, 64, "%s", buf_str(&t.value));
	auth_token_clear(&t);
	auth_source_free(s);
	return rc;
}

static void test_store(void **state)
{
	struct fixture *f = *state;
	struct auth_login l = {0};
	struct stat st;
	struct call call;

	assert_int_equal(load(f, &l, NULL), -ENOENT);
	keep(f, "https://a", "refresh-0");
	keep(f, "https://a", "refresh-1");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(load(f, &l, NULL), 0);
	assert_string_equal(buf_str(&l.refresh), "refresh-1");
	assert_false(l.keyring);
	auth_login_clear(&l);
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(auth_store_delete(f->path, &call, NULL), 0);
	assert_int_equal(auth_store_delete(f->path, &call, NULL), -ENOENT);
	call_destroy(&call);
	assert_int_equal(load(f, &l, NULL), -ENOENT);
}

static void write_raw(struct fixture *f, const char *text, mode_t mode)
{
	FILE *out = fopen(f->path, "we");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	assert_int_equal(chmod(f->path, mode), 0);
}

static void test_store_that_is_not_believed(void **state)
{
	static const char good[] = "{\"authority\":\"https://a\",\"tenant\":\"t\",\"client_id\":"
				   "\"c\",\"refresh_token\":\"s3cret\"}";
	static const char *const damaged[] = {
		"",
		"{",
		"[]",
		"{\"authority\":\"https://a\"}",
		"{\"authority\":\"https://a\",\"tenant\":\"t\",\"client_id\":\"c\"}",
		"{\"authority\":\"https://a\",\"tenant\":\"t\",\"client_id\":\"c\","
		"\"refresh_token\":\"s3cret with blanks\"}",
	};
	struct fixture *f = *state;
	struct auth_login l = {0};
	struct err e = ERR_INIT;

	write_raw(f, good, 0600);
	assert_int_equal(load(f, &l, NULL), 0);
	auth_login_clear(&l);
	write_raw(f, good, 0644);
	assert_int_equal(load(f, &l, &e), -EACCES);
	assert_non_null(strstr(e.msg, "others may read"));
	for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
		write_raw(f, damaged[i], 0600);
		assert_int_equal(load(f, &l, &e), -EBADMSG);
		assert_null(strstr(e.msg, "s3cret"));
	}
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink("/etc/hostname", f->path), 0);
	assert_int_equal(load(f, &l, &e), -EACCES);
}

/* One sign-in gives tokens for every scope; a newer refresh token replaces the old one. */
static void test_refresh(void **state)
{
	struct fixture *f = *state;
	struct auth_login l = {0};
	char token[64], *body;

	keep(f, stub_base(f->stub), "refresh-1");
	add(f, TOKENS, 200, 0,
	    "{\"access_token\":\"tok\",\"expires_in\":3600,\"refresh_token\":\"refresh-2\"}");
	assert_int_equal(ask(f, token, NULL), 0);
	assert_string_equal(token, "tok");
	body = stub_body(f->stub, TOKENS, 0, NULL);
	assert_string_equal(body, "grant_type=refresh_token&client_id=client&refresh_token="
				  "refresh-1&scope=https%3A%2F%2Fstorage.azure.com%2F.default%20"
				  "offline_access");
	free(body);
	assert_int_equal(load(f, &l, NULL), 0);
	assert_string_equal(buf_str(&l.refresh), "refresh-2");
	auth_login_clear(&l);
}

static void *ask_in_thread(void *arg)
{
	char token[64];
	int rc = ask(arg, token, NULL);

	return rc ? NULL : arg;
}

/* A token is asked for, and while that is on its way act() changes what is kept. */
static void ask_meanwhile(struct fixture *f, void (*act)(struct fixture *f))
{
	struct stub_rule slow = {.match = TOKENS, .delay_ms = 200, .body = GOOD};
	pthread_t thread;
	void *done;

	keep(f, stub_base(f->stub), "refresh-0");
	stub_add(f->stub, &slow);
	assert_int_equal(pthread_create(&thread, NULL, ask_in_thread, f), 0);
	stub_wait(f->stub, 1);
	act(f);
	pthread_join(thread, &done);
	assert_ptr_equal(done, f);
}

static void sign_out(struct fixture *f)
{
	struct call call;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(auth_store_delete(f->path, &call, NULL), 0);
	call_destroy(&call);
}

static void sign_in_anew(struct fixture *f)
{
	keep(f, stub_base(f->stub), "refresh-of-another");
}

static void test_who_signs_out_meanwhile_stays_out(void **state)
{
	struct fixture *f = *state;
	struct auth_login l = {0};

	ask_meanwhile(f, sign_out);
	assert_int_equal(load(f, &l, NULL), -ENOENT);
}

static void test_who_signs_in_anew_meanwhile_is_kept(void **state)
{
	struct fixture *f = *state;
	struct auth_login l = {0};

	ask_meanwhile(f, sign_in_anew);
	assert_int_equal(load(f, &l, NULL), 0);
	assert_string_equal(buf_str(&l.refresh), "refresh-of-another");
	auth_login_clear(&l);
}

static void test_refresh_that_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char token[64];

	assert_int_equal(ask(f, token, &e), AUTH_UNAVAILABLE);
	keep(f, stub_base(f->stub), "refresh-s3cret");
	add(f, TOKENS, 400, 0,
	    "{\"error\":\"invalid_grant\",\"error_codes\":[700082],\"error_description\":\"x "
	    "refresh-s3cret\"}");
	assert_int_equal(ask(f, token, &e), -EACCES);
	assert_non_null(strstr(e.msg, "'mlenvfs login' is needed again"));
	assert_null(strstr(e.msg, "refresh-s3cret"));
	assert_int_equal(stub_count(f->stub, TOKENS), 1);
	/* Not sent to anybody but who gave it. */
	keep(f, "https://login.elsewhere.example", "refresh-1");
	assert_int_equal(ask(f, token, &e), AUTH_UNAVAILABLE);
	assert_int_equal(stub_count(f->stub, TOKENS), 1);
}

#define WITH_STUB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STUB(test_device_code),
		WITH_STUB(test_device_code_that_comes_to_nothing),
		WITH_STUB(test_device_code_over_a_bad_line),
		WITH_STUB(test_store),
		WITH_STUB(test_store_that_is_not_believed),
		WITH_STUB(test_refresh),
		WITH_STUB(test_who_signs_out_meanwhile_stays_out),
		WITH_STUB(test_who_signs_in_anew_meanwhile_is_kept),
		WITH_STUB(test_refresh_that_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
