/*
 * mini - a small kernel: calls the operations of the file system in this process as Linux would for
 * the system calls of its processes, and keeps watch over the answers.
 *
 * Every path is looked up part by part, each time, as if names were never cached; only between
 * calls that change nothing it remembers which directory the last path led to. It remembers the
 * inodes that it was told of until mini_forget(). Paths are relative to the root of the mount and
 * have no leading slash. by is the process (or thread) that makes the call.
 *
 * Every call returns 0 (or a number) or a negative errno, as the system call would. Not for several
 * threads.
 */
#ifndef MLENVFS_TESTS_MINI_H
#define MLENVFS_TESTS_MINI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct buf;
struct fsys;
struct mini;
struct mini_file; /* an open file description */

struct mini *mini_new(struct fsys *fs);

/* Releases what is still open and forgets every inode. */
void mini_free(struct mini *m);

/* Everything that is open is gone, without a flush or a release: the file system is about to die.
 */
void mini_crash(struct mini *m);

/*
 * What the file system did that no file system may do (a request without an answer or with two, an
 * inode that changes its type, ...); NULL when there was nothing. Borrowed.
 */
const char *mini_problem(struct mini *m);

/* Something changed that the kernel has no part in: time passed, a process ended, ... */
void mini_changed(struct mini *m);

/* Forgets every inode that is not open. */
void mini_forget(struct mini *m);

/* ---- files (mini_file.c) ---- */

/* flags as for open(2); follows symbolic links unless O_NOFOLLOW. */
int mini_open(struct mini *m, pid_t by, const char *path, int flags, mode_t mode,
	      struct mini_file **out);

/* A second descriptor for it: it takes as many closes as there are descriptors to release it. */
void mini_dup(struct mini_file *f);

/* One close(2): a flush, and after the last the release. Returns what the flush said. */
int mini_close(struct mini_file *f, pid_t by);

/* The flush alone: a process that shares the descriptor closes its copy. */
int mini_flush(struct mini_file *f, pid_t by);

/* close(2) of the last descriptor while the file is still mapped; mini_unmap() releases it. */
int mini_close_mapped(struct mini_file *f, pid_t by);
void mini_unmap(struct mini_file *f, pid_t by);

/* Pages of a mapping are written back. */
int mini_write_page(struct mini_file *f, pid_t by, const void *data, size_t len, off_t off);

/* With O_APPEND the offset does not count. */
ssize_t mini_pwrite(struct mini_file *f, pid_t by, const void *data, size_t len, off_t off);
ssize_t mini_pread(struct mini_file *f, pid_t by, void *data, size_t len, off_t off);
int mini_ftruncate(struct mini_file *f, pid_t by, off_t size);
int mini_fallocate(struct mini_file *f, pid_t by, off_t size);
int mini_fsync(struct mini_file *f, pid_t by);
int mini_fstat(struct mini_file *f, pid_t by, struct stat *st);

/* ---- names (mini_name.c); stat, chmod, utimens, truncate and xattrs follow no last link ---- */

int mini_stat(struct mini *m, pid_t by, const char *path, struct stat *st);
int mini_readlink(struct mini *m, pid_t by, const char *path, struct buf *out);

/* Calls name() for all but "." and "..", in the order that readdir gives. */
typedef void mini_name_fn(void *arg, const char *name, mode_t type);
int mini_list(struct mini *m, pid_t by, const char *path, mini_name_fn *name, void *arg);
int mini_fsyncdir(struct mini *m, pid_t by, const char *path);

int mini_mkdir(struct mini *m, pid_t by, const char *path, mode_t mode);
int mini_mknod(struct mini *m, pid_t by, const char *path, mode_t mode);
int mini_rmdir(struct mini *m, pid_t by, const char *path);
int mini_unlink(struct mini *m, pid_t by, const char *path);
int mini_symlink(struct mini *m, pid_t by, const char *target, const char *path);
int mini_link(struct mini *m, pid_t by, const char *from, const char *to);
int mini_rename(struct mini *m, pid_t by, const char *from, const char *to, unsigned int flags);

int mini_chmod(struct mini *m, pid_t by, const char *path, mode_t mode);
int mini_utimens(struct mini *m, pid_t by, const char *path, int64_t mtime_ns);
int mini_truncate(struct mini *m, pid_t by, const char *path, off_t size);

int mini_setxattr(struct mini *m, pid_t by, const char *path, const char *name, const void *value,
		  size_t size, int flags);
ssize_t mini_getxattr(struct mini *m, pid_t by, const char *path, const char *name, void *value,
		      size_t size);
ssize_t mini_listxattr(struct mini *m, pid_t by, const char *path, char *names, size_t size);
int mini_removexattr(struct mini *m, pid_t by, const char *path, const char *name);

#endif
