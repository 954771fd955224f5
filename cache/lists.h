/*
 * lists - what the catalog knows how to fetch besides blocks: scopes, environments, versions,
 * and the files of build contexts.
 */
#ifndef MLENVFS_CACHE_LISTS_H
#define MLENVFS_CACHE_LISTS_H

#include "cache/fetch.h"

extern const struct fetch_kind fetch_scopes;   /* want: nothing */
extern const struct fetch_kind fetch_envs;     /* want: key of the scope, scope */
extern const struct fetch_kind fetch_versions; /* want: key of the scope, scope, env */
extern const struct fetch_kind fetch_context;  /* want: context_key(), scope, version */

/* Appends the key of the version's context (it has a context_uri) to key. 0 or negative errno. */
int context_key(struct buf *key, const struct scope *s, const struct version *v);

#endif
