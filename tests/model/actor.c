#include "tests/model/actor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	_exit(1);
}

static bool transfer(int fd, void *data, size_t len, ssize_t (*move)(int, void *, size_t))
{
	for (char *p = data; len;) {
		ssize_t n = move(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static ssize_t put(int fd, void *data, size_t len)
{
	return write(fd, data, len);
}

/* ---- calls that are more than one ---- */

/* The child has every descriptor; it closes this one, and the others by its end. */
static ssize_t close_in_child(int fd)
{
	int tell[2], rc = -EPIPE;
	pid_t pid;

	if (pipe2(tell, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (!pid) {
		rc = close(fd) < 0 ? errno : 0;
		_exit(transfer(tell[1], &rc, sizeof(rc), put) ? 0 : 1);
	}
	close(tell[1]);
	if (pid > 0) {
		check(transfer(tell[0], &rc, sizeof(rc), read), "actor: child");
		waitpid(pid, NULL, 0);
	}
	close(tell[0]);
	errno = rc;
	return rc ? -1 : 0;
}

struct closing {
	int fd;
	int rc;
};

static void *close_it(void *arg)
{
	struct closing *c = arg;

	c->rc = close(c->fd) < 0 ? errno : 0;
	return NULL;
}

static ssize_t close_in_thread(int fd)
{
	struct closing c = {.fd = fd};
	pthread_t thread;

	check(pthread_create(&thread, NULL, close_it, &c) == 0, "actor: thread");
	pthread_join(thread, NULL);
	errno = c.rc;
	return c.rc ? -1 : 0;
}

static ssize_t close_then_write_mapped(const struct act *a)
{
	void *at = a->len ? mmap(NULL, a->len, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0) : NULL;
	ssize_t rc;
	int saved;

	if (at == MAP_FAILED)
		return -1;
	rc = close(a->fd);
	saved = errno;
	if (at) {
		memcpy(at, a->data, a->len);
		munmap(at, a->len);
	}
	errno = saved;
	return rc;
}

static ssize_t list(struct act *a)
{
	DIR *dir = opendir(a->path);
	const struct dirent *d;

	a->len = 0;
	if (!dir)
		return -1;
	while ((d = readdir(dir))) {
		size_t n = strlen(d->d_name) + 1;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (a->len + n > sizeof(a->data))
			break;
		memcpy(a->data + a->len, d->d_name, n);
		a->len += n;
	}
	closedir(dir);
	return 0;
}

static ssize_t sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc, saved;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static ssize_t set_time(const struct act *a)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					  {a->off / 1000000000, a->off % 1000000000}};

	return utimensat(AT_FDCWD, a->path, times, AT_SYMLINK_NOFOLLOW);
}

/* ---- any call ---- */

static ssize_t do_file(struct act *a)
{
	switch (a->call) {
	case ACT_OPEN:
		return open(a->path, a->flags | O_CLOEXEC, a->mode);
	case ACT_CLOSE:
		return close(a->fd);
	case ACT_CLOSE_IN_CHILD:
		return close_in_child(a->fd);
	case ACT_CLOSE_IN_THREAD:
		return close_in_thread(a->fd);
	case ACT_CLOSE_THEN_WRITE_MAPPED:
		return close_then_write_mapped(a);
	case ACT_PREAD:
		return pread(a->fd, a->data, a->len < ACTOR_DATA ? a->len : ACTOR_DATA, a->off);
	case ACT_PWRITE:
		return pwrite(a->fd, a->data, a->len, a->off);
	case ACT_FTRUNCATE:
		return ftruncate(a->fd, a->off);
	case ACT_FSYNC:
		return fsync(a->fd);
	default:
		return fstat(a->fd, &a->st);
	}
}

static ssize_t do_name(struct act *a)
{
	switch (a->call) {
	case ACT_STAT:
		return lstat(a->path, &a->st);
	case ACT_READLINK:
		return readlink(a->path, a->data, sizeof(a->data));
	case ACT_LIST:
		return list(a);
	case ACT_MKDIR:
		return mkdir(a->path, a->mode);
	case ACT_RMDIR:
		return rmdir(a->path);
	case ACT_UNLINK:
		return unlink(a->path);
	case ACT_SYMLINK:
		return symlink(a->path2, a->path);
	case ACT_LINK:
		return link(a->path, a->path2);
	case ACT_RENAME:
		return renameat2(AT_FDCWD, a->path, AT_FDCWD, a->path2, (unsigned int)a->flags);
	default:
		return truncate(a->path, a->off);
	}
}

static ssize_t do_attribute(struct act *a)
{
	switch (a->call) {
	case ACT_CHMOD:
		return chmod(a->path, a->mode);
	case ACT_UTIMENS:
		return set_time(a);
	case ACT_FSYNCDIR:
		return sync_dir(a->path);
	case ACT_SETXATTR:
		return lsetxattr(a->path, a->path2, a->data, a->len, a->flags);
	case ACT_GETXATTR:
		return lgetxattr(a->path, a->path2, a->data, sizeof(a->data));
	default:
		return lremovexattr(a->path, a->path2);
	}
}

void actor_do(struct act *a)
{
	if (a->call <= ACT_FSTAT)
		a->result = do_file(a);
	else if (a->call <= ACT_TRUNCATE)
		a->result = do_name(a);
	else
		a->result = do_attribute(a);
	if (a->result < 0)
		a->result = -errno;
}

/* ---- processes ---- */

static void *second_thread(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void serve(int fd)
{
	static struct act a;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	check(pthread_create(&thread, NULL, second_thread, NULL) == 0, "actor: thread");
	while (transfer(fd, &a, sizeof(a), read)) {
		if (a.call == ACT_EXIT)
			break;
		actor_do(&a);
		check(transfer(fd, &a, sizeof(a), put), "actor: answer");
	}
	_exit(0);
}

void actor_start(struct actor *a)
{
	int ends[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "actor: socketpair");
	a->pid = fork();
	check(a->pid >= 0, "actor: fork");
	if (!a->pid) {
		close(ends[0]);
		serve(ends[1]);
	}
	close(ends[1]);
	a->fd = ends[0];
}

void actor_ask(const struct actor *actor, struct act *a)
{
	check(transfer(actor->fd, a, sizeof(*a), put), "actor: question");
	check(transfer(actor->fd, a, sizeof(*a), read), "actor: answer");
}

void actor_end(struct actor *a, enum proc_end how)
{
	struct act last = {.call = ACT_EXIT};

	if (how == PROC_KILLED)
		kill(a->pid, SIGKILL);
	else
		check(transfer(a->fd, &last, sizeof(last), put), "actor: end");
	waitpid(a->pid, NULL, 0);
	close(a->fd);
	a->pid = 0;
}
