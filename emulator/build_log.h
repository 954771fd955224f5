/*
 * build_log - the log of a build while it is written.
 *
 * Every line gets the time in front, as Azure's have. What is added is kept in memory until the
 * next flush; the caller decides when that is. Meanwhile it is in the spool too, a file that holds
 * the log from its beginning: when this process is killed, the next one finds there what did not
 * get into the store. Used by one thread.
 */
#ifndef MLENVFS_EMULATOR_BUILD_LOG_H
#define MLENVFS_EMULATOR_BUILD_LOG_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/buf.h"
#include "client/err.h"

struct db;

struct build_log {
	struct db *db;
	const char *name; /* of the build; borrowed */
	struct buf pending;
	int spool;     /* -1: none */
	uint64_t size; /* of what was added, flushed or not */
	bool in_line;  /* what was added last does not end with a line's end */
	bool dropped;  /* output was dropped, and that is not in the log yet */
	bool full;     /* the log has reached its limit: output is dropped */
};

enum {
	BUILD_LOG_PENDING_MAX = 4 * 1024 * 1024, /* with more, output is dropped */
	BUILD_LOG_FLUSH = 1024 * 1024,           /* so much should not wait any longer */
};
#define BUILD_LOG_MAX (256ULL * 1024 * 1024) /* of output; a little more in all */

/* A log without anything in it. */
void build_log_init(struct build_log *log, struct db *db, const char *name);
void build_log_release(struct build_log *log);

/* Makes the spool, before anything is flushed. */
int build_log_spool(struct build_log *log, const char *path, struct err *e);

/*
 * Goes on with the log that an earlier process left: what is behind the first `stored` bytes of its
 * spool (if there is one at path) becomes pending.
 */
void build_log_recover(struct build_log *log, const char *path, uint64_t stored);

/* A line of the service's own, on a line of its own. */
void build_log_say(struct build_log *log, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What the builder wrote: any bytes. */
void build_log_output(struct build_log *log, const char *data, size_t len);

/* Stores what is pending. On failure it stays pending. */
int build_log_flush(struct build_log *log, struct err *e);

/* The same, in the caller's transaction; then build_log_stored() once that is committed. */
int build_log_store(struct build_log *log, sqlite3 *conn, struct err *e);
void build_log_stored(struct build_log *log);

#endif
