/*
 * Flights by themselves: the work is a job that stays on a stage until the test lets it go, so
 * that every order of events here is made, not hoped for.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/flight.h"
#include "client/clock.h"

enum { PATIENCE_S = 10, ORDER_MAX = 64, MANY = 100, IDS_MAX = 128 };

struct stage {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock */
	bool held;
	unsigned int passes; /* how many may leave although held */
	unsigned int on_stage;
	unsigned int peak;
	unsigned int started;
	unsigned int after;
	unsigned int freed;
	unsigned int cancelled;
	enum call_prio seen; /* the most urgent that a job was told */
	unsigned int promotions;
	int order[ORDER_MAX];
	int refs;             /* references of results that are out */
	int results[IDS_MAX]; /* the result of deed n points to results[n], which is n */
};

struct deed {
	struct stage *stage;
	int id;
	int rc;
};

/* ---- the job ---- */

struct actor {
	struct stage *stage;
	bool cancelled;
};

static void actor_wake(void *arg)
{
	struct actor *a = arg;

	pthread_mutex_lock(&a->stage->lock);
	a->cancelled = true;
	pthread_cond_broadcast(&a->stage->cond);
	pthread_mutex_unlock(&a->stage->lock);
}

static void actor_promoted(void *arg, enum call_prio prio)
{
	struct actor *a = arg;

	pthread_mutex_lock(&a->stage->lock);
	if (prio < a->stage->seen) {
		a->stage->seen = prio;
		a->stage->promotions++;
		pthread_cond_broadcast(&a->stage->cond);
	}
	pthread_mutex_unlock(&a->stage->lock);
}

static void stage_enter(struct stage *s, int id)
{
	if (s->started < ORDER_MAX)
		s->order[s->started] = id;
	s->started++;
	if (++s->on_stage > s->peak)
		s->peak = s->on_stage;
	pthread_cond_broadcast(&s->cond);
}

static int deed_run(void *job, struct call *call, void **result, struct err *e)
{
	struct deed *d = job;
	struct stage *s = d->stage;
	struct actor a = {.stage = s};

	call_set_wake(call, actor_wake, &a);
	call_set_promoted(call, actor_promoted, &a);
	pthread_mutex_lock(&s->lock);
	stage_enter(s, d->id);
	while (s->held && !s->passes && !a.cancelled)
		pthread_cond_wait(&s->cond, &s->lock);
	if (s->held && !a.cancelled)
		s->passes--;
	s->on_stage--;
	s->cancelled += a.cancelled;
	if (!a.cancelled && !d->rc)
		s->refs++;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	call_set_wake(call, NULL, NULL);
	call_set_promoted(call, NULL, NULL);
	if (a.cancelled)
		return err_set(e, -ECANCELED, "cancelled on stage");
	if (d->rc)
		return err_set(e, d->rc, "deed %d failed", d->id);
	*result = &s->results[d->id];
	return 0;
}

static void stage_add(struct stage *s, unsigned int *field)
{
	pthread_mutex_lock(&s->lock);
	(*field)++;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void deed_after(void *job)
{
	struct deed *d = job;

	stage_add(d->stage, &d->stage->after);
}

static void deed_free(void *job)
{
	struct deed *d = job;
	struct stage *s = d->stage;

	free(d);
	stage_add(s, &s->freed);
}

static void count_ref(struct stage *s, int by)
{
	pthread_mutex_lock(&s->lock);
	s->refs += by;
	pthread_mutex_unlock(&s->lock);
}

static void *deed_ref(void *job, void *result)
{
	count_ref(((struct deed *)job)->stage, 1);
	return result;
}

static void deed_unref(void *job, void *result)
{
	(void)result;
	count_ref(((struct deed *)job)->stage, -1);
}

static const struct flight_ops deed_ops = {
	.run = deed_run,
	.after = deed_after,
	.free_job = deed_free,
	.ref = deed_ref,
	.unref = deed_unref,
};

/* ---- the test's side ---- */

struct fixture {
	struct stage stage;
	struct flights *pool;
};

static void open_pool(struct fixture *f, unsigned int max, size_t prefetch_queue)
{
	struct flights_conf conf = {
		.max = max,
		.prefetch_queue = prefetch_queue,
		.deadline = PATIENCE_S * NS_PER_S,
	};

	*f = (struct fixture){.stage.held = true};
	for (int i = 0; i < IDS_MAX; i++)
		f->stage.results[i] = i;
	pthread_mutex_init(&f->stage.lock, NULL);
	pthread_cond_init(&f->stage.cond, NULL);
	f->pool = flights_new(&conf, NULL);
	assert_non_null(f->pool);
}

static void let_go(struct fixture *f)
{
	pthread_mutex_lock(&f->stage.lock);
	f->stage.held = false;
	pthread_cond_broadcast(&f->stage.cond);
	pthread_mutex_unlock(&f->stage.lock);
}

static void close_pool(struct fixture *f)
{
	let_go(f);
	flights_free(f->pool);
	assert_int_equal(f->stage.freed, f->stage.after);
	assert_int_equal(f->stage.refs, 0);
	pthread_cond_destroy(&f->stage.cond);
	pthread_mutex_destroy(&f->stage.lock);
}

static void wait_for(struct fixture *f, const unsigned int *field, unsigned int n)
{
	struct timespec ts = clock_timespec(clock_wall() + PATIENCE_S * NS_PER_S);
	int rc = 0;

	pthread_mutex_lock(&f->stage.lock);
	while (*field != n && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&f->stage.cond, &f->stage.lock, &ts);
	assert_int_equal(*field, n);
	pthread_mutex_unlock(&f->stage.lock);
}

static int start(struct fixture *f, int id, int rc, enum call_prio prio, struct flight **out)
{
	struct deed *d = malloc(sizeof(*d));
	int result;

	assert_non_null(d);
	*d = (struct deed){&f->stage, id, rc};
	result = flight_start(f->pool, &deed_ops, d, "the deed", prio, out, NULL);
	if (result)
		free(d);
	return result;
}

struct waiter {
	struct fixture *f;
	struct flight *flight;
	struct call call;
	pthread_t thread;
	int rc;
	int id; /* the result */
	struct err err;
	unsigned int *left;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	void *result;

	w->rc = flight_wait(w->flight, &w->call, &result, &w->err);
	if (!w->rc) {
		w->id = *(int *)result;
		count_ref(&w->f->stage, -1);
	}
	if (w->left)
		stage_add(&w->f->stage, w->left);
	return NULL;
}

static void waiter_init(struct waiter *w, struct fixture *f, struct flight *flight, int64_t ns)
{
	*w = (struct waiter){.f = f, .flight = flight};
	call_init(&w->call, clock_mono() + ns, CALL_INTERACTIVE);
}

static void waiter_start(struct waiter *w, struct fixture *f, struct flight *flight,
			 unsigned int *left)
{
	waiter_init(w, f, flight, PATIENCE_S * NS_PER_S);
	w->left = left;
	assert_int_equal(pthread_create(&w->thread, NULL, waiter_main, w), 0);
}

static void waiter_join(struct waiter *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	call_destroy(&w->call);
}

static void one_flight_serves_all_who_wait(void **state)
{
	struct waiter w[MANY];
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 7, 0, CALL_INTERACTIVE, &flight), 0);
	waiter_start(&w[0], &f, flight, NULL);
	for (int i = 1; i < MANY; i++) {
		assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
		waiter_start(&w[i], &f, flight, NULL);
	}
	let_go(&f);
	for (int i = 0; i < MANY; i++) {
		waiter_join(&w[i]);
		assert_int_equal(w[i].rc, 0);
		assert_int_equal(w[i].id, 7);
	}
	assert_int_equal(f.stage.started, 1);
	close_pool(&f);
	assert_int_equal(f.stage.after, 1);
}

static void a_failure_is_told_to_all(void **state)
{
	struct waiter w[3];
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 3, -EACCES, CALL_INTERACTIVE, &flight), 0);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	for (int i = 0; i < 3; i++)
		waiter_start(&w[i], &f, flight, NULL);
	let_go(&f);
	for (int i = 0; i < 3; i++) {
		waiter_join(&w[i]);
		assert_int_equal(w[i].rc, -EACCES);
		assert_string_equal(w[i].err.msg, "deed 3 failed");
	}
	close_pool(&f);
}

static void a_cancelled_waiter_leaves_alone(void **state)
{
	struct waiter patient, impatient;
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 1, 0, CALL_INTERACTIVE, &flight), 0);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	waiter_start(&patient, &f, flight, NULL);
	waiter_start(&impatient, &f, flight, NULL);
	call_cancel(&impatient.call);
	waiter_join(&impatient); /* while the flight is held: at once */
	assert_int_equal(impatient.rc, -ECANCELED);
	let_go(&f);
	waiter_join(&patient);
	assert_int_equal(patient.rc, 0);
	assert_int_equal(f.stage.cancelled, 0);
	close_pool(&f);
}

static void a_deadline_says_what_was_waited_for(void **state)
{
	struct waiter w;
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 1, 0, CALL_INTERACTIVE, &flight), 0);
	waiter_init(&w, &f, flight, 100 * NS_PER_MS);
	waiter_main(&w);
	call_destroy(&w.call);
	assert_int_equal(w.rc, -ETIMEDOUT);
	assert_string_equal(w.err.msg, "no answer within 0.1 s, waiting for the deed");
	close_pool(&f);
}

static void nobody_waits_for_a_flight_that_was_left(void **state)
{
	struct waiter w;
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 1, 0, CALL_INTERACTIVE, &flight), 0);
	wait_for(&f, &f.stage.on_stage, 1);
	waiter_init(&w, &f, flight, PATIENCE_S * NS_PER_S);
	call_cancel(&w.call);
	waiter_main(&w);
	assert_int_equal(w.rc, -ECANCELED);
	wait_for(&f, &f.stage.cancelled, 1); /* still held: it was cancelled, not let go */
	call_destroy(&w.call);
	close_pool(&f);
}

static void a_flight_left_in_the_queue_is_not_joined(void **state)
{
	struct flight *running, *queued;
	struct waiter first, w;
	struct fixture f;

	(void)state;
	open_pool(&f, 1, 8);
	assert_int_equal(start(&f, 1, 0, CALL_INTERACTIVE, &running), 0);
	waiter_start(&first, &f, running, NULL);
	wait_for(&f, &f.stage.on_stage, 1);
	assert_int_equal(start(&f, 2, 0, CALL_INTERACTIVE, &queued), 0);
	waiter_init(&w, &f, queued, PATIENCE_S * NS_PER_S);
	call_cancel(&w.call);
	waiter_main(&w);
	assert_int_equal(w.rc, -ECANCELED);
	assert_int_equal(flight_join(queued, CALL_INTERACTIVE), 0);
	let_go(&f);
	waiter_join(&first);
	assert_int_equal(first.rc, 0);
	wait_for(&f, &f.stage.cancelled, 1);
	call_destroy(&w.call);
	close_pool(&f);
}

static void a_prefetch_goes_on_without_waiters(void **state)
{
	struct flight *flight;
	struct fixture f;
	struct waiter w;

	(void)state;
	open_pool(&f, 4, 8);
	assert_int_equal(start(&f, 1, 0, CALL_PREFETCH, &flight), 0);
	wait_for(&f, &f.stage.on_stage, 1);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	waiter_init(&w, &f, flight, PATIENCE_S * NS_PER_S);
	call_cancel(&w.call);
	waiter_main(&w);
	assert_int_equal(w.rc, -ECANCELED);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	let_go(&f);
	call_destroy(&w.call);
	waiter_init(&w, &f, flight, PATIENCE_S * NS_PER_S);
	waiter_main(&w);
	assert_int_equal(w.rc, 0);
	assert_int_equal(f.stage.cancelled, 0);
	call_destroy(&w.call);
	close_pool(&f);
}

/* Four workers: two prefetch, the others are for who waits, who also goes first in the queue. */
static void interactive_goes_before_prefetch(void **state)
{
	enum { PREFETCHES = 6 };
	struct flight *ahead[PREFETCHES], *now, *next;
	struct waiter w[3];
	struct fixture f;

	(void)state;
	open_pool(&f, 4, PREFETCHES);
	for (int i = 0; i < PREFETCHES; i++)
		assert_int_equal(start(&f, i, 0, CALL_PREFETCH, &ahead[i]), 0);
	wait_for(&f, &f.stage.on_stage, 2);
	assert_int_equal(start(&f, 100, 0, CALL_INTERACTIVE, &now), 0);
	waiter_start(&w[0], &f, now, NULL);
	wait_for(&f, &f.stage.on_stage, 3);
	assert_int_equal(f.stage.order[2], 100);

	/* The last of the prefetches is wanted: it gets the last worker. */
	assert_int_equal(flight_join(ahead[5], CALL_INTERACTIVE), 1);
	waiter_start(&w[1], &f, ahead[5], NULL);
	wait_for(&f, &f.stage.on_stage, 4);
	assert_int_equal(f.stage.order[3], 5);

	/* All are taken: the next one for somebody comes before the three that wait since long. */
	assert_int_equal(start(&f, 101, 0, CALL_INTERACTIVE, &next), 0);
	waiter_start(&w[2], &f, next, NULL);
	stage_add(&f.stage, &f.stage.passes);
	wait_for(&f, &f.stage.started, 5);
	assert_int_equal(f.stage.order[4], 101);
	let_go(&f);
	for (int i = 0; i < 3; i++)
		waiter_join(&w[i]);
	wait_for(&f, &f.stage.after, 8);
	assert_in_range(f.stage.peak, 4, 4);
	close_pool(&f);
}

/* Of three workers two are kept for who waits for one answer: a traversal gets the other one. */
static void a_traversal_leaves_workers_to_others(void **state)
{
	struct flight *bulk[3], *now;
	struct waiter w[4];
	struct fixture f;

	(void)state;
	open_pool(&f, 3, 8);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(start(&f, i, 0, CALL_BULK, &bulk[i]), 0);
		waiter_start(&w[i], &f, bulk[i], NULL);
	}
	wait_for(&f, &f.stage.on_stage, 1);
	assert_int_equal(start(&f, 100, 0, CALL_INTERACTIVE, &now), 0);
	waiter_start(&w[3], &f, now, NULL);
	wait_for(&f, &f.stage.on_stage, 2);
	assert_int_equal(f.stage.order[1], 100);
	/* Somebody waits for one of the traversal's: that is no traversal any more. */
	assert_int_equal(flight_join(bulk[2], CALL_INTERACTIVE), 1);
	wait_for(&f, &f.stage.on_stage, 3);
	assert_int_equal(f.stage.order[2], 2);
	let_go(&f);
	for (int i = 0; i < 4; i++)
		waiter_join(&w[i]);
	waiter_init(&w[0], &f, bulk[2], PATIENCE_S * NS_PER_S);
	waiter_main(&w[0]);
	assert_int_equal(w[0].rc, 0);
	call_destroy(&w[0].call);
	close_pool(&f);

	/* With one worker there is nothing to keep. */
	open_pool(&f, 1, 8);
	assert_int_equal(start(&f, 0, 0, CALL_BULK, &bulk[0]), 0);
	waiter_start(&w[0], &f, bulk[0], NULL);
	wait_for(&f, &f.stage.on_stage, 1);
	let_go(&f);
	waiter_join(&w[0]);
	close_pool(&f);
}

/* Who works for a prefetch learns it when somebody waits for it. */
static void a_join_makes_the_work_urgent(void **state)
{
	struct flight *flight;
	struct fixture f;
	struct waiter w;

	(void)state;
	open_pool(&f, 4, 8);
	f.stage.seen = CALL_PREFETCH;
	assert_int_equal(start(&f, 1, 0, CALL_PREFETCH, &flight), 0);
	wait_for(&f, &f.stage.on_stage, 1);
	assert_int_equal(flight_join(flight, CALL_BULK), 1);
	assert_int_equal(flight_join(flight, CALL_INTERACTIVE), 1);
	waiter_start(&w, &f, flight, NULL);
	wait_for(&f, &f.stage.promotions, 1);
	assert_int_equal(f.stage.seen, CALL_INTERACTIVE);
	let_go(&f);
	waiter_join(&w);
	waiter_init(&w, &f, flight, PATIENCE_S * NS_PER_S);
	waiter_main(&w);
	call_destroy(&w.call);
	close_pool(&f);
}

static void prefetches_are_bounded(void **state)
{
	struct flight *flight;
	struct fixture f;

	(void)state;
	open_pool(&f, 3, 2);
	assert_int_equal(start(&f, 0, 0, CALL_PREFETCH, &flight), 0);
	wait_for(&f, &f.stage.on_stage, 1);
	assert_int_equal(start(&f, 1, 0, CALL_PREFETCH, &flight), 0);
	assert_int_equal(start(&f, 2, 0, CALL_PREFETCH, &flight), 0);
	assert_int_equal(start(&f, 3, 0, CALL_PREFETCH, &flight), -EAGAIN);
	let_go(&f);
	wait_for(&f, &f.stage.after, 3);
	assert_int_equal(f.stage.peak, 1);
	close_pool(&f);

	open_pool(&f, 1, 2);
	assert_int_equal(start(&f, 0, 0, CALL_PREFETCH, &flight), -EAGAIN);
	close_pool(&f);
}

static void stop_ends_all_waiting_at_once(void **state)
{
	enum { WAITERS = 50 };
	struct waiter w[WAITERS];
	struct flight *flight;
	unsigned int left = 0;
	struct fixture f;

	(void)state;
	open_pool(&f, 3, 8);
	/* More flights than workers: some are on stage, some in the queue. */
	for (int i = 0; i < WAITERS; i++) {
		assert_int_equal(start(&f, i, 0, CALL_INTERACTIVE, &flight), 0);
		waiter_start(&w[i], &f, flight, &left);
	}
	wait_for(&f, &f.stage.on_stage, 3);
	assert_int_equal(left, 0);
	flights_stop(f.pool);
	for (int i = 0; i < WAITERS; i++) {
		waiter_join(&w[i]);
		assert_int_equal(w[i].rc, -ECANCELED);
	}
	assert_int_equal(start(&f, 0, 0, CALL_INTERACTIVE, &flight), -ECANCELED);
	wait_for(&f, &f.stage.cancelled, WAITERS); /* nothing was let go */
	close_pool(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_flight_serves_all_who_wait),
		cmocka_unit_test(a_failure_is_told_to_all),
		cmocka_unit_test(a_cancelled_waiter_leaves_alone),
		cmocka_unit_test(a_deadline_says_what_was_waited_for),
		cmocka_unit_test(nobody_waits_for_a_flight_that_was_left),
		cmocka_unit_test(a_flight_left_in_the_queue_is_not_joined),
		cmocka_unit_test(a_prefetch_goes_on_without_waiters),
		cmocka_unit_test(interactive_goes_before_prefetch),
		cmocka_unit_test(a_traversal_leaves_workers_to_others),
		cmocka_unit_test(a_join_makes_the_work_urgent),
		cmocka_unit_test(prefetches_are_bounded),
		cmocka_unit_test(stop_ends_all_waiting_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
