/*
 * tree_int - what the files that make up the tree know of each other: the published side of it
 * (tree.c), seen together with the disk's (tree_view.c, tree_local.c).
 */
#ifndef MLENVFS_FS_TREE_INT_H
#define MLENVFS_FS_TREE_INT_H

#include "fs/tree.h"

/* An empty listing with room for so many items; NULL when memory ran out. */
struct listing *tree_listing_new(size_t room);

/*
 * What is published in dir, or under one name in it. *out may be set on a failure too, and is to be
 * freed then; after -ENOENT of a name it may be used. Block.
 */
int tree_list_any(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
		  struct err *e);
int tree_lookup_any(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		    struct listing **out, struct err *e);

#endif
