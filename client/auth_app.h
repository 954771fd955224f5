/*
 * auth_app - an application that signs in by itself: with a client secret, with a certificate, or
 * with a token that somebody else gave it (workload identity). Source: auth.md sections 2.1 to 2.3.
 */
#ifndef MLENVFS_CLIENT_AUTH_APP_H
#define MLENVFS_CLIENT_AUTH_APP_H

#include "client/auth_entra.h"
#include "client/auth_source.h"

enum { AUTH_FEDERATED_MAX = 64 * 1024 /* bytes of a federated token */ };

/* Who signs in where; copied, the endpoint borrowed. */
struct auth_app_id {
	struct auth_entra *entra;
	const char *tenant;
	const char *client_id;
};

/* All of these: -ENOMEM; -EINVAL when tenant or client id can't be right. */
int auth_secret_new(const struct auth_app_id *id, const char *secret, struct auth_source **out,
		    struct err *e);

/*
 * The file is read for every request, so that a renewed certificate can replace it. An endpoint
 * that does not know PS256 with a SHA-256 thumbprint gets RS256 with SHA-1.
 */
int auth_certificate_new(const struct auth_app_id *id, const char *path, const char *password,
			 bool send_chain, struct auth_source **out, struct err *e);

/* The file is read for every request: who put it there replaces it every hour. */
int auth_federated_new(const struct auth_app_id *id, const char *path, struct auth_source **out,
		       struct err *e);

#endif
