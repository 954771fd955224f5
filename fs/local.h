/*
 * local - the user's own files: drafts, as real directories and files below one directory of the
 * disk.
 *
 * Everything is named by a path relative to that directory. Nothing is ever followed out of it:
 * paths are made here from names that cannot hold a slash, and the last part is never a followed
 * link. Crash safety is the local file system's. All functions may be called from any thread.
 */
#ifndef MLENVFS_FS_LOCAL_H
#define MLENVFS_FS_LOCAL_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "client/asset.h"
#include "client/err.h"

struct local;

enum { LOCAL_PATH_MAX = 4096 };

/* Opens (and makes) the directory. Negative errno with a text. */
int local_open(const char *root, struct local **out, struct err *e);
void local_close(struct local *l); /* NULL is allowed */

/* A descriptor of the directory, for the *at() calls; borrowed. */
int local_fd(const struct local *l);

/* Where the drafts of a workspace, and of an environment in it, lie. To be freed; NULL: no memory.
 */
char *local_scope_path(const struct scope *s);
char *local_env_path(const struct scope *s, const char *env);

/* dir + "/" + name. To be freed; NULL: no memory. */
char *local_join(const char *dir, const char *name);

/* Makes the directories of a path that are not there, each 0700. 0 or a negative errno. */
int local_make_dirs(struct local *l, const char *path);

/* The same for those that lead to the file path. */
int local_make_parents(struct local *l, const char *path);

/*
 * What tells a file of the disk from all others, also after it was moved, and from one that gets
 * its inode number later (where the disk says when a file was made).
 */
enum { LOCAL_NUMBER_SIZE = 72 };

/* lstat(2), and what the file is told by. 0 or a negative errno. */
int local_identify(struct local *l, const char *path, struct stat *st,
		   char number[LOCAL_NUMBER_SIZE]);

/* lstat(2). 0 or a negative errno. */
int local_stat(struct local *l, const char *path, struct stat *st);

/* Opens a directory for reading its names. A descriptor or a negative errno. */
int local_open_dir(struct local *l, const char *path);

/*
 * Calls fn with every name in the directory at path, in the disk's order, until it returns
 * something else than 0: that, or 0, or a negative errno when the directory can't be read (-ENOENT:
 * there is none).
 */
typedef int local_name_fn(void *arg, const char *path, const char *name);
int local_each(struct local *l, const char *path, local_name_fn *fn, void *arg);

/* Removes a file, or a directory with everything in it. 0 or a negative errno. */
int local_remove_all(struct local *l, const char *path);

/*
 * Removes a directory, and those below it, as far as nothing but directories is in them. 0 when all
 * of it is gone, -ENOTEMPTY when something stays, or another negative errno.
 */
int local_remove_empty(struct local *l, const char *path);

#endif
