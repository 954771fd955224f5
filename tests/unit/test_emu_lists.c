/* Lists of the embedded service: pages, order, archive, lag, version numbers. */
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

static void test_paging(void **state)
{
	const struct emu_conf conf = {.page_size = 3};
	struct emuclient c;
	char version[16], names[512];
	int pages;

	(void)state;
	start_with(&c, &conf);
	for (int i = 1; i <= 8; i++) {
		snprintf(version, sizeof(version), "%d", i);
		put_image(&c, "e", version);
	}
	list_names(&c, "W/environments/e/versions", names, sizeof(names), &pages);
	assert_string_equal(names, "8 7 6 5 4 3 2 1");
	assert_int_equal(pages, 3);
	assert_names(&c, "W/environments/e/versions?$orderBy=createdtime%20asc", "1 2 3 4 5 6 7 8");
	assert_names(&c, "W/environments/e/versions?%24orderby=createdtime+desc",
		     "8 7 6 5 4 3 2 1");
	list_names(&c, "W/environments/e/versions?$top=2&listViewType=All", names, sizeof(names),
		   &pages);
	assert_string_equal(names, "8 7 6 5 4 3 2 1");
	assert_int_equal(pages, 4);
	for (char name[] = "env-a"; name[4] <= 'e'; name[4]++)
		put_image(&c, name, "1");
	list_names(&c, "W/environments", names, sizeof(names), &pages);
	assert_string_equal(names, "e env-a env-b env-c env-d env-e");
	assert_int_equal(pages, 2);
	emu_ask_status(&c, "GET", "W/environments/e/versions?$top=0", NULL, 400);
	emu_ask_status(&c, "GET", "W/environments/e/versions?$top=x", NULL, 400);
	emu_ask_status(&c, "GET", "W/environments/e/versions?$skip=1", NULL, 400);
	emu_ask_status(&c, "GET", "W/environments/e/versions?$orderBy=name", NULL, 400);
	emu_ask_status(&c, "GET", "W/environments/e/versions?listViewType=Some", NULL, 400);
	emuclient_end(&c);
}

static void test_page_faults(void **state)
{
	const struct emu_conf conf = {.page_size = 2};
	struct emuclient c;
	char version[16];

	(void)state;
	start_with(&c, &conf);
	for (int i = 1; i <= 7; i++) {
		snprintf(version, sizeof(version), "%d", i);
		put_image(&c, "e", version);
	}
	emu_ask_status(
		&c, "PUT", "/__mlenvfs/faults",
		"{\"rules\":[{\"path\":\"*/versions\",\"times\":1,\"duplicate_page\":true}]}", 204);
	assert_names(&c, "W/environments/e/versions", "7 6 7 6 5 4 3 2 1");
	emu_ask_status(&c, "PUT", "/__mlenvfs/faults",
		       "{\"rules\":[{\"path\":\"*/versions\",\"times\":1,\"skip_page\":true}]}",
		       204);
	assert_names(&c, "W/environments/e/versions", "7 6 3 2 1");
	emuclient_end(&c);
}

static void test_archive(void **state)
{
	struct emuclient *c = *state;
	cJSON *json;

	put_image(c, "e", "1");
	put_image(c, "e", "2");
	put_image(c, "other", "1");
	emu_ask_status(c, "PUT", "W/environments/e/versions/2",
		       "{\"properties\":{\"image\":\"ubuntu:22.04\",\"isArchived\":true}}", 200);
	assert_names(c, "W/environments/e/versions", "1");
	assert_names(c, "W/environments/e/versions?listViewType=ArchivedOnly", "2");
	assert_names(c, "W/environments/e/versions?listViewType=all", "2 1");
	json = emu_ask_json(c, "GET", "W/environments/e", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.latestVersion"), "1");
	assert_string_equal(json_text_at(json, "properties.nextVersion"), "3");
	cJSON_Delete(json);
	emu_ask_status(c, "PUT", "W/environments/e", "{\"properties\":{\"isArchived\":true}}", 200);
	assert_names(c, "W/environments", "other");
	assert_names(c, "W/environments?listViewType=ArchivedOnly", "e");
	assert_names(c, "W/environments/e/versions", "");
	assert_names(c, "W/environments/e/versions?listViewType=ArchivedOnly", "2 1");
	emu_ask_status(c, "GET", "W/environments/e/versions/1", NULL, 200);
	emu_ask_status(c, "PUT", "W/environments/e", "{\"properties\":{\"isArchived\":false}}",
		       200);
	assert_names(c, "W/environments/e/versions", "1");
	assert_names(c, "W/environments", "e other");
}

/* `latest` is well defined: no two versions of an environment are created at the same time. */
static void test_creation_order(void **state)
{
	char version[16], before[64] = "";
	cJSON *json;

	for (int i = 1; i <= 30; i++) {
		snprintf(version, sizeof(version), "%d", i);
		put_image(*state, "e", version);
	}
	json = emu_ask_json(*state, "GET", "W/environments/e/versions?$orderBy=createdtime%20asc",
			    NULL, 200);
	for (int i = 0; i < 30; i++) {
		char path[64];

		snprintf(path, sizeof(path), "value.%d.systemData.createdAt", i);
		assert_true(strcmp(before, json_text_at(json, path)) < 0);
		snprintf(before, sizeof(before), "%s", json_text_at(json, path));
	}
	cJSON_Delete(json);
}

static void test_version_numbers(void **state)
{
	const struct emu_conf conf = {.timestamp_versions = true};
	struct emuclient *c = *state, other;
	cJSON *json;

	put_image(c, "e", "10");
	put_image(c, "e", "9");
	json = emu_ask_json(c, "GET", "W/environments/e", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.latestVersion"), "9");
	assert_string_equal(json_text_at(json, "properties.nextVersion"), "11");
	cJSON_Delete(json);
	put_image(c, "e", "foo");
	json = emu_ask_json(c, "GET", "W/environments/e", NULL, 200);
	assert_string_equal(json_text_at(json, "properties.latestVersion"), "foo");
	assert_int_equal(strlen(json_text_at(json, "properties.nextVersion")), 27);
	cJSON_Delete(json);
	start_with(&other, &conf);
	put_image(&other, "e", "1");
	json = emu_ask_json(&other, "GET", "W/environments/e", NULL, 200);
	assert_int_equal(strlen(json_text_at(json, "properties.nextVersion")), 27);
	cJSON_Delete(json);
	emuclient_end(&other);
}

static void test_list_lag(void **state)
{
	const struct emu_conf lag = {.list_lag_s = 3600};
	struct emuclient c;

	(void)state;
	start_with(&c, NULL);
	put_image(&c, "e", "1");
	emuclient_stop(&c);
	/* Everything so far is "recent": lists know nothing, but GET does. */
	emuclient_restart(&c, &lag);
	assert_names(&c, "W/environments", "");
	assert_names(&c, "W/environments/e/versions", "");
	emu_ask_status(&c, "GET", "W/environments/e/versions/1", NULL, 200);
	emu_ask_status(&c, "GET", "W/environments/e", NULL, 200);
	emuclient_stop(&c);
	/* What a list knew already, it goes on showing as it was. */
	emuclient_restart(&c, NULL);
	emu_ask_status(&c, "PUT", "W/environments/e/versions/1",
		       "{\"properties\":{\"image\":\"ubuntu:22.04\",\"isArchived\":true}}", 200);
	assert_names(&c, "W/environments/e/versions", "");
	emuclient_stop(&c);
	emuclient_restart(&c, &lag);
	assert_names(&c, "W/environments/e/versions", "1");
	assert_names(&c, "W/environments/e/versions?listViewType=ArchivedOnly", "");
	emuclient_end(&c);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paging),
		cmocka_unit_test(test_page_faults),
		T(test_archive),
		T(test_version_numbers),
		T(test_creation_order),
		cmocka_unit_test(test_list_lag),
	};
	int failed;

	curl_global_init(CURL_GLOBAL_ALL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
