#include "fs/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/azure_files.h"
#include "client/cleanup.h"
#include "emulator/emu.h"
#include "fs/paths.h"

void settings_clear(struct settings *s)
{
	source_uri_clear(&s->uri);
	free(s->from);
	free(s->endpoint);
	free(s->cli_subscription);
	*s = (struct settings){0};
}

static char *copy_variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? strdup(value) : NULL;
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "no memory for the settings");
}

/* ---- the cloud ---- */

static int named_cloud(const char *name, const char *where, const struct cloud **out, struct err *e)
{
	*out = cloud_by_name(name);
	if (*out)
		return 0;
	return err_set(e, -EINVAL,
		       "%s names the cloud '%.64s', which is none of AzureCloud, AzureChinaCloud, "
		       "AzureUSGovernment",
		       where, name);
}

/* -o cloud, the CLI's variable and its `az cloud set`, then where the authority is. */
static int find_cloud(const struct options *o, const struct auth_env *env, const char *cli_dir,
		      const struct cloud **out, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	const char *variable = getenv("AZURE_CLOUD_NAME");
	int rc;

	if (o->cloud)
		return named_cloud(o->cloud, "-o cloud", out, e);
	if (variable && *variable)
		return named_cloud(variable, "AZURE_CLOUD_NAME", out, e);
	if (auth_env_get(env, AUTH_AUTHORITY_HOST)) {
		*out = auth_env_cloud(env);
		return 0;
	}
	rc = azure_cli_config(cli_dir, "cloud", "name", &name, NULL);
	if (rc == -ENOMEM)
		return no_memory(e);
	/* A cloud that somebody registered with the CLI by himself is no mistake. */
	*out = name ? cloud_by_name(name) : NULL;
	if (!*out)
		*out = cloud_public();
	return 0;
}

/* ---- the workspace ---- */

/* Sets the place, of which the strings are taken. */
static int set_place(struct settings *s, char *subscription, char *group, char *workspace,
		     const char *from, struct err *e)
{
	s->uri.subscription = subscription;
	s->uri.resource_group = group;
	s->uri.workspace = workspace;
	s->from = strdup(from);
	return s->from ? 0 : no_memory(e);
}

/* Variables: those of our own, or those that Azure ML sets in its jobs. */
static int from_environment(struct settings *s, struct err *e)
{
	char *group = copy_variable("AZURE_RESOURCE_GROUP");
	char *workspace = copy_variable("AZURE_ML_WORKSPACE");

	if (group || workspace)
		return set_place(s, copy_variable("AZURE_SUBSCRIPTION_ID"), group, workspace,
				 "the environment", e);
	workspace = copy_variable("AZUREML_ARM_WORKSPACE_NAME");
	if (!workspace)
		return -ENOENT;
	return set_place(s, copy_variable("AZUREML_ARM_SUBSCRIPTION"),
			 copy_variable("AZUREML_ARM_RESOURCEGROUP"), workspace, "the Azure ML job",
			 e);
}

static int from_config_json(struct settings *s, struct err *e)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	struct ml_config c = {0};
	int rc = cwd ? ml_config_find(cwd, &c, e) : -ENOENT;

	if (!rc)
		rc = set_place(s, steal_ptr(&c.subscription), steal_ptr(&c.resource_group),
			       steal_ptr(&c.workspace), c.path, e);
	ml_config_clear(&c);
	return rc;
}

/* One of `az configure --defaults`, which a variable of the CLI goes before. */
static char *cli_default(const char *cli_dir, const char *variable, const char *key)
{
	char *value = copy_variable(variable);

	if (!value)
		azure_cli_config(cli_dir, "defaults", key, &value, NULL);
	return value;
}

static int from_cli(struct settings *s, const char *cli_dir, struct err *e)
{
	char *subscription = copy_variable("AZURE_SUBSCRIPTION_ID");
	char *group = cli_default(cli_dir, "AZURE_DEFAULTS_GROUP", "group");
	char *workspace = cli_default(cli_dir, "AZURE_DEFAULTS_WORKSPACE", "workspace");
	const char *from = "the Azure CLI's default subscription";

	if (group || workspace)
		from = "the defaults of the Azure CLI";
	else if (subscription)
		from = "AZURE_SUBSCRIPTION_ID";
	return set_place(s, subscription, group, workspace, from, e);
}

static int find_place(struct settings *s, const char *cli_dir, struct err *e)
{
	struct azure_subscription known = {0};
	int rc = from_environment(s, e);

	if (rc == -ENOENT)
		rc = from_config_json(s, e);
	if (rc == -ENOENT)
		rc = from_cli(s, cli_dir, e);
	if (!rc && !s->uri.subscription)
		rc = azure_cli_subscription(cli_dir, NULL, &known, e);
	if (!rc && known.id)
		s->uri.subscription = steal_ptr(&known.id);
	azure_subscription_clear(&known);
	if (rc == -ENOENT)
		return err_set(
			e, -EINVAL,
			"SOURCE is 'azure', and no subscription is set: name one "
			"(azureml://subscriptions/ID), or set AZURE_SUBSCRIPTION_ID, or sign in "
			"with 'az login'");
	if (!rc && s->uri.workspace && !s->uri.resource_group)
		return err_set(
			e, -EINVAL,
			"the workspace '%.64s' is set by %s, and no resource group: set that "
			"too (AZURE_RESOURCE_GROUP, or 'az configure --defaults group=NAME')",
			s->uri.workspace, s->from);
	return rc;
}

/* ---- all ---- */

/* A `mlenvfs serve` has this one subscription, unless it is said otherwise. */
static int default_subscription(struct settings *s, struct err *e)
{
	if (s->endpoint)
		s->uri.subscription = copy_variable("AZURE_SUBSCRIPTION_ID");
	if (!s->uri.subscription)
		s->uri.subscription = strdup(EMU_SUBSCRIPTION);
	return s->uri.subscription ? 0 : no_memory(e);
}

static char *cli_folder(void)
{
	char *dir = copy_variable("AZURE_CONFIG_DIR");

	return dir ? dir : paths_in_home(".azure");
}

static int find_endpoint(struct settings *s, const struct options *o, struct err *e)
{
	if (s->uri.embedded && !o->arm_endpoint)
		return 0;
	s->endpoint = strdup(o->arm_endpoint ? o->arm_endpoint : s->cloud->endpoint);
	return s->endpoint ? 0 : no_memory(e);
}

/* `az` signs in to the tenant of its default subscription unless it is told another one. */
int settings_find_cli_subscription(struct settings *s, struct err *e)
{
	_cleanup_free_ char *cli_dir = cli_folder();
	struct azure_subscription known = {0};
	int rc;

	if (!cli_dir)
		return no_memory(e);
	if (!s->uri.subscription)
		return 0;
	rc = azure_cli_subscription(cli_dir, s->uri.subscription, &known, NULL);
	s->cli_subscription = steal_ptr(&known.id);
	azure_subscription_clear(&known);
	return rc == -ENOMEM ? no_memory(e) : 0;
}

int settings_resolve(const struct options *o, const struct auth_env *env, struct settings *out,
		     struct err *e)
{
	_cleanup_free_ char *cli_dir = cli_folder();
	int rc = cli_dir ? 0 : no_memory(e);

	*out = (struct settings){0};
	if (!rc)
		rc = source_uri_parse(o->source, &out->uri, e);
	if (!rc)
		rc = find_cloud(o, env, cli_dir, &out->cloud, e);
	if (!rc && out->uri.azure)
		rc = find_place(out, cli_dir, e);
	if (!rc)
		rc = find_endpoint(out, o, e);
	if (!rc && out->uri.embedded)
		rc = default_subscription(out, e);
	if (!rc)
		rc = settings_find_cli_subscription(out, e);
	if (rc)
		settings_clear(out);
	return rc;
}

struct auth_conf settings_auth(const struct settings *s, const struct options *o,
			       const struct auth_env *env, const char *login_file)
{
	struct auth_conf conf = {.kind = o->credential,
				 .cloud = s->cloud,
				 .ca_file = o->cafile,
				 .login_file = login_file,
				 .cli_subscription = s->cli_subscription};

	if (conf.kind == AUTH_DEFAULT && s->uri.embedded && !auth_env_get(env, AUTH_ACCESS_TOKEN))
		conf.kind = AUTH_NONE;
	return conf;
}
