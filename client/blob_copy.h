/*
 * blob_copy - the source of a copy inside the service ("Put Blob From URL"): its address, and what
 * lets the service read it. That call takes no SharedKey for its source, not even in the account
 * that the request is signed for; with a key we therefore sign a SAS for the one blob.
 */
#ifndef MLENVFS_CLIENT_BLOB_COPY_H
#define MLENVFS_CLIENT_BLOB_COPY_H

#include "client/blob.h"

/* Both hold secrets; blob_source_clear() wipes them. */
struct blob_source {
	struct buf url;           /* the value of x-ms-copy-source */
	struct buf authorization; /* of x-ms-copy-source-authorization; empty: none is needed */
};

/*
 * The source that is the blob name (decoded) in p's container. May ask the credential for a token.
 * -EINVAL when the blob's name can't be signed, -EFBIG when its address is longer than the service
 * takes, -EACCES without a token, -ENOMEM. *out is to be cleared in any case.
 */
int blob_source_make(const struct blob_place *p, const struct blob_access *a, const char *name,
		     size_t len, struct call *c, struct blob_source *out, struct err *e);
void blob_source_clear(struct blob_source *s);
#define _cleanup_source_ __attribute__((cleanup(blob_source_clear)))

#endif
