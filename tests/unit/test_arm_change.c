/*
 * Changing and deleting what is published: which requests are sent, what is in them, and what is
 * made of the answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "tests/unit/armfixture.h"

#define QUERY     "?api-version=2026-05-01 "
#define ENV       WS "/environments/e1"
#define GET_IT    "GET " ENV "/versions/1" QUERY
#define PUT_IT    "PUT " ENV "/versions/1" QUERY
#define DELETE_IT "DELETE " ENV "/versions/1" QUERY
#define VERSION(members)                                                              \
	"{\"id\":\"" ENV "/versions/1\",\"name\":\"1\",\"properties\":{" members "}," \
	"\"systemData\":{\"createdAt\":\"2022-09-16T02:50:45.0191406+00:00\"}}"
/* What we know, what we don't know, and what only the service sets. */
#define REST                                                                              \
	"\"image\":\"ubuntu:22.04\",\"condaFile\":\"{\\n  \\\"name\\\": \\\"x\\\"\\n}\"," \
	"\"stage\":\"Development\",\"autoRebuild\":\"OnBaseImageUpdate\","                \
	"\"properties\":{\"p\":null},\"later\":{\"deep\":[1,2.5,true,null]},"             \
	"\"environmentType\":\"UserCreated\",\"provisioningState\":\"Succeeded\""
#define TAG(k, v)                        \
	{                                \
		.key = (k), .value = (v) \
	}
#define SET(k, v)                                                                           \
	&(struct version_change)                                                            \
	{                                                                                   \
		.tags = (const struct tag_change[]){TAG(k, v)}, .n_tags = 1, .archived = -1 \
	}

static int update_in(struct arm_fixture *f, struct scope *scope, const char *env,
		     const struct version_change *change, struct version **out)
{
	return f->source->ops->update_version(f->source, scope, env, "1", change, &f->call, out,
					      &f->err);
}

/* The change alone; what comes back is thrown away. */
static int update(struct arm_fixture *f, const struct version_change *change)
{
	struct version *v = NULL;
	int rc = update_in(f, f->workspace, "e1", change, &v);

	assert_int_equal(!v, rc != 0);
	version_unref(v);
	return rc;
}

static int delete_it(struct arm_fixture *f, struct scope *scope, const char *env)
{
	return f->source->ops->delete_version(f->source, scope, env, "1", &f->call, &f->err);
}

/* A rule that answers so many times, then the next of the same kind does. */
static void times(struct arm_fixture *f, int n, const char *match, int status, const char *body)
{
	struct stub_rule rule = {.match = match, .times = n, .status = status, .body = body};

	stub_add(f->stub, &rule);
}

static void expect_requests(struct arm_fixture *f, unsigned int gets, unsigned int puts)
{
	assert_int_equal(stub_count(f->stub, "GET "), gets);
	assert_int_equal(stub_count(f->stub, "PUT "), puts);
	assert_int_equal(stub_count(f->stub, ""), gets + puts);
}

/* The properties in the body of the nth PUT. */
static cJSON *sent(struct arm_fixture *f, unsigned int nth)
{
	char *body = stub_body(f->stub, "PUT ", nth, NULL);
	cJSON *json = cJSON_Parse(body);

	assert_non_null(json);
	assert_int_equal(cJSON_GetArraySize(json), 1);
	free(body);
	return json;
}

static void expect_sent(struct arm_fixture *f, unsigned int nth, const char *properties)
{
	cJSON *json = sent(f, nth), *expected = cJSON_Parse(properties);
	const cJSON *p = cJSON_GetObjectItem(json, "properties");

	assert_non_null(expected);
	if (!cJSON_Compare(p, expected, true)) {
		char *text = cJSON_PrintUnformatted(p);

		print_error("sent: %s\n", text);
		free(text);
		fail();
	}
	cJSON_Delete(json);
	cJSON_Delete(expected);
}

/* ---- what is sent ---- */

static void test_unknown_members_go_back(void **state)
{
	struct arm_fixture *f = *state;
	struct version *v = NULL;

	stub_json(f->stub, GET_IT, 200, VERSION(REST ",\"tags\":{\"a\":\"1\",\"n\":null}"));
	stub_json(f->stub, PUT_IT, 201,
		  VERSION(REST ",\"tags\":{\"n\":null,\"k\":\"v\",\"a\":\"1\"}"));
	assert_int_equal(update_in(f, f->workspace, "e1", SET("k", "v"), &v), 0);
	assert_string_equal(version_tag(v, "k", NULL), "v");
	assert_string_equal(v->stage, "Development");
	version_unref(v);
	expect_requests(f, 1, 1);
	expect_sent(f, 0,
		    "{\"image\":\"ubuntu:22.04\","
		    "\"condaFile\":\"{\\n  \\\"name\\\": \\\"x\\\"\\n}\","
		    "\"stage\":\"Development\",\"autoRebuild\":\"OnBaseImageUpdate\","
		    "\"properties\":{\"p\":null},\"later\":{\"deep\":[1,2.5,true,null]},"
		    "\"tags\":{\"a\":\"1\",\"n\":null,\"k\":\"v\"}}");
}

#define LEAVE      .archived = -1
#define TAGS(t)    .tags = (t), .n_tags = sizeof(t) / sizeof(*(t))
#define DESCRIBE   .set_description = true
#define ONLY       .replace_tags = true
#define GIVEN      "\"tags\":{\"a\":\"1\"},\"description\":\"d\""
#define NULL_TAG   "\"tags\":{\"n\":null}"
#define CHANGED(t) "\"tags\":{" t "},\"description\":\"d\""

static const struct tag_change a1[] = {TAG("a", "1")}, a2[] = {TAG("a", "2")};
static const struct tag_change no_a[] = {TAG("a", NULL)}, b3[] = {TAG("b", ""), TAG("b", "3")};
static const struct tag_change create_a[] = {{"a", "2", TAG_CREATE}};
static const struct tag_change replace_b[] = {{"b", "2", TAG_REPLACE}};
static const struct tag_change gone_b[] = {{"b", NULL, TAG_IF_THERE}, TAG("a", "2")};
static const struct tag_change gone_a[] = {{"a", NULL, TAG_IF_THERE}};
static const struct tag_change empty_n[] = {TAG("n", "")}, unnamed[] = {TAG("", "x")};
static const struct tag_change latin1[] = {TAG("a", "\xe9")};
static const struct tag_change there_and_back[] = {TAG("a", NULL), TAG("a", "1")};

/* What each change makes of what is there; sent NULL: no PUT. */
static const struct edit {
	struct version_change change;
	int rc;
	const char *given;
	const char *sent;
} edits[] = {
	{{LEAVE}, 0, GIVEN, NULL},
	{{TAGS(a1), LEAVE}, 0, GIVEN, NULL},
	{{TAGS(a2), LEAVE}, 0, GIVEN, CHANGED("\"a\":\"2\"")},
	{{TAGS(no_a), LEAVE}, 0, GIVEN, CHANGED("")},
	{{TAGS(b3), LEAVE}, 0, GIVEN, CHANGED("\"a\":\"1\",\"b\":\"3\"")},
	{{TAGS(there_and_back), LEAVE}, 0, GIVEN, NULL},
	{{TAGS(create_a), LEAVE}, -EEXIST, GIVEN, NULL},
	{{TAGS(create_a), LEAVE},
	 0,
	 "\"isArchived\":true",
	 "\"isArchived\":true,\"tags\":{\"a\":\"2\"}"},
	{{TAGS(replace_b), LEAVE}, -ENODATA, GIVEN, NULL},
	{{TAGS(no_a), LEAVE}, -ENODATA, "\"tags\":null", NULL},
	{{TAGS(gone_b), LEAVE}, 0, GIVEN, CHANGED("\"a\":\"2\"")},
	{{TAGS(gone_a), LEAVE}, 0, GIVEN, CHANGED("")},
	{{TAGS(gone_a), LEAVE}, 0, "\"tags\":null", NULL},
	{{TAGS(a1), LEAVE}, 0, "\"tags\":null", "\"tags\":{\"a\":\"1\"}"},
	{{TAGS(empty_n), LEAVE}, 0, NULL_TAG, NULL},
	{{TAGS(unnamed), LEAVE}, -EINVAL, GIVEN, NULL},
	{{TAGS(latin1), LEAVE}, -EINVAL, GIVEN, NULL},
	{{TAGS(empty_n), ONLY, LEAVE}, 0, NULL_TAG, NULL},
	{{TAGS(a1), ONLY, LEAVE}, 0, GIVEN, NULL},
	{{TAGS(b3), ONLY, LEAVE}, 0, GIVEN, CHANGED("\"b\":\"3\"")},
	{{TAGS(no_a), ONLY, LEAVE}, -EINVAL, GIVEN, NULL},
	{{ONLY, LEAVE}, 0, GIVEN, CHANGED("")},
	{{ONLY, LEAVE}, 0, "\"description\":null", NULL},
	{{DESCRIBE, LEAVE}, 0, GIVEN, "\"tags\":{\"a\":\"1\"},\"description\":\"\""},
	{{DESCRIBE, .description = "", LEAVE}, 0, "\"tags\":{}", NULL},
	{{DESCRIBE, .description = "d", LEAVE}, 0, GIVEN, NULL},
	{{DESCRIBE, .description = "x", .archived = 1},
	 0,
	 "\"isArchived\":false",
	 "\"description\":\"x\",\"isArchived\":true"},
	{{.archived = 0}, 0, GIVEN, NULL},
	{{.archived = 0}, 0, "\"isArchived\":true", "\"isArchived\":false"},
};

static void test_edits(void **state)
{
	struct arm_fixture *f = *state;
	char get[512], put[512], properties[256];
	unsigned int puts = 0;

	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		const struct edit *edit = &edits[i];
		const char *to = edit->sent ? edit->sent : "";

		snprintf(get, sizeof(get), VERSION("%s"), edit->given);
		snprintf(put, sizeof(put), VERSION("%s"), to);
		snprintf(properties, sizeof(properties), "{%s}", to);
		stub_clear(f->stub);
		stub_json(f->stub, GET_IT, 200, get);
		stub_json(f->stub, PUT_IT, 200, put);
		if (update(f, &edit->change) != edit->rc)
			fail_msg("edit %zu: %s", i, f->err.msg);
		if (edit->sent)
			expect_sent(f, puts++, properties);
		expect_requests(f, (unsigned int)i + 1, puts);
	}
}

static void test_too_much(void **state)
{
	struct arm_fixture *f = *state;
	char *text = malloc(ASSET_TEXT_MAX + 2);

	assert_non_null(text);
	memset(text, 'x', ASSET_TEXT_MAX + 1);
	text[ASSET_TEXT_MAX + 1] = '\0';
	stub_json(f->stub, GET_IT, 200, VERSION(REST));
	assert_int_equal(update(f, SET("k", text)), -EFBIG);
	assert_int_equal(update(f, SET(text, "v")), -EFBIG);
	expect_requests(f, 2, 0);
	free(text);
}

static void test_update_env(void **state)
{
	static const char archived[] = "{\"id\":\"" ENV "\",\"name\":\"e1\",\"properties\":"
				       "{\"isArchived\":true,\"tags\":{\"t\":\"1\"}}}";
	struct arm_fixture *f = *state;
	struct env *env = NULL;

	stub_json(
		f->stub, "GET " ENV QUERY, 200,
		"{\"id\":\"" ENV "\",\"name\":\"e1\",\"properties\":{\"isArchived\":false,"
		"\"latestVersion\":\"1\",\"nextVersion\":\"2\",\"provisioningState\":\"Succeeded\","
		"\"later\":7,\"tags\":{\"t\":\"1\"}}}");
	stub_json(f->stub, "PUT " ENV QUERY, 200, archived);
	assert_int_equal(f->source->ops->update_env(f->source, f->workspace, "e1", true, &f->call,
						    &env, &f->err),
			 0);
	assert_true(env->archived);
	env_unref(env);
	expect_requests(f, 1, 1);
	expect_sent(f, 0, "{\"isArchived\":true,\"later\":7,\"tags\":{\"t\":\"1\"}}");
	assert_int_equal(f->source->ops->update_env(f->source, f->workspace, "e1", false, &f->call,
						    &env, &f->err),
			 0);
	assert_false(env->archived);
	env_unref(env);
	expect_requests(f, 2, 1);
}

/* ---- answers that are not what was sent ---- */

/* Somebody else's tag is in the answer: one look, and it is right. */
static void test_answer_says_more(void **state)
{
	struct arm_fixture *f = *state;
	struct version *v = NULL;

	times(f, 1, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_json(f->stub, PUT_IT, 200, VERSION("\"tags\":{\"k\":\"v\",\"o\":\"x\"}"));
	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{\"k\":\"v\",\"o\":\"y\"}"));
	assert_int_equal(update_in(f, f->workspace, "e1", SET("k", "v"), &v), 0);
	assert_string_equal(version_tag(v, "o", NULL), "y");
	version_unref(v);
	expect_requests(f, 2, 1);
}

/* Somebody else's PUT came between: ours is made again upon what he wrote. */
static void test_overwritten(void **state)
{
	struct arm_fixture *f = *state;
	struct version_change create = {
		.tags = (struct tag_change[]){{"k", "v", TAG_CREATE}}, .n_tags = 1, .archived = -1};

	times(f, 1, GET_IT, 200, VERSION("\"tags\":{}"));
	times(f, 1, PUT_IT, 200, VERSION("\"tags\":{\"o\":\"x\"}"));
	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{\"o\":\"x\"}"));
	stub_json(f->stub, PUT_IT, 200, VERSION("\"tags\":{\"o\":\"x\",\"k\":\"v\"}"));
	assert_int_equal(update(f, &create), 0);
	expect_requests(f, 2, 2);
	expect_sent(f, 1, "{\"tags\":{\"o\":\"x\",\"k\":\"v\"}}");
}

static void test_never_made(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_json(f->stub, PUT_IT, 200, VERSION("\"tags\":{}"));
	assert_int_equal(update(f, SET("k", "v")), -EIO);
	assert_non_null(strstr(f->err.msg, "without making it"));
	expect_requests(f, 4, 4);
}

/* A PUT that is repeated says what is there by then, not what was there before. */
static void test_refused_for_now(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule busy = {
		.match = PUT_IT, .times = 1, .status = 429, .headers = "retry-after-ms: 20\r\n"};

	times(f, 1, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_add(f->stub, &busy);
	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{\"o\":\"x\"}"));
	stub_json(f->stub, PUT_IT, 200, VERSION("\"tags\":{\"o\":\"x\",\"k\":\"v\"}"));
	assert_int_equal(update(f, SET("k", "v")), 0);
	expect_requests(f, 2, 2);
	expect_sent(f, 1, "{\"tags\":{\"o\":\"x\",\"k\":\"v\"}}");
}

/* The answer was lost, the change was not: its conditions don't hold any more, and need not. */
static void test_lost_answer(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule lost = {.match = PUT_IT, .wrong = STUB_TRUNCATE, .body = "{}"};
	struct version_change create = {
		.tags = (struct tag_change[]){{"k", "v", TAG_CREATE}}, .n_tags = 1, .archived = -1};

	times(f, 1, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_add(f->stub, &lost);
	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{\"k\":\"v\"}"));
	assert_int_equal(update(f, &create), 0);
	expect_requests(f, 2, 1);
}

static void test_down(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_json(f->stub, PUT_IT, 500, "{\"error\":{\"code\":\"C\",\"message\":\"ill\"}}");
	assert_int_equal(update(f, SET("k", "v")), -EIO);
	assert_non_null(strstr(f->err.msg, "ill"));
	expect_requests(f, 4, 4);
	/* What can't be read is not asked for in rounds. */
	stub_clear(f->stub);
	stub_json(f->stub, GET_IT, 404, "{}");
	assert_int_equal(update(f, SET("k", "v")), -ENOENT);
	stub_clear(f->stub);
	stub_json(f->stub, GET_IT, 200, "{\"name\":\"1\"}");
	assert_int_equal(update(f, SET("k", "v")), -EBADMSG);
	expect_requests(f, 6, 4);
}

/* ---- what can't be changed ---- */

static void test_read_only(void **state)
{
	struct arm_fixture *f = *state;
	struct scope fields = *f->registry, *azureml;
	struct version *v = NULL;

	fields.writable = false;
	azureml = scope_new(&fields);
	assert_int_equal(update_in(f, azureml, "e1", SET("k", "v"), &v), -EROFS);
	assert_int_equal(delete_it(f, azureml, "e1"), -EROFS);
	assert_int_equal(update_in(f, f->workspace, "AzureML-sklearn", SET("k", "v"), &v), -EROFS);
	assert_int_equal(delete_it(f, f->workspace, "Microsoft-x"), -EROFS);
	assert_int_equal(f->source->ops->delete_env(f->source, azureml, "e1", &f->call, &f->err),
			 -EROFS);
	expect_requests(f, 0, 0);
	stub_json(f->stub, GET_IT, 200, VERSION("\"environmentType\":\"Curated\""));
	assert_int_equal(update(f, SET("k", "v")), -EROFS);
	expect_requests(f, 1, 0);
	scope_unref(azureml);
}

static void test_conflict(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, GET_IT, 200, VERSION("\"tags\":{}"));
	stub_json(f->stub, PUT_IT, 409,
		  "{\"error\":{\"code\":\"UserError\",\"message\":\"cannot be changed\"}}");
	assert_int_equal(update(f, SET("k", "v")), -EROFS);
	assert_non_null(strstr(f->err.msg, "cannot be changed"));
	expect_requests(f, 1, 1);
}

/* ---- deleting ---- */

static void test_delete(void **state)
{
	static const struct {
		int status;
		int rc;
	} cases[] = {{200, 0},      {204, 0},       {400, -EPERM},
		     {405, -EPERM}, {404, -ENOENT}, {403, -EACCES}};
	struct arm_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *text = "{\"error\":{\"code\":\"UserError\",\"message\":\"its words\"}}";

		stub_clear(f->stub);
		stub_json(f->stub, DELETE_IT, cases[i].status, cases[i].status < 300 ? "" : text);
		stub_json(f->stub, "DELETE " ENV QUERY, cases[i].status,
			  cases[i].status < 300 ? "" : text);
		assert_int_equal(delete_it(f, f->workspace, "e1"), cases[i].rc);
		if (cases[i].rc)
			assert_non_null(strstr(f->err.msg, "its words"));
		assert_int_equal(f->source->ops->delete_env(f->source, f->workspace, "e1", &f->call,
							    &f->err),
				 cases[i].rc);
	}
	assert_int_equal(stub_count(f->stub, ""), 2 * sizeof(cases) / sizeof(*cases));
}

/* The first attempt deleted it, but its answer was lost. */
static void test_delete_lost_answer(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule lost = {.match = DELETE_IT, .times = 1, .status = 503};

	stub_add(f->stub, &lost);
	stub_json(f->stub, DELETE_IT, 404, "{}");
	assert_int_equal(delete_it(f, f->workspace, "e1"), 0);
	assert_int_equal(stub_count(f->stub, DELETE_IT), 2);
}

#define IN_REGISTRY REG "/environments/e1/versions/1?api-version=2021-10-01"

static void test_delete_in_registry(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule accepted = {.match = "DELETE " IN_REGISTRY,
				     .status = 202,
				     .times = 1,
				     .headers = "Location: {base}/operations/1\r\n"};
	struct stub_rule elsewhere = {.match = "DELETE " IN_REGISTRY,
				      .status = 202,
				      .headers = "Location: http://127.0.0.1:1/evil\r\n"};
	struct stub_rule running = {.match = "GET /operations/1 ",
				    .status = 202,
				    .times = 1,
				    .headers = "retry-after-ms: 20\r\n"};

	stub_add(f->stub, &accepted);
	stub_add(f->stub, &running);
	stub_json(f->stub, "GET /operations/1 ", 200, "");
	assert_int_equal(delete_it(f, f->registry, "e1"), 0);
	assert_int_equal(stub_count(f->stub, "GET /operations/1 "), 2);
	/* Without an address to ask: it is deleted when it is gone. */
	stub_add(f->stub, &elsewhere);
	stub_json(f->stub, "GET " IN_REGISTRY, 404, "{}");
	assert_int_equal(delete_it(f, f->registry, "e1"), 0);
	assert_int_equal(stub_count(f->stub, "GET " IN_REGISTRY), 1);
}

/* What would change something is refused without being sent; what would not is none of our
 * business.
 */
static void test_update_in_registry(void **state)
{
	struct arm_fixture *f = *state;
	struct version *v = NULL;
	struct env *env = NULL;

	stub_json(f->stub, "GET " IN_REGISTRY, 200, VERSION("\"tags\":{\"k\":\"v\"}"));
	stub_json(f->stub, "GET " REG "/environments/e1?", 200,
		  "{\"id\":\"" ENV "\",\"name\":\"e1\",\"properties\":{\"isArchived\":false}}");
	assert_int_equal(update_in(f, f->registry, "e1", SET("k", "other"), &v), -EROFS);
	assert_non_null(strstr(f->err.msg, "publish another version"));
	assert_int_equal(update_in(f, f->registry, "e1", SET("k", "v"), &v), 0);
	version_unref(v);
	assert_int_equal(f->source->ops->update_env(f->source, f->registry, "e1", true, &f->call,
						    &env, &f->err),
			 -EROFS);
	assert_int_equal(stub_count(f->stub, "PUT "), 0);
}

/* ---- turns ---- */

struct writer {
	struct arm_fixture *f;
	struct call call;
	const char *version;
	pthread_t thread;
	int rc;
	struct err err;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	struct source *s = w->f->source;
	struct version *v = NULL;

	w->rc = s->ops->update_version(s, w->f->workspace, "e1", w->version, SET("k", "v"),
				       &w->call, &v, &w->err);
	version_unref(v);
	return NULL;
}

static void writer_start(struct writer *w, struct arm_fixture *f, const char *version, int64_t ns)
{
	*w = (struct writer){.f = f, .version = version};
	call_init(&w->call, clock_mono() + ns, CALL_INTERACTIVE);
	assert_int_equal(pthread_create(&w->thread, NULL, writer_main, w), 0);
}

static int writer_join(struct writer *w)
{
	pthread_join(w->thread, NULL);
	call_destroy(&w->call);
	return w->rc;
}

/* Who waits for his turn sends nothing, and can stop waiting; other versions don't wait. */
static void test_turns(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule hang = {.match = GET_IT, .wrong = STUB_HANG};
	struct writer holder, late, cancelled, other;

	stub_add(f->stub, &hang);
	stub_json(f->stub, "GET " ENV "/versions/2" QUERY, 404, "{}");
	writer_start(&holder, f, "1", 20 * NS_PER_S);
	stub_wait(f->stub, 1);
	writer_start(&late, f, "1", 50 * NS_PER_MS);
	writer_start(&cancelled, f, "1", 20 * NS_PER_S);
	writer_start(&other, f, "2", 20 * NS_PER_S);
	assert_int_equal(writer_join(&other), -ENOENT);
	assert_int_equal(writer_join(&late), -ETIMEDOUT);
	assert_non_null(strstr(late.err.msg, "somebody else"));
	call_cancel(&cancelled.call);
	assert_int_equal(writer_join(&cancelled), -ECANCELED);
	expect_requests(f, 2, 0);
	/* The end of the holder's turn is the next one's beginning; the end of all ends it. */
	writer_start(&late, f, "1", 20 * NS_PER_S);
	call_cancel(&holder.call);
	assert_int_equal(writer_join(&holder), -ECANCELED);
	stub_wait(f->stub, 3);
	f->source->ops->stop(f->source);
	assert_int_equal(writer_join(&late), -ECANCELED);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SOURCE(test_unknown_members_go_back),
		WITH_SOURCE(test_edits),
		WITH_SOURCE(test_too_much),
		WITH_SOURCE(test_update_env),
		WITH_SOURCE(test_answer_says_more),
		WITH_SOURCE(test_overwritten),
		WITH_SOURCE(test_never_made),
		WITH_SOURCE(test_refused_for_now),
		WITH_SOURCE(test_lost_answer),
		WITH_SOURCE(test_down),
		WITH_SOURCE(test_read_only),
		WITH_SOURCE(test_conflict),
		WITH_SOURCE(test_delete),
		WITH_SOURCE(test_delete_lost_answer),
		WITH_SOURCE(test_delete_in_registry),
		WITH_SOURCE(test_update_in_registry),
		WITH_SOURCE(test_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
