/* backend_mini - the file system in this process, over the service in memory and a directory of its
 * own, under the small kernel. */
#include "tests/model/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/clock.h"
#include "fs/whiteout.h"
#include "tests/model/mini_mount.h"

enum { FDS_MAX = 64, DIR_SIZE = 64, PROBLEM_SIZE = 512, CONTEXT_FILES = 64 };

struct descriptor {
	struct mini_file *file; /* NULL: free */
	int proc;
};

struct mini_backend {
	struct backend b;
	struct service *service;
	char dir[DIR_SIZE];
	struct mini_mount mount;
	struct descriptor fds[FDS_MAX];
	char problem[PROBLEM_SIZE]; /* of a mount before this one */
};

#define SELF(b) ((struct mini_backend *)(b))

/* ---- processes: they go on from one backend to the next ---- */

static struct {
	bool there;
	struct proc proc;
} procs[BACKEND_PROCS];

static const struct proc *proc_of(int proc)
{
	if (!procs[proc].there) {
		procs[proc].proc = proc ? procs_new() : (struct proc){getpid(), getpid()};
		procs[proc].there = true;
	}
	return &procs[proc].proc;
}

static pid_t pid_of(int proc)
{
	return proc_of(proc)->pid;
}

/* ---- mounting ---- */

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "backend: the file system can't be put together\n");
		exit(1);
	}
	return p;
}

static void unmount(struct mini_backend *s, bool crash)
{
	char found[PROBLEM_SIZE];

	if (mini_unmount(&s->mount, crash, found, sizeof(found)) && !s->problem[0])
		memcpy(s->problem, found, sizeof(found));
	memset(s->fds, 0, sizeof(s->fds));
}

static const char *problem(struct backend *b)
{
	struct mini_backend *s = SELF(b);

	return s->problem[0] ? s->problem : mini_problem(s->mount.mini);
}

static int remount(struct backend *b, bool crash)
{
	struct mini_backend *s = SELF(b);

	unmount(s, crash);
	mini_mount(&s->mount, s->service, s->dir);
	return 0;
}

static int pass(struct backend *b)
{
	mini_changed(SELF(b)->mount.mini);
	mini_mount_pass(WHITEOUT_LIFE + NS_PER_S);
	return 0;
}

static void expire(struct backend *b)
{
	mini_changed(SELF(b)->mount.mini);
	catalog_expire(SELF(b)->mount.fs.catalog);
}

static int forget(struct backend *b)
{
	mini_forget(SELF(b)->mount.mini);
	return 0;
}

/* ---- descriptors ---- */

static int open_fd(struct backend *b, int proc, const char *path, int flags, mode_t mode)
{
	struct mini_backend *s = SELF(b);
	int fd = 0, rc;

	while (fd < FDS_MAX && s->fds[fd].file)
		fd++;
	if (fd == FDS_MAX)
		return -EMFILE;
	rc = mini_open(s->mount.mini, pid_of(proc), path, flags, mode, &s->fds[fd].file);
	s->fds[fd].proc = proc;
	return rc ? rc : fd;
}

static struct mini_file *file_of(struct backend *b, int fd)
{
	return SELF(b)->fds[fd].file;
}

static pid_t opener(struct backend *b, int fd)
{
	return pid_of(SELF(b)->fds[fd].proc);
}

static struct mini_file *take_fd(struct backend *b, int fd)
{
	struct mini_file *f = file_of(b, fd);

	SELF(b)->fds[fd].file = NULL;
	return f;
}

static int close_fd(struct backend *b, int fd)
{
	pid_t by = opener(b, fd);

	return mini_close(take_fd(b, fd), by);
}

static int close_in_thread(struct backend *b, int fd)
{
	pid_t by = proc_of(SELF(b)->fds[fd].proc)->thread;

	return mini_close(take_fd(b, fd), by);
}

static int close_in_child(struct backend *b, int fd)
{
	struct proc child = procs_new();
	int rc = mini_flush(file_of(b, fd), child.pid);

	procs_end(&child, PROC_EXITS);
	procs_reap(&child);
	return rc;
}

static int close_then_write_mapped(struct backend *b, int fd, const void *data, size_t len)
{
	pid_t by = opener(b, fd);
	struct mini_file *f = take_fd(b, fd);
	int rc = mini_close_mapped(f, by);

	if (!rc && len)
		rc = mini_write_page(f, by, data, len, 0);
	mini_unmap(f, by);
	return rc;
}

static ssize_t read_fd(struct backend *b, int fd, void *data, size_t len, off_t off)
{
	return mini_pread(file_of(b, fd), opener(b, fd), data, len, off);
}

static ssize_t write_fd(struct backend *b, int fd, const void *data, size_t len, off_t off)
{
	return mini_pwrite(file_of(b, fd), opener(b, fd), data, len, off);
}

static int truncate_fd(struct backend *b, int fd, off_t size)
{
	return mini_ftruncate(file_of(b, fd), opener(b, fd), size);
}

static int fsync_fd(struct backend *b, int fd)
{
	return mini_fsync(file_of(b, fd), opener(b, fd));
}

static int stat_fd(struct backend *b, int fd, struct stat *st)
{
	return mini_fstat(file_of(b, fd), opener(b, fd), st);
}

/* The kernel closes what a process had open while the process is a zombie already. */
static void end(struct backend *b, int proc, enum proc_end how)
{
	struct mini_backend *s = SELF(b);

	if (!procs[proc].there || !proc)
		return;
	procs_end(&procs[proc].proc, how);
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (s->fds[fd].file && s->fds[fd].proc == proc)
			close_fd(b, fd);
	procs_reap(&procs[proc].proc);
	procs[proc].there = false;
	mini_changed(s->mount.mini);
}

/* ---- names ---- */

#define CALL(function, proc, ...) mini_##function(SELF(b)->mount.mini, pid_of(proc), __VA_ARGS__)

static int stat_path(struct backend *b, int proc, const char *path, struct stat *st)
{
	return CALL(stat, proc, path, st);
}

static int readlink_path(struct backend *b, int proc, const char *path, struct buf *out)
{
	return CALL(readlink, proc, path, out);
}

struct telling {
	backend_name_fn *tell;
	void *arg;
};

static void tell_name(void *arg, const char *name, mode_t type)
{
	struct telling *t = arg;

	(void)type;
	t->tell(t->arg, name);
}

static int list_path(struct backend *b, int proc, const char *path, backend_name_fn *tell,
		     void *arg)
{
	struct telling t = {tell, arg};

	return CALL(list, proc, path, tell_name, &t);
}

static int mkdir_path(struct backend *b, int proc, const char *path, mode_t mode)
{
	return CALL(mkdir, proc, path, mode);
}

static int rmdir_path(struct backend *b, int proc, const char *path)
{
	return CALL(rmdir, proc, path);
}

static int unlink_path(struct backend *b, int proc, const char *path)
{
	return CALL(unlink, proc, path);
}

static int symlink_path(struct backend *b, int proc, const char *target, const char *path)
{
	return CALL(symlink, proc, target, path);
}

static int link_path(struct backend *b, int proc, const char *from, const char *to)
{
	return CALL(link, proc, from, to);
}

static int rename_path(struct backend *b, int proc, const char *from, const char *to,
		       unsigned int flags)
{
	return CALL(rename, proc, from, to, flags);
}

static int truncate_path(struct backend *b, int proc, const char *path, off_t size)
{
	return CALL(truncate, proc, path, size);
}

static int chmod_path(struct backend *b, int proc, const char *path, mode_t mode)
{
	return CALL(chmod, proc, path, mode);
}

static int utimens_path(struct backend *b, int proc, const char *path, int64_t mtime_ns)
{
	return CALL(utimens, proc, path, mtime_ns);
}

static int fsyncdir_path(struct backend *b, int proc, const char *path)
{
	return CALL(fsyncdir, proc, path);
}

static int setxattr_path(struct backend *b, int proc, const char *path, const char *name,
			 const void *value, size_t size, int flags)
{
	return CALL(setxattr, proc, path, name, value, size, flags);
}

static ssize_t getxattr_path(struct backend *b, int proc, const char *path, const char *name,
			     void *value, size_t size)
{
	return CALL(getxattr, proc, path, name, value, size);
}

static int removexattr_path(struct backend *b, int proc, const char *path, const char *name)
{
	return CALL(removexattr, proc, path, name);
}

/* ---- the service ---- */

struct gathered {
	struct service_file files[CONTEXT_FILES];
	char paths[CONTEXT_FILES][TREE_PATH];
	size_t n;
};

static void gather(void *arg, const char *path, struct tree *t)
{
	struct gathered *g = arg;

	must(g->n < CONTEXT_FILES ? g : NULL);
	g->files[g->n] = (struct service_file){.path = path_print(g->paths[g->n], "%s", path),
					       .text = t->bytes->data,
					       .len = t->bytes->len};
	g->n++;
}

static void put(struct backend *b, const struct version *v, struct tree *context)
{
	struct gathered *g = must(calloc(1, sizeof(*g)));
	struct version fields = *v;

	if (context) {
		tree_each(context, gather, g);
		fields.context_uri = service_upload(SELF(b)->service, g->files, g->n);
	}
	service_put(SELF(b)->service, &fields);
	free(g);
}

static void tag(struct backend *b, const char *env, const char *version, const char *key,
		const char *value)
{
	service_tag(SELF(b)->service, env, version, key, value);
}

static enum service_fault fault(struct backend *b, enum service_fault f)
{
	service_set_fault(SELF(b)->service, f);
	return f;
}

static void each(struct backend *b, service_tell_fn *tell, void *arg)
{
	service_each(SELF(b)->service, tell, arg);
}

static bool context_file(struct backend *b, const char *uri, size_t i, struct service_file *out)
{
	return service_context_file(SELF(b)->service, uri, i, out);
}

static bool counts(struct backend *b, struct service_counts *out)
{
	*out = service_counts(SELF(b)->service);
	return true;
}

/* ---- the whole ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void free_it(struct backend *b, char *problem_out, size_t size)
{
	struct mini_backend *s = SELF(b);

	unmount(s, false);
	snprintf(problem_out, size, "%s", s->problem);
	nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	service_free(s->service);
	free(s);
}

static const struct backend_ops mini_ops = {
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
	.pass = pass,
	.expire = expire,
	.forget = forget,
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

struct backend *backend_mini_new(void)
{
	struct mini_backend *s = must(calloc(1, sizeof(*s)));
	const char *tmp = getenv("TMPDIR");

	/* In memory where that is possible: what it is for is synced often. */
	if (!tmp)
		tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";

	s->b = (struct backend){.ops = &mini_ops, .scope = SERVICE_SCOPE};
	s->service = service_new();
	snprintf(s->dir, sizeof(s->dir), "%s/mlenvfs-model-XXXXXX", tmp);
	must(mkdtemp(s->dir));
	mini_mount(&s->mount, s->service, s->dir);
	return &s->b;
}
