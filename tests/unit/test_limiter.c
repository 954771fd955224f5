/* What is left of the service's budget, who may have it, and who is a traversal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/callers.h"
#include "client/budget.h"
#include "client/clock.h"
#include "client/limiter.h"
#include "tests/unit/armfixture.h"

#define MS NS_PER_MS
#define S  NS_PER_S

/* ---- budget: arithmetic ---- */

static void answered(struct budget *b, enum call_prio prio, int64_t left, int64_t now)
{
	budget_sent(b, prio, now);
	budget_answered(b, left, now);
}

static void test_nothing_is_known(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b);
	for (enum call_prio p = CALL_INTERACTIVE; p <= CALL_PREFETCH; p++)
		assert_int_equal(budget_wait(&b, p, 5 * S), 0);
	assert_int_equal(budget_left(&b, 5 * S), -1);
	/* Answers that say nothing change nothing. */
	answered(&b, CALL_BULK, -1, 6 * S);
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 6 * S), 0);
}

static void test_the_reserve(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b);
	answered(&b, CALL_BULK, 200, 0);
	assert_int_equal(budget_reserve(&b), 50);
	answered(&b, CALL_BULK, 51, 10 * MS);
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 10 * MS), 0);
	answered(&b, CALL_BULK, 50, 20 * MS);
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 20 * MS), BUDGET_NEVER);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 20 * MS), 0);
	answered(&b, CALL_INTERACTIVE, 0, 30 * MS);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 30 * MS), 0);
	/* A large bucket keeps no more than is of use. */
	answered(&b, CALL_INTERACTIVE, 12000, 40 * MS);
	assert_int_equal(budget_reserve(&b), BUDGET_RESERVE_MAX);
}

/* Requests under way may be counted in what was told or not: they are taken off. */
static void test_in_flight(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b);
	answered(&b, CALL_BULK, 100, 0);
	for (int i = 0; i < 75; i++) {
		assert_int_equal(budget_wait(&b, CALL_PREFETCH, 0), 0);
		budget_sent(&b, CALL_PREFETCH, 0);
	}
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 0), BUDGET_NEVER);
	budget_answered(&b, -1, 0);
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 0), 0);
}

/* With no refill seen, somebody has to look from time to time, ever more seldom. */
static void test_probes(void **state)
{
	struct budget b;
	int64_t now = 0, first, second;

	(void)state;
	budget_init(&b);
	answered(&b, CALL_BULK, 100, now);
	answered(&b, CALL_BULK, 20, now);
	assert_int_equal(budget_wait(&b, CALL_BULK, now), 0);
	answered(&b, CALL_BULK, 19, now);
	first = budget_wait(&b, CALL_BULK, now);
	assert_true(first > 0 && first < BUDGET_NEVER);
	now += first;
	assert_int_equal(budget_wait(&b, CALL_BULK, now), 0);
	answered(&b, CALL_BULK, 18, now);
	second = budget_wait(&b, CALL_BULK, now);
	assert_true(second > first);
}

static void test_throttled(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b);
	/* Something else throttles: those who can wait do, the others try. */
	answered(&b, CALL_BULK, 100, 0);
	budget_throttled(&b, 2 * S, 0);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 0), 0);
	assert_int_equal(budget_wait(&b, CALL_BULK, 0), 2 * S);
	assert_int_equal(budget_wait(&b, CALL_PREFETCH, 0), BUDGET_NEVER);
	assert_int_equal(budget_wait(&b, CALL_BULK, 2 * S), 0);
	/* The bucket is empty: asking too early would begin a new wait. */
	answered(&b, CALL_BULK, 0, 3 * S);
	budget_throttled(&b, 2 * S, 3 * S);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 4 * S), S);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 5 * S), 0);
	/* Without a word of how long, background requests rest for a moment. */
	budget_throttled(&b, -1, 10 * S);
	assert_int_equal(budget_wait(&b, CALL_INTERACTIVE, 10 * S), 0);
	assert_true(budget_wait(&b, CALL_BULK, 10 * S) > 0);
}

/* A service with a bucket of 200 that fills in a minute, in simulated time. */
struct service {
	double left;
	int64_t at;
	unsigned int throttled;
};

static int64_t service_ask(struct service *s, int64_t now)
{
	s->left += 200.0 * (double)(now - s->at) / (60.0 * S);
	s->left = s->left > 200 ? 200 : s->left;
	s->at = now;
	if (s->left < 1) {
		s->throttled++;
		return 0;
	}
	s->left--;
	return (int64_t)s->left;
}

static void test_a_traversal_leaves_the_reserve(void **state)
{
	struct service s = {.left = 200};
	int64_t now = 0, most_wait = 0;
	unsigned int done = 0;
	struct budget b;

	(void)state;
	budget_init(&b);
	while (now < 600 * S) {
		int64_t wait = budget_wait(&b, CALL_BULK, now);

		assert_true(wait < BUDGET_NEVER);
		most_wait = done && wait > most_wait ? wait : most_wait;
		now += wait;
		if (wait)
			continue;
		answered(&b, CALL_BULK, service_ask(&s, now), now);
		now += 20 * MS;
		done++;
		/* Somebody looks at something now and then, and gets it. */
		if (done % 50 == 0)
			answered(&b, CALL_INTERACTIVE, service_ask(&s, now), now);
		assert_true(s.left > 30);
	}
	assert_int_equal(s.throttled, 0);
	/* It goes as fast as the bucket fills: 150 at once, then 200 a minute. */
	assert_true(done > 1500 && done < 2200);
	assert_true(most_wait < 40 * S);
}

/* ---- callers ---- */

static void test_callers(void **state)
{
	struct callers c = {0};
	unsigned int bulk = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_false(callers_count(&c, 0, i));
		bulk += callers_count(&c, 7, i * MS);
		/* Beside it somebody looks at something every other second. */
		assert_false(callers_count(&c, 8, i * 2 * S));
	}
	assert_int_equal(bulk, 100 - CALLERS_AT_ONCE);
	/* It is over a while after it has ended. */
	assert_false(callers_count(&c, 7, 300 * S));
	/* Many processes with few requests each are no traversal by this measure. */
	for (int i = 100; i < 1000; i++)
		assert_false(callers_count(&c, i, 300 * S));
}

/* ---- limiter: threads ---- */

static struct http_response told(int status, const char *headers, size_t len)
{
	struct http_response r = {.status = status, .retry_after = -1, .head = BUF_INIT(1024)};

	assert_int_equal(buf_add(&r.head, headers, len), 0);
	return r;
}

#define TOLD(status, headers) told(status, headers "\0", sizeof(headers))

static void pass(struct limiter *l, struct http_response r)
{
	struct call c;

	call_init(&c, clock_mono() + 20 * S, CALL_INTERACTIVE);
	assert_int_equal(limiter_enter(l, "GET", &c, NULL), 0);
	limiter_leave(l, "GET", &r);
	call_destroy(&c);
	http_response_clear(&r);
}

static void test_headers(void **state)
{
	struct limiter_stats s;
	struct limiter *l;

	(void)state;
	assert_int_equal(limiter_new(&l), 0);
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-writes: 5"));
	limiter_get_stats(l, &s);
	assert_int_equal(s.reads_left, -1);
	pass(l, TOLD(200, "X-MS-RateLimit-Remaining-Subscription-Reads: 199"));
	limiter_get_stats(l, &s);
	assert_int_equal(s.reads_left, 199);
	/* The least of all that is said counts. */
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: 198\0"
			  "x-ms-ratelimit-remaining-tenant-reads: 7\0"
			  "x-ms-ratelimit-remaining-subscription-global-reads: 3000"));
	limiter_get_stats(l, &s);
	assert_int_equal(s.reads_left, 7);
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-resource: Microsoft.X/Policy30Min;42"));
	limiter_get_stats(l, &s);
	assert_int_equal(s.reads_left, 42);
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: many"));
	limiter_get_stats(l, &s);
	assert_int_equal(s.reads_left, 42);
	limiter_free(l);
}

struct entering {
	struct limiter *limiter;
	struct call call;
	pthread_t thread;
	int rc;
};

static void *enter_main(void *arg)
{
	struct entering *en = arg;

	en->rc = limiter_enter(en->limiter, "GET", &en->call, NULL);
	return NULL;
}

static void enter_start(struct entering *en, struct limiter *l, enum call_prio prio, int64_t ns)
{
	*en = (struct entering){.limiter = l, .rc = 1};
	call_init(&en->call, clock_mono() + ns, prio);
	assert_int_equal(pthread_create(&en->thread, NULL, enter_main, en), 0);
}

static int enter_join(struct entering *en)
{
	pthread_join(en->thread, NULL);
	call_destroy(&en->call);
	return en->rc;
}

static void wait_for_waiting(struct limiter *l, uint64_t n)
{
	struct limiter_stats s;

	do {
		limiter_get_stats(l, &s);
	} while (s.waited < n);
}

/* A limiter of which nothing but the reserve is left, and of which that was just looked at. */
static struct limiter *with_reserve_only(void)
{
	struct limiter *l;
	struct entering en;

	assert_int_equal(limiter_new(&l), 0);
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: 100"));
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: 10"));
	enter_start(&en, l, CALL_BULK, 20 * S);
	assert_int_equal(enter_join(&en), 0);
	return l;
}

static void test_who_waits(void **state)
{
	struct limiter *l = with_reserve_only();
	struct limiter_stats s;
	struct entering en;

	(void)state;
	enter_start(&en, l, CALL_INTERACTIVE, 20 * S);
	assert_int_equal(enter_join(&en), 0);
	enter_start(&en, l, CALL_PREFETCH, 20 * S);
	assert_int_equal(enter_join(&en), -EAGAIN);
	enter_start(&en, l, CALL_BULK, 50 * MS);
	assert_int_equal(enter_join(&en), -EBUSY);
	limiter_get_stats(l, &s);
	assert_int_equal(s.gave_way, 1);
	assert_int_equal(s.waited, 1);
	limiter_free(l);
}

static void test_promoted_while_it_waits(void **state)
{
	struct limiter *l = with_reserve_only();
	struct entering en;

	(void)state;
	enter_start(&en, l, CALL_BULK, 3600 * S);
	wait_for_waiting(l, 1);
	call_promote(&en.call, CALL_INTERACTIVE);
	assert_int_equal(enter_join(&en), 0);
	limiter_free(l);
}

static void test_cancelled_and_stopped(void **state)
{
	struct limiter *l = with_reserve_only();
	struct entering first, second;

	(void)state;
	enter_start(&first, l, CALL_BULK, 3600 * S);
	wait_for_waiting(l, 1);
	enter_start(&second, l, CALL_BULK, 3600 * S);
	wait_for_waiting(l, 2);
	call_cancel(&first.call);
	assert_int_equal(enter_join(&first), -ECANCELED);
	limiter_stop(l);
	assert_int_equal(enter_join(&second), -ECANCELED);
	enter_start(&first, l, CALL_INTERACTIVE, S);
	assert_int_equal(enter_join(&first), -ECANCELED);
	limiter_free(l);
}

/* What has begun as a prefetch is not dropped between two pages of a list. */
static void test_a_begun_prefetch_waits(void **state)
{
	struct limiter *l;
	struct entering en;

	(void)state;
	assert_int_equal(limiter_new(&l), 0);
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: 100"));
	pass(l, TOLD(200, "x-ms-ratelimit-remaining-subscription-reads: 10"));
	en = (struct entering){.limiter = l};
	call_init(&en.call, clock_mono() + 20 * S, CALL_PREFETCH);
	call_begin(&en.call);
	assert_int_equal(limiter_enter(l, "GET", &en.call, NULL), 0);
	call_destroy(&en.call);
	limiter_free(l);
}

static void test_an_empty_bucket(void **state)
{
	struct http_response r = TOLD(429, "x-ms-ratelimit-remaining-subscription-reads: 0");
	struct limiter *l;
	struct entering en;

	(void)state;
	assert_int_equal(limiter_new(&l), 0);
	r.retry_after = 3600 * S;
	pass(l, r);
	/* A wait that does not fit into the time that there is is not begun. */
	enter_start(&en, l, CALL_INTERACTIVE, 20 * S);
	assert_int_equal(enter_join(&en), -EBUSY);
	/* Writes have a bucket of their own. */
	call_init(&en.call, clock_mono() + 20 * S, CALL_INTERACTIVE);
	assert_int_equal(limiter_enter(l, "PUT", &en.call, NULL), 0);
	call_destroy(&en.call);
	limiter_free(l);
}

/* ---- a source ---- */

static int list_envs(struct arm_fixture *f, enum call_prio prio, int64_t ns)
{
	struct env_list *l = NULL;
	struct call c;
	int rc;

	call_init(&c, clock_mono() + ns, prio);
	rc = f->source->ops->list_envs(f->source, f->workspace, &c, &l, &f->err);
	call_destroy(&c);
	env_list_unref(l);
	return rc;
}

static void test_a_source(void **state)
{
	struct arm_fixture *f = *state;
	struct stub_rule many = {.match = "GET " WS,
				 .times = 1,
				 .headers = "x-ms-ratelimit-remaining-subscription-reads: 40\r\n",
				 .body = "{\"value\":[]}"};
	struct stub_rule few = {.match = "GET " WS,
				.headers = "x-ms-ratelimit-remaining-subscription-reads: 1\r\n",
				.body = "{\"value\":[]}"};
	cJSON *about = NULL;

	stub_add(f->stub, &many);
	stub_add(f->stub, &few);
	assert_int_equal(list_envs(f, CALL_PREFETCH, 20 * S), 0);
	assert_int_equal(list_envs(f, CALL_PREFETCH, 20 * S), 0);
	assert_int_equal(list_envs(f, CALL_PREFETCH, 20 * S), -EAGAIN);
	assert_int_equal(list_envs(f, CALL_BULK, 20 * S), 0);
	assert_int_equal(list_envs(f, CALL_BULK, 50 * MS), -EBUSY);
	/* There was no request, so there is no id to look for. */
	assert_ptr_equal(strstr(f->err.msg, "GET: held back"), f->err.msg);
	assert_null(strstr(f->err.msg, "x-ms-client-request-id"));
	assert_int_equal(list_envs(f, CALL_INTERACTIVE, 20 * S), 0);
	assert_int_equal(stub_count(f->stub, ""), 4);
	assert_int_equal(f->source->ops->about(f->source, &about), 0);
	assert_int_equal(cJSON_GetObjectItem(about, "gave_way")->valueint, 1);
	assert_int_equal(cJSON_GetObjectItem(about, "reserve")->valueint, 10);
	cJSON_Delete(about);
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_known),
		cmocka_unit_test(test_the_reserve),
		cmocka_unit_test(test_in_flight),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_a_traversal_leaves_the_reserve),
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_who_waits),
		cmocka_unit_test(test_promoted_while_it_waits),
		cmocka_unit_test(test_cancelled_and_stopped),
		cmocka_unit_test(test_a_begun_prefetch_waits),
		cmocka_unit_test(test_an_empty_bucket),
		WITH_SOURCE(test_a_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
