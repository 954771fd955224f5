#include "tests/unit/blobs_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulator/db.h"
#include "emulator/reply.h"
#include "emulator/route.h"

void blobs_open_store(struct test *t)
{
	struct err e = ERR_INIT;

	if (db_open(t->store, &t->emu.db, &e))
		fail_msg("%s", e.msg);
}

int blobs_setup(void **state)
{
	struct test *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;

	if (!t)
		return -1;
	snprintf(t->dir, sizeof(t->dir), "/tmp/mlenvfs-blobs-XXXXXX");
	if (!mkdtemp(t->dir))
		return -1;
	snprintf(t->store, sizeof(t->store), "%s/store", t->dir);
	t->emu.conf.token = TOKEN;
	reply_init(&t->reply);
	blobs_open_store(t);
	*state = t;
	return blobs_create_container(&t->emu, "c-1", &e);
}

int blobs_teardown(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
	struct test *t = *state;
	size_t i;

	db_close(t->emu.db);
	reply_free(&t->reply);
	for (i = 0; i < COUNT(suffixes); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s%s", t->store, suffixes[i]);
		unlink(path);
	}
	rmdir(t->dir);
	free(t);
	return 0;
}

void blobs_ask(struct test *t, struct emu_reply *reply, const char *method, const char *target,
	       const struct kv *headers, size_t n, const void *body, size_t len)
{
	struct kv params[QUERY_PARAMS_MAX];
	struct emu_request r = {
		.method = method,
		.query = strchr(target, '?') ? strchr(target, '?') + 1 : "",
		.headers = headers,
		.n_headers = n,
		.params = params,
		.body = body,
		.body_len = len,
		.base_url = "http://127.0.0.1:1",
		.fault = t->fault,
	};
	char *path = strndup(target, strcspn(target, "?"));
	char *store = NULL;

	assert_non_null(path);
	assert_int_equal(query_split(r.query, params, &r.n_params, &store, NULL), 0);
	r.path = path;
	reply_free(reply);
	reply_init(reply);
	blobs_handle(&t->emu, &r, reply);
	free(store);
	free(path);
}

int blobs_request(struct test *t, const char *method, const char *target, const struct kv *headers,
		  size_t n, const void *body, size_t len)
{
	blobs_ask(t, &t->reply, method, target, headers, n, body, len);
	return t->reply.status;
}

const char *reply_header(const struct test *t, const char *name)
{
	size_t i;

	for (i = 0; i < t->reply.n_headers; i++)
		if (strcasecmp(t->reply.headers[i].name, name) == 0)
			return t->reply.headers[i].value;
	return "(absent)";
}

const char *reply_body(const struct test *t)
{
	return buf_str(&t->reply.body);
}

void assert_blob_error(const struct test *t, int status, const char *code)
{
	char tag[128];

	assert_int_equal(t->reply.status, status);
	assert_string_equal(reply_header(t, "x-ms-error-code"), code);
	snprintf(tag, sizeof(tag), "<Code>%s</Code><Message>", code);
	if (t->reply.head_only)
		assert_int_equal(t->reply.body.len, 0);
	else
		assert_non_null(strstr(reply_body(t), tag));
}

void put_blob(struct test *t, const char *target, const char *text)
{
	assert_int_equal(CALL(t, "PUT", target, text, strlen(text), BLOCKBLOB), 201);
}

void assert_blob(struct test *t, const char *target, const char *text)
{
	assert_int_equal(CALL(t, "GET", target, NULL, 0, NONE), 200);
	assert_int_equal(t->reply.body.len, strlen(text));
	assert_string_equal(reply_body(t), text);
}

int64_t store_rows(struct test *t, const char *sql)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(t->emu.db, &e);
	sqlite3_stmt *stmt;
	int64_t n;

	assert_non_null(conn);
	assert_int_equal(db_query(conn, &e, &stmt, sql, ""), 0);
	assert_int_equal(db_step(stmt, &e), 1);
	n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	db_release(t->emu.db, conn);
	return n;
}
