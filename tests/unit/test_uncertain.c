/*
 * Where it is not certain how the service answers: each fact with either answer, and what is made
 * of it. docs/client.md lists them all, with the tests of those that are tested elsewhere.
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

#include "client/buf.h"
#include "tests/unit/armfixture.h"

/* Gives a summary of what the client made of the answer, to be freed. */
typedef char *ask_fn(struct arm_fixture *f);

struct answer {
	const char *match;
	int status;
	const char *headers;
	const char *body;
};

/* One fact: two (or more) ways to answer, one outcome. */
struct fact {
	const char *name;
	ask_fn *ask;
	struct answer always[4];
	struct answer either[4][3]; /* a way each */
	const char *outcome;
};

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
	struct buf b = BUF_INIT(4096);
	va_list ap;

	va_start(ap, format);
	assert_int_equal(buf_vaddf(&b, format, ap), 0);
	va_end(ap);
	return buf_steal(&b, NULL);
}

/* ---- what is asked ---- */

static char *ask_versions(struct arm_fixture *f)
{
	struct version_list *l = NULL;
	int rc =
		f->source->ops->list_versions(f->source, f->workspace, "e1", &f->call, &l, &f->err);
	struct buf b = BUF_INIT(4096);

	if (rc)
		return text("%d", rc);
	for (size_t i = 0; i < l->count; i++) {
		const struct version *v = l->items[i];

		buf_addf(&b, "%s:%s image=%s conda=%s description=%s tags=%zu%s%s ", v->env,
			 v->version, v->image ? v->image : "-", v->conda ? v->conda : "-",
			 v->description ? v->description : "-", v->n_tags,
			 v->anonymous ? " anonymous" : "", v->archived ? " archived" : "");
	}
	version_list_unref(l);
	return buf_steal(&b, NULL);
}

static char *ask_envs(struct arm_fixture *f)
{
	struct env_list *l = NULL;
	int rc = f->source->ops->list_envs(f->source, f->workspace, &f->call, &l, &f->err);
	struct buf b = BUF_INIT(4096);

	if (rc)
		return text("%d", rc);
	for (size_t i = 0; i < l->count; i++)
		buf_addf(&b, "%s ", l->items[i]->name);
	env_list_unref(l);
	return buf_steal(&b, NULL);
}

static char *ask_put(struct arm_fixture *f)
{
	struct version fields = {.env = "e1", .version = "1", .image = "i"};
	struct version *v = version_new(&fields), *out = NULL;
	int rc = f->source->ops->put_version(f->source, f->workspace, v, &f->call, &out, &f->err);

	version_unref(out);
	version_unref(v);
	return text("%d", rc);
}

static char *ask_delete(struct arm_fixture *f)
{
	return text("%d", f->source->ops->delete_version(f->source, f->workspace, "e1", "1",
							 &f->call, &f->err));
}

static char *ask_registry(struct arm_fixture *f)
{
	static const char *const names[] = {"r2"};
	struct arm_conf conf = {.registries = names, .n_registries = 1};
	struct scope_list *l = NULL;
	char *said;

	arm_fixture_remake(f, &conf);
	assert_int_equal(f->source->ops->list_scopes(f->source, &f->call, &l, &f->err), 0);
	said = text("%s", l->count ? l->items[0]->name : "none");
	scope_list_unref(l);
	return said;
}

static char *read_context(struct arm_fixture *f, struct scope *scope)
{
	struct version fields = {.env = "e1", .version = "1"};
	struct buf uri = BUF_INIT(256), out = BUF_INIT(100);
	struct context *ctx = NULL;
	struct version *v;
	int rc;

	buf_addf(&uri, "%s/acct/c1/LocalUpload/h/ctx/", stub_base(f->stub));
	fields.context_uri = buf_str(&uri);
	v = version_new(&fields);
	rc = f->source->ops->list_context(f->source, scope, v, &f->call, &ctx, &f->err);
	if (!rc)
		rc = f->source->ops->read_context(f->source, scope, ctx, &ctx->files[0], 0, 6,
						  &f->call, &out, &f->err);
	version_unref(v);
	context_unref(ctx);
	buf_free(&uri);
	buf_addf(&out, "%d", rc);
	return buf_steal(&out, NULL);
}

static char *ask_context(struct arm_fixture *f)
{
	return read_context(f, f->workspace);
}

static char *ask_registry_context(struct arm_fixture *f)
{
	return read_context(f, f->registry);
}

static char *ask_error(struct arm_fixture *f)
{
	struct env_list *l = NULL;
	int rc = f->source->ops->list_envs(f->source, f->workspace, &f->call, &l, &f->err);

	return text("%d %s", rc,
		    strstr(f->err.msg, "x-ms-") && strstr(f->err.msg, "no such thing")
			    ? "with words and an id"
			    : f->err.msg);
}

/* ---- the facts ---- */

#define VERSIONS    "GET " WS "/environments/e1/versions?"
#define LIST(items) "{\"value\":[" items "]}"
#define VERSION(props) \
	"{\"id\":\"" WS "/environments/e1/versions/1\",\"name\":\"1\",\"properties\":{" props "}}"
#define STORES(more)                                                                   \
	"{\"value\":[{\"name\":\"s\",\"properties\":{\"datastoreType\":\"AzureBlob\"," \
	"\"accountName\":\"acct\",\"containerName\":\"c1\",\"endpoint\":\"{base}\"," more "}}]}"
#define BLOBS(props, more)                                                     \
	"<EnumerationResults><Blobs><Blob><Name>LocalUpload/h/ctx/a</Name>"    \
	"<Properties><Content-Length>6</Content-Length>" props "</Properties>" \
	"</Blob>" more "</Blobs></EnumerationResults>"
#define CONTENT                                                                            \
	{                                                                                  \
		"GET /acct/c1/LocalUpload/h/ctx/a", 206, "Content-Range: bytes 0-5/6\r\n", \
			"hello\n"                                                          \
	}
#define STORE_LIST "GET " WS "/datastores?"
#define SECRETS    "POST " WS "/datastores/s/listSecrets?"
#define BLOB_LIST  "GET /acct/c1?restype=container"
#define KEY_STORE  STORES("\"credentials\":{\"credentialsType\":\"AccountKey\"}")
#define SAS_STORE  STORES("\"credentials\":{\"credentialsType\":\"Sas\"}")
#define NO_STORE   STORES("\"credentials\":{\"credentialsType\":\"None\"}")
#define DATAREF    "POST " REG "/datarefs/e1/versions/1?"
#define REF(rest)  "{\"blobReferenceForConsumption\":{\"blobUri\":\"{base}/acct/c1/\"," rest "}}"
#define FOUND                                                                    \
	"{\"registryId\":\"i\",\"registryName\":\"r2\",\"primaryRegion\":\"e\"," \
	"\"subscriptionId\":\"rs\",\"resourceGroup\":\"rg\","                    \
	"\"primaryRegionResourceProviderUri\":\"{base}/\"}"
#define DISCOVERY "GET /registrymanagement/v1.0/registries/r2/discovery"

static const struct fact facts[] = {
	{"the last page's nextLink is absent, null or empty",
	 ask_envs,
	 {{0}},
	 {{{"GET " WS "/environments?", 200, "",
	    "{\"value\":[{\"id\":\"" WS "/environments/a\",\"name\":\"a\",\"properties\":{}}]}"}},
	  {{"GET " WS "/environments?", 200, "",
	    "{\"value\":[{\"id\":\"" WS
	    "/environments/a\",\"name\":\"a\",\"properties\":{}}],\"nextLink\":null}"}},
	  {{"GET " WS "/environments?", 200, "",
	    "{\"value\":[{\"id\":\"" WS
	    "/environments/a\",\"name\":\"a\",\"properties\":{}}],\"nextLink\":\"\"}"}}},
	 "a "},
	{"what has no value is left out, null or empty text",
	 ask_versions,
	 {{0}},
	 {{{VERSIONS, 200, "", LIST(VERSION("\"image\":\"i\""))}},
	  {{VERSIONS, 200, "",
	    LIST(VERSION("\"image\":\"i\",\"condaFile\":null,\"description\":null,\"tags\":null,"
			 "\"build\":null,\"inferenceConfig\":null"))}},
	  {{VERSIONS, 200, "",
	    LIST(VERSION("\"image\":\"i\",\"condaFile\":\"\",\"description\":\"\",\"tags\":{}"))}}},
	 "e1:1 image=i conda=- description=- tags=0 "},
	{"a PUT of a version answers 200 or 201, with a body or without",
	 ask_put,
	 {{"GET " WS "/environments/e1/versions/1?", 200, "", VERSION("\"image\":\"i\"")}},
	 {{{"PUT ", 200, "", VERSION("\"image\":\"i\"")}},
	  {{"PUT ", 201, "Location: {base}/somewhere\r\n", VERSION("\"image\":\"i\"")}},
	  {{"PUT ", 201, "", "null"}},
	  {{"PUT ", 200, "", ""}}},
	 "0"},
	{"a name that the service takes no more is refused with its words",
	 ask_put,
	 {{0}},
	 {{{"PUT ", 400, "",
	    "{\"error\":{\"code\":\"UserError\",\"message\":\"Resource name is invalid.\"}}"}},
	  {{"PUT ", 400, "",
	    "{\"error\":{\"code\":\"ValidationError\",\"message\":\"can not start with\"}}"}}},
	 "-22"},
	{"a DELETE answers 200, 204 or 202",
	 ask_delete,
	 {{"GET " WS "/environments/e1/versions/1?", 404, "", "{}"}},
	 {{{"DELETE ", 200, "", ""}}, {{"DELETE ", 204, "", ""}}, {{"DELETE ", 202, "", ""}}},
	 "0"},
	{"a DELETE is not offered: 400 or 405",
	 ask_delete,
	 {{0}},
	 {{{"DELETE ", 400, "", "{}"}}, {{"DELETE ", 405, "", "{}"}}},
	 "-1"},
	{"registry discovery takes no api-version, or needs one",
	 ask_registry,
	 {{0}},
	 {{{DISCOVERY " ", 200, "", FOUND}},
	  {{DISCOVERY " ", 400, "", "{\"error\":{\"code\":\"MissingApiVersionParameter\"}}"},
	   {DISCOVERY "?api-version=v1.0 ", 200, "", FOUND}}},
	 "r2"},
	{"a SAS begins with a question mark, or does not",
	 ask_context,
	 {{STORE_LIST, 200, "", SAS_STORE}, {BLOB_LIST, 200, "", BLOBS("", "")}, CONTENT},
	 {{{SECRETS, 200, "", "{\"secretsType\":\"Sas\",\"sasToken\":\"sv=1&sig=x\"}"}},
	  {{SECRETS, 200, "", "{\"secretsType\":\"Sas\",\"sasToken\":\"?sv=1&sig=x\"}"}}},
	 "hello\n0"},
	{"who may not list secrets reads with his own token",
	 ask_context,
	 {{STORE_LIST, 200, "", KEY_STORE}, {BLOB_LIST, 200, "", BLOBS("", "")}, CONTENT},
	 {{{SECRETS, 200, "", "{\"secretsType\":\"AccountKey\",\"key\":\"a2V5\"}"}},
	  {{SECRETS, 403, "", "{\"error\":{\"code\":\"AuthorizationFailed\"}}"}}},
	 "hello\n0"},
	{"a datastore has secrets, or its users have rights of their own",
	 ask_context,
	 {{SECRETS, 200, "", "{\"secretsType\":\"AccountKey\",\"key\":\"a2V5\"}"},
	  {BLOB_LIST, 200, "", BLOBS("", "")},
	  CONTENT},
	 {{{STORE_LIST, 200, "", KEY_STORE}},
	  {{STORE_LIST, 200, "", NO_STORE}},
	  {{STORE_LIST, 200, "", STORES("\"credentials\":null")}}},
	 "hello\n0"},
	{"etags are quoted or not, checksums are there or not, folders are marked or not",
	 ask_context,
	 {{STORE_LIST, 200, "", KEY_STORE},
	  {SECRETS, 200, "", "{\"secretsType\":\"AccountKey\",\"key\":\"a2V5\"}"},
	  CONTENT},
	 {{{BLOB_LIST, 200, "", BLOBS("<Etag>0x1</Etag>", "")}},
	  {{BLOB_LIST, 200, "",
	    BLOBS("<Etag>\"0x1\"</Etag><Content-MD5>sZRqySSS0jR8YjW00mERhA==</Content-MD5>",
		  "<Blob><Name>LocalUpload/h/ctx/sub/</Name><Properties><Content-Length>0"
		  "</Content-Length></Properties></Blob>")}},
	  {{BLOB_LIST, 200, "",
	    BLOBS("<Content-MD5/>",
		  "<Blob><Name>LocalUpload/h/ctx/sub</Name><Properties><Content-Length>0"
		  "</Content-Length></Properties><Metadata><hdi_isfolder>true</hdi_isfolder>"
		  "</Metadata></Blob>")}}},
	 "hello\n0"},
	{"a registry gives a signature for a context, or says that none is needed",
	 ask_registry_context,
	 {{BLOB_LIST, 200, "", BLOBS("", "")}, CONTENT},
	 {{{DATAREF, 200, "",
	    REF("\"credential\":{\"credentialType\":\"SAS\",\"sasUri\":\"{base}/acct/"
		"c1?sig=x\"}")}},
	  {{DATAREF, 200, "", REF("\"credential\":{\"credentialType\":\"NoCredentials\"}")}},
	  {{DATAREF, 200, "", REF("\"credential\":null")}}},
	 "hello\n0"},
	{"an error has an envelope or not, and one id or another",
	 ask_error,
	 {{0}},
	 {{{"GET ", 404, "x-ms-request-id: 1\r\n",
	    "{\"error\":{\"code\":\"UserError\",\"message\":\"no such thing\"}}"}},
	  {{"GET ", 404, "x-ms-correlation-request-id: 1\r\n",
	    "{\"error\":{\"code\":\"UserError\",\"message\":\"no such thing\",\"innerError\":null},"
	    "\"correlation\":{}}"}},
	  {{"GET ", 404, "", "{\"code\":\"UserError\",\"message\":\"no such thing\"}"}},
	  {{"GET ", 404, "", "<Error><Code>X</Code><Message>no such thing</Message></Error>"}}},
	 "-2 with words and an id"},
};

static void add(struct arm_fixture *f, const struct answer *a)
{
	struct stub_rule rule = {
		.match = a->match, .status = a->status, .headers = a->headers, .body = a->body};

	if (a->match)
		stub_add(f->stub, &rule);
}

static void test_facts(void **state)
{
	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
		unsigned int ways = 0;

		for (size_t w = 0; w < 4 && facts[i].either[w][0].match; w++, ways++) {
			struct arm_conf conf = {.subscription = "s1"};
			struct arm_fixture *f = *state;
			char *outcome;

			stub_clear(f->stub);
			arm_fixture_remake(f, &conf);
			for (size_t k = 0; k < 3; k++)
				add(f, &facts[i].either[w][k]);
			for (size_t k = 0; k < 4; k++)
				add(f, &facts[i].always[k]);
			outcome = facts[i].ask(f);
			if (strcmp(outcome, facts[i].outcome) != 0)
				fail_msg("%s, way %zu: \"%s\": %s", facts[i].name, w + 1, outcome,
					 f->err.msg);
			free(outcome);
		}
		assert_true(ways >= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_facts, arm_fixture_setup,
						arm_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
