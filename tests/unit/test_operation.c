/* What the service does in its own time: each way that it says so, and who has no time to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "tests/unit/armfixture.h"

#define VERSION_PATH REG "/environments/e1/versions/1?"
#define PUT_IT       "PUT " VERSION_PATH
#define GET_IT       "GET " VERSION_PATH
#define IN_WORKSPACE WS "/environments/e1/versions/1?"
#define OPERATION    "GET /operations/1 "
#define SOON         "retry-after-ms: 10\r\n"

enum { QUIET_MS = 100 };

#define RECORD(state)                                                                    \
	"{\"id\":\"azureml://registries/r1/environments/e1/versions/1\",\"name\":\"1\"," \
	"\"properties\":{\"image\":\"i\",\"provisioningState\":\"" state "\"}}"

static int put_in(struct arm_fixture *f, struct scope *scope)
{
	struct version fields = {.env = "e1", .version = "1", .image = "i"};
	struct version *v = version_new(&fields), *out = NULL;
	int rc;

	assert_non_null(v);
	rc = f->source->ops->put_version(f->source, scope, v, &f->call, &out, &f->err);
	assert_int_equal(!rc, out != NULL);
	version_unref(out);
	version_unref(v);
	return rc;
}

static int put(struct arm_fixture *f)
{
	return put_in(f, f->registry);
}

static int get_in(struct arm_fixture *f, struct scope *scope)
{
	struct version *out = NULL;
	int rc = f->source->ops->get_version(f->source, scope, "e1", "1", &f->call, &out, &f->err);

	version_unref(out);
	return rc;
}

static int get(struct arm_fixture *f)
{
	return get_in(f, f->registry);
}

static void answer(struct arm_fixture *f, const char *match, int status, const char *headers,
		   const char *body, int times)
{
	struct stub_rule rule = {
		.match = match, .status = status, .headers = headers, .body = body, .times = times};

	stub_add(f->stub, &rule);
}

/* ---- the ways ---- */

static const struct {
	const char *name;
	int status; /* of the PUT */
	const char *headers;
	const char *body;
	unsigned int polls; /* of the operation */
} ways[] = {
	{"Location", 202, "Location: {base}/operations/1\r\n", "null", 2},
	{"Operation-Location", 201, "Operation-Location: {base}/operations/1\r\n", "{}", 2},
	{"a Location beside an operation at a place that is not the service's", 202,
	 "Azure-AsyncOperation: https://evil.example/1\r\nLocation: {base}/operations/1\r\n",
	 "null", 2},
	{"the version's own state", 200, "", RECORD("Creating"), 0},
	{"202 and nowhere to ask", 202, "", "null", 0},
};

static void test_ways(void **state)
{
	struct arm_fixture *f = *state;

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		unsigned int puts = stub_count(f->stub, "PUT ");
		unsigned int polls = stub_count(f->stub, OPERATION);

		stub_clear(f->stub);
		answer(f, PUT_IT, ways[i].status, ways[i].headers, ways[i].body, 1);
		answer(f, OPERATION, 202, SOON, "", 1);
		answer(f, OPERATION, 200, "", "", 0);
		if (!ways[i].polls)
			answer(f, GET_IT, 200, "", RECORD("Creating"), 1);
		answer(f, GET_IT, 200, "", RECORD("Succeeded"), 0);
		if (put(f))
			fail_msg("%s: %s", ways[i].name, f->err.msg);
		assert_int_equal(stub_count(f->stub, "PUT ") - puts, 1);
		assert_int_equal(stub_count(f->stub, OPERATION) - polls, ways[i].polls);
	}
}

static void test_failures(void **state)
{
	struct arm_fixture *f = *state;

	/* The answer itself says that it failed. */
	answer(f, PUT_IT, 200, "", RECORD("Failed"), 1);
	assert_int_equal(put(f), -EIO);
	assert_non_null(strstr(f->err.msg, "Failed"));
	/* It fails later. */
	answer(f, PUT_IT, 201, "", RECORD("Creating"), 1);
	answer(f, GET_IT, 200, "", RECORD("Canceled"), 0);
	assert_int_equal(put(f), -EIO);
	assert_non_null(strstr(f->err.msg, "Canceled"));
}

/* All polls of one operation carry the id of the request that began it. */
static void test_one_id(void **state)
{
	struct arm_fixture *f = *state;
	char *head, *first, *next;

	answer(f, PUT_IT, 202, "Location: {base}/operations/1\r\n", "null", 0);
	answer(f, OPERATION, 202, SOON, "", 2);
	answer(f, OPERATION, 200, "", "", 0);
	answer(f, GET_IT, 200, "", RECORD("Succeeded"), 0);
	assert_int_equal(put(f), 0);
	head = stub_head(f->stub, "PUT ", 0);
	first = stub_header(head, "x-ms-client-request-id");
	assert_int_equal(strlen(first), 36);
	free(head);
	for (unsigned int i = 0; i < 3; i++) {
		head = stub_head(f->stub, OPERATION, i);
		next = stub_header(head, "x-ms-client-request-id");
		assert_string_equal(first, next);
		free(next);
		free(head);
	}
	free(first);
}

/* ---- nobody has time ---- */

/* The last poll may have been sent just when the time was over: it is counted when it arrives. */
static void await_quiet(struct stub *stub)
{
	unsigned int before;

	do {
		before = stub_count(stub, OPERATION);
		poll(NULL, 0, QUIET_MS);
	} while (stub_count(stub, OPERATION) != before);
}

static void leave(struct arm_fixture *f)
{
	answer(f, PUT_IT, 202, "Location: {base}/operations/1\r\n", "null", 0);
	answer(f, OPERATION, 202, SOON, "", 0);
	arm_fixture_deadline(f, 200 * NS_PER_MS);
	assert_int_equal(put(f), -EINPROGRESS);
	assert_non_null(strstr(f->err.msg, "accepted"));
	arm_fixture_deadline(f, 20 * NS_PER_S);
	await_quiet(f->stub);
	stub_clear(f->stub);
}

static void test_left_not_shown(void **state)
{
	struct arm_fixture *f = *state;
	unsigned int polls;

	leave(f);
	/* A service that does not show what it is registering: not there is not never. */
	answer(f, GET_IT, 404, "", "{}", 0);
	answer(f, OPERATION, 202, "", "", 0);
	assert_int_equal(get(f), -EINPROGRESS);
	stub_clear(f->stub);
	answer(f, GET_IT, 404, "", "{}", 1);
	answer(f, GET_IT, 200, "", RECORD("Succeeded"), 1);
	answer(f, OPERATION, 200, "", "", 0);
	assert_int_equal(get(f), 0);
	/* From here on it is a version as any other. */
	polls = stub_count(f->stub, OPERATION);
	answer(f, GET_IT, 404, "", "{}", 1);
	assert_int_equal(get(f), -ENOENT);
	assert_int_equal(stub_count(f->stub, OPERATION), polls);
}

static void test_left_and_failed(void **state)
{
	struct arm_fixture *f = *state;
	unsigned int polls;

	leave(f);
	polls = stub_count(f->stub, OPERATION);
	answer(f, GET_IT, 404, "", "{}", 0);
	answer(f, OPERATION, 400, "", "{\"error\":{\"code\":\"Bad\"}}", 0);
	assert_int_equal(get(f), -ENOENT);
	assert_int_equal(get(f), -ENOENT);
	assert_int_equal(stub_count(f->stub, OPERATION) - polls, 1);
}

/* A service that can't be asked says nothing of how it ended. */
static void test_left_and_away(void **state)
{
	struct arm_fixture *f = *state;

	leave(f);
	answer(f, GET_IT, 404, "", "{}", 0);
	answer(f, OPERATION, 503, "Retry-After: 60\r\n", "", 0);
	assert_int_equal(get(f), -EBUSY);
	stub_clear(f->stub);
	answer(f, GET_IT, 404, "", "{}", 0);
	answer(f, OPERATION, 501, "", "", 0);
	assert_int_equal(get(f), -EIO);
	stub_clear(f->stub);
	answer(f, GET_IT, 404, "", "{}", 0);
	answer(f, OPERATION, 202, "", "", 0);
	assert_int_equal(get(f), -EINPROGRESS);
}

static void test_left_shown(void **state)
{
	struct arm_fixture *f = *state;
	struct version *out = NULL;

	leave(f);
	/* A service that does: its state says that it is not done. */
	answer(f, GET_IT, 200, "", RECORD("Creating"), 1);
	assert_int_equal(f->source->ops->get_version(f->source, f->registry, "e1", "1", &f->call,
						     &out, &f->err),
			 0);
	assert_true(version_is_unfinished(out));
	assert_false(version_has_failed(out));
	version_unref(out);
}

/* ---- told ---- */

static void *put_main(void *arg)
{
	return (void *)(intptr_t)put(arg);
}

static cJSON *told_operation(struct arm_fixture *f, cJSON **about)
{
	assert_int_equal(f->source->ops->about(f->source, about), 0);
	return cJSON_GetArrayItem(cJSON_GetObjectItem(*about, "operations"), 0);
}

static void test_told(void **state)
{
	struct arm_fixture *f = *state;
	cJSON *about = NULL, *one;
	pthread_t thread;
	void *rc;

	answer(f, PUT_IT, 202, "Azure-AsyncOperation: {base}/operations/1\r\n", "null", 0);
	answer(f, OPERATION, 200, "Retry-After: 1\r\n", "{\"status\":\"Copying\"}", 1);
	answer(f, OPERATION, 200, "", "{\"status\":\"Succeeded\"}", 0);
	answer(f, GET_IT, 200, "", RECORD("Succeeded"), 0);
	assert_null(told_operation(f, &about));
	cJSON_Delete(about);
	assert_int_equal(pthread_create(&thread, NULL, put_main, f), 0);
	for (;;) {
		one = told_operation(f, &about);
		if (one && cJSON_HasObjectItem(one, "state"))
			break;
		cJSON_Delete(about);
	}
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "scope")), "r1");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "environment")), "e1");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "version")), "1");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(one, "state")), "Copying");
	cJSON_Delete(about);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, 0);
	assert_null(told_operation(f, &about));
	cJSON_Delete(about);
}

/* A workspace that takes its time is no other case. */
static void test_left_in_a_workspace(void **state)
{
	struct arm_fixture *f = *state;
	cJSON *about = NULL;

	answer(f, "PUT " IN_WORKSPACE, 202, "Location: {base}/operations/1\r\n", "null", 0);
	answer(f, OPERATION, 202, SOON, "", 0);
	arm_fixture_deadline(f, 200 * NS_PER_MS);
	assert_int_equal(put_in(f, f->workspace), -EINPROGRESS);
	arm_fixture_deadline(f, 20 * NS_PER_S);
	stub_clear(f->stub);
	answer(f, "GET " IN_WORKSPACE, 404, "", "{}", 1);
	answer(f, "GET " IN_WORKSPACE, 200, "", RECORD("Succeeded"), 1);
	answer(f, OPERATION, 202, "", "", 0);
	assert_int_equal(get_in(f, f->workspace), -EINPROGRESS);
	assert_non_null(told_operation(f, &about));
	cJSON_Delete(about);
	assert_int_equal(get_in(f, f->workspace), 0);
	assert_null(told_operation(f, &about));
	cJSON_Delete(about);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SOURCE(test_ways),
		WITH_SOURCE(test_failures),
		WITH_SOURCE(test_one_id),
		WITH_SOURCE(test_left_not_shown),
		WITH_SOURCE(test_left_and_failed),
		WITH_SOURCE(test_left_and_away),
		WITH_SOURCE(test_left_shown),
		WITH_SOURCE(test_told),
		WITH_SOURCE(test_left_in_a_workspace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
