/*
 * sum - SHA-256, for what is kept on the disk and has to be recognised as what it was.
 *
 * Any thread.
 */
#ifndef MLENVFS_CACHE_SUM_H
#define MLENVFS_CACHE_SUM_H

#include <stdbool.h>
#include <stddef.h>

#include "client/cleanup.h"

enum {
	SUM_SIZE = 32,
	SUM_NAME_SIZE = 44, /* as a file name: base64url without padding, and a NUL */
};

struct sum {
	unsigned char bytes[SUM_SIZE];
};

/* The sum of one run of bytes. 0 or -ENOMEM. */
_must_check_ int sum_of(const void *data, size_t len, struct sum *out);

/* The sum of several, each with its length before it, so that no two sequences look alike. */
struct sum_part {
	const void *data;
	size_t len;
};
_must_check_ int sum_parts(const struct sum_part *parts, size_t n, struct sum *out);

bool sum_equal(const struct sum *a, const struct sum *b);

/* A file name that says it: letters, digits, '-' and '_'. */
void sum_name(const struct sum *s, char out[SUM_NAME_SIZE]);

/* Whether a name is one that sum_name() gives. */
bool sum_is_name(const char *name);

#endif
