/*
 * texts - what is written into files: specs, conda files, content; valid ones and others.
 */
#ifndef MLENVFS_TESTS_TEXTS_H
#define MLENVFS_TESTS_TEXTS_H

#include "client/buf.h"

/* What a spec.yml says, beside its image. */
enum text_kind {
	TEXT_IMAGE,
	TEXT_CONDA,       /* with conda_file: conda.yml */
	TEXT_BUILD,       /* of the folder context */
	TEXT_NAMED,       /* with its environment's name, and the next version's */
	TEXT_OWN_NAME,    /* with the names that it has where it is written */
	TEXT_FAR_VERSION, /* names a version far ahead */
	TEXT_OLD_VERSION, /* names version 1 */
	TEXT_OTHER_NAME,  /* names another environment */
	TEXT_UNKNOWN_KEY, /* from here on: not valid */
	TEXT_NO_YAML,
	TEXT_NO_IMAGE,
	TEXT_EMPTY,
	TEXT_KINDS
};

/* Where a text is written, for those that say it. */
struct text_place {
	const char *env;
	const char *version;
	long next; /* free number of a version */
};

/* image, tag and comment are small numbers; 0: none, for the last two. */
void text_spec(struct buf *out, enum text_kind kind, int image, int tag, int comment,
	       const struct text_place *at);

/* Every fourth is not valid. */
void text_conda(struct buf *out, int n);
void text_dockerfile(struct buf *out, int n);
void text_file(struct buf *out, int n);

#endif
