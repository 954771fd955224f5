/*
 * db - the store of the embedded service: one SQLite file in WAL mode, crash-safe.
 *
 * One writer at a time (a mutex, BEGIN IMMEDIATE), any number of readers, each on a connection of
 * its own from a small pool. A lock file beside the store keeps a second process out.
 */
#ifndef MLENVFS_EMULATOR_DB_H
#define MLENVFS_EMULATOR_DB_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cleanup.h"
#include "client/err.h"

struct db;

/* Opens or makes the store, brings its schema up to date. -EBUSY when another process has it. */
int db_open(const char *path, struct db **out, struct err *e);

/* Checkpoints and closes. All connections must be back. NULL is allowed. */
void db_close(struct db *db);

/* A connection for reading; give it back with db_release(). NULL (and e) when there is none. */
sqlite3 *db_reader(struct db *db, struct err *e);
void db_release(struct db *db, sqlite3 *conn);

/*
 * The writer's connection, with a transaction begun; NULL (and e) on failure. End it with
 * db_commit() (0 or a negative errno, nothing stored then) or db_rollback().
 */
sqlite3 *db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);

/* The negative errno for the last error of conn, with its text in e. */
int db_error(sqlite3 *conn, struct err *e, const char *doing);

/*
 * Prepares sql and binds its parameters from the first on, by the letters of types: 'i' an int64_t,
 * 's' a C string or NULL, 't' a const char * and a size_t (text of any bytes). What is bound is
 * borrowed and must outlive *out, which the caller finalizes (_cleanup_stmt_). 0 or a negative
 * errno.
 */
int db_query(sqlite3 *conn, struct err *e, sqlite3_stmt **out, const char *sql, const char *types,
	     ...) _must_check_;

/* The next row: 1, no more: 0, or a negative errno. */
int db_step(sqlite3_stmt *stmt, struct err *e) _must_check_;

/* Prepares, binds and runs a statement that gives no rows. 0 or a negative errno. */
int db_run(sqlite3 *conn, struct err *e, const char *sql, const char *types, ...) _must_check_;

static inline void db_stmt_cleanup(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}
#define _cleanup_stmt_ __attribute__((cleanup(db_stmt_cleanup)))

/* Step i of this brings a store from schema i to schema i + 1 (schema.c). */
extern const char *const db_migrations[];
extern const int db_schema_version;

/* The tables of blobs.c; executed by db_open(), must be repeatable (CREATE TABLE IF NOT EXISTS). */
extern const char blobs_schema[];

#endif
