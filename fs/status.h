/*
 * status - what a mount says about itself: the JSON of user.mlenvfs.status on its root, which
 * `mlenvfs status` shows.
 */
#ifndef MLENVFS_FS_STATUS_H
#define MLENVFS_FS_STATUS_H

#include "client/buf.h"
#include "fs/fsys.h"

/* Appends one JSON object. No secrets are in it. 0, -ENOMEM or -EFBIG. */
int status_json(struct fsys *fs, struct buf *out);

#endif
