/*
 * log - one line a fact: time, level, then key=value text. The only mutable global of the program.
 *
 * Lines are redacted here, in one place, before they leave the process. Lines that repeat are
 * limited: more than LOG_BURST lines a second are counted and reported as one.
 */
#ifndef MLENVFS_CLIENT_LOG_H
#define MLENVFS_CLIENT_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum { LOG_BURST = 200 };

/* The least important level that is written. Any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/*
 * Where lines go: fd (not closed by the log), or syslog when fd is -1. The start is stderr.
 * Call before threads are started.
 */
void log_set_fd(int fd);

/* Writes one line; adds the line end. Any thread. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                          \
	do {                                                    \
		if (log_get_level() >= LOG_LEVEL_DEBUG)         \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
