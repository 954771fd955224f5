/*
 * catalog - what is known of the service, and how fresh it is.
 *
 * fs/ reads everything through it. Lists are immutable snapshots, swapped whole when a newer one
 * arrives; readers take a reference and no lock. One request serves any number of waiters
 * (single-flight); requests run on the catalog's own workers, interactive ones before prefetched
 * ones, so an interrupted reader does not end what others wait for, and a flight that nobody waits
 * for any more is cancelled.
 *
 * On the disk (store.h): what is not known is looked for there first. What is found of lists is
 * used at once, however old, and the service is asked behind; what it says then is told as any
 * change is. So a mount shows what the one before knew, without a request, and goes on to when
 * there is no network.
 *
 * Freshness: a snapshot younger than `refresh` is used as it is. An older one is fetched again by
 * the first reader; when that fails because the service can't be reached or does not answer
 * properly, the old snapshot is used (and the failure logged and counted), else the error is
 * returned. While the service is known to be away, nobody waits for it who can have an old
 * snapshot. Errors are remembered for a moment (negative entries), so that a loop over a
 * failing directory does not hammer the service. Every entry carries an epoch: an answer that
 * was asked for before the entry was last changed or invalidated is dropped.
 *
 * Readahead: reading the versions of environments in the order of their list is recognised as a
 * traversal, and the next ones are fetched ahead in a window that doubles up to readahead_max; so
 * is reading the first one's by who has just listed them, where there are many.
 *
 * Every function may be called from any thread; those with a call block (until its deadline or
 * cancellation) and must not be called with a lock held. Errors as in client/source.h.
 */
#ifndef MLENVFS_CACHE_CATALOG_H
#define MLENVFS_CACHE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/source.h"

struct buf;
struct catalog;
struct store;

/* Something that readers may have seen has changed; what it names is borrowed for the call. */
enum catalog_event {
	CATALOG_SCOPES,   /* the list of scopes */
	CATALOG_ENVS,     /* environments of scope came, went or changed */
	CATALOG_VERSIONS, /* versions of scope/env came, went or changed */
};

/*
 * Called on a worker thread, without locks, after the new snapshot is in place and those who waited
 * for it have it; for a change that is made here, on the thread that makes it, before it returns.
 * before is the one it replaced. Not called for what was not known before, for a
 * list that says the same as before, nor for catalog_create_workspace(). A list that is gone is
 * told as an empty one; versions of an environment that left its list are not told.
 * For CATALOG_ENVS before/after are struct env_list, for CATALOG_VERSIONS struct version_list,
 * for CATALOG_SCOPES struct scope_list (scope and env are NULL then).
 *
 * It occupies a worker, so it must not wait for something that waits for the catalog: kernel
 * notifications go through a queue of their own.
 */
typedef void catalog_changed_fn(void *arg, enum catalog_event event, struct scope *scope,
				const char *env, const void *before, const void *after);

struct catalog_conf {
	struct source *source;      /* borrowed; must outlive the catalog */
	int64_t refresh;            /* ns a list counts as fresh */
	int64_t negative;           /* ns an error is remembered */
	int64_t request_deadline;   /* ns one flight may take */
	unsigned int max_in_flight; /* workers */
	unsigned int readahead_max; /* window of sibling environments; 0: no readahead */
	int64_t behind_quiet;       /* ns: see behind.h */
	size_t content_max;         /* bytes of context content kept in memory */
	struct store *store;        /* the disk; NULL: none. Borrowed; must outlive the catalog */
	const char *view;     /* which scopes the source shows, of all that it could; copied */
	int64_t (*now)(void); /* NULL: clock_mono */
	catalog_changed_fn *changed; /* may be NULL */
	void *changed_arg;
	/* Somebody begins to walk through many environments of s. May be NULL. Called with a lock:
	 * must not block, or call the catalog. */
	void (*walks)(void *arg, struct scope *s);
	void *walks_arg;
};

struct catalog_stats {
	uint64_t hits;    /* answered without a request */
	uint64_t flights; /* requests to the source (each may be several HTTP requests) */
	uint64_t joined;  /* waited for a flight that was under way */
	uint64_t prefetched;
	uint64_t bulk;       /* of the flights, those for a traversal */
	uint64_t remembered; /* answered with what was on the disk, before the service was asked */
	uint64_t recalled;   /* found on the disk */
	uint64_t stale;      /* answered with an old snapshot because the service failed */
	uint64_t errors;
	size_t behind; /* requests that are still to be made for such answers */
	bool away;     /* the service did not answer lately */
	size_t content_bytes;
	size_t lists;          /* lists that are known, or of which an error is remembered */
	size_t unconfirmed;    /* of those: remembered, and the service was not asked yet */
	int64_t oldest_age;    /* ns: age of the oldest list in use */
	char last_error[256];  /* why the last failed flight failed; "" when none did */
	int64_t last_error_at; /* clock_wall() time */
};

struct catalog *catalog_new(const struct catalog_conf *conf, struct err *e);

/* Cancels what is under way, ends the workers, frees everything. NULL is allowed. */
void catalog_free(struct catalog *c);

/* Cancels what is under way and makes all later calls end with -ECANCELED; for unmounting. */
void catalog_stop(struct catalog *c);

int catalog_scopes(struct catalog *c, struct call *call, struct scope_list **out, struct err *e);
int catalog_envs(struct catalog *c, struct scope *s, struct call *call, struct env_list **out,
		 struct err *e);
int catalog_versions(struct catalog *c, struct scope *s, const char *env, struct call *call,
		     struct version_list **out, struct err *e);

/*
 * The process who was told the names of all environments there are in s. If these are many, and it
 * reads the versions of the first of them next, it is on its way through all of them. Any thread;
 * does not block.
 */
void catalog_listed(struct catalog *c, const struct scope *s, int64_t who);

/*
 * The files of a build context; never old (contexts are content-addressed by their URI), kept until
 * memory has to be made for others. -EINVAL when the version has none.
 */
int catalog_context(struct catalog *c, struct scope *s, struct version *v, struct call *call,
		    struct context **out, struct err *e);

/*
 * Appends up to len bytes of a context file (one of ctx->files) from offset to out; fewer only at
 * its end, nothing on an error. Content is fetched in blocks, each once however many readers wait,
 * and kept up to content_max bytes. -EIO also when the content is not as long as it is listed.
 */
int catalog_read(struct catalog *c, struct scope *s, struct context *ctx,
		 const struct context_file *file, uint64_t offset, size_t len, struct call *call,
		 struct buf *out, struct err *e);

/* What is known already, however old, without a request: 1 and a reference in *out, or 0. */
int catalog_peek_versions(struct catalog *c, struct scope *s, const char *env,
			  struct version_list **out);
int catalog_peek_context(struct catalog *c, struct scope *s, struct version *v,
			 struct context **out);

/*
 * How long, in ns, a list stays fresh: what may be told from it may be kept as long elsewhere. The
 * list of scopes (s NULL), of a scope's environments (env NULL), or of an environment's versions.
 * 0 when it is old or not known. Does not block.
 */
int64_t catalog_left(struct catalog *c, struct scope *s, const char *env);

/* Makes a workspace; it is in catalog_scopes() at once. */
int catalog_create_workspace(struct catalog *c, const char *name, struct call *call,
			     struct scope **out, struct err *e);

/*
 * Changes, made by the source (client/source.h has the arguments and errors) on the caller's
 * thread. They are in catalog_versions() and catalog_envs() at once, and stay there although the
 * service's lists may show the state before for WRITTEN_KEPT (written.h). After a failure that
 * leaves open what was done, or shows that more is known elsewhere, the lists are asked for again.
 *
 * Changes of one version, or of one environment itself, are made one after the other. What is known
 * to be curated is -EROFS without a request. *out is a reference for the caller.
 */
int catalog_put_version(struct catalog *c, struct scope *s, const struct version *v,
			struct call *call, struct version **out, struct err *e);
int catalog_update_version(struct catalog *c, struct scope *s, const char *env, const char *version,
			   const struct version_change *change, struct call *call,
			   struct version **out, struct err *e);
int catalog_update_env(struct catalog *c, struct scope *s, const char *env, bool archived,
		       struct call *call, struct env **out, struct err *e);
int catalog_delete_version(struct catalog *c, struct scope *s, const char *env, const char *version,
			   struct call *call, struct err *e);
int catalog_delete_env(struct catalog *c, struct scope *s, const char *env, struct call *call,
		       struct err *e);

/*
 * A version that the source itself has just given (get_version), such as one that was made by a
 * request whose answer was lost: what was made here, and the lists may not show for a while, is in
 * them at once, as after catalog_put_version(). Nothing when the call ends first.
 */
void catalog_note_version(struct catalog *c, struct scope *s, struct version *v, struct call *call);

/* Counts every list as old from now on: the next reader fetches it. */
void catalog_expire(struct catalog *c);

void catalog_get_stats(struct catalog *c, struct catalog_stats *out);

#endif
