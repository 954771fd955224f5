/*
 * warm - the mount's side of `mlenvfs warm`: setting user.mlenvfs.warm on something makes sure that
 * it is on this machine's disk, and fails when it is not.
 *
 *   a directory of lists       ""                the list that it shows
 *   a version's directory      ""                the list of the files of its build context
 *   a file in context/         "OFFSET LENGTH"   that part of its content
 *   the top                    "flush"           everything that waits to be written
 */
#ifndef MLENVFS_FS_WARM_H
#define MLENVFS_FS_WARM_H

#include <stddef.h>

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

#define WARM_FLUSH "flush"

enum { WARM_PIECE = 4 * 1024 * 1024 }; /* bytes of content that are asked for at once */

/* 0, -EOPNOTSUPP when there is no cache, -EINVAL for another value, or why it can't be had. Blocks.
 */
int warm_node(struct fsys *fs, struct node *n, const char *value, size_t size, struct call *c,
	      struct err *e);

#endif
