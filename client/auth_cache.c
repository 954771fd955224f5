#include "client/auth_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/log.h"

/* One scope; all of it protected by the cache's lock. */
struct slot {
	char *scope; /* as asked for; NULL: free */
	struct auth_token token;
	uint64_t fingerprint;
	bool has;
	bool busy;             /* somebody asks */
	unsigned long rounds;  /* that ended with what all may have */
	int64_t next_try;      /* clock_boot(): not renewed ahead before */
	int64_t asked;         /* clock_boot(): since when the token is here */
	unsigned int young;    /* tokens in a row that the service refused at once */
	int64_t refused_until; /* clock_boot(): failure stands so long */
	struct err failure;    /* of the last round */
};

struct cache {
	struct credential base;
	struct auth_cache_conf conf;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* broadcast when a round ends, at stop, and at a cancelled wait */
	/* protected by lock */
	struct slot slots[AUTH_SCOPES_MAX];
	bool stopped;
};

static struct cache *cache_of(struct credential *c)
{
	return (struct cache *)c;
}

/* ---- slots; all with the lock ---- */

static int64_t now_of(const struct cache *c)
{
	return c->conf.now ? c->conf.now() : clock_boot();
}

static struct slot *find_slot(struct cache *c, const char *scope)
{
	for (size_t i = 0; i < AUTH_SCOPES_MAX; i++) {
		struct slot *s = &c->slots[i];

		if (!s->scope)
			s->scope = strdup(scope);
		if (!s->scope || strcmp(s->scope, scope) == 0)
			return s->scope ? s : NULL;
	}
	return NULL;
}

static bool is_alive(const struct cache *c, const struct slot *s)
{
	return s->has && now_of(c) < s->token.expires;
}

static bool is_due(const struct cache *c, const struct slot *s)
{
	int64_t now = now_of(c);

	return now >= s->token.renew && now >= s->next_try;
}

static int give(const struct slot *s, struct buf *out, struct err *e)
{
	int rc = buf_add(out, s->token.value.data, s->token.value.len);

	return rc ? err_set(e, rc, "no memory for the access token") : 0;
}

static int fail(const struct slot *s, struct err *e)
{
	return err_set(e, s->failure.code, "%s", s->failure.msg);
}

/* ---- waiting ---- */

struct waiter {
	struct cache *cache;
	bool cancelled; /* protected by the cache's lock */
};

static void waiter_wake(void *arg)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->cache->lock);
	w->cancelled = true;
	pthread_cond_broadcast(&w->cache->changed);
	pthread_mutex_unlock(&w->cache->lock);
}

/* Waits until the slot is not busy. Without the lock: call_cancel() wakes with the call's. */
static int wait_for_round(struct cache *c, struct slot *s, struct call *call, struct err *e)
{
	struct timespec until = clock_timespec(call->deadline);
	struct waiter w = {.cache = c};
	int rc = 0;

	call_set_wake(call, waiter_wake, &w);
	pthread_mutex_lock(&c->lock);
	while (s->busy && !w.cancelled && !c->stopped && !rc)
		rc = -pthread_cond_timedwait(&c->changed, &c->lock, &until);
	if (w.cancelled || c->stopped)
		rc = -ECANCELED;
	pthread_mutex_unlock(&c->lock);
	call_set_wake(call, NULL, NULL);
	if (!rc)
		return 0;
	return err_set(e, rc, rc == -ETIMEDOUT ? "no access token in time" : "cancelled");
}

/* ---- asking ---- */

static const char *cloud_scope(const struct cache *c, const char *scope)
{
	return c->conf.arm_scope && strcmp(scope, SCOPE_ARM) == 0 ? c->conf.arm_scope : scope;
}

/* Failures that only say how long its caller was willing to wait are nobody else's. */
static bool is_for_all(int rc, struct call *call)
{
	return rc != -ECANCELED && (rc != -ETIMEDOUT || clock_mono() < call->deadline);
}

/* Takes over what the source gave. With the lock. */
static void end_round(const struct cache *c, struct slot *s, int rc, struct auth_token *fresh,
		      const struct err *why, struct call *call)
{
	struct auth_token old = s->token;
	int64_t now = now_of(c);

	s->busy = false;
	if (!rc) {
		s->token = *fresh;
		*fresh = old;
		s->has = true;
		s->fingerprint = credential_fingerprint(s->token.value.data, s->token.value.len);
		s->next_try = now + AUTH_RETRY_S * NS_PER_S;
		s->asked = now;
		s->refused_until = 0;
		s->failure.code = 0;
		s->rounds++;
		return;
	}
	s->next_try = now + AUTH_RETRY_S * NS_PER_S;
	if (!is_for_all(rc, call))
		return;
	s->failure = *why;
	s->failure.code = rc;
	if (rc == -EACCES)
		s->refused_until = now + AUTH_REFUSED_S * NS_PER_S;
	s->rounds++;
}

/* Asks the source, without the lock; the slot is ours, since it is busy. */
static int ask(struct cache *c, struct slot *s, bool ahead, struct call *call, struct err *e)
{
	int64_t deadline = call->deadline;
	struct auth_token fresh = {0};
	struct err why = ERR_INIT;
	int rc;

	if (ahead)
		call_lower(call, clock_mono() + c->conf.ahead_wait);
	rc = auth_source_get(c->conf.source, cloud_scope(c, s->scope), call, &fresh, &why);
	if (rc == AUTH_UNAVAILABLE)
		rc = -EACCES;
	if (rc && !why.msg[0])
		err_set(&why, rc, "%s", strerror(-rc));
	if (rc && ahead)
		log_warn("op=token scope=%s msg=\"not renewed yet: %s\"", s->scope, why.msg);
	else if (!rc)
		log_debug("op=token scope=%s life=%lld", s->scope,
			  (long long)((fresh.expires - now_of(c)) / NS_PER_S));
	pthread_mutex_lock(&c->lock);
	end_round(c, s, rc, &fresh, &why, call);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	call->deadline = deadline;
	auth_token_clear(&fresh);
	return rc ? err_set(e, rc, "%s", why.msg) : 0;
}

/* What to do next about a slot. */
enum step { STEP_GIVEN, STEP_ASK, STEP_ASK_AHEAD, STEP_WAIT };

/* One caller on his way to a token. */
struct asker {
	unsigned long seen; /* the rounds that had ended when he came */
	bool answered;      /* he asked himself, and got one */
};

/* With the lock. */
static enum step next_step(struct cache *c, struct slot *s, const struct asker *who,
			   struct buf *out, int *rc, struct err *e)
{
	bool alive = is_alive(c, s);

	if (c->stopped) {
		*rc = err_set(e, -ECANCELED, "stopped");
		return STEP_GIVEN;
	}
	if ((alive && (s->busy || !is_due(c, s))) || (s->has && who->answered)) {
		*rc = give(s, out, e);
		return STEP_GIVEN;
	}
	if (s->busy)
		return STEP_WAIT;
	if (!alive && s->failure.code && (s->rounds != who->seen || now_of(c) < s->refused_until)) {
		*rc = fail(s, e);
		return STEP_GIVEN;
	}
	s->busy = true;
	return alive ? STEP_ASK_AHEAD : STEP_ASK;
}

static int cache_get_token(struct credential *base, const char *scope, struct call *call,
			   struct buf *out, struct err *e)
{
	struct cache *c = cache_of(base);
	struct asker who = {0};
	struct slot *s = NULL;
	int rc = 0;

	for (;;) {
		enum step step;

		pthread_mutex_lock(&c->lock);
		if (!s) {
			s = find_slot(c, scope);
			who.seen = s ? s->rounds : 0;
		}
		step = s ? next_step(c, s, &who, out, &rc, e) : STEP_GIVEN;
		pthread_mutex_unlock(&c->lock);
		if (!s)
			return err_set(e, -ENOMEM, "no room for one more scope's token");
		if (step == STEP_GIVEN)
			return rc;
		if (step == STEP_WAIT) {
			rc = wait_for_round(c, s, call, e);
		} else {
			rc = ask(c, s, step == STEP_ASK_AHEAD, call,
				 step == STEP_ASK_AHEAD ? NULL : e);
			who.answered = !rc;
		}
		if (rc && step != STEP_ASK_AHEAD)
			return rc;
	}
}

/*
 * Whether asking for another one could help. One that is refused as soon as it is there is replaced
 * once; then it is not the token that is wrong, and asking with every request would not end.
 */
static bool is_worth_replacing(const struct cache *c, struct slot *s)
{
	if (now_of(c) - s->asked > AUTH_REFUSED_S * NS_PER_S)
		s->young = 0;
	else
		s->young++;
	return s->young <= 1;
}

static void cache_invalidate(struct credential *base, const char *scope, uint64_t refused)
{
	struct cache *c = cache_of(base);

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < AUTH_SCOPES_MAX; i++) {
		struct slot *s = &c->slots[i];

		if (s->scope && strcmp(s->scope, scope) == 0 && s->has &&
		    s->fingerprint == refused && is_worth_replacing(c, s)) {
			s->has = false;
			auth_token_clear(&s->token);
		}
	}
	pthread_mutex_unlock(&c->lock);
}

static void cache_stop(struct credential *base)
{
	struct cache *c = cache_of(base);

	pthread_mutex_lock(&c->lock);
	c->stopped = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	if (c->conf.http)
		http_stop(c->conf.http);
}

static void conf_free(const struct auth_cache_conf *conf)
{
	auth_source_free(conf->source);
	if (conf->free_extra)
		conf->free_extra(conf->extra);
	http_free(conf->http);
}

static void cache_free(struct credential *base)
{
	struct cache *c = cache_of(base);

	conf_free(&c->conf);
	for (size_t i = 0; i < AUTH_SCOPES_MAX; i++) {
		auth_token_clear(&c->slots[i].token);
		free(c->slots[i].scope);
	}
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static const struct credential_ops cache_ops = {
	.get_token = cache_get_token,
	.invalidate = cache_invalidate,
	.stop = cache_stop,
	.free = cache_free,
};

int auth_cache_new(const struct auth_cache_conf *conf, struct credential **out, struct err *e)
{
	struct cache *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c) {
		conf_free(conf);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	c->base.ops = &cache_ops;
	c->conf = *conf;
	if (!conf->ahead_wait)
		c->conf.ahead_wait = AUTH_AHEAD_WAIT_S * NS_PER_S;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	*out = &c->base;
	return 0;
}

struct auth_source *auth_cache_source(struct credential *c)
{
	return c->ops == &cache_ops ? cache_of(c)->conf.source : NULL;
}
