/* fs/shown and fs/keep: what published files show of what was set on this machine. */
#include "fs/shown.h"

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

#include <fuse_lowlevel.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/keep.h"
#include "fs/kept.h"
#include "fs/render.h"
#include "fs/tree.h"
#include "tests/unit/fsys_fixture.h"

enum { MODE = 0640, RENDERED = 4711 /* a size that is not changed */ };

static const char CONDA[] = "dependencies:\n- python=3.10\n";
static const char TYPED[] = "# mine\nname: e\nversion: \"1\"\nimage:   i:1\n";
static const char TAGGED[] = "name: e\nversion: \"1\"\nimage: i:1\ntags: {a: '1'}\n";
static const struct kv tags[] = {{"a", "1"}};
static const struct timespec then = {1600000000, 123456789}, later = {1700000000, 1};

static const struct version plain = {
	.env = "e", .version = "1", .image = "i:1", .created = NS_PER_S};

/* The version as the mount knows it now; its node is looked up for that. */
static struct version *record(struct fsys_fixture *f, const char *path)
{
	return node_get_version(f->fs.nodes, fsys_node(f, path));
}

/* Somebody else changes version 1; the mount gets to know it. */
static void change(struct fsys_fixture *f, const struct version *fields)
{
	memsource_remove_version(f->m, "e", "1");
	memsource_put(f->m, fields);
	catalog_expire(f->fs.catalog);
	version_unref(record(f, "ws/e/1"));
}

static struct stat attributes(const struct timespec *mtime, mode_t mode)
{
	return (struct stat){.st_mode = S_IFREG | mode, .st_mtim = *mtime};
}

/* Keeps a text of version 1 as a save does. */
static void keep_text(struct fsys_fixture *f, const char *rel, const char *text)
{
	struct version *v = record(f, "ws/e/1");
	const struct stat st = attributes(&then, MODE);

	shown_keep_text(&f->fs, f->scope, v, rel, text, strlen(text), true, &st);
	version_unref(v);
}

/* expected NULL: what the record amounts to. */
static void assert_shows(struct fsys_fixture *f, const char *path, enum node_kind kind,
			 const char *expected)
{
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	_cleanup_buf_ struct buf rendered = BUF_INIT(RENDER_MAX);
	struct version *v = record(f, path);

	assert_int_equal(shown_text(&f->fs, fsys_node(f, path), kind, &text), 0);
	assert_int_equal(render_file(v, kind, &rendered), 0);
	assert_string_equal(buf_str(&text), expected ? expected : buf_str(&rendered));
	version_unref(v);
}

/* What stat(2) of a file or directory at path is; it begins with a size, a time and a mode. */
static struct stat shown(struct fsys_fixture *f, const char *path)
{
	struct stat st = {.st_mode = S_IFREG | 0644, .st_size = RENDERED, .st_mtim = {1, 2}};
	struct node *n = fsys_node(f, path);
	struct version *v = node_get_version(f->fs.nodes, tree_version_of(n));

	assert_int_equal(shown_stat(&f->fs, n, v, &st), 0);
	version_unref(v);
	return st;
}

static void assert_attributes(struct fsys_fixture *f, const char *path, int64_t size,
			      const struct timespec *mtime, mode_t mode)
{
	struct stat st = shown(f, path);

	assert_int_equal(st.st_size, size);
	assert_int_equal(st.st_mtim.tv_sec, mtime->tv_sec);
	assert_int_equal(st.st_mtim.tv_nsec, mtime->tv_nsec);
	assert_int_equal(st.st_mode, S_IFREG | mode);
}

static void assert_untouched(struct fsys_fixture *f, const char *path)
{
	assert_attributes(f, path, RENDERED, &(struct timespec){1, 2}, 0644);
}

/* ---- texts ---- */

static void test_nothing_is_kept_at_first(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_publish(f, &plain);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_untouched(f, "ws/e/1/spec.yml");
}

static void test_a_kept_text_is_shown(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_publish(f, &plain);
	/* The node has been asked already: what is kept now is seen all the same. */
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	keep_text(f, "spec.yml", TYPED);
	assert_shows(f, "ws/e/1", NODE_SPEC, TYPED);
	assert_attributes(f, "ws/e/1/spec.yml", sizeof(TYPED) - 1, &then, MODE);
	assert_int_equal(shown(f, "ws/e/1/spec.yml").st_blocks, 1);
	/* ... also by the next mount. */
	fsys_unmount(f);
	fsys_mount(f);
	assert_shows(f, "ws/e/1", NODE_SPEC, TYPED);
	assert_attributes(f, "ws/e/1/spec.yml", sizeof(TYPED) - 1, &then, MODE);
}

/* Saved from another version's directory, or a draft of another name. */
static void test_names_are_put_right(void **state)
{
	struct fsys_fixture *f = *state;

	fsys_publish(f, &plain);
	keep_text(f, "spec.yml", "# mine\nname: other\nversion: 7 # old\nimage: i:1\n");
	assert_shows(f, "ws/e/1", NODE_SPEC, "# mine\nname: e\nversion: \"1\" # old\nimage: i:1\n");
}

static void test_conda_text_is_shown(void **state)
{
	struct fsys_fixture *f = *state;
	static const char mine[] = "# mine\ndependencies: [python=3.10]\n";
	struct version v = plain;

	v.conda = CONDA;
	fsys_publish(f, &v);
	keep_text(f, "conda.yml", mine);
	assert_shows(f, "ws/e/1", NODE_CONDA, mine);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_attributes(f, "ws/e/1/conda.yml", sizeof(mine) - 1, &then, MODE);
	assert_untouched(f, "ws/e/1/spec.yml");
}

/* Deleted and made anew under the same name, even with the same content: another version. */
static void test_a_text_of_another_record(void **state)
{
	struct fsys_fixture *f = *state;
	struct version v = plain;

	fsys_publish(f, &v);
	keep_text(f, "spec.yml", TYPED);
	v.created++;
	change(f, &v);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_untouched(f, "ws/e/1/spec.yml");
	/* What is kept of it takes the place of the old. */
	keep_text(f, "spec.yml", TYPED);
	assert_shows(f, "ws/e/1", NODE_SPEC, TYPED);
	v.created--;
	change(f, &v);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
}

/* Others change tags: the text does not say so. They change them back: it does again. */
static void test_a_text_when_others_change_tags(void **state)
{
	struct fsys_fixture *f = *state;
	struct version v = plain, tagged = plain;

	v.conda = tagged.conda = CONDA;
	tagged.tags = tags;
	tagged.n_tags = 1;
	fsys_publish(f, &v);
	keep_text(f, "conda.yml", "# conda\ndependencies: [python=3.10]\n");
	keep_text(f, "spec.yml", "# mine\nname: e\nimage: i:1\nconda_file: conda.yml\n");
	change(f, &tagged);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_untouched(f, "ws/e/1/spec.yml");
	/* Of the conda file it is no change. */
	assert_shows(f, "ws/e/1", NODE_CONDA, "# conda\ndependencies: [python=3.10]\n");
	change(f, &v);
	assert_shows(f, "ws/e/1", NODE_SPEC,
		     "# mine\nversion: \"1\"\nname: e\nimage: i:1\nconda_file: conda.yml\n");
}

/* What the text says and the record does not is not shown: only its time and mode are. */
static void test_a_text_that_says_something_else(void **state)
{
	static const char *const texts[] = {
		"name: e\nimage: i:2\n",
		"name: e\nimage: i:1\ntags: {x: y}\n",
		"name: e\nimage: i:1\ndescription: d\n",
		"name: e\nimage: i:1\nconda_file: other.yml\n",
		"name: &n e\nversion: *n\nimage: i:1\n",
		"not: [valid\n",
		"",
	};
	struct fsys_fixture *f = *state;

	fsys_publish(f, &plain);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		keep_text(f, "spec.yml", TYPED);
		keep_text(f, "spec.yml", texts[i]);
		assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
		assert_attributes(f, "ws/e/1/spec.yml", RENDERED, &then, MODE);
	}
}

/* What comes with the version's own other files is where the version has them. */
static void test_a_text_stands_with_its_files(void **state)
{
	static const char *const texts[] = {
		"name: e\nversion: \"1\"\nbuild: {path: ./context}\n",
		"name: e\nversion: \"1\"\nbuild: {path: context/}\n",
	};
	struct fsys_fixture *f = *state;
	struct version v = plain;

	v.image = NULL;
	v.context_uri = "https://blobs.example/x/";
	fsys_publish(f, &v);
	for (size_t i = 0; i < 2; i++) {
		keep_text(f, "spec.yml", texts[i]);
		assert_shows(f, "ws/e/1", NODE_SPEC, texts[i]);
	}
	keep_text(f, "spec.yml", "name: e\nversion: \"1\"\nbuild: {path: docker}\n");
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
}

/* ---- times and modes ---- */

static int set(struct fsys_fixture *f, const char *path, const struct timespec *mtime, mode_t mode)
{
	const struct stat st = {.st_mode = mode, .st_mtim = mtime ? *mtime : then};
	int to_set = (mtime ? FUSE_SET_ATTR_MTIME : 0) | (mode ? FUSE_SET_ATTR_MODE : 0);

	return shown_set_attributes(&f->fs, fsys_node(f, path), &st, to_set, NULL);
}

static void test_times_and_modes_are_kept(void **state)
{
	static const char *const paths[] = {"ws/e/1", "ws/e/1/spec.yml", "ws/e/1/conda.yml",
					    "ws/e/1/Dockerfile", "ws/e/1/build.log"};
	struct fsys_fixture *f = *state;
	struct version v = plain;

	v.conda = CONDA;
	fsys_publish(f, &v);
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		assert_int_equal(set(f, paths[i], &then, 0), 0);
		assert_attributes(f, paths[i], RENDERED, &then, 0644);
		assert_int_equal(set(f, paths[i], NULL, MODE), 0);
		assert_attributes(f, paths[i], RENDERED, &then, MODE);
		assert_int_equal(set(f, paths[i], &later, 0600), 0);
		assert_attributes(f, paths[i], RENDERED, &later, 0600);
	}
	/* A text stays the same then. */
	keep_text(f, "conda.yml", "dependencies: [python=3.10]\n");
	assert_int_equal(set(f, "ws/e/1/conda.yml", &later, 0), 0);
	assert_shows(f, "ws/e/1", NODE_CONDA, "dependencies: [python=3.10]\n");
	/* Of another record they are nothing. */
	v.created++;
	change(f, &v);
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		assert_untouched(f, paths[i]);
}

static void test_times_in_a_context(void **state)
{
	static const struct memcontext_file context[] = {{"Dockerfile", "FROM x\n"},
							 {"a/b", "b\n"}};
	struct fsys_fixture *f = *state;
	struct version v = plain;

	v.image = NULL;
	v.context_uri = memcontexts_add(memsource_contexts(f->m), context, 2);
	fsys_publish(f, &v);
	assert_int_equal(set(f, "ws/e/1/context/a/b", &then, MODE), 0);
	assert_int_equal(set(f, "ws/e/1/context/a", &later, 0), 0);
	assert_int_equal(set(f, "ws/e/1/context", &then, 0), 0);
	assert_attributes(f, "ws/e/1/context/a/b", RENDERED, &then, MODE);
	assert_attributes(f, "ws/e/1/context/a", RENDERED, &later, 0644);
	assert_attributes(f, "ws/e/1/context", RENDERED, &then, 0644);
	assert_untouched(f, "ws/e/1/context/Dockerfile");
}

static void test_a_time_of_now(void **state)
{
	struct fsys_fixture *f = *state;
	const struct stat st = {0};
	int64_t before = clock_wall();
	struct stat is;

	fsys_publish(f, &plain);
	assert_int_equal(shown_set_attributes(&f->fs, fsys_node(f, "ws/e/1/spec.yml"), &st,
					      FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, NULL),
			 0);
	is = shown(f, "ws/e/1/spec.yml");
	assert_in_range(clock_from_timespec(&is.st_mtim), before, clock_wall());
}

static void test_what_has_no_attributes_of_its_own(void **state)
{
	struct fsys_fixture *f = *state;
	struct version v = plain;

	v.version = "2";
	v.archived = true;
	fsys_publish(f, &plain);
	fsys_publish(f, &v);
	/* Directories of lists have the times of their lists: taken, and nothing comes of it. */
	assert_int_equal(set(f, "ws/e", &then, MODE), 0);
	assert_int_equal(set(f, "ws", &then, MODE), 0);
	assert_int_equal(set(f, "ws/.archived/e/2/spec.yml", &then, MODE), -EROFS);
}

/* A time or a mode set while a text is kept of another state of the record. */
static void test_a_time_after_others_changed_tags(void **state)
{
	struct fsys_fixture *f = *state;
	struct version tagged = plain;

	tagged.tags = tags;
	tagged.n_tags = 1;
	fsys_publish(f, &plain);
	keep_text(f, "spec.yml", TYPED);
	change(f, &tagged);
	assert_int_equal(set(f, "ws/e/1/spec.yml", &later, 0), 0);
	/* The old text does not come back with it: it knows nothing of the tags. */
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_attributes(f, "ws/e/1/spec.yml", RENDERED, &later, 0644);
}

/* A text that can't be kept: the one before is not shown in its place. */
static void test_a_text_that_cannot_be_kept(void **state)
{
	struct fsys_fixture *f = *state;
	const struct stat st = attributes(&then, 0);
	struct version tagged = plain, *v;

	tagged.tags = tags;
	tagged.n_tags = 1;
	fsys_publish(f, &plain);
	keep_text(f, "spec.yml", TYPED);
	change(f, &tagged);
	v = record(f, "ws/e/1");
	shown_keep_text(&f->fs, f->scope, v, "spec.yml", TAGGED, sizeof(TAGGED) - 1, false, &st);
	version_unref(v);
	assert_shows(f, "ws/e/1", NODE_SPEC, NULL);
	assert_untouched(f, "ws/e/1/spec.yml");
}

/* ---- attributes that are not listed ---- */

static bool lists(struct fsys_fixture *f)
{
	struct version *v = record(f, "ws/e/1");
	bool are = shown_lists_tags(&f->fs, fsys_node(f, "ws/e/1"), v);

	version_unref(v);
	return are;
}

static void unlist(struct fsys_fixture *f)
{
	struct version *v = record(f, "ws/e/1");

	shown_keep_unlisted(&f->fs, f->scope, v);
	version_unref(v);
}

static void test_tags_that_came_without_attributes(void **state)
{
	struct fsys_fixture *f = *state;
	struct version tagged = plain;

	tagged.tags = tags;
	tagged.n_tags = 1;
	fsys_publish(f, &tagged);
	assert_true(lists(f));
	keep_text(f, "spec.yml", TAGGED);
	assert_true(lists(f));
	unlist(f);
	assert_false(lists(f));
	assert_shows(f, "ws/e/1", NODE_SPEC, TAGGED);
	/* Somebody changes a tag: it is not what came from files any more. */
	tagged.description = "d";
	change(f, &tagged);
	assert_true(lists(f));
}

static void test_no_tags_are_always_listed(void **state)
{
	struct fsys_fixture *f = *state;
	struct version tagged = plain;

	fsys_publish(f, &plain);
	keep_text(f, "spec.yml", TYPED);
	unlist(f);
	assert_true(lists(f));
	tagged.tags = tags;
	tagged.n_tags = 1;
	change(f, &tagged);
	assert_true(lists(f));
}

/* ---- keep ---- */

/* A save of version 1's spec.yml made version 2 of it. */
static void save(struct fsys_fixture *f, const char *text, const struct proc_id *who)
{
	const struct version made = {
		.env = "e", .version = "2", .image = "i:2", .created = 2 * NS_PER_S};
	char vdir[FSYS_PATH], path[FSYS_PATH];
	struct version *v;

	fsys_publish(f, &plain);
	fsys_publish(f, &made);
	fsys_vdir(f, "e", "1", vdir);
	fsys_path(f, "edit", "e", "1", "spec.yml", path);
	fsys_write(f, path, text);
	v = record(f, "ws/e/2");
	keep_saved(&f->fs, f->scope, v, vdir, "spec.yml", path, "1", who);
	version_unref(v);
}

/* For the editor that comes back through `latest` it is what it wrote; for all others it says which
 * version it is. */
static void test_a_saved_spec_in_the_new_version(void **state)
{
	struct fsys_fixture *f = *state;
	static const char typed[] = "name: e\nversion: \"1\" # mine\nimage: i:2\n";
	char echo[FSYS_PATH], vdir[FSYS_PATH];
	struct fsys_child child;
	struct node *n;

	fsys_child_start(&child);
	save(f, typed, &child.id);
	fsys_path(f, "shown", "e", "2", "spec.yml", echo);
	fsys_assert_file(f, echo, typed);
	n = fsys_node(f, "ws/e/2/spec.yml");
	assert_int_equal(n->kind, NODE_LOCAL);
	/* The number in it is no wish. */
	assert_true(edits_said(f->fs.edits, fsys_vdir(f, "e", "2", vdir), "1"));

	fsys_child_end(&child);
	n = fsys_node(f, "ws/e/2/spec.yml");
	assert_int_equal(n->kind, NODE_SPEC);
	assert_false(fsys_exists(f, echo));
	assert_shows(f, "ws/e/2", NODE_SPEC, "name: e\nversion: \"2\" # mine\nimage: i:2\n");
}

/* Somebody edits it there already. */
static void test_an_edited_spec_is_not_covered(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], vdir[FSYS_PATH];
	struct fsys_child child;

	fsys_child_start(&child);
	fsys_write(f, fsys_path(f, "shown", "e", "2", "spec.yml", path), "another's\n");
	assert_int_equal(edits_add(f->fs.edits, fsys_vdir(f, "e", "2", vdir), "spec.yml", false),
			 0);
	save(f, "name: e\nimage: i:2\n", &child.id);
	fsys_assert_file(f, path, "another's\n");
	assert_false(edits_said(f->fs.edits, vdir, "1"));
	fsys_child_end(&child);
}

static void test_nobody_to_show_it_to(void **state)
{
	struct fsys_fixture *f = *state;
	const struct proc_id nobody = {0};
	char echo[FSYS_PATH];

	save(f, "name: e\nimage: i:2\n", &nobody);
	assert_false(fsys_exists(f, fsys_path(f, "shown", "e", "2", "spec.yml", echo)));
	assert_shows(f, "ws/e/2", NODE_SPEC, "version: \"2\"\nname: e\nimage: i:2\n");
}

/* The same version: there is nothing to show elsewhere. */
static void test_a_save_that_made_no_version(void **state)
{
	struct fsys_fixture *f = *state;
	char vdir[FSYS_PATH], path[FSYS_PATH];
	struct fsys_child child;
	struct version *v;

	fsys_child_start(&child);
	fsys_publish(f, &plain);
	fsys_vdir(f, "e", "1", vdir);
	fsys_write(f, fsys_path(f, "edit", "e", "1", "spec.yml", path), TYPED);
	v = record(f, "ws/e/1");
	keep_saved(&f->fs, f->scope, v, vdir, "spec.yml", path, "1", &child.id);
	assert_false(edits_any(f->fs.edits, vdir));
	assert_shows(f, "ws/e/1", NODE_SPEC, TYPED);
	/* It is gone already, renamed on: nothing happens. */
	keep_saved(&f->fs, f->scope, v, vdir, "spec.yml", "none", "1", &child.id);
	keep_saved(&f->fs, f->scope, NULL, vdir, "spec.yml", path, "1", &child.id);
	assert_shows(f, "ws/e/1", NODE_SPEC, TYPED);
	version_unref(v);
	fsys_child_end(&child);
}

static void test_files_of_a_draft(void **state)
{
	static const struct memcontext_file context[] = {{"Dockerfile", "FROM x\n"}};
	static const char spec[] = "name: e\nversion: \"1\"\nbuild: {path: context}\n";
	struct fsys_fixture *f = *state;
	struct timespec times[2] = {then, then};
	struct version v = plain, *r;
	char path[FSYS_PATH];

	v.image = NULL;
	v.context_uri = memcontexts_add(memsource_contexts(f->m), context, 1);
	fsys_publish(f, &v);
	r = record(f, "ws/e/1");
	fsys_write(f, fsys_path(f, "", "e", "1", "context/Dockerfile", path), "FROM x\n");
	assert_int_equal(utimensat(local_fd(f->fs.local), path, times, 0), 0);
	keep_drafted(&f->fs, f->scope, r, "context/Dockerfile", path);
	assert_attributes(f, "ws/e/1/context/Dockerfile", RENDERED, &then, 0644);
	fsys_write(f, fsys_path(f, "", "e", "1", "spec.yml", path), spec);
	assert_int_equal(utimensat(local_fd(f->fs.local), path, times, 0), 0);
	keep_drafted(&f->fs, f->scope, r, "spec.yml", path);
	assert_attributes(f, "ws/e/1/spec.yml", sizeof(spec) - 1, &then, 0644);
	version_unref(r);
}

/* chmod and touch after a save count for the version that was made by it. */
static void test_attributes_of_what_is_on_show(void **state)
{
	struct fsys_fixture *f = *state;
	const struct proc_id nobody = {0};
	struct timespec times[2] = {later, later};
	char vdir[FSYS_PATH], path[FSYS_PATH];

	save(f, "name: e\nimage: i:2\n", &nobody);
	fsys_vdir(f, "e", "1", vdir);
	fsys_write(f, fsys_path(f, "shown", "e", "1", "spec.yml", path), "name: e\nimage: i:2\n");
	assert_int_equal(edits_add(f->fs.edits, vdir, "spec.yml", false), 0);
	assert_int_equal(utimensat(local_fd(f->fs.local), path, times, 0), 0);
	/* Not of bytes that were not saved. */
	shown_note_attributes(&f->fs, NULL, path);
	edits_attempted(f->fs.edits, vdir, "spec.yml", &(struct proc_id){1, 1}, -EIO);
	shown_note_attributes(&f->fs, NULL, path);
	assert_int_not_equal(shown(f, "ws/e/2/spec.yml").st_mtim.tv_sec, later.tv_sec);
	edits_attempted(f->fs.edits, vdir, "spec.yml", &(struct proc_id){1, 1}, 0);
	edits_set_base(f->fs.edits, vdir, "2");
	shown_note_attributes(&f->fs, NULL, path);
	assert_int_equal(shown(f, "ws/e/2/spec.yml").st_mtim.tv_sec, later.tv_sec);
	assert_shows(f, "ws/e/2", NODE_SPEC, "version: \"2\"\nname: e\nimage: i:2\n");
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_nothing_is_kept_at_first),
		WITH_MOUNT(test_a_kept_text_is_shown),
		WITH_MOUNT(test_names_are_put_right),
		WITH_MOUNT(test_conda_text_is_shown),
		WITH_MOUNT(test_a_text_of_another_record),
		WITH_MOUNT(test_a_text_when_others_change_tags),
		WITH_MOUNT(test_a_text_that_says_something_else),
		WITH_MOUNT(test_a_text_stands_with_its_files),
		WITH_MOUNT(test_times_and_modes_are_kept),
		WITH_MOUNT(test_times_in_a_context),
		WITH_MOUNT(test_a_time_of_now),
		WITH_MOUNT(test_what_has_no_attributes_of_its_own),
		WITH_MOUNT(test_a_time_after_others_changed_tags),
		WITH_MOUNT(test_a_text_that_cannot_be_kept),
		WITH_MOUNT(test_tags_that_came_without_attributes),
		WITH_MOUNT(test_no_tags_are_always_listed),
		WITH_MOUNT(test_a_saved_spec_in_the_new_version),
		WITH_MOUNT(test_an_edited_spec_is_not_covered),
		WITH_MOUNT(test_nobody_to_show_it_to),
		WITH_MOUNT(test_a_save_that_made_no_version),
		WITH_MOUNT(test_files_of_a_draft),
		WITH_MOUNT(test_attributes_of_what_is_on_show),
	};

	return cmocka_run_group_tests_name("shown", tests, NULL, NULL);
}
