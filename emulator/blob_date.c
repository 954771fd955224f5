#include "emulator/blob_date.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/clock.h"

/* strftime() and strptime() would use the words of the locale. */
static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void blob_date_format(int64_t ns, char out[BLOB_DATE_SIZE])
{
	struct timespec ts = clock_timespec(ns);
	struct tm tm;

	if (!gmtime_r(&ts.tv_sec, &tm))
		memset(&tm, 0, sizeof(tm));
	snprintf(out, BLOB_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
		 days[tm.tm_wday % 7], (unsigned int)tm.tm_mday % 100, months[tm.tm_mon % 12],
		 (unsigned int)(tm.tm_year + 1900) % 10000, (unsigned int)tm.tm_hour % 100,
		 (unsigned int)tm.tm_min % 100, (unsigned int)tm.tm_sec % 100);
}

/* Year 1970 to 9999, fields in range: what cannot overflow and means one moment. */
static int to_ns(const struct tm *fields, int64_t *ns)
{
	struct tm tm = *fields;

	if (tm.tm_year < 70 || tm.tm_year > 9999 - 1900 || tm.tm_mon < 0 || tm.tm_mon > 11 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 ||
	    tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return -EINVAL;
	/* The last years that fit into 64 bits of nanoseconds; a later expiry means "never". */
	if (tm.tm_year > 2200 - 1900)
		tm.tm_year = 2200 - 1900;
	*ns = (int64_t)timegm(&tm) * NS_PER_S;
	return 0;
}

int blob_date_parse(const char *text, int64_t *ns)
{
	struct tm tm = {0};
	char month[4], zone[4];
	int end = 0;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]%n", &tm.tm_mday,
		   month, &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &end) != 7 ||
	    text[end] || strcmp(zone, "GMT") != 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	while (tm.tm_mon < 12 && strcmp(months[tm.tm_mon], month) != 0)
		tm.tm_mon++;
	return to_ns(&tm, ns);
}

int blob_date_parse_iso(const char *text, int64_t *ns)
{
	struct tm tm = {0};
	int end = 0, n;

	n = sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &end);
	if (n != 3)
		return -EINVAL;
	text += end;
	if (*text) {
		n = sscanf(text, "T%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &end);
		if (n != 2)
			return -EINVAL;
		text += end;
		if (sscanf(text, ":%2d%n", &tm.tm_sec, &end) == 1)
			text += end;
		if (*text == '.')
			text += 1 + strspn(text + 1, "0123456789");
		if (strcmp(text, "Z") != 0)
			return -EINVAL;
	}
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return to_ns(&tm, ns);
}
