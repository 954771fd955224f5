/* What is remembered of builds: written, read back, and not believed when it was tampered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/buildstore.h"
#include "client/clock.h"
#include "client/log.h"

enum { LOGS_MAX = 1000 };

struct fixture {
	char path[64];
	int dir;
	struct buildstore *s;
	struct scope *scope;
	struct build_of of;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct scope scope = {
		.kind = SCOPE_WORKSPACE, .name = "ws", .subscription = "s", .resource_group = "g"};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	snprintf(f->path, sizeof(f->path), "/tmp/test_buildstore-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(buildstore_open(f->dir, LOGS_MAX, &f->s), 0);
	f->scope = scope_new(&scope);
	f->of = (struct build_of){f->scope, "env", "1", 7};
	*state = f;
	return 0;
}

static unsigned int each_file(struct fixture *f, bool remove)
{
	DIR *d = fdopendir(openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *e;
	unsigned int n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (remove)
			unlinkat(f->dir, e->d_name, 0);
	}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	buildstore_close(f->s);
	each_file(f, true);
	close(f->dir);
	rmdir(f->path);
	scope_unref(f->scope);
	free(f);
	return 0;
}

static void name_of(struct fixture *f, const char *end, char out[64])
{
	char name[BUILDSTORE_NAME_SIZE];

	buildstore_name(&f->of, name);
	snprintf(out, 64, "%s%s", name, end);
}

static char *text(const char *s)
{
	char *copy = strdup(s);

	assert_non_null(copy);
	return copy;
}

static void save(struct fixture *f, int64_t started, int expected)
{
	struct build_record r = {.location = text("/operations/1"),
				 .log = text("https://x/log"),
				 .stage = text("Running"),
				 .state = IMAGE_RUNNING,
				 .size = 42,
				 .started = started,
				 .modified = INT64_MAX};
	int64_t stamp = 0;

	assert_int_equal(buildstore_save(f->s, &f->of, &r, &stamp), expected);
	assert_true(expected || stamp != 0);
	build_record_clear(&r);
}

static void test_round(void **state)
{
	struct fixture *f = *state;
	struct build_record r;
	int64_t stamp = 0;

	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), -ENOENT);
	assert_int_equal(buildstore_stamp(f->s, &f->of), 0);
	save(f, 100, 0);
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), 0);
	assert_int_equal(stamp, buildstore_stamp(f->s, &f->of));
	assert_string_equal(r.location, "/operations/1");
	assert_string_equal(r.log, "https://x/log");
	assert_null(r.image);
	assert_int_equal(r.state, IMAGE_RUNNING);
	assert_false(r.final);
	assert_int_equal(r.size, 42);
	assert_int_equal(r.modified, INT64_MAX);
	build_record_clear(&r);
	/* One that was started later is not overwritten. */
	save(f, 99, -ESTALE);
	save(f, 100, 0);
	save(f, 101, 0);
	assert_int_equal(each_file(f, false), 1);
}

static void test_other_versions(void **state)
{
	struct fixture *f = *state;
	struct build_record r;
	int64_t stamp;

	save(f, 100, 0);
	f->of.version = "2";
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), -ENOENT);
	f->of.version = "1";
	/* Deleted and made anew: another one of the same name. */
	f->of.created++;
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), -ENOENT);
	f->of.created--;
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), 0);
	build_record_clear(&r);
}

/* Puts b in the place of a in the record. */
static void tamper(struct fixture *f, const char *a, const char *b)
{
	char name[64], content[4096], changed[8192], *at;
	int fd, n;

	save(f, INT64_C(1) << 40, 0);
	name_of(f, ".json", name);
	fd = openat(f->dir, name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	n = (int)read(fd, content, sizeof(content) - 1);
	assert_true(n > 0);
	content[n] = '\0';
	at = strstr(content, a);
	if (!at)
		fail_msg("%s is not in %s", a, content);
	n = snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - content), content, b,
		     at + strlen(a));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, changed, (size_t)n, 0), n);
	close(fd);
}

static void test_tampered(void **state)
{
	static const char *const changes[][2] = {
		{"{", ""},
		{"\"42\"", "42"},
		{"\"42\"", "\"-1\""},
		{"\"42\"", "\"1073741825\""},
		{"\"42\"", "\"99999999999999999999\""},
		{"/operations/1", "/operations/\\u000a1"},
		{"/operations/1", "/operations/ 1"},
		{"https://x/log", "https://x/log?sig=secret"},
		{"\"state\"", "\"stat\""},
		{"\"settled\":\tfalse", "\"settled\":\ttrue"},
		{"\"started\"", "\"sha256\":\"zz\",\"started\""},
	};
	struct fixture *f = *state;
	struct build_record r;
	int64_t stamp;

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		tamper(f, changes[i][0], changes[i][1]);
		if (buildstore_load(f->s, &f->of, &r, &stamp) != -ENOENT)
			fail_msg("%s", changes[i][1]);
		/* It is dropped. */
		assert_int_equal(each_file(f, false), 0);
	}
}

static void test_no_file(void **state)
{
	struct fixture *f = *state;
	struct build_record r;
	char name[64];
	int64_t stamp;

	name_of(f, ".json", name);
	assert_int_equal(symlinkat("/etc/passwd", f->dir, name), 0);
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), -ENOENT);
	assert_int_equal(mkfifoat(f->dir, name, 0600), 0);
	assert_int_equal(buildstore_load(f->s, &f->of, &r, &stamp), -ENOENT);
	assert_int_equal(each_file(f, false), 0);
}

/* ---- logs ---- */

static void keep(struct fixture *f, const char *version, size_t size, struct build_record *r)
{
	struct logfile *l;
	char *data = calloc(1, size);

	assert_non_null(data);
	f->of.version = version;
	*r = (struct build_record){.size = size};
	assert_int_equal(logfile_new(f->dir, &l), 0);
	assert_int_equal(logfile_put(l, 0, data, size), 0);
	assert_int_equal(buildstore_keep(f->s, &f->of, l, r), 0);
	logfile_unref(l);
	free(data);
}

static int get(struct fixture *f, const char *version, const struct build_record *r)
{
	struct logfile *l = NULL;
	int rc;

	f->of.version = version;
	rc = buildstore_log(f->s, &f->of, r, &l);
	assert_int_equal(!l, rc != 0);
	logfile_unref(l);
	return rc;
}

static void test_kept(void **state)
{
	struct fixture *f = *state;
	struct build_record r;
	char name[64];
	int fd;

	keep(f, "1", 100, &r);
	assert_int_equal(strlen(r.digest), LOGFILE_DIGEST_SIZE - 1);
	assert_int_equal(get(f, "1", &r), 0);
	/* Of another length, or with another byte, it is dropped. */
	r.size++;
	assert_int_equal(get(f, "1", &r), -ENOENT);
	assert_int_equal(each_file(f, false), 0);
	keep(f, "1", 100, &r);
	name_of(f, ".log", name);
	fd = openat(f->dir, name, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 50), 1);
	close(fd);
	assert_int_equal(get(f, "1", &r), -ENOENT);
	assert_int_equal(each_file(f, false), 0);
	assert_int_equal(get(f, "1", &r), -ENOENT);
}

static void test_room(void **state)
{
	struct fixture *f = *state;
	struct build_record a, b, c, large;
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	char name[64];

	keep(f, "1", 400, &a);
	keep(f, "2", 400, &b);
	for (const char *const *v = (const char *const[]){"1", "2", NULL}; *v; v++) {
		f->of.version = *v;
		name_of(f, ".log", name);
		old[0].tv_sec = old[1].tv_sec += 1000;
		assert_int_equal(utimensat(f->dir, name, old, 0), 0);
	}
	/* The first is older, but was used since. */
	assert_int_equal(get(f, "1", &a), 0);
	keep(f, "3", 400, &c);
	assert_int_equal(get(f, "2", &b), -ENOENT);
	assert_int_equal(get(f, "1", &a), 0);
	assert_int_equal(get(f, "3", &c), 0);
	/* What is larger than all of the room is not kept, and pushes nobody out. */
	keep(f, "4", LOGS_MAX + 1, &large);
	assert_string_equal(large.digest, "");
	assert_int_equal(each_file(f, false), 2);
}

static void test_nowhere(void **state)
{
	struct fixture *f = *state;
	struct buildstore *s;
	struct build_record r = {.location = NULL};
	int64_t stamp = 0;

	assert_int_equal(buildstore_open(-1, LOGS_MAX, &s), 0);
	assert_int_equal(buildstore_save(s, &f->of, &r, &stamp), 0);
	assert_int_equal(buildstore_load(s, &f->of, &r, &stamp), -ENOENT);
	assert_int_equal(buildstore_stamp(s, &f->of), 0);
	buildstore_close(s);
}

#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_round),   WITH(test_other_versions), WITH(test_tampered),
		WITH(test_no_file), WITH(test_kept),           WITH(test_room),
		WITH(test_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
