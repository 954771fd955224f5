/* Put Blob From URL: a blob made from another one of this account, whose bytes they then share. */
#include "emulator/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "client/base64.h"
#include "client/cleanup.h"
#include "emulator/blob_auth.h"
#include "emulator/db.h"
#include "emulator/route.h"

enum {
	SOURCE_URL_MAX = 2048, /* as in Azure */
	MD5_BYTES = 16,
};

/* The source, asked for as if it were to be read. Made by source_parse(); see source_clear(). */
struct source {
	struct blob_request req;
	struct emu_request http;
	struct kv params[QUERY_PARAMS_MAX];
	struct kv authorization;
	char *path;  /* of the URL, without the query */
	char *query; /* what params point into */
	struct buf name;
};

static void source_clear(struct source *s)
{
	free(s->path);
	free(s->query);
	buf_free(&s->name);
}
#define _cleanup_source_ __attribute__((cleanup(source_clear)))

static bool bad_source(const struct blob_request *req)
{
	blobs_reply_error(
		req, 400, "InvalidHeaderValue",
		"The value of x-ms-copy-source is not the URL of a blob of this account.");
	return false;
}

static bool cannot_verify(const struct blob_request *req, int status, const char *message)
{
	blobs_reply_error(req, status, "CannotVerifyCopySource", message);
	return false;
}

/* Fills in what the URL asks for. False: it is none of ours. */
static bool source_parse(const struct blob_request *req, struct source *s)
{
	const char *url = emu_header(req->http, "x-ms-copy-source");
	const char *authorization = emu_header(req->http, "x-ms-copy-source-authorization");
	size_t base = strlen(req->http->base_url);

	if (strlen(url) > SOURCE_URL_MAX || strncasecmp(url, req->http->base_url, base) != 0)
		return false;
	url += base;
	s->path = strndup(url, strcspn(url, "?"));
	s->http = (struct emu_request){.method = "GET",
				       .path = s->path,
				       .query = strchr(url, '?') ? strchr(url, '?') + 1 : "",
				       .headers = &s->authorization,
				       .params = s->params,
				       .base_url = req->http->base_url};
	if (authorization) {
		s->authorization = (struct kv){"Authorization", authorization};
		s->http.n_headers = 1;
	}
	if (!s->path || query_split(s->http.query, s->params, &s->http.n_params, &s->query, NULL))
		return false;
	s->req = (struct blob_request){.emu = req->emu, .http = &s->http, .reply = req->reply};
	s->name = (struct buf)BUF_INIT(BLOB_NAME_MAX);
	return blobs_parse_path(&s->req, &s->name) && s->req.name;
}

/* May the one who asks read the source? */
static bool source_allowed(const struct blob_request *req, struct source *s)
{
	struct blob_denial why;

	if (blob_auth(req->emu, &s->http, s->req.container, s->req.name, s->req.name_len,
		      &s->req.rights, &why))
		return cannot_verify(req, why.status, why.message);
	if (!(s->req.rights & BLOB_READ))
		return cannot_verify(req, 403,
				     "This request is not authorized to read the copy's source.");
	return true;
}

static bool source_find(const struct blob_request *req, const struct source *s, sqlite3 *conn,
			struct blob *out)
{
	struct container container;
	struct err e = ERR_INIT;
	int rc = blob_store_find_container(conn, s->req.container, &container, &e);

	if (rc == 0) {
		struct blob_key key = {container.id, s->req.name, s->req.name_len};

		rc = blob_store_find(conn, &key, out, &e);
	}
	if (rc == -ENOENT)
		return cannot_verify(req, 404, "The specified blob does not exist.");
	if (rc)
		blobs_store_error(req, rc, &e);
	return rc == 0;
}

static int feed_bytes(sqlite3 *conn, const struct blob *blob, EVP_MD_CTX *md, struct err *e)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT(BLOB_CHUNK);
	uint64_t at, left;
	int rc = 0;

	for (at = 0; at < blob->size && rc == 0; at += bytes.len) {
		left = blob->size - at;
		buf_reset(&bytes);
		rc = blob_store_read(conn, blob->id, at,
				     left < BLOB_CHUNK ? (size_t)left : BLOB_CHUNK, &bytes, e);
		if (rc == 0 && EVP_DigestUpdate(md, bytes.data, bytes.len) != 1)
			rc = err_set(e, -EIO, "the MD5 could not be computed");
	}
	return rc;
}

/* The MD5 of the blob's bytes: what its properties say may be a client's word only. */
static int compute_md5(sqlite3 *conn, const struct blob *blob, unsigned char md5[EVP_MAX_MD_SIZE],
		       struct err *e)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int rc = md ? 0 : err_set(e, -ENOMEM, "out of memory");

	if (md && EVP_DigestInit_ex(md, EVP_md5(), NULL) != 1)
		rc = err_set(e, -EIO, "the MD5 could not be computed");
	if (rc == 0)
		rc = feed_bytes(conn, blob, md, e);
	if (rc == 0 && EVP_DigestFinal_ex(md, md5, NULL) != 1)
		rc = err_set(e, -EIO, "the MD5 could not be computed");
	EVP_MD_CTX_free(md);
	return rc;
}

/* Checks the source's bytes when an MD5 was sent, which is then known to be theirs. */
static bool source_md5_matches(const struct blob_request *req, sqlite3 *conn, struct blob *source)
{
	const char *sent = emu_header(req->http, "x-ms-source-content-md5");
	unsigned char md5[EVP_MAX_MD_SIZE];
	struct err e = ERR_INIT;
	int rc;

	if (!sent)
		return true;
	rc = compute_md5(conn, source, md5, &e);
	if (rc)
		blobs_store_error(req, rc, &e);
	if (rc || !blobs_md5_matches(req, sent, md5))
		return false;
	base64_encode(md5, MD5_BYTES, source->md5);
	return true;
}

/* What the new blob is to be, apart from its bytes. */
static bool read_copy(const struct blob_request *req, const struct source *s, sqlite3 *conn,
		      struct blob *source, struct blob *out)
{
	const char *take = emu_header(req->http, "x-ms-copy-source-blob-properties");
	bool plain = take && strcasecmp(take, "false") == 0;

	if (!source_find(req, s, conn, source) || !blobs_source_conditions(req, source) ||
	    !source_md5_matches(req, conn, source) ||
	    !blobs_read_properties(req, plain ? NULL : source, false, out))
		return false;
	out->size = source->size;
	memcpy(out->md5, source->md5, sizeof(out->md5));
	return true;
}

void blobs_put_from_url(const struct blob_request *req)
{
	_cleanup_source_ struct source s = {0};
	struct blob source, blob;
	struct err e = ERR_INIT;
	struct blob_write w;
	int rc;

	if (req->http->body_len) {
		blobs_reply_error(req, 400, "InvalidHeaderValue",
				  "A copy's request must have a Content-Length of 0.");
		return;
	}
	if (!source_parse(req, &s)) {
		(void)bad_source(req);
		return;
	}
	if (!source_allowed(req, &s) || !blobs_write_begin(req, &w) ||
	    !blobs_write_allowed(req, &w))
		return;
	if (!read_copy(req, &s, w.conn, &source, &blob)) {
		db_rollback(req->emu->db);
		return;
	}
	rc = blob_store_copy(w.conn, &w.key, source.id, &blob, &e);
	if (!blobs_write_end(req, rc, &e))
		return;
	blobs_reply_written(req, 201, &blob);
	if (blob.md5[0])
		emu_reply_header(req->reply, "Content-MD5", "%s", blob.md5);
}
