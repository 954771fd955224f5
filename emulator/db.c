#include "emulator/db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/log.h"

enum {
	READERS_MAX = 16,        /* connections for reading; more threads than that wait */
	BUSY_TIMEOUT_MS = 10000, /* nobody else should hold the file; a checkpoint may, shortly */
	APPLICATION_ID = 0x4d4c4531, /* "MLE1" in the file's header: it is a store of ours */
	LOCK_PATH_MAX = 4096,
};

struct db {
	char *path;
	int lock_fd;
	pthread_mutex_t write_lock;
	sqlite3 *writer; /* protected by write_lock */
	pthread_mutex_t pool_lock;
	pthread_cond_t pool_returned;
	/* protected by pool_lock */
	sqlite3 *idle[READERS_MAX];
	size_t n_idle;
	size_t n_open;
};

static int error_number(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_TOOBIG:
		return -EFBIG;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return -EACCES;
	default:
		return -EIO;
	}
}

int db_error(sqlite3 *conn, struct err *e, const char *doing)
{
	int rc = sqlite3_extended_errcode(conn);

	return err_set(e, error_number(rc), "store: %s: %s", doing, sqlite3_errmsg(conn));
}

static int run_script(sqlite3 *conn, const char *sql, struct err *e, const char *doing)
{
	return sqlite3_exec(conn, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
								      : db_error(conn, e, doing);
}

static int bind_one(sqlite3_stmt *stmt, int i, char type, va_list *ap)
{
	const char *text;
	size_t len;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(stmt, i, va_arg(*ap, int64_t));
	case 's':
		return sqlite3_bind_text(stmt, i, va_arg(*ap, const char *), -1, SQLITE_STATIC);
	default:
		text = va_arg(*ap, const char *);
		len = va_arg(*ap, size_t);
		return sqlite3_bind_text64(stmt, i, text ? text : "", len, SQLITE_STATIC,
					   SQLITE_UTF8);
	}
}

static int query(sqlite3 *conn, struct err *e, sqlite3_stmt **out, const char *sql,
		 const char *types, va_list *ap)
{
	sqlite3_stmt *stmt = NULL;

	*out = NULL;
	if (sqlite3_prepare_v2(conn, sql, -1, &stmt, NULL) != SQLITE_OK)
		return db_error(conn, e, "preparing a statement");
	for (int i = 0; types[i]; i++)
		if (bind_one(stmt, i + 1, types[i], ap) != SQLITE_OK) {
			int ret = db_error(conn, e, "binding a value");

			sqlite3_finalize(stmt);
			return ret;
		}
	*out = stmt;
	return 0;
}

int db_query(sqlite3 *conn, struct err *e, sqlite3_stmt **out, const char *sql, const char *types,
	     ...)
{
	va_list ap;
	int ret;

	va_start(ap, types);
	ret = query(conn, e, out, sql, types, &ap);
	va_end(ap);
	return ret;
}

int db_step(sqlite3_stmt *stmt, struct err *e)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return db_error(sqlite3_db_handle(stmt), e, "running a statement");
	}
}

int db_run(sqlite3 *conn, struct err *e, const char *sql, const char *types, ...)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	va_list ap;
	int ret;

	va_start(ap, types);
	ret = query(conn, e, &stmt, sql, types, &ap);
	va_end(ap);
	if (ret)
		return ret;
	ret = db_step(stmt, e);
	return ret < 0 ? ret : 0;
}

/* The process that holds the lock file, as it wrote itself into it; 0 when unknown. */
static long lock_holder(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? strtol(text, NULL, 10) : 0;
}

static int hold_lock(int fd, const char *path, struct err *e)
{
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return err_set(e, -errno, "%s.lock: %s", path, strerror(errno));
		return err_set(e, -EBUSY, "the store %s is in use by process %ld", path,
			       lock_holder(fd));
	}
	if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n)
		return err_set(e, -errno, "%s.lock: %s", path, strerror(errno));
	return 0;
}

static int take_lock(const char *path, int *out, struct err *e)
{
	char name[LOCK_PATH_MAX];
	int fd, ret;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
		return err_set(e, -ENAMETOOLONG, "the store's path is too long");
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", name, strerror(errno));
	ret = hold_lock(fd, path, e);
	if (ret)
		close(fd);
	else
		*out = fd;
	return ret;
}

static int open_connection(const char *path, sqlite3 **out, struct err *e)
{
	static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;";
	sqlite3 *conn = NULL;
	int rc, ret;

	rc = sqlite3_open_v2(path, &conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		ret = err_set(e, error_number(rc), "%s: %s", path,
			      conn ? sqlite3_errmsg(conn) : "no memory");
		sqlite3_close(conn);
		return ret;
	}
	sqlite3_extended_result_codes(conn, 1);
	sqlite3_busy_timeout(conn, BUSY_TIMEOUT_MS);
	ret = run_script(conn, pragmas, e, "opening");
	if (ret) {
		sqlite3_close(conn);
		return ret;
	}
	*out = conn;
	return 0;
}

static int read_number(sqlite3 *conn, const char *sql, int64_t *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int ret = db_query(conn, e, &stmt, sql, "");

	if (!ret)
		ret = db_step(stmt, e);
	if (ret < 0)
		return ret;
	*out = ret ? sqlite3_column_int64(stmt, 0) : 0;
	return 0;
}

/* Refuses a file that is somebody else's database, or a newer program's store. */
static int check_file(sqlite3 *conn, const char *path, int64_t *version, struct err *e)
{
	int64_t id, tables;
	int ret = read_number(conn, "PRAGMA user_version", version, e);

	if (!ret)
		ret = read_number(conn, "PRAGMA application_id", &id, e);
	if (!ret)
		ret = read_number(conn, "SELECT COUNT(*) FROM sqlite_master", &tables, e);
	if (ret)
		return ret;
	if (tables && id != APPLICATION_ID)
		return err_set(e, -EMEDIUMTYPE, "%s is a database, but not a store of mlenvfs",
			       path);
	if (*version > db_schema_version)
		return err_set(e, -EMEDIUMTYPE,
			       "the store %s was made by a newer mlenvfs (schema %lld, this one "
			       "knows %d)",
			       path, (long long)*version, db_schema_version);
	return 0;
}

static int migrate(struct db *db, struct err *e)
{
	char head[96];
	int64_t from;
	int ret = check_file(db->writer, db->path, &from, e);

	if (!ret)
		ret = run_script(db->writer, "BEGIN IMMEDIATE", e, "beginning the migration");
	if (ret)
		return ret;
	for (int64_t i = from; i < db_schema_version && !ret; i++)
		ret = run_script(db->writer, db_migrations[i], e, "bringing the schema up to date");
	snprintf(head, sizeof(head), "PRAGMA user_version = %d; PRAGMA application_id = %d",
		 db_schema_version, APPLICATION_ID);
	if (!ret)
		ret = run_script(db->writer, head, e, "marking the schema");
	if (!ret)
		ret = run_script(db->writer, blobs_schema, e, "making the tables of blobs");
	if (!ret)
		ret = run_script(db->writer, "COMMIT", e, "storing the schema");
	if (ret)
		sqlite3_exec(db->writer, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

/* SQLite would make the file with the umask's mode; it holds an account key, so it is private. */
static int make_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	close(fd);
	return 0;
}

int db_open(const char *path, struct db **out, struct err *e)
{
	struct db *db = calloc(1, sizeof(*db));
	int ret;

	*out = NULL;
	if (!db)
		return err_set(e, -ENOMEM, "no memory");
	db->lock_fd = -1;
	pthread_mutex_init(&db->write_lock, NULL);
	pthread_mutex_init(&db->pool_lock, NULL);
	pthread_cond_init(&db->pool_returned, NULL);
	db->path = strdup(path);
	ret = db->path ? take_lock(path, &db->lock_fd, e) : err_set(e, -ENOMEM, "no memory");
	if (!ret)
		ret = make_file(path, e);
	if (!ret)
		ret = open_connection(path, &db->writer, e);
	if (!ret)
		ret = migrate(db, e);
	if (ret) {
		db_close(db);
		return ret;
	}
	*out = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < db->n_idle; i++)
		sqlite3_close(db->idle[i]);
	if (db->writer) {
		sqlite3_wal_checkpoint_v2(db->writer, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		sqlite3_close(db->writer);
	}
	/* Closing releases the lock. The lock file stays: removing it would race with an opener. */
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	pthread_cond_destroy(&db->pool_returned);
	pthread_mutex_destroy(&db->pool_lock);
	pthread_mutex_destroy(&db->write_lock);
	free(db->path);
	free(db);
}

/* Takes an idle connection, or the right to open one (returns NULL then). */
static sqlite3 *take_idle(struct db *db)
{
	sqlite3 *conn = NULL;

	pthread_mutex_lock(&db->pool_lock);
	while (!db->n_idle && db->n_open >= READERS_MAX)
		pthread_cond_wait(&db->pool_returned, &db->pool_lock);
	if (db->n_idle)
		conn = db->idle[--db->n_idle];
	else
		db->n_open++;
	pthread_mutex_unlock(&db->pool_lock);
	return conn;
}

sqlite3 *db_reader(struct db *db, struct err *e)
{
	sqlite3 *conn = take_idle(db);

	if (conn)
		return conn;
	if (!open_connection(db->path, &conn, e) &&
	    !run_script(conn, "PRAGMA query_only = ON", e, "opening for reading"))
		return conn;
	sqlite3_close(conn);
	pthread_mutex_lock(&db->pool_lock);
	db->n_open--;
	pthread_cond_signal(&db->pool_returned);
	pthread_mutex_unlock(&db->pool_lock);
	return NULL;
}

void db_release(struct db *db, sqlite3 *conn)
{
	if (!conn)
		return;
	pthread_mutex_lock(&db->pool_lock);
	db->idle[db->n_idle++] = conn;
	pthread_cond_signal(&db->pool_returned);
	pthread_mutex_unlock(&db->pool_lock);
}

sqlite3 *db_begin(struct db *db, struct err *e)
{
	pthread_mutex_lock(&db->write_lock);
	if (!run_script(db->writer, "BEGIN IMMEDIATE", e, "beginning a transaction"))
		return db->writer;
	pthread_mutex_unlock(&db->write_lock);
	return NULL;
}

int db_commit(struct db *db, struct err *e)
{
	int ret = run_script(db->writer, "COMMIT", e, "storing");

	if (ret)
		sqlite3_exec(db->writer, "ROLLBACK", NULL, NULL, NULL);
	pthread_mutex_unlock(&db->write_lock);
	return ret;
}

void db_rollback(struct db *db)
{
	if (sqlite3_exec(db->writer, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		log_warn("store: rolling back: %s", sqlite3_errmsg(db->writer));
	pthread_mutex_unlock(&db->write_lock);
}
