/*
 * store_sql - SQLite statements in fewer words, for what is kept in the cache's database.
 *
 * Errors are those of cachedb_errno(). For the thread that has the connection.
 */
#ifndef MLENVFS_CACHE_STORE_SQL_H
#define MLENVFS_CACHE_STORE_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cachedb.h"
#include "cache/sum.h"
#include "client/buf.h"

/* Binds bytes, borrowed until the statement has run; a failure shows when it is run. */
void sql_bind(sqlite3_stmt *stmt, int i, const void *data, size_t len);

/* The next row: 1, none: 0. */
_must_check_ int sql_step(struct cachedb *db, sqlite3_stmt *stmt);

/* Runs a statement that gives no rows, and makes it ready for the next time. */
_must_check_ int sql_finish(struct cachedb *db, sqlite3_stmt *stmt);

/* A column that holds a sum; false when it doesn't. */
bool sql_sum(sqlite3_stmt *stmt, int i, struct sum *out);

/* The bytes of a column, borrowed until the next step. */
struct sum_part sql_part(sqlite3_stmt *stmt, int i);

/* Prepares and runs a statement with a key, and perhaps a number, as its parameters. */
_must_check_ int sql_run_key(struct cachedb *db, sqlite3 *conn, const char *sql, const void *key,
			     size_t len, const int64_t *number);

/*
 * Binds, as the first two parameters, the first key that begins with prefix and the first one
 * behind all of those. end holds the latter until the statement has run. -EINVAL: there is none.
 */
_must_check_ int sql_bind_prefix(sqlite3_stmt *stmt, const void *prefix, size_t len,
				 struct buf *end);

#endif
