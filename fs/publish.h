/*
 * publish - what a save amounts to: nothing, an update of tags and description, or one new version.
 * One place decides it for edits of published versions, for drafts, and for a spec.yml that is
 * written directly in an environment's directory.
 *
 * Functions block (call.h) and are called for one environment at a time (save.c sees to that, and
 * settle.c). Errors with a text: -EBADMSG when it is no valid environment (file, line, column),
 * -EEXIST when there is such a version, or as client/source.h has it. Any thread.
 */
#ifndef MLENVFS_FS_PUBLISH_H
#define MLENVFS_FS_PUBLISH_H

#include <stdint.h>
#include <sys/types.h>

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"
#include "fs/proc.h"

enum publish_what {
	PUBLISH_NOTHING, /* it says what the version says already */
	PUBLISH_ASIDE,   /* the file is no part of the definition: it stays on this machine */
	PUBLISH_UPDATED, /* tags or description of the version were changed */
	PUBLISH_NEW,
};

/* One file that is saved, in the directory of a version (upper.h). Everything is borrowed. */
struct publish_edit {
	struct scope *scope;
	const char *vdir;
	const char *rel;
	const char *bytes;         /* where its bytes are: a path below the state directory */
	const struct proc_id *who; /* who saves it */
};

struct publish_outcome {
	enum publish_what what;
	struct version *version; /* what the directory's files say now; a reference, may be NULL */
	char *said;              /* the version that spec.yml names, or NULL; owned */
	char *note;              /* what was taken otherwise than it is written, or NULL; owned */
	uint64_t journal;        /* to be ended with register_done() */
};

int publish_edit(struct fsys *fs, const struct publish_edit *p, struct call *c,
		 struct publish_outcome *out, struct err *e);
void publish_outcome_clear(struct publish_outcome *o);

/*
 * For fsync: whether publish_edit() would go well now, as far as can be known without publishing.
 * The publish_edit() that follows asks nothing twice.
 */
int publish_probe(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e);

/* The same without asking the service: whether what is there now is valid. */
int publish_check(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e);

/* Whether the spec.yml of a draft, at path, is valid in itself. */
int publish_check_draft(struct fsys *fs, const char *path, struct err *e);

/*
 * Publishes the draft directory at path (below the state directory) as a version of env, and
 * removes from it then what the version holds; a draft in which nothing is left is removed. The
 * names that its place gives it win over those in its spec.yml. by is the process that asks (0:
 * none): spec.yml and conda.yml stay what they were for it. On an error the draft is as it was,
 * with the text in its user.mlenvfs.error.
 */
int publish_draft_at(struct fsys *fs, const char *path, struct scope *scope, const char *env,
		     const char *version, const struct proc_id *by, struct call *c, struct err *e);

/*
 * A draft whose version somebody else published, and which that hides: its files are found under a
 * name with a dot from now on.
 */
void publish_step_aside(struct fsys *fs, const char *path);

/* Removes from the draft what was published of it, as long as it was not touched after `when`. */
void publish_clear_draft(struct fsys *fs, const char *path, int64_t when);

#endif
