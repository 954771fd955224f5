/*
 * builds - the image builds of environment versions: what is known of each, and its log.
 *
 * A build that was started through here, by this mount or another one of the same user, is known by
 * where it can be asked about (buildstore.h); of other people's builds the log is looked for. While
 * somebody has a log open, or asks about a build again and again, a thread asks the service how far
 * it is, a few times a second at most; nobody interested, no requests. One request serves any
 * number of waiters (flight.h), and a part of a log is fetched once.
 *
 * A log only grows; a new build of the version replaces it. When a build has ended and its log is
 * complete, nothing is asked any more.
 *
 * All functions may be called from any thread. Those with a call block until its deadline or
 * cancellation. Errors as in client/source.h. v tells the version: its environment, name and time
 * of creation.
 */
#ifndef MLENVFS_CACHE_BUILDS_H
#define MLENVFS_CACHE_BUILDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/buildstore.h"
#include "client/source.h"

struct builds;
struct build_watch;

enum { BUILDS_STAGE_SIZE = 64 };

/* ns; a line is shown within a second, whatever else it waits for */
#define BUILDS_PACE (INT64_C(300) * 1000000)

struct builds_conf {
	struct source *source;    /* borrowed; must outlive it */
	struct buildstore *store; /* the same */
	int64_t refresh;          /* ns that an answer about what is not building here counts */
	int64_t request_deadline; /* ns for one answer */
	int64_t pace; /* ns between two looks at a log that grows, and in proportion everything
			 else; 0: BUILDS_PACE */
	/* A log or a state has changed. Called without locks, by any thread. May be NULL. */
	void (*changed)(void *arg, const struct scope *scope, const char *env, const char *version);
	void *changed_arg;
};

/* What is known of the newest build of a version. */
struct build_info {
	enum image_state state;        /* IMAGE_UNKNOWN also when none is known of */
	bool known;                    /* there is, or was, a build */
	bool growing;                  /* the log may change by itself */
	uint64_t size;                 /* of the log */
	int64_t modified;              /* clock_wall(); 0: no log was seen */
	char stage[BUILDS_STAGE_SIZE]; /* the service's own word for the state; "": none */
};

struct builds *builds_new(const struct builds_conf *conf, struct err *e);

/* Starts the thread that follows builds. 0 or a negative errno. */
int builds_start_following(struct builds *b);

/* Ends everything that waits, with -ECANCELED, and all that follows. */
void builds_stop(struct builds *b);
void builds_free(struct builds *b); /* NULL is allowed; nobody may be in a call any more */

/*
 * What is known, without a request. To ask again and again about a build that runs keeps it
 * followed.
 */
void builds_peek(struct builds *b, struct scope *s, const struct version *v,
		 struct build_info *out);

/* For how many ns opening the log would ask for nothing, and find what builds_peek() says. */
int64_t builds_left(struct builds *b, struct scope *s, const struct version *v);

/*
 * The state as the service says it now: of the newest build that is known of, else whether there is
 * an image. A service that does not answer makes it IMAGE_UNKNOWN; only -ECANCELED and -ENOMEM are
 * errors.
 */
int builds_state(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct build_info *out, struct err *e);

/* Appends what can be pulled, when the image is there. -ENODATA when it is not, or nobody knows. */
int builds_image(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct buf *out, struct err *e);

/*
 * Starts a build, or joins the one that runs. It is in builds_peek() at once. What is known of it
 * outlives this process.
 */
int builds_start(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct err *e);

/* Cancels the build that runs. -EINVAL when none does, -EOPNOTSUPP where the service can't. */
int builds_cancel(struct builds *b, struct scope *s, struct version *v, struct call *call,
		  struct err *e);

/*
 * Somebody goes through all versions of a scope, and may read their logs: what looking for logs of
 * other people's builds needs for all of them is fetched, behind everything else. May be called
 * with locks.
 */
void builds_expect(struct builds *b, struct scope *s);

/*
 * Somebody is about to read the log without opening it: it is brought up to date as by
 * builds_watch(). struct builds_conf.changed is not called for what comes of that. The same errors.
 */
int builds_look(struct builds *b, struct scope *s, struct version *v, struct call *call,
		struct err *err);

/*
 * Somebody opens the log: it is brought up to date (as far as the service answers), and followed
 * until builds_unwatch(). -ECANCELED, -ENOMEM.
 */
int builds_watch(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct build_watch **out, struct err *e);
void builds_unwatch(struct build_watch *w); /* NULL is allowed */

/*
 * Appends up to len bytes of the log from offset; fewer only at its end. On an error nothing is
 * appended.
 */
int builds_read(struct build_watch *w, uint64_t offset, size_t len, struct call *call,
		struct buf *out, struct err *e);

#endif
