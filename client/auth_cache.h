/*
 * auth_cache - struct credential over one auth_source: keeps a token for each scope, asks for a new
 * one before the old one ends, and asks once however many wait.
 *
 *   token            who asks for a new one        the others meanwhile
 *   ---------------  ----------------------------  ---------------------------
 *   fresh            nobody                        get the token
 *   to be renewed    the first that comes, for     get the old token at once
 *                    AUTH_AHEAD_WAIT_S at most
 *   run out, refused the first that comes, within  wait; they get the same token, or
 *   by the service   its call                      the same failure. When the one that asked
 *                                                  has run out of its own time, the next asks
 *
 * A failure to renew leaves the old token and is tried again after AUTH_RETRY_S; a refusal is
 * believed for AUTH_REFUSED_S, so that a wrong secret is not sent with every look at a file.
 * Source: auth.md section 6.
 */
#ifndef MLENVFS_CLIENT_AUTH_CACHE_H
#define MLENVFS_CLIENT_AUTH_CACHE_H

#include "client/auth_source.h"
#include "client/credential.h"

enum {
	AUTH_SCOPES_MAX = 8,
	AUTH_RETRY_S = 30,
	AUTH_REFUSED_S = 5,
	AUTH_AHEAD_WAIT_S = 5,
};

struct auth_cache_conf {
	struct auth_source *source; /* owned from here on, also when this fails */
	const char *arm_scope;      /* what SCOPE_ARM is called in this cloud; static */
	struct http *http; /* what the source asks with: owned, stopped and freed; may be NULL */
	void (*free_extra)(void *extra); /* after the source; NULL: nothing */
	void *extra;
	int64_t (*now)(void); /* NULL: clock_boot() */
	int64_t ahead_wait;   /* ns; 0: AUTH_AHEAD_WAIT_S */
};

/* -ENOMEM. */
int auth_cache_new(const struct auth_cache_conf *conf, struct credential **out, struct err *e);

/* Its source, borrowed; NULL when c is another kind of credential. */
struct auth_source *auth_cache_source(struct credential *c);

#endif
