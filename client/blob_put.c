#include "client/blob_put.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "client/base64.h"
#include "client/blob_copy.h"
#include "client/cleanup.h"
#include "client/log.h"

enum {
	MD5_SIZE = 16,
	MD5_TEXT = BASE64_SIZE(MD5_SIZE),
	BLOCK_ID_SIZE = 32,
	BLOCKS_MAX = 50000, /* of one blob: the service's limit */
	HEADERS_MAX = 8,    /* of our own, of one request */
};

struct file_upload {
	const struct blob_put *put;
	const struct upload_file *file;
	struct buf name;
	char *part; /* blob_put_memory() bytes, and one more */
	EVP_MD_CTX *md5;
	const char *copied; /* MD5 of what a copy must have; NULL: bytes are sent */
};

int blob_put_name(struct buf *name, const char *folder, const struct upload_file *file,
		  struct err *e)
{
	int rc;

	buf_addstr(name, folder);
	rc = buf_addstr(name, file->path);
	return rc ? err_set(e, rc, "%s: the name is too long", file->path) : 0;
}

size_t blob_put_memory(const struct upload_file *file)
{
	return file->size <= BLOB_PART_MAX ? (size_t)file->size : BLOB_PART_MAX;
}

static int read_part(struct file_upload *f, uint64_t offset, size_t len, struct err *e)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(f->file->fd, f->part + have, len - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "reading %s: %s", f->file->path, strerror(errno));
		if (n == 0)
			return err_set(e, -EIO, "%s changed while it was read", f->file->path);
		have += (size_t)n;
	}
	return 0;
}

/* A server that knows no copies may have put the request's own bytes there: none. */
static int check_copied(const struct http_response *r, const char *md5, struct err *e)
{
	const char *made = http_response_header(r, "Content-MD5");

	if (r->status != 201)
		return err_set(e, -EBADMSG, "a copy was answered with status %d", r->status);
	if (made && strcmp(made, md5) != 0)
		return err_set(e, -EIO, "the copy has other bytes");
	return 0;
}

/* Sends one request about the file; *status is the answer's, 0 when there was none. */
static int send(struct file_upload *f, struct blob_request *q, int *status, struct err *e)
{
	const struct blob_upload *u = f->put->upload;
	struct http_response r = {0};
	int rc;

	q->name = f->name.data;
	q->name_len = f->name.len;
	q->max_body = BLOB_SMALL_ANSWER;
	rc = blob_perform(u->http, u->place, u->access, q, f->put->call, &r, e);
	*status = rc ? 0 : r.status;
	if (!rc && http_status_errno(r.status))
		rc = blob_error(u->place, q, &r, e);
	if (!rc && f->copied)
		rc = check_copied(&r, f->copied, e);
	http_response_clear(&r);
	return rc;
}

/*
 * Sends what makes the whole blob. That it is there already (from an upload that broke off) is no
 * error. headers have room for one more.
 */
static int send_blob(struct file_upload *f, struct blob_request *q, struct kv *headers, int *status,
		     struct err *e)
{
	int rc;

	q->headers = headers;
	if (f->put->overwrite)
		return send(f, q, status, e);
	headers[q->n_headers++] = (struct kv){"If-None-Match", "*"};
	rc = send(f, q, status, e);
	if (rc && (*status == 409 || *status == 412)) {
		q->n_headers--;
		err_clear(e);
		rc = send(f, q, status, e);
	}
	return rc;
}

static int no_md5(struct err *e)
{
	return err_set(e, -EIO, "MD5 is not available");
}

static int md5_text(const void *data, size_t len, char out[MD5_TEXT], struct err *e)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n;

	if (!EVP_Digest(data, len, digest, &n, EVP_md5(), NULL) || n != MD5_SIZE)
		return no_md5(e);
	base64_encode(digest, MD5_SIZE, out);
	return 0;
}

static int md5_end(struct file_upload *f, char out[MD5_TEXT], struct err *e)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n;

	if (!EVP_DigestFinal_ex(f->md5, digest, &n) || n != MD5_SIZE)
		return no_md5(e);
	base64_encode(digest, MD5_SIZE, out);
	return 0;
}

/* ---- sending ---- */

static int put_whole(struct file_upload *f, struct err *e)
{
	size_t len = (size_t)f->file->size;
	char md5[MD5_TEXT];
	struct kv headers[HEADERS_MAX] = {{"x-ms-blob-type", "BlockBlob"},
					  {"Content-Type", "application/octet-stream"}};
	struct blob_request q = {.method = "PUT", .n_headers = 2, .body = f->part, .body_len = len};
	int status, rc = read_part(f, 0, len, e);

	if (!rc && len) {
		rc = md5_text(f->part, len, md5, e);
		headers[q.n_headers++] = (struct kv){"Content-MD5", md5};
	}
	return rc ? rc : send_blob(f, &q, headers, &status, e);
}

/* Block ids of one blob must have one length. */
static void block_id(uint64_t n, char out[BASE64_SIZE(BLOCK_ID_SIZE)])
{
	char id[BLOCK_ID_SIZE];

	snprintf(id, sizeof(id), "mlenvfs-%020llu", (unsigned long long)n);
	base64_encode(id, strlen(id), out);
}

static int put_block(struct file_upload *f, uint64_t n, size_t len, struct err *e)
{
	char id[BASE64_SIZE(BLOCK_ID_SIZE)], md5[MD5_TEXT];
	struct kv params[] = {{"comp", "block"}, {"blockid", id}};
	struct kv headers[] = {{"Content-Type", "application/octet-stream"}, {"Content-MD5", md5}};
	struct blob_request q = {.method = "PUT",
				 .params = params,
				 .n_params = 2,
				 .headers = headers,
				 .n_headers = 2,
				 .body = f->part,
				 .body_len = len};
	int status, rc = read_part(f, n * BLOB_PART_MAX, len, e);

	if (!rc)
		rc = md5_text(f->part, len, md5, e);
	if (rc)
		return rc;
	if (!EVP_DigestUpdate(f->md5, f->part, len))
		return no_md5(e);
	block_id(n, id);
	return send(f, &q, &status, e);
}

static int put_block_list(struct file_upload *f, uint64_t blocks, struct err *e)
{
	_cleanup_buf_ struct buf xml = BUF_INIT(BLOB_PART_MAX);
	char id[BASE64_SIZE(BLOCK_ID_SIZE)], md5[MD5_TEXT];
	struct kv params[] = {{"comp", "blocklist"}};
	struct kv headers[] = {{"Content-Type", "application/xml"},
			       {"x-ms-blob-content-type", "application/octet-stream"},
			       {"x-ms-blob-content-md5", md5}};
	struct blob_request q = {.method = "PUT",
				 .params = params,
				 .n_params = 1,
				 .headers = headers,
				 .n_headers = 3};
	int status, rc = md5_end(f, md5, e);

	if (rc)
		return rc;
	buf_addstr(&xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
	for (uint64_t i = 0; i < blocks; i++) {
		block_id(i, id);
		buf_addf(&xml, "<Latest>%s</Latest>", id);
	}
	if (buf_addstr(&xml, "</BlockList>"))
		return err_set(e, buf_error(&xml), "%s has too many blocks", f->file->path);
	q.body = xml.data;
	q.body_len = xml.len;
	return send(f, &q, &status, e);
}

static int put_blocks(struct file_upload *f, struct err *e)
{
	uint64_t blocks = (f->file->size + BLOB_PART_MAX - 1) / BLOB_PART_MAX;

	if (blocks > BLOCKS_MAX)
		return err_set(e, -EFBIG, "%s is too large for a blob", f->file->path);
	if (!EVP_DigestInit_ex(f->md5, EVP_md5(), NULL))
		return no_md5(e);
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t left = f->file->size - i * BLOB_PART_MAX;
		int rc = put_block(f, i, left < BLOB_PART_MAX ? (size_t)left : BLOB_PART_MAX, e);

		if (rc)
			return rc;
	}
	return put_block_list(f, blocks, e);
}

/* ---- copying ---- */

/* The MD5 of the descriptor's bytes, read part by part. */
static int file_md5(struct file_upload *f, char out[MD5_TEXT], struct err *e)
{
	uint64_t at = 0;

	if (!EVP_DigestInit_ex(f->md5, EVP_md5(), NULL))
		return no_md5(e);
	while (at < f->file->size) {
		uint64_t left = f->file->size - at;
		size_t len = left < BLOB_PART_MAX ? (size_t)left : BLOB_PART_MAX;
		int rc = read_part(f, at, len, e);

		if (rc)
			return rc;
		if (!EVP_DigestUpdate(f->md5, f->part, len))
			return no_md5(e);
		at += len;
	}
	return md5_end(f, out, e);
}

/* Whether the file names a source that can be copied from; then name is its blob's. */
static bool copy_name(const struct file_upload *f, struct buf *name)
{
	const struct upload_file *file = f->file;
	const struct blob_upload *u = f->put->upload;
	_cleanup_place_ struct blob_place from = {0};

	if (!file->from || !file->from_file || !file->size || file->size != file->from_file->size ||
	    atomic_load(f->put->copies_refused))
		return false;
	if (blob_place_parse(file->from->uri, u->endpoint, &from, NULL) ||
	    !blob_same_container(&from, u->place))
		return false;
	buf_addstr(name, from.prefix);
	return buf_add(name, file->from_file->path, file->from_file->path_len) == 0;
}

/* True for an answer that other copies would get too. */
static bool refuses_copies(int status)
{
	return status == 401 || status == 403 || status == 405 || status == 501;
}

static int send_copy(struct file_upload *f, const struct blob_source *source, const char *md5,
		     struct err *e)
{
	struct kv headers[HEADERS_MAX] = {{"x-ms-blob-type", "BlockBlob"},
					  {"x-ms-copy-source", buf_str(&source->url)},
					  {"x-ms-source-content-md5", md5}};
	struct blob_request q = {.method = "PUT", .n_headers = 3};
	int status, rc;

	if (source->authorization.len)
		headers[q.n_headers++] = (struct kv){"x-ms-copy-source-authorization",
						     buf_str(&source->authorization)};
	/* Else the source's metadata might come along, and say that all files are there. */
	if (f->put->indicator)
		headers[q.n_headers++] = (struct kv){"x-ms-meta-upload_status", "started"};
	f->copied = md5;
	rc = send_blob(f, &q, headers, &status, e);
	f->copied = NULL;
	if (rc && refuses_copies(status))
		atomic_store(f->put->copies_refused, true);
	return rc;
}

/* 0 when the service has copied the file; what it said otherwise does not matter to anybody. */
static int copy(struct file_upload *f, struct buf *name, struct err *e)
{
	const struct blob_upload *u = f->put->upload;
	_cleanup_source_ struct blob_source source = {0};
	char md5[MD5_TEXT];
	int rc = file_md5(f, md5, e);

	if (!rc && f->file->from_file->md5 && strcmp(f->file->from_file->md5, md5) != 0)
		rc = err_set(e, -EIO, "the published file has other bytes");
	if (!rc)
		rc = blob_source_make(u->place, u->access, name->data, name->len, f->put->call,
				      &source, e);
	return rc ? rc : send_copy(f, &source, md5, e);
}

/* ---- one or the other ---- */

static int put_file(struct file_upload *f, struct err *e)
{
	_cleanup_buf_ struct buf source = BUF_INIT(2 * ASSET_PATH_MAX);
	int rc;

	if (copy_name(f, &source)) {
		rc = copy(f, &source, e);
		if (!rc || call_check(f->put->call))
			return rc;
		log_debug("op=copy-blob path=%s msg=\"%s\"", f->file->path, err_text(e, rc));
		err_clear(e);
	}
	return f->file->size <= BLOB_PART_MAX ? put_whole(f, e) : put_blocks(f, e);
}

int blob_put(const struct blob_put *p, struct err *e)
{
	struct file_upload f = {
		.put = p,
		.file = p->file,
		.name = BUF_INIT(2 * ASSET_PATH_MAX),
		.part = malloc(blob_put_memory(p->file) + 1),
		.md5 = EVP_MD_CTX_new(),
	};
	int rc;

	if (f.part && f.md5)
		rc = blob_put_name(&f.name, p->folder, p->file, e);
	else
		rc = err_set(e, -ENOMEM, "no memory to upload %s", p->file->path);
	if (!rc)
		rc = put_file(&f, e);
	buf_free(&f.name);
	free(f.part);
	EVP_MD_CTX_free(f.md5);
	return rc;
}
