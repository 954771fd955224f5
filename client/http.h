/*
 * http - HTTP requests: synchronous for the caller, one libcurl multi loop in one thread below.
 *
 * Connections are pooled and kept, HTTP/2 is used where it is offered, at most max_transfers run
 * at once and the rest queue, interactive ones before prefetched ones. Every wait (queue, answer,
 * pause between attempts) ends at the call's deadline, when the call is cancelled, or at
 * http_stop(). Only http and https, no redirects, TLS verified; CURL_CA_BUNDLE, SSL_CERT_FILE,
 * SSL_CERT_DIR and the proxy variables count as they do for curl(1) (loopback goes direct), and
 * after them REQUESTS_CA_BUNDLE as it does for the Azure CLI.
 *
 * Who owns a transfer: it is reference-counted; its caller holds one reference and the queue or
 * the I/O thread the other. While it runs only the I/O thread touches what it receives; a caller
 * that gives up marks it abandoned and goes, and the I/O thread takes it down.
 *
 * All functions may be called from any thread unless they say otherwise. fork() before http_new().
 */
#ifndef MLENVFS_CLIENT_HTTP_H
#define MLENVFS_CLIENT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"

enum {
	HTTP_HEADERS_MAX = 32,             /* of one request */
	HTTP_HEADER_VALUE_MAX = 80 * 1024, /* bytes; a token fits */
	HTTP_HEAD_MAX = 64 * 1024,         /* bytes of an answer's headers */
	HTTP_ERROR_BODY_MAX = 64 * 1024,   /* bytes kept of the body of a status >= 400 */
	HTTP_JSON_MAX = 64 * 1024 * 1024,  /* bytes of a JSON answer */
	HTTP_TRANSFERS_DEFAULT = 8,
	HTTP_ID_SIZE = 37,     /* of a UUID as text, and a NUL */
	HTTP_ATTEMPTS_MAX = 4, /* tries of one request, the first one included */
};

struct http;

struct http_conf {
	/* Requests to socket_origin ("http://localhost") go here; NULL: over TCP like all. */
	const char *unix_socket;
	const char *socket_origin;
	const char *ca_file;    /* PEM of those who are trusted; NULL: as the environment says */
	const char *user_agent; /* NULL: "mlenvfs/VERSION" */
	unsigned int max_transfers; /* at once; 0: HTTP_TRANSFERS_DEFAULT */
	int64_t connect_timeout;    /* ns for a connection; 0: 10 s */
	int64_t backoff;            /* ns before the first retry, doubling; 0: 250 ms */
};

/* Headers of a request; values are owned copies, wiped when cleared. */
struct http_headers {
	struct kv items[HTTP_HEADERS_MAX];
	size_t n;
};

/*
 * Adds a header; name is a constant (borrowed). -EINVAL when the value has control characters,
 * is too long or there are too many, -ENOMEM.
 */
int http_headers_add(struct http_headers *h, const char *name, const char *value);
void http_headers_clear(struct http_headers *h);

struct http_request;

/* How a request proves who sends it. Asked before every attempt. */
struct http_auth {
	/* Adds to h, which holds every other header that will be sent, Content-Length too. */
	int (*apply)(const struct http_auth *a, const struct http_request *r,
		     struct http_headers *h, struct call *call, struct err *e);
	/* A 401 came back; the request is repeated once. NULL: it is not. */
	void (*refused)(const struct http_auth *a);
};

struct http_response;

/* Lets requests through, or holds them back; asked for every attempt. */
struct http_gate {
	/* Blocks until the attempt may be made. An error is what http_perform() returns then. */
	int (*enter)(const struct http_gate *g, const char *method, struct call *call,
		     struct err *e);
	/* The attempt has ended; r has no status when there was no answer. */
	void (*leave)(const struct http_gate *g, const char *method, const struct http_response *r);
};

/* All borrowed until http_perform() returns. */
struct http_request {
	const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
	const char *url;    /* absolute, percent-encoded */
	const struct kv *headers;
	size_t n_headers;
	const struct http_auth *auth; /* NULL: none */
	const struct http_gate *gate; /* NULL: none */
	const char *id;   /* x-ms-client-request-id; NULL: a new one, the same for all attempts */
	const void *body; /* PUT and POST; may be NULL when body_len is 0 */
	size_t body_len;
	size_t max_body; /* bytes of an answer < 400; 0: none is expected */
	bool repeatable; /* a POST that only reads; GET, HEAD, PUT and DELETE always are */
	bool once;       /* what it says may be out of date later: only a 401 is tried again */
	bool identity;   /* ask for the bytes as they are, not compressed */
	bool direct;     /* through no proxy, whatever the environment says */
};

/* Zero-initialise; http_response_clear() when done. */
struct http_response {
	int status;
	unsigned int attempts;
	int64_t retry_after;   /* ns the service asked to wait; -1: it did not */
	char id[HTTP_ID_SIZE]; /* the x-ms-client-request-id that was sent */
	struct buf body;
	struct buf head; /* "name: value" lines, each ended by NUL */
};

/*
 * Sends the request and waits for the whole answer, repeating it where that is safe (docs/client.md
 * has the rules). 0 when there is an answer, whatever its status: an error status is the caller's
 * to turn into an errno (http_status_errno(), arm_error()). Otherwise -ETIMEDOUT, -ECANCELED,
 * -EHOSTUNREACH, -EIO (connection lost, body cut off), -EBADMSG (not HTTP), -EFBIG (more than
 * max_body), -ENOMEM, or what auth said. Clears *out first.
 */
int http_perform(struct http *h, const struct http_request *r, struct call *call,
		 struct http_response *out, struct err *e);
void http_response_clear(struct http_response *r);

/* The value of an answer's header (any case), or NULL. Borrowed from r. */
const char *http_response_header(const struct http_response *r, const char *name);

/* Waits until the (clock_mono()) time; 0, or -ECANCELED, or -ETIMEDOUT when the deadline is first.
 */
int http_pause(struct http *h, struct call *call, int64_t until);

/* The negative errno that an error status stands for; 0 below 300. The one table of them. */
int http_status_errno(int status);

/*
 * A request's path for logs and texts: without host and query, from the resource's kind on
 * ("workspaces/ws/environments/x"), shortened in the middle when it is long.
 */
enum { HTTP_SHOWN_PATH = 200 };
void http_shown_path(const char *url, char out[HTTP_SHOWN_PATH]);

/* Strings are copied. -ENOMEM, or -EIO when libcurl can't be set up. */
int http_new(const struct http_conf *conf, struct http **out, struct err *e);

/* Ends all that waits with -ECANCELED, and all that follows. Returns at once. */
void http_stop(struct http *h);

/* Stops, joins the thread, frees. Nobody may be in a call any more. NULL is allowed. */
void http_free(struct http *h);

#endif
