/*
 * settings - which part of Azure a mount is of, and where it is: from the options, the environment,
 * the Azure ML SDK's config.json and the Azure CLI's defaults. docs/auth.md has the order.
 */
#ifndef MLENVFS_FS_SETTINGS_H
#define MLENVFS_FS_SETTINGS_H

#include "client/auth.h"
#include "client/cloud.h"
#include "fs/options.h"

/* Strings are owned; NULL where nothing is set. */
struct settings {
	struct source_uri uri; /* with what SOURCE leaves open filled in */
	char *from;            /* where the place is from, in words; NULL: all of it from SOURCE */
	const struct cloud *cloud;
	char *endpoint;         /* of the Resource Manager; NULL: the service in this process */
	char *cli_subscription; /* the subscription, when the Azure CLI knows it */
};

/*
 * Resolves options (with SOURCE). -EINVAL with a text when something is missing, or contradicts
 * itself; -ENOMEM. Reads files and the environment: call before threads are started.
 */
int settings_resolve(const struct options *o, const struct auth_env *env, struct settings *out,
		     struct err *e);
void settings_clear(struct settings *s);

/* Sets s->cli_subscription when the Azure CLI knows the subscription of s->uri. -ENOMEM. */
int settings_find_cli_subscription(struct settings *s, struct err *e);

/*
 * How these settings sign in, with the strings of s and o and login_file borrowed. A `mlenvfs
 * serve` of this machine gets no token but AZURE_ACCESS_TOKEN, unless an option names a way.
 */
struct auth_conf settings_auth(const struct settings *s, const struct options *o,
			       const struct auth_env *env, const char *login_file);

#endif
