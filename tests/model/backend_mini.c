/* backend_mini - the file system in this process: put together as fs/mount.c does it, over the
 * service in memory and a directory of its own. */
#include "tests/model/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/clock.h"
#include "fs/fsys.h"
#include "fs/handle.h"
#include "fs/local.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/whiteout.h"
#include "tests/model/mini.h"

enum { FDS_MAX = 64, WORKERS = 2, DIR_SIZE = 64, PROBLEM_SIZE = 512, CONTEXT_FILES = 64 };

struct descriptor {
	struct mini_file *file; /* NULL: free */
	int proc;
};

struct mini_backend {
	struct backend b;
	struct service *service;
	char dir[DIR_SIZE];
	struct node_table *nodes;
	struct handles *handles;
	struct whiteouts *whiteouts;
	struct whiteouts *emptied;
	struct notify *notify;
	struct local *local;
	struct catalog *catalog;
	struct fsys fs;
	struct mini *mini;
	struct descriptor fds[FDS_MAX];
	char problem[PROBLEM_SIZE]; /* of a mount before this one */
};

#define SELF(b) ((struct mini_backend *)(b))

/* ---- time ---- */

/* What the clock of the file system is ahead of the real one. */
static _Atomic int64_t ahead;

static int64_t moved_clock(void)
{
	return clock_mono() + atomic_load(&ahead);
}

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

static void mount_it(struct mini_backend *s)
{
	struct catalog_conf conf = {
		.source = service_source(s->service),
		.refresh = 30 * NS_PER_S,
		.request_deadline = 30 * NS_PER_S,
		.max_in_flight = WORKERS,
		.content_max = 1 << 20,
		.now = moved_clock,
		.changed = notify_changed,
	};

	s->nodes = must(node_table_new());
	s->handles = must(handles_new());
	s->whiteouts = must(whiteouts_new(moved_clock));
	s->emptied = must(whiteouts_new(moved_clock));
	s->notify = must(notify_new(s->nodes));
	conf.changed_arg = s->notify;
	must(local_open(s->dir, &s->local, NULL) ? NULL : s);
	s->catalog = must(catalog_new(&conf, NULL));
	s->fs = (struct fsys){
		.catalog = s->catalog,
		.source = service_source(s->service),
		.local = s->local,
		.nodes = s->nodes,
		.handles = s->handles,
		.notify = s->notify,
		.whiteouts = s->whiteouts,
		.emptied = s->emptied,
		.uid = getuid(),
		.gid = getgid(),
		.refresh_s = 30,
		.timeout = 30 * NS_PER_S,
		.started = clock_wall(),
		.local_dir = s->dir,
		.about = "{}",
	};
	s->mini = mini_new(&s->fs);
	must(notify_start(s->notify, (struct fuse_session *)(void *)s->mini) ? NULL : s);
}

static void note_problem(struct mini_backend *s, const char *problem)
{
	if (problem && !s->problem[0])
		snprintf(s->problem, sizeof(s->problem), "%s", problem);
}

static void unmount_it(struct mini_backend *s)
{
	uint64_t left;

	note_problem(s, mini_problem(s->mini));
	notify_stop(s->notify);
	mini_free(s->mini);
	left = node_count(s->nodes);
	catalog_stop(s->catalog);
	catalog_free(s->catalog);
	notify_free(s->notify);
	handles_free(s->handles);
	whiteouts_free(s->whiteouts);
	whiteouts_free(s->emptied);
	node_table_free(s->nodes);
	local_close(s->local);
	memset(s->fds, 0, sizeof(s->fds));
	if (left)
		note_problem(s, "inodes are left that the kernel has forgotten");
}

static const char *problem(struct backend *b)
{
	struct mini_backend *s = SELF(b);

	return s->problem[0] ? s->problem : mini_problem(s->mini);
}

static int remount(struct backend *b, bool crash)
{
	(void)crash;
	unmount_it(SELF(b));
	mount_it(SELF(b));
	return 0;
}

static int pass(struct backend *b)
{
	(void)b;
	atomic_fetch_add(&ahead, WHITEOUT_LIFE + NS_PER_S);
	return 0;
}

static void expire(struct backend *b)
{
	struct mini_backend *s = SELF(b);

	catalog_expire(s->catalog);
	mini_forget(s->mini);
}

static void settle(struct backend *b)
{
	(void)b;
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
	rc = mini_open(s->mini, pid_of(proc), path, flags, mode, &s->fds[fd].file);
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
}

/* ---- names ---- */

#define CALL(function, proc, ...) mini_##function(SELF(b)->mini, pid_of(proc), __VA_ARGS__)

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

static void fault(struct backend *b, enum service_fault f)
{
	service_set_fault(SELF(b)->service, f);
}

static void each(struct backend *b, service_tell_fn *tell, void *arg)
{
	service_each(SELF(b)->service, tell, arg);
}

static bool context_file(struct backend *b, const char *uri, size_t i, struct service_file *out)
{
	return service_context_file(SELF(b)->service, uri, i, out);
}

static struct service_counts counts(struct backend *b)
{
	return service_counts(SELF(b)->service);
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

	unmount_it(s);
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
	.settle = settle,
	.expire = expire,
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

	s->b = (struct backend){.ops = &mini_ops, .scope = SERVICE_SCOPE};
	s->service = service_new();
	snprintf(s->dir, sizeof(s->dir), "%s/mlenvfs-model-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(s->dir));
	mount_it(s);
	return &s->b;
}
