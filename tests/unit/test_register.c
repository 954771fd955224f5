/* fs/register: one version to the service, exactly once. */
#include "fs/register.h"

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
#include "client/cleanup.h"
#include "fs/edit.h"
#include "fs/journal.h"
#include "fs/settle.h"
#include "fs/upper.h"
#include "tests/unit/fsys_fixture.h"

enum { TAKEN_MAX = 100 };

static const char IMAGE[] = "registry.example/base:1", OTHER[] = "registry.example/base:2";

static void publish(struct fsys_fixture *f, const char *env, const char *version, const char *image)
{
	fsys_publish(f, &(struct version){.env = env, .version = version, .image = image});
}

/* What is to be published: spec.yml's text and the path of its bytes. */
struct trial {
	struct spec *spec;
	struct registration r;
	struct version *version;
	uint64_t id;
	struct err e;
	char from[FSYS_PATH];
};

static void trial_begin(struct trial *t, struct fsys_fixture *f, const char *text,
			const char *wanted)
{
	*t = (struct trial){0};
	assert_int_equal(spec_parse(text, strlen(text), &t->spec, &t->e), 0);
	fsys_path(f, "edit", "e", "1", "spec.yml", t->from);
	fsys_write(f, t->from, text);
	t->r = (struct registration){.scope = f->scope,
				     .env = "e",
				     .wanted = wanted,
				     .spec = t->spec,
				     .from = t->from,
				     .bytes = t->from};
}

static int trial_run(struct trial *t, struct fsys_fixture *f)
{
	return register_version(&f->fs, &t->r, fsys_call(f), &t->version, &t->id, &t->e);
}

static void trial_end(struct trial *t)
{
	version_unref(t->version);
	spec_free(t->spec);
}

static void count_entry(void *arg, uint64_t id, const struct journal_entry *entry)
{
	(void)id, (void)entry;
	++*(unsigned int *)arg;
}

static unsigned int journal_entries(struct fsys_fixture *f)
{
	unsigned int n = 0;

	assert_int_equal(journal_each(f->fs.journal, count_entry, &n), 0);
	return n;
}

/* Publishes the image OTHER, which has to become that version. */
static void assert_becomes(struct fsys_fixture *f, const char *wanted, const char *expected)
{
	struct trial t;

	trial_begin(&t, f, "image: registry.example/base:2\n", wanted);
	if (trial_run(&t, f))
		fail_msg("%s", t.e.msg);
	assert_string_equal(t.version->version, expected);
	assert_int_equal(t.e.code, 0);
	register_done(&f->fs, t.id);
	trial_end(&t);
}

static void assert_stored(struct fsys_fixture *f, const char *version, const char *image)
{
	struct version *v = memsource_get(f->m, "e", version);

	assert_non_null(v);
	assert_string_equal(v->image, image);
	version_unref(v);
}

static void assert_latest(struct fsys_fixture *f, const char *expected)
{
	struct version_list *list;

	assert_int_equal(catalog_versions(f->fs.catalog, f->scope, "e", fsys_call(f), &list, NULL),
			 0);
	assert_string_equal(version_list_latest(list)->version, expected);
	version_list_unref(list);
}

/* ---- names ---- */

static void test_a_version_costs_a_get_and_a_put(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "1", IMAGE);
	fsys_forget_requests(f);
	assert_becomes(f, NULL, "2");
	assert_int_equal(fsys_requests(f, MEM_GET), 1);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_int_equal(fsys_all_requests(f), 2);
	assert_stored(f, "2", OTHER);
	assert_stored(f, "1", IMAGE);
	/* The next one too: what was made here is known here. */
	assert_becomes(f, NULL, "3");
	assert_int_equal(fsys_all_requests(f), 4);
	assert_int_equal(journal_entries(f), 0);
}

static void test_a_wanted_version_costs_the_same(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "1", IMAGE);
	fsys_forget_requests(f);
	assert_becomes(f, "2024-01-01", "2024-01-01");
	assert_int_equal(fsys_all_requests(f), 2);
}

static void test_the_first_version_is_1(void **state)
{
	struct fsys_fixture *f = *state;

	assert_becomes(f, NULL, "1");
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
}

/* One behind the highest number, archived ones too, whatever else there is. */
static void test_the_next_number(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "9", IMAGE);
	publish(f, "e", "10", IMAGE);
	fsys_publish(f, &(struct version){
				.env = "e", .version = "11", .image = IMAGE, .archived = true});
	assert_becomes(f, NULL, "12");
	publish(f, "e", "1.5", IMAGE);
	assert_becomes(f, NULL, "13");
}

/* Too long to be counted on: such names are names, not numbers. */
static void test_numbers_that_are_none(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "99999999999999999999999999", IMAGE);
	assert_becomes(f, NULL, "1");
	publish(f, "e", "99999999999999999", IMAGE);
	assert_becomes(f, NULL, "100000000000000000");
}

/* Where the newest version is no number the service says what is next, unless that is there. */
static void test_the_service_says_what_follows_a_name(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "2024-01-01", IMAGE);
	memsource_set_next(f->m, "e", "2024-01-02");
	assert_becomes(f, NULL, "2024-01-02");
	/* What it said is taken now, and nothing else is known: a number. */
	assert_becomes(f, NULL, "1");
}

static void test_names_without_a_next_one(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "5", IMAGE);
	publish(f, "e", "beta", IMAGE);
	assert_becomes(f, NULL, "6");
}

/* ---- others ---- */

/* The list is old: others have made versions since. */
static void test_names_that_others_took(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "1", IMAGE);
	memsource_put(f->m, &(struct version){.env = "e", .version = "2", .image = IMAGE});
	fsys_forget_requests(f);
	assert_becomes(f, NULL, "3");
	assert_int_equal(fsys_requests(f, MEM_GET), 2);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_int_equal(fsys_all_requests(f), 3);
	assert_stored(f, "2", IMAGE);
}

/* After two of them the list is asked for, not every number one by one. */
static void test_many_names_that_others_took(void **state)
{
	struct fsys_fixture *f = *state;
	static const char *const names[] = {"2", "3", "4", "5", "6", "7", "8", "9"};

	publish(f, "e", "1", IMAGE);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		memsource_put(f->m,
			      &(struct version){.env = "e", .version = names[i], .image = IMAGE});
	fsys_forget_requests(f);
	assert_becomes(f, NULL, "10");
	assert_int_equal(fsys_requests(f, MEM_VERSIONS), 1);
	assert_in_range(fsys_requests(f, MEM_GET), 1, 4);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
}

/* The list lags behind: it does not name what the look-up finds. */
static void test_a_list_that_lags(void **state)
{
	struct fsys_fixture *f = *state;
	static const char *const names[] = {"2", "3", "4", "5"};

	publish(f, "e", "1", IMAGE);
	memsource_lag(f->m, true);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		memsource_put(f->m,
			      &(struct version){.env = "e", .version = names[i], .image = IMAGE});
	assert_becomes(f, NULL, "6");
	assert_stored(f, "5", IMAGE);
}

struct rival {
	struct memsource *m;
	unsigned int next;
};

/* Somebody takes the name that is asked for, just before. */
static void take_name(void *arg)
{
	struct rival *r = arg;
	char name[16];

	snprintf(name, sizeof(name), "%u", r->next++);
	memsource_put(r->m, &(struct version){.env = "e", .version = name, .image = IMAGE});
}

static void test_others_that_are_always_faster(void **state)
{
	struct fsys_fixture *f = *state;
	struct rival rival = {f->m, 2};
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_before(f->m, MEM_GET, take_name, &rival);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -EBUSY);
	assert_non_null(strstr(t.e.msg, "others make versions of e"));
	assert_null(t.version);
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_in_range(rival.next, 10, TAKEN_MAX);
	trial_end(&t);
}

/* Between our look-up and our request: the service refuses, and the next name is taken. */
static void test_a_name_taken_in_between(void **state)
{
	struct fsys_fixture *f = *state;
	struct rival rival = {f->m, 2};
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_before(f->m, MEM_PUT, take_name, &rival);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -EBUSY);
	assert_true(rival.next > 10);
	assert_stored(f, "2", IMAGE);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);

	memsource_before(f->m, MEM_PUT, NULL, NULL);
	fsys_forget_requests(f);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), 0);
	assert_string_equal(t.version->image, OTHER);
	register_done(&f->fs, t.id);
	trial_end(&t);
}

/* ---- a version that it must be ---- */

static void assert_exists(struct fsys_fixture *f, const char *wanted, const char *words)
{
	struct trial t;

	trial_begin(&t, f, "image: registry.example/base:2\n", wanted);
	assert_int_equal(trial_run(&t, f), -EEXIST);
	assert_non_null(strstr(t.e.msg, words));
	assert_null(t.version);
	assert_int_equal(t.id, 0);
	trial_end(&t);
}

static void test_a_wanted_version_that_exists(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "1", IMAGE);
	fsys_publish(
		f, &(struct version){.env = "e", .version = "2", .image = IMAGE, .archived = true});
	assert_exists(f, "1", "version 1 of e exists already");
	assert_exists(f, "2", "it is archived");
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_int_equal(journal_entries(f), 0);
}

/* It is there with just this content: somebody's, or our own of a request that was lost. */
static void test_a_wanted_version_that_says_the_same(void **state)
{
	struct fsys_fixture *f = *state;

	publish(f, "e", "7", OTHER);
	fsys_forget_requests(f);
	assert_becomes(f, "7", "7");
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_int_equal(fsys_all_requests(f), 1);
}

/* Registries list no such version: who takes it for his own loses what he wrote. */
static void test_a_wanted_version_that_failed(void **state)
{
	static const struct version failed = {
		.env = "e", .version = "2", .image = OTHER, .provisioning_state = "Failed"};
	struct fsys_fixture *f = *state;
	struct version *v;

	publish(f, "e", "1", IMAGE);
	memsource_set_version(f->m, &failed);
	fsys_forget_requests(f);
	memsource_fail(f->m, MEM_PUT, -EEXIST, "it exists already");
	assert_exists(f, "2", "it exists already");
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	memsource_fail(f->m, MEM_PUT, 0, NULL);
	assert_becomes(f, "2", "2");
	v = memsource_get(f->m, "e", "2");
	assert_false(version_has_failed(v));
	version_unref(v);
	/* A name that one need not have is left to who failed. */
	memsource_set_version(f->m, &(struct version){.env = "e",
						      .version = "3",
						      .image = OTHER,
						      .provisioning_state = "Failed"});
	assert_becomes(f, NULL, "4");
	assert_int_equal(journal_entries(f), 0);
}

/* ---- failures ---- */

/* Requests that were refused: the caller may try again, and nothing is in doubt. */
static void test_a_request_that_was_refused(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_fail(f->m, MEM_PUT, -EACCES, "not allowed");
	fsys_forget_requests(f);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -EACCES);
	assert_string_equal(t.e.msg, "not allowed");
	assert_int_equal(t.id, 0);
	assert_int_equal(fsys_requests(f, MEM_GET), 1);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);
}

static void test_a_look_up_that_fails(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_fail(f->m, MEM_GET, -EHOSTUNREACH, "no network");
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -EHOSTUNREACH);
	assert_string_equal(t.e.msg, "no network");
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);
}

/* The answer was lost: it is looked up, not sent again. */
static void test_a_lost_answer_is_looked_up(void **state)
{
	static const int lost[] = {-ETIMEDOUT, -EIO, -EHOSTUNREACH, -EBUSY, -EBADMSG};
	struct fsys_fixture *f = *state;

	publish(f, "e", "1", IMAGE);
	for (size_t i = 0; i < sizeof(lost) / sizeof(*lost); i++) {
		struct trial t;
		char name[16];

		memsource_lose(f->m, MEM_PUT, lost[i], "lost");
		fsys_forget_requests(f);
		trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
		assert_int_equal(trial_run(&t, f), 0);
		snprintf(name, sizeof(name), "%zu", i + 2);
		assert_string_equal(t.version->version, name);
		assert_int_equal(fsys_requests(f, MEM_PUT), 1);
		assert_int_equal(fsys_requests(f, MEM_GET), 2);
		/* The caller ends it, when the local files say what happened. */
		assert_true(t.id != 0);
		assert_true(settle_is_active(f->fs.settle, t.id));
		assert_int_equal(journal_entries(f), 1);
		register_done(&f->fs, t.id);
		assert_false(settle_is_active(f->fs.settle, t.id));
		assert_int_equal(journal_entries(f), 0);
		trial_end(&t);
	}
}

/* What was looked up is seen here at once, although the service's lists lag behind. */
static void test_what_was_looked_up_is_seen_at_once(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_lag(f->m, true);
	memsource_lose(f->m, MEM_PUT, -EIO, "lost");
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), 0);
	assert_latest(f, "2");
	catalog_expire(f->fs.catalog);
	assert_latest(f, "2");
	register_done(&f->fs, t.id);
	trial_end(&t);

	/* Made by another mount: it is the same as what was to be made. */
	memsource_put(f->m, &(struct version){.env = "e", .version = "3", .image = OTHER});
	assert_becomes(f, "3", "3");
	assert_latest(f, "3");
}

/* Sent, and not there: after an error that is an answer, it is not done. */
static void test_a_failed_request_that_left_nothing(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_fail(f->m, MEM_PUT, -EIO, "the service failed");
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -EIO);
	assert_string_equal(t.e.msg, "the service failed");
	assert_int_equal(t.id, 0);
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);
}

/* Fails the requests that follow the one that makes the version. */
static void go_down(void *arg)
{
	memsource_fail(arg, MEM_GET, -EHOSTUNREACH, "down");
}

/* Leaves a publication in doubt, whose bytes lie at t's place; the service did get it, or not. */
static void make_doubt(struct fsys_fixture *f, struct trial *t, bool got)
{
	if (got)
		memsource_lose(f->m, MEM_PUT, -ETIMEDOUT, "lost");
	else
		memsource_fail(f->m, MEM_PUT, -ETIMEDOUT, "lost");
	memsource_before(f->m, MEM_PUT, go_down, f->m);
	trial_begin(t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(t, f), -ETIMEDOUT);
	assert_string_equal(t->e.msg, "lost");
	assert_null(t->version);
	assert_int_equal(t->id, 0);
	assert_int_equal(journal_entries(f), 1);
	memsource_lose(f->m, MEM_PUT, 0, NULL);
	memsource_fail(f->m, MEM_PUT, 0, NULL);
	memsource_before(f->m, MEM_PUT, NULL, NULL);
}

/* As a save does it with bytes that it could not publish. */
static void reject(struct fsys_fixture *f, char path[FSYS_PATH], const char *name, const char *text)
{
	fsys_path(f, ".local", "e", "1", name, path);
	fsys_write(f, path, text);
}

static void test_doubt_is_resolved_when_the_service_is_back(void **state)
{
	struct fsys_fixture *f = *state;
	char mine[FSYS_PATH], older[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_lag(f->m, true);
	make_doubt(f, &t, true);
	reject(f, mine, "spec.yml.rejected.3", "image: registry.example/base:2\n");
	reject(f, older, "spec.yml.rejected", "image: something else\n");
	fsys_forget_requests(f);

	/* Still down: it stays in doubt. */
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 1);
	assert_int_equal(journal_entries(f), 1);
	assert_true(fsys_exists(f, mine));

	memsource_fail(f->m, MEM_GET, 0, NULL);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_latest(f, "2");
	/* It was published: its bytes are not refused any more; those of others are. */
	assert_false(fsys_exists(f, mine));
	assert_true(fsys_exists(f, older));
	trial_end(&t);
}

/* What it says that version 1 of e could not be saved. */
static void assert_reason(struct fsys_fixture *f, const char *reason)
{
	char vdir[FSYS_PATH];
	struct buf said = BUF_INIT(ERR_MSG_MAX);

	fsys_vdir(f, "e", "1", vdir);
	assert_int_equal(edit_get_reason(&f->fs, vdir, &said), 0);
	assert_non_null(strstr(buf_str(&said), reason));
	buf_free(&said);
}

static void test_doubt_about_what_never_arrived(void **state)
{
	struct fsys_fixture *f = *state;
	char mine[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	make_doubt(f, &t, false);
	reject(f, mine, "spec.yml.rejected", "image: registry.example/base:2\n");
	memsource_fail(f->m, MEM_GET, 0, NULL);
	fsys_forget_requests(f);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	/* It is never sent behind the user's back. */
	assert_int_equal(fsys_requests(f, MEM_PUT), 0);
	assert_true(fsys_exists(f, mine));
	assert_reason(f, "version 2 of e did not reach the service: save it once more");
	trial_end(&t);
}

/* What was said when it was saved says more than that the service has never heard of it. */
static void test_the_reason_stays_when_doubt_ends(void **state)
{
	struct fsys_fixture *f = *state;
	char vdir[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	make_doubt(f, &t, false);
	fsys_vdir(f, "e", "1", vdir);
	edit_set_reason(&f->fs, vdir, "it timed out");
	memsource_fail(f->m, MEM_GET, 0, NULL);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	assert_reason(f, "it timed out");
	trial_end(&t);
}

/* Somebody has made another version of that name. */
static void test_doubt_about_a_name_that_another_has(void **state)
{
	struct fsys_fixture *f = *state;
	char mine[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	make_doubt(f, &t, false);
	reject(f, mine, "spec.yml.rejected", "image: registry.example/base:2\n");
	memsource_put(f->m, &(struct version){.env = "e", .version = "2", .image = IMAGE});
	memsource_fail(f->m, MEM_GET, 0, NULL);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	assert_true(fsys_exists(f, mine));
	trial_end(&t);
}

/* Not there a moment after a request without an answer: it may still be on its way. */
static void test_a_request_that_may_be_on_its_way(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	memsource_fail(f->m, MEM_PUT, -ETIMEDOUT, "lost");
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), -ETIMEDOUT);
	assert_int_equal(t.id, 0);
	assert_int_equal(journal_entries(f), 1);
	memsource_put(f->m, &(struct version){.env = "e", .version = "2", .image = OTHER});
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);
}

/* What this process is publishing at the moment is in no doubt. */
static void test_what_is_under_way_is_left_alone(void **state)
{
	struct fsys_fixture *f = *state;
	struct trial t;

	publish(f, "e", "1", IMAGE);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), 0);
	fsys_forget_requests(f);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 1);
	assert_int_equal(fsys_all_requests(f), 0);
	register_done(&f->fs, t.id);
	assert_int_equal(journal_entries(f), 0);
	trial_end(&t);
}

/* The daemon died between the request and its bookkeeping: the next one finds the edit put aside,
 * and drops it. */
static void test_doubt_of_an_ended_mount(void **state)
{
	struct fsys_fixture *f = *state;
	char rejected[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	trial_begin(&t, f, "image: registry.example/base:2\n", NULL);
	assert_int_equal(trial_run(&t, f), 0);
	assert_true(fsys_exists(f, t.from));
	trial_end(&t);
	fsys_unmount(f);
	fsys_mount(f);
	fsys_path(f, ".local", "e", "1", "spec.yml.rejected", rejected);
	assert_true(fsys_exists(f, rejected));
	assert_int_equal(journal_entries(f), 1);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_int_equal(journal_entries(f), 0);
	assert_false(fsys_exists(f, rejected));
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
}

/* Of a draft, what the version holds goes, and what was written later stays. */
static void test_doubt_about_a_draft(void **state)
{
	struct fsys_fixture *f = *state;
	char draft[FSYS_PATH], spec[FSYS_PATH], notes[FSYS_PATH];
	struct trial t;

	publish(f, "e", "1", IMAGE);
	fsys_vdir(f, "e", "2", draft);
	fsys_path(f, "", "e", "2", "spec.yml", spec);
	fsys_path(f, "", "e", "2", "notes", notes);
	fsys_write(f, spec, "image: registry.example/base:2\n");
	trial_begin(&t, f, "image: registry.example/base:2\n", "2");
	t.r.from = draft;
	t.r.bytes = NULL;
	memsource_lose(f->m, MEM_PUT, -ETIMEDOUT, "lost");
	memsource_before(f->m, MEM_PUT, go_down, f->m);
	assert_int_equal(trial_run(&t, f), -ETIMEDOUT);
	fsys_write(f, notes, "mine\n");
	memsource_fail(f->m, MEM_GET, 0, NULL);
	assert_int_equal(register_resolve(&f->fs, fsys_call(f)), 0);
	assert_false(fsys_exists(f, spec));
	assert_false(fsys_exists(f, notes)); /* moved with its draft, which is none any more */
	fsys_path(f, "", "e", ".2", "notes", notes);
	fsys_assert_file(f, notes, "mine\n");
	trial_end(&t);
}

/* ---- contexts ---- */

static void test_a_context_is_uploaded_before(void **state)
{
	static const char TEXT[] = "build:\n  path: context\n";
	struct fsys_fixture *f = *state;
	FILE *content = tmpfile();
	struct upload_file file = {.path = "Dockerfile", .fd = fileno(content), .size = 5};
	struct trial t;

	assert_int_equal(pwrite(file.fd, "FROM\n", 5, 0), 5);
	publish(f, "e", "1", IMAGE);
	fsys_forget_requests(f);
	trial_begin(&t, f, TEXT, NULL);
	t.r.files = &file;
	t.r.n_files = 1;
	assert_int_equal(trial_run(&t, f), 0);
	assert_int_equal(fsys_requests(f, MEM_UPLOAD), 1);
	assert_int_equal(fsys_all_requests(f), 3);
	assert_string_equal(
		memcontexts_text(memsource_contexts(f->m), t.version->context_uri, "Dockerfile"),
		"FROM\n");
	register_done(&f->fs, t.id);
	trial_end(&t);

	/* One that is there already is named, not sent. */
	fsys_forget_requests(f);
	trial_begin(&t, f, TEXT, NULL);
	t.r.uri = "https://blobs.example/there";
	assert_int_equal(trial_run(&t, f), 0);
	assert_string_equal(t.version->context_uri, "https://blobs.example/there");
	assert_int_equal(fsys_all_requests(f), 2);
	register_done(&f->fs, t.id);
	trial_end(&t);

	memsource_fail(f->m, MEM_UPLOAD, -EIO, "the upload failed");
	trial_begin(&t, f, TEXT, NULL);
	t.r.files = &file;
	t.r.n_files = 1;
	assert_int_equal(trial_run(&t, f), -EIO);
	assert_string_equal(t.e.msg, "the upload failed");
	assert_int_equal(fsys_requests(f, MEM_PUT), 1);
	trial_end(&t);
	fclose(content);
}

/* ---- digests ---- */

static void digest(const struct version *fields, char out[REGISTER_DIGEST_SIZE])
{
	struct version *v = version_new(fields);

	assert_int_equal(register_digest(v, out), 0);
	assert_int_equal(strlen(out), REGISTER_DIGEST_SIZE - 1);
	version_unref(v);
}

static const struct kv tags_ab[] = {{"a", "1"}, {"b", "2"}};
static const struct kv tags_ba[] = {{"b", "2"}, {"a", "1"}};
static const struct kv tags_a[] = {{"a", "1"}};
static const struct kv tags_split[] = {{"a", "1\nb"}, {"c", "2"}};
static const struct kv tags_null[] = {{"a", NULL}, {"b", "2"}};

static const struct version full = {
	.env = "e",
	.version = "1",
	.description = "d",
	.tags = tags_ab,
	.n_tags = 2,
	.image = "i",
	.conda = "channels:\n- x\ndependencies:\n- python=3.10\n- pip:\n  - a==1.0\n",
	.os_type = "linux",
	.liveness = {.path = "/live", .port = 1},
};

static void test_a_digest_is_of_the_content(void **state)
{
	struct version same = full;
	char one[REGISTER_DIGEST_SIZE], other[REGISTER_DIGEST_SIZE];

	(void)state;
	digest(&full, one);
	/* What the service makes of it: JSON, its own times and names, tags in any order. */
	same.conda = "{\n  \"channels\": [\"x\"],\n \"dependencies\": [\"python=3.10\", "
		     "{\"pip\": [\"a==1.0\"]}]}";
	same.tags = tags_ba;
	same.created = 5;
	same.modified = 6;
	same.created_by = "somebody";
	same.stage = "Development";
	same.id = "/subscriptions/x";
	digest(&same, other);
	assert_string_equal(one, other);
	/* Defaults that it fills in. */
	same.os_type = NULL;
	digest(&same, other);
	assert_string_equal(one, other);
}

/* A context's Dockerfile has a name also when none is given; without a context it says nothing. */
static void test_a_digest_knows_defaults(void **state)
{
	const struct version plain = {.env = "e", .version = "1", .context_uri = "https://x/"};
	struct version named = plain;
	char one[REGISTER_DIGEST_SIZE], other[REGISTER_DIGEST_SIZE];

	(void)state;
	named.dockerfile_path = "Dockerfile";
	digest(&plain, one);
	digest(&named, other);
	assert_string_equal(one, other);
	named.dockerfile_path = "other/Dockerfile";
	digest(&named, other);
	assert_string_not_equal(one, other);
}

/* Every field that a user sets makes another digest; a definition only those that build. */
static void test_a_digest_tells_every_field(void **state)
{
	struct {
		struct version v;
		bool same_definition;
	} changed[] = {
		{full, true},  {full, true},  {full, true},  {full, true},  {full, true},
		{full, false}, {full, false}, {full, false}, {full, false}, {full, false},
		{full, false}, {full, false}, {full, false},
	};
	enum { N = sizeof(changed) / sizeof(*changed) };
	char digests[N + 1][REGISTER_DIGEST_SIZE];

	(void)state;
	changed[0].v.description = "other";
	changed[1].v.description = NULL;
	changed[2].v.tags = tags_a;
	changed[2].v.n_tags = 1;
	changed[3].v.tags = tags_split;
	changed[4].v.tags = tags_null;
	changed[5].v.image = "j";
	changed[6].v.conda = "channels:\n- x\ndependencies:\n- python=3.1\n";
	changed[7].v.conda = NULL;
	changed[8].v.os_type = "windows";
	changed[9].v.liveness.port = 2;
	changed[10].v.readiness.path = "/live";
	changed[11].v.startup.path = "/live";
	changed[12].v.scoring.port = 3;
	digest(&full, digests[N]);
	for (size_t i = 0; i < N; i++) {
		bool same;

		digest(&changed[i].v, digests[i]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(digests[i], digests[k]);
		assert_string_not_equal(digests[i], digests[N]);
		assert_int_equal(register_same_definition(&changed[i].v, &full, &same), 0);
		assert_int_equal(same, changed[i].same_definition);
	}
}

int main(void)
{
#define WITH_MOUNT(test) cmocka_unit_test_setup_teardown(test, fsys_setup, fsys_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_a_version_costs_a_get_and_a_put),
		WITH_MOUNT(test_a_wanted_version_costs_the_same),
		WITH_MOUNT(test_the_first_version_is_1),
		WITH_MOUNT(test_the_next_number),
		WITH_MOUNT(test_numbers_that_are_none),
		WITH_MOUNT(test_the_service_says_what_follows_a_name),
		WITH_MOUNT(test_names_without_a_next_one),
		WITH_MOUNT(test_names_that_others_took),
		WITH_MOUNT(test_many_names_that_others_took),
		WITH_MOUNT(test_a_list_that_lags),
		WITH_MOUNT(test_others_that_are_always_faster),
		WITH_MOUNT(test_a_name_taken_in_between),
		WITH_MOUNT(test_a_wanted_version_that_exists),
		WITH_MOUNT(test_a_wanted_version_that_says_the_same),
		WITH_MOUNT(test_a_wanted_version_that_failed),
		WITH_MOUNT(test_a_request_that_was_refused),
		WITH_MOUNT(test_a_look_up_that_fails),
		WITH_MOUNT(test_a_lost_answer_is_looked_up),
		WITH_MOUNT(test_what_was_looked_up_is_seen_at_once),
		WITH_MOUNT(test_a_failed_request_that_left_nothing),
		WITH_MOUNT(test_doubt_is_resolved_when_the_service_is_back),
		WITH_MOUNT(test_doubt_about_what_never_arrived),
		WITH_MOUNT(test_the_reason_stays_when_doubt_ends),
		WITH_MOUNT(test_doubt_about_a_name_that_another_has),
		WITH_MOUNT(test_a_request_that_may_be_on_its_way),
		WITH_MOUNT(test_what_is_under_way_is_left_alone),
		WITH_MOUNT(test_doubt_of_an_ended_mount),
		WITH_MOUNT(test_doubt_about_a_draft),
		WITH_MOUNT(test_a_context_is_uploaded_before),
		cmocka_unit_test(test_a_digest_is_of_the_content),
		cmocka_unit_test(test_a_digest_knows_defaults),
		cmocka_unit_test(test_a_digest_tells_every_field),
	};

	return cmocka_run_group_tests_name("register", tests, NULL, NULL);
}
