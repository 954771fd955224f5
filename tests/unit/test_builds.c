/*
 * Builds as the file system sees them: started, followed, remembered, and read by many at once, and
 * how often the service is asked for that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/builds.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/buildsource.h"

enum { PATIENCE_S = 20, PACE_MS = 15, READERS = 8, BIG = 3 * LOGFILE_BLOCK + 777 };

struct fixture {
	char path[64];
	int dir;
	struct buildsource *source;
	struct buildstore *store;
	struct builds *b;
	struct scope *scope;
	struct version *v;
	struct call call;
	struct err err;
	atomic_uint changes;
};

static void on_change(void *arg, const struct scope *scope, const char *env, const char *version)
{
	struct fixture *f = arg;

	assert_string_equal(scope->name, "ws");
	assert_string_equal(env, "e");
	assert_string_equal(version, "1");
	atomic_fetch_add(&f->changes, 1);
}

static void open_builds(struct fixture *f)
{
	struct builds_conf conf = {
		.source = buildsource_source(f->source),
		.refresh = 3600 * NS_PER_S,
		.request_deadline = PATIENCE_S * NS_PER_S,
		.pace = PACE_MS * NS_PER_MS,
		.changed = on_change,
		.changed_arg = f,
	};

	assert_int_equal(buildstore_open(f->dir, UINT64_C(1) << 30, &f->store), 0);
	conf.store = f->store;
	f->b = builds_new(&conf, NULL);
	assert_non_null(f->b);
	assert_int_equal(builds_start_following(f->b), 0);
}

static void close_builds(struct fixture *f)
{
	builds_free(f->b);
	buildstore_close(f->store);
}

static void remount(struct fixture *f)
{
	close_builds(f);
	open_builds(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct scope scope = {
		.kind = SCOPE_WORKSPACE, .name = "ws", .subscription = "s", .resource_group = "g"};
	struct version v = {.env = "e", .version = "1", .created = 5};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	snprintf(f->path, sizeof(f->path), "/tmp/test_builds-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->source = buildsource_new();
	f->scope = scope_new(&scope);
	f->v = version_new(&v);
	call_init(&f->call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	open_builds(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const struct dirent *e;
	DIR *d;

	buildsource_hold(f->source, false);
	close_builds(f);
	d = fdopendir(f->dir);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(f->dir, e->d_name, 0);
	closedir(d);
	rmdir(f->path);
	buildsource_free(f->source);
	scope_unref(f->scope);
	version_unref(f->v);
	call_destroy(&f->call);
	free(f);
	return 0;
}

/* ---- shorthands ---- */

static struct build_info peek(struct fixture *f)
{
	struct build_info info;

	builds_peek(f->b, f->scope, f->v, &info);
	return info;
}

static struct build_info ask(struct fixture *f)
{
	struct build_info info;

	assert_int_equal(builds_state(f->b, f->scope, f->v, &f->call, &info, &f->err), 0);
	return info;
}

static int start(struct fixture *f)
{
	return builds_start(f->b, f->scope, f->v, &f->call, &f->err);
}

static struct build_watch *watch(struct fixture *f)
{
	struct build_watch *w;

	assert_int_equal(builds_watch(f->b, f->scope, f->v, &f->call, &w, &f->err), 0);
	return w;
}

static void say(struct fixture *f, const char *text)
{
	buildsource_write(f->source, text, strlen(text));
}

static void assert_log(struct fixture *f, struct build_watch *w, const char *expected)
{
	struct buf out = BUF_INIT(4096);

	assert_int_equal(builds_read(w, 0, 4096, &f->call, &out, &f->err), 0);
	assert_string_equal(buf_str(&out), expected);
	buf_free(&out);
}

static void wait_size(struct fixture *f, uint64_t size)
{
	int64_t end = clock_mono() + PATIENCE_S * NS_PER_S;

	while (peek(f).size != size) {
		assert_true(clock_mono() < end);
		poll(NULL, 0, 5);
	}
}

static void wait_settled(struct fixture *f)
{
	int64_t end = clock_mono() + PATIENCE_S * NS_PER_S;

	while (peek(f).growing) {
		assert_true(clock_mono() < end);
		poll(NULL, 0, 5);
	}
}

/* A build that has ended, with its log. */
static void build(struct fixture *f, const char *log, const char *end)
{
	assert_int_equal(start(f), 0);
	say(f, log);
	buildsource_state(f->source, end);
	wait_size(f, strlen(log));
	wait_settled(f);
}

static unsigned int calls(struct fixture *f, enum build_op op)
{
	return buildsource_calls(f->source, op);
}

/* ---- tests ---- */

static void test_never_built(void **state)
{
	struct fixture *f = *state;
	struct buf image = BUF_INIT(100);
	struct build_watch *w;

	assert_false(peek(f).known);
	assert_int_equal(peek(f).size, 0);
	assert_int_equal(buildsource_all_calls(f->source), 0);
	assert_int_equal(ask(f).state, IMAGE_NOT_STARTED);
	assert_int_equal(ask(f).state, IMAGE_NOT_STARTED);
	assert_int_equal(calls(f, OP_IMAGE), 1);
	w = watch(f);
	assert_log(f, w, "");
	builds_unwatch(w);
	builds_unwatch(watch(f));
	assert_int_equal(calls(f, OP_FIND), 1);
	assert_int_equal(buildsource_all_calls(f->source), 2);
	assert_int_equal(builds_image(f->b, f->scope, f->v, &f->call, &image, &f->err), -ENODATA);
	assert_int_equal(buildsource_all_calls(f->source), 2);
}

static void test_built_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct buf image = BUF_INIT(100);

	buildsource_image(f->source, true);
	assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
	assert_int_equal(builds_image(f->b, f->scope, f->v, &f->call, &image, &f->err), 0);
	assert_string_equal(buf_str(&image), "registry.example/azureml/azureml_1");
	assert_int_equal(buildsource_all_calls(f->source), 1);
	buf_free(&image);
}

static void test_grows(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w = watch(f);
	unsigned int before;

	assert_int_equal(start(f), 0);
	assert_int_equal(peek(f).state, IMAGE_QUEUED);
	assert_true(peek(f).growing);
	assert_true(atomic_load(&f->changes) > 0);
	assert_log(f, w, "");
	/* Who starts it again joins it. */
	assert_int_equal(start(f), 0);
	assert_int_equal(calls(f, OP_START), 1);
	buildsource_state(f->source, "GettingOrProvisioningACR");
	say(f, "one\n");
	wait_size(f, 4);
	assert_log(f, w, "one\n");
	before = atomic_load(&f->changes);
	say(f, "two\nno end of line");
	wait_size(f, 22);
	assert_true(atomic_load(&f->changes) > before);
	assert_log(f, w, "one\ntwo\nno end of line");
	assert_true(peek(f).modified > 0);
	assert_string_equal(peek(f).stage, "GettingOrProvisioningACR");
	say(f, "!\n");
	buildsource_state(f->source, "Succeeded");
	wait_settled(f);
	assert_log(f, w, "one\ntwo\nno end of line!\n");
	assert_int_equal(peek(f).state, IMAGE_SUCCEEDED);
	/* From now on nothing is asked, however long it is open. */
	before = buildsource_all_calls(f->source);
	for (int i = 0; i < 10; i++) {
		assert_log(f, w, "one\ntwo\nno end of line!\n");
		assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
		poll(NULL, 0, 50);
	}
	assert_int_equal(buildsource_all_calls(f->source), before);
	builds_unwatch(w);
}

static void test_remembered(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;
	struct build_info then, now;
	unsigned int before;

	build(f, "it was built\n", "Succeeded");
	then = peek(f);
	/* The file is put in its place after those who waited have their answer. */
	for (int i = 0; i < 2; i++) {
		remount(f);
		before = buildsource_all_calls(f->source);
		now = peek(f);
		assert_int_equal(now.state, IMAGE_SUCCEEDED);
		assert_int_equal(now.size, then.size);
		assert_int_equal(now.modified, then.modified);
		assert_false(now.growing);
		w = watch(f);
		assert_log(f, w, "it was built\n");
		builds_unwatch(w);
		assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
		assert_int_equal(buildsource_all_calls(f->source), before);
	}
}

static void test_remembered_running(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	say(f, "begins");
	remount(f);
	assert_true(peek(f).known);
	w = watch(f);
	assert_log(f, w, "begins");
	say(f, ", goes on");
	wait_size(f, 15);
	assert_log(f, w, "begins, goes on");
	assert_int_equal(start(f), 0);
	assert_int_equal(calls(f, OP_START), 1);
	builds_unwatch(w);
}

static void test_another_mount(void **state)
{
	struct fixture *f = *state, other = *f;
	struct build_watch *w = watch(f);

	open_builds(&other);
	assert_int_equal(start(&other), 0);
	buildsource_state(f->source, "Running");
	say(f, "from over there");
	wait_size(f, 15);
	assert_log(f, w, "from over there");
	builds_unwatch(w);
	close_builds(&other);
}

struct reader {
	struct fixture *f;
	pthread_t thread;
	int rc;
	uint64_t sum;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	struct buf out = BUF_INIT(128 * 1024);
	struct build_watch *w = watch(r->f);
	struct call call;
	uint64_t at = 0;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	do {
		buf_reset(&out);
		r->rc = builds_read(w, at, 128 * 1024, &call, &out, NULL);
		for (size_t i = 0; i < out.len; i++)
			r->sum += (unsigned char)out.data[i];
		at += out.len;
	} while (!r->rc && out.len);
	if (!r->rc && at != BIG)
		r->rc = -EIO;
	call_destroy(&call);
	builds_unwatch(w);
	buf_free(&out);
	return NULL;
}

static void test_many_readers(void **state)
{
	struct fixture *f = *state;
	struct reader readers[READERS];
	char *data = malloc(BIG);
	unsigned int before;
	uint64_t sum = 0;

	assert_non_null(data);
	for (size_t i = 0; i < BIG; i++) {
		data[i] = (char)(i % 251);
		sum += i % 251;
	}
	assert_int_equal(start(f), 0);
	buildsource_write(f->source, data, BIG);
	buildsource_state(f->source, "Succeeded");
	wait_size(f, BIG);
	wait_settled(f);
	/* Nothing of it is here any more but how it ended. */
	before = calls(f, OP_READ);
	assert_int_equal(before > 0, 1);
	remount(f);
	before = calls(f, OP_READ);
	buildsource_hold(f->source, true);
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.f = f};
		pthread_create(&readers[i].thread, NULL, read_all, &readers[i]);
	}
	buildsource_hold(f->source, false);
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, 0);
		assert_int_equal(readers[i].sum, sum);
	}
	/* Four blocks, each once. */
	assert_true(calls(f, OP_READ) - before <= 4);
	free(data);
}

static void test_any_offset(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT(100);
	struct build_watch *w;
	char *data = malloc(BIG);
	unsigned int before;

	assert_non_null(data);
	for (size_t i = 0; i < BIG; i++)
		data[i] = (char)(i % 251);
	assert_int_equal(start(f), 0);
	buildsource_write(f->source, data, BIG);
	buildsource_state(f->source, "Running");
	w = watch(f);
	wait_size(f, BIG);
	/* Its end costs one block, and not what is before it. */
	before = calls(f, OP_READ);
	assert_int_equal(builds_read(w, BIG - 50, 100, &f->call, &out, &f->err), 0);
	assert_int_equal(out.len, 50);
	assert_memory_equal(out.data, data + BIG - 50, 50);
	assert_true(calls(f, OP_READ) - before <= 3); /* the follower's among them */
	buf_reset(&out);
	assert_int_equal(builds_read(w, LOGFILE_BLOCK - 5, 10, &f->call, &out, &f->err), 0);
	assert_memory_equal(out.data, data + LOGFILE_BLOCK - 5, 10);
	buf_reset(&out);
	assert_int_equal(builds_read(w, BIG, 10, &f->call, &out, &f->err), 0);
	assert_int_equal(builds_read(w, UINT64_MAX - 10, 10, &f->call, &out, &f->err), 0);
	assert_int_equal(out.len, 0);
	builds_unwatch(w);
	buf_free(&out);
	free(data);
}

static void test_signature(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w = watch(f);

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	say(f, "a");
	wait_size(f, 1);
	buildsource_renew(f->source);
	say(f, "b");
	wait_size(f, 2);
	assert_log(f, w, "ab");
	builds_unwatch(w);
}

static void test_next_build(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;

	build(f, "the first one\n", "Failed");
	assert_int_equal(peek(f).state, IMAGE_FAILED);
	w = watch(f);
	/* One that has the same log and is over at once changes nothing. */
	assert_int_equal(start(f), 0);
	assert_int_equal(calls(f, OP_START), 2);
	assert_false(peek(f).growing);
	assert_log(f, w, "the first one\n");
	/* Another log begins with nothing. */
	buildsource_next_log(f->source);
	buildsource_state(f->source, "Queued");
	assert_int_equal(start(f), 0);
	assert_int_equal(peek(f).size, 0);
	assert_int_equal(peek(f).state, IMAGE_QUEUED);
	assert_log(f, w, "");
	say(f, "2nd\n");
	buildsource_state(f->source, "Succeeded");
	wait_settled(f);
	assert_log(f, w, "2nd\n");
	builds_unwatch(w);
	remount(f);
	w = watch(f);
	assert_log(f, w, "2nd\n");
	builds_unwatch(w);
}

/* A kept log that goes on is fetched, and kept, anew. */
static void test_same_log_goes_on(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;
	unsigned int before;

	build(f, "the first one\n", "Failed");
	remount(f);
	w = watch(f);
	assert_log(f, w, "the first one\n");
	buildsource_state(f->source, "Running");
	assert_int_equal(start(f), 0);
	say(f, "more\n");
	wait_size(f, 19);
	buildsource_state(f->source, "Succeeded");
	wait_settled(f);
	assert_log(f, w, "the first one\nmore\n");
	builds_unwatch(w);
	before = calls(f, OP_READ);
	remount(f);
	w = watch(f);
	assert_log(f, w, "the first one\nmore\n");
	assert_int_equal(calls(f, OP_READ), before);
	builds_unwatch(w);
}

static void test_made_anew(void **state)
{
	struct fixture *f = *state;
	struct version v = {.env = "e", .version = "1", .created = 6};

	build(f, "of the one before\n", "Succeeded");
	version_unref(f->v);
	f->v = version_new(&v);
	assert_false(peek(f).known);
	remount(f);
	assert_false(peek(f).known);
	assert_int_equal(peek(f).size, 0);
}

static void test_log_spoilt(void **state)
{
	struct fixture *f = *state;
	struct build_of of = {f->scope, "e", "1", 5};
	char name[BUILDSTORE_NAME_SIZE], file[64];
	struct build_watch *w;
	int fd;

	build(f, "all of it\n", "Succeeded");
	close_builds(f);
	buildstore_name(&of, name);
	snprintf(file, sizeof(file), "%s.log", name);
	fd = openat(f->dir, file, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "X", 1, 2), 1);
	close(fd);
	open_builds(f);
	w = watch(f);
	assert_log(f, w, "all of it\n");
	builds_unwatch(w);
	/* It is fetched again, once, and kept again. */
	remount(f);
	w = watch(f);
	assert_log(f, w, "all of it\n");
	builds_unwatch(w);
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(builds_cancel(f->b, f->scope, f->v, &f->call, &f->err), -EINVAL);
	assert_int_equal(start(f), 0);
	buildsource_fail(f->source, OP_CANCEL, -EOPNOTSUPP);
	assert_int_equal(builds_cancel(f->b, f->scope, f->v, &f->call, &f->err), -EOPNOTSUPP);
	buildsource_fail(f->source, OP_CANCEL, 0);
	assert_int_equal(builds_cancel(f->b, f->scope, f->v, &f->call, &f->err), 0);
	assert_int_equal(ask(f).state, IMAGE_CANCELED);
	assert_int_equal(builds_cancel(f->b, f->scope, f->v, &f->call, &f->err), -EINVAL);
}

static void test_forgotten(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	say(f, "abc");
	wait_size(f, 3);
	buildsource_fail(f->source, OP_GET, -ENOENT);
	buildsource_renew(f->source);
	wait_settled(f);
	/* How it ended is known from the image, its log from where logs are kept. */
	assert_int_equal(ask(f).state, IMAGE_UNKNOWN);
	remount(f);
	buildsource_image(f->source, true);
	assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
	w = watch(f);
	assert_log(f, w, "abc");
	builds_unwatch(w);
}

static void test_found(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;

	buildsource_found(f->source, true);
	say(f, "somebody else's\n");
	w = watch(f);
	assert_log(f, w, "somebody else's\n");
	assert_int_equal(ask(f).state, IMAGE_UNKNOWN);
	say(f, "it goes on\n");
	wait_size(f, 27);
	builds_unwatch(w);
	assert_int_equal(calls(f, OP_GET), 0);
	/* A build of our own takes its place. */
	buildsource_next_log(f->source);
	assert_int_equal(start(f), 0);
	assert_int_equal(peek(f).size, 0);
}

static void test_found_finished(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w;

	buildsource_found(f->source, true);
	buildsource_image(f->source, true);
	say(f, "somebody else's\n");
	w = watch(f);
	wait_settled(f);
	assert_log(f, w, "somebody else's\n");
	assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
	builds_unwatch(w);
	remount(f);
	assert_int_equal(peek(f).size, 16);
	assert_false(peek(f).growing);
}

static void test_service_down(void **state)
{
	struct fixture *f = *state;
	struct version fields = {.env = "e2", .version = "1"}, *v2 = version_new(&fields);
	struct build_info info;
	struct build_watch *w;

	for (int op = 0; op < BUILD_OPS; op++)
		buildsource_fail(f->source, (enum build_op)op, -EHOSTUNREACH);
	/* No file system error comes of it, and a tree of files does not ask again and again. */
	assert_int_equal(ask(f).state, IMAGE_UNKNOWN);
	builds_unwatch(watch(f));
	assert_int_equal(builds_watch(f->b, f->scope, v2, &f->call, &w, &f->err), 0);
	builds_unwatch(w);
	assert_int_equal(calls(f, OP_FIND), 1);
	assert_int_equal(start(f), -EHOSTUNREACH);
	builds_peek(f->b, f->scope, v2, &info);
	assert_false(info.known);
	version_unref(v2);
}

/* That a build runs is not known while nobody says so. */
static void test_service_lost(void **state)
{
	int64_t end = clock_mono() + PATIENCE_S * NS_PER_S;
	struct fixture *f = *state;
	struct build_watch *w = watch(f);

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	while (ask(f).state != IMAGE_RUNNING)
		assert_true(clock_mono() < end);
	buildsource_fail(f->source, OP_GET, -EHOSTUNREACH);
	while (ask(f).state != IMAGE_UNKNOWN)
		assert_true(clock_mono() < end);
	assert_string_equal(ask(f).stage, "");
	assert_true(ask(f).growing);
	buildsource_fail(f->source, OP_GET, 0);
	while (ask(f).state != IMAGE_RUNNING)
		assert_true(clock_mono() < end);
	buildsource_state(f->source, "Succeeded");
	wait_settled(f);
	buildsource_fail(f->source, OP_GET, -EHOSTUNREACH);
	assert_int_equal(ask(f).state, IMAGE_SUCCEEDED);
	builds_unwatch(w);
}

static void test_nobody_looks(void **state)
{
	struct fixture *f = *state;
	struct build_watch *w = watch(f);
	int64_t end = clock_mono() + PATIENCE_S * NS_PER_S;
	unsigned int before;

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	say(f, "a");
	wait_size(f, 1);
	builds_unwatch(w);
	/* Within a few seconds nobody is asked any more. */
	do {
		assert_true(clock_mono() < end);
		before = buildsource_all_calls(f->source);
		poll(NULL, 0, 20 * PACE_MS);
	} while (buildsource_all_calls(f->source) != before);
	/* To look at it is to follow it. */
	say(f, "b");
	wait_size(f, 2);
}

/* A log whose bytes don't come keeps nobody from following the others. */
static void test_slow_log(void **state)
{
	struct fixture *f = *state;
	/* Made anew, it is another version. */
	struct version fields = {.env = "e", .version = "1", .created = 6};
	struct version *other = version_new(&fields);
	int64_t end = clock_mono() + PATIENCE_S / 2 * NS_PER_S;
	struct build_watch *w = watch(f);
	struct build_info info;
	unsigned int before;

	assert_int_equal(start(f), 0);
	buildsource_state(f->source, "Running");
	say(f, "a");
	wait_size(f, 1);
	before = calls(f, OP_READ);
	buildsource_hold(f->source, true);
	while (calls(f, OP_READ) == before) {
		assert_true(clock_mono() < end);
		poll(NULL, 0, 5);
	}
	/* Its first answer is its last: whoever reads a log waits. */
	buildsource_fail(f->source, OP_GET, -EHOSTUNREACH);
	buildsource_state(f->source, "Failed");
	assert_int_equal(builds_start(f->b, f->scope, other, &f->call, &f->err), 0);
	buildsource_fail(f->source, OP_GET, 0);
	do {
		assert_true(clock_mono() < end);
		poll(NULL, 0, 5);
		builds_peek(f->b, f->scope, other, &info);
	} while (info.state != IMAGE_FAILED);
	buildsource_hold(f->source, false);
	builds_unwatch(w);
	version_unref(other);
}

#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_never_built),
		WITH(test_built_elsewhere),
		WITH(test_grows),
		WITH(test_remembered),
		WITH(test_remembered_running),
		WITH(test_another_mount),
		WITH(test_many_readers),
		WITH(test_any_offset),
		WITH(test_signature),
		WITH(test_next_build),
		WITH(test_made_anew),
		WITH(test_log_spoilt),
		WITH(test_cancel),
		WITH(test_forgotten),
		WITH(test_found),
		WITH(test_found_finished),
		WITH(test_service_down),
		WITH(test_nobody_looks),
		WITH(test_slow_log),
		WITH(test_service_lost),
		WITH(test_same_log_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
