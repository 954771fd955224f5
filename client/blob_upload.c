#include "client/blob_upload.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/base64.h"
#include "client/cleanup.h"

enum {
	MD5_SIZE = 16,
	MD5_TEXT = BASE64_SIZE(MD5_SIZE),
	BLOCK_ID_SIZE = 32,
	BLOCKS_MAX = 50000, /* of one blob: the service's limit */
};

/* ---- whether it is there ---- */

struct marker {
	bool exists;
	bool completed;
};

/* The file whose metadata speaks for all: the first by plain order of the paths. */
static const struct upload_file *indicator(const struct blob_upload *u)
{
	const struct upload_file *first = &u->files[0];

	for (size_t i = 1; i < u->n; i++)
		if (strcmp(u->files[i].path, first->path) < 0)
			first = &u->files[i];
	return first;
}

static int blob_name(struct buf *name, const char *folder, const struct upload_file *f,
		     struct err *e)
{
	int rc;

	buf_addstr(name, folder);
	rc = buf_addstr(name, f->path);
	return rc ? err_set(e, rc, "%s: the name is too long", f->path) : 0;
}

static int look_at(const struct blob_upload *u, const char *folder, struct marker *out,
		   struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(2 * ASSET_PATH_MAX);
	struct http_response r = {0};
	struct blob_request q = {.method = "HEAD"};
	const char *status;
	int rc = blob_name(&name, folder, indicator(u), e);

	*out = (struct marker){0};
	if (rc)
		return rc;
	q.name = name.data;
	q.name_len = name.len;
	rc = blob_perform(u->http, u->place, u->access, &q, u->call, &r, e);
	if (!rc && r.status != 404 && http_status_errno(r.status))
		rc = blob_error(u->place, &q, &r, e);
	status = http_response_header(&r, "x-ms-meta-upload_status");
	out->exists = !rc && r.status != 404;
	out->completed = out->exists && status && strcmp(status, "completed") == 0;
	http_response_clear(&r);
	return rc;
}

/* ---- one file ---- */

struct file_upload {
	const struct blob_upload *u;
	const struct upload_file *file;
	struct buf name;
	char *part; /* BLOB_PART_MAX bytes, or the file's size when that is less */
	EVP_MD_CTX *md5;
	bool overwrite;
};

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

/* Sends one request about the file; *status gets the answer's when it is 409 or 412. */
static int send(struct file_upload *f, struct blob_request *q, int *status, struct err *e)
{
	const struct blob_upload *u = f->u;
	struct http_response r = {0};
	int rc;

	q->name = f->name.data;
	q->name_len = f->name.len;
	q->max_body = BLOB_SMALL_ANSWER;
	rc = blob_perform(u->http, u->place, u->access, q, u->call, &r, e);
	*status = rc ? 0 : r.status;
	if (!rc && http_status_errno(r.status))
		rc = blob_error(u->place, q, &r, e);
	http_response_clear(&r);
	return rc;
}

static int md5_text(const void *data, size_t len, char out[MD5_TEXT])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n;

	if (!EVP_Digest(data, len, digest, &n, EVP_md5(), NULL) || n != MD5_SIZE)
		return -EIO;
	base64_encode(digest, MD5_SIZE, out);
	return 0;
}

/* A file in one request. That it is there already (from an upload that broke off) is no error. */
static int put_whole(struct file_upload *f, struct err *e)
{
	size_t len = (size_t)f->file->size;
	char md5[MD5_TEXT];
	struct kv headers[4] = {{"x-ms-blob-type", "BlockBlob"},
				{"Content-Type", "application/octet-stream"}};
	struct blob_request q = {.method = "PUT",
				 .headers = headers,
				 .n_headers = 2,
				 .body = f->part,
				 .body_len = len};
	int status, rc = read_part(f, 0, len, e);

	if (rc)
		return rc;
	if (len) {
		if (md5_text(f->part, len, md5))
			return err_set(e, -EIO, "MD5 is not available");
		headers[q.n_headers++] = (struct kv){"Content-MD5", md5};
	}
	if (!f->overwrite)
		headers[q.n_headers++] = (struct kv){"If-None-Match", "*"};
	rc = send(f, &q, &status, e);
	if (rc && !f->overwrite && (status == 409 || status == 412)) {
		q.n_headers--;
		err_clear(e);
		rc = send(f, &q, &status, e);
	}
	return rc;
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

	if (rc)
		return rc;
	if (md5_text(f->part, len, md5) || !EVP_DigestUpdate(f->md5, f->part, len))
		return err_set(e, -EIO, "MD5 is not available");
	block_id(n, id);
	return send(f, &q, &status, e);
}

static int put_block_list(struct file_upload *f, uint64_t blocks, struct err *e)
{
	_cleanup_buf_ struct buf xml = BUF_INIT(BLOB_PART_MAX);
	unsigned char digest[EVP_MAX_MD_SIZE];
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
	unsigned int n;
	int status;

	if (!EVP_DigestFinal_ex(f->md5, digest, &n) || n != MD5_SIZE)
		return err_set(e, -EIO, "MD5 is not available");
	base64_encode(digest, MD5_SIZE, md5);
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
		return err_set(e, -EIO, "MD5 is not available");
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t left = f->file->size - i * BLOB_PART_MAX;
		int rc = put_block(f, i, left < BLOB_PART_MAX ? (size_t)left : BLOB_PART_MAX, e);

		if (rc)
			return rc;
	}
	return put_block_list(f, blocks, e);
}

static int upload_file(const struct blob_upload *u, const char *folder,
		       const struct upload_file *file, bool overwrite, struct err *e)
{
	bool small = file->size <= BLOB_PART_MAX;
	struct file_upload f = {
		.u = u,
		.file = file,
		.name = BUF_INIT(2 * ASSET_PATH_MAX),
		.part = malloc(small ? (size_t)file->size + 1 : BLOB_PART_MAX),
		.md5 = EVP_MD_CTX_new(),
		.overwrite = overwrite,
	};
	int rc;

	if (f.part && f.md5)
		rc = blob_name(&f.name, folder, file, e);
	else
		rc = err_set(e, -ENOMEM, "no memory to upload %s", file->path);
	if (!rc)
		rc = small ? put_whole(&f, e) : put_blocks(&f, e);
	buf_free(&f.name);
	free(f.part);
	EVP_MD_CTX_free(f.md5);
	return rc;
}

/* ---- all files ---- */

/* What can be a header's value as it is; other names are left out of the metadata. */
static bool is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return *text != '\0';
}

static int confirm(const struct blob_upload *u, const char *folder, struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(2 * ASSET_PATH_MAX);
	struct kv params[] = {{"comp", "metadata"}};
	struct kv headers[3] = {{"x-ms-meta-upload_status", "completed"}};
	struct blob_request q = {.method = "PUT",
				 .params = params,
				 .n_params = 1,
				 .headers = headers,
				 .n_headers = 1,
				 .max_body = BLOB_SMALL_ANSWER};
	struct http_response r = {0};
	int rc = blob_name(&name, folder, indicator(u), e);

	if (rc)
		return rc;
	if (is_plain(u->env))
		headers[q.n_headers++] = (struct kv){"x-ms-meta-name", u->env};
	if (is_plain(u->version))
		headers[q.n_headers++] = (struct kv){"x-ms-meta-version", u->version};
	q.name = name.data;
	q.name_len = name.len;
	rc = blob_perform(u->http, u->place, u->access, &q, u->call, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = blob_error(u->place, &q, &r, e);
	http_response_clear(&r);
	return rc;
}

static int upload_all(const struct blob_upload *u, const char *folder, bool overwrite,
		      struct err *e)
{
	for (size_t i = 0; i < u->n; i++) {
		int rc = upload_file(u, folder, &u->files[i], overwrite, e);

		if (rc)
			return rc;
	}
	return confirm(u, folder, e);
}

int blob_upload(const struct blob_upload *u, const char *folder, const char *legacy,
		const char **used, struct err *e)
{
	struct marker here, there = {0};
	int rc = look_at(u, folder, &here, e);

	*used = folder;
	if (!rc && here.exists && legacy)
		rc = look_at(u, legacy, &there, e);
	if (rc)
		return rc;
	if (there.completed)
		*used = legacy;
	else if (!here.completed)
		rc = upload_all(u, folder, here.exists, e);
	return rc;
}
