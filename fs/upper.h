/*
 * upper - where what is written lies on the disk until it is published, and beside it.
 *
 * Below the state directory of a mount (local.h), with <version> the file name of a version or
 * UPPER_ENV for what lies directly in an environment's directory:
 *
 *   <scope>/<env>/<name>                  drafts, and other files of an environment's directory
 *   .scratch/<scope>/<env>/...            scratch, seen alike in every version of the environment
 *   .local/<scope>/<env>/<version>/...    what belongs to one version only: refused bytes,
 * leftovers .kept/<scope>/<env>/<version>/...     kept.h .run/<k>/edit/<scope>/<env>/<version>/...
 * bytes that were written and not saved yet .run/<k>/shown/...                    bytes that are on
 * show while who saved them lives .run/<k>/tmp/...                      copies in the making
 *   .run/<k>/journal/                     journal.h
 *
 * A running mount has a <k> of its own, which a lock on .run/<k>/lock says; what an ended one left
 * in edit/ becomes refused bytes at the next mount, and its shown/ is dropped. So the place of a
 * file says what it is, also after a crash. Any thread.
 */
#ifndef MLENVFS_FS_UPPER_H
#define MLENVFS_FS_UPPER_H

#include <stdbool.h>

#include "fs/fsys.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/node.h"

enum upper_area { UPPER_DRAFT, UPPER_SCRATCH, UPPER_LOCAL, UPPER_EDIT, UPPER_SHOWN };

#define UPPER_ENV ".env"

enum { UPPER_SCOPE_SIZE = 17, UPPER_RUN_SIZE = 32 };

/* What a path below the state directory is. */
struct upper_place {
	enum upper_area area;
	char scope[UPPER_SCOPE_SIZE];
	char env[NAME_SIZE];     /* file names */
	char version[NAME_SIZE]; /* DRAFT: the name in the environment's directory; SCRATCH: "" */
	const char *rel;         /* the rest, within the path given; "" for the directory itself */
};

/* -ENOENT for a path that is none of ours. */
int upper_parse(const char *path, struct upper_place *out);

/* Whether what lies at path gives way to a published file when it goes. */
bool upper_is_over(const char *path);

/* The directory that a version's (or UPPER_ENV's) areas share: "<scope>/<env>/<version>". */
char *upper_dir(const struct upper_place *p);

/* The path of rel ("": of the directory) in an area. dir as upper_dir() gives it; for UPPER_SCRATCH
 * its version is left out. To be freed; NULL: no memory. */
char *upper_path(const struct fsys *fs, enum upper_area area, const char *dir, const char *rel);

/* Whether rel, in a version's directory (or UPPER_ENV), is part of the environment's definition. */
bool upper_is_asset(const char *version, const char *rel);

/* Where an asset file that could not be published is put: rel + ".rejected". To be freed. */
char *upper_rejected_name(const char *rel);

/*
 * For a directory whose names may also lie in a version's areas (NODE_VERSION, NODE_CONTEXT,
 * NODE_ENV, or a directory made in one of these): its "<scope>/<env>/<version>" and the path
 * within. Both are to be freed. -ENOENT for all others, and where nothing can be written.
 */
int upper_of_dir(struct fsys *fs, struct node *dir, char **vdir, char **rel);

/* The same for a file that its maker keeps to himself (tempname_may_be()): it is no part of a build
 * context until it is renamed. */
char *upper_private_path(struct fsys *fs, struct node *dir, const char *name, int *rc);

/* Where a new name in dir goes on the disk, its directories made. To be freed; NULL with *rc set:
 * -EROFS where nothing can be made, or what the disk says. */
char *upper_new_path(struct fsys *fs, struct node *dir, const char *name, int *rc);

/* Takes a free .run/<k> and puts away what an ended mount left there. Negative errno with a text.
 * The lock holds until upper_end(). */
struct upper_run;
int upper_begin(struct local *l, struct upper_run **out, struct err *e);
void upper_end(struct upper_run *r); /* NULL is allowed */

/*
 * The parts of ended mounts, ".run/<i>", whose journals are still to be looked into: the first one
 * behind `after` (-1: the first of all), or -1. They are locked until upper_end().
 */
int upper_ended(const struct upper_run *r, int after, char out[UPPER_RUN_SIZE]);

/* ".run/<k>"; borrowed. */
const char *upper_run_path(const struct upper_run *r);

#endif
