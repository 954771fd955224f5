/*
 * Changes through the catalog: they show at once, and lists that lag behind don't undo them.
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

#include "cache/written.h"
#include "client/log.h"
#include "tests/unit/catalog_fixture.h"

enum { THREADS = 8 };

#define TAG(k, v) ((struct tag_change){.key = (k), .value = (v)})
#define VERSION_1(e)                                               \
	{                                                          \
		.env = (e), .version = "1", .description = "first" \
	}

static void start(struct call *call)
{
	call_init(call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
}

static int change(struct fixture *f, const char *env, const char *version,
		  const struct version_change *what)
{
	struct version *v = NULL;
	struct call call;
	int rc;

	start(&call);
	rc = catalog_update_version(f->c, f->scope, env, version, what, &call, &v, NULL);
	call_destroy(&call);
	assert_int_equal(!v, rc != 0);
	version_unref(v);
	return rc;
}

static int set_tag(struct fixture *f, const char *env, const char *version, const char *key,
		   const char *value)
{
	struct tag_change tag = TAG(key, value);
	struct version_change what = {.tags = &tag, .n_tags = 1, .archived = -1};

	return change(f, env, version, &what);
}

static int archive(struct fixture *f, const char *env, const char *version, int archived)
{
	struct version_change what = {.archived = archived};

	return change(f, env, version, &what);
}

static int archive_env(struct fixture *f, const char *env, bool archived)
{
	struct env *made = NULL;
	struct call call;
	int rc;

	start(&call);
	rc = catalog_update_env(f->c, f->scope, env, archived, &call, &made, NULL);
	call_destroy(&call);
	env_unref(made);
	return rc;
}

static int put(struct fixture *f, const char *env, const char *version, const char *description)
{
	struct version fields = {.env = env, .version = version, .description = description};
	struct version *v = NULL;
	struct call call;
	int rc;

	start(&call);
	rc = catalog_put_version(f->c, f->scope, &fields, &call, &v, NULL);
	call_destroy(&call);
	version_unref(v);
	return rc;
}

static int drop(struct fixture *f, const char *env, const char *version)
{
	struct call call;
	int rc;

	start(&call);
	if (version)
		rc = catalog_delete_version(f->c, f->scope, env, version, &call, NULL);
	else
		rc = catalog_delete_env(f->c, f->scope, env, &call, NULL);
	call_destroy(&call);
	return rc;
}

/* The versions of env as "1:tag=value,tag=value! 2" (! is archived), or the error's number. */
static const char *show(struct fixture *f, const char *env)
{
	static char text[512];
	struct buf b = BUF_INIT(sizeof(text));
	struct version_list *l = NULL;
	struct call call;
	int rc;

	start(&call);
	rc = catalog_versions(f->c, f->scope, env, &call, &l, NULL);
	call_destroy(&call);
	for (size_t i = 0; l && i < l->count; i++) {
		const struct version *v = l->items[i];

		buf_addf(&b, "%s%s", i ? " " : "", v->version);
		for (size_t k = 0; k < v->n_tags; k++)
			buf_addf(&b, "%s%s=%s", k ? "," : ":", v->tags[k].key, v->tags[k].value);
		buf_addstr(&b, v->archived ? "!" : "");
	}
	snprintf(text, sizeof(text), "%s", rc ? strerror(-rc) : buf_str(&b));
	buf_free(&b);
	version_list_unref(l);
	return text;
}

/* The environments as "a b!". */
static const char *show_envs(struct fixture *f)
{
	static char text[512];
	struct buf b = BUF_INIT(sizeof(text));
	struct env_list *l = NULL;
	struct call call;
	int rc;

	start(&call);
	rc = catalog_envs(f->c, f->scope, &call, &l, NULL);
	call_destroy(&call);
	for (size_t i = 0; l && i < l->count; i++)
		buf_addf(&b, "%s%s%s", i ? " " : "", l->items[i]->name,
			 l->items[i]->archived ? "!" : "");
	snprintf(text, sizeof(text), "%s", rc ? strerror(-rc) : buf_str(&b));
	buf_free(&b);
	env_list_unref(l);
	return text;
}

static void expect_event(struct fixture *f, size_t n, enum catalog_event event, size_t before,
			 size_t after)
{
	wait_events(f, n + 1);
	assert_int_equal(f->events.list[n].event, event);
	assert_int_equal(f->events.list[n].before, before);
	assert_int_equal(f->events.list[n].after, after);
}

/* ---- what a change shows ---- */

static void a_change_shows_at_once_and_without_a_list(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	expect_event(&f, 0, CATALOG_VERSIONS, 1, 1);
	assert_string_equal(show(&f, "a"), "1:k=v");
	assert_int_equal(archive(&f, "a", "1", 1), 0);
	assert_string_equal(show(&f, "a"), "1:k=v!");
	assert_int_equal(archive(&f, "a", "1", 0), 0);
	assert_int_equal(set_tag(&f, "a", "1", "k", NULL), 0);
	assert_string_equal(show(&f, "a"), "1");
	wait_events(&f, 4);
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 1);
	/* It is no younger than the list it was put into. */
	pass(REFRESH);
	assert_string_equal(show(&f, "a"), "1");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	wait_events(&f, 4);
	close_fixture(&f);
}

static void nothing_is_told_of_what_was_not_known(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	assert_int_equal(archive_env(&f, "b", true), 0);
	assert_int_equal(put(&f, "c", "1", "new"), 0);
	assert_int_equal(drop(&f, "b", "1"), 0);
	assert_string_equal(show(&f, "a"), "1:k=v");
	assert_string_equal(show_envs(&f), "a b! c");
	wait_events(&f, 0);
	close_fixture(&f);
}

static void a_lagging_list_does_not_undo_a_change(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	memsource_lag(f.m, true);
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	pass(REFRESH);
	assert_string_equal(show(&f, "a"), "1:k=v");
	assert_int_equal(archive(&f, "a", "1", 1), 0);
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1:k=v!");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 3);
	/* A list that shows it is believed from then on, whatever it says. */
	memsource_lag(f.m, false);
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1:k=v!");
	memsource_describe(f.m, "a", "changed by others");
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1");
	wait_events(&f, 3);
	close_fixture(&f);
}

static void a_list_that_lags_too_long_is_believed(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	assert_string_equal(show_envs(&f), "a b");
	memsource_lag(f.m, true);
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	assert_int_equal(put(&f, "a", "2", "new"), 0);
	assert_int_equal(archive_env(&f, "b", true), 0);
	pass(WRITTEN_KEPT - 1);
	assert_string_equal(show(&f, "a"), "1:k=v 2");
	assert_string_equal(show_envs(&f), "a b!");
	pass(1);
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1");
	assert_string_equal(show_envs(&f), "a b");
	close_fixture(&f);
}

static void what_others_change_shows_beside_ours(void **state)
{
	struct kv theirs[] = {{"x", "1"}, {"k", "old"}};
	struct version fields = VERSION_1("a");
	struct fixture f;

	(void)state;
	open_fixture(&f);
	fields.tags = theirs;
	fields.n_tags = 2;
	memsource_set_version(f.m, &fields);
	assert_string_equal(show(&f, "a"), "1:x=1,k=old");
	assert_int_equal(set_tag(&f, "a", "1", "k", "new"), 0);
	/* The list shows somebody else's tag already, and not yet ours. */
	theirs[0].value = "2";
	memsource_set_version(f.m, &fields);
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1:x=2,k=new");
	/* Gone, though we changed it: somebody deleted it. */
	memsource_remove_version(f.m, "a", "1");
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "");
	close_fixture(&f);
}

static void a_list_asked_for_before_the_change_does_not_undo_it(void **state)
{
	struct question q[2];
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	pass(REFRESH);
	memsource_let_pass(f.m, MEM_UPDATE);
	memsource_hold(f.m);
	ask_start(&q[0], &f, "a"); /* a list is known */
	ask_start(&q[1], &f, "b"); /* none is */
	assert_true(memsource_wait_inside(f.m, 2));
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	assert_int_equal(set_tag(&f, "b", "1", "k", "v"), 0);
	memsource_release(f.m);
	for (int i = 0; i < 2; i++) {
		ask_join(&q[i]);
		assert_int_equal(q[i].rc, 0);
		assert_int_equal(((struct version_list *)q[i].list)->items[0]->n_tags, 1);
		question_end(&q[i]);
	}
	assert_string_equal(show(&f, "a"), "1:k=v");
	assert_string_equal(show(&f, "b"), "1:k=v");
	close_fixture(&f);
}

/* ---- new ones ---- */

static void a_new_version_and_its_environment_show_at_once(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show_envs(&f), "a b");
	assert_string_equal(show(&f, "a"), "1");
	assert_string_equal(show(&f, "new"), "No such file or directory");
	memsource_lag(f.m, true);
	assert_int_equal(put(&f, "new", "1", "x"), 0);
	expect_event(&f, 0, CATALOG_ENVS, 2, 3);
	assert_int_equal(put(&f, "a", "2", "x"), 0);
	assert_string_equal(show_envs(&f), "a b new");
	assert_string_equal(show(&f, "a"), "1 2");
	/* Also where the service says that there is no such environment. */
	assert_string_equal(show(&f, "new"), "1");
	assert_int_equal(set_tag(&f, "new", "1", "k", "v"), 0);
	for (int i = 0; i < 2; i++) {
		catalog_expire(f.c);
		assert_string_equal(show_envs(&f), "a b new");
		assert_string_equal(show(&f, "new"), "1:k=v");
		assert_string_equal(show(&f, "a"), "1 2");
		memsource_lag(f.m, false);
	}
	close_fixture(&f);
}

static void a_new_version_puts_the_hints_right(void **state)
{
	struct env_list *l = NULL;
	struct fixture f;
	struct call call;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show_envs(&f), "a b");
	assert_int_equal(put(&f, "a", "7", "x"), 0);
	start(&call);
	assert_int_equal(catalog_envs(f.c, f.scope, &call, &l, NULL), 0);
	assert_string_equal(env_list_find(l, "a")->latest_version, "7");
	assert_null(env_list_find(l, "a")->next_version);
	env_list_unref(l);
	call_destroy(&call);
	assert_int_equal(memsource_calls(f.m, MEM_ENVS), 1);
	close_fixture(&f);
}

/* ---- deleted ones ---- */

static void what_is_deleted_stays_away(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(put(&f, "a", "2", "x"), 0);
	assert_string_equal(show(&f, "a"), "1 2");
	assert_string_equal(show_envs(&f), "a b");
	memsource_lag(f.m, true);
	assert_int_equal(drop(&f, "a", "1"), 0);
	expect_event(&f, 0, CATALOG_VERSIONS, 2, 1);
	assert_int_equal(drop(&f, "b", NULL), 0);
	expect_event(&f, 1, CATALOG_ENVS, 2, 1);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(show(&f, "a"), "2");
		assert_string_equal(show(&f, "b"), "No such file or directory");
		assert_string_equal(show_envs(&f), "a");
		catalog_expire(f.c);
	}
	/* Made again: it is there, and the list that still has the old one does not hide that. */
	assert_int_equal(put(&f, "a", "1", "again"), 0);
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), 0);
	assert_int_equal(put(&f, "b", "1", "again"), 0);
	catalog_expire(f.c);
	assert_string_equal(show(&f, "a"), "1:k=v 2");
	assert_string_equal(show_envs(&f), "a b");
	assert_string_equal(show(&f, "b"), "1");
	close_fixture(&f);
}

/* A workspace that went and came back has nothing of what was written to the one before. */
static void a_scope_that_is_gone_takes_its_writes_along(void **state)
{
	struct scope_list *l = NULL;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(ask_scopes(&f, &l), 0);
	scope_list_unref(l);
	assert_string_equal(show_envs(&f), "a b");
	memsource_lag(f.m, true);
	assert_int_equal(put(&f, "new", "1", "x"), 0);
	memsource_remove_scope(f.m, "ws");
	catalog_expire(f.c);
	assert_int_equal(ask_scopes(&f, &l), 0);
	scope_list_unref(l);
	assert_string_equal(show_envs(&f), "a b");
	close_fixture(&f);
}

/* ---- environments ---- */

static void an_archived_environment_stays_archived(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show_envs(&f), "a b");
	memsource_lag(f.m, true);
	assert_int_equal(archive_env(&f, "a", true), 0);
	expect_event(&f, 0, CATALOG_ENVS, 2, 2);
	assert_string_equal(show_envs(&f), "a! b");
	catalog_expire(f.c);
	assert_string_equal(show_envs(&f), "a! b");
	assert_int_equal(archive_env(&f, "a", false), 0);
	catalog_expire(f.c);
	assert_string_equal(show_envs(&f), "a b");
	close_fixture(&f);
}

/* ---- failures ---- */

static void a_failed_change_changes_nothing(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	memsource_fail(f.m, MEM_UPDATE, -EACCES, "no");
	memsource_fail(f.m, MEM_PUT, -EACCES, "no");
	memsource_fail(f.m, MEM_DELETE, -EPERM, "no");
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), -EACCES);
	assert_int_equal(put(&f, "a", "2", "x"), -EACCES);
	assert_int_equal(drop(&f, "a", "1"), -EPERM);
	assert_string_equal(show(&f, "a"), "1");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 1);
	/* Nobody knows whether this one was made: the service is asked. */
	memsource_fail(f.m, MEM_UPDATE, -ETIMEDOUT, "lost");
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), -ETIMEDOUT);
	assert_string_equal(show(&f, "a"), "1");
	assert_int_equal(memsource_calls(f.m, MEM_VERSIONS), 2);
	/* Nor is it there any more that we knew of. */
	memsource_fail(f.m, MEM_UPDATE, 0, NULL);
	memsource_remove_version(f.m, "a", "1");
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), -ENOENT);
	assert_string_equal(show(&f, "a"), "");
	wait_events(&f, 1);
	close_fixture(&f);
}

static void what_is_curated_is_not_asked_for(void **state)
{
	struct version fields = VERSION_1("a");
	struct fixture f;

	(void)state;
	open_fixture(&f);
	fields.environment_type = "Curated";
	memsource_set_version(f.m, &fields);
	assert_string_equal(show(&f, "a"), "1");
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), -EROFS);
	assert_int_equal(drop(&f, "a", "1"), -EROFS);
	assert_int_equal(drop(&f, "a", NULL), -EROFS);
	assert_int_equal(archive_env(&f, "a", true), -EROFS);
	assert_int_equal(memsource_calls(f.m, MEM_UPDATE), 0);
	assert_int_equal(memsource_calls(f.m, MEM_UPDATE_ENV), 0);
	assert_int_equal(memsource_calls(f.m, MEM_DELETE), 0);
	assert_int_equal(memsource_calls(f.m, MEM_DELETE_ENV), 0);
	close_fixture(&f);
}

static void nothing_is_changed_after_the_end(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f);
	catalog_stop(f.c);
	assert_int_equal(set_tag(&f, "a", "1", "k", "v"), -ECANCELED);
	assert_int_equal(put(&f, "a", "2", "x"), -ECANCELED);
	assert_int_equal(drop(&f, "a", NULL), -ECANCELED);
	assert_int_equal(memsource_calls(f.m, MEM_UPDATE), 0);
	close_fixture(&f);
}

/* ---- at once ---- */

struct tagger {
	struct fixture *f;
	pthread_t thread;
	char key[16];
	int rc;
};

static void *tagger_main(void *arg)
{
	struct tagger *t = arg;

	t->rc = set_tag(t->f, "a", "1", t->key, "v");
	return NULL;
}

/* Results come back in any order; the last one is what is shown. */
static void changes_at_once_are_all_shown(void **state)
{
	struct tagger t[THREADS];
	struct version_list *l = NULL;
	struct question q;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_string_equal(show(&f, "a"), "1");
	memsource_lag(f.m, true);
	memsource_delay(f.m, NS_PER_MS);
	for (int i = 0; i < THREADS; i++) {
		t[i] = (struct tagger){.f = &f};
		snprintf(t[i].key, sizeof(t[i].key), "k%d", i);
		assert_int_equal(pthread_create(&t[i].thread, NULL, tagger_main, &t[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		catalog_expire(f.c);
		assert_int_equal(ask(&f, "a", NULL), 0);
		assert_int_equal(ask(&f, NULL, NULL), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i].thread, NULL);
		assert_int_equal(t[i].rc, 0);
	}
	for (int i = 0; i < 2; i++) {
		question_init(&q, &f, "a");
		ask_main(&q);
		l = q.list;
		assert_int_equal(l->items[0]->n_tags, THREADS);
		question_end(&q);
		catalog_expire(f.c);
	}
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_shows_at_once_and_without_a_list),
		cmocka_unit_test(nothing_is_told_of_what_was_not_known),
		cmocka_unit_test(a_lagging_list_does_not_undo_a_change),
		cmocka_unit_test(a_list_that_lags_too_long_is_believed),
		cmocka_unit_test(what_others_change_shows_beside_ours),
		cmocka_unit_test(a_list_asked_for_before_the_change_does_not_undo_it),
		cmocka_unit_test(a_new_version_and_its_environment_show_at_once),
		cmocka_unit_test(a_new_version_puts_the_hints_right),
		cmocka_unit_test(what_is_deleted_stays_away),
		cmocka_unit_test(a_scope_that_is_gone_takes_its_writes_along),
		cmocka_unit_test(an_archived_environment_stays_archived),
		cmocka_unit_test(a_failed_change_changes_nothing),
		cmocka_unit_test(what_is_curated_is_not_asked_for),
		cmocka_unit_test(nothing_is_changed_after_the_end),
		cmocka_unit_test(changes_at_once_are_all_shown),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
