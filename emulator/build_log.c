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
	*log = (struct build_log){
		.db = db, .name = name, .pending = BUF_INIT(BUILD_LOG_PENDING_MAX), .spool = -1};
}

void build_log_release(struct build_log *log)
{
	if (log->spool >= 0)
		close(log->spool);
	buf_free(&log->pending);
}

int build_log_spool(struct build_log *log, const char *path, struct err *e)
{
	log->spool =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0600);
	return log->spool < 0 ? err_set(e, -errno, "%s: %s", path, strerror(errno)) : 0;
}

/* A spool that can't be written to is of no use any more; the log itself goes on. */
static void add_to_spool(struct build_log *log, const char *data, size_t len)
{
	if (log->spool < 0 || write(log->spool, data, len) == (ssize_t)len)
		return;
	log_warn("op=build build=%s error=\"spool: %s\"", log->name, strerror(errno));
	close(log->spool);
	log->spool = -1;
}

static void add(struct build_log *log, const char *data, size_t len)
{
	if (!len || buf_add(&log->pending, data, len))
		return;
	log->size += len;
	log->in_line = data[len - 1] != '\n';
	add_to_spool(log, data, len);
}

void build_log_recover(struct build_log *log, const char *path, uint64_t stored)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *data = malloc(BUILD_LOG_PENDING_MAX);
	uint64_t at = stored;
	ssize_t n;

	log->size = stored;
	/* An empty line is better than two lines in one. */
	log->in_line = stored > 0;
	while (fd >= 0 && data && at - stored < BUILD_LOG_PENDING_MAX &&
	       (n = pread(fd, data, BUILD_LOG_PENDING_MAX - (size_t)(at - stored), (off_t)at)) >
		       0) {
		add(log, data, (size_t)n);
		at += (uint64_t)n;
	}
	if (at == stored && stored && fd >= 0 && pread(fd, data, 1, (off_t)stored - 1) == 1)
		log->in_line = data[0] != '\n';
}

static void add_stamp(struct build_log *log)
{
	char stamp[STAMP_SIZE];
	time_t now = time(NULL);
	struct tm tm;

	if (gmtime_r(&now, &tm) && strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S: ", &tm))
		add(log, stamp, strlen(stamp));
}

void build_log_say(struct build_log *log, const char *fmt, ...)
{
	char line[ERR_MSG_MAX * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (log->in_line)
		add(log, "\n", 1);
	add_stamp(log);
	add(log, line, strlen(line));
	add(log, "\n", 1);
}

void build_log_output(struct build_log *log, const char *data, size_t len)
{
	while (len && !log->full) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) + 1 : len;

		if (!log->in_line)
			add_stamp(log);
		add(log, data, n);
		data += n;
		len -= n;
		if (log->size >= BUILD_LOG_MAX) {
			log->full = true;
			build_log_say(log,
				      "The log has reached %llu MiB: what the builder writes "
				      "from here on is not kept.",
				      BUILD_LOG_MAX / 1024 / 1024);
		}
	}
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
