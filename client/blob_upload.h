/*
 * blob_upload - a build context's files into a container, as the official clients put them there,
 * so that they find each other's uploads. Source: azureml-rest.md section 8.
 */
#ifndef MLENVFS_CLIENT_BLOB_UPLOAD_H
#define MLENVFS_CLIENT_BLOB_UPLOAD_H

#include "client/blob.h"
#include "client/source.h"

/* What the folder of a context's files is called in its container. */
#define BLOB_CONTEXT_DIR "context"

/* One upload. All borrowed. */
struct blob_upload {
	struct http *http;
	const struct url *endpoint; /* of the service; to tell places apart (blob_place_parse()) */
	const struct blob_place *place;
	const struct blob_access *access;
	const struct upload_file *files;
	size_t n;
	const char *env; /* noted in the container for people who look there */
	const char *version;
	struct call *call;
};

/*
 * Uploads the files to folder (decoded, with its slash at the end) unless they are all there:
 * the first of them says so in its metadata, and gets to say so when every file has arrived. Works
 * on several files at once, and on none any more when it returns. legacy: a folder that older
 * clients used, looked at first; NULL: none. *used is folder or legacy. Errors as of struct source,
 * -EACCES when the access was refused; -EIO when a file changes while it is read.
 */
int blob_upload(const struct blob_upload *u, const char *folder, const char *legacy,
		const char **used, struct err *e);

#endif
