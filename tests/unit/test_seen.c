/* fs/seen and fs/freename: what is remembered from one call of a program to a later one. */
#include "fs/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/freename.h"
#include "tests/unit/fsys_fixture.h"

enum { FREENAMES = 16 };

static struct version *a_version(const char *env, const char *version, const char *description)
{
	return version_new(
		&(struct version){.env = env, .version = version, .description = description});
}

static void note(struct seen *s, pid_t by, const char *version, const char *description)
{
	struct version *v = a_version("e", version, description);

	seen_note(s, by, v);
	version_unref(v);
}

/* expected NULL: nothing is remembered. */
static void assert_seen(struct seen *s, const struct proc_id *who, const char *env,
			const char *version, const char *expected)
{
	struct version *v = seen_find(s, who, env, version);

	if (expected)
		assert_string_equal(v->description, expected);
	else
		assert_null(v);
	version_unref(v);
}

static struct proc_id myself(void)
{
	struct proc_id me;

	assert_int_equal(proc_of_thread(getpid(), &me), 0);
	return me;
}

static void test_the_last_opening_counts(void **state)
{
	struct seen *s = seen_new();
	const struct proc_id me = myself(), nobody = {0};
	struct fsys_child child;

	(void)state;
	fsys_child_start(&child);
	assert_seen(s, &me, "e", "1", NULL);
	note(s, getpid(), "1", "first");
	note(s, getpid(), "2", "other version");
	note(s, getpid(), "1", "second");
	note(s, child.pid, "1", "of the child");
	assert_seen(s, &me, "e", "1", "second");
	assert_seen(s, &me, "e", "2", "other version");
	assert_seen(s, &me, "e", "3", NULL);
	assert_seen(s, &me, "f", "1", NULL);
	assert_seen(s, &child.id, "e", "1", "of the child");
	assert_seen(s, &child.id, "e", "2", NULL);
	assert_seen(s, &nobody, "e", "1", NULL);
	fsys_child_end(&child);
	seen_free(s);
}

struct other {
	pthread_t thread;
	sem_t known, done;
	pid_t tid;
};

static void *be_there(void *arg)
{
	struct other *o = arg;

	o->tid = gettid();
	sem_post(&o->known);
	sem_wait(&o->done);
	return NULL;
}

/* One thread opens, another closes. */
static void test_threads_are_their_process(void **state)
{
	struct seen *s = seen_new();
	const struct proc_id me = myself();
	struct other o;

	(void)state;
	sem_init(&o.known, 0, 0);
	sem_init(&o.done, 0, 0);
	assert_int_equal(pthread_create(&o.thread, NULL, be_there, &o), 0);
	sem_wait(&o.known);
	note(s, o.tid, "1", "of a thread");
	assert_seen(s, &me, "e", "1", "of a thread");
	sem_post(&o.done);
	assert_int_equal(pthread_join(o.thread, NULL), 0);
	sem_destroy(&o.known);
	sem_destroy(&o.done);
	seen_free(s);
}

static void test_only_so_many_are_remembered(void **state)
{
	struct seen *s = seen_new();
	const struct proc_id me = myself();
	char name[16];

	(void)state;
	note(s, getpid(), "1", "first");
	for (int i = 2; i <= SEEN_MAX; i++) {
		snprintf(name, sizeof(name), "%d", i);
		note(s, getpid(), name, name);
	}
	assert_seen(s, &me, "e", "1", "first");
	note(s, getpid(), "last", "last");
	assert_seen(s, &me, "e", "1", NULL);
	assert_seen(s, &me, "e", "2", "2");
	assert_seen(s, &me, "e", "last", "last");
	seen_free(s);
}

static void test_what_nobody_saw(void **state)
{
	struct seen *s = seen_new();
	const struct proc_id me = myself();

	(void)state;
	note(s, 0, "1", "by a process that is not known");
	seen_note(s, getpid(), NULL);
	assert_seen(s, &me, "e", "1", NULL);
	seen_free(s);
	note(NULL, getpid(), "1", "on a read-only mount");
	assert_seen(NULL, &me, "e", "1", NULL);
	seen_free(NULL);
}

static void test_a_free_name_is_used_once(void **state)
{
	struct freenames *f = freenames_new();

	(void)state;
	assert_false(freename_take(f, "ws\ne\n2"));
	freename_note(f, "ws\ne\n2");
	freename_note(f, "ws\ne\n2");
	assert_false(freename_take(f, "ws\ne\n3"));
	assert_true(freename_take(f, "ws\ne\n2"));
	assert_false(freename_take(f, "ws\ne\n2"));
	freenames_free(f);
}

static void test_only_so_many_free_names(void **state)
{
	struct freenames *f = freenames_new();
	char name[16];

	(void)state;
	for (int i = 0; i <= FREENAMES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		freename_note(f, name);
	}
	assert_false(freename_take(f, "0"));
	assert_true(freename_take(f, "1"));
	assert_true(freename_take(f, "16"));
	freenames_free(f);
	freename_note(NULL, "1");
	assert_false(freename_take(NULL, "1"));
	freenames_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_last_opening_counts),
		cmocka_unit_test(test_threads_are_their_process),
		cmocka_unit_test(test_only_so_many_are_remembered),
		cmocka_unit_test(test_what_nobody_saw),
		cmocka_unit_test(test_a_free_name_is_used_once),
		cmocka_unit_test(test_only_so_many_free_names),
	};

	return cmocka_run_group_tests_name("seen", tests, NULL, NULL);
}
