/* fs/kept: bytes, times and modes that the service does not keep. */
#include "fs/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROUNDS = 200 };

#define V3 "0123456789abcdef/env/3"
#define V4 "0123456789abcdef/env/4"

static const struct timespec then = {1600000000, 123456789}, later = {1700000000, 1};
static const char text[] = "# mine\nname: n\nimage: i\n";

/* A directory of its own for each test. */
struct place {
	char path[64];
	int dir;
	struct kept *k;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->path, sizeof(p->path), "/tmp/mlenvfs-kept-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->dir < 0 || kept_open(p->dir, &p->k);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct place *p = *state;

	kept_close(p->k);
	close(p->dir);
	nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

static void put_text(const struct place *p, const char *dir)
{
	assert_int_equal(kept_put_text(p->k, dir, "spec.yml", text, sizeof(text) - 1, &then, 0640),
			 0);
}

/* mtime NULL: no time is kept. */
static void assert_attr(const struct place *p, const char *name, const struct timespec *mtime,
			mode_t mode, off_t size)
{
	struct stat st;

	assert_int_equal(kept_get_attr(p->k, V3, name, &st), 0);
	assert_int_equal(st.st_mode, mode);
	assert_int_equal(st.st_size, size);
	if (!mtime) {
		assert_int_equal(st.st_mtim.tv_nsec, UTIME_OMIT);
		return;
	}
	assert_int_equal(st.st_mtim.tv_sec, mtime->tv_sec);
	assert_int_equal(st.st_mtim.tv_nsec, mtime->tv_nsec);
}

static void assert_text(const struct place *p, const char *expected)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct stat st;

	assert_int_equal(kept_get_text(p->k, V3, "spec.yml", &b, &st), 0);
	assert_string_equal(buf_str(&b), expected);
	assert_int_equal(st.st_size, strlen(expected));
}

static void test_a_text_is_kept_with_time_and_mode(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf small = BUF_INIT(5);
	struct stat st;

	put_text(p, V3);
	assert_text(p, text);
	assert_attr(p, "spec.yml", &then, 0640, sizeof(text) - 1);
	assert_int_equal(kept_get_text(p->k, V3, "spec.yml", &small, &st), -EFBIG);
	assert_int_equal(kept_put_text(p->k, V3, "spec.yml", "a\n", 2, &later, 0444), 0);
	assert_text(p, "a\n");
	assert_attr(p, "spec.yml", &later, 0444, 2);
	/* The owner may always read a text: we have to. */
	assert_int_equal(kept_put_text(p->k, V3, "spec.yml", "b\n", 2, &then, 0022), 0);
	assert_attr(p, "spec.yml", &then, 0422, 2);
	assert_int_equal(kept_put_text(p->k, V3, "spec.yml", "b\n", 2, &then, 0), -EINVAL);
}

static void test_an_empty_text_is_none(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct stat st;

	put_text(p, V3);
	assert_int_equal(kept_put_text(p->k, V3, "spec.yml", NULL, 0, &later, 0600), 0);
	assert_int_equal(kept_get_text(p->k, V3, "spec.yml", &b, &st), -ENOENT);
	assert_attr(p, "spec.yml", &later, 0600, 0);
}

static void test_times_and_modes_are_kept_one_by_one(void **state)
{
	static const char *const names[] = {
		"", "Dockerfile", "context", "context/a", "context/a/b", "record", "f-", "h-"};
	const struct place *p = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(kept_put_attr(p->k, V3, names[i], NULL, 0), 0);
		assert_int_equal(kept_get_attr(p->k, V3, names[i], &(struct stat){0}), -ENOENT);
		assert_int_equal(kept_put_attr(p->k, V3, names[i], &then, 0), 0);
		assert_attr(p, names[i], &then, 0, 0);
		assert_int_equal(kept_put_attr(p->k, V3, names[i], NULL, 0751), 0);
		assert_attr(p, names[i], &then, 0751, 0);
		assert_int_equal(kept_put_attr(p->k, V3, names[i], &later, 0), 0);
		assert_attr(p, names[i], &later, 0751, 0);
	}
	assert_int_equal(kept_put_attr(p->k, V3, "x", NULL, 0200), 0);
	assert_attr(p, "x", NULL, 0200, 0);
	assert_int_equal(kept_put_attr(p->k, V3, "x", &then, 0), 0);
	assert_attr(p, "x", &then, 0200, 0);
}

static void test_a_text_survives_new_times_and_modes(void **state)
{
	const struct place *p = *state;

	put_text(p, V3);
	assert_int_equal(kept_put_attr(p->k, V3, "spec.yml", &later, 0), 0);
	assert_attr(p, "spec.yml", &later, 0640, sizeof(text) - 1);
	assert_int_equal(kept_put_attr(p->k, V3, "spec.yml", NULL, 0200), 0);
	assert_attr(p, "spec.yml", &later, 0600, sizeof(text) - 1);
	assert_text(p, text);
}

static void test_names_do_not_collide(void **state)
{
	const struct place *p = *state;
	char longer[256], deep[300];

	memset(longer, 'x', 255);
	longer[255] = '\0';
	snprintf(deep, sizeof(deep), "context/%s", longer);
	assert_int_equal(kept_put_attr(p->k, V3, longer, NULL, 0600), 0);
	assert_int_equal(kept_put_attr(p->k, V3, deep, NULL, 0700), 0);
	assert_int_equal(kept_put_attr(p->k, V3, "context", NULL, 0500), 0);
	assert_attr(p, longer, NULL, 0600, 0);
	assert_attr(p, deep, NULL, 0700, 0);
	assert_attr(p, "context", NULL, 0500, 0);
}

static void test_nothing_is_kept_at_first(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct stat st;

	assert_int_equal(kept_get_attr(p->k, V3, "spec.yml", &st), -ENOENT);
	assert_int_equal(kept_get_text(p->k, V3, "spec.yml", &b, &st), -ENOENT);
	assert_int_equal(kept_get_record(p->k, V3, &b), -ENOENT);
	assert_int_equal(kept_drop(p->k, V3), 0);
	put_text(p, V4);
	assert_int_equal(kept_get_attr(p->k, V3, "spec.yml", &st), -ENOENT);
	assert_int_equal(kept_get_attr(p->k, V4, "conda.yml", &st), -ENOENT);
	assert_int_equal(kept_get_attr(p->k, V4 "/f-spec.yml", "x", &st), -ENOTDIR);
}

static void test_a_version_is_dropped_alone(void **state)
{
	const struct place *p = *state;
	struct stat st;

	put_text(p, V3);
	put_text(p, V4);
	assert_int_equal(kept_put_attr(p->k, V3, "context/a/b", &then, 0), 0);
	assert_int_equal(kept_set_record(p->k, V3, "one"), 0);
	assert_int_equal(kept_drop(p->k, V3), 0);
	assert_int_equal(kept_get_attr(p->k, V3, "spec.yml", &st), -ENOENT);
	assert_int_equal(kept_get_attr(p->k, V3, "context/a/b", &st), -ENOENT);
	assert_int_equal(kept_get_attr(p->k, V4, "spec.yml", &st), 0);
	assert_int_equal(kept_drop(p->k, V4), 0);
	/* Not even a directory is left. */
	assert_int_equal(fstatat(p->dir, "0123456789abcdef", &st, 0), -1);
	put_text(p, V3);
	assert_text(p, text);
}

static void test_the_record_is_told(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(KEPT_RECORD_MAX), large = BUF_INIT(10000);

	assert_int_equal(kept_set_record(p->k, V3, "one"), 0);
	assert_int_equal(kept_set_record(p->k, V3, "another\n"), 0);
	assert_int_equal(kept_get_record(p->k, V3, &b), 0);
	assert_string_equal(buf_str(&b), "another\n");
	for (int i = 0; i <= KEPT_RECORD_MAX; i++)
		buf_addch(&large, 'x');
	assert_int_equal(kept_set_record(p->k, V3, buf_str(&large)), -EFBIG);
	buf_reset(&b);
	assert_int_equal(kept_get_record(p->k, V3, &b), 0);
	assert_string_equal(buf_str(&b), "another\n");
}

static void test_paths_stay_inside(void **state)
{
	static const char *const bad[] = {"..",   "../x", "a/..", "a/../b", "/", "/etc",
					  "a//b", ".",    "./a",  "a/.",    "a/"};
	const struct place *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct stat st;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(kept_put_text(p->k, bad[i], "x", "t", 1, &then, 0600), -EINVAL);
		assert_int_equal(kept_put_text(p->k, V3, bad[i], "t", 1, &then, 0600), -EINVAL);
		assert_int_equal(kept_put_attr(p->k, bad[i], "x", &then, 0), -EINVAL);
		assert_int_equal(kept_put_attr(p->k, V3, bad[i], &then, 0), -EINVAL);
		assert_int_equal(kept_get_text(p->k, bad[i], "x", &b, &st), -EINVAL);
		assert_int_equal(kept_get_attr(p->k, V3, bad[i], &st), -EINVAL);
		assert_int_equal(kept_set_record(p->k, bad[i], "x"), -EINVAL);
		assert_int_equal(kept_drop(p->k, bad[i]), -EINVAL);
	}
	assert_int_equal(kept_put_attr(p->k, "", "x", &then, 0), -EINVAL);
	assert_int_equal(kept_drop(p->k, ""), -EINVAL);
}

static void test_a_file_is_dropped_alone(void **state)
{
	const struct place *p = *state;
	struct stat st;

	assert_int_equal(kept_drop_file(p->k, V3, "spec.yml"), 0);
	put_text(p, V3);
	assert_int_equal(kept_put_attr(p->k, V3, "context/a/b", &later, 0600), 0);
	assert_int_equal(kept_put_attr(p->k, V3, "", &later, 0700), 0);
	assert_int_equal(kept_set_record(p->k, V3, "this one"), 0);
	assert_int_equal(kept_drop_file(p->k, V3, "spec.yml"), 0);
	assert_int_equal(kept_get_attr(p->k, V3, "spec.yml", &st), -ENOENT);
	assert_attr(p, "context/a/b", &later, 0600, 0);
	assert_int_equal(kept_drop_file(p->k, V3, "context/a/b"), 0);
	assert_int_equal(kept_get_attr(p->k, V3, "context/a/b", &st), -ENOENT);
	assert_attr(p, "", &later, 0700, 0);
	assert_int_equal(kept_drop_file(p->k, V3, "conda.yml"), 0);
	assert_int_equal(kept_drop_file(p->k, V3, "../4"), -EINVAL);
}

/* A link among the directories leads nowhere, and one in place of a file is no file. */
static void test_links_are_not_followed(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(1000);
	struct stat st;

	put_text(p, V4);
	assert_int_equal(symlinkat("4", p->dir, V3), 0);
	assert_true(kept_get_attr(p->k, V3, "spec.yml", &st) < 0);
	assert_true(kept_get_text(p->k, V3, "spec.yml", &b, &st) < 0);
	assert_true(kept_put_attr(p->k, V3, "spec.yml", &later, 0) < 0);
	assert_true(kept_drop(p->k, V3) < 0);
	assert_int_equal(symlinkat("0123456789abcdef", p->dir, "other"), 0);
	assert_true(kept_get_attr(p->k, "other/env/4", "spec.yml", &st) < 0);
	assert_int_equal(symlinkat("f-spec.yml", p->dir, V4 "/f-conda.yml"), 0);
	assert_int_equal(kept_get_attr(p->k, V4, "conda.yml", &st), -ENOENT);
	assert_true(kept_get_text(p->k, V4, "conda.yml", &b, &st) < 0);
	assert_int_equal(kept_get_attr(p->k, V4, "spec.yml", &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, then.tv_sec);
}

/* Drops another version again and again, with the directories above when they are empty. */
static void *drop_often(void *arg)
{
	const struct place *p = arg;

	for (int i = 0; i < ROUNDS; i++)
		if (kept_put_attr(p->k, V4, "x", NULL, 0600) || kept_drop(p->k, V4))
			return arg;
	return NULL;
}

static void test_versions_come_and_go_beside_each_other(void **state)
{
	struct place *p = *state;
	pthread_t thread;
	void *failed;

	assert_int_equal(pthread_create(&thread, NULL, drop_often, p), 0);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(kept_put_attr(p->k, V3, "x", &then, 0600), 0);
		assert_attr(p, "x", &then, 0600, 0);
		assert_int_equal(kept_drop(p->k, V3), 0);
	}
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_text_is_kept_with_time_and_mode),
		TEST(test_an_empty_text_is_none),
		TEST(test_times_and_modes_are_kept_one_by_one),
		TEST(test_a_text_survives_new_times_and_modes),
		TEST(test_names_do_not_collide),
		TEST(test_nothing_is_kept_at_first),
		TEST(test_a_version_is_dropped_alone),
		TEST(test_a_file_is_dropped_alone),
		TEST(test_the_record_is_told),
		TEST(test_paths_stay_inside),
		TEST(test_links_are_not_followed),
		TEST(test_versions_come_and_go_beside_each_other),
	};

	return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
