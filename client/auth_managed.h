/*
 * auth_managed - the identity that Azure gives a machine: virtual machines (IMDS), App Service,
 * Functions and Container Apps, Azure Arc, Azure ML compute, Cloud Shell. Which one it is, the
 * environment says. Source: auth.md section 3. Any thread.
 */
#ifndef MLENVFS_CLIENT_AUTH_MANAGED_H
#define MLENVFS_CLIENT_AUTH_MANAGED_H

#include "client/auth_env.h"
#include "client/auth_source.h"
#include "client/http.h"

#define AUTH_IMDS_HOST     "http://169.254.169.254"
#define AUTH_ARC_TOKEN_DIR "/var/opt/azcmagent/tokens/"

enum {
	AUTH_ARC_KEY_MAX = 4096,   /* bytes of a challenge file */
	AUTH_IMDS_PROBE_MS = 1000, /* how long a machine outside of Azure waits, once */
	AUTH_IMDS_TRIES = 5,
	AUTH_IMDS_BACKOFF_S = 2, /* before the second try, doubling */
};

struct auth_managed_conf {
	struct http *http;          /* borrowed */
	const struct auth_env *env; /* borrowed until auth_managed_new() returns */
	bool probe;                 /* look first whether there is an IMDS, as part of a chain */
	const char *imds_host;      /* NULL: AUTH_IMDS_HOST; this and what follows is for tests */
	const char *arc_token_dir;  /* NULL: AUTH_ARC_TOKEN_DIR */
	int64_t imds_backoff;       /* ns; 0: AUTH_IMDS_BACKOFF_S */
};

/* -EINVAL when an endpoint is no http(s) address; -ENOMEM. */
int auth_managed_new(const struct auth_managed_conf *conf, struct auth_source **out, struct err *e);

#endif
