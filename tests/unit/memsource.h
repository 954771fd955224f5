/*
 * memsource - a struct source in memory, for tests: its answers, errors and slowness are what the
 * test says, and it counts what it was asked.
 *
 * It has one set of environments, which every scope shows. An answer is made, and a change done,
 * when the question comes, and handed over when it is let go, as with a network between them. Every
 * answer consists of new records. As the service does, it gives conda text back as JSON, gives
 * every version that is put a later time, and refuses to replace a version by another. Functions
 * that set it up end the program when there is no memory.
 */
#ifndef MLENVFS_TESTS_MEMSOURCE_H
#define MLENVFS_TESTS_MEMSOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/source.h"
#include "tests/unit/memcontexts.h"

struct memsource;

enum mem_op {
	MEM_SCOPES,
	MEM_ENVS,
	MEM_VERSIONS,
	MEM_CONTEXT,
	MEM_READ,
	MEM_CREATE,
	MEM_GET,
	MEM_UPLOAD,
	MEM_PUT,
	MEM_UPDATE,
	MEM_UPDATE_ENV,
	MEM_DELETE,
	MEM_DELETE_ENV,
	MEM_OPS
};

enum { MEM_LOG_MAX = 4096 };

struct memsource *memsource_new(void);
void memsource_free(struct memsource *m);
struct source *memsource_source(struct memsource *m);

void memsource_add_scope(struct memsource *m, const char *name);
void memsource_remove_scope(struct memsource *m, const char *name);
void memsource_add_env(struct memsource *m, const char *name, bool archived);
void memsource_remove_env(struct memsource *m, const char *name);

/* Adds version "1" with that description to the environment, or changes it. */
void memsource_describe(struct memsource *m, const char *env, const char *description);

/* A version as somebody else has it registered: added, replaced (same name), or taken out. */
void memsource_set_version(struct memsource *m, const struct version *fields);
void memsource_remove_version(struct memsource *m, const char *env, const char *version);

/* The same as somebody else puts it: stored as the service does, in an environment that need not be
 * there. Nothing when it exists. */
void memsource_put(struct memsource *m, const struct version *fields);

/* What it has under the name; a reference, NULL when there is none. */
struct version *memsource_get(struct memsource *m, const char *env, const char *version);

/* What the list of environments says is the next version of one; borrowed. */
void memsource_set_next(struct memsource *m, const char *env, const char *next);

/* Lists say from now on what they say now (true), or again what is (false). */
void memsource_lag(struct memsource *m, bool lag);

/* The build contexts that were uploaded. Others consist of one file (memsource_set_file()). */
struct memcontexts *memsource_contexts(struct memsource *m);

/* The build context that every other URI names: one file of that listed size and etag. */
void memsource_set_file(struct memsource *m, const char *path, uint64_t size, const char *etag);

/* How much longer (or shorter) the content is than listed. */
void memsource_set_surplus(struct memsource *m, int64_t bytes);

/* The byte at offset of every file. */
char memsource_byte(uint64_t offset);

/* From now on calls of op fail with rc (0: don't) and that text (borrowed). */
void memsource_fail(struct memsource *m, enum mem_op op, int rc, const char *text);

/* The same for the next request only. */
void memsource_fail_once(struct memsource *m, enum mem_op op, int rc, const char *text);

/* The same, but what is asked for is done before: the answer is lost. For PUT and UPDATE. */
void memsource_lose(struct memsource *m, enum mem_op op, int rc, const char *text);

/* Calls of op call fn (NULL: none) before anything else, without a lock. */
void memsource_before(struct memsource *m, enum mem_op op, void (*fn)(void *arg), void *arg);

/* Calls take that long. */
void memsource_delay(struct memsource *m, int64_t ns);

/* Calls stay inside from now on; until let go. */
void memsource_hold(struct memsource *m);
void memsource_release(struct memsource *m);

/* Calls of op are not held. */
void memsource_let_pass(struct memsource *m, enum mem_op op);

/* Waits until exactly n calls are inside. False when that has not come after ten seconds. */
bool memsource_wait_inside(struct memsource *m, unsigned int n);

/* The same until op was called n times and no call is inside. */
bool memsource_wait_calls(struct memsource *m, enum mem_op op, unsigned int n);

unsigned int memsource_calls(struct memsource *m, enum mem_op op);
unsigned int memsource_peak(struct memsource *m);      /* the most calls at once */
unsigned int memsource_cancelled(struct memsource *m); /* calls that ended that way */
bool memsource_stopped(struct memsource *m);

/* After a stop: calls are answered again. */
void memsource_restart(struct memsource *m);

/* The environment that the n-th call of list_versions was about; NULL when there was none. */
const char *memsource_asked(struct memsource *m, unsigned int n);

#endif
