/*
 * jwt - JSON Web Tokens in their compact form, signed with RSA: RS256, and PS256 to be read.
 * Sources: RFC 7515 section 7.1, RFC 7518 sections 3.3 and 3.5, RFC 7519. Any thread.
 */
#ifndef MLENVFS_EMULATOR_JWT_H
#define MLENVFS_EMULATOR_JWT_H

#include <cjson/cJSON.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/buf.h"
#include "client/err.h"

enum {
	JWT_MAX = 32 * 1024,      /* bytes of a token that is read */
	JWT_SIGNATURE_MAX = 1024, /* of a key with 8192 bits */
};

struct jwt {
	cJSON *header;
	cJSON *claims;
	const char *text; /* what is signed; borrowed from what was parsed */
	size_t text_len;
	unsigned char signature[JWT_SIGNATURE_MAX];
	size_t signature_len;
};

/*
 * Takes a token apart, without a look at its signature. -EBADMSG with a text when it is not one,
 * -ENOMEM. text stays borrowed. Clear *out in any case.
 */
int jwt_parse(const char *text, struct jwt *out, struct err *e);
void jwt_clear(struct jwt *j);

/* Whether key has signed it, with the algorithm (RS256 or PS256) that its header names. */
bool jwt_verify(const struct jwt *j, EVP_PKEY *key);

/* A claim that is a whole number between 0 and 2^53; -1 when it is not there. */
int64_t jwt_number(const struct jwt *j, const char *name);

/* Appends a token with these JSON texts, signed with RS256. -EIO when signing failed. */
int jwt_sign(const char *header, const char *claims, EVP_PKEY *key, struct buf *out);

static inline void jwt_cleanup(struct jwt *j)
{
	jwt_clear(j);
}
#define _cleanup_jwt_ __attribute__((cleanup(jwt_cleanup)))

#endif
