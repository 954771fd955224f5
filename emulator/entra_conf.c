/* Applications and settings as JSON: the file of --entra, and bodies of /__mlenvfs/entra/. */
#include "emulator/entra_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "client/clock.h"
#include "client/jsonwipe.h"
#include "emulator/jsonio.h"
#include "emulator/readfile.h"

enum {
	FILE_MAX = 1024 * 1024,
	SECRET_MIN = 8,
	DURATION_MAX = 400 * 24 * 60 * 60, /* seconds */
};

#define FEDERATED_AUDIENCE "api://AzureADTokenExchange"

static const cJSON *get(const cJSON *json, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(json, name);
}

static int check_members(const cJSON *json, const char *const *known, struct err *e)
{
	const cJSON *item;

	if (!cJSON_IsObject(json))
		return err_set(e, -EBADMSG, "not an object");
	cJSON_ArrayForEach(item, json) {
		const char *const *name = known;

		while (*name && strcmp(*name, item->string) != 0)
			name++;
		if (!*name)
			return err_set(e, -EBADMSG, "'%s' is not known", item->string);
	}
	return 0;
}

/* fallback NULL: it must be there. */
static int read_text(const cJSON *json, const char *name, const char *fallback, char *out,
		     size_t size, struct err *e)
{
	const cJSON *item = get(json, name);
	const char *text = item ? cJSON_GetStringValue(item) : fallback;

	if (!text || !*text || strlen(text) >= size) {
		err_set(e, -EBADMSG, "'%s' must be a text of 1 to %zu bytes", name, size - 1);
		return -EBADMSG;
	}
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

/* Letters, digits, '-' and '.': what a client or tenant id consists of. */
static bool id_ok(const char *id)
{
	return *id && strlen(id) < ENTRA_ID_SIZE &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
		       strlen(id);
}

static int each(const cJSON *json, const char *name, struct entra_app *app,
		int (*read)(struct entra_app *app, const cJSON *item, struct err *e), struct err *e)
{
	const cJSON *list = get(json, name), *item;
	int ret = 0;

	if (!list)
		return 0;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > ENTRA_CREDENTIALS_MAX)
		return err_set(e, -EBADMSG, "'%s' must be a list of at most %d", name,
			       ENTRA_CREDENTIALS_MAX);
	cJSON_ArrayForEach(item, list) {
		ret = read(app, item, e);
		if (ret)
			return err_prefix(e, ret, "%s: ", name);
	}
	return 0;
}

/* "text", or {"value": "text", "expires": "2026-01-31T00:00:00Z"} */
static int read_secret(struct entra_app *app, const cJSON *item, struct err *e)
{
	static const char *const known[] = {"value", "expires", NULL};
	struct entra_secret *s = &app->secrets[app->n_secrets];
	const char *value = cJSON_GetStringValue(item), *expires = NULL;
	int64_t ns = 0;

	if (!value) {
		if (check_members(item, known, e))
			return -EBADMSG;
		value = json_get_string(item, "value");
		expires = json_get_string(item, "expires");
	}
	if (!value || strlen(value) < SECRET_MIN)
		return err_set(e, -EBADMSG, "a secret has at least %d characters", SECRET_MIN);
	if (expires && clock_parse_iso(expires, &ns))
		return err_set(e, -EBADMSG, "'%s' is not a time", expires);
	s->expires = expires ? ns / NS_PER_S : 0;
	app->n_secrets++;
	return entra_digest(value, s->digest);
}

static int read_cert(struct entra_app *app, const cJSON *item, struct err *e)
{
	const char *pem = cJSON_GetStringValue(item);
	struct entra_cert *c = &app->certs[app->n_certs];
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;

	c->x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, (void *)"") : NULL;
	c->key = c->x509 ? X509_get_pubkey(c->x509) : NULL;
	BIO_free(bio);
	app->n_certs++;
	if (!c->key || EVP_PKEY_get_base_id(c->key) != EVP_PKEY_RSA)
		return err_set(e, -EBADMSG, "not a certificate with an RSA key, in PEM form");
	return 0;
}

static int read_federated(struct entra_app *app, const cJSON *item, struct err *e)
{
	static const char *const known[] = {"issuer", "subject", "audience", "publicKey", NULL};
	struct entra_federated *f = &app->federated[app->n_federated];
	const char *pem;
	BIO *bio;

	if (check_members(item, known, e) ||
	    read_text(item, "issuer", NULL, f->issuer, sizeof(f->issuer), e) ||
	    read_text(item, "subject", NULL, f->subject, sizeof(f->subject), e) ||
	    read_text(item, "audience", FEDERATED_AUDIENCE, f->audience, sizeof(f->audience), e))
		return -EBADMSG;
	pem = json_get_string(item, "publicKey");
	bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
	f->key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"") : NULL;
	BIO_free(bio);
	app->n_federated++;
	if (!f->key || EVP_PKEY_get_base_id(f->key) != EVP_PKEY_RSA)
		return err_set(e, -EBADMSG, "'publicKey' is not a public RSA key in PEM form");
	return 0;
}

static int fill_app(struct entra_app *app, const char *id, const cJSON *json, struct err *e)
{
	static const char *const known[] = {"clientId", "tenantId",     "publicClient",
					    "secrets",  "certificates", "federatedCredentials",
					    NULL};
	int ret = check_members(json, known, e);

	if (!ret && !id_ok(id))
		ret = err_set(e, -EBADMSG, "'%s' is not a client id", id);
	if (!ret)
		ret = read_text(json, "tenantId", ENTRA_TENANT, app->tenant, sizeof(app->tenant),
				e);
	if (!ret && !id_ok(app->tenant))
		ret = err_set(e, -EBADMSG, "'%s' is not a tenant id", app->tenant);
	if (!ret)
		ret = guid_new(app->object);
	if (ret)
		return ret;
	memcpy(app->id, id, strlen(id) + 1);
	app->is_public = cJSON_IsTrue(get(json, "publicClient"));
	ret = each(json, "secrets", app, read_secret, e);
	if (!ret)
		ret = each(json, "certificates", app, read_cert, e);
	return ret ? ret : each(json, "federatedCredentials", app, read_federated, e);
}

int entra_conf_app(const char *id, const cJSON *json, struct entra_app **out, struct err *e)
{
	struct entra_app *app = calloc(1, sizeof(*app));
	int ret;

	*out = NULL;
	if (!app)
		return err_set(e, -ENOMEM, "no memory");
	ret = fill_app(app, id, json, e);
	if (ret) {
		entra_app_free(app);
		return ret;
	}
	*out = app;
	return 0;
}

static int read_number(const cJSON *json, const char *name, double min, int64_t *out, struct err *e)
{
	const cJSON *item = get(json, name);

	if (!item)
		return 0;
	if (!cJSON_IsNumber(item) || item->valuedouble < min || item->valuedouble > DURATION_MAX)
		return err_set(e, -EBADMSG, "'%s' must be a number of seconds, from %.0f to %d",
			       name, min, DURATION_MAX);
	*out = (int64_t)item->valuedouble;
	return 0;
}

static int read_flag(const cJSON *json, const char *name, bool *out, struct err *e)
{
	const cJSON *item = get(json, name);

	if (!item)
		return 0;
	if (!cJSON_IsBool(item))
		return err_set(e, -EBADMSG, "'%s' must be true or false", name);
	*out = cJSON_IsTrue(item);
	return 0;
}

int entra_conf_settings(const cJSON *json, struct entra_settings *s, struct err *e)
{
	static const char *const known[] = {
		"tokenSeconds",          "refreshInSeconds", "deviceSeconds",
		"deviceIntervalSeconds", "clockSkewSeconds", "textNumbers",
		"rotateRefreshTokens",   "assertionsOnce",   NULL};
	struct entra_settings made = *s;

	if (check_members(json, known, e) ||
	    read_number(json, "tokenSeconds", 1, &made.token_s, e) ||
	    read_number(json, "refreshInSeconds", 0, &made.refresh_in_s, e) ||
	    read_number(json, "deviceSeconds", 1, &made.device_s, e) ||
	    read_number(json, "deviceIntervalSeconds", 0, &made.device_interval_s, e) ||
	    read_number(json, "clockSkewSeconds", -DURATION_MAX, &made.clock_skew_s, e) ||
	    read_flag(json, "textNumbers", &made.text_numbers, e) ||
	    read_flag(json, "rotateRefreshTokens", &made.rotate_refresh, e) ||
	    read_flag(json, "assertionsOnce", &made.assertions_once, e))
		return -EBADMSG;
	*s = made;
	return 0;
}

static int load_apps(struct entra *n, const cJSON *list, struct err *e)
{
	const cJSON *item;
	int ret = 0;

	if (list && !cJSON_IsArray(list))
		return err_set(e, -EBADMSG, "'apps' must be a list");
	cJSON_ArrayForEach(item, list) {
		const char *id = json_get_string(item, "clientId");
		struct entra_app *app;

		ret = entra_conf_app(id ? id : "", item, &app, e);
		if (ret)
			return ret;
		ret = entra_app_put(n, app);
		if (ret) {
			entra_app_free(app);
			return err_set(e, ret, "more than %d applications", ENTRA_APPS_MAX);
		}
	}
	return 0;
}

int entra_load(struct entra *n, const char *path, struct err *e)
{
	static const char *const known[] = {"apps", "settings", NULL};
	struct buf text = BUF_INIT(FILE_MAX);
	cJSON *json = NULL;
	int ret = readfile(path, true, &text, e);

	if (ret) {
		buf_wipe(&text);
		return ret;
	}
	ret = json_parse(buf_str(&text), text.len, &json, e);
	if (!ret)
		ret = check_members(json, known, e);
	if (!ret)
		ret = load_apps(n, get(json, "apps"), e);
	if (!ret && get(json, "settings"))
		ret = entra_conf_settings(get(json, "settings"), &n->settings, e);
	json_wipe(json);
	buf_wipe(&text);
	return ret ? err_prefix(e, ret, "%s: ", path) : 0;
}
