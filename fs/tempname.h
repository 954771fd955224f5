/*
 * tempname - which names are those of editors' and tools' temporary, backup and lock files.
 *
 * Inside a build context every file is content, except what programs put beside the file that they
 * save: none of that is published. The names are in the patterns of tempname.c, each with the
 * program that uses it. Where a name could be a file that somebody wants as well as one that a
 * program made up, it is taken for the wanted one: to publish a temporary file once is a nuisance,
 * not to publish a file is a loss. So of the names that end in random characters a few in a
 * hundred are not recognized.
 */
#ifndef MLENVFS_FS_TEMPNAME_H
#define MLENVFS_FS_TEMPNAME_H

#include <stdbool.h>

/* name: of one file or directory, without slashes. Any thread; does not block. */
bool tempname_is(const char *name);

/*
 * Whether a file that a program made for itself alone (O_EXCL, mode 0600) may have been given that
 * name at random: what mkstemp(3) makes can look like a word.
 */
bool tempname_may_be(const char *name);

#endif
