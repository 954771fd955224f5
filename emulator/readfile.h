/*
 * readfile - a whole small file that the user has named: certificates, keys, plans.
 */
#ifndef MLENVFS_EMULATOR_READFILE_H
#define MLENVFS_EMULATOR_READFILE_H

#include <stdbool.h>

#include "client/buf.h"
#include "client/err.h"

/*
 * Appends the file to out, whose bound counts. secret: -EPERM when it is not ours, or others may
 * read it. Every error has a text that begins with the path. Wipe out when it was secret.
 */
int readfile(const char *path, bool secret, struct buf *out, struct err *e);

#endif
