#include "client/sharedkey.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "client/base64.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/url.h"

enum {
	KEY_MAX = 256,             /* bytes in an account key; Azure's have 64 */
	TO_SIGN_MAX = 1024 * 1024, /* far above what a server takes as header */
	HMAC_SIZE = 32,
};

/* The headers of the string to sign, in its order. */
static const char *const signed_headers[] = {
	"Content-Encoding",
	"Content-Language",
	"Content-Length",
	"Content-MD5",
	"Content-Type",
	"Date",
	"If-Modified-Since",
	"If-Match",
	"If-None-Match",
	"If-Unmodified-Since",
	"Range",
};

static const char *find(const struct kv *list, size_t n, const char *key)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcasecmp(list[i].key, key) == 0)
			return list[i].value ? list[i].value : "";
	return NULL;
}

static void add_trimmed(struct buf *b, const char *value)
{
	size_t len;

	while (isspace((unsigned char)*value))
		value++;
	len = strlen(value);
	while (len > 0 && isspace((unsigned char)value[len - 1]))
		len--;
	(void)buf_add(b, value, len);
}

static void add_lower(struct buf *b, const char *name)
{
	for (; *name; name++)
		(void)buf_addch(b, (char)tolower((unsigned char)*name));
}

static void add_standard_headers(struct buf *b, const struct kv *headers, size_t n)
{
	bool ms_date = find(headers, n, "x-ms-date");
	size_t i;

	for (i = 0; i < sizeof(signed_headers) / sizeof(signed_headers[0]); i++) {
		const char *name = signed_headers[i];
		const char *value = find(headers, n, name);

		/* Version 2015-02-21 and later sign a length of 0 as nothing. */
		if (!value || (strcmp(name, "Content-Length") == 0 && strcmp(value, "0") == 0) ||
		    (strcmp(name, "Date") == 0 && ms_date))
			value = "";
		add_trimmed(b, value);
		(void)buf_addch(b, '\n');
	}
}

/* By name in lower case, then by value: what the canonical forms are sorted by. */
static int compare_kv(const void *a, const void *b)
{
	const struct kv *x = a, *y = b;
	int c = strcasecmp(x->key, y->key);

	return c ? c : strcmp(x->value ? x->value : "", y->value ? y->value : "");
}

/* A sorted copy of the entries whose name begins with prefix. */
static struct kv *sorted(const struct kv *list, size_t n, const char *prefix, size_t *count)
{
	struct kv *copy = calloc(n + 1, sizeof(*copy));
	size_t i;

	*count = 0;
	if (!copy)
		return NULL;
	for (i = 0; i < n; i++)
		if (strncasecmp(list[i].key, prefix, strlen(prefix)) == 0)
			copy[(*count)++] = list[i];
	qsort(copy, *count, sizeof(*copy), compare_kv);
	return copy;
}

static int add_ms_headers(struct buf *b, const struct kv *headers, size_t n)
{
	_cleanup_free_ struct kv *list = NULL;
	size_t count, i;

	list = sorted(headers, n, "x-ms-", &count);
	if (!list)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		add_lower(b, list[i].key);
		(void)buf_addch(b, ':');
		add_trimmed(b, list[i].value ? list[i].value : "");
		(void)buf_addch(b, '\n');
	}
	return 0;
}

static int add_params(struct buf *b, const struct kv *params, size_t n)
{
	_cleanup_free_ struct kv *list = NULL;
	size_t count, i;

	list = sorted(params, n, "", &count);
	if (!list)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		if (i > 0 && strcasecmp(list[i].key, list[i - 1].key) == 0) {
			(void)buf_addch(b, ',');
		} else {
			(void)buf_addch(b, '\n');
			add_lower(b, list[i].key);
			(void)buf_addch(b, ':');
		}
		(void)buf_addstr(b, list[i].value ? list[i].value : "");
	}
	return 0;
}

/* base64(HMAC-SHA256(decoded key, text)). */
static int sign_text(const struct buf *text, const char *key, char out[SHAREDKEY_SIGNATURE_SIZE],
		     struct err *e)
{
	unsigned char raw[KEY_MAX], mac[HMAC_SIZE];
	unsigned int mac_len = 0;
	ssize_t len;
	int rc = 0;

	if (buf_error(text))
		return err_set(e, buf_error(text), "the request is too large to be signed");
	len = base64_decode(key, strlen(key), raw, sizeof(raw));
	if (len <= 0)
		return err_set(e, -EINVAL, "the storage account's key is not base64");
	if (!HMAC(EVP_sha256(), raw, (int)len, (const unsigned char *)buf_str(text), text->len, mac,
		  &mac_len) ||
	    mac_len != HMAC_SIZE)
		rc = err_set(e, -EIO, "HMAC-SHA256 failed");
	else
		base64_encode(mac, HMAC_SIZE, out);
	explicit_bzero(raw, sizeof(raw));
	return rc;
}

int sharedkey_sign(const char *method, const char *path, const struct kv *headers, size_t n_headers,
		   const struct kv *params, size_t n_params, const char *account, const char *key,
		   char out[SHAREDKEY_SIGNATURE_SIZE], struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TO_SIGN_MAX);
	int rc;

	(void)buf_addf(&text, "%s\n", method);
	add_standard_headers(&text, headers, n_headers);
	rc = add_ms_headers(&text, headers, n_headers);
	if (rc)
		return err_set(e, rc, "out of memory");
	(void)buf_addf(&text, "/%s%s", account, path);
	rc = add_params(&text, params, n_params);
	if (rc)
		return err_set(e, rc, "out of memory");
	return sign_text(&text, key, out, e);
}

int sharedkey_sas(const char *sp, const char *st, const char *se, const char *spr, const char *sv,
		  const char *sr, const char *canonical, const char *key,
		  char out[SHAREDKEY_SIGNATURE_SIZE], struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TO_SIGN_MAX);

	/* Empty: identifier and address before spr; snapshot, encryption scope and the five
	 * response headers after sr. */
	(void)buf_addf(&text, "%s\n%s\n%s\n%s\n\n\n%s\n%s\n%s\n\n\n\n\n\n\n", sp, st, se, canonical,
		       spr, sv, sr);
	return sign_text(&text, key, out, e);
}

static void add_field(struct buf *out, const char *separator, const char *name, const char *value)
{
	if (!*value)
		return;
	(void)buf_addf(out, "%s%s=", separator, name);
	(void)url_add_value(out, value, strlen(value));
}

int sharedkey_add_sas(struct buf *out, const struct sas *s, const char *key, struct err *e)
{
	char sig[SHAREDKEY_SIGNATURE_SIZE] = "";
	int rc =
		sharedkey_sas(s->sp, s->st, s->se, s->spr, s->sv, s->sr, s->canonical, key, sig, e);

	if (rc)
		return rc;
	add_field(out, "", "sv", s->sv);
	add_field(out, "&", "sr", s->sr);
	add_field(out, "&", "st", s->st);
	add_field(out, "&", "se", s->se);
	add_field(out, "&", "sp", s->sp);
	add_field(out, "&", "spr", s->spr);
	add_field(out, "&", "sig", sig);
	return buf_error(out) ? err_set(e, buf_error(out), "no room for the SAS") : 0;
}

void sharedkey_sas_time(int64_t ns, char out[CLOCK_ISO_SIZE])
{
	clock_format_iso(ns, out);
	/* Whole seconds in UTC. */
	snprintf(out + strlen("2022-09-14T20:33:51"), 2, "Z");
}

bool sharedkey_equal(const char *a, const char *b)
{
	char x[SHAREDKEY_SIGNATURE_SIZE] = "", y[SHAREDKEY_SIGNATURE_SIZE] = "";
	size_t a_len = strnlen(a, sizeof(x)), b_len = strnlen(b, sizeof(y));

	memcpy(x, a, a_len);
	memcpy(y, b, b_len);
	return CRYPTO_memcmp(x, y, sizeof(x)) == 0 && a_len == b_len && a_len < sizeof(x);
}
