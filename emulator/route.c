#include "emulator/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool text_is(struct text t, const char *s)
{
	return strlen(s) == t.len && memcmp(t.ptr, s, t.len) == 0;
}

bool text_is_case(struct text t, const char *s)
{
	return strlen(s) == t.len && strncasecmp(t.ptr, s, t.len) == 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XY" stands for, or -1. */
static int escaped(const char *s, size_t left)
{
	int high = left > 2 ? hex(s[1]) : -1, low = left > 2 ? hex(s[2]) : -1;

	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Decodes len bytes at s in place. Returns the new length, or -1 for a bad escape. */
static ptrdiff_t decode(char *s, size_t len, bool plus_is_space)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			c = escaped(s + i, len - i);
			if (c < 0)
				return -1;
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		s[out++] = (char)c;
	}
	return (ptrdiff_t)out;
}

int path_split(const char *raw, struct path *out, struct err *e)
{
	char *p;

	*out = (struct path){0};
	if (*raw != '/')
		return err_set(e, -EINVAL, "The path does not begin with a slash.");
	p = out->store = strdup(raw);
	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	while (*p == '/' && p[1]) {
		size_t len = strcspn(++p, "/");
		ptrdiff_t n = decode(p, len, false);

		if (n < 0)
			return err_set(e, -EINVAL, "The path holds a bad percent-encoding.");
		if (out->n >= ROUTE_SEGMENTS_MAX)
			return err_set(e, -ENAMETOOLONG, "The path has too many segments.");
		out->segment[out->n++] = (struct text){p, (size_t)n};
		p += len;
	}
	return 0;
}

void path_free(struct path *p)
{
	free(p->store);
	p->store = NULL;
}

bool route_match(const char *pattern, const struct path *p, size_t first,
		 struct text params[ROUTE_PARAMS_MAX], size_t *n_params)
{
	size_t i = first, n = 0;

	while (*pattern == '/') {
		size_t len = strcspn(++pattern, "/");

		if (i >= p->n)
			return false;
		if (len == 2 && pattern[0] == '{') {
			if (!p->segment[i].len || n >= ROUTE_PARAMS_MAX)
				return false;
			params[n++] = p->segment[i];
		} else if (p->segment[i].len != len ||
			   strncasecmp(p->segment[i].ptr, pattern, len) != 0) {
			return false;
		}
		pattern += len;
		i++;
	}
	*n_params = n;
	return i == p->n;
}

/* Decodes one "name=value" of len bytes at s. */
static int split_param(char *s, size_t len, struct kv *out, struct err *e)
{
	char *eq = memchr(s, '=', len);
	size_t name_len = eq ? (size_t)(eq - s) : len;
	char *value = eq ? eq + 1 : NULL;
	ptrdiff_t n = decode(s, name_len, true), m = 0;

	if (value)
		m = decode(value, len - name_len - 1, true);
	if (n < 0 || m < 0)
		return err_set(e, -EINVAL, "The query holds a bad percent-encoding.");
	s[n] = '\0';
	if (value)
		value[m] = '\0';
	if (strlen(s) != (size_t)n || (value && strlen(value) != (size_t)m))
		return err_set(e, -EINVAL, "The query holds a NUL.");
	*out = (struct kv){s, value};
	return 0;
}

int query_split(const char *raw, struct kv params[QUERY_PARAMS_MAX], size_t *n, char **store,
		struct err *e)
{
	char *p = *store = strdup(raw);

	*n = 0;
	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	while (*p) {
		size_t len = strcspn(p, "&");
		char *next = p + len + (p[len] == '&');
		int ret = 0;

		p[len] = '\0';
		if (len && *n >= QUERY_PARAMS_MAX)
			ret = err_set(e, -E2BIG, "The query has too many parameters.");
		else if (len)
			ret = split_param(p, len, &params[(*n)++], e);
		if (ret)
			return ret;
		p = next;
	}
	return 0;
}
