#include "client/blob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/arm_int.h"
#include "client/bearer.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/sharedkey.h"

enum { HTTP_DATE_SIZE = 32 };

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
