#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "emulator/counters.h"

enum { THREADS = 4, EACH = 5000, JSON_MAX = 64 * 1024 };

static int setup(void **state)
{
	*state = counters_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	counters_free(*state);
	return 0;
}

static void assert_json(struct counters *c, const char *expected)
{
	struct buf out = BUF_INIT(JSON_MAX);

	assert_int_equal(counters_json(c, &out), 0);
	assert_string_equal(buf_str(&out), expected);
	buf_free(&out);
}

#define EMPTY                                                                                    \
	"{\"total\": 0, \"routes\": {}, \"bytes_in\": 0, \"bytes_out\": 0, \"connections\": 0, " \
	"\"throttled\": 0, "                                                                     \
	"\"at_once\": 0}"

static void counts_and_resets(void **state)
{
	assert_json(*state, EMPTY);
	counters_connection(*state);
	counters_add(*state, "PUT blob", 10, 1);
	counters_add(*state, "GET versions", 0, 100);
	counters_add(*state, "PUT blob", 20, 2);
	counters_add(*state, "LIST blobs", 0, 0);
	assert_json(*state, "{\"total\": 4, \"routes\": {\"GET versions\": 1, \"LIST blobs\": 1, "
			    "\"PUT blob\": 2}, \"bytes_in\": 30, \"bytes_out\": 103, "
			    "\"connections\": 1, \"throttled\": 0, \"at_once\": 0}");
	counters_reset(*state);
	assert_json(*state, EMPTY);
	counters_add(*state, "GET versions", 0, 0);
	assert_json(*state,
		    "{\"total\": 1, \"routes\": {\"GET versions\": 1}, \"bytes_in\": 0, "
		    "\"bytes_out\": 0, \"connections\": 0, \"throttled\": 0, \"at_once\": 0}");
}

/* The most that were being answered together, also after a reset in between. */
static void at_once(void **state)
{
	struct buf out = BUF_INIT(JSON_MAX);

	for (int i = 0; i < 3; i++)
		counters_begin(*state);
	counters_end(*state);
	counters_end(*state);
	counters_begin(*state);
	assert_int_equal(counters_json(*state, &out), 0);
	assert_non_null(strstr(buf_str(&out), "\"at_once\": 3}"));
	counters_reset(*state);
	buf_reset(&out);
	assert_int_equal(counters_json(*state, &out), 0);
	assert_non_null(strstr(buf_str(&out), "\"at_once\": 2}"));
	counters_end(*state);
	counters_end(*state);
	counters_reset(*state);
	assert_json(*state, EMPTY);
	buf_free(&out);
}

/* More kinds of routes than there is room for are still counted. */
static void other(void **state)
{
	struct buf out = BUF_INIT(JSON_MAX);
	size_t i;

	for (i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "route %zu", i);
		counters_add(*state, name, 0, 0);
	}
	assert_int_equal(counters_json(*state, &out), 0);
	assert_non_null(strstr(buf_str(&out), "{\"total\": 1000, "));
	assert_non_null(strstr(buf_str(&out), "\"other\": 744}"));
	buf_free(&out);
}

static void a_small_buffer_is_an_error(void **state)
{
	struct buf out = BUF_INIT(10);

	assert_int_not_equal(counters_json(*state, &out), 0);
	buf_free(&out);
}

static void *count(void *arg)
{
	static const char *const routes[] = {"GET a", "GET b"};
	size_t i;

	for (i = 0; i < EACH; i++) {
		counters_add(arg, routes[i % 2], 1, 2);
		counters_connection(arg);
		counters_begin(arg);
		counters_end(arg);
	}
	return NULL;
}

static void exact_under_threads(void **state)
{
	pthread_t threads[THREADS];
	size_t i;

	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, *state), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* None was left over, so these are all that there are. */
	for (i = 0; i < THREADS; i++)
		counters_begin(*state);
	assert_json(*state, "{\"total\": 20000, \"routes\": {\"GET a\": 10000, \"GET b\": 10000}, "
			    "\"bytes_in\": 20000, \"bytes_out\": 40000, \"connections\": 20000, "
			    "\"throttled\": 0, "
			    "\"at_once\": 4}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts_and_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(other, setup, teardown),
		cmocka_unit_test_setup_teardown(a_small_buffer_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(exact_under_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
