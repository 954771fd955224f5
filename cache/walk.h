/*
 * walk - recognises that somebody goes through build contexts one after the other, as find and
 * grep -r do, and fetches the next ones and their files before they are asked for. Who looks into
 * a single one costs no request more.
 *
 * Two walks are followed: of context lists, in each scope, and of files read. The second thing
 * in the order of the lists starts it with a window of 4; that doubles with each that follows, up
 * to readahead_max. What is fetched ahead waits behind what somebody waits for.
 *
 * Called under the catalog's lock.
 */
#ifndef MLENVFS_CACHE_WALK_H
#define MLENVFS_CACHE_WALK_H

#include <stddef.h>

struct catalog;
struct context;
struct entry;
struct want;

/* Through the contexts of a scope: the place of the last one. Start with all zero. */
struct walk {
	size_t env;     /* its position in the list of environments */
	size_t version; /* and of the version in its list; both 1 more than that */
	unsigned int window;
};

/* Through the files of contexts. Start with all zero. */
struct file_walk {
	const struct context *context; /* compared only */
	size_t file;                   /* the last one */
	unsigned int window;
};

enum {
	WALK_SCAN = 1024,            /* versions looked past for the next context */
	WALK_FILE_MAX = 1024 * 1024, /* bytes; larger files are fetched when they are read */
	WALK_SHARE = 4,              /* of the memory for content, this part may be fetched ahead */
};

/* The list of the context of w's version is read. */
void walk_contexts(struct catalog *c, const struct want *w, struct entry **trash);

/* The beginning of w's file is read. */
void walk_files(struct catalog *c, const struct want *w, struct entry **trash);

#endif
