#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/blob.h"
#include "client/clock.h"
#include "client/context_hash.h"
#include "client/sharedkey.h"
#include "tests/unit/armfixture.h"

#define KEY    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define STORES "GET " WS "/datastores?"
#define SECRET "POST " WS "/datastores/workspaceblobstore/listSecrets?"
#define STORE(credentials)                                                                   \
	"{\"value\":[{\"name\":\"files\",\"properties\":{\"datastoreType\":\"AzureFile\"}}," \
	"{\"name\":\"workspaceblobstore\",\"properties\":{\"datastoreType\":\"AzureBlob\","  \
	"\"accountName\":\"acct\",\"containerName\":\"c1\",\"endpoint\":\"{base}\","         \
	"\"protocol\":\"http\",\"isDefault\":true,\"credentials\":{\"credentialsType\":"     \
	"\"" credentials "\"}}}]}"
#define FOLDER "/acct/c1/LocalUpload/h/ctx/"
#define LIST   "GET /acct/c1?restype=container&comp=list&prefix=LocalUpload%2Fh%2Fctx%2F"
#define BLOB(name, rest)                                                    \
	"<Blob><Name>" name "</Name><Properties>"                           \
	"<Last-Modified>Thu, 15 Sep 2022 03:15:36 GMT</Last-Modified>" rest \
	"<Content-Length>6</Content-Length></Properties></Blob>"
#define XML(blobs, marker)                                                                        \
	"\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>" blobs \
	"</Blobs><NextMarker>" marker "</NextMarker></EnumerationResults>"

/* ---- places ---- */

static void test_places(void **state)
{
	static const struct {
		const char *uri;
		bool path_style;
		const char *account, *container, *prefix, *sas;
	} cases[] = {
		{"https://acct.blob.core.windows.net/c1/LocalUpload/h/my%20ctx", false, "acct",
		 "c1", "LocalUpload/h/my ctx/", NULL},
		{"https://acct.blob.core.windows.net:443/c1", false, "acct", "c1", "", NULL},
		{"https://acct.blob.core.windows.net/c1/?sv=1&sig=x", false, "acct", "c1", "",
		 "sv=1&sig=x"},
		{"http://localhost/acct/c1/p/", true, "acct", "c1", "p/", NULL},
		{"http://10.0.0.1/acct/c1/p/", true, "acct", "c1", "p/", NULL},
		{"https://acct.blob.core.windows.net:8443/a/c1/p/", true, "a", "c1", "p/", NULL},
		{"https://arm.example/a/c1/p/", true, "a", "c1", "p/", NULL},
	};
	static const char *const bad[] = {
		"https://acct.blob.core.windows.net/",
		"https://acct.blob.core.windows.net",
		"https://example.com/c/p/",
		"http://localhost/acct/",
		"http://localhost/acct",
		"https://.blob.core.windows.net/c/",
		"https://a.b.blob.core.windows.net/c",
		"https://acct.blob.x/%00/p/",
		"https://acct.blob.x/c/%00/",
		"https://acct.blob.x//p/",
		"https://acct.blob.x/%zz/",
		"git@host:x",
	};
	struct url endpoint;

	(void)state;
	assert_int_equal(url_parse("https://arm.example", &endpoint, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct blob_place p;

		assert_int_equal(blob_place_parse(cases[i].uri, &endpoint, &p, NULL), 0);
		assert_int_equal(p.path_style, cases[i].path_style);
		assert_string_equal(p.account, cases[i].account);
		assert_string_equal(p.container, cases[i].container);
		assert_string_equal(p.prefix, cases[i].prefix);
		assert_int_equal(!p.sas, !cases[i].sas);
		if (p.sas)
			assert_string_equal(p.sas, cases[i].sas);
		blob_place_clear(&p);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct blob_place p;

		if (blob_place_parse(bad[i], &endpoint, &p, NULL) != -EBADMSG)
			fail_msg("%s", bad[i]);
	}
	url_clear(&endpoint);
}

/* ---- lists ---- */

static void test_page(void **state)
{
	static const char xml[] = XML(
		BLOB("p/a.txt", "<Etag>\"0x1\"</Etag><Content-MD5>abc=</Content-MD5>") BLOB(
			"p/sub/b &amp; c",
			"<Etag>0x2</Etag>") "<Blob><Name "
					    "Encoded=\"true\">p/%C3%BC%EF%BF%BE</Name><Properties>"
					    "<Content-Length>0</Content-Length></Properties></"
					    "Blob>" BLOB("p/", "") BLOB("p/folder/",
									"") BLOB("other", "")
						    BLOB("p",
							 "") "<Blob><Name>p/hdi</"
							     "Name><Properties><Content-Length>0</"
							     "Content-Length></Properties>"
							     "<Metadata><hdi_isfolder>true</"
							     "hdi_isfolder><Name>p/x</Name></"
							     "Metadata></Blob>"
							     "<Blob><Name>p/nosize</"
							     "Name><Properties/></Blob>"
							     "<Blob><Name>p/neg</"
							     "Name><Properties><Content-Length>-1</"
							     "Content-Length>"
							     "</Properties></"
							     "Blob><BlobPrefix><Name>p/z</Name></"
							     "BlobPrefix>",
		"next!");
	struct blob_page page = {0};

	(void)state;
	assert_int_equal(blob_page_parse(xml, strlen(xml), "p/", &page, NULL), 0);
	assert_int_equal(page.n, 3);
	assert_string_equal(page.files[0].path, "a.txt");
	assert_int_equal(page.files[0].size, 6);
	assert_string_equal(page.files[0].etag, "\"0x1\"");
	assert_string_equal(page.files[0].md5, "abc=");
	assert_int_equal(page.files[0].modified, INT64_C(1663211736) * NS_PER_S);
	assert_string_equal(page.files[1].path, "sub/b & c");
	assert_null(page.files[1].md5);
	assert_string_equal(page.files[2].path, "ü\xEF\xBF\xBE");
	assert_string_equal(page.next_marker, "next!");
	blob_page_clear(&page);
}

static void test_bad_pages(void **state)
{
	static const char *const cases[] = {
		"",
		"{}",
		"<a>",
		"<EnumerationResults><Blobs><Blob><Name>x</Name>",
		"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></"
		"a>"
		"</a></a></a></a></a></a></a></a></a>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct blob_page page = {0};
		struct err e = ERR_INIT;

		assert_int_equal(blob_page_parse(cases[i], strlen(cases[i]), "", &page, &e),
				 -EBADMSG);
		assert_true(e.msg[0]);
		blob_page_clear(&page);
	}
}

static void test_long_name(void **state)
{
	struct buf xml = BUF_INIT(1 << 20);
	struct blob_page page = {0};

	(void)state;
	buf_addstr(&xml, "<E>");
	for (int i = 0; i < 2; i++) {
		buf_addstr(&xml, "<Blob><Name>");
		for (int k = 0; k < (i ? 20000 : 5000); k++)
			buf_addch(&xml, 'n');
		buf_addstr(&xml, "</Name><Content-Length>1</Content-Length></Blob>");
	}
	buf_addstr(&xml, "<Blob><Name>ok</Name><Content-Length>1</Content-Length></Blob></E>");
	assert_int_equal(blob_page_parse(buf_str(&xml), xml.len, "", &page, NULL), 0);
	assert_int_equal(page.n, 1);
	assert_string_equal(page.files[0].path, "ok");
	blob_page_clear(&page);
	buf_free(&xml);
}

/* ---- contexts of a workspace ---- */

static struct version *make_version(struct arm_fixture *f, const char *path)
{
	char uri[256];
	struct version fields = {.env = "e1", .version = "1", .context_uri = uri}, *v;

	snprintf(uri, sizeof(uri), "%s%s", *path == '/' ? stub_base(f->stub) : "", path);
	v = version_new(&fields);
	assert_non_null(v);
	return v;
}

static int list_context(struct arm_fixture *f, struct scope *scope, const char *path,
			struct context **out)
{
	struct version *v = make_version(f, path);
	int rc = f->source->ops->list_context(f->source, scope, v, &f->call, out, &f->err);

	version_unref(v);
	return rc;
}

static int read_file(struct arm_fixture *f, struct scope *scope, struct context *ctx,
		     uint64_t offset, size_t len, struct buf *out)
{
	buf_reset(out);
	return f->source->ops->read_context(f->source, scope, ctx, &ctx->files[0], offset, len,
					    &f->call, out, &f->err);
}

/* Signs the request in head again, with what it says, and compares. */
static void check_signature(const char *head, const struct kv *params, size_t n_params)
{
	struct kv headers[64];
	char *lines = strdup(head), *save = NULL, *line, *method, *path, *sent = NULL;
	char expected[SHAREDKEY_SIGNATURE_SIZE];
	size_t n = 0;

	line = strtok_r(lines, "\r\n", &save);
	method = line;
	path = strchr(line, ' ');
	*path++ = '\0';
	path[strcspn(path, "? ")] = '\0';
	while ((line = strtok_r(NULL, "\r\n", &save))) {
		char *value = strchr(line, ':');

		assert_non_null(value);
		*value++ = '\0';
		value += strspn(value, " ");
		if (strcmp(line, "Authorization") == 0) {
			sent = value;
			continue;
		}
		headers[n++] = (struct kv){line, value};
	}
	assert_non_null(sent);
	assert_int_equal(sharedkey_sign(method, path, headers, n, params, n_params, "acct", KEY,
					expected, NULL),
			 0);
	assert_int_equal(strncmp(sent, "SharedKey acct:", 15), 0);
	assert_string_equal(sent + 15, expected);
	free(lines);
}

static void add_store(struct arm_fixture *f)
{
	stub_json(f->stub, STORES, 200, STORE("AccountKey"));
	stub_json(f->stub, SECRET, 200, "{\"secretsType\":\"AccountKey\",\"key\":\"" KEY "\"}");
}

static void test_list_and_read(void **state)
{
	struct arm_fixture *f = *state;
	struct kv params[] = {{"restype", "container"},         {"comp", "list"},
			      {"prefix", "LocalUpload/h/ctx/"}, {"maxresults", "5000"},
			      {"include", "metadata"},          {"marker", "m/2"}};
	struct stub_rule content = {.match = "GET " FOLDER "a%20b.txt ",
				    .status = 206,
				    .headers = "Content-Range: bytes 0-5/6\r\n",
				    .body = "hello\n"};
	struct context *ctx = NULL;
	struct buf out = BUF_INIT(100);
	char *head, *value;

	add_store(f);
	stub_json(f->stub, LIST "&maxresults=5000&include=metadata ", 200,
		  XML(BLOB("LocalUpload/h/ctx/z", ""), "m/2"));
	stub_json(f->stub, LIST "&maxresults=5000&include=metadata&marker=m%2F2 ", 200,
		  XML(BLOB("LocalUpload/h/ctx/a b.txt",
			   "<Etag>0x1</Etag><Content-MD5>sZRqySSS0jR8YjW00mERhA==</Content-MD5>"),
		      ""));
	stub_add(f->stub, &content);
	assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), 0);
	assert_null(ctx->note);
	assert_int_equal(ctx->n_files, 2);
	assert_string_equal(ctx->files[0].path, "a b.txt");
	assert_int_equal(read_file(f, f->workspace, ctx, 0, 100, &out), 0);
	assert_string_equal(buf_str(&out), "hello\n");
	assert_int_equal(read_file(f, f->workspace, ctx, 6, 100, &out), 0);
	assert_int_equal(out.len, 0);
	/* Datastores and secret once, two pages, one read. */
	assert_int_equal(stub_count(f->stub, ""), 5);
	head = stub_head(f->stub, "GET /acct/c1?", 1);
	check_signature(head, params, 6);
	free(head);
	head = stub_head(f->stub, "GET " FOLDER, 0);
	check_signature(head, NULL, 0);
	value = stub_header(head, "If-Match");
	assert_string_equal(value, "\"0x1\"");
	free(value);
	value = stub_header(head, "x-ms-range");
	assert_string_equal(value, "bytes=0-5");
	free(value);
	free(head);
	context_unref(ctx);
	buf_free(&out);
}

/* A file that is not what was listed is an error that says so, never other bytes. */
static void test_read_wrong(void **state)
{
	static const struct {
		int status;
		const char *range;
		const char *body;
		int code;
		const char *text;
	} cases[] = {
		{412, "", "", -EIO, "changed since it was listed"},
		{416, "", "", -EIO, "changed since it was listed"},
		{404, "", "<Error><Code>BlobNotFound</Code><Message>m</Message></Error>", -ENOENT,
		 "BlobNotFound"},
		{206, "Content-Range: bytes 0-5/7\r\n", "hello\n", -EIO, "changed"},
		{206, "Content-Range: bytes 1-6/6\r\n", "hello\n", -EBADMSG, "another part"},
		{206, "", "hello\n", -EBADMSG, "Content-Range"},
		{206, "Content-Range: bytes 0-5/6\r\n", "hell", -EIO, "4 came"},
		{206, "Content-Range: bytes 0-5/6\r\n", "hello\n!", -EFBIG, "more than 6"},
		{206, "Content-Range: bytes 0-5/6\r\n", "HELLO\n", -EIO, "their MD5 is"},
		{200, "", "HELLO\n", -EIO, "their MD5 is"},
	};
	struct arm_fixture *f = *state;
	struct context *ctx = NULL;
	struct buf out = BUF_INIT(100);

	add_store(f);
	stub_json(f->stub, LIST, 200,
		  XML(BLOB("LocalUpload/h/ctx/a",
			   "<Content-MD5>sZRqySSS0jR8YjW00mERhA==</Content-MD5>"),
		      ""));
	assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct stub_rule rule = {.match = "GET " FOLDER "a ",
					 .status = cases[i].status,
					 .headers = cases[i].range,
					 .body = cases[i].body,
					 /* Wrong bytes are asked for once more. */
					 .times = strstr(cases[i].text, "MD5") ? 2 : 1};
		int rc;

		stub_add(f->stub, &rule);
		rc = read_file(f, f->workspace, ctx, 0, 100, &out);
		if (rc != cases[i].code || !strstr(f->err.msg, cases[i].text))
			fail_msg("case %zu: %d %s", i, rc, f->err.msg);
		assert_int_equal(out.len, 0);
	}
	context_unref(ctx);
	buf_free(&out);
}

/* A part has no checksum of its own; it must be exactly that part. */
static void test_read_part(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule part = {.match = "GET " FOLDER "a ",
				 .contain = "x-ms-range: bytes=2-3\r\n",
				 .status = 206,
				 .headers = "Content-Range: bytes 2-3/6\r\n",
				 .body = "ll",
				 .times = 1};
	struct stub_rule whole = {.match = "GET " FOLDER "a ", .body = "he"};
	struct context *ctx = NULL;
	struct buf out = BUF_INIT(100);

	add_store(f);
	stub_json(f->stub, LIST, 200, XML(BLOB("LocalUpload/h/ctx/a", ""), ""));
	assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), 0);
	stub_add(f->stub, &part);
	stub_add(f->stub, &whole);
	assert_int_equal(read_file(f, f->workspace, ctx, 2, 2, &out), 0);
	assert_string_equal(buf_str(&out), "ll");
	assert_int_equal(read_file(f, f->workspace, ctx, 2, 2, &out), -EBADMSG);
	context_unref(ctx);
	buf_free(&out);
}

static void test_sas_is_renewed(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule old = {
		.match = SECRET,
		.body = "{\"secretsType\":\"Sas\",\"sasToken\":\"?sv=1&sig=old%3D\"}",
		.times = 1};
	struct stub_rule good = {
		.match = LIST, .contain = "&sv=1&sig=new%3D ", .body = XML("", "")};
	struct context *ctx = NULL;
	char *head;

	stub_json(f->stub, STORES, 200, STORE("Sas"));
	stub_add(f->stub, &old);
	stub_json(f->stub, SECRET, 200,
		  "{\"secretsType\":\"Sas\",\"sasToken\":\"sv=1&sig=new%3D\"}");
	stub_add(f->stub, &good);
	stub_json(f->stub, "GET /acct/", 403,
		  "<Error><Code>AuthenticationFailed</Code><Message>m</Message></Error>");
	assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), 0);
	assert_int_equal(ctx->n_files, 0);
	assert_int_equal(stub_count(f->stub, SECRET), 2);
	assert_int_equal(stub_count(f->stub, "GET /acct/"), 2);
	head = stub_head(f->stub, "GET /acct/", 0);
	assert_null(stub_header(head, "Authorization"));
	free(head);
	context_unref(ctx);
	/* Refused for good: once more with a new one, then the error, without the signature. */
	stub_clear(f->stub);
	stub_json(f->stub, SECRET, 200,
		  "{\"secretsType\":\"Sas\",\"sasToken\":\"sv=1&sig=newest%3D\"}");
	stub_json(f->stub, "GET /acct/", 403,
		  "<Error><Code>AuthenticationFailed</Code><Message>m</Message></Error>");
	assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), -EACCES);
	assert_int_equal(stub_count(f->stub, "GET /acct/"), 4);
	assert_null(strstr(f->err.msg, "newest"));
	assert_non_null(strstr(f->err.msg, "AuthenticationFailed: m"));
}

/* Readers may not list secrets; and a datastore of type None has none: our token then. */
static void test_bearer(void **state)
{
	static const char *const stores[] = {STORE("None"), STORE("AccountKey")};
	struct arm_fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		struct arm_conf conf = {.subscription = "s1"};
		struct context *ctx = NULL;
		char *head, *value;

		arm_fixture_remake(f, &conf);
		stub_clear(f->stub);
		stub_json(f->stub, STORES, 200, stores[i]);
		stub_json(f->stub, SECRET, 403, "{}");
		stub_json(f->stub, LIST, 200, XML("", ""));
		assert_int_equal(list_context(f, f->workspace, FOLDER, &ctx), 0);
		context_unref(ctx);
		head = stub_head(f->stub, "GET /acct/", i);
		value = stub_header(head, "Authorization");
		assert_string_equal(value, "Bearer tok-secret");
		free(value);
		value = stub_header(head, "x-ms-version");
		assert_string_equal(value, "2021-12-02");
		free(value);
		free(head);
	}
}

/* The datastore's key is for its own account, container and host; nobody else gets anything. */
static void test_foreign_places(void **state)
{
	struct arm_fixture *f = *state;
	struct stub *evil = stub_start(NULL);
	struct context *ctx = NULL;
	char uri[128], *head, *value;

	add_store(f);
	stub_json(f->stub, "GET /acct/other?", 200, XML("", ""));
	snprintf(uri, sizeof(uri), "%s/acct/c1/p/", stub_base(evil));
	assert_int_equal(list_context(f, f->workspace, uri, &ctx), -EACCES);
	assert_non_null(strstr(f->err.msg, "belongs to no datastore"));
	assert_int_equal(stub_count(evil, ""), 0);
	assert_int_equal(stub_connections(evil), 0);
	/* Another container of the same host is asked for with our token, not with the key. */
	assert_int_equal(list_context(f, f->workspace, "/acct/other/p/", &ctx), 0);
	context_unref(ctx);
	head = stub_head(f->stub, "GET /acct/other", 0);
	value = stub_header(head, "Authorization");
	assert_string_equal(value, "Bearer tok-secret");
	free(value);
	free(head);
	assert_int_equal(stub_count(f->stub, SECRET), 0);
	stub_stop(evil);
}

static void test_notes(void **state)
{
	static const char *const uris[] = {"https://github.com/o/r.git#main:sub",
					   "git@github.com:o/r.git", "https://example.com/x/y"};
	struct arm_fixture *f = *state;
	struct version none = {.env = "e", .version = "1"};
	struct context *ctx = NULL;

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(list_context(f, f->workspace, uris[i], &ctx), 0);
		assert_int_equal(ctx->n_files, 0);
		assert_non_null(ctx->note);
		assert_string_equal(ctx->uri, uris[i]);
		context_unref(ctx);
	}
	assert_int_equal(f->source->ops->list_context(f->source, f->workspace, &none, &f->call,
						      &ctx, &f->err),
			 -EINVAL);
	assert_int_equal(stub_count(f->stub, ""), 0);
}

/* ---- contexts of a registry ---- */

#define DATAREF "POST " REG "/datarefs/e1/versions/1?api-version=2021-10-01-dataplanepreview "
#define REF(container)                                                                   \
	"{\"blobReferenceForConsumption\":{\"blobUri\":\"{base}/acct/" container "\","   \
	"\"credential\":{\"credentialType\":\"SAS\",\"sasUri\":\"{base}/acct/" container \
	"?sr=c&sig=regsig%3D\"}}}"

static void test_registry_context(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule content = {.match = "GET " FOLDER "a?sr=c&sig=regsig%3D ",
				    .body = "hello\n"};
	struct context *ctx = NULL;
	struct buf out = BUF_INIT(100);
	char *body;

	stub_json(f->stub, DATAREF, 200, REF("c1"));
	stub_json(f->stub, LIST, 200, XML(BLOB("LocalUpload/h/ctx/a", ""), ""));
	stub_add(f->stub, &content);
	assert_int_equal(list_context(f, f->registry, FOLDER, &ctx), 0);
	assert_int_equal(read_file(f, f->registry, ctx, 0, 6, &out), 0);
	assert_string_equal(buf_str(&out), "hello\n");
	assert_int_equal(stub_count(f->stub, ""), 3);
	body = stub_body(f->stub, DATAREF, 0, NULL);
	assert_non_null(strstr(body, "\"azureml://registries/r1/environments/e1/versions/1\""));
	assert_non_null(strstr(body, FOLDER));
	free(body);
	context_unref(ctx);
	buf_free(&out);
}

static void test_registry_other_container(void **state)
{
	struct arm_fixture *f = *state;
	struct context *ctx = NULL;

	stub_json(f->stub, DATAREF, 200, REF("c2"));
	assert_int_equal(list_context(f, f->registry, FOLDER, &ctx), -EBADMSG);
	assert_int_equal(stub_count(f->stub, ""), 1);
}

/* ---- uploading ---- */

#define HASH  "cf6f2ddf6d387def1f1e68a4e7aa7b18"
#define UP    "/acct/c1/LocalUpload/" HASH "/context/"
#define OLDUP "/acct/c1/az-ml-artifacts/" HASH "/context/"

static int memfile(const char *text, size_t len)
{
	int fd = memfd_create("upload", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	return fd;
}

static int upload(struct arm_fixture *f, struct scope *scope, char **uri)
{
	static const char *const text[][2] = {
		{"B.txt", "x\n"},
		{"Dockerfile", "FROM ubuntu:22.04\nCOPY a.txt /a.txt\n"},
		{"a.txt", "hello\n"},
		{"sub/requirements.txt", "numpy==1.26.4\n"}};
	struct upload_file files[4];
	int rc;

	for (size_t i = 0; i < 4; i++)
		files[i] = (struct upload_file){.path = text[i][0],
						.fd = memfile(text[i][1], strlen(text[i][1])),
						.size = strlen(text[i][1])};
	*uri = NULL;
	rc = f->source->ops->upload_context(f->source, scope, "my env", "1", files, 4, &f->call,
					    uri, &f->err);
	for (size_t i = 0; i < 4; i++)
		close(files[i].fd);
	return rc;
}

static void test_upload(void **state)
{
	struct arm_fixture *f = *state;
	struct kv params[] = {{"comp", "metadata"}};
	char *uri, *head, *value, *body, expected[256];

	add_store(f);
	stub_json(f->stub, "HEAD " UP "B.txt ", 404, NULL);
	stub_json(f->stub, "PUT " UP, 201, "");
	assert_int_equal(upload(f, f->workspace, &uri), 0);
	snprintf(expected, sizeof(expected), "%s" UP, stub_base(f->stub));
	assert_string_equal(uri, expected);
	free(uri);
	assert_int_equal(stub_count(f->stub, "HEAD "), 1);
	assert_int_equal(stub_count(f->stub, "PUT " UP), 5);
	for (unsigned int i = 0; i < 4; i++) {
		head = stub_head(f->stub, "PUT ", i);
		check_signature(head, NULL, 0);
		value = stub_header(head, "If-None-Match");
		assert_string_equal(value, "*");
		free(value);
		free(head);
	}
	head = stub_head(f->stub, "PUT " UP "a.txt ", 0);
	value = stub_header(head, "Content-MD5");
	assert_string_equal(value, "sZRqySSS0jR8YjW00mERhA==");
	free(value);
	free(head);
	body = stub_body(f->stub, "PUT " UP "sub/requirements.txt ", 0, NULL);
	assert_string_equal(body, "numpy==1.26.4\n");
	free(body);
	head = stub_head(f->stub, "PUT " UP "B.txt?comp=metadata ", 0);
	check_signature(head, params, 1);
	value = stub_header(head, "x-ms-meta-upload_status");
	assert_string_equal(value, "completed");
	free(value);
	value = stub_header(head, "x-ms-meta-version");
	assert_string_equal(value, "1");
	free(value);
	free(head);
}

static void test_upload_is_there(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule done = {.match = "HEAD " UP "B.txt ",
				 .headers = "x-ms-meta-upload_status: completed\r\n"};
	struct stub_rule old = {.match = "HEAD " OLDUP "B.txt ",
				.headers = "x-ms-meta-upload_status: completed\r\n"};
	char *uri;

	add_store(f);
	stub_add(f->stub, &done);
	stub_json(f->stub, "HEAD " OLDUP, 404, NULL);
	assert_int_equal(upload(f, f->workspace, &uri), 0);
	assert_non_null(strstr(uri, UP));
	free(uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 0);
	stub_clear(f->stub);
	stub_add(f->stub, &done);
	stub_add(f->stub, &old);
	assert_int_equal(upload(f, f->workspace, &uri), 0);
	assert_non_null(strstr(uri, OLDUP));
	free(uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 0);
}

/* An upload that broke off: what is there is sent again, over it. */
static void test_upload_unfinished(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule taken = {.match = "PUT " UP, .contain = "If-None-Match: *", .status = 409};
	char *uri;

	add_store(f);
	stub_json(f->stub, "HEAD " UP, 200, NULL);
	stub_json(f->stub, "HEAD " OLDUP, 404, NULL);
	stub_add(f->stub, &taken);
	stub_json(f->stub, "PUT " UP, 201, "");
	assert_int_equal(upload(f, f->workspace, &uri), 0);
	free(uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 5);
	/* The first is missing but others are there. */
	stub_clear(f->stub);
	stub_json(f->stub, "HEAD " UP, 404, NULL);
	stub_add(f->stub, &taken);
	stub_json(f->stub, "PUT " UP, 201, "");
	assert_int_equal(upload(f, f->workspace, &uri), 0);
	free(uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 5 + 4 * 2 + 1);
}

static void test_upload_fails(void **state)
{
	struct arm_fixture *f = *state;
	char *uri;

	add_store(f);
	stub_json(f->stub, "HEAD " UP, 404, NULL);
	stub_json(f->stub, "PUT " UP "Dockerfile ", 500,
		  "<Error><Code>InternalError</Code><Message>m</Message></Error>");
	stub_json(f->stub, "PUT " UP, 201, "");
	assert_int_equal(upload(f, f->workspace, &uri), -EIO);
	assert_null(uri);
	assert_non_null(strstr(f->err.msg, "InternalError"));
	assert_int_equal(stub_count(f->stub, "PUT " UP "B.txt?comp=metadata"), 0);
}

static void test_upload_large(void **state)
{
	struct arm_fixture *f = *state;
	size_t size = BLOB_PART_MAX + 10, len;
	char *data = malloc(size), *uri = NULL, *body, *head, *value;
	struct upload_file file = {.path = "big", .size = size};

	assert_non_null(data);
	memset(data, 'q', size);
	file.fd = memfile(data, size);
	free(data);
	add_store(f);
	stub_json(f->stub, "HEAD ", 404, NULL);
	stub_json(f->stub, "PUT ", 201, "");
	assert_int_equal(f->source->ops->upload_context(f->source, f->workspace, "e", "1", &file, 1,
							&f->call, &uri, &f->err),
			 0);
	free(uri);
	assert_int_equal(stub_count(f->stub, "PUT "), 4);
	body = stub_body(f->stub, "PUT ", 1, &len);
	assert_int_equal(len, 10);
	free(body);
	body = stub_body(f->stub, "PUT ", 2, NULL);
	assert_non_null(strstr(body, "<BlockList><Latest>"));
	free(body);
	head = stub_head(f->stub, "PUT ", 2);
	assert_non_null(strstr(head, "?comp=blocklist "));
	value = stub_header(head, "x-ms-blob-content-md5");
	assert_int_equal(strlen(value), 24);
	free(value);
	free(head);
	close(file.fd);
}

static void test_upload_registry(void **state)
{
	struct arm_fixture *f = *state;
	char *uri, *body, expected[256];

	stub_json(f->stub, "PUT " REG "/tempdatarefs/my%20env/versions/1?", 200, REF("fresh"));
	stub_json(f->stub, "HEAD /acct/fresh/context/B.txt?sr=c&sig=regsig%3D ", 404, NULL);
	stub_json(f->stub, "PUT /acct/fresh/context/", 201, "");
	assert_int_equal(upload(f, f->registry, &uri), 0);
	snprintf(expected, sizeof(expected), "%s/acct/fresh/context/", stub_base(f->stub));
	assert_string_equal(uri, expected);
	free(uri);
	body = stub_body(f->stub, "PUT " REG, 0, NULL);
	assert_non_null(strstr(body, "\"TemporaryBlobReference\""));
	free(body);
	stub_clear(f->stub);
	stub_json(f->stub, "PUT " REG, 409, "{}");
	assert_int_equal(upload(f, f->registry, &uri), -EEXIST);
}

static void test_upload_empty(void **state)
{
	struct arm_fixture *f = *state;
	char *uri = NULL;

	assert_int_equal(f->source->ops->upload_context(f->source, f->workspace, "e", "1", NULL, 0,
							&f->call, &uri, &f->err),
			 -EINVAL);
	assert_int_equal(stub_count(f->stub, ""), 0);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_bad_pages),
		cmocka_unit_test(test_long_name),
		WITH_SOURCE(test_list_and_read),
		WITH_SOURCE(test_read_wrong),
		WITH_SOURCE(test_read_part),
		WITH_SOURCE(test_sas_is_renewed),
		WITH_SOURCE(test_bearer),
		WITH_SOURCE(test_foreign_places),
		WITH_SOURCE(test_notes),
		WITH_SOURCE(test_registry_context),
		WITH_SOURCE(test_registry_other_container),
		WITH_SOURCE(test_upload),
		WITH_SOURCE(test_upload_is_there),
		WITH_SOURCE(test_upload_unfinished),
		WITH_SOURCE(test_upload_fails),
		WITH_SOURCE(test_upload_large),
		WITH_SOURCE(test_upload_registry),
		WITH_SOURCE(test_upload_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
