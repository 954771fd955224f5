#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulator/faults.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int setup(void **state)
{
	*state = faults_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	faults_free(*state);
	return 0;
}

static void set(struct faults *f, const char *plan)
{
	struct err e = ERR_INIT;

	if (faults_set(f, plan, strlen(plan), &e))
		fail_msg("%s", e.msg);
}

static struct fault match(struct faults *f, const char *method, const char *path)
{
	struct fault fault;

	faults_match(f, method, path, &fault);
	return fault;
}

static void no_plan_is_no_fault(void **state)
{
	struct fault fault = match(*state, "GET", "/x");

	assert_false(fault.active);
	assert_int_equal(fault.retry_after, -1);
	assert_int_equal(fault.truncate, -1);
}

static void every_member(void **state)
{
	struct fault f;

	set(*state, "{\"rules\": [{\"status\": 429, \"code\": \"TooManyRequests\","
		    " \"retry_after\": 7, \"body\": \"{}\", \"delay_ms\": 1,"
		    " \"body_delay_ms\": 2, \"truncate\": 3, \"wrong_length\": -4,"
		    " \"duplicate_page\": true, \"skip_page\": true}]}");
	f = match(*state, "GET", "/x");
	assert_true(f.active);
	assert_int_equal(f.status, 429);
	assert_string_equal(f.code, "TooManyRequests");
	assert_int_equal(f.retry_after, 7);
	assert_string_equal(f.body, "{}");
	assert_int_equal(f.delay_ms, 1);
	assert_int_equal(f.body_delay_ms, 2);
	assert_int_equal(f.truncate, 3);
	assert_int_equal(f.wrong_length, -4);
	assert_true(f.duplicate_page && f.skip_page);
	assert_false(f.reset || f.close || f.garbage || f.garbage_body || f.lost || f.huge);

	set(*state,
	    "{\"rules\": [{\"method\": \"A\", \"reset\": true},"
	    "{\"method\": \"B\", \"close\": true}, {\"method\": \"C\", \"garbage\": true},"
	    "{\"method\": \"D\", \"garbage_body\": true}, {\"method\": \"E\", \"lost\": true},"
	    "{\"method\": \"F\", \"huge\": 104857600, \"truncate\": 0}]}");
	assert_true(match(*state, "A", "/").reset);
	assert_true(match(*state, "B", "/").close);
	assert_true(match(*state, "C", "/").garbage);
	assert_true(match(*state, "D", "/").garbage_body);
	assert_true(match(*state, "E", "/").lost);
	f = match(*state, "F", "/");
	assert_int_equal(f.huge, 104857600);
	assert_int_equal(f.truncate, 0);
	assert_int_equal(f.retry_after, -1);
}

static void method_and_path_choose(void **state)
{
	set(*state, "{\"rules\": [{\"method\": \"P*\", \"path\": \"/s/*/versions/?*\","
		    " \"status\": 500}]}");
	assert_true(match(*state, "PUT", "/s/a/b/versions/1").active);
	assert_true(match(*state, "POST", "/s/a/versions/1").active);
	assert_false(match(*state, "GET", "/s/a/versions/1").active);
	assert_false(match(*state, "PUT", "/s/a/versions/").active);
}

static void skip_and_times(void **state)
{
	size_t i;

	set(*state,
	    "{\"rules\": [{\"path\": \"/a\", \"skip\": 2, \"times\": 2, \"status\": 503}]}");
	for (i = 0; i < 8; i++) {
		assert_false(match(*state, "GET", "/b").active);
		assert_int_equal(match(*state, "GET", "/a").active, i == 2 || i == 3);
	}
}

/* A rule that skips or is used up lets the next one have the request. */
static void first_rule_that_applies(void **state)
{
	set(*state, "{\"rules\": [{\"skip\": 1, \"times\": 1, \"status\": 500},"
		    "{\"times\": 1, \"status\": 501}, {\"status\": 502}]}");
	assert_int_equal(match(*state, "GET", "/").status, 501);
	assert_int_equal(match(*state, "GET", "/").status, 500);
	assert_int_equal(match(*state, "GET", "/").status, 502);
	assert_int_equal(match(*state, "GET", "/").status, 502);
}

static void refused(void **state)
{
	static const char *const bad[][2] = {
		{"", ""},
		{"[]", "rules"},
		{"{}", "rules"},
		{"{\"rules\": {}}", "rules"},
		{"{\"rules\": [], \"x\": 1}", "rules"},
		{"{\"rules\": [], \"rules\": []}", "rules"},
		{"{\"rules\": [1]}", "rule 1: must be an object"},
		{"{\"rules\": [{}]}", "rule 1: says nothing"},
		{"{\"rules\": [{\"times\": 1}]}", "says nothing"},
		{"{\"rules\": [{\"reset\": true}, {\"retry-after\": 1}]}",
		 "rule 2: there is no member \"retry-after\" (the nearest is \"retry_after\")"},
		{"{\"rules\": [{\"Status\": 500}]}", "nearest is \"status\""},
		{"{\"rules\": [{\"delay\": 500}]}", "nearest is"},
		{"{\"rules\": [{\"status\": 500, \"status\": 501}]}", "twice"},
		{"{\"rules\": [{\"status\": \"500\"}]}", "\"status\" must be a whole number"},
		{"{\"rules\": [{\"status\": 500.5}]}", "\"status\" must be a whole number"},
		{"{\"rules\": [{\"status\": 100}]}", "from 200 to 599"},
		{"{\"rules\": [{\"status\": 1e400}]}", ""},
		{"{\"rules\": [{\"reset\": 1}]}", "\"reset\" must be true or false"},
		{"{\"rules\": [{\"reset\": true, \"path\": 1}]}", "\"path\" must be text"},
		{"{\"rules\": [{\"reset\": true, \"times\": 0}]}", "\"times\""},
		{"{\"rules\": [{\"reset\": true, \"skip\": -1}]}", "\"skip\""},
		{"{\"rules\": [{\"reset\": true, \"status\": 500}]}", "only one of"},
		{"{\"rules\": [{\"retry_after\": 1, \"lost\": true}]}", "need \"status\""},
		{"{\"rules\": [{\"truncate\": -1}]}", "\"truncate\""},
		{"{\"rules\": []} x", ""},
		{"{\"rules\": [", ""},
	};
	size_t i;

	set(*state, "{\"rules\": [{\"status\": 418}]}");
	for (i = 0; i < COUNT(bad); i++) {
		struct err e = ERR_INIT;

		if (faults_set(*state, bad[i][0], strlen(bad[i][0]), &e) != -EBADMSG)
			fail_msg("accepted: %s", bad[i][0]);
		if (!e.msg[0] || !strstr(e.msg, bad[i][1]))
			fail_msg("%s: said \"%s\"", bad[i][0], e.msg);
	}
	assert_int_equal(match(*state, "GET", "/").status, 418);
}

static void too_long(void **state)
{
	static const char head[] = "{\"rules\": [{\"status\": 500, \"body\": \"", tail[] = "\"}]}";
	char plan[4096];
	struct err e = ERR_INIT;

	memset(plan, 'a', sizeof(plan));
	memcpy(plan, head, strlen(head));
	memcpy(plan + sizeof(plan) - sizeof(tail), tail, sizeof(tail));
	assert_int_equal(faults_set(*state, plan, strlen(plan), &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "longer than"));
}

static void load(void **state)
{
	static const char plan[] = "{\"rules\": [{\"status\": 502}]}";
	char path[] = "/tmp/mlenvfs-faults-XXXXXX";
	struct err e = ERR_INIT;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, plan, strlen(plan)), strlen(plan));
	assert_int_equal(faults_load(*state, path, &e), 0);
	assert_int_equal(match(*state, "GET", "/").status, 502);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(faults_load(*state, path, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, path));
	close(fd);
	unlink(path);
	assert_int_equal(faults_load(*state, path, &e), -ENOENT);
	assert_int_equal(match(*state, "GET", "/").status, 502);
}

enum { THREADS = 4, TIMES = 1000, EACH = 1000 };

static void *count_hits(void *arg)
{
	uintptr_t hits = 0;
	size_t i;

	for (i = 0; i < EACH; i++)
		hits += match(arg, "GET", "/a").status == 500;
	return (void *)hits;
}

/* `times` is exact, however many ask at once. */
static void times_under_threads(void **state)
{
	pthread_t threads[THREADS];
	uintptr_t sum = 0;
	char plan[128];
	size_t i;

	snprintf(plan, sizeof(plan), "{\"rules\": [{\"skip\": 3, \"times\": %d, \"status\": 500}]}",
		 TIMES);
	set(*state, plan);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_hits, *state), 0);
	for (i = 0; i < THREADS; i++) {
		void *hits;

		assert_int_equal(pthread_join(threads[i], &hits), 0);
		sum += (uintptr_t)hits;
	}
	assert_int_equal(sum, TIMES);
}

static void replaced_under_threads(void **state)
{
	pthread_t threads[THREADS];
	size_t i;

	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_hits, *state), 0);
	for (i = 0; i < 100; i++)
		set(*state, i % 2 ? "{\"rules\": [{\"status\": 500}]}" : "{\"rules\": []}");
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_plan_is_no_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(every_member, setup, teardown),
		cmocka_unit_test_setup_teardown(method_and_path_choose, setup, teardown),
		cmocka_unit_test_setup_teardown(skip_and_times, setup, teardown),
		cmocka_unit_test_setup_teardown(first_rule_that_applies, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(load, setup, teardown),
		cmocka_unit_test_setup_teardown(times_under_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_under_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
