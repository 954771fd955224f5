/*
 * canary - does on purpose what a sanitizer must find: canary heap|undefined|leak|race. Ends with
 * status 0 when nothing stopped it. A test runs it in each sanitizer build, so that a build whose
 * sanitizer has gone quiet does not pass for a clean one.
 */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Volatile, so that no compiler can see through the mistakes and drop them. */
static volatile size_t eight = 8;
static volatile int largest = INT_MAX;
static int shared;

static int heap(void)
{
	char *block = calloc(1, eight);
	char past = block ? block[eight] : 0;

	free(block);
	return past == 1 ? 1 : 0;
}

static int undefined(void)
{
	int n = largest;

	n += largest;
	return n == 1 ? 1 : 0;
}

static int leak(void)
{
	void *volatile lost = malloc(eight);

	lost = NULL;
	return lost ? 1 : 0;
}

static void *count(void *arg)
{
	for (int i = 0; i < 1000; i++)
		shared++;
	return arg;
}

static int race(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, count, NULL))
		return 1;
	count(NULL);
	return pthread_join(other, NULL) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} mistakes[] = {{"heap", heap}, {"undefined", undefined}, {"leak", leak}, {"race", race}};

	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++)
		if (argc == 2 && strcmp(argv[1], mistakes[i].name) == 0)
			return mistakes[i].run();
	fputs("usage: canary heap|undefined|leak|race\n", stderr);
	return 2;
}
