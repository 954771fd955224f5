#include "fs/wholefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/writeall.h"

enum { TEMP_SIZE = 40, TRIES = 100 };

static const char temp_prefix[] = ".new-";

bool wholefile_is_temp(const char *name)
{
	return strncmp(name, temp_prefix, sizeof(temp_prefix) - 1) == 0;
}

/* A new file with a name that nobody else has, also of another process. */
static int open_temp(int dir, char temp[TEMP_SIZE])
{
	int fd = -1;

	for (int i = 0; i < TRIES; i++) {
		snprintf(temp, TEMP_SIZE, "%s%llx", temp_prefix, (unsigned long long)clock_mono());
		fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd < 0 ? -errno : fd;
}

static int fill(int fd, const struct wholefile *file)
{
	int rc = write_all(fd, file->data, file->len);

	if (rc)
		return rc;
	if (fchmod(fd, file->mode) < 0)
		return -errno;
	if (file->mtime) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *file->mtime};

		if (futimens(fd, times) < 0)
			return -errno;
	}
	return file->sync && fsync(fd) < 0 ? -errno : 0;
}

int wholefile_write(int dir, const char *name, const struct wholefile *file)
{
	char temp[TEMP_SIZE];
	int fd = open_temp(dir, temp), rc;

	if (fd < 0)
		return fd;
	rc = fill(fd, file);
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && renameat(dir, temp, dir, name) < 0)
		rc = -errno;
	if (rc)
		unlinkat(dir, temp, 0);
	return rc;
}
