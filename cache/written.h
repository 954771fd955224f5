/*
 * written - what this process wrote a moment ago, for lists that don't show it yet.
 *
 * The service's lists lag behind its writes by up to a minute (azureml-rest.md section 2). Every
 * record that a write gave, and every deletion, is kept for WRITTEN_KEPT, and put into each list
 * that arrives meanwhile: a new record is added, a deleted one taken out, and of a changed one what
 * we changed is set again, but nothing else, so that what others change shows at once. A write is
 * forgotten when a list that was asked for after it shows it, or its time is over.
 *
 * Under the catalog's lock unless it says otherwise.
 */
#ifndef MLENVFS_CACHE_WRITTEN_H
#define MLENVFS_CACHE_WRITTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/clock.h"

#define WRITTEN_KEPT (60 * NS_PER_S)

struct written;

/* NULL when there is no memory. */
struct written *written_new(void);
void written_free(struct written *w);

/* One write. What it names is borrowed; before and after get references of their own. */
struct write {
	const struct buf *key; /* of the scope */
	const char *env;       /* whose versions are meant; NULL: the environments */
	const char *name;      /* of the version or environment */
	void *before;          /* as it was known; NULL: it was not */
	void *after;           /* NULL: deleted */
	bool created;          /* it was not there before */
	uint64_t epoch;        /* in which it was made */
	int64_t now;
};

/* Remembers a write. 0 or -ENOMEM: then what was remembered of that name is forgotten. */
int written_add(struct written *w, const struct write *write);

/* Forgets everything about the versions of an environment, or (env NULL) about a scope. */
void written_forget(struct written *w, const struct buf *key, const char *env);

/* True when that environment was deleted a moment ago. */
bool written_is_deleted(struct written *w, const struct buf *key, const char *env, int64_t now);

/* The writes to one list, taken out for a merge without the lock. */
struct writes {
	struct written_item *items; /* sorted by name */
	size_t n;
};

/* 0 or -ENOMEM. Pair with writes_clear(). */
int written_get(struct written *w, const struct buf *key, const char *env, int64_t now,
		struct writes *out);

/* True when one of them made something. Without the lock. */
bool writes_create(const struct writes *writes);

/*
 * Without the lock. The list (taken) with the writes in it; the list itself when it shows them all;
 * NULL when there is no memory. What it shows is marked, for written_settle().
 */
struct version_list *writes_merge_versions(struct writes *writes, struct version_list *list_take);
struct env_list *writes_merge_envs(struct writes *writes, struct env_list *list_take);

/* Forgets the writes that a list which was asked for in epoch asked shows. */
void written_settle(struct written *w, const struct buf *key, const char *env,
		    const struct writes *writes, uint64_t asked);

/* Without the lock. */
void writes_clear(struct writes *writes);

/*
 * Without the lock. A list with one record put in or replaced (record not NULL) or taken out. NULL
 * when there is no memory.
 */
struct version_list *version_list_with(const struct version_list *l, const char *name,
				       struct version *record);
struct env_list *env_list_with(const struct env_list *l, const char *name, struct env *record);

#endif
