/*
 * context_hash - the name that the official clients give to a build context's content: the MD5 in
 * LocalUpload/{hash}/. Source: azureml-rest.md section 8, 2.
 */
#ifndef MLENVFS_CLIENT_CONTEXT_HASH_H
#define MLENVFS_CLIENT_CONTEXT_HASH_H

#include <stddef.h>

#include "client/err.h"
#include "client/source.h"

enum { CONTEXT_HASH_SIZE = 33 }; /* 32 hex digits and NUL */

/*
 * The hash of the directory that the files make up, read from their descriptors from offset 0
 * (pread; their positions do not change). Entries go by name folded to lower case; only ASCII is
 * folded, which matters to nobody but a client that would have uploaded the same files. Blocks on
 * the disk. -EIO when a file is not as long as it says; other negative errno from reading.
 */
int context_hash(const struct upload_file *files, size_t n, char out[CONTEXT_HASH_SIZE],
		 struct err *e);

#endif
