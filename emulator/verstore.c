#include "emulator/verstore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/clock.h"
#include "client/utf8.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"

#define CURATED_BY "mlenvfs" /* Azure's are by "Microsoft"; these are not */

enum {
	ENV_NAME_MAX = 255,
	VERSION_NAME_MAX = 255,
	NUMBER_DIGITS_MAX = 18, /* fits an int64_t */
};

int64_t verstore_cutoff(const struct emu *emu)
{
	if (!emu->conf.list_lag_s)
		return INT64_MAX;
	return clock_wall() - emu->conf.list_lag_s * NS_PER_S;
}

const char *verstore_name_refused(struct text name, bool registry)
{
	static const char *const reserved[] = {"AzureML", "Microsoft"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (name.len >= strlen(reserved[i]) &&
		    strncasecmp(name.ptr, reserved[i], strlen(reserved[i])) == 0)
			return "Environment name can not start with the prefix AzureML or "
			       "Microsoft. To alter a curated environment first create a copy of "
			       "it.";
	if (name.len <= ENV_NAME_MAX && name.len && !strchr("-_.", *name.ptr) &&
	    !(registry && name.ptr[name.len - 1] == '.')) {
		size_t n = 0;

		while (n < name.len && name.ptr[n] &&
		       strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.",
			      name.ptr[n]))
			n++;
		if (n == name.len)
			return NULL;
	}
	return "Resource name is invalid. Resource name can only contain alphanumeric characters, "
	       "dashes, underscores and dots, with a limit of 255 characters.";
}

const char *verstore_version_refused(struct text version)
{
	bool control = false;

	for (size_t i = 0; i < version.len; i++)
		control |= (unsigned char)version.ptr[i] < 0x20 || version.ptr[i] == 0x7f;
	if (control || !version.len || version.len > VERSION_NAME_MAX ||
	    memchr(version.ptr, '/', version.len) || text_is(version, ".") ||
	    text_is(version, "..") || !utf8_valid(version.ptr, version.len))
		return "Resource version is invalid. It must be a text of 1 to 255 characters "
		       "without slashes.";
	return NULL;
}

/* The value of a version's name that is a number; -1 when it is not. */
static int64_t version_number(struct text version)
{
	int64_t n = 0;

	if (!version.len || version.len > NUMBER_DIGITS_MAX)
		return -1;
	for (size_t i = 0; i < version.len; i++) {
		if (version.ptr[i] < '0' || version.ptr[i] > '9')
			return -1;
		n = n * 10 + (version.ptr[i] - '0');
	}
	return n;
}

int verstore_find_env(sqlite3 *conn, int64_t scope, struct text name, int64_t *id, bool *curated,
		      struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row,
			   "SELECT id, curated FROM environments WHERE scope = ? AND name = ?",
			   "it", scope, name.ptr, name.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret != 1)
		return ret;
	*id = sqlite3_column_int64(row, 0);
	if (curated)
		*curated = sqlite3_column_int(row, 1);
	return 1;
}

int verstore_ensure_env(struct emu *emu, sqlite3 *conn, int64_t scope, struct text name,
			bool curated, int64_t *id, bool *created, struct err *e)
{
	static const char sql[] =
		"INSERT INTO environments (scope, name, curated, body, created, changed,"
		" created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)";
	static const char body[] = "{\"description\":\"\",\"tags\":{},\"properties\":{}}";
	int ret = verstore_find_env(conn, scope, name, id, NULL, e);

	if (created)
		*created = !ret;
	if (ret)
		return ret < 0 ? ret : 0;
	ret = db_run(conn, e, sql, "ititis", scope, name.ptr, name.len, (int64_t)curated, body,
		     sizeof(body) - 1, clock_wall() / 100 * 100, curated ? CURATED_BY : emu->user);
	*id = sqlite3_last_insert_rowid(conn);
	return ret;
}

/* When a version made now was created: later than every other one of its environment. */
static int creation_time(sqlite3 *conn, int64_t env, int64_t *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int64_t now = clock_wall() / 100 * 100;
	int ret = db_query(conn, e, &row, "SELECT MAX(created) FROM versions WHERE environment = ?",
			   "i", env);

	if (!ret)
		ret = db_step(row, e);
	if (ret < 0)
		return ret;
	*out = sqlite3_column_int64(row, 0) + 100;
	if (*out < now)
		*out = now;
	return 0;
}

struct new_version {
	int64_t env;
	struct text name, body;
	const char *context, *dockerfile;
	bool archived, curated, raw;
	int64_t polls;
};

static int insert(struct emu *emu, sqlite3 *conn, const struct new_version *v, int64_t *row,
		  struct err *e)
{
	static const char sql[] =
		"INSERT INTO versions (environment, name, number, archived, curated, raw, body,"
		" context, dockerfile, created, changed, created_by, polls)"
		" VALUES (?1, ?2, NULLIF(?3, -1), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
	int64_t created;
	int ret = creation_time(conn, v->env, &created, e);

	if (ret)
		return ret;
	ret = db_run(conn, e, sql, "itiiiitssiisi", v->env, v->name.ptr, v->name.len,
		     version_number(v->name), (int64_t)v->archived, (int64_t)v->curated,
		     (int64_t)v->raw, v->body.ptr, v->body.len, v->context, v->dockerfile, created,
		     clock_wall(), v->curated ? CURATED_BY : emu->user, v->polls);
	*row = sqlite3_last_insert_rowid(conn);
	return ret;
}

int verstore_load(sqlite3 *conn, int64_t scope, struct text env, struct text version,
		  struct verprops *out, bool *curated, int64_t *id, struct err *e)
{
	static const char sql[] = "SELECT v.id, v.body, v.context, v.dockerfile, v.archived, "
				  "v.curated FROM versions v"
				  " JOIN environments e ON v.environment = e.id"
				  " WHERE e.scope = ? AND e.name = ? AND v.name = ?";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	const char *context, *dockerfile;
	int ret = db_query(conn, e, &row, sql, "itt", scope, env.ptr, env.len, version.ptr,
			   version.len);

	*out = (struct verprops){0};
	if (!ret)
		ret = db_step(row, e);
	if (ret != 1)
		return ret;
	*id = sqlite3_column_int64(row, 0);
	out->props = cJSON_ParseWithLength((const char *)sqlite3_column_text(row, 1),
					   (size_t)sqlite3_column_bytes(row, 1));
	/* A raw body may hold what is computed for others. */
	cJSON_DeleteItemFromObjectCaseSensitive(out->props, "isArchived");
	cJSON_DeleteItemFromObjectCaseSensitive(out->props, "provisioningState");
	context = (const char *)sqlite3_column_text(row, 2);
	dockerfile = (const char *)sqlite3_column_text(row, 3);
	out->context = context ? strdup(context) : NULL;
	out->dockerfile = dockerfile ? strdup(dockerfile) : NULL;
	out->archived = sqlite3_column_int(row, 4);
	out->has_archived = true;
	*curated = sqlite3_column_int(row, 5);
	if ((context && !out->context) || (dockerfile && !out->dockerfile))
		return err_set(e, -ENOMEM, "no memory");
	return 1;
}

/* Applies what may change. A write that changes nothing writes nothing. */
static int update(struct emu *emu, sqlite3 *conn, int64_t row, struct verprops *old,
		  const struct verprops *given, struct err *e)
{
	static const char sql[] =
		"UPDATE versions SET old_body = IIF(changed <= ?1, body, old_body),"
		" old_archived = IIF(changed <= ?1, archived, old_archived), body = ?2,"
		" archived = ?3, changed = ?4, raw = 0 WHERE id = ?5";
	_cleanup_free_ char *before = cJSON_PrintUnformatted(old->props), *after = NULL;
	bool archived = given->has_archived ? given->archived : old->archived;

	if (!before || verprops_merge(old->props, given->props))
		return err_set(e, -ENOMEM, "no memory");
	after = cJSON_PrintUnformatted(old->props);
	if (!after)
		return err_set(e, -ENOMEM, "no memory");
	if (strcmp(before, after) == 0 && archived == old->archived)
		return 0;
	return db_run(conn, e, sql, "isiii", verstore_cutoff(emu), after, (int64_t)archived,
		      clock_wall(), row);
}

static int create(struct emu *emu, sqlite3 *conn, struct verstore_put *put, struct err *e)
{
	struct verprops *p = put->props;
	struct new_version v = {.name = put->version,
				.context = p->context,
				.dockerfile = p->dockerfile,
				.archived = p->archived,
				.curated = put->curated,
				.polls = put->polls};
	_cleanup_free_ char *body = NULL;
	int ret =
		verstore_ensure_env(emu, conn, put->scope, put->env, put->curated, &v.env, NULL, e);

	if (ret)
		return ret;
	if (put->curated)
		cJSON_ReplaceItemInObjectCaseSensitive(p->props, "environmentType",
						       cJSON_CreateString("Curated"));
	body = verprops_fill(p->props) ? NULL : cJSON_PrintUnformatted(p->props);
	if (!body)
		return err_set(e, -ENOMEM, "no memory");
	v.body = (struct text){body, strlen(body)};
	return insert(emu, conn, &v, &put->row, e);
}

/* Whether the environment is a curated one, which others may not add to. */
static int is_closed(sqlite3 *conn, const struct verstore_put *put, bool *closed, struct err *e)
{
	bool curated = false;
	int64_t id;
	int ret = verstore_find_env(conn, put->scope, put->env, &id, &curated, e);

	*closed = curated && !put->curated;
	return ret < 0 ? ret : 0;
}

int verstore_put(struct emu *emu, sqlite3 *conn, struct verstore_put *put,
		 enum verstore_result *result, struct err *e)
{
	struct verprops old;
	bool curated = false, closed = false;
	int ret = verstore_load(conn, put->scope, put->env, put->version, &old, &curated, &put->row,
				e);

	if (ret == 1) {
		ret = 0;
		*result = curated ? VERSTORE_CURATED : VERSTORE_CONFLICT;
		if (!curated && old.props && verprops_same_content(&old, put->props)) {
			*result = VERSTORE_UPDATED;
			ret = update(emu, conn, put->row, &old, put->props, e);
		}
	} else if (ret == 0) {
		ret = is_closed(conn, put, &closed, e);
		*result = closed ? VERSTORE_CURATED : VERSTORE_CREATED;
		if (!ret && !closed)
			ret = create(emu, conn, put, e);
	}
	verprops_release(&old);
	return ret;
}

int verstore_put_raw(struct emu *emu, sqlite3 *conn, int64_t scope, struct text env,
		     struct text version, struct text body, bool archived, bool curated,
		     struct err *e)
{
	struct new_version v = {.name = version,
				.body = body,
				.archived = archived,
				.curated = curated,
				.raw = true};
	int64_t row;
	int ret = verstore_ensure_env(emu, conn, scope, env, curated, &v.env, NULL, e);

	if (!ret)
		ret = db_run(conn, e, "DELETE FROM versions WHERE environment = ? AND name = ?",
			     "it", v.env, version.ptr, version.len);
	if (!ret)
		ret = insert(emu, conn, &v, &row, e);
	return ret;
}
