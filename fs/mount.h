/*
 * mount - one mount from start to end: the layers put together, the session's loop, the way out.
 */
#ifndef MLENVFS_FS_MOUNT_H
#define MLENVFS_FS_MOUNT_H

#include "client/err.h"
#include "fs/options.h"

/*
 * Called once the file system is mounted and answers; what it returns, when not 0, ends the mount.
 */
typedef int mount_ready_fn(void *arg);

/*
 * Mounts at o->mountpoint and serves until it is unmounted or SIGTERM or SIGINT arrives; SIGHUP
 * makes all lists old. Call once in a process, before any thread is started. 0 after a clean
 * unmount, else a negative errno with a text.
 */
int mount_serve(const struct options *o, mount_ready_fn *ready, void *ready_arg, struct err *e);

#endif
