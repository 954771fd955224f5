#include "client/http_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/clock.h"
#include "client/url.h"

enum {
	STALL_S = 30,                     /* no byte for so long: the transfer is dead */
	ERROR_BODY_GIVE_UP = 1024 * 1024, /* bytes of an error body that are waited for */
};

/* ---- what libcurl calls, on the I/O thread ---- */

static int answer_status(struct transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* The announced length already says that it is too much: not a byte of it is waited for. */
static bool announced_too_large(struct transfer *t)
{
	curl_off_t length = -1;

	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length > 0 && (uint64_t)length > t->max_body;
}

static size_t on_error_body(struct transfer *t, const char *data, size_t n)
{
	size_t room = HTTP_ERROR_BODY_MAX - t->in.len;

	t->in.max = HTTP_ERROR_BODY_MAX;
	buf_add(&t->in, data, n < room ? n : room);
	t->error_seen += n;
	if (t->error_seen <= ERROR_BODY_GIVE_UP)
		return n;
	t->cut = true;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t n = size * count;

	if (answer_status(t) >= 400)
		return on_error_body(t, data, n);
	if (n && !t->in.len && announced_too_large(t))
		t->too_large = true;
	if (!t->too_large && buf_add(&t->in, data, n) == -EFBIG)
		t->too_large = true;
	return t->too_large || buf_error(&t->in) ? 0 : n;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t n = size * count, len = n;

	while (len && (data[len - 1] == '\r' || data[len - 1] == '\n'))
		len--;
	/* A new head (after a 100 Continue): only the last one counts. */
	if (len >= 5 && strncmp(data, "HTTP/", 5) == 0) {
		buf_reset(&t->head);
		return n;
	}
	if (!len)
		return n;
	buf_add(&t->head, data, len);
	buf_addch(&t->head, '\0');
	return buf_error(&t->head) ? 0 : n;
}

/* ---- making one ---- */

/* Headers that libcurl would add by itself, and that nobody signed. */
static const char *const unwanted[] = {"Expect:", "Content-Type:", "Accept:"};

static bool is_given(const struct http_headers *headers, const char *unwanted_name)
{
	size_t n = strlen(unwanted_name) - 1;

	for (size_t i = 0; i < headers->n; i++)
		if (strlen(headers->items[i].key) == n &&
		    strncasecmp(headers->items[i].key, unwanted_name, n) == 0)
			return true;
	return false;
}

static int append(struct transfer *t, const char *line)
{
	struct curl_slist *longer = curl_slist_append(t->headers, line);

	if (!longer)
		return -ENOMEM;
	t->headers = longer;
	return 0;
}

static int set_headers(struct transfer *t, const struct http_headers *headers)
{
	struct buf line = BUF_INIT(HTTP_HEADER_VALUE_MAX + 256);
	int rc = 0;

	for (size_t i = 0; i < headers->n && !rc; i++) {
		const struct kv *h = &headers->items[i];

		/* libcurl sends the length by itself; it is among the headers to be signed. */
		if (strcasecmp(h->key, "Content-Length") == 0)
			continue;
		buf_reset(&line);
		rc = buf_addf(&line, "%s: %s", h->key, h->value);
		if (!rc)
			rc = append(t, buf_str(&line));
	}
	for (size_t i = 0; i < sizeof(unwanted) / sizeof(*unwanted) && !rc; i++)
		if (!is_given(headers, unwanted[i]))
			rc = append(t, unwanted[i]);
	buf_wipe(&line);
	if (!rc && curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers))
		rc = -ENOMEM;
	return rc;
}

static int copy_body(struct transfer *t, const struct http_request *r)
{
	t->body = malloc(r->body_len + 1);
	if (!t->body)
		return -ENOMEM;
	t->body_len = r->body_len;
	if (r->body_len)
		memcpy(t->body, r->body, r->body_len);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body);
	return 0;
}

static int set_method(struct transfer *t, const struct http_request *r)
{
	int rc = 0;

	if (strcmp(r->method, "HEAD") == 0) {
		curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
	} else if (strcmp(r->method, "GET") == 0) {
		curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
	} else {
		if (strcmp(r->method, "DELETE") != 0)
			rc = copy_body(t, r);
		curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, r->method);
	}
	return rc;
}

static void set_place(struct transfer *t, const struct url *u, bool direct)
{
	struct http *h = t->http;
	struct buf origin = BUF_INIT(URL_HOST_MAX + 32);
	bool local = h->unix_socket && url_add_origin(&origin, u) == 0 &&
		     strcmp(buf_str(&origin), h->socket_origin) == 0;

	if (local)
		curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, h->unix_socket);
	if (local || direct || url_is_loopback(u))
		curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	buf_free(&origin);
}

static void set_limits(struct transfer *t, int64_t deadline)
{
	int64_t left = (deadline - clock_mono()) / NS_PER_MS;
	struct http *h = t->http;

	/* The caller watches the deadline itself; this is for a transfer that outlives it. */
	if (left > 0 && left < INT32_MAX)
		curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)left + 1);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(h->connect_timeout / NS_PER_MS));
	curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
	curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
}

static void set_security(struct transfer *t)
{
	struct http *h = t->http;

	curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(t->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file)
		curl_easy_setopt(t->easy, CURLOPT_CAINFO, h->ca_file);
	if (h->ca_path)
		curl_easy_setopt(t->easy, CURLOPT_CAPATH, h->ca_path);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Taking down a transfer never waits for a name server that does not answer. */
	curl_easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void set_callbacks(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_text);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
}

static int set_request(struct transfer *t, const struct http_request *r,
		       const struct http_headers *headers)
{
	struct url u = {0};
	int rc = url_parse(r->url, &u, NULL);

	if (rc)
		return rc;
	set_place(t, &u, r->direct);
	url_clear(&u);
	curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(t->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(t->easy, CURLOPT_USERAGENT, t->http->user_agent);
	/* On a kept connection that proves dead libcurl asks again by itself: not this one. */
	if (!http_repeatable(r))
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
	if (!r->identity)
		curl_easy_setopt(t->easy, CURLOPT_ACCEPT_ENCODING, "");
	rc = set_method(t, r);
	if (!rc)
		rc = set_headers(t, headers);
	if (!rc && curl_easy_setopt(t->easy, CURLOPT_URL, t->url))
		rc = -ENOMEM;
	return rc;
}

struct transfer *transfer_new(struct http *h, const struct http_request *r,
			      const struct http_headers *headers, int64_t deadline,
			      enum call_prio prio)
{
	struct transfer *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;

	if (!t)
		return NULL;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	t->http = h;
	t->refs = 1;
	t->prio = prio;
	t->max_body = r->max_body;
	t->in.max = r->max_body;
	t->head.max = HTTP_HEAD_MAX;
	t->url = strdup(r->url);
	t->easy = curl_easy_init();
	if (!t->url || !t->easy || set_request(t, r, headers)) {
		transfer_free(t);
		return NULL;
	}
	set_callbacks(t);
	set_security(t);
	set_limits(t, deadline);
	return t;
}

/* Wiped because a token or a signature is in them. */
static void free_headers(struct curl_slist *list)
{
	for (struct curl_slist *at = list; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	curl_slist_free_all(list);
}

void transfer_free(struct transfer *t)
{
	if (t->easy)
		curl_easy_cleanup(t->easy);
	free_headers(t->headers);
	if (t->url)
		explicit_bzero(t->url, strlen(t->url));
	free(t->url);
	if (t->body)
		explicit_bzero(t->body, t->body_len);
	free(t->body);
	buf_wipe(&t->in);
	buf_wipe(&t->head);
	pthread_cond_destroy(&t->wake);
	free(t);
}

/* ---- how it ended ---- */

void transfer_finish(struct transfer *t)
{
	long sent = 0;

	t->status = answer_status(t);
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
	t->sent = sent > 0;
}

/* The part of libcurl's own words that may be shown: it never holds a header or a query. */
static const char *curl_words(const struct transfer *t)
{
	return t->curl_text[0] ? t->curl_text : curl_easy_strerror(t->result);
}

int transfer_error(const struct transfer *t, enum http_retry *again, struct err *e)
{
	char path[HTTP_SHOWN_PATH];
	int code;

	*again = HTTP_RETRY_NO;
	if (t->result == CURLE_OK || t->cut)
		return 0;
	http_shown_path(t->url, path);
	if (t->too_large)
		return err_set(e, -EFBIG, "%s: the answer has more than %zu bytes", path,
			       t->max_body);
	if (buf_error(&t->head) == -EFBIG)
		return err_set(e, -EBADMSG, "%s: the answer's headers have more than %d bytes",
			       path, HTTP_HEAD_MAX);
	code = http_curl_errno(t->result, again);
	/* Nothing of it can have been seen: repeating it is safe whatever it is. */
	if (*again == HTTP_RETRY_SAFE && !t->sent)
		*again = HTTP_RETRY_ALWAYS;
	return err_set(e, code, "%s: %s", path, curl_words(t));
}
