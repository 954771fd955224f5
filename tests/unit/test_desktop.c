/* fs/desktop: notifications, through a notify-send of the test's own. */
#include "fs/desktop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/log.h"

enum { TEXT_MAX = 16 * 1024, WAIT_S = 20 };

/* A directory with a notify-send that writes its arguments, one a line, and waits if it should. */
struct place {
	char path[64];
	int dir;
};

static const char program[] = "#!/bin/sh\n"
			      "here=${0%/*}\n"
			      "printf '[%s]\\n' \"$@\" > \"$here/new\"\n"
			      "mv \"$here/new\" \"$here/shown\"\n"
			      "n=0\n"
			      "while [ -e \"$here/wait\" ] && [ $n -lt 500 ]; do\n"
			      "	sleep 0.02; n=$((n + 1))\n"
			      "done\n";

static void put(const struct place *p, const char *name, const char *text, mode_t mode)
{
	int fd = openat(p->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char path[128];

	snprintf(p->path, sizeof(p->path), "/tmp/mlenvfs-desktop-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(p, "notify-send", program, 0700);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", p->path);
	setenv("PATH", path, 1);
	setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere", 1);
	*state = p;
	return p->dir < 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct place *p = *state;

	close(p->dir);
	nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

/* The pause between notifications is the process's: a process of its own for each test. */
static void in_a_process(const struct place *p, void (*test)(const struct place *p))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		test(p);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In such a process. */
static void check(bool ok, int line)
{
	if (ok)
		return;
	fprintf(stderr, "%s:%d\n", __FILE__, line);
	_exit(1);
}
#define CHECK(what) check(what, __LINE__)

static bool read_shown(const struct place *p, char text[TEXT_MAX])
{
	int fd = openat(p->dir, "shown", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

static bool wait_shown(const struct place *p, char text[TEXT_MAX])
{
	for (int64_t end = clock_mono() + WAIT_S * NS_PER_S; clock_mono() < end; usleep(5000))
		if (read_shown(p, text))
			return true;
	return false;
}

/* Until the program has ended and was collected. */
static bool wait_no_child(void)
{
	siginfo_t info;

	for (int64_t end = clock_mono() + WAIT_S * NS_PER_S; clock_mono() < end; usleep(5000))
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			return errno == ECHILD;
	return false;
}

static void shows_both(const struct place *p)
{
	char text[TEXT_MAX];

	desktop_notify("env/4 was not saved", "line 3: image: wrong");
	CHECK(wait_shown(p, text));
	CHECK(strcmp(text, "[--app-name=mlenvfs]\n[--]\n[env/4 was not saved]\n"
			   "[line 3: image: wrong]\n") == 0);
	CHECK(wait_no_child());
}

static void test_both_texts_are_shown_and_nothing_stays(void **state)
{
	in_a_process(*state, shows_both);
}

static void shows_texts_as_they_are(const struct place *p)
{
	char text[TEXT_MAX];

	desktop_notify("--icon=/etc/x $(id) `id`\x01\xff",
		       "-u <b>&\\n https://x/?sv=1&sig=SECRET%2B&x=1\nBearer TOKEN naïve");
	CHECK(wait_shown(p, text));
	CHECK(strstr(text, "[--]\n[--icon=/etc/x $(id) `id`??]\n"));
	CHECK(strstr(text, "[-u &lt;b&gt;&amp;\\\\n https://x/?sv=1&amp;sig="));
	CHECK(strstr(text, "naïve]"));
	CHECK(!strstr(text, "SECRET") && !strstr(text, "TOKEN"));
	CHECK(wait_no_child());
}

static void test_texts_are_neither_options_nor_markup_nor_secret(void **state)
{
	in_a_process(*state, shows_texts_as_they_are);
}

static void shows_the_beginning(const struct place *p)
{
	char longer[8192], text[TEXT_MAX];

	memset(longer, '<', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	desktop_notify("x", longer);
	CHECK(wait_shown(p, text));
	CHECK(strlen(text) > 4096 && strlen(text) < 5000);
	CHECK(wait_no_child());
}

static void test_long_texts_are_cut(void **state)
{
	in_a_process(*state, shows_the_beginning);
}

static void shows_one_of_many(const struct place *p)
{
	int64_t start = clock_mono();
	char text[TEXT_MAX];

	/* The first one is not over yet, then it is, but only just. */
	put(p, "wait", "", 0600);
	desktop_notify("first", "");
	CHECK(wait_shown(p, text));
	CHECK(strstr(text, "[first]"));
	desktop_notify("second", "");
	CHECK(unlinkat(p->dir, "wait", 0) == 0);
	CHECK(wait_no_child());
	desktop_notify("third", "");
	CHECK(wait_no_child());
	CHECK(read_shown(p, text));
	CHECK(strstr(text, "[first]") || clock_mono() - start >= DESKTOP_PAUSE);
}

static void test_many_are_shown_as_one(void **state)
{
	in_a_process(*state, shows_one_of_many);
}

static void does_not_wait(const struct place *p)
{
	char text[TEXT_MAX];
	siginfo_t info = {0};

	put(p, "wait", "", 0600);
	desktop_notify("x", "");
	CHECK(wait_shown(p, text));
	/* It runs still. */
	CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0);
	CHECK(unlinkat(p->dir, "wait", 0) == 0);
	CHECK(wait_no_child());
}

static void test_the_caller_does_not_wait(void **state)
{
	in_a_process(*state, does_not_wait);
}

static void needs_a_bus(const struct place *p)
{
	char text[TEXT_MAX];

	unsetenv("DBUS_SESSION_BUS_ADDRESS");
	desktop_notify("x", "");
	setenv("DBUS_SESSION_BUS_ADDRESS", "", 1);
	desktop_notify("y", "");
	/* Neither took the turn of this one. */
	setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere", 1);
	desktop_notify("z", "");
	CHECK(wait_shown(p, text));
	CHECK(strstr(text, "[z]"));
	CHECK(wait_no_child());
}

static void test_without_a_session_nothing_is_shown(void **state)
{
	in_a_process(*state, needs_a_bus);
}

static void works_without_the_program(const struct place *p)
{
	char text[TEXT_MAX];
	int fd;

	CHECK(unlinkat(p->dir, "notify-send", 0) == 0);
	setenv("PATH", p->path, 1);
	/* The log is where its arguments would be. */
	fd = openat(p->dir, "shown", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	log_set_fd(fd);
	log_set_level(LOG_LEVEL_DEBUG);
	desktop_notify("x", "");
	for (int64_t end = clock_mono() + WAIT_S * NS_PER_S; clock_mono() < end; usleep(5000))
		if (read_shown(p, text) && *text)
			break;
	CHECK(strstr(text, "op=notify error=\"No such file or directory\""));
	CHECK(wait_no_child());
}

static void test_without_the_program_nothing_happens(void **state)
{
	in_a_process(*state, works_without_the_program);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_both_texts_are_shown_and_nothing_stays),
		TEST(test_texts_are_neither_options_nor_markup_nor_secret),
		TEST(test_long_texts_are_cut),
		TEST(test_many_are_shown_as_one),
		TEST(test_the_caller_does_not_wait),
		TEST(test_without_a_session_nothing_is_shown),
		TEST(test_without_the_program_nothing_happens),
	};

	return cmocka_run_group_tests_name("desktop", tests, NULL, NULL);
}
