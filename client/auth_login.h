/*
 * auth_login - signing in as a person: with a code that is typed into a browser anywhere, and from
 * then on with the refresh token that this gives. Source: auth.md sections 2.4 and 2.5.
 */
#ifndef MLENVFS_CLIENT_AUTH_LOGIN_H
#define MLENVFS_CLIENT_AUTH_LOGIN_H

#include "client/auth_entra.h"
#include "client/auth_source.h"
#include "client/auth_store.h"

/* The public client of Microsoft's development tools, which every tenant knows. */
#define AUTH_LOGIN_CLIENT_ID "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
#define AUTH_LOGIN_TENANT    "organizations"

enum {
	AUTH_LOGIN_INTERVAL_S = 5, /* between two questions, when nothing is said */
	AUTH_LOGIN_SLOWER_S = 5,   /* more, when told to slow down */
	AUTH_LOGIN_INTERVAL_MAX_S = 60,
	AUTH_LOGIN_EXPIRES_S = 900,
	AUTH_LOGIN_EXPIRES_MAX_S = 3600,
};

struct auth_login_conf {
	struct http *http; /* borrowed, as all of it */
	struct auth_entra *entra;
	const char *tenant;
	const char *client_id;
	const char *scope; /* of the first token */
	/* Shows what the user has to do; a sentence or two, without control characters. */
	void (*show)(void *arg, const char *message);
	void *show_arg;
	int64_t slower; /* ns; 0: AUTH_LOGIN_SLOWER_S */
};

/*
 * Asks for a code, shows it, and waits until it was typed in. out gets what is to be kept. -EACCES
 * when it was declined or not done in time; otherwise as auth_entra_token().
 */
int auth_login_device(const struct auth_login_conf *conf, struct call *call, struct auth_login *out,
		      struct err *e);

/* Tokens for the sign-in that is kept at path (copied). */
int auth_login_new(struct auth_entra *entra, const char *path, struct auth_source **out,
		   struct err *e);

#endif
