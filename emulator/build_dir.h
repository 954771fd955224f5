/*
 * build_dir - the directories in which images are built: {store}.builds/{build}/, each gone with
 * the end of its build, or when the service is started again.
 */
#ifndef MLENVFS_EMULATOR_BUILD_DIR_H
#define MLENVFS_EMULATOR_BUILD_DIR_H

#include <stddef.h>

#include "client/err.h"

enum { BUILD_DIR_PATH = 4096 };

struct build_dir {
	char base[BUILD_DIR_PATH / 2];   /* of all builds of the store */
	char path[BUILD_DIR_PATH];       /* of this one */
	char context[BUILD_DIR_PATH];    /* its build context; empty at first */
	char dockerfile[BUILD_DIR_PATH]; /* a Dockerfile that is not in the context; not made */
	char tmp[BUILD_DIR_PATH];        /* for temporary files of the builder */
	char spool[BUILD_DIR_PATH];      /* see build_log.h; not made */
};

/* Fills in the paths of the build of that name. -ENAMETOOLONG. */
int build_dir_paths(const char *store, const char *name, struct build_dir *out, struct err *e);

/* Makes the directories, of mode 0700. */
int build_dir_make(const struct build_dir *d, struct err *e);

/* Removes it with all that is in it; what can't be removed is left, and logged. */
void build_dir_remove(const struct build_dir *d);

/* Removes the directory of the store's builds when none has left anything in it. */
void build_dir_tidy(const char *store);

/* Removes the directories of all builds of the store, of which none may be running. */
void build_dir_sweep(const char *store);

#endif
