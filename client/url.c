#include "client/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PORT_HTTP = 80, PORT_HTTPS = 443, PORT_MAX = 65535 };

static unsigned int default_port(const struct url *u)
{
	return u->https ? PORT_HTTPS : PORT_HTTP;
}

static const char *parse_scheme(const char *text, bool *https)
{
	if (strncasecmp(text, "https://", 8) == 0) {
		*https = true;
		return text + 8;
	}
	if (strncasecmp(text, "http://", 7) == 0) {
		*https = false;
		return text + 7;
	}
	return NULL;
}

static int parse_host(struct url *u, const char *host, size_t n)
{
	bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';

	if (!n || n > URL_HOST_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)host[i];
		bool inner = bracketed && i > 0 && i < n - 1 && (isxdigit(c) || strchr(":.", c));
		bool edge = bracketed && (i == 0 || i == n - 1);
		bool name = !bracketed && (isalnum(c) || strchr("-._", c));

		if (!inner && !edge && !name)
			return -EBADMSG;
		u->host[i] = (char)tolower(c);
	}
	u->host[n] = '\0';
	return 0;
}

static int parse_port(struct url *u, const char *port, const char *end)
{
	unsigned int value = 0;

	if (port == end)
		return 0;
	for (; port < end; port++) {
		if (!isdigit((unsigned char)*port))
			return -EBADMSG;
		value = value * 10 + (unsigned int)(*port - '0');
		if (value > PORT_MAX)
			return -EBADMSG;
	}
	if (!value)
		return -EBADMSG;
	u->port = value;
	u->explicit_port = value != default_port(u);
	return 0;
}

static int parse_authority(struct url *u, const char *at, const char *end)
{
	const char *host_end = end;
	const char *bracket = *at == '[' ? memchr(at, ']', (size_t)(end - at)) : NULL;
	const char *colon;

	if (memchr(at, '@', (size_t)(end - at)))
		return -EBADMSG;
	colon = memchr(bracket ? bracket : at, ':', (size_t)(end - (bracket ? bracket : at)));
	if (colon)
		host_end = colon;
	u->port = default_port(u);
	if (parse_host(u, at, (size_t)(host_end - at)))
		return -EBADMSG;
	return colon ? parse_port(u, colon + 1, end) : 0;
}

static bool has_bad_byte(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f || *text == '\\')
			return true;
	return false;
}

int url_parse(const char *text, struct url *out, struct err *e)
{
	struct url u = {0};
	const char *at, *path, *query;

	if (strnlen(text, URL_MAX + 1) > URL_MAX)
		return err_set(e, -EBADMSG, "a URL of more than %d bytes", URL_MAX);
	if (has_bad_byte(text))
		return err_set(e, -EBADMSG, "a URL with blanks or control characters");
	at = parse_scheme(text, &u.https);
	if (!at)
		return err_set(e, -EBADMSG, "not an http or https URL");
	if (strchr(at, '#'))
		return err_set(e, -EBADMSG, "a URL with a fragment");
	path = at + strcspn(at, "/?");
	if (parse_authority(&u, at, path))
		return err_set(e, -EBADMSG, "a URL with a malformed host or port");
	query = strchr(path, '?');
	if (query && !(u.query = strdup(query + 1)))
		return err_set(e, -ENOMEM, "no memory");
	u.path = query ? strndup(path, (size_t)(query - path)) : strdup(path);
	if (u.path && !*u.path) {
		free(u.path);
		u.path = strdup("/");
	}
	if (!u.path) {
		url_clear(&u);
		return err_set(e, -ENOMEM, "no memory");
	}
	*out = u;
	return 0;
}

void url_clear(struct url *u)
{
	if (u->query)
		explicit_bzero(u->query, strlen(u->query));
	free(u->query);
	free(u->path);
	*u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

int url_add_origin(struct buf *b, const struct url *u)
{
	buf_addf(b, "%s://%s", u->https ? "https" : "http", u->host);
	return u->explicit_port ? buf_addf(b, ":%u", u->port) : buf_error(b);
}

bool url_host_is_address(const struct url *u)
{
	struct in_addr a;

	return u->host[0] == '[' || inet_pton(AF_INET, u->host, &a) == 1;
}

bool url_is_loopback(const struct url *u)
{
	struct in_addr a;

	if (inet_pton(AF_INET, u->host, &a) == 1)
		return (ntohl(a.s_addr) >> 24) == 127;
	return strcmp(u->host, "localhost") == 0 || strcmp(u->host, "[::1]") == 0;
}

bool url_host_under(const struct url *u, const char *suffix)
{
	size_t n = strlen(u->host), m = strlen(suffix);

	return n > m && suffix[0] == '.' && strcmp(u->host + n - m, suffix) == 0;
}

static bool is_unreserved(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || (c && strchr("-._~", c)));
}

static int add_encoded(struct buf *b, const char *s, size_t len, bool all)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (is_unreserved(c) && !all)
			buf_addch(b, s[i]);
		else
			buf_addf(b, "%%%02X", c);
	}
	return buf_error(b);
}

int url_add_segment(struct buf *b, const char *s, size_t len)
{
	bool dots = (len == 1 && s[0] == '.') || (len == 2 && memcmp(s, "..", 2) == 0);

	return add_encoded(b, s, len, dots);
}

int url_add_path(struct buf *b, const char *s, size_t len)
{
	const char *end = s + len;

	for (;;) {
		const char *slash = memchr(s, '/', (size_t)(end - s));

		url_add_segment(b, s, (size_t)((slash ? slash : end) - s));
		if (!slash)
			return buf_error(b);
		buf_addch(b, '/');
		s = slash + 1;
	}
}

int url_add_value(struct buf *b, const char *s, size_t len)
{
	return add_encoded(b, s, len, false);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(struct buf *b, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int hi, lo;

		if (s[i] != '%') {
			buf_addch(b, s[i]);
			continue;
		}
		if (len - i < 3)
			return -EBADMSG;
		hi = hex_value(s[i + 1]);
		lo = hex_value(s[i + 2]);
		if (hi < 0 || lo < 0)
			return -EBADMSG;
		buf_addch(b, (char)(hi << 4 | lo));
		i += 2;
	}
	return buf_error(b);
}
