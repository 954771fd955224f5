/*
 * assetdir - reads a CLI v2 environment from a directory of the local disk: spec.yml, the conda
 * file it names, and its build context, with every check that publishing needs.
 *
 * Nothing outside the directory is read, but for a conda_file with "../" that stays below `root`.
 * Symbolic links in a context are followed when they stay inside it, and refused otherwise; cycles
 * end. .amlignore (else .gitignore) at the top of the context excludes files, as the CLI does, and
 * temporary names (fs/tempname.h) are left out everywhere in it.
 */
#ifndef MLENVFS_FS_ASSETDIR_H
#define MLENVFS_FS_ASSETDIR_H

#include "client/err.h"
#include "client/source.h"
#include "fs/spec.h"

/* Bounds of a build context that is read from disk. */
enum {
	ASSETDIR_FILES_MAX = 10000,
	ASSETDIR_DEPTH_MAX = 64,
	ASSETDIR_ENTRIES_MAX = 40000, /* directory entries looked at, ignored ones too */
};

struct assetdir {
	struct spec *spec;
	char *conda;               /* text of the conda file or of the inline mapping, NULL: none */
	struct upload_file *files; /* the build context, sorted by path; descriptors are open */
	size_t n_files;
	char *warnings; /* one a line; NULL: none */
};

/*
 * Reads spec_name (normally "spec.yml") in the directory open as dirfd. root is the directory that
 * "../" of conda_file may climb to, as an open descriptor, or -1 when it may not climb. path_env
 * and path_version are the names that its place gives it; they win over the spec's, with a warning
 * (NULL: the spec's count, and a missing name is -EBADMSG; a missing version is left NULL in the
 * spec). Afterwards name and version of the spec are the ones that count. -EBADMSG with a text
 * (file, line, column where they apply) when it is not a valid environment; -EFBIG past the bounds;
 * -EMFILE when the process may not have as many files open as the context has; other negative
 * errno from the disk.
 */
int assetdir_read(int dirfd, const char *spec_name, int root, const char *path_env,
		  const char *path_version, struct assetdir **out, struct err *e);

/* The same with flags. */
enum { ASSETDIR_NO_CONTEXT = 1 /* the build context is not looked at: it is known to be right */ };
int assetdir_read_with(int dirfd, const char *spec_name, int root, unsigned int flags,
		       const char *path_env, const char *path_version, struct assetdir **out,
		       struct err *e);
void assetdir_free(struct assetdir *d);

#endif
