/*
 * auth_env - the environment variables that say how to sign in: copied once, and those that are
 * secrets taken out of the environment, so that no child and no /proc/PID/environ has them.
 * Source: auth.md sections 3 and 5. A variable that is empty counts as not set.
 */
#ifndef MLENVFS_CLIENT_AUTH_ENV_H
#define MLENVFS_CLIENT_AUTH_ENV_H

#include <stdbool.h>

#include "client/err.h"

enum auth_var {
	AUTH_ACCESS_TOKEN,
	AUTH_TENANT_ID,
	AUTH_CLIENT_ID,
	AUTH_CLIENT_SECRET,
	AUTH_CERTIFICATE_PATH,
	AUTH_CERTIFICATE_PASSWORD,
	AUTH_SEND_CHAIN,
	AUTH_FEDERATED_FILE,
	AUTH_AUTHORITY_HOST,
	AUTH_TOKEN_CREDENTIALS,
	AUTH_IDENTITY_ENDPOINT,
	AUTH_IDENTITY_HEADER,
	AUTH_IDENTITY_THUMBPRINT,
	AUTH_IMDS_ENDPOINT,
	AUTH_MSI_ENDPOINT,
	AUTH_MSI_SECRET,
	AUTH_POD_AUTHORITY_HOST,
	AUTH_DEFAULT_CLIENT_ID,
	AUTH_VARS,
};

struct auth_env {
	char *values[AUTH_VARS]; /* NULL: not set */
};

/*
 * Reads the environment and takes the secrets out of it; with a secret there, core dumps are
 * switched off first. -ENOMEM. Call before threads are started. Pair with auth_env_clear().
 */
int auth_env_take(struct auth_env *env, struct err *e);

/* Wipes and frees. */
void auth_env_clear(struct auth_env *env);

static inline const char *auth_env_get(const struct auth_env *env, enum auth_var var)
{
	return env->values[var];
}

/* The variable's name, for texts. */
const char *auth_env_name(enum auth_var var);

/* No core dump of this process, and no other process of the user may look into its memory. */
int auth_hide_memory(struct err *e);

#endif
