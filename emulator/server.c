#include "emulator/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/log.h"
#include "emulator/certs.h"
#include "emulator/counters.h"
#include "emulator/dispatch.h"
#include "emulator/entra.h"
#include "emulator/faults.h"
#include "emulator/reply.h"
#include "emulator/route.h"
#include "emulator/wire.h"

enum {
	LISTENERS_MAX = 8,
	CONNECTIONS_MAX = 512, /* of one listener; more wait in its backlog */
	IDLE_TIMEOUT_S = 120,
	CONNECTION_MEMORY = 128 * 1024, /* head of a request, and pieces of its body */
	URI_MAX = 64 * 1024,
	HOST_MAX = 255,
	BASE_URL_SIZE = HOST_MAX + 16,
	DRAIN_MAX = 2 * EMU_BODY_MAX, /* of a body that is too large: read and dropped before 413 */
};

#define BODIES_MAX (512ULL * 1024 * 1024) /* of all requests that are arriving */

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* A listening socket. */
struct listener {
	struct server *server;
	struct MHD_Daemon *daemon;
	bool tls;
};

struct server {
	struct emu *emu;
	int stop_fd; /* readable once the service ends */
	atomic_ullong bodies;
	struct listener listeners[LISTENERS_MAX];
	size_t n;
};

/* A request while it arrives. */
struct arrival {
	struct server *server;
	bool tls;
	char *uri; /* as sent */
	char *path, *query;
	struct buf body;
	size_t received;
	bool begun;
	bool too_long; /* the URI */
	bool too_large;
	bool too_busy;
};

/* The path and query; a proxy's form of the request names the host again. */
static const char *without_host(const char *uri)
{
	const char *host = strncasecmp(uri, "http://", 7) == 0    ? uri + 7
			   : strncasecmp(uri, "https://", 8) == 0 ? uri + 8
								  : NULL;
	const char *path = host ? strchr(host, '/') : NULL;

	return path ? path : uri;
}

static void *arrival_new(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct arrival *a = calloc(1, sizeof(*a));
	const struct listener *l = cls;
	char *query;

	(void)conn;
	if (!a)
		return NULL;
	a->server = l->server;
	a->tls = l->tls;
	uri = without_host(uri);
	a->too_long = strnlen(uri, URI_MAX + 1) > URI_MAX;
	a->uri = strndup(uri, URI_MAX);
	if (!a->uri) {
		free(a);
		return NULL;
	}
	query = strchr(a->uri, '?');
	if (query)
		*query++ = '\0';
	a->path = a->uri;
	a->query = query ? query : a->uri + strlen(a->uri);
	a->body = (struct buf)BUF_INIT(dispatch_is_blob(a->path) ? EMU_BODY_MAX : EMU_JSON_MAX);
	return a;
}

static void drop_body(struct arrival *a)
{
	atomic_fetch_sub(&a->server->bodies, a->body.len);
	/* Forms hold secrets, and so do applications that are set up. */
	if (entra_is_path(a->path) || dispatch_is_control(a->path))
		buf_wipe(&a->body);
	else
		buf_free(&a->body);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	struct arrival *a = *con_cls;

	(void)cls;
	(void)conn;
	(void)why;
	if (!a)
		return;
	drop_body(a);
	free(a->uri);
	free(a);
	*con_cls = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_cls,
			  enum MHD_ConnectionNotificationCode code)
{
	const struct listener *l = cls;

	(void)conn;
	(void)socket_cls;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		counters_connection(l->server->emu->counters);
}

/* Takes a piece of the body; one that is too large is read to its end, and answered then. */
static enum MHD_Result take(struct arrival *a, const char *data, size_t len)
{
	a->received += len;
	if (a->received > DRAIN_MAX)
		return MHD_NO;
	if (a->received > a->body.max)
		a->too_large = true;
	else if (!a->too_busy && (atomic_fetch_add(&a->server->bodies, len) + len > BODIES_MAX ||
				  buf_add(&a->body, data, len))) {
		atomic_fetch_sub(&a->server->bodies, len);
		a->too_busy = true;
	}
	if (a->too_large || a->too_busy)
		drop_body(a);
	return MHD_YES;
}

struct header_list {
	struct kv kv[EMU_HEADERS_MAX];
	size_t n;
	bool too_many;
};

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *key,
				  const char *value)
{
	struct header_list *l = cls;

	(void)kind;
	if (l->n == EMU_HEADERS_MAX) {
		l->too_many = true;
		return MHD_NO;
	}
	l->kv[l->n++] = (struct kv){key, value ? value : ""};
	return MHD_YES;
}

/* What the client calls us; only what can be in a Host header may come back in our links. */
static void make_base_url(bool tls, const char *host, char out[BASE_URL_SIZE])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789.-_:[]";

	if (!host || !*host || strlen(host) > HOST_MAX || strspn(host, plain) != strlen(host))
		host = "localhost";
	snprintf(out, BASE_URL_SIZE, "%s://%s", tls ? "https" : "http", host);
}

static int connection_fd(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

static void *connection_tls(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	return info ? info->tls_session : NULL;
}

/* A body-less answer whose length is not that of its (absent) body: to HEAD. */
static ssize_t no_content(void *cls, uint64_t pos, char *out, size_t max)
{
	(void)cls;
	(void)pos;
	(void)out;
	(void)max;
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *make_response(struct emu_reply *reply)
{
	size_t len;
	char *body;

	if (reply->head_only)
		return MHD_create_response_from_callback(reply->content_length, 4096, no_content,
							 NULL, NULL);
	body = buf_steal(&reply->body, &len);
	if (!body)
		return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	return MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_reply(struct MHD_Connection *conn, struct emu_reply *reply)
{
	struct MHD_Response *response = make_response(reply);
	enum MHD_Result ret = MHD_YES;

	if (!response)
		return MHD_NO;
	if (reply->content_type[0] && reply->status != 204)
		ret = MHD_add_response_header(response, "Content-Type", reply->content_type);
	for (size_t i = 0; i < reply->n_headers && ret == MHD_YES; i++)
		ret = MHD_add_response_header(response, reply->headers[i].name,
					      reply->headers[i].value);
	if (ret == MHD_YES)
		ret = MHD_queue_response(conn, (unsigned int)reply->status, response);
	MHD_destroy_response(response);
	return ret;
}

/* The answer that the fault plan gives instead of the route's. */
static void fault_reply(const struct emu_request *req, const struct fault *f,
			struct emu_reply *reply)
{
	dispatch_error(req, reply, f->status, f->code, "This answer is in the fault plan.");
	if (f->retry_after >= 0)
		emu_reply_header(reply, "Retry-After", "%d", f->retry_after);
	if (f->body[0]) {
		buf_reset(&reply->body);
		buf_addstr(&reply->body, f->body);
	}
}

static void garbage_body(const struct emu_request *req, struct emu_reply *reply)
{
	dispatch_error(req, reply, 200, "", "");
	buf_reset(&reply->body);
	buf_addstr(&reply->body, "{\"value\": [<html>\x01\xff this is not JSON");
}

/* A request that has arrived, while it is answered. */
struct complete {
	struct server *server;
	struct arrival *arrival;
	struct MHD_Connection *conn;
	struct wire wire;
	struct emu_request req;
	struct header_list headers;
	struct kv params[QUERY_PARAMS_MAX];
	char *query_text;
	int query_error;
	struct err error;
	char base_url[BASE_URL_SIZE];
	struct fault fault;
	struct emu_reply reply;
};

static void complete_fill(struct complete *c, struct arrival *a, struct MHD_Connection *conn,
			  const char *method)
{
	c->server = a->server;
	c->arrival = a;
	c->conn = conn;
	c->wire = (struct wire){.fd = connection_fd(conn),
				.stop_fd = a->server->stop_fd,
				.tls = a->tls ? connection_tls(conn) : NULL};
	c->headers.n = 0;
	c->headers.too_many = false;
	err_clear(&c->error);
	c->fault = (struct fault){.truncate = -1, .retry_after = -1};
	reply_init(&c->reply);
	c->req = (struct emu_request){.method = method,
				      .path = a->path,
				      .query = a->query,
				      .headers = c->headers.kv,
				      .params = c->params,
				      .body = a->body.data,
				      .body_len = a->body.len,
				      .base_url = c->base_url};
	MHD_get_connection_values(conn, MHD_HEADER_KIND, add_header, &c->headers);
	c->req.n_headers = c->headers.n;
	c->query_error =
		query_split(a->query, c->params, &c->req.n_params, &c->query_text, &c->error);
	make_base_url(a->tls, emu_header(&c->req, "Host"), c->base_url);
}

static void complete_free(struct complete *c)
{
	reply_free(&c->reply);
	free(c->query_text);
	free(c);
}

/* What is wrong with a request whatever its route. */
struct objection {
	int status; /* 0: nothing */
	const char *code;
	const char *message;
};

static struct objection find_objection(const struct complete *c)
{
	const struct arrival *a = c->arrival;

	if (a->too_large)
		return (struct objection){413, "RequestEntityTooLarge",
					  "The request content is too large."};
	if (a->too_busy)
		return (struct objection){503, "ServerBusy", "Too much is being uploaded."};
	if (c->headers.too_many)
		return (struct objection){431, "RequestHeadersTooLarge",
					  "The request has too many headers."};
	if (a->too_long)
		return (struct objection){414, "RequestUriTooLong", "The URL is too long."};
	if (c->query_error)
		return (struct objection){400, "InvalidRequestUri",
					  err_text(&c->error, c->query_error)};
	return (struct objection){0};
}

/*
 * false: the reply holds the error. Who may not ask is told so by dispatch, whatever else is wrong;
 * that is found out here only when there is something else, since a token takes time to check.
 */
static bool check(struct complete *c)
{
	const struct objection o = find_objection(c);

	if (!o.status || !dispatch_authorized(c->server->emu, &c->req))
		return true;
	dispatch_error(&c->req, &c->reply, o.status, o.code, o.message);
	return false;
}

/* Faults that come instead of any answer. true: it was one, or the peer went away meanwhile. */
static bool fault_before(struct complete *c)
{
	const struct fault *f = &c->fault;

	/* libmicrohttpd would count the wait as idleness. */
	if (f->delay_ms || f->body_delay_ms)
		MHD_set_connection_option(c->conn, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
	if (f->delay_ms && !wire_wait(&c->wire, f->delay_ms))
		return true;
	if (f->reset)
		wire_reset(&c->wire);
	else if (f->half_close)
		wire_half_close(&c->wire);
	else if (f->garbage)
		wire_garbage(&c->wire);
	else if (f->huge)
		wire_huge(&c->wire, f->huge);
	return f->reset || f->half_close || f->garbage || f->huge || f->close;
}

static void fill_reply(struct complete *c)
{
	if (c->fault.active && c->fault.status)
		fault_reply(&c->req, &c->fault, &c->reply);
	else if (c->fault.active && c->fault.garbage_body)
		garbage_body(&c->req, &c->reply);
	else if (check(c))
		dispatch(c->server->emu, &c->req, &c->reply);
}

static void count(struct complete *c, uint64_t sent)
{
	if (!dispatch_is_control(c->req.path))
		counters_add(c->server->emu->counters, dispatch_name(&c->req), c->req.body_len,
			     sent);
}

static enum MHD_Result finish(struct complete *c)
{
	const struct fault *f = &c->fault;

	count(c, c->reply.body.len);
	if (f->corrupt && c->reply.body.len)
		c->reply.body.data[c->reply.body.len / 2] ^= 1;
	if (!f->active)
		return send_reply(c->conn, &c->reply);
	if (f->lost)
		return MHD_NO;
	if (f->truncate < 0 && !f->wrong_length && !f->body_delay_ms)
		return send_reply(c->conn, &c->reply);
	wire_reply(&c->wire, &c->reply, f, strcmp(c->req.method, "HEAD") == 0);
	return MHD_NO;
}

static enum MHD_Result answer(struct complete *c)
{
	if (!dispatch_is_control(c->req.path))
		faults_match(c->server->emu->faults, c->req.method, c->req.path, &c->fault);
	if (c->fault.active) {
		c->req.fault = &c->fault;
		if (fault_before(c)) {
			count(c, c->fault.huge);
			return MHD_NO;
		}
	}
	fill_reply(c);
	return finish(c);
}

static enum MHD_Result answer_counted(struct complete *c)
{
	enum MHD_Result ret;

	counters_begin(c->server->emu->counters);
	ret = answer(c);
	counters_end(c->server->emu->counters);
	return ret;
}

/* The whole request is here. MHD_NO closes the connection. */
static enum MHD_Result serve(struct arrival *a, struct MHD_Connection *conn, const char *method)
{
	struct complete *c = malloc(sizeof(*c));
	enum MHD_Result ret;

	if (!c)
		return MHD_NO;
	complete_fill(c, a, conn, method);
	ret = dispatch_is_control(c->req.path) ? answer(c) : answer_counted(c);
	complete_free(c);
	return ret;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_len, void **con_cls)
{
	struct arrival *a = *con_cls;
	enum MHD_Result ret;

	(void)cls;
	(void)url;
	(void)version;
	if (!a)
		return MHD_NO;
	if (!a->begun) {
		a->begun = true;
		return MHD_YES;
	}
	if (!*data_len)
		return serve(a, conn, method);
	ret = take(a, data, *data_len);
	*data_len = 0;
	return ret;
}

struct server *server_new(struct emu *emu, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	s->emu = emu;
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (s->stop_fd < 0) {
		err_set(e, -errno, "eventfd: %s", strerror(errno));
		free(s);
		return NULL;
	}
	return s;
}

static struct MHD_Daemon *start_daemon(struct listener *l, int fd, const struct certs *certs)
{
	unsigned int flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			     MHD_USE_POLL | MHD_USE_ITC;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, certs ? certs->chain : NULL},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, certs ? certs->key : NULL},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	if (certs)
		flags |= MHD_USE_TLS;
	return MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
				fd, MHD_OPTION_URI_LOG_CALLBACK, arrival_new, l,
				MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_TIMEOUT_S,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				MHD_OPTION_ARRAY, certs ? tls : none, MHD_OPTION_END);
}

int server_listen(struct server *s, int fd, const struct certs *certs, struct err *e)
{
	struct listener *l = &s->listeners[s->n];

	if (s->n == LISTENERS_MAX) {
		close(fd);
		return err_set(e, -EMFILE, "too many listening sockets");
	}
	if (certs && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
		close(fd);
		return err_set(e, -EOPNOTSUPP,
			       "libmicrohttpd was built without TLS here: put a proxy that "
			       "speaks TLS in front of plain HTTP instead");
	}
	*l = (struct listener){.server = s, .tls = certs != NULL};
	l->daemon = start_daemon(l, fd, certs);
	if (!l->daemon) {
		close(fd);
		return err_set(e, -EIO, "the HTTP server could not be started");
	}
	s->n++;
	return 0;
}

void server_free(struct server *s)
{
	static const uint64_t one = 1;

	if (!s)
		return;
	/* Nobody reads it, so it stays readable for everyone who waits. */
	if (write(s->stop_fd, &one, sizeof(one)) < 0)
		log_warn("emulator: eventfd: %s", strerror(errno));
	for (size_t i = 0; i < s->n; i++)
		MHD_stop_daemon(s->listeners[i].daemon);
	close(s->stop_fd);
	free(s);
}
