/*
 * build_job - one build, from its definition to its end.
 */
#ifndef MLENVFS_EMULATOR_BUILD_JOB_H
#define MLENVFS_EMULATOR_BUILD_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "emulator/build_log.h"
#include "emulator/build_store.h"

struct emu;

enum build_stop { BUILD_GO_ON, BUILD_STOP_CANCELED, BUILD_STOP_SERVICE };

/* The line that says that a build has failed because the service was ended. */
extern const char build_job_service_ended[];

struct build_job {
	struct emu *emu;
	const char *store; /* the store's absolute path */
	struct build build;
	struct build_log log;
	int wake_fd;                           /* readable when stopped() may have an answer */
	enum build_stop (*stopped)(void *ctx); /* whether to end before the end */
	void *ctx;
};

/*
 * Builds. Returns the state that the build is to have; the log then holds, not flushed, the line
 * that says why. Blocks for as long as it takes.
 */
enum build_state build_job_run(struct build_job *j);

/*
 * Whether the builder has the image still: 1, 0 when it has not (or does not say so in time), or a
 * negative errno. wake_fd and stopped as above; NULL: never.
 */
int build_job_image_exists(struct emu *emu, const char *image, int wake_fd,
			   enum build_stop (*stopped)(void *ctx), void *ctx, struct err *e);

#endif
