/*
 * cachedir - directories of the cache: private ones of this user, and nothing else.
 *
 * What lies in them may have been changed by anybody who could: files are opened only when they are
 * regular, this user's and nobody else's to read or write. Any thread.
 */
#ifndef MLENVFS_CACHE_CACHEDIR_H
#define MLENVFS_CACHE_CACHEDIR_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/cleanup.h"
#include "client/err.h"

/*
 * Opens the directory path, made (0700) with the directories that lead to it when it is not there.
 * A descriptor; or a negative errno with a text: -EACCES when it is not ours, or others can write
 * in it. One that others can read becomes private.
 */
_must_check_ int cachedir_open(const char *path, struct err *e);

/* The same for one name in a directory, which is not followed when it is a link. */
_must_check_ int cachedir_sub(int dir, const char *name, struct err *e);

/*
 * Opens a file for reading (flags O_RDONLY) or both (O_RDWR) and gives its size. -ENOENT; -EBADMSG:
 * something else is there, or a file that others own or can use.
 */
_must_check_ int cachedir_file(int dir, const char *name, int flags, uint64_t *size);

/* Removes what is there, whatever it is, directories with all that is in them. 0 also when nothing
 * is there. */
int cachedir_remove(int dir, const char *name);

/* A stream over the names in dir, of its own; NULL with errno set. */
DIR *cachedir_names(int dir);

/* The next name but . and ..; NULL with errno 0 at the end, with another one when there is none to
 * be had. */
const char *cachedir_next(DIR *names);

static inline void cachedir_names_cleanup(DIR **names)
{
	if (*names)
		closedir(*names);
}
#define _cleanup_names_ __attribute__((cleanup(cachedir_names_cleanup)))

#endif
