/* Builds in the store, their logs and what is left of them by a process that was killed. */
#include "emulator/build_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "emulator/blob_store.h"
#include "emulator/build_dir.h"
#include "emulator/build_engine.h"
#include "emulator/build_log.h"
#include "emulator/builder.h"
#include "emulator/db.h"
#include "tests/unit/blobs_fixture.h"

#define IMAGE BUILD_REPOSITORY "00112233445566778899aabbccddeeff"

static struct text as_text(const char *s)
{
	return (struct text){s, strlen(s)};
}

/* A transaction that must succeed. */
static sqlite3 *begin(struct test *t)
{
	sqlite3 *conn = db_begin(t->emu.db, NULL);

	assert_non_null(conn);
	return conn;
}

static void commit(struct test *t)
{
	assert_int_equal(db_commit(t->emu.db, NULL), 0);
}

static void run(struct test *t, const char *sql)
{
	assert_int_equal(db_run(begin(t), NULL, sql, ""), 0);
	commit(t);
}

static void add_versions(struct test *t)
{
	run(t, "INSERT INTO scopes (id, kind, subscription, resource_group, name, guid, location,"
	       " writable, body, tags, created, created_by)"
	       " VALUES (1, 0, 's', 'g', 'w', 'guid', 'l', 1, '{}', '{}', 0, 'me')");
	run(t, "INSERT INTO environments (id, scope, name, body, created, changed, created_by)"
	       " VALUES (1, 1, 'env', '{}', 0, 0, 'me')");
	run(t, "INSERT INTO versions (id, environment, name, body, created, changed, created_by)"
	       " VALUES (1, 1, '1', '{\"image\":\"x\"}', 0, 0, 'me'),"
	       " (2, 1, '2', '{\"image\":\"y\"}', 0, 0, 'me')");
}

static int setup(void **state)
{
	int ret = blobs_setup(state);

	add_versions(*state);
	return ret;
}

static struct build add(struct test *t, int64_t version, const struct build *same)
{
	struct build build;

	assert_int_equal(build_store_add(begin(t), version, same, &build, NULL), 0);
	commit(t);
	return build;
}

static int move(struct test *t, const struct build *build, enum build_state to)
{
	int ret = build_store_move(begin(t), build->id, to, NULL);

	commit(t);
	return ret;
}

static struct build find(struct test *t, const struct build *build)
{
	struct build found = {0};

	assert_int_equal(build_store_named(begin(t), as_text(build->name), &found, NULL), 1);
	commit(t);
	return found;
}

/* The oldest queued build's id; 0: none. */
static int64_t queued(struct test *t)
{
	struct build build = {0};
	int ret = build_store_queued(begin(t), &build, NULL);

	commit(t);
	assert_true(ret == 0 || ret == 1);
	return ret ? build.id : 0;
}

static void test_builds_wait_in_order_and_end_once(void **state)
{
	struct test *t = *state;
	struct build first = add(t, 1, NULL), second = add(t, 2, NULL);
	int64_t n = 0;

	assert_string_equal(build_state_name(find(t, &first).state), "Queued");
	assert_string_equal(first.log, first.name);
	assert_string_not_equal(first.name, second.name);
	assert_int_equal(build_store_count(begin(t), &n, NULL), 0);
	commit(t);
	assert_int_equal(n, 2);
	assert_int_equal(queued(t), first.id);
	assert_int_equal(move(t, &first, BUILD_PREPARING), 1);
	assert_int_equal(queued(t), second.id);
	assert_int_equal(move(t, &first, BUILD_RUNNING), 1);
	assert_int_equal(move(t, &first, BUILD_CANCELED), 1);
	/* What is final stays. */
	for (int to = BUILD_QUEUED; to <= BUILD_CANCELED; to++)
		assert_int_equal(move(t, &first, (enum build_state)to), 0);
	assert_int_equal(find(t, &first).state, BUILD_CANCELED);
	assert_int_equal(move(t, &second, BUILD_FAILED), 1);
	assert_int_equal(queued(t), 0);
	assert_int_equal(build_store_named(begin(t), as_text("nope"), &first, NULL), 0);
	commit(t);
}

static void test_the_newest_and_the_one_that_succeeded(void **state)
{
	struct test *t = *state;
	struct build made = add(t, 1, NULL), found;
	_cleanup_buf_ struct buf text = BUF_INIT(100);
	sqlite3 *conn = begin(t);

	assert_int_equal(build_store_with_image(conn, IMAGE, &found, NULL), 0);
	assert_int_equal(build_store_define(conn, made.id, IMAGE, "FROM x\n", NULL), 0);
	assert_int_equal(build_store_with_image(conn, IMAGE, &found, NULL), 0);
	assert_int_equal(build_store_move(conn, made.id, BUILD_SUCCEEDED, NULL), 1);
	assert_int_equal(build_store_with_image(conn, IMAGE, &found, NULL), 1);
	assert_int_equal(build_store_dockerfile(conn, IMAGE, &text, NULL), 0);
	assert_string_equal(buf_str(&text), "FROM x\n");
	commit(t);

	/* One that needs nothing to be built has the other's log and image, and is over. */
	made = add(t, 2, &found);
	assert_int_equal(made.state, BUILD_SUCCEEDED);
	assert_string_equal(made.log, found.name);
	assert_string_equal(made.image, IMAGE);
	assert_int_equal(queued(t), 0);

	made = add(t, 1, NULL);
	conn = begin(t);
	assert_int_equal(build_store_newest(conn, 1, &found, NULL), 1);
	assert_int_equal(found.id, made.id);
	assert_int_equal(build_store_of_version(conn, 1, &found, NULL), 1);
	assert_int_not_equal(found.id, made.id);
	commit(t);
	assert_int_equal(move(t, &made, BUILD_FAILED), 1);

	/* A build outlives its version, and is not that of the next one in its row. */
	run(t, "DELETE FROM versions WHERE id = 2");
	run(t, "INSERT INTO versions (id, environment, name, body, created, changed, created_by)"
	       " VALUES (2, 1, '3', '{}', 0, 0, 'me')");
	conn = begin(t);
	assert_int_equal(build_store_newest(conn, 2, &found, NULL), 0);
	commit(t);
}

/* The log of a build, as a client reads it. */
static void read_log(struct test *t, const char *name, struct buf *out)
{
	sqlite3 *conn = begin(t);
	struct container container;
	char blob_name[BUILD_LOG_SIZE];
	struct blob_key key;
	struct blob blob;
	uint64_t size;

	build_log_blob(name, blob_name);
	assert_int_equal(blob_store_find_container(conn, BUILD_CONTAINER, &container, NULL), 0);
	key = (struct blob_key){container.id, blob_name, strlen(blob_name)};
	assert_int_equal(blob_store_find(conn, &key, &blob, NULL), 0);
	assert_int_equal(build_store_log_size(conn, name, &size, NULL), 0);
	assert_int_equal(size, blob.size);
	assert_int_equal(blob_store_read(conn, blob.id, 0, blob.size, out, NULL), 0);
	commit(t);
}

/* Any bytes, in pieces of all sizes: none changes place when more come. */
static void test_logs_grow_by_pieces_of_any_size(void **state)
{
	static const size_t sizes[] = {1, 2,     65534, 1,   1, 65536, 65537, 3 * 1024 * 1024,
				       7, 60000, 0,     6000};
	struct test *t = *state;
	_cleanup_buf_ struct buf expected = BUF_INIT(8 * 1024 * 1024),
				 got = BUF_INIT(8 * 1024 * 1024);
	_cleanup_free_ char *piece = malloc(3 * 1024 * 1024);
	uint64_t size = 1;

	assert_non_null(piece);
	assert_int_equal(build_store_log_size(begin(t), "b", &size, NULL), 0);
	commit(t);
	assert_int_equal(size, 0);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		/* NUL, invalid UTF-8 and all else. */
		for (size_t k = 0; k < sizes[i]; k++)
			piece[k] = (char)(k * 7 + i);
		buf_add(&expected, piece, sizes[i]);
		assert_int_equal(build_store_log(begin(t), "b", piece, sizes[i], NULL), 0);
		commit(t);
		buf_reset(&got);
		read_log(t, "b", &got);
		assert_int_equal(got.len, expected.len);
		assert_memory_equal(got.data, expected.data, got.len);
	}
}

/* Drops the times: "YYYY-MM-DDTHH:MM:SS: " at the beginning of every line, which must be there. */
static void strip(struct buf *log, struct buf *out)
{
	char *line = log->data;

	while (line < log->data + log->len) {
		char *end = memchr(line, '\n', log->len - (size_t)(line - log->data));

		assert_true(log->len - (size_t)(line - log->data) > 21);
		assert_memory_equal(line + 10, "T", 1);
		assert_memory_equal(line + 19, ": ", 2);
		end = end ? end + 1 : log->data + log->len;
		buf_add(out, line + 21, (size_t)(end - line) - 21);
		line = end;
	}
}

static void check_log(struct test *t, const char *name, const char *expected)
{
	_cleanup_buf_ struct buf log = BUF_INIT(1024 * 1024), text = BUF_INIT(1024 * 1024);

	read_log(t, name, &log);
	strip(&log, &text);
	assert_string_equal(buf_str(&text), expected);
}

static void test_lines_have_their_times(void **state)
{
	struct test *t = *state;
	struct build_log log;

	build_log_init(&log, t->emu.db, "b");
	build_log_output(&log, "one\ntw", 6);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_output(&log, "o\n", 2);
	build_log_output(&log, "\nopen", 5);
	build_log_say(&log, "said %d", 1);
	build_log_output(&log, "three\n", 6);
	build_log_say(&log, "said %d", 2);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_release(&log);
	check_log(t, "b", "one\ntwo\n\nopen\nsaid 1\nthree\nsaid 2\n");
}

/* Output that can't be stored is dropped at some point, and the log says so when it can. */
static void test_a_log_that_can_not_be_stored(void **state)
{
	struct test *t = *state;
	_cleanup_free_ char *line = calloc(1, 1024 * 1024);
	_cleanup_buf_ struct buf log_text = BUF_INIT(16 * 1024 * 1024);
	struct build_log log;

	assert_non_null(line);
	memset(line, 'x', 1024 * 1024);
	line[1024 * 1024 - 1] = '\n';
	build_log_init(&log, t->emu.db, "b");
	for (int i = 0; i < 20; i++)
		build_log_output(&log, line, 1024 * 1024);
	assert_true(log.pending.len < 6 * 1024 * 1024);
	build_log_say(&log, "still here");
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_output(&log, "more\n", 5);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_release(&log);
	read_log(t, "b", &log_text);
	assert_non_null(strstr(buf_str(&log_text), ": still here\n"));
	assert_non_null(strstr(buf_str(&log_text), ": Some of the output is missing here"));
}

/* A log that is long enough takes no more output, and says so; how the build ends is still in it.
 */
static void test_a_log_has_a_limit(void **state)
{
	struct test *t = *state;
	struct build_log log;

	build_log_init(&log, t->emu.db, "b");
	log.size = BUILD_LOG_MAX - 30;
	build_log_output(&log, "the last line\nnot kept\n", 23);
	build_log_output(&log, "not kept\n", 9);
	build_log_say(&log, "said");
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_release(&log);
	check_log(
		t, "b",
		"the last line\nThe log has reached 256 MiB: what the builder writes from here on "
		"is not kept.\nsaid\n");
}

/* A log goes on where the store and the spool of a killed process end. */
static void test_what_was_not_stored_is_in_the_spool(void **state)
{
	struct test *t = *state;
	struct build_log log;
	struct build_dir dir;
	uint64_t stored;

	assert_int_equal(build_dir_paths(t->store, "b", &dir, NULL), 0);
	assert_int_equal(build_dir_make(&dir, NULL), 0);
	build_log_init(&log, t->emu.db, "b");
	build_log_say(&log, "before the spool");
	assert_int_equal(build_log_spool(&log, dir.spool, NULL), 0);
	build_log_output(&log, "stored\nhalf ", 12);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_output(&log, "a line\nlost by no means", 23);
	build_log_release(&log); /* as if killed: nothing of it is flushed */

	assert_int_equal(build_store_log_size(begin(t), "b", &stored, NULL), 0);
	commit(t);
	build_log_init(&log, t->emu.db, "b");
	build_log_recover(&log, dir.spool, stored);
	build_log_say(&log, "ended");
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_release(&log);
	check_log(t, "b", "before the spool\nstored\nhalf a line\nlost by no means\nended\n");

	/* Nothing to be added, and no spool at all. */
	assert_int_equal(build_store_log_size(begin(t), "b", &stored, NULL), 0);
	commit(t);
	build_log_init(&log, t->emu.db, "b");
	build_log_recover(&log, "/nowhere/at/all", stored);
	build_log_output(&log, "x\n", 2);
	assert_int_equal(build_log_flush(&log, NULL), 0);
	build_log_release(&log);

	build_dir_remove(&dir);
	assert_int_equal(access(dir.path, F_OK), -1);
	build_dir_tidy(t->store);
	assert_int_equal(access(dir.base, F_OK), -1);
}

static void wait_for_state(struct test *t, const struct build *build, enum build_state state)
{
	int64_t end = clock_mono() + 60 * NS_PER_S;

	while (find(t, build).state != state) {
		assert_true(clock_mono() < end);
		usleep(1000);
	}
}

/* What an earlier process left: builds that were begun fail, what waits is taken, in order. */
static void test_a_start_ends_what_was_begun(void **state)
{
	struct test *t = *state;
	struct build preparing = add(t, 1, NULL), running = add(t, 1, NULL),
		     waiting = add(t, 1, NULL);
	struct builder *builder;
	struct build_dir dir;

	t->emu.conf.store = t->store;
	t->emu.conf.builder = "none";
	assert_int_equal(move(t, &preparing, BUILD_PREPARING), 1);
	assert_int_equal(move(t, &running, BUILD_RUNNING), 1);
	assert_int_equal(build_dir_paths(t->store, running.name, &dir, NULL), 0);
	assert_int_equal(build_dir_make(&dir, NULL), 0);
	builder = builder_new(&t->emu, NULL);
	assert_non_null(builder);
	assert_int_equal(builder_start(builder, NULL), 0);
	assert_int_equal(builder_start(builder, NULL), 0);
	assert_int_equal(find(t, &preparing).state, BUILD_FAILED);
	assert_int_equal(find(t, &running).state, BUILD_FAILED);
	assert_int_equal(access(dir.path, F_OK), -1);
	check_log(t, running.name,
		  "Failed: the service was ended while it built this image. Start the build "
		  "again.\n");
	wait_for_state(t, &waiting, BUILD_FAILED);
	check_log(t, waiting.name,
		  "Environment: env:1\nFailed: there is nothing to build images with: this service "
		  "was started with --builder none\n");

	/* What is over is not canceled; what is not there neither. */
	waiting = find(t, &waiting);
	assert_int_equal(builder_cancel(builder, &waiting, NULL), 0);
	builder_free(builder);
	t->emu.conf.store = t->emu.conf.builder = NULL;
}

static void test_engines(void **state)
{
	static const char *const known[] = {"auto", "none", "buildah", "podman", "docker", "/x/y"};
	static const char *const unknown[] = {"", "x", "./x", "x/y", "Buildah"};
	struct build_engine g;
	const char *argv[BUILD_ENGINE_ARGS];

	(void)state;
	for (size_t i = 0; i < COUNT(known); i++)
		assert_true(build_engine_known(known[i]));
	for (size_t i = 0; i < COUNT(unknown); i++)
		assert_false(build_engine_known(unknown[i]));
	assert_int_equal(build_engine_find("none", &g, NULL), -ENOENT);
	build_engine_release(&g);
	assert_int_equal(build_engine_find("/etc/passwd", &g, NULL), -ENOENT);
	build_engine_release(&g);
	assert_int_equal(build_engine_find("/bin/sh", &g, NULL), 0);
	assert_int_equal(build_engine_set_tmp(&g, "/a/b"), 0);
	assert_string_equal(g.name, "sh");
	assert_int_equal(g.kind, ENGINE_BUILDAH);
	build_engine_look_args(&g, "i", argv);
	assert_string_equal(argv[1], "inspect");
	assert_string_equal(argv[4], "i");
	assert_null(argv[5]);
	g.kind = ENGINE_DOCKER;
	g.chroot = false;
	build_engine_build_args(&g, "i", "f", "c", argv);
	assert_string_equal(argv[1], "build");
	assert_string_equal(argv[2], "--tag");
	assert_string_equal(argv[6], "c");
	assert_null(argv[7]);
	build_engine_look_args(&g, "i", argv);
	assert_string_equal(argv[1], "image");
	build_engine_release(&g);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, blobs_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_builds_wait_in_order_and_end_once),
		TEST(test_the_newest_and_the_one_that_succeeded),
		TEST(test_logs_grow_by_pieces_of_any_size),
		TEST(test_lines_have_their_times),
		TEST(test_a_log_that_can_not_be_stored),
		TEST(test_a_log_has_a_limit),
		TEST(test_what_was_not_stored_is_in_the_spool),
		TEST(test_a_start_ends_what_was_begun),
		cmocka_unit_test(test_engines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
