/* fs/due: the earliest first. */
#include "fs/due.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 1000, STEP = 617 /* prime to MANY */ };

static void test_the_earliest_comes_first(void **state)
{
	struct due d = {0};

	(void)state;
	assert_int_equal(due_first(&d), 0);
	for (uint64_t i = 0; i < MANY; i++)
		assert_int_equal(due_add(&d, (int64_t)(i * STEP % MANY) + 1, i * STEP % MANY), 0);
	for (uint64_t i = 0; i < MANY; i++) {
		assert_int_equal(due_first(&d), i + 1);
		assert_int_equal(due_take(&d), i);
	}
	assert_int_equal(due_first(&d), 0);
	due_clear(&d);
}

static void test_equal_times_are_all_kept(void **state)
{
	struct due d = {0};
	uint64_t sum = 0;

	(void)state;
	for (uint64_t i = 1; i <= 5; i++)
		assert_int_equal(due_add(&d, 7, i), 0);
	assert_int_equal(due_add(&d, 3, 100), 0);
	assert_int_equal(due_take(&d), 100);
	for (int i = 0; i < 5; i++)
		sum += due_take(&d);
	assert_int_equal(sum, 15);
	due_clear(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_earliest_comes_first),
		cmocka_unit_test(test_equal_times_are_all_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
