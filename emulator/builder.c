#include "emulator/builder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/log.h"
#include "emulator/build_dir.h"
#include "emulator/build_job.h"
#include "emulator/build_log.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"

enum {
	BUILDS_DEFAULT = 1,
	RETRY_MS = 1000, /* between tries to write to a store that can't be written to */
};

/* One of the threads, and what it is building. */
struct slot {
	struct builder *builder;
	pthread_t thread;
	int wake_fd; /* readable: look at cancel, and at the builder's stopping */
	/* protected by the builder's lock */
	int64_t build; /* 0: none */
	bool cancel;
};

struct builder {
	struct emu *emu;
	char *store; /* its absolute path: programs run elsewhere */
	int stop_fd; /* readable, for ever, once the builder ends */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool started;
	/* protected by lock */
	bool stopping;
	uint64_t changes; /* of the queue */
	size_t n_slots;
	struct slot slots[EMU_BUILDS_MAX];
};

struct builder *builder_new(struct emu *emu, struct err *e)
{
	struct builder *b = calloc(1, sizeof(*b));
	pthread_condattr_t attr;

	if (!b) {
		err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	b->emu = emu;
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->changed, &attr);
	pthread_condattr_destroy(&attr);
	b->store = realpath(emu->conf.store, NULL);
	b->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (b->store && b->stop_fd >= 0)
		return b;
	err_set(e, -errno, "%s: no builder: %s", emu->conf.store, strerror(errno));
	builder_free(b);
	return NULL;
}

/* Waits until the queue has changed since `seen`, or the builder ends. */
static void wait_for_change(struct builder *b, uint64_t seen)
{
	pthread_mutex_lock(&b->lock);
	while (!b->stopping && b->changes == seen)
		pthread_cond_wait(&b->changed, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

/* A pause that ends early when the builder ends. */
static void pause_for_retry(struct builder *b)
{
	struct timespec until = clock_timespec(clock_mono() + RETRY_MS * NS_PER_MS);

	pthread_mutex_lock(&b->lock);
	while (!b->stopping && !pthread_cond_timedwait(&b->changed, &b->lock, &until))
		;
	pthread_mutex_unlock(&b->lock);
}

static bool is_stopping(struct builder *b, uint64_t *changes)
{
	bool stopping;

	pthread_mutex_lock(&b->lock);
	stopping = b->stopping;
	if (changes)
		*changes = b->changes;
	pthread_mutex_unlock(&b->lock);
	return stopping;
}

static void occupy(struct slot *s, int64_t build)
{
	struct builder *b = s->builder;

	pthread_mutex_lock(&b->lock);
	s->build = build;
	s->cancel = false;
	pthread_mutex_unlock(&b->lock);
}

/* Takes the oldest build of the queue: 1, 0 when there is none, or a negative errno. */
static int take(struct slot *s, struct build *out, struct err *e)
{
	struct db *db = s->builder->emu->db;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e->code ? e->code : -EIO;
	ret = build_store_queued(conn, out, e);
	if (ret == 1)
		ret = build_store_move(conn, out->id, BUILD_PREPARING, e);
	if (ret != 1) {
		db_rollback(db);
		return ret;
	}
	/* Before others can see that it is not queued any more, and look for who has it. */
	occupy(s, out->id);
	ret = db_commit(db, e);
	if (ret)
		occupy(s, 0);
	return ret ? ret : 1;
}

/* The log and the state go into the store together: a build that is over has its whole log. */
static int store_end(struct build_job *j, enum build_state state, struct err *e)
{
	struct db *db = j->emu->db;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e->code ? e->code : -EIO;
	ret = build_log_store(&j->log, conn, e);
	if (!ret)
		ret = build_store_move(conn, j->build.id, state, e);
	if (ret < 0) {
		db_rollback(db);
		return ret;
	}
	ret = db_commit(db, e);
	if (!ret)
		build_log_stored(&j->log);
	return ret;
}

/* One whose end can't be stored is left to the next process, with its log. */
static void end_job(struct slot *s, struct build_job *j, enum build_state state)
{
	struct build_dir dir;
	struct err e = ERR_INIT;
	int ret;

	while ((ret = store_end(j, state, &e)) && !is_stopping(s->builder, NULL)) {
		log_error("op=build build=%s error=\"%s\"", j->build.name, err_text(&e, ret));
		pause_for_retry(s->builder);
	}
	log_info("op=build build=%s state=%s", j->build.name, build_state_name(state));
	if (!ret && !build_dir_paths(j->store, j->build.name, &dir, NULL))
		build_dir_remove(&dir);
}

static enum build_stop slot_stopped(void *ctx)
{
	struct slot *s = ctx;
	uint64_t count;
	enum build_stop stop;

	pthread_mutex_lock(&s->builder->lock);
	stop = s->builder->stopping ? BUILD_STOP_SERVICE
	       : s->cancel          ? BUILD_STOP_CANCELED
				    : BUILD_GO_ON;
	/* It is looked at now, so it need not wake anybody again. */
	if (read(s->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warn("op=build error=\"eventfd: %s\"", strerror(errno));
	pthread_mutex_unlock(&s->builder->lock);
	return stop;
}

static void run_build(struct slot *s, const struct build *build)
{
	struct build_job j = {.emu = s->builder->emu,
			      .store = s->builder->store,
			      .build = *build,
			      .wake_fd = s->wake_fd,
			      .stopped = slot_stopped,
			      .ctx = s};

	build_log_init(&j.log, j.emu->db, j.build.name);
	end_job(s, &j, build_job_run(&j));
	build_log_release(&j.log);
}

static void *worker(void *arg)
{
	struct slot *s = arg;
	struct err e = ERR_INIT;
	struct build build;
	uint64_t seen;

	while (!is_stopping(s->builder, &seen)) {
		int ret = take(s, &build, &e);

		if (ret == 1) {
			run_build(s, &build);
			occupy(s, 0);
		} else if (ret == 0) {
			wait_for_change(s->builder, seen);
		} else {
			log_error("op=build error=\"%s\"", err_text(&e, ret));
			pause_for_retry(s->builder);
		}
	}
	return NULL;
}

/* What it wrote before, from the spool, and why it has failed. */
static int log_interrupted(struct builder *b, sqlite3 *conn, const struct build *build,
			   struct err *e)
{
	struct build_dir dir;
	struct build_log log;
	uint64_t stored = 0;
	int ret = build_store_log_size(conn, build->name, &stored, e);

	if (!ret)
		ret = build_dir_paths(b->store, build->name, &dir, e);
	if (ret)
		return ret;
	build_log_init(&log, b->emu->db, build->name);
	build_log_recover(&log, dir.spool, stored);
	build_log_say(&log, "%s", build_job_service_ended);
	ret = build_log_store(&log, conn, e);
	build_log_release(&log);
	return ret;
}

/* Ends one build that an earlier process had begun: 1, 0 when there is none, or an error. */
static int end_interrupted(struct builder *b, struct err *e)
{
	struct db *db = b->emu->db;
	struct build build;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e && e->code ? e->code : -EIO;
	ret = build_store_interrupted(conn, &build, e);
	if (ret == 1)
		ret = log_interrupted(b, conn, &build, e);
	else if (ret == 0)
		ret = -ENOENT;
	if (!ret)
		ret = build_store_move(conn, build.id, BUILD_FAILED, e);
	if (ret != 1) {
		db_rollback(db);
		return ret == -ENOENT ? 0 : ret;
	}
	ret = db_commit(db, e);
	return ret ? ret : 1;
}

/* With all signals blocked: they are for the threads that expect them. */
static int start_thread(struct slot *s)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&s->thread, NULL, worker, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

static int start_slot(struct builder *b, struct slot *s, struct err *e)
{
	int ret;

	*s = (struct slot){.builder = b, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (s->wake_fd < 0)
		return err_set(e, -errno, "eventfd: %s", strerror(errno));
	ret = start_thread(s);
	if (ret) {
		close(s->wake_fd);
		return err_set(e, -ret, "no thread to build images: %s", strerror(ret));
	}
	pthread_mutex_lock(&b->lock);
	b->n_slots++;
	pthread_mutex_unlock(&b->lock);
	return 0;
}

int builder_start(struct builder *b, struct err *e)
{
	size_t n = b->emu->conf.builds ? b->emu->conf.builds : BUILDS_DEFAULT;
	int ret;

	if (b->started)
		return 0;
	while ((ret = end_interrupted(b, e)) == 1)
		;
	if (ret)
		return ret;
	build_dir_sweep(b->store);
	b->started = true;
	for (size_t i = 0; i < n && i < EMU_BUILDS_MAX && !ret; i++)
		ret = start_slot(b, &b->slots[i], e);
	return ret;
}

void builder_wake(struct builder *b)
{
	pthread_mutex_lock(&b->lock);
	b->changes++;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
}

static void wake_slot(struct slot *s)
{
	static const uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		log_warn("op=build error=\"eventfd: %s\"", strerror(errno));
}

/* Has the thread that builds it end it. */
static void cancel_running(struct builder *b, int64_t id)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < b->n_slots; i++)
		if (b->slots[i].build == id) {
			b->slots[i].cancel = true;
			wake_slot(&b->slots[i]);
		}
	pthread_mutex_unlock(&b->lock);
}

/* 1: it was queued and is canceled now; 0: it is not queued. */
static int cancel_queued(struct builder *b, const struct build *build, struct err *e)
{
	struct db *db = b->emu->db;
	struct build_log log;
	struct build now;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e && e->code ? e->code : -EIO;
	ret = build_store_named(conn, (struct text){build->name, strlen(build->name)}, &now, e);
	if (ret == 1 && now.state == BUILD_QUEUED) {
		build_log_init(&log, db, build->name);
		build_log_say(&log, "Canceled before it was begun.");
		ret = build_log_store(&log, conn, e);
		build_log_release(&log);
		if (!ret)
			ret = build_store_move(conn, build->id, BUILD_CANCELED, e);
	} else if (ret == 1) {
		ret = 0;
	}
	if (ret != 1) {
		db_rollback(db);
		return ret;
	}
	ret = db_commit(db, e);
	return ret ? ret : 1;
}

int builder_cancel(struct builder *b, const struct build *build, struct err *e)
{
	int ret;

	if (build_is_over(build->state))
		return 0;
	ret = cancel_queued(b, build, e);
	if (!ret)
		cancel_running(b, build->id);
	return ret < 0 ? ret : 1;
}

static enum build_stop any_stopped(void *ctx)
{
	return is_stopping(ctx, NULL) ? BUILD_STOP_SERVICE : BUILD_GO_ON;
}

int builder_image_exists(struct builder *b, const char *image, struct err *e)
{
	return build_job_image_exists(b->emu, image, b->stop_fd, any_stopped, b, e);
}

void builder_stop(struct builder *b)
{
	static const uint64_t one = 1;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	for (size_t i = 0; i < b->n_slots; i++)
		wake_slot(&b->slots[i]);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	if (write(b->stop_fd, &one, sizeof(one)) < 0)
		log_warn("op=build error=\"eventfd: %s\"", strerror(errno));
}

void builder_free(struct builder *b)
{
	if (!b)
		return;
	builder_stop(b);
	for (size_t i = 0; i < b->n_slots; i++) {
		pthread_join(b->slots[i].thread, NULL);
		close(b->slots[i].wake_fd);
	}
	if (b->n_slots)
		build_dir_tidy(b->store);
	if (b->stop_fd >= 0)
		close(b->stop_fd);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b->store);
	free(b);
}
