#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "client/clock.h"
#include "client/parallel.h"

enum { ITEMS = 50, DEADLINE_S = 20 };

/* What the work is told to do, and what it notes. */
struct work {
	unsigned int together; /* the first so many wait for each other */
	size_t fails;          /* this item fails; ITEMS: none does */
	bool hang;             /* the others wait until they are cancelled */
	size_t sizes[ITEMS];
	pthread_mutex_t lock;
	/* protected by lock */
	pthread_cond_t changed;
	unsigned int done[ITEMS];
	unsigned int begun;
	unsigned int under_way;
	unsigned int most;
	size_t memory;
	size_t most_memory;
};

static void work_init(struct work *w)
{
	*w = (struct work){.fails = ITEMS};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

static void work_destroy(struct work *w)
{
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
}

static size_t memory_of(void *arg, size_t item)
{
	return ((struct work *)arg)->sizes[item];
}

struct hang {
	struct work *work;
	bool woken;
};

static void wake(void *arg)
{
	struct hang *h = arg;

	pthread_mutex_lock(&h->work->lock);
	h->woken = true;
	pthread_cond_broadcast(&h->work->changed);
	pthread_mutex_unlock(&h->work->lock);
}

static int hang(struct work *w, struct call *c, struct err *e)
{
	struct hang h = {.work = w};

	call_set_wake(c, wake, &h);
	pthread_mutex_lock(&w->lock);
	while (!h.woken)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	call_set_wake(c, NULL, NULL);
	return err_set(e, -ECANCELED, "woken");
}

static void begin(struct work *w, size_t item)
{
	pthread_mutex_lock(&w->lock);
	w->begun++;
	w->memory += w->sizes[item];
	if (++w->under_way > w->most)
		w->most = w->under_way;
	if (w->memory > w->most_memory)
		w->most_memory = w->memory;
	pthread_cond_broadcast(&w->changed);
	while (w->begun < w->together)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void end(struct work *w, size_t item)
{
	pthread_mutex_lock(&w->lock);
	w->done[item]++;
	w->under_way--;
	w->memory -= w->sizes[item];
	pthread_mutex_unlock(&w->lock);
}

static int work_on(void *arg, size_t item, struct call *c, struct err *e)
{
	struct work *w = arg;
	int rc = 0;

	begin(w, item);
	if (item == w->fails)
		rc = err_set(e, -ENOENT, "item %zu", item);
	else if (w->hang)
		rc = hang(w, c, e);
	end(w, item);
	return rc;
}

static int run(struct work *w, unsigned int threads, size_t memory, struct call *c, struct err *e)
{
	const struct parallel job = {.n = ITEMS,
				     .threads = threads,
				     .memory = memory,
				     .arg = w,
				     .memory_of = memory_of,
				     .work = work_on};

	return parallel_run(&job, c, e);
}

static void all_are_done_once(void **state)
{
	static const unsigned int threads[] = {0, 1, 2, 6, 1000};
	struct call c;

	(void)state;
	call_init(&c, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++) {
		struct work w;
		struct err e = ERR_INIT;

		work_init(&w);
		assert_int_equal(run(&w, threads[i], SIZE_MAX, &c, &e), 0);
		assert_int_equal(e.code, 0);
		for (size_t k = 0; k < ITEMS; k++)
			assert_int_equal(w.done[k], 1);
		assert_true(w.most <= PARALLEL_THREADS_MAX);
		work_destroy(&w);
	}
	call_destroy(&c);
}

static void as_many_as_allowed(void **state)
{
	struct work w;
	struct call c;

	(void)state;
	work_init(&w);
	w.together = 6;
	call_init(&c, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(run(&w, 6, SIZE_MAX, &c, NULL), 0);
	assert_int_equal(w.most, 6);
	call_destroy(&c);
	work_destroy(&w);
}

static void memory_is_bounded(void **state)
{
	struct work w;
	struct call c;

	(void)state;
	work_init(&w);
	for (size_t i = 0; i < ITEMS; i++)
		w.sizes[i] = i % 7;
	w.together = 2; /* of 0 and 1 bytes: they fit together */
	call_init(&c, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(run(&w, 6, 10, &c, NULL), 0);
	assert_true(w.most_memory <= 10);
	assert_true(w.most >= 2);
	work_destroy(&w);
	/* What is too large for the bound goes by itself. */
	work_init(&w);
	for (size_t i = 0; i < ITEMS; i++)
		w.sizes[i] = 100;
	assert_int_equal(run(&w, 6, 10, &c, NULL), 0);
	assert_int_equal(w.most, 1);
	for (size_t k = 0; k < ITEMS; k++)
		assert_int_equal(w.done[k], 1);
	call_destroy(&c);
	work_destroy(&w);
}

/* The first error is the one that is told; the others are cancelled, the rest is not begun. */
static void the_first_error_ends_it(void **state)
{
	struct work w;
	struct call c;
	struct err e = ERR_INIT;

	(void)state;
	call_init(&c, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	for (size_t i = 0; i < 4; i++) {
		work_init(&w);
		w.together = 4;
		w.hang = true;
		w.fails = i;
		assert_int_equal(run(&w, 4, SIZE_MAX, &c, &e), -ENOENT);
		assert_int_equal(strncmp(e.msg, "item ", 5), 0);
		assert_int_equal(e.code, -ENOENT);
		assert_int_equal(w.begun, 4);
		assert_int_equal(w.under_way, 0);
		work_destroy(&w);
	}
	assert_false(call_cancelled(&c));
	/* One thread, which is the caller's. */
	work_init(&w);
	w.fails = 3;
	assert_int_equal(run(&w, 1, SIZE_MAX, &c, &e), -ENOENT);
	assert_int_equal(w.begun, 4);
	call_destroy(&c);
	work_destroy(&w);
}

struct cancel {
	struct work *work;
	struct call *call;
};

static void *cancel_main(void *arg)
{
	struct cancel *x = arg;

	pthread_mutex_lock(&x->work->lock);
	while (x->work->begun < x->work->together)
		pthread_cond_wait(&x->work->changed, &x->work->lock);
	pthread_mutex_unlock(&x->work->lock);
	call_cancel(x->call);
	return NULL;
}

static void the_caller_cancels(void **state)
{
	struct work w;
	struct call c;
	struct cancel x = {&w, &c};
	struct err e = ERR_INIT;
	pthread_t thread;

	(void)state;
	work_init(&w);
	w.together = 4;
	w.hang = true;
	call_init(&c, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(pthread_create(&thread, NULL, cancel_main, &x), 0);
	assert_int_equal(run(&w, 4, SIZE_MAX, &c, &e), -ECANCELED);
	pthread_join(thread, NULL);
	assert_int_equal(w.begun, 4);
	assert_int_equal(w.under_way, 0);
	assert_int_equal(e.code, -ECANCELED);
	/* It was cancelled before. */
	assert_int_equal(run(&w, 4, SIZE_MAX, &c, &e), -ECANCELED);
	assert_int_equal(w.under_way, 0);
	call_destroy(&c);
	work_destroy(&w);
}

static int check_call(void *arg, size_t item, struct call *c, struct err *e)
{
	const struct call *mine = arg;

	(void)item;
	(void)e;
	return c->deadline == mine->deadline && c->prio == mine->prio && c != mine ? 0 : -EINVAL;
}

static size_t no_memory(void *arg, size_t item)
{
	(void)arg;
	(void)item;
	return 0;
}

static void calls_are_like_the_callers(void **state)
{
	struct call c;
	struct parallel job = {
		.n = 3, .threads = 3, .arg = &c, .memory_of = no_memory, .work = check_call};

	(void)state;
	call_init(&c, 12345, CALL_PREFETCH);
	assert_int_equal(parallel_run(&job, &c, NULL), 0);
	job.n = 0;
	assert_int_equal(parallel_run(&job, &c, NULL), 0);
	call_destroy(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_done_once),  cmocka_unit_test(as_many_as_allowed),
		cmocka_unit_test(memory_is_bounded),  cmocka_unit_test(the_first_error_ends_it),
		cmocka_unit_test(the_caller_cancels), cmocka_unit_test(calls_are_like_the_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
