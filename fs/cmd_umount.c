/* cmd_umount - mlenvfs umount: unmounts, and waits until the process behind the mount has ended. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "client/cleanup.h"

enum { END_TIMEOUT_MS = 15000 };

const char cmd_umount_help[] =
	"usage: mlenvfs umount [-z] MOUNTPOINT...\n"
	"\n"
	"Unmounts and waits for the background process to end. Cleans up after a process that\n"
	"was killed, too.\n"
	"\n"
	"  -z, --lazy               unmount even when it is in use: it ends when its last user "
	"does\n";

/* A descriptor of the process behind the mount, or -1. */
static int process_of(const char *path)
{
	_cleanup_free_ char *json = NULL;
	cJSON *status;
	int fd = -1;

	if (cmd_read_status(path, &json, NULL))
		return -1;
	status = cJSON_Parse(json);
	if (cJSON_IsNumber(cJSON_GetObjectItem(status, "pid")))
		fd = (int)syscall(SYS_pidfd_open, cJSON_GetObjectItem(status, "pid")->valueint, 0);
	cJSON_Delete(status);
	return fd;
}

static int await_end(int process)
{
	struct pollfd p = {.fd = process, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, END_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : -ETIMEDOUT;
}

static int unmount_one(const char *given, bool lazy)
{
	struct err e = ERR_INIT;
	_cleanup_free_ char *path = cmd_real_path(given, &e);
	_cleanup_close_ int process = -1;
	int rc;

	if (!path) {
		cmd_complain("%s", e.msg);
		return CMD_FAILED;
	}
	if (!cmd_is_mounted(path)) {
		cmd_complain("mlenvfs is not mounted at %s", path);
		return CMD_FAILED;
	}
	process = process_of(path);
	/* Nobody is behind a dead mount who could be in the way. */
	rc = cmd_unmount(path, lazy || process < 0, &e);
	if (rc) {
		cmd_complain("%s%s", e.msg,
			     rc == -EBUSY ? "; leave it, or use 'mlenvfs umount -z'" : "");
		return CMD_FAILED;
	}
	if (process >= 0 && !lazy && await_end(process)) {
		cmd_complain("%s is unmounted, but its process has not ended yet", path);
		return CMD_FAILED;
	}
	return CMD_OK;
}

int cmd_umount(int argc, char **argv)
{
	static const struct option longs[] = {
		{"lazy", no_argument, NULL, 'z'}, {"help", no_argument, NULL, 'h'}, {0}};
	int status = CMD_OK, c;
	bool lazy = false;

	optind = 1;
	while ((c = getopt_long(argc, argv, "zh", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(cmd_umount_help, stdout);
			return CMD_OK;
		}
		if (c != 'z')
			return cmd_usage("umount", "unknown option '%s'", argv[optind - 1]);
		lazy = true;
	}
	if (optind == argc)
		return cmd_usage("umount", "which mount? A mount point is missing");
	for (; optind < argc; optind++)
		if (unmount_one(argv[optind], lazy))
			status = CMD_FAILED;
	return status;
}
