#include "tests/unit/clientcert.h"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(cond)                                            \
	do {                                                   \
		if (!(cond)) {                                 \
			fprintf(stderr, "certs: %s\n", #cond); \
			abort();                               \
		}                                              \
	} while (0)

static char path[128];

void clientcert_make(struct clientcert *c, int bits)
{
	X509_NAME *name;

	*c = (struct clientcert){0};
	snprintf(c->dir, sizeof(c->dir), "/tmp/mlenvfs-certs-XXXXXX");
	CHECK(mkdtemp(c->dir));
	c->key = bits ? EVP_RSA_gen((unsigned int)bits) : EVP_EC_gen("P-256");
	c->cert = X509_new();
	CHECK(c->key && c->cert);
	ASN1_INTEGER_set(X509_get_serialNumber(c->cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(c->cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(c->cert), 3600);
	X509_set_pubkey(c->cert, c->key);
	name = X509_get_subject_name(c->cert);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"app", -1, -1,
				   0);
	X509_set_issuer_name(c->cert, name);
	CHECK(X509_sign(c->cert, c->key, EVP_sha256()));
}

void clientcert_clear(struct clientcert *c)
{
	char command[] = "rm", all[] = "-rf";
	char *argv[] = {command, all, c->dir, NULL};
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
	EVP_PKEY_free(c->key);
	X509_free(c->cert);
	*c = (struct clientcert){0};
}

static FILE *create(struct clientcert *c, const char *name)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	f = fopen(path, "we");
	CHECK(f);
	return f;
}

const char *clientcert_pem(struct clientcert *c, const char *name, const char *password,
			   bool with_cert)
{
	FILE *f = create(c, name);
	int len = password ? (int)strlen(password) : 0;

	CHECK(PEM_write_PKCS8PrivateKey(f, c->key, password ? EVP_aes_128_cbc() : NULL, password,
					len, NULL, NULL));
	if (with_cert)
		CHECK(PEM_write_X509(f, c->cert));
	fclose(f);
	return path;
}

const char *clientcert_pkcs12(struct clientcert *c, const char *name, const char *password)
{
	PKCS12 *p12 = PKCS12_create(password, "app", c->key, c->cert, NULL, 0, 0, 0, 0, 0);
	FILE *f = create(c, name);

	CHECK(p12 && i2d_PKCS12_fp(f, p12));
	fclose(f);
	PKCS12_free(p12);
	return path;
}

const char *clientcert_file(struct clientcert *c, const char *name, const void *data, size_t len)
{
	FILE *f = create(c, name);

	CHECK(fwrite(data, 1, len, f) == len);
	fclose(f);
	return path;
}
