/*
 * blocks - the content of context files, in blocks.
 *
 * A block is fetched once however many readers want it, read without locks, and kept until the
 * least recently used ones have to go (catalog_conf.content_max). It is named by the context's
 * URI, the file's path, etag, size and time, and its index: a file that changed has other blocks.
 */
#ifndef MLENVFS_CACHE_BLOCKS_H
#define MLENVFS_CACHE_BLOCKS_H

#include "cache/fetch.h"

enum { BLOCK_SIZE = 1024 * 1024 };

extern const struct fetch_kind fetch_block; /* want: block_key(), scope, context, file, index */

/* Appends the key of a block to key. 0 or a negative errno. */
int block_key(struct buf *key, const struct want *w);

/* The block of w on the disk, a reference: 0 or -ENOENT. And how it gets there. Without locks. */
int block_recall(struct catalog *c, const struct want *w, void **out);
void block_keep(struct catalog *c, const struct want *w, void *block);

#endif
