/*
 * attr - sizes, times, modes and owners (semantics.md section 1), and how long they hold.
 */
#ifndef MLENVFS_FS_ATTR_H
#define MLENVFS_FS_ATTR_H

#include <sys/stat.h>

#include "fs/fsys.h"
#include "fs/node.h"

/*
 * Fills *st from the records that the node has; makes no request. *timeout gets the seconds
 * that the kernel may keep them. 0, -ENOMEM or -EFBIG.
 */
int attr_fill(struct fsys *fs, struct node *n, struct stat *st, double *timeout);

/* How long the kernel may keep the name itself, in seconds. */
double attr_entry_timeout(struct fsys *fs, struct node *n);

/* Whether what the name stands for is a directory, a file or a symlink: S_IFDIR, ... */
mode_t attr_type(struct node_table *t, struct node *n);

#endif
