#include "emulator/build_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "emulator/build_store.h"
#include "emulator/db.h"

enum { STAMP_SIZE = 32 };

void build_log_init(struct build_log *log, struct db *db, const char *name)
{
	*log = (struct build_log){.db = db,
				  .name = name,
				  .pending = BUF_INIT(2 * BUILD_LOG_PENDING_MAX),
				  .spool = -1};
}

void build_log_release(struct build_log *log)
{
	if (log->spool >= 0)
		close(log->spool);
	buf_free(&log->pending);
}

static void add(struct build_log *log, const char *data, size_t len)
{
	if (!len || buf_add(&log->pending, data, len))
		return;
	log->size += len;
	log->in_line = data[len - 1] != '\n';
}

/* What is pending behind `from`. A spool that can't be written to is of no use any more. */
static void add_to_spool(struct build_log *log, size_t from)
{
	size_t len = log->pending.len - from;

	if (log->spool < 0 || !len ||
	    write(log->spool, log->pending.data + from, len) == (ssize_t)len)
		return;
	log_warn("op=build build=%s error=\"spool: %s\"", log->name, strerror(errno));
	close(log->spool);
	log->spool = -1;
}

int build_log_spool(struct build_log *log, const char *path, struct err *e)
{
	log->spool =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0600);
	if (log->spool < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	add_to_spool(log, 0);
	return 0;
}

void build_log_recover(struct build_log *log, const char *path, uint64_t stored)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *data = malloc(BUILD_LOG_PENDING_MAX);
	size_t len = 0;
	ssize_t n;

	log->size = stored;
	/* An empty line is better than two lines in one. */
	log->in_line = stored > 0;
	if (fd < 0 || !data)
		return;
	if (stored && pread(fd, data, 1, (off_t)stored - 1) == 1)
		log->in_line = data[0] != '\n';
	while (len < BUILD_LOG_PENDING_MAX &&
	       (n = pread(fd, data + len, BUILD_LOG_PENDING_MAX - len, (off_t)(stored + len))) > 0)
		len += (size_t)n;
	add(log, data, len);
}

struct stamp {
	char text[STAMP_SIZE];
	size_t len;
};

static void make_stamp(struct stamp *s)
{
	time_t now = time(NULL);
	struct tm tm;

	s->len = gmtime_r(&now, &tm)
			 ? strftime(s->text, sizeof(s->text), "%Y-%m-%dT%H:%M:%S: ", &tm)
			 : 0;
}

void build_log_say(struct build_log *log, const char *fmt, ...)
{
	size_t before = log->pending.len;
	char line[ERR_MSG_MAX * 2];
	struct stamp stamp;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	make_stamp(&stamp);
	if (log->in_line)
		add(log, "\n", 1);
	add(log, stamp.text, stamp.len);
	add(log, line, strlen(line));
	add(log, "\n", 1);
	add_to_spool(log, before);
}

/* A log that is full takes no more output, only what the service itself has to say. */
static void fill_up(struct build_log *log)
{
	log->full = true;
	build_log_say(log,
		      "The log has reached %llu MiB: what the builder writes from here on is not "
		      "kept.",
		      BUILD_LOG_MAX / 1024 / 1024);
}

/* Whether what is pending can't be stored and there is too much of it; output is dropped then. */
static bool is_stuck(struct build_log *log)
{
	bool stuck = log->pending.len >= BUILD_LOG_PENDING_MAX;

	if (!stuck && log->dropped)
		build_log_say(log, "Some of the output is missing here: the service could not "
				   "store it.");
	log->dropped = stuck;
	return stuck;
}

void build_log_output(struct build_log *log, const char *data, size_t len)
{
	struct stamp stamp;
	size_t before;

	if (log->full || is_stuck(log))
		return;
	before = log->pending.len;
	make_stamp(&stamp);
	while (len && log->size < BUILD_LOG_MAX) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) + 1 : len;

		if (!log->in_line)
			add(log, stamp.text, stamp.len);
		add(log, data, n);
		data += n;
		len -= n;
	}
	add_to_spool(log, before);
	if (log->size >= BUILD_LOG_MAX)
		fill_up(log);
}

int build_log_store(struct build_log *log, sqlite3 *conn, struct err *e)
{
	return log->pending.len
		       ? build_store_log(conn, log->name, log->pending.data, log->pending.len, e)
		       : 0;
}

void build_log_stored(struct build_log *log)
{
	buf_reset(&log->pending);
}

int build_log_flush(struct build_log *log, struct err *e)
{
	sqlite3 *conn;
	int ret;

	if (!log->pending.len)
		return 0;
	conn = db_begin(log->db, e);
	if (!conn)
		return e && e->code ? e->code : -EIO;
	ret = build_log_store(log, conn, e);
	if (ret)
		db_rollback(log->db);
	else
		ret = db_commit(log->db, e);
	if (!ret)
		build_log_stored(log);
	return ret;
}
