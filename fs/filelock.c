#include "fs/filelock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "fs/node.h"

enum { FIRST_WAIT_MS = 1, LONGEST_WAIT_MS = 32 };

/* The user's own runtime directory, or a file in /tmp that is only his. */
static int open_file(struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int fd, rc, n;

	if (run && run[0] == '/')
		n = asprintf(&path, "%s/mlenvfs.lock", run);
	else
		n = asprintf(&path, "/tmp/mlenvfs-%u.lock", geteuid());
	if (n < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, -errno, "the lock file %s can't be opened: %s", path,
			       strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
		return fd;
	rc = err_set(e, -EPERM, "the lock file %s belongs to somebody else", path);
	close(fd);
	return rc;
}

/* Fair enough for a lock that is held for two requests; a signal ends the wait. */
static int wait_a_little(struct call *c, int64_t *ms)
{
	struct timespec ts = clock_timespec(*ms * NS_PER_MS);
	int rc = call_check(c);

	if (rc)
		return rc;
	nanosleep(&ts, NULL);
	if (*ms < LONGEST_WAIT_MS)
		*ms *= 2;
	return 0;
}

int filelock_take(const char *name, struct call *c, struct err *e)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int64_t ms = FIRST_WAIT_MS;
	int fd = open_file(e), rc = 0;

	if (fd < 0)
		return fd;
	range.l_start = (off_t)(node_number(0, NODE_VERSION, name) / 2);
	while (!rc && fcntl(fd, F_OFD_SETLK, &range) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			rc = wait_a_little(c, &ms);
		else
			rc = -errno;
	}
	if (!rc)
		return fd;
	close(fd);
	return err_set(e, rc, "another mount is changing the same thing: %s", strerror(-rc));
}

void filelock_release(int fd)
{
	if (fd >= 0)
		close(fd);
}
