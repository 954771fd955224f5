/* The embedded service as a strict one: budgets of requests, api-versions, signatures that run out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "tests/unit/emuclient.h"

#define IMAGE          "{\"properties\":{\"image\":\"ubuntu:22.04\"}}"
#define READS          "x-ms-ratelimit-remaining-subscription-reads"
#define FAULT(members) "{\"rules\":[{\"path\":\"*/environments*\"," members "}]}"

static void test_budget(void **state)
{
	const struct emu_conf conf = {.requests_per_minute = 5};
	struct emuclient c;
	struct emu_answer a;
	cJSON *counters;

	(void)state;
	emuclient_start(&c, &conf);
	for (int left = 4; left >= 0; left--) {
		a = emu_ask(&c, "GET", "W", NULL);
		assert_int_equal(a.status, 200);
		assert_int_equal(strtol(emu_header_of(&a, READS), NULL, 10), left);
		emu_answer_free(&a);
	}
	a = emu_ask(&c, "GET", "W", NULL);
	assert_int_equal(a.status, 429);
	assert_string_equal(json_text_at(a.json, "error.code"), "SubscriptionRequestsThrottled");
	assert_string_equal(emu_header_of(&a, READS), "0");
	/* One in twelve seconds. */
	assert_in_range(strtol(emu_header_of(&a, "Retry-After"), NULL, 10), 1, 12);
	emu_answer_free(&a);
	/* Writes have a budget of their own; blobs, the data plane and tests have none. */
	emu_ask_status(&c, "PUT", "W/environments/e/versions/1", IMAGE, 201);
	emu_ask_status(&c, "GET", "/discovery", NULL, 200);
	counters = emu_ask_json(&c, "GET", "/__mlenvfs/counters", NULL, 200);
	assert_int_equal(json_at(counters, "throttled")->valueint, 1);
	cJSON_Delete(counters);
	emuclient_end(&c);
}

static void test_api_versions(void **state)
{
	const struct emu_conf conf = {.api_versions = "2024-10-01,2025-04-01-preview"};
	static const struct {
		const char *version;
		long status;
		const char *code;
	} asked[] = {
		{"2024-10-01", 200, NULL},
		{"2025-04-01-preview", 200, NULL},
		{"2024-10-0", 400, "InvalidApiVersionParameter"},
		{"2024-10-01-preview", 400, "NoRegisteredProviderFound"},
		{"2026-05-01", 400, "NoRegisteredProviderFound"},
	};
	struct emuclient c;

	(void)state;
	emuclient_start(&c, &conf);
	for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
		struct emu_answer a;
		char path[256];

		snprintf(path, sizeof(path),
			 "/subscriptions/" EMU_SUBSCRIPTION
			 "/providers/Microsoft.MachineLearningServices/workspaces?api-version=%s",
			 asked[i].version);
		a = emu_ask(&c, "GET", path, NULL);
		assert_int_equal(a.status, asked[i].status);
		if (asked[i].code)
			assert_string_equal(json_text_at(a.json, "error.code"), asked[i].code);
		if (asked[i].code && asked[i].code[0] == 'N')
			assert_non_null(strstr(a.body, "2024-10-01,2025-04-01-preview"));
		emu_answer_free(&a);
	}
	emuclient_end(&c);
}

static void test_sas_seconds(void **state)
{
	const struct emu_conf conf = {.storage_auth = EMU_STORAGE_SAS, .sas_seconds = 600};
	struct emuclient c;
	cJSON *secrets;
	const char *se;
	int64_t until;
	char text[32] = "";

	(void)state;
	emuclient_start(&c, &conf);
	secrets = emu_ask_json(&c, "POST", "W/datastores/workspaceblobstore/listSecrets", "", 200);
	se = strstr(json_text_at(secrets, "sasToken"), "se=");
	assert_non_null(se);
	/* "2026-11-25T23%3A20%3A00Z" */
	assert_int_equal(sscanf(se + 3, "%13[^%]", text), 1);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), ":%.2s:%.2sZ", se + 3 + 16,
		 se + 3 + 21);
	assert_int_equal(clock_parse_iso(text, &until), 0);
	assert_in_range((until - clock_wall()) / NS_PER_S, 500, 600);
	cJSON_Delete(secrets);
	emuclient_end(&c);
}

static void test_more_faults(void **state)
{
	struct emuclient c;
	struct emu_answer right, a;

	(void)state;
	emuclient_start(&c, NULL);
	c.fresh = true;
	emu_ask_status(&c, "PUT", "W/environments/e/versions/1", IMAGE, 201);
	right = emu_ask(&c, "GET", "W/environments/e/versions/1", NULL);
	emu_ask_status(&c, "PUT", "/__mlenvfs/faults", FAULT("\"corrupt\": true"), 204);
	a = emu_ask(&c, "GET", "W/environments/e/versions/1", NULL);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.len, right.len);
	assert_memory_not_equal(a.body, right.body, a.len);
	emu_answer_free(&a);
	emu_ask_status(&c, "PUT", "/__mlenvfs/faults", FAULT("\"half_close\": true"), 204);
	a = emu_ask(&c, "GET", "W/environments/e/versions/1", NULL);
	assert_int_equal(a.rc, CURLE_GOT_NOTHING);
	emu_answer_free(&a);
	emu_ask_status(&c, "PUT", "/__mlenvfs/faults",
		       FAULT("\"half_close\": true, \"reset\": true"), 400);
	emu_answer_free(&right);
	emuclient_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_api_versions),
		cmocka_unit_test(test_sas_seconds),
		cmocka_unit_test(test_more_faults),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_ALL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
