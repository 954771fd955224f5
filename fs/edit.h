/*
 * edit - a file of a published version while it is edited: how its bytes get onto the disk, between
 * the areas there (upper.h), and away again. What a save does with them is save.h.
 *
 * Functions with a call block (call.h). All return 0 or a negative errno. Any thread.
 */
#ifndef MLENVFS_FS_EDIT_H
#define MLENVFS_FS_EDIT_H

#include <stdbool.h>

#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"
#include "fs/proc.h"
#include "fs/upper.h"

/* Whether the content of n could ever be edited: a published file that is not derived. */
bool edit_is_possible(const struct node *n);

/* 0, or -EROFS with a text: whether n, a published file, may be edited here. */
int edit_allowed(struct fsys *fs, struct node *n, struct err *e);

/*
 * Opens n, a published file, for editing: its bytes (none when truncate) are put on the disk, and n
 * lies there from now on. Nothing is dirty yet. -ESTALE: its name is another file's by now.
 */
int edit_begin(struct fsys *fs, struct node *n, bool truncate, struct call *c, struct err *e);

/* A path for a copy in the making, another each time. To be freed; NULL: no memory. */
char *edit_temporary_path(struct fsys *fs);

/* Copies the bytes and the time of n, a published file, to a new file of the disk. -EEXIST. */
int edit_copy(struct fsys *fs, struct node *n, const char *to, struct call *c, struct err *e);

/*
 * Shows a copy of the bytes at path as rel of vdir for as long as who lives. -EEXIST when that is
 * edited.
 */
int edit_echo(struct fsys *fs, const char *vdir, const char *rel, const char *path,
	      const struct proc_id *who);

/* Something is about to be written to n, which lies on the disk. */
int edit_wrote(struct fsys *fs, struct node *n);

/* Moves the bytes of a file from one area to another, and the nodes with them. */
int edit_move(struct fsys *fs, enum upper_area from, enum upper_area to, const char *vdir,
	      const char *rel);

/* The file is the published one again; its bytes on the disk go. */
void edit_drop(struct fsys *fs, const char *vdir, const char *rel);

/* The same when another file is about to get the name (edits_leave()). */
void edit_leave(struct fsys *fs, const char *vdir, const char *rel);

/* Drops what has had its time (edits.h), in the directory of a version. */
void edit_sweep(struct fsys *fs, const char *vdir);

/* The same for the version that a node on the disk belongs to. */
void edit_sweep_of(struct fsys *fs, struct node *n);

/* A copy on the disk, with time and mode, brought to the disk; a broken one may be left. */
int edit_copy_file(struct fsys *fs, const char *from, const char *to);

/* The reason why the last save in a version's directory failed; NULL or "" clears it. */
void edit_set_reason(struct fsys *fs, const char *vdir, const char *reason);
int edit_get_reason(struct fsys *fs, const char *vdir, struct buf *out); /* -ENODATA: none */

/* Puts a reason on a file or directory of the disk, where user.mlenvfs.error is read from. */
void edit_note(struct fsys *fs, const char *path, const char *reason);
int edit_get_note(struct fsys *fs, const char *path, struct buf *out); /* -ENODATA: none */

#endif
