#include "emulator/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/listing.h"
#include "emulator/scopes.h"

static const char *auth_mode(const struct emu *emu)
{
	switch (emu->conf.storage_auth) {
	case EMU_STORAGE_SAS:
		return "UserDelegationSAS";
	case EMU_STORAGE_NONE:
		return "Identity";
	default:
		return "AccessKey";
	}
}

/* The body without its braces, with a comma after it where there is something in it. */
static void add_members(const char *object, struct buf *b)
{
	size_t len = strlen(object);

	if (len <= 2)
		return;
	buf_add(b, object + 1, len - 2);
	buf_addch(b, ',');
}

static void add_workspace(struct exchange *x, const struct emu_scope *s)
{
	struct buf *b = &x->reply->body;
	_cleanup_buf_ struct buf id = BUF_INIT(EMU_HEADER_VALUE_MAX);

	scope_add_id(s, &id);
	buf_addstr(b, "{\"id\":");
	json_add_text(b, buf_str(&id), id.len);
	buf_addf(b,
		 ",\"name\":\"%s\",\"type\":\"" EMU_PROVIDER "/workspaces\",\"location\":\"%s\","
		 "\"kind\":\"Default\",\"sku\":{\"name\":\"Basic\",\"tier\":\"Basic\"},\"tags\":%s,"
		 "\"properties\":{",
		 s->name, s->location, s->tags);
	add_members(s->body, b);
	buf_addf(b,
		 "\"workspaceId\":\"%s\",\"tenantId\":\"" EMU_SUBSCRIPTION "\","
		 "\"discoveryUrl\":\"%s/discovery\","
		 "\"mlFlowTrackingUri\":\"%s/mlflow/v1.0%s\","
		 "\"storageAccount\":\"/subscriptions/%s/resourceGroups/%s/providers/"
		 "Microsoft.Storage/storageAccounts/" EMU_ACCOUNT "\","
		 "\"systemDatastoresAuthMode\":\"%s\",\"publicNetworkAccess\":\"Enabled\","
		 "\"hbiWorkspace\":false,\"provisioningState\":\"Succeeded\"}",
		 s->guid, x->req->base_url, x->req->base_url, buf_str(&id), s->subscription,
		 s->group, auth_mode(x->emu));
	scope_add_system_data(s->created_by, s->created, b);
	buf_addch(b, '}');
}

static int list_rows(struct exchange *x, struct listing *l, struct text group, sqlite3 *conn,
		     struct err *e)
{
	static const char sql[] = "SELECT " SCOPE_COLUMNS " FROM scopes WHERE kind = 0"
				  " AND subscription = ?1 AND (?2 OR resource_group = ?3)"
				  " AND id > ?4 ORDER BY id LIMIT ?5";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	struct text subscription = x->param[PARAM_SUBSCRIPTION];
	int ret = db_query(conn, e, &row, sql, "titii", subscription.ptr, subscription.len,
			   (int64_t)!group.ptr, group.ptr, group.len, l->major, l->fetch);

	while (!ret && (ret = db_step(row, e)) == 1) {
		struct emu_scope s;

		ret = scope_from_row(row, &s);
		if (ret)
			break;
		if (listing_row(x, l, s.id, s.id))
			add_workspace(x, &s);
		scope_release(&s);
	}
	return ret;
}

static bool is_own_place(struct exchange *x, struct text group)
{
	return text_is_case(x->param[PARAM_SUBSCRIPTION], EMU_SUBSCRIPTION) &&
	       (!group.ptr || text_is_case(group, EMU_RESOURCE_GROUP));
}

static void list(struct exchange *x, struct text group)
{
	struct err e = ERR_INIT;
	struct listing l;
	sqlite3 *conn;
	int ret;

	if (listing_begin(x, &l, false))
		return;
	conn = db_reader(x->emu->db, &e);
	ret = conn ? list_rows(x, &l, group, conn, &e) : -EIO;
	db_release(x->emu->db, conn);
	if (ret) {
		exchange_failure(x, ret, &e);
		return;
	}
	/* A subscription or group exists here when something is in it, and where we began. */
	if (!l.seen && l.major == INT64_MIN && !is_own_place(x, group)) {
		exchange_error(x, 404, group.ptr ? "ResourceGroupNotFound" : "SubscriptionNotFound",
			       group.ptr ? "Resource group '%.*s' could not be found."
					 : "The subscription '%.*s' could not be found.",
			       (int)(group.ptr ? group.len : x->param[PARAM_SUBSCRIPTION].len),
			       group.ptr ? group.ptr : x->param[PARAM_SUBSCRIPTION].ptr);
		return;
	}
	listing_end(x, &l);
}

void workspaces_list(struct exchange *x)
{
	list(x, (struct text){0});
}

void workspaces_list_group(struct exchange *x)
{
	list(x, x->param[PARAM_GROUP]);
}

void workspaces_get(struct exchange *x)
{
	add_workspace(x, &x->scope);
}

/* The properties that are kept: friendlyName and description. NULL when memory ran out. */
static char *read_properties(const cJSON *json)
{
	static const char *const kept[] = {"friendlyName", "description"};
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "properties");
	_cleanup_json_ cJSON *out = cJSON_CreateObject();

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = json_get_string(given, kept[i]);

		if (value && !cJSON_AddStringToObject(out, kept[i], value))
			return NULL;
	}
	return out ? cJSON_PrintUnformatted(out) : NULL;
}

static bool tags_ok(const cJSON *tags)
{
	const cJSON *item;

	if (!tags || cJSON_IsNull(tags))
		return true;
	if (!cJSON_IsObject(tags))
		return false;
	cJSON_ArrayForEach(item, tags)
		if (!cJSON_IsString(item))
			return false;
	return true;
}

/* -EINVAL: the reply is a 400. */
static int read_body(struct exchange *x, char **body, char **tags)
{
	_cleanup_json_ cJSON *json = NULL;
	const cJSON *given_tags;
	const char *location;

	if (exchange_json(x, &json))
		return -EINVAL;
	location = json_get_string(json, "location");
	if (!location || !*location) {
		exchange_error(x, 400, "LocationRequired",
			       "The location property is required for this definition.");
		return -EINVAL;
	}
	given_tags = cJSON_GetObjectItemCaseSensitive(json, "tags");
	if (!tags_ok(given_tags)) {
		exchange_error(x, 400, "InvalidRequestContent", "tags: not a map of strings.");
		return -EINVAL;
	}
	*body = read_properties(json);
	*tags = cJSON_IsObject(given_tags) ? cJSON_PrintUnformatted(given_tags) : strdup("{}");
	if (*body && *tags)
		return 0;
	exchange_failure(x, -ENOMEM, NULL);
	return -ENOMEM;
}

static void show(struct exchange *x, int status)
{
	struct err e = ERR_INIT;
	struct emu_scope s;
	int ret = scopes_find(x->emu, SCOPE_WORKSPACE, x->param[PARAM_SUBSCRIPTION],
			      x->param[PARAM_GROUP], x->param[PARAM_SCOPE], &s, &e);

	if (ret == 1) {
		x->reply->status = status;
		add_workspace(x, &s);
	} else {
		exchange_failure(x, ret ? ret : -EIO, &e);
	}
	scope_release(&s);
}

static bool check_names(struct exchange *x)
{
	if (!scope_name_ok(x->param[PARAM_SCOPE])) {
		exchange_error(x, 400, "ValidationError",
			       "The workspace name is invalid: 3 to 33 letters, digits, '-' and "
			       "'_', beginning with a letter or digit.");
		return false;
	}
	if (!scope_group_ok(x->param[PARAM_GROUP]) ||
	    !scope_group_ok(x->param[PARAM_SUBSCRIPTION])) {
		exchange_error(x, 400, "InvalidResourceGroup",
			       "The subscription or resource group name is invalid.");
		return false;
	}
	return true;
}

void workspaces_put(struct exchange *x)
{
	_cleanup_free_ char *body = NULL, *tags = NULL;
	struct err e = ERR_INIT;
	struct emu_scope old;
	int ret, found;

	if (!check_names(x) || read_body(x, &body, &tags))
		return;
	found = scopes_find(x->emu, SCOPE_WORKSPACE, x->param[PARAM_SUBSCRIPTION],
			    x->param[PARAM_GROUP], x->param[PARAM_SCOPE], &old, &e);
	if (found == 1)
		ret = scopes_update(x->emu, old.id, body, tags, &e);
	else if (found == 0)
		ret = scopes_create(x->emu, SCOPE_WORKSPACE, x->param[PARAM_SUBSCRIPTION],
				    x->param[PARAM_GROUP], x->param[PARAM_SCOPE], body, tags, true,
				    &e);
	else
		ret = found;
	scope_release(&old);
	/* Two creators at once: the loser finds the winner's. */
	if (ret && ret != -EEXIST)
		exchange_failure(x, ret, &e);
	else
		show(x, found == 1 ? 200 : 201);
}
