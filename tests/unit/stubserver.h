/*
 * stubserver - a tiny scripted HTTP/1.1 server for tests of the transport: it answers what it was
 * told, wrongly where it was told so, and remembers what it was asked.
 *
 * A rule is tried in the order in which rules were added; the first that matches and is not used
 * up answers. Without a rule the answer is 599. "{base}" in a body or header stands for the
 * server's own URL. Every function may be called while requests run.
 */
#ifndef MLENVFS_TESTS_STUBSERVER_H
#define MLENVFS_TESTS_STUBSERVER_H

#include <stdbool.h>
#include <stddef.h>

struct stub;

enum stub_wrong {
	STUB_RIGHT,
	STUB_RAW,      /* body is sent as it is, head and all, then the connection is closed */
	STUB_CLOSE,    /* no answer, the connection is closed */
	STUB_RESET,    /* no answer, the connection is reset */
	STUB_TRUNCATE, /* half of the body, then the connection is closed */
	STUB_HANG,     /* no answer, ever */
	STUB_STALL,    /* head and half of the body, then nothing, ever */
};

struct stub_rule {
	const char *match;   /* "METHOD /beginning-of-path"; must stay valid */
	const char *contain; /* and the request's head has this; NULL: anything */
	int times;           /* how often; 0: always */
	int status;          /* 0: 200 */
	const char *headers; /* lines, each with its "\r\n" */
	const char *body;    /* NULL: none */
	size_t body_len;     /* 0: strlen(body) */
	size_t fill;         /* instead of body: so many bytes 'x' */
	unsigned int delay_ms;
	enum stub_wrong wrong;
};

/* path: of a Unix socket, NULL: TCP on 127.0.0.1, any port. Aborts the test when it can't. */
struct stub *stub_start(const char *path);
void stub_stop(struct stub *s);

/* "http://127.0.0.1:PORT", or "http://localhost" on a Unix socket. */
const char *stub_base(const struct stub *s);

void stub_add(struct stub *s, const struct stub_rule *rule);
/* The plain case. */
void stub_json(struct stub *s, const char *match, int status, const char *body);
void stub_clear(struct stub *s);

/* How many requests began with match ("GET /x"; "" counts all). */
unsigned int stub_count(struct stub *s, const char *match);
unsigned int stub_connections(struct stub *s);

/* Waits until so many requests have come in (for tests that must act while one runs). */
void stub_wait(struct stub *s, unsigned int requests);

/*
 * Copies of the head and body of the nth request (from 0) that began with match; "" when there is
 * none. For the caller to free.
 */
char *stub_head(struct stub *s, const char *match, unsigned int nth);
char *stub_body(struct stub *s, const char *match, unsigned int nth, size_t *len);

/* The value of a header in a head, for the caller to free; NULL when it has none. */
char *stub_header(const char *head, const char *name);

#endif
