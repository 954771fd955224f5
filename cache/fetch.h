/*
 * fetch - the way of every read through the catalog: from the entry when it is good, else from a
 * flight that is joined or started, else what the entry still has.
 */
#ifndef MLENVFS_CACHE_FETCH_H
#define MLENVFS_CACHE_FETCH_H

#include "cache/catalog_int.h"

struct want;

/* One kind of thing that can be wanted. "Locked": called under the catalog's lock. */
struct fetch_kind {
	struct entry_type type;
	/* Locked. The entry of w (borrowed), made when it is new. 0 or -ENOMEM. */
	int (*find)(struct catalog *c, const struct want *w, struct entry **out,
		    struct entry **trash);
	/* Asks the source. */
	int (*ask)(struct catalog *c, const struct want *w, struct call *call, void **out,
		   struct err *e);
	/* Locked. The entry holds another snapshot now (NULL: none). May be NULL. */
	void (*stored)(struct catalog *c, const struct want *w, struct entry *entry, void *snapshot,
		       struct entry **trash);
	/* Locked. Somebody reads w: start what he will want next. May be NULL. */
	void (*ahead)(struct catalog *c, const struct want *w, struct entry **trash);
	/* Locked. Whether reading w goes on with a traversal. May be NULL. */
	bool (*walks)(struct catalog *c, const struct want *w);
	/* Locked. A flight that was started ahead failed. May be NULL. */
	void (*ahead_failed)(struct catalog *c, const struct want *w);
	/* Tells the owner of the catalog. after is NULL when it is gone. May be NULL. */
	void (*changed)(struct catalog *c, const struct want *w, void *before, void *after);
	/* Says in words what is wanted. */
	void (*describe)(const struct want *w, char *text, size_t size);
};

/* What is wanted. The caller's is borrowed; a flight makes its own with references. */
struct want {
	const struct fetch_kind *kind;
	struct buf key; /* of the scope, or of the thing itself, as kind->find has it */
	struct scope *scope;
	const char *env;
	struct version *version;
	struct context *context;
	const struct context_file *file; /* in context */
	uint64_t index;                  /* of the block in file */
	bool ahead;                      /* the next block is worth fetching too */
	int64_t who;                     /* as struct call has it */
};

enum { WANT_TEXT_MAX = 512 };

/* Gets what w says: 0 and a reference in *out, or a negative errno. Blocks on call. */
int fetch_get(struct catalog *c, const struct want *w, struct call *call, void **out,
	      struct err *e);

/* Locked. Starts a prefetch of w when nobody has it or asks for it. Failing to is no error. */
void fetch_ahead(struct catalog *c, const struct want *w, struct entry **trash);

/* What every call gets after catalog_stop(). Returns -ECANCELED. */
int fetch_stopped(struct err *e);

#endif
