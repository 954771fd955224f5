/*
 * settle - drafts that publish themselves: when a directory like env/4 has been quiet for a while,
 * nothing in it is open for writing, and its spec.yml names a build context, it is complete. At the
 * end of the mount none waits any longer.
 *
 * It also remembers which publications are under way in this process, and has those that are in
 * doubt looked up now and then (register.h). A thread of its own does that. All functions may be
 * called from any thread and do not block, unless said otherwise. NULL does nothing.
 */
#ifndef MLENVFS_FS_SETTLE_H
#define MLENVFS_FS_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/buf.h"
#include "fs/fsys.h"

struct settle;

/* quiet: ns. fs is borrowed, and need not be complete before settle_start(). */
int settle_new(struct fsys *fs, int64_t quiet, struct settle **out);
int settle_start(struct settle *s);

/*
 * Ends the thread after publishing what waits; blocks, at most for `within` ns. A draft in which
 * something is still open for writing, as when the mount is ended by a signal, stays one.
 */
void settle_stop(struct settle *s, int64_t within);
void settle_free(struct settle *s);

/* Something happened in the draft at path ("<scope>/<env>/<version>"): it waits from now on. */
void settle_touch(struct settle *s, struct scope *scope, const char *path);

/* The draft is published, gone, or not to be published by itself until it is touched again. */
void settle_forget(struct settle *s, const char *path);

/* The draft is being published, or not any more: its version may be there before it is gone. */
void settle_busy(struct settle *s, const char *path, bool busy);

/* The same while it is not known what became of the publication with that journal entry. */
void settle_in_doubt(struct settle *s, const char *path, uint64_t id);
void settle_sure(struct settle *s, uint64_t id);
bool settle_is_busy(struct settle *s, const char *path);

/* Whether the draft waits; for status. */
bool settle_waits(struct settle *s, const char *path);

/* A publication of this process is under way, or over. */
void settle_active(struct settle *s, uint64_t id, bool active);
bool settle_is_active(struct settle *s, uint64_t id);

/* Something is in doubt: to be looked up. */
void settle_doubtful(struct settle *s);

#endif
