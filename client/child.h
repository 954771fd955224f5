/*
 * child - runs another program, without a shell: bounded output, a deadline, and no way out of
 * here that leaves it running.
 *
 * The program is the leader of a process group of its own, which is killed as a whole: what it
 * started ends with it. Its stdin is what is given, or empty; its directory is "/". Any thread.
 */
#ifndef MLENVFS_CLIENT_CHILD_H
#define MLENVFS_CLIENT_CHILD_H

#include <stddef.h>

#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"

enum { CHILD_ENV_MAX = 8 /* variables that are added */ };

struct child_spec {
	const char *const *argv; /* ends with NULL; argv[0] is looked for in PATH */
	const char *const *env;  /* "NAME=value", added to or instead of ours; NULL: none */
	const void *input;       /* for its stdin */
	size_t input_len;
	struct buf *out; /* its stdout and stderr are appended, as far as the buffers take them */
	struct buf *err;
};

/*
 * Runs it until it has ended. *status is what waitpid() says. 0; -ENOENT when there is no such
 * program; -EFBIG when it says more than out or err holds; -ETIMEDOUT and -ECANCELED as the call
 * says; -EIO, -ENOMEM, -EAGAIN. Texts name the program and hold nothing of its output.
 */
int child_run(const struct child_spec *spec, struct call *call, int *status, struct err *e);

#endif
