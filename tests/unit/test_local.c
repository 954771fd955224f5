/* fs/local and fs/stage: files of the state directory, and copies put together there. */
#include "fs/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/stage.h"
#include "fs/upper.h"
#include "tests/unit/fsys_fixture.h"

enum { DEEP = 60 };

static void link_to(struct fsys_fixture *f, const char *target, const char *path)
{
	assert_int_equal(symlinkat(target, local_fd(f->fs.local), path), 0);
}

static void mkdir_at(struct fsys_fixture *f, const char *path)
{
	assert_int_equal(local_make_dirs(f->fs.local, path), 0);
}

/* ---- directories ---- */

static void test_directories_are_made(void **state)
{
	struct fsys_fixture *f = *state;
	struct stat st;

	mkdir_at(f, "a/b/c");
	mkdir_at(f, "a/b/c");
	assert_int_equal(local_stat(f->fs.local, "a/b/c", &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(local_make_parents(f->fs.local, "x/y/file"), 0);
	assert_true(fsys_exists(f, "x/y"));
	assert_false(fsys_exists(f, "x/y/file"));
	fsys_write(f, "file", "x\n");
	assert_int_equal(local_make_dirs(f->fs.local, "file/a"), -ENOTDIR);
}

static void test_directories_are_opened(void **state)
{
	struct fsys_fixture *f = *state;
	int fd;

	mkdir_at(f, "a");
	link_to(f, "a", "link");
	fsys_write(f, "file", "x\n");
	fd = local_open_dir(f->fs.local, "a");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(local_open_dir(f->fs.local, "none"), -ENOENT);
	assert_int_equal(local_open_dir(f->fs.local, "file"), -ENOTDIR);
	assert_true(local_open_dir(f->fs.local, "link") < 0);
}

static void test_a_state_directory_is_made(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *path = local_join(f->dir, "not/yet/there");
	_cleanup_free_ char *file = local_join(f->dir, "file");
	_cleanup_free_ char *below = local_join(file, "state");
	struct local *l;
	struct err e = ERR_INIT;

	assert_int_equal(local_open(path, &l, &e), 0);
	assert_int_equal(local_make_dirs(l, "a"), 0);
	local_close(l);
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_true(local_open(below, &l, &e) < 0);
	assert_null(l);
	assert_non_null(strstr(e.msg, below));
	local_close(NULL);
}

/* ---- removing ---- */

static void test_everything_is_removed(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_write(f, "a/b/c/file", "x\n");
	fsys_write(f, "a/file", "x\n");
	fsys_write(f, "beside/file", "kept\n");
	mkdir_at(f, "a/empty");
	link_to(f, "../beside", "a/link");
	link_to(f, "nowhere", "a/b/broken");
	assert_int_equal(mkfifoat(local_fd(f->fs.local), "a/fifo", 0600), 0);
	assert_int_equal(local_remove_all(f->fs.local, "a"), 0);
	assert_false(fsys_exists(f, "a"));
	/* Through a link nothing goes. */
	fsys_assert_file(f, "beside/file", "kept\n");
	assert_int_equal(local_remove_all(f->fs.local, "a"), -ENOENT);
}

static void test_one_file_is_removed(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_write(f, "dir/file", "x\n");
	link_to(f, "dir", "link");
	assert_int_equal(local_remove_all(f->fs.local, "dir/file"), 0);
	assert_int_equal(local_remove_all(f->fs.local, "link"), 0);
	assert_true(fsys_exists(f, "dir"));
	assert_false(fsys_exists(f, "link"));
	assert_int_equal(local_remove_all(f->fs.local, "dir/file/x"), -ENOENT);
}

/* However deep. */
static void test_what_is_deep_is_removed(void **state)
{
	struct fsys_fixture *f = *state;
	char path[DEEP * 2 + 8] = "deep";

	for (int i = 0; i < DEEP; i++)
		strncat(path, "/d", sizeof(path) - strlen(path) - 1);
	mkdir_at(f, path);
	assert_int_equal(local_remove_all(f->fs.local, "deep"), 0);
	assert_false(fsys_exists(f, "deep"));
}

static void test_only_empty_ones_are_removed(void **state)
{
	struct fsys_fixture *f = *state;

	mkdir_at(f, "a/b/c");
	mkdir_at(f, "a/d");
	fsys_write(f, "a/e/file", "x\n");
	assert_int_equal(local_remove_empty(f->fs.local, "a"), -ENOTEMPTY);
	assert_false(fsys_exists(f, "a/b"));
	assert_false(fsys_exists(f, "a/d"));
	fsys_assert_file(f, "a/e/file", "x\n");
	assert_int_equal(local_remove_all(f->fs.local, "a/e/file"), 0);
	assert_int_equal(local_remove_empty(f->fs.local, "a"), 0);
	assert_false(fsys_exists(f, "a"));
	assert_int_equal(local_remove_empty(f->fs.local, "a"), -ENOENT);
	fsys_write(f, "file", "x\n");
	assert_int_equal(local_remove_empty(f->fs.local, "file"), -ENOTDIR);
	assert_true(fsys_exists(f, "file"));
}

/* ---- numbers ---- */

/* A file is the same one wherever it is moved, and no other is. */
static void test_what_a_file_is_told_by(void **state)
{
	struct fsys_fixture *f = *state;
	char number[LOCAL_NUMBER_SIZE], other[LOCAL_NUMBER_SIZE];
	struct stat st, plain;
	int dir = local_fd(f->fs.local);

	fsys_write(f, "a/file", "x\n");
	fsys_write(f, "a/other", "x\n");
	assert_int_equal(local_identify(f->fs.local, "a/file", &st, number), 0);
	assert_int_equal(local_stat(f->fs.local, "a/file", &plain), 0);
	assert_int_equal(st.st_ino, plain.st_ino);
	assert_int_equal(st.st_dev, plain.st_dev);
	assert_int_equal(st.st_mode, plain.st_mode);
	assert_int_equal(st.st_nlink, plain.st_nlink);
	assert_int_equal(st.st_size, plain.st_size);
	assert_int_equal(st.st_blocks, plain.st_blocks);
	assert_memory_equal(&st.st_mtim, &plain.st_mtim, sizeof(st.st_mtim));
	assert_memory_equal(&st.st_ctim, &plain.st_ctim, sizeof(st.st_ctim));
	assert_int_equal(local_identify(f->fs.local, "a/other", &st, other), 0);
	assert_string_not_equal(other, number);
	assert_int_equal(renameat(dir, "a/file", dir, "moved"), 0);
	fsys_write(f, "moved", "more\n");
	assert_int_equal(local_identify(f->fs.local, "moved", &st, other), 0);
	assert_string_equal(other, number);
	/* Not what it leads to. */
	link_to(f, "moved", "link");
	assert_int_equal(local_identify(f->fs.local, "link", &st, other), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_string_not_equal(other, number);
	assert_int_equal(local_identify(f->fs.local, "none", &st, other), -ENOENT);
}

/* Files that are made in one tick of the disk's clock are told by their inode number only. */
static void next_tick(void)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &begin);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (now.tv_sec == begin.tv_sec && now.tv_nsec == begin.tv_nsec);
}

/* The next file may get the same inode number, and is another file all the same. */
static void test_a_number_is_not_used_again(void **state)
{
	struct fsys_fixture *f = *state;
	char number[LOCAL_NUMBER_SIZE], next[LOCAL_NUMBER_SIZE];
	struct statx x;
	struct stat st;

	fsys_write(f, "file", "x\n");
	if (statx(local_fd(f->fs.local), "file", 0, STATX_BTIME, &x) || !(x.stx_mask & STATX_BTIME))
		skip(); /* the disk does not say when a file was made */
	assert_int_equal(local_identify(f->fs.local, "file", &st, number), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(local_remove_all(f->fs.local, "file"), 0);
		fsys_write(f, "file", "x\n");
		assert_int_equal(local_identify(f->fs.local, "file", &st, next), 0);
		assert_string_not_equal(next, number);
		memcpy(number, next, sizeof(number));
		next_tick();
	}
}

/* ---- names ---- */

static void test_environments_have_places_of_their_own(void **state)
{
	struct fsys_fixture *f = *state;
	struct scope *other = scope_new(
		&(struct scope){.name = "ws", .subscription = "sub", .resource_group = "another"});
	_cleanup_free_ char *a = local_env_path(f->scope, "e");
	_cleanup_free_ char *b = local_env_path(f->scope, "E");
	_cleanup_free_ char *c = local_env_path(other, "e");
	_cleanup_free_ char *d = local_env_path(f->scope, "../..");
	_cleanup_free_ char *scope = local_scope_path(f->scope);

	assert_int_equal(strlen(scope), UPPER_SCOPE_SIZE - 1);
	assert_string_not_equal(a, b);
	assert_string_not_equal(a, c);
	/* A name is one part of the path, whatever the service says. */
	assert_int_equal(strlen(scope), strrchr(d, '/') - d);
	scope_unref(other);
}

/* ---- stages ---- */

static void assert_staged(struct stage *s, const char *rel, const char *expected)
{
	_cleanup_close_ int fd = openat(stage_fd(s), rel, O_RDONLY | O_CLOEXEC);
	char text[256] = "";

	if (!expected) {
		assert_int_equal(fd, -1);
		return;
	}
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	assert_string_equal(text, expected);
}

static void test_a_stage_is_put_together(void **state)
{
	struct fsys_fixture *f = *state;
	struct stage *s, *other;
	int fd;

	fsys_write(f, "from/file", "of the disk\n");
	assert_int_equal(stage_new(&f->fs, &s), 0);
	assert_int_equal(stage_new(&f->fs, &other), 0);
	assert_int_equal(stage_add_text(s, "spec.yml", "text\n", 5), 0);
	assert_int_equal(stage_add_text(s, "empty", "", 0), 0);
	assert_int_equal(stage_add_file(s, "context/a/b", "from/file"), 0);
	assert_int_equal(stage_make_dir(s, "context/a"), 0);
	assert_int_equal(stage_make_dir(s, "context/c/d"), 0);
	fd = stage_create(s, "context/e/f");
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "written\n", 8), 8);
	close(fd);
	assert_staged(s, "spec.yml", "text\n");
	assert_staged(s, "empty", "");
	assert_staged(s, "context/a/b", "of the disk\n");
	assert_staged(s, "context/e/f", "written\n");
	assert_staged(other, "spec.yml", NULL);
	/* A copy: the file of the disk may change. */
	fsys_write(f, "from/file", "changed\n");
	assert_staged(s, "context/a/b", "of the disk\n");
	/* Each only once. */
	assert_int_equal(stage_add_text(s, "spec.yml", "x", 1), -EEXIST);
	assert_int_equal(stage_create(s, "context/e/f"), -EEXIST);
	assert_int_equal(stage_add_file(s, "x", "from/none"), -ENOENT);
	assert_int_equal(stage_add_text(s, "spec.yml/x", "x", 1), -ENOTDIR);
	stage_free(s);
	stage_free(other);
	stage_free(NULL);
	assert_int_equal(fsys_count(f, ".run/0/tmp"), 0);
}

/* Links and pipes are no files that could be published. */
static void test_what_is_no_file_is_not_staged(void **state)
{
	struct fsys_fixture *f = *state;
	struct stage *s;

	fsys_write(f, "from/file", "x\n");
	link_to(f, "file", "from/link");
	assert_int_equal(mkfifoat(local_fd(f->fs.local), "from/fifo", 0600), 0);
	assert_int_equal(stage_new(&f->fs, &s), 0);
	assert_int_equal(stage_add_file(s, "link", "from/link"), -ELOOP);
	assert_int_equal(stage_add_tree(s, "context", "from"), 0);
	assert_staged(s, "context/file", "x\n");
	assert_staged(s, "context/link", NULL);
	assert_staged(s, "context/fifo", NULL);
	stage_free(s);
}

static void test_a_tree_is_added_where_nothing_is(void **state)
{
	struct fsys_fixture *f = *state;
	struct stage *s;

	fsys_write(f, "from/a/b", "theirs\n");
	fsys_write(f, "from/a/c/d", "more\n");
	fsys_write(f, "from/e", "top\n");
	assert_int_equal(stage_new(&f->fs, &s), 0);
	assert_int_equal(stage_add_text(s, "context/a/b", "mine\n", 5), 0);
	assert_int_equal(stage_add_tree(s, "context", "from"), 0);
	assert_staged(s, "context/a/b", "mine\n");
	assert_staged(s, "context/a/c/d", "more\n");
	assert_staged(s, "context/e", "top\n");
	assert_int_equal(stage_add_tree(s, "context", "none"), 0);
	assert_int_equal(stage_add_tree(s, "context", "from/e"), 0);
	stage_free(s);
}

/* What can't be removed at once goes at the next mount. */
static void test_a_stage_that_is_left(void **state)
{
	struct fsys_fixture *f = *state;
	struct stage *s;

	assert_int_equal(stage_new(&f->fs, &s), 0);
	assert_int_equal(stage_add_text(s, "a/b", "x", 1), 0);
	assert_int_equal(fsys_count(f, ".run/0/tmp"), 1);
	stage_free(s);
	fsys_write(f, ".run/0/tmp/stage-77/a/b", "left\n");
	fsys_unmount(f);
	fsys_mount(f);
	assert_int_equal(fsys_count(f, ".run/0/tmp"), 0);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_directories_are_made),
		WITH_MOUNT(test_directories_are_opened),
		WITH_MOUNT(test_a_state_directory_is_made),
		WITH_MOUNT(test_everything_is_removed),
		WITH_MOUNT(test_one_file_is_removed),
		WITH_MOUNT(test_what_is_deep_is_removed),
		WITH_MOUNT(test_only_empty_ones_are_removed),
		WITH_MOUNT(test_what_a_file_is_told_by),
		WITH_MOUNT(test_a_number_is_not_used_again),
		WITH_MOUNT(test_environments_have_places_of_their_own),
		WITH_MOUNT(test_a_stage_is_put_together),
		WITH_MOUNT(test_what_is_no_file_is_not_staged),
		WITH_MOUNT(test_a_tree_is_added_where_nothing_is),
		WITH_MOUNT(test_a_stage_that_is_left),
	};

	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
