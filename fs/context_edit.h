/*
 * context_edit - the build context that a published version's directory shows while files of it are
 * edited: the base's files, without those that were removed here, with those that were saved here.
 */
#ifndef MLENVFS_FS_CONTEXT_EDIT_H
#define MLENVFS_FS_CONTEXT_EDIT_H

#include <stdbool.h>

#include "fs/assetdir.h"
#include "fs/ctxtree.h"
#include "fs/publish.h"
#include "fs/stage.h"

struct context_edit {
	bool touched;   /* something in it is not as in the base: it is staged */
	bool changed;   /* ... and says something else */
	bool has_saved; /* the file that is saved is part of it */
	/* for context_edit.c only */
	struct ctxtree *tree;
	const char *saved; /* the path in the context of the file that is saved, or NULL */
	char **overlaid;   /* paths in the context whose bytes come from the disk */
	size_t n_overlaid;
	size_t n_removed;
};

/*
 * Puts the files into stage, below "context", when anything of them is not as in base (NULL: there
 * is none). spec is what names the context. Blocks; errors as publish_edit().
 */
int context_edit_stage(struct fsys *fs, const struct publish_edit *p, const struct version *base,
		       const struct spec *spec, struct stage *stage, struct call *c,
		       struct context_edit *out, struct err *e);

/*
 * After the files were read from the stage into dir: finds out whether they say something else than
 * the base's, gives them the names that the service has for them, and says which are the same as
 * files that are published already. When nothing differs, dir has no files then.
 */
int context_edit_compare(struct context_edit *x, struct fsys *fs, struct scope *scope,
			 struct assetdir *dir, struct call *c, struct err *e);

void context_edit_clear(struct context_edit *x);

#endif
