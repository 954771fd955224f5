/*
 * blob_store - the SQL of Blob Storage: containers, blobs, blocks, and their bytes.
 *
 * The bytes of a blob are contents in a row ("parts"), one for Put Blob, one a block for Put Block
 * List; a content is stored in chunks of BLOB_CHUNK bytes, one a row, so that a ranged read takes
 * only the rows it needs and committing blocks copies nothing. A copy of a blob has the same
 * contents; they go with the last blob that has them.
 *
 * Every function works in the caller's transaction on the connection that it is given, returns 0
 * or a negative errno (-ENOENT: there is no such thing), and describes it in e.
 */
#ifndef MLENVFS_EMULATOR_BLOB_STORE_H
#define MLENVFS_EMULATOR_BLOB_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "client/buf.h"
#include "client/err.h"

enum {
	BLOB_CHUNK = 1024 * 1024,
	BLOB_META_MAX = 8 * 1024, /* all names and values, as Azure bounds them */
	BLOB_MD5_SIZE = 32,       /* base64 of 16 bytes and NUL, with room */
	BLOB_KEY_SIZE = 128,
};

struct container {
	int64_t id;
	int64_t etag;
	int64_t modified; /* ns since the epoch, here and below */
};

/* A blob as it can be addressed. Names are bytes, compared as bytes; they are never paths. */
struct blob_key {
	int64_t container;
	const char *name;
	size_t len;
};

struct blob {
	int64_t id;
	uint64_t size;
	int64_t etag;
	int64_t created;
	int64_t modified;
	char content_type[64];
	char content_encoding[64];
	char content_language[64];
	char content_disposition[256];
	char cache_control[128];
	char md5[BLOB_MD5_SIZE];      /* base64; "": not known */
	char metadata[BLOB_META_MAX]; /* lines "name:value\n", order kept */
};

/* The account's key, made at the first call. out holds BLOB_KEY_SIZE bytes. Writes. */
int blob_store_make_key(sqlite3 *conn, struct err *e);
int blob_store_key(sqlite3 *conn, char *out, size_t size, struct err *e);

/* -EEXIST when it is there. */
int blob_store_add_container(sqlite3 *conn, const char *name, struct container *out, struct err *e);
int blob_store_find_container(sqlite3 *conn, const char *name, struct container *out,
			      struct err *e);

int blob_store_find(sqlite3 *conn, const struct blob_key *key, struct blob *out, struct err *e);

/* Appends len bytes of the blob from offset; the range must lie within the blob. */
int blob_store_read(sqlite3 *conn, int64_t blob, uint64_t offset, size_t len, struct buf *out,
		    struct err *e);

/*
 * Makes or replaces the blob, with these bytes, and drops its uncommitted blocks. In: what can be
 * set (the content_ fields, cache_control, md5, metadata); out: the rest.
 */
int blob_store_put(sqlite3 *conn, const struct blob_key *key, const void *data, size_t len,
		   struct blob *blob, struct err *e);

/*
 * Puts bytes behind those of the blob, which is made when it is not there, then as for
 * blob_store_put(). Nobody else may write to it. What is there is not moved.
 */
int blob_store_append(sqlite3 *conn, const struct blob_key *key, const void *data, size_t len,
		      struct blob *blob, struct err *e);

/*
 * Makes or replaces the blob, with the bytes of the blob source, which may be the same one. blob as
 * for blob_store_put(), and its size.
 */
int blob_store_copy(sqlite3 *conn, const struct blob_key *key, int64_t source, struct blob *blob,
		    struct err *e);

int blob_store_set_metadata(sqlite3 *conn, const struct blob_key *key, const char *metadata,
			    struct blob *out, struct err *e);

/* The blob with its uncommitted blocks. */
int blob_store_delete(sqlite3 *conn, const struct blob_key *key, struct err *e);

/*
 * Keeps a block until a commit takes it or drops it; one of the same id is replaced. -EINVAL when
 * its id has not the length that the ids of the blob's other uncommitted blocks have; -E2BIG when
 * the blob has too many.
 */
int blob_store_put_block(sqlite3 *conn, const struct blob_key *key, const char *id,
			 const void *data, size_t len, struct err *e);

/* Where a block of a block list is looked for. */
enum block_from { BLOCK_LATEST, BLOCK_COMMITTED, BLOCK_UNCOMMITTED };

enum { BLOCK_ID_SIZE = 92 }; /* base64 of at most 64 bytes, and NUL, with room */

struct block_ref {
	enum block_from from;
	char id[BLOCK_ID_SIZE];
};

/*
 * Makes the blob of these blocks and drops the uncommitted ones that are left over. blob as for
 * blob_store_put(). -EINVAL when a block is not there.
 */
int blob_store_commit(sqlite3 *conn, const struct blob_key *key, const struct block_ref *refs,
		      size_t n, struct blob *blob, struct err *e);

/*
 * Reads blobs of a container in the order of their names, from the first that is not below
 * (from, from_len). Each call fills one; the name is borrowed until the next call. -ENOENT at the
 * end. blob_scan_seek() may be called at any time.
 */
struct blob_scan {
	sqlite3_stmt *stmt;
	const char *name;
	size_t len;
};

int blob_scan_open(sqlite3 *conn, int64_t container, struct blob_scan *scan, struct err *e);
int blob_scan_seek(struct blob_scan *scan, const char *from, size_t from_len, struct err *e);
int blob_scan_next(struct blob_scan *scan, struct blob *out, struct err *e);
void blob_scan_close(struct blob_scan *scan);

#endif
