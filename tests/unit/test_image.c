/*
 * Image builds over HTTP: what is sent, what is made of the answers, where nothing is sent to, and
 * logs that others left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/image.h"
#include "tests/unit/armfixture.h"

#define V1      "/environment/v1.0" WS "/environments/e1/versions/1/image"
#define V2      "/environment/v2.0" WS "/environments/e1/versions/1/image"
#define OP      "/environment/v1.0/operations/op1"
#define LOG     "/store/azureml/ImageLogs/b1/build.log"
#define HASH    "azureml/azureml_0123456789abcdef0123456789abcdef"
#define DETAILS "{\"imageExistsInRegistry\":true,\"dockerImage\":{\"name\":\"" HASH "\"}}"

static int start(struct arm_fixture *f, char **location)
{
	return f->source->ops->start_build(f->source, f->workspace, "e1", "1", &f->call, location,
					   &f->err);
}

static int get(struct arm_fixture *f, const char *location, struct image_build *out)
{
	return f->source->ops->get_build(f->source, f->workspace, location, &f->call, out, &f->err);
}

static int cancel(struct arm_fixture *f, const char *location)
{
	return f->source->ops->cancel_build(f->source, f->workspace, location, &f->call, &f->err);
}

static int read_log(struct arm_fixture *f, const char *path, uint64_t offset, size_t len,
		    struct buf *out, uint64_t *size)
{
	char url[512];

	snprintf(url, sizeof(url), "%s%s", strstr(path, "://") ? "" : stub_base(f->stub), path);
	return f->source->ops->read_log(f->source, f->workspace, url, offset, len, &f->call, out,
					size, &f->err);
}

static int get_image(struct arm_fixture *f, struct scope *scope, struct image *out)
{
	struct version fields = {.env = "e1", .version = "1"};
	struct version *v = version_new(&fields);
	int rc = f->source->ops->get_image(f->source, scope, v, &f->call, out, &f->err);

	version_unref(v);
	return rc;
}

static int find_log(struct arm_fixture *f, int64_t created, char **log)
{
	struct version fields = {.env = "e1", .version = "1", .created = created};
	struct version *v = version_new(&fields);
	int rc = f->source->ops->find_log(f->source, f->workspace, v, &f->call, log, &f->err);

	version_unref(v);
	return rc;
}

/* ---- states ---- */

static void test_states(void **state)
{
	static const struct {
		const char *json;
		enum image_state state;
		bool final;
	} cases[] = {
		{"{\"status\":\"Queued\"}", IMAGE_QUEUED, false},
		{"{\"status\":\"GettingOrProvisioningACR\",\"logUrl\":null}", IMAGE_RUNNING, false},
		{"{\"status\":\"Running\",\"logUrl\":\"https://x/?sig=s\"}", IMAGE_RUNNING, false},
		{"{\"status\":\"Succeeded\"}", IMAGE_SUCCEEDED, true},
		{"{\"status\":\"failed\"}", IMAGE_FAILED, true},
		{"{\"status\":\"Cancelled\"}", IMAGE_CANCELED, true},
		/* Whatever is not one of the words of a build under way is its end. */
		{"{\"status\":\"Exploded\"}", IMAGE_UNKNOWN, true},
	};
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"status\":null}",
		"{\"status\":7}",
		"{\"status\":\"a b\"}",
		"{\"status\":\"Running\",\"logUrl\":[]}",
		"{\"status\":\"Running\",\"logUrl\":\"http://x/\\r\\nHost: y\"}",
	};
	struct image_build b;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(image_build_parse(cases[i].json, strlen(cases[i].json), &b, NULL),
				 0);
		assert_int_equal(b.state, cases[i].state);
		assert_int_equal(b.final, cases[i].final);
		image_build_clear(&b);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (image_build_parse(bad[i], strlen(bad[i]), &b, NULL) != -EBADMSG)
			fail_msg("%s", bad[i]);
		assert_null(b.stage);
		assert_null(b.log);
	}
	assert_string_equal(image_state_name(IMAGE_NOT_STARTED), "NotStarted");
	assert_string_equal(image_state_name(IMAGE_CANCELED), "Canceled");
}

static void test_image_names(void **state)
{
	static const struct {
		const char *json, *name, *repository, *registry, *digest;
	} cases[] = {
		{"{\"dockerImage\":{\"name\":\"azureml/azureml_1\",\"registry\":{\"address\":\"a."
		 "azurecr.io\",\"password\":\"hidden\"}}}",
		 "a.azurecr.io/azureml/azureml_1", "azureml/azureml_1", "a.azurecr.io", NULL},
		{"{\"dockerImage\":{\"name\":\"mcr.example:5/a/b:7@sha256:ff\",\"registry\":null}}",
		 "mcr.example:5/a/b:7@sha256:ff", "a/b", "mcr.example:5", "sha256:ff"},
		{"{\"dockerImage\":{\"name\":\"localhost/a:1\"}}", "localhost/a:1", "a",
		 "localhost", NULL},
		{"{\"dockerImage\":null}", NULL, NULL, NULL, NULL},
	};
	static const char blank[] = "{\"dockerImage\":{\"name\":\"a b\"}}";
	struct image i;

	(void)state;
	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		const char *const want[] = {cases[k].name, cases[k].repository, cases[k].registry,
					    cases[k].digest};

		assert_int_equal(image_parse(cases[k].json, strlen(cases[k].json), &i, NULL), 0);
		for (size_t n = 0; n < 4; n++) {
			const char *const got[] = {i.name, i.repository, i.registry, i.digest};

			assert_string_equal(got[n] ? got[n] : "-", want[n] ? want[n] : "-");
		}
		assert_false(i.exists);
		image_clear(&i);
	}
	assert_int_equal(image_parse(blank, strlen(blank), &i, NULL), -EBADMSG);
}

/* ---- builds ---- */

static void test_build(void **state)
{
	struct arm_fixture *f = *state;
	struct image_build b;
	char *location, *body, *head, *auth;

	stub_json(f->stub, "POST " V2, 202, "{\"location\":\"{base}" OP "\"}");
	stub_json(f->stub, "GET " OP, 200,
		  "{\"status\":\"Running\",\"logUrl\":\"{base}/l?sig=s\"}");
	stub_json(f->stub, "DELETE " OP, 204, "");
	assert_int_equal(start(f, &location), 0);
	/* Of our own endpoint only the path is kept: it may have another port next time. */
	assert_string_equal(location, OP);
	body = stub_body(f->stub, "POST " V2, 0, NULL);
	assert_string_equal(body, "{}");
	assert_int_equal(get(f, location, &b), 0);
	assert_int_equal(b.state, IMAGE_RUNNING);
	assert_non_null(strstr(b.log, "/l?sig=s"));
	image_build_clear(&b);
	head = stub_head(f->stub, "GET " OP, 0);
	auth = stub_header(head, "Authorization");
	assert_string_equal(auth, "Bearer tok-secret");
	assert_int_equal(cancel(f, location), 0);
	free(location);
	free(body);
	free(head);
	free(auth);
}

static void test_locations(void **state)
{
	static const char *const refused[] = {
		"http://elsewhere.example/environment/v1.0/operations/1",
		"https://elsewhere.example/environment/v1.0/operations/1",
		"ftp://x/",
		"https://a.azureml.ms.example/",
		"../x",
	};
	struct arm_fixture *f = *state;
	struct image_build b;
	char answer[256], *location;

	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		stub_clear(f->stub);
		snprintf(answer, sizeof(answer), "{\"location\":\"%s\"}", refused[i]);
		stub_json(f->stub, "POST " V2, 202, answer);
		assert_int_equal(start(f, &location), -EBADMSG);
		assert_null(location);
		/* Nor what was on the disk. */
		assert_true(get(f, refused[i], &b) < 0);
		assert_null(strstr(f->err.msg, "tok-secret"));
	}
	assert_int_equal(stub_count(f->stub, "GET "), 0);
	stub_clear(f->stub);
	stub_json(f->stub, "POST " V2, 202,
		  "{\"location\":\"https://eastus.api.azureml.ms/environment/v1.0/operations/1\"}");
	assert_int_equal(start(f, &location), 0);
	assert_string_equal(location,
			    "https://eastus.api.azureml.ms/environment/v1.0/operations/1");
	free(location);
	stub_clear(f->stub);
	stub_json(f->stub, "POST " V2, 202, "{}");
	assert_int_equal(start(f, &location), -EBADMSG);
	assert_int_equal(f->source->ops->start_build(f->source, f->registry, "e1", "1", &f->call,
						     &location, &f->err),
			 -EOPNOTSUPP);
}

static void test_discovery(void **state)
{
	struct arm_fixture *f = *state;
	char discovery[128];
	struct scope fields = {.kind = SCOPE_WORKSPACE,
			       .name = "w1",
			       .subscription = "s1",
			       .resource_group = "g1",
			       .discovery_url = discovery};
	char *location;

	snprintf(discovery, sizeof(discovery), "%s/discovery", stub_base(f->stub));
	scope_unref(f->workspace);
	f->workspace = scope_new(&fields);
	stub_json(f->stub, "GET /discovery", 200, "{\"api\":\"{base}/region/\"}");
	stub_json(f->stub, "POST /region" V2, 202, "{\"location\":\"{base}" OP "\"}");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(start(f, &location), 0);
		free(location);
	}
	assert_int_equal(stub_count(f->stub, "GET /discovery"), 1);
}

static void test_no_cancel(void **state)
{
	static const int statuses[] = {404, 405, 501};
	struct arm_fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		stub_clear(f->stub);
		stub_json(f->stub, "DELETE " OP, statuses[i], "{}");
		assert_int_equal(cancel(f, OP), -EOPNOTSUPP);
	}
	stub_clear(f->stub);
	stub_json(f->stub, "DELETE " OP, 403, "{}");
	assert_int_equal(cancel(f, OP), -EACCES);
}

static void test_image(void **state)
{
	struct arm_fixture *f = *state;
	struct image i;
	char *body;

	stub_json(f->stub, "GET " V1 "?secrets=false", 200, DETAILS);
	stub_json(f->stub, "POST /environment/v1.0/consume/imageDetails", 200,
		  "{\"dockerImage\":{\"name\":\"r.azurecr.io/a@sha256:1\"}}");
	assert_int_equal(get_image(f, f->workspace, &i), 0);
	assert_true(i.exists);
	assert_string_equal(i.name, HASH);
	image_clear(&i);
	assert_int_equal(get_image(f, f->registry, &i), 0);
	assert_string_equal(i.name, "r.azurecr.io/a@sha256:1");
	image_clear(&i);
	body = stub_body(f->stub, "POST /environment", 0, NULL);
	assert_string_equal(body,
			    "{\"assetId\":\"azureml://registries/r1/environments/e1/versions/1\"}");
	free(body);
}

/* ---- logs ---- */

static void test_signed_log(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule part = {.match = "GET /l?sig=s",
				 .contain = "Range: bytes=3-7",
				 .status = 206,
				 .headers = "Content-Range: bytes 3-5/6\r\n",
				 .body = "def"};
	struct stub_rule end = {.match = "GET /l?sig=s",
				.contain = "Range: bytes=6-",
				.status = 416,
				.headers = "Content-Range: bytes */6\r\n",
				.body = "<Error/>"};
	struct stub_rule wrong = {.match = "GET /l?sig=s",
				  .contain = "Range: bytes=1-",
				  .status = 206,
				  .headers = "Content-Range: bytes 0-5/6\r\n",
				  .body = "abcdef"};
	struct buf out = BUF_INIT(100);
	uint64_t size;
	char *head, *auth;

	stub_add(f->stub, &part);
	stub_add(f->stub, &end);
	stub_add(f->stub, &wrong);
	stub_json(f->stub, "GET /l?sig=old", 403, "<Error/>");
	stub_json(f->stub, "GET /l?sig=none", 404, "<Error/>");
	stub_json(f->stub, "GET /l?all", 200, "abcdef");
	assert_int_equal(read_log(f, "/l?sig=s", 3, 5, &out, &size), 0);
	assert_string_equal(buf_str(&out), "def");
	assert_int_equal(size, 6);
	assert_int_equal(read_log(f, "/l?sig=s", 6, 5, &out, &size), 0);
	assert_int_equal(out.len, 3);
	assert_int_equal(size, 6);
	assert_int_equal(read_log(f, "/l?sig=s", 1, 9, &out, &size), -EBADMSG);
	assert_int_equal(read_log(f, "/l?sig=old", 0, 9, &out, &size), -EACCES);
	assert_null(strstr(f->err.msg, "old"));
	assert_int_equal(read_log(f, "/l?sig=none", 0, 9, &out, &size), -ENOENT);
	/* Who knows no ranges gives all of it. */
	buf_reset(&out);
	assert_int_equal(read_log(f, "/l?all", 2, 3, &out, &size), 0);
	assert_string_equal(buf_str(&out), "cde");
	assert_int_equal(size, 6);
	buf_reset(&out);
	assert_int_equal(read_log(f, "/l?all", 9, 3, &out, &size), 0);
	assert_int_equal(out.len, 0);
	/* The token is not for who gets the signature. */
	head = stub_head(f->stub, "GET /l?sig=s", 0);
	auth = stub_header(head, "Authorization");
	assert_null(auth);
	free(head);
	assert_int_equal(read_log(f, "http://elsewhere.example/l?sig=s", 0, 9, &out, &size),
			 -EACCES);
	buf_free(&out);
}

#define BLOB(name, date)                                                        \
	"<Blob><Name>ImageLogs/" name "</Name><Properties><Last-Modified>" date \
	"</Last-Modified><Content-Length>100</Content-Length></Properties></Blob>"
#define LOGS(blobs)                                                                        \
	"<?xml version=\"1.0\"?><EnumerationResults><Blobs>" blobs "</Blobs><NextMarker/>" \
	"</EnumerationResults>"

static void serve_logs(struct arm_fixture *f, const char *blobs)
{
	stub_json(f->stub, "GET " WS "/datastores?", 200,
		  "{\"value\":[{\"name\":\"workspaceblobstore\",\"properties\":{"
		  "\"datastoreType\":\"AzureBlob\",\"accountName\":\"store\","
		  "\"containerName\":\"c1\",\"endpoint\":\"{base}\",\"isDefault\":true}}]}");
	stub_json(f->stub, "GET /store/azureml?restype=container", 200, blobs);
	stub_json(f->stub, "GET " V1, 200, DETAILS);
}

static void test_found_log(void **state)
{
	struct arm_fixture *f = *state;
	struct buf out = BUF_INIT(1000);
	char *log, *again;
	uint64_t size;

	serve_logs(f, LOGS(BLOB("old/build.log", "Thu, 15 Sep 2022 03:15:36 GMT")
				   BLOB("b1/build.log", "Fri, 16 Sep 2022 03:15:36 GMT") BLOB(
					   "b2/build.log", "Sat, 17 Sep 2022 03:15:36 GMT")
					   BLOB("b3/other.txt", "Sun, 18 Sep 2022 03:15:36 GMT")));
	stub_json(f->stub, "GET /store/azureml/ImageLogs/b2/build.log", 200,
		  "FROM azureml/azureml_ffffffffffffffffffffffffffffffff\n");
	stub_json(f->stub, "GET " LOG, 200, "pushing x.azurecr.io/" HASH ":latest\nok\n");
	assert_int_equal(find_log(f, INT64_C(1663286400) * NS_PER_S, &log), 0);
	assert_non_null(strstr(log, LOG));
	assert_int_equal(read_log(f, log, 0, 1000, &out, &size), 0);
	assert_string_equal(buf_str(&out), "pushing x.azurecr.io/" HASH ":latest\nok\n");
	/* What was found once is not read again. */
	assert_int_equal(find_log(f, INT64_C(1663286400) * NS_PER_S, &again), 0);
	assert_string_equal(log, again);
	assert_int_equal(stub_count(f->stub, "GET /store/azureml?"), 1);
	assert_int_equal(stub_count(f->stub, "GET " LOG), 2);
	assert_int_equal(stub_count(f->stub, "GET /store/azureml/ImageLogs/old"), 0);
	free(log);
	free(again);
	buf_free(&out);
}

static void test_nothing_found(void **state)
{
	struct arm_fixture *f = *state;
	char *log;

	/* Without a log that could be its own, nothing is asked about a version. */
	serve_logs(f, LOGS(BLOB("old/build.log", "Thu, 15 Sep 2022 03:15:36 GMT")));
	assert_int_equal(find_log(f, INT64_C(1663286400) * NS_PER_S, &log), -ENOENT);
	assert_null(log);
	assert_int_equal(stub_count(f->stub, "GET " V1), 0);
	/* One that is gone since it was listed is none; what can't be read is an error. */
	stub_json(f->stub, "GET /store/azureml/ImageLogs/old", 404, "<Error/>");
	assert_int_equal(find_log(f, 0, &log), -ENOENT);
	assert_int_equal(stub_count(f->stub, "GET " V1), 1);
	stub_clear(f->stub);
	stub_json(f->stub, "GET " V1, 200, DETAILS);
	stub_json(f->stub, "GET /store/azureml/ImageLogs/old", 500, "<Error/>");
	assert_int_equal(find_log(f, 0, &log), -EIO);
}

static int64_t no_log(struct arm_fixture *f, int64_t created)
{
	struct version fields = {.env = "e1", .version = "1", .created = created};
	struct version *v = version_new(&fields);
	int64_t left = f->source->ops->no_log(f->source, f->workspace, v);

	version_unref(v);
	return left;
}

/* Whoever goes through all versions has the list fetched once, before he needs it. */
static void test_expected_logs(void **state)
{
	const int64_t day = 86400 * NS_PER_S, log = INT64_C(1663211736) * NS_PER_S;
	struct arm_fixture *f = *state;
	char *found;

	serve_logs(f, LOGS(BLOB("old/build.log", "Thu, 15 Sep 2022 03:15:36 GMT")));
	assert_int_equal(no_log(f, log + day), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			f->source->ops->expect_logs(f->source, f->workspace, &f->call, &f->err), 0);
	assert_in_range(no_log(f, log + day), 1, 30 * NS_PER_S);
	assert_int_equal(no_log(f, log - day), 0);
	assert_int_equal(find_log(f, log + day, &found), -ENOENT);
	assert_int_equal(stub_count(f->stub, "GET /store/azureml?"), 1);
	/* A registry has none to be listed. */
	assert_int_equal(f->source->ops->expect_logs(f->source, f->registry, &f->call, &f->err), 0);
	assert_int_equal(stub_count(f->stub, ""), 2);
}

static void test_no_container(void **state)
{
	struct arm_fixture *f = *state;
	char *log;

	stub_json(f->stub, "GET /store/azureml?restype=container", 404, "<Error/>");
	serve_logs(f, LOGS(""));
	for (int i = 0; i < 3; i++)
		assert_int_equal(find_log(f, 0, &log), -ENOENT);
	assert_int_equal(stub_count(f->stub, ""), 2);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),   cmocka_unit_test(test_image_names),
		WITH_SOURCE(test_build),         WITH_SOURCE(test_locations),
		WITH_SOURCE(test_discovery),     WITH_SOURCE(test_no_cancel),
		WITH_SOURCE(test_image),         WITH_SOURCE(test_signed_log),
		WITH_SOURCE(test_found_log),     WITH_SOURCE(test_nothing_found),
		WITH_SOURCE(test_expected_logs), WITH_SOURCE(test_no_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
