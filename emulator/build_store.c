#include "emulator/build_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/clock.h"
#include "emulator/blob_store.h"
#include "emulator/db.h"

#define BUILD_COLUMNS "id, name, log, version, state, image"
#define SELECT_BUILD  "SELECT " BUILD_COLUMNS " FROM builds "

const char *build_state_name(enum build_state state)
{
	static const char *const names[] = {
		[BUILD_QUEUED] = "Queued",   [BUILD_PREPARING] = "GettingOrProvisioningACR",
		[BUILD_RUNNING] = "Running", [BUILD_SUCCEEDED] = "Succeeded",
		[BUILD_FAILED] = "Failed",   [BUILD_CANCELED] = "Canceled",
	};

	return names[state];
}

void build_log_blob(const char *name, char out[BUILD_LOG_SIZE])
{
	snprintf(out, BUILD_LOG_SIZE, "ImageLogs/%s/build.log", name);
}

static void copy_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	snprintf(out, size, "%s", text ? text : "");
}

/* The next row of a SELECT_BUILD: 1, 0, or a negative errno. */
static int read_build(sqlite3_stmt *row, struct build *out, struct err *e)
{
	int64_t state;
	int ret = db_step(row, e);

	if (ret != 1)
		return ret;
	out->id = sqlite3_column_int64(row, 0);
	copy_text(row, 1, out->name, sizeof(out->name));
	copy_text(row, 2, out->log, sizeof(out->log));
	out->version = sqlite3_column_int64(row, 3);
	state = sqlite3_column_int64(row, 4);
	copy_text(row, 5, out->image, sizeof(out->image));
	if (state < BUILD_QUEUED || state > BUILD_CANCELED)
		return err_set(e, -EIO, "store: a build has the state %lld", (long long)state);
	out->state = (enum build_state)state;
	return 1;
}

int build_store_add(sqlite3 *conn, int64_t version, const struct build *same, struct build *out,
		    struct err *e)
{
	static const char sql[] =
		"INSERT INTO builds (name, log, version, state, image, created, ended)"
		" VALUES (?, ?, ?, ?, ?, ?, ?)";
	int64_t now = clock_wall();
	int ret;

	*out = (struct build){.version = version};
	if (guid_new(out->name))
		return err_set(e, -EIO, "no randomness for an id");
	out->state = same ? BUILD_SUCCEEDED : BUILD_QUEUED;
	snprintf(out->log, sizeof(out->log), "%s", same ? same->log : out->name);
	snprintf(out->image, sizeof(out->image), "%s", same ? same->image : "");
	ret = db_run(conn, e, sql, "ssiisii", out->name, out->log, version, (int64_t)out->state,
		     out->image, now, same ? now : INT64_C(0));
	out->id = sqlite3_last_insert_rowid(conn);
	return ret;
}

int build_store_named(sqlite3 *conn, struct text name, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, SELECT_BUILD "WHERE name = ?", "t", name.ptr, name.len);

	return ret ? ret : read_build(row, out, e);
}

int build_store_newest(sqlite3 *conn, int64_t version, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, SELECT_BUILD "WHERE version = ? ORDER BY id DESC LIMIT 1",
			   "i", version);

	return ret ? ret : read_build(row, out, e);
}

int build_store_of_version(sqlite3 *conn, int64_t version, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row,
			   SELECT_BUILD "WHERE version = ? AND state = ? ORDER BY id DESC LIMIT 1",
			   "ii", version, (int64_t)BUILD_SUCCEEDED);

	return ret ? ret : read_build(row, out, e);
}

int build_store_queued(sqlite3 *conn, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, SELECT_BUILD "WHERE state = ? ORDER BY id LIMIT 1", "i",
			   (int64_t)BUILD_QUEUED);

	return ret ? ret : read_build(row, out, e);
}

int build_store_interrupted(sqlite3 *conn, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, SELECT_BUILD "WHERE state IN (?, ?) ORDER BY id LIMIT 1",
			   "ii", (int64_t)BUILD_PREPARING, (int64_t)BUILD_RUNNING);

	return ret ? ret : read_build(row, out, e);
}

int build_store_with_image(sqlite3 *conn, const char *image, struct build *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row,
			   SELECT_BUILD "WHERE image = ? AND state = ? ORDER BY id DESC LIMIT 1",
			   "si", image, (int64_t)BUILD_SUCCEEDED);

	return ret ? ret : read_build(row, out, e);
}

int build_store_count(sqlite3 *conn, int64_t *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, "SELECT COUNT(*) FROM builds WHERE state = ?", "i",
			   (int64_t)BUILD_QUEUED);

	if (!ret)
		ret = db_step(row, e);
	if (ret < 0)
		return ret;
	*out = ret ? sqlite3_column_int64(row, 0) : 0;
	return 0;
}

int build_store_move(sqlite3 *conn, int64_t id, enum build_state state, struct err *e)
{
	static const char sql[] = "UPDATE builds SET state = ?1,"
				  " started = IIF(started = 0, ?2, started), ended = ?3"
				  " WHERE id = ?4 AND state < ?5";
	int64_t now = clock_wall();
	int ret = db_run(conn, e, sql, "iiiii", (int64_t)state, now,
			 build_is_over(state) ? now : INT64_C(0), id, (int64_t)BUILD_SUCCEEDED);

	return ret ? ret : sqlite3_changes(conn) > 0;
}

int build_store_define(sqlite3 *conn, int64_t id, const char *image, const char *dockerfile,
		       struct err *e)
{
	return db_run(conn, e, "UPDATE builds SET image = ?, dockerfile = ? WHERE id = ?", "ssi",
		      image, dockerfile, id);
}

int build_store_dockerfile(sqlite3 *conn, const char *image, struct buf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	const char *text;
	int ret = db_query(conn, e, &row,
			   "SELECT dockerfile FROM builds WHERE image = ? AND dockerfile NOT NULL"
			   " ORDER BY id DESC LIMIT 1",
			   "s", image);

	if (!ret)
		ret = db_step(row, e);
	if (ret != 1)
		return ret;
	text = (const char *)sqlite3_column_text(row, 0);
	ret = buf_add(out, text ? text : "", (size_t)sqlite3_column_bytes(row, 0));
	return ret ? err_set(e, ret, "no room for a Dockerfile") : 0;
}

int build_store_share(sqlite3 *conn, int64_t id, const char *log, struct err *e)
{
	return db_run(conn, e, "UPDATE builds SET log = ? WHERE id = ?", "si", log, id);
}

static int find_container(sqlite3 *conn, struct container *out, struct err *e)
{
	int ret = blob_store_find_container(conn, BUILD_CONTAINER, out, e);

	return ret == -ENOENT ? blob_store_add_container(conn, BUILD_CONTAINER, out, e) : ret;
}

int build_store_log(sqlite3 *conn, const char *name, const void *data, size_t len, struct err *e)
{
	struct blob blob = {.content_type = "text/plain; charset=utf-8"};
	struct container container;
	char text[BUILD_LOG_SIZE];
	struct blob_key key;
	int ret = find_container(conn, &container, e);

	if (ret)
		return ret;
	build_log_blob(name, text);
	key = (struct blob_key){container.id, text, strlen(text)};
	return blob_store_append(conn, &key, data, len, &blob, e);
}

int build_store_log_size(sqlite3 *conn, const char *name, uint64_t *out, struct err *e)
{
	struct container container;
	char text[BUILD_LOG_SIZE];
	struct blob_key key;
	struct blob blob;
	int ret = blob_store_find_container(conn, BUILD_CONTAINER, &container, e);

	*out = 0;
	build_log_blob(name, text);
	key = (struct blob_key){container.id, text, strlen(text)};
	if (!ret)
		ret = blob_store_find(conn, &key, &blob, e);
	if (!ret)
		*out = blob.size;
	return ret == -ENOENT ? 0 : ret;
}
