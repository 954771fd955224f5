/*
 * storedir - the cache's directory as a whole, looked at and tidied up from another process than
 * the mounts that use it, while they do.
 */
#ifndef MLENVFS_CACHE_STOREDIR_H
#define MLENVFS_CACHE_STOREDIR_H

#include <stdint.h>

#include "cache/objects.h"
#include "cache/store_rows.h"
#include "client/cleanup.h"
#include "client/err.h"

enum storedir_op {
	STOREDIR_SHOW,
	STOREDIR_VERIFY, /* read everything, and remove what is damaged */
	STOREDIR_PRUNE,  /* remove what is of no use, and content beyond a limit */
	STOREDIR_CLEAR,  /* remove everything */
};

/* What is known of one service. */
struct storedir_service {
	const char *name;  /* of its directory */
	const char *about; /* which service it is; "" when that is not known */
	struct rows_report rows;
	int error; /* negative errno: its database can't be used; text says why */
	const char *text;
};

/*
 * Does it with what is known of every service (content aside), and tells of each: what is there
 * then, and what was damaged. What else lies in the directory stays as it is. A negative errno with
 * a text when the directory can't be used; -ENOENT when there is none, -ENOTDIR when it is no
 * cache.
 */
typedef void storedir_fn(void *arg, const struct storedir_service *s);
_must_check_ int storedir_services(const char *dir, enum storedir_op op, storedir_fn *fn, void *arg,
				   struct err *e);

/* Does it with the content that all services share. max: for STOREDIR_PRUNE. */
_must_check_ int storedir_content(const char *dir, enum storedir_op op, uint64_t max,
				  struct objects_report *out, struct err *e);

#endif
