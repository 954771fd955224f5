#include "emulator/share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"
#include "emulator/verstore.h"

#define OPERATION_TIMEOUT "PT1H"
enum { OPERATION_KEEP_S = 3600 };

static void add_encoded(struct buf *b, struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.ptr[i];

		if (c &&
		    strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", c))
			buf_addch(b, (char)c);
		else
			buf_addf(b, "%%%02X", c);
	}
}

int share_operation_new(sqlite3 *conn, const char *registry, struct text env, struct text version,
			int64_t row, char out[SHARE_OPERATION_SIZE], struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(SHARE_OPERATION_SIZE);
	int64_t now = clock_wall();
	int ret = db_run(conn, e, "DELETE FROM operations WHERE created < ?", "i",
			 now - OPERATION_KEEP_S * NS_PER_S);

	if (!ret)
		ret = db_run(conn, e,
			     "INSERT INTO operations (name, version, created) VALUES ('', ?, ?)",
			     "ii", row, now);
	if (ret)
		return ret;
	buf_addf(&name, "%s_%.*s_%.*s_%lld", registry, (int)env.len, env.ptr, (int)version.len,
		 version.ptr, (long long)sqlite3_last_insert_rowid(conn));
	if (buf_error(&name) || name.len >= SHARE_OPERATION_SIZE)
		return err_set(e, -EFBIG, "the operation's name is too long");
	memcpy(out, name.data, name.len + 1);
	return db_run(conn, e, "UPDATE operations SET name = ? WHERE id = ?", "si", out,
		      (int64_t)sqlite3_last_insert_rowid(conn));
}

/* Where a Location header leads: answers 202 until it is done, then 200. */
static void add_location_poll(struct exchange *x, const char *operation)
{
	_cleanup_buf_ struct buf name = BUF_INIT(EMU_HEADER_VALUE_MAX);

	add_encoded(&name, (struct text){operation, strlen(operation)});
	emu_reply_header(x->reply, "Location", "%s/environment/v1.0/operations/%s",
			 x->req->base_url, buf_str(&name));
	emu_reply_header(x->reply, "x-ms-async-operation-timeout", OPERATION_TIMEOUT);
}

/* Where an Azure-AsyncOperation header leads: answers 200 and a status. */
static void add_async_poll(struct exchange *x, const struct emu_scope *registry,
			   const char *operation)
{
	_cleanup_buf_ struct buf name = BUF_INIT(EMU_HEADER_VALUE_MAX),
				 query = BUF_INIT(EMU_HEADER_VALUE_MAX);

	add_encoded(&name, (struct text){operation, strlen(operation)});
	exchange_api_version(x, &query);
	emu_reply_header(x->reply, "Azure-AsyncOperation",
			 "%s/subscriptions/%s/providers/" EMU_PROVIDER "/locations/" EMU_LOCATION
			 "/operations/%s%s",
			 x->req->base_url, registry->subscription, buf_str(&name), buf_str(&query));
	emu_reply_header(x->reply, "x-ms-async-operation-timeout", OPERATION_TIMEOUT);
}

void share_put_answer(struct exchange *x, bool created, const char *operation)
{
	_cleanup_buf_ struct buf query = BUF_INIT(EMU_HEADER_VALUE_MAX);

	if (x->plane == REPLY_DATA && x->scope.kind == SCOPE_REGISTRY) {
		x->reply->status = 202;
		buf_reset(&x->reply->body);
		buf_addstr(&x->reply->body, "null");
		add_location_poll(x, operation);
		return;
	}
	x->reply->status = created ? 201 : 200;
	if (!created)
		return;
	if (x->scope.kind == SCOPE_REGISTRY) {
		add_async_poll(x, &x->scope, operation);
		return;
	}
	exchange_api_version(x, &query);
	emu_reply_header(x->reply, "Location", "%s%s%s", x->req->base_url, x->req->path,
			 buf_str(&query));
}

int share_count_poll(struct exchange *x, struct err *e)
{
	static const char sql[] = "UPDATE versions SET polls = MAX(polls - 1, 0) WHERE name = ?1"
				  " AND environment = (SELECT id FROM environments"
				  " WHERE scope = ?2 AND name = ?3)";
	struct text env = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];
	sqlite3 *conn = db_begin(x->emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = db_run(conn, e, sql, "tit", version.ptr, version.len, x->scope.id, env.ptr, env.len);
	if (!ret) {
		ret = db_commit(x->emu->db, e);
		return ret ? ret : 1;
	}
	db_rollback(x->emu->db);
	return ret;
}

/* Asks an operation once: 1 and the polls that are left, 0 when there is none, or an error. */
static int poll_operation(struct exchange *x, struct text name, int64_t *left, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	sqlite3 *conn = db_begin(x->emu->db, e);
	int64_t version = 0;
	int ret;

	if (!conn)
		return -EIO;
	ret = db_query(conn, e, &row,
		       "SELECT v.id, v.polls FROM operations o JOIN versions v ON v.id = o.version"
		       " WHERE o.name = ?",
		       "t", name.ptr, name.len);
	if (!ret)
		ret = db_step(row, e);
	if (ret == 1) {
		version = sqlite3_column_int64(row, 0);
		*left = sqlite3_column_int64(row, 1);
	}
	sqlite3_finalize(steal_ptr(&row));
	if (ret == 1 && *left > 0) {
		ret = db_run(conn, e, "UPDATE versions SET polls = polls - 1 WHERE id = ?", "i",
			     version);
		if (!ret)
			ret = db_commit(x->emu->db, e);
		else
			db_rollback(x->emu->db);
		return ret ? ret : 1;
	}
	db_rollback(x->emu->db);
	return ret;
}

/* The operation that the path names, asked once; false: the reply is an error. */
static bool poll_named(struct exchange *x, struct text name, int64_t *left)
{
	struct err e = ERR_INIT;
	int ret = poll_operation(x, name, left, &e);

	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		exchange_error(x, 404, "UserError", "There is no operation of this name.");
	return ret == 1;
}

void operations_location(struct exchange *x)
{
	int64_t left;

	x->plane = REPLY_DATA;
	if (!poll_named(x, x->param[0], &left))
		return;
	x->reply->status = left > 0 ? 202 : 200;
	/* Without it, or with 0, Microsoft's clients wait for half a minute. */
	if (left > 0)
		emu_reply_header(x->reply, "Retry-After", "1");
}

void operations_status(struct exchange *x)
{
	int64_t left;

	if (!poll_named(x, x->param[2], &left))
		return;
	buf_addf(&x->reply->body, "{\"status\":\"%s\"}", left > 0 ? "InProgress" : "Succeeded");
	if (left > 0)
		emu_reply_header(x->reply, "Retry-After", "1");
}

struct copy {
	const struct emu_scope *from, *to;
	struct text env, version;       /* what is copied */
	struct text to_env, to_version; /* what it will be called */
	char operation[SHARE_OPERATION_SIZE];
	enum verstore_result result;
};

/* -ENOENT: there is no such version; -EPERM: it can't be shared. */
static int copy_version(struct exchange *x, sqlite3 *conn, struct copy *c, struct err *e)
{
	struct verstore_put put = {.scope = c->to->id,
				   .env = c->to_env,
				   .version = c->to_version,
				   .polls = x->emu->conf.registry_polls};
	struct verprops props;
	bool curated;
	int64_t row;
	int ret = verstore_load(conn, c->from->id, c->env, c->version, &props, &curated, &row, e);

	put.props = &props;
	props.archived = false;
	if (ret == 0)
		ret = -ENOENT;
	else if (ret == 1)
		ret = curated || !props.props ? -EPERM
					      : verstore_put(x->emu, conn, &put, &c->result, e);
	if (!ret && (c->result == VERSTORE_CREATED || c->result == VERSTORE_UPDATED))
		ret = share_operation_new(conn, c->to->name, c->to_env, c->to_version, put.row,
					  c->operation, e);
	verprops_release(&props);
	return ret;
}

/* Copies in a transaction; 0, or the reply is an error and the result negative. */
static int copy_and_answer(struct exchange *x, struct copy *c)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_begin(x->emu->db, &e);
	int ret = conn ? copy_version(x, conn, c, &e) : -EIO;

	if (!ret && c->result != VERSTORE_CREATED && c->result != VERSTORE_UPDATED)
		ret = -EEXIST;
	if (!ret)
		ret = db_commit(x->emu->db, &e);
	else if (conn)
		db_rollback(x->emu->db);
	if (ret == -ENOENT)
		exchange_error(x, 404, "UserError",
			       "No environment exists for name: %.*s, version: %.*s, label: ",
			       (int)c->env.len, c->env.ptr, (int)c->version.len, c->version.ptr);
	else if (ret == -EPERM)
		exchange_error(x, 400, "UserError", "A curated environment can not be shared.");
	else if (ret == -EEXIST)
		exchange_error(x, 409, "UserError",
			       "Environment %.*s with version %.*s is already registered and "
			       "cannot be changed.",
			       (int)c->to_env.len, c->to_env.ptr, (int)c->to_version.len,
			       c->to_version.ptr);
	else if (ret)
		exchange_failure(x, ret, &e);
	return ret;
}

static bool target_ok(struct exchange *x, const struct copy *c)
{
	const char *why = verstore_name_refused(c->to_env, true);

	if (!why)
		why = verstore_version_refused(c->to_version);
	if (why)
		exchange_error(x, 400, "UserError", "%s", why);
	else if (!c->to->writable)
		exchange_error(x, 403, "AuthorizationFailed",
			       "The registry %s can not be written to.", c->to->name);
	else
		return true;
	return false;
}

static struct text text_or(const char *s, struct text fallback)
{
	return s && *s ? (struct text){s, strlen(s)} : fallback;
}

void versions_publish(struct exchange *x)
{
	_cleanup_json_ cJSON *json = NULL;
	struct emu_scope to = {0};
	struct err e = ERR_INIT;
	const char *registry;
	int ret;

	if (exchange_json(x, &json))
		return;
	registry = json_get_string(json, "registryName");
	ret = scopes_find(x->emu, SCOPE_REGISTRY, (struct text){0}, (struct text){0},
			  text_or(registry, (struct text){"", 0}), &to, &e);
	if (ret < 0) {
		exchange_failure(x, ret, &e);
	} else if (!ret) {
		exchange_error(x, 404, "UserError", "There is no registry '%s'.",
			       registry ? registry : "");
	} else {
		struct copy c = {.from = &x->scope,
				 .to = &to,
				 .env = x->param[PARAM_NAME],
				 .version = x->param[PARAM_VERSION]};

		c.to_env = text_or(json_get_string(json, "destinationName"), c.env);
		c.to_version = text_or(json_get_string(json, "destinationVersion"), c.version);
		if (target_ok(x, &c) && !copy_and_answer(x, &c) && x->emu->conf.registry_polls) {
			x->reply->status = 202;
			add_location_poll(x, c.operation);
			emu_reply_header(x->reply, "Retry-After", "1");
		}
	}
	scope_release(&to);
}

/*
 * Takes azureml://locations/{location}/workspaces/{guid}/environments/{name}/versions/{version}
 * apart. id is changed.
 */
static bool read_asset_id(char *id, struct text part[4])
{
	static const char scheme[] = "azureml:/";
	static const char pattern[] = "/locations/{}/workspaces/{}/environments/{}/versions/{}";
	struct path path;
	struct text params[ROUTE_PARAMS_MAX];
	size_t n = 0;
	bool ok = strncmp(id, scheme, sizeof(scheme) - 1) == 0;

	if (!ok)
		return false;
	ok = path_split(id + sizeof(scheme) - 1, &path, NULL) == 0 &&
	     route_match(pattern, &path, 0, params, &n) && n == 4;
	for (size_t i = 0; ok && i < 4; i++) {
		/* Nothing is longer than what it was read from. */
		memmove(id, params[i].ptr, params[i].len);
		part[i] = (struct text){id, params[i].len};
		id += params[i].len;
	}
	path_free(&path);
	return ok;
}

/* The workspace of that guid: 1, 0 when there is none, or a negative errno. */
static int find_workspace(struct emu *emu, struct text guid, struct emu_scope *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	sqlite3 *conn = db_reader(emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = db_query(conn, e, &row,
		       "SELECT " SCOPE_COLUMNS " FROM scopes WHERE kind = 0 AND guid = ?", "t",
		       guid.ptr, guid.len);
	if (!ret)
		ret = db_step(row, e);
	if (ret == 1 && scope_from_row(row, out))
		ret = -ENOMEM;
	sqlite3_finalize(steal_ptr(&row));
	db_release(emu->db, conn);
	return ret;
}

static void import(struct exchange *x, const cJSON *properties, char *source)
{
	struct emu_scope from = {0};
	struct err e = ERR_INIT;
	struct text part[4];
	int ret = 0;

	if (read_asset_id(source, part))
		ret = find_workspace(x->emu, part[1], &from, &e);
	if (ret < 0) {
		exchange_failure(x, ret, &e);
	} else if (!ret) {
		exchange_error(x, 404, "UserError", "sourceAssetId names no asset of a workspace.");
	} else {
		struct copy c = {
			.from = &from, .to = &x->scope, .env = part[2], .version = part[3]};

		c.to_env = text_or(json_get_string(properties, "destinationName"), c.env);
		c.to_version =
			text_or(json_get_string(properties, "destinationVersion"), c.version);
		if (target_ok(x, &c) && !copy_and_answer(x, &c)) {
			x->reply->status = 202;
			add_async_poll(x, &x->scope, c.operation);
		}
	}
	scope_release(&from);
}

void registries_import(struct exchange *x)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ char *source = NULL;
	const cJSON *properties;
	const char *id;

	if (exchange_json(x, &json))
		return;
	properties = cJSON_GetObjectItemCaseSensitive(json, "properties");
	id = json_get_string(properties, "sourceAssetId");
	source = id ? strdup(id) : NULL;
	if (!id)
		exchange_error(x, 400, "ValidationError", "sourceAssetId is required.");
	else if (!source)
		exchange_failure(x, -ENOMEM, NULL);
	else
		import(x, properties, source);
}
