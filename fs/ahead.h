/*
 * ahead - gives the kernel the small files of a version when its directory has been read: who looks
 * into them next (grep -r, rsync) reads them without a request.
 */
#ifndef MLENVFS_FS_AHEAD_H
#define MLENVFS_FS_AHEAD_H

#include "fs/fsys.h"
#include "fs/node.h"

struct listing;

enum { AHEAD_FILE_MAX = 64 * 1024 }; /* bytes; larger files are read when they are wanted */

/*
 * The kernel has just taken up all names of the directory, which were these. Once for each record
 * of a version; nothing for other directories, and for files that are edited. Makes no request.
 */
void ahead_store(struct fsys *fs, struct node *dir, const struct listing *l);

#endif
