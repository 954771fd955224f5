/*
 * shown - what the files of a published version show on this machine: the bytes, times and modes
 * that were set here for as long as they describe the same record (kept.h), else what the record
 * amounts to.
 */
#ifndef MLENVFS_FS_SHOWN_H
#define MLENVFS_FS_SHOWN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

/* Appends the text of a NODE_SPEC, NODE_CONDA, ... in version, a NODE_VERSION. Any thread. */
int shown_text(struct fsys *fs, struct node *version, enum node_kind kind, struct buf *out);

/*
 * Puts size, time and mode into *st where they were set here, for n: a published file or directory
 * of a version whose record is v. Makes no request. Any thread.
 */
int shown_stat(struct fsys *fs, struct node *n, const struct version *v, struct stat *st);

/*
 * Whether tags and description are attributes that are listed. They are, but for a version made of
 * files that had none: rsync -X, told to make both sides the same, would remove the tags.
 */
bool shown_lists_tags(struct fsys *fs, struct node *version, const struct version *v);

/* chmod(2), utimensat(2) of something published: kept on this machine. -EROFS with a text. */
int shown_set_attributes(struct fsys *fs, struct node *n, const struct stat *attr, int to_set,
			 struct err *e);

/* The same of a file that is on show: it counts for the version that it was saved as. */
void shown_note_attributes(struct fsys *fs, struct node *n, const char *path);

/*
 * Keeps the text of spec.yml or conda.yml (rel) as it was saved, for the version v of scope; the
 * names in a spec.yml are made to be v's, and of an edited one a missing version, too: what was
 * restored from a backup stays as it is there. st gives time and mode.
 */
void shown_keep_text(struct fsys *fs, struct scope *scope, const struct version *v, const char *rel,
		     const char *text, size_t len, bool edited, const struct stat *st);

/* Keeps the time and mode of any other file or directory of v. */
void shown_keep_attributes(struct fsys *fs, struct scope *scope, const struct version *v,
			   const char *rel, const struct stat *st);

/* The time and mode of a copy of a derived file, rel, of version (a NODE_VERSION). */
void shown_keep_derived(struct fsys *fs, struct node *version, const char *rel,
			const struct stat *st);

/* Tags and description of v are not listed (above). */
void shown_keep_unlisted(struct fsys *fs, struct scope *scope, const struct version *v);

#endif
