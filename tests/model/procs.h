/*
 * procs - real processes that do nothing but exist, for a file system that asks /proc about those
 * that call it: a thread more than the main one each, ended by a signal or by themselves, and kept
 * as zombies until they are reaped (the state in which their descriptors are closed).
 */
#ifndef MLENVFS_TESTS_PROCS_H
#define MLENVFS_TESTS_PROCS_H

#include <sys/types.h>

struct proc {
	pid_t pid;
	pid_t thread; /* its second thread */
};

enum proc_end { PROC_EXITS, PROC_KILLED };

/* Before any thread is made. They all end with this process. */
void procs_start(void);

/* A new one. */
struct proc procs_new(void);

/* Ends it; returns when it is a zombie. procs_reap() lets go of it. */
void procs_end(const struct proc *p, enum proc_end how);
void procs_reap(const struct proc *p);

#endif
