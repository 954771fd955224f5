/* client/auth*: signing in at a token endpoint: what is sent, and what refusals come to. */
#include "client/auth.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/auth_entra.h"
#include "client/clock.h"
#include "client/log.h"
#include "client/url.h"
#include "tests/unit/clientcert.h"
#include "tests/unit/stubserver.h"

#define SECRET  "s3cret~value+/&"
/* So many that the secret behind them is where the words are cut. */
#define X16     "x x x x x x x x "
#define X288    X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16 X16
#define TOKENS  "POST /tenant-1/oauth2/v2.0/token"
#define REFUSED "{\"error\":\"%s\",\"error_description\":\"AADSTS%d: %s Trace ID: 1\","
#define GOOD    "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"tok-1\"}"

enum { DEADLINE_S = 20 };

struct fixture {
	struct stub *stub;
	struct clientcert certs;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->stub = stub_start(NULL);
	clientcert_make(&f->certs, 2048);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	clientcert_clear(&f->certs);
	stub_stop(f->stub);
	free(f);
	return 0;
}

/* A credential as the variables (name, value, ..., NULL) say. */
static int make(struct fixture *f, enum auth_kind kind, const char *const *vars,
		struct credential **out, struct err *e)
{
	struct auth_conf conf = {.kind = kind, .backoff = NS_PER_MS};
	struct auth_env env;
	int rc;

	setenv("AZURE_AUTHORITY_HOST", stub_base(f->stub), 1);
	for (const char *const *v = vars; *v; v += 2)
		setenv(v[0], v[1], 1);
	assert_int_equal(auth_env_take(&env, NULL), 0);
	for (const char *const *v = vars; *v; v += 2)
		unsetenv(v[0]);
	unsetenv("AZURE_AUTHORITY_HOST");
	rc = auth_new(&conf, &env, out, e);
	auth_env_clear(&env);
	return rc;
}

static int ask(struct credential *c, const char *scope, char out[64], struct err *e)
{
	struct buf token = BUF_INIT(CREDENTIAL_TOKEN_MAX);
	struct call call;
	int rc;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = credential_get_token(c, scope, &call, &token, e);
	call_destroy(&call);
	snprintf(out, 64, "%s", buf_str(&token));
	buf_wipe(&token);
	return rc;
}

static const char *const secret_vars[] = {"AZURE_TENANT_ID",
					  "tenant-1",
					  "AZURE_CLIENT_ID",
					  "app-1",
					  "AZURE_CLIENT_SECRET",
					  SECRET,
					  NULL};

/* One field of a form, decoded, for the caller to free; NULL when it is not there. */
static char *field(const char *body, const char *name)
{
	struct buf value = BUF_INIT(64 * 1024);
	size_t n = strlen(name);

	for (const char *p = body; p; p = strchr(p, '&')) {
		p += *p == '&';
		if (strncmp(p, name, n) == 0 && p[n] == '=') {
			assert_int_equal(url_decode(&value, p + n + 1, strcspn(p + n + 1, "&")), 0);
			return buf_steal(&value, NULL);
		}
	}
	return NULL;
}

static void assert_field(const char *body, const char *name, const char *expected)
{
	char *value = field(body, name);

	assert_non_null(value);
	assert_string_equal(value, expected);
	free(value);
}

static void test_client_secret(void **state)
{
	struct fixture *f = *state;
	struct credential *c = NULL;
	char token[64], *body, *head;

	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(make(f, AUTH_DEFAULT, secret_vars, &c, NULL), 0);
	assert_null(auth_winner(c));
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_string_equal(token, "tok-1");
	assert_string_equal(auth_winner(c), "environment");
	assert_int_equal(ask(c, SCOPE_STORAGE, token, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_int_equal(stub_count(f->stub, ""), 2);
	body = stub_body(f->stub, TOKENS, 0, NULL);
	head = stub_head(f->stub, TOKENS, 0);
	assert_non_null(strstr(head, "Content-Type: application/x-www-form-urlencoded\r\n"));
	assert_field(body, "grant_type", "client_credentials");
	assert_field(body, "client_id", "app-1");
	assert_field(body, "client_secret", SECRET);
	assert_field(body, "scope", SCOPE_ARM);
	free(body);
	free(head);
	body = stub_body(f->stub, TOKENS, 1, NULL);
	assert_field(body, "scope", SCOPE_STORAGE);
	free(body);
	credential_free(c);
}

static void add_refusal(struct fixture *f, const char *error, int code, const char *words,
			int times, char *store, size_t size)
{
	struct stub_rule rule = {.match = TOKENS, .status = 401, .times = times, .body = store};

	snprintf(store, size, REFUSED "\"error_codes\":[%d]}", error, code, words, code);
	stub_add(f->stub, &rule);
}

static void test_refusals_in_words(void **state)
{
	static const struct {
		const char *error;
		int code;
		const char *words;
		const char *expected;
	} table[] = {
		{"invalid_client", 7000215, "Invalid.", "the client secret is wrong"},
		{"invalid_client", 7000222, "Expired.", "has run out"},
		{"unauthorized_client", 700016, "Unknown.", "no application with this client id"},
		{"invalid_request", 90002, "Unknown.", "no such tenant"},
		{"invalid_grant", 123456, "Some new thing.", "Some new thing."},
		{"invalid_client", 1, "You sent " SECRET " to us", "You sent **"},
		{"invalid_client", 1, X288 SECRET " to us", "x **"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct credential *c = NULL;
		struct err e = ERR_INIT;
		char token[64], store[512], code[32];

		stub_clear(f->stub);
		add_refusal(f, table[i].error, table[i].code, table[i].words, 0, store,
			    sizeof(store));
		assert_int_equal(make(f, AUTH_DEFAULT, secret_vars, &c, NULL), 0);
		assert_int_equal(ask(c, SCOPE_ARM, token, &e), -EACCES);
		snprintf(code, sizeof(code), "AADSTS%d, %s", table[i].code, table[i].error);
		if (!strstr(e.msg, table[i].expected) || !strstr(e.msg, code) ||
		    strstr(e.msg, "s3cret") || strstr(e.msg, "Trace"))
			fail_msg("%s", e.msg);
		credential_free(c);
	}
}

/* Refusals are not repeated, failures that may pass are. */
static void test_what_is_repeated(void **state)
{
	struct fixture *f = *state;
	struct stub_rule busy = {.match = TOKENS, .status = 503, .times = 2};
	struct credential *c = NULL;
	char token[64], store[512];

	stub_add(f->stub, &busy);
	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(make(f, AUTH_ENVIRONMENT, secret_vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_int_equal(stub_count(f->stub, TOKENS), 3);
	credential_free(c);
	stub_clear(f->stub);
	add_refusal(f, "invalid_client", 7000215, "No.", 0, store, sizeof(store));
	assert_int_equal(make(f, AUTH_ENVIRONMENT, secret_vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), -EACCES);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), -EACCES);
	assert_int_equal(stub_count(f->stub, TOKENS), 4);
	credential_free(c);
}

static void test_malformed_and_hostile_answers(void **state)
{
	static const struct stub_rule rules[] = {
		{.match = TOKENS, .body = "<html>secret-page</html>"},
		{.match = TOKENS, .body = "{\"access_token\":[\"secret-page\"]}"},
		{.match = TOKENS, .fill = 300 * 1024},
		{.match = TOKENS, .wrong = STUB_RAW, .body = "not http at all secret-page\r\n\r\n"},
		{.match = TOKENS, .status = 302, .headers = "Location: {base}/elsewhere\r\n"},
		{.match = TOKENS, .status = 400, .body = "secret-page"},
		{.match = TOKENS, .status = 404, .body = "{}"},
		{.match = TOKENS, .status = 400, .fill = 100 * 1024},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		struct credential *c = NULL;
		struct err e = ERR_INIT;
		char token[64];
		int rc;

		stub_clear(f->stub);
		stub_add(f->stub, &rules[i]);
		assert_int_equal(make(f, AUTH_ENVIRONMENT, secret_vars, &c, NULL), 0);
		rc = ask(c, SCOPE_ARM, token, &e);
		if (rc != -EBADMSG && rc != -EFBIG)
			fail_msg("%zu: %d %s", i, rc, e.msg);
		assert_null(strstr(e.msg, "secret-page"));
		assert_non_null(strstr(e.msg, "sign"));
		credential_free(c);
	}
	assert_int_equal(stub_count(f->stub, "GET /elsewhere"), 0);
}

static const char *const cert_vars[] = {"AZURE_TENANT_ID",
					"tenant-1",
					"AZURE_CLIENT_ID",
					"app-1",
					"AZURE_CLIENT_CERTIFICATE_PATH",
					NULL,
					NULL};

static struct credential *make_certificate(struct fixture *f)
{
	const char *vars[sizeof(cert_vars) / sizeof(*cert_vars)];
	struct credential *c = NULL;

	memcpy(vars, cert_vars, sizeof(vars));
	vars[5] = clientcert_pem(&f->certs, "app.pem", NULL, true);
	assert_int_equal(make(f, AUTH_ENVIRONMENT, vars, &c, NULL), 0);
	return c;
}

/* Whether the assertion of the nth request says that in its header or claims. */
static bool assertion_has(struct fixture *f, unsigned int nth, int part, const char *text)
{
	char *body = stub_body(f->stub, TOKENS, nth, NULL), *jwt, *at, *end;
	unsigned char json[8192];
	int n;
	bool found;

	jwt = field(body, "client_assertion");
	assert_non_null(jwt);
	at = part ? strchr(jwt, '.') + 1 : jwt;
	end = at + strcspn(at, ".");
	for (char *p = at; p < end; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	n = EVP_DecodeBlock(json, (unsigned char *)at, (int)((end - at) / 4 * 4));
	assert_true(n >= 0);
	json[n] = '\0';
	found = strstr((char *)json, text) != NULL;
	assert_field(body, "client_assertion_type",
		     "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	free(jwt);
	free(body);
	return found;
}

static void test_certificate(void **state)
{
	struct fixture *f = *state;
	struct credential *c = make_certificate(f);
	char token[64], audience[256];

	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_true(assertion_has(f, 0, 0, "\"alg\":\"PS256\""));
	assert_true(assertion_has(f, 0, 0, "x5t#S256"));
	snprintf(audience, sizeof(audience), "\"aud\":\"%s/tenant-1/oauth2/v2.0/token\"",
		 stub_base(f->stub));
	assert_true(assertion_has(f, 0, 1, audience));
	credential_free(c);
}

/* Either way of signing is enough: the endpoint says which it does not know. */
static void test_endpoint_that_knows_the_old_signature_only(void **state)
{
	struct fixture *f = *state;
	struct credential *c = make_certificate(f);
	char token[64], store[512];

	add_refusal(f, "invalid_client", 700027, "Signature.", 1, store, sizeof(store));
	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_true(assertion_has(f, 1, 0, "\"alg\":\"RS256\""));
	assert_true(assertion_has(f, 1, 0, "\"x5t\":"));
	/* It is remembered. */
	assert_int_equal(ask(c, SCOPE_STORAGE, token, NULL), 0);
	assert_int_equal(stub_count(f->stub, TOKENS), 3);
	assert_true(assertion_has(f, 2, 0, "\"alg\":\"RS256\""));
	credential_free(c);
}

/* The clock of this machine is years ahead: the endpoint says what time it is. */
static void test_assertion_by_the_endpoint_s_clock(void **state)
{
	struct fixture *f = *state;
	struct credential *c = make_certificate(f);
	struct stub_rule late = {.match = TOKENS,
				 .times = 1,
				 .status = 401,
				 .headers = "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n",
				 .body = "{\"error\":\"invalid_client\",\"error_codes\":[700024]}"};
	char token[64];

	stub_add(f->stub, &late);
	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_int_equal(stub_count(f->stub, TOKENS), 2);
	assert_true(assertion_has(f, 1, 1, "\"nbf\":78488709")); /* 784887151 - 60, in full */
	credential_free(c);
}

static void test_certificate_that_is_not_there(void **state)
{
	static const char *const vars[] = {"AZURE_TENANT_ID",
					   "tenant-1",
					   "AZURE_CLIENT_ID",
					   "app-1",
					   "AZURE_CLIENT_CERTIFICATE_PATH",
					   "/nonexistent/a.pem",
					   NULL};
	struct fixture *f = *state;
	struct credential *c = NULL;
	struct err e = ERR_INIT;
	char token[64];

	assert_int_equal(make(f, AUTH_DEFAULT, vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, &e), -EACCES);
	assert_non_null(strstr(e.msg, "/nonexistent/a.pem"));
	assert_int_equal(stub_count(f->stub, ""), 0);
	credential_free(c);
}

/* ---- workload identity ---- */

static void test_federated_token_is_read_each_time(void **state)
{
	const char *vars[] = {"AZURE_TENANT_ID",
			      "tenant-1",
			      "AZURE_CLIENT_ID",
			      "app-1",
			      "AZURE_FEDERATED_TOKEN_FILE",
			      NULL,
			      NULL};
	struct fixture *f = *state;
	struct credential *c = NULL;
	struct err e = ERR_INIT;
	char token[64], path[128], *body;

	snprintf(path, sizeof(path), "%s", clientcert_file(&f->certs, "token", "fed-1\n", 6));
	vars[5] = path;
	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(make(f, AUTH_DEFAULT, vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_string_equal(auth_winner(c), "workload-identity");
	clientcert_file(&f->certs, "token", "fed-2", 5);
	assert_int_equal(ask(c, SCOPE_STORAGE, token, NULL), 0);
	body = stub_body(f->stub, TOKENS, 0, NULL);
	assert_field(body, "client_assertion", "fed-1");
	free(body);
	body = stub_body(f->stub, TOKENS, 1, NULL);
	assert_field(body, "client_assertion", "fed-2");
	free(body);
	clientcert_file(&f->certs, "token", "with blanks inside", 18);
	assert_int_equal(ask(c, "https://x/.default", token, &e), -EACCES);
	assert_non_null(strstr(e.msg, path));
	assert_null(strstr(e.msg, "with blanks"));
	credential_free(c);
}

/* ---- settings ---- */

static void test_nothing_is_set_up(void **state)
{
	static const char *const none[] = {NULL};
	struct fixture *f = *state;
	struct credential *c = NULL;
	struct err e = ERR_INIT;
	char token[64];

	assert_int_equal(make(f, AUTH_ENVIRONMENT, none, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, &e), -EACCES);
	assert_non_null(strstr(e.msg, "AZURE_TENANT_ID, AZURE_CLIENT_ID not set"));
	assert_non_null(strstr(e.msg, "az login"));
	credential_free(c);
}

static void test_settings_that_are_wrong(void **state)
{
	static const char *const vars[][7] = {
		{"AZURE_TENANT_ID", "ten/ant", "AZURE_CLIENT_ID", "a", "AZURE_CLIENT_SECRET", "s"},
		{"AZURE_TENANT_ID", "tenant", "AZURE_CLIENT_ID", "a b", "AZURE_CLIENT_SECRET", "s"},
		{"AZURE_TOKEN_CREDENTIALS", "VisualStudioCredential"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(vars) / sizeof(*vars); i++) {
		struct credential *c = NULL;

		assert_int_equal(make(f, AUTH_DEFAULT, vars[i], &c, NULL), -EINVAL);
		assert_null(c);
	}
}

static void test_access_token_comes_first(void **state)
{
	static const char *const vars[] = {"AZURE_ACCESS_TOKEN",
					   "given",
					   "AZURE_TENANT_ID",
					   "tenant-1",
					   "AZURE_CLIENT_ID",
					   "app-1",
					   "AZURE_CLIENT_SECRET",
					   "s",
					   NULL};
	struct fixture *f = *state;
	struct credential *c = NULL;
	char token[64];

	stub_json(f->stub, TOKENS, 200, GOOD);
	assert_int_equal(make(f, AUTH_DEFAULT, vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_string_equal(token, "given");
	credential_free(c);
	/* But not before what is named. */
	assert_int_equal(make(f, AUTH_ENVIRONMENT, vars, &c, NULL), 0);
	assert_int_equal(ask(c, SCOPE_ARM, token, NULL), 0);
	assert_string_equal(token, "tok-1");
	credential_free(c);
}

static void test_authorities(void **state)
{
	static const struct {
		const char *text;
		const char *origin; /* NULL: refused */
	} table[] = {
		{"login.microsoftonline.us", "https://login.microsoftonline.us"},
		{"https://login.microsoftonline.us/", "https://login.microsoftonline.us"},
		{"https://127.0.0.1:8443", "https://127.0.0.1:8443"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"http://localhost:8080/", "http://localhost:8080"},
		{"http://login.microsoftonline.com", NULL},
		{"http://127.0.0.1.example.com", NULL},
		{"https://user@login.microsoftonline.com", NULL},
		{"https://login.microsoftonline.com/tenant", NULL},
		{"https://login.microsoftonline.com/?x=1", NULL},
		{"ftp://login.microsoftonline.com", NULL},
		{"https://", NULL},
		{"a b", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct buf out = BUF_INIT(URL_MAX);
		struct err e = ERR_INIT;
		int rc = auth_entra_check_authority(table[i].text, "WHAT", &out, &e);

		assert_int_equal(rc, table[i].origin ? 0 : -EINVAL);
		if (rc)
			assert_non_null(strstr(e.msg, "WHAT"));
		else
			assert_string_equal(buf_str(&out), table[i].origin);
		buf_free(&out);
	}
}

static void test_clouds(void **state)
{
	struct auth_env env = {0};
	enum auth_kind kind;

	(void)state;
	assert_string_equal(cloud_by_name("azureusgovernment")->endpoint,
			    "https://management.usgovcloudapi.net");
	assert_string_equal(cloud_by_name("AzureChinaCloud")->arm_scope,
			    "https://management.chinacloudapi.cn/.default");
	assert_null(cloud_by_name("AzureGermanCloud"));
	assert_string_equal(auth_env_cloud(&env)->name, "AzureCloud");
	env.values[AUTH_AUTHORITY_HOST] = strdup("https://login.microsoftonline.us/");
	assert_string_equal(auth_env_cloud(&env)->name, "AzureUSGovernment");
	auth_env_clear(&env);
	assert_int_equal(auth_kind_parse("AzureCliCredential", &kind), 0);
	assert_int_equal(kind, AUTH_AZURE_CLI);
	assert_int_equal(auth_kind_parse("Managed-Identity", &kind), 0);
	assert_int_equal(kind, AUTH_MANAGED_IDENTITY);
	assert_int_equal(auth_kind_parse("password", &kind), -EINVAL);
}

#define WITH_STUB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STUB(test_client_secret),
		WITH_STUB(test_refusals_in_words),
		WITH_STUB(test_what_is_repeated),
		WITH_STUB(test_malformed_and_hostile_answers),
		WITH_STUB(test_certificate),
		WITH_STUB(test_endpoint_that_knows_the_old_signature_only),
		WITH_STUB(test_assertion_by_the_endpoint_s_clock),
		WITH_STUB(test_certificate_that_is_not_there),
		WITH_STUB(test_federated_token_is_read_each_time),
		WITH_STUB(test_nothing_is_set_up),
		WITH_STUB(test_settings_that_are_wrong),
		WITH_STUB(test_access_token_comes_first),
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_clouds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
