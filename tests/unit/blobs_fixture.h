/*
 * blobs_fixture - a store of its own for a test of the Blob Storage calls, and ways to ask it.
 */
#ifndef MLENVFS_TESTS_UNIT_BLOBS_FIXTURE_H
#define MLENVFS_TESTS_UNIT_BLOBS_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "emulator/emu_int.h"

#define TOKEN    "test-token"
#define C1       "/mlenvfslocal/c-1"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define KVS(...) ((const struct kv[]){__VA_ARGS__})
#define BEARER                                   \
	{                                        \
		"Authorization", "Bearer " TOKEN \
	}
#define BLOCKBLOB                             \
	{                                     \
		"x-ms-blob-type", "BlockBlob" \
	}
#define NONE                    \
	{                       \
		"Accept", "*/*" \
	}

/* Calls with the bearer token and these further headers; gives the status. */
#define CALL(t, method, target, body, len, ...)                    \
	blobs_request(t, method, target, KVS(BEARER, __VA_ARGS__), \
		      COUNT(KVS(BEARER, __VA_ARGS__)), body, len)

/* Calls with exactly these headers. */
#define RAW(t, method, target, body, len, ...) \
	blobs_request(t, method, target, KVS(__VA_ARGS__), COUNT(KVS(__VA_ARGS__)), body, len)

struct test {
	char dir[64];
	char store[96];
	struct emu emu;
	struct emu_reply reply;    /* to the last call */
	const struct fault *fault; /* done to calls from now on; NULL: nothing */
};

/* For cmocka: *state becomes a struct test with a store that has the container c-1. */
int blobs_setup(void **state);
int blobs_teardown(void **state);

/* Opens the store, which db_close() was called for. */
void blobs_open_store(struct test *t);

/* One call of blobs_handle(). Any thread, with a reply of its own. */
void blobs_ask(struct test *t, struct emu_reply *reply, const char *method, const char *target,
	       const struct kv *headers, size_t n, const void *body, size_t len);
int blobs_request(struct test *t, const char *method, const char *target, const struct kv *headers,
		  size_t n, const void *body, size_t len);

/* Of the last reply. An absent header is "(absent)". */
const char *reply_header(const struct test *t, const char *name);
const char *reply_body(const struct test *t);
void assert_blob_error(const struct test *t, int status, const char *code);

void put_blob(struct test *t, const char *target, const char *text);
void assert_blob(struct test *t, const char *target, const char *text);

/* The number that a query of the store gives. */
int64_t store_rows(struct test *t, const char *sql);

#endif
