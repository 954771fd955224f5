/*
 * The containers of registry assets. A registry gives, for one asset, a signature to read its
 * container (datarefs), or a fresh container to fill (tempdatarefs). Source: azureml-rest.md
 * section 11.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/cleanup.h"
#include "client/datastore.h"

enum { ASSETS_MAX = 100000 };

/* ---- which asset a context belongs to ---- */

struct asset {
	char *uri;
	char *env;
	char *version;
};

static int asset_compare(const void *a, const void *b)
{
	return strcmp(((const struct asset *)a)->uri, ((const struct asset *)b)->uri);
}

static void asset_free(void *p)
{
	struct asset *a = p;

	if (!a)
		return;
	free(a->uri);
	free(a->env);
	free(a->version);
	free(a);
}

void assets_clear(struct assets *a)
{
	tdestroy(a->tree, asset_free);
	a->tree = NULL;
	a->n = 0;
}

static struct asset *asset_new(const char *uri, const char *env, const char *version)
{
	struct asset *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->uri = strdup(uri);
	a->env = strdup(env);
	a->version = strdup(version);
	if (!a->uri || !a->env || !a->version) {
		asset_free(a);
		return NULL;
	}
	return a;
}

int dataref_remember(struct arm *a, const char *uri, const char *env, const char *version,
		     struct err *e)
{
	struct assets *known = datastores_assets(a->datastores);
	struct asset *asset = asset_new(uri, env, version), **found = NULL;

	if (!asset)
		return err_set(e, -ENOMEM, "no memory for a build context");
	pthread_mutex_lock(&known->lock);
	/* So many contexts at once are no mount: the map starts anew, listing fills it again. */
	if (known->n >= ASSETS_MAX)
		assets_clear(known);
	found = tsearch(asset, &known->tree, asset_compare);
	if (found && *found == asset) {
		known->n++;
		asset = NULL;
	}
	pthread_mutex_unlock(&known->lock);
	asset_free(asset);
	return found ? 0 : err_set(e, -ENOMEM, "no memory for a build context");
}

/* A copy of what was remembered; NULL when nothing was, or there is no memory. */
static struct asset *asset_find(struct arm *a, const char *uri)
{
	struct assets *known = datastores_assets(a->datastores);
	struct asset key = {.uri = (char *)(uintptr_t)uri}, **found, *copy = NULL;

	pthread_mutex_lock(&known->lock);
	found = tfind(&key, &known->tree, asset_compare);
	if (found)
		copy = asset_new((*found)->uri, (*found)->env, (*found)->version);
	pthread_mutex_unlock(&known->lock);
	return copy;
}

/* ---- asking the registry ---- */

/* datarefs, tempdatarefs, or ARM's datareferences of one asset. */
static int ref_url(struct arm *a, const struct scope *s, const char *kind, const char *env,
		   const char *version, struct buf *url)
{
	arm_add_scope_url(a, url, s);
	buf_addf(url, "/%s", kind);
	arm_add_segment(url, env);
	buf_addstr(url, "/versions");
	arm_add_segment(url, version);
	return arm_add_version(a, url, s);
}

/* {"assetId": ..., key: value}; NULL when there is no memory. For the caller to free. */
static char *ref_body(const struct scope *s, const char *env, const char *version, const char *key,
		      const char *value)
{
	_cleanup_buf_ struct buf id = BUF_INIT(URL_MAX);
	cJSON *json = cJSON_CreateObject();
	char *text = NULL;

	buf_addf(&id, "azureml://registries/%s/environments/%s/versions/%s", s->name, env, version);
	if (!buf_error(&id) && cJSON_AddStringToObject(json, "assetId", buf_str(&id)) &&
	    cJSON_AddStringToObject(json, key, value))
		text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	return text;
}

static const char *text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* The place and the access out of {"blobReferenceForConsumption": {...}}. */
static int parse_ref(struct arm *a, const cJSON *json, struct blob_place *place,
		     struct blob_access *access, struct err *e)
{
	const cJSON *ref = cJSON_GetObjectItemCaseSensitive(json, "blobReferenceForConsumption");
	const cJSON *credential = cJSON_GetObjectItemCaseSensitive(ref, "credential");
	const char *type = text_of(credential, "credentialType");
	const char *uri = text_of(credential, "sasUri");
	int rc;

	if (!type || strcasecmp(type, "SAS") != 0 || !uri) {
		uri = text_of(ref, "blobUri");
		if (!uri)
			return err_set(e, -EBADMSG, "the registry names no container");
		*access = (struct blob_access){.kind = BLOB_ANONYMOUS};
		return blob_place_parse(uri, &a->origin, place, e);
	}
	rc = blob_place_parse(uri, &a->origin, place, e);
	if (!rc && !place->sas)
		rc = err_set(e, -EBADMSG, "the registry's signature is missing");
	if (!rc)
		rc = blob_access_set(access, BLOB_SAS, place->sas, e);
	if (rc)
		blob_place_clear(place);
	return rc;
}

static int ask_ref(struct arm *a, const struct arm_call *q, struct call *c,
		   struct blob_place *place, struct blob_access *access, struct err *e)
{
	cJSON *json = NULL;
	int rc;

	if (!q->body)
		return err_set(e, -ENOMEM, "no memory for a request");
	rc = arm_json(a, q, c, &json, e);
	if (!rc)
		rc = parse_ref(a, json, place, access, e);
	cJSON_Delete(json);
	return rc;
}

static int read_ref(struct arm *a, struct scope *s, const char *uri, const struct asset *asset,
		    const struct blob_place *place, struct call *c, struct blob_access *out,
		    struct err *e)
{
	_cleanup_free_ char *body = ref_body(s, asset->env, asset->version, "blobUri", uri);
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_place_ struct blob_place given = {0};
	struct arm_call q = {.method = "POST", .body = body, .repeatable = true};
	int rc = ref_url(a, s, s->base_url ? "datarefs" : "datareferences", asset->env,
			 asset->version, &url);

	if (rc)
		return err_set(e, rc, "the asset's URL is too long");
	q.url = buf_str(&url);
	rc = ask_ref(a, &q, c, &given, out, e);
	if (rc)
		return rc;
	if (blob_same_container(&given, place))
		return 0;
	blob_access_clear(out);
	return err_set(e, -EBADMSG,
		       "the registry gives access to another container than the build context's");
}

int dataref_access(struct arm *a, struct scope *scope, const char *uri,
		   const struct blob_place *place, bool fresh, struct call *c,
		   struct blob_access *out, struct err *e)
{
	struct secrets *secrets = datastores_secrets(a->datastores);
	struct asset *asset;
	int rc;

	*out = (struct blob_access){0};
	if (!fresh && secrets_get(secrets, uri, out))
		return 0;
	asset = asset_find(a, uri);
	if (!asset)
		return err_set(e, -EIO, "this build context has not been listed");
	rc = read_ref(a, scope, uri, asset, place, c, out, e);
	if (!rc)
		secrets_put(secrets, uri, out);
	asset_free(asset);
	return rc;
}

int dataref_upload_place(struct arm *a, struct scope *scope, const char *env, const char *version,
			 struct call *c, struct blob_place *place, struct blob_access *access,
			 struct err *e)
{
	_cleanup_free_ char *body = ref_body(scope, env, version, "temporaryDataReferenceType",
					     "TemporaryBlobReference");
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm_call q = {.method = "PUT", .body = body};
	int rc;

	if (!scope->base_url)
		return err_set(e, -EINVAL,
			       "registry %s was not found through discovery, so its build "
			       "contexts can't be written",
			       scope->name);
	rc = ref_url(a, scope, "tempdatarefs", env, version, &url);
	if (rc)
		return err_set(e, rc, "the asset's URL is too long");
	q.url = buf_str(&url);
	return ask_ref(a, &q, c, place, access, e);
}
