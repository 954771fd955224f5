/* Put Blob From URL, asked through blobs_handle(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "emulator/blob_store.h"
#include "emulator/db.h"
#include "tests/unit/blobs_fixture.h"

#define BASE   "http://127.0.0.1:1"
#define CHUNKS "SELECT count(*) FROM blob_chunk"
#define MD5    "sZRqySSS0jR8YjW00mERhA==" /* of "hello\n" */

#define FROM(url)                       \
	{                               \
		"x-ms-copy-source", url \
	}
#define BY_TOKEN                                                  \
	{                                                         \
		"x-ms-copy-source-authorization", "Bearer " TOKEN \
	}

/* Copies with the token for both ends, and further headers. */
#define COPY(t, to, from, ...) \
	CALL(t, "PUT", to, NULL, 0, BLOCKBLOB, FROM(BASE from), BY_TOKEN, __VA_ARGS__)

static void bytes_are_shared(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a%20b", "hello\n");
	assert_int_equal(COPY(t, C1 "/d/copy", C1 "/a%20b", NONE), 201);
	assert_string_equal(reply_header(t, "Content-MD5"), MD5);
	assert_string_equal(reply_header(t, "x-ms-request-server-encrypted"), "true");
	assert_memory_equal(reply_header(t, "ETag"), "\"0x8D", 5);
	assert_string_not_equal(reply_header(t, "Last-Modified"), "(absent)");
	assert_blob(t, C1 "/d/copy", "hello\n");
	assert_int_equal(store_rows(t, CHUNKS), 1);
	/* Each lives on without the other. */
	put_blob(t, C1 "/a%20b", "changed");
	assert_blob(t, C1 "/d/copy", "hello\n");
	assert_int_equal(store_rows(t, CHUNKS), 2);
	assert_int_equal(COPY(t, C1 "/third", C1 "/d/copy", NONE), 201);
	assert_int_equal(CALL(t, "DELETE", C1 "/d/copy", NULL, 0, NONE), 202);
	assert_blob(t, C1 "/third", "hello\n");
	assert_int_equal(CALL(t, "DELETE", C1 "/third", NULL, 0, NONE), 202);
	assert_int_equal(store_rows(t, CHUNKS), 1);
	assert_int_equal(CALL(t, "DELETE", C1 "/a%20b", NULL, 0, NONE), 202);
	assert_int_equal(store_rows(t, CHUNKS), 0);
}

static void over_what_is_there(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a", "hello\n");
	put_blob(t, C1 "/b", "old");
	assert_int_equal(CALL(t, "PUT", C1 "/b?comp=block&blockid=QUE%3D", "uncommitted", 11, NONE),
			 201);
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", NONE), 201);
	assert_blob(t, C1 "/b", "hello\n");
	assert_int_equal(store_rows(t, CHUNKS), 1);
	/* Onto itself. */
	assert_int_equal(COPY(t, C1 "/b", C1 "/b", NONE), 201);
	assert_blob(t, C1 "/b", "hello\n");
	assert_int_equal(COPY(t, C1 "/b", C1 "/b", {"If-None-Match", "*"}), 409);
	assert_blob_error(t, 409, "BlobAlreadyExists");
	COPY(t, C1 "/b", C1 "/a", {"If-Match", "\"0x1\""});
	assert_blob_error(t, 412, "ConditionNotMet");
	/* Another container, and a blob without bytes. */
	assert_int_equal(blobs_create_container(&t->emu, "c-2", NULL), 0);
	assert_int_equal(COPY(t, "/mlenvfslocal/c-2/x", C1 "/a", {"If-None-Match", "*"}), 201);
	assert_blob(t, "/mlenvfslocal/c-2/x", "hello\n");
	put_blob(t, C1 "/empty", "");
	assert_int_equal(COPY(t, C1 "/b", C1 "/empty", NONE), 201);
	assert_blob(t, C1 "/b", "");
	assert_int_equal(store_rows(t, CHUNKS), 1);
}

static void put_blocks(struct test *t, const char *list)
{
	assert_int_equal(CALL(t, "PUT", C1 "/big?comp=blocklist", list, strlen(list), NONE), 201);
}

static void of_blocks(void **state)
{
	struct test *t = *state;

	assert_int_equal(CALL(t, "PUT", C1 "/big?comp=block&blockid=QUE%3D", "one ", 4, NONE), 201);
	assert_int_equal(CALL(t, "PUT", C1 "/big?comp=block&blockid=QUI%3D", "two", 3, NONE), 201);
	put_blocks(t, "<BlockList><Latest>QUE=</Latest><Latest>QUI=</Latest></BlockList>");
	assert_int_equal(COPY(t, C1 "/copy", C1 "/big",
			      {"x-ms-source-content-md5", "1aM+pdXtv+v5EZA8QfDQTg=="}),
			 400);
	assert_blob_error(t, 400, "Md5Mismatch");
	assert_int_equal(COPY(t, C1 "/copy", C1 "/big", NONE), 201);
	assert_string_equal(reply_header(t, "Content-MD5"), "(absent)");
	assert_blob(t, C1 "/copy", "one two");
	/* A block that the original gives up stays the copy's. */
	put_blocks(t, "<BlockList><Committed>QUI=</Committed></BlockList>");
	assert_blob(t, C1 "/big", "two");
	assert_blob(t, C1 "/copy", "one two");
	assert_int_equal(store_rows(t, CHUNKS), 2);
	/* Its own blocks a copy has not. */
	CALL(t, "PUT", C1 "/copy?comp=blocklist",
	     "<BlockList><Committed>QUI=</Committed></BlockList>", 50, NONE);
	assert_blob_error(t, 400, "InvalidBlockList");
	assert_int_equal(CALL(t, "DELETE", C1 "/copy", NULL, 0, NONE), 202);
	assert_int_equal(store_rows(t, CHUNKS), 1);
}

/* The source's bytes are looked at, whatever its properties say of them. */
static void md5_of_the_source(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a", "hello\n");
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", {"x-ms-source-content-md5", MD5}), 201);
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="});
	assert_blob_error(t, 400, "Md5Mismatch");
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-content-md5", "abc"});
	assert_blob_error(t, 400, "InvalidMd5");
	assert_int_equal(CALL(t, "PUT", C1 "/lie?comp=block&blockid=QUE%3D", "hello\n", 6, NONE),
			 201);
	assert_int_equal(CALL(t, "PUT", C1 "/lie?comp=blocklist",
			      "<BlockList><Latest>QUE=</Latest></BlockList>", 44,
			      {"x-ms-blob-content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="}),
			 201);
	COPY(t, C1 "/c", C1 "/lie", {"x-ms-source-content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="});
	assert_blob_error(t, 400, "Md5Mismatch");
	assert_int_equal(COPY(t, C1 "/c", C1 "/lie", {"x-ms-source-content-md5", MD5}), 201);
	assert_string_equal(reply_header(t, "Content-MD5"), MD5);
}

static void properties_come_along(void **state)
{
	struct test *t = *state;

	assert_int_equal(CALL(t, "PUT", C1 "/a", "x", 1, BLOCKBLOB, {"Content-Type", "text/plain"},
			      {"Content-Language", "en"}, {"x-ms-meta-upload_status", "completed"}),
			 201);
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", NONE), 201);
	CALL(t, "HEAD", C1 "/b", NULL, 0, NONE);
	assert_string_equal(t->reply.content_type, "text/plain");
	assert_string_equal(reply_header(t, "Content-Language"), "en");
	assert_string_equal(reply_header(t, "x-ms-meta-upload_status"), "completed");
	/* What the request says counts, and metadata as a whole. */
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", {"x-ms-blob-content-type", "text/x-yaml"},
			      {"x-ms-meta-n", "1"}),
			 201);
	CALL(t, "HEAD", C1 "/b", NULL, 0, NONE);
	assert_string_equal(t->reply.content_type, "text/x-yaml");
	assert_string_equal(reply_header(t, "x-ms-meta-n"), "1");
	assert_string_equal(reply_header(t, "x-ms-meta-upload_status"), "(absent)");
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", {"x-ms-copy-source-blob-properties", "false"}),
			 201);
	CALL(t, "HEAD", C1 "/b", NULL, 0, NONE);
	assert_string_equal(t->reply.content_type, "application/octet-stream");
	assert_string_equal(reply_header(t, "Content-Language"), "(absent)");
	assert_string_equal(reply_header(t, "x-ms-meta-upload_status"), "(absent)");
	COPY(t, C1 "/b", C1 "/a", {"x-ms-meta-a-b", "1"});
	assert_blob_error(t, 400, "InvalidMetadata");
}

static void conditions_of_the_source(void **state)
{
	static const char past[] = "Wed, 14 Sep 2022 20:33:51 GMT";
	static const char future[] = "Wed, 14 Sep 2199 20:33:51 GMT";
	struct test *t = *state;
	char etag[64];

	put_blob(t, C1 "/a", "x");
	snprintf(etag, sizeof(etag), "%s", reply_header(t, "ETag"));
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-match", etag},
			      {"x-ms-source-if-modified-since", past}),
			 201);
	assert_int_equal(COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-none-match", "\"0x1\""},
			      {"x-ms-source-if-unmodified-since", future}),
			 201);
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-match", "\"0x1\""});
	assert_blob_error(t, 412, "SourceConditionNotMet");
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-none-match", etag});
	assert_blob_error(t, 412, "SourceConditionNotMet");
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-modified-since", future});
	assert_blob_error(t, 412, "SourceConditionNotMet");
	COPY(t, C1 "/b", C1 "/a", {"x-ms-source-if-unmodified-since", past});
	assert_blob_error(t, 412, "SourceConditionNotMet");
}

static void bad_sources(void **state)
{
	static const char *const urls[] = {
		"",
		"/mlenvfslocal/c-1/a",
		"http://127.0.0.2:1" C1 "/a",
		"https://127.0.0.1:1" C1 "/a",
		BASE "/other/c-1/a",
		BASE "0" C1 "/a",
		BASE C1,
		BASE C1 "/%zz",
		BASE C1 "/a?x=%z",
		BASE "/mlenvfslocal/No/a",
	};
	struct test *t = *state;
	char url[4096];

	put_blob(t, C1 "/a", "x");
	for (size_t i = 0; i < COUNT(urls); i++) {
		CALL(t, "PUT", C1 "/b", NULL, 0, BLOCKBLOB, FROM(urls[i]), BY_TOKEN);
		assert_blob_error(t, 400, "InvalidHeaderValue");
	}
	memset(url, 'a', sizeof(url));
	memcpy(url, BASE C1 "/", strlen(BASE C1 "/"));
	url[sizeof(url) - 1] = '\0';
	CALL(t, "PUT", C1 "/b", NULL, 0, BLOCKBLOB, FROM(url), BY_TOKEN);
	assert_blob_error(t, 400, "InvalidHeaderValue");
	COPY(t, C1 "/b", C1 "/none", NONE);
	assert_blob_error(t, 404, "CannotVerifyCopySource");
	COPY(t, C1 "/b", "/mlenvfslocal/c-9/a", NONE);
	assert_blob_error(t, 404, "CannotVerifyCopySource");
	COPY(t, "/mlenvfslocal/c-9/b", C1 "/a", NONE);
	assert_blob_error(t, 404, "ContainerNotFound");
	/* A body, and the older call without a type. */
	CALL(t, "PUT", C1 "/b", "x", 1, BLOCKBLOB, FROM(BASE C1 "/a"), BY_TOKEN);
	assert_blob_error(t, 400, "InvalidHeaderValue");
	CALL(t, "PUT", C1 "/b", NULL, 0, FROM(BASE C1 "/a"));
	assert_blob_error(t, 400, "UnsupportedHeader");
	CALL(t, "GET", C1 "/b", NULL, 0, NONE);
	assert_blob_error(t, 404, "BlobNotFound");
	put_blob(t, C1 "/b", "the store is free for others");
}

/* Copies with a SAS of that container and those permissions for the source. */
static int copy_with(struct test *t, const char *container, const char *permissions)
{
	char sas[512], url[1024];

	assert_int_equal(
		blobs_make_sas(&t->emu, container, permissions, 60, sas, sizeof(sas), NULL), 0);
	snprintf(url, sizeof(url), BASE C1 "/a?%s", sas);
	return CALL(t, "PUT", C1 "/b", NULL, 0, BLOCKBLOB, FROM(url));
}

static void rights(void **state)
{
	struct test *t = *state;
	char sas[512], whole[1024], url[1024];

	put_blob(t, C1 "/a", "x");
	assert_int_equal(copy_with(t, "c-1", "r"), 201);
	assert_int_equal(copy_with(t, "c-1", "wcld"), 403);
	assert_blob_error(t, 403, "CannotVerifyCopySource");
	assert_int_equal(copy_with(t, "c-2", "r"), 403);
	assert_blob_error(t, 403, "CannotVerifyCopySource");
	assert_null(strstr(reply_body(t), "sig="));
	/* What lets the request in does not let it read the source. */
	CALL(t, "PUT", C1 "/b", NULL, 0, BLOCKBLOB, FROM(BASE C1 "/a"));
	assert_blob_error(t, 401, "CannotVerifyCopySource");
	CALL(t, "PUT", C1 "/b", NULL, 0, BLOCKBLOB, FROM(BASE C1 "/a"),
	     {"x-ms-copy-source-authorization", "Bearer other"});
	assert_blob_error(t, 401, "CannotVerifyCopySource");
	/* Nor the other way round. */
	assert_int_equal(blobs_make_sas(&t->emu, "c-1", "rc", 60, sas, sizeof(sas), NULL), 0);
	snprintf(whole, sizeof(whole), C1 "/b?%s", sas);
	snprintf(url, sizeof(url), BASE C1 "/a?%s", sas);
	RAW(t, "PUT", whole, NULL, 0, BLOCKBLOB, FROM(url));
	assert_blob_error(t, 403, "AuthorizationPermissionMismatch");
	snprintf(whole, sizeof(whole), C1 "/new?%s", sas);
	assert_int_equal(RAW(t, "PUT", whole, NULL, 0, BLOCKBLOB, FROM(url)), 201);
	assert_blob(t, C1 "/new", "x");
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, blobs_setup, blobs_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(bytes_are_shared),
		WITH_STORE(over_what_is_there),
		WITH_STORE(of_blocks),
		WITH_STORE(md5_of_the_source),
		WITH_STORE(properties_come_along),
		WITH_STORE(conditions_of_the_source),
		WITH_STORE(bad_sources),
		WITH_STORE(rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
