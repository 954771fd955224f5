/*
 * handle - what an open file or directory holds, and a list of all that are open: an unmount may
 * come before the last release, and nothing may be left behind then.
 */
#ifndef MLENVFS_FS_HANDLE_H
#define MLENVFS_FS_HANDLE_H

#include <stddef.h>
#include <stdint.h>

struct handles;
struct listing;

struct handle {
	struct listing *listing; /* a directory: owned */
	char *text;              /* a rendered file: owned; NULL for a context file */
	size_t size;

	/* protected by the list's lock */
	struct handle *next;
	struct handle **link;
};

struct handles *handles_new(void);

/* Frees all that are still open, and the list. NULL is allowed. */
void handles_free(struct handles *hs);

/* An empty handle in the list; NULL when memory ran out. Any thread. */
struct handle *handle_new(struct handles *hs);

/* Takes it out of the list and frees it with what it holds. Any thread. */
void handle_free(struct handles *hs, struct handle *h);

/* Between struct fuse_file_info.fh and the handle. */
static inline struct handle *handle_of(uint64_t fh)
{
	return (struct handle *)(uintptr_t)fh;
}

#endif
