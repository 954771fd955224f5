/*
 * build_engine - buildah, podman or docker: which one there is, and how it is called.
 */
#ifndef MLENVFS_EMULATOR_BUILD_ENGINE_H
#define MLENVFS_EMULATOR_BUILD_ENGINE_H

#include <stdbool.h>

#include "client/err.h"

enum build_engine_kind { ENGINE_BUILDAH, ENGINE_PODMAN, ENGINE_DOCKER };

struct build_engine {
	enum build_engine_kind kind;
	char *path;       /* of the program */
	const char *name; /* its last component; borrowed from path */
	char **env;       /* what it may know of our environment; NULL-terminated */
	bool chroot;      /* buildah and podman have nothing to start containers with */
};

/*
 * Finds what `builder` (emu_conf.builder) stands for. -ENOENT when it is not there, e says what was
 * looked for and what to do. Release *out in any case.
 */
int build_engine_find(const char *builder, struct build_engine *out, struct err *e);
void build_engine_release(struct build_engine *g);

/* Where it puts temporary files. 0 or -ENOMEM. */
int build_engine_set_tmp(struct build_engine *g, const char *path);

/* Whether `builder` is a value that is understood: a name, or a path. */
bool build_engine_known(const char *builder);

/* Room for the arguments below, and the NULL behind them. */
enum { BUILD_ENGINE_ARGS = 16 };

/* The arguments that build the image from a context. All are borrowed. */
void build_engine_build_args(const struct build_engine *g, const char *image,
			     const char *dockerfile, const char *context,
			     const char *argv[BUILD_ENGINE_ARGS]);

/* Those that end with status 0 when there is an image of that name. */
void build_engine_look_args(const struct build_engine *g, const char *image,
			    const char *argv[BUILD_ENGINE_ARGS]);

#endif
