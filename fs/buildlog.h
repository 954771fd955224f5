/*
 * buildlog - the image builds of versions as files: build.log, and the attributes
 * user.azureml.image, .build_state, .build_stage and .build (semantics.md sections 2 and 6).
 *
 * Where a file system has no builds (fs->builds is NULL), every log is empty and every state
 * unknown. Functions with a call block (call.h). All return 0 or a negative errno. Any thread.
 */
#ifndef MLENVFS_FS_BUILDLOG_H
#define MLENVFS_FS_BUILDLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/builds.h"
#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

struct handle;

/* What is known of the builds of a NODE_VERSION; makes no request. */
void buildlog_info(struct fsys *fs, struct node *version, struct build_info *out);

/*
 * Opens a build.log for h, which follows it until it is closed. *grows: it changes under those who
 * read it, so that the kernel must not cache it. (Where a build begins later the kernel is told.)
 */
int buildlog_open(struct fsys *fs, struct node *n, struct call *c, struct handle *h, bool *grows,
		  struct err *e);

/*
 * Somebody is about to read a build.log that is not opened here (struct fsys_kernel.no_open): what
 * is known of it is brought up to date as by buildlog_open().
 */
int buildlog_look(struct fsys *fs, struct node *n, struct call *c, struct err *e);

/* Appends up to len bytes; fewer only at the end. h NULL: the log is not opened here. */
int buildlog_read(struct fsys *fs, struct node *n, const struct handle *h, uint64_t offset,
		  size_t len, struct call *c, struct buf *out, struct err *e);

/* Whether an attribute is one of those above, which are read with a request. */
bool buildlog_is_fact(const char *name);

/* The value of such an attribute of the version that n stands for. -ENODATA when it has none. */
int buildlog_get(struct fsys *fs, struct node *n, const char *name, struct call *c, struct buf *out,
		 struct err *e);

/*
 * user.azureml.build is set: "start" starts a build, "cancel" cancels the one that runs; -EINVAL
 * for anything else. What goes wrong is in user.mlenvfs.error too.
 */
int buildlog_set(struct fsys *fs, struct node *n, const char *value, struct call *c, struct err *e);

#endif
