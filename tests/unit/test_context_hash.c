#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/context_hash.h"

struct sample {
	const char *path;
	const char *text;
};

static int hash(const struct sample *samples, size_t n, char out[CONTEXT_HASH_SIZE])
{
	struct upload_file files[16] = {0};
	int rc;

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(samples[i].text);
		int fd = memfd_create("sample", MFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, samples[i].text, len), len);
		files[i] = (struct upload_file){.path = samples[i].path, .fd = fd, .size = len};
	}
	rc = context_hash(files, n, out, NULL);
	for (size_t i = 0; i < n; i++)
		close(files[i].fd);
	return rc;
}

/* The vector of azureml-rest.md section 8, in every order of its files. */
static void test_vector(void **state)
{
	const struct sample all[] = {{"Dockerfile", "FROM ubuntu:22.04\nCOPY a.txt /a.txt\n"},
				     {"a.txt", "hello\n"},
				     {"B.txt", "x\n"},
				     {"sub/requirements.txt", "numpy==1.26.4\n"}};
	char out[CONTEXT_HASH_SIZE];

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		struct sample turned[4];

		for (size_t i = 0; i < 4; i++)
			turned[i] = all[(i + shift) % 4];
		assert_int_equal(hash(turned, 4, out), 0);
		assert_string_equal(out, "cf6f2ddf6d387def1f1e68a4e7aa7b18");
	}
}

/*
 * A directory's name is fed once, when a walk enters it, and its files stay together though
 * "a.txt" and "a0" sort around "a/". Computed with the algorithm as it is described.
 */
static void test_directories(void **state)
{
	const struct sample all[] = {
		{"a.txt", "1"}, {"a/x", "2"}, {"a/y/z", "3"},
		{"a/y/Q", "4"}, {"a0", "5"},  {"A/x", "6"},
	};
	char out[CONTEXT_HASH_SIZE];

	(void)state;
	assert_int_equal(hash(all, 6, out), 0);
	assert_string_equal(out, "1c9a8f388a862dcdf5067c5a7ebae56f");
}

static void test_content_counts(void **state)
{
	const struct sample a = {"f", "1"}, b = {"f", "2"}, c = {"g", "1"};
	char x[CONTEXT_HASH_SIZE], y[CONTEXT_HASH_SIZE];

	(void)state;
	assert_int_equal(hash(&a, 1, x), 0);
	assert_int_equal(hash(&b, 1, y), 0);
	assert_string_not_equal(x, y);
	assert_int_equal(hash(&c, 1, y), 0);
	assert_string_not_equal(x, y);
}

static void test_changed_file(void **state)
{
	struct upload_file f = {.path = "f", .fd = memfd_create("f", MFD_CLOEXEC), .size = 5};
	char out[CONTEXT_HASH_SIZE];
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(write(f.fd, "1234", 4), 4);
	assert_int_equal(context_hash(&f, 1, out, &e), -EIO);
	f.size = 3;
	assert_int_equal(context_hash(&f, 1, out, &e), -EIO);
	f.size = 4;
	assert_int_equal(context_hash(&f, 1, out, &e), 0);
	close(f.fd);
	assert_int_equal(context_hash(&f, 1, out, &e), -EBADF);
	assert_non_null(strstr(e.msg, "reading f"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_content_counts),
		cmocka_unit_test(test_changed_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
