/*
 * stage - a directory of this mount's own (upper.h, tmp/) in which the files of an environment are
 * put together as they are shown, to be read as any environment on the disk is (assetdir.h).
 */
#ifndef MLENVFS_FS_STAGE_H
#define MLENVFS_FS_STAGE_H

#include <stddef.h>

#include "client/err.h"
#include "fs/fsys.h"

struct stage;

/* Makes an empty one. 0 or a negative errno. Any thread; one thread at a time for one stage. */
int stage_new(struct fsys *fs, struct stage **out);

/* Removes it and all that is in it. NULL is allowed. */
void stage_free(struct stage *s);

/* A descriptor of the directory; borrowed. */
int stage_fd(const struct stage *s);

int stage_make_dir(struct stage *s, const char *rel);

/* Adds a file with that text; rel is a path of file names, its directories are made. */
int stage_add_text(struct stage *s, const char *rel, const char *text, size_t len);

/* Adds a copy of a file of the disk: a path below the state directory. */
int stage_add_file(struct stage *s, const char *rel, const char *from);

/* Adds an empty file and gives a descriptor to write it, or a negative errno. */
int stage_create(struct stage *s, const char *rel);

/* Adds everything below a directory of the disk that is not there yet. Absent: nothing. */
int stage_add_tree(struct stage *s, const char *rel, const char *from);

#endif
