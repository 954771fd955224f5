#include "client/limiter.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "client/budget.h"
#include "client/clock.h"
#include "client/log.h"

enum kind { KIND_READS, KIND_WRITES, KIND_DELETES, KINDS };

/* Lives on the stack of who waits. */
struct waiter {
	struct limiter *limiter;
	TAILQ_ENTRY(waiter) link;
	pthread_cond_t cond;
	/* protected by the limiter's lock */
	enum call_prio prio;
	bool cancelled;
};

TAILQ_HEAD(waiters, waiter);

struct limiter {
	pthread_mutex_t lock;
	/* protected by lock */
	struct budget budgets[KINDS];
	struct waiters waiters[KINDS]; /* in the order of asking; the first watches the time */
	bool stopped;
	struct limiter_stats stats;
};

int limiter_new(struct limiter **out)
{
	struct limiter *l = calloc(1, sizeof(*l));

	*out = l;
	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	for (int k = 0; k < KINDS; k++) {
		budget_init(&l->budgets[k]);
		TAILQ_INIT(&l->waiters[k]);
	}
	return 0;
}

void limiter_free(struct limiter *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void limiter_stop(struct limiter *l)
{
	pthread_mutex_lock(&l->lock);
	l->stopped = true;
	for (int k = 0; k < KINDS; k++)
		for (struct waiter *w = TAILQ_FIRST(&l->waiters[k]); w; w = TAILQ_NEXT(w, link))
			pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&l->lock);
}

/* azureml-rest.md section 6: POST counts as a write. */
static enum kind kind_of(const char *method)
{
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return KIND_READS;
	return strcmp(method, "DELETE") == 0 ? KIND_DELETES : KIND_WRITES;
}

/* ---- waiting ---- */

static int waiter_init(struct waiter *w, struct limiter *l)
{
	pthread_condattr_t attr;

	*w = (struct waiter){.limiter = l};
	if (pthread_condattr_init(&attr))
		return -ENOMEM;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (pthread_cond_init(&w->cond, &attr)) {
		pthread_condattr_destroy(&attr);
		return -ENOMEM;
	}
	pthread_condattr_destroy(&attr);
	return 0;
}

/* Both run under the call's lock. */
static void waiter_cancel(void *arg)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->limiter->lock);
	w->cancelled = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->limiter->lock);
}

static void waiter_promote(void *arg, enum call_prio prio)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->limiter->lock);
	w->prio = prio;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->limiter->lock);
}

/* Under the lock. */
static void leave_queue(struct limiter *l, enum kind k, struct waiter *w)
{
	struct waiter *first;

	TAILQ_REMOVE(&l->waiters[k], w, link);
	first = TAILQ_FIRST(&l->waiters[k]);
	if (first)
		pthread_cond_signal(&first->cond);
}

/*
 * Under the lock. The time until w may go, by the budget and by who came before; those behind the
 * first are woken when it leaves.
 */
static int64_t wait_of(struct limiter *l, enum kind k, const struct waiter *w, int64_t now)
{
	int64_t wait = budget_wait(&l->budgets[k], w->prio, now);

	if (wait != 0 || w->prio == CALL_INTERACTIVE || TAILQ_FIRST(&l->waiters[k]) == w)
		return wait;
	return BUDGET_NEVER;
}

/* Under the lock. 0: w may go. */
static int wait_for_budget(struct limiter *l, enum kind k, struct waiter *w, int64_t deadline)
{
	bool waited = false;

	for (;;) {
		int64_t now = clock_mono(), wait = wait_of(l, k, w, now);
		struct timespec ts;

		if (w->cancelled || l->stopped)
			return -ECANCELED;
		if (!wait)
			return 0;
		if (w->prio == CALL_PREFETCH)
			return -EAGAIN;
		if (now >= deadline)
			return -ETIMEDOUT;
		if (w->prio == CALL_INTERACTIVE && wait >= deadline - now)
			return -EBUSY;
		l->stats.waited += !waited;
		waited = true;
		ts = clock_timespec(wait < deadline - now ? now + wait : deadline);
		pthread_cond_timedwait(&w->cond, &l->lock, &ts);
	}
}

static int enter_error(struct limiter *l, int rc, const char *method, struct err *e)
{
	struct limiter_stats s;

	limiter_get_stats(l, &s);
	if (rc == -EAGAIN)
		return err_set(e, rc, "not asked ahead: the service has few requests left");
	if (rc == -EBUSY)
		return err_set(e, rc,
			       "%s: the service throttles this subscription, and asked for a wait "
			       "that is longer than there is time",
			       method);
	if (rc == -ETIMEDOUT)
		return err_set(e, -EBUSY,
			       "%s: held back for too long: the service has few requests left "
			       "(%lld reads), which are kept for others",
			       method, (long long)s.reads_left);
	return err_set(e, rc, "%s: cancelled", method);
}

int limiter_enter(struct limiter *l, const char *method, struct call *c, struct err *e)
{
	enum kind k = kind_of(method);
	struct waiter w;
	int rc = waiter_init(&w, l);

	if (rc)
		return err_set(e, rc, "no memory for a request");
	/* The call's lock goes first: whoever cancels or promotes holds it. */
	call_set_promoted(c, waiter_promote, &w);
	call_set_wake(c, waiter_cancel, &w);
	pthread_mutex_lock(&l->lock);
	TAILQ_INSERT_TAIL(&l->waiters[k], &w, link);
	rc = wait_for_budget(l, k, &w, c->deadline);
	leave_queue(l, k, &w);
	if (!rc)
		budget_sent(&l->budgets[k], w.prio, clock_mono());
	l->stats.gave_way += rc == -EAGAIN;
	pthread_mutex_unlock(&l->lock);
	call_set_wake(c, NULL, NULL);
	call_set_promoted(c, NULL, NULL);
	pthread_cond_destroy(&w.cond);
	if (rc)
		return enter_error(l, rc, method, e);
	call_begin(c);
	return 0;
}

/* ---- answers ---- */

/* The number that a header's value ends in: "199", or "Provider/Policy;199". */
static int64_t last_number(const char *value)
{
	const char *at = strrchr(value, ';');
	char *end;
	long long n;

	at = at ? at + 1 : value;
	errno = 0;
	n = strtoll(at, &end, 10);
	return errno || end == at || n < 0 ? -1 : n;
}

/* "x-ms-ratelimit-remaining-subscription-reads: 199": whether it is about this kind. */
static bool is_about(const char *name, size_t len, enum kind k)
{
	static const char prefix[] = "x-ms-ratelimit-remaining-";
	static const char *const ends[] = {"-reads", "-writes", "-deletes"};
	size_t n = strlen(ends[k]);

	if (len <= sizeof(prefix) - 1 || strncasecmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	if (len == sizeof(prefix) - 1 + 8 && strncasecmp(name + len - 8, "resource", 8) == 0)
		return true;
	return len > n && strncasecmp(name + len - n, ends[k], n) == 0;
}

/* What is left by all that the answer says: the subscription's, the tenant's, the provider's. */
static int64_t left_of(const struct http_response *r, enum kind k)
{
	const char *at = r->head.data, *end = at ? at + r->head.len : at;
	int64_t least = -1;

	for (; at < end; at += strlen(at) + 1) {
		size_t len = strcspn(at, ":");
		int64_t left = at[len] && is_about(at, len, k) ? last_number(at + len + 1) : -1;

		if (left >= 0 && (least < 0 || left < least))
			least = left;
	}
	return least;
}

void limiter_leave(struct limiter *l, const char *method, const struct http_response *r)
{
	enum kind k = kind_of(method);
	int64_t left = left_of(r, k), now = clock_mono();
	struct waiter *first;
	bool news;

	pthread_mutex_lock(&l->lock);
	budget_answered(&l->budgets[k], left, now);
	if (r->status == 429) {
		l->stats.throttled++;
		budget_throttled(&l->budgets[k], r->retry_after, now);
	}
	news = r->status == 429 && l->stats.throttled == 1;
	first = TAILQ_FIRST(&l->waiters[k]);
	if (first)
		pthread_cond_signal(&first->cond);
	pthread_mutex_unlock(&l->lock);
	if (news)
		log_info("op=throttle method=%s left=%lld: the service throttles", method,
			 (long long)left);
}

void limiter_get_stats(struct limiter *l, struct limiter_stats *out)
{
	int64_t now = clock_mono();

	pthread_mutex_lock(&l->lock);
	*out = l->stats;
	out->reads_left = budget_left(&l->budgets[KIND_READS], now);
	out->writes_left = budget_left(&l->budgets[KIND_WRITES], now);
	out->reserve = budget_reserve(&l->budgets[KIND_READS]);
	pthread_mutex_unlock(&l->lock);
}
