/*
 * loops - how many stats, or open-read-closes, a second some threads get done on the paths given.
 *
 *   loops stat|read THREADS SECONDS < PATHS
 *
 * Each thread takes the paths in an order of its own; all work for SECONDS (a decimal number).
 * Prints one number: operations a second, of all threads.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 64, PATHS_MAX = 100000, READ_SIZE = 64 * 1024 };

static char *paths[PATHS_MAX];
static size_t n_paths;
static atomic_bool over;

struct worker {
	pthread_t thread;
	int (*operation)(const char *path, char *buffer);
	uint64_t seed;
	uint64_t done;
	int failed;
};

static int do_stat(const char *path, char *buffer)
{
	struct stat st;

	(void)buffer;
	return stat(path, &st);
}

static int do_read(const char *path, char *buffer)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, READ_SIZE);

	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

/* xorshift64: cheap, and the same sequence in every run. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char *buffer = malloc(READ_SIZE);

	while (buffer && !w->failed && !atomic_load_explicit(&over, memory_order_relaxed)) {
		w->failed = w->operation(paths[next_random(&w->seed) % n_paths], buffer) < 0;
		w->done++;
	}
	w->failed |= !buffer;
	free(buffer);
	return NULL;
}

static int read_paths(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while (n_paths < PATHS_MAX && (len = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		paths[n_paths] = strdup(line);
		if (!paths[n_paths++])
			return -1;
	}
	free(line);
	return n_paths ? 0 : -1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int run(struct worker *workers, size_t n, double seconds)
{
	struct timespec pause = {.tv_sec = (time_t)seconds,
				 .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
	uint64_t done = 0;
	double began = now(), took;
	int failed = 0;

	for (size_t i = 0; i < n; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return -1;
	nanosleep(&pause, NULL);
	atomic_store(&over, true);
	for (size_t i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		done += workers[i].done;
		failed |= workers[i].failed;
	}
	took = now() - began;
	if (failed)
		return -1;
	printf("%.0f\n", (double)done / took);
	return 0;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	size_t n = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;

	if (n < 1 || n > THREADS_MAX || seconds <= 0 || seconds > 3600 ||
	    (strcmp(argv[1], "stat") != 0 && strcmp(argv[1], "read") != 0)) {
		fprintf(stderr, "usage: loops stat|read THREADS SECONDS < PATHS\n");
		return 2;
	}
	for (size_t i = 0; i < n; i++) {
		workers[i].operation = strcmp(argv[1], "stat") == 0 ? do_stat : do_read;
		workers[i].seed = (uint64_t)0x9E3779B97F4A7C15 * (i + 1);
	}
	if (read_paths() || run(workers, n, seconds)) {
		fprintf(stderr, "loops: not everything could be read\n");
		return 1;
	}
	return 0;
}
