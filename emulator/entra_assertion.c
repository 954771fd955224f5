/*
 * Assertions: signed statements that stand for a client secret. Those of an application's own are
 * signed with a certificate's key (auth.md section 2.2), those of workload identity by a provider
 * that the application trusts (section 2.3).
 */
#include "emulator/entra_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "client/base64.h"
#include "emulator/jsonio.h"

enum { SKEW_S = 5 * 60 };

/* Whether the header's thumbprint (base64url of a digest of the DER certificate) is this one's. */
static bool names_cert(const struct jwt *j, const char *member, const EVP_MD *md, const X509 *cert)
{
	const char *text = json_get_string(j->header, member);
	unsigned char given[EVP_MAX_MD_SIZE], own[EVP_MAX_MD_SIZE];
	unsigned int len;
	ssize_t n;

	if (!text || X509_digest(cert, md, own, &len) != 1)
		return false;
	n = base64url_decode(text, strlen(text), given, sizeof(given));
	return n == (ssize_t)len && CRYPTO_memcmp(given, own, len) == 0;
}

static bool is_signed_by_cert(const struct jwt *j, const struct entra_app *app)
{
	for (size_t i = 0; i < app->n_certs; i++) {
		const struct entra_cert *c = &app->certs[i];

		if ((names_cert(j, "x5t#S256", EVP_sha256(), c->x509) ||
		     names_cert(j, "x5t", EVP_sha1(), c->x509)) &&
		    jwt_verify(j, c->key))
			return true;
	}
	return false;
}

static bool claim_is(const struct jwt *j, const char *name, const char *value)
{
	const char *claim = json_get_string(j->claims, name);

	return claim && strcmp(claim, value) == 0;
}

static bool has_audience(const struct jwt *j, const char *audience)
{
	const cJSON *aud = cJSON_GetObjectItemCaseSensitive(j->claims, "aud"), *one;

	if (cJSON_IsArray(aud)) {
		cJSON_ArrayForEach(one, aud)
			if (cJSON_IsString(one) && strcmp(one->valuestring, audience) == 0)
				return true;
		return false;
	}
	return claim_is(j, "aud", audience);
}

static enum entra_error check_times(const struct entra *n, const struct jwt *j)
{
	int64_t now = entra_now(n), expires = jwt_number(j, "exp"), from = jwt_number(j, "nbf");

	if (from < 0)
		from = jwt_number(j, "iat");
	return expires < 0 || expires + SKEW_S <= now || from > now + SKEW_S ? ENTRA_ASSERTION_TIME
									     : ENTRA_OK;
}

/* The token endpoint's own URL; or the issuer's, which is what it is a part of. */
static bool is_for_us(const struct jwt *j, const char *endpoint)
{
	static const char tail[] = "/oauth2/v2.0/token";
	size_t len = strlen(endpoint), cut = strlen(tail), base = len > cut ? len - cut : 0;
	char issuer[ENTRA_TEXT_SIZE];

	if (has_audience(j, endpoint))
		return true;
	if (!base || strcasecmp(endpoint + base, tail) != 0)
		return false;
	return snprintf(issuer, sizeof(issuer), "%.*s/v2.0", (int)base, endpoint) <
		       (int)sizeof(issuer) &&
	       has_audience(j, issuer);
}

/* Remembers the assertion's id. false: it was there. */
static bool is_new(struct entra *n, const char *id)
{
	unsigned char digest[DIGEST_SIZE];

	if (entra_digest(id, digest))
		return false;
	for (size_t i = 0; i < ENTRA_ASSERTIONS_MAX; i++)
		if (memcmp(n->assertions[i], digest, DIGEST_SIZE) == 0)
			return false;
	memcpy(n->assertions[n->next_assertion], digest, DIGEST_SIZE);
	n->next_assertion = (n->next_assertion + 1) % ENTRA_ASSERTIONS_MAX;
	return true;
}

static enum entra_error check_own(struct entra *n, const struct jwt *j, const struct entra_app *app,
				  const char *endpoint)
{
	const char *id = json_get_string(j->claims, "jti");

	if (!claim_is(j, "sub", app->id))
		return ENTRA_ASSERTION_APP;
	if (!is_signed_by_cert(j, app))
		return ENTRA_ASSERTION_KEY;
	if (!is_for_us(j, endpoint))
		return ENTRA_ASSERTION_AUDIENCE;
	if (check_times(n, j))
		return ENTRA_ASSERTION_TIME;
	if (!id || !*id)
		return ENTRA_ASSERTION_NO_ID;
	/* Clients may use one until it expires, unless a test wants otherwise. */
	return n->settings.assertions_once && !is_new(n, id) ? ENTRA_ASSERTION_USED : ENTRA_OK;
}

static enum entra_error check_federated(struct entra *n, const struct jwt *j,
					const struct entra_app *app)
{
	for (size_t i = 0; i < app->n_federated; i++) {
		const struct entra_federated *f = &app->federated[i];

		if (!claim_is(j, "iss", f->issuer) || !claim_is(j, "sub", f->subject) ||
		    !has_audience(j, f->audience))
			continue;
		return jwt_verify(j, f->key) ? check_times(n, j) : ENTRA_ASSERTION_KEY;
	}
	return ENTRA_NOT_FEDERATED;
}

enum entra_error entra_assertion_check(struct entra *n, const char *assertion, const char *app_id,
				       const char *endpoint, const char **credential)
{
	_cleanup_jwt_ struct jwt j = {0};
	const struct entra_app *app;
	enum entra_error error;

	if (jwt_parse(assertion, &j, NULL))
		return ENTRA_BAD_ASSERTION;
	*credential = "2";
	pthread_mutex_lock(&n->lock);
	app = entra_app_find(n, app_id);
	if (!app)
		error = ENTRA_NO_APP;
	else if (claim_is(&j, "iss", app->id))
		error = check_own(n, &j, app, endpoint);
	else
		error = check_federated(n, &j, app);
	pthread_mutex_unlock(&n->lock);
	return error;
}
