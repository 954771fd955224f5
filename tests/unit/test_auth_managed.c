/* client/auth_managed: what each platform is asked, and what its answers come to. */
#include "client/auth_managed.h"

#include <errno.h>
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

#define GOOD "{\"access_token\":\"tok\",\"expires_on\":\"%lld\",\"resource\":\"r\"}"

enum { DEADLINE_S = 20 };

struct fixture {
	struct stub *stub;
	struct http *http;
	char dir[64];
	char good[128];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct http_conf conf = {.backoff = NS_PER_MS};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->stub = stub_start(NULL);
	assert_int_equal(http_new(&conf, &f->http, NULL), 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/mlenvfs-arc-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->good, sizeof(f->good), GOOD, (long long)time(NULL) + 3600);
	*state = f;
	return 0;
}

static void remove_file(const struct fixture *f, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	unlink(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_free(f->http);
	stub_stop(f->stub);
	remove_file(f, "a.key");
	remove_file(f, "b.key");
	remove_file(f, "a.txt");
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

struct answer {
	int rc;
	char token[64];
	struct err e;
};

/* One token by the platform that the variables say; "{}" in a value is the stub's address. */
static struct answer ask(struct fixture *f, const enum auth_var *vars, const char *const *values,
			 bool probe)
{
	struct auth_env env = {0};
	char dir[80];
	struct auth_managed_conf conf = {.http = f->http,
					 .env = &env,
					 .probe = probe,
					 .imds_host = stub_base(f->stub),
					 .arc_token_dir = dir,
					 .imds_backoff = NS_PER_MS};
	struct auth_source *s = NULL;
	struct auth_token token = {0};
	struct answer a = {.e = ERR_INIT};
	struct call call;

	snprintf(dir, sizeof(dir), "%s/", f->dir);
	for (size_t i = 0; values && values[i]; i++) {
		char *value;

		if (strncmp(values[i], "{}", 2) == 0)
			assert_true(asprintf(&value, "%s%s", stub_base(f->stub), values[i] + 2) >
				    0);
		else
			value = strdup(values[i]);
		env.values[vars[i]] = value;
	}
	assert_int_equal(auth_managed_new(&conf, &s, NULL), 0);
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	a.rc = auth_source_get(s, SCOPE_ARM, &call, &token, &a.e);
	call_destroy(&call);
	snprintf(a.token, sizeof(a.token), "%s", buf_str(&token.value));
	auth_token_clear(&token);
	auth_source_free(s);
	auth_env_clear(&env);
	return a;
}

static void assert_good(const struct answer *a)
{
	if (a->rc)
		fail_msg("%d: %s", a->rc, a->e.msg);
	assert_string_equal(a->token, "tok");
}

static void assert_header(struct fixture *f, const char *match, const char *name,
			  const char *expected)
{
	char *head = stub_head(f->stub, match, 0), *value = stub_header(head, name);

	assert_non_null(value);
	assert_string_equal(value, expected);
	free(value);
	free(head);
}

/* ---- IMDS ---- */

#define IMDS                                                         \
	"GET /metadata/identity/oauth2/token?api-version=2018-02-01" \
	"&resource=https%3A%2F%2Fmanagement.azure.com"

static void test_imds(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	stub_json(f->stub, IMDS " ", 200, f->good);
	a = ask(f, NULL, NULL, false);
	assert_good(&a);
	assert_header(f, IMDS, "Metadata", "true");
	assert_int_equal(stub_count(f->stub, ""), 1);
}

static void test_imds_user_assigned(void **state)
{
	static const enum auth_var vars[] = {AUTH_CLIENT_ID};
	static const char *const values[] = {"an-id", NULL};
	struct fixture *f = *state;
	struct answer a;

	stub_json(f->stub, IMDS "&client_id=an-id ", 200, f->good);
	a = ask(f, vars, values, false);
	assert_good(&a);
}

static void test_imds_is_looked_for_first(void **state)
{
	struct fixture *f = *state;
	struct stub_rule no_header = {.match = IMDS, .status = 400, .times = 1};
	char *head;
	struct answer a;

	stub_add(f->stub, &no_header);
	stub_json(f->stub, IMDS, 200, f->good);
	a = ask(f, NULL, NULL, true);
	assert_good(&a);
	assert_int_equal(stub_count(f->stub, IMDS), 2);
	head = stub_head(f->stub, IMDS, 0);
	assert_null(stub_header(head, "Metadata"));
	free(head);
}

/* Other clouds have something else at that address, and most machines nothing. */
static void test_no_imds(void **state)
{
	static const struct stub_rule rules[] = {
		{.match = IMDS, .status = 404},
		{.match = IMDS, .status = 401},
		{.match = IMDS, .wrong = STUB_RESET},
		{.match = IMDS, .wrong = STUB_HANG},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		int64_t start = clock_mono();
		struct answer a;

		stub_clear(f->stub);
		stub_add(f->stub, &rules[i]);
		a = ask(f, NULL, NULL, true);
		assert_int_equal(a.rc, AUTH_UNAVAILABLE);
		assert_non_null(strstr(a.e.msg, "no machine in Azure"));
		assert_true(clock_mono() - start < DEADLINE_S / 2 * NS_PER_S);
	}
}

static void test_imds_without_an_identity(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	stub_json(f->stub, IMDS, 400,
		  "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}");
	a = ask(f, NULL, NULL, false);
	assert_int_equal(a.rc, AUTH_UNAVAILABLE);
	assert_non_null(strstr(a.e.msg, "Identity not found"));
}

static void test_imds_while_it_is_restarted(void **state)
{
	static const int statuses[] = {404, 410, 429, 503};
	struct fixture *f = *state;
	struct answer a;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		struct stub_rule busy = {.match = IMDS, .status = statuses[i], .times = 2};

		stub_clear(f->stub);
		stub_add(f->stub, &busy);
		stub_json(f->stub, IMDS, 200, f->good);
		a = ask(f, NULL, NULL, false);
		assert_good(&a);
	}
	stub_clear(f->stub);
	stub_json(f->stub, IMDS, 410, "{}");
	a = ask(f, NULL, NULL, false);
	assert_int_equal(a.rc, -EACCES);
	assert_int_equal(stub_count(f->stub, IMDS), 4 * 3 + AUTH_IMDS_TRIES);
}

/* ---- with a secret in the environment ---- */

static void test_app_service(void **state)
{
	static const enum auth_var vars[] = {AUTH_IDENTITY_ENDPOINT, AUTH_IDENTITY_HEADER,
					     AUTH_CLIENT_ID};
	static const char *const values[] = {"{}/msi/token", "he4der-secret", "an-id", NULL};
	struct fixture *f = *state;
	struct answer a;
	char body[256];

	stub_json(f->stub,
		  "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure."
		  "com&client_id=an-id ",
		  200, f->good);
	a = ask(f, vars, values, true);
	assert_good(&a);
	assert_header(f, "GET ", "X-IDENTITY-HEADER", "he4der-secret");
	stub_clear(f->stub);
	stub_json(f->stub, "GET ", 403,
		  "{\"message\":\"he4der-secret is not the header's value\"}");
	a = ask(f, vars, values, true);
	assert_int_equal(a.rc, -EACCES);
	assert_null(strstr(a.e.msg, "he4der-secret"));
	assert_non_null(strstr(a.e.msg, "is not the header's value"));
	/* Half of it is as bad as all of it: these words are too many to be shown. */
	snprintf(body, sizeof(body), "{\"message\":\"%120s%s\"}", "x", "he4der-secret");
	stub_clear(f->stub);
	stub_json(f->stub, "GET ", 403, body);
	a = ask(f, vars, values, true);
	assert_int_equal(a.rc, -EACCES);
	assert_non_null(strstr(a.e.msg, "x***"));
	assert_null(strstr(a.e.msg, "he4"));
}

static void test_ml_compute(void **state)
{
	static const enum auth_var vars[] = {AUTH_MSI_ENDPOINT, AUTH_MSI_SECRET,
					     AUTH_DEFAULT_CLIENT_ID};
	static const char *const values[] = {"{}/msi", "msi-secret", "compute-id", NULL};
	struct fixture *f = *state;
	struct answer a;

	stub_json(f->stub,
		  "GET /msi?api-version=2017-09-01&resource=https%3A%2F%2Fmanagement.azure.com"
		  "&clientid=compute-id ",
		  200, f->good);
	a = ask(f, vars, values, true);
	assert_good(&a);
	assert_header(f, "GET ", "secret", "msi-secret");
}

static void test_cloud_shell(void **state)
{
	static const enum auth_var vars[] = {AUTH_MSI_ENDPOINT};
	static const char *const values[] = {"{}/shell", NULL};
	struct fixture *f = *state;
	struct answer a;
	char *body;

	stub_json(f->stub, "POST /shell ", 200, f->good);
	a = ask(f, vars, values, true);
	assert_good(&a);
	assert_header(f, "POST ", "Metadata", "true");
	body = stub_body(f->stub, "POST ", 0, NULL);
	assert_string_equal(body, "resource=https%3A%2F%2Fmanagement.azure.com");
	free(body);
}

/* ---- Arc ---- */

static const enum auth_var arc_vars[] = {AUTH_IDENTITY_ENDPOINT, AUTH_IMDS_ENDPOINT,
					 AUTH_CLIENT_ID};
static const char *const arc_values[] = {"{}/arc", "{}", NULL};

static void write_key(const struct fixture *f, const char *name, const char *text, size_t len)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	out = fopen(path, "we");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, len, out), len);
	fclose(out);
}

static struct answer ask_arc(struct fixture *f, const char *realm)
{
	char header[512];
	struct stub_rule challenge = {
		.match = "GET /arc", .status = 401, .times = 1, .headers = header};
	struct stub_rule keyed = {.match = "GET /arc",
				  .contain = "Authorization: Basic the-key\r\n",
				  .body = f->good};

	snprintf(header, sizeof(header), "WWW-Authenticate: Basic realm=%s\r\n", realm);
	stub_clear(f->stub);
	stub_add(f->stub, &challenge);
	stub_add(f->stub, &keyed);
	return ask(f, arc_vars, arc_values, true);
}

static void test_arc(void **state)
{
	struct fixture *f = *state;
	char realm[256];
	struct answer a;

	write_key(f, "a.key", "the-key", 7);
	snprintf(realm, sizeof(realm), "%s/a.key", f->dir);
	a = ask_arc(f, realm);
	assert_good(&a);
	assert_header(f, "GET /arc?api-version=2019-11-01&resource=", "Metadata", "true");
}

/* Whatever claims to be the agent gets no other file of this machine. */
static void test_arc_reads_its_own_files_only(void **state)
{
	struct fixture *f = *state;
	char realms[6][256], path[256];
	unsigned int before;

	write_key(f, "a.txt", "the-key", 7);
	snprintf(realms[0], 256, "/etc/passwd");
	snprintf(realms[1], 256, "%s/../x.key", f->dir);
	snprintf(realms[2], 256, "%s/a.txt", f->dir);
	snprintf(realms[3], 256, "%s/.key", f->dir);
	snprintf(realms[4], 256, "%s/missing.key", f->dir);
	snprintf(realms[5], 256, "%s/b.key", f->dir);
	snprintf(path, sizeof(path), "%s/b.key", f->dir);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	for (size_t i = 0; i < 6; i++) {
		struct answer a;

		before = stub_count(f->stub, "");
		a = ask_arc(f, realms[i]);
		assert_int_equal(a.rc, -EACCES);
		assert_int_equal(stub_count(f->stub, "") - before, 1);
	}
}

static void test_arc_keys_that_are_none(void **state)
{
	struct fixture *f = *state;
	char realm[256], *huge = malloc(AUTH_ARC_KEY_MAX + 1);
	struct answer a;

	assert_non_null(huge);
	memset(huge, 'x', AUTH_ARC_KEY_MAX + 1);
	snprintf(realm, sizeof(realm), "%s/a.key", f->dir);
	write_key(f, "a.key", huge, AUTH_ARC_KEY_MAX + 1);
	a = ask_arc(f, realm);
	assert_int_equal(a.rc, -EACCES);
	write_key(f, "a.key", "", 0);
	a = ask_arc(f, realm);
	assert_int_equal(a.rc, -EACCES);
	free(huge);
	stub_clear(f->stub);
	stub_json(f->stub, "GET /arc", 401, "{}");
	a = ask(f, arc_vars, arc_values, true);
	assert_int_equal(a.rc, -EACCES);
	assert_non_null(strstr(a.e.msg, "without a challenge"));
}

/* ---- all ---- */

static void test_malformed_answers(void **state)
{
	static const enum auth_var vars[] = {AUTH_MSI_ENDPOINT};
	static const char *const values[] = {"{}/shell", NULL};
	static const struct stub_rule rules[] = {
		{.match = "POST ", .body = "<html>"},
		{.match = "POST ", .body = "{\"access_token\":null}"},
		{.match = "POST ", .fill = 300 * 1024},
		{.match = "POST ", .wrong = STUB_RAW, .body = "\r\n\r\n"},
		{.match = "POST ", .wrong = STUB_TRUNCATE, .fill = 1000},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		struct answer a;

		stub_clear(f->stub);
		stub_add(f->stub, &rules[i]);
		a = ask(f, vars, values, true);
		assert_true(a.rc == -EBADMSG || a.rc == -EFBIG || a.rc == -EIO);
	}
}

static void test_endpoint_that_is_none(void **state)
{
	struct fixture *f = *state;
	struct auth_env env = {0};
	struct auth_managed_conf conf = {.http = f->http, .env = &env};
	struct auth_source *s = NULL;

	env.values[AUTH_MSI_ENDPOINT] = strdup("file:///etc/passwd");
	assert_int_equal(auth_managed_new(&conf, &s, NULL), -EINVAL);
	assert_null(s);
	auth_env_clear(&env);
}

#define WITH_STUB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STUB(test_imds),
		WITH_STUB(test_imds_user_assigned),
		WITH_STUB(test_imds_is_looked_for_first),
		WITH_STUB(test_no_imds),
		WITH_STUB(test_imds_without_an_identity),
		WITH_STUB(test_imds_while_it_is_restarted),
		WITH_STUB(test_app_service),
		WITH_STUB(test_ml_compute),
		WITH_STUB(test_cloud_shell),
		WITH_STUB(test_arc),
		WITH_STUB(test_arc_reads_its_own_files_only),
		WITH_STUB(test_arc_keys_that_are_none),
		WITH_STUB(test_malformed_answers),
		WITH_STUB(test_endpoint_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
