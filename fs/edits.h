/*
 * edits - which files of published versions are being edited, and how far each is.
 *
 * A file is known by the directory of its version ("<scope>/<env>/<version>", upper.h) and its path
 * in there. It is dirty when something was written that was not saved yet; its bytes lie in the
 * edit area then, else in the shown area. The table is in memory only: both areas belong to the
 * running mount.
 *
 *   state    | event                      | next
 *   ---------+----------------------------+------------------------------------------------
 *   -        | opened for writing, made   | clean
 *   clean    | written                    | dirty
 *   dirty    | save begins (edits_take)   | clean, whatever comes of it: a save that failed is
 *            |                            |   not tried again until something is written
 *   clean    | owner ended, nobody writes | dropped: the published file again
 *   clean    | nobody ever saved it, or   | dropped EDITS_LIFE after it was last touched
 *            | it was emptied since         |
 *
 * Any thread; nothing blocks.
 */
#ifndef MLENVFS_FS_EDITS_H
#define MLENVFS_FS_EDITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/proc.h"

/* How long an edit that came to nothing is shown, and a draft's leftovers are taken, in ns. */
#define EDITS_LIFE (INT64_C(10) * 1000000000)

enum { EDITS_REFUSALS = 16 };

struct edits;

struct edit {
	bool dirty;
	bool killed;          /* the last flush was of a process that a signal ended */
	bool fresh;           /* made here: there is no published file of the name */
	bool attempted;       /* it was saved, or refused, at least once */
	bool emptied;         /* since then it was cut off, and nothing was written to it */
	int result;           /* what came of the last of these: 0 or a negative errno */
	unsigned int writers; /* open for writing */
	struct proc_id owner; /* who saved it last, or tried */
	int64_t touched;      /* clock of edits_new() */
};

struct edits *edits_new(int64_t (*now)(void)); /* NULL: clock_mono() */

/* What edits_hold() was given goes back through fn, without locks that it could need. */
void edits_set_release(struct edits *t, void (*fn)(void *arg, void *held), void *arg);
void edits_free(struct edits *t); /* NULL is allowed */

/* Around each move of a file between areas and the change of its state: renames on the local disk
 * only, nothing that waits. */
void edits_lock(struct edits *t);
void edits_unlock(struct edits *t);

/* Adds a clean file, or touches the one that is there. 0 or -ENOMEM. */
int edits_add(struct edits *t, const char *dir, const char *rel, bool fresh);
void edits_remove(struct edits *t, const char *dir, const char *rel);

/* The same for a file whose name is free only until the next file gets it, as in the middle of a
 * save: what is known of the directory is remembered for EDITS_LIFE. */
void edits_leave(struct edits *t, const char *dir, const char *rel);

/*
 * Keeps `held` for as long as the file is edited: its inode number stays what it was, though the
 * kernel may forget it. Given back at once when there is no such file, or it has one already.
 */
void edits_hold(struct edits *t, const char *dir, const char *rel, void *held);

/* false when there is none. out may be NULL. */
bool edits_get(struct edits *t, const char *dir, const char *rel, struct edit *out);

/* Whether any file of the directory is edited. */
bool edits_any(struct edits *t, const char *dir);

/* The paths of all files of the directory, to be freed with edits_list_free(). Count or -ENOMEM. */
int edits_list(struct edits *t, const char *dir, char ***out);
void edits_list_free(char **list, int n);

/* All directories with files, in the same way. */
int edits_dirs(struct edits *t, char ***out);

/* Something was written: true when it was clean before. */
bool edits_dirty(struct edits *t, const char *dir, const char *rel);

/* It was cut off by an open or by name: that saves nothing, and what is left counts for nothing. */
void edits_emptied(struct edits *t, const char *dir, const char *rel);

/* A save begins: true when it was dirty. It is clean then. */
bool edits_take(struct edits *t, const char *dir, const char *rel);

/* One more, or one fewer, has it open for writing. Returns how many have. */
unsigned int edits_writers(struct edits *t, const char *dir, const char *rel, int change);

/* Who saved it, or tried to, and what came of it. */
void edits_attempted(struct edits *t, const char *dir, const char *rel, const struct proc_id *who,
		     int result);

/* Whether it was saved, the last attempt went well, and it is still what was saved. */
static inline bool edit_is_saved(const struct edit *e)
{
	return e->attempted && !e->result && !e->emptied;
}

void edits_set_killed(struct edits *t, const char *dir, const char *rel, bool killed);

/* Whether a clean file has had its time (the table above). */
bool edits_is_over(struct edits *t, const char *dir, const char *rel);

/*
 * The version that what the directory shows was published as; "" as long as that is the directory's
 * own. Forgotten with the last file of the directory.
 */
void edits_set_base(struct edits *t, const char *dir, const char *version);
char *edits_get_base(struct edits *t, const char *dir); /* to be freed; NULL: its own */

/*
 * The version that the spec.yml which was saved last in the directory names: found there again it
 * is no wish for that number. Remembered as long as the base is.
 */
void edits_set_said(struct edits *t, const char *dir, const char *version); /* NULL: none */
bool edits_said(struct edits *t, const char *dir, const char *version);

/*
 * A text was refused, by its digest: true when it was refused in the directory before, and another
 * one since: it comes back, as an editor's backup does. Remembered as long as the base is, the last
 * EDITS_REFUSALS.
 */
bool edits_refused(struct edits *t, const char *dir, uint64_t digest);

/* The directory was published from a draft: for EDITS_LIFE from now what a copying program still
 * brings is taken. */
void edits_set_glowing(struct edits *t, const char *dir);
bool edits_glowing(struct edits *t, const char *dir);

#endif
