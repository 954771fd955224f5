/* Registries of the embedded service: ARM, data plane, operations, sharing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/emuclient.h"

#define SUB      "/subscriptions/" EMU_SUBSCRIPTION
#define PROVIDER "/providers/Microsoft.MachineLearningServices"
#define V        "api-version=2021-10-01-dataplanepreview"
#define AZUREML  SUB "/resourceGroups/local" PROVIDER "/registries/azureml"
#define IMAGE    "{\"properties\":{\"image\":\"ubuntu:22.04\"}}"

static void start(struct emuclient *c, unsigned int polls)
{
	const struct emu_conf conf = {.registry_polls = polls};

	emuclient_start(c, &conf);
	emu_ask_status(c, "PUT", "/__mlenvfs/registries/team", NULL, 201);
	emu_ask_status(c, "PUT", "/__mlenvfs/registries/team", NULL, 200);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct emuclient));
	start(*state, 0);
	return 0;
}

static int setup_slow(void **state)
{
	*state = calloc(1, sizeof(struct emuclient));
	start(*state, 2);
	return 0;
}

static int teardown(void **state)
{
	emuclient_end(*state);
	free(*state);
	return 0;
}

static void test_resources(void **state)
{
	struct emuclient *c = *state;
	cJSON *json = emu_ask_json(c, "GET", SUB PROVIDER "/registries?" V, NULL, 200);

	assert_int_equal(cJSON_GetArraySize(json_at(json, "value")), 2);
	assert_string_equal(json_text_at(json, "value.0.name"), "azureml");
	cJSON_Delete(json);
	json = emu_ask_json(c, "GET", "R", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.discoveryUrl"),
			    "http://localhost/registrymanagement/v1.0/registries/team/discovery");
	cJSON_Delete(json);
	json = emu_ask_json(c, "GET", SUB "/resourceGroups/local" PROVIDER "/registries?" V, NULL,
			    200);
	assert_int_equal(cJSON_GetArraySize(json_at(json, "value")), 2);
	cJSON_Delete(json);
}

static void test_discovery(void **state)
{
	cJSON *json = emu_ask_json(*state, "GET",
				   "/registrymanagement/v1.0/registries/team/discovery", NULL, 200);

	assert_string_equal(json_text_at(json, "registryName"), "team");
	assert_string_equal(json_text_at(json, "primaryRegionResourceProviderUri"),
			    "http://localhost/");
	assert_string_equal(json_text_at(json, "subscriptionId"), EMU_SUBSCRIPTION);
	cJSON_Delete(json);
	json = emu_ask_json(*state, "GET", "/registrymanagement/v1.0/registries/nope/discovery",
			    NULL, 404);
	assert_string_equal(json_text_at(json, "error.code"), "UserError");
	assert_string_equal(json_text_at(json, "componentName"), "managementfrontend");
	cJSON_Delete(json);
	json = emu_ask_json(*state, "GET", "/discovery", NULL, 200);
	assert_string_equal(json_text_at(json, "api"), "http://localhost");
	cJSON_Delete(json);
}

/* The system registry can be read, and not written to. */
static void test_curated_registry(void **state)
{
	static const char env[] = AZUREML "/environments/minimal-ubuntu22.04-py310";
	struct emuclient *c = *state;
	cJSON *json = emu_ask_json(c, "GET", AZUREML "/environments?" V, NULL, 200);
	char path[512];

	assert_int_equal(cJSON_GetArraySize(json_at(json, "value")), 2);
	cJSON_Delete(json);
	snprintf(path, sizeof(path), "%s/versions/2?" V, env);
	json = emu_ask_json(c, "GET", path, NULL, 200);
	assert_string_equal(json_text_at(json, "properties.environmentType"), "Curated");
	assert_non_null(strstr(json_text_at(json, "properties.condaFile"), "python=3.10"));
	assert_non_null(strstr(json_text_at(json, "properties.image"), "ubuntu22.04"));
	cJSON_Delete(json);
	emu_ask_status(c, "PUT", path, IMAGE, 403);
	emu_ask_status(c, "DELETE", path, NULL, 403);
	snprintf(path, sizeof(path), "%s?" V, env);
	emu_ask_status(c, "PUT", path, "{\"properties\":{}}", 403);
	emu_ask_status(c, "PUT",
		       "/mferp/managementfrontend" AZUREML "/tempdatarefs/e/versions/1?" V, "{}",
		       403);
	emu_ask_status(c, "PUT", "/__mlenvfs/raw/@azureml/extra/1?curated=true",
		       "{\"image\":\"x\"}", 201);
	emu_ask_status(c, "GET", AZUREML "/environments/extra/versions/1?" V, NULL, 200);
}

static void test_arm_put(void **state)
{
	struct emuclient *c = *state;
	struct emu_answer a = emu_ask(c, "PUT", "R/environments/e/versions/1", IMAGE);
	char *poll;
	cJSON *json;

	assert_int_equal(a.status, 201);
	assert_string_equal(json_text_at(a.json, "type"),
			    "Microsoft.MachineLearningServices/registries/environments/versions");
	assert_string_equal(json_text_at(a.json, "properties.provisioningState"), "Creating");
	poll = strdup(emu_header_of(&a, "Azure-AsyncOperation"));
	emu_answer_free(&a);
	for (int i = 0; i < 2; i++) {
		a = emu_ask(c, "GET", poll, NULL);
		assert_int_equal(a.status, 200);
		assert_string_equal(json_text_at(a.json, "status"), "InProgress");
		assert_string_equal(emu_header_of(&a, "Retry-After"), "1");
		emu_answer_free(&a);
	}
	json = emu_ask_json(c, "GET", poll, NULL, 200);
	assert_string_equal(json_text_at(json, "status"), "Succeeded");
	cJSON_Delete(json);
	json = emu_ask_json(c, "GET", "R/environments/e/versions/1", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.provisioningState"), "Succeeded");
	cJSON_Delete(json);
	emu_ask_status(c, "PUT", "R/environments/e/versions/1", IMAGE, 200);
	emu_ask_status(c, "PUT", "R/environments/e/versions/1",
		       "{\"properties\":{\"image\":\"x\"}}", 409);
	emu_ask_status(c, "DELETE", "R/environments/e/versions/1", NULL, 200);
	emu_ask_status(c, "DELETE", "R/environments/e", NULL, 200);
	free(poll);
}

static void test_data_plane_put(void **state)
{
	struct emuclient *c = *state;
	struct emu_answer a = emu_ask(c, "PUT", "D/environments/e/versions/1", IMAGE);
	char *poll;

	assert_int_equal(a.status, 202);
	assert_string_equal(a.body, "null");
	assert_string_equal(emu_header_of(&a, "x-ms-async-operation-timeout"), "PT1H");
	poll = strdup(emu_header_of(&a, "Location"));
	assert_string_equal(poll, "http://localhost/environment/v1.0/operations/team_e_1_1");
	emu_answer_free(&a);
	for (int i = 0; i < 3; i++) {
		a = emu_ask(c, "GET", poll, NULL);
		assert_int_equal(a.status, i < 2 ? 202 : 200);
		assert_int_equal(a.len, 0);
		assert_string_equal(emu_header_of(&a, "Retry-After"), i < 2 ? "1" : "");
		emu_answer_free(&a);
	}
	a = emu_ask(c, "GET", "D/environments/e/versions/1", NULL);
	assert_string_equal(json_text_at(a.json, "id"),
			    "azureml://registries/team/environments/e/versions/1");
	assert_string_equal(json_text_at(a.json, "type"), "environments");
	emu_answer_free(&a);
	emu_ask_status(c, "PUT", "D/environments/f", "{\"properties\":{}}", 201);
	emu_ask_status(c, "PUT", "D/environments/f", "{\"properties\":{}}", 201);
	emu_ask_status(c, "GET", "/environment/v1.0/operations/nope", NULL, 404);
	free(poll);
}

/* Whoever waits for provisioningState instead of asking the operation gets there too. */
static void test_polling_the_resource(void **state)
{
	static const char *const expected[] = {"Creating", "Creating", "Succeeded"};

	emu_ask_status(*state, "PUT", "D/environments/e/versions/1", IMAGE, 202);
	for (int i = 0; i < 3; i++) {
		cJSON *json = emu_ask_json(*state, "GET", "D/environments/e/versions/1", NULL, 200);

		assert_string_equal(json_text_at(json, "properties.provisioningState"),
				    expected[i]);
		cJSON_Delete(json);
	}
}

static void test_references(void **state)
{
	struct emuclient *c = *state;
	cJSON *first = emu_ask_json(c, "PUT", "D/tempdatarefs/e/versions/1", "{}", 200);
	cJSON *second = emu_ask_json(c, "PUT", "D/tempdatarefs/e/versions/1", "{}", 200);
	const char *uri = json_text_at(first, "blobReferenceForConsumption.blobUri");
	const char *sas = json_text_at(first, "blobReferenceForConsumption.credential.sasUri");
	char body[1024];
	cJSON *json;

	assert_string_equal(
		json_text_at(first, "blobReferenceForConsumption.credential.credentialType"),
		"SAS");
	assert_int_equal(strncmp(uri, sas, strlen(uri)), 0);
	assert_non_null(strstr(sas, "sig="));
	/* A container of its own each time. */
	assert_string_not_equal(uri, json_text_at(second, "blobReferenceForConsumption.blobUri"));
	snprintf(body, sizeof(body), "{\"properties\":{\"build\":{\"contextUri\":\"%s/dir/\"}}}",
		 uri);
	emu_ask_status(c, "PUT", "D/environments/e/versions/1", body, 202);
	emu_ask_status(c, "PUT", "D/tempdatarefs/e/versions/1", "{}", 409);
	json = emu_ask_json(c, "POST", "D/datarefs/e/versions/1", "{\"assetId\":\"x\"}", 200);
	assert_string_equal(
		json_text_at(json, "blobReferenceForConsumption.credential.credentialType"), "SAS");
	assert_int_equal(strncmp(uri, json_text_at(json, "blobReferenceForConsumption.blobUri"),
				 strlen(uri)),
			 0);
	cJSON_Delete(json);
	json = emu_ask_json(c, "POST", "R/datareferences/e/versions/1",
			    "{\"blobUri\":\"http://localhost/mlenvfslocal/other/x\"}", 200);
	assert_string_equal(
		json_text_at(json, "blobReferenceForConsumption.credential.credentialType"),
		"NoCredentials");
	cJSON_Delete(json);
	emu_ask_status(c, "POST", "D/datarefs/e/versions/2", "{}", 404);
	/* These are of the data plane only. */
	emu_ask_status(c, "PUT", "R/tempdatarefs/e/versions/3", "{}", 404);
	cJSON_Delete(first);
	cJSON_Delete(second);
}

static void test_share(void **state)
{
	struct emuclient *c = *state;
	struct emu_answer a;
	cJSON *json;
	char body[512];

	emu_ask_status(c, "PUT", "W/environments/e/versions/1",
		       "{\"properties\":{\"image\":\"a\",\"tags\":{\"k\":\"v\"}}}", 201);
	a = emu_ask(c, "POST", "W/environments/e/versions/1/publish",
		    "{\"registryName\":\"team\",\"destinationName\":\"shared\"}");
	assert_int_equal(a.status, 202);
	assert_string_equal(emu_header_of(&a, "Retry-After"), "1");
	assert_non_null(strstr(emu_header_of(&a, "Location"), "/operations/team_shared_1_"));
	emu_answer_free(&a);
	json = emu_ask_json(c, "GET", "R/environments/shared/versions/1", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.tags.k"), "v");
	cJSON_Delete(json);
	json = emu_ask_json(c, "GET", "W", NULL, 200);
	snprintf(body, sizeof(body),
		 "{\"properties\":{\"referenceType\":\"Id\",\"destinationVersion\":\"7\","
		 "\"sourceAssetId\":\"azureml://locations/local/workspaces/%s/environments/e/"
		 "versions/1\"}}",
		 json_text_at(json, "properties.workspaceId"));
	cJSON_Delete(json);
	a = emu_ask(c, "POST", "D/import", body);
	assert_int_equal(a.status, 202);
	json = emu_ask_json(c, "GET", emu_header_of(&a, "Azure-AsyncOperation"), NULL, 200);
	assert_string_equal(json_text_at(json, "status"), "InProgress");
	cJSON_Delete(json);
	emu_answer_free(&a);
	emu_ask_status(c, "GET", "R/environments/e/versions/7", NULL, 200);
	emu_ask_status(c, "POST", "D/import",
		       "{\"properties\":{\"sourceAssetId\":\"azureml://x\"}}", 404);
	emu_ask_status(c, "POST", "D/import", "{\"properties\":{}}", 400);
	emu_ask_status(c, "POST", "W/environments/e/versions/9/publish",
		       "{\"registryName\":\"team\"}", 404);
	emu_ask_status(c, "POST", "W/environments/e/versions/1/publish",
		       "{\"registryName\":\"no\"}", 404);
	emu_ask_status(c, "POST", "W/environments/e/versions/1/publish",
		       "{\"registryName\":\"azureml\"}", 403);
}

static void test_share_at_once(void **state)
{
	struct emuclient *c = *state;

	emu_ask_status(c, "PUT", "W/environments/e/versions/1", IMAGE, 201);
	emu_ask_status(c, "POST", "W/environments/e/versions/1/publish",
		       "{\"registryName\":\"team\"}", 200);
	emu_ask_status(c, "PUT", "R/environments/f/versions/1",
		       "{\"properties\":{\"image\":\"x\"}}", 201);
	emu_ask_status(c, "POST", "W/environments/e/versions/1/publish",
		       "{\"registryName\":\"team\",\"destinationName\":\"f\"}", 409);
}

int main(void)
{
#define T(f)    cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SLOW(f) cmocka_unit_test_setup_teardown(f, setup_slow, teardown)
	const struct CMUnitTest tests[] = {
		T(test_resources),  T(test_discovery),         T(test_curated_registry),
		SLOW(test_arm_put), SLOW(test_data_plane_put), SLOW(test_polling_the_resource),
		T(test_references), SLOW(test_share),          T(test_share_at_once),
	};
	int failed;

	curl_global_init(CURL_GLOBAL_ALL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
