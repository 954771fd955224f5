/* Programs that are run and what becomes of them, with real ones. */
#include "emulator/build_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/clock.h"

enum { OUTPUT_MAX = 64 * 1024 * 1024, WAIT_S = 60 };

/* A run of sh -c, and what it did. */
struct sh {
	struct build_run run;
	struct buf output;
	const char *stop_at; /* it is stopped once its output holds this; NULL: never */
	int64_t limit;
};

static void take(void *ctx, const char *data, size_t len)
{
	struct sh *s = ctx;

	buf_add(&s->output, data, len);
}

static int64_t idle(void *ctx)
{
	struct sh *s = ctx;

	if (s->stop_at && strstr(buf_str(&s->output), s->stop_at))
		return 0;
	assert_true(clock_mono() < s->limit);
	return s->limit;
}

static void start(struct sh *s, const char *const *argv, const char *stop_at)
{
	static const char *const env[] = {"PATH=/usr/bin:/bin", "LANG=C", NULL};

	*s = (struct sh){.run = {.argv = argv,
				 .envp = env,
				 .dir = "/",
				 .wake_fd = -1,
				 .output = take,
				 .idle = idle},
			 .output = BUF_INIT(OUTPUT_MAX),
			 .stop_at = stop_at,
			 .limit = clock_mono() + WAIT_S * NS_PER_S};
	s->run.ctx = s;
	assert_int_equal(build_run(&s->run, NULL), 0);
}

static void run(struct sh *s, const char *script, const char *stop_at)
{
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};

	start(s, argv, stop_at);
	s->run.argv = NULL;
}

static void check(const char *script, enum build_run_end end, int value, const char *output)
{
	struct sh s;

	run(&s, script, NULL);
	assert_int_equal(s.run.end, end);
	assert_int_equal(s.run.value, value);
	assert_string_equal(buf_str(&s.output), output);
	buf_free(&s.output);
}

/* Whether the process is gone; one that nobody collects yet is. */
static bool is_gone(long pid)
{
	char path[64], stat[512] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	return n <= 0 || !strrchr(stat, ')') || strrchr(stat, ')')[2] == 'Z';
}

static void await_gone(long pid)
{
	int64_t end = clock_mono() + WAIT_S * NS_PER_S;

	assert_true(pid > 1);
	while (!is_gone(pid)) {
		assert_true(clock_mono() < end);
		usleep(1000);
	}
}

/* The number behind the word in the output. */
static long number_behind(const struct sh *s, const char *word)
{
	const char *at = strstr(buf_str(&s->output), word);

	assert_non_null(at);
	return strtol(at + strlen(word), NULL, 10);
}

static void test_ends(void **state)
{
	static const char *const nowhere[] = {"/nowhere/at/all", NULL};
	static const char *const no_program[] = {"/etc/passwd", NULL};
	struct sh s;

	(void)state;
	check("exit 0", BUILD_RUN_EXITED, 0, "");
	check("echo out; echo err >&2; exit 7", BUILD_RUN_EXITED, 7, "out\nerr\n");
	check("echo x; kill -SEGV $$", BUILD_RUN_SIGNALED, SIGSEGV, "x\n");
	check("pwd; cat; echo \"$LANG\"; printf 'no end'", BUILD_RUN_EXITED, 0, "/\nC\nno end");
	start(&s, nowhere, NULL);
	assert_int_equal(s.run.end, BUILD_RUN_NOT_RUN);
	assert_int_equal(s.run.value, ENOENT);
	start(&s, no_program, NULL);
	assert_int_equal(s.run.end, BUILD_RUN_NOT_RUN);
	assert_int_equal(s.run.value, EACCES);
}

static void test_all_output_is_there(void **state)
{
	struct sh s;

	(void)state;
	run(&s, "head -c 10000000 /dev/zero; echo end", NULL);
	assert_int_equal(s.output.len, 10000004);
	assert_string_equal(s.output.data + 10000000, "end\n");
	buf_free(&s.output);
}

/* It has no more than its three descriptors (and the one of ls), whatever we have. */
static void test_it_has_no_descriptors_of_ours(void **state)
{
	int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
	int high = fcntl(fd, F_DUPFD, 500);

	(void)state;
	assert_true(fd >= 0 && high >= 500);
	check("echo $(ls /proc/self/fd)", BUILD_RUN_EXITED, 0, "0 1 2 3\n");
	close(fd);
	close(high);
}

/* Signals that we block or ignore come as ever. */
static void test_signals_are_as_ever(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	sigset_t all, mask;

	(void)state;
	sigfillset(&all);
	sigaction(SIGTERM, &ignore, &old);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	check("kill -TERM $$", BUILD_RUN_SIGNALED, SIGTERM, "");
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGTERM, &old, NULL);
}

static void test_a_stop_is_a_signal_to_the_program(void **state)
{
	struct sh s;

	(void)state;
	run(&s, "trap 'echo cleaning up; exit 3' TERM; echo begun; while :; do sleep 0.05; done",
	    "begun");
	assert_int_equal(s.run.end, BUILD_RUN_EXITED);
	assert_int_equal(s.run.value, 3);
	assert_non_null(strstr(buf_str(&s.output), "cleaning up\n"));
	buf_free(&s.output);
}

/* What it had started ends with it, in another session and without a parent too. */
static void test_nothing_is_left(void **state)
{
	static const char script[] =
		"trap 'exit 0' TERM; t=$(mktemp -u); "
		"(setsid sh -c \"trap '' TERM; echo left \\$\\$; : >$t; sleep 600\" &); "
		"while ! rm $t 2>/dev/null; do sleep 0.01; done; "
		"sh -c 'trap \"\" TERM; echo child $$; while :; do sleep 600; done' & "
		"while :; do sleep 0.05; done";
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	struct sh s;

	(void)state;
	start(&s, argv, "child");
	assert_int_equal(s.run.end, BUILD_RUN_EXITED);
	await_gone(number_behind(&s, "child "));
	await_gone(number_behind(&s, "left "));
	buf_free(&s.output);
}

/* A program that ends by itself does not leave others either, nor does one of theirs keep us. */
static void test_what_a_program_leaves_is_ended(void **state)
{
	struct sh s;

	(void)state;
	run(&s,
	    "t=$(mktemp -u); setsid sh -c \"echo left \\$\\$; : >$t; exec sleep 600\" & "
	    "while ! rm $t 2>/dev/null; do sleep 0.01; done; exit 5",
	    NULL);
	assert_int_equal(s.run.end, BUILD_RUN_EXITED);
	assert_int_equal(s.run.value, 5);
	await_gone(number_behind(&s, "left "));
	buf_free(&s.output);
}

static void test_a_keeper_that_is_killed(void **state)
{
	struct sh s;

	(void)state;
	run(&s, "echo pid $$; kill -KILL $PPID; sleep 600", NULL);
	assert_int_equal(s.run.end, BUILD_RUN_LOST);
	await_gone(number_behind(&s, "pid "));
	buf_free(&s.output);
}

struct waking {
	struct sh sh;
	int fd;
	int woken;
};

static int64_t idle_until_woken(void *ctx)
{
	struct waking *w = ctx;
	uint64_t count;

	assert_true(clock_mono() < w->sh.limit);
	w->woken = read(w->fd, &count, sizeof(count)) == sizeof(count) || w->woken;
	return w->woken ? 0 : w->sh.limit;
}

static void take_and_wake(void *ctx, const char *data, size_t len)
{
	static const uint64_t one = 1;
	struct waking *w = ctx;

	buf_add(&w->sh.output, data, len);
	assert_int_equal(write(w->fd, &one, sizeof(one)), sizeof(one));
}

static void test_a_wake_up_is_noticed(void **state)
{
	static const char *const argv[] = {"/bin/sh", "-c", "echo begun; exec sleep 600", NULL};
	static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
	struct waking w = {.sh = {.output = BUF_INIT(OUTPUT_MAX)},
			   .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	struct build_run r = {.argv = argv,
			      .envp = env,
			      .dir = "/",
			      .wake_fd = w.fd,
			      .output = take_and_wake,
			      .idle = idle_until_woken,
			      .ctx = &w};

	(void)state;
	w.sh.limit = clock_mono() + WAIT_S * NS_PER_S;
	assert_int_equal(build_run(&r, NULL), 0);
	assert_int_equal(r.end, BUILD_RUN_SIGNALED);
	assert_int_equal(r.value, SIGTERM);
	buf_free(&w.sh.output);
	close(w.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_all_output_is_there),
		cmocka_unit_test(test_it_has_no_descriptors_of_ours),
		cmocka_unit_test(test_signals_are_as_ever),
		cmocka_unit_test(test_a_stop_is_a_signal_to_the_program),
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_what_a_program_leaves_is_ended),
		cmocka_unit_test(test_a_keeper_that_is_killed),
		cmocka_unit_test(test_a_wake_up_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
