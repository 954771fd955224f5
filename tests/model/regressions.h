/*
 * regressions - sequences of operations (ops.h) that failed once.
 */
#ifndef MLENVFS_TESTS_REGRESSIONS_H
#define MLENVFS_TESTS_REGRESSIONS_H

#include <stddef.h>

struct regression {
	const char *about;
	const char *ops;
};

extern const struct regression regressions[];
extern const size_t regressions_count;

#endif
