/* The part of doctor that looks at this machine's FUSE. */
#include "fs/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"

static bool check_device(struct doctor *d)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return true;
	doctor_say(d, "fail", "mount", "/dev/fuse: %s", strerror(errno));
	if (errno == ENOENT)
		doctor_advise(
			"on a machine of your own: modprobe fuse, as root; in a container: start "
			"it with --device /dev/fuse --cap-add SYS_ADMIN");
	else if (errno == EPERM)
		doctor_advise("the container may not use it: start it with --device /dev/fuse "
			      "--cap-add SYS_ADMIN");
	else
		doctor_advise(
			"it should be readable and writable for everybody: chmod 666 /dev/fuse, "
			"as root");
	return false;
}

/* The first of that name in PATH, to be freed. */
static char *find_program(const char *name)
{
	const char *all = getenv("PATH");
	_cleanup_free_ char *path = strdup(all ? all : "");
	char *save = NULL, *found = NULL;

	for (char *dir = path ? strtok_r(path, ":", &save) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &save)) {
		if (asprintf(&found, "%s/%s", dir, name) < 0)
			found = NULL;
		if (found && access(found, X_OK) < 0) {
			free(found);
			found = NULL;
		}
	}
	return found;
}

static bool check_program(struct doctor *d)
{
	_cleanup_free_ char *program = find_program("fusermount3");
	struct stat st;

	if (geteuid() == 0)
		return true;
	if (!program || stat(program, &st) < 0) {
		doctor_say(d, "fail", "mount", "fusermount3 is not installed");
		doctor_advise("install the package fuse3");
		return false;
	}
	if (st.st_uid == 0 && (st.st_mode & S_ISUID))
		return true;
	doctor_say(d, "fail", "mount", "%s has not the rights to mount", program);
	doctor_advise("chown root %s && chmod 4755 %s, as root", program, program);
	return false;
}

static bool is_allowed(void)
{
	_cleanup_free_ char *line = NULL;
	FILE *f = fopen("/etc/fuse.conf", "re");
	size_t size = 0;
	bool found = false;

	while (f && !found && getline(&line, &size, f) > 0)
		found = strncmp(line + strspn(line, " \t"), "user_allow_other", 16) == 0;
	if (f)
		fclose(f);
	return found;
}

static bool check_allow_other(struct doctor *d)
{
	if (geteuid() == 0 || !(d->options->allow_other || d->options->allow_root) || is_allowed())
		return true;
	doctor_say(d, "fail", "mount", "allow_other is not allowed on this machine");
	doctor_advise("add the line user_allow_other to /etc/fuse.conf, as root");
	return false;
}

void doctor_check_mount(struct doctor *d)
{
	bool ok = check_device(d);

	ok = check_program(d) && ok;
	ok = check_allow_other(d) && ok;
	if (ok)
		doctor_say(d, "ok", "mount", "this machine can");
}
