/*
 * driver - runs a fuzz target without a fuzzer, so that it works with any compiler.
 *
 *   fuzz_x FILE|DIRECTORY...    each file (those of a directory, not deeper) once
 *   fuzz_x                      mutations of the built-in seeds: FUZZ_RUNS of them (20,000), from
 *                               FUZZ_SEED (the time); the seed is printed, so a failure repeats
 *
 * With -DFUZZ_LIBFUZZER -fsanitize=fuzzer there is no main() here: libFuzzer brings its own.
 * A target includes this file once, with FUZZ_SEEDS (an array of texts) and FUZZ_WORDS (what
 * mutations put in) defined. Failed checks abort().
 */
#ifndef MLENVFS_TESTS_FUZZ_DRIVER_H
#define MLENVFS_TESTS_FUZZ_DRIVER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a target found to be untrue: the input is shown, then the process ends as fuzzers expect. */
#define FUZZ_CHECK(condition, data, size)                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not true: %s\n--- input of %zu bytes\n", __FILE__, \
				__LINE__, #condition, (size_t)(size));                             \
			fwrite(data, 1, size, stderr);                                             \
			fprintf(stderr, "\n---\n");                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#ifndef FUZZ_LIBFUZZER

enum { FUZZ_INPUT_MAX = 64 * 1024, FUZZ_RUNS_DEFAULT = 20000, FUZZ_STEPS_MAX = 6 };

struct fuzz_input {
	uint8_t data[FUZZ_INPUT_MAX];
	size_t len;
};

static uint32_t fuzz_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static size_t fuzz_below(uint64_t *state, size_t n)
{
	return n ? fuzz_random(state) % n : 0;
}

/* Puts n bytes in at a place, as far as they fit. */
static void fuzz_insert(struct fuzz_input *in, size_t at, const void *bytes, size_t n)
{
	if (n > FUZZ_INPUT_MAX - in->len)
		return;
	memmove(in->data + at + n, in->data + at, in->len - at);
	memcpy(in->data + at, bytes, n);
	in->len += n;
}

static void fuzz_copy_within(struct fuzz_input *in, uint64_t *state)
{
	static uint8_t part[FUZZ_INPUT_MAX];
	size_t from = fuzz_below(state, in->len + 1);
	size_t n = fuzz_below(state, in->len - from + 1);

	memcpy(part, in->data + from, n);
	fuzz_insert(in, fuzz_below(state, in->len + 1), part, n);
}

static void fuzz_mutate(struct fuzz_input *in, uint64_t *state)
{
	size_t at = fuzz_below(state, in->len + 1), n;
	const char *word;
	uint8_t byte;

	switch (fuzz_below(state, 6)) {
	case 0:
		if (at < in->len)
			in->data[at] ^= (uint8_t)(1 << fuzz_below(state, 8));
		break;
	case 1:
		n = fuzz_below(state, in->len - at + 1) % 16;
		memmove(in->data + at, in->data + at + n, in->len - at - n);
		in->len -= n;
		break;
	case 2:
		byte = (uint8_t)fuzz_random(state);
		fuzz_insert(in, at, &byte, 1);
		break;
	case 3:
		fuzz_copy_within(in, state);
		break;
	default:
		word = FUZZ_WORDS[fuzz_below(state, sizeof(FUZZ_WORDS) / sizeof(*FUZZ_WORDS))];
		fuzz_insert(in, at, word, strlen(word));
	}
}

/* The target must not read behind its input: it gets a copy of exactly that size. */
static void fuzz_run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void fuzz_seeds(void)
{
	static struct fuzz_input in;
	const char *runs_text = getenv("FUZZ_RUNS"), *seed_text = getenv("FUZZ_SEED");
	long runs = runs_text ? strtol(runs_text, NULL, 10) : FUZZ_RUNS_DEFAULT;
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL);
	uint64_t state = seed;

	printf("FUZZ_SEED=%llu FUZZ_RUNS=%ld\n", (unsigned long long)seed, runs);
	fflush(stdout);
	for (long i = 0; i < runs; i++) {
		size_t n = sizeof(FUZZ_SEEDS) / sizeof(*FUZZ_SEEDS);
		const char *text = FUZZ_SEEDS[(size_t)i % n];

		in.len = strlen(text);
		memcpy(in.data, text, in.len);
		if ((size_t)i >= n)
			for (size_t k = fuzz_below(&state, FUZZ_STEPS_MAX) + 1; k > 0; k--)
				fuzz_mutate(&in, &state);
		fuzz_run(in.data, in.len);
	}
	printf("%ld inputs, no failure\n", runs);
}

static long fuzz_file(int dir, const char *name)
{
	static uint8_t data[4 * 1024 * 1024];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	ssize_t n;

	if (fd < 0) {
		fprintf(stderr, "%s can't be opened\n", name);
		return 0;
	}
	while (len < sizeof(data) && (n = read(fd, data + len, sizeof(data) - len)) > 0)
		len += (size_t)n;
	close(fd);
	fuzz_run(data, len);
	return 1;
}

static long fuzz_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;
	long n = 0;

	if (!dir)
		return fuzz_file(AT_FDCWD, path);
	while ((entry = readdir(dir)))
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			n += fuzz_file(dirfd(dir), entry->d_name);
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	long n = 0;

	if (argc < 2) {
		fuzz_seeds();
		return 0;
	}
	for (int i = 1; i < argc; i++)
		n += fuzz_path(argv[i]);
	printf("%ld files, no failure\n", n);
	return n ? 0 : 1;
}

#endif
#endif
