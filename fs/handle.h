/*
 * handle - what an open file holds, and a list of all that are open: an unmount may
 * come before the last release, and nothing may be left behind then.
 */
#ifndef MLENVFS_FS_HANDLE_H
#define MLENVFS_FS_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/proc.h"

struct build_watch;
struct handles;

struct handle {
	struct build_watch *build; /* a build.log, which is followed: owned */
	int fd;                    /* a local file; -1: it is none. handle_set_file() sets this, */
	uint64_t ino;              /* the local file's number, */
	bool writing;              /* and whether it is open for writing */
	bool sync;                 /* ... with O_SYNC or O_DSYNC */
	atomic_bool wrote;         /* something that no flush has seen yet */
	bool counted;              /* among the writers of an edited file (edits.h) */
	bool sink;          /* what is written goes nowhere: a derived file of a copied version */
	struct proc_id who; /* who opened it, when it is writing */

	/* protected by the list's lock */
	char *text; /* a rendered file, once it was read: owned */
	size_t size;
	struct handle *next;
	struct handle **link;
};

struct handles *handles_new(void);

/* Frees all that are still open, and the list. NULL is allowed. */
void handles_free(struct handles *hs);

/* An empty handle in the list; NULL when memory ran out. Any thread. */
struct handle *handle_new(struct handles *hs);

/* h holds a file of the disk from now on: what the functions below look for. ino 0: not known yet.
 */
void handle_set_file(struct handles *hs, struct handle *h, int fd, uint64_t ino, bool writing);

/* The text of a rendered file, borrowed until handle_free(); NULL when it was not read yet. */
const char *handle_text(struct handles *hs, struct handle *h, size_t *size);

/* Keeps the text, which is taken; where another reader was first, that one's stays. What is kept.
 */
const char *handle_keep_text(struct handles *hs, struct handle *h, char *text, size_t *size);

/* Takes it out of the list and frees it with what it holds. Any thread. */
void handle_free(struct handles *hs, struct handle *h);

/* fstat(2) of a local file that is open, also when its name is gone. 0, or -ENOENT when none is. */
int handles_stat(struct handles *hs, uint64_t ino, struct stat *st);

/* Calls fn for every local file that is open for writing, until it returns true; what fn returned
 * last. fn may use the node table, and must not take other locks. */
bool handles_writing(struct handles *hs, bool (*fn)(const struct handle *h, void *arg), void *arg);

/*
 * The file, with all that was written to it so far, becomes one that is edited (edits.h): all that
 * have it open for writing are marked as counted, and as having written nothing since. Returns how
 * many there are. With edits_lock() held, so that none is opened meanwhile.
 */
unsigned int handles_adopt(struct handles *hs, uint64_t ino);

/* Between struct fuse_file_info.fh and the handle. */
static inline struct handle *handle_of(uint64_t fh)
{
	return (struct handle *)(uintptr_t)fh;
}

#endif
