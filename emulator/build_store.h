/*
 * build_store - builds of images in the store: their states, and the log of each.
 *
 * A build is Queued, GettingOrProvisioningACR (its context is laid out), Running, and then one of
 * Succeeded, Failed and Canceled, for ever. Its log is the blob ImageLogs/{name}/build.log in the
 * container azureml, which only grows. Source: azureml-rest.md section 12.
 *
 * The functions that get a connection work in the caller's transaction; see db.h.
 */
#ifndef MLENVFS_EMULATOR_BUILD_STORE_H
#define MLENVFS_EMULATOR_BUILD_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/buf.h"
#include "client/err.h"
#include "emulator/reply.h"
#include "emulator/route.h"

struct db;

enum build_state {
	BUILD_QUEUED,
	BUILD_PREPARING,
	BUILD_RUNNING,
	BUILD_SUCCEEDED, /* this and what follows is final */
	BUILD_FAILED,
	BUILD_CANCELED,
};

/* What the API calls the state. */
const char *build_state_name(enum build_state state);

static inline bool build_is_over(enum build_state state)
{
	return state >= BUILD_SUCCEEDED;
}

#define BUILD_CONTAINER  "azureml"
#define BUILD_REPOSITORY "azureml/azureml_"
#define BUILD_ADDRESS    "localhost" /* the registry that local images are in */

enum {
	BUILD_NAME_SIZE = GUID_SIZE,
	BUILD_IMAGE_SIZE = sizeof(BUILD_REPOSITORY) + 32,
	BUILD_LOG_SIZE = BUILD_NAME_SIZE + 32, /* the name of a log's blob */
};

struct build {
	int64_t id;                 /* in the order in which builds were asked for */
	char name[BUILD_NAME_SIZE]; /* of the operation */
	char log[BUILD_NAME_SIZE];  /* the build whose log is shown: usually itself */
	int64_t version;            /* the row of what is built; 0: it was deleted */
	enum build_state state;
	char image[BUILD_IMAGE_SIZE]; /* BUILD_REPOSITORY and a hash; "": not known yet */
};

/* The blob of the log of the build of that name. */
void build_log_blob(const char *name, char out[BUILD_LOG_SIZE]);

/*
 * Adds a queued build of the version in that row; or, with same (a build that succeeded), one that
 * has succeeded, with the image and the log of that.
 */
int build_store_add(sqlite3 *conn, int64_t version, const struct build *same, struct build *out,
		    struct err *e);

/* These find one build: 1, 0 when there is none, or a negative errno. */
int build_store_named(sqlite3 *conn, struct text name, struct build *out, struct err *e);
int build_store_newest(sqlite3 *conn, int64_t version, struct build *out, struct err *e);
int build_store_queued(sqlite3 *conn, struct build *out, struct err *e);      /* the oldest */
int build_store_interrupted(sqlite3 *conn, struct build *out, struct err *e); /* begun, not over */
int build_store_with_image(sqlite3 *conn, const char *image, struct build *out, struct err *e);
int build_store_of_version(sqlite3 *conn, int64_t version, struct build *out, struct err *e);

/* How many builds are queued. */
int build_store_count(sqlite3 *conn, int64_t *out, struct err *e);

/*
 * Moves a build that is not over to the state. Returns 1, 0 when it is over already, or a negative
 * errno.
 */
int build_store_move(sqlite3 *conn, int64_t id, enum build_state state, struct err *e);

/* What is being built, and the Dockerfile of it. */
int build_store_define(sqlite3 *conn, int64_t id, const char *image, const char *dockerfile,
		       struct err *e);

/* The Dockerfile that a build of that image had; "" when it is not known. Appends. */
int build_store_dockerfile(sqlite3 *conn, const char *image, struct buf *out, struct err *e);

/* The log of the build becomes that of another one. */
int build_store_share(sqlite3 *conn, int64_t id, const char *log, struct err *e);

/* Appends to the log of the build of that name, which is made when it is not there. */
int build_store_log(sqlite3 *conn, const char *name, const void *data, size_t len, struct err *e);

/* How long that log is; 0 when there is none. */
int build_store_log_size(sqlite3 *conn, const char *name, uint64_t *out, struct err *e);

#endif
