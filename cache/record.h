/*
 * record - records (client/asset.h) as bytes, for the disk, and back.
 *
 * The bytes hold everything that a record does. What is read back is not trusted: lengths, bounds
 * and required names are checked as those of a service are, and nothing but a whole record comes
 * out. Any thread.
 */
#ifndef MLENVFS_CACHE_RECORD_H
#define MLENVFS_CACHE_RECORD_H

#include <stddef.h>

#include "client/buf.h"
#include "client/cleanup.h"

enum record_kind { RECORD_SCOPE, RECORD_ENV, RECORD_VERSION, RECORD_CONTEXT, RECORD_KINDS };

enum {
	RECORD_MAX = 64 * 1024 * 1024, /* bytes that one record may take */
};

/* Another number whenever the bytes of a record would mean something else. */
int record_format(void);

/* Appends the bytes of a record of that kind. 0, -ENOMEM or -EFBIG. */
_must_check_ int record_encode(enum record_kind kind, const void *record, struct buf *out);

/* The record that the bytes are, a reference. -EBADMSG when they are none, -ENOMEM. */
_must_check_ int record_decode(enum record_kind kind, const void *data, size_t len, void **out);

/* Gives a reference to a record of that kind back. */
void record_unref(enum record_kind kind, void *record);

#endif
