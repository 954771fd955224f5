#include "emulator/exchange.h"

#include <errno.h>
#include <string.h>

#include "client/clock.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/listing.h"
#include "emulator/share.h"
#include "emulator/verstore.h"

static void not_found(struct exchange *x, struct text env, struct text version)
{
	exchange_error(x, 404, "UserError",
		       "No environment exists for name: %.*s, version: %.*s, label: ", (int)env.len,
		       env.ptr, (int)version.len, version.ptr ? version.ptr : "");
}

/*
 * The environment whose versions are listed: 1 and whether a list shows it as archived (all its
 * versions are hidden with it), 0 when there is none.
 */
static int find_env(struct exchange *x, const struct listing *l, sqlite3 *conn, int64_t *id,
		    bool *archived, struct err *e)
{
	static const char sql[] =
		"SELECT id, IIF(changed <= ?1 OR old_body IS NULL, archived, old_archived)"
		" FROM environments WHERE scope = ?2 AND name = ?3";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	struct text name = x->param[PARAM_NAME];
	int ret = db_query(conn, e, &row, sql, "iit", l->cutoff, x->scope.id, name.ptr, name.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret == 1) {
		*id = sqlite3_column_int64(row, 0);
		*archived = sqlite3_column_int(row, 1);
	}
	return ret;
}

#define LIST_WHERE                                                                  \
	" WHERE v.environment = ?2 AND (v.changed <= ?1 OR v.old_body IS NOT NULL)" \
	" AND (?3 = 2 OR MAX(shown_archived, ?6) = ?3) AND (v.created, v.id) "

static int list_rows(struct exchange *x, struct listing *l, sqlite3 *conn, struct err *e)
{
	static const char newest_first[] =
		VERSION_SELECT LIST_WHERE "< (?4, ?5) ORDER BY v.created DESC, v.id DESC LIMIT ?7";
	static const char oldest_first[] =
		VERSION_SELECT LIST_WHERE "> (?4, ?5) ORDER BY v.created, v.id LIMIT ?7";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	bool archived = false;
	int64_t env;
	int ret = find_env(x, l, conn, &env, &archived, e);

	if (ret != 1)
		return ret ? ret : -ENOENT;
	ret = db_query(conn, e, &row, l->ascending ? oldest_first : newest_first, "iiiiiii",
		       l->cutoff, env, (int64_t)l->view, l->major, l->minor, (int64_t)archived,
		       l->fetch);
	while (!ret && (ret = db_step(row, e)) == 1) {
		if (listing_row(x, l, sqlite3_column_int64(row, 1), sqlite3_column_int64(row, 0)))
			version_add(x, x->param[PARAM_NAME], row);
		ret = 0;
	}
	return ret;
}

void versions_list(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct listing l;
	sqlite3 *conn;
	int ret;

	if (listing_begin(x, &l, true))
		return;
	conn = db_reader(x->emu->db, &e);
	ret = conn ? list_rows(x, &l, conn, &e) : -EIO;
	db_release(x->emu->db, conn);
	if (ret == -ENOENT)
		not_found(x, x->param[PARAM_NAME], (struct text){0});
	else if (ret)
		exchange_failure(x, ret, &e);
	else
		listing_end(x, &l);
}

/* Appends the version to the reply: 1, 0 when there is none, or an error. */
static int show(struct exchange *x, sqlite3 *conn, int64_t *polls, struct err *e)
{
	static const char sql[] =
		VERSION_SELECT "JOIN environments e ON v.environment = e.id"
			       " WHERE e.scope = ?2 AND e.name = ?3 AND v.name = ?4";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	struct text env = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];
	int ret = db_query(conn, e, &row, sql, "iitt", INT64_MAX, x->scope.id, env.ptr, env.len,
			   version.ptr, version.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret != 1)
		return ret;
	version_add(x, env, row);
	*polls = sqlite3_column_int64(row, 9);
	return 1;
}

void versions_get(struct exchange *x)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(x->emu->db, &e);
	int64_t polls = 0;
	int ret = conn ? show(x, conn, &polls, &e) : -EIO;

	db_release(x->emu->db, conn);
	/* A client may wait for provisioningState instead of asking the operation. */
	if (ret == 1 && polls > 0)
		ret = share_count_poll(x, &e);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		not_found(x, x->param[PARAM_NAME], x->param[PARAM_VERSION]);
}

static bool names_ok(struct exchange *x)
{
	const char *why =
		verstore_name_refused(x->param[PARAM_NAME], x->scope.kind == SCOPE_REGISTRY);

	if (!why)
		why = verstore_version_refused(x->param[PARAM_VERSION]);
	if (why)
		exchange_error(x, 400, "UserError", "%s", why);
	return !why;
}

/* The reply for what became of a write. true when it is to be committed. */
static bool judge(struct exchange *x, enum verstore_result result)
{
	struct text env = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];

	switch (result) {
	case VERSTORE_CONFLICT:
		exchange_error(x, 409, "UserError",
			       "Environment %.*s with version %.*s is already registered and "
			       "cannot be changed.",
			       (int)env.len, env.ptr, (int)version.len, version.ptr);
		return false;
	case VERSTORE_CURATED:
		exchange_error(x, 400, "UserError",
			       "A curated environment can not be changed. To alter it first create "
			       "a copy of it.");
		return false;
	default:
		return true;
	}
}

static int write_version(struct exchange *x, sqlite3 *conn, struct verprops *props,
			 enum verstore_result *result, char operation[SHARE_OPERATION_SIZE],
			 struct err *e)
{
	struct verstore_put put = {.scope = x->scope.id,
				   .env = x->param[PARAM_NAME],
				   .version = x->param[PARAM_VERSION],
				   .props = props};
	int64_t polls;
	int ret;

	if (x->scope.kind == SCOPE_REGISTRY)
		put.polls = x->emu->conf.registry_polls;
	ret = verstore_put(x->emu, conn, &put, result, e);
	if (!ret && (*result == VERSTORE_CREATED || *result == VERSTORE_UPDATED)) {
		if (x->scope.kind == SCOPE_REGISTRY)
			ret = share_operation_new(conn, x->scope.name, put.env, put.version,
						  put.row, operation, e);
		if (!ret)
			ret = show(x, conn, &polls, e);
	}
	return ret < 0 ? ret : 0;
}

static void put_checked(struct exchange *x, struct verprops *props)
{
	char operation[SHARE_OPERATION_SIZE] = "";
	enum verstore_result result = VERSTORE_CONFLICT;
	struct err e = ERR_INIT;
	sqlite3 *conn = db_begin(x->emu->db, &e);
	int ret = conn ? write_version(x, conn, props, &result, operation, &e) : -EIO;

	if (!ret && judge(x, result)) {
		ret = db_commit(x->emu->db, &e);
		conn = NULL;
		if (!ret)
			share_put_answer(x, result == VERSTORE_CREATED, operation);
	}
	if (ret)
		exchange_failure(x, ret, &e);
	if (conn)
		db_rollback(x->emu->db);
}

void versions_put(struct exchange *x)
{
	_cleanup_json_ cJSON *json = NULL;
	struct verprops props;
	struct err e = ERR_INIT;
	int ret;

	if (!names_ok(x) || exchange_json(x, &json))
		return;
	ret = verprops_read(cJSON_GetObjectItemCaseSensitive(json, "properties"), &props, &e);
	if (ret == -EINVAL)
		exchange_error(x, 400, "ValidationError", "%s", err_text(&e, ret));
	else if (ret)
		exchange_failure(x, ret, &e);
	else
		put_checked(x, &props);
	verprops_release(&props);
}

static int remove_version(struct exchange *x, sqlite3 *conn, bool *found, struct err *e)
{
	static const char sql[] = "SELECT v.id, v.curated FROM versions v"
				  " JOIN environments e ON v.environment = e.id"
				  " WHERE e.scope = ? AND e.name = ? AND v.name = ?";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	struct text env = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];
	int ret = db_query(conn, e, &row, sql, "itt", x->scope.id, env.ptr, env.len, version.ptr,
			   version.len);

	if (!ret)
		ret = db_step(row, e);
	*found = ret == 1;
	if (ret != 1)
		return ret;
	if (sqlite3_column_int(row, 1))
		return err_set(e, -EPERM, "A curated environment can not be deleted.");
	return db_run(conn, e, "DELETE FROM versions WHERE id = ?", "i",
		      (int64_t)sqlite3_column_int64(row, 0));
}

void versions_delete(struct exchange *x)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_begin(x->emu->db, &e);
	bool found = false;
	int ret = conn ? remove_version(x, conn, &found, &e) : -EIO;

	if (conn && ret)
		db_rollback(x->emu->db);
	else if (conn)
		ret = db_commit(x->emu->db, &e);
	if (ret == -EPERM)
		exchange_error(x, 400, "UserError", "%s", err_text(&e, ret));
	else if (ret)
		exchange_failure(x, ret, &e);
	else
		x->reply->status = found ? 200 : 204;
}
