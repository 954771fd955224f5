#include "emulator/exchange.h"

#include <string.h>
#include <strings.h>

#include "emulator/jsonio.h"
#include "emulator/scopes.h"

#define DATASTORE "workspaceblobstore"

enum { SECRET_SIZE = 1024 };

static const char *credentials_type(const struct emu *emu)
{
	switch (emu->conf.storage_auth) {
	case EMU_STORAGE_SAS:
		return "Sas";
	case EMU_STORAGE_NONE:
		return "None";
	default:
		return "AccountKey";
	}
}

static void add_datastore(struct exchange *x)
{
	_cleanup_buf_ struct buf id = BUF_INIT(EMU_HEADER_VALUE_MAX);
	struct buf *b = &x->reply->body;
	char container[CONTAINER_SIZE];
	const char *base = x->req->base_url, *host = strstr(base, "://");

	scope_container(&x->scope, container);
	scope_add_id(&x->scope, &id);
	buf_addf(b,
		 "{\"id\":\"%s/datastores/" DATASTORE "\",\"name\":\"" DATASTORE "\","
		 "\"type\":\"" EMU_PROVIDER "/workspaces/datastores\",\"properties\":{"
		 "\"description\":null,\"tags\":null,\"properties\":null,\"isDefault\":true,"
		 "\"credentials\":{\"credentialsType\":\"%s\"},\"datastoreType\":\"AzureBlob\","
		 "\"accountName\":\"" EMU_ACCOUNT "\",\"containerName\":\"%s\",",
		 buf_str(&id), credentials_type(x->emu), container);
	buf_addf(b,
		 "\"endpoint\":\"%s\",\"protocol\":\"%.*s\",\"subscriptionId\":\"%s\","
		 "\"resourceGroup\":\"%s\",\"serviceDataAccessAuthIdentity\":\"None\"}",
		 host + strlen("://"), (int)(host - base), base, x->scope.subscription,
		 x->scope.group);
	scope_add_system_data(x->scope.created_by, x->scope.created, b);
	buf_addch(b, '}');
}

/* Whether one of the names in a comma-separated list is the datastore's. */
static bool is_named(const char *names)
{
	while (*names) {
		size_t len = strcspn(names, ",");

		if (len == strlen(DATASTORE) && strncasecmp(names, DATASTORE, len) == 0)
			return true;
		names += len + (names[len] == ',');
	}
	return false;
}

static bool is_listed(struct exchange *x)
{
	const char *names = emu_param(x->req, "names");
	const char *is_default = emu_param(x->req, "isDefault");
	const char *text = emu_param(x->req, "searchText");

	if (names && *names && !is_named(names))
		return false;
	if (is_default && strcasecmp(is_default, "false") == 0)
		return false;
	return !text || strcasestr(DATASTORE, text);
}

void datastores_list(struct exchange *x)
{
	buf_addstr(&x->reply->body, "{\"value\":[");
	if (is_listed(x))
		add_datastore(x);
	buf_addstr(&x->reply->body, "]}");
}

static bool find(struct exchange *x)
{
	struct text name = x->param[PARAM_NAME];

	if (text_is_case(name, DATASTORE))
		return true;
	exchange_error(x, 404, "UserError", "Could not find datastore: %.*s", (int)name.len,
		       name.ptr);
	return false;
}

void datastores_get(struct exchange *x)
{
	if (find(x))
		add_datastore(x);
}

void datastores_list_secrets(struct exchange *x)
{
	bool key = x->emu->conf.storage_auth == EMU_STORAGE_KEY;
	char container[CONTAINER_SIZE], secret[SECRET_SIZE];
	struct err e = ERR_INIT;
	int ret;

	if (!find(x))
		return;
	if (x->emu->conf.storage_auth == EMU_STORAGE_NONE) {
		exchange_error(x, 400, "UserError",
			       "The datastore has no secrets: its credentials are of type None.");
		return;
	}
	scope_container(&x->scope, container);
	ret = key ? blobs_account_key(x->emu, secret, sizeof(secret), &e)
		  : blobs_make_sas(x->emu, container, "racwdl", emu_sas_seconds(x->emu), secret,
				   sizeof(secret), &e);
	if (ret) {
		exchange_failure(x, ret, &e);
		return;
	}
	buf_addf(&x->reply->body, "{\"secretsType\":\"%s\",\"%s\":", credentials_type(x->emu),
		 key ? "key" : "sasToken");
	json_add_string(&x->reply->body, secret);
	buf_addch(&x->reply->body, '}');
	explicit_bzero(secret, sizeof(secret));
}
