/*
 * apiversion - which api-version requests to Azure Resource Manager carry.
 *
 * That is the newest stable one we know, until the service answers that it does not have it (an
 * older cloud, a region that lags, a version that was retired). Such an answer names those it has:
 * the nearest of these is used from then on, so that it costs one request once. One that the user
 * chose is never changed. Any thread.
 */
#ifndef MLENVFS_CLIENT_APIVERSION_H
#define MLENVFS_CLIENT_APIVERSION_H

#include <stdbool.h>

#include "client/buf.h"
#include "client/http.h"

enum {
	APIVERSION_SIZE = 48,    /* of "2026-05-01", or one with "-preview" behind it, and a NUL */
	APIVERSION_TRIES = 4,    /* other ones tried for one request */
	APIVERSION_REFUSED = 64, /* remembered as refused */
};

#define APIVERSION_NEWEST "2026-05-01"

struct apiversion;

/* fixed: the user's own (copied), never changed; NULL: APIVERSION_NEWEST. -ENOMEM, -EINVAL. */
int apiversion_new(const char *fixed, struct apiversion **out);
void apiversion_free(struct apiversion *v); /* NULL is allowed */

/* The one to be used now. */
void apiversion_get(struct apiversion *v, char out[APIVERSION_SIZE]);

/* True when the answer says that the service does not have the request's api-version. */
bool apiversion_is_refused(const struct http_response *r);

/*
 * The service has refused the api-version `refused` with that answer. True when another one is to
 * be used now (apiversion_get()); false when there is none.
 */
bool apiversion_refused(struct apiversion *v, const char *refused, const struct http_response *r);

/* Copies the api-version out of a URL's query; false when there is none that fits. */
bool apiversion_of_url(const char *url, char out[APIVERSION_SIZE]);

/* Appends url with another api-version in the place of its own. 0 or the buffer's error. */
int apiversion_replace(struct buf *b, const char *url, const char *version);

#endif
