/*
 * writeall - write(2) that does not stop half way. Any thread.
 */
#ifndef MLENVFS_CLIENT_WRITEALL_H
#define MLENVFS_CLIENT_WRITEALL_H

#include <stddef.h>

#include "client/cleanup.h"

/* Writes all of it, also after signals. 0 or a negative errno; how much is written then is open. */
int write_all(int fd, const void *data, size_t len) _must_check_;

#endif
