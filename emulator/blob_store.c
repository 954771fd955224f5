#include "emulator/blob_store.h"

#include <errno.h>
#include <string.h>

#include <openssl/rand.h>

#include "client/base64.h"
#include "client/clock.h"
#include "emulator/db.h"

enum {
	KEY_BYTES = 64,           /* as Azure's account keys */
	UNCOMMITTED_MAX = 100000, /* blocks of one blob, as in Azure */
	NS_PER_TICK = 100,
	APPEND_PIECE = 64 * 1024, /* small appends share a content until it has so much */
};
_Static_assert((int)APPEND_PIECE <= (int)BLOB_CHUNK, "grow_part() knows the first chunk only");

/* 100 ns ticks from the year 1 to 1970: Azure's etags are the time of the write in such ticks. */
#define TICKS_AT_EPOCH INT64_C(621355968000000000)

/*
 * blob_part.block: the id under which a part was put, NULL for Put Blob; a later block list may
 * name it again. During a replacement the old parts are kept under the negative id of their blob.
 */
const char blobs_schema[] = "CREATE TABLE IF NOT EXISTS blob_account ("
			    " id INTEGER PRIMARY KEY CHECK (id = 1),"
			    " key TEXT NOT NULL);"
			    "CREATE TABLE IF NOT EXISTS blob_container ("
			    " id INTEGER PRIMARY KEY,"
			    " name TEXT NOT NULL UNIQUE,"
			    " etag INTEGER NOT NULL,"
			    " modified INTEGER NOT NULL);"
			    "CREATE TABLE IF NOT EXISTS blob ("
			    " id INTEGER PRIMARY KEY,"
			    " container INTEGER NOT NULL REFERENCES blob_container (id),"
			    " name TEXT NOT NULL,"
			    " size INTEGER NOT NULL,"
			    " etag INTEGER NOT NULL,"
			    " created INTEGER NOT NULL,"
			    " modified INTEGER NOT NULL,"
			    " content_type TEXT NOT NULL,"
			    " content_encoding TEXT NOT NULL,"
			    " content_language TEXT NOT NULL,"
			    " content_disposition TEXT NOT NULL,"
			    " cache_control TEXT NOT NULL,"
			    " md5 TEXT NOT NULL,"
			    " metadata TEXT NOT NULL,"
			    " UNIQUE (container, name));"
			    "CREATE TABLE IF NOT EXISTS blob_part ("
			    " blob INTEGER NOT NULL,"
			    " start INTEGER NOT NULL,"
			    " size INTEGER NOT NULL,"
			    " block TEXT,"
			    " content INTEGER NOT NULL,"
			    " PRIMARY KEY (blob, start)) WITHOUT ROWID;"
			    "CREATE INDEX IF NOT EXISTS blob_part_block ON blob_part (blob, block);"
			    "CREATE INDEX IF NOT EXISTS blob_part_content ON blob_part (content);"
			    "CREATE TABLE IF NOT EXISTS blob_block ("
			    " container INTEGER NOT NULL,"
			    " name TEXT NOT NULL,"
			    " block TEXT NOT NULL,"
			    " size INTEGER NOT NULL,"
			    " content INTEGER NOT NULL,"
			    " PRIMARY KEY (container, name, block)) WITHOUT ROWID;"
			    "CREATE TABLE IF NOT EXISTS blob_chunk ("
			    " content INTEGER NOT NULL,"
			    " no INTEGER NOT NULL,"
			    " data BLOB NOT NULL,"
			    " PRIMARY KEY (content, no));";

#define BLOB_COLUMNS                                                         \
	"id, size, etag, created, modified, content_type, content_encoding," \
	" content_language, content_disposition, cache_control, md5, metadata, name"

static void copy_column(sqlite3_stmt *stmt, int column, char *to, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	size_t len = text ? strnlen(text, size - 1) : 0;

	if (len)
		memcpy(to, text, len);
	to[len] = '\0';
}

static int64_t etag_at(int64_t ns)
{
	return ns / NS_PER_TICK + TICKS_AT_EPOCH;
}

int blob_store_make_key(sqlite3 *conn, struct err *e)
{
	unsigned char raw[KEY_BYTES];
	char text[BASE64_SIZE(KEY_BYTES)];
	int rc;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return err_set(e, -EIO, "no random numbers for the storage account's key");
	base64_encode(raw, sizeof(raw), text);
	rc = db_run(conn, e, "INSERT OR IGNORE INTO blob_account (id, key) VALUES (1, ?)", "s",
		    text);
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(text, sizeof(text));
	return rc;
}

int blob_store_key(sqlite3 *conn, char *out, size_t size, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = db_query(conn, e, &stmt, "SELECT key FROM blob_account", "");

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc == 0)
		return err_set(e, -ENOENT, "the storage account has no key");
	if (rc < 0)
		return rc;
	copy_column(stmt, 0, out, size);
	return 0;
}

int blob_store_find_container(sqlite3 *conn, const char *name, struct container *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc =
		db_query(conn, e, &stmt,
			 "SELECT id, etag, modified FROM blob_container WHERE name = ?", "s", name);

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc == 0)
		return err_set(e, -ENOENT, "there is no container %s", name);
	if (rc < 0)
		return rc;
	out->id = sqlite3_column_int64(stmt, 0);
	out->etag = sqlite3_column_int64(stmt, 1);
	out->modified = sqlite3_column_int64(stmt, 2);
	return 0;
}

int blob_store_add_container(sqlite3 *conn, const char *name, struct container *out, struct err *e)
{
	int64_t now = clock_wall();
	int rc = blob_store_find_container(conn, name, out, e);

	if (rc == 0)
		return err_set(e, -EEXIST, "the container %s exists", name);
	if (rc != -ENOENT)
		return rc;
	rc = db_run(conn, e, "INSERT INTO blob_container (name, etag, modified) VALUES (?, ?, ?)",
		    "sii", name, etag_at(now), now);
	return rc ? rc : blob_store_find_container(conn, name, out, e);
}

/* A row of BLOB_COLUMNS. */
static void read_blob(sqlite3_stmt *stmt, struct blob *out)
{
	out->id = sqlite3_column_int64(stmt, 0);
	out->size = (uint64_t)sqlite3_column_int64(stmt, 1);
	out->etag = sqlite3_column_int64(stmt, 2);
	out->created = sqlite3_column_int64(stmt, 3);
	out->modified = sqlite3_column_int64(stmt, 4);
	copy_column(stmt, 5, out->content_type, sizeof(out->content_type));
	copy_column(stmt, 6, out->content_encoding, sizeof(out->content_encoding));
	copy_column(stmt, 7, out->content_language, sizeof(out->content_language));
	copy_column(stmt, 8, out->content_disposition, sizeof(out->content_disposition));
	copy_column(stmt, 9, out->cache_control, sizeof(out->cache_control));
	copy_column(stmt, 10, out->md5, sizeof(out->md5));
	copy_column(stmt, 11, out->metadata, sizeof(out->metadata));
}

int blob_store_find(sqlite3 *conn, const struct blob_key *key, struct blob *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = db_query(conn, e, &stmt,
			  "SELECT " BLOB_COLUMNS " FROM blob WHERE container = ? AND name = ?",
			  "it", key->container, key->name, key->len);

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc == 0)
		return err_set(e, -ENOENT, "there is no such blob");
	if (rc < 0)
		return rc;
	read_blob(stmt, out);
	return 0;
}

/* Appends the bytes [from, to) of a content. */
static int read_content(sqlite3 *conn, int64_t content, uint64_t from, uint64_t to, struct buf *out,
			struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = db_query(conn, e, &stmt,
			  "SELECT no, data FROM blob_chunk WHERE content = ?"
			  " AND no BETWEEN ? AND ? ORDER BY no",
			  "iii", content, (int64_t)(from / BLOB_CHUNK),
			  (int64_t)((to - 1) / BLOB_CHUNK));

	if (rc)
		return rc;
	while ((rc = db_step(stmt, e)) > 0) {
		uint64_t start = (uint64_t)sqlite3_column_int64(stmt, 0) * BLOB_CHUNK;
		const char *data = sqlite3_column_blob(stmt, 1);
		uint64_t end = start + (uint64_t)sqlite3_column_bytes(stmt, 1);
		uint64_t a = from > start ? from : start, b = to < end ? to : end;

		if (data && a < b && buf_add(out, data + (a - start), (size_t)(b - a)))
			return err_set(e, buf_error(out), "no room for the blob's bytes");
	}
	return rc;
}

int blob_store_read(sqlite3 *conn, int64_t blob, uint64_t offset, size_t len, struct buf *out,
		    struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	uint64_t end = offset + len;
	size_t before = out->len;
	int rc = db_query(conn, e, &stmt,
			  "SELECT start, size, content FROM blob_part WHERE blob = ?"
			  " AND start + size > ? AND start < ? ORDER BY start",
			  "iii", blob, (int64_t)offset, (int64_t)end);

	if (rc)
		return rc;
	while ((rc = db_step(stmt, e)) > 0) {
		uint64_t start = (uint64_t)sqlite3_column_int64(stmt, 0);
		uint64_t part_end = start + (uint64_t)sqlite3_column_int64(stmt, 1);
		uint64_t a = offset > start ? offset : start, b = end < part_end ? end : part_end;

		rc = read_content(conn, sqlite3_column_int64(stmt, 2), a - start, b - start, out,
				  e);
		if (rc)
			return rc;
	}
	if (rc == 0 && out->len - before != len)
		return err_set(e, -EIO, "the store lacks bytes of a blob");
	return rc;
}

static int add_chunk(sqlite3 *conn, int64_t content, size_t no, const void *data, size_t len,
		     struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = db_query(conn, e, &stmt,
			  "INSERT INTO blob_chunk (content, no, data) VALUES (?, ?, ?)", "ii",
			  content, (int64_t)no);

	if (rc)
		return rc;
	if (sqlite3_bind_blob64(stmt, 3, data, len, SQLITE_STATIC) != SQLITE_OK)
		return db_error(conn, e, "binding a blob's bytes");
	return db_step(stmt, e);
}

/* Stores bytes as a new content. */
static int add_content(sqlite3 *conn, const char *data, size_t len, int64_t *content, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	size_t offset;
	int rc;

	rc = db_query(conn, e, &stmt, "SELECT ifnull(max(content), 0) + 1 FROM blob_chunk", "");
	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc <= 0)
		return rc;
	*content = sqlite3_column_int64(stmt, 0);
	rc = 0;
	for (offset = 0; offset < len && rc == 0; offset += BLOB_CHUNK) {
		size_t n = len - offset < BLOB_CHUNK ? len - offset : BLOB_CHUNK;

		rc = add_chunk(conn, *content, offset / BLOB_CHUNK, data + offset, n, e);
	}
	return rc;
}

static const char upsert_blob[] =
	"INSERT INTO blob (container, name, size, etag, created, modified, content_type,"
	" content_encoding, content_language, content_disposition, cache_control, md5, metadata)"
	" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	" ON CONFLICT (container, name) DO UPDATE SET size = excluded.size,"
	" etag = max(excluded.etag, etag + 1), modified = excluded.modified,"
	" content_type = excluded.content_type, content_encoding = excluded.content_encoding,"
	" content_language = excluded.content_language,"
	" content_disposition = excluded.content_disposition,"
	" cache_control = excluded.cache_control, md5 = excluded.md5,"
	" metadata = excluded.metadata";

/* Inserts or updates the blob's row, with a new etag; its old parts go to the negative id. */
static int replace_row(sqlite3 *conn, const struct blob_key *key, struct blob *blob, struct err *e)
{
	int64_t now = clock_wall();
	int rc = db_run(conn, e, upsert_blob, "itiiiisssssss", key->container, key->name, key->len,
			(int64_t)blob->size, etag_at(now), now, now, blob->content_type,
			blob->content_encoding, blob->content_language, blob->content_disposition,
			blob->cache_control, blob->md5, blob->metadata);

	if (rc == 0)
		rc = blob_store_find(conn, key, blob, e);
	if (rc)
		return rc;
	return db_run(conn, e, "UPDATE blob_part SET blob = -blob WHERE blob = ?", "i", blob->id);
}

/* Drops the blob's old parts and its uncommitted blocks, and the contents that no blob has now. */
static int sweep(sqlite3 *conn, const struct blob_key *key, int64_t blob, struct err *e)
{
	int rc = db_run(conn, e,
			"DELETE FROM blob_chunk WHERE content IN"
			" (SELECT content FROM blob_part WHERE blob = -?1 UNION"
			"  SELECT content FROM blob_block WHERE container = ?2 AND name = ?3)"
			" AND NOT EXISTS (SELECT 1 FROM blob_part"
			"  WHERE blob_part.content = blob_chunk.content AND blob <> -?1)",
			"iit", blob, key->container, key->name, key->len);

	if (rc == 0)
		rc = db_run(conn, e, "DELETE FROM blob_part WHERE blob = -?1", "i", blob);
	if (rc == 0)
		rc = db_run(conn, e, "DELETE FROM blob_block WHERE container = ? AND name = ?",
			    "it", key->container, key->name, key->len);
	return rc;
}

int blob_store_put(sqlite3 *conn, const struct blob_key *key, const void *data, size_t len,
		   struct blob *blob, struct err *e)
{
	int64_t content = 0;
	int rc;

	blob->size = len;
	rc = replace_row(conn, key, blob, e);
	if (rc == 0 && len > 0) {
		rc = add_content(conn, data, len, &content, e);
		if (rc == 0)
			rc = db_run(conn, e,
				    "INSERT INTO blob_part (blob, start, size, content)"
				    " VALUES (?, 0, ?, ?)",
				    "iii", blob->id, (int64_t)len, content);
	}
	return rc ? rc : sweep(conn, key, blob->id, e);
}

struct part {
	int64_t start, size, content;
};

/* The blob's last part: 1, 0 when it is empty, or a negative errno. */
static int last_part(sqlite3 *conn, int64_t blob, struct part *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = db_query(conn, e, &stmt,
			  "SELECT start, size, content FROM blob_part WHERE blob = ?"
			  " ORDER BY start DESC LIMIT 1",
			  "i", blob);

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc == 1)
		*out = (struct part){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
				     sqlite3_column_int64(stmt, 2)};
	return rc;
}

/* A copy of the blob that shares the content takes no notice: its part is as long as it was. */
static int grow_part(sqlite3 *conn, int64_t blob, const struct part *part, const void *data,
		     size_t len, struct err *e)
{
	int rc = db_run(conn, e,
			"UPDATE blob_chunk SET data = CAST(data || ? AS BLOB)"
			" WHERE content = ? AND no = 0",
			"ti", (const char *)data, len, part->content);

	return rc ? rc
		  : db_run(conn, e, "UPDATE blob_part SET size = ? WHERE blob = ? AND start = ?",
			   "iii", part->size + (int64_t)len, blob, part->start);
}

static int add_behind(sqlite3 *conn, const struct blob *blob, const void *data, size_t len,
		      struct err *e)
{
	struct part part = {0};
	int64_t content = 0;
	int rc = last_part(conn, blob->id, &part, e);

	if (rc < 0)
		return rc;
	if (rc == 1 && part.size + (int64_t)len <= APPEND_PIECE)
		return grow_part(conn, blob->id, &part, data, len, e);
	rc = add_content(conn, data, len, &content, e);
	return rc ? rc
		  : db_run(conn, e,
			   "INSERT INTO blob_part (blob, start, size, content) VALUES (?, ?, ?, ?)",
			   "iiii", blob->id, (int64_t)blob->size, (int64_t)len, content);
}

int blob_store_append(sqlite3 *conn, const struct blob_key *key, const void *data, size_t len,
		      struct blob *blob, struct err *e)
{
	int64_t now = clock_wall();
	struct blob old = {0};
	int rc = blob_store_find(conn, key, &old, e);

	if (rc == -ENOENT)
		return blob_store_put(conn, key, data, len, blob, e);
	if (rc)
		return rc;
	if (len > 0)
		rc = add_behind(conn, &old, data, len, e);
	if (rc == 0)
		rc = db_run(conn, e,
			    "UPDATE blob SET size = ?, modified = ?, etag = max(?, etag + 1)"
			    " WHERE id = ?",
			    "iiii", (int64_t)(old.size + len), now, etag_at(now), old.id);
	return rc ? rc : blob_store_find(conn, key, blob, e);
}

int blob_store_copy(sqlite3 *conn, const struct blob_key *key, int64_t source, struct blob *blob,
		    struct err *e)
{
	int rc = replace_row(conn, key, blob, e);

	if (rc)
		return rc;
	if (source == blob->id)
		source = -source; /* where its own parts are now */
	rc = db_run(conn, e,
		    "INSERT INTO blob_part (blob, start, size, block, content)"
		    " SELECT ?, start, size, NULL, content FROM blob_part WHERE blob = ?",
		    "ii", blob->id, source);
	return rc ? rc : sweep(conn, key, blob->id, e);
}

int blob_store_set_metadata(sqlite3 *conn, const struct blob_key *key, const char *metadata,
			    struct blob *out, struct err *e)
{
	int64_t now = clock_wall();
	int rc = db_run(conn, e,
			"UPDATE blob SET metadata = ?, modified = ?, etag = max(?, etag + 1)"
			" WHERE container = ? AND name = ?",
			"siiit", metadata, now, etag_at(now), key->container, key->name, key->len);

	return rc ? rc : blob_store_find(conn, key, out, e);
}

int blob_store_delete(sqlite3 *conn, const struct blob_key *key, struct err *e)
{
	struct blob blob = {0};
	int rc = blob_store_find(conn, key, &blob, e);

	if (rc)
		return rc;
	rc = db_run(conn, e, "UPDATE blob_part SET blob = -blob WHERE blob = ?", "i", blob.id);
	if (rc == 0)
		rc = sweep(conn, key, blob.id, e);
	return rc ? rc : db_run(conn, e, "DELETE FROM blob WHERE id = ?", "i", blob.id);
}

static int check_block(sqlite3 *conn, const struct blob_key *key, const char *id, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int64_t count;
	int rc = db_query(conn, e, &stmt,
			  "SELECT count(*), max(length(block)) FROM blob_block"
			  " WHERE container = ? AND name = ?",
			  "it", key->container, key->name, key->len);

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc <= 0)
		return rc;
	count = sqlite3_column_int64(stmt, 0);
	if (count >= UNCOMMITTED_MAX)
		return err_set(e, -E2BIG, "the blob has too many uncommitted blocks");
	if (count > 0 && sqlite3_column_int64(stmt, 1) != (int64_t)strlen(id))
		return err_set(e, -EINVAL, "the ids of a blob's blocks must be of one length");
	return 0;
}

int blob_store_put_block(sqlite3 *conn, const struct blob_key *key, const char *id,
			 const void *data, size_t len, struct err *e)
{
	int64_t content = 0;
	int rc = check_block(conn, key, id, e);

	if (rc == 0)
		rc = db_run(conn, e,
			    "DELETE FROM blob_chunk WHERE content IN (SELECT content FROM"
			    " blob_block WHERE container = ? AND name = ? AND block = ?)",
			    "its", key->container, key->name, key->len, id);
	if (rc == 0)
		rc = add_content(conn, data, len, &content, e);
	if (rc == 0)
		rc = db_run(conn, e,
			    "INSERT OR REPLACE INTO blob_block"
			    " (container, name, block, size, content) VALUES (?, ?, ?, ?, ?)",
			    "itsii", key->container, key->name, key->len, id, (int64_t)len,
			    content);
	return rc;
}

/* Uncommitted blocks rank 0 and committed ones 1, so that the first row is the latest. */
static const char find_block[] = "SELECT content, size, 0 AS rank FROM blob_block"
				 " WHERE ?1 <> 1 AND container = ?2 AND name = ?3 AND block = ?4"
				 " UNION ALL "
				 "SELECT content, size, 1 FROM blob_part"
				 " WHERE ?1 <> 2 AND blob = -?5 AND block = ?4"
				 " ORDER BY rank LIMIT 1";
_Static_assert(BLOCK_COMMITTED == 1 && BLOCK_UNCOMMITTED == 2, "find_block names them");

static int add_part(sqlite3 *conn, const struct blob_key *key, const struct block_ref *ref,
		    struct blob *blob, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int64_t content, size;
	int rc = db_query(conn, e, &stmt, find_block, "iitsi", (int64_t)ref->from, key->container,
			  key->name, key->len, ref->id, blob->id);

	if (rc == 0)
		rc = db_step(stmt, e);
	if (rc == 0)
		return err_set(e, -EINVAL, "a block of the list is not there");
	if (rc < 0)
		return rc;
	content = sqlite3_column_int64(stmt, 0);
	size = sqlite3_column_int64(stmt, 1);
	rc = db_run(conn, e,
		    "INSERT INTO blob_part (blob, start, size, block, content)"
		    " VALUES (?, ?, ?, ?, ?)",
		    "iiisi", blob->id, (int64_t)blob->size, size, ref->id, content);
	blob->size += (uint64_t)size;
	return rc;
}

int blob_store_commit(sqlite3 *conn, const struct blob_key *key, const struct block_ref *refs,
		      size_t n, struct blob *blob, struct err *e)
{
	size_t i;
	int rc;

	blob->size = 0;
	rc = replace_row(conn, key, blob, e);
	for (i = 0; i < n && rc == 0; i++)
		rc = add_part(conn, key, &refs[i], blob, e);
	if (rc == 0)
		rc = db_run(conn, e, "UPDATE blob SET size = ? WHERE id = ?", "ii",
			    (int64_t)blob->size, blob->id);
	return rc ? rc : sweep(conn, key, blob->id, e);
}

int blob_scan_open(sqlite3 *conn, int64_t container, struct blob_scan *scan, struct err *e)
{
	memset(scan, 0, sizeof(*scan));
	return db_query(conn, e, &scan->stmt,
			"SELECT " BLOB_COLUMNS " FROM blob WHERE container = ? AND name >= ?"
			" ORDER BY name",
			"it", container, "", (size_t)0);
}

int blob_scan_seek(struct blob_scan *scan, const char *from, size_t from_len, struct err *e)
{
	sqlite3_reset(scan->stmt);
	if (sqlite3_bind_text64(scan->stmt, 2, from_len ? from : "", from_len, SQLITE_TRANSIENT,
				SQLITE_UTF8))
		return db_error(sqlite3_db_handle(scan->stmt), e, "listing blobs");
	return 0;
}

int blob_scan_next(struct blob_scan *scan, struct blob *out, struct err *e)
{
	int rc = db_step(scan->stmt, e);

	if (rc == 0)
		return -ENOENT;
	if (rc < 0)
		return rc;
	read_blob(scan->stmt, out);
	scan->name = (const char *)sqlite3_column_text(scan->stmt, 12);
	scan->len = (size_t)sqlite3_column_bytes(scan->stmt, 12);
	return scan->name ? 0 : err_set(e, -EIO, "a blob of the store has no name");
}

void blob_scan_close(struct blob_scan *scan)
{
	sqlite3_finalize(scan->stmt);
	scan->stmt = NULL;
}
