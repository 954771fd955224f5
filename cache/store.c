#include "cache/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cachedir.h"
#include "cache/catalog_int.h"
#include "cache/store_int.h"
#include "cache/store_key.h"
#include "cache/store_rows.h"
#include "client/clock.h"

enum {
	LISTS_PART = 4,              /* the database gets one part of so many */
	USED_AFTER_S = 24 * 60 * 60, /* how exactly it is known when something was used */
};

/* ---- keys ---- */

int store_list_key(struct buf *out, const struct store_list *l)
{
	static const char letters[] = {
		[RECORD_SCOPE] = STORE_KEY_SCOPES,
		[RECORD_ENV] = STORE_KEY_ENVS,
		[RECORD_VERSION] = STORE_KEY_VERSIONS,
	};

	(void)buf_addch(out, letters[l->kind]);
	(void)buf_add(out, l->key->data, l->key->len);
	return l->env ? buf_addstr(out, l->env) : buf_error(out);
}

/* ---- from start to end ---- */

static int open_dirs(struct store *s, const struct store_conf *conf, struct err *e)
{
	s->dir = cachedir_open(conf->dir, e);
	if (s->dir < 0)
		return s->dir;
	s->objects_dir = cachedir_sub(s->dir, "objects", e);
	if (s->objects_dir < 0)
		return s->objects_dir;
	s->own_dir = cachedir_sub(s->dir, conf->name, e);
	if (s->own_dir < 0)
		return s->own_dir;
	s->doubts_dir = cachedir_sub(s->own_dir, "doubts", e);
	return s->doubts_dir < 0 ? s->doubts_dir : 0;
}

static int open_db(struct store *s, const struct store_conf *conf, struct err *e)
{
	_cleanup_free_ char *real = realpath(conf->dir, NULL);
	_cleanup_free_ char *path = NULL;

	if (!real)
		return err_set(e, -errno, "%s: %s", conf->dir, strerror(errno));
	if (asprintf(&path, "%s/%s", real, conf->name) < 0) {
		path = NULL;
		return err_set(e, -ENOMEM, "no memory for the cache");
	}
	return cachedb_open(s->own_dir, path, conf->max / LISTS_PART, &s->db, e);
}

static int start(struct store *s, struct err *e)
{
	int rc = -pthread_create(&s->writer, NULL, store_write_main, s);

	s->started = rc == 0;
	return rc ? err_set(e, rc, "the cache's thread can't be started") : 0;
}

static void init_locks(struct store *s)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
}

int store_open(const struct store_conf *conf, struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return err_set(e, -ENOMEM, "no memory for the cache");
	*s = (struct store){.dir = -1, .objects_dir = -1, .own_dir = -1, .doubts_dir = -1};
	init_locks(s);
	s->last = &s->first;
	s->pending = hashmap_new();
	rc = s->pending ? open_dirs(s, conf, e) : err_set(e, -ENOMEM, "no memory for the cache");
	if (!rc)
		rc = objects_open(s->objects_dir, conf->max / LISTS_PART * (LISTS_PART - 1),
				  &s->objects, e);
	if (!rc)
		rc = open_db(s, conf, e);
	if (!rc && doubts_read(s))
		rc = err_set(e, -EIO, "the cache's directory can't be read");
	if (!rc)
		rc = start(s, e);
	if (rc) {
		store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void end_writer(struct store *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	s->stop_at = clock_mono() + STORE_CLOSE_S * NS_PER_S;
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->writer, NULL);
}

void store_close(struct store *s)
{
	const int dirs[] = {s ? s->doubts_dir : -1, s ? s->own_dir : -1, s ? s->objects_dir : -1,
			    s ? s->dir : -1};

	if (!s)
		return;
	end_writer(s);
	for (struct job *j = s->first, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	hashmap_free(s->pending);
	doubts_free(s);
	cachedb_close(s->db);
	objects_close(s->objects);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		if (dirs[i] >= 0)
			close(dirs[i]);
	pthread_cond_destroy(&s->idle);
	pthread_cond_destroy(&s->work);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int store_flush(struct store *s, int64_t deadline)
{
	const struct timespec until = clock_timespec(deadline);
	uint64_t target;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	target = s->queued;
	while (s->written < target && !rc)
		rc = pthread_cond_timedwait(&s->idle, &s->lock, &until);
	rc = s->written < target ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void store_get_stats(struct store *s, struct store_stats *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->queued = s->n_jobs;
	out->evicted = objects_evicted(s->objects);
	pthread_mutex_unlock(&s->lock);
}

/* ---- what a get found ---- */

static void count_read(struct store *s, int rc)
{
	pthread_mutex_lock(&s->lock);
	s->stats.read += rc == 0;
	s->stats.damaged += rc == -EBADMSG;
	/* The database itself is made anew by the writer. */
	if (rc == -EBADMSG)
		pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
}

static void note_use(struct store *s, const struct buf *key, int64_t used)
{
	if (used < clock_wall() - USED_AFTER_S * NS_PER_S)
		job_add(s, job_new(JOB_USED, key));
}

static void drop(struct store *s, const struct buf *key)
{
	job_add(s, job_new(JOB_DROP, key));
}

/* ---- lists ---- */

/* Under the lock. Whether all of the scope that the key (with its letter) belongs to is to go. */
static bool is_in_dropped_scope(struct store *s, const struct buf *key)
{
	if (!s->scope_drops || key->data[0] == STORE_KEY_SCOPES)
		return false;
	for (const struct job *j = s->first; j; j = j->next)
		if (j->type == JOB_DROP_SCOPE && key->len > j->key.len &&
		    memcmp(key->data + 1, j->key.data, j->key.len) == 0)
			return true;
	return false;
}

/* What waits to be written: 1 when that is the answer (*list may be NULL: none). */
static int get_queued(struct store *s, const struct buf *key, struct store_found *out)
{
	const struct job *j;
	int found = 0;

	pthread_mutex_lock(&s->lock);
	j = job_pending(s, key);
	if (j && j->type == JOB_LIST) {
		out->list = rows_ref(j->kind, j->list);
		out->learnt = j->learnt;
		found = 1;
	} else if ((j && j->type == JOB_DROP) || is_in_dropped_scope(s, key)) {
		found = 1;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

static int get_stored(struct store *s, const struct store_list *l, const struct buf *key,
		      struct store_found *out)
{
	struct rows_list rows = {.kind = l->kind, .key = key};
	sqlite3 *conn = cachedb_reader(s->db);
	int64_t used = 0;
	int rc;

	if (!conn)
		return -ENOENT;
	rc = rows_get_list(s->db, conn, &rows, &used);
	cachedb_release(s->db);
	count_read(s, rc);
	if (rc == -EBADMSG && !cachedb_is_damaged(s->db))
		drop(s, key);
	if (rc)
		return -ENOENT;
	note_use(s, key, used);
	out->list = rows.list;
	out->learnt = rows.learnt;
	return 0;
}

int store_get_list(struct store *s, const struct store_list *l, struct store_found *out)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	int rc = store_list_key(&key, l) ? -ENOENT : 0;

	*out = (struct store_found){0};
	if (rc)
		return rc;
	if (get_queued(s, &key, out))
		return out->list ? 0 : -ENOENT;
	rc = get_stored(s, l, &key, out);
	if (!rc)
		out->doubtful = doubt_of(s, &key);
	return rc;
}

static struct job *list_job(enum job_type type, const struct store_list *l, struct buf *key)
{
	struct job *j = store_list_key(key, l) ? NULL : job_new(type, key);

	if (j)
		j->kind = l->kind;
	return j;
}

static void put_list(struct store *s, const struct store_list *l, void *list, int64_t learnt,
		     bool changed, struct buf *key)
{
	struct job *j = list_job(JOB_LIST, l, key);

	if (!j)
		return;
	j->list = rows_ref(l->kind, list);
	j->learnt = learnt;
	j->changed = changed;
	job_add(s, j);
}

void store_put_list(struct store *s, const struct store_list *l, void *list, int64_t learnt,
		    bool settled)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);

	put_list(s, l, list, learnt, false, &key);
	if (settled)
		doubt_settle(s, &key);
}

void store_change_list(struct store *s, const struct store_list *l, void *list, int64_t learnt)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);

	put_list(s, l, list, learnt, true, &key);
}

void store_touch_list(struct store *s, const struct store_list *l, int64_t learnt, bool settled)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	struct job *j = list_job(JOB_TOUCH, l, &key);

	if (!j)
		return;
	j->learnt = learnt;
	job_add(s, j);
	if (settled)
		doubt_settle(s, &key);
}

void store_drop_list(struct store *s, const struct store_list *l)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);

	job_add(s, list_job(JOB_DROP, l, &key));
}

void store_drop_scope(struct store *s, const struct buf *key)
{
	job_add(s, job_new(JOB_DROP_SCOPE, key));
}

/* ---- contexts and facts ---- */

static int fact_key(struct buf *out, char letter, const void *key, size_t len)
{
	(void)buf_addch(out, letter);
	return buf_add(out, key, len);
}

/* The bytes of a fact, by its whole key. 0 or -ENOENT. */
static int get_fact(struct store *s, const struct buf *key, struct buf *out)
{
	sqlite3 *conn = cachedb_reader(s->db);
	int64_t used = 0;
	int rc;

	if (!conn)
		return -ENOENT;
	rc = rows_get_fact(s->db, conn, key, out, &used);
	cachedb_release(s->db);
	count_read(s, rc);
	if (!rc)
		note_use(s, key, used);
	return rc ? -ENOENT : 0;
}

int store_get_context(struct store *s, const struct buf *key, struct context **out)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX + 1);
	_cleanup_buf_ struct buf body = BUF_INIT(RECORD_MAX);
	void *record = NULL;
	const struct job *j;

	*out = NULL;
	if (fact_key(&k, STORE_KEY_CONTEXT, key->data, key->len))
		return -ENOENT;
	pthread_mutex_lock(&s->lock);
	j = job_pending(s, &k);
	if (j && j->context)
		*out = context_ref(j->context);
	pthread_mutex_unlock(&s->lock);
	if (*out)
		return 0;
	if (get_fact(s, &k, &body) || record_decode(RECORD_CONTEXT, body.data, body.len, &record))
		return -ENOENT;
	*out = record;
	return 0;
}

void store_put_context(struct store *s, const struct buf *key, struct context *context)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX + 1);
	struct job *j = fact_key(&k, STORE_KEY_CONTEXT, key->data, key->len)
				? NULL
				: job_new(JOB_CONTEXT, &k);

	if (j)
		j->context = context_ref(context);
	job_add(s, j);
}

int store_get_fact(struct store *s, const void *key, size_t len, struct buf *out)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX);
	const struct job *j;
	int rc = fact_key(&k, STORE_KEY_FACT, key, len);
	bool found = false;

	if (rc)
		return -ENOENT;
	pthread_mutex_lock(&s->lock);
	j = job_pending(s, &k);
	if (j) {
		rc = buf_add(out, j->data.data, j->data.len);
		found = true;
	}
	pthread_mutex_unlock(&s->lock);
	return found ? rc : get_fact(s, &k, out);
}

void store_put_fact(struct store *s, const void *key, size_t len, const void *data, size_t size)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX);
	struct job *j = fact_key(&k, STORE_KEY_FACT, key, len) ? NULL : job_new(JOB_FACT, &k);

	if (j && buf_add(&j->data, data, size)) {
		job_free(j);
		return;
	}
	job_add(s, j);
}

struct each {
	store_fact_fn *fn;
	void *arg;
};

static void call_each(void *arg, const void *key, size_t key_len, const void *data, size_t len)
{
	const struct each *each = arg;

	each->fn(each->arg, (const char *)key + 1, key_len - 1, data, len);
}

void store_each_fact(struct store *s, const void *prefix, size_t len, store_fact_fn *fn, void *arg)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX);
	struct each each = {fn, arg};
	sqlite3 *conn = fact_key(&k, STORE_KEY_FACT, prefix, len) ? NULL : cachedb_reader(s->db);

	if (!conn)
		return;
	count_read(s, rows_each_fact(s->db, conn, k.data, k.len, call_each, &each) == -EBADMSG
			      ? -EBADMSG
			      : -ENOENT);
	cachedb_release(s->db);
}

/* ---- content ---- */

int store_get_content(struct store *s, const void *key, size_t len, struct buf *out)
{
	return objects_get(s->objects, key, len, out);
}

void store_put_content(struct store *s, const void *key, size_t len, const void *data, size_t size,
		       void (*release)(void *owner), void *owner)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CATALOG_KEY_MAX);
	struct job *j = buf_add(&k, key, len) ? NULL : job_new(JOB_CONTENT, &k);

	if (!j) {
		release(owner);
		return;
	}
	j->content = data;
	j->size = size;
	j->release = release;
	j->owner = owner;
	job_add(s, j);
}
