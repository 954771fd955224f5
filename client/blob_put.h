/*
 * blob_put - one file of a build context, put into its container: copied there by the service from
 * a published context that has it, else sent.
 */
#ifndef MLENVFS_CLIENT_BLOB_PUT_H
#define MLENVFS_CLIENT_BLOB_PUT_H

#include <stdatomic.h>

#include "client/blob_upload.h"

/* One file. All borrowed. */
struct blob_put {
	const struct blob_upload *upload; /* its call is not used */
	const char *folder;               /* decoded, with its slash at the end */
	const struct upload_file *file;
	bool overwrite;              /* it is expected to be there already */
	bool indicator;              /* its metadata says whether the whole context is there */
	atomic_bool *copies_refused; /* the service copies nothing for us; set here */
	struct call *call;
};

/*
 * Puts the file. A copy is tried when the file names a source in this very container, and counts
 * only when the service found the bytes there to be those of the file's descriptor. Errors as of
 * blob_upload().
 */
int blob_put(const struct blob_put *p, struct err *e);

/* How many bytes of it blob_put() has in memory at once. */
size_t blob_put_memory(const struct upload_file *file);

/* Appends the name of the file's blob, decoded. -EFBIG with a text when it is too long. */
int blob_put_name(struct buf *name, const char *folder, const struct upload_file *file,
		  struct err *e);

#endif
