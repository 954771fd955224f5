/*
 * wholefile - small files that are there whole or not at all, whatever happens while they are
 * written.
 */
#ifndef MLENVFS_FS_WHOLEFILE_H
#define MLENVFS_FS_WHOLEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

struct wholefile {
	const void *data; /* may be NULL when len is 0 */
	size_t len;
	mode_t mode;                  /* whatever the umask is */
	const struct timespec *mtime; /* NULL: now */
	bool sync;                    /* its bytes survive a crash once the name is there */
};

/*
 * Puts the file at name (a single name) in the directory dir, in place of what is there: under a
 * temporary name first. That the name survives a crash takes an fsync of dir, which is left to the
 * caller. Any thread. 0 or a negative errno; then nothing has changed.
 */
int wholefile_write(int dir, const char *name, const struct wholefile *file);

/* Whether the name is a temporary one, which a crash may leave behind. */
bool wholefile_is_temp(const char *name);

#endif
