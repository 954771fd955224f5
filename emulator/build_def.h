/*
 * build_def - what the image of an environment version is built of, and the name that it gets.
 *
 * An image is named by a hash of everything that goes into it, whatever the environment is called:
 * two versions of one definition share an image. Source: azureml-rest.md section 12, 6.
 */
#ifndef MLENVFS_EMULATOR_BUILD_DEF_H
#define MLENVFS_EMULATOR_BUILD_DEF_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/err.h"
#include "emulator/build_store.h"

struct build_def {
	char *title;   /* "environment:version", for people */
	char *context; /* path of a build context in this service; NULL: image (and conda) */
	char *dockerfile_path;        /* with context: its Dockerfile */
	char *dockerfile;             /* without: the text of the derived one */
	char *conda;                  /* without: what its conda.yml holds; NULL: there is none */
	char *conda_json;             /* the same, as the service keeps it */
	char image[BUILD_IMAGE_SIZE]; /* the image's name; "" with a context, which has to be read
					 for it */
};

/*
 * Reads the version in that row. 1; 0 when it is not there; -ENODATA when it has neither image nor
 * build context; -EINVAL when it can't be built here, e says why; other negative errno. Release
 * *out in any case.
 */
int build_def_load(sqlite3 *conn, int64_t version, struct build_def *out, struct err *e);
void build_def_release(struct build_def *d);

/* Where in the derived Dockerfile's image the conda environment is. Appends. */
void build_def_conda_path(const struct build_def *d, struct buf *out);

/* The name of the image whose definition has this SHA-256. */
void build_def_name(const unsigned char hash[32], char out[BUILD_IMAGE_SIZE]);

#endif
