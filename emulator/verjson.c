/* How rows of environments and versions become the resources that are sent. */
#include "emulator/verstore.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/clock.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"

enum { NEXT_VERSION_SIZE = 40 };

static struct text column(sqlite3_stmt *row, int i)
{
	const char *text = (const char *)sqlite3_column_text(row, i);

	return (struct text){text ? text : "", (size_t)sqlite3_column_bytes(row, i)};
}

/* Appends {"id":...,"name":...,"type":... of an environment (version.ptr NULL) or a version. */
static void add_head(struct exchange *x, struct text env, struct text version)
{
	_cleanup_buf_ struct buf id = BUF_INIT(EMU_JSON_MAX);
	struct buf *b = &x->reply->body;
	const char *plural = x->scope.kind == SCOPE_WORKSPACE ? "workspaces" : "registries";

	if (x->plane == REPLY_DATA && x->scope.kind == SCOPE_REGISTRY)
		buf_addf(&id, "azureml://registries/%s", x->scope.name);
	else
		scope_add_id(&x->scope, &id);
	buf_addstr(&id, "/environments/");
	buf_add(&id, env.ptr, env.len);
	if (version.ptr) {
		buf_addstr(&id, "/versions/");
		buf_add(&id, version.ptr, version.len);
	}
	buf_addstr(b, "{\"id\":");
	json_add_text(b, buf_str(&id), id.len);
	buf_addstr(b, ",\"name\":");
	json_add_text(b, version.ptr ? version.ptr : env.ptr, version.ptr ? version.len : env.len);
	if (x->plane == REPLY_DATA && x->scope.kind == SCOPE_REGISTRY)
		buf_addstr(b, ",\"type\":\"environments\"");
	else
		buf_addf(b, ",\"type\":\"" EMU_PROVIDER "/%s/environments%s\"", plural,
			 version.ptr ? "/versions" : "");
	buf_addstr(b, ",\"properties\":");
}

/* A build whose context lies in this service, at the address that this client knows us by. */
static void add_build(struct exchange *x, struct text context, struct text dockerfile)
{
	_cleanup_buf_ struct buf uri = BUF_INIT(EMU_JSON_MAX);
	struct buf *b = &x->reply->body;

	buf_addstr(&uri, x->req->base_url);
	buf_add(&uri, context.ptr, context.len);
	buf_addstr(b, ",\"build\":{\"contextUri\":");
	json_add_text(b, buf_str(&uri), uri.len);
	buf_addstr(b, ",\"dockerfilePath\":");
	json_add_text(b, dockerfile.ptr, dockerfile.len);
	buf_addch(b, '}');
}

/* The members that are not in the stored body; see schema.c. */
static void add_computed(struct exchange *x, sqlite3_stmt *row)
{
	buf_addf(&x->reply->body, ",\"isArchived\":%s,\"provisioningState\":\"%s\"",
		 sqlite3_column_int(row, 3) ? "true" : "false",
		 sqlite3_column_int64(row, 9) > 0 ? "Creating" : "Succeeded");
	if (sqlite3_column_type(row, 6) != SQLITE_NULL)
		add_build(x, column(row, 6), column(row, 7));
}

void version_add(struct exchange *x, struct text env, sqlite3_stmt *row)
{
	struct buf *b = &x->reply->body;
	struct text body = column(row, 5);
	bool raw = sqlite3_column_int(row, 4);

	add_head(x, env, column(row, 2));
	if (raw) {
		buf_add(b, body.ptr, body.len);
	} else {
		buf_add(b, body.ptr, body.len ? body.len - 1 : 0);
		add_computed(x, row);
		buf_addch(b, '}');
	}
	scope_add_system_data((const char *)sqlite3_column_text(row, 8),
			      sqlite3_column_int64(row, 1), b);
	buf_addch(b, '}');
}

/* YYYY-MM-DD-HH-MM-SS-fffffff */
static void timestamp_version(char out[NEXT_VERSION_SIZE])
{
	struct timespec ts = clock_timespec(clock_wall());
	struct tm tm = {0};
	size_t n;

	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, NEXT_VERSION_SIZE, "%Y-%m-%d-%H-%M-%S", &tm);
	snprintf(out + n, NEXT_VERSION_SIZE - n, "-%07ld", ts.tv_nsec / 100);
}

/*
 * One more than the highest number when the newest version is a number, so that it is free; "1"
 * without versions; else the time.
 */
static void next_version(struct exchange *x, sqlite3_stmt *row, char out[NEXT_VERSION_SIZE])
{
	bool any = sqlite3_column_type(row, 6) != SQLITE_NULL;
	bool number = sqlite3_column_type(row, 7) != SQLITE_NULL;

	if (!any)
		snprintf(out, NEXT_VERSION_SIZE, "1");
	else if (number && !x->emu->conf.timestamp_versions)
		snprintf(out, NEXT_VERSION_SIZE, "%lld",
			 (long long)sqlite3_column_int64(row, 8) + 1);
	else
		timestamp_version(out);
}

void env_add(struct exchange *x, sqlite3_stmt *row)
{
	struct buf *b = &x->reply->body;
	struct text body = column(row, 4);
	char next[NEXT_VERSION_SIZE];

	add_head(x, column(row, 2), (struct text){0});
	buf_add(b, body.ptr, body.len ? body.len - 1 : 0);
	buf_addf(b, ",\"isArchived\":%s,\"latestVersion\":",
		 sqlite3_column_int(row, 3) ? "true" : "false");
	if (sqlite3_column_type(row, 6) == SQLITE_NULL)
		buf_addstr(b, "null");
	else
		json_add_text(b, column(row, 6).ptr, column(row, 6).len);
	next_version(x, row, next);
	buf_addf(b, ",\"nextVersion\":\"%s\",\"provisioningState\":\"Succeeded\"}", next);
	scope_add_system_data((const char *)sqlite3_column_text(row, 5),
			      sqlite3_column_int64(row, 1), b);
	buf_addch(b, '}');
}
