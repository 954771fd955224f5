/*
 * base64 - RFC 4648: with padding, as storage keys, checksums and block ids are written; and
 * base64url, as tokens are. Any thread.
 */
#ifndef MLENVFS_CLIENT_BASE64_H
#define MLENVFS_CLIENT_BASE64_H

#include <stddef.h>
#include <sys/types.h>

#include "client/buf.h"

/* The room that the encoding of n bytes takes, its NUL included. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* Writes the encoding of len bytes and a NUL; out holds at least BASE64_SIZE(len) bytes. */
void base64_encode(const void *data, size_t len, char *out);

/*
 * Decodes len characters into out, which holds size bytes. Returns the number of bytes, or -EINVAL
 * when the text is not canonical base64 (strict: no white space, padded) or does not fit.
 */
ssize_t base64_decode(const char *text, size_t len, void *out, size_t size);

/*
 * The same with the alphabet for URLs and without padding (RFC 7515 appendix C). add appends it: 0
 * or buf's error. decode takes padding too; -EINVAL, -ENOMEM.
 */
int base64url_add(struct buf *b, const void *data, size_t len);
ssize_t base64url_decode(const char *text, size_t len, void *out, size_t size);

#endif
