/*
 * publish - turns a draft into a version: one place that decides whether it can be one, uploads its
 * build context and registers it.
 */
#ifndef MLENVFS_FS_PUBLISH_H
#define MLENVFS_FS_PUBLISH_H

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

/*
 * Publishes the draft directory at path (below the drafts' directory) as a version of env, and
 * removes from it then what the version holds; a draft in which nothing is left is removed. The
 * names that its place gives it win over those in its spec.yml. Blocks. -EBADMSG when it is no
 * valid environment, -EEXIST when there is such a version, or as client/source.h has it, with a
 * text; the draft is as it was then, with the text in its user.mlenvfs.error.
 */
int publish_draft(struct fsys *fs, const char *path, struct node *env, const char *version,
		  struct call *c, struct err *e);

#endif
