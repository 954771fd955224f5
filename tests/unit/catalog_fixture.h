/*
 * catalog_fixture - a catalog over a source in memory, with a clock that the test moves, the events
 * it sent, and threads that ask it.
 *
 * The source has the scope "ws" with the environments a and b, one version each, described "first".
 */
#ifndef MLENVFS_TESTS_CATALOG_FIXTURE_H
#define MLENVFS_TESTS_CATALOG_FIXTURE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/catalog.h"
#include "client/clock.h"
#include "tests/unit/memsource.h"

#define REFRESH  (30 * NS_PER_S)
#define NEGATIVE (5 * NS_PER_S)

enum { PATIENCE_S = 10, EVENTS_MAX = 32 };

struct event {
	enum catalog_event event;
	char env[32];
	size_t before; /* items */
	size_t after;
};

struct events {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock */
	struct event list[EVENTS_MAX]; /* the first ones; later ones overwrite them */
	size_t n;
};

struct fixture {
	struct memsource *m;
	struct catalog *c;
	struct scope *scope;
	struct events events;
};

/* The store that open_fixture() gives the catalog; NULL: none. */
extern struct store *fixture_store;
extern int64_t fixture_behind_quiet; /* struct catalog_conf.behind_quiet */

void open_fixture(struct fixture *f);
void close_fixture(struct fixture *f);

/* Lets the catalog's clock go on. */
void pass(int64_t ns);

struct catalog_stats stats(struct fixture *f);

/* Waits until n events were sent; fails the test when there are others than n then. */
void wait_events(struct fixture *f, size_t n);

/* Waits until n readers have joined flights of others. */
void wait_joined(struct fixture *f, uint64_t n);

/* One reader, by himself or in a thread of his own. */
struct question {
	struct fixture *f;
	const char *env; /* NULL: the list of environments */
	struct call call;
	pthread_t thread;
	int rc;
	void *list;
	struct err err;
};

void question_init(struct question *q, struct fixture *f, const char *env);
void *ask_main(void *q);
void ask_start(struct question *q, struct fixture *f, const char *env);
void ask_join(struct question *q);
void question_end(struct question *q);

/* Asks and forgets the answer; text (may be NULL) gets its first description, or the error. */
int ask(struct fixture *f, const char *env, char text[ERR_MSG_MAX]);

int ask_scopes(struct fixture *f, struct scope_list **out);

/* Makes a workspace, which has to end with expected. */
void create(struct fixture *f, const char *name, int expected);

#endif
