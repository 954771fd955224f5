/* The store's one writer: takes what is queued in batches, each a transaction. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store_int.h"
#include "cache/store_key.h"
#include "cache/store_rows.h"
#include "client/clock.h"
#include "client/log.h"

enum {
	BATCH = 256,
	BUSY_TRIES = 20,        /* each CACHEDB_WAIT_MS: somebody else writes for long */
	CHECKPOINT_ROWS = 4096, /* written, and then moved out of the log */
};

/* What is written at once. */
struct batch {
	struct store *s;
	struct job *jobs;
	uint64_t rows;
	bool failed;   /* nothing of it is written */
	bool left_out; /* something of it is not written: what was in doubt stays so */
};

/* ---- one job, in a transaction ---- */

static int write_context(struct store *s, sqlite3 *conn, const struct job *j, int64_t now,
			 uint64_t *rows)
{
	_cleanup_buf_ struct buf body = BUF_INIT(RECORD_MAX);
	int rc = record_encode(RECORD_CONTEXT, j->context, &body);

	return rc ? rc : rows_put_fact(s->db, conn, &j->key, body.data, body.len, now, rows);
}

static int drop_scope(struct store *s, sqlite3 *conn, const struct buf *key)
{
	_cleanup_buf_ struct buf k = BUF_INIT(CACHEDB_VALUE_MAX);
	int rc;

	(void)buf_addch(&k, STORE_KEY_VERSIONS);
	rc = buf_add(&k, key->data, key->len);
	if (!rc)
		rc = rows_drop_below(s->db, conn, k.data, k.len);
	if (rc)
		return rc;
	k.data[0] = STORE_KEY_ENVS;
	return rows_drop_list(s->db, conn, &k);
}

/* A row that has the right sum and other bytes would not be found to differ. */
static int write_list(struct store *s, sqlite3 *conn, const struct job *j, int64_t now,
		      uint64_t *rows)
{
	const struct rows_list l = {
		.kind = j->kind,
		.key = &j->key,
		.list = j->list,
		.learnt = j->learnt,
		.changed = j->changed,
	};
	int rc = j->anew ? rows_drop_list(s->db, conn, &j->key) : 0;

	return rc ? rc : rows_put_list(s->db, conn, &l, now, rows);
}

static int write_job(struct store *s, sqlite3 *conn, const struct job *j, uint64_t *rows)
{
	int64_t now = clock_wall();

	switch (j->type) {
	case JOB_LIST:
		return write_list(s, conn, j, now, rows);
	case JOB_TOUCH:
		return rows_touch_list(s->db, conn, &j->key, j->learnt, now, rows);
	case JOB_DROP:
		return rows_drop_list(s->db, conn, &j->key);
	case JOB_DROP_SCOPE:
		return drop_scope(s, conn, &j->key);
	case JOB_CONTEXT:
		return write_context(s, conn, j, now, rows);
	case JOB_FACT:
		return rows_put_fact(s->db, conn, &j->key, j->data.data, j->data.len, now, rows);
	case JOB_USED:
		return rows_use(s->db, conn, &j->key, now);
	default:
		return 0;
	}
}

static int sql(struct store *s, sqlite3 *conn, const char *text)
{
	return cachedb_errno(s->db, sqlite3_exec(conn, text, NULL, NULL, NULL));
}

/* What can't be written for a reason of its own is left out, and the rest is not. */
static int write_guarded(struct batch *b, sqlite3 *conn, const struct job *j)
{
	uint64_t rows = 0;
	int rc = sql(b->s, conn, "SAVEPOINT one"), undone;

	if (rc)
		return rc;
	rc = write_job(b->s, conn, j, &rows);
	if (!rc) {
		b->rows += rows;
		return sql(b->s, conn, "RELEASE one");
	}
	/* SQLite may have ended the whole transaction by itself, when there was no room for it. */
	undone =
		sqlite3_get_autocommit(conn) ? rc : sql(b->s, conn, "ROLLBACK TO one; RELEASE one");
	if (undone || rc == -ENOSPC || rc == -EIO || rc == -EBUSY || cachedb_is_damaged(b->s->db))
		return rc;
	log_debug("op=cache error=%d: something is not kept", rc);
	b->left_out = true;
	return 0;
}

/* ---- one batch ---- */

static int begin(struct store *s, sqlite3 *conn)
{
	int rc = -EBUSY;

	for (int i = 0; rc == -EBUSY && i < BUSY_TRIES; i++) {
		bool stopping;

		rc = sql(s, conn, "BEGIN IMMEDIATE");
		pthread_mutex_lock(&s->lock);
		stopping = s->stopping && clock_mono() >= s->stop_at;
		pthread_mutex_unlock(&s->lock);
		if (stopping)
			break;
	}
	return rc;
}

static int make_room(struct store *s, sqlite3 *conn)
{
	int rc = begin(s, conn);

	if (!rc)
		rc = rows_make_room(s->db, conn);
	if (!rc)
		rc = sql(s, conn, "COMMIT");
	if (rc)
		sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int write_rows_once(struct batch *b)
{
	sqlite3 *conn = cachedb_writer(b->s->db);
	int rc = conn ? begin(b->s, conn) : -EBADMSG;

	b->rows = 0;
	b->left_out = false;
	if (rc)
		return rc;
	for (const struct job *j = b->jobs; !rc && j; j = j->next)
		if (j->type != JOB_CONTENT && j->type != JOB_CLEAR)
			rc = write_guarded(b, conn, j);
	if (!rc)
		rc = sql(b->s, conn, "COMMIT");
	if (rc)
		sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static void give_up(struct store *s, const struct err *e)
{
	log_warn("op=cache error=\"lists are not kept on the disk any more: %s\"", e->msg);
	pthread_mutex_lock(&s->lock);
	s->stats.off = true;
	pthread_mutex_unlock(&s->lock);
}

/* The database is made anew when it is damaged, and gets room when it is full: once each. */
static int write_rows(struct batch *b)
{
	struct store *s = b->s;
	struct err e = ERR_INIT;
	int rc = write_rows_once(b);

	if (rc == -ENOSPC && cachedb_writer(s->db)) {
		rc = make_room(s, cachedb_writer(s->db));
		if (!rc)
			rc = write_rows_once(b);
	}
	if (!cachedb_is_damaged(s->db))
		return rc;
	log_warn("op=cache error=\"the database is damaged: made anew\"");
	pthread_mutex_lock(&s->lock);
	s->stats.damaged++;
	pthread_mutex_unlock(&s->lock);
	if (cachedb_reset(s->db, &e)) {
		give_up(s, &e);
		return -EBADMSG;
	}
	return write_rows_once(b);
}

static bool has_rows(const struct job *j)
{
	while (j && (j->type == JOB_CONTENT || j->type == JOB_CLEAR))
		j = j->next;
	return j != NULL;
}

static void write_content(struct batch *b)
{
	uint64_t kept = 0, lost = 0;

	for (const struct job *j = b->jobs; j; j = j->next) {
		int rc;

		if (j->type != JOB_CONTENT)
			continue;
		rc = objects_put(b->s->objects, j->key.data, j->key.len, j->content, j->size);
		if (rc)
			log_debug("op=cache error=%d: content is not kept", rc);
		kept += rc == 0;
		lost += rc != 0;
	}
	pthread_mutex_lock(&b->s->lock);
	b->s->stats.content += kept;
	b->s->stats.lost += lost;
	pthread_mutex_unlock(&b->s->lock);
}

static void clear_doubts(struct batch *b)
{
	for (const struct job *j = b->jobs; j; j = j->next)
		if (j->type == JOB_CLEAR)
			doubt_clear(b->s, j);
}

static void write_batch(struct batch *b)
{
	bool off = b->s->stats.off; /* only this thread sets it */
	int rc = 0;

	write_content(b);
	if (!off && (has_rows(b->jobs) || cachedb_is_damaged(b->s->db)))
		rc = write_rows(b);
	if (rc)
		log_debug("op=cache error=%d: lists are not kept", rc);
	b->failed = rc || off;
	if (!b->failed && !b->left_out)
		clear_doubts(b);
}

/* ---- the thread ---- */

/* Under the lock. */
static struct job *take_batch(struct store *s)
{
	struct job *jobs = s->first, **end = &jobs;
	size_t n = 0;

	while (*end && n < BATCH) {
		(*end)->taken = true;
		end = &(*end)->next;
		n++;
	}
	s->first = *end;
	if (!s->first)
		s->last = &s->first;
	*end = NULL;
	return jobs;
}

/* Under the lock. */
static void end_batch(struct store *s, const struct batch *b)
{
	for (const struct job *j = b->jobs; j; j = j->next) {
		if (hashmap_get(s->pending, j->key.data, j->key.len) == j)
			hashmap_remove(s->pending, j->key.data, j->key.len);
		s->n_jobs--;
		s->written++;
		s->content_bytes -= j->size;
		s->scope_drops -= j->type == JOB_DROP_SCOPE;
		s->stats.lost += b->failed && j->type != JOB_CONTENT;
	}
	if (b->failed || b->left_out)
		s->lost_at = s->written;
	s->stats.written += b->failed ? 0 : b->rows;
	pthread_cond_broadcast(&s->idle);
}

static void free_jobs(struct job *j)
{
	while (j) {
		struct job *next = j->next;

		job_free(j);
		j = next;
	}
}

/* Under the lock: whether there is something to do, once there is or the end has come. */
static bool wait_for_work(struct store *s)
{
	while (!s->first && !s->stopping && !(cachedb_is_damaged(s->db) && !s->stats.off))
		pthread_cond_wait(&s->work, &s->lock);
	return !s->stopping || (s->first && clock_mono() < s->stop_at);
}

void *store_write_main(void *arg)
{
	struct store *s = arg;
	uint64_t since = 0;

	pthread_mutex_lock(&s->lock);
	while (wait_for_work(s)) {
		struct batch b = {.s = s, .jobs = take_batch(s)};
		bool more = s->first != NULL;

		pthread_mutex_unlock(&s->lock);
		write_batch(&b);
		since += b.rows;
		if (since > CHECKPOINT_ROWS || (since && !more && since > BATCH)) {
			cachedb_checkpoint(s->db);
			since = 0;
		}
		pthread_mutex_lock(&s->lock);
		end_batch(s, &b);
		pthread_mutex_unlock(&s->lock);
		free_jobs(b.jobs);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}
