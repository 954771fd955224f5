/* fs/name: names of the service as file names, and back. */
#include "fs/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	enum name_place place;
	const char *text;
	size_t len;
	const char *name;
} table[] = {
	{NAME_ENV, "sklearn-1.5", 11, "sklearn-1.5"},
	{NAME_ENV, "..", 2, "%2E."},
	{NAME_ENV, ".", 1, "%2E"},
	{NAME_ENV, ".archived", 9, "%2Earchived"},
	{NAME_ENV, "a/b", 3, "a%2Fb"},
	{NAME_ENV, "a\0b", 3, "a%00b"},
	{NAME_ENV, "100%", 4, "100%"},
	{NAME_ENV, "100%41", 6, "100%2541"},
	{NAME_ENV, "50%~x", 5, "50%25~x"},
	{NAME_ENV, "", 0, "%~"},
	{NAME_SCOPE, "@azureml", 8, "%40azureml"},
	{NAME_VERSION, "latest", 6, "%6Catest"},
	{NAME_VERSION, "latest2", 7, "latest2"},
	{NAME_VERSION, ".next", 5, "%2Enext"},
	{NAME_CONTEXT, ".dockerignore", 13, ".dockerignore"},
	{NAME_CONTEXT, "..", 2, "%2E."},
	{NAME_CONTEXT, "...", 3, "..."},
	{NAME_CONTEXT, "latest", 6, "latest"},
	{NAME_CONTEXT, "Gr\303\266\303\237e", 7, "Gr\303\266\303\237e"},
};

static void test_table(void **state)
{
	char name[NAME_SIZE], back[NAME_SIZE];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		name_encode(table[i].place, table[i].text, table[i].len, name);
		assert_string_equal(name, table[i].name);
		assert_int_equal(name_decode(table[i].place, name, back, &len), 0);
		assert_int_equal(len, table[i].len);
		assert_memory_equal(back, table[i].text, len);
	}
}

static void test_another_spelling_is_no_name(void **state)
{
	char back[NAME_SIZE];
	size_t len;

	(void)state;
	assert_int_equal(name_decode(NAME_ENV, "%61", back, &len), -ENOENT);
	assert_int_equal(name_decode(NAME_ENV, "a%2fb", back, &len), -ENOENT);
	assert_int_equal(name_decode(NAME_ENV, ".hidden", back, &len), -ENOENT);
	assert_int_equal(name_decode(NAME_ENV, "x%~0011223344556677", back, &len), -ENOENT);
}

static void test_long_names_are_cut_and_told_apart(void **state)
{
	char a[400], b[400], name_a[NAME_SIZE], name_b[NAME_SIZE];

	(void)state;
	memset(a, 'x', sizeof(a));
	memset(b, 'x', sizeof(b));
	b[sizeof(b) - 1] = 'y';
	name_encode(NAME_ENV, a, sizeof(a), name_a);
	name_encode(NAME_ENV, b, sizeof(b), name_b);
	assert_true(strlen(name_a) < NAME_SIZE);
	assert_string_not_equal(name_a, name_b);
	assert_non_null(strstr(name_a, "%~"));
	/* 255 bytes fit as they are. */
	name_encode(NAME_ENV, a, NAME_SIZE - 1, name_a);
	assert_int_equal(strlen(name_a), NAME_SIZE - 1);
	assert_null(strchr(name_a, '%'));
}

/* Whatever the bytes, the encoding is a legal file name and gives the bytes back. */
static void test_any_bytes_round_trip(void **state)
{
	char text[40], name[NAME_SIZE], back[NAME_SIZE];
	unsigned int seed = 20261122;
	size_t len;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		static const char likely[] = "%/.~@4aF\0\x80";
		size_t n = (size_t)rand_r(&seed) % sizeof(text);

		for (size_t i = 0; i < n; i++)
			text[i] = likely[(size_t)rand_r(&seed) % (sizeof(likely) - 1)];
		for (int place = NAME_SCOPE; place <= NAME_CONTEXT; place++) {
			name_encode((enum name_place)place, text, n, name);
			assert_null(strchr(name, '/'));
			assert_true(name[0]);
			assert_string_not_equal(name, ".");
			assert_string_not_equal(name, "..");
			assert_int_equal(name_decode((enum name_place)place, name, back, &len), 0);
			assert_int_equal(len, n);
			assert_memory_equal(back, text, n);
		}
	}
}

static void test_paths(void **state)
{
	static const char *const paths[][2] = {
		{"Dockerfile", "Dockerfile"},
		{"a/b/c", "a/b/c"},
		{"../../etc/passwd", "%2E./%2E./etc/passwd"},
		{"/abs", "%2Fabs"},
		{"a//b", "a/%2Fb"},
		{"a/", "a%2F"},
		{"a///", "a%2F%2F%2F"},
		{"./x", "%2E/x"},
	};
	struct buf out = BUF_INIT(1000);

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		buf_reset(&out);
		assert_int_equal(name_encode_path(paths[i][0], strlen(paths[i][0]), &out), 0);
		assert_string_equal(buf_str(&out), paths[i][1]);
	}
	buf_free(&out);
}

static void test_probes(void **state)
{
	(void)state;
	assert_true(name_is_probe(".git"));
	assert_true(name_is_probe(".Trash-1000"));
	assert_false(name_is_probe("sklearn"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_another_spelling_is_no_name),
		cmocka_unit_test(test_long_names_are_cut_and_told_apart),
		cmocka_unit_test(test_any_bytes_round_trip),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_probes),
	};

	return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
