/* client/auth_cert: keys in files of each kind, and what is signed with them. */
#include "client/auth_cert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <openssl/rsa.h>

#include "client/base64.h"
#include "tests/unit/clientcert.h"

static const char PASSWORD[] = "pa55-for-the-key";

static int setup(void **state)
{
	struct clientcert *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	clientcert_make(c, 2048);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	clientcert_clear(*state);
	free(*state);
	return 0;
}

static size_t decode_url(const char *text, size_t len, unsigned char *out, size_t size)
{
	char padded[4096];
	ssize_t n;

	assert_true(len + 4 < sizeof(padded));
	for (size_t i = 0; i < len; i++) {
		assert_true(text[i] != '=' && text[i] != '+' && text[i] != '/');
		padded[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
	}
	while (len % 4)
		padded[len++] = '=';
	n = base64_decode(padded, len, out, size);
	assert_true(n >= 0);
	return (size_t)n;
}

/* The JSON of the nth part of a JWT. */
static cJSON *part(const char *jwt, int n)
{
	unsigned char data[8192];
	size_t len;

	while (n--)
		jwt = strchr(jwt, '.') + 1;
	len = decode_url(jwt, strcspn(jwt, "."), data, sizeof(data) - 1);
	data[len] = '\0';
	return cJSON_Parse((char *)data);
}

static bool verify(EVP_PKEY *key, const char *jwt, bool pss)
{
	const char *dot = strrchr(jwt, '.');
	unsigned char signature[1024];
	size_t n = decode_url(dot + 1, strlen(dot + 1), signature, sizeof(signature));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how;
	bool ok = EVP_DigestVerifyInit(ctx, &how, EVP_sha256(), NULL, key) > 0;

	if (pss) {
		EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(how, 32);
	}
	ok = ok && EVP_DigestVerify(ctx, signature, n, (const unsigned char *)jwt,
				    (size_t)(dot - jwt)) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static const char *text_of(const cJSON *json, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

	return text ? text : "";
}

static void check_assertion(struct clientcert *c, const struct auth_cert *cert, enum auth_alg alg)
{
	static const struct auth_claims claims = {.audience = "https://login/t/oauth2/v2.0/token",
						  .client_id = "app",
						  .now = 1000000};
	struct buf jwt = BUF_INIT(AUTH_ASSERTION_MAX);
	bool old = alg == AUTH_RS256;
	unsigned char thumb[64], digest[EVP_MAX_MD_SIZE];
	unsigned int digest_len;
	cJSON *header, *body;
	const char *x5t;

	assert_int_equal(auth_cert_assertion(cert, alg, &claims, &jwt, NULL), 0);
	header = part(buf_str(&jwt), 0);
	body = part(buf_str(&jwt), 1);
	assert_string_equal(text_of(header, "alg"), old ? "RS256" : "PS256");
	assert_string_equal(text_of(header, "typ"), "JWT");
	assert_null(cJSON_GetObjectItem(header, "x5c"));
	x5t = text_of(header, old ? "x5t" : "x5t#S256");
	X509_digest(c->cert, old ? EVP_sha1() : EVP_sha256(), digest, &digest_len);
	assert_int_equal(decode_url(x5t, strlen(x5t), thumb, sizeof(thumb)), digest_len);
	assert_memory_equal(thumb, digest, digest_len);
	assert_string_equal(text_of(body, "aud"), claims.audience);
	assert_string_equal(text_of(body, "iss"), "app");
	assert_string_equal(text_of(body, "sub"), "app");
	assert_int_equal(strlen(text_of(body, "jti")), 32);
	assert_int_equal(cJSON_GetObjectItem(body, "nbf")->valuedouble, 1000000 - 60);
	assert_int_equal(cJSON_GetObjectItem(body, "exp")->valuedouble, 1000000 - 60 + 600);
	assert_true(verify(c->key, buf_str(&jwt), !old));
	cJSON_Delete(header);
	cJSON_Delete(body);
	buf_wipe(&jwt);
}

static void test_every_kind_of_file(void **state)
{
	struct clientcert *c = *state;

	for (int i = 0; i < 4; i++) {
		const char *path = i == 0   ? clientcert_pem(c, "a.pem", NULL, true)
				   : i == 1 ? clientcert_pem(c, "b.pem", PASSWORD, true)
				   : i == 2 ? clientcert_pkcs12(c, "c.pfx", NULL)
					    : clientcert_pkcs12(c, "d.pfx", PASSWORD);
		const char *password = i % 2 ? PASSWORD : NULL;
		struct auth_cert *cert = NULL;
		struct err e = ERR_INIT;

		if (auth_cert_load(path, password, false, &cert, &e))
			fail_msg("%s: %s", path, e.msg);
		check_assertion(c, cert, AUTH_PS256);
		check_assertion(c, cert, AUTH_RS256);
		auth_cert_free(cert);
	}
}

static void test_the_chain_is_sent_on_demand(void **state)
{
	static const struct auth_claims claims = {.audience = "a", .client_id = "b"};
	struct clientcert *c = *state;
	struct buf jwt = BUF_INIT(AUTH_ASSERTION_MAX);
	struct auth_cert *cert = NULL;
	cJSON *header;

	assert_int_equal(
		auth_cert_load(clientcert_pem(c, "a.pem", NULL, true), NULL, true, &cert, NULL), 0);
	assert_int_equal(auth_cert_assertion(cert, AUTH_PS256, &claims, &jwt, NULL), 0);
	header = part(buf_str(&jwt), 0);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(header, "x5c")), 1);
	cJSON_Delete(header);
	buf_wipe(&jwt);
	auth_cert_free(cert);
}

static void assert_refused(const char *path, const char *password, const char *word)
{
	struct auth_cert *cert = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(auth_cert_load(path, password, false, &cert, &e), -EINVAL);
	assert_null(cert);
	assert_non_null(strstr(e.msg, path));
	assert_null(strstr(e.msg, PASSWORD));
	if (!strstr(e.msg, word))
		fail_msg("%s: no '%s' in it", e.msg, word);
}

static void test_what_is_not_usable(void **state)
{
	static const char junk[] = "neither this nor that";
	static const char begun[] =
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
	struct clientcert *c = *state, small, curve;
	char path[128];

	assert_refused("/nonexistent/cert.pem", NULL, "No such file");
	assert_refused("/", NULL, "no file");
	snprintf(path, sizeof(path), "%s", clientcert_file(c, "junk", junk, strlen(junk)));
	assert_refused(path, NULL, "neither PEM nor PKCS#12");
	assert_refused(clientcert_file(c, "empty", "", 0), NULL, "neither PEM nor PKCS#12");
	assert_refused(clientcert_file(c, "begun", begun, strlen(begun)), NULL, "no private key");
	assert_refused(clientcert_pem(c, "locked.pem", PASSWORD, true), NULL, "password");
	assert_refused(clientcert_pem(c, "locked.pem", PASSWORD, true), "wrong", "password");
	assert_refused(clientcert_pkcs12(c, "locked.pfx", PASSWORD), "wrong", "password");
	assert_refused(clientcert_pem(c, "alone.pem", NULL, false), NULL, "is not in it");
	clientcert_make(&small, 1024);
	assert_refused(clientcert_pem(&small, "a.pem", NULL, true), NULL, "at least 2048 bits");
	clientcert_clear(&small);
	clientcert_make(&curve, 0);
	assert_refused(clientcert_pem(&curve, "a.pem", NULL, true), NULL, "no RSA key");
	clientcert_clear(&curve);
}

static void test_a_huge_file_is_not_read(void **state)
{
	struct clientcert *c = *state;
	size_t size = AUTH_CERT_FILE_MAX + 1;
	char *data = calloc(1, size);

	assert_non_null(data);
	assert_refused(clientcert_file(c, "huge", data, size), NULL, "too large");
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_of_file),
		cmocka_unit_test(test_the_chain_is_sent_on_demand),
		cmocka_unit_test(test_what_is_not_usable),
		cmocka_unit_test(test_a_huge_file_is_not_read),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
