/*
 * route - the path of a request as decoded segments, and matching them with patterns.
 *
 * A pattern is a path whose "{}" segments match anything and are handed out in order; its other
 * segments match in any case, as ARM's literals do. Names in paths may hold any bytes, NUL and '/'
 * too (percent-encoded), so segments are (pointer, length).
 */
#ifndef MLENVFS_EMULATOR_ROUTE_H
#define MLENVFS_EMULATOR_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/asset.h"
#include "client/err.h"

enum {
	ROUTE_SEGMENTS_MAX = 24,
	ROUTE_PARAMS_MAX = 6,
	QUERY_PARAMS_MAX = 64,
};

/* Some bytes; not NUL-terminated, may hold NUL. Borrowed. */
struct text {
	const char *ptr;
	size_t len;
};

bool text_is(struct text t, const char *s);      /* the same bytes */
bool text_is_case(struct text t, const char *s); /* the same but for the case of letters */

struct path {
	struct text segment[ROUTE_SEGMENTS_MAX]; /* into store */
	size_t n;
	char *store;
};

/*
 * Splits and decodes a path as sent. A slash at its end is ignored. -EINVAL for a bad escape or a
 * path that does not begin with '/', -ENAMETOOLONG for too many segments, -ENOMEM. Free *out with
 * path_free() in any case.
 */
int path_split(const char *raw, struct path *out, struct err *e);
void path_free(struct path *p);

/* Matches the segments from first on; params gets the n_params that "{}" stood for. */
bool route_match(const char *pattern, const struct path *p, size_t first,
		 struct text params[ROUTE_PARAMS_MAX], size_t *n_params);

/*
 * Decodes a query string ('+' and %20 are spaces) into params, at most QUERY_PARAMS_MAX; *store
 * holds their text and is the caller's to free. -EINVAL for a bad escape or a NUL, -E2BIG, -ENOMEM.
 */
int query_split(const char *raw, struct kv params[QUERY_PARAMS_MAX], size_t *n, char **store,
		struct err *e);

#endif
