/* fs/context_edit: the build context that a directory shows while files of it are edited. */
#include "fs/context_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/edits.h"
#include "fs/node.h"
#include "fs/upper.h"
#include "fs/whiteout.h"
#include "tests/unit/fsys_fixture.h"

enum { BASE_FILES = 5 };

static const char BUILD[] = "name: e\nbuild:\n  path: context\n";

static const struct memcontext_file base[BASE_FILES] = {
	{"Dockerfile", "FROM x\n"}, {"a/b", "b\n"}, {"a/c", "c\n"}, {"d", "d\n"}, {"p%41", "p\n"},
};

/* One save of a file of version 1's context. */
struct trial {
	struct fsys_fixture *f;
	struct spec *spec;
	struct version *v; /* the base */
	struct stage *stage;
	struct context_edit x;
	struct assetdir *dir;
	char vdir[FSYS_PATH];
	char bytes[FSYS_PATH];
	struct err e;
};

static void begin(struct trial *t, struct fsys_fixture *f)
{
	const char *uri = memcontexts_add(memsource_contexts(f->m), base, BASE_FILES);

	*t = (struct trial){.f = f};
	fsys_publish(f, &(struct version){.env = "e", .version = "1", .context_uri = uri});
	t->v = memsource_get(f->m, "e", "1");
	fsys_vdir(f, "e", "1", t->vdir);
	assert_int_equal(spec_parse(BUILD, sizeof(BUILD) - 1, &t->spec, NULL), 0);
}

/* rel is saved with that text (NULL: spec.yml is, which says nothing new). */
static int stage_it(struct trial *t, const char *rel, const char *text)
{
	struct proc_id nobody = {0};
	const char *saved = rel ? rel : "spec.yml";
	struct publish_edit p = {t->f->scope, t->vdir, saved,
				 fsys_path(t->f, "edit", "e", "1", saved, t->bytes), &nobody};

	fsys_write(t->f, t->bytes, text ? text : BUILD);
	assert_int_equal(stage_new(&t->f->fs, &t->stage), 0);
	assert_int_equal(stage_add_text(t->stage, "spec.yml", BUILD, sizeof(BUILD) - 1), 0);
	fsys_forget_requests(t->f);
	return context_edit_stage(&t->f->fs, &p, t->v, t->spec, t->stage, fsys_call(t->f), &t->x,
				  &t->e);
}

/* ... and what that comes to. */
static void compare(struct trial *t)
{
	assert_true(t->x.touched);
	if (assetdir_read(stage_fd(t->stage), "spec.yml", -1, "e", NULL, &t->dir, &t->e))
		fail_msg("%s", t->e.msg);
	assert_int_equal(
		context_edit_compare(&t->x, &t->f->fs, t->f->scope, t->dir, fsys_call(t->f), &t->e),
		0);
}

static void end(struct trial *t)
{
	context_edit_clear(&t->x);
	assetdir_free(t->dir);
	stage_free(t->stage);
	t->stage = NULL;
	t->dir = NULL;
}

static void end_all(struct trial *t)
{
	end(t);
	version_unref(t->v);
	spec_free(t->spec);
}

/* A file of an earlier save, or of one that is still to come. */
static void show(struct trial *t, const char *rel, const char *text, bool saved)
{
	char path[FSYS_PATH];
	const struct proc_id who = {1, 1};

	fsys_write(t->f, fsys_path(t->f, "shown", "e", "1", rel, path), text);
	assert_int_equal(edits_add(t->f->fs.edits, t->vdir, rel, false), 0);
	if (saved)
		edits_attempted(t->f->fs.edits, t->vdir, rel, &who, 0);
}

static void remove_name(struct trial *t, const char *path)
{
	const struct node *version = fsys_node(t->f, "ws/e/1");
	const struct node *n = fsys_node(t->f, path);

	assert_int_equal(whiteout_add(t->f->fs.whiteouts, version->ino, n->ino), 0);
}

static const struct upload_file *find(const struct trial *t, const char *path)
{
	for (size_t i = 0; i < t->dir->n_files; i++)
		if (strcmp(t->dir->files[i].path, path) == 0)
			return &t->dir->files[i];
	return NULL;
}

/* text NULL: it is not there. same: the service has it already. */
static void assert_file(const struct trial *t, const char *path, const char *text, bool same)
{
	const struct upload_file *file = find(t, path);
	char is[64] = "";

	assert_int_equal(file != NULL, text != NULL);
	if (!file)
		return;
	assert_true(pread(file->fd, is, sizeof(is) - 1, 0) >= 0);
	assert_string_equal(is, text);
	assert_int_equal(file->size, strlen(text));
	assert_int_equal(file->from != NULL, same);
	assert_int_equal(file->from_file != NULL, same);
	if (same)
		assert_string_equal(file->from_file->path, path);
}

/* ---- untouched ---- */

static void test_nobody_touched_it(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	assert_false(t.x.touched);
	assert_int_equal(fsys_all_requests(t.f), 0);
	end(&t);
	/* A file that is open, or was refused, is not saved. */
	show(&t, "context/d", "half\n", false);
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	assert_false(t.x.touched);
	edits_attempted(t.f->fs.edits, t.vdir, "context/d", &(struct proc_id){1, 1}, -EBADMSG);
	end(&t);
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	assert_false(t.x.touched);
	end_all(&t);
}

/* ---- a file that is saved ---- */

static void test_a_changed_file(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, "context/a/b", "new\n"), 0);
	/* The edited file is not fetched. */
	assert_int_equal(fsys_requests(t.f, MEM_CONTEXT), 1);
	assert_int_equal(fsys_requests(t.f, MEM_READ), BASE_FILES - 1);
	compare(&t);
	assert_true(t.x.changed);
	assert_true(t.x.has_saved);
	assert_int_equal(t.dir->n_files, BASE_FILES);
	assert_file(&t, "a/b", "new\n", false);
	assert_file(&t, "a/c", "c\n", true);
	assert_file(&t, "Dockerfile", "FROM x\n", true);
	end_all(&t);
}

static void test_the_same_bytes(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, "context/a/b", "b\n"), 0);
	compare(&t);
	assert_false(t.x.changed);
	assert_true(t.x.has_saved);
	/* There is nothing to upload. */
	assert_int_equal(t.dir->n_files, 0);
	end_all(&t);
}

static void test_bytes_of_the_same_length(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, "context/a/b", "B\n"), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_file(&t, "a/b", "B\n", false);
	end_all(&t);
}

/* The service's own names, which the file system shows in another way. */
static void test_names_of_the_service(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, "context/p%2541", "new\n"), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_file(&t, "p%41", "new\n", false);
	assert_file(&t, "p%2541", NULL, false);
	end(&t);
	assert_int_equal(stage_it(&t, "context/d", "new\n"), 0);
	compare(&t);
	assert_file(&t, "p%41", "p\n", true);
	end_all(&t);
}

static void test_a_new_file(void **state)
{
	struct trial t;

	begin(&t, *state);
	assert_int_equal(stage_it(&t, "context/x/y/z", "new\n"), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_true(t.x.has_saved);
	assert_int_equal(t.dir->n_files, BASE_FILES + 1);
	assert_file(&t, "x/y/z", "new\n", false);
	end_all(&t);
}

/* One that is no part of the context, as an ignore file says. */
static void test_an_ignored_file(void **state)
{
	struct trial t;

	begin(&t, *state);
	show(&t, "context/.amlignore", "x\n", true);
	assert_int_equal(stage_it(&t, "context/x", "new\n"), 0);
	compare(&t);
	assert_false(t.x.has_saved);
	assert_file(&t, "x", NULL, false);
	assert_file(&t, ".amlignore", "x\n", false);
	end_all(&t);
}

/* ---- with others ---- */

static void test_what_was_saved_before(void **state)
{
	struct trial t;

	begin(&t, *state);
	show(&t, "context/a/c", "before\n", true);
	show(&t, "context/d", "half\n", false);
	show(&t, "conda.yml", "dependencies: []\n", true);
	assert_int_equal(stage_it(&t, "context/a/b", "new\n"), 0);
	compare(&t);
	assert_file(&t, "a/b", "new\n", false);
	assert_file(&t, "a/c", "before\n", false);
	assert_file(&t, "d", "d\n", true);
	assert_int_equal(t.dir->n_files, BASE_FILES);
	end(&t);
	/* Written to again: what was saved of it is not known any more. */
	edits_dirty(t.f->fs.edits, t.vdir, "context/a/c");
	assert_int_equal(stage_it(&t, "context/a/b", "new\n"), 0);
	compare(&t);
	assert_file(&t, "a/c", "c\n", true);
	end_all(&t);
}

/* The save of spec.yml takes what was saved along. */
static void test_the_spec_is_saved_after_a_file(void **state)
{
	struct trial t;

	begin(&t, *state);
	show(&t, "context/a/b", "before\n", true);
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_false(t.x.has_saved);
	assert_file(&t, "a/b", "before\n", false);
	end_all(&t);
}

/* What was made here and has not been saved by itself, such as an empty file. */
static void test_files_that_are_of_this_machine(void **state)
{
	struct trial t;
	char path[FSYS_PATH];

	begin(&t, *state);
	fsys_write(t.f, fsys_path(t.f, ".local", "e", "1", "context/a/empty", path), "");
	fsys_write(t.f, fsys_path(t.f, ".local", "e", "1", "context/a/b", path), "in the way\n");
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_file(&t, "a/empty", "", false);
	/* A published file goes before. */
	assert_file(&t, "a/b", "b\n", true);
	end_all(&t);
}

/* ---- removed ones ---- */

static void test_removed_files(void **state)
{
	struct trial t;

	begin(&t, *state);
	remove_name(&t, "ws/e/1/context/a/b");
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_file(&t, "a/b", NULL, false);
	assert_file(&t, "a/c", "c\n", true);
	end(&t);
	/* Removed and written again: as in the middle of a save. */
	assert_int_equal(stage_it(&t, "context/a/b", "b\n"), 0);
	compare(&t);
	assert_false(t.x.changed);
	end_all(&t);
}

static void test_a_removed_directory(void **state)
{
	struct trial t;

	begin(&t, *state);
	remove_name(&t, "ws/e/1/context/a");
	assert_int_equal(stage_it(&t, "context/a/new", "new\n"), 0);
	compare(&t);
	assert_file(&t, "a/b", NULL, false);
	assert_file(&t, "a/c", NULL, false);
	assert_file(&t, "a/new", "new\n", false);
	assert_file(&t, "d", "d\n", true);
	end(&t);
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_int_equal(t.dir->n_files, BASE_FILES - 2);
	end_all(&t);
}

/* rm -r, and a file in its place. */
static void test_a_file_where_a_directory_was(void **state)
{
	struct trial t;

	begin(&t, *state);
	remove_name(&t, "ws/e/1/context/a/b");
	remove_name(&t, "ws/e/1/context/a/c");
	remove_name(&t, "ws/e/1/context/a");
	assert_int_equal(stage_it(&t, "context/a", "file\n"), 0);
	compare(&t);
	assert_true(t.x.has_saved);
	assert_file(&t, "a", "file\n", false);
	assert_int_equal(t.dir->n_files, BASE_FILES - 1);
	end_all(&t);
}

/* rm -r of the version's own files is no edit of its context. */
static void test_names_beside_the_context(void **state)
{
	struct trial t;

	begin(&t, *state);
	remove_name(&t, "ws/e/1/spec.yml");
	remove_name(&t, "ws/e/1/Dockerfile");
	remove_name(&t, "ws/e/1/build.log");
	assert_int_equal(stage_it(&t, NULL, NULL), 0);
	assert_false(t.x.touched);
	end_all(&t);
}

/* ---- without a base ---- */

static void test_no_base(void **state)
{
	struct trial t;
	struct version *v;

	begin(&t, *state);
	v = t.v;
	t.v = NULL;
	assert_int_equal(stage_it(&t, "context/Dockerfile", "FROM y\n"), 0);
	assert_int_equal(fsys_all_requests(t.f), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_int_equal(t.dir->n_files, 1);
	assert_file(&t, "Dockerfile", "FROM y\n", false);
	t.v = v;
	end_all(&t);
}

/* A base without files: a git repository. */
static void test_a_base_without_files(void **state)
{
	struct trial t;

	begin(&t, *state);
	version_unref(t.v);
	t.v = version_new(&(struct version){
		.env = "e", .version = "1", .context_uri = "https://github.com/a/b.git#main"});
	assert_int_equal(stage_it(&t, "context/Dockerfile", "FROM y\n"), 0);
	assert_int_equal(fsys_all_requests(t.f), 0);
	compare(&t);
	assert_true(t.x.changed);
	assert_int_equal(t.dir->n_files, 1);
	end_all(&t);
}

/* ---- failures ---- */

static void test_a_base_that_cannot_be_read(void **state)
{
	struct trial t;

	begin(&t, *state);
	memsource_fail(t.f->m, MEM_READ, -ETIMEDOUT, "slow");
	assert_int_equal(stage_it(&t, "context/a/b", "new\n"), -ETIMEDOUT);
	assert_string_equal(t.e.msg, "slow");
	end(&t);
	/* A failed answer says nothing of what was typed. */
	memsource_fail(t.f->m, MEM_READ, -EBADMSG, "no answer");
	assert_int_equal(stage_it(&t, "context/a/b", "new\n"), -EIO);
	end_all(&t);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_nobody_touched_it),
		WITH_MOUNT(test_a_changed_file),
		WITH_MOUNT(test_the_same_bytes),
		WITH_MOUNT(test_bytes_of_the_same_length),
		WITH_MOUNT(test_names_of_the_service),
		WITH_MOUNT(test_a_new_file),
		WITH_MOUNT(test_an_ignored_file),
		WITH_MOUNT(test_what_was_saved_before),
		WITH_MOUNT(test_the_spec_is_saved_after_a_file),
		WITH_MOUNT(test_files_that_are_of_this_machine),
		WITH_MOUNT(test_removed_files),
		WITH_MOUNT(test_a_removed_directory),
		WITH_MOUNT(test_a_file_where_a_directory_was),
		WITH_MOUNT(test_names_beside_the_context),
		WITH_MOUNT(test_no_base),
		WITH_MOUNT(test_a_base_without_files),
		WITH_MOUNT(test_a_base_that_cannot_be_read),
	};

	return cmocka_run_group_tests_name("context_edit", tests, NULL, NULL);
}
