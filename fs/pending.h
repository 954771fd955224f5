/*
 * pending - what was written here and is not published: drafts, refused saves, edits that nobody
 * saved yet, and publications under way. For `mlenvfs status`, and to throw it away.
 */
#ifndef MLENVFS_FS_PENDING_H
#define MLENVFS_FS_PENDING_H

#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

struct cJSON;

/*
 * Adds the arrays "drafts", "rejected", "unsaved" and "publishing" to an object, each item with its
 * path in the mount and, where there is one, the reason; and "more", how many were left out. Reads
 * the disk. 0 or -ENOMEM.
 */
int pending_add(struct fsys *fs, struct cJSON *to);

/*
 * Throws away what n stands for: a draft or a file of one, a refused file, the edit of a published
 * file, or (of a version's directory) all edits and refused files of it. What is published stays.
 * -EPERM with a text for everything else. Any thread.
 */
int pending_discard(struct fsys *fs, struct node *n, struct err *e);

#endif
