/*
 * image - what the service says of the image of an environment version: whether a build of it runs,
 * where the build's log is, and what came out. Source: azureml-rest.md section 12, which is
 * reconstructed from other clients: what is not known of it is taken as "unknown", never guessed.
 *
 * The parsers take hostile input: -EBADMSG with a text, -ENOMEM. Any thread.
 */
#ifndef MLENVFS_CLIENT_IMAGE_H
#define MLENVFS_CLIENT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/buf.h"
#include "client/err.h"

enum {
	IMAGE_TEXT_MAX = 1024,         /* bytes of a status, or of a part of an image's name */
	IMAGE_JSON_MAX = 8 << 20,      /* bytes of an answer: it may carry a Dockerfile */
	IMAGE_LOG_PART_MAX = 1 << 20,  /* bytes of a log that are asked for at once */
	IMAGE_LOGS_MAX = 16,           /* logs of others that are looked into for one version */
	IMAGE_LOG_SEARCHED = 64 << 10, /* bytes at either end of such a log */
};

enum image_state {
	IMAGE_UNKNOWN,
	IMAGE_NOT_STARTED,
	IMAGE_QUEUED,
	IMAGE_RUNNING,
	IMAGE_SUCCEEDED,
	IMAGE_FAILED,
	IMAGE_CANCELED,
};

/* "Unknown", "NotStarted", ...: user.azureml.build_state. */
const char *image_state_name(enum image_state state);

/* The state of that name (any case); IMAGE_UNKNOWN for every other. */
enum image_state image_state_parse(const char *name);

/* Succeeded, Failed or Canceled: nothing changes any more. */
bool image_state_is_final(enum image_state state);

/* One build, as its operation says it. */
struct image_build {
	enum image_state state;
	bool final;  /* also for an end that we have no name for: state is IMAGE_UNKNOWN then */
	char *stage; /* the service's own word for the state */
	char *log;   /* where the log is; NULL: there is none yet. A secret: it may be signed */
};

/* Wipes and frees; may be repeated. */
void image_build_clear(struct image_build *b);
#define _cleanup_image_build_ __attribute__((cleanup(image_build_clear)))

/* {"status": ..., "logUrl": ...} */
int image_build_parse(const char *json, size_t len, struct image_build *out, struct err *e);

/* The image of a version. All strings owned. */
struct image {
	bool exists;      /* it was built and is in its registry */
	char *name;       /* what to pull: "registry/repository[:tag][@digest]"; NULL: not known */
	char *repository; /* "azureml/azureml_<hash>", without tag and digest; NULL: not known */
	char *registry;   /* "x.azurecr.io"; NULL: not known */
	char *digest;     /* "sha256:..."; NULL: not known */
};

void image_clear(struct image *i);
#define _cleanup_image_ __attribute__((cleanup(image_clear)))

/* An answer of the image-details endpoints; credentials in it are wiped and left out. */
int image_parse(const char *json, size_t len, struct image *out, struct err *e);

/* Whether a part of a log is about the image of that repository. */
bool image_is_in_log(const char *text, size_t len, const char *repository);

#endif
