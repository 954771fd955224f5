/*
 * sha256 - SHA-256 as OpenSSL has it, looked up once: EVP_sha256() is looked up among the providers
 * by each digest that begins with it, which takes longer than a short text.
 */
#ifndef MLENVFS_CLIENT_SHA256_H
#define MLENVFS_CLIENT_SHA256_H

#include <openssl/evp.h>

enum { SHA256_BYTES = 32 };

/* For EVP_Digest() and EVP_DigestInit_ex(); borrowed, for ever. Never NULL. Any thread. */
const EVP_MD *sha256(void);

#endif
