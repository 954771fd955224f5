/*
 * listed - directories while the kernel reads them, and whether it may keep what it read.
 *
 * There is no opendir request (the kernel is told so by the first one): the kernel keeps the names
 * of every directory that was read to its end, and asks for none of them again until they are
 * dropped. So:
 *
 *  - What can't be kept (drafts, scratch, edits, removed names; a list that is not fresh; anything
 *    of an environment in which something was changed here less than LISTED_QUIET ago) is dropped
 *    just before the reader is told of the directory's end: listed_end(). The kernel has taken up
 *    all names by then, and with the first page gone it starts anew the next time.
 *  - What is kept is dropped when its list is not fresh any more, when a list that is fetched says
 *    something else (notify.h), and before anything is changed here: listed_touch(). Whoever
 *    reads meanwhile finds at its end that what it was given became wrong.
 *  - A place in a directory (d_off) names the snapshot that it is of: the kernel joins what it
 *    reads to what it has only where these fit.
 *
 * Any thread. Only listed_begin() blocks (see call.h).
 */
#ifndef MLENVFS_FS_LISTED_H
#define MLENVFS_FS_LISTED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

#define LISTED_QUIET (INT64_C(10) * 1000000000) /* ns */

/* Directories that are being read and kept for the next request; more are listed once more. */
enum { LISTED_READINGS_MAX = 64 };

struct listing;
struct listed;

struct listed *listed_new(void);
void listed_free(struct listed *ls); /* NULL is allowed */

/* One reader's way through a directory, from one request to the next. */
struct reading {
	struct node *dir;
	uint64_t ino;            /* as the kernel calls it */
	struct listing *listing; /* borrowed until listed_put() */
	size_t next;             /* the first item wanted */

	/* for listed.c */
	struct snapshot *snapshot;
};

/*
 * What a request for the names from offset on is to answer. 0, or a negative errno as tree_list()
 * has it; after 0, listed_put().
 */
int listed_begin(struct fsys *fs, struct node *dir, uint64_t ino, off_t offset, struct call *c,
		 struct reading *out, struct err *e);

/* The place behind the first n names (d_off). */
off_t listed_offset(const struct reading *r, size_t n);

/* The reader is about to be told that there is nothing more. */
void listed_end(struct fsys *fs, struct reading *r);

void listed_put(struct fsys *fs, struct reading *r);

/* Something at n, or in the directory n, is about to be changed here. */
void listed_touch(struct fsys *fs, struct node *n);

#endif
