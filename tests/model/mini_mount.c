#include "tests/model/mini_mount.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/turns.h"
#include "fs/edits.h"
#include "fs/freename.h"
#include "fs/handle.h"
#include "fs/journal.h"
#include "fs/kept.h"
#include "fs/listed.h"
#include "fs/local.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/register.h"
#include "fs/seen.h"
#include "fs/settle.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

enum { WORKERS = 2, QUIET_S = 3600, REFRESH_S = 30, TIMEOUT_S = 30, CONTENT_MAX = 1 << 20 };

/* What the clock of the file system is ahead of the real one. */
static _Atomic int64_t ahead;

static int64_t moved_clock(void)
{
	return clock_mono() + atomic_load(&ahead);
}

void mini_mount_pass(int64_t ns)
{
	atomic_fetch_add(&ahead, ns);
}

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "mini_mount: the file system can't be put together\n");
		exit(1);
	}
	return p;
}

static void must_be(int rc)
{
	must(rc ? NULL : &ahead);
}

static int open_part(struct fsys *fs, const char *path)
{
	int fd;

	must_be(local_make_dirs(fs->local, path));
	fd = local_open_dir(fs->local, path);
	must(fd < 0 ? NULL : fs);
	return fd;
}

static void release_node(void *nodes, void *held)
{
	node_put(nodes, held);
}

static void open_upper(struct mini_mount *m, const char *dir)
{
	_cleanup_free_ char *journal = NULL;
	struct fsys *fs = &m->fs;

	must_be(local_open(dir, &fs->local, NULL));
	must_be(upper_begin(fs->local, &fs->run, NULL));
	fs->edits = must(edits_new(moved_clock));
	edits_set_release(fs->edits, release_node, fs->nodes);
	fs->seen = must(seen_new());
	fs->freenames = must(freenames_new());
	journal = must(local_join(upper_run_path(fs->run), "journal"));
	m->kept_dir = open_part(fs, ".kept");
	m->journal_dir = open_part(fs, journal);
	must_be(kept_open(m->kept_dir, &fs->kept));
	must_be(journal_open(m->journal_dir, &fs->journal, NULL));
	must_be(turns_new(&fs->saving));
	/* Drafts are published when a test says so, not when it happens to be slow. */
	must_be(settle_new(fs, QUIET_S * NS_PER_S, &fs->settle));
}

/* What a mount that has ended was publishing. */
static void look_into(struct fsys *fs, const char *run, struct call *call)
{
	_cleanup_free_ char *path = must(local_join(run, "journal"));
	_cleanup_close_ int dir = local_open_dir(fs->local, path);
	struct journal *journal = NULL;

	if (dir < 0)
		return;
	must_be(journal_open(dir, &journal, NULL));
	register_resolve_of(fs, journal, call);
	journal_close(journal);
}

static void look_up_doubtful(struct fsys *fs)
{
	char run[UPPER_RUN_SIZE];
	struct call call;

	call_init(&call, clock_mono() + fs->save_timeout, CALL_INTERACTIVE);
	for (int k = upper_ended(fs->run, -1, run); k >= 0; k = upper_ended(fs->run, k, run))
		look_into(fs, run, &call);
	if (register_resolve(fs, &call))
		settle_doubtful(fs->settle);
	call_destroy(&call);
}

void mini_mount(struct mini_mount *m, struct service *service, const char *dir)
{
	struct catalog_conf conf = {
		.source = service_source(service),
		.refresh = REFRESH_S * NS_PER_S,
		.request_deadline = TIMEOUT_S * NS_PER_S,
		.max_in_flight = WORKERS,
		.content_max = CONTENT_MAX,
		.now = moved_clock,
		.changed = notify_changed,
	};
	struct fsys *fs = &m->fs;

	memset(m, 0, sizeof(*m));
	fs->nodes = must(node_table_new());
	fs->handles = must(handles_new());
	fs->listed = must(listed_new());
	fs->whiteouts = must(whiteouts_new(moved_clock));
	fs->emptied = must(whiteouts_new(moved_clock));
	fs->notify = must(notify_new(fs->nodes));
	conf.changed_arg = fs->notify;
	fs->catalog = must(catalog_new(&conf, NULL));
	fs->source = service_source(service);
	fs->uid = getuid();
	fs->gid = getgid();
	fs->refresh_s = REFRESH_S;
	fs->timeout = TIMEOUT_S * NS_PER_S;
	fs->save_timeout = TIMEOUT_S * NS_PER_S;
	fs->started = clock_wall();
	fs->local_dir = dir;
	fs->about = "{}";
	open_upper(m, dir);
	look_up_doubtful(fs);
	m->mini = mini_new(fs);
	must_be(notify_start(fs->notify, (struct fuse_session *)(void *)m->mini));
	must_be(settle_start(fs->settle));
}

static void close_upper(struct mini_mount *m)
{
	struct fsys *fs = &m->fs;

	settle_free(fs->settle);
	turns_free(fs->saving);
	journal_close(fs->journal);
	kept_close(fs->kept);
	close(m->kept_dir);
	close(m->journal_dir);
	edits_free(fs->edits);
	seen_free(fs->seen);
	freenames_free(fs->freenames);
	upper_end(fs->run);
	local_close(fs->local);
}

const char *mini_unmount(struct mini_mount *m, bool crash, char *problem, size_t size)
{
	struct fsys *fs = &m->fs;
	const char *seen;
	uint64_t left = 0;

	problem[0] = '\0';
	if (crash) {
		/* What a dead process does not do any more it can't do here either. */
		catalog_stop(fs->catalog);
		service_cut(fs->source, true);
		mini_crash(m->mini);
	}
	settle_stop(fs->settle, fs->save_timeout);
	seen = mini_problem(m->mini);
	if (seen)
		snprintf(problem, size, "%s", seen);
	notify_stop(fs->notify);
	mini_free(m->mini);
	/* What is on show keeps its inode; nothing else may. */
	edits_free(fs->edits);
	fs->edits = NULL;
	left = node_count(fs->nodes);
	catalog_stop(fs->catalog);
	catalog_free(fs->catalog);
	notify_free(fs->notify);
	handles_free(fs->handles);
	listed_free(fs->listed);
	whiteouts_free(fs->whiteouts);
	whiteouts_free(fs->emptied);
	close_upper(m);
	node_table_free(fs->nodes);
	if (left && !problem[0])
		snprintf(problem, size, "%llu inodes are left that the kernel has forgotten",
			 (unsigned long long)left);
	service_cut(fs->source, false);
	return problem[0] ? problem : NULL;
}
