#include "emulator/entra.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "client/base64.h"
#include "client/clock.h"
#include "emulator/blob_date.h"
#include "emulator/entra_int.h"
#include "emulator/jsonio.h"

enum {
	KEY_BITS = 2048,
	TOKEN_S = 3599, /* what Entra usually says */
	DEVICE_S = 900,
	DEVICE_INTERVAL_S = 5,
	CLAIMS_MAX = 8 * 1024,
};

/* Counts access tokens, so that all that were given until now can be revoked. */
#define NUMBER_CLAIM "mlenvfs_number"

struct entra *entra_new(void)
{
	struct entra *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->settings = (struct entra_settings){
		.token_s = TOKEN_S, .device_s = DEVICE_S, .device_interval_s = DEVICE_INTERVAL_S};
	pthread_mutex_init(&n->lock, NULL);
	return n;
}

void entra_free(struct entra *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n_apps; i++)
		entra_app_free(n->apps[i]);
	EVP_PKEY_free(n->key);
	pthread_mutex_destroy(&n->lock);
	explicit_bzero(n, sizeof(*n));
	free(n);
}

int64_t entra_now(const struct entra *n)
{
	return clock_wall() / NS_PER_S + n->settings.clock_skew_s;
}

void entra_settings(struct entra *n, struct entra_settings *out)
{
	pthread_mutex_lock(&n->lock);
	*out = n->settings;
	pthread_mutex_unlock(&n->lock);
}

/* ---- secrets ---- */

int entra_digest(const char *text, unsigned char digest[DIGEST_SIZE])
{
	return EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int entra_secret_new(char out[ENTRA_SECRET_SIZE], unsigned char digest[DIGEST_SIZE])
{
	_cleanup_buf_ struct buf text = BUF_INIT(ENTRA_SECRET_SIZE - 1);
	unsigned char random[ENTRA_SECRET_BYTES];
	int ret;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	ret = base64url_add(&text, random, sizeof(random));
	explicit_bzero(random, sizeof(random));
	if (!ret) {
		memcpy(out, buf_str(&text), text.len + 1);
		ret = entra_digest(out, digest);
	}
	buf_wipe(&text);
	return ret;
}

void entra_user_id(const char *user, char out[GUID_SIZE])
{
	unsigned char d[DIGEST_SIZE] = {0};

	(void)entra_digest(user, d); /* of no secret: zeros are an id as well */
	snprintf(out, GUID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-8%x%02x-8%x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1],
		 d[2], d[3], d[4], d[5], d[6] & 0xf, d[7], d[8] & 0xf, d[9], d[10], d[11], d[12],
		 d[13], d[14], d[15]);
}

/* ---- keys ---- */

/* The key, made when it is needed first; a reference of the caller's own, or NULL. */
static EVP_PKEY *take_key(struct entra *n, char id[GUID_SIZE])
{
	EVP_PKEY *key;

	pthread_mutex_lock(&n->lock);
	if (!n->key && guid_new(n->key_id) == 0)
		n->key = EVP_RSA_gen(KEY_BITS);
	key = n->key;
	if (key && EVP_PKEY_up_ref(key) != 1)
		key = NULL;
	memcpy(id, n->key_id, GUID_SIZE);
	pthread_mutex_unlock(&n->lock);
	return key;
}

static int add_number(EVP_PKEY *key, const char *which, struct buf *out)
{
	unsigned char bytes[KEY_BITS / 8];
	BIGNUM *number = NULL;
	int ret = -EIO;

	if (EVP_PKEY_get_bn_param(key, which, &number) == 1 &&
	    BN_num_bytes(number) <= (int)sizeof(bytes))
		ret = base64url_add(out, bytes, (size_t)BN_bn2bin(number, bytes));
	BN_free(number);
	return ret;
}

int entra_add_key(struct entra *n, struct buf *out)
{
	char id[GUID_SIZE];
	EVP_PKEY *key = take_key(n, id);
	int ret = key ? 0 : -EIO;

	if (!ret) {
		buf_addf(out,
			 "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\","
			 "\"n\":\"",
			 id);
		ret = add_number(key, OSSL_PKEY_PARAM_RSA_N, out);
		buf_addstr(out, "\",\"e\":\"");
	}
	if (!ret)
		ret = add_number(key, OSSL_PKEY_PARAM_RSA_E, out);
	buf_addstr(out, "\"}");
	EVP_PKEY_free(key);
	return ret;
}

static int sign(struct entra *n, const struct buf *claims, struct buf *out)
{
	char id[GUID_SIZE], header[128];
	EVP_PKEY *key = take_key(n, id);
	int ret = -EIO;

	snprintf(header, sizeof(header), "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"%s\"}", id);
	if (key && !buf_error(claims))
		ret = jwt_sign(header, claims->data, key, out);
	EVP_PKEY_free(key);
	return ret;
}

/* ---- access tokens ---- */

struct stamp {
	int64_t now;
	int64_t expires;
	int64_t number;
};

static void next_stamp(struct entra *n, struct stamp *out)
{
	pthread_mutex_lock(&n->lock);
	out->now = entra_now(n);
	out->expires = out->now + n->settings.token_s;
	out->number = ++n->issued;
	pthread_mutex_unlock(&n->lock);
}

static void add_member(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, ",\"%s\":", name);
	json_add_string(b, value);
}

static void add_times(struct buf *b, const struct stamp *t)
{
	buf_addf(b, "\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld", (long long)t->now, (long long)t->now,
		 (long long)t->expires);
}

static void add_person(struct buf *b, const struct entra_subject *who)
{
	char id[GUID_SIZE];

	entra_user_id(who->user, id);
	add_member(b, "oid", id);
	add_member(b, "sub", id);
	add_member(b, "name", who->user);
}

static void add_issuer(struct buf *b, const char *base_url, const char *tenant, const char *tail)
{
	buf_addstr(b, ",\"iss\":\"");
	buf_addf(b, "%s/%s/%s\"", base_url, tenant, tail);
	add_member(b, "tid", tenant);
}

int entra_issue(struct entra *n, const struct entra_subject *who, enum entra_audience audience,
		const char *base_url, struct buf *out)
{
	_cleanup_buf_ struct buf claims = BUF_INIT(CLAIMS_MAX);
	char uti[GUID_SIZE];
	struct stamp stamp;

	if (guid_new(uti))
		return -EIO;
	next_stamp(n, &stamp);
	buf_addch(&claims, '{');
	add_times(&claims, &stamp);
	add_member(&claims, "aud", entra_audience_name(audience));
	add_issuer(&claims, base_url, who->tenant, "");
	add_member(&claims, "appid", who->app);
	add_member(&claims, "appidacr", who->credential);
	if (who->user) {
		add_person(&claims, who);
		add_member(&claims, "unique_name", who->user);
		add_member(&claims, "idtyp", "user");
		add_member(&claims, "scp", "user_impersonation");
	} else {
		add_member(&claims, "oid", who->object);
		add_member(&claims, "sub", who->object);
		add_member(&claims, "idtyp", "app");
	}
	add_member(&claims, "uti", uti);
	add_member(&claims, "ver", "1.0");
	buf_addf(&claims, ",\"" NUMBER_CLAIM "\":%lld}", (long long)stamp.number);
	return sign(n, &claims, out);
}

int entra_issue_id(struct entra *n, const struct entra_subject *who, const char *base_url,
		   struct buf *out)
{
	_cleanup_buf_ struct buf claims = BUF_INIT(CLAIMS_MAX);
	struct stamp stamp;

	next_stamp(n, &stamp);
	buf_addch(&claims, '{');
	add_times(&claims, &stamp);
	add_member(&claims, "aud", who->app);
	add_issuer(&claims, base_url, who->tenant, "v2.0");
	add_person(&claims, who);
	add_member(&claims, "preferred_username", who->user);
	buf_addstr(&claims, ",\"ver\":\"2.0\"}");
	return sign(n, &claims, out);
}

static bool is_signed_here(struct entra *n, const struct jwt *token)
{
	const char *id = json_get_string(token->header, "kid");
	char own[GUID_SIZE];
	EVP_PKEY *key;
	bool ok;

	/* One that nobody has asked for yet has signed nothing. */
	pthread_mutex_lock(&n->lock);
	ok = n->key != NULL;
	pthread_mutex_unlock(&n->lock);
	if (!ok)
		return false;
	key = take_key(n, own);
	ok = key && id && strcmp(id, own) == 0 && jwt_verify(token, key);
	EVP_PKEY_free(key);
	return ok;
}

enum entra_verdict entra_check(struct entra *n, const char *token, unsigned int audiences)
{
	_cleanup_jwt_ struct jwt jwt = {0};
	enum entra_verdict verdict = ENTRA_GOOD;
	int64_t number, expires;
	const char *aud;

	if (jwt_parse(token, &jwt, NULL) || !is_signed_here(n, &jwt))
		return ENTRA_FOREIGN;
	aud = json_get_string(jwt.claims, "aud");
	number = jwt_number(&jwt, NUMBER_CLAIM);
	expires = jwt_number(&jwt, "exp");
	/* An id token has no number: it says who somebody is, and opens nothing. */
	if (!aud || number < 0)
		return ENTRA_FOREIGN;
	if (!(entra_resource(aud, strlen(aud), "") & audiences))
		return ENTRA_ELSEWHERE;
	pthread_mutex_lock(&n->lock);
	if (entra_now(n) >= expires)
		verdict = ENTRA_EXPIRED;
	else if (number <= n->revoked)
		verdict = n->revoked_by_claim ? ENTRA_CHALLENGED : ENTRA_REVOKED;
	pthread_mutex_unlock(&n->lock);
	return verdict;
}

void entra_add_date(struct entra *n, struct emu_reply *reply)
{
	char text[BLOB_DATE_SIZE];
	int64_t now, skew;

	pthread_mutex_lock(&n->lock);
	now = entra_now(n);
	skew = n->settings.clock_skew_s;
	pthread_mutex_unlock(&n->lock);
	if (!skew)
		return;
	blob_date_format(now * NS_PER_S, text);
	emu_reply_header(reply, "Date", "%s", text);
}

bool entra_is_path(const char *path)
{
	static const char *const roots[] = {"/oauth2/", "/v2.0/.well-known/", "/.well-known/",
					    "/discovery/"};
	const char *rest = path[0] == '/' ? strchr(path + 1, '/') : NULL;

	if (strncmp(path, "/devicelogin", strlen("/devicelogin")) == 0)
		return true;
	if (!rest || strncasecmp(path, "/subscriptions/", strlen("/subscriptions/")) == 0)
		return false;
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		if (strncasecmp(rest, roots[i], strlen(roots[i])) == 0)
			return true;
	return false;
}
