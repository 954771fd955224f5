/* main - which command was meant. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/keyring.h"
#include "client/nearest.h"
#include "fs/cmd.h"
#include "fs/options.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
	const char *summary;
} commands[] = {
	{"mount", cmd_mount, cmd_mount_help, "mount workspaces at a directory"},
	{"umount", cmd_umount, cmd_umount_help, "unmount"},
	{"status", cmd_status, cmd_status_help, "show what is mounted, and how it is doing"},
	{"info", cmd_info, cmd_info_help, "show everything known of an environment version"},
	{"build", cmd_build, cmd_build_help, "build an environment version's image, and follow it"},
	{"import", cmd_import, cmd_import_help, "publish environments from the local disk"},
	{"discard", cmd_discard, cmd_discard_help, "throw away what is not published"},
	{"warm", cmd_warm, cmd_warm_help,
	 "fetch everything below a path, for work without a network"},
	{"cache", cmd_cache, cmd_cache_help,
	 "show, verify, prune or clear what is kept on the disk"},
	{"serve", cmd_serve, cmd_serve_help, "offer the embedded service to other programs"},
	{"login", cmd_login, cmd_login_help, "sign in to Azure, with a browser anywhere"},
	{"logout", cmd_logout, cmd_logout_help, "forget that sign-in"},
	{"doctor", cmd_doctor, cmd_doctor_help, "find out why Azure can't be mounted"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_help(FILE *to)
{
	fputs("usage: mlenvfs COMMAND [ARGUMENTS]\n"
	      "\n"
	      "Azure Machine Learning environments as files.\n"
	      "\n",
	      to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n"
	      "  --help, --version\n"
	      "\n"
	      "'mlenvfs help COMMAND' and 'man mlenvfs' say more. To begin with:\n"
	      "  mkdir ml && mlenvfs mount ml && ls ml\n",
	      to);
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[N_COMMANDS + 1] = {0};
	const char *near;

	for (size_t i = 0; i < N_COMMANDS; i++)
		names[i] = commands[i].name;
	near = nearest_word(name, names);
	if (near)
		cmd_complain("'%s' is not a command: did you mean '%s'?", name, near);
	else
		cmd_complain("'%s' is not a command; see 'mlenvfs --help'", name);
	return CMD_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		print_help(stdout);
		return CMD_OK;
	}
	c = find(argv[1]);
	if (!c)
		return unknown(argv[1]);
	fputs(c->help, stdout);
	if (c->run == cmd_mount)
		options_help(stdout);
	return CMD_OK;
}

static int is_mount_helper(const char *argv0)
{
	const char *base = strrchr(argv0, '/');

	base = base ? base + 1 : argv0;
	return strcmp(base, "mount.mlenvfs") == 0 || strcmp(base, "mount.fuse.mlenvfs") == 0;
}

static int is_source(const char *word)
{
	return strncmp(word, "azureml://", 10) == 0 || strcmp(word, "embedded") == 0 ||
	       strcmp(word, "azure") == 0;
}

/* A build context and many connections may need more descriptors than shells give by default. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	const struct command *c;

	raise_descriptor_limit();
	opterr = 0; /* our own words say what is wrong */
	if (argc && is_mount_helper(argv[0]))
		return cmd_mount(argc, argv);
	if (argc < 2) {
		print_help(stderr);
		return CMD_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("mlenvfs " MLENVFS_VERSION);
		return CMD_OK;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return help(argc - 1, argv + 1);
	/* mount(8) runs us through mount.fuse3 so: mlenvfs SOURCE MOUNTPOINT -o OPTIONS */
	if (argc > 2 && is_source(argv[1]))
		return cmd_mount(argc, argv);
	if (strcmp(argv[1], KEYRING_COMMAND) == 0)
		keyring_main(argc - 1, argv + 1);
	c = find(argv[1]);
	return c ? c->run(argc - 1, argv + 1) : unknown(argv[1]);
}
