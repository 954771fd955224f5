/*
 * counters - how often which kind of request was made; what the tests count with.
 *
 * GET /__mlenvfs/counters gives {"total": n, "routes": {"GET versions": n, ...}, "bytes_in": n,
 * "bytes_out": n, "connections": n, "throttled": n, "at_once": n}; DELETE sets them to 0.
 * throttled: those that found no budget left. at_once: the most requests that were being answered
 * at one time (a fault plan's wait is part of an answer). Requests to /__mlenvfs/ are not counted.
 */
#ifndef MLENVFS_EMULATOR_COUNTERS_H
#define MLENVFS_EMULATOR_COUNTERS_H

#include <stdint.h>

#include "client/buf.h"

struct counters;

struct counters *counters_new(void);
void counters_free(struct counters *c);

/* One request of that route ("GET versions", "PUT blob"; a short fixed text). Any thread. */
void counters_add(struct counters *c, const char *route, uint64_t bytes_in, uint64_t bytes_out);
/* Around the answering of one request, which counters_add() then counts. */
void counters_begin(struct counters *c);
void counters_end(struct counters *c);
void counters_connection(struct counters *c);
void counters_throttled(struct counters *c); /* a request that found the budget empty */
void counters_reset(struct counters *c);

/* Appends the JSON above. */
int counters_json(struct counters *c, struct buf *out);

#endif
