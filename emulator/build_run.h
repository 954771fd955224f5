/*
 * build_run - runs a program and reads what it writes, so that nothing of it outlives us.
 *
 * Between us and the program is a process of our own, the keeper: it is the parent of whatever the
 * program leaves behind, and ends all of it when the program has ended, when it is told to, and
 * when we are gone, however that came about. No shell, no descriptors of ours, a session of its
 * own, nothing to read.
 */
#ifndef MLENVFS_EMULATOR_BUILD_RUN_H
#define MLENVFS_EMULATOR_BUILD_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/err.h"

enum {
	BUILD_RUN_TERM_MS = 5000, /* from SIGTERM to SIGKILL */
	BUILD_RUN_KILL_MS = 5000, /* and until the keeper gives up on what does not die */
};

enum build_run_end {
	BUILD_RUN_EXITED,   /* value: its status */
	BUILD_RUN_SIGNALED, /* value: the signal */
	BUILD_RUN_NOT_RUN,  /* value: the errno of exec */
	BUILD_RUN_LOST,     /* the keeper was ended, so the program was as well */
};

struct build_run {
	/* In. */
	const char *const *argv; /* argv[0]: its path */
	const char *const *envp;
	const char *dir; /* where it runs */
	int wake_fd;     /* when it is readable, idle() is called; -1: none. Not read from. */

	/* What it wrote to its standard output or error. */
	void (*output)(void *ctx, const char *data, size_t len);

	/*
	 * Called before each wait: returns until when (clock_mono()) to wait at the most, or 0 to
	 * have the program ended. It may be called any number of times after that.
	 */
	int64_t (*idle)(void *ctx);
	void *ctx;

	/* Out. */
	enum build_run_end end;
	int value;
};

/*
 * Runs the program to its end. Blocks. 0, or a negative errno when it could not be begun at all.
 */
int build_run(struct build_run *run, struct err *e);

#endif
