#include "client/bearer.h"

#include <errno.h>

static int bearer_apply(const struct http_auth *a, const struct http_request *r,
			struct http_headers *h, struct call *call, struct err *e)
{
	const struct bearer_auth *auth = (const struct bearer_auth *)a;
	struct buf token = BUF_INIT(CREDENTIAL_TOKEN_MAX);
	struct buf value = BUF_INIT(CREDENTIAL_TOKEN_MAX + 16);
	int rc = credential_get_token(auth->credential, auth->scope, call, &token, e);

	(void)r;
	/* a is part of a variable of the caller's: see bearer_auth(). */
	((struct bearer_auth *)(uintptr_t)auth)->given =
		credential_fingerprint(buf_str(&token), token.len);
	if (!rc && token.len) {
		rc = buf_addf(&value, "Bearer %s", buf_str(&token));
		if (!rc)
			rc = http_headers_add(h, "Authorization", buf_str(&value));
		if (rc)
			err_set(e, rc, "the access token can't be sent");
	}
	buf_wipe(&token);
	buf_wipe(&value);
	return rc;
}

static void bearer_refused(const struct http_auth *a)
{
	const struct bearer_auth *auth = (const struct bearer_auth *)a;

	credential_invalidate(auth->credential, auth->scope, auth->given);
}

struct bearer_auth bearer_auth(struct credential *credential, const char *scope)
{
	return (struct bearer_auth){
		.base = {.apply = bearer_apply, .refused = bearer_refused},
		.credential = credential,
		.scope = scope,
	};
}
