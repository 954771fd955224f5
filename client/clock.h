/*
 * clock - time for deadlines (monotonic) and for file times (wall clock), in nanoseconds.
 */
#ifndef MLENVFS_CLIENT_CLOCK_H
#define MLENVFS_CLIENT_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* Nanoseconds of CLOCK_MONOTONIC; what deadlines are measured with. */
static inline int64_t clock_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Nanoseconds of CLOCK_BOOTTIME, which runs on while the machine sleeps; what lifetimes of tokens
 * are measured with. */
static inline int64_t clock_boot(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Nanoseconds since the epoch. */
static inline int64_t clock_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static inline int64_t clock_from_timespec(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

static inline struct timespec clock_timespec(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};

	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += NS_PER_S;
	}
	return ts;
}

/*
 * Parses an ARM time ("2022-09-16T02:50:45.0191406+00:00", also with Z, fewer digits or none) into
 * nanoseconds since the epoch. Returns 0, or -EINVAL with *out set to 0.
 * Source: azureml-rest.md section 3, Envelope.
 */
int clock_parse_iso(const char *s, int64_t *out);

/* Writes t (ns since the epoch) as "2022-09-16T02:50:45.0191406+00:00", the form ARM sends. */
enum { CLOCK_ISO_SIZE = 40 };
void clock_format_iso(int64_t t, char out[CLOCK_ISO_SIZE]);

#endif
