/* client/auth_token: answers that hold a token, in all the forms that they have. */
#include "client/auth_token.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/auth_env.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/redact.h"

enum { SLACK_S = 5 };

/* Parses body as an answer with that Date header (NULL: none); gives the seconds of life. */
static double life_of(const char *body, const char *date, struct err *e)
{
	struct http_response r = {.status = 200};
	struct auth_token t = {0};
	int64_t asked = clock_boot();
	double life = -1;

	r.body.max = r.head.max = 1024 * 1024;
	buf_addstr(&r.body, body);
	if (date) {
		buf_addf(&r.head, "Date: %s", date);
		buf_addch(&r.head, '\0');
	}
	if (!auth_token_parse(&r, asked, &t, e)) {
		assert_string_equal(buf_str(&t.value), "tok");
		assert_true(t.renew <= t.expires && t.renew >= asked);
		life = (double)(t.expires - asked) / (double)NS_PER_S;
	}
	auth_token_clear(&t);
	http_response_clear(&r);
	return life;
}

static void assert_life(const char *body, const char *date, double expected)
{
	struct err e = ERR_INIT;
	double life = life_of(body, date, &e);

	if (life < expected - SLACK_S || life > expected + SLACK_S)
		fail_msg("%s: %f instead of %f (%s)", body, life, expected, e.msg);
}

static void test_forms_of_a_lifetime(void **state)
{
	char body[256];
	time_t now = time(NULL), later = now + 7200;
	struct tm tm;
	char linux_date[64], windows_date[64];

	(void)state;
	gmtime_r(&later, &tm);
	strftime(linux_date, sizeof(linux_date), "%m/%d/%Y %H:%M:%S +00:00", &tm);
	strftime(windows_date, sizeof(windows_date), "%m/%d/%Y %I:%M:%S %p +00:00", &tm);
	assert_life("{\"access_token\":\"tok\",\"expires_in\":3599}", NULL, 3599);
	assert_life("{\"access_token\":\"tok\",\"expires_in\":\"3599\"}", NULL, 3599);
	assert_life("{\"access_token\":\"tok\"}", NULL, AUTH_LIFE_UNKNOWN_S);
	assert_life("{\"access_token\":\"tok\",\"expires_in\":\"soon\"}", NULL,
		    AUTH_LIFE_UNKNOWN_S);
	assert_life("{\"access_token\":\"tok\",\"expires_in\":1e300}", NULL, AUTH_LIFE_MAX_S);
	snprintf(body, sizeof(body), "{\"access_token\":\"tok\",\"expires_on\":\"%lld\"}",
		 (long long)later);
	assert_life(body, NULL, 7200);
	snprintf(body, sizeof(body), "{\"access_token\":\"tok\",\"expires_on\":%lld}",
		 (long long)later);
	assert_life(body, NULL, 7200);
	snprintf(body, sizeof(body), "{\"access_token\":\"tok\",\"expires_on\":\"%s\"}",
		 linux_date);
	assert_life(body, NULL, 7200);
	snprintf(body, sizeof(body), "{\"access_token\":\"tok\",\"expires_on\":\"%s\"}",
		 windows_date);
	assert_life(body, NULL, 7200);
}

/* A cached token of a managed identity names the seconds from its start, and its end. */
static void test_the_shorter_of_two_lifetimes_counts(void **state)
{
	char body[256];

	(void)state;
	snprintf(body, sizeof(body),
		 "{\"access_token\":\"tok\",\"expires_in\":\"3599\",\"expires_on\":\"%lld\"}",
		 (long long)time(NULL) + 600);
	assert_life(body, NULL, 600);
}

/* Our clock is years off: what counts is the clock of the one who answered. */
static void test_skew(void **state)
{
	static const char date[] = "Tue, 15 Nov 1994 08:12:31 GMT";
	char body[256];

	(void)state;
	snprintf(body, sizeof(body), "{\"access_token\":\"tok\",\"expires_on\":\"%d\"}",
		 784887151 + 3600);
	assert_life(body, date, 3600);
	/* Without a Date all that is known is that one of the two clocks is wrong. */
	assert_life(body, NULL, AUTH_LIFE_UNKNOWN_S);
	assert_life("{\"access_token\":\"tok\",\"expires_in\":3599}", date, 3599);
}

static void test_renewed_ahead(void **state)
{
	struct auth_token t = {0};
	int64_t s = NS_PER_S;

	(void)state;
	auth_token_set_life(&t, 0, 3600, 0);
	assert_int_equal(t.renew, (3600 - 300) * s);
	auth_token_set_life(&t, 0, 60, 0);
	assert_int_equal(t.renew, 45 * s);
	auth_token_set_life(&t, 0, 86400, 43200);
	assert_int_equal(t.renew, 43200 * s);
	auth_token_set_life(&t, 0, 3600, 99999);
	assert_int_equal(t.renew, (3600 - 300) * s);
}

static void test_what_is_no_token(void **state)
{
	static const char *const bodies[] = {
		"",
		"secret-in-a-page",
		"<html>secret-in-a-page</html>",
		"[]",
		"{}",
		"{\"access_token\":1}",
		"{\"access_token\":\"\"}",
		"{\"access_token\":\"secret-in-a-page with blanks\"}",
		"{\"access_token\":\"secret-in-a-page\\r\\nX: y\"}",
		"{\"access_token\":\"tok\",\"expires_in\":0}",
		"{\"access_token\":\"tok\",\"expires_in\":-5}",
		"{\"access_token\":\"tok\",\"refresh_token\":\"secret-in-a-page x\"}",
		"{\"access_token\":\"tok\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		struct err e = ERR_INIT;

		assert_true(life_of(bodies[i], NULL, &e) < 0);
		assert_int_equal(e.code, -EBADMSG);
		assert_null(strstr(e.msg, "secret-in-a-page"));
	}
}

static void test_the_cli_s_names(void **state)
{
	static const struct auth_token_names names = {
		.token = "accessToken", .on = "expires_on", .date = "expiresOn"};
	struct auth_token t = {0};
	time_t later = time(NULL) + 1800;
	char text[256], local[64];
	struct tm tm;
	cJSON *json;

	(void)state;
	localtime_r(&later, &tm);
	strftime(local, sizeof(local), "%Y-%m-%d %H:%M:%S.000000", &tm);
	snprintf(text, sizeof(text), "{\"accessToken\":\"tok\",\"expiresOn\":\"%s\"}", local);
	assert_int_equal(auth_json_parse(text, strlen(text), &json, NULL), 0);
	assert_int_equal(auth_token_parse_json(json, &names, 0, time(NULL), &t, NULL), 0);
	assert_true(t.expires > 1790 * NS_PER_S && t.expires < 1810 * NS_PER_S);
	auth_token_clear(&t);
	json_wipe(json);
}

static void test_redaction(void **state)
{
	static const char *const secrets[] = {
		"client_secret=hunter2&x",         "\"refresh_token\":\"hunter2\"",
		"client_assertion=hunter2",        "assertion=hunter2",
		"{\"refreshToken\": \"hunter2\"}", "X-IDENTITY-HEADER: hunter2",
		"AZURE_CLIENT_SECRET=hunter2",     "{\"accessToken\": \"hunter2\"}",
		"Authorization: Bearer hunter2",
	};
	char text[128] = "AZURE_CLIENT_SECRET is not set, AZURE_ACCESS_TOKEN neither";

	(void)state;
	redact(text);
	assert_string_equal(text, "AZURE_CLIENT_SECRET is not set, AZURE_ACCESS_TOKEN neither");
	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
		snprintf(text, sizeof(text), "%s", secrets[i]);
		redact(text);
		assert_null(strstr(text, "hunter2"));
	}
}

static void test_opaque_words_are_masked(void **state)
{
	char text[256] = "Application 66666666-7777-8888-9999-000000000000 sent "
			 "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.abcdefghijk to us";

	(void)state;
	redact_opaque(text);
	assert_non_null(strstr(text, "Application 66666666-7777-8888-9999-000000000000 sent **"));
	assert_non_null(strstr(text, "** to us"));
	assert_null(strstr(text, "eyJ"));
}

static void test_words_are_masked_before_they_are_cut(void **state)
{
	char text[64] = "It was s3cret-value,\n\x1b"
			"and eyJhbGciOiJub25lIn0.eyJhIjoxfQ.a";
	char euro[] = "12345678\xe2\x82\xac", out[40];

	(void)state;
	redact_secret(text, "s3cret-value");
	redact_words(text, out, sizeof(out));
	assert_string_equal(out, "It was ************,  and *************");
	redact_words(euro, out, 10);
	assert_string_equal(out, "12345678");
	snprintf(text, sizeof(text), "a***b");
	redact_secret(text, "*");
	redact_secret(text, "");
	redact_secret(text, NULL);
	assert_string_equal(text, "a***b");
}

static void test_secrets_leave_the_environment(void **state)
{
	struct auth_env env;

	(void)state;
	setenv("AZURE_CLIENT_SECRET", "s3cret", 1);
	setenv("AZURE_CLIENT_ID", "id", 1);
	setenv("AZURE_TENANT_ID", "", 1);
	assert_int_equal(auth_env_take(&env, NULL), 0);
	assert_string_equal(auth_env_get(&env, AUTH_CLIENT_SECRET), "s3cret");
	assert_string_equal(auth_env_get(&env, AUTH_CLIENT_ID), "id");
	assert_null(auth_env_get(&env, AUTH_TENANT_ID));
	assert_null(getenv("AZURE_CLIENT_SECRET"));
	assert_string_equal(getenv("AZURE_CLIENT_ID"), "id");
	auth_env_clear(&env);
	unsetenv("AZURE_CLIENT_ID");
	unsetenv("AZURE_TENANT_ID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms_of_a_lifetime),
		cmocka_unit_test(test_the_shorter_of_two_lifetimes_counts),
		cmocka_unit_test(test_skew),
		cmocka_unit_test(test_renewed_ahead),
		cmocka_unit_test(test_what_is_no_token),
		cmocka_unit_test(test_the_cli_s_names),
		cmocka_unit_test(test_redaction),
		cmocka_unit_test(test_opaque_words_are_masked),
		cmocka_unit_test(test_words_are_masked_before_they_are_cut),
		cmocka_unit_test(test_secrets_leave_the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
