#include "tests/unit/catalog_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct store *fixture_store;
int64_t fixture_behind_quiet;

static _Atomic int64_t test_time;

static int64_t test_now(void)
{
	return atomic_load(&test_time);
}

void pass(int64_t ns)
{
	atomic_fetch_add(&test_time, ns);
}

/* ---- events ---- */

static void on_change(void *arg, enum catalog_event event, struct scope *scope, const char *env,
		      const void *before, const void *after)
{
	struct events *all = arg;
	struct event *at;

	(void)scope;
	pthread_mutex_lock(&all->lock);
	at = &all->list[all->n++ % EVENTS_MAX];
	at->event = event;
	snprintf(at->env, sizeof(at->env), "%s", env ? env : "");
	at->before = ((const struct env_list *)before)->count;
	at->after = ((const struct env_list *)after)->count;
	pthread_cond_broadcast(&all->cond);
	pthread_mutex_unlock(&all->lock);
}

/* ---- the fixture ---- */

void open_fixture(struct fixture *f)
{
	struct catalog_conf conf = {
		.refresh = REFRESH,
		.negative = NEGATIVE,
		.request_deadline = PATIENCE_S * NS_PER_S,
		.max_in_flight = 8,
		.content_max = 1024,
		.now = test_now,
		.changed = on_change,
		.changed_arg = &f->events,
		.store = fixture_store,
		.behind_quiet = fixture_behind_quiet,
	};
	struct scope fields = {
		.name = "ws",
		.subscription = "sub",
		.resource_group = "group",
		.writable = true,
	};

	*f = (struct fixture){.m = memsource_new()};
	pthread_mutex_init(&f->events.lock, NULL);
	pthread_cond_init(&f->events.cond, NULL);
	memsource_add_env(f->m, "a", false);
	memsource_add_env(f->m, "b", false);
	conf.source = memsource_source(f->m);
	f->c = catalog_new(&conf, NULL);
	assert_non_null(f->c);
	f->scope = scope_new(&fields);
	assert_non_null(f->scope);
}

void close_fixture(struct fixture *f)
{
	memsource_release(f->m);
	catalog_free(f->c);
	scope_unref(f->scope);
	memsource_free(f->m);
	pthread_cond_destroy(&f->events.cond);
	pthread_mutex_destroy(&f->events.lock);
}

struct catalog_stats stats(struct fixture *f)
{
	struct catalog_stats s;

	catalog_get_stats(f->c, &s);
	return s;
}

void wait_events(struct fixture *f, size_t n)
{
	struct timespec ts = clock_timespec(clock_wall() + PATIENCE_S * NS_PER_S);
	struct events *all = &f->events;
	int rc = 0;

	pthread_mutex_lock(&all->lock);
	while (all->n < n && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&all->cond, &all->lock, &ts);
	assert_int_equal(all->n, n);
	pthread_mutex_unlock(&all->lock);
}

/* ---- asking ---- */

void *ask_main(void *arg)
{
	struct question *q = arg;

	if (q->env)
		q->rc = catalog_versions(q->f->c, q->f->scope, q->env, &q->call,
					 (struct version_list **)&q->list, &q->err);
	else
		q->rc = catalog_envs(q->f->c, q->f->scope, &q->call, (struct env_list **)&q->list,
				     &q->err);
	return NULL;
}

void question_init(struct question *q, struct fixture *f, const char *env)
{
	*q = (struct question){.f = f, .env = env};
	call_init(&q->call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
}

void question_end(struct question *q)
{
	if (q->env)
		version_list_unref(q->list);
	else
		env_list_unref(q->list);
	q->list = NULL;
	call_destroy(&q->call);
}

void ask_start(struct question *q, struct fixture *f, const char *env)
{
	question_init(q, f, env);
	assert_int_equal(pthread_create(&q->thread, NULL, ask_main, q), 0);
}

void ask_join(struct question *q)
{
	assert_int_equal(pthread_join(q->thread, NULL), 0);
}

int ask(struct fixture *f, const char *env, char text[ERR_MSG_MAX])
{
	struct question q;
	const char *answer;

	question_init(&q, f, env);
	ask_main(&q);
	answer = q.err.msg;
	if (!q.rc && env)
		answer = ((struct version_list *)q.list)->items[0]->description;
	if (text)
		snprintf(text, ERR_MSG_MAX, "%s", answer);
	question_end(&q);
	return q.rc;
}

void wait_joined(struct fixture *f, uint64_t n)
{
	const struct timespec tick = {.tv_nsec = NS_PER_MS};
	int64_t until = clock_mono() + PATIENCE_S * NS_PER_S;

	while (stats(f).joined < n && clock_mono() < until)
		nanosleep(&tick, NULL);
	assert_int_equal(stats(f).joined, n);
}

int ask_scopes(struct fixture *f, struct scope_list **out)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_scopes(f->c, &call, out, NULL);
	call_destroy(&call);
	return rc;
}

void create(struct fixture *f, const char *name, int expected)
{
	struct scope *made;
	struct call call;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(catalog_create_workspace(f->c, name, &call, &made, NULL), expected);
	if (!expected)
		assert_string_equal(made->name, name);
	scope_unref(made);
	call_destroy(&call);
}
