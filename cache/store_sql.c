#include "cache/store_sql.h"

#include <errno.h>
#include <string.h>

void sql_bind(sqlite3_stmt *stmt, int i, const void *data, size_t len)
{
	/* Failures show when it is run. */
	(void)sqlite3_bind_blob64(stmt, i, len ? data : "", len, SQLITE_STATIC);
}

int sql_step(struct cachedb *db, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	return rc == SQLITE_ROW ? 1 : cachedb_errno(db, rc);
}

int sql_finish(struct cachedb *db, sqlite3_stmt *stmt)
{
	int rc = sql_step(db, stmt);

	sqlite3_reset(stmt);
	return rc < 0 ? rc : 0;
}

bool sql_sum(sqlite3_stmt *stmt, int i, struct sum *out)
{
	const void *data = sqlite3_column_blob(stmt, i);

	if (!data || sqlite3_column_bytes(stmt, i) != SUM_SIZE)
		return false;
	memcpy(out->bytes, data, SUM_SIZE);
	return true;
}

struct sum_part sql_part(sqlite3_stmt *stmt, int i)
{
	const void *data = sqlite3_column_blob(stmt, i);

	return (struct sum_part){data ? data : "", (size_t)sqlite3_column_bytes(stmt, i)};
}

int sql_run_key(struct cachedb *db, sqlite3 *conn, const char *sql, const void *key, size_t len,
		const int64_t *number)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(db, conn, sql, &stmt);

	if (rc)
		return rc;
	sql_bind(stmt, 1, key, len);
	if (number)
		sqlite3_bind_int64(stmt, 2, *number);
	return sql_finish(db, stmt);
}

int sql_bind_prefix(sqlite3_stmt *stmt, const void *prefix, size_t len, struct buf *end)
{
	int rc = buf_add(end, prefix, len);

	if (rc)
		return rc;
	while (end->len && (unsigned char)end->data[end->len - 1] == 0xff)
		end->len--;
	if (!end->len)
		return -EINVAL;
	end->data[end->len - 1]++;
	sql_bind(stmt, 1, prefix, len);
	sql_bind(stmt, 2, end->data, end->len);
	return 0;
}
