/*
 * keep - after a save: what is kept on this machine of the bytes that were saved, so that they are
 * shown as they were typed (shown.h).
 */
#ifndef MLENVFS_FS_KEEP_H
#define MLENVFS_FS_KEEP_H

#include "fs/fsys.h"
#include "fs/proc.h"

struct scope;
struct version;

/*
 * The file of the disk at path was saved as rel of the version v, from the directory vdir, by who.
 * A spec.yml is shown in v's own directory just as it was written while who lives, whatever version
 * it says (NULL: none), for editors that come back to it through `latest`. Any thread.
 */
void keep_saved(struct fsys *fs, struct scope *scope, const struct version *v, const char *vdir,
		const char *rel, const char *path, const char *said, const struct proc_id *who);

/* The same for a file of a draft; rel is its path in the version. */
void keep_drafted(struct fsys *fs, struct scope *scope, const struct version *v, const char *rel,
		  const char *path);

#endif
