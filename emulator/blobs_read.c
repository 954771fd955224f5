/* Get Blob and Get Blob Properties. */
#include "emulator/blobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "client/base64.h"
#include "emulator/blob_auth.h"
#include "emulator/blob_date.h"

enum { RANGE_MD5_MAX = 4 * 1024 * 1024 }; /* the largest range that an MD5 is given for */

struct range {
	bool given;
	uint64_t start;
	uint64_t end; /* the byte behind the last */
};

static bool parse_number(const char **p, uint64_t *out)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*out = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0;
}

/*
 * "bytes=a-b" or "bytes=a-", which is all that Azure knows; anything else is no range, as HTTP
 * wants it. False when the range begins behind the end.
 */
static bool parse_range(const struct emu_request *r, uint64_t size, struct range *out)
{
	const char *text = emu_header(r, "x-ms-range");
	uint64_t last = UINT64_MAX;

	*out = (struct range){.end = size};
	if (!text)
		text = emu_header(r, "Range");
	if (!text || strncasecmp(text, "bytes=", 6) != 0)
		return true;
	text += 6;
	if (!parse_number(&text, &out->start) || *text++ != '-')
		goto none;
	if (*text && (!parse_number(&text, &last) || *text || last < out->start))
		goto none;
	if (out->start >= size)
		return false;
	out->given = true;
	out->end = last < size ? last + 1 : size;
	return true;
none:
	out->start = 0;
	return true;
}

static void reply_optional(struct emu_reply *reply, const char *name, const char *value)
{
	if (value[0])
		emu_reply_header(reply, name, "%s", value);
}

static void reply_properties(struct emu_reply *reply, const struct blob *blob,
			     const struct range *range)
{
	char created[BLOB_DATE_SIZE];

	blob_date_format(blob->created, created);
	snprintf(reply->content_type, sizeof(reply->content_type), "%s", blob->content_type);
	blobs_reply_stamp(reply, blob->etag, blob->modified);
	emu_reply_header(reply, "Accept-Ranges", "bytes");
	/* Content-MD5 is of what is sent: with a range the whole blob's goes by another name. */
	reply_optional(reply, range->given ? "x-ms-blob-content-md5" : "Content-MD5", blob->md5);
	reply_optional(reply, "Content-Encoding", blob->content_encoding);
	reply_optional(reply, "Content-Language", blob->content_language);
	reply_optional(reply, "Content-Disposition", blob->content_disposition);
	reply_optional(reply, "Cache-Control", blob->cache_control);
	emu_reply_header(reply, "x-ms-creation-time", "%s", created);
	emu_reply_header(reply, "x-ms-blob-type", "BlockBlob");
	emu_reply_header(reply, "x-ms-access-tier", "Hot");
	emu_reply_header(reply, "x-ms-access-tier-inferred", "true");
	emu_reply_header(reply, "x-ms-lease-state", "available");
	emu_reply_header(reply, "x-ms-lease-status", "unlocked");
	emu_reply_header(reply, "x-ms-server-encrypted", "true");
	blobs_reply_metadata(reply, blob->metadata);
	if (range->given)
		emu_reply_header(reply, "Content-Range", "bytes %llu-%llu/%llu",
				 (unsigned long long)range->start,
				 (unsigned long long)range->end - 1,
				 (unsigned long long)blob->size);
}

/* x-ms-range-get-content-md5: true asks for the MD5 of the range. False: refused. */
static bool reply_range_md5(const struct blob_request *req, const struct range *range)
{
	const char *wanted = emu_header(req->http, "x-ms-range-get-content-md5");
	const struct buf *body = &req->reply->body;
	unsigned char md5[EVP_MAX_MD_SIZE];
	char text[BASE64_SIZE(EVP_MAX_MD_SIZE)];
	unsigned int len;

	if (!wanted || strcasecmp(wanted, "true") != 0)
		return true;
	if (!range->given || body->len > RANGE_MD5_MAX) {
		blobs_reply_error(req, 400, "InvalidHeaderValue",
				  "An MD5 is given for a range of at most 4 MiB.");
		return false;
	}
	if (EVP_Digest(buf_str(body), body->len, md5, &len, EVP_md5(), NULL) != 1) {
		blobs_reply_error(req, 500, "InternalError", "The MD5 could not be computed.");
		return false;
	}
	base64_encode(md5, len, text);
	emu_reply_header(req->reply, "Content-MD5", "%s", text);
	return true;
}

static void send_blob(const struct blob_request *req, sqlite3 *conn, const struct blob *blob)
{
	struct emu_reply *reply = req->reply;
	struct err e = ERR_INIT;
	struct range range;
	int rc;

	if (!parse_range(req->http, blob->size, &range)) {
		blobs_reply_error(
			req, 416, "InvalidRange",
			"The range specified is invalid for the current size of the resource.");
		emu_reply_header(reply, "Content-Range", "bytes */%llu",
				 (unsigned long long)blob->size);
		return;
	}
	reply->content_length = range.end - range.start;
	if (range.given)
		reply->status = 206;
	reply_properties(reply, blob, &range);
	if (reply->head_only)
		return;
	if (reply->content_length > EMU_BODY_MAX) {
		blobs_reply_error(
			req, 413, "RequestBodyTooLarge",
			"The blob is too large for one answer of this service: ask for ranges.");
		return;
	}
	rc = blob_store_read(conn, blob->id, range.start, (size_t)reply->content_length,
			     &reply->body, &e);
	if (rc)
		blobs_store_error(req, rc, &e);
	else
		(void)reply_range_md5(req, &range);
}

void blobs_get(const struct blob_request *req)
{
	struct err e = ERR_INIT;
	struct container container;
	struct blob_key key;
	struct blob blob;
	sqlite3 *conn;
	int rc;

	if (!blobs_allowed(req, BLOB_READ))
		return;
	conn = blobs_read_begin(req, &container);
	if (!conn)
		return;
	key = (struct blob_key){container.id, req->name, req->name_len};
	rc = blob_store_find(conn, &key, &blob, &e);
	if (rc == -ENOENT)
		blobs_reply_error(req, 404, "BlobNotFound", "The specified blob does not exist.");
	else if (rc)
		blobs_store_error(req, rc, &e);
	else if (blobs_conditions(req, &blob, false))
		send_blob(req, conn, &blob);
	blobs_read_end(req, conn);
}
