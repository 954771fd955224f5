/*
 * change - what the catalog does beside its public functions so that a list that lags behind does
 * not undo what was written: see written.h.
 */
#ifndef MLENVFS_CACHE_CHANGE_H
#define MLENVFS_CACHE_CHANGE_H

#include "cache/fetch.h"

/* The epoch in which a list is about to be asked for. */
uint64_t change_begin(struct catalog *c);

/*
 * What to show when the source answered with rc and, when that is 0, *list (replaced): the list
 * with what was written to it lately. A list that the service does not have yet is made, one of an
 * environment that was deleted is -ENOENT. Returns what the source's answer is then.
 */
int change_merge_versions(struct catalog *c, const struct want *w, uint64_t asked, int rc,
			  struct version_list **list, struct err *e);
int change_merge_envs(struct catalog *c, const struct want *w, uint64_t asked,
		      struct env_list **list, struct err *e);

#endif
