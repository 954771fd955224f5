#include "emulator/build_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "emulator/build_store.h"
#include "emulator/db.h"

enum { STAMP_SIZE = 32 };

void build_log_init(struct build_log *log, struct db *db, const char *name, uint64_t size)
{
	*log = (struct build_log){
		.db = db, .name = name, .pending = BUF_INIT(BUILD_LOG_PENDING_MAX), .size = size};
}

void build_log_release(struct build_log *log)
{
	buf_free(&log->pending);
}

static void add(struct build_log *log, const char *data, size_t len)
{
	if (!len || buf_add(&log->pending, data, len))
		return;
	log->size += len;
	log->in_line = data[len - 1] != '\n';
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
