/*
 * memcontexts - build contexts in memory, for the source in memory (memsource.h): the same files
 * are the same context, under one URI.
 *
 * Not for several threads at once. Ends the program when there is no memory.
 */
#ifndef MLENVFS_TESTS_MEMCONTEXTS_H
#define MLENVFS_TESTS_MEMCONTEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "client/source.h"

struct memcontexts;

struct memcontext_file {
	const char *path;
	const char *text;
};

struct memcontexts *memcontexts_new(void);
void memcontexts_free(struct memcontexts *m);

/* Keeps a copy of the files; the URI is borrowed for as long as m lives. */
const char *memcontexts_add(struct memcontexts *m, const struct memcontext_file *files, size_t n);

/* The same of files on the disk. 0, or -EIO when one is not as long as it says. */
int memcontexts_upload(struct memcontexts *m, const struct upload_file *files, size_t n,
		       const char **uri);

/* What a source says of it; NULL: there is no such one. A reference. */
struct context *memcontexts_list(struct memcontexts *m, const char *uri);

/* The text of a file; NULL: there is none. Borrowed. */
const char *memcontexts_text(struct memcontexts *m, const char *uri, const char *path);

#endif
