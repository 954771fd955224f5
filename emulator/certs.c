#include "emulator/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/writeall.h"
#include "emulator/readfile.h"

enum {
	PEM_MAX = 1024 * 1024,
	SERIAL_BYTES = 16,
	MARK_BYTES = 4,
	DAY_S = 24 * 60 * 60,
	CA_DAYS = 10 * 365,
	SERVER_DAYS = 397, /* the most that some clients accept */
	CA_RENEW_DAYS = SERVER_DAYS,
};

#define CA_FILE     "ca.pem"
#define CA_KEY_FILE "ca-key.pem"
#define CURVE       "P-256" /* what every TLS client knows */

/* All that the CA can vouch for. */
#define CA_CONSTRAINTS                      \
	"critical,permitted;DNS:localhost," \
	"permitted;IP:127.0.0.0/255.0.0.0," \
	"permitted;IP:0:0:0:0:0:0:0:1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define SERVER_NAMES "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"

static void key_cleanup(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void x509_cleanup(X509 **cert)
{
	X509_free(*cert);
}

static void bio_cleanup(BIO **bio)
{
	BIO_free(*bio);
}

/* A text that is wiped before it is freed. */
static void secret_cleanup(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}

#define _cleanup_secret_ __attribute__((cleanup(secret_cleanup)))
#define _cleanup_key_    __attribute__((cleanup(key_cleanup)))
#define _cleanup_x509_   __attribute__((cleanup(x509_cleanup)))
#define _cleanup_bio_    __attribute__((cleanup(bio_cleanup)))

void certs_clear(struct certs *c)
{
	secret_cleanup(&c->key);
	free(c->chain);
	free(c->ca_path);
	*c = (struct certs){0};
}

/* ---- files ---- */

/* The whole file as a string, to be wiped and freed. */
static int read_text(const char *path, bool secret, char **out, struct err *e)
{
	struct buf b = BUF_INIT(PEM_MAX);
	int ret = readfile(path, secret, &b, e);

	if (!ret && buf_addch(&b, '\0'))
		ret = err_set(e, buf_error(&b), "%s: %s", path, strerror(-buf_error(&b)));
	if (!ret)
		*out = buf_steal(&b, NULL);
	buf_wipe(&b);
	return ret;
}

/* Whole or not at all, also after a crash. Call with the directory's lock. */
static int write_file(int dir, const char *name, mode_t mode, const char *text)
{
	static const char temporary[] = "new";
	_cleanup_close_ int fd = -1;
	int ret;

	unlinkat(dir, temporary, 0);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	ret = write_all(fd, text, strlen(text));
	if (!ret && fsync(fd))
		ret = -errno;
	if (!ret && renameat(dir, temporary, dir, name))
		ret = -errno;
	if (!ret && fsync(dir))
		ret = -errno;
	return ret;
}

/* ---- PEM ---- */

/* A key with a password is not one for a program that nobody watches. */
static int no_password(char *out, int size, int writing, void *user)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)user;
	return -1;
}

static EVP_PKEY *parse_key(const char *pem)
{
	_cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
}

static X509 *parse_cert(const char *pem)
{
	_cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
}

static char *bio_text(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = len > 0 ? malloc((size_t)len + 1) : NULL;
	if (!text)
		return NULL;
	memcpy(text, data, (size_t)len);
	text[len] = '\0';
	return text;
}

static char *print_key(EVP_PKEY *key)
{
	_cleanup_bio_ BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return NULL;
	return bio_text(bio);
}

static char *print_cert(X509 *cert)
{
	_cleanup_bio_ BIO *bio = BIO_new(BIO_s_mem());

	return bio && PEM_write_bio_X509(bio, cert) == 1 ? bio_text(bio) : NULL;
}

int certs_load(const char *cert_path, const char *key_path, struct certs *out, struct err *e)
{
	_cleanup_x509_ X509 *cert = NULL;
	_cleanup_key_ EVP_PKEY *key = NULL;
	int ret = read_text(cert_path, false, &out->chain, e);

	if (!ret)
		ret = read_text(key_path, false, &out->key, e);
	if (ret)
		goto err;
	cert = parse_cert(out->chain);
	key = parse_key(out->key);
	if (!cert)
		ret = err_set(e, -EINVAL, "%s: this is no certificate in PEM form", cert_path);
	else if (!key)
		ret = err_set(e, -EINVAL,
			      "%s: this is no private key in PEM form without a password",
			      key_path);
	else if (X509_check_private_key(cert, key) != 1)
		ret = err_set(e, -EINVAL, "%s: this key is not that of the certificate in %s",
			      key_path, cert_path);
	if (!ret)
		return 0;
err:
	certs_clear(out);
	return ret;
}

/* ---- making certificates ---- */

struct extension {
	int nid;
	const char *value;
};

static const struct extension ca_extensions[] = {
	{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
	{NID_key_usage, "critical,keyCertSign,cRLSign"},
	{NID_subject_key_identifier, "hash"},
	{NID_name_constraints, CA_CONSTRAINTS},
	{0, NULL},
};

static const struct extension server_extensions[] = {
	{NID_basic_constraints, "critical,CA:FALSE"},
	{NID_key_usage, "critical,digitalSignature"},
	{NID_ext_key_usage, "serverAuth"},
	{NID_subject_key_identifier, "hash"},
	{NID_authority_key_identifier, "keyid:always"},
	{NID_subject_alt_name, SERVER_NAMES},
	{0, NULL},
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *list)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	for (; list->nid; list++) {
		X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, list->nid, list->value);
		bool ok = x && X509_add_ext(cert, x, -1) == 1;

		X509_EXTENSION_free(x);
		if (!ok)
			return false;
	}
	return true;
}

static bool set_serial(X509 *cert)
{
	unsigned char random[SERIAL_BYTES];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	random[0] &= 0x7f; /* positive */
	random[0] |= 0x40; /* and not zero */
	n = BN_bin2bn(random, sizeof(random), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok;
}

static bool add_name(X509 *cert, const char *common)
{
	X509_NAME *name = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"mlenvfs",
					  -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common,
					  -1, -1, 0) == 1;
}

/* Signs a new certificate for key; issuer NULL: with itself. It began a day ago, for slow clocks.
 */
static X509 *make_cert(const char *common, EVP_PKEY *key, int days, X509 *issuer,
		       EVP_PKEY *issuer_key, const struct extension *extensions)
{
	X509 *cert = X509_new();

	if (!cert)
		return NULL;
	if (X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    add_name(cert, common) && X509_set_pubkey(cert, key) == 1 &&
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S) &&
	    add_extensions(cert, issuer ? issuer : cert, extensions) &&
	    X509_sign(cert, issuer_key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

struct ca {
	EVP_PKEY *key;
	X509 *cert;
};

static void ca_cleanup(struct ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->cert);
}

#define _cleanup_ca_ __attribute__((cleanup(ca_cleanup)))

/* Each has a name of its own: clients that trust an old one must not take this for it. */
static int ca_new(struct ca *ca, struct err *e)
{
	unsigned char mark[MARK_BYTES];
	char name[64];

	if (RAND_bytes(mark, sizeof(mark)) != 1)
		return err_set(e, -EIO, "there is no randomness for a key");
	snprintf(name, sizeof(name), "mlenvfs on this machine (%02x%02x%02x%02x)", mark[0], mark[1],
		 mark[2], mark[3]);
	ca->key = EVP_EC_gen(CURVE);
	if (ca->key)
		ca->cert = make_cert(name, ca->key, CA_DAYS, NULL, ca->key, ca_extensions);
	return ca->cert ? 0 : err_set(e, -EIO, "a CA could not be made");
}

static int ca_save(const struct ca *ca, int dir, const char *dir_path, struct err *e)
{
	_cleanup_secret_ char *key = print_key(ca->key);
	_cleanup_free_ char *cert = print_cert(ca->cert);
	int ret = key && cert ? 0 : -ENOMEM;

	/* The certificate comes last: it is there when everything is. */
	if (!ret && unlinkat(dir, CA_FILE, 0) && errno != ENOENT)
		ret = -errno;
	if (!ret)
		ret = write_file(dir, CA_KEY_FILE, 0600, key);
	if (!ret)
		ret = write_file(dir, CA_FILE, 0644, cert);
	return ret ? err_set(e, ret, "%s: a CA can't be kept there: %s", dir_path, strerror(-ret))
		   : 0;
}

static bool is_running_out(const X509 *cert)
{
	int days, seconds;

	return ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1 ||
	       days < CA_RENEW_DAYS;
}

static bool is_missing(const char *path)
{
	return access(path, F_OK) && errno == ENOENT;
}

/* 1: it is there and good for a while. 0: a new one is to be made. */
static int ca_load(struct ca *ca, const char *cert_path, const char *key_path, struct err *e)
{
	_cleanup_free_ char *cert = NULL;
	_cleanup_secret_ char *key = NULL;
	int ret;

	if (is_missing(cert_path) || is_missing(key_path))
		return 0;
	ret = read_text(cert_path, false, &cert, e);
	if (!ret)
		ret = read_text(key_path, true, &key, e);
	if (ret == -EPERM)
		return err_prefix(e, ret, "remove it, and a new one is made: ");
	if (ret)
		return ret;
	ca->cert = cert ? parse_cert(cert) : NULL;
	ca->key = key ? parse_key(key) : NULL;
	if (!ca->cert || !ca->key || X509_check_private_key(ca->cert, ca->key) != 1)
		return err_set(e, -EINVAL,
			       "%s and %s are not a CA: remove both, and a new one is made",
			       cert_path, key_path);
	return !is_running_out(ca->cert);
}

static int find_ca(struct ca *ca, const char *dir_path, const char *cert_path, struct err *e)
{
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *key_path = NULL;
	int ret;

	if (asprintf(&key_path, "%s/" CA_KEY_FILE, dir_path) < 0) {
		key_path = NULL;
		return err_set(e, -ENOMEM, "no memory");
	}
	if (mkdir(dir_path, 0700) && errno != EEXIST)
		return err_set(e, -errno, "%s: %s", dir_path, strerror(errno));
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Released with the descriptor. */
	if (dir < 0 || flock(dir, LOCK_EX))
		return err_set(e, -errno, "%s: %s", dir_path, strerror(errno));
	ret = ca_load(ca, cert_path, key_path, e);
	if (ret)
		return ret < 0 ? ret : 0;
	ca_cleanup(ca);
	*ca = (struct ca){0};
	ret = ca_new(ca, e);
	return ret ? ret : ca_save(ca, dir, dir_path, e);
}

int certs_make(const char *dir, struct certs *out, struct err *e)
{
	_cleanup_ca_ struct ca ca = {0};
	_cleanup_key_ EVP_PKEY *key = NULL;
	_cleanup_x509_ X509 *cert = NULL;
	int ret;

	if (asprintf(&out->ca_path, "%s/" CA_FILE, dir) < 0) {
		out->ca_path = NULL;
		return err_set(e, -ENOMEM, "no memory");
	}
	ret = find_ca(&ca, dir, out->ca_path, e);
	if (ret)
		goto err;
	key = EVP_EC_gen(CURVE);
	if (key)
		cert = make_cert("localhost", key, SERVER_DAYS, ca.cert, ca.key, server_extensions);
	if (cert) {
		out->key = print_key(key);
		out->chain = print_cert(cert);
	}
	if (out->key && out->chain)
		return 0;
	ret = err_set(e, -EIO, "a certificate could not be made");
err:
	certs_clear(out);
	return ret;
}
