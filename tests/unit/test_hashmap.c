#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/hashmap.h"
#include "cache/lru.h"

enum { MANY = 10000 };

static size_t number_key(char key[16], int i)
{
	return (size_t)snprintf(key, 16, "key%d", i);
}

static void *get_number(const struct hashmap *m, int i)
{
	char key[16];
	size_t len = number_key(key, i);

	return hashmap_get(m, key, len);
}

static bool keep_even(void *arg, const char *key, size_t len, void *value)
{
	assert_int_equal(strlen(key), len);
	*(size_t *)arg += 1;
	return *(int *)value % 2 == 0;
}

static void it_finds_what_was_put(void **state)
{
	struct hashmap *m = hashmap_new();
	int *numbers = calloc(MANY, sizeof(int));
	size_t seen = 0;
	char key[16];

	(void)state;
	assert_non_null(m);
	assert_non_null(numbers);
	for (int i = 0; i < MANY; i++) {
		size_t len = number_key(key, i);

		numbers[i] = i;
		assert_null(hashmap_get(m, key, len));
		assert_int_equal(hashmap_put(m, key, len, &numbers[i]), 0);
	}
	assert_int_equal(hashmap_count(m), MANY);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(get_number(m, i), &numbers[i]);
	hashmap_filter(m, keep_even, &seen);
	assert_int_equal(seen, MANY);
	assert_int_equal(hashmap_count(m), MANY / 2);
	assert_null(hashmap_get(m, "key7", 4));
	assert_ptr_equal(hashmap_remove(m, "key8", 4), &numbers[8]);
	assert_null(hashmap_remove(m, "key8", 4));
	hashmap_free(m);
	free(numbers);
}

static void keys_are_bytes(void **state)
{
	struct hashmap *m = hashmap_new();
	int a, b, c, d;

	(void)state;
	assert_int_equal(hashmap_put(m, "x\0y", 3, &a), 0);
	assert_int_equal(hashmap_put(m, "x\0z", 3, &b), 0);
	assert_int_equal(hashmap_put(m, "x", 1, &c), 0);
	assert_int_equal(hashmap_put(m, "", 0, &d), 0);
	assert_ptr_equal(hashmap_get(m, "x\0y", 3), &a);
	assert_ptr_equal(hashmap_get(m, "x\0z", 3), &b);
	assert_ptr_equal(hashmap_get(m, "x", 1), &c);
	assert_ptr_equal(hashmap_get(m, "", 0), &d);
	assert_null(hashmap_get(m, "x\0", 2));
	hashmap_free(m);
	hashmap_free(NULL);
}

/* ---- the LRU on top of it; a snapshot is any pointer here ---- */

static void *any_ref(void *p)
{
	return p;
}

static void any_unref(void *p)
{
	(void)p;
}

static const struct entry_type any = {.ref = any_ref, .unref = any_unref, .forever = true};

static void load(struct lru *l, int i, size_t weight, struct entry **trash)
{
	struct entry_time t = {.now = 1};
	struct entry *entry;
	char key[16];
	size_t len = number_key(key, i);
	void *old;

	assert_int_equal(lru_add(l, key, len, &any, &t, &entry, trash), 0);
	assert_true(entry_store(entry, 0, l, &t, &old));
	lru_loaded(l, entry, weight, trash);
}

static bool has(struct lru *l, int i)
{
	char key[16];
	size_t len = number_key(key, i);

	return lru_peek(l, key, len) != NULL;
}

static void the_lru_bounds_weight_and_number(void **state)
{
	enum { WEIGHT = 10000, COUNT = 3 };
	struct lru *l = lru_new(3 * WEIGHT, COUNT);
	struct entry *trash = NULL;

	(void)state;
	assert_non_null(l);
	for (int i = 0; i < 4; i++)
		load(l, i, 10, &trash);
	assert_false(has(l, 0)); /* the number */
	assert_true(has(l, 1) && has(l, 2) && has(l, 3));
	assert_non_null(lru_find(l, "key1", 4));
	load(l, 4, 10, &trash);
	assert_false(has(l, 2)); /* 1 was used since */
	load(l, 5, 3 * WEIGHT - 1000, &trash);
	assert_true(has(l, 5)); /* the weight */
	assert_true(lru_weight(l) <= 3 * WEIGHT);
	load(l, 6, 4 * WEIGHT, &trash);
	assert_false(has(l, 5) || has(l, 6));
	assert_int_equal(lru_weight(l), 0);
	lru_free(l, &trash);
	entry_trash_free(trash);
}

static void the_lru_forgets_what_says_nothing(void **state)
{
	struct entry_time t = {.now = 1, .negative = 10};
	struct lru *l = lru_new(1000, 1000);
	struct entry *trash = NULL, *entry;
	char key[16];
	void *old;

	(void)state;
	assert_non_null(l);
	for (int i = 0; i < MANY; i++) {
		size_t len = number_key(key, i);

		assert_int_equal(lru_add(l, key, len, &any, &t, &entry, &trash), 0);
		assert_true(entry_fail(entry, 0, -EIO, NULL, &t, &old));
		t.now += 5;
	}
	assert_false(has(l, 0) || has(l, MANY / 2));
	assert_true(has(l, MANY - 1));
	assert_int_equal(lru_weight(l), 0);
	lru_free(l, &trash);
	lru_free(NULL, &trash);
	entry_trash_free(trash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_finds_what_was_put),
		cmocka_unit_test(keys_are_bytes),
		cmocka_unit_test(the_lru_bounds_weight_and_number),
		cmocka_unit_test(the_lru_forgets_what_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
