/*
 * ctxtree - the flat list of a build context as directories and files.
 *
 * Blob storage has no directories: they are made from the paths here, with every part encoded as a
 * file name (fs/name.h). Where a file and a directory would have one name, the directory keeps it
 * and the file is shown with its first byte percent-encoded. Immutable, reference-counted.
 */
#ifndef MLENVFS_FS_CTXTREE_H
#define MLENVFS_FS_CTXTREE_H

#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/err.h"

struct ctxtree;

enum { CTXTREE_ROOT = 0, CTXTREE_DEPTH_MAX = 128 };

struct ctxtree_entry {
	const char *name;                /* file name, encoded */
	const struct context_file *file; /* NULL: a directory */
	uint32_t first;                  /* directory: index of its first entry */
	uint32_t count;                  /* directory: how many, sorted by name */
	int64_t modified;                /* of the newest file in it, for a directory */
};

/*
 * Builds the tree; takes a reference to ctx. Files nested deeper than CTXTREE_DEPTH_MAX are left
 * out, with a warning in the log. -ENOMEM.
 */
int ctxtree_new(struct context *ctx, struct ctxtree **out, struct err *e);
struct ctxtree *ctxtree_ref(struct ctxtree *t);
void ctxtree_unref(struct ctxtree *t);

struct context *ctxtree_context(const struct ctxtree *t); /* borrowed */

/* Entry i; CTXTREE_ROOT is the context directory itself. Borrowed. */
const struct ctxtree_entry *ctxtree_get(const struct ctxtree *t, uint32_t i);

/* The index of the entry of that name in directory dir, or -1. */
int64_t ctxtree_find(const struct ctxtree *t, uint32_t dir, const char *name);

#endif
