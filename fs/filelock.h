/*
 * filelock - one at a time across all mounts of one user on one machine.
 *
 * The service has no ETags for environments: who reads a record, changes it and sends it back can
 * undo what somebody else did in between. Within a process the client takes turns; between the
 * mounts of one machine it is this: a range of one byte, chosen by the name, of one file that they
 * share.
 */
#ifndef MLENVFS_FS_FILELOCK_H
#define MLENVFS_FS_FILELOCK_H

#include "client/call.h"
#include "client/err.h"

/*
 * Waits until nobody else holds the lock of that name, at most as long as the call has. The
 * descriptor that holds it then, to be given back with filelock_release(); or -ETIMEDOUT,
 * -ECANCELED, or what open(2) and fcntl(2) say, with a text.
 */
int filelock_take(const char *name, struct call *c, struct err *e);

/* Negative: nothing is held. */
void filelock_release(int fd);

#endif
