#include "tests/unit/fsys_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
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
#include "fs/seen.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

enum { WORKERS = 2, CONTENT_MAX = 1 << 20, TEXT_MAX = 1 << 20, PATIENCE_S = 10, NFTW_FDS = 16 };

/* What the clock of the file system is ahead of its beginning. */
static _Atomic int64_t the_time = NS_PER_S;

static int64_t get_time(void)
{
	return atomic_load(&the_time);
}

void fsys_pass(int64_t ns)
{
	atomic_fetch_add(&the_time, ns);
}

/* ---- putting it together ---- */

static int open_part(struct fsys_fixture *f, const char *path)
{
	int fd;

	assert_int_equal(local_make_dirs(f->fs.local, path), 0);
	fd = local_open_dir(f->fs.local, path);
	assert_true(fd >= 0);
	return fd;
}

static void release_node(void *nodes, void *held)
{
	node_put(nodes, held);
}

static void open_upper(struct fsys_fixture *f)
{
	_cleanup_free_ char *root = local_join(f->dir, "state");
	_cleanup_free_ char *journal = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(local_open(root, &f->fs.local, &e), 0);
	assert_int_equal(upper_begin(f->fs.local, &f->fs.run, &e), 0);
	f->fs.edits = edits_new(get_time);
	edits_set_release(f->fs.edits, release_node, f->fs.nodes);
	f->fs.seen = seen_new();
	f->fs.freenames = freenames_new();
	f->kept_dir = open_part(f, ".kept");
	journal = local_join(upper_run_path(f->fs.run), "journal");
	f->journal_dir = open_part(f, journal);
	assert_int_equal(kept_open(f->kept_dir, &f->fs.kept), 0);
	assert_int_equal(journal_open(f->journal_dir, &f->fs.journal, &e), 0);
	assert_int_equal(turns_new(&f->fs.saving), 0);
	assert_int_equal(settle_new(&f->fs, f->quiet, &f->fs.settle), 0);
}

static void open_catalog(struct fsys_fixture *f)
{
	struct catalog_conf conf = {
		.source = memsource_source(f->m),
		.refresh = FSYS_REFRESH,
		.request_deadline = PATIENCE_S * NS_PER_S,
		.max_in_flight = WORKERS,
		.content_max = CONTENT_MAX,
		.now = get_time,
		.changed = notify_changed,
		.changed_arg = f->fs.notify,
	};

	f->fs.catalog = catalog_new(&conf, NULL);
	assert_non_null(f->fs.catalog);
}

static void find_scope(struct fsys_fixture *f)
{
	struct scope_list *scopes;

	assert_int_equal(catalog_scopes(f->fs.catalog, fsys_call(f), &scopes, NULL), 0);
	f->scope = scope_ref(scopes->items[0]);
	scope_list_unref(scopes);
}

void fsys_mount(struct fsys_fixture *f)
{
	f->fs = (struct fsys){
		.source = memsource_source(f->m),
		.nodes = node_table_new(),
		.handles = handles_new(),
		.listed = listed_new(),
		.whiteouts = whiteouts_new(get_time),
		.emptied = whiteouts_new(get_time),
		.uid = getuid(),
		.gid = getgid(),
		.refresh_s = 30,
		.timeout = PATIENCE_S * NS_PER_S,
		.save_timeout = PATIENCE_S * NS_PER_S,
		.started = clock_wall(),
		.local_dir = f->dir,
		.about = "{}",
	};
	memsource_restart(f->m);
	f->fs.notify = notify_new(f->fs.nodes);
	open_upper(f);
	open_catalog(f);
	find_scope(f);
	f->mounted = true;
}

void fsys_unmount(struct fsys_fixture *f)
{
	f->mounted = false;
	settle_stop(f->fs.settle, f->fs.save_timeout);
	catalog_stop(f->fs.catalog);
	notify_stop(f->fs.notify);
	scope_unref(f->scope);
	if (f->called)
		call_destroy(&f->call);
	f->called = false;
	catalog_free(f->fs.catalog);
	notify_free(f->fs.notify);
	handles_free(f->fs.handles);
	listed_free(f->fs.listed);
	whiteouts_free(f->fs.whiteouts);
	whiteouts_free(f->fs.emptied);
	settle_free(f->fs.settle);
	turns_free(f->fs.saving);
	journal_close(f->fs.journal);
	kept_close(f->fs.kept);
	close(f->kept_dir);
	close(f->journal_dir);
	edits_free(f->fs.edits);
	seen_free(f->fs.seen);
	freenames_free(f->fs.freenames);
	upper_end(f->fs.run);
	local_close(f->fs.local);
	node_table_free(f->fs.nodes);
}

int fsys_setup(void **state)
{
	struct fsys_fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/mlenvfs-fsys-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	/* Of the tests' own: no desktop, and locks that no real mount takes. */
	unsetenv("DBUS_SESSION_BUS_ADDRESS");
	setenv("XDG_RUNTIME_DIR", f->dir, 1);
	log_set_level(LOG_LEVEL_ERROR);
	f->m = memsource_new();
	f->quiet = NS_PER_MS;
	fsys_mount(f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int fsys_teardown(void **state)
{
	struct fsys_fixture *f = *state;

	if (f->mounted)
		fsys_unmount(f);
	memsource_free(f->m);
	nftw(f->dir, remove_one, NFTW_FDS, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

struct call *fsys_call(struct fsys_fixture *f)
{
	if (f->called)
		call_destroy(&f->call);
	call_init(&f->call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	f->called = true;
	return &f->call;
}

/* ---- the service ---- */

void fsys_publish(struct fsys_fixture *f, const struct version *fields)
{
	memsource_put(f->m, fields);
	catalog_expire(f->fs.catalog);
	fsys_know(f, fields->env);
}

void fsys_know(struct fsys_fixture *f, const char *env)
{
	struct version_list *list;

	assert_int_equal(catalog_versions(f->fs.catalog, f->scope, env, fsys_call(f), &list, NULL),
			 0);
	version_list_unref(list);
}

unsigned int fsys_requests(struct fsys_fixture *f, enum mem_op op)
{
	return memsource_calls(f->m, op) - f->before[op];
}

unsigned int fsys_all_requests(struct fsys_fixture *f)
{
	unsigned int n = 0;

	for (int op = 0; op < MEM_OPS; op++)
		n += fsys_requests(f, (enum mem_op)op);
	return n;
}

void fsys_forget_requests(struct fsys_fixture *f)
{
	for (int op = 0; op < MEM_OPS; op++)
		f->before[op] = memsource_calls(f->m, (enum mem_op)op);
}

/* ---- the tree ---- */

struct node *fsys_node(struct fsys_fixture *f, const char *path)
{
	struct node *n = node_root(f->fs.nodes);
	char name[FSYS_PATH];

	while (n && *path) {
		size_t len = strcspn(path, "/");
		struct listing *l;

		assert_true(len && len < sizeof(name));
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + (path[len] == '/');
		if (tree_lookup(&f->fs, n, name, fsys_call(f), &l, NULL))
			return NULL;
		n = tree_intern(&f->fs, n, &l->items[0]);
		assert_non_null(n);
		listing_free(l);
	}
	return n;
}

/* ---- the disk ---- */

static int state_fd(struct fsys_fixture *f)
{
	return local_fd(f->fs.local);
}

const char *fsys_vdir(struct fsys_fixture *f, const char *env, const char *version,
		      char out[FSYS_PATH])
{
	_cleanup_free_ char *scope = local_scope_path(f->scope);

	assert_in_range(snprintf(out, FSYS_PATH, "%s/%s/%s", scope, env, version), 1,
			FSYS_PATH - 1);
	return out;
}

const char *fsys_path(struct fsys_fixture *f, const char *area, const char *env,
		      const char *version, const char *rel, char out[FSYS_PATH])
{
	char vdir[FSYS_PATH];
	bool run = *area && *area != '.';

	fsys_vdir(f, env, version, vdir);
	assert_in_range(snprintf(out, FSYS_PATH, "%s%s%s%s%s%s%s",
				 run ? upper_run_path(f->fs.run) : "", run ? "/" : "", area,
				 *area ? "/" : "", vdir, *rel ? "/" : "", rel),
			1, FSYS_PATH - 1);
	return out;
}

void fsys_write(struct fsys_fixture *f, const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd;

	if (strchr(path, '/'))
		assert_int_equal(local_make_parents(f->fs.local, path), 0);
	fd = openat(state_fd(f), path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(close(fd), 0);
}

bool fsys_exists(struct fsys_fixture *f, const char *path)
{
	struct stat st;

	return local_stat(f->fs.local, path, &st) == 0;
}

void fsys_assert_file(struct fsys_fixture *f, const char *path, const char *expected)
{
	_cleanup_free_ char *text = calloc(1, TEXT_MAX + 1);
	_cleanup_close_ int fd = openat(state_fd(f), path, O_RDONLY | O_CLOEXEC);

	if (!expected) {
		assert_int_equal(fd, -1);
		assert_int_equal(errno, ENOENT);
		return;
	}
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	assert_true(read(fd, text, TEXT_MAX) >= 0);
	assert_string_equal(text, expected);
}

static unsigned int counted;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path, (void)st, (void)ftw;
	counted += type != FTW_D;
	return 0;
}

unsigned int fsys_count(struct fsys_fixture *f, const char *path)
{
	_cleanup_free_ char *state = local_join(f->dir, "state");
	_cleanup_free_ char *top = local_join(state, path);

	counted = 0;
	nftw(top, count_one, NFTW_FDS, FTW_PHYS);
	return counted;
}

/* ---- processes ---- */

void fsys_child_start(struct fsys_child *c)
{
	int ends[2];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) < 0);
	}
	close(ends[0]);
	c->tell = ends[1];
	assert_int_equal(proc_of_thread(c->pid, &c->id), 0);
}

void fsys_child_end(struct fsys_child *c)
{
	close(c->tell);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
}
