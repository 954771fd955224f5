#include "cache/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cachedir.h"
#include "cache/sum.h"
#include "client/clock.h"
#include "client/log.h"
#include "client/writeall.h"

enum {
	PATH_SIZE = SUM_NAME_SIZE + 1, /* X/REST */
	TEMP_SIZE = 64,
	BLOCK = 512,
	PAGE = 4096,            /* what a file takes at the least */
	KEY_ROOM = 256,         /* what a link takes, roughly */
	USED_AFTER_S = 60 * 60, /* how exactly it is known when something was used */
	LEFT_AFTER_S = 60 * 60, /* what is not renamed after that long was left by a crash */
	TRIM_TO = 9,            /* tenths of the limit that are left when it was passed */
};

static const char temp_prefix[] = ".new-";

struct objects {
	int content;
	int keys;
	uint64_t max;
	_Atomic uint64_t used; /* bytes, as far as this process knows; others add, too */
	_Atomic uint64_t evicted;
	atomic_uint next_temp;
	pthread_mutex_t trimming; /* one at a time */
	bool counted;             /* protected by trimming */
};

/* ---- from start to end ---- */

void objects_close(struct objects *o)
{
	if (!o)
		return;
	if (o->content >= 0)
		close(o->content);
	if (o->keys >= 0)
		close(o->keys);
	pthread_mutex_destroy(&o->trimming);
	free(o);
}

int objects_open(int dir, uint64_t max, struct objects **out, struct err *e)
{
	struct objects *o = calloc(1, sizeof(*o));
	int rc;

	*out = NULL;
	if (!o)
		return err_set(e, -ENOMEM, "no memory for the cache");
	pthread_mutex_init(&o->trimming, NULL);
	o->max = max;
	o->content = cachedir_sub(dir, "content", e);
	o->keys = o->content < 0 ? -1 : cachedir_sub(dir, "keys", e);
	rc = o->content < 0 ? o->content : o->keys < 0 ? o->keys : 0;
	if (rc) {
		objects_close(o);
		return rc;
	}
	*out = o;
	return 0;
}

/* ---- names ---- */

/* The path of the name: its first letter is a directory. */
static void path_of(const char *name, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%c/%s", name[0], name + 1);
}

static int key_path(const void *key, size_t len, char out[PATH_SIZE])
{
	char name[SUM_NAME_SIZE];
	struct sum sum;
	int rc = sum_of(key, len, &sum);

	if (rc)
		return rc;
	sum_name(&sum, name);
	path_of(name, out);
	return 0;
}

/* What a key leads to; it is read, never followed. */
static int read_key(const struct objects *o, const char *path, char name[SUM_NAME_SIZE])
{
	ssize_t n = readlinkat(o->keys, path, name, SUM_NAME_SIZE);

	if (n < 0)
		return errno == EINVAL ? -EBADMSG : -errno;
	if (n != SUM_NAME_SIZE - 1)
		return -EBADMSG;
	name[n] = '\0';
	return sum_is_name(name) ? 0 : -EBADMSG;
}

/* ---- reading ---- */

static int read_all(int fd, char *data, size_t len)
{
	while (len) {
		ssize_t n = read(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Remembers when it was used, but not each time. */
static void mark_used(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 ||
	    clock_wall() - clock_from_timespec(&st.st_mtim) < USED_AFTER_S * NS_PER_S)
		return;
	if (futimens(fd, NULL) < 0)
		log_debug("op=cache error=%d: the time of a file can't be set", errno);
}

/* The content of that name, to be freed. -EBADMSG: it is damaged. */
static int read_content(const struct objects *o, const char *name, char **data, size_t *len)
{
	char path[PATH_SIZE], is[SUM_NAME_SIZE];
	_cleanup_close_ int fd = -1;
	uint64_t size = 0;
	struct sum sum;
	int rc;

	path_of(name, path);
	fd = cachedir_file(o->content, path, O_RDONLY, &size);
	if (fd < 0)
		return fd;
	if (size > OBJECTS_SIZE_MAX)
		return -EBADMSG;
	*len = (size_t)size;
	*data = malloc(*len + 1);
	if (!*data)
		return -ENOMEM;
	rc = read_all(fd, *data, *len);
	if (!rc)
		rc = sum_of(*data, *len, &sum);
	if (rc)
		return rc;
	sum_name(&sum, is);
	if (strcmp(is, name) != 0)
		return -EBADMSG;
	mark_used(fd);
	return 0;
}

static void remove_bad(int dir, const char *path, const char *what)
{
	int rc = cachedir_remove(dir, path);

	log_warn("op=cache file=%s error=\"%s is damaged\" %s", path, what,
		 rc ? "left there" : "removed");
}

int objects_get(struct objects *o, const void *key, size_t len, struct buf *out)
{
	char path[PATH_SIZE], name[SUM_NAME_SIZE], content[PATH_SIZE];
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	int rc = key_path(key, len, path);

	if (rc)
		return rc;
	rc = read_key(o, path, name);
	if (rc) {
		if (rc == -EBADMSG)
			remove_bad(o->keys, path, "a key");
		return rc == -ENOMEM ? rc : -ENOENT;
	}
	rc = read_content(o, name, &data, &size);
	if (!rc)
		return buf_add(out, data, size);
	if (rc == -EBADMSG) {
		path_of(name, content);
		remove_bad(o->content, content, "content");
	}
	if (rc == -EBADMSG || rc == -ENOENT)
		(void)cachedir_remove(o->keys, path);
	return rc == -ENOMEM ? rc : -ENOENT;
}

/* ---- writing ---- */

static void temp_name(struct objects *o, char letter, char out[TEMP_SIZE])
{
	unsigned int n = atomic_fetch_add_explicit(&o->next_temp, 1, memory_order_relaxed);

	snprintf(out, TEMP_SIZE, "%c/%s%ld-%llx-%x", letter, temp_prefix, (long)getpid(),
		 (unsigned long long)clock_mono(), n);
}

static int make_letter(int dir, char letter)
{
	const char name[] = {letter, '\0'};

	return mkdirat(dir, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_temp(int dir, const char *temp, const char *data, size_t len)
{
	int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;

	if (!rc)
		rc = write_all(fd, data, len);
	if (fd >= 0 && close(fd) < 0 && !rc)
		rc = -errno;
	return rc;
}

/* Whether there is a file of that name and size already; then it was used now. */
static bool has_content(const struct objects *o, const char *path, size_t len)
{
	uint64_t size = 0;
	_cleanup_close_ int fd = cachedir_file(o->content, path, O_RDONLY, &size);

	if (fd < 0 || size != len)
		return false;
	mark_used(fd);
	return true;
}

/* Gives what was written its name. A directory that has it is none of ours, and in the way. */
static int put_in_place(int dir, const char *temp, const char *path)
{
	int rc = renameat(dir, temp, dir, path) < 0 ? -errno : 0;

	if (rc == -EISDIR) {
		rc = cachedir_remove(dir, path);
		if (!rc)
			rc = renameat(dir, temp, dir, path) < 0 ? -errno : 0;
	}
	if (rc)
		unlinkat(dir, temp, 0);
	return rc;
}

static int put_content(struct objects *o, const char *name, const char *data, size_t len)
{
	char path[PATH_SIZE], temp[TEMP_SIZE];
	int rc;

	path_of(name, path);
	if (has_content(o, path, len))
		return 0;
	temp_name(o, name[0], temp);
	rc = write_temp(o->content, temp, data, len);
	if (rc == -ENOENT) {
		rc = make_letter(o->content, name[0]);
		if (!rc)
			rc = write_temp(o->content, temp, data, len);
	}
	if (rc)
		unlinkat(o->content, temp, 0);
	else
		rc = put_in_place(o->content, temp, path);
	if (!rc)
		atomic_fetch_add(&o->used, (len + PAGE - 1) / PAGE * PAGE + KEY_ROOM);
	return rc;
}

static int put_link(struct objects *o, const char *path, const char *name)
{
	char temp[TEMP_SIZE], is[SUM_NAME_SIZE];
	int rc;

	if (!read_key(o, path, is) && strcmp(is, name) == 0)
		return 0;
	temp_name(o, path[0], temp);
	rc = symlinkat(name, o->keys, temp) < 0 ? -errno : 0;
	if (rc == -ENOENT) {
		rc = make_letter(o->keys, path[0]);
		if (!rc)
			rc = symlinkat(name, o->keys, temp) < 0 ? -errno : 0;
	}
	return rc ? rc : put_in_place(o->keys, temp, path);
}

/* What others add is noticed when this process has added a tenth of the limit. */
static void trim_when_full(struct objects *o)
{
	struct objects_report report;

	if (pthread_mutex_trylock(&o->trimming))
		return;
	if (!o->counted)
		o->counted = !objects_count(o, &report);
	if (atomic_load(&o->used) > o->max) {
		if (!objects_prune(o, o->max / 10 * TRIM_TO, &report))
			atomic_fetch_add(&o->evicted, report.evicted);
		else
			log_warn("op=cache error=\"the cache can't be made smaller\"");
	}
	pthread_mutex_unlock(&o->trimming);
}

int objects_put(struct objects *o, const void *key, size_t len, const void *data, size_t size)
{
	char path[PATH_SIZE], name[SUM_NAME_SIZE];
	struct sum sum;
	int rc;

	if (size > OBJECTS_SIZE_MAX || size > o->max)
		return -EFBIG;
	rc = key_path(key, len, path);
	if (!rc)
		rc = sum_of(data, size, &sum);
	if (rc)
		return rc;
	sum_name(&sum, name);
	rc = put_content(o, name, data, size);
	if (!rc)
		rc = put_link(o, path, name);
	if (!rc)
		trim_when_full(o);
	return rc;
}

uint64_t objects_evicted(const struct objects *o)
{
	return atomic_load(&o->evicted);
}

/* ---- all of them ---- */

struct found {
	char name[SUM_NAME_SIZE];
	int64_t used; /* ns since the epoch */
	uint64_t room;
};

/* One look at everything. */
struct scan {
	struct objects *o;
	bool remove; /* what is in the way */
	bool read;   /* all content, and check it */
	struct found *found;
	size_t n, cap;
	struct objects_report report;
};

static void scan_remove(struct scan *s, int dir, const char *path, bool bad)
{
	if (!s->remove || cachedir_remove(dir, path))
		return;
	s->report.removed++;
	s->report.bad += bad;
}

static int scan_add(struct scan *s, const char *name, const struct stat *st)
{
	struct found *f;

	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		struct found *more = reallocarray(s->found, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->found = more;
		s->cap = cap;
	}
	f = &s->found[s->n++];
	memcpy(f->name, name, sizeof(f->name));
	f->used = clock_from_timespec(&st->st_mtim);
	f->room = (uint64_t)st->st_blocks * BLOCK;
	s->report.count++;
	s->report.bytes += f->room;
	return 0;
}

static bool is_damaged(const struct scan *s, const char *name, const struct stat *st)
{
	_cleanup_free_ char *data = NULL;
	size_t len = 0;

	if (!S_ISREG(st->st_mode) || st->st_uid != geteuid() || st->st_mode & 077 ||
	    st->st_size > OBJECTS_SIZE_MAX)
		return true;
	return s->read && read_content(s->o, name, &data, &len) == -EBADMSG;
}

/* A name that is none of ours: what a write left that did not end, or anything else. */
static void scan_stranger(struct scan *s, int dir, const char *path, const char *rest)
{
	struct stat st;
	bool temp = strncmp(rest, temp_prefix, sizeof(temp_prefix) - 1) == 0;

	if (temp && fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    clock_wall() - clock_from_timespec(&st.st_mtim) < LEFT_AFTER_S * NS_PER_S)
		return;
	scan_remove(s, dir, path, !temp);
}

static int scan_content(struct scan *s, const char *path, const char *name)
{
	struct stat st;

	if (fstatat(s->o->content, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!is_damaged(s, name, &st))
		return scan_add(s, name, &st);
	scan_remove(s, s->o->content, path, true);
	return 0;
}

static void scan_key(struct scan *s, const char *path)
{
	char name[SUM_NAME_SIZE], content[PATH_SIZE];
	int rc = read_key(s->o, path, name);

	if (!rc) {
		path_of(name, content);
		rc = faccessat(s->o->content, content, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	}
	if (rc == -EBADMSG || rc == -ENOENT)
		scan_remove(s, s->o->keys, path, rc == -EBADMSG);
	else
		s->report.keys++;
}

static int scan_letter(struct scan *s, int dir, char letter, DIR *names)
{
	const char *rest;
	int rc = 0;

	while (!rc && (rest = cachedir_next(names))) {
		char path[PATH_SIZE + 256], name[SUM_NAME_SIZE + 256];

		snprintf(path, sizeof(path), "%c/%s", letter, rest);
		snprintf(name, sizeof(name), "%c%s", letter, rest);
		if (!sum_is_name(name))
			scan_stranger(s, dir, path, rest);
		else if (dir == s->o->content)
			rc = scan_content(s, path, name);
		else
			scan_key(s, path);
	}
	return rc;
}

static int scan_dir(struct scan *s, int dir)
{
	_cleanup_names_ DIR *letters = cachedir_names(dir);
	const char *letter;
	int rc = letters ? 0 : -errno;

	while (!rc && (letter = cachedir_next(letters))) {
		_cleanup_close_ int fd =
			openat(dir, letter, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		_cleanup_names_ DIR *names = fd < 0 || letter[1] ? NULL : cachedir_names(fd);

		if (names)
			rc = scan_letter(s, dir, letter[0], names);
		else
			scan_remove(s, dir, letter, true);
	}
	return rc;
}

static int by_use(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->used > y->used) - (x->used < y->used);
}

/* Removes the least recently used ones until no more than max bytes are left. */
static void scan_trim(struct scan *s, uint64_t max)
{
	if (s->n)
		qsort(s->found, s->n, sizeof(*s->found), by_use);
	for (size_t i = 0; i < s->n && s->report.bytes > max; i++) {
		char path[PATH_SIZE];

		path_of(s->found[i].name, path);
		if (unlinkat(s->o->content, path, 0) < 0 && errno != ENOENT)
			continue;
		s->report.bytes -= s->found[i].room;
		s->report.count--;
		s->report.removed++;
		s->report.evicted++;
	}
}

static int scan_all(struct scan *s, uint64_t max, struct objects_report *out)
{
	int rc = scan_dir(s, s->o->content);

	if (!rc && s->remove)
		scan_trim(s, max);
	if (!rc)
		rc = scan_dir(s, s->o->keys);
	if (!rc)
		atomic_store(&s->o->used, s->report.bytes + s->report.keys * KEY_ROOM);
	free(s->found);
	*out = s->report;
	return rc;
}

int objects_prune(struct objects *o, uint64_t max, struct objects_report *out)
{
	struct scan s = {.o = o, .remove = true};

	return scan_all(&s, max, out);
}

int objects_verify(struct objects *o, struct objects_report *out)
{
	struct scan s = {.o = o, .remove = true, .read = true};

	return scan_all(&s, UINT64_MAX, out);
}

int objects_count(struct objects *o, struct objects_report *out)
{
	struct scan s = {.o = o};

	return scan_all(&s, UINT64_MAX, out);
}
