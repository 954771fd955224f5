/*
 * credential - who we are to the service: something that gives a bearer token for a scope.
 *
 * Implementations keep their tokens in memory that is wiped when freed, refresh them by
 * themselves, and may be asked from any thread, any number at once.
 */
#ifndef MLENVFS_CLIENT_CREDENTIAL_H
#define MLENVFS_CLIENT_CREDENTIAL_H

#include <stddef.h>
#include <stdint.h>

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

	/*
	 * The service has refused (401) a token that was given for scope: do not give it again.
	 * refused is its credential_fingerprint(): one that was renewed meanwhile stays.
	 */
	void (*invalidate)(struct credential *c, const char *scope, uint64_t refused);

	/* Ends all that waits with -ECANCELED, and all that follows. NULL: nothing ever waits. */
	void (*stop)(struct credential *c);

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

static inline void credential_invalidate(struct credential *c, const char *scope, uint64_t refused)
{
	c->ops->invalidate(c, scope, refused);
}

static inline void credential_stop(struct credential *c)
{
	if (c->ops->stop)
		c->ops->stop(c);
}

/* Tells tokens apart without keeping them. */
uint64_t credential_fingerprint(const void *token, size_t len);

static inline void credential_free(struct credential *c)
{
	if (c)
		c->ops->free(c);
}

/* 0 when these bytes can be sent as a bearer token; else -EINVAL, with a text that has none of
 * them. */
int credential_check_token(const char *token, size_t len, struct err *e);

/*
 * One token for everything, as AZURE_ACCESS_TOKEN gives it; copied, blanks around it dropped. It
 * can't be renewed, so invalidate() changes nothing. -EINVAL when it is empty or can't be a token.
 */
int credential_static_new(const char *token, size_t len, struct credential **out, struct err *e);

/* No token: requests carry no Authorization header (the embedded service on its own socket). */
int credential_none_new(struct credential **out, struct err *e);

#endif
