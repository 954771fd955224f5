#include "emulator/blob_auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "client/buf.h"
#include "client/clock.h"
#include "client/sharedkey.h"
#include "emulator/blob_date.h"
#include "emulator/blob_store.h"
#include "emulator/entra.h"

enum { CANONICAL_MAX = 64 * 1024, DIGEST_SIZE = 32 };

/* How far a signed request's clock may be off. */
#define SKEW_MAX_NS (15 * 60 * NS_PER_S)

/* The first version whose string to sign is what sharedkey_sas() makes. Versions are dates. */
static const char sas_version_min[] = "2020-12-06";

#define SHARED_KEY "SharedKey "
#define BEARER     "Bearer "

static int deny(struct blob_denial *why, int status, const char *code, const char *message)
{
	*why = (struct blob_denial){status, code, message};
	return -EACCES;
}

static int deny_failed(struct blob_denial *why, const char *message)
{
	return deny(why, 403, "AuthenticationFailed", message);
}

/* Equal, in a time that depends on neither text: digests are compared. */
static bool secret_equal(const char *a, const char *b)
{
	unsigned char x[EVP_MAX_MD_SIZE] = {0}, y[EVP_MAX_MD_SIZE] = {0};

	return EVP_Digest(a, strlen(a), x, NULL, EVP_sha256(), NULL) == 1 &&
	       EVP_Digest(b, strlen(b), y, NULL, EVP_sha256(), NULL) == 1 &&
	       CRYPTO_memcmp(x, y, DIGEST_SIZE) == 0;
}

static int check_date(const struct emu_request *r, struct blob_denial *why)
{
	const char *text = emu_header(r, "x-ms-date");
	int64_t then, now = clock_wall();

	if (!text)
		text = emu_header(r, "Date");
	if (!text || blob_date_parse(text, &then))
		return deny_failed(why, "The request has no valid x-ms-date or Date header.");
	if (then > now + SKEW_MAX_NS || then < now - SKEW_MAX_NS)
		return deny_failed(why, "The request's date is more than 15 minutes off.");
	return 0;
}

/* credentials: "account:signature". */
static int check_shared_key(struct emu *emu, const struct emu_request *r, const char *credentials,
			    struct blob_denial *why)
{
	static const char account[] = EMU_ACCOUNT ":";
	char key[BLOB_KEY_SIZE] = "", expected[SHAREDKEY_SIGNATURE_SIZE] = "";
	int rc;

	if (strncmp(credentials, account, strlen(account)) != 0)
		return deny_failed(why, "The request is signed for another account.");
	rc = check_date(r, why);
	if (rc)
		return rc;
	rc = blobs_account_key(emu, key, sizeof(key), NULL);
	if (rc == 0)
		rc = sharedkey_sign(r->method, r->path, r->headers, r->n_headers, r->params,
				    r->n_params, EMU_ACCOUNT, key, expected, NULL);
	explicit_bzero(key, sizeof(key));
	if (rc)
		return deny(why, 500, "InternalError", "The signature could not be checked.");
	if (!sharedkey_equal(expected, credentials + strlen(account)))
		return deny_failed(why, "The signature is not the one computed by the service. "
					"Check the value of the Authorization header, the key, and "
					"that what is signed is what is sent.");
	return 0;
}

static const char *param(const struct emu_request *r, const char *name)
{
	const char *value = emu_param(r, name);

	return value ? value : "";
}

static unsigned int sas_rights(const char *permissions)
{
	static const struct {
		char letter;
		unsigned int right;
	} table[] = {{'r', BLOB_READ},
		     {'l', BLOB_LIST},
		     {'c', BLOB_CREATE},
		     {'w', BLOB_WRITE | BLOB_CREATE},
		     {'d', BLOB_DELETE}};
	unsigned int rights = 0;
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strchr(permissions, table[i].letter))
			rights |= table[i].right;
	return rights;
}

static int check_sas_fields(const struct emu_request *r, struct blob_denial *why)
{
	const char *st = param(r, "st"), *spr = param(r, "spr");
	int64_t start, expiry, now = clock_wall();

	if (strcmp(param(r, "sv"), sas_version_min) < 0)
		return deny_failed(why, "The version (sv) of the SAS is not supported.");
	if (blob_date_parse_iso(param(r, "se"), &expiry) ||
	    (st[0] && blob_date_parse_iso(st, &start)))
		return deny_failed(why, "The SAS has no valid start or expiry time.");
	if (expiry <= now || (st[0] && start > now))
		return deny_failed(why, "Signature not valid in the specified time frame.");
	if (strcmp(spr, "https") == 0 && strncasecmp(r->base_url, "https:", 6) != 0)
		return deny(why, 403, "AuthorizationProtocolMismatch",
			    "This request is not authorized to perform this operation using this "
			    "protocol.");
	return 0;
}

/* A '+' that was not percent-encoded arrives as a space; base64 has no spaces. */
static void copy_signature(const char *text, char out[SHAREDKEY_SIGNATURE_SIZE])
{
	size_t i, len = strnlen(text, SHAREDKEY_SIGNATURE_SIZE - 1);

	for (i = 0; i < len; i++)
		out[i] = text[i] == ' ' ? '+' : text[i];
	out[len] = '\0';
}

static int sas_signature(struct emu *emu, const struct emu_request *r, const char *canonical,
			 char out[SHAREDKEY_SIGNATURE_SIZE])
{
	char key[BLOB_KEY_SIZE] = "";
	int rc = blobs_account_key(emu, key, sizeof(key), NULL);

	if (rc == 0)
		rc = sharedkey_sas(param(r, "sp"), param(r, "st"), param(r, "se"), param(r, "spr"),
				   param(r, "sv"), param(r, "sr"), canonical, key, out, NULL);
	explicit_bzero(key, sizeof(key));
	return rc;
}

static int check_sas(struct emu *emu, const struct emu_request *r, const char *container,
		     const char *name, size_t name_len, unsigned int *rights,
		     struct blob_denial *why)
{
	_cleanup_buf_ struct buf canonical = BUF_INIT(CANONICAL_MAX);
	char expected[SHAREDKEY_SIGNATURE_SIZE] = "", given[SHAREDKEY_SIGNATURE_SIZE];
	bool of_blob = strcmp(param(r, "sr"), "b") == 0;

	if (!of_blob && strcmp(param(r, "sr"), "c") != 0)
		return deny_failed(why, "Only SAS tokens of a container or a blob are supported.");
	(void)buf_addf(&canonical, "/blob/" EMU_ACCOUNT "/%s", container);
	if (of_blob) {
		(void)buf_addch(&canonical, '/');
		(void)buf_add(&canonical, name ? name : "", name_len);
	}
	if (buf_error(&canonical) || sas_signature(emu, r, buf_str(&canonical), expected))
		return deny(why, 500, "InternalError", "The signature could not be checked.");
	copy_signature(param(r, "sig"), given);
	if (!sharedkey_equal(expected, given))
		return deny_failed(why, "Signature did not match.");
	*rights = sas_rights(param(r, "sp"));
	if (of_blob)
		*rights &= ~(unsigned int)BLOB_LIST;
	return check_sas_fields(r, why);
}

static int check_bearer(struct emu *emu, const char *token, struct blob_denial *why)
{
	enum entra_verdict verdict = ENTRA_FOREIGN;

	if (emu->conf.token ? secret_equal(token, emu->conf.token)
			    : emu->conf.storage_auth == EMU_STORAGE_NONE)
		return 0;
	if (emu->conf.token)
		verdict = entra_check(emu->entra, token, ENTRA_STORAGE);
	if (verdict == ENTRA_GOOD)
		return 0;
	if (verdict == ENTRA_EXPIRED)
		return deny(why, 401, "InvalidAuthenticationInfo",
			    "Lifetime validation failed. The token is expired.");
	if (verdict == ENTRA_ELSEWHERE)
		return deny(why, 401, "InvalidAuthenticationInfo",
			    "Audience validation failed. Audience did not match.");
	return deny(why, 401, "InvalidAuthenticationInfo",
		    "Server failed to authenticate the request. The access token is not valid.");
}

int blob_auth(struct emu *emu, const struct emu_request *r, const char *container, const char *name,
	      size_t name_len, unsigned int *rights, struct blob_denial *why)
{
	const char *authorization = emu_header(r, "Authorization");

	*rights = BLOB_ALL;
	if (authorization && strncasecmp(authorization, SHARED_KEY, strlen(SHARED_KEY)) == 0)
		return check_shared_key(emu, r, authorization + strlen(SHARED_KEY), why);
	if (authorization && strncasecmp(authorization, BEARER, strlen(BEARER)) == 0)
		return check_bearer(emu, authorization + strlen(BEARER), why);
	if (authorization)
		return deny(why, 400, "InvalidAuthenticationInfo",
			    "The scheme of the Authorization header is not supported.");
	if (emu_param(r, "sig"))
		return check_sas(emu, r, container, name, name_len, rights, why);
	if (!emu->conf.token && emu->conf.storage_auth == EMU_STORAGE_NONE)
		return 0;
	return deny(why, 401, "NoAuthenticationInformation",
		    "Server failed to authenticate the request. Please refer to the information in "
		    "the www-authenticate header.");
}
