/* The catalog with what an earlier one left on the disk: used at once, asked for behind, and
 * doubted. */
#include "cache/recall.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/warm.h"
#include "client/log.h"
#include "tests/unit/cache_fixture.h"
#include "tests/unit/catalog_fixture.h"

enum { LIMIT = 16 * 1024 * 1024, SIZE = 3000 };

struct test_place {
	char path[CACHE_PATH_MAX];
	int dir;
	struct store *store;
	struct fixture f;
};

/* A catalog over a source of its own, as another process would have it. */
static void begin(struct test_place *p)
{
	const struct store_conf conf = {.dir = p->path, .name = "svc", .max = LIMIT};

	assert_int_equal(store_open(&conf, &p->store, NULL), 0);
	fixture_store = p->store;
	open_fixture(&p->f);
	fixture_store = NULL;
}

static void end(struct test_place *p)
{
	close_fixture(&p->f);
	store_close(p->store);
	p->store = NULL;
}

static int setup(void **state)
{
	struct test_place *p = calloc(1, sizeof(*p));

	p->dir = cache_dir_make(p->path);
	*state = p;
	/* What is known: the lists, as of now. */
	begin(p);
	assert_int_equal(ask(&p->f, NULL, NULL), 0);
	assert_int_equal(ask(&p->f, "a", NULL), 0);
	end(p);
	return 0;
}

static int teardown(void **state)
{
	struct test_place *p = *state;

	fixture_behind_quiet = 0;
	close(p->dir);
	cache_dir_remove(p->path);
	free(p);
	return 0;
}

static void wait_confirmed(struct fixture *f)
{
	const struct timespec tick = {.tv_nsec = NS_PER_MS};
	int64_t until = clock_mono() + PATIENCE_S * NS_PER_S;

	while ((stats(f).unconfirmed || stats(f).behind) && clock_mono() < until)
		nanosleep(&tick, NULL);
	assert_int_equal(stats(f).unconfirmed, 0);
	assert_int_equal(stats(f).behind, 0);
}

static void what_is_on_the_disk_is_the_answer_for_now(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;
	char text[ERR_MSG_MAX];

	begin(p);
	memsource_describe(f->m, "a", "second");
	memsource_hold(f->m);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(f, "a", text), 0);
		assert_string_equal(text, "first");
	}
	assert_int_equal(stats(f).recalled, 1);
	assert_int_equal(stats(f).remembered, 3);
	assert_int_equal(stats(f).unconfirmed, 1);
	assert_true(memsource_wait_inside(f->m, 1));
	assert_int_equal(catalog_left(f->c, f->scope, "a"), REFRESH);
	memsource_release(f->m);
	wait_events(f, 1);
	assert_int_equal(f->events.list[0].event, CATALOG_VERSIONS);
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "second");
	assert_int_equal(memsource_calls(f->m, MEM_VERSIONS), 1);
	end(p);

	/* And that is what the next one finds. */
	begin(p);
	memsource_fail(f->m, MEM_VERSIONS, -EHOSTUNREACH, "no network");
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "second");
	assert_int_equal(ask(f, "b", NULL), -EHOSTUNREACH);
	end(p);
}

static void lists_that_say_the_same_change_nothing(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;

	begin(p);
	assert_int_equal(ask(f, NULL, NULL), 0);
	assert_int_equal(ask(f, "a", NULL), 0);
	wait_confirmed(f);
	assert_int_equal(f->events.n, 0);
	assert_int_equal(memsource_calls(f->m, MEM_ENVS), 1);
	assert_int_equal(ask(f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f->m, MEM_VERSIONS), 1);
	end(p);
}

/* Requests for what was remembered don't get into the way of who reads it. */
static void the_service_is_asked_when_it_is_quiet(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;

	fixture_behind_quiet = NS_PER_S;
	begin(p);
	assert_int_equal(ask(f, NULL, NULL), 0);
	assert_int_equal(ask(f, "a", NULL), 0);
	assert_int_equal(memsource_calls(f->m, MEM_ENVS) + memsource_calls(f->m, MEM_VERSIONS), 0);
	assert_int_equal(stats(f).behind, 2);
	wait_confirmed(f);
	assert_int_equal(memsource_calls(f->m, MEM_ENVS), 1);
	assert_int_equal(memsource_calls(f->m, MEM_VERSIONS), 1);
	end(p);

	/* Whoever ends meanwhile does not wait for it. */
	begin(p);
	assert_int_equal(ask(f, "a", NULL), 0);
	end(p);
}

static void a_refresh_that_is_asked_for_is_waited_for(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;
	char text[ERR_MSG_MAX];

	begin(p);
	memsource_describe(f->m, "a", "second");
	catalog_expire(f->c);
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "second");
	end(p);
}

static void a_refusal_ends_what_is_remembered(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;

	begin(p);
	memsource_fail(f->m, MEM_VERSIONS, -EACCES, "not allowed");
	assert_int_equal(ask(f, "a", NULL), 0);
	wait_confirmed(f);
	assert_int_equal(ask(f, "a", NULL), -EACCES);
	pass(NEGATIVE);
	assert_int_equal(ask(f, "a", NULL), -EACCES);
	end(p);
}

static void what_is_gone_is_gone_from_the_disk(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;

	begin(p);
	memsource_remove_env(f->m, "a");
	assert_int_equal(ask(f, "a", NULL), 0);
	wait_events(f, 1);
	assert_int_equal(ask(f, "a", NULL), -ENOENT);
	end(p);
	begin(p);
	memsource_fail(f->m, MEM_VERSIONS, -EHOSTUNREACH, "no network");
	assert_int_equal(ask(f, "a", NULL), -EHOSTUNREACH);
	end(p);
}

static int set_description(struct fixture *f, const char *text)
{
	const struct version_change change = {
		.archived = -1, .set_description = true, .description = text};
	struct version *v;
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_update_version(f->c, f->scope, "a", "1", &change, &call, &v, NULL);
	call_destroy(&call);
	version_unref(v);
	return rc;
}

static void a_change_is_what_the_next_one_finds(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;
	char text[ERR_MSG_MAX];

	begin(p);
	assert_int_equal(ask(f, "a", NULL), 0);
	wait_confirmed(f);
	assert_int_equal(set_description(f, "mine"), 0);
	end(p);
	assert_int_equal(cache_count(p->path, "svc/doubts"), 0);
	begin(p);
	memsource_fail(f->m, MEM_VERSIONS, -EHOSTUNREACH, "no network");
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "mine");
	end(p);
}

/* Nobody knows whether it was made: the next one asks before it shows anything. */
static void a_change_without_an_answer_is_doubted(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;
	char text[ERR_MSG_MAX];

	begin(p);
	assert_int_equal(ask(f, "a", NULL), 0);
	wait_confirmed(f);
	memsource_lose(f->m, MEM_UPDATE, -ETIMEDOUT, "lost");
	assert_int_equal(set_description(f, "mine"), -ETIMEDOUT);
	end(p);
	assert_true(cache_count(p->path, "svc/doubts") > 0);
	begin(p);
	memsource_describe(f->m, "a", "mine");
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "mine");
	end(p);
	/* With an answer there is no doubt any more. */
	begin(p);
	memsource_describe(f->m, "a", "of others");
	memsource_hold(f->m);
	assert_int_equal(ask(f, "a", text), 0);
	assert_string_equal(text, "mine");
	memsource_release(f->m);
	end(p);
}

/* ---- content ---- */

static int read_all(struct fixture *f, struct context *ctx, struct buf *out)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_read(f->c, f->scope, ctx, &ctx->files[0], 0, SIZE, &call, out, NULL);
	call_destroy(&call);
	return rc;
}

static int get_context(struct fixture *f, struct version *v, struct context **out)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_context(f->c, f->scope, v, &call, out, NULL);
	call_destroy(&call);
	return rc;
}

static void contexts_and_their_content_are_read_once(void **state)
{
	struct version fields = {.env = "a", .version = "1", .context_uri = "https://x/context"};
	struct version *v = version_new(&fields);
	struct test_place *p = *state;
	struct fixture *f = &p->f;

	for (int i = 0; i < 2; i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(SIZE);
		struct context *ctx;

		begin(p);
		memsource_set_file(f->m, "file", SIZE, "etag");
		assert_int_equal(get_context(f, v, &ctx), 0);
		assert_int_equal(read_all(f, ctx, &out), 0);
		assert_int_equal(out.len, SIZE);
		for (size_t k = 0; k < SIZE; k++)
			assert_int_equal(out.data[k], memsource_byte(k));
		assert_int_equal(memsource_calls(f->m, MEM_CONTEXT), i == 0);
		assert_int_equal(memsource_calls(f->m, MEM_READ), i == 0);
		context_unref(ctx);
		end(p);
	}
	version_unref(v);
}

static void warming_keeps_what_is_in_memory_only(void **state)
{
	struct test_place *p = *state;
	struct fixture *f = &p->f;
	struct call call;

	begin(p);
	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(warm_list(f->c, f->scope, "b", &call, NULL), 0);
	store_drop_scope(p->store, &(struct buf){.data = "", .len = 0});
	assert_int_equal(warm_list(f->c, f->scope, "b", &call, NULL), 0);
	assert_int_equal(memsource_calls(f->m, MEM_VERSIONS), 1);
	call_destroy(&call);
	end(p);
	begin(p);
	memsource_fail(f->m, MEM_VERSIONS, -EHOSTUNREACH, "no network");
	assert_int_equal(ask(f, "b", NULL), 0);
	end(p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_on_the_disk_is_the_answer_for_now),
		TEST(lists_that_say_the_same_change_nothing),
		TEST(the_service_is_asked_when_it_is_quiet),
		TEST(a_refresh_that_is_asked_for_is_waited_for),
		TEST(a_refusal_ends_what_is_remembered),
		TEST(what_is_gone_is_gone_from_the_disk),
		TEST(a_change_is_what_the_next_one_finds),
		TEST(a_change_without_an_answer_is_doubted),
		TEST(contexts_and_their_content_are_read_once),
		TEST(warming_keeps_what_is_in_memory_only),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("recall", tests, NULL, NULL);
}
