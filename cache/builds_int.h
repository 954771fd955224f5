/*
 * builds_int - what the parts of builds share: builds.c (the table, and what is offered),
 * builds_ask.c (what the service is asked, single-flight), builds_follow.c (the thread).
 *
 * Lock order: a turn -> struct builds -> nothing; a turn -> an entry -> the flights' lock. The
 * locks of the table and of an entry are never held together. Neither is held across a request.
 */
#ifndef MLENVFS_CACHE_BUILDS_INT_H
#define MLENVFS_CACHE_BUILDS_INT_H

#include <pthread.h>

#include "cache/builds.h"
#include "cache/flight.h"
#include "cache/hashmap.h"
#include "client/clock.h"

struct turns;

enum {
	BUILDS_WORKERS = 8,
	BUILDS_ENTRIES_MAX = 4096, /* versions of which something is kept in memory */
	BUILDS_AHEAD_MAX = 64,     /* questions that nobody waits for */
	BUILDS_KEY = BUILDSTORE_NAME_SIZE - 1,
};

/* Times, as multiples of the pace. */
enum {
	PACES_QUEUED = 2,    /* between two looks for a log that is not there yet */
	PACES_STATE = 3,     /* between two questions about a build's state */
	PACES_IDLE = 3,      /* between two looks at the disk */
	PACES_SETTLE = 4,    /* a log may still grow after the end of its build */
	PACES_WANTED = 10,   /* who asks again within it is following */
	PACES_BACKOFF = 100, /* the most between two questions after failures */
};

enum build_job {
	JOB_POLL,  /* the state of a build and the end of its log */
	JOB_LOOK,  /* the log of somebody else's build */
	JOB_IMAGE, /* the image's details */
	JOB_BLOCK, /* a block of the log */
};

/* A flight that is under way. */
struct running {
	enum build_job job;
	uint64_t block;
	struct flight *flight;
	struct running *next;
};

struct build_entry {
	struct builds *builds;
	char key[BUILDSTORE_NAME_SIZE];
	struct scope *scope;
	struct version *of; /* names and time of creation only count */

	/* protected by the table's lock */
	unsigned int refs;
	bool found; /* the table holds one of the references */
	unsigned int watchers;
	int64_t wanted_until; /* clock_mono() */
	bool active;          /* in the list of those that are followed, which holds a reference */
	struct build_entry *next_active;

	struct flight *polled; /* what the thread that follows has asked; nobody else looks at it */

	pthread_mutex_t lock;
	/* protected by lock */
	struct build_record r;
	bool known;           /* r is one */
	int64_t stamp;        /* of the record on the disk that is r */
	uint64_t generation;  /* counts the builds that r was about */
	uint64_t logs;        /* counts the logs of which it said that they are the build's */
	struct logfile *log;  /* NULL: not needed yet */
	char *url;            /* of the log, signed: a secret; NULL: to be asked for */
	bool unanswered;      /* the last question about the state was not answered */
	unsigned int looking; /* how many are told by builds_look() what has changed */
	int64_t asked;        /* when the state was asked for last; clock_mono(), as all of these */
	int64_t looked;       /* when somebody else's log was looked for */
	int64_t ended;        /* when the end was seen first; 0: it was not */
	int64_t next;         /* not to be polled before */
	unsigned int failures;
	int64_t image_at; /* when the image's details were asked for; 0: never */
	bool image_failed;
	bool image_exists;
	char *image;
	struct running *running;
};

/* Once a watcher is an entry with a reference, that is all there is to it. */
struct build_watch {
	struct build_entry *entry;
};

struct builds {
	struct builds_conf conf;
	struct flights *flights;
	struct turns *turns; /* one start at a time for a version */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* protected by lock */
	bool stopping;
	struct hashmap *entries;
	struct build_entry *active;
	size_t n_active;
	bool activated;     /* something, since the thread looked at the list */
	int64_t look_again; /* after a failure, nothing is looked for before that */
};

static inline int64_t builds_paces(const struct builds *b, int n)
{
	return n * b->conf.pace;
}

/* ---- builds.c ---- */

struct build_of build_entry_of(const struct build_entry *e);
void build_entry_put(struct build_entry *e);

/* Takes over what another mount wrote down. True when it did. */
bool build_entry_sync(struct build_entry *e);

/* A new build takes the place of the one before; r is taken over. Locked. */
void build_entry_replace(struct build_entry *e, struct build_record *r);

/* The log's file is there, as long as the log is known to be. Locked. */
int build_entry_need_log(struct build_entry *e);

/* Writes r down, if it is still of that generation. Unlocked. */
void build_entry_save(struct build_entry *e, uint64_t generation);

/* Keeps the log when it is complete, and writes that down. Unlocked. */
void build_entry_keep(struct build_entry *e);

void build_entry_changed(struct build_entry *e);

/* Follow it for a while. */
void build_entry_want(struct build_entry *e);

/* Whether the log of somebody else's build is to be looked for now. Unlocked. */
bool build_entry_may_look(struct build_entry *e);

/* ---- builds_ask.c ---- */

/*
 * Asks the service, or waits for the answer to the same question of somebody else. block counts for
 * JOB_BLOCK. Unlocked.
 */
int builds_ask(struct build_entry *e, enum build_job job, uint64_t block, struct call *call,
	       struct err *err);

/* The two halves of it: *flight is NULL when it could not be started. */
int builds_ask_begin(struct build_entry *e, enum build_job job, uint64_t block,
		     struct flight **flight, struct err *err);
int builds_ask_end(struct flight *flight, struct call *call, struct err *err);

/* Whether a flight that was begun is still under way. Unlocked. */
bool builds_ask_runs(struct build_entry *e, const struct flight *flight);

/* The same for nobody, unless it is being asked already. */
void builds_ask_ahead(struct build_entry *e, enum build_job job);

/* Whether there is something to ask about a build at all. Locked. */
bool build_entry_is_open(const struct build_entry *e);

#endif
