/*
 * whiteout - names that were removed here and nowhere else.
 *
 * Removing the files of a published version one by one, as rm -r does, changes nothing but this
 * set, until the rmdir that follows archives the version (semantics.md section 4). When nothing
 * follows, the names come back by themselves: the names of one group (a version, or an
 * environment's `latest`) are forgotten when none of them was touched for WHITEOUT_LIFE.
 *
 * All functions may be called from any thread and do not block.
 */
#ifndef MLENVFS_FS_WHITEOUT_H
#define MLENVFS_FS_WHITEOUT_H

#include <stdbool.h>
#include <stdint.h>

struct whiteouts;

#define WHITEOUT_LIFE (INT64_C(10) * 1000000000) /* ns */

/* now gives the time in ns; NULL: clock_mono(). */
struct whiteouts *whiteouts_new(int64_t (*now)(void));
void whiteouts_free(struct whiteouts *w); /* NULL is allowed */

/* The name with inode number ino is removed, in the group. 0 or -ENOMEM. */
int whiteout_add(struct whiteouts *w, uint64_t group, uint64_t ino);

/* Whether that name is removed at the moment. */
bool whiteout_has(struct whiteouts *w, uint64_t group, uint64_t ino);

/* Whether anything of the group is. */
bool whiteout_any(struct whiteouts *w, uint64_t group);

/* Whether anything of it is but the n names given. */
bool whiteout_others(struct whiteouts *w, uint64_t group, const uint64_t *but, int n);

/* That name is back (or was never removed). */
void whiteout_remove(struct whiteouts *w, uint64_t group, uint64_t ino);

/* Everything of the group is back (or gone for good). */
void whiteout_clear(struct whiteouts *w, uint64_t group);

#endif
