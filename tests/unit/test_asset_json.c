/* ARM resources to records and back; hostile ones are refused with the member named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset_json.h"
#include "client/buf.h"
#include "client/cleanup.h"

enum { TEXT_MAX = 64 * 1024 * 1024 };

#define WS                                                                                       \
	"/subscriptions/0000-1/resourceGroups/rg-1/providers/Microsoft.MachineLearningServices/" \
	"workspaces/ws"

static cJSON *parse(const char *text)
{
	cJSON *json = NULL;
	struct err e = ERR_INIT;

	if (asset_json_parse(text, strlen(text), &json, &e))
		fail_msg("%s in %s", e.msg, text);
	return json;
}

static struct version *version_of(const char *text, const char *env)
{
	cJSON *json = parse(text);
	struct version *v = NULL;
	struct err e = ERR_INIT;

	if (asset_json_version(json, env, &v, &e))
		fail_msg("%s", e.msg);
	cJSON_Delete(json);
	return v;
}

static void assert_version_refused(const char *text, const char *message)
{
	cJSON *json = parse(text);
	struct version *v = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(asset_json_version(json, "env", &v, &e), -EBADMSG);
	assert_null(v);
	if (!strstr(e.msg, message))
		fail_msg("\"%s\" is not in \"%s\"", message, e.msg);
	cJSON_Delete(json);
}

/* ---- parsing ---- */

static void only_whole_clean_json_is_parsed(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{"", 0},
		{"{", 1},
		{"{\"a\": 1", 7},
		{"{} x", 4},
		{"{}{}", 4},
		{"{\"a\": \"b", 8},
		{"{\"a\": \"b\\", 9},
		{"\xff", 1},
		{"{\"a\": \"\xc3\x28\"}", 11},
		{"{\"a\": \"b\0c\"}", 12},
		{"{}\0", 3},
		{"{\"a\": \"\n\"}", 10},
		{"{\"a\": \"\\ud800\"}", 15},
		{"<html></html>", 13},
		{"nul", 3},
	};
	cJSON *json;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (asset_json_parse(bad[i].text, bad[i].len, &json, &e) != -EBADMSG)
			fail_msg("accepted: %s", bad[i].text);
		assert_null(json);
	}
	json = parse("{\"a\": \"b\\u0000c\\\\\\u0000\"}");
	assert_string_equal(cJSON_GetObjectItem(json, "a")->valuestring, "b\xef\xbf\xbd"
									 "c\\\xef\xbf\xbd");
	cJSON_Delete(json);
	json = parse(" {\"a\": \"\\\\u0000 \\u00e9\"} \r\n");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "a")),
			    "\\u0000 \xc3\xa9");
	cJSON_Delete(json);
}

static void depth_and_count_are_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	struct err e = ERR_INIT;
	cJSON *json;

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_addch(&b, '[');
	assert_int_equal(asset_json_parse(buf_str(&b), b.len, &json, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "too deep"));
	buf_reset(&b);
	buf_addch(&b, '[');
	for (int i = 0; i < ASSET_JSON_VALUES_MAX; i++)
		buf_addstr(&b, "1,");
	assert_int_equal(asset_json_parse(buf_str(&b), b.len, &json, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "too many"));
}

/* ---- scopes ---- */

static void a_workspace_is_read(void **state)
{
	cJSON *json = parse("{\"id\": \"" WS "\", \"name\": \"ws\", \"location\": \"eastus\","
			    "\"kind\": \"Default\", \"properties\": {\"workspaceId\": \"g-1\","
			    "\"discoveryUrl\": \"https://eastus.api.azureml.ms/discovery\"},"
			    "\"systemData\": {\"createdAt\": \"2022-09-16T02:50:45Z\"}}");
	struct scope *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(asset_json_workspace(json, &s, &e), 0);
	assert_int_equal(s->kind, SCOPE_WORKSPACE);
	assert_string_equal(s->name, "ws");
	assert_string_equal(s->subscription, "0000-1");
	assert_string_equal(s->resource_group, "rg-1");
	assert_string_equal(s->location, "eastus");
	assert_string_equal(s->guid, "g-1");
	assert_string_equal(s->discovery_url, "https://eastus.api.azureml.ms/discovery");
	assert_null(s->base_url);
	assert_true(s->writable);
	assert_true(s->created == INT64_C(1663296645000000000));
	scope_unref(s);
	cJSON_Delete(json);
}

static void a_workspace_without_an_id_is_refused(void **state)
{
	static const char *const bad[] = {"{\"name\": \"ws\"}",
					  "{\"id\": \"" WS "\"}",
					  "{\"id\": \"/x\", \"name\": \"ws\"}",
					  "[]",
					  "\"ws\"",
					  "{\"id\": 1, \"name\": \"ws\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cJSON *json = parse(bad[i]);
		struct scope *s = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(asset_json_workspace(json, &s, &e), -EBADMSG);
		assert_null(s);
		assert_true(e.msg[0]);
		cJSON_Delete(json);
	}
}

static void registries_are_read_from_arm_and_from_discovery(void **state)
{
	cJSON *json = parse("{\"id\": \"/subscriptions/s/resourceGroups/g/providers/x/registries/"
			    "azureml\", \"name\": \"azureml\", \"location\": \"eastus\"}");
	struct scope *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(asset_json_registry(json, &s, &e), 0);
	assert_int_equal(s->kind, SCOPE_REGISTRY);
	assert_string_equal(s->resource_group, "g");
	assert_false(s->writable);
	assert_null(s->base_url);
	scope_unref(s);
	cJSON_Delete(json);
	json = parse("{\"registryId\": \"3b\", \"registryName\": \"testFeed\", \"tenantId\": \"t\","
		     "\"primaryRegion\": \"centraluseuap\", \"regions\": [\"centraluseuap\"],"
		     "\"subscriptionId\": \"22\", \"resourceGroup\": \"test-registries\","
		     "\"workspaceName\": null, \"primaryRegionResourceProviderUri\":"
		     "\"https://cert-master.experiments.azureml-test.net/\"}");
	assert_int_equal(asset_json_discovery(json, &s, &e), 0);
	assert_string_equal(s->name, "testFeed");
	assert_string_equal(s->guid, "3b");
	assert_string_equal(s->location, "centraluseuap");
	assert_string_equal(s->base_url, "https://cert-master.experiments.azureml-test.net/"
					 "mferp/managementfrontend");
	assert_true(s->writable);
	scope_unref(s);
	cJSON_SetValuestring(cJSON_GetObjectItem(json, "primaryRegionResourceProviderUri"),
			     "file:///etc/");
	assert_int_equal(asset_json_discovery(json, &s, &e), -EBADMSG);
	cJSON_DeleteItemFromObject(json, "subscriptionId");
	assert_int_equal(asset_json_discovery(json, &s, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "subscriptionId"));
	cJSON_Delete(json);
}

/* ---- environments ---- */

static void an_environment_is_read(void **state)
{
	cJSON *json = parse("{\"name\": \"e\", \"properties\": {\"description\": \"\","
			    "\"tags\": {\"a\": \"b\", \"c\": null}, \"isArchived\": true,"
			    "\"latestVersion\": \"3\", \"nextVersion\": \"4\"}}");
	struct env *env = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(asset_json_env(json, &env, &e), 0);
	assert_string_equal(env->name, "e");
	assert_null(env->description);
	assert_string_equal(env->latest_version, "3");
	assert_string_equal(env->next_version, "4");
	assert_true(env->archived);
	assert_int_equal(env->n_tags, 2);
	assert_string_equal(env->tags[1].value, "");
	env_unref(env);
	cJSON_Delete(json);
	json = parse("{\"properties\": {}}");
	assert_int_equal(asset_json_env(json, &env, &e), -EBADMSG);
	cJSON_Delete(json);
}

/* ---- versions ---- */

static const char full_version[] =
	"{\"id\": \"" WS "/environments/my.env/versions/2.10\", \"name\": \"2.10\","
	"\"properties\": {\"description\": \"d\", \"tags\": {\"b\": \"1\", \"a\": \"2\"},"
	"\"properties\": {\"p\": \"q\"}, \"isArchived\": true, \"isAnonymous\": false,"
	"\"environmentType\": \"UserCreated\", \"image\": \"img:1\","
	"\"condaFile\": \"{\\n}\", \"osType\": \"Linux\", \"stage\": \"Production\","
	"\"provisioningState\": \"Succeeded\", \"autoRebuild\": \"Disabled\","
	"\"inferenceConfig\": {\"livenessRoute\": {\"port\": 80, \"path\": \"/l\"},"
	"\"startupRoute\": {\"port\": 81, \"path\": \"/s\"}, \"scoringRoute\": null}},"
	"\"systemData\": {\"createdAt\": \"2022-09-16T02:50:45.0191406+00:00\","
	"\"createdBy\": \"A\", \"lastModifiedAt\": \"later\", \"lastModifiedBy\": \"B\"}}";

static void a_version_is_read(void **state)
{
	struct version *v = version_of(full_version, "other");

	(void)state;
	assert_string_equal(v->env, "my.env");
	assert_string_equal(v->version, "2.10");
	assert_string_equal(v->description, "d");
	assert_string_equal(v->tags[0].key, "b");
	assert_string_equal(v->tags[1].value, "2");
	assert_string_equal(v->properties[0].value, "q");
	assert_string_equal(v->os_type, "linux");
	assert_string_equal(v->stage, "Production");
	assert_string_equal(v->conda, "{\n}");
	assert_true(v->archived);
	assert_int_equal(v->liveness.port, 80);
	assert_string_equal(v->startup.path, "/s");
	assert_null(v->scoring.path);
	assert_true(v->created == INT64_C(1663296645019140600));
	assert_true(v->modified == 0);
	assert_string_equal(v->modified_by, "B");
	version_unref(v);
}

static void names_come_from_the_id_or_the_caller(void **state)
{
	static const struct {
		const char *id, *env;
	} cases[] = {
		{WS "/environments/a/versions/1", "a"},
		{WS "/Environments/a b/Versions/1", "a b"},
		{WS "/environments/a/b/versions/1", "a/b"},
		{WS "/environments/../versions/1", ".."},
		{WS "/environments/versions/versions/1", "versions"},
		{WS "/environments/environments/versions/1", "environments"},
		{"azureml://registries/r/environments/sk-1.5/versions/7", "sk-1.5"},
		{WS, "given"},
		{"", "given"},
		{WS "/environments/a", "given"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[1024];
		struct version *v;

		snprintf(text, sizeof(text),
			 "{\"id\": \"%s\", \"name\": \"1\", \"properties\": {}}", cases[i].id);
		v = version_of(text, "given");
		assert_string_equal(v->env, cases[i].env);
		version_unref(v);
	}
}

/* The recorded 07_get_curated_200: neither image nor build, condaFile "". */
static void empty_text_counts_as_absent(void **state)
{
	struct version *v = version_of("{\"name\": \"1\", \"properties\": {\"condaFile\": \"\","
				       "\"image\": \"\", \"tags\": {}, \"build\": null,"
				       "\"environmentType\": \"Curated\"}}",
				       "e");

	(void)state;
	assert_null(v->conda);
	assert_null(v->image);
	assert_int_equal(version_kind(v), VERSION_EMPTY);
	assert_true(version_is_curated(v));
	version_unref(v);
}

static void wrong_types_are_named(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"[]", "not an object"},
		{"{\"name\": \"1\"}", "properties is missing"},
		{"{\"properties\": {}}", "no name"},
		{"{\"name\": 1, \"properties\": {}}", "name is not a text"},
		{"{\"name\": \"1\", \"properties\": []}", "properties is not an object"},
		{"{\"name\": \"1\", \"properties\": {\"image\": []}}", "image"},
		{"{\"name\": \"1\", \"properties\": {\"tags\": []}}", "tags"},
		{"{\"name\": \"1\", \"properties\": {\"tags\": {\"a\": 1}}}", "tags"},
		{"{\"name\": \"1\", \"properties\": {\"tags\": {\"a\": \"1\", \"a\": \"2\"}}}",
		 "same key twice"},
		{"{\"name\": \"1\", \"properties\": {\"build\": \"x\"}}", "build"},
		{"{\"name\": \"1\", \"properties\": {\"build\": {\"contextUri\": 1}}}",
		 "contextUri"},
		{"{\"name\": \"1\", \"properties\": {\"isArchived\": \"no\"}}", "isArchived"},
		{"{\"name\": \"1\", \"properties\": {\"inferenceConfig\": {\"scoringRoute\":"
		 "{\"port\": 99999, \"path\": \"x\"}}}}",
		 "scoringRoute.port"},
		{"{\"name\": \"1\", \"properties\": {\"inferenceConfig\": {\"scoringRoute\":"
		 "{\"port\": 1}}}}",
		 "scoringRoute.path"},
		{"{\"name\": \"1\", \"properties\": {}, \"systemData\": 3}", "systemData"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_version_refused(bad[i].text, bad[i].message);
}

static void lengths_and_counts_are_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);

	(void)state;
	buf_addstr(&b, "{\"properties\": {}, \"name\": \"");
	for (int i = 0; i <= ASSET_NAME_MAX; i++)
		buf_addch(&b, 'n');
	buf_addstr(&b, "\"}");
	assert_version_refused(buf_str(&b), "name is longer");
	buf_reset(&b);
	buf_addstr(&b, "{\"name\": \"1\", \"properties\": {\"tags\": {");
	for (int i = 0; i <= ASSET_KV_MAX; i++)
		buf_addf(&b, "%s\"t%d\": \"\"", i ? "," : "", i);
	buf_addstr(&b, "}}}");
	assert_version_refused(buf_str(&b), "more than 10000");
	buf_reset(&b);
	buf_addstr(&b, "{\"name\": \"1\", \"properties\": {\"description\": \"");
	for (int i = 0; i <= ASSET_TEXT_MAX; i++)
		buf_addch(&b, 'd');
	buf_addstr(&b, "\"}}");
	assert_version_refused(buf_str(&b), "description is longer");
}

/* ---- bodies ---- */

static void a_body_holds_what_a_put_must_not_lose(void **state)
{
	struct version *v = version_of(full_version, NULL), *back = NULL;
	cJSON *body = asset_json_version_body(v);
	const cJSON *p = cJSON_GetObjectItem(body, "properties");
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(p);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(p, "osType")), "Linux");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(p, "stage")), "Production");
	assert_null(cJSON_GetObjectItem(p, "provisioningState"));
	assert_null(cJSON_GetObjectItem(p, "environmentType"));
	assert_null(cJSON_GetObjectItem(p, "build"));
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(p, "isArchived")));
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(p, "isAnonymous")));
	cJSON_AddStringToObject(body, "name", "2.10");
	assert_int_equal(asset_json_version(body, "my.env", &back, &e), 0);
	assert_true(version_same_content(v, back));
	assert_string_equal(back->properties[0].key, "p");
	assert_int_equal(back->startup.port, 81);
	version_unref(back);
	version_unref(v);
	cJSON_Delete(body);
}

static void a_body_leaves_out_what_is_absent(void **state)
{
	const struct version fields = {.env = "e", .version = "1", .image = "i"};
	cJSON *body = asset_json_version_body(&fields);
	_cleanup_free_ char *text = cJSON_PrintUnformatted(body);

	(void)state;
	assert_string_equal(
		text,
		"{\"properties\":{\"isAnonymous\":false,\"isArchived\":false,\"image\":\"i\"}}");
	cJSON_Delete(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_whole_clean_json_is_parsed),
		cmocka_unit_test(depth_and_count_are_bounded),
		cmocka_unit_test(a_workspace_is_read),
		cmocka_unit_test(a_workspace_without_an_id_is_refused),
		cmocka_unit_test(registries_are_read_from_arm_and_from_discovery),
		cmocka_unit_test(an_environment_is_read),
		cmocka_unit_test(a_version_is_read),
		cmocka_unit_test(names_come_from_the_id_or_the_caller),
		cmocka_unit_test(empty_text_counts_as_absent),
		cmocka_unit_test(wrong_types_are_named),
		cmocka_unit_test(lengths_and_counts_are_bounded),
		cmocka_unit_test(a_body_holds_what_a_put_must_not_lose),
		cmocka_unit_test(a_body_leaves_out_what_is_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
