/*
 * url - the few URLs we deal with: absolute, http or https, no user information.
 *
 * What the service gives us as a URL (nextLink, contextUri, Location) is hostile: it is parsed
 * here, with bounds, and compared by origin before anything is sent to it. Any thread.
 */
#ifndef MLENVFS_CLIENT_URL_H
#define MLENVFS_CLIENT_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "client/buf.h"
#include "client/err.h"

enum {
	URL_MAX = 16 * 1024, /* bytes of a whole URL */
	URL_HOST_MAX = 255,
};

/* The parts of a URL; all strings owned, see url_clear(). */
struct url {
	bool https;
	char host[URL_HOST_MAX + 1]; /* lower case; an IPv6 address in brackets */
	unsigned int port;           /* with the scheme's default filled in */
	bool explicit_port;          /* a port was given and is not the scheme's own */
	char *path;                  /* as given, percent-encoded; "/" when there was none */
	char *query;                 /* as given, without '?'; NULL when there was none */
};

/*
 * Parses text. -EBADMSG (and a text that names the reason, not the URL) when it is no absolute
 * http(s) URL, has user information, a fragment, control characters or blanks, or is too long;
 * -ENOMEM. *out is to be cleared only when 0 was returned.
 */
int url_parse(const char *text, struct url *out, struct err *e);

/* Wipes (a query may hold a signature) and frees what url_parse() made; may be repeated. */
void url_clear(struct url *u);

/* For `_cleanup_url_ struct url u = {0};`. */
#define _cleanup_url_ __attribute__((cleanup(url_clear)))

/* Same scheme, host and port: what may be sent to one may be sent to the other. */
bool url_same_origin(const struct url *a, const struct url *b);

/* Appends "scheme://host[:port]". */
int url_add_origin(struct buf *b, const struct url *u);

/* "localhost", 127.0.0.0/8 or [::1]: the other end is on this machine. */
bool url_is_loopback(const struct url *u);

/* The host is an IPv4 or IPv6 address. */
bool url_host_is_address(const struct url *u);

/* host ends in suffix, at a dot (suffix begins with one). */
bool url_host_under(const struct url *u, const char *suffix);

/*
 * Appends one path segment, everything but letters, digits and "-._~" percent-encoded; a segment
 * that is "." or ".." is encoded whole, so that nobody on the way resolves it.
 */
int url_add_segment(struct buf *b, const char *s, size_t len);

/* Appends a path: its segments encoded as above, the slashes between them kept. */
int url_add_path(struct buf *b, const char *s, size_t len);

/* Appends text as a query value (blanks as %20). */
int url_add_value(struct buf *b, const char *s, size_t len);

/* Appends s with its %XX decoded. -EBADMSG when one is malformed; otherwise as buf_add(). */
int url_decode(struct buf *b, const char *s, size_t len);

#endif
