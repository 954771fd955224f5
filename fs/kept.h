/*
 * kept - what a user set on the files of a version and the service does not keep: the exact bytes
 * of spec.yml and conda.yml, and times and modes.
 *
 * A version is named by a path, "<scope>/<env>/<version>", and what is kept for it lies in a
 * directory of that path, below one that is given; nothing follows links there. A file or directory
 * of the version is named by its path in it: "spec.yml", "context/a/b", "" for the version itself.
 * What is kept is true only as long as the version is the record that it was kept for: a short text
 * says which, and its meaning is the caller's.
 *
 * All functions may be called from any thread, and several processes may use the same directory.
 * They return 0 or a negative errno: -ENOENT when nothing is kept, -EINVAL for paths that are
 * absolute, or have "..", "." or empty parts. Where nothing is kept for a version, asking costs one
 * system call.
 */
#ifndef MLENVFS_FS_KEPT_H
#define MLENVFS_FS_KEPT_H

#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#include "client/buf.h"
#include "client/cleanup.h"

struct kept;

enum { KEPT_RECORD_MAX = 4096 };

/* dirfd: the directory; borrowed until kept_close(). */
_must_check_ int kept_open(int dirfd, struct kept **out);
void kept_close(struct kept *k); /* NULL is allowed */

/*
 * Keeps the bytes, the time and the mode of a file, all at once, in place of what was kept of it;
 * the bytes are on the disk when this returns. An empty text is as none: only its time and mode are
 * kept. The owner may read it, whatever the mode (not 0) says. mtime NULL: now.
 */
int kept_put_text(struct kept *k, const char *dir, const char *name, const char *text, size_t len,
		  const struct timespec *mtime, mode_t mode);

/* Keeps a time (NULL: leaves it) and a mode (0: leaves it). The text stays. */
int kept_put_attr(struct kept *k, const char *dir, const char *name, const struct timespec *mtime,
		  mode_t mode);

/*
 * Appends the text to out; *st as with kept_get_attr(). -ENOENT when no text is kept, -EFBIG when
 * out can't hold it.
 */
int kept_get_text(struct kept *k, const char *dir, const char *name, struct buf *out,
		  struct stat *st);

/*
 * What is kept, in three fields of *st: st_mtim (tv_nsec is UTIME_OMIT when no time is kept),
 * st_mode (the permissions only; 0 when no mode is kept), st_size (of the text; 0 when none is
 * kept).
 */
int kept_get_attr(struct kept *k, const char *dir, const char *name, struct stat *st);

/* Forgets all of a version, or what is kept of one file. 0 also when nothing was kept. */
int kept_drop(struct kept *k, const char *dir);
int kept_drop_file(struct kept *k, const char *dir, const char *name);

/* Which record it belongs to, in at most KEPT_RECORD_MAX bytes (-EFBIG). */
int kept_set_record(struct kept *k, const char *dir, const char *fingerprint);
int kept_get_record(struct kept *k, const char *dir, struct buf *out);

#endif
