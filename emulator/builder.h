/*
 * builder - builds images of environment versions with buildah, podman or docker.
 *
 * The queue is in the store, so it outlives the process: what was queued is built by the next one;
 * what was being built has Failed then, and its log says so. A few threads take builds from the
 * queue, one after the other.
 */
#ifndef MLENVFS_EMULATOR_BUILDER_H
#define MLENVFS_EMULATOR_BUILDER_H

#include <stdbool.h>

#include "client/err.h"
#include "emulator/build_store.h"

struct builder;
struct emu;

/* NULL (and e) when there is no memory. Reads emu's configuration; starts nothing. */
struct builder *builder_new(struct emu *emu, struct err *e);

/*
 * Ends what an earlier process left unfinished, and starts the threads, once: further calls do
 * nothing. Not before daemonising.
 */
int builder_start(struct builder *b, struct err *e);

/* The queue has changed. Never blocks. */
void builder_wake(struct builder *b);

/*
 * Cancels a build that is not over. 1, 0 when it was over already or is not there, or a negative
 * errno. What it runs ends within seconds.
 */
int builder_cancel(struct builder *b, const struct build *build, struct err *e);

/*
 * Whether an image is there, as build_job_image_exists() has it; 0 when the builder is stopped
 * meanwhile.
 */
int builder_image_exists(struct builder *b, const char *image, struct err *e);

/* Begins to end what is running (it has Failed then); does not wait for it. NULL is allowed. */
void builder_stop(struct builder *b);

/* Stops, and waits for the threads. NULL is allowed. */
void builder_free(struct builder *b);

#endif
