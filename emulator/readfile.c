#include "emulator/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"

static int read_all(int fd, struct buf *out)
{
	char piece[4096];
	ssize_t n;
	int ret = 0;

	while (!ret && (n = read(fd, piece, sizeof(piece))) != 0) {
		if (n > 0)
			ret = buf_add(out, piece, (size_t)n);
		else if (errno != EINTR)
			ret = -errno;
	}
	explicit_bzero(piece, sizeof(piece));
	return ret;
}

int readfile(const char *path, bool secret, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (secret && (st.st_uid != geteuid() || (st.st_mode & 077)))
		return err_set(e, -EPERM, "%s: this is a secret that others may read", path);
	ret = read_all(fd, out);
	return ret ? err_set(e, ret, "%s: %s", path, strerror(-ret)) : 0;
}
