/* fs/sockdir: directories for sockets, and what killed processes leave of them. */
#include "fs/sockdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cleanup.h"

static int setup(void **state)
{
	char *in = strdup("/tmp/mlenvfs-test-sockdir-XXXXXX");

	*state = in;
	return in && mkdtemp(in) ? 0 : -1;
}

static int teardown(void **state)
{
	int rc = rmdir(*state); /* nothing may be left in it */

	free(*state);
	return rc;
}

static struct sockdir *make(const char *in)
{
	struct err e = ERR_INIT;
	struct sockdir *d;

	assert_int_equal(sockdir_new(in, &d, &e), 0);
	return d;
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void test_each_has_its_own_and_removes_it(void **state)
{
	struct sockdir *a = make(*state), *b = make(*state);
	_cleanup_free_ char *path = strdup(sockdir_socket(a));
	struct stat st;

	assert_string_not_equal(sockdir_socket(a), sockdir_socket(b));
	touch(sockdir_socket(a));
	touch(sockdir_socket(b));
	assert_true(is_there(sockdir_socket(a))); /* the other one is in use, and stays */
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	sockdir_free(a);
	assert_false(is_there(path));
	sockdir_free(b);
}

/* In a process that is killed once its socket is there. */
static void leave_one(const char *in, char path[200])
{
	int told[2], status;
	pid_t child;

	assert_int_equal(pipe(told), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		struct sockdir *d = NULL;
		int fd = sockdir_new(in, &d, NULL)
				 ? -1
				 : open(sockdir_socket(d), O_WRONLY | O_CREAT, 0600);

		if (fd < 0 || write(told[1], sockdir_socket(d), strlen(sockdir_socket(d))) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	memset(path, 0, 200);
	assert_true(read(told[0], path, 199) > 0);
	close(told[0]);
	close(told[1]);
}

static void test_what_a_killed_process_left_goes(void **state)
{
	char path[200];
	struct sockdir *d;

	leave_one(*state, path);
	assert_true(is_there(path));
	d = make(*state);
	assert_false(is_there(path));
	*strrchr(path, '/') = '\0';
	assert_false(is_there(path));
	sockdir_free(d);
}

/* Names that only look like ours are somebody else's. */
static void test_other_directories_stay(void **state)
{
	_cleanup_free_ char *other = NULL;
	_cleanup_free_ char *link = NULL;
	_cleanup_free_ char *file = NULL;

	assert_true(asprintf(&other, "%s/mlenvfs-others", (const char *)*state) > 0);
	assert_true(asprintf(&link, "%s/mlenvfs-link", (const char *)*state) > 0);
	assert_true(asprintf(&file, "%s/service", other) > 0);
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(symlink(other, link), 0);
	touch(file); /* there is no lock beside it */
	sockdir_free(make(*state));
	assert_true(is_there(file));
	assert_true(is_there(link));
	unlink(file);
	unlink(link);
	assert_int_equal(rmdir(other), 0);
}

static void test_no_directory_to_make_it_in(void **state)
{
	struct err e = ERR_INIT;
	struct sockdir *d;

	(void)state;
	assert_int_equal(sockdir_new("/nowhere/at/all", &d, &e), -ENOENT);
	assert_null(d);
	assert_non_null(strstr(e.msg, "/nowhere/at/all"));
	sockdir_free(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_each_has_its_own_and_removes_it),
		TEST(test_what_a_killed_process_left_goes),
		TEST(test_other_directories_stay),
		cmocka_unit_test(test_no_directory_to_make_it_in),
	};

	return cmocka_run_group_tests_name("sockdir", tests, NULL, NULL);
}
