/* The embedded service's routes, asked by libcurl over a real Unix socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/emuclient.h"

#define SUB      "/subscriptions/" EMU_SUBSCRIPTION
#define PROVIDER "/providers/Microsoft.MachineLearningServices"
#define V        "api-version=2026-05-01"
#define IMAGE    "{\"properties\":{\"image\":\"ubuntu:22.04\"}}"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int setup(void **state)
{
	struct emuclient *c = calloc(1, sizeof(*c));

	emuclient_start(c, NULL);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	emuclient_end(*state);
	free(*state);
	return 0;
}

static struct emuclient *start_with(struct emuclient *c, const struct emu_conf *conf)
{
	emuclient_start(c, conf);
	return c;
}

static void put_image(struct emuclient *c, const char *name, const char *version)
{
	char path[256];

	snprintf(path, sizeof(path), "W/environments/%s/versions/%s", name, version);
	emu_ask_status(c, "PUT", path, IMAGE, 201);
}

/* The names of a list's items, joined by spaces, all pages; *pages may be NULL. */
static void list_names(struct emuclient *c, const char *path, char *out, size_t size, int *pages)
{
	char *next = strdup(path);
	size_t n = 0;

	out[0] = '\0';
	for (int i = 0; next && i < 100; i++) {
		cJSON *json = emu_ask_json(c, "GET", next, NULL, 200);
		const cJSON *item, *link = json_at(json, "nextLink");

		cJSON_ArrayForEach(item, json_at(json, "value"))
			n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "",
					      json_text_at(item, "name"));
		free(next);
		next = cJSON_IsString(link) ? strdup(link->valuestring) : NULL;
		if (pages)
			*pages = i + 1;
		cJSON_Delete(json);
	}
	free(next);
}

#define assert_names(c, path, expected)                            \
	do {                                                       \
		char names_[4096];                                 \
		list_names(c, path, names_, sizeof(names_), NULL); \
		assert_string_equal(names_, expected);             \
	} while (0)

static void test_workspaces(void **state)
{
	struct emuclient *c = *state;
	cJSON *json;

	json = emu_ask_json(c, "GET", "W", NULL, 200);
	assert_string_equal(json_text_at(json, "name"), "local");
	assert_string_equal(json_text_at(json, "properties.discoveryUrl"),
			    "http://localhost/discovery");
	assert_int_equal(strlen(json_text_at(json, "properties.workspaceId")), 36);
	assert_string_equal(json_text_at(json, "type"),
			    "Microsoft.MachineLearningServices/workspaces");
	cJSON_Delete(json);
	emu_ask_status(
		c, "PUT", SUB "/resourceGroups/rg" PROVIDER "/workspaces/other-ws?" V,
		"{\"location\":\"here\",\"tags\":{\"a\":\"b\"},\"properties\":{\"friendlyName\":"
		"\"O\"}}",
		201);
	json = emu_ask_json(c, "PUT", SUB "/resourceGroups/RG" PROVIDER "/Workspaces/OTHER-ws?" V,
			    "{\"location\":\"here\"}", 200);
	assert_string_equal(json_text_at(json, "name"), "other-ws");
	cJSON_Delete(json);
	assert_names(c, SUB PROVIDER "/workspaces?" V, "local other-ws");
	assert_names(c, SUB "/resourceGroups/RG" PROVIDER "/workspaces?" V, "other-ws");
	assert_names(c,
		     SUB "/resourcegroups/LOCAL/Providers/microsoft.machinelearningservices/"
			 "WORKSPACES?API-VERSION=2022-10-01-preview",
		     "local");
}

static void test_workspace_errors(void **state)
{
	static const struct {
		const char *method, *path, *body;
		long status;
		const char *code;
	} cases[] = {
		{"GET", SUB "/resourceGroups/local" PROVIDER "/workspaces/nope?" V, NULL, 404,
		 "ResourceNotFound"},
		{"GET", SUB "/resourceGroups/nope" PROVIDER "/workspaces?" V, NULL, 404,
		 "ResourceGroupNotFound"},
		{"GET", "/subscriptions/nope" PROVIDER "/workspaces?" V, NULL, 404,
		 "SubscriptionNotFound"},
		{"PUT", SUB "/resourceGroups/rg" PROVIDER "/workspaces/x?" V,
		 "{\"location\":\"l\"}", 400, "ValidationError"},
		{"PUT", SUB "/resourceGroups/r%22g" PROVIDER "/workspaces/abc?" V,
		 "{\"location\":\"l\"}", 400, "InvalidResourceGroup"},
		{"PUT", SUB "/resourceGroups/rg" PROVIDER "/workspaces/abc?" V, "{}", 400,
		 "LocationRequired"},
		{"PUT", SUB "/resourceGroups/rg" PROVIDER "/workspaces/abc?" V,
		 "{\"location\":\"l\",\"tags\":{\"a\":1}}", 400, "InvalidRequestContent"},
		{"GET", SUB PROVIDER "/workspaces", NULL, 400, "MissingApiVersionParameter"},
		{"GET", SUB PROVIDER "/workspaces?api-version=newest", NULL, 400,
		 "InvalidApiVersionParameter"},
		{"PATCH", SUB PROVIDER "/workspaces?" V, "{}", 405, "HttpMethodNotAllowed"},
		{"GET", "/nothing/here", NULL, 404, "ResourceNotFound"},
		{"GET", "/bad%zz", NULL, 400, "InvalidRequestUri"},
		{"GET", "/a?b=%", NULL, 400, "InvalidRequestUri"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		cJSON *json = emu_ask_json(*state, cases[i].method, cases[i].path, cases[i].body,
					   cases[i].status);

		assert_string_equal(json_text_at(json, "error.code"), cases[i].code);
		cJSON_Delete(json);
	}
}

static void test_version_roundtrip(void **state)
{
	static const char body[] =
		"{\"properties\":{\"description\":\"d\",\"image\":\"img:1\",\"osType\":\"linux\","
		"\"condaFile\":\"name: x\\ndependencies:\\n- python=3.10\\n\","
		"\"inferenceConfig\":{\"livenessRoute\":{\"path\":\"/l\",\"port\":80},"
		"\"readinessRoute\":null},\"isAnonymous\":false,\"tags\":{\"k\":\"v\"}}}";
	struct emuclient *c = *state;
	struct emu_answer a = emu_ask(c, "PUT", "W/environments/my.env/versions/1", body);
	cJSON *got;

	assert_int_equal(a.status, 201);
	assert_string_equal(emu_header_of(&a, "Location"),
			    "http://localhost" SUB "/resourceGroups/local" PROVIDER
			    "/workspaces/local/environments/my.env/versions/1?" V);
	assert_string_equal(emu_header_of(&a, "x-ms-response-type"), "standard");
	assert_int_equal(strlen(emu_header_of(&a, "x-ms-correlation-request-id")), 36);
	assert_string_equal(emu_header_of(&a, "x-ms-ratelimit-remaining-subscription-writes"),
			    "1199");
	got = emu_ask_json(c, "GET", "W/environments/my.env/versions/1", NULL, 200);
	assert_true(cJSON_Compare(got, a.json, 1));
	assert_string_equal(json_text_at(got, "properties.osType"), "Linux");
	assert_string_equal(json_text_at(got, "properties.environmentType"), "UserCreated");
	assert_string_equal(json_text_at(got, "properties.tags.k"), "v");
	assert_string_equal(json_text_at(got, "properties.condaFile"),
			    "{\n  \"name\": \"x\",\n  \"dependencies\": [\n    \"python=3.10\"\n"
			    "  ]\n}");
	assert_true(cJSON_IsObject(json_at(got, "properties.properties")));
	assert_null(json_at(got, "properties.inferenceConfig.readinessRoute"));
	assert_string_equal(json_text_at(got, "id"),
			    SUB "/resourceGroups/local" PROVIDER
				"/workspaces/local/environments/my.env/versions/1");
	assert_string_equal(json_text_at(got, "systemData.createdAt"),
			    json_text_at(got, "systemData.lastModifiedAt"));
	emu_answer_free(&a);
	cJSON_Delete(got);
	emu_ask_status(c, "PUT", "W/environments/my.env/versions/1", body, 200);
	got = emu_ask_json(c, "GET", "W/environments/my.env", NULL, 200);
	assert_string_equal(json_text_at(got, "properties.latestVersion"), "1");
	assert_string_equal(json_text_at(got, "properties.nextVersion"), "2");
	assert_string_equal(json_text_at(got, "properties.description"), "");
	cJSON_Delete(got);
}

static void test_read_back_is_no_conflict(void **state)
{
	struct emuclient *c = *state;
	cJSON *json = emu_ask_json(
		c, "PUT", "W/environments/e/versions/1",
		"{\"properties\":{\"build\":{\"contextUri\":\"https://x.y/z/\"}}}", 201);
	char *text = cJSON_PrintUnformatted(json);
	cJSON *again;

	assert_string_equal(json_text_at(json, "properties.build.dockerfilePath"), "Dockerfile");
	assert_string_equal(json_text_at(json, "properties.condaFile"), "");
	again = emu_ask_json(c, "PUT", "W/environments/e/versions/1", text, 200);
	assert_true(cJSON_Compare(json, again, 1));
	free(text);
	cJSON_Delete(json);
	cJSON_Delete(again);
}

static void test_immutable(void **state)
{
	static const struct {
		const char *properties;
		long status;
	} cases[] = {
		{"\"image\":\"b\",\"condaFile\":\"a: 1\"", 409},
		{"\"image\":\"a\",\"condaFile\":\"a: 2\"", 409},
		{"\"image\":\"a\"", 409},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"osType\":\"Windows\"", 409},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"autoRebuild\":\"OnBaseImageUpdate\"",
		 409},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"inferenceConfig\":{\"scoringRoute\":"
		 "{\"path\":\"/\",\"port\":1}}",
		 409},
		{"\"build\":{\"contextUri\":\"https://x/y\"},\"condaFile\":\"a: 1\"", 409},
		{"\"image\":\"a\",\"condaFile\":\"# the same\\na:   1\\n\"", 200},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"osType\":\"LINUX\"", 200},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"autoRebuild\":\"Disabled\"", 200},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"inferenceConfig\":{}", 200},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"tags\":{\"t\":\"1\"}", 200},
		{"\"image\":\"a\",\"condaFile\":\"a: 1\",\"description\":\"new\"", 200},
	};
	struct emuclient *c = *state;
	cJSON *json;

	emu_ask_status(c, "PUT", "W/environments/e/versions/1",
		       "{\"properties\":{\"image\":\"a\",\"condaFile\":\"a: 1\"}}", 201);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char body[512];

		snprintf(body, sizeof(body), "{\"properties\":{%s}}", cases[i].properties);
		json = emu_ask_json(c, "PUT", "W/environments/e/versions/1", body, cases[i].status);
		if (cases[i].status == 409)
			assert_string_equal(json_text_at(json, "error.message"),
					    "Environment e with version 1 is already registered "
					    "and cannot be changed.");
		cJSON_Delete(json);
	}
	/* What was not given stays. */
	json = emu_ask_json(c, "GET", "W/environments/e/versions/1", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.tags.t"), "1");
	assert_string_equal(json_text_at(json, "properties.description"), "new");
	cJSON_Delete(json);
}

static void test_updates(void **state)
{
	struct emuclient *c = *state;
	cJSON *first, *json;

	first = emu_ask_json(
		c, "PUT", "W/environments/e/versions/1",
		"{\"properties\":{\"image\":\"a\",\"isAnonymous\":true,\"tags\":{\"a\":"
		"\"1\",\"b\":null},\"description\":\"x\",\"properties\":{\"p\":\"q\"}}}",
		201);
	json = emu_ask_json(c, "PUT", "W/environments/e/versions/1",
			    "{\"properties\":{\"image\":\"a\",\"tags\":{\"c\":\"2\"},\"stage\":"
			    "\"Production\",\"description\":null,\"isArchived\":true}}",
			    200);
	assert_null(json_at(json, "properties.tags.a"));
	assert_string_equal(json_text_at(json, "properties.tags.c"), "2");
	assert_string_equal(json_text_at(json, "properties.stage"), "Production");
	assert_null(json_at(json, "properties.description"));
	assert_string_equal(json_text_at(json, "properties.properties.p"), "q");
	assert_true(cJSON_IsTrue(json_at(json, "properties.isArchived")));
	assert_true(cJSON_IsTrue(json_at(json, "properties.isAnonymous")));
	assert_true(cJSON_Compare(json_at(first, "systemData"), json_at(json, "systemData"), 1));
	cJSON_Delete(first);
	cJSON_Delete(json);
	json = emu_ask_json(c, "PUT", "W/environments/e/versions/1",
			    "{\"properties\":{\"image\":\"a\",\"tags\":{}}}", 200);
	assert_int_equal(cJSON_GetArraySize(json_at(json, "properties.tags")), 0);
	assert_true(cJSON_IsTrue(json_at(json, "properties.isArchived")));
	cJSON_Delete(json);
}

static void test_refused(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"{\"properties\":{\"image\":\"a\"}",
		"{\"properties\":{\"image\":\"a\"}} x",
		"{}",
		"{\"properties\":[]}",
		"{\"properties\":{}}",
		"{\"properties\":{\"image\":\"\"}}",
		"{\"properties\":{\"image\":1}}",
		"{\"properties\":{\"image\":\"a\\u0000b\"}}",
		"{\"properties\":{\"image\":\"\xff\"}}",
		"{\"properties\":{\"image\":\"a\",\"build\":{\"contextUri\":\"https://x/\"}}}",
		"{\"properties\":{\"build\":{}}}",
		"{\"properties\":{\"build\":\"x\"}}",
		"{\"properties\":{\"image\":\"a\",\"condaFile\":\"a: [\"}}",
		"{\"properties\":{\"image\":\"a\",\"condaFile\":\"- just\\n- a list\"}}",
		"{\"properties\":{\"image\":\"a\",\"condaFile\":{}}}",
		"{\"properties\":{\"image\":\"a\",\"osType\":\"BeOS\"}}",
		"{\"properties\":{\"image\":\"a\",\"tags\":[]}}",
		"{\"properties\":{\"image\":\"a\",\"tags\":{\"a\":1}}}",
		"{\"properties\":{\"image\":\"a\",\"isArchived\":\"yes\"}}",
		"{\"properties\":{\"image\":\"a\",\"inferenceConfig\":{\"livenessRoute\":{}}}}",
		"{\"properties\":{\"image\":\"a\",\"autoRebuild\":\"Sometimes\"}}",
	};
	static const char *const names[] = {
		"W/environments/AzureML-x/versions/1", "W/environments/microsoft_x/versions/1",
		"W/environments/.x/versions/1",        "W/environments/-x/versions/1",
		"W/environments/a%20b/versions/1",     "W/environments/a%2Fb/versions/1",
		"W/environments/a%00b/versions/1",     "W/environments/a/versions/b%2Fc",
		"W/environments/a/versions/b%0Ac",     "W/environments/a/versions/%2E%2E",
	};

	for (size_t i = 0; i < COUNT(bodies); i++)
		emu_ask_status(*state, "PUT", "W/environments/e/versions/1", bodies[i], 400);
	for (size_t i = 0; i < COUNT(names); i++)
		emu_ask_status(*state, "PUT", names[i], IMAGE, 400);
	emu_ask_status(*state, "GET", "W/environments/e", NULL, 404);
}

static void test_not_found(void **state)
{
	cJSON *json = emu_ask_json(*state, "GET", "W/environments/n/versions/7", NULL, 404);

	assert_string_equal(json_text_at(json, "error.message"),
			    "No environment exists for name: n, version: 7, label: ");
	assert_string_equal(json_text_at(json, "error.code"), "UserError");
	assert_string_equal(json_text_at(json, "error.additionalInfo.5.info.value.code"),
			    "NotFoundError");
	cJSON_Delete(json);
	emu_ask_status(*state, "GET", "W/environments/n/versions", NULL, 404);
	emu_ask_status(*state, "GET", "W/environments/n", NULL, 404);
	emu_ask_status(*state, "GET", "W/datastores/n", NULL, 404);
}

static void test_environments(void **state)
{
	struct emuclient *c = *state;
	cJSON *json = emu_ask_json(
		c, "PUT", "W/environments/e",
		"{\"properties\":{\"description\":\"d\",\"tags\":{\"a\":\"b\"}}}", 201);

	assert_string_equal(json_text_at(json, "properties.nextVersion"), "1");
	assert_true(cJSON_IsNull(json_at(json, "properties.latestVersion")));
	cJSON_Delete(json);
	json = emu_ask_json(c, "PUT", "W/environments/e", "{\"properties\":{\"tags\":{}}}", 200);
	assert_string_equal(json_text_at(json, "properties.description"), "d");
	assert_int_equal(cJSON_GetArraySize(json_at(json, "properties.tags")), 0);
	cJSON_Delete(json);
	emu_ask_status(c, "PUT", "W/environments/e", "{\"properties\":{\"tags\":{\"a\":{}}}}", 400);
	emu_ask_status(c, "PUT", "W/environments/AzureMLx", "{\"properties\":{}}", 400);
	put_image(c, "e", "1");
	emu_ask_status(c, "DELETE", "W/environments/e/versions/1", NULL, 200);
	emu_ask_status(c, "DELETE", "W/environments/e/versions/1", NULL, 204);
	put_image(c, "e", "1");
	emu_ask_status(c, "DELETE", "W/environments/e", NULL, 200);
	emu_ask_status(c, "DELETE", "W/environments/e", NULL, 204);
	emu_ask_status(c, "GET", "W/environments/e/versions/1", NULL, 404);
}

static void test_datastores(void **state)
{
	static const struct {
		enum emu_storage_auth auth;
		const char *type, *member;
		long status;
	} cases[] = {{EMU_STORAGE_KEY, "AccountKey", "key", 200},
		     {EMU_STORAGE_SAS, "Sas", "sasToken", 200},
		     {EMU_STORAGE_NONE, "None", "", 400}};

	assert_names(*state, "W/datastores?isDefault=true&count=30&orderByAsc=false",
		     "workspaceblobstore");
	assert_names(*state, "W/datastores?isDefault=false", "");
	assert_names(*state, "W/datastores?names=a,workspaceblobstore", "workspaceblobstore");
	assert_names(*state, "W/datastores?names=a", "");
	assert_names(*state, "W/datastores?searchText=blob", "workspaceblobstore");
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct emu_conf conf = {.storage_auth = cases[i].auth};
		struct emuclient c;
		cJSON *json;

		start_with(&c, &conf);
		json = emu_ask_json(&c, "GET", "W/datastores/workspaceblobstore", NULL, 200);
		assert_string_equal(json_text_at(json, "properties.credentials.credentialsType"),
				    cases[i].type);
		assert_string_equal(json_text_at(json, "properties.endpoint"), "localhost");
		assert_string_equal(json_text_at(json, "properties.protocol"), "http");
		assert_string_equal(json_text_at(json, "properties.accountName"), "mlenvfslocal");
		cJSON_Delete(json);
		json = emu_ask_json(&c, "POST", "W/datastores/workspaceblobstore/listSecrets",
				    "{\"expirableSecret\":true}", cases[i].status);
		if (cases[i].status == 200) {
			assert_string_equal(json_text_at(json, "secretsType"), cases[i].type);
			assert_true(strlen(json_text_at(json, cases[i].member)) > 40);
		}
		cJSON_Delete(json);
		emuclient_end(&c);
	}
}

static void test_context_has_no_host(void **state)
{
	struct emuclient *c = *state;
	cJSON *json = emu_ask_json(
		c, "PUT", "W/environments/e/versions/1",
		"{\"properties\":{\"build\":{\"contextUri\":\"http://1.2.3.4:5/mlenvfslocal/c/p/\","
		"\"dockerfilePath\":\"d/D\"}}}",
		201);

	assert_string_equal(json_text_at(json, "properties.build.contextUri"),
			    "http://localhost/mlenvfslocal/c/p/");
	assert_string_equal(json_text_at(json, "properties.build.dockerfilePath"), "d/D");
	cJSON_Delete(json);
	emu_ask_status(
		c, "PUT", "W/environments/e/versions/1",
		"{\"properties\":{\"build\":{\"contextUri\":\"https://[::1]/mlenvfslocal/c/p/\","
		"\"dockerfilePath\":\"d/D\"}}}",
		200);
	emu_ask_status(c, "PUT", "W/environments/e/versions/1",
		       "{\"properties\":{\"build\":{\"contextUri\":\"http://h/mlenvfslocal/c/q/\","
		       "\"dockerfilePath\":\"d/D\"}}}",
		       409);
}

static void test_curated_and_hostile(void **state)
{
	struct emuclient *c = *state;
	struct emu_answer a;
	cJSON *json;

	emu_ask_status(c, "PUT", "/__mlenvfs/raw/local/AzureML-sklearn-1.0/1?curated=true",
		       "{\"image\":\"secret\",\"osType\":\"Linux\",\"tags\":{\"a\":\"b\"}}", 201);
	json = emu_ask_json(c, "GET", "W/environments/AzureML-sklearn-1.0/versions/1", NULL, 200);
	assert_null(json_at(json, "properties.image"));
	assert_string_equal(json_text_at(json, "properties.condaFile"), "");
	assert_string_equal(json_text_at(json, "properties.environmentType"), "Curated");
	cJSON_Delete(json);
	emu_ask_status(c, "PUT", "W/environments/AzureML-sklearn-1.0/versions/1", IMAGE, 400);
	emu_ask_status(c, "DELETE", "W/environments/AzureML-sklearn-1.0/versions/1", NULL, 400);
	emu_ask_status(c, "DELETE", "W/environments/AzureML-sklearn-1.0", NULL, 400);
	emu_ask_status(c, "PUT", "/__mlenvfs/raw/local/a%2Fb/..", "{}", 201);
	emu_ask_status(c, "PUT", "/__mlenvfs/raw/local/n%00l/1", "{\"tags\":7}", 201);
	emu_ask_status(c, "GET", "W/environments/a%2Fb/versions/%2e%2e", NULL, 200);
	a = emu_ask(c, "GET", "W/environments", NULL);
	assert_non_null(strstr(a.body, "\"name\":\"a/b\""));
	assert_non_null(strstr(a.body, "\"name\":\"n\\u0000l\""));
	emu_answer_free(&a);
	emu_ask_status(c, "PUT", "/__mlenvfs/raw/local/garbage/1", "{\"image\":", 201);
	a = emu_ask(c, "GET", "W/environments/garbage/versions", NULL);
	assert_int_equal(a.status, 200);
	assert_null(a.json);
	emu_answer_free(&a);
	emu_ask_status(c, "PUT", "/__mlenvfs/raw/nope/e/1", "{}", 404);
	emu_ask_status(c, "POST", "/__mlenvfs/workspaces/second?resourceGroup=g", NULL, 201);
	emu_ask_status(c, "POST", "/__mlenvfs/workspaces/second?resourceGroup=g", NULL, 200);
	assert_names(c, SUB "/resourceGroups/g" PROVIDER "/workspaces?" V, "second");
}

static void test_counters(void **state)
{
	static const struct {
		const char *method, *path, *count;
	} blobs[] = {
		{"GET", "/mlenvfslocal/c?restype=container&comp=list", "routes.GET blobs"},
		{"GET", "/mlenvfslocal/c/b", "routes.GET blob"},
		{"HEAD", "/mlenvfslocal/c/b", "routes.HEAD blob"},
		{"PUT", "/mlenvfslocal/c/b", "routes.PUT blob"},
	};
	struct emuclient *c = *state;
	cJSON *json;

	emu_ask_status(c, "DELETE", "/__mlenvfs/counters", NULL, 204);
	put_image(c, "e", "1");
	emu_ask_status(c, "GET", "W/environments/e/versions", NULL, 200);
	emu_ask_status(c, "GET", "W/environments/e/versions", NULL, 200);
	emu_ask_status(c, "GET", "/nothing", NULL, 404);
	for (size_t i = 0; i < COUNT(blobs); i++) {
		struct emu_answer a = emu_ask(c, blobs[i].method, blobs[i].path, NULL);

		assert_int_equal(a.rc, CURLE_OK);
		emu_answer_free(&a);
	}
	json = emu_ask_json(c, "GET", "/__mlenvfs/counters", NULL, 200);
	assert_int_equal(json_at(json, "total")->valueint, 4 + (int)COUNT(blobs));
	assert_int_equal(json_at(json, "routes.GET versions")->valueint, 2);
	assert_int_equal(json_at(json, "routes.PUT version")->valueint, 1);
	assert_int_equal(json_at(json, "routes.other")->valueint, 1);
	for (size_t i = 0; i < COUNT(blobs); i++)
		assert_int_equal(json_at(json, blobs[i].count)->valueint, 1);
	assert_int_equal(json_at(json, "bytes_in")->valueint, (int)strlen(IMAGE));
	cJSON_Delete(json);
}

static void test_head(void **state)
{
	struct emu_answer get = emu_ask(*state, "GET", "W", NULL),
			  head = emu_ask(*state, "HEAD", "W", NULL);

	assert_int_equal(head.rc, CURLE_OK);
	assert_int_equal(head.status, 200);
	assert_int_equal(head.len, 0);
	assert_int_equal(strtol(emu_header_of(&head, "Content-Length"), NULL, 10), (long)get.len);
	emu_answer_free(&get);
	emu_answer_free(&head);
	get = emu_ask(*state, "HEAD", "/mlenvfslocal/nope/nope", NULL);
	assert_in_range(get.status, 400, 404);
	emu_answer_free(&get);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_workspaces),
		T(test_workspace_errors),
		T(test_version_roundtrip),
		T(test_read_back_is_no_conflict),
		T(test_immutable),
		T(test_updates),
		T(test_refused),
		T(test_not_found),
		T(test_environments),
		T(test_datastores),
		T(test_context_has_no_host),
		T(test_curated_and_hostile),
		T(test_counters),
		T(test_head),
	};
	int failed;

	curl_global_init(CURL_GLOBAL_ALL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
