/*
 * asset_layout - where the texts of a record are: for what takes records apart (asset.c, and
 * cache/record.c, which writes them down).
 */
#ifndef MLENVFS_CLIENT_ASSET_LAYOUT_H
#define MLENVFS_CLIENT_ASSET_LAYOUT_H

#include <stddef.h>

#include "client/asset.h"

/* All numbers of bytes from the start of the record's struct. */
struct asset_layout {
	size_t size;
	const size_t *strings; /* each a `const char *` */
	size_t n_strings;
	const size_t *arrays; /* pairs: of the `const struct kv *` and of its count, a size_t */
	size_t n_arrays;
};

extern const struct asset_layout asset_scope_layout;
extern const struct asset_layout asset_env_layout;
extern const struct asset_layout asset_version_layout;

#endif
