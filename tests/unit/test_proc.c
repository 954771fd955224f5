/* fs/proc: which process makes a request, asked about real processes. */
#include "fs/proc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"

/* A child that waits until it is told to end by closing the write end. */
struct child {
	pid_t pid;
	int tell;
};

static struct child start_child(const char *name)
{
	struct child c = {0};
	int down[2], up[2];
	char byte = 0;

	assert_int_equal(pipe(down), 0);
	assert_int_equal(pipe(up), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		close(down[1]);
		prctl(PR_SET_NAME, name);
		if (write(up[1], "x", 1) != 1 || read(down[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(up[0], &byte, 1), 1);
	close(up[0]);
	close(up[1]);
	close(down[0]);
	c.tell = down[1];
	return c;
}

static void *report_tid(void *arg)
{
	struct proc_id *p = arg;

	return proc_of_thread(gettid(), p) || gettid() == getpid() ? arg : NULL;
}

static void test_all_threads_are_one_process(void **state)
{
	struct proc_id me, other;
	pthread_t thread;
	void *failed = NULL;

	(void)state;
	assert_int_equal(proc_of_thread(getpid(), &me), 0);
	assert_int_equal(me.tgid, getpid());
	assert_true(me.start > 0);
	assert_int_equal(pthread_create(&thread, NULL, report_tid, &other), 0);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_true(proc_same(&me, &other));
	assert_true(proc_alive(&me));
}

static void test_what_can_not_be_seen_is_nobody(void **state)
{
	struct proc_id none = {1, 1};

	(void)state;
	assert_int_equal(proc_of_thread(0, &none), 0);
	assert_int_equal(none.tgid, 0);
	assert_int_equal(none.start, 0);
	assert_false(proc_alive(&none));
	assert_false(proc_same(&none, &none));
	assert_false(proc_killed(0));
}

static void test_an_ended_process_is_not_alive(void **state)
{
	struct child c = start_child("waits");
	struct proc_id p, me;
	siginfo_t info;

	(void)state;
	assert_int_equal(proc_of_thread(getpid(), &me), 0);
	assert_int_equal(proc_of_thread(c.pid, &p), 0);
	assert_int_equal(p.tgid, c.pid);
	assert_true(proc_alive(&p));
	assert_false(proc_same(&p, &me));
	close(c.tell);
	/* It has ended, but was not collected yet: a zombie. */
	assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(proc_alive(&p));
	assert_false(proc_killed(c.pid));
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	assert_false(proc_alive(&p));
	assert_int_equal(proc_of_thread(c.pid, &p), -ESRCH);
	assert_int_equal(p.tgid, 0);
}

static void test_a_reused_number_is_another_process(void **state)
{
	struct proc_id me, earlier;

	(void)state;
	assert_int_equal(proc_of_thread(getpid(), &me), 0);
	earlier = me;
	earlier.start--;
	assert_false(proc_alive(&earlier));
	assert_false(proc_same(&me, &earlier));
}

/* The name of a process is its own to choose. */
static void test_a_name_can_not_confuse(void **state)
{
	static const char *const names[] = {") Z 1 1 1 1 1 40", "a) (b", "\n) X 0 0", "Tgid:\t1",
					    ")"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct child c = start_child(names[i]);
		struct proc_id p;

		assert_int_equal(proc_of_thread(c.pid, &p), 0);
		assert_int_equal(p.tgid, c.pid);
		assert_true(proc_alive(&p));
		assert_false(proc_killed(c.pid));
		close(c.tell);
		assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	}
}

static void test_a_killed_process_is_told_from_one_that_ended(void **state)
{
	struct child c = start_child("killed");
	siginfo_t info;

	(void)state;
	assert_false(proc_killed(c.pid));
	assert_int_equal(kill(c.pid, SIGTERM), 0);
	assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(proc_killed(c.pid));
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	assert_false(proc_killed(c.pid));
}

/* Whether /proc calls the process a zombie, within some seconds. */
static bool becomes_zombie(pid_t pid)
{
	for (int64_t end = clock_mono() + 10 * NS_PER_S; clock_mono() < end; usleep(1000)) {
		char path[64], line[256] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
		f = fopen(path, "re");
		if (!f || !fgets(line, sizeof(line), f))
			return false;
		fclose(f);
		if (strstr(line, ") Z "))
			return true;
	}
	return false;
}

static void *read_and_end(void *arg)
{
	char byte;

	_exit(read(*(int *)arg, &byte, 1) != 0);
}

static void test_a_process_outlives_its_first_thread(void **state)
{
	pthread_t thread;
	struct proc_id p;
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[1]);
		if (pthread_create(&thread, NULL, read_and_end, &fds[0]))
			_exit(1);
		pthread_exit(NULL);
	}
	close(fds[0]);
	assert_true(becomes_zombie(pid));
	assert_int_equal(proc_of_thread(pid, &p), 0);
	assert_true(proc_alive(&p));
	close(fds[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(proc_alive(&p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_threads_are_one_process),
		cmocka_unit_test(test_what_can_not_be_seen_is_nobody),
		cmocka_unit_test(test_an_ended_process_is_not_alive),
		cmocka_unit_test(test_a_reused_number_is_another_process),
		cmocka_unit_test(test_a_name_can_not_confuse),
		cmocka_unit_test(test_a_killed_process_is_told_from_one_that_ended),
		cmocka_unit_test(test_a_process_outlives_its_first_thread),
	};

	return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
