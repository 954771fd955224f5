/*
 * upper_run - the part of the state directory that belongs to one running mount, and what is done
 * with what an ended one left in its part: bytes that were written and not saved become refused
 * bytes beside the published file, bytes that were only on show go.
 */
#include "fs/upper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "fs/xattr.h"

enum {
	RUNS_MAX = 64,  /* mounts of one service at the same time */
	DEPTH_MAX = 80, /* of a version's files: beyond that nothing was ever made */
	REJECTED_MAX = 99,
};

static const char LOST[] = "mlenvfs ended before this was saved";

struct upper_run {
	struct local *local;
	int lock;
	int ended[RUNS_MAX]; /* locks of ended mounts' parts; -1: none */
	char path[UPPER_RUN_SIZE];
};

/* Goes through the files below a directory; paths are below the state directory. */
struct walk {
	struct local *local;
	void (*file)(struct local *l, const char *path);
	int depth;
};

static void walk(struct walk *w, const char *path);

static int walk_name(void *arg, const char *path, const char *name)
{
	struct walk *w = arg;
	_cleanup_free_ char *at = local_join(path, name);
	struct stat st;

	if (!at || local_stat(w->local, at, &st))
		return 0;
	if (!S_ISDIR(st.st_mode)) {
		w->file(w->local, at);
	} else if (w->depth < DEPTH_MAX) {
		w->depth++;
		walk(w, at);
		w->depth--;
	}
	return 0;
}

/* What can't be read in one place keeps nothing from being put away in the others. */
static void walk(struct walk *w, const char *path)
{
	int rc = local_each(w->local, path, walk_name, w);

	if (rc && rc != -ENOENT)
		log_warn("op=recover path=%s: %s", path, strerror(-rc));
}

static void remove_file(struct local *l, const char *path)
{
	unlinkat(local_fd(l), path, 0);
}

static void note(struct local *l, const char *path, const char *reason)
{
	_cleanup_close_ int fd =
		openat(local_fd(l), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fsetxattr(fd, XATTR_ERROR, reason, strlen(reason), 0) < 0)
		log_debug("op=recover path=%s: the reason can't be kept", path);
}

/* Moves to the first free of to, to.1, ... */
static int move_aside(struct local *l, const char *from, const char *to)
{
	for (int i = 0; i <= REJECTED_MAX; i++) {
		_cleanup_free_ char *target = NULL;
		char number[16] = "";

		if (i)
			snprintf(number, sizeof(number), ".%d", i);
		if (asprintf(&target, "%s%s", to, number) < 0) {
			target = NULL;
			return -ENOMEM;
		}
		if (!renameat2(local_fd(l), from, local_fd(l), target, RENAME_NOREPLACE)) {
			note(l, target, LOST);
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* Nothing typed is lost: what was not saved lies beside the published file from now on. */
static void put_aside(struct local *l, const char *path)
{
	struct upper_place p;
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *to = NULL;
	_cleanup_free_ char *parent = NULL;
	int rc;

	if (upper_parse(path, &p) || p.area != UPPER_EDIT || !*p.rel)
		return;
	dir = upper_dir(&p);
	name = upper_rejected_name(p.rel);
	if (!dir || !name || asprintf(&to, ".local/%s/%s", dir, name) < 0) {
		to = NULL;
		return;
	}
	parent = strndup(to, (size_t)(strrchr(to, '/') - to));
	rc = parent ? local_make_dirs(l, parent) : -ENOMEM;
	if (!rc)
		rc = move_aside(l, path, to);
	log_warn("op=recover env=%s version=%s file=%s: %s; %s", p.env, p.version, p.rel, LOST,
		 rc ? strerror(-rc) : "it is beside the file, as .rejected");
	_cleanup_free_ char *top = NULL;
	if (!rc && asprintf(&top, ".local/%s", dir) >= 0)
		note(l, top, LOST);
}

static void recover(struct local *l, const char *run)
{
	static const struct {
		const char *name;
		void (*file)(struct local *l, const char *path);
	} areas[] = {{"edit", put_aside}, {"shown", remove_file}, {"tmp", remove_file}};

	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		struct walk w = {.local = l, .file = areas[i].file};
		_cleanup_free_ char *path = local_join(run, areas[i].name);

		if (!path)
			return;
		walk(&w, path);
		if (local_remove_empty(l, path) == -ENOTEMPTY)
			log_warn("op=recover path=%s: something is left there", path);
	}
}

/* The lock of a run, taken; -EWOULDBLOCK when a running mount has it. */
static int lock_run(struct local *l, const char *run)
{
	_cleanup_free_ char *path = local_join(run, "lock");
	int fd, rc = path ? local_make_dirs(l, run) : -ENOMEM;

	if (rc)
		return rc;
	fd = openat(local_fd(l), path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* What other ended mounts left is put away too. */
static void recover_others(struct upper_run *r, int own)
{
	struct stat st;
	char run[UPPER_RUN_SIZE];

	for (int k = own + 1; k < RUNS_MAX; k++) {
		int lock;

		snprintf(run, sizeof(run), ".run/%d", k);
		if (local_stat(r->local, run, &st))
			return;
		lock = lock_run(r->local, run);
		if (lock < 0)
			continue;
		recover(r->local, run);
		r->ended[k] = lock;
	}
}

int upper_ended(const struct upper_run *r, int after, char out[UPPER_RUN_SIZE])
{
	for (int k = after + 1; k < RUNS_MAX; k++) {
		if (r->ended[k] < 0)
			continue;
		snprintf(out, UPPER_RUN_SIZE, ".run/%d", k);
		return k;
	}
	return -1;
}

static int make_parts(struct upper_run *r)
{
	static const char *const parts[] = {"tmp", "journal"};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(parts) / sizeof(*parts); i++) {
		_cleanup_free_ char *path = local_join(r->path, parts[i]);

		rc = path ? local_make_dirs(r->local, path) : -ENOMEM;
	}
	return rc;
}

int upper_begin(struct local *l, struct upper_run **out, struct err *e)
{
	struct upper_run *r = calloc(1, sizeof(*r));
	int k = 0;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->local = l;
	r->lock = -EWOULDBLOCK;
	for (int i = 0; i < RUNS_MAX; i++)
		r->ended[i] = -1;
	for (; k < RUNS_MAX && r->lock == -EWOULDBLOCK; k++) {
		snprintf(r->path, sizeof(r->path), ".run/%d", k);
		r->lock = lock_run(l, r->path);
	}
	if (r->lock < 0) {
		int rc = err_set(e, r->lock, "the state directory can't be used: %s",
				 strerror(-r->lock));

		free(r);
		return rc;
	}
	recover(l, r->path);
	recover_others(r, k - 1);
	*out = r;
	return make_parts(r);
}

void upper_end(struct upper_run *r)
{
	if (!r)
		return;
	for (int i = 0; i < RUNS_MAX; i++)
		if (r->ended[i] >= 0)
			close(r->ended[i]);
	close(r->lock);
	free(r);
}

const char *upper_run_path(const struct upper_run *r)
{
	return r->path;
}
