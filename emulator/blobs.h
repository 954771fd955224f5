/*
 * blobs - what the files of the Blob Storage side share: one request, and answers to it.
 *
 * blobs.c parses and routes, blobs_read.c, blobs_write.c and blobs_copy.c are the calls on blobs,
 * blobs_list.c the list of a container; blob_auth.c says what a request may do, blob_store.c holds
 * the SQL.
 */
#ifndef MLENVFS_EMULATOR_BLOBS_H
#define MLENVFS_EMULATOR_BLOBS_H

#include <stdbool.h>
#include <stddef.h>

#include "emulator/blob_store.h"
#include "emulator/emu_int.h"

enum { BLOB_NAME_MAX = 4096 }; /* 1024 characters of at most 4 bytes */

struct blob_request {
	struct emu *emu;
	const struct emu_request *http;
	struct emu_reply *reply;
	char container[64];
	const char *name; /* percent-decoded bytes, without NUL among them; NULL: the container
			     itself */
	size_t name_len;
	unsigned int rights; /* enum blob_right bits */
};

/* Replaces whatever the reply held with an error; HEAD gets it without a body. */
void blobs_reply_error(const struct blob_request *req, int status, const char *code,
		       const char *message);

/* The error that a failure of the store is to the client. */
void blobs_store_error(const struct blob_request *req, int rc, const struct err *e);

/* False, with the error in the reply, when the request has not that right. */
bool blobs_allowed(const struct blob_request *req, unsigned int right);

/* Etag, quoted, and Last-Modified. */
void blobs_reply_stamp(struct emu_reply *reply, int64_t etag, int64_t modified);

/* x-ms-meta-* headers from stored metadata. */
void blobs_reply_metadata(struct emu_reply *reply, const char *metadata);

/* Walks stored metadata: the next line at *at, as name and value. False at its end. */
struct blob_meta {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};
bool blobs_meta_next(const char **at, struct blob_meta *out);

/*
 * A connection with a read transaction begun, so that what is read belongs together, and the
 * container; NULL with the error in the reply. End it with blobs_read_end().
 */
sqlite3 *blobs_read_begin(const struct blob_request *req, struct container *container);
void blobs_read_end(const struct blob_request *req, sqlite3 *conn);

/*
 * The conditional headers, for a blob (NULL: there is none). True when the request may go on; else
 * the reply is 304 or 412, or 409 for a write that must not replace anything.
 */
bool blobs_conditions(const struct blob_request *req, const struct blob *blob, bool write);

/* The same for the source of a copy (x-ms-source-if-...): false is 412. */
bool blobs_source_conditions(const struct blob_request *req, const struct blob *source);

/*
 * Splits the request's path into container and blob, whose name goes into name (of at most
 * BLOB_NAME_MAX bytes) and is borrowed from it. False, with the error in the reply.
 */
bool blobs_parse_path(struct blob_request *req, struct buf *name);

/* ---- blobs_write.c: what all writes have in common ---- */

/* One write: the transaction, and what it finds. */
struct blob_write {
	sqlite3 *conn;
	struct blob_key key;
	struct blob old;
	bool exists;
};

/* False, with the error in the reply and no transaction left, when the write can't begin. */
bool blobs_write_begin(const struct blob_request *req, struct blob_write *w);

/* May the blob be written, given what is there? Ends the transaction when not. */
bool blobs_write_allowed(const struct blob_request *req, const struct blob_write *w);

/* Ends the transaction; true when it is stored, else the reply is an error. */
bool blobs_write_end(const struct blob_request *req, int rc, struct err *e);

void blobs_reply_written(const struct blob_request *req, int status, const struct blob *blob);

/*
 * The properties and metadata that a Put sets. base: a blob that has those which the request does
 * not name, NULL: none has. with_plain: plain headers count too, as for Put Blob. False, with the
 * error in the reply.
 */
bool blobs_read_properties(const struct blob_request *req, const struct blob *base, bool with_plain,
			   struct blob *out);

/* Compares a checksum that was sent (base64; NULL: none) with the 16 bytes at md5. */
bool blobs_md5_matches(const struct blob_request *req, const char *sent, const unsigned char *md5);

/* The calls. Each fills the reply completely. */
void blobs_get(const struct blob_request *req); /* HEAD too */
void blobs_list(const struct blob_request *req);
void blobs_put(const struct blob_request *req);
void blobs_put_from_url(const struct blob_request *req);
void blobs_put_block(const struct blob_request *req);
void blobs_put_block_list(const struct blob_request *req);
void blobs_set_metadata(const struct blob_request *req);
void blobs_delete(const struct blob_request *req);

/*
 * Reads the body of Put Block List. Gives the blocks in order (free() *refs). -EBADMSG when it is
 * not such a list, -E2BIG for too many blocks, -ENOMEM.
 */
int blobs_blocklist_parse(const char *xml, size_t len, struct block_ref **refs, size_t *n,
			  struct err *e);

#endif
