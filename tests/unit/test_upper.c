/* fs/upper and fs/upper_run: where what is written lies, and what is done with what was left. */
#include "fs/upper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "tests/unit/fsys_fixture.h"

enum { RUNS = 64 };

#define DIR "0123456789abcdef/e/1"

static const char LOST[] = "mlenvfs ended before this was saved";

/* ---- paths ---- */

static const struct {
	const char *path;
	struct upper_place place; /* its rel: what is expected */
} places[] = {
	{DIR, {UPPER_DRAFT, "0123456789abcdef", "e", "1", ""}},
	{DIR "/", {UPPER_DRAFT, "0123456789abcdef", "e", "1", ""}},
	{DIR "/spec.yml", {UPPER_DRAFT, "0123456789abcdef", "e", "1", "spec.yml"}},
	{"0123456789abcdef/e/.next/context/a/b",
	 {UPPER_DRAFT, "0123456789abcdef", "e", ".next", "context/a/b"}},
	{"0123456789abcdef/e/notes.txt", {UPPER_DRAFT, "0123456789abcdef", "e", "notes.txt", ""}},
	{".scratch/0123456789abcdef/e/.spec.yml.swp",
	 {UPPER_SCRATCH, "0123456789abcdef", "e", "", ".spec.yml.swp"}},
	{".scratch/0123456789abcdef/e", {UPPER_SCRATCH, "0123456789abcdef", "e", "", ""}},
	{".scratch/0123456789abcdef/e/context/.x.swp",
	 {UPPER_SCRATCH, "0123456789abcdef", "e", "", "context/.x.swp"}},
	{".local/" DIR "/spec.yml.rejected",
	 {UPPER_LOCAL, "0123456789abcdef", "e", "1", "spec.yml.rejected"}},
	{".local/" DIR, {UPPER_LOCAL, "0123456789abcdef", "e", "1", ""}},
	{".local/0123456789abcdef/e/.env/spec.yml",
	 {UPPER_LOCAL, "0123456789abcdef", "e", UPPER_ENV, "spec.yml"}},
	{".run/0/edit/" DIR "/spec.yml", {UPPER_EDIT, "0123456789abcdef", "e", "1", "spec.yml"}},
	{".run/63/shown/" DIR "/context/a/b",
	 {UPPER_SHOWN, "0123456789abcdef", "e", "1", "context/a/b"}},
};

static void test_every_place_is_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const struct upper_place *expected = &places[i].place;
		const char *path = places[i].path;
		struct upper_place p;

		assert_int_equal(upper_parse(path, &p), 0);
		assert_int_equal(p.area, expected->area);
		assert_string_equal(p.scope, expected->scope);
		assert_string_equal(p.env, expected->env);
		assert_string_equal(p.version, expected->version);
		assert_string_equal(p.rel, expected->rel);
		/* Within the path given. */
		assert_in_range((uintptr_t)p.rel, (uintptr_t)path, (uintptr_t)path + strlen(path));
		assert_int_equal(upper_is_over(path),
				 p.area == UPPER_EDIT || p.area == UPPER_SHOWN);
	}
}

static void test_what_is_no_place(void **state)
{
	static const char *const paths[] = {
		"",
		"/",
		"0123456789abcdef",
		"0123456789abcdef/e",
		"0123456789abcdef//1",
		"0123456789abcdef0/e/1", /* longer than a scope's name can be */
		"/0123456789abcdef/e/1",
		".scratch",
		".scratch/0123456789abcdef",
		".local/0123456789abcdef/e",
		".run",
		".run/0",
		".run/0/lock",
		".run/0/tmp/copy-1",
		".run/0/journal/x",
		".run/0/edit",
		".run/0/edit/0123456789abcdef/e",
		".run//edit/" DIR,
		".kept/" DIR "/f-spec.yml",
	};
	char longer[NAME_SIZE + 64];
	struct upper_place p;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		if (upper_parse(paths[i], &p) != -ENOENT)
			fail_msg("%s is taken for something", paths[i]);
		assert_false(upper_is_over(paths[i]));
	}
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "0123456789abcdef/", 17);
	longer[sizeof(longer) - 3] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(upper_parse(longer, &p), -ENOENT);
}

static void test_paths_are_made_as_they_are_read(void **state)
{
	static const enum upper_area areas[] = {UPPER_DRAFT, UPPER_SCRATCH, UPPER_LOCAL, UPPER_EDIT,
						UPPER_SHOWN};
	static const char *const rels[] = {"", "spec.yml", "context/a/b"};
	struct fsys_fixture *f = *state;

	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		for (size_t k = 0; k < 3; k++) {
			_cleanup_free_ char *path = upper_path(&f->fs, areas[i], DIR, rels[k]);
			_cleanup_free_ char *dir = NULL;
			struct upper_place p;

			assert_int_equal(upper_parse(path, &p), 0);
			assert_int_equal(p.area, areas[i]);
			assert_string_equal(p.rel, rels[k]);
			dir = upper_dir(&p);
			assert_string_equal(dir, areas[i] == UPPER_SCRATCH ? "0123456789abcdef/e/"
									   : DIR);
		}
	}
}

/* ---- names ---- */

static void test_what_the_definition_is_made_of(void **state)
{
	static const struct {
		const char *version, *rel;
		bool is;
	} names[] = {
		{"1", "spec.yml", true},
		{"1", "conda.yml", true},
		{"1", "context/Dockerfile", true},
		{"1", "context/a/b/c", true},
		{"1", "context/.hidden", true},
		{UPPER_ENV, "spec.yml", true},
		{UPPER_ENV, "conda.yml", true},
		{UPPER_ENV, "context/Dockerfile", false},
		{"1", "", false},
		{"1", "Dockerfile", false},
		{"1", "build.log", false},
		{"1", "context", false},
		{"1", "contexts/a", false},
		{"1", "spec.yml~", false},
		{"1", "spec.yml.rejected", false},
		{"1", "a/spec.yml", false},
		{"1", "context/.Dockerfile.swp", false},
		{"1", "context/Dockerfile~", false},
		{"1", "context/.goutputstream-ABC123/x", false},
		{"1", "context/a/.#x", false},
		{"1", "context/Dockerfile.rejected", false},
	};
	_cleanup_free_ char *rejected = upper_rejected_name("context/a");

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (upper_is_asset(names[i].version, names[i].rel) != names[i].is)
			fail_msg("%s in %s", names[i].rel, names[i].version);
	assert_string_equal(rejected, "context/a.rejected");
}

/* ---- directories of the mount ---- */

static const struct memcontext_file context[] = {{"Dockerfile", "FROM x\n"}, {"a/b", "b\n"}};

static void publish(struct fsys_fixture *f)
{
	struct version v = {.env = "e",
			    .version = "1",
			    .context_uri = memcontexts_add(memsource_contexts(f->m), context, 2)};

	fsys_publish(f, &v);
	v.version = "2";
	v.archived = true;
	fsys_publish(f, &v);
}

static void mkdir_at(struct fsys_fixture *f, const char *path)
{
	assert_int_equal(local_make_dirs(f->fs.local, path), 0);
}

static void test_directories_of_versions(void **state)
{
	static const struct {
		const char *path, *version, *rel; /* version NULL: none */
	} dirs[] = {
		{"", NULL, NULL},
		{"ws", NULL, NULL},
		{"ws/.archived", NULL, NULL},
		{"ws/.archived/e", NULL, NULL},
		{"ws/.archived/e/2", NULL, NULL},
		{"ws/e", UPPER_ENV, ""},
		{"ws/e/1", "1", ""},
		{"ws/e/1/context", "1", "context"},
		{"ws/e/1/context/a", "1", "context/a"},
		{"ws/e/1/notes", "1", "notes"},
		{"ws/e/1/notes/more", "1", "notes/more"},
		{"ws/e/1/spec.yml", NULL, NULL},
		{"ws/e/5", NULL, NULL}, /* a draft */
		{"ws/e/5/context", NULL, NULL},
	};
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	publish(f);
	mkdir_at(f, fsys_path(f, ".local", "e", "1", "notes/more", path));
	mkdir_at(f, fsys_path(f, "", "e", "5", "context", path));
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		_cleanup_free_ char *vdir = NULL;
		_cleanup_free_ char *rel = NULL;
		struct node *n = fsys_node(f, dirs[i].path);

		assert_non_null(n);
		assert_int_equal(upper_of_dir(&f->fs, n, &vdir, &rel),
				 dirs[i].version ? 0 : -ENOENT);
		if (!dirs[i].version)
			continue;
		assert_string_equal(vdir, fsys_vdir(f, "e", dirs[i].version, path));
		assert_string_equal(rel, dirs[i].rel);
	}
}

/* Where a new name goes; version NULL: a draft's area. */
static void assert_goes(struct fsys_fixture *f, const char *dir, const char *name,
			enum upper_area area, const char *version, const char *rel)
{
	char vdir[FSYS_PATH];
	_cleanup_free_ char *expected =
		upper_path(&f->fs, area, fsys_vdir(f, "e", version, vdir), rel);
	_cleanup_free_ char *above = strndup(expected, (size_t)(strrchr(expected, '/') - expected));
	struct node *n = fsys_node(f, dir);
	int rc;
	_cleanup_free_ char *path = upper_new_path(&f->fs, n, name, &rc);

	assert_int_equal(rc, 0);
	assert_string_equal(path, expected);
	assert_true(fsys_exists(f, above));
	assert_false(fsys_exists(f, path));
}

static void test_where_new_names_go(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	publish(f);
	mkdir_at(f, fsys_path(f, ".local", "e", "1", "notes", path));
	mkdir_at(f, fsys_path(f, "", "e", "5", "sub", path));
	assert_goes(f, "ws/e/1", "spec.yml", UPPER_SHOWN, "1", "spec.yml");
	assert_goes(f, "ws/e/1", "conda.yml", UPPER_SHOWN, "1", "conda.yml");
	assert_goes(f, "ws/e/1", ".spec.yml.swp", UPPER_SCRATCH, "1", ".spec.yml.swp");
	assert_goes(f, "ws/e/1", "todo.txt", UPPER_SCRATCH, "1", "todo.txt");
	assert_goes(f, "ws/e/1/context", "new", UPPER_SHOWN, "1", "context/new");
	assert_goes(f, "ws/e/1/context/a", "new", UPPER_SHOWN, "1", "context/a/new");
	assert_goes(f, "ws/e/1/context/a", ".new.swp", UPPER_SCRATCH, "1", "context/a/.new.swp");
	/* A directory of one version has its files beside it, what editors make excepted. */
	assert_goes(f, "ws/e/1/notes", "x", UPPER_LOCAL, "1", "notes/x");
	assert_goes(f, "ws/e/1/notes", ".x.swp", UPPER_SCRATCH, "1", "notes/.x.swp");
	assert_goes(f, "ws/e", "spec.yml", UPPER_SHOWN, UPPER_ENV, "spec.yml");
	assert_goes(f, "ws/e", "todo.txt", UPPER_DRAFT, "todo.txt", "");
	assert_goes(f, "ws/e", ".x.swp", UPPER_DRAFT, ".x.swp", "");
	assert_goes(f, "ws/e/5", "spec.yml", UPPER_DRAFT, "5", "spec.yml");
	assert_goes(f, "ws/e/5/sub", "x", UPPER_DRAFT, "5", "sub/x");
}

/* After a copied version was published the copying goes on. */
static void test_what_follows_the_files_of_a_draft(void **state)
{
	struct fsys_fixture *f = *state;
	char vdir[FSYS_PATH];

	publish(f);
	edits_set_glowing(f->fs.edits, fsys_vdir(f, "e", "1", vdir));
	assert_goes(f, "ws/e/1", "notes.txt", UPPER_LOCAL, "1", "notes.txt");
	assert_goes(f, "ws/e/1", "spec.yml", UPPER_SHOWN, "1", "spec.yml");
	assert_goes(f, "ws/e/1", ".spec.yml.swp", UPPER_SCRATCH, "1", ".spec.yml.swp");
	/* Each of them keeps that going. */
	fsys_pass(EDITS_LIFE - 1);
	assert_goes(f, "ws/e/1", "notes.txt", UPPER_LOCAL, "1", "notes.txt");
	fsys_pass(EDITS_LIFE - 1);
	assert_goes(f, "ws/e/1", "more.txt", UPPER_LOCAL, "1", "more.txt");
	fsys_pass(EDITS_LIFE);
	assert_goes(f, "ws/e/1", "more.txt", UPPER_SCRATCH, "1", "more.txt");
}

static void test_where_nothing_can_be_made(void **state)
{
	static const char *const dirs[] = {"ws/.archived", "ws/.archived/e", "ws/.archived/e/2"};
	struct fsys_fixture *f = *state;
	int rc;

	publish(f);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		assert_null(upper_new_path(&f->fs, fsys_node(f, dirs[i]), "x", &rc));
		assert_int_equal(rc, -EROFS);
	}
}

/* ---- a mount's own part ---- */

static struct upper_run *begin(struct fsys_fixture *f)
{
	struct upper_run *run;
	struct err e = ERR_INIT;

	if (upper_begin(f->fs.local, &run, &e))
		fail_msg("%s", e.msg);
	return run;
}

static void test_every_mount_has_its_own_part(void **state)
{
	struct fsys_fixture *f = *state;
	struct upper_run *second, *third;

	assert_string_equal(upper_run_path(f->fs.run), ".run/0");
	second = begin(f);
	third = begin(f);
	assert_string_equal(upper_run_path(second), ".run/1");
	assert_string_equal(upper_run_path(third), ".run/2");
	assert_true(fsys_exists(f, ".run/1/tmp"));
	assert_true(fsys_exists(f, ".run/1/journal"));
	/* What an ended one had is free again. */
	upper_end(second);
	second = begin(f);
	assert_string_equal(upper_run_path(second), ".run/1");
	upper_end(second);
	upper_end(third);
}

/* Also one of another process, and only as long as that lives. */
static void test_another_process_has_its_part(void **state)
{
	struct fsys_fixture *f = *state;
	struct upper_run *run;
	int down[2], up[2];
	char byte = 0;
	pid_t child;

	fsys_write(f, ".run/1/edit/" DIR "/spec.yml", "typed\n");
	assert_int_equal(pipe(down), 0);
	assert_int_equal(pipe(up), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = openat(local_fd(f->fs.local), ".run/1/lock", O_RDWR | O_CREAT, 0600);

		close(down[1]);
		_exit(fd < 0 || flock(fd, LOCK_EX) || write(up[1], "x", 1) != 1 ||
		      read(down[0], &byte, 1) < 0);
	}
	close(down[0]);
	assert_int_equal(read(up[0], &byte, 1), 1);
	run = begin(f);
	assert_string_equal(upper_run_path(run), ".run/2");
	fsys_assert_file(f, ".run/1/edit/" DIR "/spec.yml", "typed\n");
	assert_false(fsys_exists(f, ".local/" DIR "/spec.yml.rejected"));
	upper_end(run);
	close(down[1]);
	close(up[0]);
	close(up[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);

	run = begin(f);
	assert_string_equal(upper_run_path(run), ".run/1");
	fsys_assert_file(f, ".local/" DIR "/spec.yml.rejected", "typed\n");
	upper_end(run);
}

static void test_there_are_only_so_many_parts(void **state)
{
	struct fsys_fixture *f = *state;
	struct upper_run *runs[RUNS], *more;
	struct err e = ERR_INIT;

	for (int i = 1; i < RUNS; i++)
		runs[i] = begin(f);
	assert_true(upper_begin(f->fs.local, &more, &e) < 0);
	assert_null(more);
	assert_non_null(strstr(e.msg, "the state directory can't be used"));
	for (int i = 1; i < RUNS; i++)
		upper_end(runs[i]);
	upper_end(NULL);
}

static void assert_reason(struct fsys_fixture *f, const char *path, const char *expected)
{
	_cleanup_buf_ struct buf reason = BUF_INIT(ERR_MSG_MAX);
	int rc = edit_get_note(&f->fs, path, &reason);

	assert_int_equal(rc, expected ? 0 : -ENODATA);
	if (expected)
		assert_string_equal(buf_str(&reason), expected);
}

/* The daemon died: what was typed and not saved is beside the published files. */
static void test_unsaved_bytes_are_put_aside(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_write(f, ".run/0/edit/" DIR "/spec.yml", "typed\n");
	fsys_write(f, ".run/0/edit/" DIR "/context/a/b", "typed too\n");
	fsys_write(f, ".run/0/edit/0123456789abcdef/e/.env/spec.yml", "single\n");
	fsys_unmount(f);
	fsys_mount(f);
	fsys_assert_file(f, ".local/" DIR "/spec.yml.rejected", "typed\n");
	fsys_assert_file(f, ".local/" DIR "/context/a/b.rejected", "typed too\n");
	fsys_assert_file(f, ".local/0123456789abcdef/e/.env/spec.yml.rejected", "single\n");
	assert_reason(f, ".local/" DIR "/spec.yml.rejected", LOST);
	assert_reason(f, ".local/" DIR "/context/a/b.rejected", LOST);
	assert_reason(f, ".local/" DIR, LOST);
	assert_false(fsys_exists(f, ".run/0/edit"));
	/* Once: the next mount has nothing to put aside. */
	fsys_unmount(f);
	fsys_mount(f);
	assert_int_equal(fsys_count(f, ".local"), 3);
}

/* Older ones stay what they are. */
static void test_refused_bytes_are_numbered(void **state)
{
	static const char *const names[] = {
		".local/" DIR "/spec.yml.rejected", ".local/" DIR "/spec.yml.rejected.1",
		".local/" DIR "/spec.yml.rejected.2", ".local/" DIR "/spec.yml.rejected.3"};
	static const char *const texts[] = {"0\n", "1\n", "2\n", "3\n"};
	struct fsys_fixture *f = *state;

	for (int i = 0; i < 4; i++) {
		fsys_write(f, ".run/0/edit/" DIR "/spec.yml", texts[i]);
		fsys_unmount(f);
		fsys_mount(f);
		for (int k = 0; k < 4; k++)
			fsys_assert_file(f, names[k], k <= i ? texts[k] : NULL);
	}
}

/* What was on show had been saved, or put aside; copies in the making are nothing. */
static void test_what_was_on_show_goes(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_write(f, ".run/0/shown/" DIR "/spec.yml", "saved\n");
	fsys_write(f, ".run/0/shown/" DIR "/context/a/b", "saved\n");
	fsys_write(f, ".run/0/tmp/stage-0/spec.yml", "half\n");
	fsys_write(f, ".run/0/tmp/copy-0", "half\n");
	fsys_write(f, ".run/0/journal/x", "kept\n");
	fsys_unmount(f);
	fsys_mount(f);
	assert_int_equal(fsys_count(f, ".run/0/shown"), 0);
	assert_int_equal(fsys_count(f, ".run/0/tmp"), 0);
	assert_int_equal(fsys_count(f, ".local"), 0);
}

/* Everything else on the disk is left alone. */
static void test_the_rest_stays(void **state)
{
	static const char *const paths[] = {DIR "/spec.yml",
					    ".scratch/0123456789abcdef/e/.spec.yml.swp",
					    ".local/" DIR "/notes", ".kept/" DIR "/f-spec.yml"};
	struct fsys_fixture *f = *state;

	for (size_t i = 0; i < 4; i++)
		fsys_write(f, paths[i], "x\n");
	fsys_unmount(f);
	fsys_mount(f);
	for (size_t i = 0; i < 4; i++)
		fsys_assert_file(f, paths[i], "x\n");
	assert_reason(f, ".local/" DIR, NULL);
}

/* Bytes that have no place beside a version stay where they are, and are not dropped. */
static void test_bytes_that_cannot_be_put_aside(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_write(f, ".run/0/edit/odd", "x\n");
	fsys_write(f, ".run/0/edit/" DIR "/context/a/b", "typed\n");
	fsys_write(f, ".local/" DIR "/context/a", "in the way\n");
	fsys_unmount(f);
	fsys_mount(f);
	fsys_assert_file(f, ".run/0/edit/odd", "x\n");
	fsys_assert_file(f, ".run/0/edit/" DIR "/context/a/b", "typed\n");
	fsys_assert_file(f, ".local/" DIR "/context/a", "in the way\n");
}

/* Several mounts died; one comes back. */
static void test_the_parts_of_others_that_ended(void **state)
{
	struct fsys_fixture *f = *state;
	struct upper_run *second = begin(f), *third = begin(f), *fourth = begin(f);

	fsys_write(f, ".run/1/edit/" DIR "/spec.yml", "1\n");
	fsys_write(f, ".run/1/shown/" DIR "/conda.yml", "1\n");
	fsys_write(f, ".run/2/edit/" DIR "/spec.yml", "2\n");
	fsys_write(f, ".run/3/edit/" DIR "/conda.yml", "3\n");
	upper_end(second);
	upper_end(fourth);
	fsys_unmount(f);
	fsys_mount(f);
	fsys_assert_file(f, ".local/" DIR "/spec.yml.rejected", "1\n");
	fsys_assert_file(f, ".local/" DIR "/conda.yml.rejected", "3\n");
	assert_int_equal(fsys_count(f, ".run/1/shown"), 0);
	/* That one still runs. */
	fsys_assert_file(f, ".run/2/edit/" DIR "/spec.yml", "2\n");
	upper_end(third);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_place_is_known),
		cmocka_unit_test(test_what_is_no_place),
		WITH_MOUNT(test_paths_are_made_as_they_are_read),
		cmocka_unit_test(test_what_the_definition_is_made_of),
		WITH_MOUNT(test_directories_of_versions),
		WITH_MOUNT(test_where_new_names_go),
		WITH_MOUNT(test_what_follows_the_files_of_a_draft),
		WITH_MOUNT(test_where_nothing_can_be_made),
		WITH_MOUNT(test_every_mount_has_its_own_part),
		WITH_MOUNT(test_another_process_has_its_part),
		WITH_MOUNT(test_there_are_only_so_many_parts),
		WITH_MOUNT(test_unsaved_bytes_are_put_aside),
		WITH_MOUNT(test_refused_bytes_are_numbered),
		WITH_MOUNT(test_what_was_on_show_goes),
		WITH_MOUNT(test_the_rest_stays),
		WITH_MOUNT(test_bytes_that_cannot_be_put_aside),
		WITH_MOUNT(test_the_parts_of_others_that_ended),
	};

	return cmocka_run_group_tests_name("upper", tests, NULL, NULL);
}
