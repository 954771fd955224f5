/*
 * killpoint - a library to be preloaded (LD_PRELOAD): ends the program with SIGKILL right before
 * the Nth of the calls by which it changes something or talks to somebody, so that a test can go
 * through all of them.
 *
 * The variable KILLPOINT_FILE names a file of KILLPOINT_SIZE bytes, struct plan, that the test
 * writes and reads while the program runs. Nothing is counted while kill_at is 0. The first
 * process that finds no owner in the file owns it; its children, and what they run, are not
 * counted. Calls that the program's libraries make count like its own. Writes to pipes, eventfds
 * and the standard streams do not: nothing lasts of them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { KILLPOINT_SIZE = 4096, WHAT_SIZE = 512, FUSE_MAJOR = 10, FUSE_MINOR = 229 };

/* lib/killpoint.py knows this layout. */
struct plan {
	uint64_t kill_at; /* 0: nothing is counted */
	uint64_t count;
	int64_t owner;        /* process id; 0: none */
	char what[WHAT_SIZE]; /* the call that was not made */
};

static struct plan *plan;

__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("KILLPOINT_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = MAP_FAILED;
	int64_t nobody = 0;

	if (fd >= 0) {
		at = mmap(NULL, KILLPOINT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (at == MAP_FAILED)
		return;
	if (__atomic_compare_exchange_n(&((struct plan *)at)->owner, &nobody, (int64_t)getpid(),
					false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		plan = at;
	else
		munmap(at, KILLPOINT_SIZE);
}

/* Says what was about to be done, for the test's report. */
static void describe(const char *call, const char *path, int fd)
{
	char link[64], target[WHAT_SIZE / 2] = "";
	ssize_t n;

	if (!path) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		path = target;
	}
	snprintf(plan->what, sizeof(plan->what), "%s %s", call, path);
}

/* Counts a call; does not return when it is the one. */
static void step(const char *call, const char *path, int fd)
{
	int saved = errno;
	uint64_t kill_at = plan ? __atomic_load_n(&plan->kill_at, __ATOMIC_SEQ_CST) : 0;

	if (!kill_at || plan->owner != getpid())
		return;
	if (__atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST) == kill_at) {
		describe(call, path, fd);
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	}
	errno = saved;
}

/* A socket that somebody is at the other end of, not one half of a pair that wakes a thread. */
static bool is_wire(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return false;
	if (address.ss_family != AF_UNIX || size > sizeof(sa_family_t))
		return true;
	size = sizeof(address);
	return getpeername(fd, (struct sockaddr *)&address, &size) == 0 &&
	       size > sizeof(sa_family_t);
}

/* A file of the disk, the kernel's end of the mount, or the network. */
static bool lasts(int fd)
{
	struct stat st;

	if (fd <= STDERR_FILENO || fstat(fd, &st) < 0)
		return false;
	if (S_ISCHR(st.st_mode))
		return st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR);
	return S_ISREG(st.st_mode) || (S_ISSOCK(st.st_mode) && is_wire(fd));
}

static void step_fd(const char *call, int fd)
{
	int saved = errno;

	if (plan && plan->kill_at && lasts(fd))
		step(call, NULL, fd);
	errno = saved;
}

static void *next(void **slot, const char *name)
{
	void *found = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

	if (!found) {
		found = dlsym(RTLD_NEXT, name);
		if (!found)
			abort();
		__atomic_store_n(slot, found, __ATOMIC_RELEASE);
	}
	return found;
}

/* clang-format off */
#define WRAP(type, name, parameters, arguments, count) \
	type name parameters; \
	type name parameters \
	{ \
		static void *slot; \
		type(*real) parameters = (type(*) parameters)next(&slot, #name); \
		count; \
		return real arguments; \
	}
#define BY_PATH(name, parameters, arguments, path) \
	WRAP(int, name, parameters, arguments, step(#name, path, -1))
#define BY_FD(type, name, parameters, arguments) \
	WRAP(type, name, parameters, arguments, step_fd(#name, fd))

BY_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path)
BY_PATH(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), path)
BY_PATH(rmdir, (const char *path), (path), path)
BY_PATH(unlink, (const char *path), (path), path)
BY_PATH(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), path)
BY_PATH(rename, (const char *from, const char *to), (from, to), to)
BY_PATH(renameat, (int dir, const char *from, int dir2, const char *to), (dir, from, dir2, to), to)
BY_PATH(renameat2, (int dir, const char *from, int dir2, const char *to, unsigned int flags),
	(dir, from, dir2, to, flags), to)
BY_PATH(link, (const char *from, const char *to), (from, to), to)
BY_PATH(linkat, (int dir, const char *from, int dir2, const char *to, int flags), (dir, from, dir2, to, flags), to)
BY_PATH(symlinkat, (const char *target, int dir, const char *path), (target, dir, path), path)
BY_PATH(mknodat, (int dir, const char *path, mode_t mode, dev_t device), (dir, path, mode, device), path)
BY_PATH(fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags), path)
BY_PATH(truncate, (const char *path, off_t size), (path, size), path)
BY_PATH(utimensat, (int dir, const char *path, const struct timespec times[2], int flags),
	(dir, path, times, flags), path)
BY_PATH(setxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
	(path, name, value, size, flags), path)
BY_PATH(lsetxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
	(path, name, value, size, flags), path)
BY_PATH(removexattr, (const char *path, const char *name), (path, name), path)

BY_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
BY_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at))
BY_FD(int, fsync, (int fd), (fd))
BY_FD(int, fdatasync, (int fd), (fd))
BY_FD(int, ftruncate, (int fd, off_t size), (fd, size))
BY_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
BY_FD(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
BY_FD(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
BY_FD(int, fchmod, (int fd, mode_t mode), (fd, mode))
BY_FD(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
      (fd, name, value, size, flags))
BY_FD(int, fremovexattr, (int fd, const char *name), (fd, name))
BY_FD(int, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
BY_FD(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
BY_FD(ssize_t, sendto,
      (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t to_size),
      (fd, data, size, flags, to, to_size))
BY_FD(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
BY_FD(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
BY_FD(ssize_t, recvfrom, (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size),
      (fd, data, size, flags, from, from_size))
BY_FD(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t size), (fd, from, at, size))

/* Copies between descriptors: what they change is the second one. */
#define INTO(name, parameters, arguments) WRAP(ssize_t, name, parameters, arguments, step_fd(#name, to))
INTO(splice, (int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned int flags),
     (from, from_at, to, to_at, size, flags))
INTO(copy_file_range, (int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned int flags),
     (from, from_at, to, to_at, size, flags))

/* Opening counts when it may make or empty a file. */
static void step_open(const char *call, const char *path, int flags)
{
	if (flags & (O_CREAT | O_TRUNC))
		step(call, path, -1);
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name, parameters, arguments) \
	int name parameters; \
	int name parameters \
	{ \
		static void *slot; \
		int (*real) parameters = (int (*) parameters)next(&slot, #name); \
		va_list rest; \
		mode_t mode; \
		va_start(rest, flags); \
		mode = mode_of(flags, rest); \
		va_end(rest); \
		step_open(#name, path, flags); \
		return real arguments; \
	}
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))

/* What the calls above become when the compiler checks them (_FORTIFY_SOURCE). */
WRAP(int, __openat_2, (int dir, const char *path, int flags), (dir, path, flags), step_open("openat", path, flags))
WRAP(int, __open_2, (const char *path, int flags), (path, flags), step_open("open", path, flags))
BY_FD(ssize_t, __recv_chk, (int fd, void *data, size_t size, size_t room, int flags), (fd, data, size, room, flags))
/* clang-format on */
