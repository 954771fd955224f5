#include "fs/settle.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/desktop.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/publish.h"
#include "fs/register.h"
#include "fs/save.h"
#include "fs/upper.h"
#include "fs/writing.h"

enum { DOUBT_RETRY_S = 5 };

struct waiting {
	struct waiting *next;
	struct scope *scope;
	int64_t due;
	char path[];
};

struct active {
	struct active *next;
	uint64_t id;
};

struct busy {
	struct busy *next;
	uint64_t id; /* of the journal entry that is in doubt; 0: it is under way */
	char path[];
};

struct settle {
	struct fsys *fs;
	int64_t quiet;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on the monotonic clock */
	/* protected by lock */
	bool stopping;
	struct waiting *waiting;
	struct active *active;
	struct busy *busy;
	int64_t doubt_due; /* 0: nothing is in doubt */
};

int settle_new(struct fsys *fs, int64_t quiet, struct settle **out)
{
	struct settle *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	*out = s;
	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->quiet = quiet;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

static void waiting_free(struct waiting *w)
{
	scope_unref(w->scope);
	free(w);
}

void settle_free(struct settle *s)
{
	if (!s)
		return;
	for (struct waiting *w = s->waiting, *next; w; w = next) {
		next = w->next;
		waiting_free(w);
	}
	for (struct active *a = s->active, *next; a; a = next) {
		next = a->next;
		free(a);
	}
	for (struct busy *b = s->busy, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- what waits ---- */

static struct waiting **find(struct settle *s, const char *path)
{
	struct waiting **p = &s->waiting;

	while (*p && strcmp((*p)->path, path) != 0)
		p = &(*p)->next;
	return p;
}

void settle_touch(struct settle *s, struct scope *scope, const char *path)
{
	struct waiting **p;

	if (!s || !scope)
		return;
	pthread_mutex_lock(&s->lock);
	p = find(s, path);
	if (!*p) {
		struct waiting *w = calloc(1, sizeof(*w) + strlen(path) + 1);

		if (w) {
			memcpy(w->path, path, strlen(path) + 1);
			w->scope = scope_ref(scope);
			*p = w;
			pthread_cond_signal(&s->changed);
		}
	}
	if (*p)
		(*p)->due = clock_mono() + s->quiet;
	pthread_mutex_unlock(&s->lock);
}

void settle_forget(struct settle *s, const char *path)
{
	struct waiting **p, *w;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	p = find(s, path);
	w = *p;
	if (w)
		*p = w->next;
	pthread_mutex_unlock(&s->lock);
	if (w)
		waiting_free(w);
}

bool settle_waits(struct settle *s, const char *path)
{
	bool waits;

	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	waits = *find(s, path) != NULL;
	pthread_mutex_unlock(&s->lock);
	return waits;
}

/* ---- publications under way ---- */

static bool is_entry(const struct busy *b, const char *path, uint64_t id)
{
	return b->id == id && (id || strcmp(b->path, path) == 0);
}

static void add_busy(struct settle *s, const char *path, uint64_t id)
{
	struct busy *b = malloc(sizeof(*b) + strlen(path) + 1);

	if (!b)
		return;
	b->id = id;
	memcpy(b->path, path, strlen(path) + 1);
	pthread_mutex_lock(&s->lock);
	b->next = s->busy;
	s->busy = b;
	pthread_mutex_unlock(&s->lock);
}

static void remove_busy(struct settle *s, const char *path, uint64_t id)
{
	struct busy **p = &s->busy, *b;

	pthread_mutex_lock(&s->lock);
	while (*p && !is_entry(*p, path, id))
		p = &(*p)->next;
	b = *p;
	if (b)
		*p = b->next;
	pthread_mutex_unlock(&s->lock);
	free(b);
}

void settle_busy(struct settle *s, const char *path, bool busy)
{
	if (s && busy)
		add_busy(s, path, 0);
	else if (s)
		remove_busy(s, path, 0);
}

void settle_in_doubt(struct settle *s, const char *path, uint64_t id)
{
	if (!s)
		return;
	remove_busy(s, path, id);
	add_busy(s, path, id);
}

void settle_sure(struct settle *s, uint64_t id)
{
	if (s)
		remove_busy(s, "", id);
}

bool settle_is_busy(struct settle *s, const char *path)
{
	bool found = false;

	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	for (const struct busy *b = s->busy; b && !found; b = b->next)
		found = strcmp(b->path, path) == 0;
	pthread_mutex_unlock(&s->lock);
	return found;
}

void settle_active(struct settle *s, uint64_t id, bool active)
{
	struct active *a = NULL;

	if (!s || !id)
		return;
	pthread_mutex_lock(&s->lock);
	if (active) {
		a = calloc(1, sizeof(*a));
		if (a) {
			a->id = id;
			a->next = s->active;
			s->active = a;
		}
		a = NULL;
	} else {
		for (struct active **p = &s->active; *p; p = &(*p)->next) {
			if ((*p)->id != id)
				continue;
			a = *p;
			*p = a->next;
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	free(a);
}

bool settle_is_active(struct settle *s, uint64_t id)
{
	bool found = false;

	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	for (const struct active *a = s->active; a && !found; a = a->next)
		found = a->id == id;
	pthread_mutex_unlock(&s->lock);
	return found;
}

void settle_doubtful(struct settle *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	if (!s->doubt_due)
		s->doubt_due = clock_mono() + DOUBT_RETRY_S * NS_PER_S;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

static void publish(struct settle *s, const struct waiting *w, int64_t deadline)
{
	struct err e = ERR_INIT;
	int rc = save_draft_quiet(s->fs, w->scope, w->path, deadline, &e);

	if (!rc)
		return;
	if (rc == -EINPROGRESS) {
		log_info("op=publish draft=%s: %s", w->path, err_text(&e, rc));
		return;
	}
	log_warn("op=publish draft=%s errno=%d: %s", w->path, -rc, err_text(&e, rc));
	desktop_notify("A draft could not be published", err_text(&e, rc));
}

/* Takes the next that is due out; NULL with *until when there is none yet. */
static struct waiting *take_due(struct settle *s, int64_t now, bool all, int64_t *until)
{
	for (struct waiting **p = &s->waiting, *w; (w = *p); p = &w->next) {
		if (all || w->due <= now) {
			*p = w->next;
			return w;
		}
		if (!*until || w->due < *until)
			*until = w->due;
	}
	return NULL;
}

static void look_up_doubtful(struct settle *s)
{
	struct call c;
	int left;

	call_init(&c, clock_mono() + s->fs->save_timeout, CALL_PREFETCH);
	left = register_resolve(s->fs, &c);
	call_destroy(&c);
	pthread_mutex_lock(&s->lock);
	s->doubt_due = left ? clock_mono() + DOUBT_RETRY_S * NS_PER_S : 0;
	pthread_mutex_unlock(&s->lock);
}

static void settle_one(struct settle *s, struct waiting *w)
{
	/* Half of a file is no file, however quiet it is. */
	if (writing_at(s->fs, w->path, WRITING_OPEN)) {
		settle_touch(s, w->scope, w->path);
	} else {
		publish(s, w, clock_mono() + s->fs->save_timeout);
	}
	waiting_free(w);
}

static void wait_until(struct settle *s, int64_t until)
{
	struct timespec ts = clock_timespec(until);

	if (until)
		pthread_cond_timedwait(&s->changed, &s->lock, &ts);
	else
		pthread_cond_wait(&s->changed, &s->lock);
}

static void *run(void *arg)
{
	struct settle *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		int64_t now = clock_mono(), until = s->doubt_due;
		struct waiting *w = take_due(s, now, false, &until);
		bool doubt = s->doubt_due && s->doubt_due <= now;

		if (!w && !doubt) {
			wait_until(s, until);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		if (w)
			settle_one(s, w);
		else
			look_up_doubtful(s);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int settle_start(struct settle *s)
{
	int rc = pthread_create(&s->thread, NULL, run, s);

	s->started = rc == 0;
	return -rc;
}

void settle_stop(struct settle *s, int64_t within)
{
	int64_t deadline = clock_mono() + within, until = 0;
	struct waiting *w;

	if (!s || !s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->started = false;
	for (;;) {
		pthread_mutex_lock(&s->lock);
		w = take_due(s, 0, true, &until);
		pthread_mutex_unlock(&s->lock);
		if (!w)
			return;
		/* What does not get its turn in time, or is written to right now, stays a draft. */
		if (clock_mono() < deadline && !writing_at(s->fs, w->path, WRITING_HALF))
			publish(s, w, deadline);
		waiting_free(w);
	}
}
