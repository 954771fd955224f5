#include "emulator/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"

int readfile(const char *path, bool secret, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (secret && (st.st_uid != geteuid() || (st.st_mode & 077)))
		return err_set(e, -EPERM, "%s: this is a secret that others may read", path);
	ret = buf_read(out, fd);
	return ret ? err_set(e, ret, "%s: %s", path, strerror(-ret)) : 0;
}
