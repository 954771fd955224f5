/*
 * writing - which files of the disk programs have open for writing, wherever these were moved since
 * they were opened. Any thread; nothing blocks. May be called under the lock of moves (edits.h).
 */
#ifndef MLENVFS_FS_WRITING_H
#define MLENVFS_FS_WRITING_H

#include <stdbool.h>

#include "fs/fsys.h"

enum writing_which {
	WRITING_OPEN, /* any that is open for writing */
	WRITING_HALF, /* one of which something was written that no close has seen yet */
};

/* Whether there is such a file at path (upper.h), or below it. */
bool writing_at(struct fsys *fs, const char *path, enum writing_which which);

#endif
