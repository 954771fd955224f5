#include "fs/cmd.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/xattr.h"

extern char **environ;

void cmd_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("mlenvfs: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

int cmd_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "mlenvfs %s: ", command);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\nTry 'mlenvfs help %s'.\n", command);
	va_end(ap);
	return CMD_USAGE;
}

/* ---- what is mounted ---- */

/* Undoes the octal escapes of mountinfo (space, tab, line end, backslash), in place. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		unsigned int code;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &code) == 1 && strlen(s) >= 4) {
			*to++ = (char)code;
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Fields: id parent major:minor root mountpoint options [tags] - type source superoptions */
static bool parse_mount(char *line, struct cmd_mounted *out)
{
	char *dash = strstr(line, " - "), *save = NULL, *field = NULL;
	char type[64], source[PATH_MAX];
	const char *user;

	if (!dash || sscanf(dash + 3, "%63s %4095s", type, source) != 2 ||
	    strcmp(type, "fuse.mlenvfs") != 0)
		return false;
	user = strstr(dash + 3 + strlen(type) + 1 + strlen(source), "user_id=");
	if (!user || sscanf(user, "user_id=%10u", &out->user) != 1)
		out->user = UINT_MAX;
	*dash = '\0';
	for (int i = 0; i < 5; i++)
		field = strtok_r(i ? NULL : line, " ", &save);
	if (!field)
		return false;
	out->mountpoint = strdup(field);
	out->source = strdup(source);
	if (!out->mountpoint || !out->source)
		return false;
	unescape(out->mountpoint);
	unescape(out->source);
	return true;
}

void cmd_mounts_free(struct cmd_mounted *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(m[i].mountpoint);
		free(m[i].source);
	}
	free(m);
}

int cmd_mounts(struct cmd_mounted **out, size_t *n, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int rc = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	*out = NULL;
	*n = 0;
	if (!f)
		return err_set(e, -errno, "/proc/self/mountinfo can't be read: %s",
			       strerror(errno));
	while (!rc && getline(&line, &size, f) > 0) {
		struct cmd_mounted one = {0};
		struct cmd_mounted *more;

		if (!parse_mount(line, &one)) {
			free(one.mountpoint);
			free(one.source);
			continue;
		}
		more = reallocarray(*out, *n + 1, sizeof(*more));
		if (more) {
			*out = more;
			more[(*n)++] = one;
		} else {
			free(one.mountpoint);
			free(one.source);
			rc = -ENOMEM;
		}
	}
	fclose(f);
	return rc;
}

bool cmd_is_mine(const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	struct cmd_mounted *m;
	bool mine = false;
	size_t n;

	if (!real || cmd_mounts(&m, &n, NULL))
		return false;
	/* The last one at a place is the one that is seen. */
	for (size_t i = 0; i < n; i++)
		if (strcmp(m[i].mountpoint, real) == 0)
			mine = m[i].user == getuid();
	cmd_mounts_free(m, n);
	return mine;
}

bool cmd_is_mounted(const char *path)
{
	struct cmd_mounted *m;
	bool found = false;
	size_t n;

	if (cmd_mounts(&m, &n, NULL))
		return false;
	for (size_t i = 0; i < n; i++)
		found |= strcmp(m[i].mountpoint, path) == 0;
	cmd_mounts_free(m, n);
	return found;
}

/* ---- paths ---- */

char *cmd_real_path(const char *path, struct err *e)
{
	char *real = realpath(path, NULL);
	_cleanup_free_ char *copy = NULL;
	_cleanup_free_ char *dir = NULL;
	char *slash, *joined = NULL;
	size_t n;

	if (real)
		return real;
	/* A dead mount can't be looked at, but what it lies in can. */
	copy = strdup(path);
	n = copy ? strlen(copy) : 0;
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = copy ? strrchr(copy, '/') : NULL;
	if (errno == ENOTCONN && copy) {
		if (slash)
			*slash = '\0';
		dir = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
		if (dir && asprintf(&joined, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
				    slash ? slash + 1 : copy) < 0)
			joined = NULL;
		if (joined)
			return joined;
	}
	err_set(e, -errno, "%s: %s", path, strerror(errno));
	return NULL;
}

/* ---- unmounting ---- */

static int run_fusermount(const char *path, bool lazy, struct err *e)
{
	char *argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uzq" : "-uq"), (char *)"--",
			(char *)(uintptr_t)path, NULL};
	int status, rc;
	pid_t pid;

	rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (rc)
		return err_set(e, -rc, "fusermount3 can't be started: %s (package fuse3)",
			       strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, -errno, "waiting for fusermount3: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(e, -EBUSY, "%s is in use or not yours to unmount", path);
}

int cmd_unmount(const char *path, bool lazy, struct err *e)
{
	if (geteuid() == 0) {
		if (umount2(path, lazy ? MNT_DETACH : 0) == 0)
			return 0;
		return err_set(e, -errno, "%s: %s", path,
			       errno == EBUSY ? "it is in use" : strerror(errno));
	}
	return run_fusermount(path, lazy, e);
}

int cmd_read_status(const char *path, char **out, struct err *e)
{
	char *text = malloc(XATTR_VALUE_MAX + 1);
	ssize_t n;

	*out = NULL;
	if (!text)
		return err_set(e, -ENOMEM, "not enough memory");
	n = getxattr(path, XATTR_STATUS, text, XATTR_VALUE_MAX);
	if (n < 0) {
		int rc = -errno;

		free(text);
		if (rc == -ENOTCONN)
			return err_set(
				e, rc,
				"%s: its mlenvfs process is gone; 'mlenvfs umount %s' cleans "
				"up",
				path, path);
		return err_set(e, rc, "%s is not the top of an mlenvfs mount: %s", path,
			       strerror(-rc));
	}
	text[n] = '\0';
	*out = text;
	return 0;
}
