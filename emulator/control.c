/* /__mlenvfs/: what tests and set-up need and Azure does not have. See docs/emulator.md. */
#include "emulator/exchange.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "emulator/counters.h"
#include "emulator/db.h"
#include "emulator/faults.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"
#include "emulator/verstore.h"

void control_counters(struct exchange *x)
{
	int ret = counters_json(x->emu->counters, &x->reply->body);

	if (ret)
		exchange_failure(x, ret, NULL);
}

void control_counters_reset(struct exchange *x)
{
	counters_reset(x->emu->counters);
	x->reply->status = 204;
}

void control_faults(struct exchange *x)
{
	struct err e = ERR_INIT;
	int ret =
		faults_set(x->emu->faults, x->req->body ? x->req->body : "", x->req->body_len, &e);

	if (ret == -EBADMSG)
		exchange_error(x, 400, "UserError", "%s", err_text(&e, ret));
	else if (ret)
		exchange_failure(x, ret, &e);
	else
		x->reply->status = 204;
}

/* Makes a scope where the query says, or finds it; answers 201 or 200 with its name. */
static void make_scope(struct exchange *x, enum scope_kind kind)
{
	const char *group = emu_param(x->req, "resourceGroup");
	struct text name = x->param[0], subscription = {EMU_SUBSCRIPTION, strlen(EMU_SUBSCRIPTION)};
	struct text place = {group ? group : EMU_RESOURCE_GROUP, 0}, any = {0};
	struct err e = ERR_INIT;
	struct emu_scope s;
	int ret;

	place.len = strlen(place.ptr);
	if (!scope_name_ok(name) || !scope_group_ok(place)) {
		exchange_error(x, 400, "ValidationError",
			       "The name is invalid: 3 to 33 letters, digits, '-' and '_'.");
		return;
	}
	ret = scopes_find(x->emu, kind, subscription, kind == SCOPE_REGISTRY ? any : place, name,
			  &s, &e);
	scope_release(&s);
	x->reply->status = ret == 1 ? 200 : 201;
	if (ret == 0)
		ret = scopes_create(x->emu, kind, subscription, place, name, "{}", "{}", true, &e);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else
		buf_addf(&x->reply->body, "{\"name\":\"%.*s\"}", (int)name.len, name.ptr);
}

void control_registry(struct exchange *x)
{
	make_scope(x, SCOPE_REGISTRY);
}

void control_workspace(struct exchange *x)
{
	make_scope(x, SCOPE_WORKSPACE);
}

/* The scope of /__mlenvfs/raw/{scope}: a workspace, or "@registry". false: the reply is an error.
 */
static bool raw_scope(struct exchange *x, struct emu_scope *out)
{
	const char *group = emu_param(x->req, "resourceGroup");
	struct text name = x->param[0], any = {0}, place = {group, group ? strlen(group) : 0};
	enum scope_kind kind = *name.ptr == '@' ? SCOPE_REGISTRY : SCOPE_WORKSPACE;
	struct err e = ERR_INIT;
	int ret;

	if (kind == SCOPE_REGISTRY)
		name = (struct text){name.ptr + 1, name.len - 1};
	ret = scopes_find(x->emu, kind, any, place, name, out, &e);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		exchange_error(x, 404, "UserError", "There is no such workspace or registry.");
	return ret == 1;
}

/* A workspace shows a curated environment without what it is made of. */
static char *hide_content(const char *text, size_t len)
{
	_cleanup_json_ cJSON *json = cJSON_ParseWithLength(text, len);

	if (!cJSON_IsObject(json))
		return NULL;
	cJSON_DeleteItemFromObjectCaseSensitive(json, "image");
	cJSON_DeleteItemFromObjectCaseSensitive(json, "build");
	cJSON_DeleteItemFromObjectCaseSensitive(json, "condaFile");
	cJSON_DeleteItemFromObjectCaseSensitive(json, "environmentType");
	if (!cJSON_AddStringToObject(json, "condaFile", "") ||
	    !cJSON_AddStringToObject(json, "environmentType", "Curated"))
		return NULL;
	return cJSON_PrintUnformatted(json);
}

static bool says_archived(const char *text, size_t len)
{
	_cleanup_json_ cJSON *json = cJSON_ParseWithLength(text, len);

	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "isArchived"));
}

static int store_raw(struct exchange *x, const struct emu_scope *s, struct text body, bool curated,
		     struct err *e)
{
	sqlite3 *conn = db_begin(x->emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = verstore_put_raw(x->emu, conn, s->id, x->param[1], x->param[2], body,
			       says_archived(body.ptr, body.len), curated, e);
	if (!ret)
		return db_commit(x->emu->db, e);
	db_rollback(x->emu->db);
	return ret;
}

void control_raw(struct exchange *x)
{
	const char *flag = emu_param(x->req, "curated");
	bool curated = flag && strcasecmp(flag, "true") == 0;
	struct text body = {x->req->body ? x->req->body : "", x->req->body_len};
	_cleanup_free_ char *hidden = NULL;
	struct err e = ERR_INIT;
	struct emu_scope s;
	int ret;

	if (raw_scope(x, &s)) {
		if (curated && s.kind == SCOPE_WORKSPACE)
			hidden = hide_content(body.ptr, body.len);
		if (hidden)
			body = (struct text){hidden, strlen(hidden)};
		ret = store_raw(x, &s, body, curated, &e);
		if (ret)
			exchange_failure(x, ret, &e);
		else
			x->reply->status = 201;
	}
	scope_release(&s);
}
