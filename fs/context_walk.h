/*
 * context_walk - the files of a build context on the local disk, opened.
 */
#ifndef MLENVFS_FS_CONTEXT_WALK_H
#define MLENVFS_FS_CONTEXT_WALK_H

#include "client/err.h"
#include "client/source.h"

/*
 * Opens every file below the directory dirfd, sorted by path (strcmp), without those that
 * .amlignore (else .gitignore) at its top leaves out, and whatever has a temporary name
 * (fs/tempname.h). Errors as assetdir_read(). Free with context_walk_free().
 */
int context_walk(int dirfd, struct upload_file **files, size_t *n, struct err *e);

/* Closes and frees them. files may be NULL. */
void context_walk_free(struct upload_file *files, size_t n);

/* Reads an open regular file of at most max bytes. Returns 0, -EFBIG, -EISDIR, -EINVAL for what is
 * no regular file, or what read(2) gives. */
struct buf;
int context_read_file(int fd, struct buf *out);

#endif
