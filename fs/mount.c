#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "cache/builds.h"
#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "client/turns.h"
#include "fs/backend.h"
#include "fs/disk.h"
#include "fs/edits.h"
#include "fs/fsys.h"
#include "fs/freename.h"
#include "fs/handle.h"
#include "fs/journal.h"
#include "fs/kept.h"
#include "fs/listed.h"
#include "fs/local.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/paths.h"
#include "fs/register.h"
#include "fs/rendered.h"
#include "fs/seen.h"
#include "fs/settle.h"
#include "fs/upcalls.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

enum {
	MAX_THREADS = 64, /* each may wait for the service while others answer from memory */
	MAX_IDLE_THREADS = 8,
	NEGATIVE_MS = 2000,    /* how long an error is remembered */
	INTERACTIVE_SPARE = 2, /* workers that readahead leaves alone */
	END_AGAIN_MS = 10,
	BEHIND_QUIET_MS = 100,
	PRIVATE_DIR = 0700,
};

/* Bytes of finished build logs that are kept on the disk. */
#define BUILD_LOGS_MAX (UINT64_C(1) << 30)

/* Everything one mount holds, in the order in which it is taken down (last first). */
struct mount {
	const struct options *o;
	struct backend *backend;
	struct disk *disk;
	struct node_table *nodes;
	struct local *local;
	struct upper_run *run;
	struct edits *edits;
	struct kept *kept;
	struct journal *journal;
	struct freenames *freenames;
	struct seen *seen;
	struct turns *saving;
	struct settle *settle;
	int kept_dir;
	int journal_dir;
	struct handles *handles;
	struct whiteouts *whiteouts;
	struct whiteouts *emptied;
	struct notify *notify;
	struct listed *listed;
	struct rendered *rendered;
	struct upcalls upcalls;
	struct catalog *catalog;
	int builds_dir;
	struct buildstore *buildstore;
	struct builds *builds;
	struct fsys fsys;
	struct fuse_session *se;
	sigset_t signals; /* the mask that this process was started with */
	atomic_bool stopping;
	pthread_t loop; /* who waits for the end of the loop, */
	atomic_bool looping;
	bool mounted;
	pthread_t watcher;
	bool watching;
	int wake[2]; /* signals and the end of the loop, to the watcher */
};

/* ---- signals ---- */

enum { WAKE_STOP = 's', WAKE_EXPIRE = 'h', WAKE_QUIT = 'q' };

/* The mount that signals mean; signal handlers have no other way to know. */
static struct mount *_Atomic signalled;

static void tell_watcher(const struct mount *m, char what)
{
	int saved = errno;

	if (write(m->wake[1], &what, 1) < 0)
		errno = saved; /* the pipe is full: it has been told often enough */
	errno = saved;
}

static void on_signal(int sig)
{
	struct mount *m = atomic_load(&signalled);

	if (!m)
		return;
	if (sig == SIGHUP) {
		tell_watcher(m, WAKE_EXPIRE);
		return;
	}
	atomic_store(&m->stopping, true);
	tell_watcher(m, WAKE_STOP);
}

static int handle_signals(struct mount *m)
{
	struct sigaction act = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

	/* No SA_RESTART: the loop's wait has to end. */
	sigemptyset(&act.sa_mask);
	sigemptyset(&ignore.sa_mask);
	atomic_store(&signalled, m);
	if (sigaction(SIGTERM, &act, NULL) < 0 || sigaction(SIGINT, &act, NULL) < 0 ||
	    sigaction(SIGHUP, &act, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0)
		return -errno;
	return 0;
}

/*
 * Ends the loop, whose wait a signal ends. libfuse looks whether it is to end and waits after that:
 * a signal in between is lost, so it is told until it has heard.
 */
static void end_loop(struct mount *m)
{
	if (m->se)
		fuse_session_exit(m->se);
	while (atomic_load(&m->looping)) {
		pthread_kill(m->loop, SIGINT);
		poll(NULL, 0, END_AGAIN_MS);
	}
}

/*
 * Ends everything that waits as soon as the mount is gone or a signal asked for it, so that the
 * loop's threads, which finish their requests first, end at once.
 */
static void *watch(void *arg)
{
	struct mount *m = arg;
	struct pollfd told = {.fd = m->wake[0], .events = POLLIN};
	char what = 0;

	while (what != WAKE_QUIT && what != WAKE_STOP) {
		if (poll(&told, 1, -1) < 0 && errno != EINTR)
			break;
		if (!(told.revents & POLLIN) || read(m->wake[0], &what, 1) != 1)
			continue;
		if (what == WAKE_EXPIRE) {
			log_info("op=refresh: lists will be fetched again");
			catalog_expire(m->catalog);
			notify_expire(m->notify);
		}
	}
	if (what == WAKE_QUIT)
		return NULL;
	/* Drafts that only waited for quiet are published while the service can still be asked. */
	settle_stop(m->settle, m->fsys.save_timeout);
	catalog_stop(m->catalog);
	if (m->builds)
		builds_stop(m->builds);
	/*
	 * While requests are answered: to tell the kernel of a change in a directory waits for the
	 * rename there that waits for us.
	 */
	notify_stop(m->notify);
	end_loop(m);
	return NULL;
}

static int start_watcher(struct mount *m)
{
	int rc = pthread_create(&m->watcher, NULL, watch, m);

	m->watching = rc == 0;
	return -rc;
}

static void end_watcher(struct mount *m)
{
	if (!m->watching)
		return;
	tell_watcher(m, WAKE_QUIT);
	pthread_join(m->watcher, NULL);
	m->watching = false;
}

/* ---- putting it together ---- */

/* What is kept on the disk belongs to a service, whichever directory it is mounted at. NULL: no
 * memory. */
static char *source_name(const struct mount *m)
{
	uint64_t number = node_number(0, NODE_LOCAL, backend_identity(m->backend));
	char *name;

	return asprintf(&name, "%016llx", (unsigned long long)number) < 0 ? NULL : name;
}

/* Of a catalog_conf: to read everything is to read logs as well. */
static void expect_logs(void *arg, struct scope *s)
{
	const struct mount *m = arg;

	if (m->builds)
		builds_expect(m->builds, s);
}

static int open_catalog(struct mount *m, struct err *e)
{
	const struct options *o = m->o;
	struct catalog_conf conf = {
		.source = backend_source(m->backend),
		.refresh = (int64_t)(o->refresh * (double)NS_PER_S),
		.negative = NEGATIVE_MS * NS_PER_MS,
		.request_deadline = (int64_t)(o->timeout * (double)NS_PER_S),
		.max_in_flight = o->max_requests + INTERACTIVE_SPARE,
		.readahead_max = o->readahead,
		.behind_quiet = BEHIND_QUIET_MS * NS_PER_MS,
		.content_max = o->cache_memory,
		.store = disk_store(m->disk),
		.view = backend_view(m->backend),
		.changed = notify_changed,
		.changed_arg = m->notify,
		.walks = expect_logs,
		.walks_arg = m,
	};

	m->catalog = catalog_new(&conf, e);
	return m->catalog ? 0 : -ENOMEM;
}

/*
 * Where builds of this source are remembered, read-only mounts included. Without such a place they
 * are forgotten at the unmount, which is no reason not to mount.
 */
static int open_builds_dir(struct mount *m)
{
	_cleanup_free_ char *name = source_name(m);
	_cleanup_free_ char *path = name ? paths_builds(name) : NULL;
	int rc = path ? paths_make_parents(path) : -ENOMEM;

	if (!rc && mkdir(path, PRIVATE_DIR) < 0 && errno != EEXIST)
		rc = -errno;
	if (!rc)
		m->builds_dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!rc && m->builds_dir < 0)
		rc = -errno;
	if (rc)
		log_warn("op=mount: image builds are not remembered: %s: %s", path ? path : "",
			 strerror(-rc));
	return rc == -ENOMEM ? rc : 0;
}

static int open_builds(struct mount *m, struct err *e)
{
	const struct options *o = m->o;
	struct builds_conf conf = {
		.source = backend_source(m->backend),
		.refresh = (int64_t)(o->refresh * (double)NS_PER_S),
		.request_deadline = (int64_t)(o->timeout * (double)NS_PER_S),
		.changed = notify_build,
		.changed_arg = m->notify,
	};
	int rc = open_builds_dir(m);

	if (!rc)
		rc = buildstore_open(m->builds_dir, BUILD_LOGS_MAX, &m->buildstore);
	if (rc)
		return rc;
	conf.store = m->buildstore;
	m->builds = builds_new(&conf, e);
	return m->builds ? 0 : -ENOMEM;
}

static void fill_fsys(struct mount *m)
{
	const struct options *o = m->o;

	m->fsys = (struct fsys){
		.catalog = m->catalog,
		.source = backend_source(m->backend),
		.builds = m->builds,
		.local = m->local,
		.run = m->run,
		.edits = m->edits,
		.kept = m->kept,
		.journal = m->journal,
		.freenames = m->freenames,
		.seen = m->seen,
		.saving = m->saving,
		.settle = m->settle,
		.nodes = m->nodes,
		.handles = m->handles,
		.notify = m->notify,
		.disk = m->disk,
		.listed = m->listed,
		.rendered = m->rendered,
		.upcalls = &m->upcalls,
		.without = getenv("MLENVFS_WITHOUT"),
		.whiteouts = m->whiteouts,
		.emptied = m->emptied,
		.delete_permanent = o->delete_permanent,
		.uid = o->uid,
		.gid = o->gid,
		.anonymous = o->anonymous,
		.refresh_s = o->refresh,
		.timeout = (int64_t)(o->timeout * (double)NS_PER_S),
		.save_timeout = (int64_t)(o->save_timeout * (double)NS_PER_S),
		.started = clock_wall(),
		.local_dir = backend_local_dir(m->backend),
		.about = backend_about(m->backend),
	};
}

/*
 * Asks once before anything is mounted: a wrong token or address is told now, not at the first ls.
 * Signals end it (the watcher stops the catalog), as they will the mount.
 */
static int first_contact(struct mount *m, struct err *e)
{
	struct scope_list *scopes;
	struct call call;
	sigset_t blocked;
	int rc = start_watcher(m);

	if (rc)
		return rc;
	call_init(&call, clock_mono() + m->fsys.timeout, CALL_INTERACTIVE);
	pthread_sigmask(SIG_SETMASK, &m->signals, &blocked);
	rc = catalog_scopes(m->catalog, &call, &scopes, e);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	call_destroy(&call);
	end_watcher(m);
	if (atomic_load(&m->stopping)) {
		if (!rc)
			scope_list_unref(scopes);
		return err_set(e, -ECANCELED, "interrupted before the service answered");
	}
	if (!rc)
		scope_list_unref(scopes);
	return rc;
}

/* A directory of the state directory that a module has for itself. */
static int open_part(struct mount *m, const char *path)
{
	int rc = local_make_dirs(m->local, path);

	return rc ? rc : local_open_dir(m->local, path);
}

static void release_node(void *nodes, void *held)
{
	node_put(nodes, held);
}

static int open_upper(struct mount *m, struct err *e)
{
	_cleanup_free_ char *journal = local_join(upper_run_path(m->run), "journal");
	int rc = journal ? 0 : -ENOMEM;

	m->edits = edits_new(NULL);
	if (m->edits)
		edits_set_release(m->edits, release_node, m->nodes);
	m->seen = seen_new();
	m->freenames = freenames_new();
	if (rc || !m->edits || !m->seen || !m->freenames)
		return -ENOMEM;
	m->kept_dir = open_part(m, ".kept");
	m->journal_dir = open_part(m, journal);
	if (m->kept_dir < 0 || m->journal_dir < 0)
		return err_set(e, m->kept_dir < 0 ? m->kept_dir : m->journal_dir,
			       "the state directory can't be used");
	rc = kept_open(m->kept_dir, &m->kept);
	if (!rc)
		rc = journal_open(m->journal_dir, &m->journal, e);
	if (!rc)
		rc = turns_new(&m->saving);
	return rc ? rc
		  : settle_new(&m->fsys, (int64_t)(m->o->settle * (double)NS_PER_S), &m->settle);
}

/* Drafts belong to a service, whichever directory it is mounted at. */
static int open_drafts(struct mount *m, struct err *e)
{
	_cleanup_free_ char *name = source_name(m);
	_cleanup_free_ char *root = name ? paths_drafts(name) : NULL;
	int rc;

	rc = root ? local_open(root, &m->local, e) : -ENOMEM;
	if (!rc)
		rc = upper_begin(m->local, &m->run, e);
	return rc ? rc : open_upper(m, e);
}

/* The journal of another mount that has ended; what can't be looked up now stays for the next time.
 */
static void look_into(struct mount *m, const char *run, struct call *call)
{
	_cleanup_free_ char *path = local_join(run, "journal");
	_cleanup_close_ int dir = path ? local_open_dir(m->local, path) : -1;
	struct journal *journal = NULL;

	if (dir < 0 || journal_open(dir, &journal, NULL))
		return;
	if (register_resolve_of(&m->fsys, journal, call))
		log_warn("op=recover run=%s: not everything could be looked up", run);
	journal_close(journal);
}

/* What an ended mount was publishing, and whether that was done, decides what is a draft. */
static void look_up_doubtful(struct mount *m)
{
	char run[UPPER_RUN_SIZE];
	struct call call;

	if (!m->journal)
		return;
	call_init(&call, clock_mono() + m->fsys.save_timeout, CALL_INTERACTIVE);
	if (register_resolve(&m->fsys, &call))
		settle_doubtful(m->settle);
	for (int k = upper_ended(m->run, -1, run); k >= 0; k = upper_ended(m->run, k, run))
		look_into(m, run, &call);
	call_destroy(&call);
}

static int open_layers(struct mount *m, struct err *e)
{
	int rc = backend_open(m->o, &m->backend, e);

	if (!rc)
		rc = disk_open(m->o, m->backend, &m->disk);
	if (rc)
		return rc;
	m->nodes = node_table_new();
	m->handles = handles_new();
	m->whiteouts = whiteouts_new(NULL);
	m->emptied = whiteouts_new(NULL);
	m->notify = m->nodes ? notify_new(m->nodes) : NULL;
	m->listed = listed_new();
	m->rendered = rendered_new();
	if (!m->handles || !m->whiteouts || !m->emptied || !m->notify || !m->listed || !m->rendered)
		return -ENOMEM;
	notify_remember(m->notify, disk_store(m->disk));
	notify_count(m->notify, &m->upcalls);
	rc = m->o->ro ? 0 : open_drafts(m, e);
	if (!rc)
		rc = open_catalog(m, e);
	if (!rc)
		rc = open_builds(m, e);
	if (rc)
		return rc;
	fill_fsys(m);
	rc = first_contact(m, e);
	if (!rc)
		look_up_doubtful(m);
	return rc;
}

static int session_args(const struct options *o, struct fuse_args *args)
{
	char *text = NULL;
	int n = asprintf(&text, "fsname=%s,subtype=mlenvfs,default_permissions%s%s%s%s%s",
			 o->source ? o->source : "mlenvfs", o->ro ? ",ro" : "",
			 o->allow_other ? ",allow_other" : "", o->allow_root ? ",allow_root" : "",
			 o->kernel ? "," : "", o->kernel ? o->kernel : "");
	int rc = n < 0 ? -1 : 0;

	rc |= fuse_opt_add_arg(args, "mlenvfs");
	rc |= n < 0 ? 0 : fuse_opt_add_arg(args, "-o");
	rc |= n < 0 ? 0 : fuse_opt_add_arg(args, text);
	if (!rc && o->debug)
		rc = fuse_opt_add_arg(args, "-d");
	free(text);
	return rc ? -ENOMEM : 0;
}

/*
 * The device, as libfuse would read it, but that the watcher learns of the unmount from the first
 * thread that does. Were it to wait at the device itself, the kernel would wake it for each
 * request.
 */
static ssize_t device_read(int fd, void *buf, size_t len, void *userdata)
{
	const struct mount *m =
		(const void *)((const char *)userdata - offsetof(struct mount, fsys));
	ssize_t n = read(fd, buf, len);

	if (n < 0 && errno == ENODEV)
		tell_watcher(m, WAKE_STOP);
	return n;
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)userdata;
	return writev(fd, iov, count);
}

static int open_session(struct mount *m, struct err *e)
{
	static const struct fuse_custom_io device = {.read = device_read, .writev = device_writev};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int rc = session_args(m->o, &args);

	if (!rc)
		m->se = fuse_session_new(&args, &ops_table, sizeof(ops_table), &m->fsys);
	fuse_opt_free_args(&args);
	if (rc || !m->se)
		return err_set(e, -EINVAL, "the FUSE session can't be made (see above)");
	if (fuse_session_mount(m->se, m->o->mountpoint))
		return err_set(e, -EIO,
			       "%s can't be mounted (see above). Is /dev/fuse there, fusermount3 "
			       "installed, and allow_other allowed by /etc/fuse.conf?",
			       m->o->mountpoint);
	m->mounted = true;
	rc = fuse_session_custom_io(m->se, &device, fuse_session_fd(m->se));
	return rc ? err_set(e, rc, "the FUSE device can't be read: %s", strerror(-rc)) : 0;
}

static int run_loop(struct mount *m)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, MAX_IDLE_THREADS);
	m->loop = pthread_self();
	atomic_store(&m->looping, true);
	rc = fuse_session_loop_mt(m->se, config);
	atomic_store(&m->looping, false);
	fuse_loop_cfg_destroy(config);
	return rc > 0 ? 0 : rc; /* positive: a signal ended it */
}

static void close_upper(struct mount *m)
{
	settle_free(m->settle);
	turns_free(m->saving);
	journal_close(m->journal);
	kept_close(m->kept);
	if (m->kept_dir >= 0)
		close(m->kept_dir);
	if (m->journal_dir >= 0)
		close(m->journal_dir);
	edits_free(m->edits);
	seen_free(m->seen);
	freenames_free(m->freenames);
	upper_end(m->run);
	local_close(m->local);
}

static void take_down(struct mount *m)
{
	end_watcher(m);
	settle_stop(m->settle, m->fsys.save_timeout);
	if (m->catalog)
		catalog_stop(m->catalog);
	if (m->builds)
		builds_stop(m->builds);
	atomic_store(&signalled, NULL);
	if (m->notify)
		notify_stop(m->notify);
	if (m->mounted)
		fuse_session_unmount(m->se);
	if (m->se)
		fuse_session_destroy(m->se);
	handles_free(m->handles);
	builds_free(m->builds);
	buildstore_close(m->buildstore);
	if (m->builds_dir >= 0)
		close(m->builds_dir);
	catalog_free(m->catalog);
	notify_free(m->notify);
	disk_close(m->disk);
	listed_free(m->listed);
	rendered_free(m->rendered);
	whiteouts_free(m->whiteouts);
	whiteouts_free(m->emptied);
	close_upper(m);
	node_table_free(m->nodes);
	backend_close(m->backend);
	for (size_t i = 0; i < 2; i++)
		if (m->wake[i] >= 0)
			close(m->wake[i]);
}

static int serve(struct mount *m, mount_ready_fn *ready, void *ready_arg, struct err *e)
{
	sigset_t all;
	int rc;

	if (pipe2(m->wake, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* All threads made here inherit the mask: signals are for this one, whose wait they end. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &m->signals);
	rc = handle_signals(m);
	if (!rc)
		rc = open_layers(m, e);
	if (!rc)
		rc = open_session(m, e);
	if (!rc)
		rc = notify_start(m->notify, m->se);
	if (!rc && m->settle)
		rc = settle_start(m->settle);
	if (!rc)
		rc = builds_start_following(m->builds);
	if (!rc)
		rc = start_watcher(m);
	pthread_sigmask(SIG_SETMASK, &m->signals, NULL);
	if (!rc)
		rc = ready(ready_arg);
	if (rc)
		return rc;
	log_info("op=mount source=%s mountpoint=%s pid=%d",
		 m->o->source ? m->o->source : "embedded", m->o->mountpoint, getpid());
	rc = run_loop(m);
	log_info("op=unmount mountpoint=%s", m->o->mountpoint);
	return rc;
}

int mount_serve(const struct options *o, mount_ready_fn *ready, void *ready_arg, struct err *e)
{
	struct mount m = {
		.o = o, .wake = {-1, -1}, .kept_dir = -1, .journal_dir = -1, .builds_dir = -1};
	int rc = serve(&m, ready, ready_arg, e);

	take_down(&m);
	if (rc && e && !e->msg[0])
		err_set(e, rc, "%s", strerror(-rc));
	return rc;
}
