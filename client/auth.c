#include "client/auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/auth_app.h"
#include "client/auth_azcli.h"
#include "client/auth_cache.h"
#include "client/auth_chain.h"
#include "client/auth_entra.h"
#include "client/auth_login.h"
#include "client/auth_managed.h"
#include "client/url.h"

static const struct {
	const char *name;
	const char *sdk_name;
} kinds[AUTH_KINDS] = {
	[AUTH_DEFAULT] = {"default", "DefaultAzureCredential"},
	[AUTH_TOKEN] = {"token", "AzureAccessToken"},
	[AUTH_ENVIRONMENT] = {"environment", "EnvironmentCredential"},
	[AUTH_WORKLOAD_IDENTITY] = {"workload-identity", "WorkloadIdentityCredential"},
	[AUTH_MANAGED_IDENTITY] = {"managed-identity", "ManagedIdentityCredential"},
	[AUTH_LOGIN] = {"login", "DeviceCodeCredential"},
	[AUTH_AZURE_CLI] = {"azure-cli", "AzureCliCredential"},
	[AUTH_NONE] = {"none", "none"},
};

static const char advice[] =
	". Sign in with 'az login' or 'mlenvfs login', or see SIGNING IN in mlenvfs(1); 'mlenvfs "
	"doctor' looks into it";

int auth_kind_parse(const char *name, enum auth_kind *out)
{
	for (int i = 0; i < AUTH_KINDS; i++) {
		if (strcasecmp(name, kinds[i].name) == 0 ||
		    strcasecmp(name, kinds[i].sdk_name) == 0) {
			*out = (enum auth_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *auth_kind_name(enum auth_kind kind)
{
	return kinds[kind].name;
}

/* ---- where ---- */

int auth_authority(const struct auth_env *env, const struct cloud *cloud, struct buf *out,
		   struct err *e)
{
	const char *host = auth_env_get(env, AUTH_AUTHORITY_HOST);

	if (host)
		return auth_entra_check_authority(host, auth_env_name(AUTH_AUTHORITY_HOST), out, e);
	return auth_entra_check_authority((cloud ? cloud : cloud_public())->authority, "the cloud",
					  out, e);
}

const struct cloud *auth_env_cloud(const struct auth_env *env)
{
	const char *host = auth_env_get(env, AUTH_AUTHORITY_HOST);
	_cleanup_buf_ struct buf origin = BUF_INIT(URL_MAX);
	_cleanup_url_ struct url u = {0};

	if (!host || auth_entra_check_authority(host, "", &origin, NULL) ||
	    url_parse(buf_str(&origin), &u, NULL))
		return cloud_public();
	return cloud_by_authority_host(u.host) ? cloud_by_authority_host(u.host) : cloud_public();
}

/* ---- the ways ---- */

struct setup {
	const struct auth_conf *conf;
	const struct auth_env *env;
	struct http *http;
	struct auth_entra *entra;
};

static const char *var(const struct setup *s, enum auth_var v)
{
	return auth_env_get(s->env, v);
}

static bool is_true(const char *text)
{
	return text && (strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0);
}

static struct auth_app_id app_id(const struct setup *s)
{
	return (struct auth_app_id){.entra = s->entra,
				    .tenant = var(s, AUTH_TENANT_ID),
				    .client_id = var(s, AUTH_CLIENT_ID)};
}

/* "A, B not set": which of the variables are missing; false when none is. */
static bool missing_vars(const struct setup *s, const enum auth_var *needed, size_t n,
			 struct buf *out)
{
	for (size_t i = 0; i < n; i++)
		if (!var(s, needed[i]))
			buf_addf(out, "%s%s", out->len ? ", " : "", auth_env_name(needed[i]));
	if (!out->len)
		return false;
	buf_addstr(out, " not set");
	return true;
}

static int missing(const char *name, const struct buf *why, struct auth_source **out, struct err *e)
{
	int rc = auth_missing_new(name, buf_str(why), out);

	return rc ? err_set(e, rc, "no memory for signing in") : 0;
}

static int make_environment(const struct setup *s, struct auth_source **out, struct err *e)
{
	static const enum auth_var needed[] = {AUTH_TENANT_ID, AUTH_CLIENT_ID};
	_cleanup_buf_ struct buf why = BUF_INIT(ERR_MSG_MAX);
	struct auth_app_id id = app_id(s);

	if (missing_vars(s, needed, 2, &why))
		return missing("environment", &why, out, e);
	if (var(s, AUTH_CLIENT_SECRET))
		return auth_secret_new(&id, var(s, AUTH_CLIENT_SECRET), out, e);
	if (var(s, AUTH_CERTIFICATE_PATH))
		return auth_certificate_new(&id, var(s, AUTH_CERTIFICATE_PATH),
					    var(s, AUTH_CERTIFICATE_PASSWORD),
					    is_true(var(s, AUTH_SEND_CHAIN)), out, e);
	buf_addf(&why, "neither %s nor %s is set", auth_env_name(AUTH_CLIENT_SECRET),
		 auth_env_name(AUTH_CERTIFICATE_PATH));
	return missing("environment", &why, out, e);
}

static int make_workload(const struct setup *s, struct auth_source **out, struct err *e)
{
	static const enum auth_var needed[] = {AUTH_TENANT_ID, AUTH_CLIENT_ID, AUTH_FEDERATED_FILE};
	_cleanup_buf_ struct buf why = BUF_INIT(ERR_MSG_MAX);
	struct auth_app_id id = app_id(s);

	if (missing_vars(s, needed, 3, &why))
		return missing("workload-identity", &why, out, e);
	return auth_federated_new(&id, var(s, AUTH_FEDERATED_FILE), out, e);
}

static int make_managed(const struct setup *s, struct auth_source **out, struct err *e)
{
	struct auth_managed_conf conf = {.http = s->http,
					 .env = s->env,
					 .probe = s->conf->kind != AUTH_MANAGED_IDENTITY,
					 .imds_backoff = s->conf->backoff};

	return auth_managed_new(&conf, out, e);
}

static int make_azcli(const struct setup *s, struct auth_source **out, struct err *e)
{
	return auth_azcli_new(s->conf->cli_subscription, out, e);
}

static int make_login(const struct setup *s, struct auth_source **out, struct err *e)
{
	_cleanup_buf_ struct buf why = BUF_INIT(ERR_MSG_MAX);

	if (s->conf->login_file)
		return auth_login_new(s->entra, s->conf->login_file, out, e);
	buf_addstr(&why, "nobody has signed in with 'mlenvfs login'");
	return missing("login", &why, out, e);
}

typedef int make_fn(const struct setup *s, struct auth_source **out, struct err *e);

/* In the order in which they are tried. Source: auth.md section 5. */
static const struct way {
	enum auth_kind kind;
	make_fn *make;
	bool tool; /* a way of developers: `AZURE_TOKEN_CREDENTIALS=dev` */
} ways[] = {
	{AUTH_ENVIRONMENT, make_environment, false},
	{AUTH_WORKLOAD_IDENTITY, make_workload, false},
	{AUTH_MANAGED_IDENTITY, make_managed, false},
	{AUTH_LOGIN, make_login, true},
	{AUTH_AZURE_CLI, make_azcli, true},
};

#define N_WAYS (sizeof(ways) / sizeof(*ways))

/* ---- the choice ---- */

/* Which ways count: one, or "prod", "dev" or one as AZURE_TOKEN_CREDENTIALS says. */
struct choice {
	bool prod;
	bool dev;
	enum auth_kind only; /* AUTH_DEFAULT: not one */
};

static int choose(const struct setup *s, struct choice *out, struct err *e)
{
	const char *said = var(s, AUTH_TOKEN_CREDENTIALS);

	*out = (struct choice){.prod = true, .dev = true, .only = s->conf->kind};
	if (out->only != AUTH_DEFAULT || !said)
		return 0;
	if (strcasecmp(said, "prod") == 0)
		out->dev = false;
	else if (strcasecmp(said, "dev") == 0)
		out->prod = false;
	else if (auth_kind_parse(said, &out->only) || out->only == AUTH_NONE)
		return err_set(e, -EINVAL,
			       "%s=%.64s is none of the ways that there are here: prod, dev, "
			       "EnvironmentCredential, WorkloadIdentityCredential, "
			       "ManagedIdentityCredential, AzureCliCredential",
			       auth_env_name(AUTH_TOKEN_CREDENTIALS), said);
	return 0;
}

static bool is_chosen(const struct choice *c, const struct way *w)
{
	return c->only == AUTH_DEFAULT ? (w->tool ? c->dev : c->prod) : c->only == w->kind;
}

static int fill_chain(const struct setup *s, struct auth_source *chain, struct err *e)
{
	struct choice choice;
	int rc = choose(s, &choice, e);

	for (size_t i = 0; i < N_WAYS && !rc; i++) {
		struct auth_source *one = NULL;

		if (!is_chosen(&choice, &ways[i]))
			continue;
		rc = ways[i].make(s, &one, e);
		if (!rc)
			rc = auth_chain_add(chain, one, ways[i].tool);
	}
	return rc;
}

static void free_entra(void *extra)
{
	auth_entra_free(extra);
}

static int open_entra(struct setup *s, struct err *e)
{
	_cleanup_buf_ struct buf authority = BUF_INIT(URL_MAX);
	struct http_conf http = {.ca_file = s->conf->ca_file, .backoff = s->conf->backoff};
	int rc = auth_authority(s->env, s->conf->cloud, &authority, e);

	if (!rc)
		rc = http_new(&http, &s->http, e);
	if (!rc)
		rc = auth_entra_new(s->http, buf_str(&authority), &s->entra, e);
	return rc;
}

static int new_chain(const struct auth_conf *conf, const struct auth_env *env,
		     struct credential **out, struct err *e)
{
	struct setup s = {.conf = conf, .env = env};
	struct auth_cache_conf cache = {
		.arm_scope = (conf->cloud ? conf->cloud : cloud_public())->arm_scope,
		.free_extra = free_entra};
	int rc = auth_hide_memory(e);

	if (!rc)
		rc = open_entra(&s, e);
	if (!rc)
		rc = auth_chain_new(auth_kind_name(conf->kind), advice, &cache.source, e);
	if (!rc)
		rc = fill_chain(&s, cache.source, e);
	if (rc) {
		auth_source_free(cache.source);
		auth_entra_free(s.entra);
		http_free(s.http);
		return rc;
	}
	cache.http = s.http;
	cache.extra = s.entra;
	return auth_cache_new(&cache, out, e);
}

int auth_new(const struct auth_conf *conf, const struct auth_env *env, struct credential **out,
	     struct err *e)
{
	const char *token = auth_env_get(env, AUTH_ACCESS_TOKEN);

	*out = NULL;
	if (conf->kind == AUTH_NONE)
		return credential_none_new(out, e);
	if (token && (conf->kind == AUTH_DEFAULT || conf->kind == AUTH_TOKEN))
		return credential_static_new(token, strlen(token), out, e);
	if (conf->kind == AUTH_TOKEN)
		return err_set(e, -EINVAL, "%s is not set", auth_env_name(AUTH_ACCESS_TOKEN));
	return new_chain(conf, env, out, e);
}

int auth_sign_in(const struct auth_conf *conf, const struct auth_env *env,
		 const struct auth_person *person, struct call *call, struct auth_login *out,
		 struct err *e)
{
	struct setup s = {.conf = conf, .env = env};
	struct auth_login_conf login = {
		.tenant = person->tenant ? person->tenant : auth_env_get(env, AUTH_TENANT_ID),
		.client_id = person->client_id ? person->client_id : AUTH_LOGIN_CLIENT_ID,
		.scope = (conf->cloud ? conf->cloud : cloud_public())->arm_scope,
		.show = person->show,
		.show_arg = person->show_arg};
	int rc = auth_hide_memory(e);

	if (!login.tenant)
		login.tenant = AUTH_LOGIN_TENANT;
	if (!rc && !auth_entra_is_tenant(login.tenant))
		rc = err_set(e, -EINVAL, "'%.64s' is no tenant's id or domain", login.tenant);
	if (!rc)
		rc = open_entra(&s, e);
	login.http = s.http;
	login.entra = s.entra;
	if (!rc)
		rc = auth_login_device(&login, call, out, e);
	auth_entra_free(s.entra);
	http_free(s.http);
	return rc;
}

const char *auth_winner(struct credential *c)
{
	struct auth_source *source = auth_cache_source(c);

	return source ? auth_chain_winner(source) : NULL;
}
