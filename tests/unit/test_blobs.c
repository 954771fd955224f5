/* The Blob Storage calls, asked through blobs_handle(). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/clock.h"
#include "emulator/blob_date.h"
#include "emulator/blob_store.h"
#include "emulator/faults.h"
#include "emulator/reply.h"
#include "tests/unit/blobs_fixture.h"

static void containers(void **state)
{
	struct test *t = *state;

	assert_int_equal(CALL(t, "PUT", "/mlenvfslocal/new-1?restype=container", NULL, 0, NONE),
			 201);
	assert_memory_equal(reply_header(t, "ETag"), "\"0x8D", 5);
	CALL(t, "PUT", "/mlenvfslocal/new-1?restype=container", NULL, 0, NONE);
	assert_blob_error(t, 409, "ContainerAlreadyExists");
	assert_int_equal(CALL(t, "GET", "/mlenvfslocal/new-1?restype=container", NULL, 0, NONE),
			 200);
	assert_string_equal(reply_header(t, "x-ms-lease-state"), "available");
	assert_int_equal(CALL(t, "HEAD", "/mlenvfslocal/new-1/?restype=container", NULL, 0, NONE),
			 200);
	assert_true(t->reply.head_only);
	CALL(t, "HEAD", "/mlenvfslocal/new-2?restype=container", NULL, 0, NONE);
	assert_blob_error(t, 404, "ContainerNotFound");
	CALL(t, "PUT", "/mlenvfslocal/Bad_Name?restype=container", NULL, 0, NONE);
	assert_blob_error(t, 400, "InvalidResourceName");
	CALL(t, "PUT", "/mlenvfslocal/a--b?restype=container", NULL, 0, NONE);
	assert_blob_error(t, 400, "InvalidResourceName");
	CALL(t, "GET", "/mlenvfslocal/new-1", NULL, 0, NONE);
	assert_blob_error(t, 404, "ResourceNotFound");
	CALL(t, "GET", "/mlenvfslocal/new-1?restype=container&comp=acl", NULL, 0, NONE);
	assert_blob_error(t, 400, "InvalidQueryParameterValue");
	CALL(t, "POST", "/mlenvfslocal/new-1?restype=container", NULL, 0, NONE);
	assert_blob_error(t, 405, "UnsupportedHttpVerb");
	CALL(t, "GET", "/mlenvfslocal", NULL, 0, NONE);
	assert_blob_error(t, 400, "InvalidUri");
	assert_int_equal(blobs_create_container(&t->emu, "new-1", NULL), 0);
	assert_int_equal(blobs_create_container(&t->emu, "../x", NULL), -EINVAL);
}

/* The headers of recording 10 (HEAD of a blob) and 11 (HEAD of none). */
static void head_as_recorded(void **state)
{
	static const char *const recorded[] = {
		"Accept-Ranges",
		"Content-MD5",
		"ETag",
		"Last-Modified",
		"Vary",
		"x-ms-access-tier",
		"x-ms-access-tier-inferred",
		"x-ms-blob-type",
		"x-ms-creation-time",
		"x-ms-lease-state",
		"x-ms-lease-status",
		"x-ms-meta-name",
		"x-ms-meta-upload_status",
		"x-ms-meta-version",
		"x-ms-server-encrypted",
		"x-ms-version",
		"x-ms-request-id",
	};
	struct test *t = *state;
	int64_t when;
	size_t i;

	CALL(t, "HEAD", C1 "/d/f", NULL, 0, NONE);
	assert_blob_error(t, 404, "BlobNotFound");
	assert_int_equal(t->reply.content_length, 0);

	assert_int_equal(CALL(t, "PUT", C1 "/d/f", "hello\n", 6, BLOCKBLOB,
			      {"content-md5", "sZRqySSS0jR8YjW00mERhA=="},
			      {"Content-Type", "application/octet-stream"}, {"If-None-Match", "*"},
			      {"x-ms-client-request-id", "me"}),
			 201);
	assert_string_equal(reply_header(t, "Content-MD5"), "sZRqySSS0jR8YjW00mERhA==");
	assert_string_equal(reply_header(t, "x-ms-request-server-encrypted"), "true");
	assert_string_equal(reply_header(t, "x-ms-client-request-id"), "me");
	assert_int_equal(CALL(t, "PUT", C1 "/d/f?comp=metadata", NULL, 0,
			      {"x-ms-meta-upload_status", "completed"}, {"X-Ms-Meta-name", "env"},
			      {"x-ms-meta-version", "1"}),
			 200);
	assert_int_equal(CALL(t, "HEAD", C1 "/d/f", NULL, 0, {"x-ms-version", "2021-06-08"}), 200);
	for (i = 0; i < COUNT(recorded); i++)
		if (strcmp(reply_header(t, recorded[i]), "(absent)") == 0)
			fail_msg("no header %s", recorded[i]);
	assert_true(t->reply.head_only);
	assert_int_equal(t->reply.content_length, 6);
	assert_string_equal(t->reply.content_type, "application/octet-stream");
	assert_string_equal(reply_header(t, "x-ms-version"), "2021-06-08");
	assert_string_equal(reply_header(t, "x-ms-meta-upload_status"), "completed");
	assert_string_equal(reply_header(t, "x-ms-meta-name"), "env");
	assert_int_equal(blob_date_parse(reply_header(t, "Last-Modified"), &when), 0);
	assert_true(llabs(when - clock_wall()) < 100 * NS_PER_S);
}

static void put_is_checked(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a", "first");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB, {"If-None-Match", "*"});
	assert_blob_error(t, 409, "BlobAlreadyExists");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB,
	     {"Content-MD5", "sZRqySSS0jR8YjW00mERhA=="});
	assert_blob_error(t, 400, "Md5Mismatch");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB,
	     {"x-ms-blob-content-md5", "sZRqySSS0jR8YjW00mERhA=="});
	assert_blob_error(t, 400, "Md5Mismatch");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB, {"Content-MD5", "abc"});
	assert_blob_error(t, 400, "InvalidMd5");
	CALL(t, "PUT", C1 "/a", "second", 6, NONE);
	assert_blob_error(t, 400, "MissingRequiredHeader");
	CALL(t, "PUT", C1 "/a", "second", 6, {"x-ms-blob-type", "PageBlob"});
	assert_blob_error(t, 400, "InvalidHeaderValue");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB, {"x-ms-meta-a-b", "1"});
	assert_blob_error(t, 400, "InvalidMetadata");
	CALL(t, "PUT", C1 "/a", "second", 6, BLOCKBLOB, {"x-ms-meta-a", "\xff"});
	assert_blob_error(t, 400, "InvalidMetadata");
	CALL(t, "PUT", C1 "/a", NULL, 0, {"x-ms-copy-source", "http://x/"});
	assert_blob_error(t, 400, "UnsupportedHeader");
	CALL(t, "PUT", C1 "/a?comp=lease", NULL, 0, BLOCKBLOB);
	assert_blob_error(t, 400, "InvalidQueryParameterValue");
	CALL(t, "PUT", "/mlenvfslocal/nowhere/a", "second", 6, BLOCKBLOB);
	assert_blob_error(t, 404, "ContainerNotFound");
	assert_blob(t, C1 "/a", "first");
	put_blob(t, C1 "/a", "second");
	assert_blob(t, C1 "/a", "second");
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 1);
}

static void properties_are_kept(void **state)
{
	struct test *t = *state;

	assert_int_equal(CALL(t, "PUT", C1 "/a", "x", 1, BLOCKBLOB, {"Content-Type", "text/plain"},
			      {"x-ms-blob-content-type", "text/x-yaml"}, {"Content-Language", "en"},
			      {"x-ms-blob-content-encoding", "identity"},
			      {"x-ms-blob-content-disposition", "inline"},
			      {"x-ms-blob-cache-control", "no-store"}, {"x-ms-meta-k", "v w"}),
			 201);
	CALL(t, "GET", C1 "/a", NULL, 0, NONE);
	assert_string_equal(t->reply.content_type, "text/x-yaml");
	assert_string_equal(reply_header(t, "Content-Language"), "en");
	assert_string_equal(reply_header(t, "Content-Encoding"), "identity");
	assert_string_equal(reply_header(t, "Content-Disposition"), "inline");
	assert_string_equal(reply_header(t, "Cache-Control"), "no-store");
	assert_string_equal(reply_header(t, "x-ms-meta-k"), "v w");
	/* Set Metadata replaces all of it. */
	assert_int_equal(CALL(t, "PUT", C1 "/a?comp=metadata", NULL, 0, {"x-ms-meta-n", "1"}), 200);
	CALL(t, "GET", C1 "/a", NULL, 0, NONE);
	assert_string_equal(reply_header(t, "x-ms-meta-k"), "(absent)");
	assert_string_equal(reply_header(t, "x-ms-meta-n"), "1");
	CALL(t, "PUT", C1 "/none?comp=metadata", NULL, 0, {"x-ms-meta-n", "1"});
	assert_blob_error(t, 404, "BlobNotFound");
}

static void too_much_metadata(void **state)
{
	struct test *t = *state;
	struct kv headers[40] = {BEARER, BLOCKBLOB};
	char names[40][32], value[2000];
	size_t i;

	for (i = 2; i < COUNT(headers); i++) {
		snprintf(names[i], sizeof(names[i]), "x-ms-meta-n%zu", i);
		headers[i] = (struct kv){names[i], "v"};
	}
	blobs_request(t, "PUT", C1 "/a", headers, COUNT(headers), "x", 1);
	assert_blob_error(t, 400, "MetadataTooLarge");
	assert_int_equal(blobs_request(t, "PUT", C1 "/a", headers, 34, "x", 1), 201);
	CALL(t, "HEAD", C1 "/a", NULL, 0, NONE);
	assert_string_equal(reply_header(t, "x-ms-meta-n33"), "v");
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	CALL(t, "PUT", C1 "/a", "x", 1, BLOCKBLOB, {"x-ms-meta-n", value});
	assert_blob_error(t, 400, "MetadataTooLarge");
}

static void ranges(void **state)
{
	static const struct {
		const char *header, *value, *body, *content_range;
	} good[] = {
		{"Range", "bytes=0-3", "0123", "bytes 0-3/10"},
		{"x-ms-range", "bytes=2-", "23456789", "bytes 2-9/10"},
		{"x-ms-range", "bytes=8-100", "89", "bytes 8-9/10"},
		{"Range", "bytes=0-0", "0", "bytes 0-0/10"},
	};
	static const char *const ignored[] = {"bytes=-3",  "bytes=5-2",
					      "bytes=x",   "bytes=1-2,4-5",
					      "items=0-1", "bytes=99999999999999999999999-"};
	struct test *t = *state;
	size_t i;

	put_blob(t, C1 "/a", "0123456789");
	for (i = 0; i < COUNT(good); i++) {
		assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {good[i].header, good[i].value}),
				 206);
		assert_string_equal(reply_body(t), good[i].body);
		assert_int_equal(t->reply.content_length, strlen(good[i].body));
		assert_string_equal(reply_header(t, "Content-Range"), good[i].content_range);
		assert_string_equal(reply_header(t, "Content-MD5"), "(absent)");
		assert_string_equal(reply_header(t, "x-ms-blob-content-md5"),
				    "eB5eJF1ptWaXm4bijSPyxw==");
	}
	for (i = 0; i < COUNT(ignored); i++)
		assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"Range", ignored[i]}), 200);
	CALL(t, "GET", C1 "/a", NULL, 0, {"x-ms-range", "bytes=10-"});
	assert_blob_error(t, 416, "InvalidRange");
	assert_string_equal(reply_header(t, "Content-Range"), "bytes */10");
	/* x-ms-range counts when both are there. */
	CALL(t, "GET", C1 "/a", NULL, 0, {"Range", "bytes=1-1"}, {"x-ms-range", "bytes=2-2"});
	assert_string_equal(reply_body(t), "2");
	CALL(t, "GET", C1 "/a", NULL, 0, {"x-ms-range", "bytes=0-3"},
	     {"x-ms-range-get-content-md5", "true"});
	assert_string_equal(reply_header(t, "Content-MD5"), "62L2uTBttXXC1ZaxJ5YnpA==");
	CALL(t, "GET", C1 "/a", NULL, 0, {"x-ms-range-get-content-md5", "true"});
	assert_blob_error(t, 400, "InvalidHeaderValue");

	put_blob(t, C1 "/empty", "");
	CALL(t, "GET", C1 "/empty", NULL, 0, {"x-ms-range", "bytes=0-33554431"});
	assert_blob_error(t, 416, "InvalidRange");
	assert_blob(t, C1 "/empty", "");
}

static void chunks(void **state)
{
	enum { SIZE = 5 * BLOB_CHUNK / 2 };
	struct test *t = *state;
	char *data = malloc(SIZE);
	static const struct {
		const char *range;
		size_t from, to;
	} reads[] = {
		{"bytes=0-", 0, SIZE},
		{"bytes=1048575-1048576", BLOB_CHUNK - 1, BLOB_CHUNK + 1},
		{"bytes=1048576-2097151", BLOB_CHUNK, 2 * BLOB_CHUNK},
		{"bytes=10-2621438", 10, SIZE - 1},
		{"bytes=2621439-", SIZE - 1, SIZE},
	};
	size_t i;

	assert_non_null(data);
	for (i = 0; i < SIZE; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	assert_int_equal(CALL(t, "PUT", C1 "/big", data, SIZE, BLOCKBLOB), 201);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 3);
	assert_int_equal(store_rows(t, "SELECT max(length(data)) FROM blob_chunk"), BLOB_CHUNK);
	for (i = 0; i < COUNT(reads); i++) {
		CALL(t, "GET", C1 "/big", NULL, 0, {"Range", reads[i].range});
		assert_int_equal(t->reply.body.len, reads[i].to - reads[i].from);
		assert_memory_equal(reply_body(t), data + reads[i].from, t->reply.body.len);
	}
	put_blob(t, C1 "/big", "small");
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 1);
	assert_int_equal(CALL(t, "DELETE", C1 "/big", NULL, 0, NONE), 202);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 0);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_part"), 0);
	CALL(t, "GET", C1 "/big", NULL, 0, NONE);
	assert_blob_error(t, 404, "BlobNotFound");
	CALL(t, "DELETE", C1 "/big", NULL, 0, NONE);
	assert_blob_error(t, 404, "BlobNotFound");
	free(data);
}

static void conditions(void **state)
{
	static const char past[] = "Wed, 14 Sep 2022 20:33:51 GMT";
	static const char future[] = "Wed, 14 Sep 2199 20:33:51 GMT";
	struct test *t = *state;
	char etag[64], list[128];

	put_blob(t, C1 "/a", "x");
	snprintf(etag, sizeof(etag), "%s", reply_header(t, "ETag"));
	snprintf(list, sizeof(list), "\"0x1\", %s", etag);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Match", etag}), 200);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Match", list}), 200);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Match", "*"}), 200);
	CALL(t, "GET", C1 "/a", NULL, 0, {"If-Match", "\"0x1\""});
	assert_blob_error(t, 412, "ConditionNotMet");
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-None-Match", etag}), 304);
	assert_int_equal(t->reply.body.len, 0);
	assert_string_equal(reply_header(t, "ETag"), etag);
	assert_string_equal(reply_header(t, "x-ms-error-code"), "ConditionNotMet");
	assert_int_equal(CALL(t, "HEAD", C1 "/a", NULL, 0, {"If-None-Match", "\"0x1\""}), 200);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Modified-Since", past}), 200);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Modified-Since", future}), 304);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Modified-Since", "nonsense"}), 200);
	assert_int_equal(CALL(t, "GET", C1 "/a", NULL, 0, {"If-Unmodified-Since", future}), 200);
	CALL(t, "GET", C1 "/a", NULL, 0, {"If-Unmodified-Since", past});
	assert_blob_error(t, 412, "ConditionNotMet");

	CALL(t, "PUT", C1 "/a", "y", 1, BLOCKBLOB, {"If-Match", "\"0x1\""});
	assert_blob_error(t, 412, "ConditionNotMet");
	CALL(t, "PUT", C1 "/a", "y", 1, BLOCKBLOB, {"If-None-Match", etag});
	assert_blob_error(t, 412, "ConditionNotMet");
	CALL(t, "PUT", C1 "/none", "y", 1, BLOCKBLOB, {"If-Match", "*"});
	assert_blob_error(t, 412, "ConditionNotMet");
	CALL(t, "DELETE", C1 "/a", NULL, 0, {"If-Match", "\"0x1\""});
	assert_blob_error(t, 412, "ConditionNotMet");
	assert_int_equal(CALL(t, "PUT", C1 "/a", "y", 1, BLOCKBLOB, {"If-Match", etag}), 201);
	assert_string_not_equal(reply_header(t, "ETag"), etag);
	assert_blob(t, C1 "/a", "y");
}

static void put_block(struct test *t, const char *target, const char *text)
{
	assert_int_equal(CALL(t, "PUT", target, text, strlen(text), NONE), 201);
}

static int commit(struct test *t, const char *target, const char *xml)
{
	return CALL(t, "PUT", target, xml, strlen(xml), {"x-ms-blob-content-type", "text/plain"},
		    {"x-ms-meta-k", "v"}, {"Content-Type", "application/xml"});
}

static void blocks(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a", "old");
	put_block(t, C1 "/a?comp=block&blockid=QUE%3D", "one");
	put_block(t, C1 "/a?comp=block&blockid=QkI%3D", "two-");
	put_block(t, C1 "/a?comp=block&blockid=QUE%3D", "ONE-");
	put_block(t, C1 "/a?comp=block&blockid=Q0M=", "unused");
	assert_blob(t, C1 "/a", "old");
	assert_int_equal(commit(t, C1 "/a?comp=blocklist",
				"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n"
				" <Latest>QkI=</Latest>\n <Uncommitted>QUE=</Uncommitted>"
				"<Latest>QkI=</Latest></BlockList>"),
			 201);
	assert_blob(t, C1 "/a", "two-ONE-two-");
	assert_string_equal(t->reply.content_type, "text/plain");
	assert_string_equal(reply_header(t, "x-ms-meta-k"), "v");
	CALL(t, "GET", C1 "/a", NULL, 0, {"Range", "bytes=3-8"});
	assert_string_equal(reply_body(t), "-ONE-t");
	/* What is left over is dropped; what is used twice is stored once. */
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_block"), 0);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 2);

	/* Committed blocks can be named again, beside new ones of the same id. */
	put_block(t, C1 "/a?comp=block&blockid=QkI%3D", "new-");
	assert_int_equal(commit(t, C1 "/a?comp=blocklist",
				"<BlockList><Committed>QkI=</Committed><Latest>QkI=</Latest>"
				"<Latest>QUE=</Latest></BlockList>"),
			 201);
	assert_blob(t, C1 "/a", "two-new-ONE-");
	assert_int_equal(commit(t, C1 "/a?comp=blocklist", "<BlockList/>"), 201);
	assert_blob(t, C1 "/a", "");
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 0);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_part"), 0);
}

static void blocks_are_checked(void **state)
{
	static const char good_xml[] = "<BlockList><Latest>QUE=</Latest></BlockList>";
	static const char *const bad_xml[] = {
		"",
		"<BlockList>",
		"<Blocks></Blocks>",
		"<BlockList><Newest>QUE=</Newest></BlockList>",
		"<BlockList><Latest></Latest></BlockList>",
		"<BlockList>QUE=</BlockList>",
		"<BlockList><Latest><b/>QUE=</Latest></BlockList>",
		"<!DOCTYPE b [<!ENTITY a \"QUE=\">]><BlockList><Latest>&a;</Latest></BlockList>",
		"<BlockList><Latest>"
		"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
		"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB</Latest></BlockList>",
		"<BlockList></BlockList>x",
		"\xff\xfe",
	};
	struct test *t = *state;
	size_t i;

	put_block(t, C1 "/a?comp=block&blockid=QUE%3D", "one");
	CALL(t, "PUT", C1 "/a?comp=block&blockid=QUJDREU%3D", "two", 3, NONE);
	assert_blob_error(t, 400, "InvalidBlobOrBlock");
	CALL(t, "PUT", C1 "/a?comp=block", "two", 3, NONE);
	assert_blob_error(t, 400, "MissingRequiredQueryParameter");
	CALL(t, "PUT", C1 "/a?comp=block&blockid=*", "two", 3, NONE);
	assert_blob_error(t, 400, "InvalidQueryParameterValue");
	CALL(t, "PUT", C1 "/a?comp=block&blockid=QkI%3D", NULL, 0, NONE);
	assert_blob_error(t, 400, "InvalidHeaderValue");
	CALL(t, "PUT", C1 "/a?comp=block&blockid=QkI%3D", "two", 3,
	     {"Content-MD5", "sZRqySSS0jR8YjW00mERhA=="});
	assert_blob_error(t, 400, "Md5Mismatch");
	for (i = 0; i < COUNT(bad_xml); i++) {
		commit(t, C1 "/a?comp=blocklist", bad_xml[i]);
		assert_blob_error(t, 400, "InvalidXmlDocument");
	}
	commit(t, C1 "/a?comp=blocklist", "<BlockList><Latest>QkI=</Latest></BlockList>");
	assert_blob_error(t, 400, "InvalidBlockList");
	commit(t, C1 "/a?comp=blocklist", "<BlockList><Committed>QUE=</Committed></BlockList>");
	assert_blob_error(t, 400, "InvalidBlockList");
	/* Nothing of that made a blob, and the good block is still there. */
	CALL(t, "HEAD", C1 "/a", NULL, 0, NONE);
	assert_blob_error(t, 404, "BlobNotFound");
	CALL(t, "PUT", C1 "/a?comp=blocklist", good_xml, strlen(good_xml), {"If-None-Match", "*"});
	assert_int_equal(t->reply.status, 201);
	CALL(t, "PUT", C1 "/a?comp=blocklist", good_xml, strlen(good_xml), {"If-None-Match", "*"});
	assert_blob_error(t, 409, "BlobAlreadyExists");
	/* Put Blob drops uncommitted blocks. */
	put_block(t, C1 "/a?comp=block&blockid=QUE%3D", "one");
	put_blob(t, C1 "/a", "x");
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_block"), 0);
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 1);
}

/* Names are keys: none of these is a path, and each is its own blob. */
static void hostile_names(void **state)
{
	static const char *const names[] = {
		"..",           "../c-1/a", "a/../b",   "a//b",  "/a",  "a/",    "a%2Fb",
		"%2e%2e",       "a%5Cb",    "%00",      "a%00b", "%zz", "%",     "a%FFb",
		"%EF%BF%BE",    "%01",      "a%0D%0Ab", "%25",   "a+b", "a%20b", "%3Cb%3E%26%22%27",
		"%F0%9F%90%8D", "c:\\x",
	};
	struct test *t = *state;
	char target[256], long_name[4200];
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		bool refused = strstr(names[i], "%00") || strcmp(names[i], "%zz") == 0 ||
			       strcmp(names[i], "%") == 0;

		snprintf(target, sizeof(target), C1 "/%s", names[i]);
		CALL(t, "PUT", target, names[i], strlen(names[i]), BLOCKBLOB);
		if (refused)
			assert_blob_error(t, 400, "InvalidUri");
		else
			assert_blob(t, target, names[i]);
	}
	/* "%2e%2e" and ".." are one name, as are "a/b"'s two spellings, which only one of was put.
	 */
	assert_blob(t, C1 "/..", "%2e%2e");
	assert_blob(t, C1 "/a/b", "a%2Fb");
	memset(long_name, 'n', sizeof(long_name));
	memcpy(long_name, C1 "/", strlen(C1 "/"));
	long_name[strlen(C1 "/") + 4096] = '\0';
	put_blob(t, long_name, "x");
	long_name[strlen(C1 "/") + 4096] = 'n';
	long_name[strlen(C1 "/") + 4097] = '\0';
	CALL(t, "PUT", long_name, "x", 1, BLOCKBLOB);
	assert_blob_error(t, 400, "InvalidUri");
}

static void assert_listed(struct test *t, const char *query, const char *expected)
{
	char target[512], names[2048] = "";
	const char *p;

	snprintf(target, sizeof(target), C1 "?restype=container&comp=list%s", query);
	assert_int_equal(CALL(t, "GET", target, NULL, 0, NONE), 200);
	assert_string_equal(t->reply.content_type, "application/xml");
	for (p = reply_body(t); (p = strstr(p, "<Name")) != NULL;) {
		const char *end = strstr(p, "</Name>");
		size_t used = strlen(names);

		p = strchr(p, '>') + 1;
		assert_non_null(end);
		snprintf(names + used, sizeof(names) - used, "%.*s%s|", (int)(end - p), p,
			 strncmp(end, "</Name></BlobPrefix>", 20) == 0 ? "*" : "");
	}
	assert_string_equal(names, expected);
}

/* The next marker of the last list, as a query; "" at the end. */
static void next_marker(struct test *t, char out[256])
{
	const char *p = strstr(reply_body(t), "<NextMarker>");

	if (p)
		snprintf(out, 256, "&marker=%.*s", (int)strcspn(p + 12, "<"), p + 12);
	else
		assert_non_null(strstr(reply_body(t), "<NextMarker /></EnumerationResults>"));
	if (!p)
		out[0] = '\0';
}

static void list(void **state)
{
	static const char *const names[] = {"b/1", "a", "b/2/x", "b/2/y", "c", "b0", "b/%26%3C"};
	struct test *t = *state;
	char target[64], query[512], marker[256];
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		snprintf(target, sizeof(target), C1 "/%s", names[i]);
		put_blob(t, target, names[i]);
	}
	assert_listed(t, "", "a|b/&amp;&lt;|b/1|b/2/x|b/2/y|b0|c|");
	assert_non_null(strstr(reply_body(t),
			       "ServiceEndpoint=\"http://127.0.0.1:1/mlenvfslocal/\" "
			       "ContainerName=\"c-1\">"));
	assert_listed(t, "&prefix=b/", "b/&amp;&lt;|b/1|b/2/x|b/2/y|");
	assert_listed(t, "&prefix=b/2", "b/2/x|b/2/y|");
	assert_listed(t, "&prefix=zz", "");
	assert_listed(t, "&delimiter=/", "a|b/*|b0|c|");
	assert_listed(t, "&delimiter=/&prefix=b/", "b/&amp;&lt;|b/1|b/2/*|");
	assert_listed(t, "&maxresults=2", "a|b/&amp;&lt;|");
	next_marker(t, marker);
	snprintf(query, sizeof(query), "&maxresults=3%s", marker);
	assert_listed(t, query, "b/1|b/2/x|b/2/y|");
	next_marker(t, marker);
	snprintf(query, sizeof(query), "&maxresults=3%s", marker);
	assert_listed(t, query, "b0|c|");
	next_marker(t, marker);
	assert_string_equal(marker, "");
	/* With a delimiter, the page after a group begins behind all of it. */
	assert_listed(t, "&delimiter=/&maxresults=2", "a|b/*|");
	next_marker(t, marker);
	snprintf(query, sizeof(query), "&delimiter=/&maxresults=2%s", marker);
	assert_listed(t, query, "b0|c|");
	next_marker(t, marker);
	assert_string_equal(marker, "");
	assert_listed(t, "&maxresults=100000", "a|b/&amp;&lt;|b/1|b/2/x|b/2/y|b0|c|");
	CALL(t, "GET", C1 "?restype=container&comp=list&maxresults=0", NULL, 0, NONE);
	assert_blob_error(t, 400, "OutOfRangeQueryParameterValue");
	CALL(t, "GET", C1 "?restype=container&comp=list&maxresults=-1", NULL, 0, NONE);
	assert_blob_error(t, 400, "OutOfRangeQueryParameterValue");
	CALL(t, "GET", C1 "?restype=container&comp=list&marker=%21", NULL, 0, NONE);
	assert_blob_error(t, 400, "OutOfRangeInput");
	CALL(t, "GET", "/mlenvfslocal/nowhere?restype=container&comp=list", NULL, 0, NONE);
	assert_blob_error(t, 404, "ContainerNotFound");
}

/* The service's own page size holds here too, and the faults of pages. */
static void list_pages(void **state)
{
	struct fault fault = {.active = true, .duplicate_page = true};
	struct test *t = *state;
	char marker[256];

	put_blob(t, C1 "/a", "");
	put_blob(t, C1 "/b", "");
	put_blob(t, C1 "/c", "");
	t->emu.conf.page_size = 1;
	assert_listed(t, "", "a|");
	next_marker(t, marker);
	assert_listed(t, marker, "b|");
	t->fault = &fault;
	assert_listed(t, marker, "b|");
	next_marker(t, marker);
	assert_listed(t, marker, "b|");
	fault = (struct fault){.active = true, .skip_page = true};
	assert_listed(t, "", "a|");
	next_marker(t, marker);
	assert_listed(t, marker, "c|");
	next_marker(t, marker);
	assert_string_equal(marker, "");
}

static void list_properties(void **state)
{
	struct test *t = *state;

	assert_int_equal(CALL(t, "PUT", C1 "/a", "hello\n", 6, BLOCKBLOB, {"x-ms-meta-k", "a<b"}),
			 201);
	assert_listed(t, "&include=snapshots,metadata", "a|");
	assert_non_null(strstr(reply_body(t), "<Content-Length>6</Content-Length><Content-Type>"
					      "application/octet-stream</Content-Type>"));
	assert_non_null(
		strstr(reply_body(t), "<Content-MD5>sZRqySSS0jR8YjW00mERhA==</Content-MD5>"));
	assert_non_null(strstr(reply_body(t), "<BlobType>BlockBlob</BlobType>"));
	assert_non_null(strstr(reply_body(t), "<Metadata><k>a&lt;b</k></Metadata>"));
	assert_listed(t, "", "a|");
	assert_null(strstr(reply_body(t), "<Metadata>"));
}

/* Names that XML can't hold come in percent form; those that only need care are escaped. */
static void list_encoded(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a%01b", "");
	put_blob(t, C1 "/b%FF/x", "");
	put_blob(t, C1 "/c%EF%BF%BE", "");
	put_blob(t, C1 "/d%0D%0A", "");
	put_blob(t, C1 "/e%F0%9F%90%8D", "");
	assert_listed(t, "", "a%01b|b%FF%2Fx|c%EF%BF%BE|d&#13;&#10;|e\xf0\x9f\x90\x8d|");
	assert_non_null(strstr(reply_body(t), "<Name Encoded=\"true\">a%01b</Name>"));
	assert_non_null(strstr(reply_body(t), "<Name>d&#13;&#10;</Name>"));
	assert_listed(t, "&delimiter=/&prefix=b%FF", "b%FF%2F*|");
	assert_non_null(strstr(reply_body(t), "<Prefix Encoded=\"true\">b%FF</Prefix>"));
}

enum { ROUNDS = 40, VERSION_SIZE = 100 * 1024 };

static void fill(char *data, size_t round)
{
	memset(data, 'a' + (int)(round % 26), VERSION_SIZE);
}

static void *write_rounds(void *arg)
{
	struct emu_reply reply;
	struct test *t = arg;
	char *data = malloc(VERSION_SIZE);
	uintptr_t bad = !data;
	size_t i;

	reply_init(&reply);
	for (i = 0; i < ROUNDS && data; i++) {
		fill(data, i);
		blobs_ask(t, &reply, "PUT", C1 "/torn", KVS(BEARER, BLOCKBLOB), 2, data,
			  VERSION_SIZE);
		bad += reply.status != 201;
	}
	reply_free(&reply);
	free(data);
	return (void *)bad;
}

static void *read_rounds(void *arg)
{
	struct emu_reply reply;
	struct test *t = arg;
	uintptr_t bad = 0;
	size_t i, k;

	reply_init(&reply);
	for (i = 0; i < ROUNDS; i++) {
		blobs_ask(t, &reply, "GET", C1 "/torn", KVS(BEARER), 1, NULL, 0);
		bad += reply.status != 200 || reply.body.len != VERSION_SIZE;
		for (k = 1; k < reply.body.len; k++)
			bad += reply.body.data[k] != reply.body.data[0];
	}
	reply_free(&reply);
	return (void *)bad;
}

/* Readers see one version or another, never parts of two, while writers replace it. */
static void never_torn(void **state)
{
	void *(*const work[])(void *) = {write_rounds, write_rounds, read_rounds, read_rounds};
	pthread_t threads[COUNT(work)];
	char *data = malloc(VERSION_SIZE);
	struct test *t = *state;
	size_t i;

	assert_non_null(data);
	fill(data, 0);
	assert_int_equal(CALL(t, "PUT", C1 "/torn", data, VERSION_SIZE, BLOCKBLOB), 201);
	free(data);
	for (i = 0; i < COUNT(work); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work[i], t), 0);
	for (i = 0; i < COUNT(work); i++) {
		void *bad;

		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_int_equal((uintptr_t)bad, 0);
	}
	assert_int_equal(store_rows(t, "SELECT count(*) FROM blob_chunk"), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, blobs_setup, blobs_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(containers),
		TEST(head_as_recorded),
		TEST(put_is_checked),
		TEST(properties_are_kept),
		TEST(too_much_metadata),
		TEST(ranges),
		TEST(chunks),
		TEST(conditions),
		TEST(blocks),
		TEST(blocks_are_checked),
		TEST(hostile_names),
		TEST(list),
		TEST(list_pages),
		TEST(list_properties),
		TEST(list_encoded),
		TEST(never_torn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
