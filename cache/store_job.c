#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/catalog_int.h"
#include "cache/store_int.h"
#include "cache/store_rows.h"

void job_free(struct job *j)
{
	if (!j)
		return;
	if (j->list)
		rows_unref(j->kind, j->list);
	context_unref(j->context);
	if (j->release)
		j->release(j->owner);
	buf_free(&j->key);
	buf_free(&j->data);
	free(j->doubt);
	free(j);
}

struct job *job_new(enum job_type type, const struct buf *key)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->type = type;
	j->key = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	j->data = (struct buf)BUF_INIT(STORE_FACT_MAX);
	if (!key || !buf_add(&j->key, key->data, key->len))
		return j;
	job_free(j);
	return NULL;
}

struct job *job_pending(struct store *s, const struct buf *key)
{
	return hashmap_get(s->pending, key->data, key->len);
}

static bool has_key(const struct job *j)
{
	return j->type <= JOB_DROP || j->type == JOB_CONTEXT || j->type == JOB_FACT;
}

/*
 * Puts what j is about into a job of the same key that waits, and j becomes what is left over.
 * False when there is none.
 */
static bool job_merge(struct store *s, struct job *j)
{
	struct job *old = job_pending(s, &j->key), swap;

	if (!old || old->taken)
		return false;
	/* A list that is written, or not there, in any case. */
	if (j->type == JOB_TOUCH) {
		if (old->type != JOB_DROP && j->learnt > old->learnt)
			old->learnt = j->learnt;
		return true;
	}
	swap = *old;
	old->anew = old->anew || (old->type == JOB_DROP && j->type == JOB_LIST);
	old->type = j->type;
	old->list = j->list;
	old->kind = j->kind;
	old->learnt = j->learnt;
	old->changed = j->changed;
	old->context = j->context;
	old->data = j->data;
	j->list = swap.list;
	j->kind = swap.kind;
	j->context = swap.context;
	j->data = swap.data;
	return true;
}

/* A list that is being written just now, and is found in the queue until that is done, goes on
 * being found there: its new age comes with the list. */
static void touch_whole(const struct job *old, struct job *j)
{
	if (j->type != JOB_TOUCH || !old || old->type != JOB_LIST)
		return;
	j->type = JOB_LIST;
	j->kind = old->kind;
	j->list = rows_ref(old->kind, old->list);
	j->changed = old->changed;
	if (old->learnt > j->learnt)
		j->learnt = old->learnt;
}

/* Under the lock. It may have been the list that a doubt waits for. */
static void job_lost(struct store *s, const struct job *j)
{
	s->stats.lost++;
	if (j->type != JOB_CONTENT)
		s->lost_at = s->queued + 1;
}

/* Under the lock. False: it is not queued, and j is to be freed. */
static bool job_queue(struct store *s, struct job *j)
{
	struct job *old;

	if (has_key(j) && job_merge(s, j))
		return false;
	if (s->n_jobs >= STORE_JOBS_MAX || s->stopping ||
	    s->content_bytes + j->size > STORE_CONTENT_MAX) {
		job_lost(s, j);
		return false;
	}
	/* What is being written stays in the writer's list. */
	old = has_key(j) ? hashmap_remove(s->pending, j->key.data, j->key.len) : NULL;
	touch_whole(old, j);
	if (has_key(j) && hashmap_put(s->pending, j->key.data, j->key.len, j)) {
		job_lost(s, j);
		return false;
	}
	j->next = NULL;
	*s->last = j;
	s->last = &j->next;
	s->n_jobs++;
	s->queued++;
	s->content_bytes += j->size;
	s->scope_drops += j->type == JOB_DROP_SCOPE;
	pthread_cond_signal(&s->work);
	return true;
}

void job_add(struct store *s, struct job *job_take)
{
	bool queued;

	if (!job_take)
		return;
	pthread_mutex_lock(&s->lock);
	queued = job_queue(s, job_take);
	pthread_mutex_unlock(&s->lock);
	if (!queued)
		job_free(job_take);
}
