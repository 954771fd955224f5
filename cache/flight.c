/*
 * The life of a flight:
 *
 *   queued    in one of three queues; a more urgent join moves it to another one
 *   running   a worker is in ops->run
 *   done      rc, result and err are set and don't change any more
 *
 * cancelled can come on top of the first two. A cancelled flight keeps its place and is run as
 * every other, with its call cancelled: so there is one way through, and ops->run always gets the
 * chance to take the flight out of its owner's books.
 *
 * References: the pool holds one until the flight is done and ops->after returned, each waiter one.
 */
#include "cache/flight.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

/* The first ones are those of enum call_prio. */
enum queue {
	QUEUE_INTERACTIVE = CALL_INTERACTIVE,
	QUEUE_BULK = CALL_BULK,
	QUEUE_PREFETCH = CALL_PREFETCH,
	QUEUE_RUNNING,
	QUEUES
};

struct flight {
	struct flights *pool;
	const struct flight_ops *ops;
	void *job;
	char *what;
	struct call call;
	pthread_cond_t cond; /* done, pool->stopped, or a waiter was cancelled */
	bool prefetch;       /* started for nobody: goes on without waiters */
	/* protected by pool->lock */
	struct flight *prev;
	struct flight *next;
	struct flight *stop_next; /* for flights_stop() */
	enum queue queue;
	enum call_prio prio; /* of the most urgent who joined */
	unsigned int refs;
	unsigned int waiters;
	bool cancelled;
	bool done;
	int rc;
	void *result;
	struct err err;
};

struct queue_list {
	struct flight *first;
	struct flight *last;
	size_t count;
};

struct flights {
	struct flights_conf conf;
	size_t prefetch_max;
	pthread_mutex_t lock;
	pthread_cond_t work;
	/* protected by lock */
	struct queue_list queues[QUEUES];
	size_t behind; /* workers that run what is not interactive */
	size_t idle;
	size_t n_threads;
	bool stopped;
	bool ending;
	pthread_t threads[];
};

/* ---- queues (all under the lock) ---- */

static void queue_push(struct flight *f, enum queue queue)
{
	struct queue_list *q = &f->pool->queues[queue];

	f->queue = queue;
	f->next = NULL;
	f->prev = q->last;
	*(q->last ? &q->last->next : &q->first) = f;
	q->last = f;
	q->count++;
}

static void queue_unlink(struct flight *f)
{
	struct queue_list *q = &f->pool->queues[f->queue];

	*(f->prev ? &f->prev->next : &q->first) = f->next;
	*(f->next ? &f->next->prev : &q->last) = f->prev;
	q->count--;
}

/* Workers that may do what is not interactive. */
static size_t behind_allowed(const struct flights *p)
{
	/* Cancelled ones end at once; a stopped pool has no others. */
	if (p->stopped)
		return p->conf.max;
	return p->prefetch_max ? p->prefetch_max : 1;
}

static size_t runnable(const struct flights *p)
{
	size_t waiting = p->queues[QUEUE_BULK].count + p->queues[QUEUE_PREFETCH].count;
	size_t allowed = behind_allowed(p);
	size_t room = allowed > p->behind ? allowed - p->behind : 0;

	return p->queues[QUEUE_INTERACTIVE].count + (waiting < room ? waiting : room);
}

static struct flight *queue_next(struct flights *p)
{
	if (p->queues[QUEUE_INTERACTIVE].first)
		return p->queues[QUEUE_INTERACTIVE].first;
	if (p->behind >= behind_allowed(p))
		return NULL;
	return p->queues[QUEUE_BULK].first ? p->queues[QUEUE_BULK].first
					   : p->queues[QUEUE_PREFETCH].first;
}

/* ---- a flight ---- */

static void flight_free(struct flight *f)
{
	if (f->result)
		f->ops->unref(f->job, f->result);
	f->ops->free_job(f->job);
	pthread_cond_destroy(&f->cond);
	call_destroy(&f->call);
	free(f->what);
	free(f);
}

static void flight_unref(struct flight *f)
{
	struct flights *p = f->pool;
	bool last;

	pthread_mutex_lock(&p->lock);
	last = --f->refs == 0;
	pthread_mutex_unlock(&p->lock);
	if (last)
		flight_free(f);
}

static int cond_init_mono(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int rc = pthread_condattr_init(&attr);

	if (rc)
		return -rc;
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!rc)
		rc = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return -rc;
}

static struct flight *flight_new(struct flights *p, const struct flight_ops *ops, void *job,
				 const char *what, enum call_prio prio)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->what = strdup(what);
	if (!f->what || cond_init_mono(&f->cond)) {
		free(f->what);
		free(f);
		return NULL;
	}
	call_init(&f->call, INT64_MAX, prio);
	f->pool = p;
	f->ops = ops;
	f->job = job;
	f->prefetch = prio == CALL_PREFETCH;
	f->prio = prio;
	f->refs = 1;
	return f;
}

/* Ends a flight that never was in a queue; its job stays the caller's. */
static void flight_discard(struct flight *f)
{
	pthread_cond_destroy(&f->cond);
	call_destroy(&f->call);
	free(f->what);
	free(f);
}

/* ---- workers ---- */

static void flight_fly(struct flights *p, struct flight *f)
{
	struct err err = ERR_INIT;
	void *result = NULL;
	int rc;

	f->call.deadline = clock_mono() + p->conf.deadline;
	rc = f->ops->run(f->job, &f->call, &result, &err);

	pthread_mutex_lock(&p->lock);
	queue_unlink(f);
	f->done = true;
	f->rc = rc;
	f->result = result;
	f->err = err;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&p->lock);

	if (f->ops->after)
		f->ops->after(f->job);
	flight_unref(f);
}

static void *worker_main(void *arg)
{
	struct flights *p = arg;
	struct flight *f;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		bool behind;

		f = queue_next(p);
		if (!f && p->ending)
			break;
		if (!f) {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle--;
			continue;
		}
		behind = f->queue != QUEUE_INTERACTIVE;
		p->behind += behind;
		queue_unlink(f);
		queue_push(f, QUEUE_RUNNING);
		pthread_mutex_unlock(&p->lock);
		flight_fly(p, f);
		pthread_mutex_lock(&p->lock);
		p->behind -= behind;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the program's own threads: a worker has none of them. */
static int worker_start(struct flights *p)
{
	char name[16];
	sigset_t all, old;
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	rc = pthread_attr_setstacksize(&attr, FLIGHT_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (!rc)
		rc = pthread_create(&p->threads[p->n_threads], &attr, worker_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	snprintf(name, sizeof(name), "flight-%zu", p->n_threads % 100000);
	pthread_setname_np(p->threads[p->n_threads], name);
	p->n_threads++;
	return 0;
}

/* Under the lock: something was queued. Fails only when there is no worker at all. */
static int workers_kick(struct flights *p)
{
	int rc = 0;

	if (runnable(p) > p->idle && p->n_threads < p->conf.max)
		rc = worker_start(p);
	pthread_cond_signal(&p->work);
	return p->n_threads ? 0 : rc;
}

/* ---- the pool ---- */

struct flights *flights_new(const struct flights_conf *conf, struct err *e)
{
	unsigned int max = conf->max ? conf->max : 1;
	struct flights *p = calloc(1, sizeof(*p) + max * sizeof(p->threads[0]));

	if (!p)
		goto err;
	p->conf = *conf;
	p->conf.max = max;
	p->prefetch_max = max > FLIGHT_SPARE ? max - FLIGHT_SPARE : max - 1;
	if (pthread_mutex_init(&p->lock, NULL))
		goto err_pool;
	if (pthread_cond_init(&p->work, NULL))
		goto err_lock;
	return p;
err_lock:
	pthread_mutex_destroy(&p->lock);
err_pool:
	free(p);
err:
	err_set(e, -ENOMEM, "no memory for the workers");
	return NULL;
}

/* Under the lock: marks what is not cancelled yet, and gives it as a list with references. */
static struct flight *mark_all_cancelled(struct flights *p)
{
	struct flight *list = NULL;

	for (int i = 0; i < QUEUES; i++)
		for (struct flight *f = p->queues[i].first; f; f = f->next) {
			pthread_cond_broadcast(&f->cond);
			if (f->cancelled)
				continue;
			f->cancelled = true;
			f->refs++;
			f->stop_next = list;
			list = f;
		}
	return list;
}

void flights_stop(struct flights *p)
{
	struct flight *list;

	pthread_mutex_lock(&p->lock);
	p->stopped = true;
	list = mark_all_cancelled(p);
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	while (list) {
		struct flight *next = list->stop_next;

		call_cancel(&list->call);
		flight_unref(list);
		list = next;
	}
}

void flights_free(struct flights *p)
{
	if (!p)
		return;
	flights_stop(p);
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- starting, joining, waiting ---- */

static int may_start(const struct flights *p, enum call_prio prio)
{
	if (p->stopped)
		return -ECANCELED;
	if (prio == CALL_PREFETCH &&
	    (!p->prefetch_max || p->queues[QUEUE_PREFETCH].count >= p->conf.prefetch_queue))
		return -EAGAIN;
	return 0;
}

/* Under the lock. */
static int flight_queue(struct flights *p, struct flight *f, enum call_prio prio)
{
	int rc = may_start(p, prio);

	if (rc)
		return rc;
	if (prio != CALL_PREFETCH) {
		f->waiters = 1;
		f->refs++;
	}
	queue_push(f, (enum queue)prio);
	if (!workers_kick(p))
		return 0;
	queue_unlink(f);
	return -ENOMEM;
}

int flight_start(struct flights *p, const struct flight_ops *ops, void *job, const char *what,
		 enum call_prio prio, struct flight **out, struct err *e)
{
	struct flight *f = flight_new(p, ops, job, what, prio);
	int rc;

	if (!f)
		return err_set(e, -ENOMEM, "no memory to ask for %s", what);
	/* Before it is queued: the worker may need it at once. */
	*out = f;
	pthread_mutex_lock(&p->lock);
	rc = flight_queue(p, f, prio);
	pthread_mutex_unlock(&p->lock);
	if (!rc)
		return 0;
	*out = NULL;
	flight_discard(f);
	return err_set(e, rc, "can't ask for %s: %s", what, strerror(-rc));
}

int flight_join(struct flight *f, enum call_prio prio)
{
	struct flights *p = f->pool;
	int joined;

	pthread_mutex_lock(&p->lock);
	joined = !f->cancelled && !p->stopped;
	if (joined) {
		f->refs++;
		f->waiters++;
		if (prio < f->prio)
			f->prio = prio;
		if (f->queue != QUEUE_RUNNING && f->queue > (enum queue)f->prio) {
			queue_unlink(f);
			queue_push(f, (enum queue)f->prio);
			/* There are workers: it was queued. */
			(void)workers_kick(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return joined;
}

struct waiter {
	struct flight *flight;
	/* protected by the pool's lock */
	bool cancelled;
};

/* Runs under the call's lock. */
static void waiter_wake(void *arg)
{
	struct waiter *w = arg;
	struct flights *p = w->flight->pool;

	pthread_mutex_lock(&p->lock);
	w->cancelled = true;
	pthread_cond_broadcast(&w->flight->cond);
	pthread_mutex_unlock(&p->lock);
}

/* Under the lock. 0: done. */
static int waiter_wait(struct waiter *w, int64_t deadline)
{
	struct timespec ts = clock_timespec(deadline);
	struct flight *f = w->flight;

	while (!f->done) {
		if (w->cancelled || f->pool->stopped)
			return -ECANCELED;
		if (clock_mono() >= deadline)
			return -ETIMEDOUT;
		pthread_cond_timedwait(&f->cond, &f->pool->lock, &ts);
	}
	return 0;
}

/* Under the lock. True when nobody wants the flight any more: the caller cancels it. */
static bool waiter_leave(struct flight *f)
{
	if (--f->waiters || f->prefetch || f->done || f->cancelled)
		return false;
	f->cancelled = true;
	return true;
}

static int waiter_error(const struct flight *f, int rc, int64_t since, struct err *e)
{
	double seconds = (double)(clock_mono() - since) / (double)NS_PER_S;

	if (rc == -ETIMEDOUT)
		return err_set(e, rc, "no answer within %.1f s, waiting for %s", seconds, f->what);
	return err_set(e, rc, "cancelled after %.1f s, waiting for %s", seconds, f->what);
}

/* done is final, so these need no lock. */
static int waiter_answer(const struct flight *f, void **result, struct err *e)
{
	if (f->rc)
		return err_set(e, f->rc, "%s", err_text(&f->err, f->rc));
	*result = f->ops->ref(f->job, f->result);
	return 0;
}

int flight_wait(struct flight *f, struct call *call, void **result, struct err *e)
{
	struct waiter w = {.flight = f};
	int64_t since = clock_mono();
	enum call_prio prio;
	bool abandoned;
	int rc;

	pthread_mutex_lock(&f->pool->lock);
	prio = f->prio;
	pthread_mutex_unlock(&f->pool->lock);
	call_promote(&f->call, prio);
	call_set_wake(call, waiter_wake, &w);
	pthread_mutex_lock(&f->pool->lock);
	rc = waiter_wait(&w, call->deadline);
	abandoned = waiter_leave(f);
	pthread_mutex_unlock(&f->pool->lock);
	call_set_wake(call, NULL, NULL);

	if (rc)
		rc = waiter_error(f, rc, since, e);
	else
		rc = waiter_answer(f, result, e);
	if (abandoned)
		call_cancel(&f->call);
	flight_unref(f);
	return rc;
}
