/*
 * model - what a mount is expected to show and the service to hold, by semantics.md alone.
 *
 * It holds the expected records and trees, predicts what each call answers, and changes with it.
 * steps.h makes each call for real and compares; check.h compares the whole.
 */
#ifndef MLENVFS_TESTS_MODEL_H
#define MLENVFS_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "client/asset.h"
#include "tests/model/backend.h"
#include "tests/model/tree.h"

enum {
	MODEL_ENVS = 2,
	MODEL_FDS = 16,
	MODEL_HOLDS = 2,
	MODEL_FAILURE = 4096,
	VERSION_NAME = 64,
	MODEL_REFUSALS = 16
};

/* A file of a published version that is being edited, or was and is still on show. */
struct medit {
	char rel[TREE_PATH];
	struct bytes *bytes;
	bool fresh;              /* made here: nothing of that name is published */
	bool dirty;              /* written, and not saved since */
	bool killed;             /* the last close was that of a process that a signal ended */
	bool attempted;          /* saved, or refused, at least once */
	bool saved;              /* the last of these went well */
	bool cut;                /* since then it was cut off, and nothing was written to it */
	char said[VERSION_NAME]; /* the version that the text names, when it is on show */
	bool old;     /* left alone for so long that it is dropped when nothing else keeps it */
	bool stamped; /* what stat says of it must not change any more */
	uint64_t ino;
	int64_t mtime;
	unsigned int writers;
	int owner; /* the process that saved it */
	unsigned int generation;
	struct medit *next;
};

/* A text that was refused. */
struct mrefusal {
	char rel[TREE_PATH];
	struct bytes *bytes;
};

/* A version as it should be, and what its directory shows beside it on this machine. */
struct mversion {
	char name[VERSION_NAME];
	struct version *v; /* conda as the service gives it, context_uri as it names it */
	struct tree *context;
	bool archived;
	unsigned int order; /* of creation */
	struct bytes *spec; /* as it was saved here; NULL: never */
	struct bytes *conda;
	struct version *spec_of;       /* the record that it was saved for */
	const struct bytes *spec_from; /* the file that it was; compared only */
	struct version *conda_of;
	struct medit *edits;
	char base[VERSION_NAME]; /* what was published from here last; "": itself */
	struct tree *gone;       /* what was removed and comes back, as empty files */
	struct mrefusal refusals[MODEL_REFUSALS]; /* since the first edit; the newest first */
	struct tree *local; /* what belongs to it only: refused bytes, files of no spec */
	bool remembered;    /* what was edited in it was only taken away for a moment */
	bool glowing;       /* what a copying program brings belongs to it still */
	bool refused;       /* the last save failed */
	bool noted;         /* it may say why its names are not those that were written */
	bool touched;       /* by the last operation: to be looked at closely */
	struct mversion *next;
};

struct menv {
	char name[VERSION_NAME];
	bool there;    /* the service has it */
	bool local;    /* its directory was made here */
	bool archived; /* with all its versions */
	long highest;  /* number that a version ever had */
	struct mversion *versions;
	struct mversion
		self;     /* its own directory, where a spec.yml can be written too: no version */
	struct tree *top; /* what lies in its directory: drafts */
	struct tree *scratch; /* seen in each of its versions */
};

/* The directory itself and those of all versions. */
#define FOR_EACH_DIR(env, dir)                           \
	for (struct mversion *dir = &(env)->self; (dir); \
	     (dir) = (dir) == &(env)->self ? (env)->versions : (dir)->next)

/* An open file. */
struct mfd {
	bool open;
	int fd; /* the backend's */
	int proc;
	int flags;
	struct bytes *bytes;
	bool counted; /* among the writers of an edit */
	bool wrote;   /* something that its close has not seen yet */
};

struct model {
	struct backend *b;
	struct menv envs[MODEL_ENVS];
	struct mfd fds[MODEL_FDS];
	struct hold {
		bool held;
		int fd;
		int args[4]; /* of the operation that opened it */
	} holds[MODEL_HOLDS];
	unsigned int generations[BACKEND_PROCS]; /* of the process of that number */
	enum service_fault fault;
	unsigned int order;
	struct service_counts expected;
	char failure[MODEL_FAILURE]; /* the first thing that was not as expected; "" */
	bool verbose;
};

void model_init(struct model *m, struct backend *b);
void model_clear(struct model *m);

/* Notes that something is not as expected; the first is kept. */
void model_fail(struct model *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool model_failed(const struct model *m);

/* ---- versions ---- */

struct mversion *model_version(struct menv *env, const char *name);

/* The i-th (modulo) of those that are not archived, or that are; NULL: there is none. */
struct mversion *model_pick(struct menv *env, unsigned int i, bool archived);

/* What `latest` points to; NULL: nothing. */
struct mversion *model_latest(struct menv *env);

/* One more than the highest number; ever: also of those that were deleted. */
long model_next(const struct menv *env, bool ever);

/* It is there from now on; v's reference is taken. */
struct mversion *model_add(struct model *m, struct menv *env, struct version *v,
			   struct tree *context);
void model_remove(struct menv *env, const char *name);

/* Whether env shows v in its own directory (archived: in the one below .archived). */
bool model_shows(const struct menv *env, const struct mversion *v, bool archived);
bool model_env_shown(const struct menv *env, bool archived);

/* ---- definitions ---- */

/*
 * The record that a directory describes, under these names (its own are overruled): 0, or -EBADMSG
 * when it is no valid environment. *context is its build context (a reference of its own; NULL: it
 * has none). Both are to be freed.
 */
int model_read(struct tree *dir, const char *env, const char *version, struct version **out,
	       struct tree **context);

/* The files of a version as the record amounts to them: spec.yml, conda.yml, context/... */
struct tree *model_files(const struct mversion *v);

/* ---- what a version's directory shows (model_view.c) ---- */

/* Everything that is seen in it, as a tree to be freed; files are shared with the model. */
struct tree *model_view(struct menv *env, struct mversion *v);

/* What is published of it, where nothing is edited: below .archived. */
struct tree *model_published(struct mversion *v);

/* Whether the path in a version's directory is part of the environment's definition. */
bool model_is_asset(const char *rel);

struct medit *model_edit(struct mversion *v, const char *rel);

/* Begins to edit a file, or touches one that is edited already: with these bytes (taken). */
struct medit *model_edit_begin(struct mversion *v, const char *rel, struct bytes *bytes);
void model_edit_drop(struct mversion *v, const char *rel);

/* The same when it is only the name that is free for a moment: what is known of v is remembered. */
void model_edit_leave(struct mversion *v, const char *rel);

/* What the edits of v led to counts no more. */
void model_forget(struct mversion *v);

/* The edit that these bytes are of; NULL: none. */
struct medit *model_edit_of(struct model *m, const struct bytes *bytes, struct menv **env,
			    struct mversion **v);

/* Drops what is over: called before anything is compared. */
void model_sweep(struct model *m);

/* Everything that is left alone is old from now on; what was removed is back. */
void model_pass(struct model *m);

/* ---- saves (model_save.c) ---- */

enum msave_what { SAVE_NOTHING, SAVE_ASIDE, SAVE_UPDATED, SAVE_NEW };

/* What a save should come to. */
struct msave {
	int rc;    /* what the program is told */
	int also;  /* or that, which is as right */
	bool lost; /* the version is made, but its answer is lost: -ETIMEDOUT would do too */
	enum msave_what what;
	bool warned;       /* its spec.yml is taken otherwise than it is written, which is told */
	struct version *v; /* the record that is to be */
	struct tree *context;
};

/* Of these bytes as the file rel in the directory of v. Nothing is changed. To be cleared. */
void model_save(struct model *m, struct menv *env, struct mversion *v, const char *rel,
		struct bytes *bytes, struct msave *out);
void model_save_clear(struct msave *s);

/* A text that was saved for the record that v has now: spec.yml or conda.yml; edited in the
 * directory of a version, or else in a draft. */
void model_keep(struct mversion *v, const char *rel, const struct bytes *text, bool edited);

/* Who saved rel goes on seeing these bytes (taken) in the directory of v. */
void model_echo(struct model *m, struct mversion *v, const char *rel, struct bytes *bytes,
		int proc);

/*
 * The text of a spec.yml with the names that its place gives it. A name that is missing is put in,
 * and so is the version then, or when whole says so.
 */
struct bytes *model_with_names(const struct bytes *text, const char *env, const char *version,
			       bool whole);

/* What became of a save of an edit that the process made: got is what it was told. */
void model_saved(struct model *m, struct menv *env, struct mversion *v, struct medit *edit,
		 const struct msave *s, int got, int proc);

/*
 * The record of target was changed to what the text says. What the saver did not touch may be as it
 * was: which of the two it is is taken from the service (model_update.c).
 */
void model_updated(struct model *m, struct mversion *target, const struct version *text);

/* The same for a file that did not take the name, as it was refused. */
void model_refused(struct model *m, struct menv *env, struct mversion *v, const char *rel,
		   const struct bytes *bytes, const struct msave *s, int proc);

/* ---- drafts (model_draft.c) ---- */

/* What publishing a draft as that version should come to; the record and its context in *out. */
void model_publish(struct model *m, struct menv *env, const char *draft, const char *version,
		   struct msave *out);

/* It came to that: got is what the program was told, proc who asked (-1: nobody). */
void model_published_draft(struct model *m, struct menv *env, const char *draft,
			   const struct msave *s, int got, int proc);

/*
 * A file of a draft has become complete: 0, or -EBADMSG when that is its spec.yml, which is not
 * valid. *publish: that completes the draft, which publishes itself.
 */
int model_draft_step(struct model *m, struct menv *env, const char *draft, const char *rel,
		     bool *publish);

/* Where a file lies in a draft that publishes itself; false when it lies in none. */
struct draft_place {
	struct menv *env;
	char draft[TREE_NAME];
	char rel[TREE_PATH];
};
bool model_draft_of(struct model *m, const struct bytes *bytes, struct draft_place *out);

/* Something happened in the draft that rel, a path in an environment's directory, leads into. */
void model_draft_touched(struct menv *env, const char *rel);

/* The mount ends; in an orderly way, what only waited for quiet is published. The next one does not
 * begin to wait again by itself. */
void model_draft_flush(struct model *m, bool publish);

#endif
