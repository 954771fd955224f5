/*
 * credential - who we are to the service: something that gives a bearer token for a scope.
 *
 * Implementations keep their tokens in memory that is wiped when freed, refresh them by
 * themselves, and may be asked from any thread, any number at once.
 */
#ifndef MLENVFS_CLIENT_CREDENTIAL_H
#define MLENVFS_CLIENT_CREDENTIAL_H

#include <stddef.h>

#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"

#define SCOPE_ARM     "https://management.azure.com/.default"
#define SCOPE_STORAGE "https://storage.azure.com/.default"

enum { CREDENTIAL_TOKEN_MAX = 64 * 1024 }; /* bytes; real ones have 1 to 4 KiB */

struct credential;

struct credential_ops {
	/*
	 * Appends a token that is valid for scope now to out; nothing when requests go without one.
	 * The caller wipes out (buf_wipe()). May block on the network until the call ends.
	 * -EACCES when there is none to be had, with a text that says what to do.
	 */
	int (*get_token)(struct credential *c, const char *scope, struct call *call,
			 struct buf *out, struct err *e);

	/* The service has refused the token last given for scope (401): do not give it again. */
	void (*invalidate)(struct credential *c, const char *scope);

	void (*free)(struct credential *c);
};

/* Implementations begin with this. */
struct credential {
	const struct credential_ops *ops;
};

static inline int credential_get_token(struct credential *c, const char *scope, struct call *call,
				       struct buf *out, struct err *e)
{
	return c->ops->get_token(c, scope, call, out, e);
}

static inline void credential_invalidate(struct credential *c, const char *scope)
{
	c->ops->invalidate(c, scope);
}

static inline void credential_free(struct credential *c)
{
	if (c)
		c->ops->free(c);
}

/*
 * One token for everything, as AZURE_ACCESS_TOKEN gives it; copied, blanks around it dropped. It
 * can't be renewed, so invalidate() changes nothing. -EINVAL when it is empty or can't be a token.
 */
int credential_static_new(const char *token, size_t len, struct credential **out, struct err *e);

/* No token: requests carry no Authorization header (the embedded service on its own socket). */
int credential_none_new(struct credential **out, struct err *e);

#endif
