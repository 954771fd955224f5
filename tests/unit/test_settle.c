/* fs/settle: drafts that publish themselves when they are quiet, and at the end. */
#include "fs/settle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/node.h"
#include "tests/unit/fsys_fixture.h"

enum { PATIENCE_S = 10 };

#define LONG (INT64_C(3600) * NS_PER_S)

static const char BUILD[] = "build:\n  path: context\n";

/* A draft with a build context. */
static const char *draft(struct fsys_fixture *f, const char *version, char out[FSYS_PATH])
{
	char path[FSYS_PATH];

	fsys_write(f, fsys_path(f, "", "e", version, "spec.yml", path), BUILD);
	fsys_write(f, fsys_path(f, "", "e", version, "context/Dockerfile", path), "FROM x\n");
	return fsys_vdir(f, "e", version, out);
}

/* A mount whose drafts have to be quiet for so long. */
static void mount_with(struct fsys_fixture *f, int64_t quiet)
{
	fsys_unmount(f);
	f->quiet = quiet;
	fsys_mount(f);
	assert_int_equal(settle_start(f->fs.settle), 0);
}

static void stop(struct fsys_fixture *f)
{
	settle_stop(f->fs.settle, PATIENCE_S * NS_PER_S);
}

static void assert_published(struct fsys_fixture *f, const char *version, bool expected)
{
	struct version *v = memsource_get(f->m, "e", version);

	assert_int_equal(v != NULL, expected);
	version_unref(v);
}

/* Somebody has a file of a draft open; until handle_free(), or the unmount. */
static struct handle *open_file(struct fsys_fixture *f, const char *path, int flags)
{
	struct node *n = fsys_node(f, path);
	_cleanup_free_ char *at = node_get_local(f->fs.nodes, n);
	int fd = openat(local_fd(f->fs.local), at, flags | O_CLOEXEC);
	struct handle *h = handle_new(f->fs.handles);

	assert_true(fd >= 0);
	handle_set_file(f->fs.handles, h, fd, n->ino, (flags & O_ACCMODE) != O_RDONLY);
	return h;
}

static struct handle *open_for_writing(struct fsys_fixture *f, const char *path)
{
	return open_file(f, path, O_WRONLY);
}

static void test_published_when_it_is_quiet(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	mount_with(f, NS_PER_MS);
	settle_touch(f->fs.settle, f->scope, draft(f, "4", path));
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 1));
	stop(f);
	assert_published(f, "4", true);
	assert_false(settle_waits(f->fs.settle, path));
	assert_false(fsys_exists(f, path));
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 1);
}

/* It waits from the last thing that happened in it. */
static void test_it_waits_until_it_is_quiet(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], quick[FSYS_PATH];

	mount_with(f, LONG);
	settle_touch(f->fs.settle, f->scope, draft(f, "4", path));
	settle_touch(f->fs.settle, f->scope, path);
	assert_true(settle_waits(f->fs.settle, path));
	assert_false(settle_waits(f->fs.settle, fsys_vdir(f, "e", "5", quick)));
	assert_published(f, "4", false);
	stop(f);
	assert_published(f, "4", true);
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 1);
}

/* Half of a file is no file. */
static void test_not_while_something_is_open_for_writing(void **state)
{
	struct fsys_fixture *f = *state;
	char written[FSYS_PATH], other[FSYS_PATH];
	struct handle *h;

	mount_with(f, NS_PER_MS);
	draft(f, "4", written);
	draft(f, "5", other);
	h = open_for_writing(f, "ws/e/4/context/Dockerfile");
	settle_touch(f->fs.settle, f->scope, written);
	settle_touch(f->fs.settle, f->scope, other);
	/* That one's time comes after the first one's. */
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 1));
	assert_published(f, "4", false);
	assert_published(f, "5", true);
	handle_free(f->fs.handles, h);
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 2));
	stop(f);
	assert_published(f, "4", true);
}

/* A file beside it, or one that is only read, does not keep it waiting. */
static void test_other_open_files_do_not_count(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], beside[FSYS_PATH];

	mount_with(f, NS_PER_MS);
	draft(f, "4", path);
	draft(f, "40", beside);
	open_file(f, "ws/e/4/spec.yml", O_RDONLY);
	open_for_writing(f, "ws/e/40/spec.yml");
	settle_touch(f->fs.settle, f->scope, path);
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 1));
	stop(f);
	assert_published(f, "4", true);
}

static void test_forgotten_ones_are_not_published(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	mount_with(f, LONG);
	settle_touch(f->fs.settle, f->scope, draft(f, "4", path));
	settle_forget(f->fs.settle, path);
	settle_forget(f->fs.settle, path);
	assert_false(settle_waits(f->fs.settle, path));
	stop(f);
	assert_published(f, "4", false);
	assert_true(fsys_exists(f, path));
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 0);
}

/* All that wait are published at the end, each once. */
static void test_at_the_end_all_are_published(void **state)
{
	struct fsys_fixture *f = *state;
	char paths[3][FSYS_PATH];

	mount_with(f, LONG);
	settle_touch(f->fs.settle, f->scope, draft(f, "4", paths[0]));
	settle_touch(f->fs.settle, f->scope, draft(f, "5", paths[1]));
	settle_touch(f->fs.settle, f->scope, draft(f, "2024-01-01", paths[2]));
	stop(f);
	assert_published(f, "4", true);
	assert_published(f, "5", true);
	assert_published(f, "2024-01-01", true);
	for (int i = 0; i < 3; i++)
		assert_false(fsys_exists(f, paths[i]));
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 3);
	stop(f);
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 3);
}

/* What does not get its turn in time stays a draft. */
static void test_at_the_end_there_is_only_so_much_time(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	mount_with(f, LONG);
	settle_touch(f->fs.settle, f->scope, draft(f, "4", path));
	settle_stop(f->fs.settle, 0);
	assert_published(f, "4", false);
	assert_true(fsys_exists(f, path));
	assert_false(settle_waits(f->fs.settle, path));
}

/* The mount is ended by a signal in the middle of a copy. */
static void test_at_the_end_half_of_a_file_is_none_either(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], other[FSYS_PATH];

	mount_with(f, LONG);
	draft(f, "4", path);
	atomic_store(&open_for_writing(f, "ws/e/4/context/Dockerfile")->wrote, true);
	settle_touch(f->fs.settle, f->scope, path);
	settle_touch(f->fs.settle, f->scope, draft(f, "5", other));
	stop(f);
	assert_published(f, "4", false);
	assert_published(f, "5", true);
	assert_true(fsys_exists(f, path));
}

/* A file that is open, and all of which was written, keeps nothing from being published then. */
static void test_at_the_end_a_whole_file_is_one(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	mount_with(f, LONG);
	draft(f, "4", path);
	open_for_writing(f, "ws/e/4/context/Dockerfile");
	settle_touch(f->fs.settle, f->scope, path);
	stop(f);
	assert_published(f, "4", true);
}

/* Not complete, not valid, or not to be published by itself. */
static void test_what_is_no_draft_to_be_published(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], spec[FSYS_PATH];

	mount_with(f, LONG);
	settle_touch(f->fs.settle, f->scope, draft(f, ".next", path));
	/* Without a build context its last close published it, or did not. */
	fsys_write(f, fsys_path(f, "", "e", "5", "spec.yml", spec), "image: i:1\n");
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "5", path));
	fsys_write(f, fsys_path(f, "", "e", "6", "spec.yml", spec), "build: [\n");
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "6", path));
	fsys_write(f, fsys_path(f, "", "e", "7", "context/Dockerfile", spec), "FROM x\n");
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "7", path));
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "gone", path));
	settle_touch(f->fs.settle, NULL, fsys_vdir(f, "e", "8", path));
	assert_false(settle_waits(f->fs.settle, path));
	fsys_forget_requests(f);
	stop(f);
	assert_int_equal(fsys_all_requests(f), 0);
	assert_true(fsys_exists(f, fsys_vdir(f, "e", ".next", path)));
	assert_true(fsys_exists(f, fsys_vdir(f, "e", "6", path)));
}

/* It stays, with the reason, and is not tried again until something happens in it. */
static void test_a_draft_that_cannot_be_published(void **state)
{
	struct fsys_fixture *f = *state;
	struct buf reason = BUF_INIT(ERR_MSG_MAX);
	char path[FSYS_PATH];

	mount_with(f, NS_PER_MS);
	memsource_fail(f->m, MEM_PUT, -EACCES, "not allowed");
	settle_touch(f->fs.settle, f->scope, draft(f, "4", path));
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 1));
	stop(f);
	assert_true(fsys_exists(f, path));
	assert_int_equal(edit_get_note(&f->fs, path, &reason), 0);
	assert_non_null(strstr(buf_str(&reason), "not allowed"));
	assert_int_equal(memsource_calls(f->m, MEM_PUT), 1);
	buf_free(&reason);

	memsource_fail(f->m, MEM_PUT, 0, NULL);
	mount_with(f, NS_PER_MS);
	settle_touch(f->fs.settle, f->scope, path);
	assert_true(memsource_wait_calls(f->m, MEM_PUT, 2));
	stop(f);
	assert_published(f, "4", true);
}

/* ---- what is under way ---- */

static void test_what_is_under_way(void **state)
{
	struct fsys_fixture *f = *state;
	struct settle *s = f->fs.settle;

	settle_active(s, 7, true);
	settle_active(s, 8, true);
	settle_active(s, 0, true); /* none */
	assert_true(settle_is_active(s, 7));
	assert_false(settle_is_active(s, 9));
	assert_false(settle_is_active(s, 0));
	settle_active(s, 7, false);
	settle_active(s, 9, false);
	assert_false(settle_is_active(s, 7));
	assert_true(settle_is_active(s, 8));
}

/* Twice is twice: a draft may be published by two at once. */
static void test_drafts_that_are_being_published(void **state)
{
	struct fsys_fixture *f = *state;
	struct settle *s = f->fs.settle;

	assert_false(settle_is_busy(s, "a/b/1"));
	settle_busy(s, "a/b/1", true);
	settle_busy(s, "a/b/2", true);
	settle_busy(s, "a/b/1", true);
	settle_busy(s, "a/b/1", false);
	assert_true(settle_is_busy(s, "a/b/1"));
	settle_busy(s, "a/b/1", false);
	settle_busy(s, "a/b/1", false);
	assert_false(settle_is_busy(s, "a/b/1"));
	assert_true(settle_is_busy(s, "a/b/2"));
	/* What is in doubt is so once, until that entry of the journal is looked up. */
	settle_in_doubt(s, "a/b/3", 7);
	settle_in_doubt(s, "a/b/3", 7);
	settle_in_doubt(s, "a/b/3", 8);
	settle_busy(s, "a/b/3", false);
	settle_sure(s, 7);
	assert_true(settle_is_busy(s, "a/b/3"));
	settle_sure(s, 8);
	settle_sure(s, 8);
	assert_false(settle_is_busy(s, "a/b/3"));
	/* The rest is freed with it. */
}

static void test_a_mount_that_is_read_only_has_none(void **state)
{
	struct fsys_fixture *f = *state;

	settle_touch(NULL, f->scope, "a/b/1");
	settle_forget(NULL, "a/b/1");
	settle_busy(NULL, "a/b/1", true);
	settle_active(NULL, 1, true);
	settle_doubtful(NULL);
	settle_in_doubt(NULL, "a/b/1", 1);
	settle_sure(NULL, 1);
	assert_false(settle_waits(NULL, "a/b/1"));
	assert_false(settle_is_busy(NULL, "a/b/1"));
	assert_false(settle_is_active(NULL, 1));
	settle_stop(NULL, 0);
	settle_free(NULL);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_published_when_it_is_quiet),
		WITH_MOUNT(test_it_waits_until_it_is_quiet),
		WITH_MOUNT(test_not_while_something_is_open_for_writing),
		WITH_MOUNT(test_other_open_files_do_not_count),
		WITH_MOUNT(test_forgotten_ones_are_not_published),
		WITH_MOUNT(test_at_the_end_all_are_published),
		WITH_MOUNT(test_at_the_end_there_is_only_so_much_time),
		WITH_MOUNT(test_at_the_end_half_of_a_file_is_none_either),
		WITH_MOUNT(test_at_the_end_a_whole_file_is_one),
		WITH_MOUNT(test_what_is_no_draft_to_be_published),
		WITH_MOUNT(test_a_draft_that_cannot_be_published),
		WITH_MOUNT(test_what_is_under_way),
		WITH_MOUNT(test_drafts_that_are_being_published),
		WITH_MOUNT(test_a_mount_that_is_read_only_has_none),
	};

	return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
