/*
 * recall - what the catalog has on the disk (store.h), in the catalog's terms.
 *
 * Where there is no store, they do nothing. What keeps and drops only queues it, and may be called
 * under the catalog's lock; recall_get() and recall_doubt() use files, and may not. What is not
 * kept is not there the next time: nobody is told.
 */
#ifndef MLENVFS_CACHE_RECALL_H
#define MLENVFS_CACHE_RECALL_H

#include "cache/fetch.h"
#include "cache/store.h"

/* What was found of a thing that is wanted. */
struct recalled {
	void *snapshot; /* a reference */
	int64_t age;    /* ns since the service said so */
	bool doubtful;  /* see store.h */
};

/* 0, or -ENOENT: it is not there. Reads files. */
int recall_get(struct catalog *c, const struct want *w, struct recalled *out);

/*
 * The service has just answered with snapshot. same: it says the same as the one before. settled:
 * it is no older than any change that was made here.
 */
void recall_keep(struct catalog *c, const struct want *w, void *snapshot, bool same, bool settled);

/* A list that was known since `age` ns has a change now that was made here. */
void recall_change(struct catalog *c, const struct want *w, void *list, int64_t age);

/* It is gone, or was changed without being known. */
void recall_drop(struct catalog *c, const struct want *w);

/* All of a scope is gone. */
void recall_drop_scope(struct catalog *c, const struct buf *key);

/* Around a change of a list: see "Doubts" in store.h. NULL is allowed and usual. */
struct store_doubt *recall_doubt(struct catalog *c, const struct want *w);
void recall_doubt_end(struct catalog *c, struct store_doubt *doubt_take, bool settled);

/* Keeps on the disk what is in memory, whether it was kept before or not; for `mlenvfs warm`. */
void recall_keep_known(struct catalog *c, const struct want *w, void *snapshot, int64_t age);

#endif
