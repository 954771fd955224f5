/*
 * warm - makes sure that something is on the disk (store.h), for work without a network: what is in
 * memory only is written, what is nowhere is fetched.
 *
 * As the functions of catalog.h, of which these are some more. -EOPNOTSUPP: nothing is kept on the
 * disk here; -EIO: it could not be written.
 */
#ifndef MLENVFS_CACHE_WARM_H
#define MLENVFS_CACHE_WARM_H

#include "cache/catalog.h"

/* A list, fetched when it is old: of the scopes (s NULL), of environments (env NULL), of versions.
 */
int warm_list(struct catalog *c, struct scope *s, const char *env, struct call *call,
	      struct err *e);

/* The list of the files of a build context; 0 also when the version has none. */
int warm_context(struct catalog *c, struct scope *s, struct version *v, struct call *call,
		 struct err *e);

/* The content of a file of ctx, len bytes from offset. What is on the disk is checked. */
int warm_content(struct catalog *c, struct scope *s, struct context *ctx,
		 const struct context_file *file, uint64_t offset, uint64_t len, struct call *call,
		 struct err *e);

/* Waits until everything is on the disk. */
int warm_finish(struct catalog *c, struct call *call, struct err *e);

#endif
