/* fs/whiteout: names that were removed here and nowhere else. */
#include "fs/whiteout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { VERSION = 100, OTHER = 356 /* the same bucket */, SPEC = 1, CONDA = 65 /* the same */ };

static int64_t the_time;

static int64_t get_time(void)
{
	return the_time;
}

static void test_removed_names_are_known_by_group(void **state)
{
	struct whiteouts *w = whiteouts_new(get_time);

	(void)state;
	assert_false(whiteout_any(w, VERSION));
	assert_int_equal(whiteout_add(w, VERSION, SPEC), 0);
	assert_int_equal(whiteout_add(w, VERSION, SPEC), 0);
	assert_int_equal(whiteout_add(w, VERSION, CONDA), 0);
	assert_true(whiteout_has(w, VERSION, SPEC));
	assert_false(whiteout_has(w, OTHER, SPEC));
	whiteout_remove(w, VERSION, SPEC);
	whiteout_remove(w, VERSION, 12345);
	whiteout_remove(w, OTHER, SPEC);
	assert_false(whiteout_has(w, VERSION, SPEC));
	assert_true(whiteout_has(w, VERSION, CONDA));
	whiteout_clear(w, VERSION);
	whiteout_clear(w, OTHER);
	assert_false(whiteout_any(w, VERSION));
	whiteouts_free(w);
}

static void test_a_group_comes_back_when_nothing_follows(void **state)
{
	struct whiteouts *w = whiteouts_new(get_time);

	(void)state;
	the_time = 0;
	assert_int_equal(whiteout_add(w, VERSION, SPEC), 0);
	the_time = WHITEOUT_LIFE;
	assert_int_equal(whiteout_add(w, OTHER, SPEC), 0);
	/* A removal that goes on keeps all of its group removed. */
	assert_int_equal(whiteout_add(w, VERSION, CONDA), 0);
	the_time = 2 * WHITEOUT_LIFE;
	assert_true(whiteout_has(w, VERSION, SPEC));
	the_time++;
	assert_false(whiteout_has(w, VERSION, SPEC));
	assert_false(whiteout_any(w, OTHER));
	/* What expired is not there again with the next removal. */
	assert_int_equal(whiteout_add(w, VERSION, CONDA), 0);
	assert_false(whiteout_has(w, VERSION, SPEC));
	whiteouts_free(w);
}

/* Whether anything is removed but what is named, as for the files beside a build context. */
static void test_other_names(void **state)
{
	struct whiteouts *w = whiteouts_new(get_time);
	const uint64_t but[] = {SPEC, CONDA};

	(void)state;
	the_time = 0;
	assert_false(whiteout_others(w, VERSION, but, 2));
	assert_int_equal(whiteout_add(w, VERSION, SPEC), 0);
	assert_int_equal(whiteout_add(w, OTHER, 7), 0);
	assert_false(whiteout_others(w, VERSION, but, 2));
	assert_int_equal(whiteout_add(w, VERSION, CONDA), 0);
	assert_false(whiteout_others(w, VERSION, but, 2));
	assert_true(whiteout_others(w, VERSION, but, 1));
	assert_true(whiteout_others(w, VERSION, NULL, 0));
	assert_int_equal(whiteout_add(w, VERSION, SPEC + 1), 0);
	assert_true(whiteout_others(w, VERSION, but, 2));
	whiteout_remove(w, VERSION, SPEC + 1);
	assert_false(whiteout_others(w, VERSION, but, 2));
	assert_int_equal(whiteout_add(w, VERSION, 7), 0);
	the_time = WHITEOUT_LIFE + 1;
	assert_false(whiteout_others(w, VERSION, but, 2));
	whiteouts_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_removed_names_are_known_by_group),
		cmocka_unit_test(test_a_group_comes_back_when_nothing_follows),
		cmocka_unit_test(test_other_names),
	};

	return cmocka_run_group_tests_name("whiteout", tests, NULL, NULL);
}
