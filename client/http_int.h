/*
 * http_int - what the parts of http share: the loop and queue (http.c), one transfer
 * (http_transfer.c), attempts (http_retry.c), errnos (http_error.c).
 */
#ifndef MLENVFS_CLIENT_HTTP_INT_H
#define MLENVFS_CLIENT_HTTP_INT_H

#include <curl/curl.h>
#include <pthread.h>
#include <sys/queue.h>

#include "client/http.h"

enum { HTTP_PRIOS = CALL_PREFETCH + 1 };

enum transfer_state { TRANSFER_QUEUED, TRANSFER_RUNNING, TRANSFER_DONE };

struct transfer {
	struct http *http;
	TAILQ_ENTRY(transfer) link; /* queue (under lock) or running list (I/O thread) */

	/* set when made, not changed after */
	CURL *easy;
	struct curl_slist *headers;
	char *url;
	char *body;
	size_t body_len;
	size_t max_body;
	enum call_prio prio;

	/* the I/O thread's until done, then the caller's */
	struct buf in;
	struct buf head;
	char curl_text[CURL_ERROR_SIZE];
	size_t error_seen; /* bytes of an error body, kept or not */
	bool too_large;
	bool cut; /* an error body, of which enough was seen */
	int status;
	bool sent; /* some of the request went out */

	/* protected by http->lock */
	unsigned int refs;
	enum transfer_state state;
	bool cancelled; /* by the call */
	bool abandoned; /* its caller has gone */
	bool stopped;   /* by http_stop() */
	CURLcode result;
	pthread_cond_t wake;
};

TAILQ_HEAD(transfers, transfer);

struct http {
	CURLM *multi;
	CURLSH *share; /* TLS sessions; used by the I/O thread only */
	pthread_t thread;
	char *unix_socket;
	char *socket_origin;
	char *user_agent;
	char *ca_file;
	char *ca_path;
	unsigned int max_transfers;
	int64_t connect_timeout;
	int64_t backoff;

	pthread_mutex_t lock;
	/* protected by lock */
	struct transfers queue[HTTP_PRIOS];
	bool stopping;
	pthread_cond_t pause; /* broadcast at stop and at a cancelled pause */

	/* the I/O thread's */
	struct transfers running;
	unsigned int n_running;
};

/* Whether another attempt could help, and whether the request can have been seen. */
enum http_retry { HTTP_RETRY_NO, HTTP_RETRY_SAFE, HTTP_RETRY_ALWAYS };

/* One attempt. headers are all of them. Fills *again for a failure. */
int http_once(struct http *h, const struct http_request *r, const struct http_headers *headers,
	      struct call *call, struct http_response *out, enum http_retry *again, struct err *e);

/* http_transfer.c. A new one has one reference and is ready to be added to the multi. */
struct transfer *transfer_new(struct http *h, const struct http_request *r,
			      const struct http_headers *headers, int64_t deadline,
			      enum call_prio prio);
void transfer_free(struct transfer *t);

/* Reads what libcurl knows of a finished transfer. I/O thread. */
void transfer_finish(struct transfer *t);

/* The errno and text of a finished transfer that has no answer; 0 when it has one. */
int transfer_error(const struct transfer *t, enum http_retry *again, struct err *e);

/* http_retry.c. Whether asking twice is as good as asking once. */
bool http_repeatable(const struct http_request *r);

/* http_error.c */
int http_curl_errno(CURLcode code, enum http_retry *again);
bool http_status_retry(int status, bool repeatable);

#endif
