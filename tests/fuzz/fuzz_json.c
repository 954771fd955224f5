/* ARM resources: whatever becomes a record goes back to JSON and to a readable spec.yml. */
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/yamltree.h"
#include "client/dockerfile.h"
#include "fs/spec.h"

#define WS "/subscriptions/s/resourceGroups/g/providers/M.L/workspaces/ws"

static const char *const FUZZ_SEEDS[] = {
	"{\"id\":\"" WS "/environments/e/versions/1\",\"name\":\"1\",\"properties\":{"
	"\"description\":\"a\\nb\",\"tags\":{\"a\":\"1.10\",\"b\":null},\"image\":\"i\","
	"\"condaFile\":\"{}\",\"osType\":\"Linux\",\"isArchived\":false,\"inferenceConfig\":{"
	"\"livenessRoute\":{\"port\":80,\"path\":\"/\"}}},\"systemData\":{\"createdAt\":"
	"\"2022-09-16T02:50:45.0191406+00:00\",\"createdBy\":\"x\"}}",
	"{\"name\":\"1\",\"properties\":{\"build\":{\"contextUri\":\"https://h/c/\","
	"\"dockerfilePath\":\"D\"},\"properties\":{\"p\":\"q\"},\"stage\":\"S\"}}",
	"{\"id\":\"" WS "\",\"name\":\"ws\",\"location\":\"l\",\"properties\":{"
	"\"workspaceId\":\"g\",\"discoveryUrl\":\"https://h\"}}",
	"{\"registryId\":\"r\",\"registryName\":\"n\",\"primaryRegion\":\"p\",\"subscriptionId\":"
	"\"s\",\"resourceGroup\":\"g\",\"primaryRegionResourceProviderUri\":\"https://h/\"}",
};

static const char *const FUZZ_WORDS[] = {
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"\"",
	"\\\"",
	"\\u0000",
	"\\u2028",
	"\\ud83d\\ude00",
	"null",
	"true",
	"1e999",
	"-1",
	"99999",
	"\"name\":",
	"\"properties\":{",
	"\"tags\":{",
	"\\n",
	"\\t",
	"/environments/",
	"/versions/",
	"\xc3\xa9",
	"\xff",
	" ",
	"\n",
	"\"\"",
	"..",
	"/",
	"\\\\",
};

#include "tests/fuzz/driver.h"

enum { TEXT_MAX = 64 * 1024 * 1024, KEY_MAX = 150 };

static bool has_long_key(const struct version *v)
{
	for (size_t i = 0; i < v->n_tags; i++)
		if (strlen(v->tags[i].key) > KEY_MAX)
			return true;
	return false;
}

/* The text shown for a record is YAML, however odd the record. */
static void check_shown(const struct version *v, const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	struct yaml_tree *tree = NULL;
	struct err e = ERR_INIT;

	FUZZ_CHECK(!spec_render(v, &text), data, size);
	if (!has_long_key(v)) {
		FUZZ_CHECK(!yamltree_load(text.data, text.len, &tree, &e), text.data, text.len);
		FUZZ_CHECK(strcmp(yamltree_get(yamltree_root(tree), "name")->text, v->env) == 0,
			   text.data, text.len);
		yamltree_free(tree);
	}
	buf_reset(&text);
	if (dockerfile_is_derived(v))
		FUZZ_CHECK(!dockerfile_render(v, &text), data, size);
}

static void check_body(const struct version *v, const uint8_t *data, size_t size)
{
	cJSON *body = asset_json_version_body(v);
	struct version *back = NULL;
	struct err e = ERR_INIT;

	FUZZ_CHECK(body, data, size);
	FUZZ_CHECK(cJSON_AddStringToObject(body, "name", v->version), data, size);
	FUZZ_CHECK(!asset_json_version(body, v->env, &back, &e), data, size);
	FUZZ_CHECK(version_same_content(v, back), data, size);
	version_unref(back);
	cJSON_Delete(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scope *scopes[3] = {NULL, NULL, NULL};
	struct version *v = NULL;
	struct env *env = NULL;
	struct err e = ERR_INIT;
	cJSON *json = NULL;

	if (asset_json_parse((const char *)data, size, &json, &e)) {
		FUZZ_CHECK(e.msg[0] && !json, data, size);
		return 0;
	}
	(void)asset_json_workspace(json, &scopes[0], &e);
	(void)asset_json_registry(json, &scopes[1], &e);
	(void)asset_json_discovery(json, &scopes[2], &e);
	(void)asset_json_env(json, &env, &e);
	if (asset_json_version(json, "env", &v, &e) == 0) {
		check_shown(v, data, size);
		check_body(v, data, size);
	}
	for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++)
		scope_unref(scopes[i]);
	env_unref(env);
	version_unref(v);
	cJSON_Delete(json);
	return 0;
}
