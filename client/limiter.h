/*
 * limiter - holds requests to Azure Resource Manager back while what is left of the service's
 * budget (budget.h) is wanted for others: a traversal or a prefetch never uses up what somebody
 * who opens one file needs.
 *
 * Reads, writes and deletes have a budget each. Who may wait does so in the order of asking,
 * without a lock, and leaves when his call is cancelled, out of time, or becomes more urgent
 * (call_promote()). Any thread.
 */
#ifndef MLENVFS_CLIENT_LIMITER_H
#define MLENVFS_CLIENT_LIMITER_H

#include <stdint.h>

#include "client/call.h"
#include "client/err.h"
#include "client/http.h"

struct limiter;

struct limiter_stats {
	int64_t reads_left; /* -1: nothing was said of them yet */
	int64_t writes_left;
	int64_t reserve;    /* of the reads */
	uint64_t throttled; /* answers with status 429 */
	uint64_t waited;    /* requests that were held back for a while */
	uint64_t gave_way;  /* prefetches that were not made */
};

int limiter_new(struct limiter **out);
void limiter_free(struct limiter *l); /* nobody may be in it any more; NULL is allowed */

/* Ends every wait with -ECANCELED, and all that follow. */
void limiter_stop(struct limiter *l);

/*
 * Waits until a request of that method may be sent; to be followed by limiter_leave() when 0.
 * -EAGAIN: a prefetch that is not to be made now. -EBUSY: the service asked for a wait that is
 * longer than the call has time, or nothing was left for it in time. -ECANCELED, -ENOMEM.
 */
int limiter_enter(struct limiter *l, const char *method, struct call *c, struct err *e);

/* Its answer; one without a status when there was none. */
void limiter_leave(struct limiter *l, const char *method, const struct http_response *r);

void limiter_get_stats(struct limiter *l, struct limiter_stats *out);

#endif
