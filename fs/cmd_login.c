/* cmd_login - mlenvfs login and logout. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/auth.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/keyring.h"
#include "client/log.h"
#include "fs/options.h"
#include "fs/paths.h"
#include "fs/settings.h"

const char cmd_login_help[] =
	"usage: mlenvfs login [--tenant TENANT] [--keep PLACE] [-o OPTIONS]\n"
	"\n"
	"Signs in to Azure: prints an address and a code, which are to be entered in a browser on\n"
	"this or any other machine. What comes of it is kept for mounts until 'mlenvfs logout'.\n"
	"\n"
	"  -t, --tenant TENANT      the tenant's id or domain (AZURE_TENANT_ID, else your own)\n"
	"      --client-id ID       the application to sign in to (that of the Azure CLI)\n"
	"      --keep PLACE         keyring: only in the desktop's keyring; file: only in a file "
	"of\n"
	"                           mode 0600 (the keyring, where there is one, else the file)\n"
	"  -o OPTIONS               cloud and cafile, as 'mlenvfs help mount' has them\n";

const char cmd_logout_help[] =
	"usage: mlenvfs logout\n"
	"\n"
	"Forgets what 'mlenvfs login' keeps. Mounts notice within the hour.\n";

enum { LOGIN_MAX_S = 3700 /* longer than any code is valid */ };

enum keep { KEEP_ANYWHERE, KEEP_KEYRING, KEEP_FILE };

struct login {
	struct options options;
	struct auth_person person;
	enum keep keep;
};

static void show(void *arg, const char *message)
{
	(void)arg;
	printf("%s\n", message);
	fflush(stdout);
}

/* ---- keeping it ---- */

static int keep_in_file(const char *path, struct auth_login *l, struct call *call, struct err *e)
{
	int rc = paths_make_parents(path);

	if (rc)
		return err_set(e, rc, "the directory of %s can't be made: %s", path, strerror(-rc));
	rc = auth_store_save(path, l, call, e);
	if (!rc)
		printf("Signed in. The sign-in is kept in %s%s.\n",
		       l->keyring ? "the desktop's keyring" : path,
		       l->keyring ? "" : ", for your eyes only");
	return rc;
}

static int keep(const struct login *in, const char *path, struct auth_login *l, struct call *call,
		struct err *e)
{
	int rc;

	l->keyring = in->keep == KEEP_KEYRING || (in->keep == KEEP_ANYWHERE && keyring_is_likely());
	rc = keep_in_file(path, l, call, e);
	if (rc != -EOPNOTSUPP && rc != -ETIMEDOUT)
		return rc;
	if (in->keep == KEEP_KEYRING)
		return rc;
	log_debug("op=login msg=\"%s\"", e->msg);
	l->keyring = false;
	return keep_in_file(path, l, call, e);
}

static int sign_in(struct login *in, struct err *e)
{
	_cleanup_free_ char *path = paths_login();
	struct settings s = {0};
	struct auth_env env = {0};
	struct auth_login l = {0};
	struct auth_conf conf;
	struct call call;
	int rc = path ? auth_env_take(&env, e) : -ENOMEM;

	call_init(&call, clock_mono() + LOGIN_MAX_S * NS_PER_S, CALL_INTERACTIVE);
	if (!rc)
		rc = settings_resolve(&in->options, &env, &s, e);
	if (!rc) {
		conf = settings_auth(&s, &in->options, &env, path);
		rc = auth_sign_in(&conf, &env, &in->person, &call, &l, e);
	}
	if (!rc)
		rc = keep(in, path, &l, &call, e);
	call_destroy(&call);
	auth_login_clear(&l);
	settings_clear(&s);
	auth_env_clear(&env);
	return rc;
}

/* ---- the command line ---- */

enum { OPT_CLIENT_ID = 256, OPT_KEEP };

static int take_keep(struct login *in, const char *word)
{
	if (strcmp(word, "keyring") == 0)
		in->keep = KEEP_KEYRING;
	else if (strcmp(word, "file") == 0)
		in->keep = KEEP_FILE;
	else
		return cmd_usage("login", "--keep is 'keyring' or 'file', not '%s'", word);
	return 0;
}

static int take_option(struct login *in, int c, char **argv)
{
	struct err e = ERR_INIT;

	switch (c) {
	case 't':
		in->person.tenant = optarg;
		return 0;
	case OPT_CLIENT_ID:
		in->person.client_id = optarg;
		return 0;
	case OPT_KEEP:
		return take_keep(in, optarg);
	case 'o':
		return options_parse(&in->options, optarg, &e) ? cmd_usage("login", "%s", e.msg)
							       : 0;
	case ':':
		return cmd_usage("login", "'%s' needs a value", argv[optind - 1]);
	default:
		return cmd_usage("login", "unknown option '%s'", argv[optind - 1]);
	}
}

int cmd_login(int argc, char **argv)
{
	static const struct option longs[] = {{"tenant", required_argument, NULL, 't'},
					      {"client-id", required_argument, NULL, OPT_CLIENT_ID},
					      {"keep", required_argument, NULL, OPT_KEEP},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct login in = {.person = {.show = show}};
	struct err e = ERR_INIT;
	int c, rc, status = 0;

	options_init(&in.options);
	optind = 1;
	while (!status && (c = getopt_long(argc, argv, ":t:o:h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(cmd_login_help, stdout);
			options_clear(&in.options);
			return CMD_OK;
		}
		status = take_option(&in, c, argv);
	}
	if (!status && optind < argc)
		status = cmd_usage("login", "too many arguments: '%s'", argv[optind]);
	log_set_level(in.options.log_level == LOG_LEVEL_INFO ? LOG_LEVEL_WARN
							     : in.options.log_level);
	rc = status ? 0 : sign_in(&in, &e);
	if (rc) {
		cmd_complain("not signed in: %s", err_text(&e, rc));
		status = CMD_FAILED;
	}
	options_clear(&in.options);
	return status;
}

int cmd_logout(int argc, char **argv)
{
	_cleanup_free_ char *path = paths_login();
	struct err e = ERR_INIT;
	struct call call;
	int rc;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(cmd_logout_help, stdout);
		return CMD_OK;
	}
	if (argc > 1)
		return cmd_usage("logout", "too many arguments: '%s'", argv[1]);
	call_init(&call, clock_mono() + KEYRING_TIMEOUT_S * NS_PER_S, CALL_INTERACTIVE);
	rc = path ? auth_store_delete(path, &call, &e) : -ENOMEM;
	call_destroy(&call);
	if (rc && rc != -ENOENT) {
		cmd_complain("%s", err_text(&e, rc));
		return CMD_FAILED;
	}
	puts(rc ? "Nobody is signed in here." : "Signed out.");
	return CMD_OK;
}
