/*
 * proc - which process makes a request, and whether it still lives.
 *
 * What a process saved stays visible while it lives, and a file that it opened is saved by its own
 * close only, not by that of a child. FUSE names the thread that makes a request; its process, and
 * what tells that from a later one with the same number, are in /proc. All functions may be called
 * from any thread; they read one or two files of /proc and wait for nothing else.
 */
#ifndef MLENVFS_FS_PROC_H
#define MLENVFS_FS_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* {0, 0}: a process that can't be seen from here. */
struct proc_id {
	pid_t tgid;
	uint64_t start; /* in clock ticks since the machine was started */
};

/*
 * The process of a thread. 0; *out is {0, 0} for tid 0, a thread of another pid namespace. -ESRCH
 * when there is no such thread any more, -EIO when /proc can't be understood, or what open(2) and
 * read(2) say; then too *out is {0, 0}.
 */
int proc_of_thread(pid_t tid, struct proc_id *out);

/*
 * Whether that very process runs: not one that took its number later, nor one that has ended and
 * waits to be collected. {0, 0} does not.
 */
bool proc_alive(const struct proc_id *p);

/* Whether both are the same process. Those that can't be seen are not the same as any. */
bool proc_same(const struct proc_id *a, const struct proc_id *b);

/*
 * Whether the thread is on its way out because a signal killed its process: its descriptors are
 * closed then, but it did not mean to close them. False when that can't be known.
 */
bool proc_killed(pid_t tid);

#endif
