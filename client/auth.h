/*
 * auth - signs in as the Azure SDKs' DefaultAzureCredential does: the same ways in the same order,
 * with the same environment variables, and AZURE_ACCESS_TOKEN before all of them. docs/auth.md says
 * what each way needs.
 */
#ifndef MLENVFS_CLIENT_AUTH_H
#define MLENVFS_CLIENT_AUTH_H

#include <stdint.h>

#include "client/auth_env.h"
#include "client/auth_store.h"
#include "client/cloud.h"
#include "client/credential.h"

/* What can be chosen by name. */
enum auth_kind {
	AUTH_DEFAULT, /* all of the others but none, in order */
	AUTH_TOKEN,
	AUTH_ENVIRONMENT,
	AUTH_WORKLOAD_IDENTITY,
	AUTH_MANAGED_IDENTITY,
	AUTH_LOGIN,
	AUTH_AZURE_CLI,
	AUTH_NONE, /* requests go without a token */
	AUTH_KINDS,
};

/* By name ("azure-cli", also "AzureCliCredential"); -EINVAL when there is none. */
int auth_kind_parse(const char *name, enum auth_kind *out);
const char *auth_kind_name(enum auth_kind kind);

/* All borrowed until auth_new() returns. */
struct auth_conf {
	enum auth_kind kind;
	const struct cloud *cloud;    /* NULL: the public one */
	const char *ca_file;          /* as struct http_conf */
	const char *login_file;       /* where `mlenvfs login` keeps it; NULL: nowhere */
	const char *cli_subscription; /* one that the Azure CLI knows, for its tenant; NULL: none */
	int64_t backoff;              /* as struct http_conf */
};

/*
 * The authority that env and cloud name, as "https://host[:port]", appended to out (empty before).
 * -EINVAL when AZURE_AUTHORITY_HOST is no https address.
 */
int auth_authority(const struct auth_env *env, const struct cloud *cloud, struct buf *out,
		   struct err *e);

/* The cloud to assume where none is named: the one that AZURE_AUTHORITY_HOST signs in to. */
const struct cloud *auth_env_cloud(const struct auth_env *env);

/*
 * Makes a credential. Nothing is asked for yet, and what is not set up is no error here: the first
 * get_token() says it. -EINVAL when something is set up wrongly, -ENOMEM, -EIO. Starts a thread:
 * fork() before.
 */
int auth_new(const struct auth_conf *conf, const struct auth_env *env, struct credential **out,
	     struct err *e);

/* Who signs in as a person, and how he is told what to do. */
struct auth_person {
	const char *tenant;    /* NULL: AZURE_TENANT_ID, else any organization */
	const char *client_id; /* NULL: that of Microsoft's own tools */
	void (*show)(void *arg, const char *message);
	void *show_arg;
};

/*
 * Signs in with a code that is typed into a browser; out, for auth_login_clear(), is what is to be
 * kept with auth_store_save(). Blocks until that is done. -EINVAL, and as auth_login_device().
 */
int auth_sign_in(const struct auth_conf *conf, const struct auth_env *env,
		 const struct auth_person *person, struct call *call, struct auth_login *out,
		 struct err *e);

/* Which way gave the last token of a credential of auth_new(); NULL when none did yet. Static. */
const char *auth_winner(struct credential *c);

#endif
