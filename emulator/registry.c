/* Registries: the resources of ARM, and references to the blobs of their environments. */
#include "emulator/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/listing.h"
#include "emulator/scopes.h"
#include "emulator/verstore.h"

enum { SAS_SIZE = 1024 };

static void add_registry(struct exchange *x, const struct emu_scope *s)
{
	struct buf *b = &x->reply->body;

	buf_addstr(b, "{\"id\":\"");
	scope_add_id(s, b);
	buf_addf(b,
		 "\",\"name\":\"%s\",\"type\":\"" EMU_PROVIDER "/registries\",\"location\":\"%s\","
		 "\"tags\":%s,\"identity\":{\"type\":\"None\"},\"properties\":{"
		 "\"discoveryUrl\":\"%s/registrymanagement/v1.0/registries/%s/discovery\","
		 "\"mlFlowRegistryUri\":\"%s/mlflow/v1.0/registries/%s\","
		 "\"publicNetworkAccess\":\"Enabled\","
		 "\"regionDetails\":[{\"location\":\"%s\",\"acrDetails\":[],"
		 "\"storageAccountDetails\":[]}]}",
		 s->name, s->location, s->tags, x->req->base_url, s->name, x->req->base_url,
		 s->name, s->location);
	scope_add_system_data(s->created_by, s->created, b);
	buf_addch(b, '}');
}

static int list_rows(struct exchange *x, struct listing *l, struct text group, sqlite3 *conn,
		     struct err *e)
{
	static const char sql[] = "SELECT " SCOPE_COLUMNS " FROM scopes WHERE kind = 1"
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
			add_registry(x, &s);
		scope_release(&s);
	}
	return ret;
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
	if (ret)
		exchange_failure(x, ret, &e);
	else
		listing_end(x, &l);
}

void registries_list(struct exchange *x)
{
	list(x, (struct text){0});
}

void registries_list_group(struct exchange *x)
{
	list(x, x->param[PARAM_GROUP]);
}

void registries_get(struct exchange *x)
{
	add_registry(x, &x->scope);
}

/* Reads a version of the registry: 1 and its properties, 0 when there is none, or an error. */
static int load_version(struct exchange *x, struct verprops *out, struct err *e)
{
	sqlite3 *conn = db_reader(x->emu->db, e);
	bool curated;
	int64_t row;
	int ret;

	*out = (struct verprops){0};
	if (!conn)
		return -EIO;
	ret = verstore_load(conn, x->scope.id, x->param[PARAM_NAME], x->param[PARAM_VERSION], out,
			    &curated, &row, e);
	db_release(x->emu->db, conn);
	return ret;
}

/* Appends "blobReferenceForConsumption":{...}; sas NULL: none is needed. */
static void add_reference(struct exchange *x, const char *uri, const char *container_uri,
			  const char *sas)
{
	struct buf *b = &x->reply->body;
	_cleanup_buf_ struct buf sas_uri = BUF_INIT(EMU_JSON_MAX);

	buf_addstr(b, "\"blobReferenceForConsumption\":{\"blobUri\":");
	json_add_string(b, uri);
	buf_addf(b,
		 ",\"storageAccountArmId\":\"/subscriptions/%s/resourceGroups/%s/providers/"
		 "Microsoft.Storage/storageAccounts/" EMU_ACCOUNT "\",\"credential\":{",
		 x->scope.subscription, x->scope.group);
	if (sas) {
		buf_addf(&sas_uri, "%s?%s", container_uri, sas);
		buf_addstr(b, "\"credentialType\":\"SAS\",\"sasUri\":");
		json_add_text(b, buf_str(&sas_uri), sas_uri.len);
		buf_addch(b, '}');
	} else {
		buf_addstr(b, "\"credentialType\":\"NoCredentials\"}");
	}
	buf_addch(b, '}');
	buf_wipe(&sas_uri);
}

/* A container of its own for every upload: Microsoft's client never overwrites what is in one. */
static int new_container(struct exchange *x, char container[CONTAINER_SIZE], char sas[SAS_SIZE],
			 struct err *e)
{
	char guid[GUID_SIZE];
	int ret;

	if (guid_new(guid))
		return err_set(e, -EIO, "no randomness for an id");
	snprintf(container, CONTAINER_SIZE, "registry-%s", guid);
	ret = blobs_create_container(x->emu, container, e);
	if (!ret)
		ret = blobs_make_sas(x->emu, container, "rcwl", emu_sas_seconds(x->emu), sas,
				     SAS_SIZE, e);
	return ret;
}

static void give_container(struct exchange *x)
{
	_cleanup_buf_ struct buf uri = BUF_INIT(EMU_JSON_MAX);
	char container[CONTAINER_SIZE], sas[SAS_SIZE], guid[GUID_SIZE];
	struct err e = ERR_INIT;
	int ret = new_container(x, container, sas, &e);

	if (!ret)
		ret = guid_new(guid);
	if (ret) {
		exchange_failure(x, ret, &e);
		return;
	}
	buf_addf(&uri, "%s/" EMU_ACCOUNT "/%s", x->req->base_url, container);
	buf_addch(&x->reply->body, '{');
	add_reference(x, buf_str(&uri), buf_str(&uri), sas);
	buf_addf(&x->reply->body,
		 ",\"imageReferenceForConsumption\":null,\"temporaryDataReferenceId\":\"%s\","
		 "\"temporaryDataReferenceType\":null}",
		 guid);
	explicit_bzero(sas, sizeof(sas));
}

void registries_tempdataref(struct exchange *x)
{
	struct text name = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];
	const char *why = verstore_name_refused(name, true);
	_cleanup_json_ cJSON *json = NULL;
	struct verprops props;
	struct err e = ERR_INIT;
	int ret;

	if (!why)
		why = verstore_version_refused(version);
	if (why) {
		exchange_error(x, 400, "UserError", "%s", why);
		return;
	}
	if (exchange_json(x, &json))
		return;
	ret = load_version(x, &props, &e);
	verprops_release(&props);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (ret)
		exchange_error(x, 409, "UserError",
			       "Environment %.*s with version %.*s is already registered and "
			       "cannot be changed.",
			       (int)name.len, name.ptr, (int)version.len, version.ptr);
	else
		give_container(x);
}

/* The container in a path "/account/container/..."; false when it has none that fits. */
static bool container_of(const char *path, char out[CONTAINER_SIZE])
{
	const char *from = path + strlen("/" EMU_ACCOUNT "/");
	size_t len = strcspn(from, "/");

	if (!len || len >= CONTAINER_SIZE)
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

/* The path of blob_uri is that of the version's context, or lies in it. */
static bool is_inside(const char *blob_uri, const char *context)
{
	const char *path = strstr(blob_uri, "/" EMU_ACCOUNT "/");
	size_t len = strlen(context);

	while (len && context[len - 1] == '/')
		len--;
	return path && strncmp(path, context, len) == 0 && (!path[len] || path[len] == '/');
}

static void give_reading(struct exchange *x, const char *blob_uri, const char *context)
{
	_cleanup_buf_ struct buf uri = BUF_INIT(EMU_JSON_MAX),
				 container_uri = BUF_INIT(EMU_JSON_MAX);
	char container[CONTAINER_SIZE], sas[SAS_SIZE];
	struct err e = ERR_INIT;
	int ret;

	if (!container_of(context, container)) {
		exchange_error(x, 404, "UserError", "The environment's context has no container.");
		return;
	}
	ret = blobs_make_sas(x->emu, container, "rl", emu_sas_seconds(x->emu), sas, sizeof(sas),
			     &e);
	if (ret) {
		exchange_failure(x, ret, &e);
		return;
	}
	buf_addf(&uri, "%s%s", x->req->base_url, context);
	buf_addf(&container_uri, "%s/" EMU_ACCOUNT "/%s", x->req->base_url, container);
	buf_addch(&x->reply->body, '{');
	add_reference(x, blob_uri ? blob_uri : buf_str(&uri), buf_str(&container_uri), sas);
	buf_addch(&x->reply->body, '}');
	explicit_bzero(sas, sizeof(sas));
}

void registries_dataref(struct exchange *x)
{
	struct text name = x->param[PARAM_NAME], version = x->param[PARAM_VERSION];
	_cleanup_json_ cJSON *json = NULL;
	struct verprops props;
	struct err e = ERR_INIT;
	const char *uri;
	int ret;

	if (exchange_json(x, &json))
		return;
	uri = json_get_string(json, "blobUri");
	ret = load_version(x, &props, &e);
	if (ret < 0) {
		exchange_failure(x, ret, &e);
	} else if (!ret) {
		exchange_error(x, 404, "UserError",
			       "No environment exists for name: %.*s, version: %.*s, label: ",
			       (int)name.len, name.ptr, (int)version.len, version.ptr);
	} else if (props.context && (!uri || is_inside(uri, props.context))) {
		give_reading(x, uri, props.context);
	} else {
		/* What does not lie here needs no credentials of ours. */
		buf_addch(&x->reply->body, '{');
		add_reference(x, uri, NULL, NULL);
		buf_addch(&x->reply->body, '}');
	}
	verprops_release(&props);
}
