#include "client/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/redact.h"

enum { LINE_MAX_LEN = 2048 };

static _Atomic int log_level = LOG_LEVEL_INFO;
static _Atomic int log_fd = STDERR_FILENO;

static struct {
	pthread_mutex_t lock;
	/* protected by lock */
	int64_t second;
	unsigned int count;
	unsigned int dropped;
} burst = {.lock = PTHREAD_MUTEX_INITIALIZER};

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

static void log_write(enum log_level level, const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	char when[CLOCK_ISO_SIZE], line[LINE_MAX_LEN + 64];
	int fd = atomic_load(&log_fd);
	int n;

	if (fd < 0) {
		syslog(priorities[level], "%s", text);
		return;
	}
	clock_format_iso(clock_wall(), when);
	n = snprintf(line, sizeof(line), "%.23sZ %s %s\n", when, names[level], text);
	if (n >= (int)sizeof(line)) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* One write a line, so that lines of several threads do not mix. Nowhere to tell a failure.
	 */
	if (write(fd, line, (size_t)n) < 0)
		return;
}

/* True when the line may be written; *dropped gets how many were left out in the second before. */
static bool burst_allows(unsigned int *dropped)
{
	int64_t second = clock_mono() / NS_PER_S;
	bool ok;

	pthread_mutex_lock(&burst.lock);
	*dropped = 0;
	if (second != burst.second) {
		*dropped = burst.dropped;
		burst.second = second;
		burst.count = 0;
		burst.dropped = 0;
	}
	ok = burst.count < LOG_BURST;
	if (ok)
		burst.count++;
	else
		burst.dropped++;
	pthread_mutex_unlock(&burst.lock);
	return ok;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[LINE_MAX_LEN];
	unsigned int dropped;
	va_list ap;

	if (level > log_get_level())
		return;
	if (level != LOG_LEVEL_DEBUG) {
		bool ok = burst_allows(&dropped);

		if (dropped) {
			snprintf(text, sizeof(text), "%u lines were left out", dropped);
			log_write(LOG_LEVEL_WARN, text);
		}
		if (!ok)
			return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	redact(text);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	log_write(level, text);
}
