/*
 * auth_cert - the certificate that an application signs in with, and the assertions signed with its
 * key. Source: auth.md section 2.2. Any thread.
 */
#ifndef MLENVFS_CLIENT_AUTH_CERT_H
#define MLENVFS_CLIENT_AUTH_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/buf.h"
#include "client/err.h"

enum {
	AUTH_CERT_FILE_MAX = 1024 * 1024, /* bytes of the file */
	AUTH_CERT_CHAIN_MAX = 10,         /* certificates that are sent along */
	AUTH_ASSERTION_MAX = 64 * 1024,   /* bytes of an assertion */
	AUTH_ASSERTION_LIFE_S = 600,      /* from its beginning */
	AUTH_ASSERTION_BACK_S = 60,       /* it is valid from so long ago, for clocks that differ */
};

struct auth_cert;

/*
 * Reads a file with a private RSA key and its certificate: PEM, or PKCS#12. password may be NULL.
 * send_chain: assertions carry the certificates (for subject name and issuer authentication).
 * -EINVAL when it is not usable; the texts name the path, never what is in it.
 */
int auth_cert_load(const char *path, const char *password, bool send_chain, struct auth_cert **out,
		   struct err *e);
void auth_cert_free(struct auth_cert *c); /* NULL is allowed */

/* How an assertion is signed: as the documents ask now, or as older endpoints know it. */
enum auth_alg { AUTH_PS256, AUTH_RS256 };

struct auth_claims {
	const char *audience;  /* URL of the token endpoint */
	const char *client_id; /* issuer and subject */
	int64_t now;           /* seconds since the epoch, by the endpoint's clock */
};

/* Appends a signed JWT to out. -EIO when OpenSSL can't, -ENOMEM. */
int auth_cert_assertion(const struct auth_cert *c, enum auth_alg alg,
			const struct auth_claims *claims, struct buf *out, struct err *e);

#endif
