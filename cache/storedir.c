#include "cache/storedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cachedir.h"
#include "cache/store_key.h"

static const char objects_name[] = "objects";
static const char about_key[] = {STORE_KEY_FACT, 'a', 'b', 'o', 'u', 't', '\0'};

enum { ABOUT_MAX = 4096 };

/* ---- one service ---- */

static int clear_rows(struct cachedb *db, sqlite3 *conn)
{
	/* Which service it is (about_key) stays known for as long as it is mounted. */
	static const char sql[] = "BEGIN IMMEDIATE; DELETE FROM items; DELETE FROM lists; "
				  "DELETE FROM facts WHERE key <> x'6661626f7574'; COMMIT";
	int rc = cachedb_errno(db, sqlite3_exec(conn, sql, NULL, NULL, NULL));

	if (rc)
		sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int work_on(struct cachedb *db, enum storedir_op op, struct rows_report *out)
{
	sqlite3 *conn = cachedb_writer(db);
	int rc = conn ? 0 : -EBADMSG;

	if (!rc && op == STOREDIR_CLEAR)
		rc = clear_rows(db, conn);
	if (!rc)
		rc = op == STOREDIR_VERIFY ? rows_verify(db, conn, out)
					   : rows_report(db, conn, out);
	return rc;
}

static void read_about(struct cachedb *db, struct buf *out)
{
	const struct buf key = {.data = (char *)(uintptr_t)about_key, .len = strlen(about_key)};
	sqlite3 *conn = cachedb_writer(db);
	int64_t used;

	if (conn && rows_get_fact(db, conn, &key, out, &used))
		buf_reset(out);
}

/* What a mount uses stays, but for what is in it. */
static void remove_unused(int dir, int own, const char *name)
{
	_cleanup_close_ int lock = openat(own, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
		(void)cachedir_remove(dir, name);
}

/* The database is damaged: it is made anew when nobody uses it. */
static int work_again(struct cachedb *db, enum storedir_op op, struct rows_report *out,
		      struct err *e)
{
	int rc = cachedb_reset(db, e);

	if (!rc)
		rc = work_on(db, op, out);
	out->bad++;
	return rc;
}

static void do_service(int dir, const char *path, const char *name, enum storedir_op op,
		       storedir_fn *fn, void *arg)
{
	_cleanup_buf_ struct buf about = BUF_INIT(ABOUT_MAX);
	_cleanup_close_ int own = -1;
	_cleanup_free_ char *own_path = NULL;
	struct storedir_service s = {.name = name};
	struct cachedb *db = NULL;
	struct err e = ERR_INIT;
	int rc;

	own = cachedir_sub(dir, name, &e);
	rc = own < 0 ? own : 0;
	if (!rc && asprintf(&own_path, "%s/%s", path, name) < 0) {
		own_path = NULL;
		rc = -ENOMEM;
	}
	if (!rc)
		rc = cachedb_open(own, own_path, UINT64_MAX, &db, &e);
	if (!rc) {
		read_about(db, &about);
		rc = work_on(db, op, &s.rows);
		if (rc == -EBADMSG)
			rc = work_again(db, op, &s.rows, &e);
	}
	cachedb_close(db);
	s.about = buf_str(&about);
	s.error = rc;
	s.text = err_text(&e, rc);
	fn(arg, &s);
	if (op == STOREDIR_CLEAR && own >= 0)
		remove_unused(dir, own, name);
}

/* ---- all of them ---- */

/*
 * A cache has its content's directories from the start. Who mistypes a name is not to lose what
 * lies there; and looking is not to make one.
 */
static int open_dir(const char *dir, struct err *e)
{
	_cleanup_free_ char *content = NULL;
	struct stat st;

	if (stat(dir, &st) < 0)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	if (asprintf(&content, "%s/%s/content", dir, objects_name) < 0) {
		content = NULL;
		return err_set(e, -ENOMEM, "no memory for the cache");
	}
	if (lstat(content, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is no cache of mlenvfs: nothing is done to it",
			       dir);
	return cachedir_open(dir, e);
}

/* Whether it is what store_open() makes for a service; nothing else is ours to touch. */
static bool is_service(int dir, const char *name)
{
	_cleanup_close_ int own =
		openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat doubts, lock;

	return own >= 0 && fstatat(own, "doubts", &doubts, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(doubts.st_mode) && fstatat(own, "lock", &lock, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(lock.st_mode);
}

int storedir_services(const char *dir, enum storedir_op op, storedir_fn *fn, void *arg,
		      struct err *e)
{
	_cleanup_close_ int fd = open_dir(dir, e);
	_cleanup_free_ char *path = realpath(dir, NULL);
	_cleanup_names_ DIR *names = NULL;
	const char *name;

	if (fd < 0)
		return fd;
	names = cachedir_names(fd);
	if (!names || !path)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	while ((name = cachedir_next(names)))
		if (is_service(fd, name))
			do_service(fd, path, name, op, fn, arg);
	return 0;
}

int storedir_content(const char *dir, enum storedir_op op, uint64_t max, struct objects_report *out,
		     struct err *e)
{
	_cleanup_close_ int fd = open_dir(dir, e);
	_cleanup_close_ int sub = -1;
	struct objects *o;
	int rc;

	*out = (struct objects_report){0};
	if (fd < 0)
		return fd;
	sub = cachedir_sub(fd, objects_name, e);
	rc = sub < 0 ? sub : objects_open(sub, UINT64_MAX, &o, e);
	if (rc)
		return rc;
	if (op == STOREDIR_SHOW)
		rc = objects_count(o, out);
	else if (op == STOREDIR_VERIFY)
		rc = objects_verify(o, out);
	else
		rc = objects_prune(o, op == STOREDIR_CLEAR ? 0 : max, out);
	objects_close(o);
	return rc ? err_set(e, rc, "%s/%s: %s", dir, objects_name, strerror(-rc)) : 0;
}
