/*
 * refuse - bytes that could not be saved, kept beside the file as .rejected.
 *
 * The newest has that name, older ones .rejected.1 to .rejected.99. A program that goes on typing
 * replaces what it had refused before; what another program typed, and what comes back after
 * something else was refused (an editor's backup), replaces nothing.
 */
#ifndef MLENVFS_FS_REFUSE_H
#define MLENVFS_FS_REFUSE_H

#include "fs/fsys.h"
#include "fs/proc.h"

enum { REFUSED_MAX = 99 }; /* older ones of a file */

/*
 * Copies the bytes at the path from, those of the edited file rel in the version's directory vdir,
 * to rel.rejected there, with the reason. Blocks on the disk; any thread. 0 or a negative errno:
 * from is as it was.
 */
int refuse_bytes(struct fsys *fs, const char *vdir, const char *rel, const char *from,
		 const struct proc_id *who, const char *reason);

#endif
