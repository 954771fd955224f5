/*
 * Reading files of build contexts, and checking that the bytes which come are those that were
 * stored: against the MD5 that the container's list gave, the one of the range, which is asked for,
 * and the CRC-64, where the answer has one.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "client/base64.h"
#include "client/blob.h"
#include "client/cleanup.h"
#include "client/crc64.h"
#include "client/log.h"

enum {
	MD5_SIZE = 16,
	MD5_TEXT = BASE64_SIZE(MD5_SIZE),
	RANGE_MD5_MAX = 4 * 1024 * 1024, /* the service computes none for longer ranges */
	READS_MAX = 2,                   /* of bytes that turn out to be wrong */
};

struct range {
	uint64_t first;
	size_t len;
	bool whole;
};

/* The answer must be exactly the range: "bytes 0-5/6" or the whole file. */
static int check_range(const struct http_response *r, const struct range *want,
		       const struct context_file *file, struct err *e)
{
	const char *text = http_response_header(r, "Content-Range");
	unsigned long long first, last, total;

	if (r->body.len != want->len)
		return err_set(e, -EIO, "%zu bytes were asked for and %zu came", want->len,
			       r->body.len);
	if (r->status == 200)
		return want->whole ? 0
				   : err_set(e, -EBADMSG,
					     "a part was asked for, the whole "
					     "file came");
	if (!text || sscanf(text, "bytes %20llu-%20llu/%20llu", &first, &last, &total) != 3)
		return err_set(e, -EBADMSG, "a part without a Content-Range");
	if (first != want->first || last != want->first + want->len - 1)
		return err_set(e, -EBADMSG, "another part than the one that was asked for");
	if (total != file->size)
		return err_set(e, -EIO, "the file has changed since it was listed");
	return 0;
}

/* The bytes are others than those that were stored: -EIO, told apart by *corrupt. */
static int differs(const char *what, const char *expected, const char *found, bool *corrupt,
		   struct err *e)
{
	*corrupt = true;
	return err_set(e, -EIO,
		       "the bytes that came are not those that were stored: their %s is %s, and "
		       "should be %s",
		       what, found, expected);
}

static int check_md5(const struct http_response *r, const char *md5, bool *corrupt, struct err *e)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[MD5_TEXT];
	unsigned int n = 0;

	/* Where policy forbids MD5 the checksum can't be compared; TLS and the length remain. */
	if (!md5 || !*md5 ||
	    !EVP_Digest(buf_str(&r->body), r->body.len, digest, &n, EVP_md5(), NULL) ||
	    n != MD5_SIZE)
		return 0;
	base64_encode(digest, MD5_SIZE, text);
	return strcmp(text, md5) == 0 ? 0 : differs("MD5", md5, text, corrupt, e);
}

static int check_crc64(const struct http_response *r, bool *corrupt, struct err *e)
{
	const char *given = http_response_header(r, "x-ms-content-crc64");
	char text[CRC64_TEXT];

	if (!given || !*given)
		return 0;
	crc64_text(buf_str(&r->body), r->body.len, text);
	return strcmp(text, given) == 0 ? 0 : differs("CRC-64", given, text, corrupt, e);
}

static int check_content(const struct http_response *r, const struct range *want,
			 const struct context_file *file, bool *corrupt, struct err *e)
{
	int rc = check_range(r, want, file, e);

	/* Content-MD5 is of what is sent, be it a part or all of it. */
	if (!rc)
		rc = check_md5(r, http_response_header(r, "Content-MD5"), corrupt, e);
	if (!rc)
		rc = check_crc64(r, corrupt, e);
	if (!rc && want->whole)
		rc = check_md5(r, http_response_header(r, "x-ms-blob-content-md5"), corrupt, e);
	if (!rc && want->whole)
		rc = check_md5(r, file->md5, corrupt, e);
	return rc;
}

static int read_status(const struct blob_place *p, const struct blob_request *q,
		       const struct http_response *r, struct err *e)
{
	switch (r->status) {
	case 200:
	case 206:
		return 0;
	case 304:
	case 412:
	case 416:
		return err_set(e, -EIO, "the file has changed since it was listed");
	default:
		return blob_error(p, q, r, e);
	}
}

/* Etags are quoted in headers; lists have been seen to give them without. */
static int quoted_etag(const char *etag, struct buf *out)
{
	if (etag[0] == '"' || strncmp(etag, "W/", 2) == 0)
		return buf_addstr(out, etag);
	return buf_addf(out, "\"%s\"", etag);
}

struct reading {
	struct http *http;
	const struct blob_place *place;
	const struct blob_access *access;
	const struct context_file *file;
	struct range want;
	struct buf name;
	struct call *call;
	bool corrupt;      /* the last try's bytes were wrong */
	bool no_range_md5; /* the service refuses to compute one */
};

static int ask(struct reading *d, struct http_response *r, struct blob_request *q, struct err *e)
{
	_cleanup_buf_ struct buf etag = BUF_INIT(HTTP_HEADER_VALUE_MAX);
	const struct range *want = &d->want;
	struct kv headers[3];
	char range[64];
	int rc = 0;

	*q = (struct blob_request){.method = "GET",
				   .name = d->name.data,
				   .name_len = d->name.len,
				   .headers = headers,
				   .n_headers = 1,
				   .max_body = want->len};
	snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)want->first,
		 (unsigned long long)(want->first + want->len - 1));
	headers[0] = (struct kv){"x-ms-range", range};
	if (d->file->etag && *d->file->etag) {
		rc = quoted_etag(d->file->etag, &etag);
		headers[q->n_headers++] = (struct kv){"If-Match", buf_str(&etag)};
	}
	if (want->len <= RANGE_MD5_MAX && !d->no_range_md5)
		headers[q->n_headers++] = (struct kv){"x-ms-range-get-content-md5", "true"};
	rc = rc ? err_set(e, rc, "an etag is too long")
		: blob_perform(d->http, d->place, d->access, q, d->call, r, e);
	q->headers = NULL;
	q->n_headers = 0;
	return rc;
}

static int read_once(struct reading *d, struct buf *out, struct err *e)
{
	struct http_response r = {0};
	struct blob_request q;
	int rc = ask(d, &r, &q, e);

	d->corrupt = false;
	/* A store that is not Azure's may not know how to compute it. */
	if (!rc && r.status == 400 && !d->no_range_md5) {
		d->no_range_md5 = true;
		http_response_clear(&r);
		rc = ask(d, &r, &q, e);
	}
	if (!rc)
		rc = read_status(d->place, &q, &r, e);
	if (!rc)
		rc = check_content(&r, &d->want, d->file, &d->corrupt, e);
	if (!rc) {
		rc = buf_add(out, r.body.data, r.body.len);
		if (rc)
			err_set(e, rc, "no room for the bytes read");
	}
	http_response_clear(&r);
	return rc;
}

/* Bytes that were spoilt on their way are asked for once more. */
static int read_checked(struct reading *d, struct buf *out, struct err *e)
{
	int rc = -EIO;

	for (int i = 0; i < READS_MAX; i++) {
		rc = read_once(d, out, e);
		if (!d->corrupt)
			return rc;
		log_warn("op=read-context path=%.200s msg=\"%s\"", d->file->path, err_text(e, rc));
	}
	return rc;
}

int blob_read(struct http *h, const struct blob_place *p, const struct blob_access *a,
	      const struct context_file *file, uint64_t offset, size_t len, struct call *c,
	      struct buf *out, struct err *e)
{
	struct reading d = {.http = h,
			    .place = p,
			    .access = a,
			    .file = file,
			    .want = {.first = offset, .len = len},
			    .name = BUF_INIT(2 * ASSET_PATH_MAX),
			    .call = c};
	int rc;

	if (offset >= file->size || !len)
		return 0;
	if (d.want.len > file->size - offset)
		d.want.len = (size_t)(file->size - offset);
	d.want.whole = offset == 0 && d.want.len == file->size;
	buf_addstr(&d.name, p->prefix);
	rc = buf_add(&d.name, file->path, file->path_len);
	rc = rc ? err_set(e, rc, "the name is too long") : read_checked(&d, out, e);
	buf_free(&d.name);
	return rc ? err_prefix(e, rc, "context file %.200s: ", file->path) : 0;
}
