/* client/azure_files and fs/settings: what Azure's own tools keep, and which of it counts. */
#include "client/azure_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/settings.h"

struct fixture {
	char base[64];
	char cwd[512];
};

static void path_of(const struct fixture *f, const char *name, char out[256])
{
	snprintf(out, 256, "%s/%s", f->base, name);
}

/* Writes base/name, with the directories on the way. */
static void put(const struct fixture *f, const char *name, const char *text)
{
	char path[256];
	FILE *out;

	path_of(f, name, path);
	for (char *p = path + strlen(f->base) + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	out = fopen(path, "we");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static const char *const variables[] = {
	"AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP",      "AZURE_ML_WORKSPACE",
	"AZURE_DEFAULTS_GROUP",  "AZURE_DEFAULTS_WORKSPACE",  "AZURE_CLOUD_NAME",
	"AZURE_AUTHORITY_HOST",  "AZUREML_ARM_SUBSCRIPTION",  "AZUREML_ARM_RESOURCEGROUP",
	"AZURE_ACCESS_TOKEN",    "AZUREML_ARM_WORKSPACE_NAME"};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[256];

	assert_non_null(f);
	assert_non_null(getcwd(f->cwd, sizeof(f->cwd)));
	snprintf(f->base, sizeof(f->base), "/tmp/mlenvfs-settings-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		unsetenv(variables[i]);
	path_of(f, "az", path);
	setenv("AZURE_CONFIG_DIR", path, 1);
	put(f, "work/deep/x", "");
	path_of(f, "work/deep", path);
	assert_int_equal(chdir(path), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *argv[] = {(char *)"rm", (char *)"-rf", f->base, NULL};
	pid_t pid;

	assert_int_equal(chdir(f->cwd), 0);
	pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	free(f);
	return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

/* ---- files ---- */

static void test_cli_config(void **state)
{
	struct fixture *f = *state;
	char dir[256], *value;

	path_of(f, "az", dir);
	assert_int_equal(azure_cli_config(dir, "defaults", "group", &value, NULL), -ENOENT);
	put(f, "az/config",
	    "# a comment\r\n[core]\ngroup = wrong\n\n[defaults]\n;group = no\nGroup = rg one \n"
	    "workspace: ws\nlocation =\n[cloud]\nname=AzureUSGovernment\n");
	assert_int_equal(azure_cli_config(dir, "defaults", "group", &value, NULL), 0);
	assert_string_equal(value, "rg one");
	free(value);
	assert_int_equal(azure_cli_config(dir, "defaults", "workspace", &value, NULL), 0);
	assert_string_equal(value, "ws");
	free(value);
	assert_int_equal(azure_cli_config(dir, "cloud", "name", &value, NULL), 0);
	assert_string_equal(value, "AzureUSGovernment");
	free(value);
	assert_int_equal(azure_cli_config(dir, "defaults", "location", &value, NULL), -ENOENT);
	assert_int_equal(azure_cli_config(dir, "default", "group", &value, NULL), -ENOENT);
}

static const char profile[] =
	"\xef\xbb\xbf{\"installationId\":\"i\",\"subscriptions\":[{\"id\":\"sub-1\",\"tenantId\":"
	"\"t1\"},{\"id\":\"sub-2\",\"isDefault\":true,\"tenantId\":\"t2\",\"environmentName\":"
	"\"AzureCloud\"},7]}";

static void test_cli_profile(void **state)
{
	struct fixture *f = *state;
	struct azure_subscription s;
	struct err e = ERR_INIT;
	char dir[256];

	path_of(f, "az", dir);
	assert_int_equal(azure_cli_subscription(dir, NULL, &s, NULL), -ENOENT);
	put(f, "az/azureProfile.json", profile);
	assert_int_equal(azure_cli_subscription(dir, NULL, &s, NULL), 0);
	assert_string_equal(s.id, "sub-2");
	assert_string_equal(s.tenant, "t2");
	azure_subscription_clear(&s);
	assert_int_equal(azure_cli_subscription(dir, "SUB-1", &s, NULL), 0);
	assert_string_equal(s.tenant, "t1");
	azure_subscription_clear(&s);
	assert_int_equal(azure_cli_subscription(dir, "sub-3", &s, NULL), -ENOENT);
	put(f, "az/azureProfile.json", "{\"subscriptions\":");
	assert_int_equal(azure_cli_subscription(dir, NULL, &s, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "azureProfile.json"));
}

static void assert_config(const struct fixture *f, const char *workspace, const char *path)
{
	struct ml_config c;
	char start[256], full[256];
	struct err e = ERR_INIT;

	path_of(f, "work/deep", start);
	path_of(f, path, full);
	if (ml_config_find(start, &c, &e))
		fail_msg("%s", e.msg);
	assert_string_equal(c.workspace, workspace);
	assert_string_equal(c.path, full);
	ml_config_clear(&c);
}

#define CONFIG(w)                                                                                 \
	"{\"subscription_id\":\"s\",\"resource_group\":\"g\",\"workspace_name\":\"" w "\",\"x\":" \
	"1}"

static void test_ml_config(void **state)
{
	struct fixture *f = *state;
	struct ml_config c;
	struct err e = ERR_INIT;
	char start[256];

	path_of(f, "work/deep", start);
	put(f, "work/deep/config.json", "{\"somebody\":\"else's\"}");
	assert_int_equal(ml_config_find(start, &c, NULL), -ENOENT);
	put(f, "work/config.json", CONFIG("w1"));
	put(f, "work/deep/config.json", CONFIG("w2"));
	assert_config(f, "w2", "work/deep/config.json");
	/* That of a parent wins, as in the SDK. */
	put(f, "work/.azureml/config.json", CONFIG("w3"));
	assert_config(f, "w3", "work/.azureml/config.json");
	put(f, "work/deep/.azureml/config.json",
	    "{\"Scope\":\"/subscriptions/s/resourceGroups/g/providers/"
	    "Microsoft.MachineLearningServices/workspaces/w4\"}");
	assert_config(f, "w4", "work/deep/.azureml/config.json");
	put(f, "work/deep/.azureml/config.json", "{\"subscription_id\":\"s\"}");
	assert_int_equal(ml_config_find(start, &c, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "workspace_name"));
	put(f, "work/deep/.azureml/config.json", "{\"Scope\":\"/subscriptions/s\"}");
	assert_int_equal(ml_config_find(start, &c, &e), -EBADMSG);
}

/* ---- which of it counts ---- */

static int resolve(const char *source, const char *options, struct settings *out, struct err *e)
{
	struct auth_env env;
	struct options o;
	int rc;

	options_init(&o);
	assert_int_equal(options_parse(&o, options, NULL), 0);
	o.source = strdup(source);
	assert_int_equal(auth_env_take(&env, NULL), 0);
	rc = settings_resolve(&o, &env, out, e);
	auth_env_clear(&env);
	options_clear(&o);
	return rc;
}

static const char *or_none(const char *text)
{
	return text ? text : "-";
}

static void assert_place(const char *source, const char *expected)
{
	struct settings s;
	struct err e = ERR_INIT;
	char place[256];

	if (resolve(source, "", &s, &e))
		fail_msg("%s", e.msg);
	snprintf(place, sizeof(place), "%s/%s/%s", or_none(s.uri.subscription),
		 or_none(s.uri.resource_group), or_none(s.uri.workspace));
	assert_string_equal(place, expected);
	settings_clear(&s);
}

static void test_precedence(void **state)
{
	struct fixture *f = *state;
	struct settings s;
	struct err e = ERR_INIT;

	assert_int_equal(resolve("azure", "", &s, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "AZURE_SUBSCRIPTION_ID"));
	put(f, "az/azureProfile.json", profile);
	assert_place("azure", "sub-2/-/-");
	put(f, "az/config", "[defaults]\nworkspace = cli-ws\n");
	assert_int_equal(resolve("azure", "", &s, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "no resource group"));
	put(f, "az/config", "[defaults]\ngroup = cli-rg\nworkspace = cli-ws\n");
	assert_place("azure", "sub-2/cli-rg/cli-ws");
	setenv("AZURE_DEFAULTS_WORKSPACE", "other-ws", 1);
	assert_place("azure", "sub-2/cli-rg/other-ws");
	setenv("AZURE_SUBSCRIPTION_ID", "sub-env", 1);
	assert_place("azure", "sub-env/cli-rg/other-ws");
	/* A config.json is one statement, its subscription too. */
	put(f, "work/.azureml/config.json", CONFIG("w"));
	assert_place("azure", "s/g/w");
	setenv("AZUREML_ARM_SUBSCRIPTION", "job-s", 1);
	setenv("AZUREML_ARM_RESOURCEGROUP", "job-g", 1);
	setenv("AZUREML_ARM_WORKSPACE_NAME", "job-w", 1);
	assert_place("azure", "job-s/job-g/job-w");
	setenv("AZURE_RESOURCE_GROUP", "env-rg", 1);
	assert_place("azure", "sub-env/env-rg/-");
	setenv("AZURE_ML_WORKSPACE", "env-ws", 1);
	assert_place("azure", "sub-env/env-rg/env-ws");
	assert_place("azureml://subscriptions/S/resourceGroups/G", "S/G/-");
}

static void test_clouds(void **state)
{
	struct fixture *f = *state;
	struct settings s;
	struct err e = ERR_INIT;

	assert_int_equal(resolve("azureml://subscriptions/S", "", &s, &e), 0);
	assert_string_equal(s.endpoint, "https://management.azure.com");
	settings_clear(&s);
	put(f, "az/config", "[cloud]\nname = AzureChinaCloud\n");
	assert_int_equal(resolve("azureml://subscriptions/S", "", &s, &e), 0);
	assert_string_equal(s.endpoint, "https://management.chinacloudapi.cn");
	settings_clear(&s);
	setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us", 1);
	assert_int_equal(resolve("azureml://subscriptions/S", "", &s, &e), 0);
	assert_string_equal(s.cloud->name, "AzureUSGovernment");
	settings_clear(&s);
	assert_int_equal(resolve("azureml://subscriptions/S", "cloud=AzureCloud", &s, &e), 0);
	assert_string_equal(s.cloud->name, "AzureCloud");
	settings_clear(&s);
	assert_int_equal(
		resolve("azureml://subscriptions/S", "arm_endpoint=https://127.0.0.1:1", &s, &e),
		0);
	assert_string_equal(s.endpoint, "https://127.0.0.1:1");
	settings_clear(&s);
	assert_int_equal(resolve("azureml://subscriptions/S", "cloud=AzureGerman", &s, &e),
			 -EINVAL);
	assert_non_null(strstr(e.msg, "AzureGerman"));
}

/* The embedded service gets nothing that was not given for it. */
static void test_who_gets_a_token(void **state)
{
	static const struct {
		const char *source;
		const char *options;
		const char *token;
		enum auth_kind kind;
	} table[] = {
		{"embedded", "", NULL, AUTH_NONE},
		{"embedded", "arm_endpoint=http://127.0.0.1:1", NULL, AUTH_NONE},
		{"embedded", "arm_endpoint=http://127.0.0.1:1", "t", AUTH_DEFAULT},
		{"embedded", "arm_endpoint=http://127.0.0.1:1,credential=login", NULL, AUTH_LOGIN},
		{"azureml://subscriptions/S", "", NULL, AUTH_DEFAULT},
		{"azureml://subscriptions/S", "credential=azure-cli", "t", AUTH_AZURE_CLI},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct auth_env env;
		struct settings s;
		struct options o;

		options_init(&o);
		assert_int_equal(options_parse(&o, table[i].options, NULL), 0);
		o.source = strdup(table[i].source);
		if (table[i].token)
			setenv("AZURE_ACCESS_TOKEN", table[i].token, 1);
		assert_int_equal(auth_env_take(&env, NULL), 0);
		assert_int_equal(settings_resolve(&o, &env, &s, NULL), 0);
		assert_int_equal(settings_auth(&s, &o, &env, NULL).kind, table[i].kind);
		settings_clear(&s);
		auth_env_clear(&env);
		options_clear(&o);
	}
}

static void test_the_subscription_that_az_knows(void **state)
{
	struct fixture *f = *state;
	struct settings s;

	put(f, "az/azureProfile.json", profile);
	assert_int_equal(resolve("azureml://subscriptions/sub-1", "", &s, NULL), 0);
	assert_string_equal(s.cli_subscription, "sub-1");
	settings_clear(&s);
	assert_int_equal(resolve("azureml://subscriptions/unknown", "", &s, NULL), 0);
	assert_null(s.cli_subscription);
	settings_clear(&s);
}

#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FILES(test_cli_config),
		WITH_FILES(test_cli_profile),
		WITH_FILES(test_ml_config),
		WITH_FILES(test_precedence),
		WITH_FILES(test_clouds),
		WITH_FILES(test_who_gets_a_token),
		WITH_FILES(test_the_subscription_that_az_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
