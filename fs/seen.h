/*
 * seen - what a program saw of a version's tags and description when it opened spec.yml: when it
 * saves the file, only what differs from that was changed by its user. What somebody else changed
 * in the service meanwhile is not taken back by a text that does not know of it.
 *
 * The last SEEN_MAX openings are remembered. Any thread; nothing blocks.
 */
#ifndef MLENVFS_FS_SEEN_H
#define MLENVFS_FS_SEEN_H

#include <sys/types.h>

#include "client/asset.h"
#include "fs/proc.h"

enum { SEEN_MAX = 256 };

struct seen;

struct seen *seen_new(void);
void seen_free(struct seen *s); /* NULL is allowed */

/* The thread by (as the kernel names it) reads what the record v amounts to. */
void seen_note(struct seen *s, pid_t by, struct version *v);

/* The record of env's version that the process saw last, a reference; NULL when none is remembered.
 */
struct version *seen_find(struct seen *s, const struct proc_id *who, const char *env,
			  const char *version);

#endif
