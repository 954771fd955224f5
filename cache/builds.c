#include "cache/builds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/builds_int.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/turns.h"

/* ---- making ---- */

struct builds *builds_new(const struct builds_conf *conf, struct err *e)
{
	const struct flights_conf fc = {
		.max = BUILDS_WORKERS,
		.prefetch_queue = BUILDS_AHEAD_MAX,
		.deadline = conf->request_deadline,
	};
	struct builds *b = calloc(1, sizeof(*b));
	pthread_condattr_t attr;

	if (b) {
		b->conf = *conf;
		if (!b->conf.pace)
			b->conf.pace = BUILDS_PACE;
		b->entries = hashmap_new();
		b->flights = flights_new(&fc, e);
		pthread_mutex_init(&b->lock, NULL);
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&b->wake, &attr);
		pthread_condattr_destroy(&attr);
	}
	if (!b || !b->entries || !b->flights || turns_new(&b->turns)) {
		builds_free(b);
		err_set(e, -ENOMEM, "no memory for builds");
		return NULL;
	}
	return b;
}

void builds_stop(struct builds *b)
{
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->wake);
	pthread_mutex_unlock(&b->lock);
	flights_stop(b->flights);
}

static void entry_free(struct build_entry *e)
{
	build_record_clear(&e->r);
	logfile_unref(e->log);
	if (e->url)
		explicit_bzero(e->url, strlen(e->url));
	free(e->url);
	free(e->image);
	scope_unref(e->scope);
	version_unref(e->of);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static bool drop_any(void *arg, const char *key, size_t len, void *value)
{
	(void)arg;
	(void)key;
	(void)len;
	((struct build_entry *)value)->found = false;
	build_entry_put(value);
	return false;
}

void builds_free(struct builds *b)
{
	if (!b)
		return;
	if (b->flights)
		builds_stop(b);
	if (b->started)
		pthread_join(b->thread, NULL);
	if (b->flights)
		flights_free(b->flights);
	for (struct build_entry *e = b->active, *next; e; e = next) {
		next = e->next_active;
		build_entry_put(e);
	}
	if (b->entries)
		hashmap_filter(b->entries, drop_any, NULL);
	hashmap_free(b->entries);
	turns_free(b->turns);
	pthread_cond_destroy(&b->wake);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ---- entries ---- */

struct build_of build_entry_of(const struct build_entry *e)
{
	return (struct build_of){e->scope, e->of->env, e->of->version, e->of->created};
}

void build_entry_put(struct build_entry *e)
{
	struct builds *b = e->builds;
	bool last;

	pthread_mutex_lock(&b->lock);
	last = --e->refs == 0;
	pthread_mutex_unlock(&b->lock);
	if (last)
		entry_free(e);
}

/* With one reference, the caller's. */
static struct build_entry *entry_new(struct builds *b, struct scope *s, const struct version *v,
				     const char *key)
{
	struct build_entry *e = calloc(1, sizeof(*e));
	struct version names = {.env = v->env, .version = v->version, .created = v->created};

	if (!e)
		return NULL;
	e->of = version_new(&names);
	if (!e->of) {
		free(e);
		return NULL;
	}
	e->builds = b;
	e->scope = scope_ref(s);
	e->refs = 1;
	memcpy(e->key, key, sizeof(e->key));
	pthread_mutex_init(&e->lock, NULL);
	return e;
}

/* Those that nobody uses go; what is known of them is on the disk. */
static bool keep_used(void *arg, const char *key, size_t len, void *value)
{
	struct build_entry *e = value;

	(void)arg;
	(void)key;
	(void)len;
	if (e->refs > 1)
		return true;
	entry_free(e);
	return false;
}

/* Puts e into the table, in the place of one that is there. Locked. */
static int table_put(struct builds *b, struct build_entry *e, struct build_entry **old)
{
	int rc;

	*old = hashmap_remove(b->entries, e->key, BUILDS_KEY);
	if (hashmap_count(b->entries) >= BUILDS_ENTRIES_MAX)
		hashmap_filter(b->entries, keep_used, NULL);
	rc = hashmap_put(b->entries, e->key, BUILDS_KEY, e);
	if (!rc) {
		e->found = true;
		e->refs++;
	}
	return rc;
}

/* Another version took the name: deleted and made anew. */
static bool is_of(const struct build_entry *e, const struct version *v)
{
	return e->of->created == v->created && strcmp(e->of->env, v->env) == 0 &&
	       strcmp(e->of->version, v->version) == 0;
}

/* A reference; NULL when there is none and it is not to be made, or there is no memory. */
static struct build_entry *entry_get(struct builds *b, struct scope *s, const struct version *v,
				     bool make)
{
	struct build_of of = {s, v->env, v->version, v->created};
	struct build_entry *e, *fresh = NULL, *old = NULL;
	char key[BUILDSTORE_NAME_SIZE];

	buildstore_name(&of, key);
	if (make)
		fresh = entry_new(b, s, v, key);
	pthread_mutex_lock(&b->lock);
	e = hashmap_get(b->entries, key, BUILDS_KEY);
	if (e && !is_of(e, v))
		e = NULL;
	if (e) {
		e->refs++;
	} else if (fresh && !table_put(b, fresh, &old)) {
		e = steal_ptr(&fresh);
	}
	pthread_mutex_unlock(&b->lock);
	if (fresh)
		entry_free(fresh);
	if (old)
		build_entry_put(old);
	return e;
}

void build_entry_replace(struct build_entry *e, struct build_record *r)
{
	build_record_clear(&e->r);
	e->r = *r;
	*r = (struct build_record){0};
	e->known = true;
	e->generation++;
	logfile_unref(e->log);
	e->log = NULL;
	if (e->url)
		explicit_bzero(e->url, strlen(e->url));
	free(e->url);
	e->url = NULL;
	e->asked = 0;
	e->unanswered = false;
	e->ended = e->r.final ? clock_mono() : 0;
	e->next = 0;
	e->failures = 0;
	e->image_at = 0;
}

bool build_entry_sync(struct build_entry *e)
{
	struct buildstore *store = e->builds->conf.store;
	struct build_of of = build_entry_of(e);
	int64_t stamp = buildstore_stamp(store, &of), seen;
	struct build_record r;
	bool news = false;

	pthread_mutex_lock(&e->lock);
	seen = e->stamp;
	pthread_mutex_unlock(&e->lock);
	if (!stamp || stamp == seen || buildstore_load(store, &of, &r, &stamp))
		return false;
	pthread_mutex_lock(&e->lock);
	/* What others wrote of the build that is known here too says nothing new. */
	if (!e->known || r.started > e->r.started || (!e->r.location && r.location)) {
		build_entry_replace(e, &r);
		news = true;
	}
	e->stamp = stamp;
	pthread_mutex_unlock(&e->lock);
	build_record_clear(&r);
	return news;
}

int build_entry_need_log(struct build_entry *e)
{
	struct build_of of = build_entry_of(e);
	int rc;

	if (e->log)
		return 0;
	if (e->r.digest[0]) {
		rc = buildstore_log(e->builds->conf.store, &of, &e->r, &e->log);
		if (rc != -ENOENT)
			return rc;
		e->r.digest[0] = '\0'; /* it is fetched again */
	}
	rc = logfile_new(buildstore_dir(e->builds->conf.store), &e->log);
	if (!rc)
		rc = logfile_grow(e->log, e->r.size);
	return rc;
}

void build_entry_save(struct build_entry *e, uint64_t generation)
{
	struct build_of of = build_entry_of(e);
	struct build_record r;
	int64_t stamp = 0;
	int rc = 0;
	bool ours;

	pthread_mutex_lock(&e->lock);
	ours = e->known && e->generation == generation;
	if (ours)
		rc = build_record_copy(&e->r, &r);
	pthread_mutex_unlock(&e->lock);
	if (!ours || rc)
		return;
	rc = buildstore_save(e->builds->conf.store, &of, &r, &stamp);
	build_record_clear(&r);
	if (rc && rc != -ESTALE)
		log_warn("op=build env=%s version=%s: the next mount won't know of the build: %s",
			 of.env, of.version, strerror(-rc));
	if (rc)
		return;
	pthread_mutex_lock(&e->lock);
	if (e->generation == generation)
		e->stamp = stamp;
	pthread_mutex_unlock(&e->lock);
}

/* The log, a reference, when it is complete and was not kept yet. */
static struct logfile *log_to_keep(struct build_entry *e, uint64_t *generation)
{
	struct logfile *log = NULL;

	pthread_mutex_lock(&e->lock);
	if (e->known && e->r.settled && image_state_is_final(e->r.state) && e->log && e->r.size &&
	    !e->r.digest[0] && logfile_is_whole(e->log))
		log = logfile_ref(e->log);
	*generation = e->generation;
	pthread_mutex_unlock(&e->lock);
	return log;
}

void build_entry_keep(struct build_entry *e)
{
	struct build_of of = build_entry_of(e);
	struct build_record r = {0};
	uint64_t generation;
	struct logfile *log = log_to_keep(e, &generation);
	int rc;

	if (!log)
		return;
	rc = buildstore_keep(e->builds->conf.store, &of, log, &r);
	logfile_unref(log);
	if (rc)
		log_warn("op=build env=%s version=%s: its log can't be kept on the local disk: %s",
			 of.env, of.version, strerror(-rc));
	if (rc || !r.digest[0])
		return;
	pthread_mutex_lock(&e->lock);
	if (e->generation == generation)
		memcpy(e->r.digest, r.digest, sizeof(r.digest));
	pthread_mutex_unlock(&e->lock);
	build_entry_save(e, generation);
}

void build_entry_changed(struct build_entry *e)
{
	const struct builds_conf *conf = &e->builds->conf;

	if (conf->changed)
		conf->changed(conf->changed_arg, e->scope, e->of->env, e->of->version);
}

/* ---- being followed ---- */

/* Locked (the table). */
static void activate(struct build_entry *e)
{
	struct builds *b = e->builds;

	if (e->active)
		return;
	e->active = true;
	e->refs++;
	e->next_active = b->active;
	b->active = e;
	b->n_active++;
	b->activated = true;
	pthread_cond_signal(&b->wake);
}

void build_entry_want(struct build_entry *e)
{
	struct builds *b = e->builds;

	pthread_mutex_lock(&b->lock);
	e->wanted_until = clock_mono() + builds_paces(b, PACES_WANTED);
	activate(e);
	pthread_mutex_unlock(&b->lock);
}

/* ---- what is known ---- */

static void fill_info(struct build_entry *e, struct build_info *out)
{
	*out = (struct build_info){0};
	pthread_mutex_lock(&e->lock);
	out->known = e->known;
	if (e->known) {
		out->state = e->r.state;
		out->growing = !e->r.settled;
		out->size = e->r.size;
		out->modified = e->r.modified;
		snprintf(out->stage, sizeof(out->stage), "%s", e->r.stage ? e->r.stage : "");
	}
	pthread_mutex_unlock(&e->lock);
}

/* What is known already, also by other mounts of this machine; NULL: nothing. */
static struct build_entry *known_entry(struct builds *b, struct scope *s, const struct version *v)
{
	struct build_of of = {s, v->env, v->version, v->created};
	struct build_entry *e = entry_get(b, s, v, false);

	if (!e && buildstore_stamp(b->conf.store, &of))
		e = entry_get(b, s, v, true);
	if (e)
		build_entry_sync(e);
	return e;
}

void builds_peek(struct builds *b, struct scope *s, const struct version *v, struct build_info *out)
{
	struct build_entry *e = known_entry(b, s, v);

	*out = (struct build_info){0};
	if (!e)
		return;
	fill_info(e, out);
	if (out->known && out->growing)
		build_entry_want(e);
	build_entry_put(e);
}

/* Locked. *known: there is, or was, a build. */
static int64_t left_of(const struct build_entry *e, bool *known)
{
	int64_t refresh = e->builds->conf.refresh, now = clock_mono();

	*known = e->known;
	if (e->known && !e->r.settled)
		return 0;
	if (e->known && e->r.location)
		return refresh;
	return e->looked && now - e->looked < refresh ? e->looked + refresh - now : 0;
}

int64_t builds_left(struct builds *b, struct scope *s, const struct version *v)
{
	struct source *source = b->conf.source;
	struct build_entry *e = known_entry(b, s, v);
	int64_t left = 0, none;
	bool known = false;

	if (e) {
		pthread_mutex_lock(&e->lock);
		left = left_of(e, &known);
		pthread_mutex_unlock(&e->lock);
		build_entry_put(e);
	}
	if (known || left)
		return left;
	/* Of a registry's versions no log is looked for. */
	none = s->kind == SCOPE_WORKSPACE ? source->ops->no_log(source, s, v) : INT64_MAX;
	return none < b->conf.refresh ? none : b->conf.refresh;
}

/* What counts of the end of a question: a service that does not answer is nothing new. */
static int only_own_errors(int rc, struct err *e)
{
	if (rc == -ECANCELED || rc == -ENOMEM)
		return rc;
	if (rc)
		log_debug("op=build msg=\"%s\"", err_text(e, rc));
	err_clear(e);
	return 0;
}

/* Asks how far the build is, unless that was asked a moment ago. */
static int update(struct build_entry *e, bool now, struct call *call, struct err *err)
{
	bool ask;

	pthread_mutex_lock(&e->lock);
	ask = build_entry_is_open(e) && (now || clock_mono() >= e->next);
	pthread_mutex_unlock(&e->lock);
	return ask ? builds_ask(e, JOB_POLL, 0, call, err) : 0;
}

/* Asks for the image's details, which count for a while. */
static int update_image(struct build_entry *e, struct call *call, struct err *err)
{
	bool ask;

	pthread_mutex_lock(&e->lock);
	ask = !e->image_at || clock_mono() - e->image_at >= e->builds->conf.refresh;
	pthread_mutex_unlock(&e->lock);
	return ask ? builds_ask(e, JOB_IMAGE, 0, call, err) : 0;
}

/* Of a build that runs, what was said last is not what is now. */
static void doubt_info(struct build_entry *e, struct build_info *info)
{
	pthread_mutex_lock(&e->lock);
	if (e->known && !e->r.final && e->unanswered) {
		info->state = IMAGE_UNKNOWN;
		info->stage[0] = '\0';
	}
	pthread_mutex_unlock(&e->lock);
}

int builds_state(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct build_info *out, struct err *err)
{
	struct build_entry *e = entry_get(b, s, v, true);
	bool known;
	int rc;

	*out = (struct build_info){0};
	if (!e)
		return err_set(err, -ENOMEM, "no memory for a build");
	build_entry_sync(e);
	rc = only_own_errors(update(e, false, call, err), err);
	fill_info(e, out);
	known = out->known && out->state != IMAGE_UNKNOWN;
	if (!rc && !known) {
		rc = only_own_errors(update_image(e, call, err), err);
		fill_info(e, out);
		pthread_mutex_lock(&e->lock);
		if (!out->known && e->image_at && !e->image_failed)
			out->state = e->image_exists ? IMAGE_SUCCEEDED : IMAGE_NOT_STARTED;
		pthread_mutex_unlock(&e->lock);
	}
	doubt_info(e, out);
	if (out->known && out->growing)
		build_entry_want(e);
	build_entry_put(e);
	return rc;
}

int builds_image(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct buf *out, struct err *err)
{
	struct build_entry *e = entry_get(b, s, v, true);
	const char *name;
	bool known;
	int rc = 0;

	if (!e)
		return err_set(err, -ENOMEM, "no memory for a build");
	build_entry_sync(e);
	pthread_mutex_lock(&e->lock);
	known = e->known && e->r.state == IMAGE_SUCCEEDED && e->r.image;
	pthread_mutex_unlock(&e->lock);
	if (!known)
		rc = only_own_errors(update_image(e, call, err), err);
	pthread_mutex_lock(&e->lock);
	known = e->known && e->r.state == IMAGE_SUCCEEDED && e->r.image;
	name = known ? e->r.image : e->image_exists && !e->image_failed ? e->image : NULL;
	if (!rc)
		rc = name ? buf_addstr(out, name) : -ENODATA;
	pthread_mutex_unlock(&e->lock);
	build_entry_put(e);
	return rc;
}

/* ---- starting and cancelling ---- */

/* The same log as before: what is known of it holds for the new build too. */
static void keep_same_log(struct build_entry *e, const struct image_build *build,
			  struct build_record *r)
{
	size_t n = build->log ? strcspn(build->log, "?") : 0;

	if (!n || !e->known || !e->r.log || strlen(e->r.log) != n ||
	    strncmp(e->r.log, build->log, n) != 0)
		return;
	r->log = strdup(e->r.log);
	if (!r->log)
		return;
	r->size = e->r.size;
	r->modified = e->r.modified;
	r->settled = r->final && e->r.settled;
	memcpy(r->digest, e->r.digest, sizeof(r->digest));
}

/* The build that was just started takes the place of the one before. */
static int take_started(struct build_entry *e, char **location, struct call *call)
{
	struct source *source = e->builds->conf.source;
	_cleanup_image_build_ struct image_build build = {0};
	struct build_record r = {.state = IMAGE_QUEUED, .started = clock_wall()};
	struct logfile *log = NULL;
	uint64_t generation;

	/* A service that has the image already says so at once. */
	if (source->ops->get_build(source, e->scope, *location, call, &build, NULL) == 0) {
		r.state = build.state;
		r.final = build.final;
		r.stage = steal_ptr(&build.stage);
	}
	r.location = steal_ptr(location);
	pthread_mutex_lock(&e->lock);
	keep_same_log(e, &build, &r);
	if (r.log)
		log = steal_ptr(&e->log);
	if (r.started <= e->r.started) /* the clock was set back */
		r.started = e->r.started + 1;
	build_entry_replace(e, &r);
	e->log = log;
	generation = e->generation;
	pthread_mutex_unlock(&e->lock);
	build_entry_save(e, generation);
	return 0;
}

/* True while a build runs, as far as the service says so now. */
static bool is_running(struct build_entry *e)
{
	bool running;

	pthread_mutex_lock(&e->lock);
	running = e->known && e->r.location && !e->r.final;
	pthread_mutex_unlock(&e->lock);
	return running;
}

static int start_in_turn(struct build_entry *e, struct call *call, struct err *err)
{
	_cleanup_free_ char *location = NULL;
	struct source *source = e->builds->conf.source;
	int rc;

	build_entry_sync(e);
	if (is_running(e)) {
		rc = only_own_errors(builds_ask(e, JOB_POLL, 0, call, err), err);
		if (rc || is_running(e))
			return rc;
	}
	rc = source->ops->start_build(source, e->scope, e->of->env, e->of->version, call, &location,
				      err);
	return rc ? rc : take_started(e, &location, call);
}

int builds_start(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct err *err)
{
	struct build_entry *e = entry_get(b, s, v, true);
	struct turn turn;
	int rc;

	if (!e)
		return err_set(err, -ENOMEM, "no memory for a build");
	rc = turn_take(b->turns, &turn, e->key, call);
	if (rc) {
		err_set(err, rc, "a build of %s:%s is being started", v->env, v->version);
	} else {
		rc = start_in_turn(e, call, err);
		turn_end(&turn);
	}
	if (!rc) {
		build_entry_want(e);
		build_entry_changed(e);
	}
	build_entry_put(e);
	return rc;
}

int builds_cancel(struct builds *b, struct scope *s, struct version *v, struct call *call,
		  struct err *err)
{
	struct build_entry *e = entry_get(b, s, v, true);
	struct source *source = b->conf.source;
	_cleanup_free_ char *location = NULL;
	int rc;

	if (!e)
		return err_set(err, -ENOMEM, "no memory for a build");
	build_entry_sync(e);
	rc = only_own_errors(update(e, true, call, err), err);
	pthread_mutex_lock(&e->lock);
	if (!rc && e->known && e->r.location && !e->r.final) {
		location = strdup(e->r.location);
		rc = location ? 0 : -ENOMEM;
	} else if (!rc) {
		rc = err_set(err, -EINVAL, "no build of %s:%s that was started here is under way",
			     v->env, v->version);
	}
	pthread_mutex_unlock(&e->lock);
	if (!rc)
		rc = source->ops->cancel_build(source, e->scope, location, call, err);
	if (!rc) {
		pthread_mutex_lock(&e->lock);
		e->asked = 0;
		pthread_mutex_unlock(&e->lock);
		build_entry_want(e);
		(void)only_own_errors(update(e, true, call, err), err);
	}
	build_entry_put(e);
	return rc;
}

/* ---- the log ---- */

bool build_entry_may_look(struct build_entry *e)
{
	struct builds *b = e->builds;
	int64_t now = clock_mono();
	bool may, paused;

	pthread_mutex_lock(&b->lock);
	paused = now < b->look_again;
	pthread_mutex_unlock(&b->lock);
	pthread_mutex_lock(&e->lock);
	/* What was found counts for a while, like a list. */
	may = e->scope->kind == SCOPE_WORKSPACE && (!e->known || !e->r.location) && !paused &&
	      (!e->looked || now - e->looked >= b->conf.refresh);
	pthread_mutex_unlock(&e->lock);
	return may;
}

/* As far as the service answers. */
static int bring_up_to_date(struct build_entry *e, struct call *call, struct err *err)
{
	int rc = 0;

	build_entry_sync(e);
	if (build_entry_may_look(e))
		rc = only_own_errors(builds_ask(e, JOB_LOOK, 0, call, err), err);
	return rc ? rc : only_own_errors(update(e, false, call, err), err);
}

static void set_looking(struct build_entry *e, bool begins)
{
	pthread_mutex_lock(&e->lock);
	e->looking = begins ? e->looking + 1 : e->looking - 1;
	pthread_mutex_unlock(&e->lock);
}

int builds_look(struct builds *b, struct scope *s, struct version *v, struct call *call,
		struct err *err)
{
	struct build_entry *e = entry_get(b, s, v, true);
	int rc;

	if (!e)
		return err_set(err, -ENOMEM, "no memory for a build");
	set_looking(e, true);
	rc = bring_up_to_date(e, call, err);
	set_looking(e, false);
	build_entry_put(e);
	return rc;
}

int builds_watch(struct builds *b, struct scope *s, struct version *v, struct call *call,
		 struct build_watch **out, struct err *err)
{
	struct build_watch *w = calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	if (w)
		w->entry = entry_get(b, s, v, true);
	if (!w || !w->entry) {
		free(w);
		return err_set(err, -ENOMEM, "no memory for a build");
	}
	rc = bring_up_to_date(w->entry, call, err);
	if (rc) {
		build_entry_put(w->entry);
		free(w);
		return rc;
	}
	pthread_mutex_lock(&b->lock);
	w->entry->watchers++;
	activate(w->entry);
	pthread_mutex_unlock(&b->lock);
	*out = w;
	return 0;
}

void builds_unwatch(struct build_watch *w)
{
	struct builds *b;

	if (!w)
		return;
	b = w->entry->builds;
	pthread_mutex_lock(&b->lock);
	w->entry->watchers--;
	pthread_mutex_unlock(&b->lock);
	build_entry_put(w->entry);
	free(w);
}

/* Takes what is there from offset on; false when something has to be fetched first. */
static bool read_there(struct build_entry *e, uint64_t offset, size_t len, struct buf *out,
		       bool *end, int *rc)
{
	size_t have;

	pthread_mutex_lock(&e->lock);
	*end = !e->known || offset >= e->r.size;
	*rc = *end ? 0 : build_entry_need_log(e);
	have = *end || *rc ? 0 : logfile_have(e->log, offset, len);
	if (have)
		*rc = logfile_read(e->log, offset, have, out);
	pthread_mutex_unlock(&e->lock);
	return *end || *rc || have;
}

int builds_read(struct build_watch *w, uint64_t offset, size_t len, struct call *call,
		struct buf *out, struct err *err)
{
	struct build_entry *e = w->entry;
	size_t before = out->len;
	bool end = false;
	int rc = 0;

	while (!rc && !end && out->len - before < len) {
		uint64_t at = offset + (out->len - before);

		if (!read_there(e, at, len - (out->len - before), out, &end, &rc))
			rc = builds_ask(e, JOB_BLOCK, at / LOGFILE_BLOCK, call, err);
		else if (rc)
			err_set(err, rc, "a log can't be kept on the local disk: %s",
				strerror(-rc));
	}
	if (rc)
		out->len = before;
	return rc;
}
