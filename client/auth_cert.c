#include "client/auth_cert.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/base64.h"
#include "client/cleanup.h"

enum { RSA_BITS_MIN = 2048, PASSWORD_MAX = 1024, SIGNATURE_MAX = 2048 };

struct auth_cert {
	EVP_PKEY *key;
	char *thumb_sha1;               /* base64url, of the DER */
	char *thumb_sha256;             /* the same */
	char *x5c[AUTH_CERT_CHAIN_MAX]; /* base64 of the DER; none unless they are to be sent */
	size_t n_x5c;
};

/* What a file holds, while it is read. */
struct bundle {
	EVP_PKEY *key;
	X509 *own;             /* the key's */
	STACK_OF(X509) * rest; /* all others, or all of a PEM */
	bool encrypted;        /* there is a key, and the password does not open it */
};

static void bundle_clear(struct bundle *b)
{
	EVP_PKEY_free(b->key);
	X509_free(b->own);
	sk_X509_pop_free(b->rest, X509_free);
}

void auth_cert_free(struct auth_cert *c)
{
	if (!c)
		return;
	EVP_PKEY_free(c->key);
	free(c->thumb_sha1);
	free(c->thumb_sha256);
	for (size_t i = 0; i < c->n_x5c; i++)
		free(c->x5c[i]);
	free(c);
}

/* ---- encoding ---- */

static int thumbprint(X509 *cert, const EVP_MD *md, char **out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct buf b = BUF_INIT(2 * EVP_MAX_MD_SIZE);
	unsigned int len = 0;

	if (!X509_digest(cert, md, digest, &len) || base64url_add(&b, digest, len)) {
		buf_free(&b);
		return -ENOMEM;
	}
	*out = buf_steal(&b, NULL);
	return *out ? 0 : -ENOMEM;
}

static int add_x5c(struct auth_cert *c, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	char *text = len > 0 ? malloc(BASE64_SIZE((size_t)len)) : NULL;

	if (text && c->n_x5c < AUTH_CERT_CHAIN_MAX) {
		base64_encode(der, (size_t)len, text);
		c->x5c[c->n_x5c++] = text;
		text = NULL;
	}
	OPENSSL_free(der);
	free(text);
	return len > 0 && c->n_x5c ? 0 : -ENOMEM;
}

/* ---- reading ---- */

static int read_file(const char *path, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -EINVAL, "the certificate %s can't be read: %s", path,
			       strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "the certificate %s is no file", path);
	rc = buf_read(out, fd);
	if (rc)
		return err_set(e, -EINVAL, "the certificate %s can't be read: %s", path,
			       rc == -EFBIG ? "it is too large" : strerror(-rc));
	return 0;
}

/* For OpenSSL; never asks anybody. */
static int give_password(char *out, int size, int writing, void *arg)
{
	const char *password = arg;
	size_t n = password ? strnlen(password, PASSWORD_MAX) : 0;

	(void)writing;
	if (!password || n > (size_t)size)
		return -1;
	memcpy(out, password, n);
	return (int)n;
}

static bool is_pem(const struct buf *data)
{
	return memmem(buf_str(data), data->len, "-----BEGIN ", 11) != NULL;
}

static int read_pem(const struct buf *data, const char *password, struct bundle *b)
{
	char *arg = (char *)(uintptr_t)password;
	BIO *bio = BIO_new_mem_buf(data->data, (int)data->len);
	X509 *cert;

	b->rest = sk_X509_new_null();
	if (!bio || !b->rest) {
		BIO_free(bio);
		return -ENOMEM;
	}
	b->key = PEM_read_bio_PrivateKey(bio, NULL, give_password, arg);
	b->encrypted = !b->key && memmem(data->data, data->len, "ENCRYPTED", 9);
	BIO_free(bio);
	bio = BIO_new_mem_buf(data->data, (int)data->len);
	while (bio && sk_X509_num(b->rest) < AUTH_CERT_CHAIN_MAX &&
	       (cert = PEM_read_bio_X509(bio, NULL, give_password, arg)))
		if (!sk_X509_push(b->rest, cert))
			X509_free(cert);
	BIO_free(bio);
	return 0;
}

static int read_pkcs12(const struct buf *data, const char *password, struct bundle *b)
{
	const unsigned char *at = (const unsigned char *)data->data;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)data->len);

	if (!p12)
		return -EINVAL;
	if (!PKCS12_parse(p12, password ? password : "", &b->key, &b->own, &b->rest))
		b->encrypted = true;
	PKCS12_free(p12);
	return 0;
}

/* The certificate that belongs to the key, wherever in the file it is. */
static X509 *own_certificate(const struct bundle *b)
{
	if (b->own)
		return b->own;
	for (int i = 0; b->rest && i < sk_X509_num(b->rest); i++)
		if (X509_check_private_key(sk_X509_value(b->rest, i), b->key) == 1)
			return sk_X509_value(b->rest, i);
	return NULL;
}

static int check_bundle(const struct bundle *b, const char *path, struct err *e)
{
	if (b->encrypted)
		return err_set(e, -EINVAL,
			       "the certificate %s is not opened by the password in "
			       "AZURE_CLIENT_CERTIFICATE_PASSWORD",
			       path);
	if (!b->key)
		return err_set(e, -EINVAL, "the certificate %s holds no private key", path);
	if (EVP_PKEY_get_base_id(b->key) != EVP_PKEY_RSA ||
	    EVP_PKEY_get_bits(b->key) < RSA_BITS_MIN)
		return err_set(e, -EINVAL, "the key in %s is no RSA key of at least %d bits", path,
			       RSA_BITS_MIN);
	if (!own_certificate(b))
		return err_set(e, -EINVAL, "the certificate of the key in %s is not in it", path);
	return 0;
}

static int take_bundle(struct auth_cert *c, struct bundle *b, bool send_chain)
{
	X509 *own = own_certificate(b);

	if (thumbprint(own, EVP_sha1(), &c->thumb_sha1) ||
	    thumbprint(own, EVP_sha256(), &c->thumb_sha256) || (send_chain && add_x5c(c, own)))
		return -ENOMEM;
	for (int i = 0; send_chain && b->rest && i < sk_X509_num(b->rest); i++)
		if (sk_X509_value(b->rest, i) != own && add_x5c(c, sk_X509_value(b->rest, i)))
			return -ENOMEM;
	c->key = steal_ptr(&b->key);
	return 0;
}

int auth_cert_load(const char *path, const char *password, bool send_chain, struct auth_cert **out,
		   struct err *e)
{
	struct auth_cert *c = calloc(1, sizeof(*c));
	struct buf data = BUF_INIT(AUTH_CERT_FILE_MAX);
	struct bundle b = {0};
	int rc;

	if (!c)
		return err_set(e, -ENOMEM, "no memory for a key");
	rc = read_file(path, &data, e);
	if (!rc && (is_pem(&data) ? read_pem : read_pkcs12)(&data, password, &b))
		rc = err_set(e, -EINVAL, "the certificate %s is neither PEM nor PKCS#12", path);
	if (!rc)
		rc = check_bundle(&b, path, e);
	if (!rc && take_bundle(c, &b, send_chain))
		rc = err_set(e, -ENOMEM, "no memory for the certificate %s", path);
	ERR_clear_error();
	bundle_clear(&b);
	buf_wipe(&data);
	if (rc) {
		auth_cert_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* ---- assertions ---- */

static bool add_jti(cJSON *claims)
{
	unsigned char r[16];
	char text[2 * sizeof(r) + 1];

	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return false;
	for (size_t i = 0; i < sizeof(r); i++)
		snprintf(text + 2 * i, 3, "%02x", r[i]);
	return cJSON_AddStringToObject(claims, "jti", text) != NULL;
}

static cJSON *make_header(const struct auth_cert *c, enum auth_alg alg)
{
	bool old = alg == AUTH_RS256, ok;
	cJSON *json = cJSON_CreateObject(), *list;

	ok = cJSON_AddStringToObject(json, "alg", old ? "RS256" : "PS256") &&
	     cJSON_AddStringToObject(json, "typ", "JWT") &&
	     cJSON_AddStringToObject(json, old ? "x5t" : "x5t#S256",
				     old ? c->thumb_sha1 : c->thumb_sha256);
	if (ok && c->n_x5c) {
		list = cJSON_CreateStringArray((const char *const *)c->x5c, (int)c->n_x5c);
		ok = list && cJSON_AddItemToObject(json, "x5c", list);
	}
	if (ok)
		return json;
	cJSON_Delete(json);
	return NULL;
}

static cJSON *make_claims(const struct auth_claims *is)
{
	cJSON *json = cJSON_CreateObject();
	double from = (double)(is->now - AUTH_ASSERTION_BACK_S);

	if (cJSON_AddStringToObject(json, "aud", is->audience) &&
	    cJSON_AddStringToObject(json, "iss", is->client_id) &&
	    cJSON_AddStringToObject(json, "sub", is->client_id) &&
	    cJSON_AddNumberToObject(json, "nbf", from) &&
	    cJSON_AddNumberToObject(json, "iat", from) &&
	    cJSON_AddNumberToObject(json, "exp", from + AUTH_ASSERTION_LIFE_S) && add_jti(json))
		return json;
	cJSON_Delete(json);
	return NULL;
}

static int add_json(struct buf *out, cJSON *json)
{
	char *text = json ? cJSON_PrintUnformatted(json) : NULL;
	int rc = text ? base64url_add(out, text, strlen(text)) : -ENOMEM;

	cJSON_free(text);
	cJSON_Delete(json);
	return rc;
}

static int sign(EVP_PKEY *key, enum auth_alg alg, const char *data, size_t len, struct buf *out)
{
	unsigned char signature[SIGNATURE_MAX];
	size_t n = sizeof(signature);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *how = NULL; /* ctx's */
	bool ok = ctx && EVP_DigestSignInit(ctx, &how, EVP_sha256(), NULL, key) > 0;

	if (ok && alg == AUTH_PS256)
		ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) > 0 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) > 0;
	ok = ok && EVP_DigestSign(ctx, signature, &n, (const unsigned char *)data, len) > 0;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok ? base64url_add(out, signature, n) : -EIO;
}

int auth_cert_assertion(const struct auth_cert *c, enum auth_alg alg,
			const struct auth_claims *claims, struct buf *out, struct err *e)
{
	struct buf jwt = BUF_INIT(AUTH_ASSERTION_MAX), signature = BUF_INIT(2 * SIGNATURE_MAX);
	int rc = add_json(&jwt, make_header(c, alg));

	if (!rc)
		rc = buf_addch(&jwt, '.');
	if (!rc)
		rc = add_json(&jwt, make_claims(claims));
	if (!rc)
		rc = sign(c->key, alg, buf_str(&jwt), jwt.len, &signature);
	if (!rc) {
		buf_add(out, buf_str(&jwt), jwt.len);
		buf_addch(out, '.');
		rc = buf_add(out, buf_str(&signature), signature.len);
	}
	buf_wipe(&jwt);
	buf_wipe(&signature);
	return rc ? err_set(e, rc, "the assertion can't be signed with the certificate's key") : 0;
}
