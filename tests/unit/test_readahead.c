/*
 * Readahead: the windows as arithmetic, then through the catalog, where what is fetched ahead and
 * how much at once is counted.
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

#include "cache/catalog.h"
#include "cache/readahead.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/memsource.h"

enum { WINDOW = 32, PATIENCE_S = 10 };

/* ---- arithmetic ---- */

/* n environments; those whose position has a remainder of 0 modulo every are archived. */
static struct env_list *make_list(size_t n, size_t every)
{
	struct env **items = calloc(n, sizeof(struct env *));
	struct env_list *list;

	assert_non_null(items);
	for (size_t i = 0; i < n; i++) {
		char name[32];
		struct env fields = {.name = name, .archived = every && i % every == 0};

		snprintf(name, sizeof(name), "e%06zu", i);
		items[i] = env_new(&fields);
		assert_non_null(items[i]);
	}
	list = env_list_take(items, n);
	assert_non_null(list);
	free(items);
	return list;
}

static void expect(struct readahead *r, const struct env_list *list, size_t position, size_t from,
		   size_t to)
{
	struct readahead_range range = readahead_read(r, list, position, WINDOW);

	assert_int_equal(range.to - range.from, to - from);
	if (from != to)
		assert_int_equal(range.from, from);
}

static void the_window_doubles_to_its_maximum(void **state)
{
	struct env_list *list = make_list(200, 0);
	struct readahead r = {0};

	(void)state;
	expect(&r, list, 0, 0, 0);
	expect(&r, list, 1, 2, 6);
	expect(&r, list, 2, 6, 14);
	for (size_t i = 3; i < 6; i++)
		expect(&r, list, i, 0, 0);
	expect(&r, list, 6, 14, 30);
	expect(&r, list, 14, 30, 62);
	expect(&r, list, 30, 62, 94);
	expect(&r, list, 62, 94, 126);
	expect(&r, list, 94, 126, 158);
	expect(&r, list, 126, 158, 190);
	expect(&r, list, 158, 190, 200); /* the end of the list */
	expect(&r, list, 190, 0, 0);
	expect(&r, list, 199, 0, 0);
	env_list_unref(list);
}

static void a_jump_starts_anew(void **state)
{
	struct env_list *list = make_list(200, 0);
	struct readahead r = {0};

	(void)state;
	expect(&r, list, 10, 0, 0);
	expect(&r, list, 11, 12, 16);
	expect(&r, list, 12, 16, 24);
	expect(&r, list, 100, 0, 0);
	expect(&r, list, 101, 102, 106);
	expect(&r, list, 50, 0, 0);
	expect(&r, list, 52, 0, 0);
	expect(&r, list, 54, 0, 0);
	expect(&r, list, 53, 0, 0);
	env_list_unref(list);
}

/* Whoever has just been told all names, and looks into the first. */
static void who_has_listed_them_begins_at_once(void **state)
{
	struct env_list *list = make_list(200, 4), *few = make_list(3, 0);
	struct readahead r = {0};
	struct readahead_range range;

	(void)state;
	/* Position 0 is archived, as are 4 and 8: the first of the others is 1. */
	range = readahead_begin(&r, list, 1, WINDOW);
	assert_int_equal(range.from, 2);
	assert_int_equal(range.to, 44);
	expect(&r, list, 2, 44, 87);
	/* It is not the first one: no walk is begun. */
	readahead_reset(&r);
	range = readahead_begin(&r, list, 2, WINDOW);
	assert_int_equal(range.from, range.to);
	readahead_reset(&r);
	range = readahead_begin(&r, few, 0, WINDOW);
	assert_int_equal(range.to - range.from, 2);
	readahead_reset(&r);
	range = readahead_begin(&r, few, 0, 0);
	assert_int_equal(range.from, range.to);
	env_list_unref(list);
	env_list_unref(few);
}

static void a_long_walk_is_a_traversal(void **state)
{
	struct env_list *list = make_list(200, 0);
	struct readahead r = {0};

	(void)state;
	for (size_t i = 0; i <= READAHEAD_LONG; i++) {
		assert_false(readahead_walks(&r, list, i));
		(void)readahead_read(&r, list, i, WINDOW);
	}
	assert_true(readahead_walks(&r, list, READAHEAD_LONG + 1));
	/* Somewhere else somebody looks at one: that is none, and he has not gone on yet. */
	assert_false(readahead_walks(&r, list, 150));
	assert_false(readahead_walks(&r, list, 200));
	(void)readahead_read(&r, list, 150, WINDOW);
	assert_false(readahead_walks(&r, list, 151));
	env_list_unref(list);
}

static void a_walker_may_look_back_repeat_and_skip(void **state)
{
	struct env_list *list = make_list(200, 0);
	struct readahead r = {0};

	(void)state;
	expect(&r, list, 0, 0, 0);
	expect(&r, list, 0, 0, 0);
	expect(&r, list, 1, 2, 6);
	expect(&r, list, 1, 0, 0);
	expect(&r, list, 0, 0, 0);
	expect(&r, list, 3, 6, 14);
	expect(&r, list, 6, 14, 30);
	expect(&r, list, 5, 0, 0);
	env_list_unref(list);
}

/* Positions 0, 4, 8, ... are archived. */
static void only_the_walkers_own_kind_counts(void **state)
{
	struct env_list *list = make_list(200, 4);
	struct readahead r = {0};

	(void)state;
	expect(&r, list, 1, 0, 0);
	expect(&r, list, 2, 3, 8); /* 3, 5, 6 and 7 */
	expect(&r, list, 3, 8, 19);
	readahead_reset(&r);
	expect(&r, list, 0, 0, 0);
	expect(&r, list, 4, 5, 21); /* 8, 12, 16 and 20 */
	expect(&r, list, 8, 21, 53);
	expect(&r, list, 9, 0, 0); /* the other kind: a walk of its own */
	env_list_unref(list);
}

static void bounds_are_kept(void **state)
{
	struct env_list *list = make_list(3, 0), *far = make_list(3 * READAHEAD_SCAN, 0);
	struct readahead r = {0};

	(void)state;
	assert_int_equal(readahead_read(&r, list, 3, WINDOW).to, 0);
	assert_int_equal(readahead_read(&r, list, 0, 0).to, 0);
	assert_int_equal(readahead_read(&r, list, 0, 1).to, 0);
	assert_int_equal(readahead_read(&r, list, 1, 1).to, 3);
	assert_int_equal(r.window, 1);
	assert_int_equal(readahead_position(list, "e000002"), 2);
	assert_int_equal(readahead_position(list, "e000003"), 3);

	/* One archived item far behind: the next archived one is not sought through all of them. */
	far->items[0]->archived = true;
	far->items[far->count - 1]->archived = true;
	readahead_reset(&r);
	expect(&r, far, 0, 0, 0);
	expect(&r, far, far->count - 1, 0, 0);
	env_list_unref(list);
	env_list_unref(far);
}

/* ---- through the catalog ---- */

struct walk {
	struct memsource *m;
	struct catalog *c;
	struct scope *scope;
};

static void open_walk(struct walk *w, int envs, int archived_every, unsigned int max_in_flight)
{
	struct catalog_conf conf = {
		.refresh = 3600 * NS_PER_S,
		.negative = 3600 * NS_PER_S,
		.request_deadline = PATIENCE_S * NS_PER_S,
		.max_in_flight = max_in_flight,
		.readahead_max = WINDOW,
	};
	struct scope_list *scopes;
	struct env_list *list;
	struct call call;

	w->m = memsource_new();
	for (int i = 0; i < envs; i++) {
		char name[32];

		snprintf(name, sizeof(name), "e%06d", i);
		memsource_add_env(w->m, name, archived_every && i % archived_every == 0);
	}
	conf.source = memsource_source(w->m);
	w->c = catalog_new(&conf, NULL);
	assert_non_null(w->c);
	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(catalog_scopes(w->c, &call, &scopes, NULL), 0);
	w->scope = scope_ref(scopes->items[0]);
	scope_list_unref(scopes);
	assert_int_equal(catalog_envs(w->c, w->scope, &call, &list, NULL), 0);
	env_list_unref(list);
	call_destroy(&call);
}

static void close_walk(struct walk *w)
{
	scope_unref(w->scope);
	catalog_free(w->c);
	memsource_free(w->m);
}

/* By a process. */
static int read_env_as(struct walk *w, int i, int64_t who)
{
	struct version_list *list;
	struct call call;
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "e%06d", i);
	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	call.who = who;
	rc = catalog_versions(w->c, w->scope, name, &call, &list, NULL);
	call_destroy(&call);
	version_list_unref(list);
	return rc;
}

static int read_env(struct walk *w, int i)
{
	return read_env_as(w, i, 0);
}

static uint64_t prefetched(struct walk *w)
{
	struct catalog_stats stats;

	catalog_get_stats(w->c, &stats);
	return stats.prefetched;
}

static void a_walk_is_fetched_ahead(void **state)
{
	static const unsigned int expected[] = {0, 4, 12, 12, 12, 12, 28, 28, 28};
	struct walk w;

	(void)state;
	open_walk(&w, 100, 0, 40);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(read_env(&w, i), 0);
		assert_int_equal(prefetched(&w), expected[i]);
	}
	for (int i = 9; i < 100; i++)
		assert_int_equal(read_env(&w, i), 0);
	assert_int_equal(prefetched(&w), 98);
	/* Each environment was asked for once, by whoever came first. */
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), 100);
	close_walk(&w);
}

static void who_has_listed_them_is_fetched_ahead_for(void **state)
{
	enum { FIND = 1, OTHER = 2 };
	struct walk w;

	(void)state;
	open_walk(&w, 100, 0, 40);
	catalog_listed(w.c, w.scope, FIND);
	assert_int_equal(read_env_as(&w, 0, OTHER), 0);
	assert_int_equal(prefetched(&w), 0);
	assert_int_equal(read_env_as(&w, 0, FIND), 0);
	assert_int_equal(prefetched(&w), 32);
	assert_int_equal(read_env_as(&w, 1, FIND), 0);
	assert_int_equal(prefetched(&w), 64);
	/* Once; and to look into another one is not to go through all of them. */
	catalog_listed(w.c, w.scope, FIND);
	assert_int_equal(read_env_as(&w, 90, FIND), 0);
	assert_int_equal(read_env_as(&w, 0, FIND), 0);
	assert_int_equal(prefetched(&w), 64);
	close_walk(&w);
}

static void requests_at_once_are_bounded(void **state)
{
	enum { MAX = 6 };
	struct walk w;

	(void)state;
	open_walk(&w, 100, 0, MAX);
	memsource_delay(w.m, 2 * NS_PER_MS);
	for (int i = 0; i < 100; i++)
		assert_int_equal(read_env(&w, i), 0);
	assert_in_range(memsource_peak(w.m), 2, MAX);
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), 100);
	close_walk(&w);
}

static void archived_ones_are_walked_by_themselves(void **state)
{
	struct walk w;

	(void)state;
	open_walk(&w, 40, 4, 40);
	for (int i = 1; i < 40; i++)
		if (i % 4)
			assert_int_equal(read_env(&w, i), 0);
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), 30);
	for (int i = 0; i < 40; i += 4)
		assert_int_equal(read_env(&w, i), 0);
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), 40);
	assert_int_equal(prefetched(&w), 28 + 8);
	close_walk(&w);
}

static void what_is_known_is_not_fetched_again(void **state)
{
	struct walk w;

	(void)state;
	open_walk(&w, 20, 0, 40);
	assert_int_equal(read_env(&w, 12), 0);
	assert_int_equal(read_env(&w, 0), 0);
	assert_int_equal(read_env(&w, 10), 0);
	assert_int_equal(prefetched(&w), 0);
	assert_int_equal(read_env(&w, 11), 0); /* ahead: 12, which is known, to 15 */
	assert_int_equal(prefetched(&w), 3);
	close_walk(&w);
}

static void wait_errors(struct walk *w, unsigned int n)
{
	const struct timespec tick = {.tv_nsec = NS_PER_MS};
	int64_t until = clock_mono() + PATIENCE_S * NS_PER_S;
	struct catalog_stats stats;

	do {
		nanosleep(&tick, NULL);
		catalog_get_stats(w->c, &stats);
	} while (stats.errors < n && clock_mono() < until);
	assert_int_equal(stats.errors, n);
}

/* A prefetch that failed ends the walk: reading 2 would else fetch 6 to 13 ahead. */
static void a_failing_service_is_not_pressed(void **state)
{
	struct walk w;

	(void)state;
	open_walk(&w, 100, 0, 40);
	assert_int_equal(read_env(&w, 0), 0);
	memsource_fail(w.m, MEM_VERSIONS, -EBUSY, "slow down");
	assert_int_equal(read_env(&w, 1), -EBUSY);
	assert_int_equal(prefetched(&w), 4);
	wait_errors(&w, 5);
	memsource_fail(w.m, MEM_VERSIONS, 0, NULL);
	catalog_expire(w.c); /* the errors too */
	assert_int_equal(read_env(&w, 2), 0);
	assert_int_equal(prefetched(&w), 4);
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), 7);
	close_walk(&w);
}

struct reader {
	struct walk *w;
	int env;
	int rc;
	pthread_t thread;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	r->rc = read_env(r->w, r->env);
	return NULL;
}

static void reader_start(struct reader *r, struct walk *w, int env)
{
	*r = (struct reader){.w = w, .env = env};
	assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
}

/* Sixteen are fetched ahead, two of them at once: who reads goes before the rest. */
static void a_reader_overtakes_prefetches(void **state)
{
	struct reader other, queued;
	struct walk w;

	(void)state;
	open_walk(&w, 100, 0, 4);
	for (int i = 0; i < 6; i++)
		assert_int_equal(read_env(&w, i), 0);
	assert_true(memsource_wait_calls(w.m, MEM_VERSIONS, 14));
	memsource_hold(w.m);
	assert_int_equal(read_env(&w, 6), 0);
	assert_true(memsource_wait_inside(w.m, 2));
	reader_start(&other, &w, 99);
	assert_true(memsource_wait_inside(w.m, 3));
	assert_string_equal(memsource_asked(w.m, 16), "e000099");
	reader_start(&queued, &w, 29); /* the last in the queue */
	assert_true(memsource_wait_inside(w.m, 4));
	assert_string_equal(memsource_asked(w.m, 17), "e000029");
	memsource_release(w.m);
	pthread_join(other.thread, NULL);
	pthread_join(queued.thread, NULL);
	assert_int_equal(other.rc, 0);
	assert_int_equal(queued.rc, 0);
	assert_true(memsource_wait_calls(w.m, MEM_VERSIONS, 31));
	close_walk(&w);
}

/* As many rounds as round-trips in a row would take; the bound is twice what is aimed at. */
static void a_cold_walk_takes_few_rounds(void **state)
{
	enum { ENVS = 256, ROUND_MS = 40, ROUNDS = 3 + ENVS / WINDOW };
	int64_t took, since;
	struct walk w;

	(void)state;
	open_walk(&w, ENVS, 0, WINDOW + 2);
	memsource_delay(w.m, ROUND_MS * NS_PER_MS);
	since = clock_mono();
	for (int i = 0; i < ENVS; i++)
		assert_int_equal(read_env(&w, i), 0);
	took = (clock_mono() - since) / NS_PER_MS;
	print_message("%d environments: %d ms, %.1f rounds\n", ENVS, (int)took,
		      (double)took / ROUND_MS);
	assert_true(took < 2 * ROUNDS * ROUND_MS);
	assert_in_range(memsource_peak(w.m), 1, WINDOW + 2);
	assert_int_equal(memsource_calls(w.m, MEM_VERSIONS), ENVS);
	close_walk(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_window_doubles_to_its_maximum),
		cmocka_unit_test(a_jump_starts_anew),
		cmocka_unit_test(who_has_listed_them_begins_at_once),
		cmocka_unit_test(a_long_walk_is_a_traversal),
		cmocka_unit_test(a_walker_may_look_back_repeat_and_skip),
		cmocka_unit_test(only_the_walkers_own_kind_counts),
		cmocka_unit_test(bounds_are_kept),
		cmocka_unit_test(a_walk_is_fetched_ahead),
		cmocka_unit_test(who_has_listed_them_is_fetched_ahead_for),
		cmocka_unit_test(requests_at_once_are_bounded),
		cmocka_unit_test(archived_ones_are_walked_by_themselves),
		cmocka_unit_test(what_is_known_is_not_fetched_again),
		cmocka_unit_test(a_failing_service_is_not_pressed),
		cmocka_unit_test(a_reader_overtakes_prefetches),
		cmocka_unit_test(a_cold_walk_takes_few_rounds),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
