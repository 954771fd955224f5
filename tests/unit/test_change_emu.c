/*
 * Changes of what is published, from the catalog and the client to the embedded service and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/arm.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/emuclient.h"

enum { THREADS = 2, TAGS_EACH = 10, DEADLINE_S = 20, LAG_S = 600 };

#define VERSION_1 "W/environments/e/versions/1"

/* What this client has no word for is in there, too. */
static const char properties[] =
	"{\"properties\":{\"image\":\"ubuntu:22.04\",\"stage\":\"Development\","
	"\"properties\":{\"p\":\"1\"},\"tags\":{\"first\":\"0\"},"
	"\"condaFile\":\"dependencies:\\n- python=3.10\\n\","
	"\"autoRebuild\":\"OnBaseImageUpdate\"}}";

struct fixture {
	struct emuclient emu;
	struct credential *credential;
	struct source *source;
	struct catalog *catalog;
	struct scope *scope;
	struct call call;
};

static void open_with(struct fixture *f, const struct emu_conf *emu)
{
	struct arm_conf conf = {.endpoint = "http://localhost",
				.subscription = EMU_SUBSCRIPTION,
				.resource_group = EMU_RESOURCE_GROUP,
				.workspace = EMU_WORKSPACE};
	struct catalog_conf cc = {.refresh = NS_PER_MS,
				  .request_deadline = DEADLINE_S * NS_PER_S,
				  .max_in_flight = 4,
				  .content_max = 1024};
	struct scope scope = {.name = EMU_WORKSPACE,
			      .subscription = EMU_SUBSCRIPTION,
			      .resource_group = EMU_RESOURCE_GROUP,
			      .writable = true};

	log_set_level(LOG_LEVEL_ERROR);
	emuclient_start(&f->emu, emu);
	assert_int_equal(credential_none_new(&f->credential, NULL), 0);
	conf.unix_socket = f->emu.socket;
	conf.credential = f->credential;
	assert_int_equal(arm_source_new(&conf, &f->source, NULL), 0);
	cc.source = f->source;
	f->catalog = catalog_new(&cc, NULL);
	f->scope = scope_new(&scope);
	assert_non_null(f->catalog);
	assert_non_null(f->scope);
	call_init(&f->call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	emu_ask_status(&f->emu, "PUT", VERSION_1, properties, 201);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	open_with(*state, NULL);
	return 0;
}

static int setup_lagging(void **state)
{
	const struct emu_conf conf = {.list_lag_s = LAG_S};

	*state = calloc(1, sizeof(struct fixture));
	open_with(*state, &conf);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	catalog_free(f->catalog);
	source_free(f->source);
	credential_free(f->credential);
	scope_unref(f->scope);
	call_destroy(&f->call);
	emuclient_end(&f->emu);
	free(f);
	return 0;
}

static int change(struct fixture *f, const struct version_change *what)
{
	struct version *v = NULL;
	int rc = catalog_update_version(f->catalog, f->scope, "e", "1", what, &f->call, &v, NULL);

	version_unref(v);
	return rc;
}

/* The version as a list shows it, to be released; NULL when it is not there. */
static struct version *listed(struct fixture *f, const char *version)
{
	struct version_list *l = NULL;
	struct version *v = NULL;

	catalog_expire(f->catalog);
	if (catalog_versions(f->catalog, f->scope, "e", &f->call, &l, NULL) == 0)
		v = version_ref(version_list_find(l, version));
	version_list_unref(l);
	return v;
}

/* ---- tags ---- */

struct tagger {
	struct fixture *f;
	int id;
	int failures;
	pthread_t thread;
};

static void *tag_main(void *arg)
{
	struct tagger *t = arg;
	struct call call;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	for (int i = 0; i < TAGS_EACH; i++) {
		struct version *v = NULL;
		struct tag_change tag = {.value = "v", .flags = TAG_CREATE};
		struct version_change what = {.tags = &tag, .n_tags = 1, .archived = -1};
		char key[32];

		snprintf(key, sizeof(key), "t%d-%d", t->id, i);
		tag.key = key;
		t->failures += t->f->source->ops->update_version(t->f->source, t->f->scope, "e",
								 "1", &what, &call, &v, NULL) != 0;
		version_unref(v);
	}
	call_destroy(&call);
	return NULL;
}

static void test_tags_at_once(void **state)
{
	struct fixture *f = *state;
	struct tagger t[THREADS];
	cJSON *json;

	for (int i = 0; i < THREADS; i++) {
		t[i] = (struct tagger){.f = f, .id = i};
		assert_int_equal(pthread_create(&t[i].thread, NULL, tag_main, &t[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i].thread, NULL);
		assert_int_equal(t[i].failures, 0);
	}
	json = emu_ask_json(&f->emu, "GET", VERSION_1, NULL, 200);
	assert_int_equal(cJSON_GetArraySize(json_at(json, "properties.tags")),
			 1 + THREADS * TAGS_EACH);
	cJSON_Delete(json);
}

static void test_the_rest_survives(void **state)
{
	static const char unknown[] = "{\"image\":\"ubuntu:22.04\",\"stage\":\"Development\","
				      "\"tags\":{\"first\":\"0\"},\"osType\":\"Linux\","
				      "\"properties\":{\"p\":\"1\"},"
				      "\"later\":{\"deep\":[1,2.5,true,null]}}";
	struct tag_change tag = {.key = "k", .value = "v"};
	struct version_change what = {.tags = &tag,
				      .n_tags = 1,
				      .set_description = true,
				      .description = "words",
				      .archived = -1};
	struct fixture *f = *state;
	cJSON *before, *after;
	const cJSON *p;

	emu_ask_status(&f->emu, "PUT", "/__mlenvfs/raw/local/e/1", unknown, 201);
	before = emu_ask_json(&f->emu, "GET", VERSION_1, NULL, 200);
	assert_int_equal(change(f, &what), 0);
	after = emu_ask_json(&f->emu, "GET", VERSION_1, NULL, 200);
	assert_string_equal(json_text_at(after, "properties.tags.k"), "v");
	assert_string_equal(json_text_at(after, "properties.tags.first"), "0");
	assert_string_equal(json_text_at(after, "properties.description"), "words");
	assert_string_equal(json_text_at(after, "properties.stage"), "Development");
	/* Nothing but that was changed. */
	cJSON_ArrayForEach(p, json_at(before, "properties")) {
		char path[64];

		if (strcmp(p->string, "tags") == 0)
			continue;
		snprintf(path, sizeof(path), "properties.%s", p->string);
		assert_true(cJSON_Compare(p, json_at(after, path), true));
	}
	cJSON_Delete(before);
	cJSON_Delete(after);
}

static int requests(struct fixture *f)
{
	cJSON *json = emu_ask_json(&f->emu, "GET", "/__mlenvfs/counters", NULL, 200);
	int n = json_at(json, "total")->valueint;

	cJSON_Delete(json);
	return n;
}

/* A change is two requests; one that changes nothing is one. */
static void test_requests(void **state)
{
	struct tag_change tag = {.key = "k", .value = "v"};
	struct version_change what = {.tags = &tag, .n_tags = 1, .archived = -1};
	struct fixture *f = *state;
	int own = requests(f);

	own = requests(f) - own; /* what counting costs */
	for (int expected = 2; expected; expected--) {
		int before = requests(f);

		assert_int_equal(change(f, &what), 0);
		assert_int_equal(requests(f) - before - own, expected);
	}
}

/* ---- archive, restore, delete ---- */

static void test_archive_restore_delete(void **state)
{
	const struct version_change archive = {.archived = 1}, restore = {.archived = 0};
	struct fixture *f = *state;
	struct version *v;

	assert_int_equal(change(f, &archive), 0);
	v = listed(f, "1");
	assert_true(v->archived);
	version_unref(v);
	assert_int_equal(change(f, &restore), 0);
	v = listed(f, "1");
	assert_false(v->archived);
	assert_string_equal(v->image, "ubuntu:22.04");
	version_unref(v);
	assert_int_equal(catalog_delete_version(f->catalog, f->scope, "e", "1", &f->call, NULL), 0);
	assert_null(listed(f, "1"));
	emu_ask_status(&f->emu, "GET", VERSION_1, NULL, 404);
	assert_int_equal(change(f, &archive), -ENOENT);
	/* It was gone already: that is what was wanted. */
	assert_int_equal(catalog_delete_version(f->catalog, f->scope, "e", "1", &f->call, NULL), 0);
}

static void test_environment(void **state)
{
	struct fixture *f = *state;
	struct version_list *l = NULL;
	struct env *env = NULL;
	cJSON *json;

	for (int archived = 1; archived >= 0; archived--) {
		assert_int_equal(catalog_update_env(f->catalog, f->scope, "e", archived, &f->call,
						    &env, NULL),
				 0);
		assert_int_equal(env->archived, archived);
		env_unref(env);
		json = emu_ask_json(&f->emu, "GET", "W/environments/e", NULL, 200);
		assert_int_equal(cJSON_IsTrue(json_at(json, "properties.isArchived")), archived);
		cJSON_Delete(json);
	}
	assert_int_equal(catalog_delete_env(f->catalog, f->scope, "e", &f->call, NULL), 0);
	emu_ask_status(&f->emu, "GET", "W/environments/e", NULL, 404);
	assert_int_equal(catalog_versions(f->catalog, f->scope, "e", &f->call, &l, NULL), -ENOENT);
}

/* ---- lists that lag ---- */

static void test_lag(void **state)
{
	const struct version fields = {.env = "e", .version = "2", .image = "debian:12"};
	struct tag_change tag = {.key = "k", .value = "v"};
	struct version_change what = {.tags = &tag, .n_tags = 1, .archived = 1};
	struct fixture *f = *state;
	struct version *v = NULL;
	struct env_list *l = NULL;

	/* What somebody else wrote a moment ago is in no list yet. */
	assert_null(listed(f, "1"));
	assert_int_equal(catalog_put_version(f->catalog, f->scope, &fields, &f->call, &v, NULL), 0);
	version_unref(v);
	assert_int_equal(change(f, &what), 0);
	v = listed(f, "2");
	assert_string_equal(v->image, "debian:12");
	version_unref(v);
	v = listed(f, "1");
	assert_string_equal(version_tag(v, "k", NULL), "v");
	assert_true(v->archived);
	version_unref(v);
	assert_int_equal(catalog_envs(f->catalog, f->scope, &f->call, &l, NULL), 0);
	assert_non_null(env_list_find(l, "e"));
	env_list_unref(l);
}

#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_tags_at_once),
		WITH(test_the_rest_survives),
		WITH(test_requests),
		WITH(test_archive_restore_delete),
		WITH(test_environment),
		cmocka_unit_test_setup_teardown(test_lag, setup_lagging, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
