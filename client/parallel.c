#include "client/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct run {
	const struct parallel *job;
	pthread_mutex_t lock;
	/* protected by lock */
	pthread_cond_t changed; /* a worker ended, memory came back, or stop */
	size_t next;            /* the item to be begun next */
	size_t done;
	size_t memory;
	unsigned int working; /* threads that have not ended */
	bool stop;            /* begin no more */
	struct err first;     /* the error that counts; code 0: none */
};

struct worker {
	struct run *run;
	struct call call;
	pthread_t thread;
};

/* ---- the threads ---- */

static bool has_room(const struct run *r, size_t memory)
{
	return !r->memory || (r->memory < r->job->memory && memory <= r->job->memory - r->memory);
}

/* Waits until an item may be begun; false when there is none left. */
static bool take(struct run *r, size_t *item, size_t *memory)
{
	bool taken = false;

	pthread_mutex_lock(&r->lock);
	while (!r->stop && r->next < r->job->n && !taken) {
		*memory = r->job->memory_of(r->job->arg, r->next);
		taken = has_room(r, *memory);
		if (!taken)
			pthread_cond_wait(&r->changed, &r->lock);
	}
	if (taken) {
		*item = r->next++;
		r->memory += *memory;
	}
	pthread_mutex_unlock(&r->lock);
	return taken;
}

static void give_back(struct run *r, size_t memory, int rc, const struct err *e)
{
	pthread_mutex_lock(&r->lock);
	r->memory -= memory;
	if (rc && !r->first.code) {
		r->first = *e;
		r->first.code = rc;
	}
	if (rc)
		r->stop = true;
	else
		r->done++;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	size_t item, memory;

	while (take(w->run, &item, &memory)) {
		struct err e = ERR_INIT;
		int rc = w->run->job->work(w->run->job->arg, item, &w->call, &e);

		give_back(w->run, memory, rc, &e);
	}
	pthread_mutex_lock(&w->run->lock);
	w->run->working--;
	pthread_cond_broadcast(&w->run->changed);
	pthread_mutex_unlock(&w->run->lock);
	return NULL;
}

/* ---- the caller ---- */

/* Signals are for the program's other threads. */
static unsigned int start(struct run *r, struct worker *workers, unsigned int n, struct call *c)
{
	unsigned int started = 0;
	sigset_t all, old;

	r->working = n;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; started < n; started++) {
		struct worker *w = &workers[started];

		w->run = r;
		call_init(&w->call, c->deadline, call_prio(c));
		if (pthread_create(&w->thread, NULL, worker_main, w)) {
			call_destroy(&w->call);
			break;
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_mutex_lock(&r->lock);
	r->working -= n - started;
	pthread_mutex_unlock(&r->lock);
	return started;
}

/* Called by call_cancel() of the caller's call, under its lock. */
static void run_wake(void *arg)
{
	struct run *r = arg;

	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void finish(struct run *r, struct worker *workers, unsigned int n, struct call *c)
{
	bool stop;

	call_set_wake(c, run_wake, r);
	pthread_mutex_lock(&r->lock);
	while (r->working && !r->stop)
		pthread_cond_wait(&r->changed, &r->lock);
	stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	call_set_wake(c, NULL, NULL);
	for (unsigned int i = 0; i < n && stop; i++)
		call_cancel(&workers[i].call);
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		call_destroy(&workers[i].call);
	}
}

static int run_alone(const struct parallel *p, struct call *c, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < p->n && !rc; i++)
		rc = p->work(p->arg, i, c, e);
	return rc;
}

int parallel_run(const struct parallel *p, struct call *c, struct err *e)
{
	struct worker workers[PARALLEL_THREADS_MAX];
	struct run r = {.job = p};
	unsigned int n = p->threads < PARALLEL_THREADS_MAX ? p->threads : PARALLEL_THREADS_MAX;

	if (n > p->n)
		n = (unsigned int)p->n;
	if (n <= 1)
		return run_alone(p, c, e);
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.changed, NULL);
	n = start(&r, workers, n, c);
	finish(&r, workers, n, c);
	pthread_cond_destroy(&r.changed);
	pthread_mutex_destroy(&r.lock);
	if (!n)
		return run_alone(p, c, e);
	if (r.first.code)
		return err_set(e, r.first.code, "%s", err_text(&r.first, r.first.code));
	return r.done == p->n ? 0 : err_set(e, -ECANCELED, "cancelled");
}
