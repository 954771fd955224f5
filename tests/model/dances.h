/*
 * dances - how programs save a file: the sequences of calls of editor-saves.md, and the operations
 * of ops.h.
 */
#ifndef MLENVFS_TESTS_DANCES_H
#define MLENVFS_TESTS_DANCES_H

#include "client/buf.h"
#include "tests/model/steps.h"

enum dance {
	DANCE_TRUNCATE,      /* A: cp, nano, VS Code, > */
	DANCE_TRUNCATE_SYNC, /* A with fsync, in two writes: nano, emacs */
	DANCE_IN_PLACE,      /* A': write, then cut: busybox vi, rsync --inplace */
	DANCE_EMPTY_FIRST,   /* A': cut to 0, then write: vim with nowritebackup */
	DANCE_TEMP,          /* B: sed -i, rsync, QSaveFile */
	DANCE_TEMP_OPEN,     /* B: renamed before it is closed: GLib */
	DANCE_AWAY,          /* C: vim, neovim; the backup comes back when it fails */
	DANCE_ANEW,          /* C': tar, install, git checkout */
	DANCE_LINK,          /* D: backup by link, then B: perl -i.bak */
	DANCE_COPY,          /* D: backup by copy, then A: nano -B */
	DANCE_APPEND,        /* >> */
	DANCE_SHELL,         /* { a; b; } >: flushes by children in between */
	DANCE_MAPPED,        /* written by a mapping after the close */
	DANCE_KILLED,        /* A, and the process is killed before it closes */
	DANCE_EXIT,          /* A, and the process ends without closing */
	DANCE_TOUCH,         /* opened for writing and closed; and : > */
	DANCES
};

enum { FILES = 8, DIRS = 4 };

/* Saves these bytes at the path in that way. 0, or the errno that the program was told. */
int dance(struct model *m, enum dance way, int proc, const char *path, const void *data, size_t len,
	  enum step_close how);

/* ---- for the operations (op_files.c) ---- */

/* The path of an operation's file in its directory of its environment. False: there is none. */
bool op_path(struct model *m, int env, int dir, int file, char out[TREE_PATH]);

/*
 * The format of a name: any, or, where the real service counts on from it, a number. (After a name
 * that is none it goes on with the time.)
 */
const char *op_name(const struct model *m, const char *any, const char *number)
	__attribute__((format_arg(2)));

/* A text for such a file: args are env, directory, file, kind, image, tag, comment. */
void op_make_text(struct model *m, struct buf *text, const int *args);

/* ---- the operations, with their arguments in the order of ops.c (op_files.c, op_held.c,
 * op_versions.c) ----
 */

void op_mkdraft(struct model *m, const int *args);
void op_mkauto(struct model *m, const int *args);
void op_fsyncdir(struct model *m, const int *args);
void op_fill(struct model *m, const int *args);
void op_fill_auto(struct model *m, const int *args);
void op_save(struct model *m, const int *args);
void op_mkdir(struct model *m, const int *args);
void op_rmdir(struct model *m, const int *args);
void op_unlink(struct model *m, const int *args);
void op_rename(struct model *m, const int *args);
void op_link(struct model *m, const int *args);
void op_symlink(struct model *m, const int *args);
void op_attributes(struct model *m, const int *args);
void op_truncate(struct model *m, const int *args);
void op_move_draft(struct model *m, const int *args);
void op_rm_draft(struct model *m, const int *args);
void op_publish(struct model *m, const int *args);
void op_tag(struct model *m, const int *args);
void op_describe(struct model *m, const int *args);
void op_rm_version(struct model *m, const int *args);
void op_restore_version(struct model *m, const int *args);
void op_purge_version(struct model *m, const int *args);
void op_rm_env(struct model *m, const int *args);
void op_restore_env(struct model *m, const int *args);
void op_others_put(struct model *m, const int *args);
void op_others_tag(struct model *m, const int *args);
void op_fault(struct model *m, const int *args);
void op_well(struct model *m, const int *args);
void op_remount(struct model *m, const int *args);
void op_pass(struct model *m, const int *args);
void op_forget(struct model *m, const int *args);
void op_hold(struct model *m, const int *args);
void op_hold_write(struct model *m, const int *args);
void op_hold_cut(struct model *m, const int *args);
void op_hold_sync(struct model *m, const int *args);
void op_hold_close(struct model *m, const int *args);
void op_drop(struct model *m, const int *args);
void op_end(struct model *m, const int *args);

#endif
