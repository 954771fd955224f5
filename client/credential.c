#include "client/credential.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a: short, and good enough where a chance equality only costs one request. */
uint64_t credential_fingerprint(const void *token, size_t len)
{
	const unsigned char *p = token;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

struct static_credential {
	struct credential base;
	size_t len;
	char token[];
};

static int static_get_token(struct credential *c, const char *scope, struct call *call,
			    struct buf *out, struct err *e)
{
	struct static_credential *s = (struct static_credential *)c;
	int rc = buf_add(out, s->token, s->len);

	(void)scope;
	(void)call;
	return rc ? err_set(e, rc, "no memory for the access token") : 0;
}

static void keep_token(struct credential *c, const char *scope, uint64_t refused)
{
	(void)c;
	(void)scope;
	(void)refused;
}

static void static_free(struct credential *c)
{
	struct static_credential *s = (struct static_credential *)c;

	explicit_bzero(s->token, s->len);
	free(s);
}

static const struct credential_ops static_ops = {
	.get_token = static_get_token,
	.invalidate = keep_token,
	.free = static_free,
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int credential_check_token(const char *token, size_t len, struct err *e)
{
	if (!len || len > CREDENTIAL_TOKEN_MAX)
		return err_set(e, -EINVAL, "the access token is empty or too long");
	for (size_t i = 0; i < len; i++)
		if (token[i] <= ' ' || token[i] > '~')
			return err_set(e, -EINVAL,
				       "the access token holds a character that "
				       "no token has");
	return 0;
}

int credential_static_new(const char *token, size_t len, struct credential **out, struct err *e)
{
	struct static_credential *s;
	int rc;

	while (len && is_blank(token[0])) {
		token++;
		len--;
	}
	while (len && is_blank(token[len - 1]))
		len--;
	rc = credential_check_token(token, len, e);
	if (rc)
		return rc;
	s = malloc(sizeof(*s) + len);
	if (!s)
		return err_set(e, -ENOMEM, "no memory for the access token");
	s->base.ops = &static_ops;
	s->len = len;
	memcpy(s->token, token, len);
	*out = &s->base;
	return 0;
}

static int none_get_token(struct credential *c, const char *scope, struct call *call,
			  struct buf *out, struct err *e)
{
	(void)c;
	(void)scope;
	(void)call;
	(void)out;
	(void)e;
	return 0;
}

static void none_free(struct credential *c)
{
	free(c);
}

static const struct credential_ops none_ops = {
	.get_token = none_get_token,
	.invalidate = keep_token,
	.free = none_free,
};

int credential_none_new(struct credential **out, struct err *e)
{
	struct credential *c = malloc(sizeof(*c));

	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	c->ops = &none_ops;
	*out = c;
	return 0;
}
