/*
 * beneath - opens files below a directory, and nothing else, whatever links and ".." a path has.
 *
 * Every component is opened by itself and without following links; links are expanded here, ".."
 * goes back along the descriptors that led here. So a tree that changes meanwhile cannot lead out.
 * Any thread.
 */
#ifndef MLENVFS_FS_BENEATH_H
#define MLENVFS_FS_BENEATH_H

/*
 * Opens path relative to the directory dir, which lies somewhere below root (root == dir when ".."
 * may not leave dir). flags as for open(2), O_CLOEXEC | O_NOCTTY | O_NONBLOCK are added; nothing is
 * created. Returns a descriptor or a negative errno: -EXDEV when the path leads out of root,
 * -ELOOP for a cycle of links or too many of them, and those of openat(2).
 */
int beneath_open(int root, int dir, const char *path, int flags);

#endif
