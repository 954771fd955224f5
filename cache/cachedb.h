/*
 * cachedb - the database file of the cache: opened, checked, made anew when it is not what it
 * should be.
 *
 * One SQLite file in WAL mode. Any number of mounts use it at once, each with a connection for
 * reading and one for writing; a lock file tells whether somebody else does. Whatever is
 * wrong with the file (another schema, damage, owner or mode) it is made anew, as long as nobody
 * else has it open; else this mount does without. Nothing waits for longer than CACHEDB_WAIT_MS.
 *
 * synchronous=NORMAL: a commit syncs nothing, only checkpoints do, and these are made by the
 * writer. What was committed survives the end of the process; a power failure may take the last
 * commits, never the order of them.
 */
#ifndef MLENVFS_CACHE_CACHEDB_H
#define MLENVFS_CACHE_CACHEDB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/cleanup.h"
#include "client/err.h"

enum {
	CACHEDB_WAIT_MS = 250,                /* for somebody else's lock */
	CACHEDB_VALUE_MAX = 80 * 1024 * 1024, /* bytes in one value; more is damage */
};

struct cachedb;

/*
 * Opens or makes the database in the private directory dir (borrowed), whose path, without links,
 * is path. max: the most bytes of the file. A negative errno with a text: -EBUSY when it is locked
 * or can't be used and somebody else has it open.
 */
_must_check_ int cachedb_open(int dir, const char *path, uint64_t max, struct cachedb **out,
			      struct err *e);
void cachedb_close(struct cachedb *db); /* NULL is allowed */

/*
 * The connection for reading, for one at a time: give it back with cachedb_release(). NULL when
 * there is none (any more).
 */
sqlite3 *cachedb_reader(struct cachedb *db);
void cachedb_release(struct cachedb *db);

/* The connection for writing; for one thread. NULL when there is none (any more). */
sqlite3 *cachedb_writer(struct cachedb *db);

/*
 * What an error of SQLite is: -EBUSY, -ENOSPC (the file is as large as it may be, or the disk
 * full), -ENOMEM, -EIO, -EBADMSG: the database is damaged. Remembers the latter.
 */
int cachedb_errno(struct cachedb *db, int sqlite_code);

/* Whether damage was seen. */
bool cachedb_is_damaged(const struct cachedb *db);

/* Writes what the log holds into the file; by the writer. */
void cachedb_checkpoint(struct cachedb *db);

/*
 * By the writer's thread: makes the database anew. Negative errno: it is gone for this mount.
 */
_must_check_ int cachedb_reset(struct cachedb *db, struct err *e);

/*
 * A statement, prepared when the connection has none of that text: it keeps them for the next time.
 * Who has one steps it before the same is asked for on that connection again. *out is to be given
 * back (_cleanup_stmt_), also after an error.
 */
_must_check_ int cachedb_prepare(struct cachedb *db, sqlite3 *conn, const char *sql,
				 sqlite3_stmt **out);

static inline void cachedb_stmt_cleanup(sqlite3_stmt **stmt)
{
	if (!*stmt)
		return;
	sqlite3_reset(*stmt);
	sqlite3_clear_bindings(*stmt);
}
#define _cleanup_stmt_ __attribute__((cleanup(cachedb_stmt_cleanup)))

#endif
