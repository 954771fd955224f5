/* fs/ctxtree: the flat list of a build context as directories and files. */
#include "fs/ctxtree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/buf.h"

static struct ctxtree *tree_of(const char *const *paths, size_t n)
{
	struct context_file *files = calloc(n, sizeof(*files));
	struct context *ctx;
	struct ctxtree *t;

	assert_non_null(files);
	for (size_t i = 0; i < n; i++)
		files[i] = (struct context_file){.path = paths[i],
						 .path_len = strlen(paths[i]),
						 .size = i,
						 .modified = (int64_t)i + 1};
	ctx = context_new(&(struct context){.uri = "http://x/c/", .files = files, .n_files = n});
	assert_non_null(ctx);
	assert_int_equal(ctxtree_new(ctx, &t, NULL), 0);
	context_unref(ctx);
	free(files);
	return t;
}

/* The tree as text: "a/(b c/(d))" */
static void print_dir(const struct ctxtree *t, uint32_t dir, struct buf *out)
{
	const struct ctxtree_entry *d = ctxtree_get(t, dir);

	for (uint32_t i = d->first; i < d->first + d->count; i++) {
		const struct ctxtree_entry *entry = ctxtree_get(t, i);

		buf_addf(out, "%s%s", i > d->first ? " " : "", entry->name);
		assert_int_equal(ctxtree_find(t, dir, entry->name), i);
		if (!entry->file) {
			buf_addstr(out, "/(");
			print_dir(t, i, out);
			buf_addch(out, ')');
		}
	}
}

static void check(const char *const *paths, size_t n, const char *expected)
{
	struct ctxtree *t = tree_of(paths, n);
	struct buf out = BUF_INIT(100000);

	print_dir(t, CTXTREE_ROOT, &out);
	assert_string_equal(buf_str(&out), expected);
	buf_free(&out);
	ctxtree_unref(t);
}

#define CHECK(expected, ...)                                            \
	do {                                                            \
		static const char *const paths[] = {__VA_ARGS__};       \
		check(paths, sizeof(paths) / sizeof(*paths), expected); \
	} while (0)

static void test_shapes(void **state)
{
	(void)state;
	CHECK("Dockerfile", "Dockerfile");
	CHECK("Dockerfile src/(a.py b/(c.py))", "src/b/c.py", "Dockerfile", "src/a.py");
	CHECK("a/(x) a-b", "a/x", "a-b");
}

static void test_hostile_paths(void **state)
{
	(void)state;
	CHECK("%2E./(%2E./(etc/(passwd)))", "../../etc/passwd");
	CHECK("%2Fetc/(shadow)", "/etc/shadow");
	CHECK("a/(%2Fb)", "a//b");
	CHECK("a%2F", "a/");
}

static void test_file_and_directory_of_one_name(void **state)
{
	(void)state;
	CHECK("%61 a/(b)", "a", "a/b");
	CHECK("x/(%61 a/(b))", "x/a", "x/a/b");
}

static void test_doubles_are_one(void **state)
{
	(void)state;
	CHECK("a", "a", "a");
}

static void test_empty(void **state)
{
	struct ctxtree *t = tree_of(NULL, 0);

	(void)state;
	assert_int_equal(ctxtree_get(t, CTXTREE_ROOT)->count, 0);
	assert_int_equal(ctxtree_find(t, CTXTREE_ROOT, "x"), -1);
	ctxtree_unref(t);
}

static void test_very_deep_is_bounded(void **state)
{
	enum { DEPTH = 2000 };
	char *path = malloc(2 * DEPTH + 2);
	const char *paths[2];
	struct ctxtree *t;

	(void)state;
	assert_non_null(path);
	for (size_t i = 0; i < DEPTH; i++)
		memcpy(path + 2 * i, "d/", 2);
	memcpy(path + 2 * DEPTH, "f", 2);
	paths[0] = path;
	paths[1] = "ok";
	t = tree_of(paths, 2);
	assert_true(ctxtree_find(t, CTXTREE_ROOT, "ok") > 0);
	ctxtree_unref(t);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_hostile_paths),
		cmocka_unit_test(test_file_and_directory_of_one_name),
		cmocka_unit_test(test_doubles_are_one),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_very_deep_is_bounded),
	};

	return cmocka_run_group_tests_name("ctxtree", tests, NULL, NULL);
}
