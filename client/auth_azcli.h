/*
 * auth_azcli - tokens of whoever is signed in to the Azure CLI: `az account get-access-token`.
 * Source: auth.md section 4. Any thread.
 */
#ifndef MLENVFS_CLIENT_AUTH_AZCLI_H
#define MLENVFS_CLIENT_AUTH_AZCLI_H

#include "client/auth_source.h"

enum {
	AUTH_AZCLI_OUTPUT_MAX = 256 * 1024, /* bytes that az may say */
	AUTH_AZCLI_TIMEOUT_S = 30,          /* a cold start takes seconds */
};

/*
 * subscription: one that az knows, whose tenant is meant; NULL: az's default. Copied. -EINVAL when
 * it can't be one, -ENOMEM.
 */
int auth_azcli_new(const char *subscription, struct auth_source **out, struct err *e);

#endif
