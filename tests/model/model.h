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

enum { MODEL_ENVS = 2, MODEL_FDS = 16, MODEL_FAILURE = 4096, VERSION_NAME = 32 };

/* A version as it should be. */
struct mversion {
	char name[VERSION_NAME];
	struct version *v; /* conda as the service gives it, context_uri as it names it */
	struct tree *context;
	bool archived;
	unsigned int order; /* of creation */
	struct mversion *next;
};

struct menv {
	char name[VERSION_NAME];
	bool there;    /* the service has it */
	bool local;    /* its directory was made here */
	bool archived; /* with all its versions */
	long highest;  /* number that a version ever had */
	struct mversion *versions;
	struct tree *top; /* what lies in its directory: drafts */
};

/* An open file. */
struct mfd {
	bool open;
	int fd; /* the backend's */
	int proc;
	int flags;
	struct bytes *bytes;
};

struct model {
	struct backend *b;
	struct menv envs[MODEL_ENVS];
	struct mfd fds[MODEL_FDS];
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
 * has none), uploaded in the service. Both are to be freed.
 */
int model_read(struct model *m, struct tree *dir, const char *env, const char *version,
	       struct version **out, struct tree **context);

/* The files that a version shows, as a tree: spec.yml, conda.yml, context/... To be freed. */
struct tree *model_files(const struct mversion *v);

#endif
