/*
 * The catalog: one request for many, freshness, what belongs together, and the end of it all.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/log.h"
#include "tests/unit/catalog_fixture.h"

enum { MANY = 100 };

/* ---- single flight ---- */

static void a_hundred_readers_are_one_request(void **state)
{
	struct question q[MANY];
	struct fixture f;

	(void)state;
	open_fixture(&f);
	memsource_hold(f.m);
	for (int i = 0; i < MANY; i++)
		ask_start(&q[i], &f, "a");
	wait_joined(&f, MANY - 1);
	memsource_release(f.m);
	for (int i = 0; i < MANY; i++) {
		ask_join(&q[i]);
		assert_int_equal(q[i].rc, 0);
		assert_ptr_equal(q[i].list, q[0].list);
	}
	for (int i = 0; i < MANY; i++)
		question_end(&q[i]);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 1);
	assert_int_equal(stats(&f).flights, 1);
	close_fixture(&f);
}

static void a_cancelled_reader_leaves_the_others_waiting(void **state)
{
	struct question q[2];
	struct fixture f;

	(void)state;
	open_fixture(&f);
	memsource_hold(f.m);
	ask_start(&q[0], &f, "a");
	ask_start(&q[1], &f, "a");
	wait_joined(&f, 1);
	call_cancel(&q[0].call);
	ask_join(&q[0]);
	assert_int_equal(q[0].rc, -ECANCELED);
	memsource_release(f.m);
	ask_join(&q[1]);
	assert_int_equal(q[1].rc, 0);
	assert_int_equal(memsource_cancelled(f.m), 0);
	question_end(&q[0]);
	question_end(&q[1]);
	close_fixture(&f);
}

static void what_nobody_waits_for_is_cancelled_and_asked_anew(void **state)
{
	struct question q;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	memsource_hold(f.m);
	ask_start(&q, &f, "a");
	assert_true(memsource_wait_inside(f.m, 1));
	call_cancel(&q.call);
	ask_join(&q);
	assert_int_equal(q.rc, -ECANCELED);
	assert_true(memsource_wait_inside(f.m, 0));
	assert_int_equal(memsource_cancelled(f.m), 1);
	memsource_release(f.m);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	assert_int_equal(stats(&f).errors, 0);
	question_end(&q);
	close_fixture(&f);
}

/* ---- freshness ---- */

static void a_fresh_list_costs_no_request(void **state)
{
	struct question first, second;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	question_init(&first, &f, "a");
	question_init(&second, &f, "a");
	ask_main(&first);
	pass(REFRESH - 1);
	ask_main(&second);
	assert_int_equal(second.rc, 0);
	assert_ptr_equal(first.list, second.list);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 1);
	assert_int_equal(stats(&f).hits, 1);
	assert_int_equal(stats(&f).oldest_age, REFRESH - 1);
	question_end(&second);

	/* Old: asked for again. It says the same, so it is the same list, and nothing happened. */
	pass(1);
	question_init(&second, &f, "a");
	ask_main(&second);
	assert_ptr_equal(first.list, second.list);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	assert_int_equal(stats(&f).oldest_age, 0);
	question_end(&second);
	question_end(&first);
	close_fixture(&f);
	assert_int_equal(f.events.n, 0);
}

static void changes_are_told_once_and_exactly(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, NULL, NULL), 0);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask(&f, "b", NULL), 0);
	memsource_describe(f.m, "b", "second");
	pass(REFRESH);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask(&f, "b", NULL), 0);
	wait_events(&f, 1);
	assert_int_equal(f.events.list[0].event, CATALOG_VERSIONS);
	assert_string_equal(f.events.list[0].env, "b");
	memsource_add_env(f.m, "c", false);
	assert_int_equal(ask(&f, NULL, NULL), 0);
	wait_events(&f, 2);
	assert_int_equal(f.events.list[1].event, CATALOG_ENVS);
	assert_int_equal(f.events.list[1].before, 2);
	assert_int_equal(f.events.list[1].after, 3);
	close_fixture(&f);
	assert_int_equal(f.events.n, 2);
}

static void expiring_asks_again(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	catalog_expire(f.c);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	close_fixture(&f);
}

/* The question was put before the change: good for who waited, not for who comes after it. */
static void a_late_answer_is_not_fresh(void **state)
{
	struct question before, after;
	struct fixture f;
	char text[ERR_MSG_MAX];

	(void)state;
	open_fixture(&f);
	memsource_hold(f.m);
	ask_start(&before, &f, "a");
	assert_true(memsource_wait_inside(f.m, 1));
	memsource_describe(f.m, "a", "second");
	catalog_expire(f.c);
	ask_start(&after, &f, "a"); /* does not join */
	assert_true(memsource_wait_inside(f.m, 2));
	memsource_release(f.m);
	ask_join(&before);
	ask_join(&after);
	assert_int_equal(before.rc, 0);
	assert_int_equal(after.rc, 0);
	assert_string_equal(((struct version_list *)before.list)->items[0]->description, "first");
	assert_string_equal(((struct version_list *)after.list)->items[0]->description, "second");
	assert_int_equal(ask(&f, "a", text), 0);
	assert_string_equal(text, "second");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	question_end(&before);
	question_end(&after);
	close_fixture(&f);
}

static void an_answer_that_expired_on_the_way_is_old(void **state)
{
	struct question q;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	memsource_hold(f.m);
	ask_start(&q, &f, "a");
	assert_true(memsource_wait_inside(f.m, 1));
	catalog_expire(f.c);
	memsource_release(f.m);
	ask_join(&q);
	assert_int_equal(q.rc, 0);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	question_end(&q);
	close_fixture(&f);
}

/* ---- what belongs together ---- */

static void a_gone_environment_takes_its_versions_along(void **state)
{
	struct version_list *list;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, NULL, NULL), 0);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask(&f, "b", NULL), 0);
	memsource_remove_env(f.m, "b");
	pass(REFRESH);
	assert_int_equal(ask(&f, NULL, NULL), 0);
	assert_int_equal(catalog_peek_versions(f.c, f.scope, "a", &list), 1);
	version_list_unref(list);
	assert_int_equal(catalog_peek_versions(f.c, f.scope, "b", &list), 0);
	wait_events(&f, 1);
	close_fixture(&f);
	assert_int_equal(f.events.n, 1);
}

static void scopes_are_known_by_their_identity(void **state)
{
	struct version_list *list;
	struct scope_list *scopes;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "a", NULL), 0);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	assert_ptr_not_equal(scopes->items[0], f.scope);
	assert_int_equal(catalog_peek_versions(f.c, scopes->items[0], "a", &list), 1);
	version_list_unref(list);
	scope_list_unref(scopes);

	/* It goes and comes back: nothing of the former one is left. */
	memsource_remove_scope(f.m, "ws");
	pass(REFRESH);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	scope_list_unref(scopes);
	assert_int_equal(catalog_peek_versions(f.c, f.scope, "a", &list), 0);
	wait_events(&f, 1);
	assert_int_equal(f.events.list[0].event, CATALOG_SCOPES);
	memsource_add_scope(f.m, "ws");
	assert_int_equal(ask(&f, "a", NULL), 0);
	close_fixture(&f);
}

struct scopes_question {
	struct fixture *f;
	struct scope_list *list;
	int rc;
};

static void *ask_scopes_main(void *arg)
{
	struct scopes_question *q = arg;

	q->rc = ask_scopes(q->f, &q->list);
	return NULL;
}

static void a_new_workspace_is_listed_at_once(void **state)
{
	struct scope_list *scopes;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	scope_list_unref(scopes);
	create(&f, "new", 0);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	assert_int_equal(scopes->count, 2);
	assert_non_null(scope_list_find(scopes, "new"));
	scope_list_unref(scopes);
	assert_int_equal(memsource_calls(f.m, MEM_SCOPES), 1);
	memsource_fail(f.m, MEM_CREATE, -EPERM, "not here");
	create(&f, "other", -EPERM);
	close_fixture(&f);
	assert_int_equal(f.events.n, 0);
}

/* The list under way was made before the workspace was: it must not take it away. */
static void a_list_under_way_does_not_undo_a_new_workspace(void **state)
{
	struct scope_list *scopes;
	struct scopes_question q;
	struct fixture f;
	pthread_t thread;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	scope_list_unref(scopes);
	pass(REFRESH);
	memsource_hold(f.m);
	q = (struct scopes_question){.f = &f};
	assert_int_equal(pthread_create(&thread, NULL, ask_scopes_main, &q), 0);
	assert_true(memsource_wait_inside(f.m, 1));
	memsource_let_pass(f.m, MEM_CREATE);
	create(&f, "new", 0);
	memsource_release(f.m);
	pthread_join(thread, NULL);
	assert_int_equal(q.rc, 0);
	scope_list_unref(q.list);
	assert_int_equal(ask_scopes(&f, &scopes), 0);
	assert_non_null(scope_list_find(scopes, "new"));
	scope_list_unref(scopes);
	close_fixture(&f);
}

/* ---- contexts ---- */

static int ask_context(struct fixture *f, struct version *v, struct context **out)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_context(f->c, f->scope, v, &call, out, NULL);
	call_destroy(&call);
	return rc;
}

static void contexts_never_grow_old(void **state)
{
	struct version fields = {.env = "a", .version = "1", .context_uri = "https://x/context"};
	struct version plain = {.env = "a", .version = "2", .image = "image"};
	struct version *v = version_new(&fields), *image = version_new(&plain);
	struct context *context, *again;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(catalog_peek_context(f.c, f.scope, v, &context), 0);
	assert_int_equal(ask_context(&f, v, &context), 0);
	assert_int_equal(context->n_files, 1);
	pass(1000 * REFRESH);
	catalog_expire(f.c);
	assert_int_equal(ask_context(&f, v, &again), 0);
	assert_ptr_equal(context, again);
	context_unref(again);
	assert_int_equal(catalog_peek_context(f.c, f.scope, v, &again), 1);
	context_unref(again);
	context_unref(context);
	assert_int_equal(memsource_calls(f.m, MEM_CONTEXT), 1);
	assert_int_equal(ask_context(&f, image, &context), -EINVAL);
	assert_null(context);
	close_fixture(&f);
	version_unref(v);
	version_unref(image);
}

/* ---- the end ---- */

static void stopping_ends_all_waiting_at_once(void **state)
{
	enum { WAITERS = 50 };
	struct question q[WAITERS];
	struct fixture f;
	char names[WAITERS][16];

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask(&f, "b", NULL), 0);
	memsource_hold(f.m);
	for (int i = 0; i < WAITERS; i++) {
		snprintf(names[i], sizeof(names[i]), "e%d", i / 2);
		ask_start(&q[i], &f, names[i]);
	}
	wait_joined(&f, WAITERS / 2);
	assert_true(memsource_wait_inside(f.m, 8));
	catalog_stop(f.c);
	for (int i = 0; i < WAITERS; i++) {
		ask_join(&q[i]);
		assert_int_equal(q[i].rc, -ECANCELED);
		question_end(&q[i]);
	}
	assert_true(memsource_stopped(f.m));
	assert_int_equal(ask(&f, "b", NULL), -ECANCELED);
	assert_int_equal(ask(&f, NULL, NULL), -ECANCELED);
	create(&f, "new", -ECANCELED);
	close_fixture(&f);
}

/* Names that don't exist must not fill the memory. */
static void useless_entries_are_swept(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	for (int i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "none%d", i);
		assert_int_equal(ask(&f, name, NULL), -ENOENT);
		pass(NEGATIVE);
	}
	assert_int_equal(stats(&f).errors, 0);
	assert_in_range(stats(&f).lists, 1, 300);
	close_fixture(&f);
}

struct crowd {
	struct fixture *f;
	int errors;
	unsigned int seed;
	pthread_t thread;
};

static void *crowd_main(void *arg)
{
	static const char *const names[] = {"a", "b", "c", NULL};
	struct crowd *m = arg;

	for (int i = 0; i < 300; i++) {
		int rc = ask(m->f, names[rand_r(&m->seed) % 4], NULL);

		m->errors += rc != 0 && rc != -ENOENT;
	}
	return NULL;
}

/* For the sanitizers: all that can happen at once does. */
static void a_crowd_and_changes_at_once(void **state)
{
	struct crowd crowd[8];
	struct fixture f;

	(void)state;
	open_fixture(&f);
	for (unsigned int i = 0; i < 8; i++) {
		crowd[i] = (struct crowd){.f = &f, .seed = i};
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, crowd_main, &crowd[i]), 0);
	}
	for (int i = 0; i < 10; i++) {
		memsource_add_env(f.m, "c", false);
		catalog_expire(f.c);
		assert_int_equal(ask(&f, "c", NULL), 0);
		memsource_remove_env(f.m, "c");
		pass(REFRESH);
		(void)stats(&f);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_int_equal(crowd[i].errors, 0);
	}
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_readers_are_one_request),
		cmocka_unit_test(a_cancelled_reader_leaves_the_others_waiting),
		cmocka_unit_test(what_nobody_waits_for_is_cancelled_and_asked_anew),
		cmocka_unit_test(a_fresh_list_costs_no_request),
		cmocka_unit_test(changes_are_told_once_and_exactly),
		cmocka_unit_test(expiring_asks_again),
		cmocka_unit_test(a_late_answer_is_not_fresh),
		cmocka_unit_test(an_answer_that_expired_on_the_way_is_old),
		cmocka_unit_test(a_gone_environment_takes_its_versions_along),
		cmocka_unit_test(scopes_are_known_by_their_identity),
		cmocka_unit_test(a_new_workspace_is_listed_at_once),
		cmocka_unit_test(a_list_under_way_does_not_undo_a_new_workspace),
		cmocka_unit_test(contexts_never_grow_old),
		cmocka_unit_test(stopping_ends_all_waiting_at_once),
		cmocka_unit_test(useless_entries_are_swept),
		cmocka_unit_test(a_crowd_and_changes_at_once),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
