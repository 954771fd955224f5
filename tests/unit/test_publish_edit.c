/* fs/publish_edit: what the save of a file of a published version amounts to. */
#include "fs/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/node.h"
#include "fs/register.h"
#include "fs/render.h"
#include "fs/save.h"
#include "fs/seen.h"
#include "fs/spec.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/whiteout.h"
#include "tests/unit/fsys_fixture.h"

#define SPEC(image) "name: e\nversion: \"1\"\nimage: " image "\n"
#define CONDA       "conda_file: conda.yml\n"
#define BUILD       "name: e\nversion: \"1\"\nbuild:\n  path: context\n"

static const char OLD[] = "registry.example/base:1";
static const char PACKAGES[] = "dependencies:\n- python=3.10\n";
static const struct kv tags[] = {{"a", "1"}, {"b", "2"}};

/* ---- one save ---- */

struct saving {
	struct publish_outcome out;
	struct proc_id who;
	struct err e;
	char vdir[FSYS_PATH];
	char path[FSYS_PATH];
};

static int save_at(struct fsys_fixture *f, struct saving *s, const char *version, const char *rel,
		   const char *text)
{
	struct publish_edit p = {f->scope, s->vdir, rel, s->path, &s->who};

	*s = (struct saving){0};
	assert_int_equal(proc_of_thread(getpid(), &s->who), 0);
	fsys_vdir(f, "e", version, s->vdir);
	fsys_path(f, "edit", "e", version, rel, s->path);
	fsys_write(f, s->path, text);
	fsys_forget_requests(f);
	return publish_edit(&f->fs, &p, fsys_call(f), &s->out, &s->e);
}

/* As save.c does after it: what is saved is on show, and the next save's base. */
static void saving_end(struct fsys_fixture *f, struct saving *s, const char *rel)
{
	char shown[FSYS_PATH];

	if (s->out.version && s->out.what != PUBLISH_ASIDE) {
		fsys_path(f, "shown", "e", strrchr(s->vdir, '/') + 1, rel, shown);
		assert_int_equal(local_make_parents(f->fs.local, shown), 0);
		assert_int_equal(
			renameat(local_fd(f->fs.local), s->path, local_fd(f->fs.local), shown), 0);
		assert_int_equal(edits_add(f->fs.edits, s->vdir, rel, false), 0);
		edits_attempted(f->fs.edits, s->vdir, rel, &s->who, 0);
		edits_set_base(f->fs.edits, s->vdir, s->out.version->version);
		edits_set_said(f->fs.edits, s->vdir, s->out.said);
	}
	register_done(&f->fs, s->out.journal);
	publish_outcome_clear(&s->out);
}

/* Saves rel of version 1, which has to come to that, with that many requests. */
static void expect(struct fsys_fixture *f, const char *rel, const char *text,
		   enum publish_what what, const char *version, unsigned int requests)
{
	struct saving s;

	if (save_at(f, &s, "1", rel, text))
		fail_msg("%s", s.e.msg);
	assert_int_equal(s.out.what, what);
	assert_string_equal(s.out.version->version, version);
	assert_int_equal(s.out.journal != 0, what == PUBLISH_NEW || what == PUBLISH_UPDATED);
	assert_int_equal(fsys_all_requests(f), requests);
	saving_end(f, &s, rel);
}

static void refuse(struct fsys_fixture *f, const char *rel, const char *text, int rc,
		   const char *words)
{
	struct saving s;

	assert_int_equal(save_at(f, &s, "1", rel, text), rc);
	if (!strstr(s.e.msg, words))
		fail_msg("%s", s.e.msg);
	assert_null(s.out.version);
	assert_int_equal(s.out.journal, 0);
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_int_equal(fsys_requests(f, MEM_UPDATE), 0);
	assert_int_equal(fsys_requests(f, MEM_UPLOAD), 0);
}

static struct version *stored(struct fsys_fixture *f, const char *version)
{
	struct version *v = memsource_get(f->m, "e", version);

	assert_non_null(v);
	return v;
}

static void assert_image(struct fsys_fixture *f, const char *version, const char *image)
{
	struct version *v = stored(f, version);

	assert_string_equal(v->image, image);
	version_unref(v);
}

/* value NULL: there is no such tag. */
static void assert_tag(struct fsys_fixture *f, const char *version, const char *key,
		       const char *value)
{
	struct version *v = stored(f, version);
	bool found;
	const char *is = version_tag(v, key, &found);

	assert_int_equal(found, value != NULL);
	if (value)
		assert_string_equal(is, value);
	version_unref(v);
}

static void publish_image(struct fsys_fixture *f)
{
	fsys_publish(f, &(struct version){.env = "e", .version = "1", .image = OLD});
}

static void publish_conda(struct fsys_fixture *f)
{
	fsys_publish(
		f, &(struct version){.env = "e", .version = "1", .image = OLD, .conda = PACKAGES});
}

static void publish_tagged(struct fsys_fixture *f)
{
	fsys_publish(f, &(struct version){.env = "e",
					  .version = "1",
					  .image = OLD,
					  .tags = tags,
					  .n_tags = 2,
					  .description = "words"});
}

/* ---- nothing ---- */

static void test_what_is_shown_saved_again_is_nothing(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	struct version *v;

	fsys_publish(f, &(struct version){.env = "e",
					  .version = "1",
					  .image = OLD,
					  .conda = PACKAGES,
					  .tags = tags,
					  .n_tags = 2,
					  .description = "words",
					  .liveness = {.path = "/live", .port = 80}});
	v = stored(f, "1");
	assert_int_equal(render_file(v, NODE_SPEC, &text), 0);
	version_unref(v);
	expect(f, "spec.yml", buf_str(&text), PUBLISH_NOTHING, "1", 0);
}

static void test_another_way_to_write_it_is_nothing(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	expect(f, "spec.yml",
	       "# a comment\ntags: {b: '2', a: \"1\"}\ndescription: >-\n  words\n"
	       "image:   'registry.example/base:1'\nname: \"e\"\n",
	       PUBLISH_NOTHING, "1", 0);
}

static void test_conda_in_another_form_is_nothing(void **state)
{
	struct fsys_fixture *f = *state;

	publish_conda(f);
	expect(f, "conda.yml", "# a comment\ndependencies:   [ 'python=3.10' ]\n", PUBLISH_NOTHING,
	       "1", 0);
}

/* ---- a new version ---- */

static void test_a_change_costs_two_requests(void **state)
{
	struct fsys_fixture *f = *state;

	publish_image(f);
	expect(f, "spec.yml", SPEC("new:2"), PUBLISH_NEW, "2", 2);
	assert_image(f, "1", OLD);
	assert_image(f, "2", "new:2");
}

static void test_a_change_of_conda(void **state)
{
	struct fsys_fixture *f = *state;
	struct version *v;

	publish_conda(f);
	expect(f, "conda.yml", "dependencies:\n- python=3.11\n", PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_string_equal(v->image, OLD);
	assert_non_null(strstr(v->conda, "python=3.11"));
	version_unref(v);
}

/* What a second save in the same directory is compared with is what the first one made. */
static void test_the_next_save_begins_where_this_one_ended(void **state)
{
	struct fsys_fixture *f = *state;

	publish_conda(f);
	expect(f, "spec.yml", SPEC("new:2") CONDA, PUBLISH_NEW, "2", 2);
	expect(f, "spec.yml", SPEC("new:2") CONDA "# more\n", PUBLISH_NOTHING, "2", 0);
	/* The other file, with what the first save made of this one. */
	expect(f, "conda.yml", "dependencies:\n- python=3.12\n", PUBLISH_NEW, "3", 2);
	assert_image(f, "3", "new:2");
	/* What the directory's own version says is a change now. */
	expect(f, "spec.yml", SPEC("registry.example/base:1") CONDA, PUBLISH_NEW, "4", 2);
	assert_image(f, "4", OLD);
}

/* Others published meanwhile: theirs stays, ours is made of what was saved. */
static void test_a_base_that_is_not_the_newest(void **state)
{
	struct fsys_fixture *f = *state;

	publish_conda(f);
	fsys_publish(f, &(struct version){.env = "e", .version = "2", .image = "theirs:1"});
	expect(f, "spec.yml", SPEC("mine:1") CONDA, PUBLISH_NEW, "3", 2);
	assert_image(f, "2", "theirs:1");
	assert_image(f, "3", "mine:1");
}

/* Bytes that nobody saved yet, or that were refused, are no part of another file's save. */
static void test_unsaved_bytes_of_other_files_are_left_alone(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], vdir[FSYS_PATH];
	struct version *v;

	publish_conda(f);
	fsys_vdir(f, "e", "1", vdir);
	fsys_write(f, fsys_path(f, "edit", "e", "1", "conda.yml", path), "half: [");
	fsys_write(f, fsys_path(f, "shown", "e", "1", "conda.yml", path), "refused: [");
	assert_int_equal(edits_add(f->fs.edits, vdir, "conda.yml", false), 0);
	edits_dirty(f->fs.edits, vdir, "conda.yml");
	expect(f, "spec.yml", SPEC("new:2") CONDA, PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_non_null(strstr(v->conda, "python=3.10"));
	version_unref(v);
	/* Refused ones stay on show. */
	edits_take(f->fs.edits, vdir, "conda.yml");
	edits_attempted(f->fs.edits, vdir, "conda.yml", &(struct proc_id){1, 1}, -EBADMSG);
	expect(f, "spec.yml", SPEC("new:3") CONDA, PUBLISH_NEW, "3", 2);
}

/* ---- which version ---- */

static void test_a_version_that_is_named(void **state)
{
	struct fsys_fixture *f = *state;

	publish_image(f);
	/* Also when nothing else differs: a number is asked for. */
	expect(f, "spec.yml", "name: e\nversion: 2024-06\nimage: registry.example/base:1\n",
	       PUBLISH_NEW, "2024-06", 2);
	assert_image(f, "2024-06", OLD);
}

/* The version that was made from this directory last is no wish for another of its name. */
static void test_the_name_of_the_last_one_means_the_next(void **state)
{
	struct fsys_fixture *f = *state;

	publish_image(f);
	expect(f, "spec.yml", "version: 7\nimage: new:7\n", PUBLISH_NEW, "7", 2);
	expect(f, "spec.yml", "version: 7\nimage: new:8\n", PUBLISH_NEW, "8", 2);
	expect(f, "spec.yml", "version: 1\nimage: new:9\n", PUBLISH_NEW, "9", 2);
	assert_image(f, "7", "new:7");
}

static void test_a_named_version_that_exists(void **state)
{
	struct fsys_fixture *f = *state;

	publish_image(f);
	fsys_publish(f, &(struct version){.env = "e", .version = "2", .image = "theirs:1"});
	refuse(f, "spec.yml", "name: e\nversion: 2\nimage: new:2\n", -EEXIST,
	       "version 2 of e exists already");
}

/* ---- tags and description ---- */

static void test_tags_are_updated_in_place(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: 9, c: '3'}\n",
	       PUBLISH_UPDATED, "1", 1);
	assert_int_equal(fsys_requests(f, MEM_UPDATE), 1);
	assert_tag(f, "1", "a", "9");
	assert_tag(f, "1", "b", NULL);
	assert_tag(f, "1", "c", "3");
	/* ... and the same text again is nothing. */
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: 9, c: '3'}\n",
	       PUBLISH_NOTHING, "1", 0);
}

static void test_a_description_is_updated_in_place(void **state)
{
	struct fsys_fixture *f = *state;
	struct version *v;

	publish_tagged(f);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: more\ntags: {a: 1, b: 2}\n",
	       PUBLISH_UPDATED, "1", 1);
	v = stored(f, "1");
	assert_string_equal(v->description, "more");
	version_unref(v);
	expect(f, "spec.yml", SPEC("registry.example/base:1") "tags: {a: 1, b: 2}\n",
	       PUBLISH_UPDATED, "1", 1);
	v = stored(f, "1");
	assert_true(!v->description || !*v->description);
	version_unref(v);
}

static void test_tags_go_along_with_a_new_version(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	expect(f, "spec.yml", SPEC("new:2") "tags: {a: 9}\n", PUBLISH_NEW, "2", 2);
	assert_tag(f, "2", "a", "9");
	assert_tag(f, "2", "b", NULL);
	assert_tag(f, "1", "a", "1");
	/* From now on those of the new one are updated. */
	expect(f, "spec.yml", SPEC("new:2") "tags: {a: 8}\n", PUBLISH_UPDATED, "2", 1);
	assert_tag(f, "2", "a", "8");
	assert_tag(f, "1", "a", "1");
}

/* The program reads version 1 as it is known now. */
static void see(struct fsys_fixture *f)
{
	struct version_list *list;

	assert_int_equal(catalog_versions(f->fs.catalog, f->scope, "e", fsys_call(f), &list, NULL),
			 0);
	seen_note(f->fs.seen, getpid(), version_list_find(list, "1"));
	version_list_unref(list);
}

/* Somebody else sets the tags of version 1; n of them. */
static void others_tags(struct fsys_fixture *f, const struct kv *theirs, size_t n)
{
	struct version *v = stored(f, "1");
	struct version fields = *v;

	fields.tags = theirs;
	fields.n_tags = n;
	memsource_set_version(f->m, &fields);
	version_unref(v);
}

static const struct kv their_tags[] = {{"a", "1"}, {"b", "2"}, {"x", "theirs"}};

static void test_tags_of_others_stay(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	see(f);
	others_tags(f, their_tags, 3);
	catalog_expire(f->fs.catalog);
	fsys_know(f, "e");
	/* The text does not know of x, and its user did not remove it. */
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: '1', b: '2'}\n",
	       PUBLISH_NOTHING, "1", 0);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: '5'}\n",
	       PUBLISH_UPDATED, "1", 1);
	assert_tag(f, "1", "a", "5");
	assert_tag(f, "1", "b", NULL);
	assert_tag(f, "1", "x", "theirs");
}

/* The same program changes a tag, and changes it back. */
static void test_a_tag_changed_back(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	see(f);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: 5, b: 2}\n",
	       PUBLISH_UPDATED, "1", 1);
	others_tags(f, (const struct kv[]){{"a", "5"}, {"b", "2"}, {"x", "theirs"}}, 3);
	catalog_expire(f->fs.catalog);
	fsys_know(f, "e");
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "description: words\ntags: {a: 1, b: 2}\n",
	       PUBLISH_UPDATED, "1", 1);
	assert_tag(f, "1", "a", "1");
	assert_tag(f, "1", "x", "theirs");
}

/* What the program made it has seen: others' tags of that stay too. */
static void test_tags_of_others_on_what_was_made_here(void **state)
{
	struct fsys_fixture *f = *state;
	const struct version theirs = {.env = "e",
				       .version = "2",
				       .image = "new:2",
				       .tags = their_tags,
				       .n_tags = 3,
				       .created = NS_PER_S};

	publish_tagged(f);
	see(f);
	expect(f, "spec.yml", SPEC("new:2") "tags: {a: 1, b: 2}\n", PUBLISH_NEW, "2", 2);
	memsource_set_version(f->m, &theirs);
	catalog_expire(f->fs.catalog);
	fsys_know(f, "e");
	expect(f, "spec.yml", SPEC("new:2") "tags: {a: 7, b: 2}\n", PUBLISH_UPDATED, "2", 1);
	assert_tag(f, "2", "a", "7");
	assert_tag(f, "2", "x", "theirs");
}

/* Somebody was faster with removing a tag: there is nothing left to do. */
static void test_a_tag_that_is_gone_already(void **state)
{
	struct fsys_fixture *f = *state;

	publish_tagged(f);
	others_tags(f, tags, 1);
	expect(f, "spec.yml", SPEC("registry.example/base:1") "description: words\ntags: {a: 5}\n",
	       PUBLISH_UPDATED, "1", 1);
	assert_tag(f, "1", "a", "5");
	assert_tag(f, "1", "b", NULL);
}

static void test_an_update_that_fails(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;

	publish_tagged(f);
	memsource_fail(f->m, MEM_UPDATE, -EACCES, "not allowed");
	assert_int_equal(save_at(f, &s, "1", "spec.yml", SPEC("registry.example/base:1")), -EACCES);
	assert_string_equal(s.e.msg, "not allowed");
	assert_null(s.out.version);
	assert_tag(f, "1", "a", "1");
}

/* ---- files beside ---- */

/* A conda.yml that spec.yml does not name is nobody's yet: it waits for a spec.yml that does. */
static void test_a_conda_file_before_its_spec(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];
	struct version *v;

	publish_image(f);
	expect(f, "conda.yml", PACKAGES, PUBLISH_ASIDE, "1", 0);
	fsys_write(f, fsys_path(f, ".local", "e", "1", "conda.yml", path), PACKAGES);
	expect(f, "spec.yml", SPEC("registry.example/base:1") CONDA, PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_non_null(strstr(v->conda, "python=3.10"));
	version_unref(v);
}

static void test_another_file_of_the_directory(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *scratch = NULL;
	char vdir[FSYS_PATH];
	struct version *v;

	publish_image(f);
	refuse(f, "spec.yml", SPEC("new:2") "conda_file: env.yml\n", -EBADMSG,
	       "line 4, column 13: conda_file: env.yml does not exist");
	scratch = upper_path(&f->fs, UPPER_SCRATCH, fsys_vdir(f, "e", "1", vdir), "env.yml");
	fsys_write(f, scratch, PACKAGES);
	expect(f, "spec.yml", SPEC("new:2") "conda_file: ./env.yml\n", PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_non_null(strstr(v->conda, "python=3.10"));
	version_unref(v);
}

static void test_conda_in_the_spec_itself(void **state)
{
	struct fsys_fixture *f = *state;

	publish_conda(f);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "conda_file:\n  dependencies: [python=3.10]\n",
	       PUBLISH_NOTHING, "1", 0);
	expect(f, "spec.yml",
	       SPEC("registry.example/base:1") "conda_file:\n  dependencies: [python=3.9]\n",
	       PUBLISH_NEW, "2", 2);
}

static void test_conda_taken_out(void **state)
{
	struct fsys_fixture *f = *state;
	struct version *v;

	publish_conda(f);
	expect(f, "spec.yml", SPEC("registry.example/base:1"), PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_null(v->conda);
	version_unref(v);
}

/* ---- refusals ---- */

static void test_what_is_not_valid_is_refused(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *large = malloc(SPEC_SIZE_MAX + 2);

	publish_conda(f);
	refuse(f, "spec.yml", "name: e\nimage: [\n", -EBADMSG, "spec.yml: line 3, column 1");
	refuse(f, "spec.yml", "", -EBADMSG, "spec.yml: ");
	refuse(f, "spec.yml", SPEC("new:2") "imgae: x\n", -EBADMSG, "spec.yml: line 4, column 1");
	refuse(f, "conda.yml", "a: b: c\n", -EBADMSG, "conda.yml: line 1");
	refuse(f, "spec.yml", "name: other\nimage: new:2\n", -EBADMSG,
	       "this is the environment e; to make other of it");
	refuse(f, "spec.yml", "name: e\nbuild:\n  path: elsewhere\n", -EBADMSG,
	       "line 3, column 9: build.path: the build context of a version is its folder "
	       "context");
	memset(large, '#', SPEC_SIZE_MAX + 1);
	large[SPEC_SIZE_MAX + 1] = '\0';
	refuse(f, "spec.yml", large, -EFBIG, "spec.yml: larger than");
}

typedef int check_fn(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e);

static int check(struct fsys_fixture *f, check_fn *fn, const char *version, const char *rel,
		 const char *text, struct err *e)
{
	char vdir[FSYS_PATH], path[FSYS_PATH];
	const struct proc_id nobody = {0};
	struct publish_edit p = {f->scope, fsys_vdir(f, "e", version, vdir), rel,
				 fsys_path(f, "edit", "e", version, rel, path), &nobody};

	*e = (struct err)ERR_INIT;
	fsys_write(f, path, text);
	return fn(&f->fs, &p, fsys_call(f), e);
}

/* What a child that inherited the descriptor is told: what needs no request. */
static void test_checks_make_no_request(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *large = malloc(SPEC_SIZE_MAX + 2);
	struct err e;

	publish_conda(f);
	fsys_forget_requests(f);
	assert_int_equal(check(f, publish_check, "1", "spec.yml", SPEC("new:2"), &e), 0);
	assert_int_equal(check(f, publish_check, "1", "conda.yml", PACKAGES, &e), 0);
	assert_int_equal(check(f, publish_check, "1", "spec.yml", "image: [\n", &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "spec.yml: line 2, column 1"));
	assert_int_equal(check(f, publish_check, "1", "conda.yml", "- a\n", &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "conda.yml: line 1"));
	assert_int_equal(
		check(f, publish_check, "1", "spec.yml", "name: other\nimage: new:2\n", &e),
		-EBADMSG);
	assert_int_equal(
		check(f, publish_check, UPPER_ENV, "spec.yml", "name: other\nimage: new:2\n", &e),
		0);
	assert_int_equal(check(f, publish_check, "1", "spec.yml", "build: {path: x}\n", &e),
			 -EBADMSG);
	memset(large, '#', SPEC_SIZE_MAX + 1);
	large[SPEC_SIZE_MAX + 1] = '\0';
	assert_int_equal(check(f, publish_check, "1", "spec.yml", large, &e), -EFBIG);
	assert_int_equal(fsys_all_requests(f), 0);
}

/* What fsync asks the service close does not ask again: together they cost what a close does. */
static void test_a_probe_asks_for_the_save_that_follows(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;
	struct err e;

	publish_image(f);
	fsys_forget_requests(f);
	assert_int_equal(check(f, publish_probe, "1", "spec.yml", SPEC("new:2"), &e), 0);
	assert_int_equal(fsys_requests(f, MEM_GET), 1);
	assert_int_equal(fsys_all_requests(f), 1);
	assert_int_equal(save_at(f, &s, "1", "spec.yml", SPEC("new:2")), 0);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_int_equal(fsys_all_requests(f), 1);
	saving_end(f, &s, "spec.yml");
	assert_image(f, "2", "new:2");
	/* ... once: the next close asks for its own name. */
	expect(f, "spec.yml", SPEC("new:3"), PUBLISH_NEW, "3", 2);
}

static void test_a_probe_says_what_the_save_would(void **state)
{
	struct fsys_fixture *f = *state;
	struct err e;

	publish_tagged(f);
	fsys_forget_requests(f);
	assert_int_equal(check(f, publish_probe, "1", "spec.yml", "image: [\n", &e), -EBADMSG);
	assert_int_equal(
		check(f, publish_probe, "1", "spec.yml", SPEC("registry.example/base:1"), &e), 0);
	assert_int_equal(fsys_all_requests(f), 0);
	fsys_publish(f, &(struct version){.env = "e", .version = "2", .image = "theirs:1"});
	assert_int_equal(check(f, publish_probe, "1", "spec.yml", "version: 2\nimage: x:1\n", &e),
			 -EEXIST);
	assert_non_null(strstr(e.msg, "version 2 of e exists already"));
	memsource_fail(f->m, MEM_GET, -EACCES, "not allowed");
	assert_int_equal(check(f, publish_probe, "1", "spec.yml", SPEC("new:3"), &e), -EACCES);
	assert_string_equal(e.msg, "not allowed");
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_int_equal(fsys_requests(f, MEM_UPDATE), 0);
}

/* Between the two somebody took the name: the save takes the next. */
static void test_a_probe_is_no_promise(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;
	struct err e;

	publish_image(f);
	assert_int_equal(check(f, publish_probe, "1", "spec.yml", SPEC("new:2"), &e), 0);
	memsource_put(f->m, &(struct version){.env = "e", .version = "2", .image = "theirs:1"});
	assert_int_equal(save_at(f, &s, "1", "spec.yml", SPEC("new:2")), 0);
	assert_string_equal(s.out.version->version, "3");
	saving_end(f, &s, "spec.yml");
	assert_image(f, "2", "theirs:1");
	assert_image(f, "3", "new:2");
}

/* ---- in an environment's directory ---- */

static void expect_env(struct fsys_fixture *f, const char *rel, const char *text,
		       enum publish_what what, const char *version)
{
	struct saving s;

	if (save_at(f, &s, UPPER_ENV, rel, text))
		fail_msg("%s", s.e.msg);
	assert_int_equal(s.out.what, what);
	if (version)
		assert_string_equal(s.out.version->version, version);
	else
		assert_null(s.out.version);
	saving_end(f, &s, rel);
}

static void test_a_spec_in_an_environment(void **state)
{
	struct fsys_fixture *f = *state;

	publish_image(f);
	/* A name in it gives way: the directory's counts. */
	expect_env(f, "spec.yml", "name: other\nimage: new:2\n", PUBLISH_NEW, "2");
	assert_image(f, "2", "new:2");
	expect_env(f, "spec.yml", "image: new:2\n", PUBLISH_NOTHING, "2");
	expect_env(f, "spec.yml", "image: new:3\ntags: {a: 1}\n", PUBLISH_NEW, "3");
	expect_env(f, "spec.yml", "image: new:3\ntags: {a: 2}\n", PUBLISH_UPDATED, "3");
	expect_env(f, "spec.yml", "image: new:3\nversion: 10\n", PUBLISH_NEW, "10");
}

static void test_the_first_spec_of_an_environment(void **state)
{
	struct fsys_fixture *f = *state;

	expect_env(f, "spec.yml", "image: new:1\n", PUBLISH_NEW, "1");
	assert_image(f, "1", "new:1");
}

static void test_a_conda_file_in_an_environment(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];
	struct version *v;

	publish_image(f);
	expect_env(f, "conda.yml", PACKAGES, PUBLISH_ASIDE, NULL);
	assert_int_equal(fsys_all_requests(f), 0);
	fsys_write(f, fsys_path(f, ".local", "e", UPPER_ENV, "conda.yml", path), PACKAGES);
	expect_env(f, "spec.yml", "image: new:2\n" CONDA, PUBLISH_NEW, "2");
	v = stored(f, "2");
	assert_non_null(strstr(v->conda, "python=3.10"));
	version_unref(v);
}

static void test_what_a_spec_in_an_environment_names_there(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];
	struct version *v;
	struct saving s;

	publish_image(f);
	fsys_write(f, fsys_path(f, "", "e", "env.yml", "", path), PACKAGES);
	fsys_write(f, fsys_path(f, "", "e", "docker", "Dockerfile", path), "FROM x\n");
	fsys_write(f, fsys_path(f, "", "e", "docker", "a/b", path), "b\n");
	expect_env(f, "spec.yml", "image: new:2\nconda_file: env.yml\n", PUBLISH_NEW, "2");
	v = stored(f, "2");
	assert_non_null(strstr(v->conda, "python=3.10"));
	version_unref(v);
	expect_env(f, "spec.yml", "build: {path: ./docker}\n", PUBLISH_NEW, "3");
	v = stored(f, "3");
	assert_string_equal(
		memcontexts_text(memsource_contexts(f->m), v->context_uri, "Dockerfile"),
		"FROM x\n");
	assert_string_equal(memcontexts_text(memsource_contexts(f->m), v->context_uri, "a/b"),
			    "b\n");
	version_unref(v);
	assert_int_equal(save_at(f, &s, UPPER_ENV, "spec.yml", "build: {path: none}\n"), -EBADMSG);
}

/* ---- a build context ---- */

static const struct memcontext_file context[] = {{"Dockerfile", "FROM x\n"}, {"a/b", "old\n"}};

static const char *publish_context(struct fsys_fixture *f)
{
	const char *uri = memcontexts_add(memsource_contexts(f->m), context, 2);

	fsys_publish(f, &(struct version){.env = "e", .version = "1", .context_uri = uri});
	return uri;
}

/* A file of version 2's context; NULL: it is not there. */
static void assert_content(struct fsys_fixture *f, const char *version, const char *path,
			   const char *text)
{
	struct version *v = stored(f, version);
	const char *is = memcontexts_text(memsource_contexts(f->m), v->context_uri, path);

	if (text)
		assert_string_equal(is, text);
	else
		assert_null(is);
	version_unref(v);
}

/* The context is not looked at for a change of anything else. */
static void test_a_context_that_nobody_touched(void **state)
{
	struct fsys_fixture *f = *state;
	const char *uri = publish_context(f);
	struct version *v;

	expect(f, "spec.yml", BUILD, PUBLISH_NOTHING, "1", 0);
	expect(f, "spec.yml", BUILD "description: more\n", PUBLISH_UPDATED, "1", 1);
	expect(f, "spec.yml", BUILD "os_type: windows\n", PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_string_equal(v->context_uri, uri);
	version_unref(v);
}

static void test_a_file_of_a_context(void **state)
{
	struct fsys_fixture *f = *state;

	publish_context(f);
	expect(f, "context/a/b", "new\n", PUBLISH_NEW, "2", 6);
	assert_int_equal(fsys_requests(f, MEM_CONTEXT), 1);
	assert_int_equal(fsys_requests(f, MEM_READ), 2);
	assert_int_equal(fsys_requests(f, MEM_UPLOAD), 1);
	assert_int_equal(fsys_requests(f, MEM_GET), 1);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_content(f, "2", "a/b", "new\n");
	assert_content(f, "2", "Dockerfile", "FROM x\n");
	assert_content(f, "1", "a/b", "old\n");
	/* The second one has the first one's, and adds its own. */
	expect(f, "context/Dockerfile", "FROM y\n", PUBLISH_NEW, "3", 6);
	assert_content(f, "3", "a/b", "new\n");
	assert_content(f, "3", "Dockerfile", "FROM y\n");
}

static void test_the_same_bytes_in_a_context_are_nothing(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;

	publish_context(f);
	assert_int_equal(save_at(f, &s, "1", "context/a/b", "old\n"), 0);
	assert_int_equal(s.out.what, PUBLISH_NOTHING);
	assert_int_equal(fsys_requests(f, MEM_UPLOAD), 0);
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	saving_end(f, &s, "context/a/b");
}

static void test_a_new_file_in_a_context(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;

	publish_context(f);
	assert_int_equal(save_at(f, &s, "1", "context/deep/er/new", "1\n"), 0);
	assert_int_equal(s.out.what, PUBLISH_NEW);
	assert_content(f, "2", "deep/er/new", "1\n");
	assert_content(f, "2", "a/b", "old\n");
	saving_end(f, &s, "context/deep/er/new");
	assert_int_equal(save_at(f, &s, "1", "context/.amlignore", "a\nc\n"), 0);
	assert_int_equal(s.out.what, PUBLISH_NEW);
	assert_content(f, "3", "a/b", NULL);
	assert_content(f, "3", "deep/er/new", "1\n");
	saving_end(f, &s, "context/.amlignore");
	/* What an ignore file leaves out stays on this machine. */
	assert_int_equal(save_at(f, &s, "1", "context/c", "1\n"), 0);
	assert_int_equal(s.out.what, PUBLISH_ASIDE);
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	publish_outcome_clear(&s.out);
}

static uint64_t number(struct fsys_fixture *f, const char *path)
{
	struct node *n = fsys_node(f, path);

	assert_non_null(n);
	return n->ino;
}

/* A file that was removed here is not in what is saved then. */
static void test_a_file_removed_from_a_context(void **state)
{
	struct fsys_fixture *f = *state;
	uint64_t version;

	publish_context(f);
	version = number(f, "ws/e/1");
	assert_int_equal(whiteout_add(f->fs.whiteouts, version, number(f, "ws/e/1/context/a/b")),
			 0);
	expect(f, "spec.yml", BUILD, PUBLISH_NEW, "2", 4);
	assert_content(f, "2", "a/b", NULL);
	assert_content(f, "2", "Dockerfile", "FROM x\n");
}

/* What is removed beside the context is no part of it. */
static void test_a_file_removed_beside_a_context(void **state)
{
	struct fsys_fixture *f = *state;

	publish_context(f);
	assert_int_equal(
		whiteout_add(f->fs.whiteouts, number(f, "ws/e/1"), number(f, "ws/e/1/spec.yml")),
		0);
	expect(f, "spec.yml", BUILD, PUBLISH_NOTHING, "1", 0);
}

/* Another Dockerfile of the same files: they are looked at, and not sent. */
static void test_another_dockerfile(void **state)
{
	struct fsys_fixture *f = *state;
	struct version *v;
	struct saving s;

	publish_context(f);
	refuse(f, "spec.yml", BUILD "  dockerfile_path: none\n", -EBADMSG,
	       "line 5, column 20: the build context has no file none");
	assert_int_equal(save_at(f, &s, "1", "spec.yml", BUILD "  dockerfile_path: a/b\n"), 0);
	assert_int_equal(s.out.what, PUBLISH_NEW);
	assert_int_equal(fsys_requests(f, MEM_UPLOAD), 0);
	v = stored(f, "2");
	assert_string_equal(v->dockerfile_path, "a/b");
	version_unref(v);
	saving_end(f, &s, "spec.yml");
}

/* An image becomes a build: its context lies on this machine so far. */
static void test_a_context_where_there_was_none(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];

	publish_image(f);
	refuse(f, "spec.yml", BUILD, -EBADMSG, "the build context has no file Dockerfile");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "context/Dockerfile", path), "FROM z\n");
	expect(f, "spec.yml", BUILD, PUBLISH_NEW, "2", 3);
	assert_content(f, "2", "Dockerfile", "FROM z\n");
}

/* A context that is a URL has no files here. */
static void test_a_context_elsewhere(void **state)
{
	struct fsys_fixture *f = *state;
	struct version *v;

	publish_context(f);
	expect(f, "spec.yml", "name: e\nbuild:\n  path: https://github.com/a/b.git#main:docker\n",
	       PUBLISH_NEW, "2", 2);
	v = stored(f, "2");
	assert_string_equal(v->context_uri, "https://github.com/a/b.git#main:docker");
	version_unref(v);
}

/* ---- what cannot be reached ---- */

static void test_a_base_that_is_gone(void **state)
{
	struct fsys_fixture *f = *state;
	struct saving s;

	publish_image(f);
	assert_int_equal(save_at(f, &s, "5", "spec.yml", SPEC("new:2")), -EIO);
	assert_non_null(strstr(s.e.msg, "version 5 of e is not there any more"));
}

static void test_a_context_that_cannot_be_read(void **state)
{
	struct fsys_fixture *f = *state;

	publish_context(f);
	memsource_fail(f->m, MEM_READ, -EHOSTUNREACH, "no network");
	refuse(f, "context/a/b", "new\n", -EHOSTUNREACH, "no network");
	memsource_fail(f->m, MEM_READ, 0, NULL);
	assert_content(f, "1", "a/b", "old\n");
}

/* ---- a file that is renamed onto one of ours ---- */

static void go_down(void *arg)
{
	memsource_fail(arg, MEM_GET, -EHOSTUNREACH, "down");
}

/* Its publication was in doubt, and did reach the service: then its bytes are not refused. */
static void test_doubt_about_a_file_that_was_renamed_here(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *from = NULL;
	_cleanup_buf_ struct buf reason = BUF_INIT(ERR_MSG_MAX);
	char vdir[FSYS_PATH], to[FSYS_PATH], rejected[FSYS_PATH];
	struct err e = ERR_INIT;

	publish_image(f);
	from = upper_path(&f->fs, UPPER_SCRATCH, fsys_vdir(f, "e", "1", vdir), ".spec.yml.new");
	fsys_write(f, from, SPEC("new:2"));
	fsys_path(f, "shown", "e", "1", "spec.yml", to);
	fsys_path(f, ".local", "e", "1", "spec.yml.rejected", rejected);
	memsource_lose(f->m, MEM_PUT, -ETIMEDOUT, "lost");
	memsource_before(f->m, MEM_PUT, go_down, f->m);
	assert_int_equal(save_onto(&f->fs, f->scope, from, to, false, getpid(), &e), -ETIMEDOUT);
	fsys_assert_file(f, rejected, SPEC("new:2"));
	assert_int_equal(edit_get_reason(&f->fs, vdir, &reason), 0);
	assert_string_equal(buf_str(&reason), "lost");
	memsource_fail(f->m, MEM_GET, 0, NULL);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_image(f, "2", "new:2");
	assert_false(fsys_exists(f, rejected));
	assert_int_equal(edit_get_reason(&f->fs, vdir, &reason), -ENODATA);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_what_is_shown_saved_again_is_nothing),
		WITH_MOUNT(test_another_way_to_write_it_is_nothing),
		WITH_MOUNT(test_conda_in_another_form_is_nothing),
		WITH_MOUNT(test_a_change_costs_two_requests),
		WITH_MOUNT(test_a_change_of_conda),
		WITH_MOUNT(test_the_next_save_begins_where_this_one_ended),
		WITH_MOUNT(test_a_base_that_is_not_the_newest),
		WITH_MOUNT(test_unsaved_bytes_of_other_files_are_left_alone),
		WITH_MOUNT(test_a_version_that_is_named),
		WITH_MOUNT(test_the_name_of_the_last_one_means_the_next),
		WITH_MOUNT(test_a_named_version_that_exists),
		WITH_MOUNT(test_tags_are_updated_in_place),
		WITH_MOUNT(test_a_description_is_updated_in_place),
		WITH_MOUNT(test_tags_go_along_with_a_new_version),
		WITH_MOUNT(test_tags_of_others_stay),
		WITH_MOUNT(test_a_tag_changed_back),
		WITH_MOUNT(test_tags_of_others_on_what_was_made_here),
		WITH_MOUNT(test_a_tag_that_is_gone_already),
		WITH_MOUNT(test_an_update_that_fails),
		WITH_MOUNT(test_a_conda_file_before_its_spec),
		WITH_MOUNT(test_another_file_of_the_directory),
		WITH_MOUNT(test_conda_in_the_spec_itself),
		WITH_MOUNT(test_conda_taken_out),
		WITH_MOUNT(test_what_is_not_valid_is_refused),
		WITH_MOUNT(test_checks_make_no_request),
		WITH_MOUNT(test_a_probe_asks_for_the_save_that_follows),
		WITH_MOUNT(test_a_probe_says_what_the_save_would),
		WITH_MOUNT(test_a_probe_is_no_promise),
		WITH_MOUNT(test_a_spec_in_an_environment),
		WITH_MOUNT(test_the_first_spec_of_an_environment),
		WITH_MOUNT(test_a_conda_file_in_an_environment),
		WITH_MOUNT(test_what_a_spec_in_an_environment_names_there),
		WITH_MOUNT(test_a_context_that_nobody_touched),
		WITH_MOUNT(test_a_file_of_a_context),
		WITH_MOUNT(test_the_same_bytes_in_a_context_are_nothing),
		WITH_MOUNT(test_a_new_file_in_a_context),
		WITH_MOUNT(test_a_file_removed_from_a_context),
		WITH_MOUNT(test_a_file_removed_beside_a_context),
		WITH_MOUNT(test_another_dockerfile),
		WITH_MOUNT(test_a_context_where_there_was_none),
		WITH_MOUNT(test_a_context_elsewhere),
		WITH_MOUNT(test_a_base_that_is_gone),
		WITH_MOUNT(test_a_context_that_cannot_be_read),
		WITH_MOUNT(test_doubt_about_a_file_that_was_renamed_here),
	};

	return cmocka_run_group_tests_name("publish_edit", tests, NULL, NULL);
}
