/*
 * change - what removing, moving and tagging published things means to the service (semantics.md
 * sections 2 and 4): archive, restore, delete, and updates of tags and description.
 *
 * Every function blocks (see call.h) and returns 0 or a negative errno as client/source.h has it.
 */
#ifndef MLENVFS_FS_CHANGE_H
#define MLENVFS_FS_CHANGE_H

#include "client/call.h"
#include "client/err.h"
#include "client/source.h"
#include "fs/fsys.h"
#include "fs/node.h"
#include "fs/tree.h"

/* Whether anything in n's scope can be changed: 0, or -EROFS with a text. */
int change_allowed(const struct node *n, struct err *e);

/*
 * The rmdir of a version's directory in env (an empty one: all its files were removed before):
 * archives it; below .archived, or with delete=permanent, deletes it for good. by is the process
 * that asks.
 */
int change_remove_version(struct fsys *fs, struct node *env, const struct tree_item *version,
			  pid_t by, struct call *c, struct err *e);

/*
 * The rmdir of an environment without versions (any more): archives the environment, and brings the
 * versions back into it that the same process (rm -r) took out one by one before, so that restoring
 * it restores what was there.
 */
int change_remove_env(struct fsys *fs, struct node *dir, const struct tree_item *env, pid_t by,
		      struct call *c, struct err *e);

/* mv between env/3 and .archived/env/3: archived says where it goes. */
int change_move_version(struct fsys *fs, struct node *to, const char *name, bool archived,
			struct call *c, struct err *e);

/* mv between env and .archived/env. What was archived in it by itself before stays so. */
int change_move_env(struct fsys *fs, struct node *to, const char *name, bool archived,
		    struct call *c, struct err *e);

/* Changes tags or description of the version that n (a NODE_VERSION) stands for. */
int change_version(struct fsys *fs, struct node *n, const struct version_change *change,
		   struct call *c, struct err *e);

/* The same by name, where no node is at hand; *out is the record then, a reference. */
int change_version_named(struct fsys *fs, struct scope *s, const char *env, const char *version,
			 const struct version_change *change, struct call *c, struct version **out,
			 struct err *e);

#endif
