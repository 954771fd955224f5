/*
 * save - when a file is saved (semantics.md section 3): which of the calls that programs make means
 * "this is complete", and what they are told. What a save amounts to is publish.h.
 *
 *   call                                            | a dirty asset file
 *   ------------------------------------------------+---------------------------------------------
 *   flush by the process that opened it             | is saved; the result is the answer.
 *                                                   | Not when only others wrote to it
 *   flush by another process (inherited descriptor) | is checked
 *   flush by a process that a signal ends           | is noted
 *   fsync (not on O_SYNC descriptors)               | is checked, and goes to the disk
 *   rename or link onto its name                    | what is brought there is saved
 *   last release                                    | is saved, or put aside when it was noted
 *
 * In a draft the same calls mean that the draft may be complete. Nothing else saves. All functions
 * block, at most for the mount's save_timeout, and return 0 or the negative errno that the program
 * is to see, with a text that was logged. Any thread; no lock is held meanwhile.
 */
#ifndef MLENVFS_FS_SAVE_H
#define MLENVFS_FS_SAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/err.h"
#include "fs/fsys.h"
#include "fs/handle.h"
#include "fs/node.h"

/* close(2) of an open file by the thread by (as the kernel names it; 0: unknown). */
int save_flush(struct fsys *fs, struct node *n, struct handle *h, pid_t by, struct err *e);

/* fsync(2): whether what is there now could be saved. */
int save_check(struct fsys *fs, struct node *n, const struct handle *h, struct err *e);

/* The last close: h is about to be freed. n may be NULL. */
void save_release(struct fsys *fs, struct node *n, struct handle *h);

/*
 * The file of the disk at from becomes the asset file at to (a path of UPPER_SHOWN), by rename or
 * by link: its bytes are saved first. After an error all is as it was, and the bytes are beside the
 * target as .rejected. A file that is no part of the definition lies with its version then.
 */
int save_onto(struct fsys *fs, struct scope *s, const char *from, const char *to, bool link,
	      pid_t by, struct err *e);

/*
 * A file of a draft has become complete (closed, renamed there): the draft is published when that
 * completes it, or when it is quiet. path is the file's.
 */
int save_in_draft(struct fsys *fs, struct scope *s, const char *path, pid_t by, struct err *e);

/* rename(2) of the draft at path to a version's name in env: publishes it. */
int save_draft_as(struct fsys *fs, struct node *env, const char *path, const char *version,
		  pid_t by, struct err *e);

/* Something happened in a draft: it is not quiet. Does not block. */
void save_touched(struct fsys *fs, struct scope *s, const char *path);

/* fsync(2) of a draft's directory. */
int save_draft_now(struct fsys *fs, struct scope *s, const char *path, struct err *e);

/* A draft has been quiet: published if it is complete and has a build context. deadline:
 * clock_mono(). */
int save_draft_quiet(struct fsys *fs, struct scope *s, const char *path, int64_t deadline,
		     struct err *e);

/* The errno that a saving call may give for rc: none that programs or the kernel take for something
 * else (editor-saves.md section 1, 10). */
int save_errno(int rc);

#endif
