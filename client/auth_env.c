#include "client/auth_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static const struct {
	const char *name;
	bool secret;
} vars[AUTH_VARS] = {
	[AUTH_ACCESS_TOKEN] = {"AZURE_ACCESS_TOKEN", true},
	[AUTH_TENANT_ID] = {"AZURE_TENANT_ID", false},
	[AUTH_CLIENT_ID] = {"AZURE_CLIENT_ID", false},
	[AUTH_CLIENT_SECRET] = {"AZURE_CLIENT_SECRET", true},
	[AUTH_CERTIFICATE_PATH] = {"AZURE_CLIENT_CERTIFICATE_PATH", false},
	[AUTH_CERTIFICATE_PASSWORD] = {"AZURE_CLIENT_CERTIFICATE_PASSWORD", true},
	[AUTH_SEND_CHAIN] = {"AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", false},
	[AUTH_FEDERATED_FILE] = {"AZURE_FEDERATED_TOKEN_FILE", false},
	[AUTH_AUTHORITY_HOST] = {"AZURE_AUTHORITY_HOST", false},
	[AUTH_TOKEN_CREDENTIALS] = {"AZURE_TOKEN_CREDENTIALS", false},
	[AUTH_IDENTITY_ENDPOINT] = {"IDENTITY_ENDPOINT", false},
	[AUTH_IDENTITY_HEADER] = {"IDENTITY_HEADER", true},
	[AUTH_IDENTITY_THUMBPRINT] = {"IDENTITY_SERVER_THUMBPRINT", false},
	[AUTH_IMDS_ENDPOINT] = {"IMDS_ENDPOINT", false},
	[AUTH_MSI_ENDPOINT] = {"MSI_ENDPOINT", false},
	[AUTH_MSI_SECRET] = {"MSI_SECRET", true},
	[AUTH_POD_AUTHORITY_HOST] = {"AZURE_POD_IDENTITY_AUTHORITY_HOST", false},
	[AUTH_DEFAULT_CLIENT_ID] = {"DEFAULT_IDENTITY_CLIENT_ID", false},
};

const char *auth_env_name(enum auth_var var)
{
	return vars[var].name;
}

int auth_hide_memory(struct err *e)
{
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set(e, -errno, "core dumps can't be switched off");
	return 0;
}

static int take(struct auth_env *env, enum auth_var var, struct err *e)
{
	char *value = getenv(vars[var].name);
	int rc;

	if (value && *value) {
		rc = vars[var].secret ? auth_hide_memory(e) : 0;
		if (rc)
			return rc;
		env->values[var] = strdup(value);
		if (!env->values[var])
			return err_set(e, -ENOMEM, "no memory for %s", vars[var].name);
	}
	if (value && vars[var].secret) {
		explicit_bzero(value, strlen(value));
		unsetenv(vars[var].name);
	}
	return 0;
}

int auth_env_take(struct auth_env *env, struct err *e)
{
	int rc = 0;

	*env = (struct auth_env){0};
	for (int i = 0; i < AUTH_VARS && !rc; i++)
		rc = take(env, (enum auth_var)i, e);
	if (rc)
		auth_env_clear(env);
	return rc;
}

void auth_env_clear(struct auth_env *env)
{
	for (int i = 0; i < AUTH_VARS; i++) {
		if (env->values[i])
			explicit_bzero(env->values[i], strlen(env->values[i]));
		free(env->values[i]);
		env->values[i] = NULL;
	}
}
