/* What the service is asked about builds; all of it runs on the workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/builds_int.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"

/* The job of a flight. */
struct asking {
	struct build_entry *entry; /* a reference */
	enum build_job job;
	uint64_t block;
	struct running *running; /* in the entry's list until the end */
	bool changed;            /* something that is shown */
};

static void wipe_free(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}
#define _cleanup_wiped_ __attribute__((cleanup(wipe_free)))

static const struct source_ops *ops_of(const struct build_entry *e)
{
	return e->builds->conf.source->ops;
}

bool build_entry_is_open(const struct build_entry *e)
{
	return e->known && !e->r.settled;
}

/* ---- the state of a build ---- */

/* The address without its signature: the same for every answer about the same log. */
static char *plain_address(const char *url)
{
	return strndup(url, strcspn(url, "?"));
}

/* The build has a log, perhaps another one than the one that was shown so far. Locked. */
static int take_log(struct build_entry *e, const char *url)
{
	_cleanup_free_ char *plain = plain_address(url);
	char *copy = strdup(url);

	if (!plain || !copy) {
		wipe_free(&copy);
		return -ENOMEM;
	}
	wipe_free(&e->url);
	e->url = copy;
	if (e->r.log && strcmp(e->r.log, plain) == 0)
		return 0;
	if (e->r.log) {
		logfile_unref(e->log);
		e->log = NULL;
		e->logs++;
		e->r.size = 0;
		e->r.digest[0] = '\0';
	}
	free(e->r.log);
	e->r.log = steal_ptr(&plain);
	return 0;
}

/* Locked. */
static int take_build(struct build_entry *e, const struct image_build *build, bool *changed)
{
	char *stage = strdup(build->stage);

	if (!stage)
		return -ENOMEM;
	*changed |= e->r.state != build->state || e->r.final != build->final || !e->r.stage ||
		    strcmp(e->r.stage, stage) != 0;
	free(e->r.stage);
	e->r.stage = stage;
	e->r.state = build->state;
	if (build->final && !e->r.final) {
		e->r.final = true;
		e->ended = clock_mono();
		e->image_at = 0;
	}
	e->asked = clock_mono();
	return build->log ? take_log(e, build->log) : 0;
}

/* The service forgot the build; what is known of it stays. Locked. */
static void forget_build(struct build_entry *e)
{
	if (!e->r.final)
		e->r.state = IMAGE_UNKNOWN;
	e->r.final = e->r.settled = true;
}

static int ask_state(struct build_entry *e, uint64_t generation, const char *location,
		     struct call *call, bool *changed, struct err *err)
{
	_cleanup_image_build_ struct image_build build = {0};
	struct source *source = e->builds->conf.source;
	int rc = ops_of(e)->get_build(source, e->scope, location, call, &build, err);

	pthread_mutex_lock(&e->lock);
	if (e->generation != generation) {
		rc = rc == -ENOENT ? 0 : rc;
	} else if (!rc) {
		rc = take_build(e, &build, changed);
		e->unanswered = false;
	} else if (rc == -ENOENT) {
		forget_build(e);
		*changed = true;
	} else if (rc != -ECANCELED) {
		e->unanswered = true;
	}
	pthread_mutex_unlock(&e->lock);
	return rc == -ENOMEM ? err_set(err, rc, "no memory for a build's state") : rc;
}

/* ---- the log ---- */

/* What a question about a log begins with. */
struct question {
	uint64_t generation;
	uint64_t logs;
	char *location;
	char *url; /* signed, or of a log that was found; NULL: to be asked for */
	uint64_t offset;
	size_t len;
};

static void question_clear(struct question *q)
{
	free(q->location);
	wipe_free(&q->url);
}
#define _cleanup_question_ __attribute__((cleanup(question_clear)))

static int copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

/* Locked. */
static int question_fill(const struct build_entry *e, struct question *q)
{
	const char *url = e->url ? e->url : e->r.location ? NULL : e->r.log;

	q->generation = e->generation;
	q->logs = e->logs;
	return copy_text(&q->location, e->r.location) || copy_text(&q->url, url) ? -ENOMEM : 0;
}

/* A name for the log that is not too old: the build's operation gives one. */
static int renew_url(struct build_entry *e, struct question *q, struct call *call, bool *changed,
		     struct err *err)
{
	int rc;

	if (!q->location)
		return err_set(err, -EIO, "nobody says where the build's log is");
	rc = ask_state(e, q->generation, q->location, call, changed, err);
	if (rc && rc != -ENOENT)
		return rc;
	wipe_free(&q->url);
	pthread_mutex_lock(&e->lock);
	/* The log outlives the memory of the build, in the workspace's storage. */
	if (e->generation == q->generation)
		rc = copy_text(&q->url, rc ? e->r.log : e->url);
	pthread_mutex_unlock(&e->lock);
	return rc;
}

/* One part of the log. -ENOENT: there is no log yet. */
static int read_part(struct build_entry *e, struct question *q, struct call *call, struct buf *out,
		     uint64_t *size, bool *changed, struct err *err)
{
	struct source *source = e->builds->conf.source;
	int rc = q->url ? 0 : renew_url(e, q, call, changed, err);

	if (rc)
		return rc;
	if (!q->url)
		return -ENOENT;
	rc = ops_of(e)->read_log(source, e->scope, q->url, q->offset, q->len, call, out, size, err);
	if (rc != -EACCES || !q->location)
		return rc;
	/* Signatures run out. */
	err_clear(err);
	buf_reset(out);
	rc = renew_url(e, q, call, changed, err);
	if (rc)
		return rc;
	if (!q->url)
		return -ENOENT;
	return ops_of(e)->read_log(source, e->scope, q->url, q->offset, q->len, call, out, size,
				   err);
}

/* What came of the end of the log. Locked. */
static int take_end(struct build_entry *e, const struct question *q, const struct buf *part,
		    uint64_t size, bool *changed)
{
	uint64_t before = e->r.size;
	int rc;

	/* A log that is kept does not change. One that goes on is fetched, and kept, anew. */
	if (e->r.digest[0] && size > before) {
		e->r.digest[0] = '\0';
		logfile_unref(e->log);
		e->log = NULL;
	}
	rc = build_entry_need_log(e);
	if (!rc)
		rc = logfile_put(e->log, q->offset, buf_str(part), part->len);
	if (!rc)
		rc = logfile_grow(e->log, size);
	if (rc)
		return rc;
	e->r.size = logfile_size(e->log);
	if (e->r.size != before) {
		e->r.modified = clock_wall();
		*changed = true;
	} else if (e->r.final && clock_mono() - e->ended >= builds_paces(e->builds, PACES_SETTLE)) {
		e->r.settled = true;
	}
	return 0;
}

/* Asks for what is behind the end that is known. */
static int ask_end(struct build_entry *e, struct question *q, struct call *call, bool *changed,
		   struct err *err)
{
	_cleanup_buf_ struct buf part = BUF_INIT(IMAGE_LOG_PART_MAX);
	uint64_t size = 0;
	int rc;

	q->len = IMAGE_LOG_PART_MAX;
	rc = q->offset < LOGFILE_MAX ? read_part(e, q, call, &part, &size, changed, err) : 0;
	if (rc == -ENOENT) { /* it begins later */
		rc = 0;
		buf_reset(&part);
	}
	if (rc)
		return rc;
	pthread_mutex_lock(&e->lock);
	if (e->generation == q->generation && e->r.size == q->offset)
		rc = take_end(e, q, &part, size, changed);
	pthread_mutex_unlock(&e->lock);
	return rc ? err_set(err, rc, "a log can't be kept on the local disk: %s", strerror(-rc))
		  : 0;
}

/* When to ask next. Locked. */
static void set_next(struct build_entry *e, int rc)
{
	int64_t wait = builds_paces(e->builds, e->url || e->r.final ? 1 : PACES_QUEUED);
	int64_t most = builds_paces(e->builds, PACES_BACKOFF);

	e->failures = rc ? e->failures + 1 : 0;
	for (unsigned int i = 0; i < e->failures && wait < most; i++)
		wait *= 2;
	e->next = clock_mono() + (wait < most ? wait : most);
}

static int poll(struct asking *a, struct call *call, struct err *err)
{
	_cleanup_question_ struct question q = {0};
	struct build_entry *e = a->entry;
	bool ask, state_changed = false;
	uint64_t generation;
	int rc;

	pthread_mutex_lock(&e->lock);
	rc = question_fill(e, &q);
	generation = q.generation;
	ask = q.location && !e->r.final &&
	      (!q.url || clock_mono() - e->asked >= builds_paces(e->builds, PACES_STATE));
	pthread_mutex_unlock(&e->lock);
	/* The state first: a log that is read after the end is complete. */
	if (!rc && ask)
		rc = ask_state(e, generation, q.location, call, &state_changed, err);
	pthread_mutex_lock(&e->lock);
	if (!rc && e->generation == generation) {
		question_clear(&q);
		q = (struct question){0};
		rc = question_fill(e, &q);
		q.offset = e->r.size;
	}
	ask = !rc && e->generation == generation && (q.url || e->r.final) && !e->r.settled;
	pthread_mutex_unlock(&e->lock);
	if (ask)
		rc = ask_end(e, &q, call, &a->changed, err);
	pthread_mutex_lock(&e->lock);
	set_next(e, rc == -ENOENT ? 0 : rc);
	state_changed |= e->r.settled;
	pthread_mutex_unlock(&e->lock);
	if (state_changed) {
		build_entry_save(e, generation);
		build_entry_want(e); /* until its log is complete */
	}
	a->changed |= state_changed;
	return rc == -ENOENT ? 0 : rc;
}

/* ---- the image ---- */

/* Locked. True when something about the build follows from it. */
static bool take_image(struct build_entry *e, struct image *image)
{
	bool news = false;

	free(e->image);
	e->image = steal_ptr(&image->name);
	e->image_exists = image->exists;
	if (e->known && e->r.state == IMAGE_SUCCEEDED && image->exists && e->image && !e->r.image)
		news = !copy_text(&e->r.image, e->image);
	/* Of somebody else's build, and of one that the service forgot, that is all there is. */
	if (e->known && e->r.state == IMAGE_UNKNOWN && image->exists &&
	    (!e->r.location || e->r.final)) {
		e->r.state = IMAGE_SUCCEEDED;
		e->r.final = true;
		e->ended = e->ended ? e->ended : clock_mono();
		news = true;
	}
	return news;
}

static int ask_image(struct asking *a, struct call *call, struct err *err)
{
	_cleanup_image_ struct image image = {0};
	struct build_entry *e = a->entry;
	uint64_t generation;
	bool news = false;
	int rc = ops_of(e)->get_image(e->builds->conf.source, e->scope, e->of, call, &image, err);

	pthread_mutex_lock(&e->lock);
	e->image_at = clock_mono();
	e->image_failed = rc != 0;
	if (!rc)
		news = take_image(e, &image);
	generation = e->generation;
	pthread_mutex_unlock(&e->lock);
	if (news)
		build_entry_save(e, generation);
	a->changed |= news;
	return rc;
}

/* ---- somebody else's build ---- */

/* One that does not answer is not asked again for every file of a tree. */
static void pause_looking(struct builds *b)
{
	pthread_mutex_lock(&b->lock);
	b->look_again = clock_mono() + b->conf.refresh;
	pthread_mutex_unlock(&b->lock);
}

/* Takes a log that was found. True when it is news. */
static bool take_found(struct build_entry *e, char **log, uint64_t *generation)
{
	struct build_record r = {0};
	bool news;

	pthread_mutex_lock(&e->lock);
	news = !e->r.location && (!e->r.log || strcmp(e->r.log, *log) != 0);
	if (news) {
		r.log = steal_ptr(log);
		build_entry_replace(e, &r);
	}
	*generation = e->generation;
	pthread_mutex_unlock(&e->lock);
	return news;
}

/* Of a build that nobody tells about, only the image says how it ended. */
static bool needs_image(struct build_entry *e)
{
	bool needs;

	pthread_mutex_lock(&e->lock);
	needs = e->known && !e->r.location && !e->r.final;
	pthread_mutex_unlock(&e->lock);
	return needs;
}

static int look(struct asking *a, struct call *call, struct err *err)
{
	_cleanup_free_ char *log = NULL;
	struct build_entry *e = a->entry;
	uint64_t generation;
	bool news = false;
	int rc = ops_of(e)->find_log(e->builds->conf.source, e->scope, e->of, call, &log, err);

	pthread_mutex_lock(&e->lock);
	e->looked = clock_mono();
	pthread_mutex_unlock(&e->lock);
	if (!rc)
		news = take_found(e, &log, &generation);
	if (news)
		build_entry_save(e, generation);
	if (!rc && needs_image(e))
		(void)ask_image(a, call, err);
	a->changed |= news;
	if (rc == -ENOENT || rc == -EOPNOTSUPP)
		return 0;
	if (rc && rc != -ECANCELED)
		pause_looking(e->builds);
	return rc;
}

/* ---- a block ---- */

static int block(struct asking *a, struct call *call, struct err *err)
{
	_cleanup_buf_ struct buf part = BUF_INIT(LOGFILE_BLOCK);
	_cleanup_question_ struct question q = {0};
	struct build_entry *e = a->entry;
	uint64_t size = 0;
	int rc;

	pthread_mutex_lock(&e->lock);
	rc = build_entry_need_log(e);
	if (!rc)
		rc = question_fill(e, &q);
	if (!rc && a->block * LOGFILE_BLOCK < logfile_size(e->log))
		logfile_missing(e->log, a->block * LOGFILE_BLOCK, &q.offset, &q.len);
	pthread_mutex_unlock(&e->lock);
	if (rc)
		return err_set(err, rc, "a log can't be kept on the local disk: %s", strerror(-rc));
	if (!q.len)
		return 0;
	rc = read_part(e, &q, call, &part, &size, &a->changed, err);
	if (rc == -ENOENT)
		return err_set(err, -EIO, "the log is not there any more");
	if (rc)
		return rc;
	if (part.len < q.len)
		return err_set(err, -EIO, "the log is shorter than it was");
	pthread_mutex_lock(&e->lock);
	if (e->generation == q.generation && e->logs == q.logs && e->log)
		rc = logfile_put(e->log, q.offset, part.data, part.len);
	pthread_mutex_unlock(&e->lock);
	return rc ? err_set(err, rc, "a log can't be kept on the local disk: %s", strerror(-rc))
		  : 0;
}

/* ---- flights ---- */

/* Nobody can join it any more. */
static void end_running(struct asking *a)
{
	struct build_entry *e = a->entry;

	pthread_mutex_lock(&e->lock);
	for (struct running **at = &e->running; *at; at = &(*at)->next)
		if (*at == a->running) {
			*at = a->running->next;
			break;
		}
	pthread_mutex_unlock(&e->lock);
	free(a->running);
}

static bool is_looked_at(struct build_entry *e)
{
	bool looked;

	pthread_mutex_lock(&e->lock);
	looked = e->looking != 0;
	pthread_mutex_unlock(&e->lock);
	return looked;
}

static int run(void *job, struct call *call, void **result, struct err *err)
{
	struct asking *a = job;
	int rc = call_check(call);

	*result = NULL;
	if (rc)
		rc = err_set(err, rc, "nobody waits for it any more");
	else if (a->job == JOB_POLL)
		rc = poll(a, call, err);
	else if (a->job == JOB_LOOK)
		rc = look(a, call, err);
	else if (a->job == JOB_IMAGE)
		rc = ask_image(a, call, err);
	else
		rc = block(a, call, err);
	end_running(a);
	/* Before those who wait go on: they may show what is the case now. */
	if (a->changed && !is_looked_at(a->entry))
		build_entry_changed(a->entry);
	return rc;
}

static void after(void *job)
{
	build_entry_keep(((struct asking *)job)->entry);
}

static void free_job(void *job)
{
	struct asking *a = job;

	build_entry_put(a->entry);
	free(a);
}

static void *ref(void *job, void *result)
{
	(void)job;
	return result;
}

static void unref(void *job, void *result)
{
	(void)job;
	(void)result;
}

static const struct flight_ops ask_ops = {
	.run = run,
	.after = after,
	.free_job = free_job,
	.ref = ref,
	.unref = unref,
};

/* ---- what many questions need ---- */

struct expecting {
	struct builds *builds;
	struct scope *scope; /* a reference */
};

static int expect_run(void *job, struct call *call, void **result, struct err *err)
{
	const struct expecting *x = job;
	struct source *source = x->builds->conf.source;
	int rc = call_check(call);

	*result = NULL;
	return rc ? rc : source->ops->expect_logs(source, x->scope, call, err);
}

static void expect_free(void *job)
{
	struct expecting *x = job;

	scope_unref(x->scope);
	free(x);
}

static const struct flight_ops expect_ops = {
	.run = expect_run,
	.free_job = expect_free,
	.ref = ref,
	.unref = unref,
};

void builds_expect(struct builds *b, struct scope *s)
{
	struct expecting *x = calloc(1, sizeof(*x));
	struct flight *flight;

	if (!x)
		return;
	*x = (struct expecting){b, scope_ref(s)};
	if (flight_start(b->flights, &expect_ops, x, "a list of logs", CALL_PREFETCH, &flight,
			 NULL))
		expect_free(x);
}

/* ---- a question that is asked ---- */

static struct running *find_running(struct build_entry *e, enum build_job job, uint64_t block_no)
{
	for (struct running *r = e->running; r; r = r->next)
		if (r->job == job && r->block == block_no)
			return r;
	return NULL;
}

/* Locked; refs of e are the caller's. */
static int start(struct build_entry *e, enum build_job job, uint64_t block_no, enum call_prio prio,
		 struct flight **flight, struct err *err)
{
	static const char *const whats[] = {"a build's state", "a build's log",
					    "an image's details", "a part of a build's log"};
	struct running *r = calloc(1, sizeof(*r));
	struct asking *a = calloc(1, sizeof(*a));
	int rc;

	if (!r || !a) {
		free(r);
		free(a);
		return err_set(err, -ENOMEM, "no memory to ask for %s", whats[job]);
	}
	*a = (struct asking){.entry = e, .job = job, .block = block_no, .running = r};
	rc = flight_start(e->builds->flights, &ask_ops, a, whats[job], prio, flight, err);
	if (rc) {
		free(r);
		free(a);
		return rc;
	}
	*r = (struct running){.job = job, .block = block_no, .flight = *flight, .next = e->running};
	e->running = r;
	return 0;
}

/* The reference that a job has of its entry. */
static void hold(struct build_entry *e)
{
	pthread_mutex_lock(&e->builds->lock);
	e->refs++;
	pthread_mutex_unlock(&e->builds->lock);
}

int builds_ask_begin(struct build_entry *e, enum build_job job, uint64_t block_no,
		     struct flight **flight, struct err *err)
{
	struct running *r;
	int rc = 0;

	*flight = NULL;
	hold(e);
	pthread_mutex_lock(&e->lock);
	r = find_running(e, job, block_no);
	if (r && flight_join(r->flight, CALL_INTERACTIVE)) {
		*flight = r->flight;
		pthread_mutex_unlock(&e->lock);
		build_entry_put(e);
		return 0;
	}
	/* One that was cancelled takes itself out; ours is found first until then. */
	rc = start(e, job, block_no, CALL_INTERACTIVE, flight, err);
	pthread_mutex_unlock(&e->lock);
	if (rc)
		build_entry_put(e);
	return rc;
}

bool builds_ask_runs(struct build_entry *e, const struct flight *flight)
{
	const struct running *r;

	pthread_mutex_lock(&e->lock);
	for (r = e->running; r && r->flight != flight; r = r->next)
		;
	pthread_mutex_unlock(&e->lock);
	return r;
}

void builds_ask_ahead(struct build_entry *e, enum build_job job)
{
	struct flight *flight;
	int rc = -EALREADY;

	hold(e);
	pthread_mutex_lock(&e->lock);
	if (!find_running(e, job, 0))
		rc = start(e, job, 0, CALL_PREFETCH, &flight, NULL);
	pthread_mutex_unlock(&e->lock);
	if (rc)
		build_entry_put(e);
}

int builds_ask_end(struct flight *flight, struct call *call, struct err *err)
{
	void *result;

	return flight_wait(flight, call, &result, err);
}

int builds_ask(struct build_entry *e, enum build_job job, uint64_t block_no, struct call *call,
	       struct err *err)
{
	struct flight *flight;
	int rc = builds_ask_begin(e, job, block_no, &flight, err);

	return rc ? rc : builds_ask_end(flight, call, err);
}
