/*
 * bearer - struct http_auth with a bearer token of a credential.
 */
#ifndef MLENVFS_CLIENT_BEARER_H
#define MLENVFS_CLIENT_BEARER_H

#include "client/credential.h"
#include "client/http.h"

struct bearer_auth {
	struct http_auth base;
	struct credential *credential;
	const char *scope;
	uint64_t given; /* the fingerprint of the token last sent */
};

/* For a local variable of a request; borrows both. A 401 invalidates the token. */
struct bearer_auth bearer_auth(struct credential *credential, const char *scope);

#endif
