#include "emulator/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/listing.h"
#include "emulator/verstore.h"

static int list_rows(struct exchange *x, struct listing *l, sqlite3 *conn, struct err *e)
{
	static const char sql[] = ENV_SELECT
		" WHERE e.scope = ?2 AND (e.changed <= ?1 OR e.old_body IS NOT NULL)"
		" AND (?3 = 2 OR shown_archived = ?3) AND e.id > ?4 ORDER BY e.id LIMIT ?5";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, sql, "iiiii", l->cutoff, x->scope.id, (int64_t)l->view,
			   l->major, l->fetch);

	while (!ret && (ret = db_step(row, e)) == 1) {
		int64_t id = sqlite3_column_int64(row, 0);

		if (listing_row(x, l, id, id))
			env_add(x, row);
		ret = 0;
	}
	return ret;
}

void environments_list(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct listing l;
	sqlite3 *conn;
	int ret;

	if (listing_begin(x, &l, false))
		return;
	conn = db_reader(x->emu->db, &e);
	ret = conn ? list_rows(x, &l, conn, &e) : -EIO;
	db_release(x->emu->db, conn);
	if (ret)
		exchange_failure(x, ret, &e);
	else
		listing_end(x, &l);
}

/* Appends the environment of that row to the reply: 1, 0 when there is none, or an error. */
static int show(struct exchange *x, sqlite3 *conn, struct text name, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, ENV_SELECT "WHERE e.scope = ?2 AND e.name = ?3", "iit",
			   INT64_MAX, x->scope.id, name.ptr, name.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret == 1)
		env_add(x, row);
	return ret;
}

void environments_get(struct exchange *x)
{
	struct text name = x->param[PARAM_NAME];
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(x->emu->db, &e);
	int ret = conn ? show(x, conn, name, &e) : -EIO;

	db_release(x->emu->db, conn);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		exchange_error(x, 404, "UserError",
			       "No environment exists for name: %.*s, version: , label: ",
			       (int)name.len, name.ptr);
}

/* What a PUT says of an environment. */
struct env_props {
	cJSON *given; /* description, tags, properties: those that were given */
	bool has_archived, archived;
};

static bool is_string_map(const cJSON *map)
{
	const cJSON *item;

	if (cJSON_IsNull(map))
		return true;
	if (!cJSON_IsObject(map))
		return false;
	cJSON_ArrayForEach(item, map)
		if (!cJSON_IsString(item) && !cJSON_IsNull(item))
			return false;
	return true;
}

/* Copies a member over, null as the empty one of its kind. -EINVAL: the reply is a 400. */
static int take(struct exchange *x, const cJSON *from, const char *name, bool map, cJSON *to)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, name);
	cJSON *copy;

	if (!item)
		return 0;
	if (map ? !is_string_map(item) : !cJSON_IsString(item) && !cJSON_IsNull(item)) {
		exchange_error(x, 400, "ValidationError", "%s: not a %s.", name,
			       map ? "map of strings" : "string");
		return -EINVAL;
	}
	if (cJSON_IsNull(item))
		copy = map ? cJSON_CreateObject() : cJSON_CreateString("");
	else
		copy = cJSON_Duplicate(item, 1);
	if (copy && cJSON_AddItemToObject(to, name, copy))
		return 0;
	cJSON_Delete(copy);
	exchange_failure(x, -ENOMEM, NULL);
	return -ENOMEM;
}

static int read_props(struct exchange *x, const cJSON *json, struct env_props *out)
{
	const cJSON *from = cJSON_GetObjectItemCaseSensitive(json, "properties"), *archived;

	if (!cJSON_IsObject(from)) {
		exchange_error(x, 400, "ValidationError", "properties is required.");
		return -EINVAL;
	}
	archived = cJSON_GetObjectItemCaseSensitive(from, "isArchived");
	out->has_archived = cJSON_IsBool(archived);
	out->archived = cJSON_IsTrue(archived);
	out->given = cJSON_CreateObject();
	if (take(x, from, "description", false, out->given) ||
	    take(x, from, "tags", true, out->given) ||
	    take(x, from, "properties", true, out->given))
		return -EINVAL;
	return 0;
}

/* The body of the environment's row with the given members put in. NULL: no memory, or no JSON. */
static char *merged_body(sqlite3 *conn, int64_t id, bool *archived, const cJSON *given)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	_cleanup_json_ cJSON *body = NULL;
	const cJSON *item;

	if (db_query(conn, NULL, &row, "SELECT body, archived FROM environments WHERE id = ?", "i",
		     id) ||
	    db_step(row, NULL) != 1)
		return NULL;
	body = cJSON_Parse((const char *)sqlite3_column_text(row, 0));
	*archived = sqlite3_column_int(row, 1);
	cJSON_ArrayForEach(item, given) {
		cJSON *copy = cJSON_Duplicate(item, 1);

		if (!copy || !cJSON_ReplaceItemInObjectCaseSensitive(body, item->string, copy)) {
			cJSON_Delete(copy);
			return NULL;
		}
	}
	return body ? cJSON_PrintUnformatted(body) : NULL;
}

static int store_props(struct exchange *x, sqlite3 *conn, int64_t id, bool created,
		       const struct env_props *p, struct err *e)
{
	static const char sql[] =
		"UPDATE environments SET"
		" old_body = IIF(?1, NULL, IIF(changed <= ?2, body, old_body)),"
		" old_archived = IIF(?1, NULL, IIF(changed <= ?2, archived, old_archived)),"
		" body = ?3, archived = ?4, changed = ?5 WHERE id = ?6";
	_cleanup_free_ char *body = NULL;
	bool archived;

	body = merged_body(conn, id, &archived, p->given);
	if (!body)
		return err_set(e, -ENOMEM, "no memory");
	if (p->has_archived)
		archived = p->archived;
	return db_run(conn, e, sql, "iisiii", (int64_t)created, verstore_cutoff(x->emu), body,
		      (int64_t)archived, clock_wall(), id);
}

static int put(struct exchange *x, sqlite3 *conn, const struct env_props *p, bool *created,
	       struct err *e)
{
	struct text name = x->param[PARAM_NAME];
	bool curated = false;
	int64_t id;
	int ret = verstore_find_env(conn, x->scope.id, name, &id, &curated, e);

	if (ret >= 0 && curated)
		return err_set(e, -EPERM, "A curated environment can not be changed.");
	if (ret >= 0)
		ret = verstore_ensure_env(x->emu, conn, x->scope.id, name, false, &id, created, e);
	if (!ret)
		ret = store_props(x, conn, id, *created, p, e);
	if (!ret)
		ret = show(x, conn, name, e);
	return ret < 0 ? ret : 0;
}

/* A URL of this very resource. */
static void add_location(struct exchange *x)
{
	_cleanup_buf_ struct buf query = BUF_INIT(EMU_HEADER_VALUE_MAX);

	exchange_api_version(x, &query);
	emu_reply_header(x->reply, "Location", "%s%s%s", x->req->base_url, x->req->path,
			 buf_str(&query));
}

void environments_put(struct exchange *x)
{
	const char *why =
		verstore_name_refused(x->param[PARAM_NAME], x->scope.kind == SCOPE_REGISTRY);
	_cleanup_json_ cJSON *json = NULL;
	struct env_props p = {0};
	struct err e = ERR_INIT;
	bool created = false;
	sqlite3 *conn;
	int ret;

	if (why) {
		exchange_error(x, 400, "UserError", "%s", why);
		return;
	}
	if (exchange_json(x, &json) || read_props(x, json, &p)) {
		cJSON_Delete(p.given);
		return;
	}
	conn = db_begin(x->emu->db, &e);
	ret = conn ? put(x, conn, &p, &created, &e) : -EIO;
	cJSON_Delete(p.given);
	if (conn && ret)
		db_rollback(x->emu->db);
	else if (conn)
		ret = db_commit(x->emu->db, &e);
	if (ret == -EPERM) {
		exchange_error(x, 400, "UserError", "%s", err_text(&e, ret));
	} else if (ret) {
		exchange_failure(x, ret, &e);
	} else {
		/* The data plane knows no other success than 201. */
		x->reply->status = created || x->plane == REPLY_DATA ? 201 : 200;
		if (x->reply->status == 201)
			add_location(x);
	}
}

static int remove_env(struct exchange *x, sqlite3 *conn, bool *found, struct err *e)
{
	bool curated = false;
	int64_t id;
	int ret = verstore_find_env(conn, x->scope.id, x->param[PARAM_NAME], &id, &curated, e);

	*found = ret == 1;
	if (ret != 1)
		return ret;
	if (curated)
		return err_set(e, -EPERM, "A curated environment can not be deleted.");
	return db_run(conn, e, "DELETE FROM environments WHERE id = ?", "i", id);
}

void environments_delete(struct exchange *x)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_begin(x->emu->db, &e);
	bool found = false;
	int ret = conn ? remove_env(x, conn, &found, &e) : -EIO;

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
