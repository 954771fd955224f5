#include "cache/cachedb.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cache/cachedir.h"
#include "cache/record.h"
#include "client/log.h"

enum {
	SCHEMA = 1,
	APPLICATION_ID = 0x4d4c4543, /* "MLEC" in the file's header */
	PAGE = 4096,
	FORMATS = 1000000,
	TRY_AGAIN_MS = 10,
	CHECKPOINT_PAGES = 4096, /* the log is written back when it is so long */
	CACHE_KIB = 2048,        /* of pages in memory, each connection */
};

static const char db_name[] = "lists.db";
static const char *const file_names[] = {"lists.db", "lists.db-wal", "lists.db-shm",
					 "lists.db-journal"};

/*
 * A list is a head and its items, so that little is written when little changed. All sums are
 * SHA-256 (store_rows.c says of what).
 */
static const char *const schema[] = {
	"CREATE TABLE lists (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, learnt INTEGER NOT "
	"NULL, used INTEGER NOT NULL, count INTEGER NOT NULL, items BLOB NOT NULL, sum BLOB NOT "
	"NULL)",
	"CREATE TABLE items (id INTEGER PRIMARY KEY, list INTEGER NOT NULL, name BLOB NOT NULL, "
	"body BLOB NOT NULL, sum BLOB NOT NULL)",
	"CREATE UNIQUE INDEX items_of ON items (list, name)",
	"CREATE TABLE facts (key BLOB NOT NULL PRIMARY KEY, used INTEGER NOT NULL, body BLOB NOT "
	"NULL, sum BLOB NOT NULL)",
};

#define N_SCHEMA ((int)(sizeof(schema) / sizeof(*schema)))

struct cachedb {
	int dir;
	int lock_fd;
	uint64_t max;
	char *path;
	atomic_bool damaged;
	sqlite3 *writer;
	pthread_mutex_t lock;
	sqlite3 *reader; /* protected by lock */
};

static int user_version(void)
{
	return SCHEMA * FORMATS + record_format();
}

int cachedb_errno(struct cachedb *db, int sqlite_code)
{
	switch (sqlite_code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
	case SQLITE_CONSTRAINT: /* what is written breaks none */
		atomic_store(&db->damaged, true);
		return -EBADMSG;
	default:
		return -EIO;
	}
}

bool cachedb_is_damaged(const struct cachedb *db)
{
	return atomic_load(&db->damaged);
}

/* ---- one connection ---- */

static int run(struct cachedb *db, sqlite3 *conn, const char *sql)
{
	return cachedb_errno(db, sqlite3_exec(conn, sql, NULL, NULL, NULL));
}

static int set_up(struct cachedb *db, sqlite3 *conn)
{
	char pragmas[400];
	uint64_t pages = db->max < PAGE ? 1 : db->max / PAGE; /* 0 would be no limit */

	sqlite3_extended_result_codes(conn, 1);
	sqlite3_busy_timeout(conn, CACHEDB_WAIT_MS);
	sqlite3_limit(conn, SQLITE_LIMIT_LENGTH, CACHEDB_VALUE_MAX);
	sqlite3_db_config(conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	snprintf(pragmas, sizeof(pragmas),
		 "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
		 "PRAGMA page_size = %d; PRAGMA cache_size = -%d; PRAGMA journal_mode = WAL;"
		 "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;"
		 "PRAGMA journal_size_limit = %d; PRAGMA max_page_count = %llu;",
		 PAGE, CACHE_KIB, CHECKPOINT_PAGES * PAGE,
		 (unsigned long long)(pages < UINT32_MAX - 1 ? pages : UINT32_MAX - 1));
	return run(db, conn, pragmas);
}

static int connect(struct cachedb *db, sqlite3 **out)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	int rc = cachedb_errno(db, sqlite3_open_v2(db->path, out, flags, NULL));

	if (!rc)
		rc = set_up(db, *out);
	if (rc) {
		sqlite3_close(*out);
		*out = NULL;
	}
	return rc;
}

static void close_connection(sqlite3 *conn)
{
	sqlite3_stmt *stmt;

	while (conn && (stmt = sqlite3_next_stmt(conn, NULL)))
		sqlite3_finalize(stmt);
	sqlite3_close(conn);
}

int cachedb_prepare(struct cachedb *db, sqlite3 *conn, const char *sql, sqlite3_stmt **out)
{
	for (sqlite3_stmt *s = sqlite3_next_stmt(conn, NULL); s; s = sqlite3_next_stmt(conn, s)) {
		if (!sqlite3_stmt_busy(s) && strcmp(sqlite3_sql(s), sql) == 0) {
			*out = s;
			return 0;
		}
	}
	return cachedb_errno(
		db, sqlite3_prepare_v3(conn, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

static int query_number(struct cachedb *db, const char *sql, int64_t *out)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(db, db->writer, sql, &stmt);

	if (!rc)
		rc = sqlite3_step(stmt);
	*out = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
	return rc < 0 ? rc : cachedb_errno(db, rc);
}

/* ---- the schema ---- */

static int make_schema(struct cachedb *db)
{
	char head[96];
	int rc = run(db, db->writer, "BEGIN IMMEDIATE");

	for (int i = 0; !rc && i < N_SCHEMA; i++)
		rc = run(db, db->writer, schema[i]);
	snprintf(head, sizeof(head), "PRAGMA user_version = %d; PRAGMA application_id = %d",
		 user_version(), APPLICATION_ID);
	if (!rc)
		rc = run(db, db->writer, head);
	if (!rc)
		rc = run(db, db->writer, "COMMIT");
	if (rc)
		sqlite3_exec(db->writer, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static bool is_in_schema(const char *sql)
{
	for (int i = 0; sql && i < N_SCHEMA; i++)
		if (strcmp(sql, schema[i]) == 0)
			return true;
	return false;
}

/* Exactly our tables: no trigger, no view, nothing else that would do something by itself. */
static int check_schema(struct cachedb *db)
{
	static const char sql[] = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL";
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(db, db->writer, sql, &stmt), n = 0;

	if (rc)
		return rc;
	while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (!is_in_schema((const char *)sqlite3_column_text(stmt, 0)))
			return -EBADMSG;
		n++;
		rc = SQLITE_OK;
	}
	if (cachedb_errno(db, rc))
		return cachedb_errno(db, rc);
	return n == N_SCHEMA ? 0 : -EBADMSG;
}

static int check(struct cachedb *db)
{
	int64_t version, id, tables;
	int rc = query_number(db, "PRAGMA user_version", &version);

	if (!rc)
		rc = query_number(db, "PRAGMA application_id", &id);
	if (!rc)
		rc = query_number(db, "SELECT COUNT(*) FROM sqlite_master", &tables);
	if (rc)
		return rc;
	if (!version && !id && !tables)
		rc = make_schema(db);
	else if (version != user_version() || id != APPLICATION_ID)
		return -EBADMSG;
	/* Another mount may have made it meanwhile. */
	return rc && rc != -EBADMSG ? rc : check_schema(db);
}

/* ---- the file ---- */

/* SQLite would make it with the mode that the umask says. */
static int make_file(struct cachedb *db)
{
	int fd = openat(db->dir, db_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == ELOOP || errno == EISDIR ? -EBADMSG : -errno;
	close(fd);
	return 0;
}

/* Before there is a connection: to close a descriptor would end SQLite's locks. */
static int check_files(struct cachedb *db)
{
	for (size_t i = 0; i < sizeof(file_names) / sizeof(*file_names); i++) {
		uint64_t size;
		int fd = cachedir_file(db->dir, file_names[i], O_RDWR, &size);

		if (fd >= 0)
			close(fd);
		else if (fd != -ENOENT)
			return fd;
	}
	return make_file(db);
}

static void disconnect(struct cachedb *db)
{
	close_connection(db->reader);
	close_connection(db->writer);
	db->reader = db->writer = NULL;
}

/* With the lock, or before anybody else knows of it. */
static int open_all(struct cachedb *db)
{
	int rc = check_files(db);

	if (!rc)
		rc = connect(db, &db->writer);
	if (!rc)
		rc = check(db);
	if (!rc)
		rc = connect(db, &db->reader);
	if (rc)
		disconnect(db);
	return rc;
}

/* Nobody else may have it open for this. */
static int make_anew(struct cachedb *db)
{
	int rc = flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -EBUSY : 0;

	for (size_t i = 0; !rc && i < sizeof(file_names) / sizeof(*file_names); i++)
		rc = cachedir_remove(db->dir, file_names[i]);
	atomic_store(&db->damaged, false);
	if (!rc)
		rc = open_all(db);
	/* To go from one kind of lock to the other may lose both. */
	if (flock(db->lock_fd, LOCK_SH | LOCK_NB) < 0 && !rc) {
		disconnect(db);
		rc = -EBUSY;
	}
	return rc;
}

static int describe(int rc, struct err *e)
{
	switch (rc) {
	case 0:
		return 0;
	case -EBUSY:
		return err_set(e, rc, "the cache's database is in use, and locked or damaged");
	default:
		return err_set(e, rc, "the cache's database can't be used: %s", strerror(-rc));
	}
}

static int take_lock(struct cachedb *db)
{
	db->lock_fd = openat(db->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (db->lock_fd < 0)
		return -errno;
	for (int waited = 0; flock(db->lock_fd, LOCK_SH | LOCK_NB) < 0; waited += TRY_AGAIN_MS) {
		if (errno != EWOULDBLOCK || waited >= CACHEDB_WAIT_MS)
			return -EBUSY;
		poll(NULL, 0, TRY_AGAIN_MS);
	}
	return 0;
}

int cachedb_open(int dir, const char *path, uint64_t max, struct cachedb **out, struct err *e)
{
	struct cachedb *db = calloc(1, sizeof(*db));
	int rc;

	*out = NULL;
	if (!db)
		return err_set(e, -ENOMEM, "no memory for the cache");
	*db = (struct cachedb){.dir = dir, .lock_fd = -1, .max = max};
	pthread_mutex_init(&db->lock, NULL);
	rc = asprintf(&db->path, "%s/%s", path, db_name) < 0 ? -ENOMEM : 0;
	if (rc)
		db->path = NULL;
	if (!rc)
		rc = take_lock(db);
	if (!rc)
		rc = open_all(db);
	if (rc == -EBADMSG) {
		log_warn("op=cache error=\"the database is damaged or of another release: made "
			 "anew\"");
		rc = make_anew(db);
	}
	if (rc) {
		cachedb_close(db);
		return describe(rc, e);
	}
	*out = db;
	return 0;
}

void cachedb_close(struct cachedb *db)
{
	if (!db)
		return;
	disconnect(db);
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	pthread_mutex_destroy(&db->lock);
	free(db->path);
	free(db);
}

int cachedb_reset(struct cachedb *db, struct err *e)
{
	int rc;

	pthread_mutex_lock(&db->lock);
	disconnect(db);
	rc = make_anew(db);
	pthread_mutex_unlock(&db->lock);
	return describe(rc, e);
}

/* ---- for use ---- */

sqlite3 *cachedb_reader(struct cachedb *db)
{
	pthread_mutex_lock(&db->lock);
	if (db->reader && !cachedb_is_damaged(db))
		return db->reader;
	pthread_mutex_unlock(&db->lock);
	return NULL;
}

void cachedb_release(struct cachedb *db)
{
	pthread_mutex_unlock(&db->lock);
}

sqlite3 *cachedb_writer(struct cachedb *db)
{
	return cachedb_is_damaged(db) ? NULL : db->writer;
}

void cachedb_checkpoint(struct cachedb *db)
{
	int pages = 0, moved = 0;

	if (!cachedb_writer(db))
		return;
	/* Without waiting for readers: what they need stays in the log until the next time. */
	sqlite3_wal_checkpoint_v2(db->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
	if (pages > CHECKPOINT_PAGES)
		sqlite3_wal_checkpoint_v2(db->writer, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
}
