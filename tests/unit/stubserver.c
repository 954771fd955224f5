#include "tests/unit/stubserver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/buf.h"

enum {
	RULES_MAX = 256,
	REQUESTS_MAX = 4096, /* remembered; more are counted only */
	CONNECTIONS_MAX = 512,
	REQUEST_SIZE_MAX = 64 * 1024 * 1024,
	ANSWER_SIZE_MAX = 256 * 1024 * 1024,
};

#define CHECK(cond)                                                                             \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			fprintf(stderr, "stubserver: %s failed: %s\n", #cond, strerror(errno)); \
			abort();                                                                \
		}                                                                               \
	} while (0)

struct seen {
	char *head;
	char *body;
	size_t body_len;
};

struct rule {
	struct stub_rule is;
	int used;
};

struct connection {
	struct stub *stub;
	pthread_t thread;
	int fd;
};

struct stub {
	char base[64];
	char path[108];
	int listener;
	int stop_fd; /* readable once the server is to end */
	pthread_t thread;

	pthread_mutex_t lock;
	/* protected by lock */
	pthread_cond_t arrived;
	struct rule rules[RULES_MAX];
	size_t n_rules;
	struct seen seen[REQUESTS_MAX];
	size_t n_seen;
	unsigned int n_requests;
	struct connection connections[CONNECTIONS_MAX];
	size_t n_connections;
};

const char *stub_base(const struct stub *s)
{
	return s->base;
}

/* ---- sending ---- */

/* Waits; true when the server is to end. ms < 0: for ever. */
static bool wait_or_stop(struct stub *s, int ms)
{
	struct pollfd p = {.fd = s->stop_fd, .events = POLLIN};

	return poll(&p, 1, ms) != 0;
}

static bool send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void add_expanded(struct stub *s, struct buf *b, const char *text, size_t len)
{
	static const char mark[] = "{base}";
	const char *end = text + len;

	while (text < end) {
		const char *at = memmem(text, (size_t)(end - text), mark, sizeof(mark) - 1);

		buf_add(b, text, (size_t)((at ? at : end) - text));
		if (!at)
			break;
		buf_addstr(b, s->base);
		text = at + sizeof(mark) - 1;
	}
}

static void reset_connection(int fd)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

/* Sends what the rule says; false when the connection is to be closed. */
static void add_filling(struct buf *body, size_t n)
{
	char block[4096];
	size_t part;

	memset(block, 'x', sizeof(block));
	for (; n; n -= part) {
		part = n < sizeof(block) ? n : sizeof(block);
		buf_add(body, block, part);
	}
}

static bool answer(struct stub *s, int fd, const struct stub_rule *r, bool is_head)
{
	struct buf head = BUF_INIT(ANSWER_SIZE_MAX), body = BUF_INIT(ANSWER_SIZE_MAX);
	size_t send_len;
	bool keep = false;

	if (r->delay_ms && wait_or_stop(s, (int)r->delay_ms))
		return false;
	if (r->wrong == STUB_HANG) {
		wait_or_stop(s, -1);
		return false;
	}
	if (r->wrong == STUB_RESET)
		reset_connection(fd);
	if (r->wrong == STUB_RESET || r->wrong == STUB_CLOSE)
		return false;
	if (r->body)
		add_expanded(s, &body, r->body, r->body_len ? r->body_len : strlen(r->body));
	add_filling(&body, r->fill);
	if (r->wrong == STUB_RAW) {
		send_all(fd, buf_str(&body), body.len);
		goto out;
	}
	buf_addf(&head, "HTTP/1.1 %d Stub\r\nContent-Length: %zu\r\n", r->status ? r->status : 200,
		 body.len);
	if (r->headers)
		add_expanded(s, &head, r->headers, strlen(r->headers));
	buf_addstr(&head, "\r\n");
	send_len = is_head ? 0 : body.len;
	if (r->wrong == STUB_TRUNCATE || r->wrong == STUB_STALL)
		send_len /= 2;
	buf_add(&head, buf_str(&body), send_len);
	keep = send_all(fd, buf_str(&head), head.len) && r->wrong == STUB_RIGHT;
	if (r->wrong == STUB_STALL)
		wait_or_stop(s, -1);
out:
	buf_free(&head);
	buf_free(&body);
	return keep;
}

/* ---- receiving ---- */

static bool matches(const struct stub_rule *r, const char *head)
{
	return strncmp(head, r->match, strlen(r->match)) == 0 &&
	       (!r->contain || strstr(head, r->contain));
}

static void take_rule(struct stub *s, const char *head, struct stub_rule *out)
{
	*out = (struct stub_rule){.status = 599, .body = "no rule"};
	for (size_t i = 0; i < s->n_rules; i++) {
		struct rule *r = &s->rules[i];

		if (!matches(&r->is, head) || (r->is.times && r->used >= r->is.times))
			continue;
		r->used++;
		*out = r->is;
		return;
	}
}

static void remember(struct stub *s, const char *head, const char *body, size_t body_len,
		     struct stub_rule *rule)
{
	pthread_mutex_lock(&s->lock);
	if (s->n_seen < REQUESTS_MAX) {
		struct seen *seen = &s->seen[s->n_seen++];

		seen->head = strdup(head);
		seen->body = malloc(body_len + 1);
		CHECK(seen->head && seen->body);
		memcpy(seen->body, body, body_len);
		seen->body[body_len] = '\0';
		seen->body_len = body_len;
	}
	s->n_requests++;
	take_rule(s, head, rule);
	pthread_cond_broadcast(&s->arrived);
	pthread_mutex_unlock(&s->lock);
}

/* Reads until there are len bytes (or, with len 0, a whole head); false at the end. */
static bool receive(int fd, struct buf *in, size_t len)
{
	char data[16 * 1024];

	while (len ? in->len < len : !memmem(buf_str(in), in->len, "\r\n\r\n", 4)) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || buf_add(in, data, (size_t)n))
			return false;
	}
	return true;
}

static bool serve_one(struct stub *s, int fd, struct buf *in)
{
	struct stub_rule rule;
	char *head, *length;
	size_t head_len, body_len = 0;
	bool keep;

	if (!receive(fd, in, 0))
		return false;
	head_len = (size_t)((char *)memmem(in->data, in->len, "\r\n\r\n", 4) - in->data) + 4;
	head = strndup(in->data, head_len);
	CHECK(head);
	length = stub_header(head, "Content-Length");
	if (length)
		body_len = (size_t)strtoul(length, NULL, 10);
	free(length);
	keep = receive(fd, in, head_len + body_len);
	if (keep) {
		remember(s, head, in->data + head_len, body_len, &rule);
		memmove(in->data, in->data + head_len + body_len, in->len - head_len - body_len);
		in->len -= head_len + body_len;
		keep = answer(s, fd, &rule, strncmp(head, "HEAD ", 5) == 0);
	}
	free(head);
	return keep;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	struct buf in = BUF_INIT(REQUEST_SIZE_MAX);

	while (serve_one(c->stub, c->fd, &in))
		;
	buf_free(&in);
	/* The descriptor stays the connection's until the end: stub_stop() may still shut it. */
	pthread_mutex_lock(&c->stub->lock);
	close(c->fd);
	c->fd = -1;
	pthread_mutex_unlock(&c->stub->lock);
	return NULL;
}

static void accept_one(struct stub *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
	struct connection *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	pthread_mutex_lock(&s->lock);
	CHECK(s->n_connections < CONNECTIONS_MAX);
	c = &s->connections[s->n_connections++];
	c->stub = s;
	c->fd = fd;
	CHECK(pthread_create(&c->thread, NULL, serve, c) == 0);
	pthread_mutex_unlock(&s->lock);
}

static void *accept_all(void *arg)
{
	struct stub *s = arg;

	for (;;) {
		struct pollfd p[] = {{.fd = s->stop_fd, .events = POLLIN},
				     {.fd = s->listener, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		if (p[1].revents)
			accept_one(s);
	}
	return NULL;
}

/* ---- life ---- */

static void listen_tcp(struct stub *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(s->listener >= 0);
	CHECK(bind(s->listener, (struct sockaddr *)&a, sizeof(a)) == 0);
	CHECK(getsockname(s->listener, (struct sockaddr *)&a, &len) == 0);
	snprintf(s->base, sizeof(s->base), "http://127.0.0.1:%u", ntohs(a.sin_port));
}

static void listen_unix(struct stub *s, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	CHECK(strlen(path) < sizeof(a.sun_path));
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	snprintf(s->path, sizeof(s->path), "%s", path);
	unlink(path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(s->listener >= 0);
	CHECK(bind(s->listener, (struct sockaddr *)&a, sizeof(a)) == 0);
	snprintf(s->base, sizeof(s->base), "http://localhost");
}

struct stub *stub_start(const char *path)
{
	struct stub *s = calloc(1, sizeof(*s));

	CHECK(s);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->arrived, NULL);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	CHECK(s->stop_fd >= 0);
	if (path)
		listen_unix(s, path);
	else
		listen_tcp(s);
	CHECK(listen(s->listener, 64) == 0);
	CHECK(pthread_create(&s->thread, NULL, accept_all, s) == 0);
	return s;
}

void stub_stop(struct stub *s)
{
	eventfd_write(s->stop_fd, 1);
	pthread_join(s->thread, NULL);
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_connections; i++)
		if (s->connections[i].fd >= 0)
			shutdown(s->connections[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < s->n_connections; i++)
		pthread_join(s->connections[i].thread, NULL);
	for (size_t i = 0; i < s->n_seen; i++) {
		free(s->seen[i].head);
		free(s->seen[i].body);
	}
	close(s->listener);
	close(s->stop_fd);
	if (s->path[0])
		unlink(s->path);
	pthread_cond_destroy(&s->arrived);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void stub_add(struct stub *s, const struct stub_rule *rule)
{
	pthread_mutex_lock(&s->lock);
	CHECK(s->n_rules < RULES_MAX);
	s->rules[s->n_rules++] = (struct rule){.is = *rule};
	pthread_mutex_unlock(&s->lock);
}

void stub_json(struct stub *s, const char *match, int status, const char *body)
{
	struct stub_rule r = {.match = match,
			      .status = status,
			      .headers = "Content-Type: application/json; charset=utf-8\r\n",
			      .body = body};

	stub_add(s, &r);
}

void stub_clear(struct stub *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_rules = 0;
	pthread_mutex_unlock(&s->lock);
}

/* ---- looking ---- */

unsigned int stub_count(struct stub *s, const char *match)
{
	unsigned int n = 0;

	pthread_mutex_lock(&s->lock);
	if (!*match)
		n = s->n_requests;
	else
		for (size_t i = 0; i < s->n_seen; i++)
			n += strncmp(s->seen[i].head, match, strlen(match)) == 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned int stub_connections(struct stub *s)
{
	unsigned int n;

	pthread_mutex_lock(&s->lock);
	n = (unsigned int)s->n_connections;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void stub_wait(struct stub *s, unsigned int requests)
{
	pthread_mutex_lock(&s->lock);
	while (s->n_requests < requests)
		pthread_cond_wait(&s->arrived, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static const struct seen *find_seen(struct stub *s, const char *match, unsigned int nth)
{
	for (size_t i = 0; i < s->n_seen; i++)
		if (strncmp(s->seen[i].head, match, strlen(match)) == 0 && nth-- == 0)
			return &s->seen[i];
	return NULL;
}

char *stub_head(struct stub *s, const char *match, unsigned int nth)
{
	const struct seen *seen;
	char *copy;

	pthread_mutex_lock(&s->lock);
	seen = find_seen(s, match, nth);
	copy = strdup(seen ? seen->head : "");
	pthread_mutex_unlock(&s->lock);
	CHECK(copy);
	return copy;
}

char *stub_body(struct stub *s, const char *match, unsigned int nth, size_t *len)
{
	const struct seen *seen;
	char *copy;

	pthread_mutex_lock(&s->lock);
	seen = find_seen(s, match, nth);
	copy = calloc(1, (seen ? seen->body_len : 0) + 1);
	CHECK(copy);
	if (seen)
		memcpy(copy, seen->body, seen->body_len);
	if (len)
		*len = seen ? seen->body_len : 0;
	pthread_mutex_unlock(&s->lock);
	return copy;
}

char *stub_header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(head, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n")) {
		if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
			p += 2 + n + 1;
			p += strspn(p, " ");
			return strndup(p, strcspn(p, "\r"));
		}
	}
	return NULL;
}
