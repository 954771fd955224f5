#include "client/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What int64_t nanoseconds hold, 1677 to 2262, with a day to spare for offsets. */
#define SECONDS_MAX (INT64_MAX / NS_PER_S - 86400)

/* Reads up to nine fraction digits at p (after the point); *ns gets them scaled. */
static const char *parse_fraction(const char *p, int64_t *ns)
{
	int64_t scale = NS_PER_S / 10;

	for (*ns = 0; isdigit((unsigned char)*p); p++, scale /= 10)
		*ns += (*p - '0') * scale;
	return p;
}

static int parse_offset(const char *p, int64_t *seconds)
{
	int h, m, end = 0;

	*seconds = 0;
	if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0 || *p == '\0')
		return 0;
	if ((*p != '+' && *p != '-') || sscanf(p + 1, "%2d:%2d%n", &h, &m, &end) != 2 || p[1 + end])
		return -EINVAL;
	if (h < 0 || h > 23 || m < 0 || m > 59)
		return -EINVAL;
	*seconds = (h * 60 + m) * 60 * (*p == '-' ? -1 : 1);
	return 0;
}

int clock_parse_iso(const char *s, int64_t *out)
{
	struct tm tm = {0};
	int64_t ns = 0, offset, seconds;
	const char *p;

	*out = 0;
	p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!p)
		return -EINVAL;
	if (*p == '.')
		p = parse_fraction(p + 1, &ns);
	if (parse_offset(p, &offset))
		return -EINVAL;
	seconds = (int64_t)timegm(&tm);
	if (seconds > SECONDS_MAX || seconds < -SECONDS_MAX)
		return -EINVAL;
	*out = (seconds - offset) * NS_PER_S + ns;
	return 0;
}

void clock_format_iso(int64_t t, char out[CLOCK_ISO_SIZE])
{
	struct timespec ts = clock_timespec(t);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&ts.tv_sec, &tm)) {
		snprintf(out, CLOCK_ISO_SIZE, "1970-01-01T00:00:00.0000000+00:00");
		return;
	}
	n = strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, CLOCK_ISO_SIZE - n, ".%07ld+00:00", ts.tv_nsec / 100);
}
