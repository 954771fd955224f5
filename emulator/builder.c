#include "emulator/builder.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/log.h"
#include "emulator/build_log.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"

enum {
	BUILDS_DEFAULT = 1,
	BUILDS_MAX = 64,
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
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* protected by lock */
	bool started;
	bool stopping;
	uint64_t changes; /* of the queue */
	size_t n_slots;
	struct slot slots[BUILDS_MAX];
};

/* A build, while it is run. */
struct job {
	struct builder *builder;
	struct slot *slot;
	struct build build;
	struct build_log log;
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
	return b;
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
static int store_end(struct job *j, enum build_state state, struct err *e)
{
	struct db *db = j->builder->emu->db;
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

/* One that can't be stored is left to the next process, which ends it. */
static void end_job(struct job *j, enum build_state state)
{
	struct err e = ERR_INIT;
	int ret;

	while ((ret = store_end(j, state, &e)) && !is_stopping(j->builder, NULL)) {
		log_error("op=build build=%s error=\"%s\"", j->build.name, err_text(&e, ret));
		pause_for_retry(j->builder);
	}
	log_info("op=build build=%s state=%s", j->build.name, build_state_name(state));
}

static enum build_state run(struct job *j)
{
	build_log_say(&j->log, "Failed: this service has nothing to build images with.");
	return BUILD_FAILED;
}

static void run_build(struct slot *s, const struct build *build)
{
	struct job j = {.builder = s->builder, .slot = s, .build = *build};

	build_log_init(&j.log, s->builder->emu->db, j.build.name, 0);
	end_job(&j, run(&j));
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

/* Ends one build that an earlier process had begun: 1, 0 when there is none, or an error. */
static int end_interrupted(struct builder *b, struct err *e)
{
	struct db *db = b->emu->db;
	struct build_log log;
	struct build build;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e && e->code ? e->code : -EIO;
	ret = build_store_interrupted(conn, &build, e);
	if (ret == 1) {
		build_log_init(&log, db, build.name, 0);
		build_log_say(&log, "Failed: the service was ended while it built this image. "
				    "Start the build again.");
		ret = build_log_store(&log, conn, e);
		build_log_release(&log);
		if (!ret)
			ret = build_store_move(conn, build.id, BUILD_FAILED, e);
	}
	if (ret != 1) {
		db_rollback(db);
		return ret;
	}
	ret = db_commit(db, e);
	return ret ? ret : 1;
}

static int start_slot(struct builder *b, struct slot *s, struct err *e)
{
	int ret;

	*s = (struct slot){.builder = b, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (s->wake_fd < 0)
		return err_set(e, -errno, "eventfd: %s", strerror(errno));
	ret = pthread_create(&s->thread, NULL, worker, s);
	if (ret) {
		close(s->wake_fd);
		return err_set(e, -ret, "no thread to build images: %s", strerror(ret));
	}
	b->n_slots++;
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
	b->started = true;
	for (size_t i = 0; i < n && i < BUILDS_MAX && !ret; i++)
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
		build_log_init(&log, db, build->name, 0);
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

void builder_free(struct builder *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	for (size_t i = 0; i < b->n_slots; i++)
		wake_slot(&b->slots[i]);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	for (size_t i = 0; i < b->n_slots; i++) {
		pthread_join(b->slots[i].thread, NULL);
		close(b->slots[i].wake_fd);
	}
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
