/* fs/listed: which directories the kernel may keep the names of. */
#include "fs/listed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/node.h"
#include "fs/tree.h"
#include "tests/unit/fsys_fixture.h"

enum { DOTS = 2 };

static void publish(struct fsys_fixture *f, const char *env, const char *version)
{
	const struct version v = {.env = (char *)(uintptr_t)env,
				  .version = (char *)(uintptr_t)version,
				  .image = "busybox"};

	fsys_publish(f, &v);
	fsys_know(f, env);
}

static void begin(struct fsys_fixture *f, struct node *dir, off_t offset, struct reading *r)
{
	assert_int_equal(listed_begin(&f->fs, dir, dir->ino, offset, fsys_call(f), r, NULL), 0);
}

/* Reads all names; whether the kernel keeps them. */
static bool read_all(struct fsys_fixture *f, struct node *dir)
{
	struct reading r;
	off_t end;
	bool kept;

	begin(f, dir, 0, &r);
	end = listed_offset(&r, r.listing->count + DOTS);
	listed_put(&f->fs, &r);
	begin(f, dir, end, &r);
	assert_int_equal(r.next, r.listing->count + DOTS);
	listed_end(&f->fs, &r);
	listed_put(&f->fs, &r);
	kept = node_unlist(f->fs.nodes, dir->ino);
	/* What is kept is also dropped some day. */
	assert_true(!kept || !node_set_expiry(f->fs.nodes, dir->ino, INT64_MAX));
	return kept;
}

static void test_what_cannot_change_is_kept(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "1");
	assert_true(read_all(f, fsys_node(f, "ws")));
	assert_true(read_all(f, fsys_node(f, "ws/e")));
	assert_true(read_all(f, fsys_node(f, "ws/e/1")));
	assert_false(read_all(f, fsys_node(f, "ws/.archived")));
}

static void test_an_old_list_is_not_kept(void **state)
{
	struct fsys_fixture *f = *state;
	struct node *env;
	struct reading r;

	publish(f, "e", "1");
	env = fsys_node(f, "ws/e");
	begin(f, env, 0, &r);
	fsys_pass(FSYS_REFRESH);
	listed_end(&f->fs, &r);
	listed_put(&f->fs, &r);
	assert_false(node_unlist(f->fs.nodes, env->ino));
	assert_true(read_all(f, env));
}

static void test_nothing_is_kept_where_something_goes_on(void **state)
{
	struct fsys_fixture *f = *state;
	struct node *one, *two, *other;

	publish(f, "e", "1");
	publish(f, "e", "2");
	publish(f, "f", "1");
	one = fsys_node(f, "ws/e/1");
	two = fsys_node(f, "ws/e/2");
	other = fsys_node(f, "ws/f/1");
	node_list(f->fs.nodes, two->ino);
	listed_touch(&f->fs, one);
	assert_false(
		node_unlist(f->fs.nodes, two->ino)); /* it may show what is made in the other */
	assert_false(read_all(f, two));
	assert_false(read_all(f, fsys_node(f, "ws/e")));
	assert_false(read_all(f, fsys_node(f, "ws")));
	assert_true(read_all(f, other));
}

static void test_a_reader_goes_on_in_the_list_it_began_with(void **state)
{
	struct fsys_fixture *f = *state;
	struct reading first, second, anew;
	struct node *env;
	size_t count;

	publish(f, "e", "2");
	env = fsys_node(f, "ws/e");
	begin(f, env, 0, &first);
	count = first.listing->count;
	publish(f, "e", "1");
	begin(f, env, 0, &anew);
	assert_int_equal(anew.listing->count, count + 1);
	begin(f, env, listed_offset(&first, 1), &second);
	assert_ptr_equal(second.listing, first.listing);
	assert_int_equal(second.next, 1);
	assert_true(listed_offset(&anew, 1) != listed_offset(&first, 1));
	listed_put(&f->fs, &second);
	listed_put(&f->fs, &anew);
	/* It is told of the end of a list that is not what is there any more. */
	listed_end(&f->fs, &first);
	listed_put(&f->fs, &first);
	assert_false(node_unlist(f->fs.nodes, env->ino));
}

static void test_a_snapshot_that_is_not_there_any_more_is_made_again(void **state)
{
	struct fsys_fixture *f = *state;
	struct node *env;
	struct reading r;
	off_t at;

	publish(f, "e", "1");
	env = fsys_node(f, "ws/e");
	begin(f, env, 0, &r);
	at = listed_offset(&r, DOTS + 1);
	listed_put(&f->fs, &r);
	for (int i = 0; i < LISTED_READINGS_MAX; i++) {
		begin(f, fsys_node(f, "ws"), 0, &r);
		listed_put(&f->fs, &r);
	}
	begin(f, env, at, &r);
	assert_int_equal(r.next, DOTS + 1);
	assert_int_equal(r.listing->count, 2);
	listed_put(&f->fs, &r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_cannot_change_is_kept, fsys_setup,
						fsys_teardown),
		cmocka_unit_test_setup_teardown(test_an_old_list_is_not_kept, fsys_setup,
						fsys_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_kept_where_something_goes_on,
						fsys_setup, fsys_teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_goes_on_in_the_list_it_began_with,
						fsys_setup, fsys_teardown),
		cmocka_unit_test_setup_teardown(
			test_a_snapshot_that_is_not_there_any_more_is_made_again, fsys_setup,
			fsys_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
