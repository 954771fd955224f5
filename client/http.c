/*
 * The loop: one thread owns the multi handle and every transfer that runs. Others reach it through
 * the queue and curl_multi_wakeup() only.
 *
 *   QUEUED --(a place is free)--> RUNNING --(answer, error, stop)--> DONE
 *      |                             |
 *      +-(caller gives up: the       +-(caller gives up: abandoned is set, the I/O
 *         caller takes it out)          thread takes it down; nobody reads it)
 *
 * Lock order: call->lock, then http->lock (transfer_wake() runs under the former).
 */
#include "client/http.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/http_int.h"

enum {
	POLL_MS = 1000, /* the longest the loop sleeps; it is woken for everything */
	CONNECT_TIMEOUT_S = 10,
	BACKOFF_MS = 250,
};

/* Gives a reference back. Call without the lock. */
static void transfer_unref(struct transfer *t)
{
	struct http *h = t->http;
	bool last;

	pthread_mutex_lock(&h->lock);
	last = --t->refs == 0;
	pthread_mutex_unlock(&h->lock);
	if (last)
		transfer_free(t);
}

/* ---- the I/O thread ---- */

static void io_done(struct http *h, struct transfer *t, CURLcode result, bool stopped)
{
	pthread_mutex_lock(&h->lock);
	t->result = result;
	t->stopped = stopped;
	t->state = TRANSFER_DONE;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&h->lock);
	transfer_unref(t);
}

static void io_end(struct http *h, struct transfer *t, CURLcode result, bool stopped)
{
	transfer_finish(t);
	curl_multi_remove_handle(h->multi, t->easy);
	curl_easy_setopt(t->easy, CURLOPT_SHARE, NULL);
	TAILQ_REMOVE(&h->running, t, link);
	h->n_running--;
	io_done(h, t, result, stopped);
}

static struct transfer *io_next(struct http *h)
{
	struct transfer *t = NULL;

	pthread_mutex_lock(&h->lock);
	for (int p = 0; p < HTTP_PRIOS && !t; p++) {
		t = TAILQ_FIRST(&h->queue[p]);
		if (t) {
			TAILQ_REMOVE(&h->queue[p], t, link);
			t->state = TRANSFER_RUNNING;
		}
	}
	pthread_mutex_unlock(&h->lock);
	return t;
}

static void io_start(struct http *h)
{
	struct transfer *t;

	while (h->n_running < h->max_transfers && (t = io_next(h))) {
		TAILQ_INSERT_TAIL(&h->running, t, link);
		h->n_running++;
		/* Here, not where it is made: the share has no locks and is this thread's. */
		curl_easy_setopt(t->easy, CURLOPT_SHARE, h->share);
		if (curl_multi_add_handle(h->multi, t->easy) != CURLM_OK)
			io_end(h, t, CURLE_OUT_OF_MEMORY, false);
	}
}

static void io_drop_abandoned(struct http *h)
{
	struct transfer *t, *next;

	for (t = TAILQ_FIRST(&h->running); t; t = next) {
		bool abandoned;

		next = TAILQ_NEXT(t, link);
		pthread_mutex_lock(&h->lock);
		abandoned = t->abandoned;
		pthread_mutex_unlock(&h->lock);
		if (abandoned)
			io_end(h, t, CURLE_ABORTED_BY_CALLBACK, false);
	}
}

static void io_collect(struct http *h)
{
	struct CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		struct transfer *t = NULL;
		CURLcode result = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		io_end(h, t, result, false);
	}
}

static bool io_stopping(struct http *h)
{
	bool stopping;

	pthread_mutex_lock(&h->lock);
	stopping = h->stopping;
	pthread_mutex_unlock(&h->lock);
	return stopping;
}

static void io_end_all(struct http *h)
{
	struct transfer *t;

	while ((t = TAILQ_FIRST(&h->running)))
		io_end(h, t, CURLE_ABORTED_BY_CALLBACK, true);
	while ((t = io_next(h)))
		io_done(h, t, CURLE_ABORTED_BY_CALLBACK, true);
}

static void *io_main(void *arg)
{
	struct http *h = arg;
	int active;

	while (!io_stopping(h)) {
		io_drop_abandoned(h);
		io_start(h);
		curl_multi_poll(h->multi, NULL, 0, POLL_MS, NULL);
		curl_multi_perform(h->multi, &active);
		io_collect(h);
	}
	io_end_all(h);
	return NULL;
}

/* ---- the caller's side ---- */

/* Called by call_cancel() under call->lock. */
static void transfer_wake(void *arg)
{
	struct transfer *t = arg;

	pthread_mutex_lock(&t->http->lock);
	t->cancelled = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->http->lock);
}

static int transfer_enqueue(struct http *h, struct transfer *t)
{
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	if (h->stopping) {
		rc = -ECANCELED;
	} else {
		t->refs++;
		t->state = TRANSFER_QUEUED;
		TAILQ_INSERT_TAIL(&h->queue[t->prio], t, link);
	}
	pthread_mutex_unlock(&h->lock);
	if (!rc)
		curl_multi_wakeup(h->multi);
	return rc;
}

/* Waits for the end; 0 when it is done, else why the wait ended. */
static int transfer_wait(struct http *h, struct transfer *t, int64_t deadline)
{
	struct timespec until = clock_timespec(deadline);
	bool dequeued = false;
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	while (t->state != TRANSFER_DONE && !t->cancelled && !rc)
		rc = -pthread_cond_timedwait(&t->wake, &h->lock, &until);
	if (t->state == TRANSFER_DONE) {
		rc = t->stopped ? -ECANCELED : 0;
	} else {
		rc = t->cancelled ? -ECANCELED : -ETIMEDOUT;
		t->abandoned = true;
		if (t->state == TRANSFER_QUEUED) {
			TAILQ_REMOVE(&h->queue[t->prio], t, link);
			dequeued = true;
		}
	}
	pthread_mutex_unlock(&h->lock);
	if (dequeued)
		transfer_unref(t);
	else if (rc)
		curl_multi_wakeup(h->multi);
	return rc;
}

static void transfer_take(struct transfer *t, struct http_response *out)
{
	out->status = t->status;
	out->body = t->in;
	out->head = t->head;
	t->in = (struct buf){0};
	t->head = (struct buf){0};
}

static int wait_error(int rc, const char *url, struct err *e)
{
	char path[HTTP_SHOWN_PATH];

	http_shown_path(url, path);
	return err_set(e, rc, "%s: %s", path, rc == -ETIMEDOUT ? "no answer in time" : "cancelled");
}

int http_once(struct http *h, const struct http_request *r, const struct http_headers *headers,
	      struct call *call, struct http_response *out, enum http_retry *again, struct err *e)
{
	struct transfer *t;
	int rc;

	*again = HTTP_RETRY_NO;
	t = transfer_new(h, r, headers, call->deadline, call_prio(call));
	if (!t)
		return err_set(e, -ENOMEM, "no memory for a request");
	call_set_wake(call, transfer_wake, t);
	rc = transfer_enqueue(h, t);
	if (!rc)
		rc = transfer_wait(h, t, call->deadline);
	call_set_wake(call, NULL, NULL);
	if (rc) {
		wait_error(rc, r->url, e);
	} else {
		rc = transfer_error(t, again, e);
		if (!rc)
			transfer_take(t, out);
	}
	transfer_unref(t);
	return rc;
}

/* ---- pauses ---- */

struct pause {
	struct http *http;
	bool cancelled; /* protected by http->lock */
};

static void pause_wake(void *arg)
{
	struct pause *p = arg;

	pthread_mutex_lock(&p->http->lock);
	p->cancelled = true;
	pthread_cond_broadcast(&p->http->pause);
	pthread_mutex_unlock(&p->http->lock);
}

int http_pause(struct http *h, struct call *call, int64_t until)
{
	bool late = until >= call->deadline;
	struct timespec ts = clock_timespec(late ? call->deadline : until);
	struct pause p = {.http = h};
	int rc = 0;

	call_set_wake(call, pause_wake, &p);
	pthread_mutex_lock(&h->lock);
	while (!h->stopping && !p.cancelled && !rc)
		rc = -pthread_cond_timedwait(&h->pause, &h->lock, &ts);
	if (h->stopping || p.cancelled)
		rc = -ECANCELED;
	else
		rc = late ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&h->lock);
	call_set_wake(call, NULL, NULL);
	return rc;
}

/* ---- life ---- */

static char *copy_or_null(const char *s, bool *failed)
{
	char *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		*failed = true;
	return copy;
}

/* Who is trusted: what was said, else what curl and then the Azure CLI would go by. */
static const char *ca_file(const struct http_conf *conf)
{
	static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE",
					    "REQUESTS_CA_BUNDLE"};
	const char *ca = conf->ca_file;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && (!ca || !*ca); i++)
		ca = getenv(names[i]);
	return ca && *ca ? ca : NULL;
}

static int http_copy_conf(struct http *h, const struct http_conf *conf)
{
	const char *ca = ca_file(conf);
	bool failed = false;

	h->unix_socket = copy_or_null(conf->unix_socket, &failed);
	h->socket_origin = copy_or_null(conf->socket_origin, &failed);
	h->user_agent = copy_or_null(
		conf->user_agent ? conf->user_agent : "mlenvfs/" MLENVFS_VERSION, &failed);
	h->ca_file = copy_or_null(ca, &failed);
	h->ca_path = copy_or_null(getenv("SSL_CERT_DIR"), &failed);
	h->max_transfers = conf->max_transfers ? conf->max_transfers : HTTP_TRANSFERS_DEFAULT;
	h->connect_timeout =
		conf->connect_timeout ? conf->connect_timeout : CONNECT_TIMEOUT_S * NS_PER_S;
	h->backoff = conf->backoff ? conf->backoff : BACKOFF_MS * NS_PER_MS;
	return failed ? -ENOMEM : 0;
}

static void http_release(struct http *h)
{
	if (h->multi)
		curl_multi_cleanup(h->multi);
	if (h->share)
		curl_share_cleanup(h->share);
	pthread_cond_destroy(&h->pause);
	pthread_mutex_destroy(&h->lock);
	free(h->unix_socket);
	free(h->socket_origin);
	free(h->user_agent);
	free(h->ca_file);
	free(h->ca_path);
	free(h);
	curl_global_cleanup();
}

static struct http *http_alloc(void)
{
	struct http *h;
	pthread_condattr_t attr;

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h) {
		curl_global_cleanup();
		return NULL;
	}
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->pause, &attr);
	pthread_condattr_destroy(&attr);
	for (int p = 0; p < HTTP_PRIOS; p++)
		TAILQ_INIT(&h->queue[p]);
	TAILQ_INIT(&h->running);
	return h;
}

static int http_setup_curl(struct http *h)
{
	h->multi = curl_multi_init();
	h->share = curl_share_init();
	if (!h->multi || !h->share)
		return -ENOMEM;
	if (curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
		return -EIO;
	/* ARM and storage, each with as many as can be under way: none is closed for the other. */
	if (curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 2 * (long)h->max_transfers) !=
	    CURLM_OK)
		return -EIO;
	return 0;
}

/* Signals are for the program's other threads; SIGPIPE of a lost connection is for none. */
static int http_start_thread(struct http *h)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&h->thread, NULL, io_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int http_new(const struct http_conf *conf, struct http **out, struct err *e)
{
	struct http *h = http_alloc();
	int rc;

	if (!h)
		return err_set(e, -ENOMEM, "no memory for the HTTP client");
	rc = http_copy_conf(h, conf);
	if (!rc)
		rc = http_setup_curl(h);
	if (!rc)
		rc = http_start_thread(h);
	if (rc) {
		http_release(h);
		return err_set(e, rc, "the HTTP client can't start: %s", strerror(-rc));
	}
	*out = h;
	return 0;
}

void http_stop(struct http *h)
{
	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	pthread_cond_broadcast(&h->pause);
	pthread_mutex_unlock(&h->lock);
	curl_multi_wakeup(h->multi);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	http_stop(h);
	pthread_join(h->thread, NULL);
	http_release(h);
}
