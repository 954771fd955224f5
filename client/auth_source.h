/*
 * auth_source - one way to get a token (a client secret, a managed identity, the Azure CLI, ...).
 *
 * A source asks anew every time: keeping, renewing ahead and asking once for many is the work of
 * auth_cache, trying one way after the other that of auth_chain. Sources may be asked from any
 * thread, several at once.
 */
#ifndef MLENVFS_CLIENT_AUTH_SOURCE_H
#define MLENVFS_CLIENT_AUTH_SOURCE_H

#include <errno.h>
#include <string.h>

#include "client/auth_token.h"
#include "client/call.h"
#include "client/err.h"

/* This way is not set up on this machine: nothing was refused, another one may do. */
#define AUTH_UNAVAILABLE (-ENOKEY)

struct auth_source;

struct auth_source_ops {
	/*
	 * Asks for a token for scope ("https://.../.default"). AUTH_UNAVAILABLE; -EACCES when it is
	 * refused; what the network says otherwise. Texts name what is wrong and what to do, and
	 * hold no secret. out is zeroed by the caller.
	 */
	int (*get)(struct auth_source *s, const char *scope, struct call *call,
		   struct auth_token *out, struct err *e);
	void (*free)(struct auth_source *s);
};

/* Implementations begin with this. */
struct auth_source {
	const struct auth_source_ops *ops;
	const char *name; /* as -o credential= has it; static */
};

static inline int auth_source_get(struct auth_source *s, const char *scope, struct call *call,
				  struct auth_token *out, struct err *e)
{
	return s->ops->get(s, scope, call, out, e);
}

/*
 * How much of a scope is its resource, which is what older endpoints and the Azure CLI ask for:
 * what is before "/.default". Source: auth.md section 1.
 */
static inline size_t auth_resource_len(const char *scope)
{
	static const char suffix[] = "/.default";
	size_t n = strlen(scope), k = sizeof(suffix) - 1;

	return n > k && strcmp(scope + n - k, suffix) == 0 ? n - k : n;
}

static inline void auth_source_free(struct auth_source *s)
{
	if (s)
		s->ops->free(s);
}

#endif
