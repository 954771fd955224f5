/*
 * objects - content that never changes, kept on the disk: blocks of build contexts, finished logs.
 *
 * Content lies in files named by its SHA-256, so what many versions have in common is there once; a
 * key (any bytes that say which content is meant, and mean the same for ever) leads to it through a
 * symbolic link that nobody follows: it only holds the name.
 *
 *   content/X/REST   the bytes whose sum is XREST
 *   keys/X/REST      -> the name of the content that the key with the sum XREST has
 *
 * Files appear whole (written under another name, then renamed) and are checked whenever they are
 * read: what does not have its sum, its owner or its mode is removed and counts as not there. Any
 * number of processes may use one directory; nothing is locked. When the limit is passed, the least
 * recently used go first. Nothing is ever synced: after a power failure, what did not reach
 * the disk has another sum.
 *
 * All functions may be called from any thread, and read or write files.
 */
#ifndef MLENVFS_CACHE_OBJECTS_H
#define MLENVFS_CACHE_OBJECTS_H

#include <stddef.h>
#include <stdint.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/err.h"

enum { OBJECTS_SIZE_MAX = 64 * 1024 * 1024 }; /* bytes in one object */

struct objects;

/*
 * dir: a private directory (cachedir.h), borrowed. max: the most bytes to keep. A negative
 * errno with a text.
 */
_must_check_ int objects_open(int dir, uint64_t max, struct objects **out, struct err *e);
void objects_close(struct objects *o); /* NULL is allowed */

/*
 * Appends the content that was kept under key. -ENOENT: none is (any more); -EFBIG when out can't
 * hold it, -ENOMEM.
 */
_must_check_ int objects_get(struct objects *o, const void *key, size_t len, struct buf *out);

/* Keeps content under key, in place of other content. -EFBIG, or what writing a file gives. */
_must_check_ int objects_put(struct objects *o, const void *key, size_t len, const void *data,
			     size_t size);

/* How many were removed to make room, by this process. */
uint64_t objects_evicted(const struct objects *o);

/* What a look at all of them found, or what was done. */
struct objects_report {
	uint64_t count; /* objects that are left */
	uint64_t bytes; /* and the room they take on the disk */
	uint64_t keys;
	uint64_t removed; /* files that were removed */
	uint64_t bad;     /* of those: damaged ones */
	uint64_t evicted; /* of those: content that was whole, to make room */
};

/*
 * Looks at all of them and removes what is in the way: damaged names, keys without content, what a
 * crash left, and of the content the least recently used until max bytes are left.
 */
_must_check_ int objects_prune(struct objects *o, uint64_t max, struct objects_report *out);

/* Reads all of them and removes those that are damaged. */
_must_check_ int objects_verify(struct objects *o, struct objects_report *out);

/* Only counts. */
_must_check_ int objects_count(struct objects *o, struct objects_report *out);

#endif
