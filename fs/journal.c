#include "fs/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "client/buf.h"
#include "client/log.h"
#include "client/sha256.h"
#include "client/utf8.h"
#include "fs/context_walk.h"
#include "fs/wholefile.h"

enum {
	FORMAT = 1,
	BODY_MAX = 128 * 1024,
	DIGEST_SIZE = 32,
	HEADER_SIZE = 128,
	NAME_LENGTH = 16,
	TIME_SIZE = 24,
};

struct journal {
	int dir;
	pthread_mutex_t lock;
	uint64_t next; /* protected by lock */
};

struct ids {
	uint64_t *v;
	size_t n, cap;
};

static void entry_name(uint64_t id, char out[NAME_LENGTH + 1])
{
	snprintf(out, NAME_LENGTH + 1, "%016" PRIx64, id);
}

/* The id that a file name stands for; 0: none. */
static uint64_t name_id(const char *name)
{
	if (strlen(name) != NAME_LENGTH || strspn(name, "0123456789abcdef") != NAME_LENGTH)
		return 0;
	/* So that the next id is one, too. */
	return name[0] > '7' ? 0 : strtoull(name, NULL, 16);
}

/* ---- the format ---- */

/* The first line of a file with that body. */
static int make_header(const char *body, size_t len, char out[HEADER_SIZE])
{
	unsigned char digest[DIGEST_SIZE];
	int n;

	if (!EVP_Digest(body, len, digest, NULL, sha256(), NULL))
		return -EIO;
	n = snprintf(out, HEADER_SIZE, "mlenvfs-journal %d %zu ", FORMAT, len);
	for (int i = 0; i < DIGEST_SIZE; i++)
		n += snprintf(out + n, (size_t)(HEADER_SIZE - n), "%02x", digest[i]);
	snprintf(out + n, (size_t)(HEADER_SIZE - n), "\n");
	return 0;
}

static void json_cleanup(cJSON **json)
{
	cJSON_Delete(*json);
}
#define _cleanup_json_ __attribute__((cleanup(json_cleanup)))

static int format_entry(const struct journal_entry *entry, struct buf *out)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	_cleanup_free_ char *body = NULL;
	char when[TIME_SIZE], header[HEADER_SIZE];
	int rc;

	/* As a text: a JSON number would round it. */
	snprintf(when, sizeof(when), "%" PRId64, entry->when);
	if (!cJSON_AddStringToObject(json, "scope", entry->scope) ||
	    !cJSON_AddStringToObject(json, "env", entry->env) ||
	    !cJSON_AddStringToObject(json, "version", entry->version) ||
	    !cJSON_AddStringToObject(json, "from", entry->from) ||
	    !cJSON_AddStringToObject(json, "digest", entry->digest) ||
	    !cJSON_AddStringToObject(json, "bytes", entry->bytes) ||
	    !cJSON_AddStringToObject(json, "when", when))
		return -ENOMEM;
	body = cJSON_PrintUnformatted(json);
	if (!body)
		return -ENOMEM;
	rc = make_header(body, strlen(body), header);
	if (rc)
		return rc;
	buf_addstr(out, header);
	return buf_addstr(out, body);
}

static const char *text_of(const cJSON *json, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
}

/*
 * The entry in a file; its texts belong to *json. The first line is made again and compared: it
 * can't differ in any way. -EBADMSG: it is no such file. -ENOMEM: what was written as JSON is JSON.
 */
static int parse_entry(const struct buf *text, struct journal_entry *out, cJSON **json)
{
	const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
	char header[HEADER_SIZE];
	const char *body, *when;
	size_t len, first;
	int rc;

	if (!end)
		return -EBADMSG;
	body = end + 1;
	first = (size_t)(body - text->data);
	len = text->len - first;
	rc = make_header(body, len, header);
	if (rc)
		return rc;
	if (strlen(header) != first || memcmp(header, text->data, first) != 0)
		return -EBADMSG;
	*json = cJSON_ParseWithLength(body, len);
	if (!*json)
		return -ENOMEM;
	*out = (struct journal_entry){
		.scope = text_of(*json, "scope"),
		.env = text_of(*json, "env"),
		.version = text_of(*json, "version"),
		.from = text_of(*json, "from"),
		.digest = text_of(*json, "digest"),
		.bytes = text_of(*json, "bytes"),
	};
	when = text_of(*json, "when");
	if (!out->scope || !out->env || !out->version || !out->from || !out->digest ||
	    !out->bytes || !when)
		return -EBADMSG;
	out->when = strtoll(when, NULL, 10);
	return 0;
}

/* ---- the directory ---- */

static void dir_cleanup(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define _cleanup_dir_ __attribute__((cleanup(dir_cleanup)))

/* A stream of our own: the descriptor of the directory has one position for all. */
static DIR *open_names(const struct journal *j)
{
	int fd = openat(j->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

static void remove_with_warning(const struct journal *j, const char *name)
{
	char shown[UTF8_EXCERPT_SIZE];
	int rc = unlinkat(j->dir, name, 0) < 0 ? errno : 0;

	log_warn("op=journal file=\"%s\" error=\"no entry, or a damaged one\" %s%s",
		 utf8_excerpt(shown, name, strlen(name)), rc ? "left there: " : "removed",
		 rc ? strerror(rc) : "");
}

static int add_id(struct ids *ids, uint64_t id)
{
	if (ids->n == JOURNAL_ENTRIES_MAX)
		return -EFBIG;
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 16;
		uint64_t *v = realloc(ids->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		ids->v = v;
		ids->cap = cap;
	}
	ids->v[ids->n++] = id;
	return 0;
}

static int id_order(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

/* The ids of the files that have an entry's name, sorted. Temporary files may be in the making. */
static int list_ids(const struct journal *j, struct ids *ids)
{
	_cleanup_dir_ DIR *dir = open_names(j);
	const struct dirent *d;
	int rc = dir ? 0 : -errno;

	while (!rc) {
		errno = 0;
		d = readdir(dir); /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (!d) {
			rc = -errno;
			break;
		}
		if (name_id(d->d_name))
			rc = add_id(ids, name_id(d->d_name));
		else if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
			 !wholefile_is_temp(d->d_name))
			remove_with_warning(j, d->d_name);
	}
	if (!rc && ids->n)
		qsort(ids->v, ids->n, sizeof(*ids->v), id_order);
	return rc;
}

/* 0; -ENOENT: it has ended; -EBADMSG: damaged, or not ours. */
static int read_entry(const struct journal *j, const char *name, struct buf *text)
{
	_cleanup_close_ int fd =
		openat(j->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -EBADMSG : -errno;
	rc = context_read_file(fd, text);
	return rc == -EFBIG || rc == -EISDIR || rc == -EINVAL ? -EBADMSG : rc;
}

/* ---- for all ---- */

int journal_open(int dirfd, struct journal **out, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));
	_cleanup_dir_ DIR *dir = NULL;
	const struct dirent *d;

	*out = NULL;
	if (!j)
		return err_set(e, -ENOMEM, "the journal: out of memory");
	j->dir = dirfd;
	j->next = 1;
	dir = open_names(j);
	if (!dir) {
		free(j);
		return err_set(e, -errno, "the journal's directory: %s", strerror(errno));
	}
	while ((d = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (wholefile_is_temp(d->d_name))
			unlinkat(j->dir, d->d_name, 0);
		else if (name_id(d->d_name) >= j->next)
			j->next = name_id(d->d_name) + 1;
	}
	pthread_mutex_init(&j->lock, NULL);
	*out = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	pthread_mutex_destroy(&j->lock);
	free(j);
}

int journal_begin(struct journal *j, const struct journal_entry *entry, uint64_t *id, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(BODY_MAX);
	char name[NAME_LENGTH + 1];
	int rc = format_entry(entry, &text);

	pthread_mutex_lock(&j->lock);
	*id = j->next++;
	pthread_mutex_unlock(&j->lock);
	entry_name(*id, name);
	if (!rc)
		rc = wholefile_write(
			j->dir, name,
			&(struct wholefile){
				.data = text.data, .len = text.len, .mode = 0600, .sync = true});
	if (!rc && fsync(j->dir) < 0) {
		rc = -errno;
		unlinkat(j->dir, name, 0);
	}
	return rc ? err_set(e, rc, "the journal can't be written: %s", strerror(-rc)) : 0;
}

int journal_end(struct journal *j, uint64_t id)
{
	char name[NAME_LENGTH + 1];

	entry_name(id, name);
	/* One that comes back when the power fails is looked up once more, to the same end. */
	return unlinkat(j->dir, name, 0) < 0 ? -errno : 0;
}

int journal_each(struct journal *j,
		 void (*fn)(void *arg, uint64_t id, const struct journal_entry *entry), void *arg)
{
	struct ids ids = {0};
	int rc = list_ids(j, &ids);

	for (size_t i = 0; !rc && i < ids.n; i++) {
		_cleanup_buf_ struct buf text = BUF_INIT(BODY_MAX);
		_cleanup_json_ cJSON *json = NULL;
		struct journal_entry entry;
		char name[NAME_LENGTH + 1];

		entry_name(ids.v[i], name);
		rc = read_entry(j, name, &text);
		if (!rc)
			rc = parse_entry(&text, &entry, &json);
		if (!rc)
			fn(arg, ids.v[i], &entry);
		else if (rc == -EBADMSG)
			remove_with_warning(j, name);
		if (rc == -EBADMSG || rc == -ENOENT)
			rc = 0;
	}
	free(ids.v);
	return rc;
}
