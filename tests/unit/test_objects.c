/* cache/objects: content on the disk, what becomes of damaged content, and the limit. */
#include "cache/objects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/log.h"
#include "tests/unit/cache_fixture.h"

enum { LIMIT = 1024 * 1024, ROUNDS = 200, OUT_MAX = 1024 * 1024 };

struct place {
	char path[CACHE_PATH_MAX];
	int dir;
	struct objects *o;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	p->dir = cache_dir_make(p->path);
	*state = p;
	return objects_open(p->dir, LIMIT, &p->o, NULL);
}

static int teardown(void **state)
{
	struct place *p = *state;

	objects_close(p->o);
	close(p->dir);
	cache_dir_remove(p->path);
	free(p);
	return 0;
}

static int put(struct place *p, const char *key, const char *text)
{
	return objects_put(p->o, key, strlen(key), text, strlen(text));
}

static void assert_kept(struct place *p, const char *key, const char *text)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OUT_MAX);

	assert_int_equal(objects_get(p->o, key, strlen(key), &out), 0);
	assert_string_equal(buf_str(&out), text);
}

static void assert_gone(struct place *p, const char *key)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OUT_MAX);

	assert_int_equal(objects_get(p->o, key, strlen(key), &out), -ENOENT);
	assert_int_equal(out.len, 0);
}

static void content_is_kept_under_its_key(void **state)
{
	struct place *p = *state;
	_cleanup_buf_ struct buf out = BUF_INIT(3);

	assert_gone(p, "a");
	assert_int_equal(put(p, "a", "content"), 0);
	assert_kept(p, "a", "content");
	assert_gone(p, "b");
	assert_int_equal(put(p, "a", "other"), 0);
	assert_kept(p, "a", "other");
	assert_int_equal(put(p, "", ""), 0);
	assert_kept(p, "", "");
	assert_int_equal(objects_get(p->o, "a", 1, &out), -EFBIG);
	assert_int_equal(objects_put(p->o, "a", 1, "x", OBJECTS_SIZE_MAX + 1UL), -EFBIG);
}

static void another_process_finds_it(void **state)
{
	struct place *p = *state;

	assert_int_equal(put(p, "a", "content"), 0);
	objects_close(p->o);
	assert_int_equal(objects_open(p->dir, LIMIT, &p->o, NULL), 0);
	assert_kept(p, "a", "content");
}

static void what_is_the_same_is_there_once(void **state)
{
	struct place *p = *state;

	assert_int_equal(put(p, "a", "content"), 0);
	assert_int_equal(put(p, "b", "content"), 0);
	assert_int_equal(cache_count(p->path, "content"), 1);
	assert_int_equal(cache_count(p->path, "keys"), 2);
	assert_kept(p, "b", "content");
}

static void check_private(void *arg, const char *path, const struct stat *st)
{
	(void)arg;
	(void)path;
	assert_true(S_ISLNK(st->st_mode) || (st->st_mode & 0777) == 0600);
}

static void files_are_private(void **state)
{
	struct place *p = *state;
	mode_t before = umask(0);

	assert_int_equal(put(p, "a", "content"), 0);
	umask(before);
	cache_each(p->path, check_private, NULL);
}

/* ---- damage ---- */

enum damage {
	FLIP,
	CUT,
	GROW,
	EMPTY,
	OPEN_MODE,
	OWNER,
	LINK,
	PIPE,
	DIRECTORY,
	LOOSE_KEY,
	ODD_KEY,
	KEY_FILE
};

static void harm(void *arg, const char *path, const struct stat *st)
{
	const enum damage damage = *(enum damage *)arg;
	int rc = 0;

	if (S_ISLNK(st->st_mode) != (damage >= LOOSE_KEY))
		return;
	if (damage >= LINK)
		assert_int_equal(unlink(path), 0);
	switch (damage) {
	case FLIP:
		cache_flip(path, 3);
		break;
	case CUT:
		rc = truncate(path, st->st_size - 1);
		break;
	case GROW:
		rc = truncate(path, OBJECTS_SIZE_MAX + 1L);
		break;
	case EMPTY:
		rc = truncate(path, 0);
		break;
	case OPEN_MODE:
		rc = chmod(path, 0644);
		break;
	case OWNER:
		rc = chown(path, 1, (gid_t)-1);
		break;
	case LINK:
		rc = symlink("/etc/passwd", path);
		break;
	case PIPE:
		rc = mkfifo(path, 0600);
		break;
	case DIRECTORY:
		rc = mkdir(path, 0700);
		break;
	case LOOSE_KEY:
		rc = symlink("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", path);
		break;
	case ODD_KEY:
		rc = symlink("../../../../../../../../../../../../etc/passwd", path);
		break;
	case KEY_FILE:
		rc = mkdir(path, 0700);
		break;
	}
	assert_int_equal(rc, 0);
}

/* Not there, once; and then it can be kept again. */
static void damaged_content_is_not_there(void **state)
{
	struct place *p = *state;

	for (enum damage damage = FLIP; damage <= KEY_FILE; damage++) {
		if (damage == OWNER && geteuid() != 0)
			continue;
		assert_int_equal(put(p, "a", "content"), 0);
		assert_kept(p, "a", "content");
		cache_each(p->path, harm, &damage);
		assert_gone(p, "a");
		assert_gone(p, "a");
		assert_int_equal(put(p, "a", "content"), 0);
		assert_kept(p, "a", "content");
	}
}

static void verifying_finds_damaged_content(void **state)
{
	struct objects_report report;
	struct place *p = *state;

	for (enum damage damage = FLIP; damage <= KEY_FILE; damage++) {
		if (damage == OWNER && geteuid() != 0)
			continue;
		assert_int_equal(put(p, "a", "content"), 0);
		cache_each(p->path, harm, &damage);
		assert_int_equal(put(p, "b", "of another"), 0);
		assert_int_equal(objects_verify(p->o, &report), 0);
		assert_true(report.removed >= 1);
		assert_int_equal(report.keys, 1);
		assert_kept(p, "b", "of another");
		assert_gone(p, "a");
		assert_int_equal(objects_verify(p->o, &report), 0);
		assert_int_equal(report.bad, 0);
	}
}

static void what_a_crash_left_is_removed(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct objects_report report;
	struct place *p = *state;
	char path[2 * CACHE_PATH_MAX];
	struct stat st;
	int fd;

	assert_int_equal(put(p, "a", "content"), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/content/%c", p->path, 'A' + i);
		(void)mkdir(path, 0700);
		snprintf(path, sizeof(path), "%s/content/%c/.new-1-2-3", p->path, 'A' + i);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		if (i == 0)
			assert_int_equal(futimens(fd, old), 0);
		close(fd);
	}
	assert_int_equal(objects_prune(p->o, LIMIT, &report), 0);
	assert_int_equal(report.removed, 1);
	assert_int_equal(stat(path, &st), 0); /* perhaps somebody is writing it */
	assert_kept(p, "a", "content");
}

/* ---- the limit ---- */

static void age(void *arg, const char *path, const struct stat *st)
{
	const struct timespec then[2] = {{.tv_sec = *(time_t *)arg}, {.tv_sec = *(time_t *)arg}};

	if (S_ISREG(st->st_mode) && st->st_mtim.tv_sec > 1000000)
		assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static void the_least_recently_used_go_first(void **state)
{
	char *data = calloc(1, LIMIT / 8);
	struct objects_report report;
	struct place *p = *state;
	char key[8];

	for (int i = 0; i < 7; i++) {
		time_t when = 1000 + i;

		snprintf(key, sizeof(key), "%d", i);
		data[0] = (char)i;
		assert_int_equal(objects_put(p->o, key, 1, data, LIMIT / 8), 0);
		cache_each(p->path, age, &when);
	}
	/* The oldest is used: it is the newest now. */
	for (int i = 0; i < 1; i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(OUT_MAX);

		assert_int_equal(objects_get(p->o, "0", 1, &out), 0);
	}
	for (int i = 7; i < 10; i++) {
		snprintf(key, sizeof(key), "%d", i);
		data[0] = (char)i;
		assert_int_equal(objects_put(p->o, key, 1, data, LIMIT / 8), 0);
	}
	assert_int_equal(objects_count(p->o, &report), 0);
	assert_true(report.bytes <= LIMIT);
	assert_gone(p, "1");
	for (int i = 0; i < 10; i += 9) {
		_cleanup_buf_ struct buf out = BUF_INIT(OUT_MAX);

		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(objects_get(p->o, key, 1, &out), 0);
	}
	assert_int_equal(objects_prune(p->o, 0, &report), 0);
	assert_int_equal(report.count, 0);
	assert_int_equal(report.keys, 0);
	assert_int_equal(cache_count(p->path, "keys"), 0);
	free(data);
}

/* ---- at once ---- */

struct worker {
	struct objects *o;
	int failed;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < ROUNDS; i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(OUT_MAX);
		char key[16], text[16];
		int rc;

		snprintf(key, sizeof(key), "k%d", i % 7);
		snprintf(text, sizeof(text), "t%d", i % 7);
		w->failed |= objects_put(w->o, key, strlen(key), text, strlen(text));
		rc = objects_get(w->o, key, strlen(key), &out);
		if (rc && rc != -ENOENT)
			w->failed |= rc;
		if (!rc && strcmp(buf_str(&out), text) != 0)
			w->failed |= 1;
	}
	return NULL;
}

/* Two mounts, one of which cleans up all the time. */
static void several_at_once(void **state)
{
	struct objects_report report;
	struct place *p = *state;
	struct worker w[4];
	struct objects *other;

	assert_int_equal(objects_open(p->dir, LIMIT, &other, NULL), 0);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){.o = i % 2 ? other : p->o};
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(objects_prune(p->o, 0, &report), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].failed, 0);
	}
	objects_close(other);
	assert_int_equal(put(p, "k1", "t1"), 0);
	assert_kept(p, "k1", "t1");
}

static void a_directory_of_others_is_not_used(void **state)
{
	struct place *p = *state;
	struct objects *o;
	struct err e = ERR_INIT;

	assert_int_equal(mkdirat(p->dir, "x", 0700), 0);
	assert_int_equal(fchmodat(p->dir, "x", 0777, 0), 0);
	assert_int_equal(renameat(p->dir, "content", p->dir, "y"), 0);
	assert_int_equal(renameat(p->dir, "x", p->dir, "content"), 0);
	assert_int_equal(objects_open(p->dir, LIMIT, &o, &e), -EACCES);
	assert_non_null(strstr(e.msg, "content can be written by others"));
	assert_int_equal(unlinkat(p->dir, "content", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("y", p->dir, "content"), 0);
	assert_true(objects_open(p->dir, LIMIT, &o, NULL) < 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(content_is_kept_under_its_key),
		TEST(another_process_finds_it),
		TEST(what_is_the_same_is_there_once),
		TEST(files_are_private),
		TEST(damaged_content_is_not_there),
		TEST(verifying_finds_damaged_content),
		TEST(what_a_crash_left_is_removed),
		TEST(the_least_recently_used_go_first),
		TEST(several_at_once),
		TEST(a_directory_of_others_is_not_used),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
