/*
 * certs - a key and its certificate for tests, made anew and written as files of each kind.
 */
#ifndef MLENVFS_TESTS_CERTS_H
#define MLENVFS_TESTS_CERTS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

struct certs {
	EVP_PKEY *key;
	X509 *cert;
	char dir[64];
};

/* An RSA key of that many bits (0: an EC key), and a directory for its files. Aborts on failure. */
void certs_make(struct certs *c, int bits);
/* Frees, and removes the directory. */
void certs_clear(struct certs *c);

/* Writes DIR/name and returns its path, valid until the next call. password may be NULL. */
const char *certs_pem(struct certs *c, const char *name, const char *password, bool with_cert);
const char *certs_pkcs12(struct certs *c, const char *name, const char *password);
const char *certs_file(struct certs *c, const char *name, const void *data, size_t len);

#endif
