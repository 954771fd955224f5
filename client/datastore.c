#include "client/datastore.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/log.h"

enum {
	LISTS_MAX = 64,    /* workspaces whose datastores are kept */
	LIST_S = 3600,     /* for so long, */
	LIST_AGAIN_S = 60, /* or so long when what is looked for is not in it */
};

/* One datastore that is a blob container. */
struct store {
	char *name;
	bool is_default;
	bool has_secret;         /* AccountKey or Sas */
	struct blob_place place; /* its container, no prefix */
};

/* The datastores of one workspace: made once, then read only. */
struct store_list {
	unsigned int refs; /* protected by datastores->lock */
	char *key;
	int64_t at;
	struct store *items;
	size_t n;
};

struct datastores {
	struct secrets *secrets;
	struct assets assets;
	pthread_mutex_t lock;
	/* protected by lock */
	struct store_list *lists[LISTS_MAX];
	size_t n;
};

static void store_list_free(struct store_list *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].name);
		blob_place_clear(&l->items[i].place);
	}
	free(l->items);
	free(l->key);
	free(l);
}

int datastores_new(struct datastores **out)
{
	struct datastores *d = calloc(1, sizeof(*d));

	*out = d;
	if (!d)
		return -ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	pthread_mutex_init(&d->assets.lock, NULL);
	return secrets_new(&d->secrets);
}

void datastores_free(struct datastores *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		store_list_free(d->lists[i]);
	assets_clear(&d->assets);
	secrets_free(d->secrets);
	pthread_mutex_destroy(&d->assets.lock);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

struct secrets *datastores_secrets(struct datastores *d)
{
	return d->secrets;
}

struct assets *datastores_assets(struct datastores *d)
{
	return &d->assets;
}

/* ---- the list ---- */

static void list_unref(struct datastores *d, struct store_list *l)
{
	bool last;

	if (!l)
		return;
	pthread_mutex_lock(&d->lock);
	last = --l->refs == 0;
	pthread_mutex_unlock(&d->lock);
	if (last)
		store_list_free(l);
}

static struct store_list *list_get(struct datastores *d, const char *key, int64_t max_age)
{
	struct store_list *found = NULL;

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n && !found; i++)
		if (strcmp(d->lists[i]->key, key) == 0 && clock_mono() - d->lists[i]->at < max_age)
			found = d->lists[i];
	if (found)
		found->refs++;
	pthread_mutex_unlock(&d->lock);
	return found;
}

/* Puts l in the place of the one with its key, or of the oldest. */
static void list_put(struct datastores *d, struct store_list *l)
{
	struct store_list *old = NULL;
	size_t at;

	pthread_mutex_lock(&d->lock);
	l->refs++;
	for (at = 0; at < d->n && strcmp(d->lists[at]->key, l->key) != 0; at++)
		;
	if (at == LISTS_MAX) {
		at = 0;
		for (size_t i = 1; i < d->n; i++)
			if (d->lists[i]->at < d->lists[at]->at)
				at = i;
	}
	if (at == d->n)
		d->n++;
	else
		old = d->lists[at];
	d->lists[at] = l;
	pthread_mutex_unlock(&d->lock);
	list_unref(d, old);
}

static const char *text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/*
 * The URL of the container. The endpoint is a storage suffix ("core.windows.net"), or for a local
 * service a host of its own, with a port or a scheme even: then the account is part of the path.
 */
static int store_url(const struct arm *a, const cJSON *properties, struct buf *url, struct err *e)
{
	const char *protocol = text_of(properties, "protocol");
	const char *endpoint = text_of(properties, "endpoint");
	const char *account = text_of(properties, "accountName");
	const char *container = text_of(properties, "containerName");
	_cleanup_url_ struct url u = {0};
	_cleanup_buf_ struct buf base = BUF_INIT(URL_MAX);

	if (!account || !*account || !container || !*container)
		return err_set(e, -EBADMSG, "a datastore names no account or container");
	if (!endpoint || !*endpoint)
		endpoint = "core.windows.net";
	if (!strstr(endpoint, "://"))
		buf_addf(&base, "%s://", protocol && *protocol ? protocol : "https");
	buf_addstr(&base, endpoint);
	if (buf_error(&base) || url_parse(buf_str(&base), &u, e))
		return err_set(e, -EBADMSG, "a datastore's endpoint is not one");
	if (u.explicit_port || url_is_loopback(&u) || url_host_is_address(&u) ||
	    strcmp(u.host, a->origin.host) == 0) {
		url_add_origin(url, &u);
		arm_add_segment(url, account);
	} else {
		buf_addf(url, "%s://", u.https ? "https" : "http");
		url_add_segment(url, account, strlen(account));
		buf_addf(url, ".blob.%s", u.host);
	}
	arm_add_segment(url, container);
	return buf_addch(url, '/');
}

static bool names_secret(const cJSON *properties)
{
	const cJSON *credentials = cJSON_GetObjectItemCaseSensitive(properties, "credentials");
	const char *type = text_of(credentials, "credentialsType");

	return type && (strcasecmp(type, "AccountKey") == 0 || strcasecmp(type, "Sas") == 0);
}

static int store_parse(struct arm *a, const cJSON *item, const cJSON *properties, struct store *s,
		       struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	const char *name = text_of(item, "name");
	int rc;

	if (!name || !*name || strlen(name) > ASSET_NAME_MAX)
		return err_set(e, -EBADMSG, "a datastore without a name");
	rc = store_url(a, properties, &url, e);
	if (!rc)
		rc = blob_place_parse(buf_str(&url), &a->origin, &s->place, e);
	if (rc)
		return rc;
	s->is_default = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(properties, "isDefault"));
	s->has_secret = names_secret(properties);
	s->name = strdup(name);
	if (!s->name) {
		blob_place_clear(&s->place);
		return err_set(e, -ENOMEM, "no memory for a datastore");
	}
	return 0;
}

struct store_reader {
	struct arm *arm;
	struct store_list *list;
};

static int on_store(void *arg, const cJSON *item, struct err *e)
{
	const cJSON *properties = cJSON_GetObjectItemCaseSensitive(item, "properties");
	const char *type = text_of(properties, "datastoreType");
	struct store_reader *r = arg;
	struct store s = {0}, *items;
	int rc;

	if (!type)
		return err_set(e, -EBADMSG, "a datastore without a type");
	if (strcmp(type, "AzureBlob") != 0)
		return 0;
	rc = store_parse(r->arm, item, properties, &s, e);
	if (rc)
		return rc;
	items = realloc(r->list->items, (r->list->n + 1) * sizeof(*items));
	if (!items) {
		free(s.name);
		blob_place_clear(&s.place);
		return err_set(e, -ENOMEM, "no memory for a datastore");
	}
	r->list->items = items;
	items[r->list->n++] = s;
	return 0;
}

/* Asks the service for the datastores; *out has one reference. */
static int list_fetch(struct arm *a, struct scope *scope, const char *key, struct call *c,
		      struct store_list **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct store_reader r = {.arm = a, .list = calloc(1, sizeof(*r.list))};
	int rc;

	if (!r.list || !(r.list->key = strdup(key))) {
		store_list_free(r.list);
		return err_set(e, -ENOMEM, "no memory for datastores");
	}
	r.list->refs = 1;
	r.list->at = clock_mono();
	buf_addf(&url, "%s/datastores", key);
	rc = arm_add_version(a, &url, scope);
	rc = rc ? err_set(e, rc, "the datastores' URL is too long")
		: arm_list(a, buf_str(&url), c, on_store, &r, e);
	if (rc) {
		store_list_free(r.list);
		return rc;
	}
	list_put(a->datastores, r.list);
	*out = r.list;
	return 0;
}

static int list_of(struct arm *a, struct scope *scope, int64_t max_age, struct call *c,
		   struct store_list **out, struct err *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT(URL_MAX);
	int rc = arm_add_scope_url(a, &key, scope);

	if (rc)
		return err_set(e, rc, "the workspace's URL is too long");
	*out = list_get(a->datastores, buf_str(&key), max_age);
	return *out ? 0 : list_fetch(a, scope, buf_str(&key), c, out, e);
}

static const struct store *find_store(const struct store_list *l, const struct blob_place *place)
{
	assert(l);
	for (size_t i = 0; i < l->n; i++)
		if (blob_same_container(&l->items[i].place, place))
			return &l->items[i];
	return NULL;
}

/* ---- the secret ---- */

static int parse_secret(const cJSON *json, struct blob_access *out, struct err *e)
{
	const char *type = text_of(json, "secretsType");
	const char *key = text_of(json, "key"), *sas = text_of(json, "sasToken");

	if (type && strcasecmp(type, "AccountKey") == 0 && key)
		return blob_access_set(out, BLOB_SHARED_KEY, key, e);
	if (type && strcasecmp(type, "Sas") == 0 && sas)
		return blob_access_set(out, BLOB_SAS, sas, e);
	return err_set(e, -EBADMSG, "the secrets of a datastore are of no kind that is known");
}

static int ask_secret(struct arm *a, struct scope *scope, const struct store *s, struct call *c,
		      struct blob_access *out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm_call q = {.method = "POST", .repeatable = true};
	cJSON *json = NULL;
	int rc;

	arm_add_scope_url(a, &url, scope);
	buf_addstr(&url, "/datastores");
	arm_add_segment(&url, s->name);
	buf_addstr(&url, "/listSecrets");
	rc = arm_add_version(a, &url, scope);
	if (rc)
		return err_set(e, rc, "the datastore's URL is too long");
	q.url = buf_str(&url);
	rc = arm_json(a, &q, c, &json, e);
	if (!rc)
		rc = parse_secret(json, out, e);
	/* cJSON's copy of the secret; the only other one was the answer, which is wiped as well. */
	json_wipe(json);
	return rc;
}

/* Where our storage token may go: Azure's storage itself, and the endpoint. */
static bool may_take_token(const struct arm *a, const struct blob_place *p)
{
	static const char *const suffixes[] = {".blob.core.windows.net",
					       ".blob.core.chinacloudapi.cn",
					       ".blob.core.usgovcloudapi.net"};

	if (url_same_origin(&p->origin, &a->origin))
		return true;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (p->origin.https && url_host_under(&p->origin, suffixes[i]))
			return true;
	return false;
}

static int own_access(struct arm *a, const struct blob_place *p, struct blob_access *out,
		      struct err *e)
{
	if (!may_take_token(a, p))
		return err_set(e, -EACCES,
			       "container %s at %s belongs to no datastore of the workspace, so "
			       "there is nothing to read it with",
			       p->container, p->origin.host);
	if (p->sas)
		return blob_access_set(out, BLOB_SAS, p->sas, e);
	*out = (struct blob_access){.kind = BLOB_BEARER, .credential = a->credential};
	return 0;
}

static int store_access(struct arm *a, struct scope *scope, const struct store *s, bool fresh,
			struct call *c, struct blob_access *out, struct err *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT(URL_MAX);
	int rc;

	if (!s->has_secret)
		return own_access(a, &s->place, out, e);
	arm_add_scope_url(a, &key, scope);
	rc = arm_add_segment(&key, s->name);
	if (rc)
		return err_set(e, rc, "a datastore's name is too long");
	if (!fresh && secrets_get(a->datastores->secrets, buf_str(&key), out))
		return 0;
	rc = ask_secret(a, scope, s, c, out, e);
	if (!rc)
		secrets_put(a->datastores->secrets, buf_str(&key), out);
	/* Readers may not list secrets, but may well read the blobs by themselves. */
	if (rc == -EACCES && own_access(a, &s->place, out, NULL) == 0) {
		log_debug("op=list-secrets store=%s msg=\"%s\"", s->name, err_text(e, rc));
		err_clear(e);
		rc = 0;
	}
	return rc;
}

int datastore_access(struct arm *a, struct scope *scope, const struct blob_place *place, bool fresh,
		     struct call *c, struct blob_access *out, struct err *e)
{
	struct store_list *l = NULL;
	const struct store *s;
	int rc;

	*out = (struct blob_access){0};
	rc = list_of(a, scope, LIST_S * NS_PER_S, c, &l, e);
	if (rc)
		return rc;
	s = find_store(l, place);
	if (!s && clock_mono() - l->at > LIST_AGAIN_S * NS_PER_S) {
		list_unref(a->datastores, l);
		rc = list_of(a, scope, LIST_AGAIN_S * NS_PER_S, c, &l, e);
		if (rc)
			return rc;
		s = find_store(l, place);
	}
	rc = s ? store_access(a, scope, s, fresh, c, out, e) : own_access(a, place, out, e);
	list_unref(a->datastores, l);
	return rc;
}

int datastore_upload_place(struct arm *a, struct scope *scope, struct call *c,
			   struct blob_place *out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct store_list *l = NULL;
	const struct store *chosen = NULL;
	int rc = list_of(a, scope, LIST_S * NS_PER_S, c, &l, e);

	if (rc)
		return rc;
	assert(l);
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->items[i].name, "workspaceblobstore") == 0) {
			chosen = &l->items[i];
			break;
		}
		if (l->items[i].is_default)
			chosen = &l->items[i];
	}
	if (!chosen)
		rc = err_set(e, -EINVAL, "workspace %s has no blob datastore for build contexts",
			     scope->name);
	else
		rc = blob_add_url(&url, &chosen->place, "");
	if (!rc)
		rc = blob_place_parse(buf_str(&url), &a->origin, out, e);
	list_unref(a->datastores, l);
	return rc;
}
