/* cmd_discard - mlenvfs discard: throws away what was written in a mount and is not published. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "client/cleanup.h"
#include "fs/xattr.h"

const char cmd_discard_help[] =
	"usage: mlenvfs discard PATH...\n"
	"\n"
	"Throws away what was written and is not published: a draft, a refused file\n"
	"(spec.yml.rejected), a file that is being edited, or, for a version's directory, all\n"
	"edits and refused files in it. What is published stays as it is.\n"
	"'mlenvfs status' lists what there is.\n";

static const char *reason_of(int code)
{
	switch (code) {
	case EPERM:
		return "this is nothing that waits to be published; see 'mlenvfs status'";
	case EOPNOTSUPP:
		return "this is not in an mlenvfs mount";
	default:
		return strerror(code); /* NOLINT(concurrency-mt-unsafe): one thread */
	}
}

/* Whether path lies in an mlenvfs mount: elsewhere an attribute would just be set. */
static bool is_in_mount(const char *path)
{
	_cleanup_free_ char *real = cmd_real_path(path, NULL);
	struct cmd_mounted *mounts;
	bool found = false;
	size_t n;

	if (!real || cmd_mounts(&mounts, &n, NULL))
		return false;
	for (size_t i = 0; i < n && !found; i++) {
		size_t len = strlen(mounts[i].mountpoint);

		found = strncmp(real, mounts[i].mountpoint, len) == 0 &&
			(real[len] == '/' || !real[len]);
	}
	cmd_mounts_free(mounts, n);
	return found;
}

static int discard(const char *path)
{
	if (!is_in_mount(path))
		return -EOPNOTSUPP;
	return lsetxattr(path, XATTR_DISCARD, "1", 1, 0) < 0 ? -errno : 0;
}

int cmd_discard(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int status = CMD_OK, c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c != 'h')
			return cmd_usage("discard", "unknown option '%s'", argv[optind - 1]);
		fputs(cmd_discard_help, stdout);
		return CMD_OK;
	}
	if (optind == argc)
		return cmd_usage("discard", "which PATH?");
	for (; optind < argc; optind++) {
		int rc = discard(argv[optind]);

		if (!rc) {
			printf("%s: thrown away\n", argv[optind]);
			continue;
		}
		cmd_complain("%s: %s", argv[optind], reason_of(-rc));
		status = CMD_FAILED;
	}
	return status;
}
