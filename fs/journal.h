/*
 * journal - publications in flight, on the disk.
 *
 * Between the request that makes a version and its answer, neither this process nor the next one
 * can know whether the version exists. So what is about to be published is written down first, and
 * crossed out when its outcome is known; what is left after a crash is looked up at the service.
 *
 * An entry is a file of its own in a directory that nobody else uses: a line with format, length
 * and checksum, then JSON. Files that are damaged, cut off or none of ours are removed with a
 * warning when the entries are read. All functions may be called from any thread.
 */
#ifndef MLENVFS_FS_JOURNAL_H
#define MLENVFS_FS_JOURNAL_H

#include <stdint.h>

#include "client/cleanup.h"
#include "client/err.h"

struct journal;

struct journal_entry {
	const char *scope; /* the key of the workspace or registry; may hold line ends */
	const char *env;
	const char *version;
	const char *from;   /* what it is made of: a path below the state directory */
	const char *digest; /* of the record that is sent (publish.h) */
	const char *bytes;  /* SHA-256 of the file at from, in hex; "" for a directory */
	int64_t when;       /* ns since the epoch */
};

enum { JOURNAL_ENTRIES_MAX = 10000 };

/*
 * dirfd: the directory, open for reading; borrowed until journal_close(). Half-written entries in
 * it are removed. 0 or a negative errno with a text.
 */
_must_check_ int journal_open(int dirfd, struct journal **out, struct err *e);
void journal_close(struct journal *j); /* NULL is allowed; the entries stay */

/*
 * Writes an entry; it is on the disk when this returns. *id (not 0) names it, also in a
 * later process, and is higher than that of every entry there is. 0 or a negative errno with a
 * text: -EFBIG when it is too large.
 */
_must_check_ int journal_begin(struct journal *j, const struct journal_entry *entry, uint64_t *id,
			       struct err *e);

/*
 * Removes the entry: for every later process, and on the disk with the next one that is begun. 0,
 * -ENOENT or another negative errno.
 */
int journal_end(struct journal *j, uint64_t id);

/*
 * Calls fn for every entry, the oldest first. What the entry points to is valid during the call; fn
 * may begin and end entries. 0 or a negative errno: -EFBIG when there are more than
 * JOURNAL_ENTRIES_MAX.
 */
int journal_each(struct journal *j,
		 void (*fn)(void *arg, uint64_t id, const struct journal_entry *entry), void *arg);

#endif
