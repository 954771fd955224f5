/* fs/journal: publications in flight, on the disk. */
#include "fs/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/log.h"

enum { TEXT_MAX = 256 * 1024, THREADS = 4, EACH = 25 };

/* A directory of its own for each test, and a journal in it. */
struct place {
	char path[64];
	int dir;
	struct journal *j;
};

static const struct journal_entry example = {
	.scope = "https://management.azure.com\nsub/group/ws \"1\"\n\\",
	.env = "naïve env",
	.version = "2024-01-01.1",
	.from = "0123456789abcdef/env/.next",
	.digest = "00ff",
	.bytes = "",
	.when = INT64_C(1700000000123456789),
};

static void reopen(struct place *p)
{
	struct err e = ERR_INIT;

	journal_close(p->j);
	if (journal_open(p->dir, &p->j, &e))
		fail_msg("%s", e.msg);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->path, sizeof(p->path), "/tmp/mlenvfs-journal-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	reopen(p);
	*state = p;
	return p->dir < 0;
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

	journal_close(p->j);
	close(p->dir);
	nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

static uint64_t begin(struct place *p, const char *version)
{
	struct journal_entry entry = example;
	struct err e = ERR_INIT;
	uint64_t id = 0;

	entry.version = version;
	if (journal_begin(p->j, &entry, &id, &e))
		fail_msg("%s", e.msg);
	return id;
}

static void add_version(void *arg, uint64_t id, const struct journal_entry *entry)
{
	assert_true(id > 0);
	buf_addf(arg, "%s ", entry->version);
}

static void assert_versions(struct place *p, const char *expected)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);

	assert_int_equal(journal_each(p->j, add_version, &b), 0);
	assert_string_equal(buf_str(&b), expected);
}

static void put(const struct place *p, const char *name, const char *text, size_t len)
{
	int fd = openat(p->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static bool exists(const struct place *p, const char *name)
{
	struct stat st;

	return fstatat(p->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void compare(void *arg, uint64_t id, const struct journal_entry *entry)
{
	assert_int_equal(id, *(uint64_t *)arg);
	assert_string_equal(entry->scope, example.scope);
	assert_string_equal(entry->env, example.env);
	assert_string_equal(entry->version, example.version);
	assert_string_equal(entry->from, example.from);
	assert_string_equal(entry->digest, example.digest);
	assert_true(entry->when == example.when);
	*(uint64_t *)arg = 0;
}

static void test_an_entry_is_read_as_it_was_written(void **state)
{
	struct place *p = *state;
	uint64_t id = begin(p, example.version), left = id;

	assert_int_equal(journal_each(p->j, compare, &left), 0);
	assert_int_equal(left, 0);
	reopen(p);
	left = id;
	assert_int_equal(journal_each(p->j, compare, &left), 0);
	assert_int_equal(left, 0);
	assert_int_equal(journal_end(p->j, id), 0);
	assert_versions(p, "");
	assert_int_equal(journal_end(p->j, id), -ENOENT);
	reopen(p);
	assert_versions(p, "");
}

static void test_entries_come_oldest_first(void **state)
{
	struct place *p = *state;
	uint64_t ids[20];
	char version[16];

	for (int i = 0; i < 20; i++) {
		snprintf(version, sizeof(version), "%d", i);
		ids[i] = begin(p, version);
	}
	for (int i = 0; i < 20; i++)
		if (i % 5)
			assert_int_equal(journal_end(p->j, ids[i]), 0);
	assert_versions(p, "0 5 10 15 ");
	reopen(p);
	assert_true(begin(p, "new") > ids[15]);
	assert_versions(p, "0 5 10 15 new ");
}

/* Whatever is missing at its end: it is no entry, and gone. */
static void test_a_file_cut_off_anywhere_is_removed(void **state)
{
	struct place *p = *state;
	char text[4096], name[32];
	uint64_t id = begin(p, example.version);
	ssize_t len;
	int fd;

	snprintf(name, sizeof(name), "%016llx", (unsigned long long)id);
	fd = openat(p->dir, name, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text));
	close(fd);
	assert_true(len > 200 && len < (ssize_t)sizeof(text));
	begin(p, "good");
	for (ssize_t n = 0; n < len; n++) {
		put(p, name, text, (size_t)n);
		assert_versions(p, "good ");
		assert_false(exists(p, name));
	}
	for (ssize_t n = 0; n < len; n++) {
		text[n] ^= 0x20;
		put(p, name, text, (size_t)len);
		assert_versions(p, "good ");
		assert_false(exists(p, name));
		text[n] ^= 0x20;
	}
	text[len] = '\n';
	put(p, name, text, (size_t)len + 1);
	assert_versions(p, "good ");
	put(p, name, text, (size_t)len);
	assert_versions(p, "2024-01-01.1 good ");
}

static void test_what_is_no_entry_is_removed(void **state)
{
	static const char *const foreign[] = {
		"README", "0000000000000000", "00000000000000AA", "ffffffffffffffff",
		"1",      "00000000000000010"};
	static char large[TEXT_MAX];
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
		put(p, foreign[i], "x", 1);
	memset(large, 'x', sizeof(large));
	put(p, "0000000000000099", large, sizeof(large));
	assert_int_equal(symlinkat("README", p->dir, "0000000000000098"), 0);
	assert_int_equal(mkfifoat(p->dir, "0000000000000097", 0600), 0);
	assert_int_equal(mkdirat(p->dir, "0000000000000096", 0700), 0);
	put(p, ".new-1", "half", 4);
	begin(p, "good");
	assert_versions(p, "good ");
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
		assert_false(exists(p, foreign[i]));
	assert_false(exists(p, "0000000000000099"));
	assert_false(exists(p, "0000000000000098"));
	assert_false(exists(p, "0000000000000097"));
	/* It could be an entry that another thread writes; at the next start it can't. */
	assert_true(exists(p, ".new-1"));
	reopen(p);
	assert_false(exists(p, ".new-1"));
	assert_true(begin(p, "after") > 0x96);
}

static void test_what_can_not_be_written_leaves_nothing(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	struct journal_entry entry = example;
	struct place *p = *state;
	struct err e = ERR_INIT;
	uint64_t id;

	for (int i = 0; i < 200 * 1024; i++)
		buf_addch(&b, 'x');
	entry.from = buf_str(&b);
	assert_int_equal(journal_begin(p->j, &entry, &id, &e), -EFBIG);
	assert_versions(p, "");
	entry.from = "x";
	entry.digest = "d";
	entry.bytes = "b";
	assert_int_equal(rmdir(p->path), 0);
	assert_int_equal(journal_begin(p->j, &entry, &id, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "No such file"));
}

static void end_it(void *arg, uint64_t id, const struct journal_entry *entry)
{
	struct place *p = arg;

	if (strcmp(entry->version, "again") == 0)
		return;
	assert_int_equal(journal_end(p->j, id), 0);
	begin(p, "again");
}

static void test_entries_may_end_and_begin_during_the_reading(void **state)
{
	struct place *p = *state;

	begin(p, "1");
	begin(p, "2");
	assert_int_equal(journal_each(p->j, end_it, p), 0);
	assert_versions(p, "again again ");
}

/* The ends of every other entry, while others begin and the whole is read. */
static void *begin_many(void *arg)
{
	struct place *p = arg;
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);

	for (int i = 0; i < EACH; i++) {
		uint64_t id = begin(p, i % 2 ? "keep" : "end");

		if (journal_each(p->j, add_version, &b) || (i % 2 == 0 && journal_end(p->j, id)))
			return p;
	}
	return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
	_cleanup_buf_ struct buf expected = BUF_INIT(TEXT_MAX);
	struct place *p = *state;
	pthread_t threads[THREADS];
	void *failed;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, begin_many, p), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	for (int i = 0; i < THREADS * (EACH / 2); i++)
		buf_addstr(&expected, "keep ");
	assert_versions(p, buf_str(&expected));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_an_entry_is_read_as_it_was_written),
		TEST(test_entries_come_oldest_first),
		TEST(test_a_file_cut_off_anywhere_is_removed),
		TEST(test_what_is_no_entry_is_removed),
		TEST(test_what_can_not_be_written_leaves_nothing),
		TEST(test_entries_may_end_and_begin_during_the_reading),
		TEST(test_threads_do_not_disturb_each_other),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
