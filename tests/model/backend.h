/*
 * backend - where a model's operations are carried out for real: in this process through the small
 * kernel (mini.h), or in a mounted directory by system calls. Also the service behind it, as others
 * change it.
 *
 * Processes are numbers from 0 to BACKEND_PROCS - 1; 0 is this program itself. A descriptor is a
 * number of the backend's own. All calls return 0, a number, or a negative errno, as the system
 * call would; -ENOSYS where this backend can't.
 */
#ifndef MLENVFS_TESTS_BACKEND_H
#define MLENVFS_TESTS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "client/asset.h"
#include "tests/model/procs.h"
#include "tests/model/service.h"
#include "tests/model/tree.h"

enum { BACKEND_PROCS = 4 };

struct backend;
struct buf;

/* Tells one name of a directory. */
typedef void backend_name_fn(void *arg, const char *name);

struct backend_ops {
	int (*open)(struct backend *b, int proc, const char *path, int flags, mode_t mode);
	int (*close)(struct backend *b, int fd);
	/* A child of the process that opened it has it too, and ends. */
	int (*close_in_child)(struct backend *b, int fd);
	/* By another thread of the process that opened it. */
	int (*close_in_thread)(struct backend *b, int fd);
	ssize_t (*pread)(struct backend *b, int fd, void *data, size_t len, off_t off);
	ssize_t (*pwrite)(struct backend *b, int fd, const void *data, size_t len, off_t off);
	int (*ftruncate)(struct backend *b, int fd, off_t size);
	int (*fsync)(struct backend *b, int fd);
	int (*fstat)(struct backend *b, int fd, struct stat *st);
	/* Writes by a mapping that outlives the descriptor, then unmaps it. */
	int (*close_then_write_mapped)(struct backend *b, int fd, const void *data, size_t len);

	int (*stat)(struct backend *b, int proc, const char *path, struct stat *st);
	int (*readlink)(struct backend *b, int proc, const char *path, struct buf *out);
	int (*list)(struct backend *b, int proc, const char *path, backend_name_fn *tell,
		    void *arg);
	int (*mkdir)(struct backend *b, int proc, const char *path, mode_t mode);
	int (*rmdir)(struct backend *b, int proc, const char *path);
	int (*unlink)(struct backend *b, int proc, const char *path);
	int (*symlink)(struct backend *b, int proc, const char *target, const char *path);
	int (*link)(struct backend *b, int proc, const char *from, const char *to);
	int (*rename)(struct backend *b, int proc, const char *from, const char *to,
		      unsigned int flags);
	int (*truncate)(struct backend *b, int proc, const char *path, off_t size);
	int (*chmod)(struct backend *b, int proc, const char *path, mode_t mode);
	int (*utimens)(struct backend *b, int proc, const char *path, int64_t mtime_ns);
	int (*fsyncdir)(struct backend *b, int proc, const char *path);
	int (*setxattr)(struct backend *b, int proc, const char *path, const char *name,
			const void *value, size_t size, int flags);
	ssize_t (*getxattr)(struct backend *b, int proc, const char *path, const char *name,
			    void *value, size_t size);
	int (*removexattr)(struct backend *b, int proc, const char *path, const char *name);

	/* A process that is not there is started by its first call. Its descriptors are closed. */
	void (*end)(struct backend *b, int proc, enum proc_end how);

	/* Time passes: as long as what was removed and left alone stays away (10 s). */
	int (*pass)(struct backend *b);
	/* Lists are old: they are asked for again. */
	void (*expire)(struct backend *b);
	/* The kernel forgets every inode that is not in use. */
	int (*forget)(struct backend *b);
	/* Unmounts (or, crash, dies) and mounts again, on the same disk and service. */
	int (*remount)(struct backend *b, bool crash);

	/* ---- the service, as others see it ---- */
	/* context: what it is built from, uploaded then; NULL: nothing. */
	void (*put)(struct backend *b, const struct version *fields, struct tree *context);
	/* One tag (value NULL: none of that key), or with key NULL the description. */
	void (*tag)(struct backend *b, const char *env, const char *version, const char *key,
		    const char *value);
	/* Returns what it does from now on: not every service can do everything. */
	enum service_fault (*fault)(struct backend *b, enum service_fault fault);
	/* Gives every version; context files by context_file(). */
	void (*each)(struct backend *b, service_tell_fn *tell, void *arg);
	bool (*context_file)(struct backend *b, const char *uri, size_t i,
			     struct service_file *out);
	/* False where that is not known. */
	bool (*counts)(struct backend *b, struct service_counts *out);

	/* What no file system may do; NULL when there is nothing. */
	const char *(*problem)(struct backend *b);
	/* Ends it; what is wrong at the end (leaks) in problem, of problem_size bytes. */
	void (*free)(struct backend *b, char *problem, size_t problem_size);
};

struct backend {
	const struct backend_ops *ops;
	const char *scope;        /* directory of the workspace, relative to the mount */
	unsigned int patience_ms; /* until everybody has heard of what happened */
};

/* In this process; every one begins with an empty service and disk. */
struct backend *backend_mini_new(void);

/* A mounted directory, over the embedded service at url with that token; in a new workspace. */
struct backend *backend_mount_new(const char *path, const char *url, const char *token);

#endif
