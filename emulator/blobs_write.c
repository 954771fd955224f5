/* The calls that change blobs: each is one transaction, and one that fails changes nothing. */
#include "emulator/blobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "client/base64.h"
#include "client/cleanup.h"
#include "emulator/blob_auth.h"
#include "emulator/db.h"

enum {
	META_COUNT_MAX = 32, /* with the others they must fit into one reply's headers */
	META_NAME_MAX = 53,  /* "x-ms-meta-" and the name must fit into one of its names */
	META_VALUE_MAX = 1024,
	MD5_BYTES = 16,
	BLOCK_ID_BYTES_MAX = 64,
};

#define META_PREFIX "x-ms-meta-"

static void bad_request(const struct blob_request *req, const char *code, const char *message)
{
	blobs_reply_error(req, 400, code, message);
}

bool blobs_write_begin(const struct blob_request *req, struct blob_write *w)
{
	struct err e = ERR_INIT;
	struct container container;
	int rc;

	w->conn = db_begin(req->emu->db, &e);
	if (!w->conn) {
		blobs_store_error(req, e.code ? e.code : -EIO, &e);
		return false;
	}
	rc = blob_store_find_container(w->conn, req->container, &container, &e);
	if (rc == -ENOENT) {
		blobs_reply_error(req, 404, "ContainerNotFound",
				  "The specified container does not exist.");
		goto fail;
	}
	if (rc)
		goto store_error;
	w->key = (struct blob_key){container.id, req->name, req->name_len};
	rc = blob_store_find(w->conn, &w->key, &w->old, &e);
	if (rc && rc != -ENOENT)
		goto store_error;
	w->exists = rc == 0;
	return true;
store_error:
	blobs_store_error(req, rc, &e);
fail:
	db_rollback(req->emu->db);
	return false;
}

bool blobs_write_end(const struct blob_request *req, int rc, struct err *e)
{
	if (rc == 0)
		rc = db_commit(req->emu->db, e);
	else
		db_rollback(req->emu->db);
	if (rc)
		blobs_store_error(req, rc, e);
	return rc == 0;
}

bool blobs_write_allowed(const struct blob_request *req, const struct blob_write *w)
{
	/* The right to create is not one to replace. */
	unsigned int right = w->exists ? BLOB_WRITE : BLOB_WRITE | BLOB_CREATE;

	if (blobs_allowed(req, right) && blobs_conditions(req, w->exists ? &w->old : NULL, true))
		return true;
	db_rollback(req->emu->db);
	return false;
}

void blobs_reply_written(const struct blob_request *req, int status, const struct blob *blob)
{
	req->reply->status = status;
	blobs_reply_stamp(req->reply, blob->etag, blob->modified);
	emu_reply_header(req->reply, "x-ms-request-server-encrypted", "true");
}

/* Printable ASCII: what both a header and XML can hold. */
static bool is_meta_value(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 || (unsigned char)*value >= 0x7f)
			return false;
	return true;
}

/* An identifier, as Azure wants it; so it is an XML name too. */
static bool is_meta_name(const char *name)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
	static const char digits[] = "0123456789";

	if (!*name || !strchr(first, *name))
		return false;
	for (name++; *name; name++)
		if (!strchr(first, *name) && !strchr(digits, *name))
			return false;
	return true;
}

/* Leaves out as it is when the request has no metadata. */
static bool read_metadata(const struct blob_request *req, char out[BLOB_META_MAX])
{
	const struct emu_request *r = req->http;
	_cleanup_buf_ struct buf text = BUF_INIT(BLOB_META_MAX - 1);
	size_t i, count = 0;

	for (i = 0; i < r->n_headers; i++) {
		const char *name = r->headers[i].key, *value = r->headers[i].value;

		if (strncasecmp(name, META_PREFIX, strlen(META_PREFIX)) != 0)
			continue;
		name += strlen(META_PREFIX);
		if (!value || !is_meta_name(name) || !is_meta_value(value)) {
			bad_request(req, "InvalidMetadata",
				    "The metadata specified is invalid. It has characters that are "
				    "not permitted.");
			return false;
		}
		if (++count > META_COUNT_MAX || strlen(name) > META_NAME_MAX ||
		    strlen(value) > META_VALUE_MAX)
			break;
		(void)buf_addf(&text, "%s:%s\n", name, value);
	}
	if (i < r->n_headers || buf_error(&text)) {
		bad_request(req, "MetadataTooLarge",
			    "The size of the specified metadata exceeds the limits.");
		return false;
	}
	if (count)
		memcpy(out, buf_str(&text), text.len + 1);
	return true;
}

/* Copies a header, under its x-ms-blob- name or, with plain, its own. False: too long. */
static bool read_property(const struct emu_request *r, const char *ms_name, const char *plain,
			  char *out, size_t size)
{
	const char *value = emu_header(r, ms_name);

	if (!value && plain)
		value = emu_header(r, plain);
	if (!value)
		return true;
	if (strlen(value) >= size)
		return false;
	memcpy(out, value, strlen(value) + 1);
	return true;
}

bool blobs_read_properties(const struct blob_request *req, const struct blob *base, bool with_plain,
			   struct blob *out)
{
	const struct emu_request *r = req->http;
	bool ok = true;

	*out = base ? *base : (struct blob){0};
	ok &= read_property(r, "x-ms-blob-content-type", with_plain ? "Content-Type" : NULL,
			    out->content_type, sizeof(out->content_type));
	ok &= read_property(r, "x-ms-blob-content-encoding", with_plain ? "Content-Encoding" : NULL,
			    out->content_encoding, sizeof(out->content_encoding));
	ok &= read_property(r, "x-ms-blob-content-language", with_plain ? "Content-Language" : NULL,
			    out->content_language, sizeof(out->content_language));
	ok &= read_property(r, "x-ms-blob-content-disposition", NULL, out->content_disposition,
			    sizeof(out->content_disposition));
	ok &= read_property(r, "x-ms-blob-cache-control", with_plain ? "Cache-Control" : NULL,
			    out->cache_control, sizeof(out->cache_control));
	if (!ok) {
		bad_request(req, "InvalidHeaderValue",
			    "The value for one of the HTTP headers is too long.");
		return false;
	}
	if (!out->content_type[0])
		snprintf(out->content_type, sizeof(out->content_type), "application/octet-stream");
	return read_metadata(req, out->metadata);
}

bool blobs_md5_matches(const struct blob_request *req, const char *sent, const unsigned char *md5)
{
	unsigned char raw[MD5_BYTES];

	if (!sent)
		return true;
	if (base64_decode(sent, strlen(sent), raw, sizeof(raw)) != MD5_BYTES) {
		bad_request(req, "InvalidMd5",
			    "The MD5 value specified in the request is invalid. It must be 128 "
			    "bits and base64-encoded.");
		return false;
	}
	if (memcmp(raw, md5, MD5_BYTES) == 0)
		return true;
	bad_request(req, "Md5Mismatch",
		    "The MD5 value specified in the request did not match with the MD5 value "
		    "calculated by the server.");
	return false;
}

/* The body's MD5, in base64, checked against those that were sent. */
static bool body_md5(const struct blob_request *req, char out[BLOB_MD5_SIZE])
{
	unsigned char md5[EVP_MAX_MD_SIZE];

	if (EVP_Digest(req->http->body, req->http->body_len, md5, NULL, EVP_md5(), NULL) != 1) {
		blobs_reply_error(req, 500, "InternalError", "The MD5 could not be computed.");
		return false;
	}
	base64_encode(md5, MD5_BYTES, out);
	return blobs_md5_matches(req, emu_header(req->http, "Content-MD5"), md5);
}

/* Put Blob may name the blob's MD5 a second time, as a property. */
static bool given_md5_matches(const struct blob_request *req, const char *md5)
{
	const char *sent = emu_header(req->http, "x-ms-blob-content-md5");
	unsigned char raw[MD5_BYTES];

	(void)base64_decode(md5, strlen(md5), raw, sizeof(raw));
	return blobs_md5_matches(req, sent, raw);
}

void blobs_put(const struct blob_request *req)
{
	const char *type = emu_header(req->http, "x-ms-blob-type");
	struct err e = ERR_INIT;
	struct blob_write w;
	struct blob blob;
	int rc;

	if (!type && emu_header(req->http, "x-ms-copy-source")) {
		bad_request(req, "UnsupportedHeader",
			    "Blobs are copied with Put Blob From URL only, not with Copy Blob.");
		return;
	}
	if (!type) {
		bad_request(req, "MissingRequiredHeader",
			    "The header x-ms-blob-type is mandatory for this request.");
		return;
	}
	if (strcmp(type, "BlockBlob") != 0) {
		bad_request(req, "InvalidHeaderValue", "Only block blobs are supported.");
		return;
	}
	if (emu_header(req->http, "x-ms-copy-source")) {
		blobs_put_from_url(req);
		return;
	}
	if (!blobs_read_properties(req, NULL, true, &blob) || !body_md5(req, blob.md5) ||
	    !given_md5_matches(req, blob.md5) || !blobs_write_begin(req, &w) ||
	    !blobs_write_allowed(req, &w))
		return;
	rc = blob_store_put(w.conn, &w.key, req->http->body, req->http->body_len, &blob, &e);
	if (!blobs_write_end(req, rc, &e))
		return;
	blobs_reply_written(req, 201, &blob);
	emu_reply_header(req->reply, "Content-MD5", "%s", blob.md5);
}

/* The id of a block, with the '+' back that an unencoded query made a space. False: not one. */
static bool read_block_id(const struct blob_request *req, char out[BLOCK_ID_SIZE])
{
	const char *id = emu_param(req->http, "blockid");
	unsigned char raw[BLOCK_ID_BYTES_MAX];
	size_t i, len = id ? strlen(id) : 0;

	if (!id) {
		bad_request(req, "MissingRequiredQueryParameter",
			    "The query parameter blockid is mandatory for this request.");
		return false;
	}
	if (len < BLOCK_ID_SIZE) {
		for (i = 0; i <= len; i++)
			out[i] = id[i] == ' ' ? '+' : id[i];
		if (base64_decode(out, len, raw, sizeof(raw)) > 0)
			return true;
	}
	bad_request(req, "InvalidQueryParameterValue",
		    "The value of blockid must be the base64 of at most 64 bytes.");
	return false;
}

void blobs_put_block(const struct blob_request *req)
{
	char id[BLOCK_ID_SIZE], md5[BLOB_MD5_SIZE];
	struct err e = ERR_INIT;
	struct blob_write w;
	int rc;

	if (!blobs_allowed(req, BLOB_WRITE | BLOB_CREATE) || !read_block_id(req, id))
		return;
	if (req->http->body_len == 0) {
		bad_request(req, "InvalidHeaderValue", "A block must not be empty.");
		return;
	}
	if (!body_md5(req, md5) || !blobs_write_begin(req, &w))
		return;
	rc = blob_store_put_block(w.conn, &w.key, id, req->http->body, req->http->body_len, &e);
	if (rc == -EINVAL || rc == -E2BIG) {
		db_rollback(req->emu->db);
		if (rc == -EINVAL)
			bad_request(req, "InvalidBlobOrBlock",
				    "The specified blob or block content is invalid: the ids of "
				    "all blocks of a blob must be of one length.");
		else
			blobs_reply_error(
				req, 409, "BlockCountExceedsLimit",
				"The uncommitted block count cannot exceed 100,000 blocks.");
		return;
	}
	if (!blobs_write_end(req, rc, &e))
		return;
	req->reply->status = 201;
	emu_reply_header(req->reply, "Content-MD5", "%s", md5);
	emu_reply_header(req->reply, "x-ms-request-server-encrypted", "true");
}

static bool read_block_list(const struct blob_request *req, struct block_ref **refs, size_t *n)
{
	struct err e = ERR_INIT;
	int rc = blobs_blocklist_parse(req->http->body, req->http->body_len, refs, n, &e);

	if (rc == -E2BIG)
		bad_request(req, "BlockListTooLong",
			    "The block list may not contain more than 50,000 blocks.");
	else if (rc == -EBADMSG)
		bad_request(req, "InvalidXmlDocument", "XML specified is not a list of blocks.");
	else if (rc)
		blobs_store_error(req, rc, &e);
	return rc == 0;
}

/* The whole blob's MD5 can't be computed from blocks: it is what the client says it is. */
static bool read_given_md5(const struct blob_request *req, char out[BLOB_MD5_SIZE])
{
	const char *sent = emu_header(req->http, "x-ms-blob-content-md5");
	unsigned char raw[MD5_BYTES];

	if (!sent)
		return true;
	if (base64_decode(sent, strlen(sent), raw, sizeof(raw)) != MD5_BYTES)
		return blobs_md5_matches(req, sent, raw);
	base64_encode(raw, MD5_BYTES, out);
	return true;
}

void blobs_put_block_list(const struct blob_request *req)
{
	_cleanup_free_ struct block_ref *refs = NULL;
	char md5[BLOB_MD5_SIZE];
	struct err e = ERR_INIT;
	struct blob_write w;
	struct blob blob;
	size_t n;
	int rc;

	if (!blobs_allowed(req, BLOB_WRITE | BLOB_CREATE) ||
	    !blobs_read_properties(req, NULL, false, &blob) || !read_given_md5(req, blob.md5) ||
	    !body_md5(req, md5) || !read_block_list(req, &refs, &n) ||
	    !blobs_write_begin(req, &w) || !blobs_write_allowed(req, &w))
		return;
	rc = blob_store_commit(w.conn, &w.key, refs, n, &blob, &e);
	if (rc == -EINVAL) {
		db_rollback(req->emu->db);
		bad_request(req, "InvalidBlockList", "The specified block list is invalid.");
		return;
	}
	if (!blobs_write_end(req, rc, &e))
		return;
	blobs_reply_written(req, 201, &blob);
	emu_reply_header(req->reply, "Content-MD5", "%s", md5);
}

static void blob_missing(const struct blob_request *req)
{
	db_rollback(req->emu->db);
	blobs_reply_error(req, 404, "BlobNotFound", "The specified blob does not exist.");
}

void blobs_set_metadata(const struct blob_request *req)
{
	char metadata[BLOB_META_MAX] = "";
	struct err e = ERR_INIT;
	struct blob_write w;
	struct blob blob;
	int rc;

	if (!blobs_allowed(req, BLOB_WRITE) || !read_metadata(req, metadata) ||
	    !blobs_write_begin(req, &w))
		return;
	if (!w.exists) {
		blob_missing(req);
		return;
	}
	if (!blobs_write_allowed(req, &w))
		return;
	rc = blob_store_set_metadata(w.conn, &w.key, metadata, &blob, &e);
	if (blobs_write_end(req, rc, &e))
		blobs_reply_written(req, 200, &blob);
}

void blobs_delete(const struct blob_request *req)
{
	struct err e = ERR_INIT;
	struct blob_write w;
	int rc;

	if (!blobs_allowed(req, BLOB_DELETE) || !blobs_write_begin(req, &w))
		return;
	if (!w.exists) {
		blob_missing(req);
		return;
	}
	if (!blobs_conditions(req, &w.old, true)) {
		db_rollback(req->emu->db);
		return;
	}
	rc = blob_store_delete(w.conn, &w.key, &e);
	if (!blobs_write_end(req, rc, &e))
		return;
	req->reply->status = 202;
	emu_reply_header(req->reply, "x-ms-delete-type-permanent", "true");
}
