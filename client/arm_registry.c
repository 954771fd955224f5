/*
 * Registries. A named one is found through discovery, which says where its data plane is
 * (azureml-rest.md section 11 B); the answer is kept for an hour. Those of the subscription can
 * also be listed through ARM.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"

enum { KNOWN_S = 3600, KNOWN_MAX = 256 };

struct known {
	struct scope *scope;
	int64_t at; /* clock_mono() */
};

struct registries {
	pthread_mutex_t lock;
	/* protected by lock */
	struct known items[KNOWN_MAX];
	size_t n;
};

int registries_new(struct registries **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void registries_free(struct registries *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		scope_unref(r->items[i].scope);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static struct scope *known_get(struct registries *r, const char *name)
{
	struct scope *found = NULL;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n && !found; i++)
		if (strcmp(r->items[i].scope->name, name) == 0 &&
		    clock_mono() - r->items[i].at < KNOWN_S * NS_PER_S)
			found = scope_ref(r->items[i].scope);
	pthread_mutex_unlock(&r->lock);
	return found;
}

static void known_put(struct registries *r, struct scope *scope)
{
	struct scope *old = NULL;
	size_t i;

	assert(scope);
	pthread_mutex_lock(&r->lock);
	for (i = 0; i < r->n; i++)
		if (strcmp(r->items[i].scope->name, scope->name) == 0)
			break;
	if (i < KNOWN_MAX) {
		if (i < r->n)
			old = r->items[i].scope;
		else
			r->n++;
		r->items[i] = (struct known){.scope = scope_ref(scope), .at = clock_mono()};
	}
	pthread_mutex_unlock(&r->lock);
	scope_unref(old);
}

/* Our token goes to where discovery leads: it must be the endpoint, or at least https. */
static int check_data_plane(struct arm *a, const struct scope *s, struct err *e)
{
	_cleanup_url_ struct url u = {0};
	int rc = url_parse(s->base_url, &u, e);

	if (rc)
		return err_prefix(e, rc, "discovery: ");
	if (u.query || !arm_may_ask(a, &u))
		return err_set(e, -EBADMSG,
			       "discovery leads to %s, which is neither the endpoint nor https",
			       u.host);
	return 0;
}

/* The name that was asked for stays, whatever case the answer writes it in: it names a directory.
 */
static int keep_name(struct scope **scope, const char *name, struct err *e)
{
	struct scope fields = **scope, *named;

	fields.name = name;
	named = scope_new(&fields);
	if (!named)
		return err_set(e, -ENOMEM, "no memory for a registry");
	scope_unref(*scope);
	*scope = named;
	return 0;
}

/* Azure's own client sends no api-version here, its documentation does: so either may be right. */
static int ask_discovery(struct arm *a, const char *name, struct call *c, cJSON **json,
			 struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	int rc;

	buf_addf(&url, "%s/registrymanagement/v1.0/registries", a->discovery_host);
	arm_add_segment(&url, name);
	rc = buf_addstr(&url, "/discovery");
	if (rc)
		return err_set(e, rc, "the registry's name is too long");
	rc = arm_get(a, buf_str(&url), c, json, e);
	if (rc != -EINVAL || buf_addstr(&url, "?api-version=v1.0"))
		return rc;
	err_clear(e);
	return arm_get(a, buf_str(&url), c, json, e);
}

static int discover(struct arm *a, const char *name, struct call *c, struct scope **out,
		    struct err *e)
{
	struct scope *scope = NULL;
	cJSON *json = NULL;
	int rc = ask_discovery(a, name, c, &json, e);

	if (!rc)
		rc = asset_json_discovery(json, &scope, e);
	if (!rc)
		rc = check_data_plane(a, scope, e);
	if (!rc)
		rc = keep_name(&scope, name, e);
	cJSON_Delete(json);
	if (rc)
		scope_unref(scope);
	else
		*out = scope;
	return rc;
}

int registry_find(struct arm *a, const char *name, struct call *c, struct scope **out,
		  struct err *e)
{
	int rc;

	*out = known_get(a->known_registries, name);
	if (*out)
		return 0;
	rc = discover(a, name, c, out, e);
	if (!rc)
		known_put(a->known_registries, *out);
	return rc;
}

static int on_registry(void *arg, const cJSON *item, struct err *e)
{
	struct records *found = arg;
	struct scope *scope = NULL;
	int rc = asset_json_registry(item, &scope, e);

	if (!rc && (!scope->subscription || !scope->resource_group))
		rc = err_set(e, -EBADMSG, "registry %s has no resource group", scope->name);
	if (!rc)
		rc = records_add(found, scope);
	if (rc)
		scope_unref(scope);
	return rc;
}

int registry_list(struct arm *a, struct call *c, struct records *found, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);

	buf_addf(&url, "%s/subscriptions", a->endpoint);
	arm_add_segment(&url, a->subscription);
	if (a->resource_group) {
		buf_addstr(&url, "/resourceGroups");
		arm_add_segment(&url, a->resource_group);
	}
	buf_addstr(&url, "/" ARM_PROVIDER "/registries");
	arm_add_version(a, &url, NULL);
	if (buf_error(&url))
		return err_set(e, buf_error(&url), "the registries' URL is too long");
	return arm_list(a, buf_str(&url), c, on_registry, found, e);
}
