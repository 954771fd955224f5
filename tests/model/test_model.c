/*
 * test_model - the reference model against the file system: sequences of operations that failed
 * once, then thousands at random.
 *
 *   MODEL_SEED=n    the first seed (1); a failure prints the seed of its sequence
 *   MODEL_RUNS=n    how many sequences
 *   MODEL_OPS=text  this sequence instead, as a failure prints it
 *   MODEL_VERBOSE=1 tells every call
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/log.h"
#include "tests/model/check.h"
#include "tests/model/ops.h"
#include "tests/model/regressions.h"
#include "tests/model/steps.h"

enum { RUNS = 2000, LENGTH = 30, DEEP_EVERY = 8, PROBLEM = 512 };

static long number_of(const char *variable, long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtol(text, NULL, 10) : otherwise;
}

/* Runs a sequence; what went wrong is in failure, "" when nothing did. Returns how far it got. */
static size_t run(const struct ops *ops, char failure[MODEL_FAILURE])
{
	struct model m;
	char problem[PROBLEM] = "", text[OP_TEXT];
	size_t i;

	model_init(&m, backend_mini_new());
	m.verbose = getenv("MODEL_VERBOSE");
	ops_begin(&m);
	check_all(&m, true);
	for (i = 0; i < ops->n && !model_failed(&m); i++) {
		if (m.verbose)
			fprintf(stderr, "  %s\n", op_text(&ops->list[i], text));
		op_run(&m, &ops->list[i]);
		check_all(&m, i % DEEP_EVERY == DEEP_EVERY - 1 || i + 1 == ops->n);
	}
	memcpy(failure, m.failure, MODEL_FAILURE);
	model_clear(&m);
	m.b->ops->free(m.b, problem, sizeof(problem));
	if (!failure[0])
		snprintf(failure, MODEL_FAILURE, "%s", problem);
	return i;
}

/* Leaves out what the failure does not need. */
static void shrink(struct ops *ops, size_t reached, char failure[MODEL_FAILURE])
{
	char other[MODEL_FAILURE];
	bool smaller = true;

	ops->n = reached;
	while (smaller) {
		smaller = false;
		for (size_t i = ops->n; i-- > 0;) {
			struct ops fewer = *ops;

			memmove(&fewer.list[i], &fewer.list[i + 1],
				(fewer.n - i - 1) * sizeof(fewer.list[0]));
			fewer.n--;
			run(&fewer, other);
			if (!other[0])
				continue;
			*ops = fewer;
			memcpy(failure, other, MODEL_FAILURE);
			smaller = true;
		}
	}
}

static void print_failure(const char *name, const struct ops *ops, const char *failure)
{
	char text[OP_TEXT];

	print_error("%s failed. For regressions.c:\n\t\"", name);
	for (size_t i = 0; i < ops->n; i++)
		print_error("%s%s", i ? " " : "", op_text(&ops->list[i], text));
	print_error("\"\n%s\n", failure);
}

static bool passes(const char *name, struct ops *ops)
{
	char failure[MODEL_FAILURE], first[MODEL_FAILURE];
	size_t reached = run(ops, failure);

	if (!failure[0])
		return true;
	memcpy(first, failure, sizeof(first));
	shrink(ops, reached, failure);
	print_failure(name, ops, failure);
	if (strcmp(first, failure) != 0)
		print_error("(at first: %s)\n", first);
	return false;
}

static void test_regressions(void **state)
{
	struct ops ops;
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < regressions_count; i++) {
		assert_true(ops_parse(&ops, regressions[i].ops));
		failed += !passes(regressions[i].about, &ops);
	}
	assert_int_equal(failed, 0);
}

static void test_sequences(void **state)
{
	long first = number_of("MODEL_SEED", 1), runs = number_of("MODEL_RUNS", RUNS);
	char name[64];
	struct ops ops;
	int failed = 0;

	(void)state;
	for (long seed = first; seed < first + runs && failed < 3; seed++) {
		ops_draw(&ops, (uint64_t)seed, LENGTH);
		snprintf(name, sizeof(name), "MODEL_SEED=%ld", seed);
		failed += !passes(name, &ops);
	}
	assert_int_equal(failed, 0);
	print_message("%ld sequences from seed %ld\n", runs, first);
}

static void test_one(void **state)
{
	struct ops ops;

	(void)state;
	assert_true(ops_parse(&ops, getenv("MODEL_OPS")));
	assert_true(passes("MODEL_OPS", &ops));
}

int main(void)
{
	const struct CMUnitTest one[] = {cmocka_unit_test(test_one)};
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_regressions),
		cmocka_unit_test(test_sequences),
	};

	procs_start();
	log_set_level(getenv("MODEL_VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
	if (getenv("MODEL_OPS"))
		return cmocka_run_group_tests_name("model", one, NULL, NULL);
	return cmocka_run_group_tests_name("model", all, NULL, NULL);
}
