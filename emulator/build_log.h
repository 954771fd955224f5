/*
 * build_log - the log of a build while it is written.
 *
 * Every line gets the time in front, as Azure's have. What is added is kept in memory until the
 * next flush; the caller decides when that is. Used by one thread.
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
	uint64_t size; /* of what was added, flushed or not */
	bool in_line;  /* what was added last does not end with a line's end */
	bool full;     /* the log has reached its limit: output is dropped */
};

enum {
	BUILD_LOG_PENDING_MAX = 4 * 1024 * 1024,
	BUILD_LOG_FLUSH = 1024 * 1024, /* so much should not wait any longer */
};
#define BUILD_LOG_MAX (256ULL * 1024 * 1024) /* of output; a little more in all */

/* size: what the log holds already. */
void build_log_init(struct build_log *log, struct db *db, const char *name, uint64_t size);
void build_log_release(struct build_log *log);

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
