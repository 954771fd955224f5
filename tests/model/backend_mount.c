/* backend_mount - a mounted directory, used by processes through system calls, over a service that
 * is reached as any client reaches it. Every one has a workspace of its own. */
#include "tests/model/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/buf.h"
#include "tests/model/actor.h"
#include "tests/model/remote.h"

enum { FDS_MAX = 64, NAME_MAX_SIZE = 64 };

struct descriptor {
	bool open;
	int proc;
	int fd; /* of that process */
};

struct mount_backend {
	struct backend b;
	char path[ACTOR_PATH]; /* of the mount */
	char workspace[NAME_MAX_SIZE];
	struct remote *remote;
	struct actor actors[BACKEND_PROCS]; /* pid 0: not started */
	struct descriptor fds[FDS_MAX];
	struct act act; /* the call that is being made */
};

#define SELF(b) ((struct mount_backend *)(b))

static void set_path(struct backend *b, char out[ACTOR_PATH], const char *path)
{
	if ((size_t)snprintf(out, ACTOR_PATH, "%s/%s", SELF(b)->path, path) >= ACTOR_PATH) {
		fprintf(stderr, "backend: the path %s is too long\n", path);
		exit(1);
	}
}

/* The next call; its arguments are to be filled in. */
static struct act *begin(struct backend *b, enum actor_call call)
{
	struct act *a = &SELF(b)->act;

	*a = (struct act){.call = call};
	return a;
}

static ssize_t make_call(struct backend *b, int proc)
{
	struct actor *actor = &SELF(b)->actors[proc];

	if (!actor->pid)
		actor_start(actor);
	actor_ask(actor, &SELF(b)->act);
	return SELF(b)->act.result;
}

/* A call on a path. */
static ssize_t on_path(struct backend *b, enum actor_call call, int proc, const char *path)
{
	set_path(b, begin(b, call)->path, path);
	return make_call(b, proc);
}

/* ---- descriptors ---- */

static int open_fd(struct backend *b, int proc, const char *path, int flags, mode_t mode)
{
	struct mount_backend *s = SELF(b);
	struct act *a = begin(b, ACT_OPEN);
	int at = 0;
	ssize_t fd;

	while (at < FDS_MAX && s->fds[at].open)
		at++;
	if (at == FDS_MAX)
		return -EMFILE;
	set_path(b, a->path, path);
	a->flags = flags;
	a->mode = mode;
	fd = make_call(b, proc);
	if (fd < 0)
		return (int)fd;
	s->fds[at] = (struct descriptor){.open = true, .proc = proc, .fd = (int)fd};
	return at;
}

/* Makes the call that was begun on a descriptor. */
static ssize_t on_fd(struct backend *b, int fd)
{
	SELF(b)->act.fd = SELF(b)->fds[fd].fd;
	return make_call(b, SELF(b)->fds[fd].proc);
}

static int close_as(struct backend *b, int fd, enum actor_call call)
{
	begin(b, call);
	if (call != ACT_CLOSE_IN_CHILD)
		SELF(b)->fds[fd].open = false;
	return (int)on_fd(b, fd);
}

static int close_fd(struct backend *b, int fd)
{
	return close_as(b, fd, ACT_CLOSE);
}

static int close_in_child(struct backend *b, int fd)
{
	return close_as(b, fd, ACT_CLOSE_IN_CHILD);
}

static int close_in_thread(struct backend *b, int fd)
{
	return close_as(b, fd, ACT_CLOSE_IN_THREAD);
}

static void set_data(struct act *a, const void *data, size_t len)
{
	a->len = len < ACTOR_DATA ? len : ACTOR_DATA;
	if (a->len)
		memcpy(a->data, data, a->len);
}

static int close_then_write_mapped(struct backend *b, int fd, const void *data, size_t len)
{
	set_data(begin(b, ACT_CLOSE_THEN_WRITE_MAPPED), data, len);
	SELF(b)->fds[fd].open = false;
	return (int)on_fd(b, fd);
}

static ssize_t read_fd(struct backend *b, int fd, void *data, size_t len, off_t off)
{
	struct act *a = begin(b, ACT_PREAD);
	ssize_t n;

	a->len = len;
	a->off = off;
	n = on_fd(b, fd);
	if (n > 0)
		memcpy(data, a->data, (size_t)n);
	return n;
}

static ssize_t write_fd(struct backend *b, int fd, const void *data, size_t len, off_t off)
{
	struct act *a = begin(b, ACT_PWRITE);

	set_data(a, data, len);
	a->off = off;
	return on_fd(b, fd);
}

static int truncate_fd(struct backend *b, int fd, off_t size)
{
	begin(b, ACT_FTRUNCATE)->off = size;
	return (int)on_fd(b, fd);
}

static int fsync_fd(struct backend *b, int fd)
{
	begin(b, ACT_FSYNC);
	return (int)on_fd(b, fd);
}

static int stat_fd(struct backend *b, int fd, struct stat *st)
{
	int rc;

	begin(b, ACT_FSTAT);
	rc = (int)on_fd(b, fd);
	*st = SELF(b)->act.st;
	return rc;
}

static void end(struct backend *b, int proc, enum proc_end how)
{
	struct mount_backend *s = SELF(b);

	if (!s->actors[proc].pid || !proc)
		return;
	actor_end(&s->actors[proc], how);
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (s->fds[fd].proc == proc)
			s->fds[fd].open = false;
}

/* ---- names ---- */

static int stat_path(struct backend *b, int proc, const char *path, struct stat *st)
{
	int rc = (int)on_path(b, ACT_STAT, proc, path);

	*st = SELF(b)->act.st;
	return rc;
}

static int readlink_path(struct backend *b, int proc, const char *path, struct buf *out)
{
	ssize_t n = on_path(b, ACT_READLINK, proc, path);

	return n < 0 ? (int)n : buf_add(out, SELF(b)->act.data, (size_t)n);
}

static int list_path(struct backend *b, int proc, const char *path, backend_name_fn *tell,
		     void *arg)
{
	int rc = (int)on_path(b, ACT_LIST, proc, path);
	static char names[ACTOR_DATA];
	size_t len = SELF(b)->act.len;

	if (rc)
		return rc;
	/* A copy: whoever is told makes other calls. */
	memcpy(names, SELF(b)->act.data, len);
	for (const char *p = names; p < names + len; p += strlen(p) + 1)
		tell(arg, p);
	return 0;
}

static int mkdir_path(struct backend *b, int proc, const char *path, mode_t mode)
{
	struct act *a = begin(b, ACT_MKDIR);

	set_path(b, a->path, path);
	a->mode = mode;
	return (int)make_call(b, proc);
}

static int rmdir_path(struct backend *b, int proc, const char *path)
{
	return (int)on_path(b, ACT_RMDIR, proc, path);
}

static int unlink_path(struct backend *b, int proc, const char *path)
{
	return (int)on_path(b, ACT_UNLINK, proc, path);
}

static int symlink_path(struct backend *b, int proc, const char *target, const char *path)
{
	struct act *a = begin(b, ACT_SYMLINK);

	set_path(b, a->path, path);
	snprintf(a->path2, sizeof(a->path2), "%s", target);
	return (int)make_call(b, proc);
}

static int link_path(struct backend *b, int proc, const char *from, const char *to)
{
	struct act *a = begin(b, ACT_LINK);

	set_path(b, a->path, from);
	set_path(b, a->path2, to);
	return (int)make_call(b, proc);
}

static int rename_path(struct backend *b, int proc, const char *from, const char *to,
		       unsigned int flags)
{
	struct act *a = begin(b, ACT_RENAME);

	set_path(b, a->path, from);
	set_path(b, a->path2, to);
	a->flags = (int)flags;
	return (int)make_call(b, proc);
}

static int truncate_path(struct backend *b, int proc, const char *path, off_t size)
{
	struct act *a = begin(b, ACT_TRUNCATE);

	set_path(b, a->path, path);
	a->off = size;
	return (int)make_call(b, proc);
}

static int chmod_path(struct backend *b, int proc, const char *path, mode_t mode)
{
	struct act *a = begin(b, ACT_CHMOD);

	set_path(b, a->path, path);
	a->mode = mode;
	return (int)make_call(b, proc);
}

static int utimens_path(struct backend *b, int proc, const char *path, int64_t mtime_ns)
{
	struct act *a = begin(b, ACT_UTIMENS);

	set_path(b, a->path, path);
	a->off = mtime_ns;
	return (int)make_call(b, proc);
}

static int fsyncdir_path(struct backend *b, int proc, const char *path)
{
	return (int)on_path(b, ACT_FSYNCDIR, proc, path);
}

static int setxattr_path(struct backend *b, int proc, const char *path, const char *name,
			 const void *value, size_t size, int flags)
{
	struct act *a = begin(b, ACT_SETXATTR);

	set_path(b, a->path, path);
	snprintf(a->path2, sizeof(a->path2), "%s", name);
	set_data(a, value, size);
	a->flags = flags;
	return (int)make_call(b, proc);
}

static ssize_t getxattr_path(struct backend *b, int proc, const char *path, const char *name,
			     void *value, size_t size)
{
	struct act *a = begin(b, ACT_GETXATTR);
	ssize_t n;

	set_path(b, a->path, path);
	snprintf(a->path2, sizeof(a->path2), "%s", name);
	n = make_call(b, proc);
	if (n > 0 && (size_t)n > size)
		return -ERANGE;
	if (n > 0)
		memcpy(value, a->data, (size_t)n);
	return n;
}

static int removexattr_path(struct backend *b, int proc, const char *path, const char *name)
{
	struct act *a = begin(b, ACT_REMOVEXATTR);

	set_path(b, a->path, path);
	snprintf(a->path2, sizeof(a->path2), "%s", name);
	return (int)make_call(b, proc);
}

/* ---- what happens to it ---- */

static int not_here(struct backend *b)
{
	(void)b;
	return -ENOSYS;
}

static int remount(struct backend *b, bool crash)
{
	(void)b, (void)crash;
	return -ENOSYS;
}

static void expire(struct backend *b)
{
	if (setxattr_path(b, 0, "", "user.mlenvfs.refresh", "1", 1, 0)) {
		fprintf(stderr, "backend: %s can't be refreshed\n", SELF(b)->path);
		exit(1);
	}
}

static void put(struct backend *b, const struct version *v, struct tree *context)
{
	remote_put(SELF(b)->remote, v, context);
}

static void tag(struct backend *b, const char *env, const char *version, const char *key,
		const char *value)
{
	remote_tag(SELF(b)->remote, env, version, key, value);
}

static enum service_fault fault(struct backend *b, enum service_fault f)
{
	return remote_fault(SELF(b)->remote, f);
}

static void each(struct backend *b, service_tell_fn *tell, void *arg)
{
	remote_each(SELF(b)->remote, tell, arg);
}

static bool context_file(struct backend *b, const char *uri, size_t i, struct service_file *out)
{
	return remote_context_file(SELF(b)->remote, uri, i, out);
}

static bool counts(struct backend *b, struct service_counts *out)
{
	(void)b, (void)out;
	return false; /* others use the service as well */
}

static const char *problem(struct backend *b)
{
	(void)b;
	return NULL;
}

static void free_it(struct backend *b, char *problem_out, size_t size)
{
	struct mount_backend *s = SELF(b);

	for (int proc = 0; proc < BACKEND_PROCS; proc++)
		if (s->actors[proc].pid)
			actor_end(&s->actors[proc], PROC_EXITS);
	snprintf(problem_out, size, "%s", "");
	remote_free(s->remote);
	free(s);
}

static const struct backend_ops mount_ops = {
	.open = open_fd,
	.close = close_fd,
	.close_in_child = close_in_child,
	.close_in_thread = close_in_thread,
	.pread = read_fd,
	.pwrite = write_fd,
	.ftruncate = truncate_fd,
	.fsync = fsync_fd,
	.fstat = stat_fd,
	.close_then_write_mapped = close_then_write_mapped,
	.stat = stat_path,
	.readlink = readlink_path,
	.list = list_path,
	.mkdir = mkdir_path,
	.rmdir = rmdir_path,
	.unlink = unlink_path,
	.symlink = symlink_path,
	.link = link_path,
	.rename = rename_path,
	.truncate = truncate_path,
	.chmod = chmod_path,
	.utimens = utimens_path,
	.fsyncdir = fsyncdir_path,
	.setxattr = setxattr_path,
	.getxattr = getxattr_path,
	.removexattr = removexattr_path,
	.end = end,
	.pass = not_here,
	.expire = expire,
	.forget = not_here,
	.remount = remount,
	.put = put,
	.tag = tag,
	.fault = fault,
	.each = each,
	.context_file = context_file,
	.counts = counts,
	.problem = problem,
	.free = free_it,
};

struct backend *backend_mount_new(const char *path, const char *url, const char *token)
{
	static unsigned int count;
	struct mount_backend *s = calloc(1, sizeof(*s));

	if (!s)
		exit(1);
	snprintf(s->path, sizeof(s->path), "%s", path);
	snprintf(s->workspace, sizeof(s->workspace), "model-%d-%u", (int)getpid(), count++);
	s->b = (struct backend){.ops = &mount_ops, .scope = s->workspace, .patience_ms = 5000};
	s->remote = remote_new(url, token, s->workspace);
	expire(&s->b);
	return &s->b;
}
