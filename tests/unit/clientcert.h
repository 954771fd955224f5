/*
 * clientcert - a key and its certificate for tests, made anew and written as files of each kind.
 */
#ifndef MLENVFS_TESTS_CLIENTCERT_H
#define MLENVFS_TESTS_CLIENTCERT_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

struct clientcert {
	EVP_PKEY *key;
	X509 *cert;
	char dir[64];
};

/* An RSA key of that many bits (0: an EC key), and a directory for its files. Aborts on failure. */
void clientcert_make(struct clientcert *c, int bits);
/* Frees, and removes the directory. */
void clientcert_clear(struct clientcert *c);

/* Writes DIR/name and returns its path, valid until the next call. password may be NULL. */
const char *clientcert_pem(struct clientcert *c, const char *name, const char *password,
			   bool with_cert);
const char *clientcert_pkcs12(struct clientcert *c, const char *name, const char *password);
const char *clientcert_file(struct clientcert *c, const char *name, const void *data, size_t len);

#endif
