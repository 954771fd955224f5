/*
 * build_context - lays out the files of a build context, which are blobs here, in a directory.
 */
#ifndef MLENVFS_EMULATOR_BUILD_CONTEXT_H
#define MLENVFS_EMULATOR_BUILD_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/err.h"

struct db;

enum { BUILD_CONTEXT_HASH = 32 };
#define BUILD_CONTEXT_BYTES_MAX (16ULL * 1024 * 1024 * 1024)

struct build_context {
	const char *uri_path;    /* the path of its contextUri: /account/container/prefix */
	int dir_fd;              /* an empty directory of ours, for the files */
	bool (*stop)(void *ctx); /* asked between files: true ends it with -ECANCELED */
	void *ctx;

	/* Out. */
	unsigned char hash[BUILD_CONTEXT_HASH]; /* SHA-256 of all paths and contents */
	uint64_t files, bytes;
};

/*
 * Lays it out. -ENOENT: there are no files; -EINVAL: a blob's name is no path below a directory, or
 * two of them can't be in one (e says which); -EFBIG: too many, or too large; -ECANCELED; other
 * negative errno.
 */
int build_context_lay_out(struct db *db, struct build_context *c, struct err *e);

#endif
