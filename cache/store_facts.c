#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/lists.h"
#include "cache/store_key.h"
#include "cache/store_rows.h"
#include "cache/store_sql.h"
#include "client/asset.h"

/* ---- facts ---- */

static int fact_sum(const struct sum_part *key, const struct sum_part *body, struct sum *out)
{
	const struct sum_part parts[] = {*key, *body, {"fact", 4}};

	return sum_parts(parts, 3, out);
}

/* Whether a row (key, body, sum) is what was written. */
static bool fact_is_whole(sqlite3_stmt *stmt)
{
	const struct sum_part key = sql_part(stmt, 0), body = sql_part(stmt, 1);
	struct sum is, should;

	return sql_sum(stmt, 2, &is) && !fact_sum(&key, &body, &should) && sum_equal(&is, &should);
}

int rows_get_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key, struct buf *out,
		  int64_t *used)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum_part body;
	int rc = cachedb_prepare(db, conn, "SELECT key, body, sum, used FROM facts WHERE key = ?",
				 &stmt);

	if (rc)
		return rc;
	sql_bind(stmt, 1, key->data, key->len);
	rc = sql_step(db, stmt);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	if (!fact_is_whole(stmt))
		return -EBADMSG;
	body = sql_part(stmt, 1);
	*used = sqlite3_column_int64(stmt, 3);
	return buf_add(out, body.data, body.len);
}

int rows_put_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key, const void *data,
		  size_t len, int64_t now, uint64_t *rows)
{
	const struct sum_part name = {key->data, key->len}, body = {data, len};
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum sum;
	int rc = fact_sum(&name, &body, &sum);

	if (!rc)
		rc = cachedb_prepare(
			db, conn,
			"INSERT OR REPLACE INTO facts (key, body, sum, used) VALUES (?, ?, ?, "
			"?)",
			&stmt);
	if (rc)
		return rc;
	sql_bind(stmt, 1, key->data, key->len);
	sql_bind(stmt, 2, data, len);
	sql_bind(stmt, 3, sum.bytes, SUM_SIZE);
	sqlite3_bind_int64(stmt, 4, now);
	(*rows)++;
	return sql_finish(db, stmt);
}

int rows_drop_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key)
{
	return sql_run_key(db, conn, "DELETE FROM facts WHERE key = ?", key->data, key->len, NULL);
}

int rows_each_fact(struct cachedb *db, sqlite3 *conn, const void *prefix, size_t len,
		   rows_fact_fn *fn, void *arg)
{
	_cleanup_buf_ struct buf end = BUF_INIT(CATALOG_KEY_MAX);
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(
		db, conn,
		"SELECT key, body, sum FROM facts WHERE key >= ? AND key < ? ORDER BY key", &stmt);

	if (!rc)
		rc = sql_bind_prefix(stmt, prefix, len, &end);
	if (rc)
		return rc;
	while ((rc = sql_step(db, stmt)) > 0) {
		const struct sum_part key = sql_part(stmt, 0), body = sql_part(stmt, 1);

		if (fact_is_whole(stmt))
			fn(arg, key.data, key.len, body.data, body.len);
	}
	return rc;
}

/* ---- all of it ---- */

/* A quarter of the lists: those of versions first, without the others nobody finds them. */
#define OLD_LISTS                                                           \
	"SELECT id FROM lists ORDER BY substr(key, 1, 1) <> ?, used LIMIT " \
	"(SELECT COUNT(*) / 4 + 1 FROM lists)"

int rows_make_room(struct cachedb *db, sqlite3 *conn)
{
	static const char *const lists[] = {
		"DELETE FROM items WHERE list IN (" OLD_LISTS ")",
		"DELETE FROM lists WHERE id IN (" OLD_LISTS ")",
	};
	static const char facts[] = "DELETE FROM facts WHERE key IN (SELECT key FROM facts ORDER "
				    "BY used LIMIT (SELECT COUNT(*) / 4 + 1 FROM facts))";
	const char versions = STORE_KEY_VERSIONS;
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(lists) / sizeof(*lists); i++)
		rc = sql_run_key(db, conn, lists[i], &versions, 1, NULL);
	return rc ? rc : cachedb_errno(db, sqlite3_exec(conn, facts, NULL, NULL, NULL));
}

static int get_number(struct cachedb *db, sqlite3 *conn, const char *sql, int64_t *out)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(db, conn, sql, &stmt);

	if (!rc)
		rc = sql_step(db, stmt);
	*out = rc > 0 ? sqlite3_column_int64(stmt, 0) : 0;
	return rc < 0 ? rc : 0;
}

int rows_report(struct cachedb *db, sqlite3 *conn, struct rows_report *out)
{
	int64_t pages = 0, size = 0, unused = 0;
	int rc = get_number(db, conn, "SELECT COUNT(*) FROM lists", &out->lists);

	if (!rc)
		rc = get_number(db, conn, "SELECT COUNT(*) FROM items", &out->items);
	if (!rc)
		rc = get_number(db, conn, "SELECT COUNT(*) FROM facts", &out->facts);
	if (!rc)
		rc = get_number(db, conn, "SELECT MIN(learnt) FROM lists", &out->oldest);
	if (!rc)
		rc = get_number(db, conn, "PRAGMA page_count", &pages);
	if (!rc)
		rc = get_number(db, conn, "PRAGMA freelist_count", &unused);
	if (!rc)
		rc = get_number(db, conn, "PRAGMA page_size", &size);
	out->bytes = (pages - unused) * size;
	return rc;
}

static enum record_kind kind_of_key(const struct buf *key)
{
	switch (key->len ? key->data[0] : 0) {
	case STORE_KEY_SCOPES:
		return RECORD_SCOPE;
	case STORE_KEY_ENVS:
		return RECORD_ENV;
	default:
		return RECORD_VERSION;
	}
}

/* The first key of the table behind *key, which becomes it. -ENOENT at the end. */
static int next_key(struct cachedb *db, sqlite3 *conn, const char *sql, struct buf *key)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum_part part;
	int rc = cachedb_prepare(db, conn, sql, &stmt);

	if (rc)
		return rc;
	sql_bind(stmt, 1, key->data, key->len);
	rc = sql_step(db, stmt);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	part = sql_part(stmt, 0);
	buf_reset(key);
	return buf_add(key, part.data, part.len);
}

static int verify_list(struct cachedb *db, sqlite3 *conn, const struct buf *key)
{
	struct rows_list l = {.kind = kind_of_key(key), .key = key};
	int64_t used;
	int rc = rows_get_list(db, conn, &l, &used);

	if (!rc)
		rows_unref(l.kind, l.list);
	return rc;
}

static int verify_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key)
{
	_cleanup_buf_ struct buf body = BUF_INIT(CACHEDB_VALUE_MAX);
	int64_t used;

	return rows_get_fact(db, conn, key, &body, &used);
}

static int verify_table(struct cachedb *db, sqlite3 *conn, bool lists, int64_t *bad)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CACHEDB_VALUE_MAX);
	int rc;

	while (!(rc = next_key(db, conn,
			       lists ? "SELECT key FROM lists WHERE key > ? ORDER BY key LIMIT 1"
				     : "SELECT key FROM facts WHERE key > ? ORDER BY key LIMIT 1",
			       &key))) {
		rc = lists ? verify_list(db, conn, &key) : verify_fact(db, conn, &key);
		if (rc == -EBADMSG && !cachedb_is_damaged(db)) {
			(*bad)++;
			rc = lists ? rows_drop_list(db, conn, &key)
				   : rows_drop_fact(db, conn, &key);
		}
		if (rc)
			return rc;
	}
	return rc == -ENOENT ? 0 : rc;
}

/* The pages of the file themselves. */
static int verify_file(struct cachedb *db, sqlite3 *conn)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(db, conn, "PRAGMA integrity_check(1)", &stmt);
	const char *text;

	if (!rc)
		rc = sql_step(db, stmt);
	if (rc < 0)
		return rc;
	text = rc ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (text && strcmp(text, "ok") == 0)
		return 0;
	return cachedb_errno(db, SQLITE_CORRUPT);
}

int rows_verify(struct cachedb *db, sqlite3 *conn, struct rows_report *out)
{
	int rc = verify_file(db, conn);

	*out = (struct rows_report){0};
	if (!rc)
		rc = verify_table(db, conn, true, &out->bad);
	if (!rc)
		rc = verify_table(db, conn, false, &out->bad);
	/* Items of lists that are not there. */
	if (!rc)
		rc = cachedb_errno(db, sqlite3_exec(conn,
						    "DELETE FROM items WHERE list NOT IN (SELECT "
						    "id FROM lists)",
						    NULL, NULL, NULL));
	return rc ? rc : rows_report(db, conn, out);
}
