/* cmd_discard - mlenvfs discard: throws away what was written in a mount and is not published. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

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
		if (lsetxattr(argv[optind], XATTR_DISCARD, "1", 1, 0) == 0) {
			printf("%s: thrown away\n", argv[optind]);
			continue;
		}
		cmd_complain("%s: %s", argv[optind], reason_of(errno));
		status = CMD_FAILED;
	}
	return status;
}
