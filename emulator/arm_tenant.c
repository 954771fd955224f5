/* What lies above resource groups, and what clients learn of a cloud before they sign in. */
#include "emulator/exchange.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "emulator/db.h"
#include "emulator/entra.h"
#include "emulator/jsonio.h"

/*
 * The service as a cloud, in the list form that ARM's /metadata/endpoints has had since 2019; told
 * to everybody. Source: official-clients.md.
 */
void clouds_list(struct exchange *x)
{
	const char *base = x->req->base_url, *host = strstr(base, "://") + strlen("://");
	struct buf *b = &x->reply->body;

	buf_addf(b,
		 "[{\"name\":\"AzureCloud\",\"portal\":\"%s\",\"resourceManager\":\"%s\","
		 "\"authentication\":{\"loginEndpoint\":\"%s/\",\"audiences\":["
		 "\"https://management.core.windows.net/\",\"https://management.azure.com/\"],"
		 "\"tenant\":\"common\",\"identityProvider\":\"AAD\"},",
		 base, base, base);
	buf_addf(b,
		 "\"suffixes\":{\"storage\":\"%s\"},\"batch\":\"\",\"gallery\":\"\",\"graph\":\"\","
		 "\"graphAudience\":\"\",\"media\":\"\",\"sqlManagement\":\"\","
		 "\"vmImageAliasDoc\":\"\",\"activeDirectoryDataLake\":\"\"}]",
		 host);
}

static void add_subscription(struct buf *b, const char *id, size_t len)
{
	buf_addf(b,
		 "{\"id\":\"/subscriptions/%.*s\",\"subscriptionId\":\"%.*s\",\"tenantId\":"
		 "\"" ENTRA_TENANT "\",\"displayName\":\"mlenvfs\",\"state\":\"Enabled\","
		 "\"subscriptionPolicies\":{\"locationPlacementId\":\"\",\"quotaId\":\"\","
		 "\"spendingLimit\":\"Off\"},\"authorizationSource\":\"RoleBased\","
		 "\"managedByTenants\":[]}",
		 (int)len, id, (int)len, id);
}

static void add_group(struct buf *b, const char *subscription, size_t subscription_len,
		      const char *name, size_t len)
{
	buf_addf(b,
		 "{\"id\":\"/subscriptions/%.*s/resourceGroups/%.*s\",\"name\":\"%.*s\","
		 "\"type\":\"Microsoft.Resources/resourceGroups\",\"location\":\"" EMU_LOCATION
		 "\",\"properties\":{\"provisioningState\":\"Succeeded\"}}",
		 (int)subscription_len, subscription, (int)len, name, (int)len, name);
}

/* A walk through the subscriptions, or the groups of one, that something lies in. */
struct places {
	struct exchange *x;
	bool groups;
	struct text subscription;
	struct text only; /* ptr NULL: all of them */
	size_t n;         /* how many were added to the reply */
};

static void add_place(struct places *p, const char *name, size_t len)
{
	struct buf *b = &p->x->reply->body;

	if (p->n++)
		buf_addch(b, ',');
	if (p->groups)
		add_group(b, p->subscription.ptr, p->subscription.len, name, len);
	else
		add_subscription(b, name, len);
}

static int add_places(struct places *p, sqlite3 *conn, struct err *e)
{
	static const char subscriptions[] =
		"SELECT subscription FROM scopes WHERE ?1 IS NOT NULL AND (?2 OR subscription = ?3)"
		" GROUP BY subscription ORDER BY min(id)";
	static const char groups[] =
		"SELECT resource_group FROM scopes WHERE subscription = ?1"
		" AND (?2 OR resource_group = ?3) GROUP BY resource_group ORDER BY min(id)";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, p->groups ? groups : subscriptions, "tit",
			   p->subscription.ptr, p->subscription.len, (int64_t)!p->only.ptr,
			   p->only.ptr, p->only.len);

	while (!ret && (ret = db_step(row, e)) == 1) {
		add_place(p, (const char *)sqlite3_column_text(row, 0),
			  (size_t)sqlite3_column_bytes(row, 0));
		ret = 0;
	}
	return ret;
}

/* false: the reply is an error. */
static bool find_places(struct places *p)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(p->x->emu->db, &e);
	int ret = conn ? add_places(p, conn, &e) : -EIO;

	db_release(p->x->emu->db, conn);
	if (ret)
		exchange_failure(p->x, ret, &e);
	return !ret;
}

static void refuse_subscription(struct exchange *x, struct text name)
{
	exchange_error(x, 404, "SubscriptionNotFound",
		       "The subscription '%.*s' could not be found.", (int)name.len, name.ptr);
}

void subscriptions_list(struct exchange *x)
{
	struct places p = {.x = x};

	buf_addstr(&x->reply->body, "{\"value\":[");
	if (find_places(&p))
		buf_addf(&x->reply->body, "],\"count\":{\"type\":\"Total\",\"value\":%zu}}", p.n);
}

void subscriptions_get(struct exchange *x)
{
	struct places p = {.x = x, .only = x->param[0]};

	if (find_places(&p) && !p.n)
		refuse_subscription(x, p.only);
}

void groups_list(struct exchange *x)
{
	struct places p = {.x = x, .groups = true, .subscription = x->param[0]};

	buf_addstr(&x->reply->body, "{\"value\":[");
	if (!find_places(&p))
		return;
	if (!p.n)
		refuse_subscription(x, p.subscription);
	else
		buf_addstr(&x->reply->body, "]}");
}

void groups_get(struct exchange *x)
{
	struct places p = {
		.x = x, .groups = true, .subscription = x->param[0], .only = x->param[1]};

	if (find_places(&p) && !p.n)
		exchange_error(x, 404, "ResourceGroupNotFound",
			       "Resource group '%.*s' could not be found.", (int)p.only.len,
			       p.only.ptr);
}

void tenants_list(struct exchange *x)
{
	buf_addstr(&x->reply->body,
		   "{\"value\":[{\"id\":\"/tenants/" ENTRA_TENANT "\",\"tenantId\":\"" ENTRA_TENANT
		   "\",\"countryCode\":\"\",\"displayName\":\"mlenvfs\",\"domains\":[],"
		   "\"tenantCategory\":\"Home\"}]}");
}
