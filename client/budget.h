/*
 * budget - how many more requests the service will answer before it throttles, by what its answers
 * say, and who may go on how little is left.
 *
 * Azure Resource Manager keeps a bucket of requests for each subscription, kind (reads, writes,
 * deletes), user and region, refills it steadily, and says with each answer how much is left
 * (azureml-rest.md section 6). This is one such bucket as we see it. A part of it, the reserve, is
 * for those who wait for one answer:
 *
 *   CALL_INTERACTIVE  always goes, but not before the end of a wait that the service asked for
 *   CALL_BULK         goes while more than the reserve is left, then as fast as the bucket refills
 *   CALL_PREFETCH     goes while more than the reserve is left, else not at all
 *
 * Plain arithmetic: no clock, no locks, no requests; times are those of clock_mono(), in ns.
 */
#ifndef MLENVFS_CLIENT_BUDGET_H
#define MLENVFS_CLIENT_BUDGET_H

#include <stdint.h>

#include "client/call.h"

enum {
	BUDGET_RESERVE_PART = 4,  /* a quarter of the most that was ever left */
	BUDGET_RESERVE_MAX = 100, /* requests; more is not needed to look around */
};

#define BUDGET_NEVER INT64_MAX

struct budget {
	int64_t told;    /* what the last answer said is left; -1: none has said anything */
	int64_t told_at; /* when */
	int64_t most;    /* the most that was ever told */
	unsigned int in_flight;
	double refill; /* requests per ns, as observed */

	/* the observation under way */
	int64_t since;
	int64_t then;          /* what was told at its beginning */
	unsigned int answered; /* requests since */

	int64_t closed_until;     /* to everybody: the bucket is empty */
	int64_t background_until; /* to those who can wait: the service has throttled something */
	int64_t probe_at;         /* when a bulk request may go although the reserve is reached */
	int64_t probe_wait;
};

void budget_init(struct budget *b);

/* What is left now as far as we know, and what of it is the reserve. -1 when nothing is known. */
int64_t budget_left(const struct budget *b, int64_t now);
int64_t budget_reserve(const struct budget *b);

/* ns from now until a request of that urgency may go: 0 at once, BUDGET_NEVER: not at all. */
int64_t budget_wait(const struct budget *b, enum call_prio prio, int64_t now);

/* A request is sent. */
void budget_sent(struct budget *b, enum call_prio prio, int64_t now);

/* Its answer is here (or none is): left as told, -1 when it does not say. */
void budget_answered(struct budget *b, int64_t left, int64_t now);

/* It was throttled (429): wait is what the service asked for, -1 when it did not. */
void budget_throttled(struct budget *b, int64_t wait, int64_t now);

#endif
