/*
 * sockdir - the private directory that the socket of a mount's own service lies in.
 *
 * It goes with the mount. That of a mount which was killed is removed by the next one of the same
 * user: a lock, which the kernel takes back at the end of a process, says whose is in use.
 */
#ifndef MLENVFS_FS_SOCKDIR_H
#define MLENVFS_FS_SOCKDIR_H

#include "client/err.h"

struct sockdir;

/*
 * Makes a directory (mode 0700) in the absolute directory `in`, after removing what killed mounts
 * of this user left there. 0 or a negative errno with a text. Any thread; blocks on the disk.
 */
int sockdir_new(const char *in, struct sockdir **out, struct err *e);

/* The path for the socket; nothing is there yet. Belongs to d. */
const char *sockdir_socket(const struct sockdir *d);

/* Removes the socket and the directory. NULL is allowed. */
void sockdir_free(struct sockdir *d);

#endif
