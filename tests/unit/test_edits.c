/* fs/edits: which files are edited, and the table in edits.h row by row. */
#include "fs/edits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "tests/unit/fsys_fixture.h"

#define DIR   "0123456789abcdef/e/1"
#define OTHER "0123456789abcdef/e/2"
#define SPEC  "spec.yml"
#define DEEP  "context/a/b"

static int64_t the_time;

static int64_t get_time(void)
{
	return the_time;
}

static int setup(void **state)
{
	the_time = NS_PER_S;
	*state = edits_new(get_time);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	edits_free(*state);
	return 0;
}

static struct edit get(struct edits *t, const char *rel)
{
	struct edit edit;

	assert_true(edits_get(t, DIR, rel, &edit));
	return edit;
}

/* ---- the table ---- */

static void test_opened_is_clean(void **state)
{
	struct edits *t = *state;
	struct edit edit;

	assert_false(edits_get(t, DIR, SPEC, NULL));
	assert_false(edits_any(t, DIR));
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edit = get(t, SPEC);
	assert_false(edit.dirty || edit.fresh || edit.attempted || edit.killed);
	assert_int_equal(edit.writers, 0);
	assert_true(edits_any(t, DIR));
	assert_false(edits_any(t, OTHER));
	assert_false(edits_get(t, DIR, DEEP, NULL));
	assert_int_equal(edits_add(t, DIR, DEEP, true), 0);
	assert_true(get(t, DEEP).fresh);
}

static void test_written_is_dirty(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_true(edits_dirty(t, DIR, SPEC));
	assert_true(get(t, SPEC).dirty);
	assert_false(edits_dirty(t, DIR, SPEC)); /* it was before */
	assert_false(edits_dirty(t, DIR, DEEP)); /* no such file */
	/* Opened once more it stays what it is. */
	assert_int_equal(edits_add(t, DIR, SPEC, true), 0);
	assert_true(get(t, SPEC).dirty);
	assert_false(get(t, SPEC).fresh);
}

static void test_a_save_takes_it_whatever_comes_of_it(void **state)
{
	static const int results[] = {0, -5};
	struct edits *t = *state;
	const struct proc_id who = {1, 2};

	assert_false(edits_take(t, DIR, SPEC));
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	for (size_t i = 0; i < 2; i++) {
		struct edit edit;

		edits_dirty(t, DIR, SPEC);
		assert_true(edits_take(t, DIR, SPEC));
		assert_false(edits_take(t, DIR, SPEC)); /* another call was faster */
		edits_attempted(t, DIR, SPEC, &who, results[i]);
		edit = get(t, SPEC);
		assert_false(edit.dirty);
		assert_true(edit.attempted);
		assert_int_equal(edit.result, results[i]);
		assert_int_equal(edit_is_saved(&edit), !results[i]);
		assert_int_equal(edit.owner.tgid, 1);
		assert_int_equal(edit.owner.start, 2);
	}
	/* Written again: it is to be saved again. */
	edits_dirty(t, DIR, SPEC);
	assert_true(edits_take(t, DIR, SPEC));
}

static void test_written_during_a_save(void **state)
{
	struct edits *t = *state;
	const struct proc_id who = {1, 2};

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_dirty(t, DIR, SPEC);
	assert_true(edits_take(t, DIR, SPEC));
	assert_true(edits_dirty(t, DIR, SPEC));
	edits_attempted(t, DIR, SPEC, &who, 0);
	assert_true(get(t, SPEC).dirty);
}

static void test_dropped_when_its_owner_has_ended(void **state)
{
	static const int results[] = {0, -5};
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	for (size_t i = 0; i < 2; i++) {
		struct fsys_child child;

		fsys_child_start(&child);
		edits_attempted(t, DIR, SPEC, &child.id, results[i]);
		/* However long it lives. */
		the_time += 1000 * EDITS_LIFE;
		assert_false(edits_is_over(t, DIR, SPEC));
		fsys_child_end(&child);
		assert_true(edits_is_over(t, DIR, SPEC));
		/* But not while it is open for writing, or there is something to save. */
		assert_int_equal(edits_writers(t, DIR, SPEC, 1), 1);
		assert_false(edits_is_over(t, DIR, SPEC));
		assert_int_equal(edits_writers(t, DIR, SPEC, -1), 0);
		assert_true(edits_is_over(t, DIR, SPEC));
		edits_dirty(t, DIR, SPEC);
		assert_false(edits_is_over(t, DIR, SPEC));
		edits_take(t, DIR, SPEC);
		assert_true(edits_is_over(t, DIR, SPEC));
	}
}

/* Its number is another process's by now. */
static void test_an_owner_is_known_by_its_start_too(void **state)
{
	struct edits *t = *state;
	struct fsys_child child;
	struct proc_id earlier;

	fsys_child_start(&child);
	earlier = child.id;
	earlier.start--;
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_attempted(t, DIR, SPEC, &earlier, 0);
	assert_true(edits_is_over(t, DIR, SPEC));
	fsys_child_end(&child);
}

static void test_dropped_after_a_while_when_nobody_saved_it(void **state)
{
	struct edits *t = *state;

	assert_false(edits_is_over(t, DIR, SPEC)); /* none is none */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	the_time += EDITS_LIFE - 1;
	assert_false(edits_is_over(t, DIR, SPEC));
	the_time++;
	assert_true(edits_is_over(t, DIR, SPEC));
}

/* An owner of whom nothing can be known is as none. */
static void test_an_owner_that_cannot_be_seen(void **state)
{
	struct edits *t = *state;
	const struct proc_id nobody = {0};

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_attempted(t, DIR, SPEC, &nobody, 0);
	the_time += EDITS_LIFE - 1;
	assert_false(edits_is_over(t, DIR, SPEC));
	the_time++;
	assert_true(edits_is_over(t, DIR, SPEC));
}

/* Everything that happens to it begins the time anew. */
static void test_what_counts_as_touching(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	for (int what = 0; what < 5; what++) {
		the_time += EDITS_LIFE - 1;
		assert_false(edits_is_over(t, DIR, SPEC));
		if (what == 0)
			assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
		else if (what == 1)
			edits_writers(t, DIR, SPEC, 1);
		else if (what == 2)
			edits_writers(t, DIR, SPEC, -1);
		else if (what == 3)
			edits_dirty(t, DIR, SPEC);
		else
			edits_take(t, DIR, SPEC);
	}
	the_time += EDITS_LIFE - 1;
	assert_false(edits_is_over(t, DIR, SPEC));
	the_time++;
	assert_true(edits_is_over(t, DIR, SPEC));
}

/* ---- writers and killed ones ---- */

static void test_writers_are_counted(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_writers(t, DIR, SPEC, 1), 0); /* of none there are none */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_int_equal(edits_writers(t, DIR, SPEC, 1), 1);
	assert_int_equal(edits_writers(t, DIR, SPEC, 1), 2);
	assert_int_equal(edits_writers(t, DIR, SPEC, 0), 2);
	assert_int_equal(edits_writers(t, DIR, SPEC, -1), 1);
	assert_int_equal(edits_writers(t, DIR, SPEC, -1), 0);
	assert_int_equal(edits_writers(t, DIR, SPEC, -1), 0);
}

/* A torso stays one until somebody writes on. */
static void test_a_killed_writer(void **state)
{
	struct edits *t = *state;

	edits_set_killed(t, DIR, SPEC, true); /* none: nothing */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_dirty(t, DIR, SPEC);
	edits_set_killed(t, DIR, SPEC, true);
	assert_true(get(t, SPEC).killed);
	edits_dirty(t, DIR, SPEC);
	assert_false(get(t, SPEC).killed);
	edits_set_killed(t, DIR, SPEC, true);
	edits_set_killed(t, DIR, SPEC, false);
	assert_false(get(t, SPEC).killed);
}

/* ---- lists ---- */

static bool holds(char **list, int n, const char *name)
{
	bool found = false;

	for (int i = 0; i < n; i++)
		found |= strcmp(list[i], name) == 0;
	return found;
}

static void test_lists(void **state)
{
	struct edits *t = *state;
	char **list;
	int n;

	assert_int_equal(edits_list(t, DIR, &list), 0);
	edits_list_free(list, 0);
	assert_int_equal(edits_dirs(t, &list), 0);
	edits_list_free(list, 0);
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_int_equal(edits_add(t, DIR, DEEP, false), 0);
	assert_int_equal(edits_add(t, OTHER, SPEC, false), 0);
	edits_set_glowing(t, "0123456789abcdef/e/3"); /* no files: not listed */

	n = edits_list(t, DIR, &list);
	assert_int_equal(n, 2);
	assert_true(holds(list, n, SPEC) && holds(list, n, DEEP));
	edits_list_free(list, n);
	n = edits_dirs(t, &list);
	assert_int_equal(n, 2);
	assert_true(holds(list, n, DIR) && holds(list, n, OTHER));
	edits_list_free(list, n);

	edits_remove(t, DIR, SPEC);
	edits_remove(t, DIR, SPEC);
	edits_remove(t, "nothing", SPEC);
	assert_false(edits_get(t, DIR, SPEC, NULL));
	assert_true(edits_get(t, OTHER, SPEC, NULL));
	n = edits_list(t, DIR, &list);
	assert_int_equal(n, 1);
	assert_string_equal(list[0], DEEP);
	edits_list_free(list, n);
}

/* ---- what is known of a directory ---- */

static void assert_base(struct edits *t, const char *expected)
{
	char *base = edits_get_base(t, DIR);

	if (expected)
		assert_string_equal(base, expected);
	else
		assert_null(base);
	free(base);
}

static void test_a_base_is_known_while_there_are_files(void **state)
{
	struct edits *t = *state;

	edits_set_base(t, DIR, "2"); /* nothing is edited there */
	assert_base(t, NULL);
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_int_equal(edits_add(t, DIR, DEEP, false), 0);
	assert_base(t, NULL);
	edits_set_base(t, DIR, "2");
	edits_set_base(t, DIR, "3");
	edits_set_said(t, DIR, "1");
	assert_base(t, "3");
	assert_true(edits_said(t, DIR, "1"));
	assert_false(edits_said(t, DIR, "3"));
	assert_false(edits_said(t, OTHER, "1"));
	edits_remove(t, DIR, SPEC);
	assert_base(t, "3");
	edits_remove(t, DIR, DEEP);
	assert_base(t, NULL);
	/* ... and not when the next one comes. */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_base(t, NULL);
	assert_false(edits_said(t, DIR, "1"));
}

static void test_said_can_be_taken_back(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_set_said(t, DIR, "7");
	edits_set_said(t, DIR, NULL);
	assert_false(edits_said(t, DIR, "7"));
}

static void test_a_refused_text_that_comes_back(void **state)
{
	struct edits *t = *state;

	assert_false(edits_refused(t, DIR, 1)); /* nothing is edited: nothing is remembered */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_false(edits_refused(t, DIR, 1));
	assert_false(edits_refused(t, DIR, 1)); /* nothing was refused since */
	assert_false(edits_refused(t, DIR, 2));
	assert_true(edits_refused(t, DIR, 1));
	assert_true(edits_refused(t, DIR, 2));
	edits_leave(t, DIR, SPEC);
	assert_true(edits_refused(t, DIR, 1));
	the_time += EDITS_LIFE;
	assert_false(edits_refused(t, DIR, 2));
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_false(edits_refused(t, DIR, 2));
	/* The last EDITS_REFUSALS are remembered. */
	for (uint64_t i = 10; i < 10 + EDITS_REFUSALS; i++)
		assert_false(edits_refused(t, DIR, i));
	assert_false(edits_refused(t, DIR, 2));
	assert_true(edits_refused(t, DIR, 11));
	assert_false(edits_refused(t, DIR, 10));
}

/* In the middle of a save there is no file for a moment: the next one goes on from there. */
static void test_a_base_outlives_a_name_that_is_free_for_a_moment(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_set_base(t, DIR, "2");
	edits_set_said(t, DIR, "1");
	edits_leave(t, DIR, SPEC);
	assert_false(edits_get(t, DIR, SPEC, NULL));
	the_time += EDITS_LIFE - 1;
	assert_base(t, "2");
	assert_true(edits_said(t, DIR, "1"));
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	the_time += EDITS_LIFE;
	assert_base(t, "2");

	/* Nothing followed in time. */
	edits_leave(t, DIR, SPEC);
	the_time += EDITS_LIFE;
	assert_base(t, NULL);
	assert_false(edits_said(t, DIR, "1"));
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_base(t, NULL);
}

/* While another file is there, its going says nothing. */
static void test_leaving_one_of_two(void **state)
{
	struct edits *t = *state;

	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	assert_int_equal(edits_add(t, DIR, DEEP, false), 0);
	edits_set_base(t, DIR, "2");
	edits_leave(t, DIR, SPEC);
	the_time += 2 * EDITS_LIFE;
	assert_base(t, "2");
	edits_remove(t, DIR, DEEP);
	assert_base(t, NULL);
}

static void test_a_directory_that_was_published_glows(void **state)
{
	struct edits *t = *state;

	assert_false(edits_glowing(t, DIR));
	edits_set_glowing(t, DIR);
	the_time += EDITS_LIFE - 1;
	assert_true(edits_glowing(t, DIR));
	assert_false(edits_glowing(t, OTHER));
	the_time++;
	assert_false(edits_glowing(t, DIR));
	edits_set_glowing(t, DIR);
	/* What is edited there meanwhile changes nothing of it. */
	assert_int_equal(edits_add(t, DIR, SPEC, false), 0);
	edits_remove(t, DIR, SPEC);
	assert_true(edits_glowing(t, DIR));
	the_time += EDITS_LIFE;
	edits_set_glowing(t, OTHER);
	assert_false(edits_glowing(t, DIR));
	assert_true(edits_glowing(t, OTHER));
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_TABLE(test_opened_is_clean),
		WITH_TABLE(test_written_is_dirty),
		WITH_TABLE(test_a_save_takes_it_whatever_comes_of_it),
		WITH_TABLE(test_written_during_a_save),
		WITH_TABLE(test_dropped_when_its_owner_has_ended),
		WITH_TABLE(test_an_owner_is_known_by_its_start_too),
		WITH_TABLE(test_dropped_after_a_while_when_nobody_saved_it),
		WITH_TABLE(test_an_owner_that_cannot_be_seen),
		WITH_TABLE(test_what_counts_as_touching),
		WITH_TABLE(test_writers_are_counted),
		WITH_TABLE(test_a_killed_writer),
		WITH_TABLE(test_lists),
		WITH_TABLE(test_a_base_is_known_while_there_are_files),
		WITH_TABLE(test_said_can_be_taken_back),
		WITH_TABLE(test_a_refused_text_that_comes_back),
		WITH_TABLE(test_a_base_outlives_a_name_that_is_free_for_a_moment),
		WITH_TABLE(test_leaving_one_of_two),
		WITH_TABLE(test_a_directory_that_was_published_glows),
	};

	return cmocka_run_group_tests_name("edits", tests, NULL, NULL);
}
