#include "emulator/jwt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "client/base64.h"
#include "client/cleanup.h"
#include "emulator/jsonio.h"

#define NUMBER_MAX 9007199254740992.0 /* 2^53: all whole numbers up to it are exact */

static int bad(struct err *e)
{
	return err_set(e, -EBADMSG, "JWT token is invalid or malformed.");
}

static int parse_part(const char *text, size_t len, cJSON **out, struct err *e)
{
	_cleanup_free_ unsigned char *json = malloc(len + 1);
	ssize_t n;

	if (!json)
		return err_set(e, -ENOMEM, "no memory");
	n = base64url_decode(text, len, json, len);
	return n < 0 || json_parse((char *)json, (size_t)n, out, NULL) ? bad(e) : 0;
}

int jwt_parse(const char *text, struct jwt *out, struct err *e)
{
	const char *claims, *signature;
	ssize_t n;
	int ret;

	*out = (struct jwt){0};
	if (strnlen(text, JWT_MAX + 1) > JWT_MAX)
		return bad(e);
	claims = strchr(text, '.');
	signature = claims ? strchr(claims + 1, '.') : NULL;
	if (!signature || strchr(signature + 1, '.'))
		return bad(e);
	ret = parse_part(text, (size_t)(claims - text), &out->header, e);
	if (!ret)
		ret = parse_part(claims + 1, (size_t)(signature - claims - 1), &out->claims, e);
	if (ret)
		return ret;
	n = base64url_decode(signature + 1, strlen(signature + 1), out->signature,
			     sizeof(out->signature));
	if (n <= 0)
		return bad(e);
	out->signature_len = (size_t)n;
	out->text = text;
	out->text_len = (size_t)(signature - text);
	return 0;
}

void jwt_clear(struct jwt *j)
{
	cJSON_Delete(j->header);
	cJSON_Delete(j->claims);
	*j = (struct jwt){0};
}

int64_t jwt_number(const struct jwt *j, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(j->claims, name);
	double d = cJSON_IsNumber(item) ? item->valuedouble : -1;

	return d >= 0 && d <= NUMBER_MAX ? (int64_t)d : -1;
}

static void ctx_cleanup(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

#define _cleanup_ctx_ __attribute__((cleanup(ctx_cleanup)))

bool jwt_verify(const struct jwt *j, EVP_PKEY *key)
{
	const char *algorithm = json_get_string(j->header, "alg");
	_cleanup_ctx_ EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how = NULL;
	bool pss;

	if (!ctx || !algorithm || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		return false;
	pss = strcmp(algorithm, "PS256") == 0;
	if (!pss && strcmp(algorithm, "RS256") != 0)
		return false;
	if (EVP_DigestVerifyInit(ctx, &how, EVP_sha256(), NULL, key) != 1)
		return false;
	if (pss && (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) != 1 ||
		    EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) != 1))
		return false;
	return EVP_DigestVerify(ctx, j->signature, j->signature_len, (const unsigned char *)j->text,
				j->text_len) == 1;
}

int jwt_sign(const char *header, const char *claims, EVP_PKEY *key, struct buf *out)
{
	_cleanup_ctx_ EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char signature[JWT_SIGNATURE_MAX];
	size_t begin = out->len, len = sizeof(signature);

	base64url_add(out, header, strlen(header));
	buf_addch(out, '.');
	base64url_add(out, claims, strlen(claims));
	if (buf_error(out))
		return buf_error(out);
	if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, signature, &len, (const unsigned char *)out->data + begin,
			   out->len - begin) != 1)
		return -EIO;
	buf_addch(out, '.');
	return base64url_add(out, signature, len);
}
