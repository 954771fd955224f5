/* fs/pending: what was written here and is not published, and throwing it away. */
#include "fs/pending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/journal.h"
#include "fs/node.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "tests/unit/fsys_fixture.h"

enum { MANY = 1000 };

static const char *const lists[] = {"drafts", "rejected", "unsaved", "publishing"};

static cJSON *pending(struct fsys_fixture *f)
{
	cJSON *json = cJSON_CreateObject();

	assert_int_equal(pending_add(&f->fs, json), 0);
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		assert_true(cJSON_IsArray(cJSON_GetObjectItem(json, lists[i])));
	assert_true(cJSON_IsNumber(cJSON_GetObjectItem(json, "more")));
	return json;
}

static int count(const cJSON *json, const char *list)
{
	return cJSON_GetArraySize(cJSON_GetObjectItem(json, list));
}

static const char *text_of(const cJSON *item, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItem(item, name));
}

/* The list has an item of that path, with that reason (NULL: none). */
static void assert_item(const cJSON *json, const char *list, const char *path, const char *reason)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, list)) {
		if (strcmp(text_of(item, "path"), path) != 0)
			continue;
		if (reason)
			assert_string_equal(text_of(item, "reason"), reason);
		else
			assert_null(text_of(item, "reason"));
		return;
	}
	fail_msg("%s is not in %s", path, list);
}

static void publish(struct fsys_fixture *f)
{
	fsys_publish(f, &(struct version){.env = "e", .version = "1", .image = "i:1"});
}

/* ---- lists ---- */

static void test_nothing_is_pending(void **state)
{
	struct fsys_fixture *f = *state;
	cJSON *json;
	char path[FSYS_PATH];

	publish(f);
	/* Scratch, and what is kept beside a version, waits for nothing. */
	fsys_write(f, fsys_path(f, ".scratch", "e", ".spec.yml.swp", "", path), "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "notes", path), "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "a.rejectedly", path), "x\n");
	fsys_write(f, fsys_path(f, ".kept", "e", "1", "f-spec.yml", path), "x\n");
	json = pending(f);
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		assert_int_equal(count(json, lists[i]), 0);
	assert_int_equal(cJSON_GetObjectItem(json, "more")->valueint, 0);
	cJSON_Delete(json);
}

static void test_drafts(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];
	cJSON *json;

	fsys_write(f, fsys_path(f, "", "e", "4", "spec.yml", path), "x\n");
	edit_note(&f->fs, fsys_vdir(f, "e", "4", path), "spec.yml: line 1: no");
	fsys_write(f, fsys_path(f, "", "e", "5", "spec.yml", path), "x\n");
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "5", path));
	fsys_write(f, fsys_path(f, "", "new", ".next", "spec.yml", path), "x\n");
	/* Not a draft: a file that lies in an environment's directory. */
	fsys_write(f, fsys_path(f, "", "e", "todo.txt", "", path), "x\n");
	json = pending(f);
	assert_int_equal(count(json, "drafts"), 3);
	assert_item(json, "drafts", "ws/e/4", "spec.yml: line 1: no");
	assert_item(json, "drafts", "ws/e/5", "waits until nothing is written to it");
	assert_item(json, "drafts", "ws/new/.next", NULL);
	cJSON_Delete(json);
}

static void test_refused_saves(void **state)
{
	static const char *const rels[] = {"spec.yml.rejected", "spec.yml.rejected.1",
					   "context/a/b.rejected"};
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH];
	cJSON *json;

	for (size_t i = 0; i < 3; i++)
		fsys_write(f, fsys_path(f, ".local", "e", "1", rels[i], path), "x\n");
	edit_note(&f->fs, fsys_path(f, ".local", "e", "1", rels[0], path), "not allowed");
	fsys_write(f, fsys_path(f, ".local", "e", UPPER_ENV, "spec.yml.rejected", path), "x\n");
	json = pending(f);
	assert_int_equal(count(json, "rejected"), 4);
	assert_item(json, "rejected", "ws/e/1/spec.yml.rejected", "not allowed");
	assert_item(json, "rejected", "ws/e/1/spec.yml.rejected.1", NULL);
	assert_item(json, "rejected", "ws/e/1/context/a/b.rejected", NULL);
	assert_item(json, "rejected", "ws/e/spec.yml.rejected", NULL);
	assert_int_equal(count(json, "drafts"), 0);
	cJSON_Delete(json);
}

/* The workspace is not there any more, or can't be asked for: its files are. */
static void test_a_workspace_that_is_not_known(void **state)
{
	struct fsys_fixture *f = *state;
	cJSON *json;

	fsys_write(f, "00000000000000aa/e/4/spec.yml", "x\n");
	json = pending(f);
	assert_item(json, "drafts", "00000000000000aa/e/4", NULL);
	cJSON_Delete(json);
}

static void test_unsaved_edits(void **state)
{
	struct fsys_fixture *f = *state;
	char vdir[FSYS_PATH];
	cJSON *json;

	fsys_vdir(f, "e", "1", vdir);
	assert_int_equal(edits_add(f->fs.edits, vdir, "spec.yml", false), 0);
	assert_int_equal(edits_add(f->fs.edits, vdir, "context/a/b", false), 0);
	edits_dirty(f->fs.edits, vdir, "context/a/b");
	json = pending(f);
	assert_int_equal(count(json, "unsaved"), 1);
	assert_item(json, "unsaved", "ws/e/1/context/a/b", NULL);
	cJSON_Delete(json);
}

static uint64_t begin_publication(struct fsys_fixture *f, const char *scope, const char *env)
{
	const struct journal_entry entry = {.scope = scope,
					    .env = env,
					    .version = "4",
					    .from = "x/y/4",
					    .digest = "00",
					    .bytes = ""};
	uint64_t id;

	assert_int_equal(journal_begin(f->fs.journal, &entry, &id, NULL), 0);
	return id;
}

static void test_publications(void **state)
{
	struct fsys_fixture *f = *state;
	char key[SCOPE_KEY_SIZE];
	cJSON *json;

	tree_scope_key(f->scope, key);
	settle_active(f->fs.settle, begin_publication(f, key, "e"), true);
	begin_publication(f, key, "doubtful");
	begin_publication(f, "gone\ngroup\nsub", "e");
	json = pending(f);
	assert_int_equal(count(json, "publishing"), 3);
	assert_item(json, "publishing", "ws/e/4", "under way");
	assert_item(json, "publishing", "ws/doubtful/4",
		    "whether the service has it is not known yet");
	assert_item(json, "publishing", "gone/e/4", "whether the service has it is not known yet");
	cJSON_Delete(json);
}

/* An attribute holds only so much; what is left out is counted. */
static void test_too_many(void **state)
{
	struct fsys_fixture *f = *state;
	_cleanup_free_ char *text = NULL;
	cJSON *json;
	char path[FSYS_PATH], version[16];
	int more;

	for (int i = 0; i < MANY; i++) {
		snprintf(version, sizeof(version), "%d", i);
		fsys_write(f, fsys_path(f, "", "e", version, "spec.yml", path), "x\n");
	}
	json = pending(f);
	more = cJSON_GetObjectItem(json, "more")->valueint;
	assert_in_range(more, 1, MANY - 1);
	assert_int_equal(count(json, "drafts") + more, MANY);
	text = cJSON_PrintUnformatted(json);
	assert_in_range(strlen(text), 1, 64 * 1024 - 1024);
	cJSON_Delete(json);
}

/* ---- throwing away ---- */

static int discard(struct fsys_fixture *f, const char *path, struct err *e)
{
	struct node *n = fsys_node(f, path);

	assert_non_null(n);
	*e = (struct err)ERR_INIT;
	return pending_discard(&f->fs, n, e);
}

static void assert_discarded(struct fsys_fixture *f, const char *path)
{
	struct err e;

	if (discard(f, path, &e))
		fail_msg("%s: %s", path, e.msg);
}

static void assert_kept(struct fsys_fixture *f, const char *path, const char *words)
{
	struct err e;

	assert_int_equal(discard(f, path, &e), -EPERM);
	if (!strstr(e.msg, words))
		fail_msg("%s: %s", path, e.msg);
}

static void test_a_draft_is_thrown_away(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], dir[FSYS_PATH], other[FSYS_PATH];

	fsys_write(f, fsys_path(f, "", "e", "4", "context/a/b", path), "x\n");
	fsys_write(f, fsys_path(f, "", "e", "4", "spec.yml", path), "x\n");
	fsys_write(f, fsys_path(f, "", "e", "5", "spec.yml", other), "x\n");
	settle_touch(f->fs.settle, f->scope, fsys_vdir(f, "e", "4", dir));
	assert_discarded(f, "ws/e/4/spec.yml");
	assert_false(fsys_exists(f, path));
	assert_true(fsys_exists(f, dir));
	assert_true(settle_waits(f->fs.settle, dir));
	assert_discarded(f, "ws/e/4");
	assert_false(fsys_exists(f, dir));
	/* It is not published after all. */
	assert_false(settle_waits(f->fs.settle, dir));
	assert_true(fsys_exists(f, other));
}

/* The file of a version is the published one again. */
static void test_an_edit_is_thrown_away(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], vdir[FSYS_PATH];
	struct node *n;

	publish(f);
	n = fsys_node(f, "ws/e/1/spec.yml");
	assert_int_equal(edit_begin(&f->fs, n, false, fsys_call(f), NULL), 0);
	assert_int_equal(edit_wrote(&f->fs, n), 0);
	assert_true(fsys_exists(f, fsys_path(f, "edit", "e", "1", "spec.yml", path)));
	assert_discarded(f, "ws/e/1/spec.yml");
	assert_false(fsys_exists(f, path));
	assert_false(edits_any(f->fs.edits, fsys_vdir(f, "e", "1", vdir)));
	assert_int_equal(fsys_node(f, "ws/e/1/spec.yml")->kind, NODE_SPEC);
	assert_ptr_equal(fsys_node(f, "ws/e/1/spec.yml"), n);
	assert_kept(f, "ws/e/1/spec.yml", "this is published");
}

static void assert_reason(struct fsys_fixture *f, const char *vdir, bool expected)
{
	struct buf reason = BUF_INIT(ERR_MSG_MAX);

	assert_int_equal(edit_get_reason(&f->fs, vdir, &reason), expected ? 0 : -ENODATA);
	buf_free(&reason);
}

static void test_a_refused_file_is_thrown_away(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], other[FSYS_PATH], vdir[FSYS_PATH];

	publish(f);
	fsys_vdir(f, "e", "1", vdir);
	fsys_write(f, fsys_path(f, ".local", "e", "1", "spec.yml.rejected", path), "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "conda.yml.rejected", other), "x\n");
	edit_set_reason(&f->fs, vdir, "no");
	assert_reason(f, vdir, true);
	assert_discarded(f, "ws/e/1/spec.yml.rejected");
	assert_false(fsys_exists(f, path));
	assert_true(fsys_exists(f, other));
	assert_reason(f, vdir, false);
}

static void test_all_of_a_version_is_thrown_away(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], vdir[FSYS_PATH], notes[FSYS_PATH];
	struct node *n;

	publish(f);
	fsys_vdir(f, "e", "1", vdir);
	assert_kept(f, "ws/e/1", "nothing in it waits to be published");
	n = fsys_node(f, "ws/e/1/spec.yml");
	assert_int_equal(edit_begin(&f->fs, n, false, fsys_call(f), NULL), 0);
	assert_int_equal(edit_wrote(&f->fs, n), 0);
	fsys_write(f, fsys_path(f, ".local", "e", "1", "spec.yml.rejected", path), "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "context/a.rejected.2", path), "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "notes", notes), "x\n");
	edit_set_reason(&f->fs, vdir, "no");
	assert_discarded(f, "ws/e/1");
	assert_false(edits_any(f->fs.edits, vdir));
	assert_false(node_is_local(f->fs.nodes, n));
	assert_int_equal(fsys_count(f, ".local"), 1);
	assert_true(fsys_exists(f, notes));
	assert_reason(f, vdir, false);
	assert_kept(f, "ws/e/1", "nothing in it waits to be published");
}

static void test_what_is_not_thrown_away(void **state)
{
	struct fsys_fixture *f = *state;
	char path[FSYS_PATH], vdir[FSYS_PATH];
	_cleanup_free_ char *scratch = NULL;

	publish(f);
	scratch = upper_path(&f->fs, UPPER_SCRATCH, fsys_vdir(f, "e", "1", vdir), ".spec.yml.swp");
	fsys_write(f, scratch, "x\n");
	fsys_write(f, fsys_path(f, ".local", "e", "1", "notes", path), "x\n");
	assert_kept(f, "ws/e", "this is published");
	assert_kept(f, "ws/e/1/spec.yml", "this is published");
	assert_kept(f, "ws/e/1/.spec.yml.swp", "rm removes it");
	assert_kept(f, "ws/e/1/notes", "rm removes it");
	assert_true(fsys_exists(f, scratch));
	assert_true(fsys_exists(f, path));
	assert_int_equal(memsource_calls(f->m, MEM_DELETE), 0);
	assert_int_equal(memsource_calls(f->m, MEM_UPDATE), 0);
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_nothing_is_pending),
		WITH_MOUNT(test_drafts),
		WITH_MOUNT(test_refused_saves),
		WITH_MOUNT(test_a_workspace_that_is_not_known),
		WITH_MOUNT(test_unsaved_edits),
		WITH_MOUNT(test_publications),
		WITH_MOUNT(test_too_many),
		WITH_MOUNT(test_a_draft_is_thrown_away),
		WITH_MOUNT(test_an_edit_is_thrown_away),
		WITH_MOUNT(test_a_refused_file_is_thrown_away),
		WITH_MOUNT(test_all_of_a_version_is_thrown_away),
		WITH_MOUNT(test_what_is_not_thrown_away),
	};

	return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
