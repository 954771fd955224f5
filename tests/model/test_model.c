/*
 * test_model - the reference model against the file system: sequences of operations that failed
 * once, then thousands at random.
 *
 *   MODEL_SEED=n    the first seed (1); a failure prints the seed of its sequence
 *   MODEL_RUNS=n    how many sequences (1000; fewer with a sanitizer)
 *   MODEL_OPS=text  this sequence instead, as a failure prints it
 *   MODEL_VERBOSE=1 tells every call
 *   MODEL_MOUNT=directory, MODEL_URL, MODEL_TOKEN: in a mounted directory, by system calls, with
 * the embedded service that is behind it, instead of in this process MODEL_HERE=1    runs in this
 * very process, for a debugger
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/log.h"
#include "tests/model/check.h"
#include "tests/model/ops.h"
#include "tests/model/regressions.h"
#include "tests/model/steps.h"

#if defined(__SANITIZE_THREAD__)
enum { RUNS = 100 };
#elif defined(__SANITIZE_ADDRESS__)
enum { RUNS = 250 };
#else
enum { RUNS = 1000 };
#endif

enum {
	LENGTH = 30,
	BATCH = 50,
	FAILURES = 3, /* and it has seen enough */
	DEEP_EVERY = 8,
	PROBLEM = 512,
};

/* What became of a run, in memory shared with the process that it happens in. */
struct outcome {
	long seed;
	size_t reached;
	char failure[MODEL_FAILURE];
};

static struct outcome *outcome;

static long number_of(const char *variable, long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtol(text, NULL, 10) : otherwise;
}

static struct backend *backend_new(void)
{
	const char *mount = getenv("MODEL_MOUNT");

	return mount ? backend_mount_new(mount, getenv("MODEL_URL"), getenv("MODEL_TOKEN"))
		     : backend_mini_new();
}

/* Runs a sequence; what went wrong is in o->failure, "" when nothing did. */
static void run(const struct ops *ops, struct outcome *o)
{
	struct model m;
	char problem[PROBLEM] = "", text[OP_TEXT];

	o->reached = 0;
	model_init(&m, backend_new());
	m.verbose = getenv("MODEL_VERBOSE");
	ops_begin(&m);
	check_all(&m, true);
	while (o->reached < ops->n && !model_failed(&m)) {
		size_t i = o->reached++;

		if (m.verbose)
			fprintf(stderr, "  %s\n", op_text(&ops->list[i], text));
		op_run(&m, &ops->list[i]);
		check_all(&m, i % DEEP_EVERY == DEEP_EVERY - 1 || i + 1 == ops->n);
	}
	memcpy(o->failure, m.failure, MODEL_FAILURE);
	model_clear(&m);
	m.b->ops->free(m.b, problem, sizeof(problem));
	if (!o->failure[0])
		snprintf(o->failure, MODEL_FAILURE, "%s", problem);
}

/* ---- in a process of their own, which may crash ---- */

typedef void work_fn(const void *arg);

static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

static void in_child(work_fn *work, const void *arg)
{
	pid_t pid;
	int status = 0;

	if (getenv("MODEL_HERE")) {
		procs_start();
		work(arg);
		return;
	}
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* cmocka would go on after a crash. */
		for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
			signal(crashes[i], SIG_DFL);
		procs_start();
		work(arg);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		snprintf(outcome->failure, MODEL_FAILURE, "no process for it");
	else if (WIFSIGNALED(status))
		snprintf(outcome->failure, MODEL_FAILURE, "it crashed: %s",
			 strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) && !outcome->failure[0])
		snprintf(outcome->failure, MODEL_FAILURE, "it ended with status %d",
			 WEXITSTATUS(status));
}

static void run_one(const void *arg)
{
	run(arg, outcome);
}

/* Some sequences, until one fails. */
struct batch {
	long from, to;
};

static void run_batch(const void *arg)
{
	const struct batch *b = arg;
	struct ops ops;

	for (long seed = b->from; seed < b->to && !outcome->failure[0]; seed++) {
		outcome->seed = seed;
		ops_draw(&ops, (uint64_t)seed, LENGTH);
		run(&ops, outcome);
	}
}

static void start_outcome(void)
{
	outcome->failure[0] = '\0';
	outcome->reached = 0;
}

/* Leaves out what the failure does not need. */
static void shrink(struct ops *ops, char failure[MODEL_FAILURE])
{
	bool smaller = true;

	while (smaller) {
		smaller = false;
		for (size_t i = ops->n; i-- > 0;) {
			struct ops fewer = *ops;

			memmove(&fewer.list[i], &fewer.list[i + 1],
				(fewer.n - i - 1) * sizeof(fewer.list[0]));
			fewer.n--;
			start_outcome();
			in_child(run_one, &fewer);
			if (!outcome->failure[0])
				continue;
			*ops = fewer;
			memcpy(failure, outcome->failure, MODEL_FAILURE);
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

/* It failed: how, in the fewest operations. */
static void explain(const char *name, struct ops *ops)
{
	char failure[MODEL_FAILURE], first[MODEL_FAILURE];

	if (outcome->reached && outcome->reached < ops->n)
		ops->n = outcome->reached;
	memcpy(failure, outcome->failure, sizeof(failure));
	memcpy(first, failure, sizeof(first));
	if (!getenv("MODEL_MOUNT")) /* where it takes too long */
		shrink(ops, failure);
	print_failure(name, ops, failure);
	if (strcmp(first, failure) != 0)
		print_error("(at first: %s)\n", first);
}

static bool passes(const char *name, struct ops *ops)
{
	start_outcome();
	in_child(run_one, ops);
	if (!outcome->failure[0])
		return true;
	explain(name, ops);
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
	struct batch b = {.from = first};
	char name[64];
	struct ops ops;
	int failed = 0;

	(void)state;
	while (b.from < first + runs && failed < FAILURES) {
		b.to = b.from + BATCH < first + runs ? b.from + BATCH : first + runs;
		start_outcome();
		in_child(run_batch, &b);
		b.from = b.to;
		if (!outcome->failure[0])
			continue;
		b.from = outcome->seed + 1;
		snprintf(name, sizeof(name), "MODEL_SEED=%ld", outcome->seed);
		ops_draw(&ops, (uint64_t)outcome->seed, LENGTH);
		explain(name, &ops);
		failed++;
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

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (outcome == MAP_FAILED)
		return 1;
	unsetenv("DBUS_SESSION_BUS_ADDRESS"); /* nobody is to be told on the desktop */
	log_set_level(getenv("MODEL_VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
	if (getenv("MODEL_OPS"))
		return cmocka_run_group_tests_name("model", one, NULL, NULL);
	return cmocka_run_group_tests_name("model", all, NULL, NULL);
}
