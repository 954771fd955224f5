/* A log on the disk: blocks that come in any order, holes, growth, and the ends of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache/logfile.h"

enum { B = LOGFILE_BLOCK, SIZE = 2 * B + 1000 };

static char *pattern(void)
{
	char *data = malloc(SIZE);

	assert_non_null(data);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i * 31 + i / 251);
	return data;
}

static void assert_there(const struct logfile *l, const char *data, uint64_t offset, size_t len)
{
	struct buf out = BUF_INIT(SIZE);

	assert_int_equal(logfile_have(l, offset, len), len);
	assert_int_equal(logfile_read(l, offset, len, &out), 0);
	assert_int_equal(out.len, len);
	assert_memory_equal(buf_str(&out), data + offset, len);
	buf_free(&out);
}

static void test_any_order(void **state)
{
	struct buf out = BUF_INIT(SIZE);
	char *data = pattern(), digest[LOGFILE_DIGEST_SIZE], other[LOGFILE_DIGEST_SIZE];
	struct logfile *l, *copy;
	uint64_t from;
	size_t len;
	int fd;

	(void)state;
	assert_int_equal(logfile_new(-1, &l), 0);
	assert_true(logfile_is_whole(l));
	assert_int_equal(logfile_grow(l, SIZE), 0);
	assert_int_equal(logfile_have(l, 0, 10), 0);
	assert_int_equal(logfile_read(l, 0, 1, &out), -EIO);
	assert_int_equal(logfile_digest(l, digest), -EIO);
	/* The last block first. */
	logfile_missing(l, SIZE - 5, &from, &len);
	assert_int_equal(from, 2 * B);
	assert_int_equal(len, 1000);
	assert_int_equal(logfile_put(l, from, data + from, len), 0);
	assert_there(l, data, 2 * B, 1000);
	/* A part of the first, and the rest of it. */
	assert_int_equal(logfile_put(l, 0, data, 100), 0);
	assert_int_equal(logfile_have(l, 50, 1000), 50);
	logfile_missing(l, 700, &from, &len);
	assert_int_equal(from, 100);
	assert_int_equal(len, B - 100);
	/* What would leave a hole is not taken; what overlaps is. */
	assert_int_equal(logfile_put(l, 200, data + 200, 10), 0);
	assert_int_equal(logfile_have(l, 200, 10), 0);
	assert_int_equal(logfile_put(l, 50, data + 50, B), 0);
	assert_there(l, data, 0, B + 50);
	assert_false(logfile_is_whole(l));
	assert_int_equal(logfile_put(l, B, data + B, B), 0);
	assert_true(logfile_is_whole(l));
	assert_there(l, data, 0, SIZE);
	assert_there(l, data, B - 3, 7);
	assert_int_equal(logfile_digest(l, digest), 0);
	/* And back from the disk. */
	fd = memfd_create("copy", MFD_CLOEXEC);
	assert_int_equal(logfile_copy(l, fd), 0);
	assert_int_equal(logfile_take(fd, SIZE, &copy), 0);
	assert_there(copy, data, 0, SIZE);
	assert_int_equal(logfile_digest(copy, other), 0);
	assert_string_equal(digest, other);
	logfile_unref(copy);
	logfile_unref(l);
	free(data);
}

static void test_growth(void **state)
{
	char *data = pattern();
	struct logfile *l;
	uint64_t from;
	size_t len;

	(void)state;
	assert_int_equal(logfile_new(-1, &l), 0);
	for (size_t at = 0; at < SIZE; at += 777) {
		size_t n = SIZE - at < 777 ? SIZE - at : 777;

		assert_int_equal(logfile_put(l, at, data + at, n), 0);
		assert_int_equal(logfile_size(l), at + n);
	}
	assert_true(logfile_is_whole(l));
	assert_there(l, data, 0, SIZE);
	/* It never gets shorter, and is asked for only where it grew. */
	assert_int_equal(logfile_grow(l, 5), 0);
	assert_int_equal(logfile_size(l), SIZE);
	assert_int_equal(logfile_grow(l, SIZE + 10), 0);
	assert_false(logfile_is_whole(l));
	logfile_missing(l, SIZE, &from, &len);
	assert_int_equal(from, SIZE);
	assert_int_equal(len, 10);
	logfile_unref(l);
	free(data);
}

static void test_bound(void **state)
{
	struct logfile *l;

	(void)state;
	assert_int_equal(logfile_new(-1, &l), 0);
	assert_int_equal(logfile_grow(l, UINT64_MAX), 0);
	assert_int_equal(logfile_size(l), LOGFILE_MAX);
	assert_int_equal(logfile_put(l, LOGFILE_MAX, "x", 1), 0);
	assert_int_equal(logfile_put(l, UINT64_MAX, "x", 1), 0);
	assert_int_equal(logfile_size(l), LOGFILE_MAX);
	assert_int_equal(logfile_have(l, LOGFILE_MAX, 1), 0);
	logfile_unref(l);
}

static void test_cut_off(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct buf out = BUF_INIT(100);
	char digest[LOGFILE_DIGEST_SIZE];
	struct logfile *l;

	(void)state;
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(logfile_take(fd, 10, &l), 0);
	assert_int_equal(logfile_read(l, 0, 10, &out), -EIO);
	assert_int_equal(logfile_digest(l, digest), -EIO);
	logfile_unref(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
