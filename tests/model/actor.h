/*
 * actor - processes that make system calls when they are told to: each has descriptors of its own,
 * a second thread, and ends by itself or by a signal.
 */
#ifndef MLENVFS_TESTS_ACTOR_H
#define MLENVFS_TESTS_ACTOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "tests/model/procs.h"

enum { ACTOR_PATH = 2048, ACTOR_DATA = 16384 };

enum actor_call {
	ACT_OPEN,
	ACT_CLOSE,
	ACT_CLOSE_IN_CHILD,
	ACT_CLOSE_IN_THREAD,
	ACT_CLOSE_THEN_WRITE_MAPPED,
	ACT_PREAD,
	ACT_PWRITE,
	ACT_FTRUNCATE,
	ACT_FSYNC,
	ACT_FSTAT,
	ACT_STAT,
	ACT_READLINK,
	ACT_LIST, /* names, each with a NUL behind it, in data */
	ACT_MKDIR,
	ACT_RMDIR,
	ACT_UNLINK,
	ACT_SYMLINK, /* path2 -> path */
	ACT_LINK,
	ACT_RENAME,
	ACT_TRUNCATE,
	ACT_CHMOD,
	ACT_UTIMENS,
	ACT_FSYNCDIR,
	ACT_SETXATTR, /* path2: its name */
	ACT_GETXATTR,
	ACT_REMOVEXATTR,
	ACT_EXIT,
};

/* A call, and its answer. */
struct act {
	enum actor_call call;
	int fd;
	int flags;
	mode_t mode;
	int64_t off;
	size_t len;
	char path[ACTOR_PATH];
	char path2[ACTOR_PATH];
	char data[ACTOR_DATA];
	struct stat st;
	ssize_t result; /* a negative errno when it failed */
};

/* Makes the call in this process. */
void actor_do(struct act *a);

struct actor {
	pid_t pid;
	int fd;
};

/* Starts one; ends the program when it can't. */
void actor_start(struct actor *a);

/* Has it make the call. */
void actor_ask(const struct actor *actor, struct act *a);

/* Ends it and waits for that; what it had open has been closed then. */
void actor_end(struct actor *a, enum proc_end how);

#endif
