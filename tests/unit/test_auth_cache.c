/* client/auth_cache: one request for many, renewed ahead, refused ones dropped; and auth_chain. */
#include "client/auth_cache.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/auth_chain.h"
#include "client/clock.h"
#include "client/log.h"

enum { WAITERS = 16, DEADLINE_S = 30 };

/* How far the test's clock is ahead of the real one. */
static _Atomic int64_t ahead;

static int64_t test_clock(void)
{
	return clock_boot() + ahead;
}

/* A source that gives "token-N", as the test tells it. */
struct script {
	struct auth_source base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* protected by lock */
	unsigned int asked;
	bool held;   /* nobody gets an answer */
	int rc;      /* what it returns */
	double life; /* seconds */
	char last_scope[128];
	bool hang_until_deadline;
};

static int script_get(struct auth_source *s, const char *scope, struct call *call,
		      struct auth_token *out, struct err *e)
{
	struct script *t = (struct script *)s;
	struct timespec until = clock_timespec(clock_wall() + DEADLINE_S * NS_PER_S);
	unsigned int n;
	int rc;

	pthread_mutex_lock(&t->lock);
	n = ++t->asked;
	snprintf(t->last_scope, sizeof(t->last_scope), "%s", scope);
	pthread_cond_broadcast(&t->changed);
	while (t->held && call_check(call) != -ECANCELED)
		if (pthread_cond_timedwait(&t->changed, &t->lock, &until))
			break;
	rc = call_check(call) == -ECANCELED ? -ECANCELED : t->rc;
	if (t->hang_until_deadline)
		rc = -ETIMEDOUT;
	if (!rc) {
		out->value.max = 1000;
		buf_addf(&out->value, "token-%u", n);
		auth_token_set_life(out, test_clock(), t->life, 0);
	}
	pthread_mutex_unlock(&t->lock);
	while (rc == -ETIMEDOUT && !call_check(call))
		sched_yield();
	return rc ? err_set(e, rc, "refused for a reason") : 0;
}

static void script_free(struct auth_source *s)
{
	(void)s;
}

static const struct auth_source_ops script_ops = {.get = script_get, .free = script_free};

struct fixture {
	struct script script;
	struct credential *cred;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct auth_cache_conf conf = {.arm_scope = "https://arm.example/.default",
				       .now = test_clock,
				       .ahead_wait = 200 * NS_PER_MS};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->script = (struct script){.base = {.ops = &script_ops, .name = "script"}, .life = 3600};
	pthread_mutex_init(&f->script.lock, NULL);
	pthread_cond_init(&f->script.changed, NULL);
	conf.source = &f->script.base;
	assert_int_equal(auth_cache_new(&conf, &f->cred, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	credential_free(f->cred);
	free(f);
	return 0;
}

static int get_within(struct fixture *f, const char *scope, int64_t ns, char out[64], struct err *e)
{
	struct buf token = BUF_INIT(1000);
	struct call call;
	int rc;

	call_init(&call, clock_mono() + ns, CALL_INTERACTIVE);
	rc = credential_get_token(f->cred, scope, &call, &token, e);
	call_destroy(&call);
	snprintf(out, 64, "%s", buf_str(&token));
	buf_wipe(&token);
	return rc;
}

static void assert_token(struct fixture *f, const char *scope, const char *expected)
{
	char token[64];

	assert_int_equal(get_within(f, scope, DEADLINE_S * NS_PER_S, token, NULL), 0);
	assert_string_equal(token, expected);
}

static void invalidate(struct fixture *f, const char *token)
{
	credential_invalidate(f->cred, SCOPE_ARM, credential_fingerprint(token, strlen(token)));
}

static void set(struct fixture *f, int rc, double life, bool held)
{
	pthread_mutex_lock(&f->script.lock);
	f->script.rc = rc;
	f->script.life = life;
	f->script.held = held;
	pthread_cond_broadcast(&f->script.changed);
	pthread_mutex_unlock(&f->script.lock);
}

static void await_asked(struct fixture *f, unsigned int n)
{
	struct timespec until = clock_timespec(clock_wall() + DEADLINE_S * NS_PER_S);

	pthread_mutex_lock(&f->script.lock);
	while (f->script.asked < n)
		assert_int_equal(
			pthread_cond_timedwait(&f->script.changed, &f->script.lock, &until), 0);
	pthread_mutex_unlock(&f->script.lock);
}

static void test_kept_for_each_scope(void **state)
{
	struct fixture *f = *state;

	assert_token(f, SCOPE_ARM, "token-1");
	assert_string_equal(f->script.last_scope, "https://arm.example/.default");
	assert_token(f, SCOPE_STORAGE, "token-2");
	assert_string_equal(f->script.last_scope, SCOPE_STORAGE);
	assert_token(f, SCOPE_ARM, "token-1");
	assert_token(f, SCOPE_STORAGE, "token-2");
	assert_int_equal(f->script.asked, 2);
}

struct waiter {
	struct fixture *f;
	pthread_t thread;
	struct call call;
	char token[64];
	int rc;
	struct err e;
};

static void *wait_for_token(void *arg)
{
	struct waiter *w = arg;
	struct buf token = BUF_INIT(1000);

	w->rc = credential_get_token(w->f->cred, SCOPE_ARM, &w->call, &token, &w->e);
	snprintf(w->token, sizeof(w->token), "%s", buf_str(&token));
	buf_wipe(&token);
	return NULL;
}

static void start_waiters(struct fixture *f, struct waiter *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		w[i] = (struct waiter){.f = f};
		call_init(&w[i].call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
		assert_int_equal(pthread_create(&w[i].thread, NULL, wait_for_token, &w[i]), 0);
	}
}

static void end_waiters(struct waiter *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		call_destroy(&w[i].call);
	}
}

/* The first has asked, and gets no answer until let_go(). */
static void hold_first(struct fixture *f, struct waiter *first)
{
	set(f, 0, 3600, true);
	start_waiters(f, first, 1);
	await_asked(f, 1);
}

static void let_go(struct fixture *f, struct waiter *first)
{
	set(f, 0, 3600, false);
	end_waiters(first, 1);
}

static void test_one_request_for_many_waiters(void **state)
{
	struct fixture *f = *state;
	struct waiter w[WAITERS];

	set(f, 0, 3600, true);
	start_waiters(f, w, WAITERS);
	await_asked(f, 1);
	set(f, 0, 3600, false);
	end_waiters(w, WAITERS);
	for (size_t i = 0; i < WAITERS; i++) {
		assert_int_equal(w[i].rc, 0);
		assert_string_equal(w[i].token, "token-1");
	}
	assert_int_equal(f->script.asked, 1);
}

static void test_one_refusal_for_many_waiters(void **state)
{
	struct fixture *f = *state;
	struct waiter w[WAITERS];
	struct err e = ERR_INIT;
	char token[64];

	set(f, -EACCES, 3600, true);
	start_waiters(f, w, WAITERS);
	await_asked(f, 1);
	set(f, -EACCES, 3600, false);
	end_waiters(w, WAITERS);
	for (size_t i = 0; i < WAITERS; i++) {
		assert_int_equal(w[i].rc, -EACCES);
		assert_string_equal(w[i].e.msg, "refused for a reason");
	}
	/* A wrong secret is not sent with every look at a file. */
	assert_int_equal(get_within(f, SCOPE_ARM, NS_PER_S, token, &e), -EACCES);
	assert_string_equal(e.msg, "refused for a reason");
	assert_int_equal(f->script.asked, 1);
}

/* The one who asks gives up: that is no answer for those who have more time. */
static void test_the_next_asks_when_the_first_leaves(void **state)
{
	struct fixture *f = *state;
	struct waiter first[1], rest[2];

	hold_first(f, first);
	start_waiters(f, rest, 2);
	call_cancel(&first[0].call);
	set(f, 0, 3600, true);
	end_waiters(first, 1);
	assert_int_equal(first[0].rc, -ECANCELED);
	await_asked(f, 2);
	set(f, 0, 3600, false);
	end_waiters(rest, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(rest[i].rc, 0);
		assert_string_equal(rest[i].token, "token-2");
	}
	assert_int_equal(f->script.asked, 2);
}

static void test_a_waiter_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct waiter first[1], second[1];

	hold_first(f, first);
	start_waiters(f, second, 1);
	call_cancel(&second[0].call);
	end_waiters(second, 1);
	assert_int_equal(second[0].rc, -ECANCELED);
	let_go(f, first);
	assert_int_equal(first[0].rc, 0);
}

static void test_a_waiter_s_own_deadline(void **state)
{
	struct fixture *f = *state;
	struct waiter first[1];
	struct err e = ERR_INIT;
	char token[64];

	hold_first(f, first);
	assert_int_equal(get_within(f, SCOPE_ARM, 50 * NS_PER_MS, token, &e), -ETIMEDOUT);
	let_go(f, first);
	assert_int_equal(first[0].rc, 0);
}

static void test_stop_ends_waits(void **state)
{
	struct fixture *f = *state;
	struct waiter first[1], second[1];
	char token[64];

	hold_first(f, first);
	start_waiters(f, second, 1);
	credential_stop(f->cred);
	end_waiters(second, 1);
	assert_int_equal(second[0].rc, -ECANCELED);
	let_go(f, first);
	assert_int_equal(get_within(f, SCOPE_ARM, NS_PER_S, token, NULL), -ECANCELED);
}

static void test_run_out(void **state)
{
	struct fixture *f = *state;
	char token[64] = "";

	set(f, 0, 0.05, false);
	assert_token(f, SCOPE_ARM, "token-1");
	set(f, 0, 3600, false);
	/* Until it has run out it may be given; after that it is not. */
	for (int64_t end = clock_mono() + DEADLINE_S * NS_PER_S;
	     strcmp(token, "token-2") != 0 && clock_mono() < end;)
		assert_int_equal(get_within(f, SCOPE_ARM, NS_PER_S, token, NULL), 0);
	assert_token(f, SCOPE_ARM, "token-2");
	assert_int_equal(f->script.asked, 2);
}

/* In its last quarter a token is renewed by one, while the others go on with the old one. */
static void test_renewed_ahead_by_one(void **state)
{
	struct fixture *f = *state;
	struct waiter w[1];
	char token[64];

	set(f, 0, 3600, false);
	assert_token(f, SCOPE_ARM, "token-1");
	ahead += 3500 * NS_PER_S;
	set(f, 0, 3600, true);
	start_waiters(f, w, 1);
	await_asked(f, 2);
	for (int i = 0; i < 10; i++)
		assert_token(f, SCOPE_ARM, "token-1");
	set(f, 0, 3600, false);
	end_waiters(w, 1);
	assert_string_equal(w[0].token, "token-2");
	assert_token(f, SCOPE_ARM, "token-2");
	assert_int_equal(get_within(f, SCOPE_ARM, NS_PER_S, token, NULL), 0);
	assert_int_equal(f->script.asked, 2);
}

static void test_a_failed_renewal_leaves_the_old_one(void **state)
{
	struct fixture *f = *state;

	assert_token(f, SCOPE_ARM, "token-1");
	ahead += 3500 * NS_PER_S;
	set(f, -EHOSTUNREACH, 3600, false);
	for (int i = 0; i < 10; i++)
		assert_token(f, SCOPE_ARM, "token-1");
	/* Not tried again at once. */
	assert_int_equal(f->script.asked, 2);
	ahead += 200 * NS_PER_S;
	set(f, 0, 3600, false);
	assert_token(f, SCOPE_ARM, "token-3");
}

/* Nobody with a good token waits longer than a few seconds for a better one. */
static void test_a_slow_renewal_is_given_up(void **state)
{
	struct fixture *f = *state;
	int64_t start;

	assert_token(f, SCOPE_ARM, "token-1");
	ahead += 3500 * NS_PER_S;
	pthread_mutex_lock(&f->script.lock);
	f->script.hang_until_deadline = true;
	pthread_mutex_unlock(&f->script.lock);
	start = clock_mono();
	assert_token(f, SCOPE_ARM, "token-1");
	assert_true(clock_mono() - start < (DEADLINE_S - 5) * NS_PER_S);
	assert_token(f, SCOPE_ARM, "token-1");
	assert_int_equal(f->script.asked, 2);
}

static void test_a_refused_token_is_replaced(void **state)
{
	struct fixture *f = *state;

	assert_token(f, SCOPE_ARM, "token-1");
	invalidate(f, "token-1");
	assert_token(f, SCOPE_ARM, "token-2");
	/* Somebody was slow, and complains of the first one: that is known. */
	invalidate(f, "token-1");
	assert_token(f, SCOPE_ARM, "token-2");
	/* One that is refused as soon as it comes is replaced once only ... */
	invalidate(f, "token-2");
	assert_token(f, SCOPE_ARM, "token-2");
	assert_int_equal(f->script.asked, 2);
	/* ... until some time has passed. */
	ahead += 60 * NS_PER_S;
	invalidate(f, "token-2");
	assert_token(f, SCOPE_ARM, "token-3");
}

/* ---- the chain ---- */

static struct auth_source *scripted(struct script *t, const char *name, int rc)
{
	*t = (struct script){.base = {.ops = &script_ops, .name = name}, .rc = rc, .life = 3600};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	return &t->base;
}

static int ask_chain(struct auth_source *chain, char out[64], struct err *e)
{
	struct auth_token token = {0};
	struct call call;
	int rc;

	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = auth_source_get(chain, SCOPE_ARM, &call, &token, e);
	call_destroy(&call);
	snprintf(out, 64, "%s", buf_str(&token.value));
	auth_token_clear(&token);
	return rc;
}

static void test_chain_takes_the_first_that_is_set_up(void **state)
{
	struct script a, b, c;
	struct auth_source *chain, *none;
	struct err e = ERR_INIT;
	char token[64];

	(void)state;
	assert_int_equal(auth_chain_new("default", "", &chain, NULL), 0);
	assert_int_equal(auth_missing_new("nothing", "X not set", &none), 0);
	auth_chain_add(chain, none, false);
	auth_chain_add(chain, scripted(&a, "a", AUTH_UNAVAILABLE), false);
	auth_chain_add(chain, scripted(&b, "b", 0), false);
	auth_chain_add(chain, scripted(&c, "c", 0), true);
	assert_null(auth_chain_winner(chain));
	assert_int_equal(ask_chain(chain, token, &e), 0);
	assert_string_equal(auth_chain_winner(chain), "b");
	/* It is remembered: the ones before it are not asked again. */
	assert_int_equal(ask_chain(chain, token, &e), 0);
	assert_string_equal(token, "token-2");
	assert_int_equal(a.asked, 1);
	assert_int_equal(c.asked, 0);
	/* What it says from now on counts ... */
	b.rc = -EACCES;
	assert_int_equal(ask_chain(chain, token, &e), -EACCES);
	assert_non_null(strstr(e.msg, "b: refused for a reason"));
	/* ... unless it is not there any more. */
	b.rc = AUTH_UNAVAILABLE;
	assert_int_equal(ask_chain(chain, token, &e), 0);
	assert_string_equal(auth_chain_winner(chain), "c");
	auth_source_free(chain);
}

static void test_chain_ends_at_a_refusal(void **state)
{
	struct script a, b;
	struct auth_source *chain;
	struct err e = ERR_INIT;
	char token[64];

	(void)state;
	assert_int_equal(auth_chain_new("default", "", &chain, NULL), 0);
	auth_chain_add(chain, scripted(&a, "a", -EACCES), false);
	auth_chain_add(chain, scripted(&b, "b", 0), false);
	assert_int_equal(ask_chain(chain, token, &e), -EACCES);
	assert_string_equal(e.msg, "a: refused for a reason");
	assert_int_equal(b.asked, 0);
	auth_source_free(chain);
}

static void test_chain_names_every_reason(void **state)
{
	struct script a, b;
	struct auth_source *chain;
	struct err e = ERR_INIT;
	char token[64];

	(void)state;
	assert_int_equal(auth_chain_new("default", ". Do this", &chain, NULL), 0);
	auth_chain_add(chain, scripted(&a, "a", AUTH_UNAVAILABLE), false);
	auth_chain_add(chain, scripted(&b, "b", -EACCES), true);
	assert_int_equal(ask_chain(chain, token, &e), -EACCES);
	assert_string_equal(e.msg, "not signed in (a: refused for a reason; b: refused for a "
				   "reason). Do this");
	auth_source_free(chain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept_for_each_scope, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_request_for_many_waiters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_refusal_for_many_waiters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_next_asks_when_the_first_leaves, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_waiter_can_be_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_waiter_s_own_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_ends_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewed_ahead_by_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_failed_renewal_leaves_the_old_one, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_slow_renewal_is_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refused_token_is_replaced, setup, teardown),
		cmocka_unit_test(test_chain_takes_the_first_that_is_set_up),
		cmocka_unit_test(test_chain_ends_at_a_refusal),
		cmocka_unit_test(test_chain_names_every_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
