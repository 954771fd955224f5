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

#include "client/buf.h"
#include "client/clock.h"
#include "tests/unit/armfixture.h"

#define LIST_ENVS "GET " WS "/environments?"
#define VERSIONS  "GET " WS "/environments/e1/versions"

#define CONTAINER(name) \
	"{\"id\":\"" WS "/environments/" name "\",\"name\":\"" name "\",\"properties\":{}}"
#define VERSION(env, v, props)                                                 \
	"{\"id\":\"" WS "/environments/" env "/versions/" v "\",\"name\":\"" v \
	"\",\"properties\":{" props "},\"systemData\":{\"createdAt\":"         \
	"\"2022-09-16T02:50:45.0191406+00:00\"}}"
#define IMAGE "\"image\":\"ubuntu:22.04\",\"isArchived\":false"

static int list_envs(struct arm_fixture *f, struct env_list **out)
{
	return f->source->ops->list_envs(f->source, f->workspace, &f->call, out, &f->err);
}

static int list_versions(struct arm_fixture *f, struct version_list **out)
{
	return f->source->ops->list_versions(f->source, f->workspace, "e1", &f->call, out, &f->err);
}

static int get_version(struct arm_fixture *f, struct version **out)
{
	return f->source->ops->get_version(f->source, f->workspace, "e1", "1", &f->call, out,
					   &f->err);
}

/* ---- configuration ---- */

static void test_conf(void **state)
{
	struct credential *none = NULL;
	struct source *s = NULL;
	struct arm_conf bad[] = {
		{.subscription = "s"},
		{.endpoint = "ftp://x", .credential = (void *)1},
		{.endpoint = "http://example.com", .credential = (void *)1},
		{.endpoint = "https://u:p@example.com", .credential = (void *)1},
		{.endpoint = "https://example.com?x", .credential = (void *)1},
		{.workspace = "w", .credential = (void *)1},
		{.resource_group = "g", .credential = (void *)1},
	};
	struct arm_conf good = {.subscription = "s"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(arm_source_new(&bad[i], &s, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	assert_int_equal(credential_none_new(&none, NULL), 0);
	good.credential = none;
	assert_int_equal(arm_source_new(&good, &s, NULL), 0);
	source_free(s);
	credential_free(none);
}

/* ---- scopes ---- */

static void test_list_scopes(void **state)
{
	struct arm_fixture *f = *state;
	const char *const registries[] = {"azureml", "gone", "forbidden", "elsewhere"};
	struct arm_conf conf = {.subscription = "s1", .registries = registries, .n_registries = 4};
	struct scope_list *l = NULL;
	struct scope *r;
	char *head, *token;

	arm_fixture_remake(f, &conf);
	stub_json(f->stub, "GET " SUB PRV "/workspaces?api-version=2026-05-01 ", 200,
		  "{\"value\":[{\"id\":\"" GRP PRV "/workspaces/ws-B\",\"name\":\"ws-B\"},"
		  "{\"id\":\"" GRP PRV "/workspaces/a\",\"name\":\"a\",\"location\":\"x\"},"
		  "{\"id\":\"/x\",\"name\":\"no-group\"},17]}");
	stub_json(f->stub, "GET /registrymanagement/v1.0/registries/azureml/discovery ", 200,
		  "{\"registryId\":\"i\",\"registryName\":\"AzureML\",\"primaryRegion\":\"eastus\","
		  "\"subscriptionId\":\"rs\",\"resourceGroup\":\"rg\","
		  "\"primaryRegionResourceProviderUri\":\"{base}/\"}");
	stub_json(f->stub, "GET /registrymanagement/v1.0/registries/elsewhere/discovery ", 200,
		  "{\"registryId\":\"i\",\"registryName\":\"elsewhere\",\"primaryRegion\":\"e\","
		  "\"subscriptionId\":\"rs\",\"resourceGroup\":\"rg\","
		  "\"primaryRegionResourceProviderUri\":\"http://evil.example/\"}");
	stub_json(f->stub, "GET /registrymanagement/v1.0/registries/gone/", 404, "{}");
	stub_json(f->stub, "GET /registrymanagement/v1.0/registries/forbidden/", 403, "{}");
	assert_int_equal(f->source->ops->list_scopes(f->source, &f->call, &l, &f->err), 0);
	assert_int_equal(l->count, 3);
	assert_string_equal(l->items[0]->name, "a");
	assert_string_equal(l->items[1]->name, "ws-B");
	r = scope_list_find(l, "azureml");
	assert_non_null(r);
	assert_int_equal(r->kind, SCOPE_REGISTRY);
	assert_false(r->writable);
	assert_true(l->items[0]->writable);
	assert_non_null(strstr(r->base_url, "/mferp/managementfrontend"));
	scope_list_unref(l);
	head = stub_head(f->stub, "GET " SUB, 0);
	token = stub_header(head, "Authorization");
	assert_string_equal(token, "Bearer tok-secret");
	free(token);
	token = stub_header(head, "Accept");
	assert_string_equal(token, "application/json");
	free(token);
	free(head);
	/* Discovery is asked once. */
	assert_int_equal(f->source->ops->list_scopes(f->source, &f->call, &l, &f->err), 0);
	scope_list_unref(l);
	assert_int_equal(stub_count(f->stub, "GET /registrymanagement/v1.0/registries/azureml"), 1);
}

static void test_one_workspace(void **state)
{
	struct arm_fixture *f = *state;
	struct arm_conf conf = {.subscription = "s1", .resource_group = "g1", .workspace = "w1"};
	struct scope_list *l = NULL;

	arm_fixture_remake(f, &conf);
	stub_json(f->stub, "GET " WS "?api-version", 200, "{\"id\":\"" WS "\",\"name\":\"w1\"}");
	assert_int_equal(f->source->ops->list_scopes(f->source, &f->call, &l, &f->err), 0);
	assert_int_equal(l->count, 1);
	assert_int_equal(stub_count(f->stub, ""), 1);
	scope_list_unref(l);
}

static void test_own_registries(void **state)
{
	struct arm_fixture *f = *state;
	struct arm_conf conf = {.subscription = "s1", .list_registries = true};
	struct scope_list *l = NULL;

	arm_fixture_remake(f, &conf);
	stub_json(f->stub, "GET " SUB PRV "/workspaces?", 200, "{\"value\":[]}");
	stub_json(f->stub, "GET " SUB PRV "/registries?", 200,
		  "{\"value\":[{\"id\":\"" GRP PRV "/registries/own\",\"name\":\"own\"}]}");
	assert_int_equal(f->source->ops->list_scopes(f->source, &f->call, &l, &f->err), 0);
	assert_int_equal(l->count, 1);
	assert_null(l->items[0]->base_url);
	assert_true(l->items[0]->writable);
	scope_list_unref(l);
}

static void test_create_workspace(void **state)
{
	struct arm_fixture *f = *state;
	struct arm_conf conf = {.subscription = "s1", .resource_group = "g1", .create_group = "g1"};
	struct scope *s = NULL;
	char *body;
	const struct source_ops *ops = f->source->ops;

	assert_int_equal(ops->create_workspace(f->source, "new-ws", &f->call, &s, &f->err), -EPERM);
	assert_non_null(strstr(f->err.msg, "az ml workspace create"));
	arm_fixture_remake(f, &conf);
	stub_json(f->stub, "PUT " GRP PRV "/workspaces/new-ws?", 201,
		  "{\"id\":\"" GRP PRV "/workspaces/new-ws\",\"name\":\"new-ws\"}");
	assert_int_equal(ops->create_workspace(f->source, "a/b", &f->call, &s, &f->err), -EINVAL);
	assert_int_equal(ops->create_workspace(f->source, "new-ws", &f->call, &s, &f->err), 0);
	assert_string_equal(s->name, "new-ws");
	scope_unref(s);
	body = stub_body(f->stub, "PUT ", 0, NULL);
	assert_string_equal(body, "{\"location\":\"local\"}");
	free(body);
}

/* ---- lists ---- */

static void test_pages(void **state)
{
	struct arm_fixture *f = *state;
	struct env_list *l = NULL;

	stub_json(f->stub, LIST_ENVS "api-version=2026-05-01&listViewType=All ", 200,
		  "{\"value\":[" CONTAINER("b") "," CONTAINER(
			  "a") "],\"nextLink\":"
			       "\"{base}" WS "/environments?api-version=2026-05-01&$skip=2\"}");
	stub_json(f->stub, LIST_ENVS "api-version=2026-05-01&$skip=2 ", 200,
		  "{\"value\":[" CONTAINER("c") "," CONTAINER("b") "],\"nextLink\":\"\"}");
	assert_int_equal(list_envs(f, &l), 0);
	assert_int_equal(l->count, 3);
	assert_string_equal(l->items[2]->name, "c");
	assert_int_equal(stub_count(f->stub, ""), 2);
	env_list_unref(l);
}

/* What makes a whole list unusable, and what is said about it. */
static void test_bad_pages(void **state)
{
	static const struct {
		const char *body;
		int code;
		const char *text;
	} cases[] = {
		{"", -EBADMSG, "GET workspaces/w1/environments: "},
		{"not json", -EBADMSG, ""},
		{"{\"value\":[", -EBADMSG, ""},
		{"[]", -EBADMSG, "not a list"},
		{"{\"value\":{}}", -EBADMSG, "not a list"},
		{"{\"value\":[],\"nextLink\":1}", -EBADMSG, "nextLink"},
		{"{\"value\":[],\"nextLink\":\"/relative\"}", -EBADMSG, "nextLink"},
		{"{\"value\":[],\"nextLink\":\"http://127.0.0.1:1/x\"}", -EBADMSG, "another host"},
		{"{\"value\":[],\"nextLink\":\"https://evil.example/x\"}", -EBADMSG,
		 "another host (evil.example)"},
		{"{\"value\":[],\"nextLink\":\"{base}" WS
		 "/environments?api-version=2026-05-01&listViewType=All\"}",
		 -EBADMSG, "repeats itself"},
	};
	struct arm_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct env_list *l = NULL;
		unsigned int before = stub_count(f->stub, "");
		int rc;

		stub_clear(f->stub);
		stub_json(f->stub, "", 200, cases[i].body);
		rc = list_envs(f, &l);
		if (rc != cases[i].code || !strstr(f->err.msg, cases[i].text))
			fail_msg("case %zu: %d %s", i, rc, f->err.msg);
		assert_null(l);
		assert_int_equal(stub_count(f->stub, "") - before, 1);
	}
}

static void test_broken_items(void **state)
{
	struct arm_fixture *f = *state;
	struct buf body = BUF_INIT(1 << 20);
	struct env_list *l = NULL;

	buf_addstr(&body,
		   "{\"value\":[" CONTAINER("good") ",null,1,\"x\",[],{},"
						    "{\"name\":\"\"},{\"name\":7},{\"name\":\"");
	for (int i = 0; i < 2000; i++)
		buf_addch(&body, 'n');
	buf_addstr(&body, "\"}," CONTAINER("..") "," CONTAINER("fine") "]}");
	stub_json(f->stub, LIST_ENVS, 200, buf_str(&body));
	assert_int_equal(list_envs(f, &l), 0);
	assert_int_equal(l->count, 3);
	assert_non_null(env_list_find(l, "fine"));
	assert_non_null(env_list_find(l, ".."));
	env_list_unref(l);
	/* A hostile name reaches the server as one segment, not as a way up. */
	stub_clear(f->stub);
	stub_json(f->stub, "GET " WS "/environments/%2E%2E/versions?", 200, "{\"value\":[]}");
	{
		struct version_list *v = NULL;

		assert_int_equal(f->source->ops->list_versions(f->source, f->workspace, "..",
							       &f->call, &v, &f->err),
				 0);
		version_list_unref(v);
	}
	buf_free(&body);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
	static const struct {
		int status;
		const char *headers;
		const char *body;
		int code;
		const char *text;
	} cases[] = {
		{400, "", "{\"error\":{\"code\":\"UserError\",\"message\":\"bad\"}}", -EINVAL,
		 "GET workspaces/w1/environments/e1/versions/1: status 400 UserError: bad"},
		{401, "", "{}", -EACCES, "status 401"},
		{403, "", "{\"error\":{\"code\":\"AuthorizationFailed\",\"message\":\"m\"}}",
		 -EACCES, "AuthorizationFailed: m"},
		{404, "x-ms-request-id: rid-1\r\nx-ms-correlation-request-id: cid-2\r\n",
		 "{\"error\":{\"code\":\"UserError\",\"message\":\"No environment exists\"}}",
		 -ENOENT, "[x-ms-request-id rid-1] [x-ms-correlation-request-id cid-2]"},
		{409, "", "{}", -EEXIST, "status 409"},
		{413, "", "", -EFBIG, "status 413"},
		{429, "Retry-After: 77\r\n", "{}", -EBUSY, "the service asks to wait 77 s"},
		{500, "", "garbage", -EIO, "status 500"},
		{502, "", "<html>", -EIO, "status 502"},
		{503, "Retry-After: 77\r\n", "", -EBUSY, "asks to wait 77 s"},
		{504, "", "", -ETIMEDOUT, "status 504"},
		{302, "Location: {base}/x\r\n", "", -EBADMSG, "status 302"},
		{418, "", "{\"error\":\"x\"}", -EINVAL, "status 418"},
		{400, "",
		 "{\"error\":{\"code\":\"C\",\"message\":\"see https://x/?sig=abcdef&sv=1\"}}",
		 -EINVAL, "sig=******"},
		{400, "", "<?xml?><Error><Code>InvalidUri</Code><Message>m</Message></Error>",
		 -EINVAL, "InvalidUri: m"},
	};
	struct arm_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct stub_rule rule = {.match = "",
					 .status = cases[i].status,
					 .headers = cases[i].headers,
					 .body = cases[i].body};
		struct version *v = NULL;
		int rc;

		stub_clear(f->stub);
		stub_add(f->stub, &rule);
		rc = get_version(f, &v);
		if (rc != cases[i].code || !strstr(f->err.msg, cases[i].text))
			fail_msg("case %zu: %d %s", i, rc, f->err.msg);
		assert_int_equal(f->err.code, cases[i].code);
		assert_null(v);
		assert_null(strstr(f->err.msg, "tok-secret"));
	}
}

static void test_long_message(void **state)
{
	struct arm_fixture *f = *state;
	struct buf body = BUF_INIT(1 << 20);
	struct version *v = NULL;

	buf_addstr(&body, "{\"error\":{\"code\":\"C\",\"message\":\"");
	for (int i = 0; i < 10000; i++)
		buf_addstr(&body, "ü\\n");
	buf_addstr(&body, "\"}}");
	stub_json(f->stub, "", 400, buf_str(&body));
	assert_int_equal(get_version(f, &v), -EINVAL);
	assert_true(strlen(f->err.msg) < 700);
	assert_null(strchr(f->err.msg, '\n'));
	assert_non_null(strstr(f->err.msg, "..."));
	buf_free(&body);
}

static void test_huge_answer(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule rule = {.match = "", .fill = 100u * 1000 * 1000};
	struct version *v = NULL;

	stub_add(f->stub, &rule);
	assert_int_equal(get_version(f, &v), -EFBIG);
	assert_non_null(strstr(f->err.msg, "more than 67108864 bytes"));
}

static void test_unauthorized_once(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule rule = {.match = "", .status = 401, .times = 1, .body = "{}"};
	struct version *v = NULL;

	stub_add(f->stub, &rule);
	stub_json(f->stub, VERSIONS "/1?", 200, VERSION("e1", "1", IMAGE));
	assert_int_equal(get_version(f, &v), 0);
	assert_int_equal(stub_count(f->stub, ""), 2);
	version_unref(v);
}

/* ---- versions ---- */

static void test_list_versions(void **state)
{
	struct arm_fixture *f = *state;
	struct version_list *l = NULL;

	stub_json(f->stub, VERSIONS "?api-version=2026-05-01&listViewType=All ", 200,
		  "{\"value\":[" VERSION("e1", "2", IMAGE) "," VERSION(
			  "e1", "1", "\"image\":\"x\",\"isArchived\":true") "]}");
	assert_int_equal(list_versions(f, &l), 0);
	assert_int_equal(l->count, 2);
	assert_true(version_list_find(l, "1")->archived);
	assert_string_equal(version_list_find(l, "2")->image, "ubuntu:22.04");
	assert_int_equal(stub_count(f->stub, ""), 1);
	version_list_unref(l);
	stub_clear(f->stub);
	stub_json(f->stub, "", 404, "{}");
	assert_int_equal(list_versions(f, &l), -ENOENT);
}

/* An item without content costs one GET, once. */
static void test_incomplete_item(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, VERSIONS "?", 200,
		  "{\"value\":[" VERSION("e1", "1", "\"tags\":{\"a\":\"b\"}") "]}");
	stub_json(f->stub, VERSIONS "/1?", 200, VERSION("e1", "1", IMAGE));
	for (int i = 0; i < 3; i++) {
		struct version_list *l = NULL;

		assert_int_equal(list_versions(f, &l), 0);
		assert_string_equal(l->items[0]->image, "ubuntu:22.04");
		assert_string_equal(version_tag(l->items[0], "a", NULL), "b");
		version_list_unref(l);
	}
	assert_int_equal(stub_count(f->stub, VERSIONS "?"), 3);
	assert_int_equal(stub_count(f->stub, VERSIONS "/1?"), 1);
}

#define CURATED "\"environmentType\":\"Curated\",\"condaFile\":\"\",\"osType\":\"Linux\""
#define DISCOVERY                                                                     \
	"{\"registryId\":\"i\",\"registryName\":\"azureml\",\"primaryRegion\":\"e\"," \
	"\"subscriptionId\":\"rs\",\"resourceGroup\":\"rg\","                         \
	"\"primaryRegionResourceProviderUri\":\"{base}/\"}"
#define CURATED_IN_REGISTRY                                                    \
	"GET /mferp/managementfrontend/subscriptions/rs/resourceGroups/rg" PRV \
	"/registries/azureml/environments/e1/versions/1?api-version=2021-10-01-dataplanepreview "

static void test_curated(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, VERSIONS "?", 200, "{\"value\":[" VERSION("e1", "1", CURATED) "]}");
	stub_json(f->stub, VERSIONS "/1?", 200, VERSION("e1", "1", CURATED));
	stub_json(f->stub, "GET /registrymanagement/v1.0/registries/azureml/discovery", 200,
		  DISCOVERY);
	stub_json(f->stub, CURATED_IN_REGISTRY, 200,
		  "{\"id\":\"azureml://registries/azureml/environments/e1/versions/1\","
		  "\"name\":\"1\",\"properties\":{\"image\":\"curated:1\"}}");
	for (int i = 0; i < 2; i++) {
		struct version_list *l = NULL;

		assert_int_equal(list_versions(f, &l), 0);
		assert_string_equal(l->items[0]->image, "curated:1");
		assert_true(version_is_curated(l->items[0]));
		assert_non_null(strstr(l->items[0]->id, "/workspaces/w1/"));
		version_list_unref(l);
	}
	assert_int_equal(stub_count(f->stub, ""), 2 + 3);
}

/* What the registry does not have stays empty; that is asked for once, not at every listing. */
static void test_curated_missing(void **state)
{
	struct arm_fixture *f = *state;

	stub_json(f->stub, VERSIONS "?", 200, "{\"value\":[" VERSION("e1", "1", CURATED) "]}");
	stub_json(f->stub, VERSIONS "/1?", 200, VERSION("e1", "1", CURATED));
	stub_json(f->stub, "GET /registrymanagement/", 200, DISCOVERY);
	stub_json(f->stub, CURATED_IN_REGISTRY, 404, "{}");
	for (int i = 0; i < 2; i++) {
		struct version_list *l = NULL;

		assert_int_equal(list_versions(f, &l), 0);
		assert_int_equal(version_kind(l->items[0]), VERSION_EMPTY);
		version_list_unref(l);
	}
	assert_int_equal(stub_count(f->stub, ""), 2 + 3);
}

/* A registry that fails makes no workspace unreadable, and costs its time once, not per version. */
static void test_registry_down(void **state)
{
	struct arm_fixture *f = *state;
	struct version_list *l = NULL;

	stub_json(f->stub, VERSIONS "?", 200,
		  "{\"value\":[" VERSION("e1", "1", CURATED) "," VERSION("e1", "2", CURATED) "]}");
	stub_json(f->stub, VERSIONS "/1?", 200, VERSION("e1", "1", CURATED));
	stub_json(f->stub, VERSIONS "/2?", 200, VERSION("e1", "2", CURATED));
	stub_json(f->stub, "GET /registrymanagement/", 500, "{}");
	assert_int_equal(list_versions(f, &l), 0);
	assert_int_equal(l->count, 2);
	assert_int_equal(stub_count(f->stub, "GET /registrymanagement/"), 4);
	version_list_unref(l);
}

/* ---- writing ---- */

static int put(struct arm_fixture *f, struct scope *scope, struct version **out)
{
	struct version v = {.env = "e1", .version = "1", .image = "ubuntu:22.04"};

	return f->source->ops->put_version(f->source, scope, &v, &f->call, out, &f->err);
}

static void test_put(void **state)
{
	static const int statuses[] = {200, 201};
	struct arm_fixture *f = *state;
	char *body, *head, *type;

	for (size_t i = 0; i < 2; i++) {
		struct version *v = NULL;

		stub_clear(f->stub);
		stub_json(f->stub, "PUT " WS "/environments/e1/versions/1?api-version=2026-05-01 ",
			  statuses[i], VERSION("e1", "1", IMAGE));
		assert_int_equal(put(f, f->workspace, &v), 0);
		assert_string_equal(v->image, "ubuntu:22.04");
		assert_true(v->created > 0);
		version_unref(v);
	}
	assert_int_equal(stub_count(f->stub, ""), 2);
	body = stub_body(f->stub, "PUT ", 0, NULL);
	assert_non_null(strstr(body, "\"image\":\"ubuntu:22.04\""));
	head = stub_head(f->stub, "PUT ", 0);
	type = stub_header(head, "Content-Type");
	assert_string_equal(type, "application/json");
	free(type);
	free(head);
	free(body);
}

static void test_put_refused(void **state)
{
	struct arm_fixture *f = *state;
	struct scope fields = *f->workspace, *fixed;
	struct version *v = NULL;

	stub_json(f->stub, "PUT ", 409,
		  "{\"error\":{\"code\":\"UserError\",\"message\":\"is already registered\"}}");
	assert_int_equal(put(f, f->workspace, &v), -EEXIST);
	assert_non_null(strstr(f->err.msg, "already registered"));
	fields.writable = false;
	fixed = scope_new(&fields);
	assert_int_equal(put(f, fixed, &v), -EROFS);
	scope_unref(fixed);
	assert_int_equal(stub_count(f->stub, ""), 1);
}

#define PUT_IN_REGISTRY "PUT " REG "/environments/e1/versions/1?api-version=2021-10-01"
#define GET_IN_REGISTRY "GET " REG "/environments/e1/versions/1?api-version=2021-10-01"
#define REGISTRY_VERSION                                                                 \
	"{\"id\":\"azureml://registries/r1/environments/e1/versions/1\",\"name\":\"1\"," \
	"\"properties\":{\"image\":\"ubuntu:22.04\",\"provisioningState\":\"Succeeded\"}}"

static void test_put_location(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule accepted = {.match = PUT_IN_REGISTRY,
				     .status = 202,
				     .headers = "Location: {base}/operations/1\r\n",
				     .body = "null"};
	struct stub_rule running = {.match = "GET /operations/1 ",
				    .status = 202,
				    .times = 2,
				    .headers = "retry-after-ms: 20\r\n"};
	struct version *v = NULL;

	stub_add(f->stub, &accepted);
	stub_add(f->stub, &running);
	stub_json(f->stub, "GET /operations/1 ", 200, "");
	stub_json(f->stub, GET_IN_REGISTRY, 200, REGISTRY_VERSION);
	assert_int_equal(put(f, f->registry, &v), 0);
	assert_string_equal(v->env, "e1");
	version_unref(v);
	assert_int_equal(stub_count(f->stub, "GET /operations/1 "), 3);
	assert_int_equal(stub_count(f->stub, ""), 5);
}

static void test_put_async(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule accepted = {.match = PUT_IN_REGISTRY,
				     .status = 201,
				     .headers = "Azure-AsyncOperation: {base}/async/1\r\n",
				     .body = "{}"};
	struct stub_rule running = {.match = "GET /async/1 ",
				    .times = 1,
				    .headers = "retry-after-ms: 20\r\n",
				    .body = "{\"status\":\"InProgress\"}"};
	struct version *v = NULL;

	stub_add(f->stub, &accepted);
	stub_add(f->stub, &running);
	stub_json(f->stub, "GET /async/1 ", 200, "{\"status\":\"succeeded\"}");
	stub_json(f->stub, GET_IN_REGISTRY, 200, REGISTRY_VERSION);
	assert_int_equal(put(f, f->registry, &v), 0);
	version_unref(v);
	stub_clear(f->stub);
	stub_add(f->stub, &accepted);
	stub_json(f->stub, "GET /async/1 ", 200,
		  "{\"status\":\"Failed\",\"error\":{\"code\":\"C\",\"message\":\"no room\"}}");
	assert_int_equal(put(f, f->registry, &v), -EIO);
	assert_non_null(strstr(f->err.msg, "no room"));
}

/* An operation on a host that is not the service's is not asked; the version itself is. */
static void test_put_foreign_operation(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule accepted = {.match = PUT_IN_REGISTRY,
				     .status = 202,
				     .headers = "Location: http://127.0.0.1:1/evil\r\n",
				     .body = "null"};
	struct stub_rule missing = {.match = GET_IN_REGISTRY, .status = 404, .times = 1};
	struct version *v = NULL;

	stub_add(f->stub, &accepted);
	stub_add(f->stub, &missing);
	stub_json(f->stub, GET_IN_REGISTRY, 200, REGISTRY_VERSION);
	assert_int_equal(put(f, f->registry, &v), 0);
	version_unref(v);
	assert_int_equal(stub_count(f->stub, GET_IN_REGISTRY), 3);
}

static void test_put_never_ends(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule accepted = {.match = PUT_IN_REGISTRY,
				     .status = 202,
				     .headers = "Location: {base}/operations/1\r\n"};
	struct version *v = NULL;

	stub_add(f->stub, &accepted);
	stub_json(f->stub, "GET /operations/1 ", 202, "");
	arm_fixture_deadline(f, 300 * NS_PER_MS);
	assert_int_equal(put(f, f->registry, &v), -EINPROGRESS);
	assert_non_null(strstr(f->err.msg, "still being registered"));
}

/* ---- the end ---- */

static void *list_thread(void *arg)
{
	struct arm_fixture *f = arg;
	struct env_list *l = NULL;

	return (void *)(intptr_t)list_envs(f, &l);
}

static void test_stop(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule hang = {.match = "", .wrong = STUB_HANG};
	struct env_list *l = NULL;
	pthread_t thread;
	void *rc;

	stub_add(f->stub, &hang);
	assert_int_equal(pthread_create(&thread, NULL, list_thread, f), 0);
	stub_wait(f->stub, 1);
	f->source->ops->stop(f->source);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, -ECANCELED);
	assert_int_equal(list_envs(f, &l), -ECANCELED);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf),        WITH_SOURCE(test_list_scopes),
		WITH_SOURCE(test_one_workspace),    WITH_SOURCE(test_own_registries),
		WITH_SOURCE(test_create_workspace), WITH_SOURCE(test_pages),
		WITH_SOURCE(test_bad_pages),        WITH_SOURCE(test_broken_items),
		WITH_SOURCE(test_errors),           WITH_SOURCE(test_long_message),
		WITH_SOURCE(test_huge_answer),      WITH_SOURCE(test_unauthorized_once),
		WITH_SOURCE(test_list_versions),    WITH_SOURCE(test_incomplete_item),
		WITH_SOURCE(test_curated),          WITH_SOURCE(test_curated_missing),
		WITH_SOURCE(test_registry_down),    WITH_SOURCE(test_put),
		WITH_SOURCE(test_put_refused),      WITH_SOURCE(test_put_location),
		WITH_SOURCE(test_put_async),        WITH_SOURCE(test_put_foreign_operation),
		WITH_SOURCE(test_put_never_ends),   WITH_SOURCE(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
