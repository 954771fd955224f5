#include "cache/buildstore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "client/asset_json.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "client/sha256.h"
#include "client/writeall.h"

enum { FILE_NAME_SIZE = 64, PRIVATE = 0600, KEY_MAX = 8 * ASSET_NAME_MAX, STAMP_BITS = 20 };

static const char record_end[] = ".json";
static const char log_end[] = ".log";
static const char temporary_end[] = ".tmp";

struct buildstore {
	int dir;
	uint64_t logs_max;
	pthread_mutex_t lock; /* one change at a time; other processes are kept out by flock() */
};

/* ---- records ---- */

void build_record_clear(struct build_record *r)
{
	free(r->location);
	free(r->log);
	free(r->image);
	free(r->stage);
	*r = (struct build_record){0};
}

static int copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int build_record_copy(const struct build_record *from, struct build_record *to)
{
	*to = *from;
	to->location = to->log = to->image = to->stage = NULL;
	if (copy_text(&to->location, from->location) || copy_text(&to->log, from->log) ||
	    copy_text(&to->image, from->image) || copy_text(&to->stage, from->stage)) {
		build_record_clear(to);
		return -ENOMEM;
	}
	return 0;
}

int buildstore_open(int dir, uint64_t logs_max, struct buildstore **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->dir = dir;
	(*out)->logs_max = logs_max;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void buildstore_close(struct buildstore *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int buildstore_dir(const struct buildstore *s)
{
	return s->dir;
}

/* ---- names ---- */

/* All that tells a version's scope. */
static int add_scope(struct buf *b, const struct scope *s)
{
	return buf_addf(b, "%s %s/%s/%s", s->kind == SCOPE_REGISTRY ? "registry" : "workspace",
			s->subscription ? s->subscription : "",
			s->resource_group ? s->resource_group : "", s->name);
}

void buildstore_name(const struct build_of *of, char out[BUILDSTORE_NAME_SIZE])
{
	_cleanup_buf_ struct buf key = BUF_INIT(KEY_MAX);
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};
	unsigned int n = 0;

	add_scope(&key, of->scope);
	buf_addch(&key, '\0');
	buf_add(&key, of->env, strlen(of->env) + 1);
	buf_addstr(&key, of->version);
	if (buf_error(&key) || !EVP_Digest(buf_str(&key), key.len, digest, &n, sha256(), NULL))
		memset(digest, 0, sizeof(digest));
	for (size_t i = 0; i < (BUILDSTORE_NAME_SIZE - 1) / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void file_name(const struct build_of *of, const char *end, char out[FILE_NAME_SIZE])
{
	char name[BUILDSTORE_NAME_SIZE];

	buildstore_name(of, name);
	snprintf(out, FILE_NAME_SIZE, "%s%s", name, end);
}

/* ---- reading ---- */

static int64_t stamp_of(const struct stat *st)
{
	int64_t stamp = clock_from_timespec(&st->st_mtim) ^ ((int64_t)st->st_ino << STAMP_BITS);

	return stamp ? stamp : 1;
}

static int read_file(int dir, const char *name, struct buf *out, int64_t *stamp)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char chunk[4096];
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > BUILDSTORE_RECORD_MAX)
		return -EBADMSG;
	*stamp = stamp_of(&st);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		if (buf_add(out, chunk, (size_t)n))
			return buf_error(out);
	return n < 0 ? -errno : 0;
}

static const char *text_of(const cJSON *root, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
}

static bool says(const cJSON *root, const char *name, const char *expected)
{
	const char *text = text_of(root, name);

	return text && strcmp(text, expected) == 0;
}

/* Numbers are kept as text: JSON's have 53 bits. */
static int64_t number_of(const cJSON *root, const char *name)
{
	const char *text = text_of(root, name);
	char *end;
	long long n;

	if (!text)
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	return errno || *end || end == text || n < 0 ? -1 : n;
}

static bool is_of(const cJSON *root, const struct build_of *of)
{
	_cleanup_buf_ struct buf scope = BUF_INIT(KEY_MAX);

	return !add_scope(&scope, of->scope) && says(root, "scope", buf_str(&scope)) &&
	       says(root, "environment", of->env) && says(root, "version", of->version) &&
	       number_of(root, "created") == of->created;
}

/* A word without blanks or control characters, as all texts in a record are. */
static int take_word(const cJSON *root, const char *name, char **out)
{
	const char *text = text_of(root, name);

	*out = NULL;
	if (!text)
		return 0;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return -EBADMSG;
	if (!*text)
		return -EBADMSG;
	return copy_text(out, text);
}

static bool is_digest(const char *text)
{
	return strlen(text) == LOGFILE_DIGEST_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == LOGFILE_DIGEST_SIZE - 1;
}

static int take_record(const cJSON *root, struct build_record *r)
{
	const char *state = text_of(root, "state"), *digest = text_of(root, "sha256");
	int64_t size = number_of(root, "size");
	int rc = take_word(root, "location", &r->location);

	if (!rc)
		rc = take_word(root, "log", &r->log);
	if (!rc)
		rc = take_word(root, "image", &r->image);
	if (!rc)
		rc = take_word(root, "stage", &r->stage);
	r->started = number_of(root, "started");
	r->modified = number_of(root, "modified");
	if (rc)
		return rc;
	if (!state || size < 0 || (uint64_t)size > LOGFILE_MAX || r->started < 0 ||
	    r->modified < 0 || (digest && !is_digest(digest)) || (r->log && strchr(r->log, '?')) ||
	    (!r->location && !r->log))
		return -EBADMSG;
	r->state = image_state_parse(state);
	r->final = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "final"));
	r->settled = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "settled"));
	r->size = (uint64_t)size;
	if (digest)
		memcpy(r->digest, digest, LOGFILE_DIGEST_SIZE);
	return r->settled && !r->final ? -EBADMSG : 0;
}

static int parse_record(const struct buf *text, const struct build_of *of, struct build_record *out)
{
	cJSON *root = NULL;
	int rc = asset_json_parse(buf_str(text), text->len, &root, NULL);

	if (!rc)
		rc = is_of(root, of) ? take_record(root, out) : -ENOENT;
	cJSON_Delete(root);
	if (rc)
		build_record_clear(out);
	return rc;
}

int64_t buildstore_stamp(struct buildstore *s, const struct build_of *of)
{
	char name[FILE_NAME_SIZE];
	struct stat st;

	if (s->dir < 0)
		return 0;
	file_name(of, record_end, name);
	return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : stamp_of(&st);
}

int buildstore_load(struct buildstore *s, const struct build_of *of, struct build_record *out,
		    int64_t *stamp)
{
	_cleanup_buf_ struct buf text = BUF_INIT(BUILDSTORE_RECORD_MAX);
	char name[FILE_NAME_SIZE];
	int rc;

	*out = (struct build_record){0};
	if (s->dir < 0)
		return -ENOENT;
	file_name(of, record_end, name);
	rc = read_file(s->dir, name, &text, stamp);
	if (!rc)
		rc = parse_record(&text, of, out);
	if (!rc || rc == -ENOENT || rc == -ENOMEM)
		return rc;
	log_warn("op=build env=%s version=%s: what was remembered of its build can't be used "
		 "(%s) and is dropped",
		 of->env, of->version, strerror(-rc));
	(void)unlinkat(s->dir, name, 0);
	return -ENOENT;
}

/* ---- writing ---- */

static bool add_number(cJSON *root, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	return cJSON_AddStringToObject(root, name, text);
}

static bool add_text(cJSON *root, const char *name, const char *text)
{
	return !text || !*text || cJSON_AddStringToObject(root, name, text);
}

/* The record as a text to be freed; NULL when there is no memory. */
static char *format_record(const struct build_of *of, const struct build_record *r)
{
	_cleanup_buf_ struct buf scope = BUF_INIT(KEY_MAX);
	cJSON *root = cJSON_CreateObject();
	char *text = NULL;

	if (!add_scope(&scope, of->scope) && add_text(root, "scope", buf_str(&scope)) &&
	    add_text(root, "environment", of->env) && add_text(root, "version", of->version) &&
	    add_number(root, "created", of->created) && add_text(root, "location", r->location) &&
	    add_text(root, "log", r->log) && add_text(root, "image", r->image) &&
	    add_text(root, "stage", r->stage) &&
	    add_text(root, "state", image_state_name(r->state)) &&
	    cJSON_AddBoolToObject(root, "final", r->final) &&
	    cJSON_AddBoolToObject(root, "settled", r->settled) &&
	    add_number(root, "size", (int64_t)r->size) && add_number(root, "started", r->started) &&
	    add_number(root, "modified", r->modified) && add_text(root, "sha256", r->digest))
		text = cJSON_Print(root);
	cJSON_Delete(root);
	return text;
}

/* A file that nobody sees until it is put in its place. */
static int open_temporary(struct buildstore *s, const char *name, char temporary[FILE_NAME_SIZE])
{
	int fd;

	snprintf(temporary, FILE_NAME_SIZE, "%.48s%s", name, temporary_end);
	(void)unlinkat(s->dir, temporary, 0);
	fd = openat(s->dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    PRIVATE);
	return fd < 0 ? -errno : fd;
}

static int put_in_place(struct buildstore *s, const char *temporary, const char *name, int rc)
{
	if (!rc && renameat(s->dir, temporary, s->dir, name) < 0)
		rc = -errno;
	if (!rc && fsync(s->dir) < 0)
		rc = -errno;
	if (rc)
		(void)unlinkat(s->dir, temporary, 0);
	return rc;
}

static int write_record(struct buildstore *s, const char *name, const char *text)
{
	char temporary[FILE_NAME_SIZE];
	_cleanup_close_ int fd = open_temporary(s, name, temporary);
	int rc = fd < 0 ? fd : write_all(fd, text, strlen(text));

	if (fd < 0)
		return rc;
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	return put_in_place(s, temporary, name, rc);
}

/* A record of a build that was started after ours is somebody else's, who knows better. */
static bool is_outdated(struct buildstore *s, const struct build_of *of,
			const struct build_record *r)
{
	struct build_record there;
	int64_t stamp;
	bool later;

	if (buildstore_load(s, of, &there, &stamp))
		return false;
	later = there.started > r->started;
	build_record_clear(&there);
	return later;
}

static void begin_change(struct buildstore *s)
{
	pthread_mutex_lock(&s->lock);
	while (flock(s->dir, LOCK_EX) < 0 && errno == EINTR)
		;
}

static void end_change(struct buildstore *s)
{
	(void)flock(s->dir, LOCK_UN);
	pthread_mutex_unlock(&s->lock);
}

/* ---- making room ---- */

struct old_file {
	char name[FILE_NAME_SIZE];
	int64_t used;
	uint64_t size;
};

struct old_files {
	struct old_file *items;
	size_t n, cap;
	uint64_t size;
};

static int add_old(struct old_files *f, const char *name, const struct stat *st)
{
	struct old_file *items = f->items;

	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 64;
		items = realloc(f->items, f->cap * sizeof(*items));
		if (!items)
			return -ENOMEM;
		f->items = items;
	}
	snprintf(items[f->n].name, FILE_NAME_SIZE, "%.*s", FILE_NAME_SIZE - 1, name);
	items[f->n].used = clock_from_timespec(&st->st_mtim);
	items[f->n].size = (uint64_t)st->st_size;
	f->size += items[f->n++].size;
	return 0;
}

static int oldest_first(const void *a, const void *b)
{
	int64_t x = ((const struct old_file *)a)->used, y = ((const struct old_file *)b)->used;

	return (x > y) - (x < y);
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && n < FILE_NAME_SIZE && strcmp(name + n - m, end) == 0;
}

/* Removes files of a kind, least recently used first, until so many and so much are left. */
static void make_room(struct buildstore *s, const char *end, size_t count, uint64_t size)
{
	struct old_files f = {0};
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	struct stat st;
	size_t left;

	if (!d && fd >= 0)
		close(fd);
	while (d && (entry = readdir(d))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (ends_in(entry->d_name, end) &&
		    fstatat(s->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    add_old(&f, entry->d_name, &st))
			break;
	if (d)
		closedir(d);
	left = f.n;
	if (f.n)
		qsort(f.items, f.n, sizeof(*f.items), oldest_first);
	for (size_t i = 0; i < f.n && (left > count || f.size > size); i++) {
		if (unlinkat(s->dir, f.items[i].name, 0) < 0)
			continue;
		f.size -= f.items[i].size;
		left--;
	}
	free(f.items);
}

int buildstore_save(struct buildstore *s, const struct build_of *of, const struct build_record *r,
		    int64_t *stamp)
{
	_cleanup_free_ char *text = format_record(of, r);
	char name[FILE_NAME_SIZE];
	int rc;

	if (s->dir < 0)
		return 0;
	if (!text)
		return -ENOMEM;
	if (strlen(text) > BUILDSTORE_RECORD_MAX)
		return -EFBIG;
	file_name(of, record_end, name);
	begin_change(s);
	rc = is_outdated(s, of, r) ? -ESTALE : write_record(s, name, text);
	if (!rc) {
		make_room(s, record_end, BUILDSTORE_RECORDS_MAX, UINT64_MAX);
		*stamp = buildstore_stamp(s, of);
	}
	end_change(s);
	return rc;
}

/* ---- logs ---- */

int buildstore_keep(struct buildstore *s, const struct build_of *of, const struct logfile *log,
		    struct build_record *r)
{
	char name[FILE_NAME_SIZE], temporary[FILE_NAME_SIZE], digest[LOGFILE_DIGEST_SIZE];
	int rc, fd;

	if (s->dir < 0 || logfile_size(log) > s->logs_max)
		return 0;
	rc = logfile_digest(log, digest);
	if (rc)
		return rc;
	file_name(of, log_end, name);
	begin_change(s);
	fd = open_temporary(s, name, temporary);
	rc = fd < 0 ? fd : logfile_copy(log, fd);
	if (fd >= 0) {
		close(fd);
		rc = put_in_place(s, temporary, name, rc);
	}
	if (!rc)
		make_room(s, log_end, SIZE_MAX, s->logs_max);
	end_change(s);
	if (!rc)
		memcpy(r->digest, digest, sizeof(digest));
	return rc;
}

static bool is_what_it_was(const struct logfile *log, const struct build_record *r)
{
	char digest[LOGFILE_DIGEST_SIZE];

	return !logfile_digest(log, digest) && strcmp(digest, r->digest) == 0;
}

int buildstore_log(struct buildstore *s, const struct build_of *of, const struct build_record *r,
		   struct logfile **out)
{
	char name[FILE_NAME_SIZE];
	struct stat st;
	int fd, rc;

	*out = NULL;
	if (s->dir < 0 || !r->digest[0])
		return -ENOENT;
	file_name(of, log_end, name);
	fd = openat(s->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != r->size) {
		close(fd);
		rc = -ENOENT;
	} else {
		(void)futimens(fd, NULL); /* it was used */
		rc = logfile_take(fd, r->size, out);
	}
	if (!rc && !is_what_it_was(*out, r)) {
		logfile_unref(*out);
		*out = NULL;
		rc = -ENOENT;
	}
	if (rc == -ENOENT) {
		log_warn("op=build env=%s version=%s: the log that was kept is not what it was, "
			 "and is dropped",
			 of->env, of->version);
		(void)unlinkat(s->dir, name, 0);
	}
	return rc;
}
