/*
 * The catalog over a service that fails: old lists, remembered errors, and patience that ends.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/log.h"
#include "tests/unit/catalog_fixture.h"

/* ---- failure ---- */

static void wait_errors(struct fixture *f, uint64_t n)
{
	const struct timespec tick = {.tv_nsec = NS_PER_MS};
	int64_t until = clock_mono() + PATIENCE_S * NS_PER_S;

	while (stats(f).errors < n && clock_mono() < until)
		nanosleep(&tick, NULL);
	assert_int_equal(stats(f).errors, n);
}

/* Who can have an old list does not wait for a service that is away; it is asked behind. */
static void nobody_waits_for_a_service_that_is_away(void **state)
{
	struct question q;
	struct fixture f;
	char text[ERR_MSG_MAX];

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask(&f, "b", NULL), 0);
	memsource_fail(f.m, MEM_VERSIONS, -EHOSTUNREACH, "no network");
	pass(REFRESH);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_true(stats(&f).away);
	memsource_hold(f.m);
	assert_int_equal(ask(&f, "b", text), 0);
	assert_string_equal(text, "first");
	assert_true(memsource_wait_inside(f.m, 1));
	assert_int_equal(stats(&f).behind, 1);
	memsource_release(f.m);
	wait_errors(&f, 2);

	/* Unless it was told that the old list is not good enough. */
	catalog_expire(f.c);
	memsource_hold(f.m);
	ask_start(&q, &f, "b");
	assert_true(memsource_wait_inside(f.m, 1));
	memsource_release(f.m);
	ask_join(&q);
	assert_int_equal(q.rc, 0);
	question_end(&q);

	/* It is back: the first answer is behind, and then everything is as it was. */
	memsource_fail(f.m, MEM_VERSIONS, 0, NULL);
	memsource_describe(f.m, "b", "second");
	pass(NEGATIVE);
	assert_int_equal(ask(&f, "b", text), 0);
	assert_string_equal(text, "first");
	wait_events(&f, 1);
	assert_false(stats(&f).away);
	assert_int_equal(ask(&f, "b", text), 0);
	assert_string_equal(text, "second");
	close_fixture(&f);
}

static void old_lists_are_used_while_the_service_fails(void **state)
{
	static const int failures[] = {-EIO, -EBUSY, -EBADMSG, -EFBIG};
	struct fixture f;
	char text[ERR_MSG_MAX];
	unsigned int calls = 1;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		memsource_fail(f.m, MEM_VERSIONS, failures[i], "out of order");
		pass(REFRESH);
		assert_int_equal(ask(&f, "a", text), 0);
		assert_string_equal(text, "first");
		assert_int_equal(ask(&f, "a", NULL), 0);
		assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), ++calls);
		pass(NEGATIVE);
		assert_int_equal(ask(&f, "a", NULL), 0);
		assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), ++calls);
	}
	assert_int_equal(stats(&f).stale, 12);
	assert_int_equal(stats(&f).errors, 8);
	assert_string_equal(stats(&f).last_error, "out of order");
	assert_true(stats(&f).last_error_at > 0);

	memsource_fail(f.m, MEM_VERSIONS, 0, NULL);
	memsource_describe(f.m, "a", "second");
	pass(NEGATIVE);
	assert_int_equal(ask(&f, "a", text), 0);
	assert_string_equal(text, "second");
	wait_events(&f, 1);
	close_fixture(&f);
}

/* What gave way to others is no failure of anything: who wants it asks for it by himself. */
static void what_gave_way_is_asked_for_again(void **state)
{
	struct fixture f;
	char text[ERR_MSG_MAX];

	(void)state;
	open_fixture(&f);
	memsource_fail_once(f.m, MEM_VERSIONS, -EAGAIN, "not asked ahead");
	assert_int_equal(ask(&f, "a", text), 0);
	assert_string_equal(text, "first");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	assert_int_equal(stats(&f).errors, 0);
	/* It does not go on for ever, and is forgotten at once. */
	memsource_fail(f.m, MEM_VERSIONS, -EAGAIN, "not asked ahead");
	assert_int_equal(ask(&f, "b", NULL), -EBUSY);
	memsource_fail(f.m, MEM_VERSIONS, 0, NULL);
	assert_int_equal(ask(&f, "b", NULL), 0);
	close_fixture(&f);
}

static void a_refusal_is_not_hidden_behind_old_lists(void **state)
{
	struct fixture f;
	char text[ERR_MSG_MAX];

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	memsource_fail(f.m, MEM_VERSIONS, -EACCES, "not allowed");
	pass(REFRESH);
	assert_int_equal(ask(&f, "a", text), -EACCES);
	assert_string_equal(text, "not allowed");
	assert_int_equal(ask(&f, "a", NULL), -EACCES);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	memsource_fail(f.m, MEM_VERSIONS, 0, NULL);
	pass(NEGATIVE);
	assert_int_equal(ask(&f, "a", NULL), 0);
	close_fixture(&f);
	assert_int_equal(f.events.n, 0);
}

static void errors_are_remembered_for_a_moment(void **state)
{
	struct fixture f;
	char text[ERR_MSG_MAX];

	(void)state;
	open_fixture(&f);
	memsource_fail(f.m, MEM_VERSIONS, -EHOSTUNREACH, "no route");
	assert_int_equal(ask(&f, "a", NULL), -EHOSTUNREACH);
	pass(NEGATIVE - 1);
	assert_int_equal(ask(&f, "a", text), -EHOSTUNREACH);
	assert_string_equal(text, "no route");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 1);
	pass(1);
	assert_int_equal(ask(&f, "a", NULL), -EHOSTUNREACH);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	catalog_expire(f.c);
	memsource_fail(f.m, MEM_VERSIONS, -ENOMEM, "no memory");
	assert_int_equal(ask(&f, "a", NULL), -ENOMEM);
	assert_int_equal(ask(&f, "a", NULL), -ENOMEM);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 4);
	close_fixture(&f);
}

static void a_missing_environment_is_forgotten(void **state)
{
	struct version_list *list;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	memsource_remove_env(f.m, "a");
	pass(REFRESH);
	assert_int_equal(ask(&f, "a", NULL), -ENOENT);
	assert_int_equal(catalog_peek_versions(f.c, f.scope, "a", &list), 0);
	wait_events(&f, 1);
	assert_int_equal(f.events.list[0].event, CATALOG_VERSIONS);
	assert_int_equal(f.events.list[0].before, 1);
	assert_int_equal(f.events.list[0].after, 0);
	/* That it failed otherwise meanwhile doesn't bring it back. */
	memsource_fail(f.m, MEM_VERSIONS, -EIO, "out of order");
	pass(NEGATIVE);
	assert_int_equal(ask(&f, "a", NULL), -EIO);
	assert_int_equal(stats(&f).errors, 1);
	close_fixture(&f);
}

/* The service hangs: the first reader's time passes, the next ones don't spend theirs. */
static void an_old_list_is_used_when_patience_ends(void **state)
{
	struct question q;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	pass(REFRESH);
	memsource_hold(f.m);
	question_init(&q, &f, "a");
	q.call.deadline = clock_mono() + 50 * NS_PER_MS;
	ask_main(&q);
	assert_int_equal(q.rc, 0);
	assert_true(memsource_wait_inside(f.m, 0));
	assert_int_equal(memsource_cancelled(f.m), 1);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	assert_int_equal(stats(&f).stale, 2);
	assert_int_equal(stats(&f).errors, 1);
	question_end(&q);

	question_init(&q, &f, "b");
	q.call.deadline = clock_mono() + 50 * NS_PER_MS;
	ask_main(&q);
	assert_int_equal(q.rc, -ETIMEDOUT);
	assert_non_null(strstr(q.err.msg, "the versions of ws/b"));
	question_end(&q);
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_a_service_that_is_away),
		cmocka_unit_test(old_lists_are_used_while_the_service_fails),
		cmocka_unit_test(what_gave_way_is_asked_for_again),
		cmocka_unit_test(a_refusal_is_not_hidden_behind_old_lists),
		cmocka_unit_test(errors_are_remembered_for_a_moment),
		cmocka_unit_test(a_missing_environment_is_forgotten),
		cmocka_unit_test(an_old_list_is_used_when_patience_ends),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
