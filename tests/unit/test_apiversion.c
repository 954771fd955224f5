/* The api-version of requests: what follows from each way in which the service refuses it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/apiversion.h"
#include "client/arm_check.h"
#include "client/buf.h"
#include "tests/unit/armfixture.h"

#define NEWEST APIVERSION_NEWEST

/* An answer that is only a status and a body. */
static struct http_response answer(int status, const char *body)
{
	struct http_response r = {.status = status, .body = BUF_INIT(64 * 1024)};

	assert_int_equal(buf_addstr(&r.body, body), 0);
	return r;
}

#define REFUSAL(code, message) "{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"

static const struct {
	const char *name;
	int status;
	const char *body;
	const char *next; /* NULL: it is no refusal */
} refusals[] = {
	{"the nearest one that is not newer is taken", 400,
	 REFUSAL("InvalidApiVersionParameter",
		 "The api-version '" NEWEST "' is invalid. The supported versions are "
		 "'2027-01-01,2025-12-01,2025-12-15-preview,2024-04-01'."),
	 "2025-12-01"},
	{"previews are never taken", 400,
	 REFUSAL("NoRegisteredProviderFound",
		 "No registered resource provider found for location 'x' and API version '" NEWEST
		 "' for type 'workspaces'. The supported api-versions are '2026-04-15-preview, "
		 "2024-10-01'."),
	 "2024-10-01"},
	{"only newer ones: the oldest of them, which differs least", 404,
	 REFUSAL("InvalidResourceType", "The supported api-versions are '2028-01-01,2029-06-01'."),
	 "2028-01-01"},
	{"none is named: the one before it", 400,
	 REFUSAL("UnsupportedApiVersion", "Does not support the API version '" NEWEST "'."),
	 "2026-03-01"},
	{"the code without an envelope", 400,
	 "{\"code\":\"NoRegisteredProviderFound\",\"message\":\"2023-10-01\"}", "2023-10-01"},
	{"what looks like a date and is none", 400,
	 REFUSAL("InvalidApiVersionParameter", "'2025-12-010', '12025-1-1', '2025-06-01'"),
	 "2025-06-01"},
	{"another error of the same status", 400, REFUSAL("UserError", "2024-04-01"), NULL},
	{"no JSON", 400, "<html>InvalidApiVersionParameter</html>", NULL},
	{"another status", 403, REFUSAL("InvalidApiVersionParameter", "2024-04-01"), NULL},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		struct http_response r = answer(refusals[i].status, refusals[i].body);
		char now[APIVERSION_SIZE];
		struct apiversion *v;

		assert_int_equal(apiversion_new(NULL, &v), 0);
		if (apiversion_is_refused(&r) != (refusals[i].next != NULL))
			fail_msg("%s", refusals[i].name);
		if (refusals[i].next) {
			assert_true(apiversion_refused(v, NEWEST, &r));
			apiversion_get(v, now);
			if (strcmp(now, refusals[i].next) != 0)
				fail_msg("%s: %s", refusals[i].name, now);
			/* Another request with the old one learns it without a change. */
			assert_true(apiversion_refused(v, NEWEST, &r));
			apiversion_get(v, now);
			assert_string_equal(now, refusals[i].next);
		}
		apiversion_free(v);
		http_response_clear(&r);
	}
}

/* Whatever the service says, what it has refused is not tried again, and it ends. */
static void test_it_ends(void **state)
{
	struct http_response r = answer(
		400, REFUSAL("InvalidApiVersionParameter", "2026-05-01, 2025-12-01, 2024-04-01"));
	char now[APIVERSION_SIZE], before[APIVERSION_SIZE] = NEWEST;
	struct apiversion *v;
	int changes = 0;

	(void)state;
	assert_int_equal(apiversion_new(NULL, &v), 0);
	while (apiversion_refused(v, before, &r)) {
		apiversion_get(v, now);
		assert_string_not_equal(now, before);
		memcpy(before, now, sizeof(before));
		assert_true(++changes < 20);
	}
	assert_true(changes >= 2);
	apiversion_free(v);
	http_response_clear(&r);
}

static void test_fixed(void **state)
{
	struct http_response r =
		answer(400, REFUSAL("InvalidApiVersionParameter", "use 2024-04-01"));
	char now[APIVERSION_SIZE];
	struct apiversion *v;

	(void)state;
	assert_int_equal(apiversion_new("2023-10-01", &v), 0);
	assert_false(apiversion_refused(v, "2023-10-01", &r));
	apiversion_get(v, now);
	assert_string_equal(now, "2023-10-01");
	apiversion_free(v);
	http_response_clear(&r);
	assert_int_equal(apiversion_new("", &v), -EINVAL);
	assert_null(v);
}

static void test_urls(void **state)
{
	static const char *const urls[][2] = {
		{"https://h/p?api-version=A&x=1", "https://h/p?api-version=NEW&x=1"},
		{"https://h/p?x=api-version=1&Api-Version=A", "https://h/p?x=api-version=1&"
							      "Api-Version=NEW"},
		{"https://h/p?x=1", "https://h/p?x=1"},
		{"https://h/api-version=A", "https://h/api-version=A"},
	};
	char found[APIVERSION_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
		struct buf b = BUF_INIT(1024);

		assert_int_equal(apiversion_replace(&b, urls[i][0], "NEW"), 0);
		assert_string_equal(buf_str(&b), urls[i][1]);
		buf_free(&b);
		assert_int_equal(apiversion_of_url(urls[i][0], found), i < 2);
	}
	assert_false(apiversion_of_url("https://h/?api-version=", found));
}

/* ---- a source ---- */

#define ENVS(version) "GET " WS "/environments?api-version=" version "&listViewType=All "

static void refuse(struct arm_fixture *f, const char *match)
{
	stub_json(f->stub, match, 400,
		  REFUSAL("NoRegisteredProviderFound",
			  "The supported api-versions are '2025-09-01, 2024-04-01'."));
}

static int list_envs(struct arm_fixture *f)
{
	struct env_list *l = NULL;
	int rc = f->source->ops->list_envs(f->source, f->workspace, &f->call, &l, &f->err);

	env_list_unref(l);
	return rc;
}

static void test_negotiated_once(void **state)
{
	struct arm_fixture *f = *state;

	refuse(f, ENVS("2026-05-01"));
	stub_json(f->stub, ENVS("2025-09-01"), 200, "{\"value\":[]}");
	assert_int_equal(list_envs(f), 0);
	assert_int_equal(stub_count(f->stub, ""), 2);
	assert_int_equal(list_envs(f), 0);
	assert_int_equal(stub_count(f->stub, ""), 3);
	assert_int_equal(stub_count(f->stub, ENVS("2026-05-01")), 1);
}

/* A request that must not be repeated was not made: it is sent once with the right one. */
static void test_a_write(void **state)
{
	struct arm_fixture *f = *state;
	struct version fields = {.env = "e1", .version = "1", .image = "i"}, *v, *out = NULL;

	v = version_new(&fields);
	assert_non_null(v);
	refuse(f, "PUT " WS "/environments/e1/versions/1?api-version=2026-05-01 ");
	stub_json(f->stub, "PUT " WS "/environments/e1/versions/1?api-version=2025-09-01 ", 201,
		  "{\"id\":\"" WS "/environments/e1/versions/1\",\"name\":\"1\","
		  "\"properties\":{\"image\":\"i\"}}");
	assert_int_equal(
		f->source->ops->put_version(f->source, f->workspace, v, &f->call, &out, &f->err),
		0);
	version_unref(out);
	version_unref(v);
	assert_int_equal(stub_count(f->stub, "PUT "), 2);
}

static void test_none_will_do(void **state)
{
	struct arm_fixture *f = *state;

	refuse(f, "GET ");
	assert_int_equal(list_envs(f), -EINVAL);
	assert_non_null(strstr(f->err.msg, "NoRegisteredProviderFound"));
	assert_non_null(strstr(f->err.msg, "-o api_version=DATE"));
	assert_true(stub_count(f->stub, "") <= 1 + APIVERSION_TRIES);
}

static void test_the_users_own(void **state)
{
	struct arm_fixture *f = *state;
	struct arm_conf conf = {.subscription = "s1", .api_version = "2024-10-01"};

	arm_fixture_remake(f, &conf);
	refuse(f, ENVS("2024-10-01"));
	assert_int_equal(list_envs(f), -EINVAL);
	assert_int_equal(stub_count(f->stub, ""), 1);
}

/* Another provider's refusal says nothing of the versions that Azure ML has. */
static void test_another_provider(void **state)
{
	struct arm_fixture *f = *state;
	struct buf name = BUF_INIT(256);

	refuse(f, "GET " SUB "?api-version=");
	stub_json(f->stub, ENVS(NEWEST), 200, "{\"value\":[]}");
	assert_int_equal(arm_check_subscription(f->source, &f->call, &name, &f->err), -EINVAL);
	assert_int_equal(stub_count(f->stub, ""), 1);
	assert_int_equal(list_envs(f), 0);
	assert_int_equal(stub_count(f->stub, ENVS(NEWEST)), 1);
	buf_free(&name);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),    cmocka_unit_test(test_it_ends),
		cmocka_unit_test(test_fixed),       cmocka_unit_test(test_urls),
		WITH_SOURCE(test_negotiated_once),  WITH_SOURCE(test_a_write),
		WITH_SOURCE(test_none_will_do),     WITH_SOURCE(test_the_users_own),
		WITH_SOURCE(test_another_provider),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
