#include "client/blob.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/arm_int.h"
#include "client/base64.h"
#include "client/bearer.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/sharedkey.h"

enum { MD5_SIZE = 16, HTTP_DATE_SIZE = 32 };

/* ---- places ---- */

void blob_place_clear(struct blob_place *p)
{
	url_clear(&p->origin);
	free(p->account);
	free(p->container);
	free(p->prefix);
	if (p->sas)
		explicit_bzero(p->sas, strlen(p->sas));
	free(p->sas);
	*p = (struct blob_place){0};
}

/* Takes the first part of the path at *at, decoded; -EBADMSG when there is none. */
static int take_part(const char **at, char **out)
{
	struct buf part = BUF_INIT(ASSET_NAME_MAX);
	size_t n = strcspn(*at, "/");
	int rc = n ? url_decode(&part, *at, n) : -EBADMSG;

	if (!rc && memchr(buf_str(&part), '\0', part.len))
		rc = -EBADMSG;
	*out = rc ? NULL : buf_steal(&part, NULL);
	buf_free(&part);
	if (rc)
		return rc == -EFBIG ? -EBADMSG : rc;
	*at += n + ((*at)[n] == '/');
	return *out ? 0 : -ENOMEM;
}

static int take_prefix(const char *at, char **out)
{
	struct buf prefix = BUF_INIT(ASSET_PATH_MAX);
	int rc = url_decode(&prefix, at, strlen(at));

	if (!rc && memchr(buf_str(&prefix), '\0', prefix.len))
		rc = -EBADMSG;
	if (!rc && prefix.len && prefix.data[prefix.len - 1] != '/')
		rc = buf_addch(&prefix, '/');
	*out = rc ? NULL : buf_steal(&prefix, NULL);
	buf_free(&prefix);
	if (rc)
		return rc == -EFBIG ? -EBADMSG : rc;
	return *out ? 0 : -ENOMEM;
}

static int take_account(struct blob_place *p, const char **at)
{
	const char *blob = strstr(p->origin.host, ".blob.");

	if (p->path_style)
		return take_part(at, &p->account);
	if (!blob || blob == p->origin.host || memchr(p->origin.host, '.', blob - p->origin.host))
		return -EBADMSG;
	p->account = strndup(p->origin.host, (size_t)(blob - p->origin.host));
	return p->account ? 0 : -ENOMEM;
}

static bool has_signature(const char *query)
{
	return query && (strncmp(query, "sig=", 4) == 0 || strstr(query, "&sig="));
}

int blob_place_parse(const char *uri, const struct url *endpoint, struct blob_place *out,
		     struct err *e)
{
	struct blob_place p = {0};
	const char *at;
	int rc = url_parse(uri, &p.origin, e);

	if (rc)
		return err_prefix(e, rc, "the build context: ");
	at = p.origin.path + 1;
	p.path_style = p.origin.explicit_port || url_is_loopback(&p.origin) ||
		       url_host_is_address(&p.origin) ||
		       (endpoint && strcmp(p.origin.host, endpoint->host) == 0);
	rc = take_account(&p, &at);
	if (!rc)
		rc = take_part(&at, &p.container);
	if (!rc)
		rc = take_prefix(at, &p.prefix);
	if (!rc && has_signature(p.origin.query)) {
		p.sas = strdup(p.origin.query);
		rc = p.sas ? 0 : -ENOMEM;
	}
	if (rc) {
		err_set(e, rc, "the build context is not a folder of a storage container (at %s)",
			p.origin.host);
		blob_place_clear(&p);
		return rc;
	}
	*out = p;
	return 0;
}

bool blob_same_container(const struct blob_place *a, const struct blob_place *b)
{
	return url_same_origin(&a->origin, &b->origin) && a->path_style == b->path_style &&
	       strcmp(a->account, b->account) == 0 && strcmp(a->container, b->container) == 0;
}

static int add_container_path(struct buf *b, const struct blob_place *p)
{
	if (p->path_style)
		arm_add_segment(b, p->account);
	return arm_add_segment(b, p->container);
}

int blob_add_url(struct buf *b, const struct blob_place *p, const char *prefix)
{
	url_add_origin(b, &p->origin);
	add_container_path(b, p);
	buf_addch(b, '/');
	return url_add_path(b, prefix, strlen(prefix));
}

/* ---- requests ---- */

void blob_access_clear(struct blob_access *a)
{
	if (a->secret)
		explicit_bzero(a->secret, strlen(a->secret));
	free(a->secret);
	*a = (struct blob_access){0};
}

struct key_auth {
	struct http_auth base;
	const char *path;
	const struct blob_request *q;
	const char *account;
	const char *key;
};

/* "Wed, 14 Sep 2022 20:33:51 GMT"; not strftime(), whose names follow the locale. */
static void http_date(char out[HTTP_DATE_SIZE])
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = (time_t)(clock_wall() / NS_PER_S);
	struct tm tm = {0};

	gmtime_r(&now, &tm);
	snprintf(out, HTTP_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
		 tm.tm_mday % 100, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000,
		 tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
}

/* The date is part of what is signed: every attempt has its own. */
static int key_apply(const struct http_auth *a, const struct http_request *r,
		     struct http_headers *h, struct call *call, struct err *e)
{
	const struct key_auth *k = (const struct key_auth *)a;
	char signature[SHAREDKEY_SIGNATURE_SIZE], date[HTTP_DATE_SIZE];
	struct buf value = BUF_INIT(ASSET_NAME_MAX + SHAREDKEY_SIGNATURE_SIZE + 16);
	int rc;

	(void)call;
	http_date(date);
	rc = http_headers_add(h, "x-ms-date", date);
	if (rc)
		return err_set(e, rc, "a storage request can't be dated");
	rc = sharedkey_sign(r->method, k->path, h->items, h->n, k->q->params, k->q->n_params,
			    k->account, k->key, signature, e);
	if (!rc) {
		rc = buf_addf(&value, "SharedKey %s:%s", k->account, signature);
		if (!rc)
			rc = http_headers_add(h, "Authorization", buf_str(&value));
		if (rc)
			err_set(e, rc, "a storage request can't be signed");
	}
	buf_wipe(&value);
	return rc;
}

static int add_query(struct buf *url, const struct blob_request *q, const char *sas)
{
	char sep = '?';

	for (size_t i = 0; i < q->n_params; i++, sep = '&') {
		buf_addf(url, "%c%s=", sep, q->params[i].key);
		url_add_value(url, q->params[i].value, strlen(q->params[i].value));
	}
	return sas ? buf_addf(url, "%c%s", sep, sas) : buf_error(url);
}

static int add_headers(struct http_headers *h, const struct blob_request *q)
{
	int rc = http_headers_add(h, "x-ms-version", BLOB_API_VERSION);

	for (size_t i = 0; i < q->n_headers && !rc; i++)
		rc = http_headers_add(h, q->headers[i].key, q->headers[i].value);
	return rc;
}

static int perform(struct http *h, const struct blob_place *p, const struct blob_access *a,
		   const struct blob_request *q, const char *path, const struct http_request *r,
		   struct call *c, struct http_response *out, struct err *e)
{
	struct key_auth key = {.base.apply = key_apply,
			       .path = path,
			       .q = q,
			       .account = p->account,
			       .key = a->secret};
	struct bearer_auth bearer = bearer_auth(a->credential, SCOPE_STORAGE);

	struct http_request signed_request = *r;

	if (a->kind == BLOB_SHARED_KEY)
		signed_request.auth = &key.base;
	else if (a->kind == BLOB_BEARER)
		signed_request.auth = &bearer.base;
	return http_perform(h, &signed_request, c, out, e);
}

int blob_perform(struct http *h, const struct blob_place *p, const struct blob_access *a,
		 const struct blob_request *q, struct call *c, struct http_response *out,
		 struct err *e)
{
	struct buf url = BUF_INIT(URL_MAX), path = BUF_INIT(URL_MAX);
	struct http_headers headers = {.n = 0};
	struct http_request r = {
		.method = q->method,
		.body = q->body,
		.body_len = q->body_len,
		.max_body = q->max_body,
		.identity = true, /* ranges and checksums are of the bytes as they are */
	};
	int rc;

	add_container_path(&path, p);
	if (q->name) {
		buf_addch(&path, '/');
		url_add_path(&path, q->name, q->name_len);
	}
	url_add_origin(&url, &p->origin);
	buf_addstr(&url, buf_str(&path));
	rc = add_query(&url, q, a->kind == BLOB_SAS ? a->secret : NULL);
	if (!rc)
		rc = buf_error(&path);
	if (!rc)
		rc = add_headers(&headers, q);
	r.url = buf_str(&url);
	r.headers = headers.items;
	r.n_headers = headers.n;
	if (rc)
		err_set(e, rc, "a storage request can't be made");
	else
		rc = perform(h, p, a, q, buf_str(&path), &r, c, out, e);
	http_headers_clear(&headers);
	buf_wipe(&url);
	buf_free(&path);
	return rc;
}

int blob_error(const struct blob_place *p, const struct blob_request *q,
	       const struct http_response *r, struct err *e)
{
	struct buf url = BUF_INIT(URL_MAX);
	int rc;

	blob_add_url(&url, p, "");
	if (q->name)
		url_add_path(&url, q->name, q->name_len);
	rc = arm_error(q->method, buf_str(&url), r, e);
	buf_free(&url);
	return rc;
}

/* ---- reading ---- */

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

static int check_md5(const struct http_response *r, const char *md5, struct err *e)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[BASE64_SIZE(MD5_SIZE)];
	unsigned int n = 0;

	/* Where policy forbids MD5 the checksum can't be compared; TLS and the length remain. */
	if (!EVP_Digest(buf_str(&r->body), r->body.len, digest, &n, EVP_md5(), NULL) ||
	    n != MD5_SIZE)
		return 0;
	base64_encode(digest, MD5_SIZE, text);
	if (strcmp(text, md5) != 0)
		return err_set(e, -EIO, "the bytes are not those of the file's checksum");
	return 0;
}

static int check_content(const struct http_response *r, const struct range *want,
			 const struct context_file *file, struct err *e)
{
	const char *md5 = file->md5;
	int rc = check_range(r, want, file, e);

	if (rc || !want->whole)
		return rc;
	if (!md5)
		md5 = http_response_header(r, r->status == 200 ? "Content-MD5"
							       : "x-ms-blob-content-md5");
	return md5 && *md5 ? check_md5(r, md5, e) : 0;
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

static int read_range(struct http *h, const struct blob_place *p, const struct blob_access *a,
		      const struct context_file *file, const struct range *want, const char *name,
		      size_t name_len, struct call *c, struct buf *out, struct err *e)
{
	_cleanup_buf_ struct buf etag = BUF_INIT(HTTP_HEADER_VALUE_MAX);
	struct http_response r = {0};
	struct kv headers[2];
	char range[64];
	struct blob_request q = {.method = "GET",
				 .name = name,
				 .name_len = name_len,
				 .headers = headers,
				 .n_headers = 1,
				 .max_body = want->len};
	int rc = 0;

	snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)want->first,
		 (unsigned long long)(want->first + want->len - 1));
	headers[0] = (struct kv){"x-ms-range", range};
	if (file->etag && *file->etag) {
		rc = quoted_etag(file->etag, &etag);
		headers[q.n_headers++] = (struct kv){"If-Match", buf_str(&etag)};
	}
	rc = rc ? err_set(e, rc, "an etag is too long") : blob_perform(h, p, a, &q, c, &r, e);
	if (!rc)
		rc = read_status(p, &q, &r, e);
	if (!rc)
		rc = check_content(&r, want, file, e);
	if (!rc) {
		rc = buf_add(out, r.body.data, r.body.len);
		if (rc)
			err_set(e, rc, "no room for the bytes read");
	}
	http_response_clear(&r);
	return rc;
}

int blob_read(struct http *h, const struct blob_place *p, const struct blob_access *a,
	      const struct context_file *file, uint64_t offset, size_t len, struct call *c,
	      struct buf *out, struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(2 * ASSET_PATH_MAX);
	struct range want = {.first = offset, .len = len};
	int rc;

	if (offset >= file->size || !len)
		return 0;
	if (want.len > file->size - offset)
		want.len = (size_t)(file->size - offset);
	want.whole = offset == 0 && want.len == file->size;
	buf_addstr(&name, p->prefix);
	rc = buf_add(&name, file->path, file->path_len);
	if (rc)
		return err_set(e, rc, "a context file's name is too long");
	rc = read_range(h, p, a, file, &want, name.data, name.len, c, out, e);
	return rc ? err_prefix(e, rc, "context file %.200s: ", file->path) : 0;
}
