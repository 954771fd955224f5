/* client/child: other programs, bounded and ended; and client/auth_azcli, which runs one. */
#include "client/child.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/auth_azcli.h"
#include "client/clock.h"
#include "client/log.h"

enum { DEADLINE_S = 30, OUT_MAX = 64 * 1024 };

struct result {
	int rc;
	int status;
	struct buf out;
	struct buf err;
	struct err e;
};

static void result_clear(struct result *r)
{
	buf_free(&r->out);
	buf_free(&r->err);
}

static struct result run_within(const char *const *argv, const char *input, int64_t ns)
{
	static const char *const env[] = {"CHILD_TEST=added", "HOME=/changed", NULL};
	struct result r = {.out = BUF_INIT(OUT_MAX), .err = BUF_INIT(OUT_MAX), .e = ERR_INIT};
	struct child_spec spec = {.argv = argv,
				  .env = env,
				  .input = input,
				  .input_len = input ? strlen(input) : 0,
				  .out = &r.out,
				  .err = &r.err};
	struct call call;

	call_init(&call, clock_mono() + ns, CALL_INTERACTIVE);
	r.rc = child_run(&spec, &call, &r.status, &r.e);
	call_destroy(&call);
	return r;
}

static struct result run_sh(const char *script, const char *input)
{
	const char *argv[] = {"sh", "-c", script, NULL};

	return run_within(argv, input, DEADLINE_S * NS_PER_S);
}

/* How many processes have this in their command line. */
static int count_processes(const char *mark)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int n = 0;

	assert_non_null(proc);
	while ((d = readdir(proc))) {
		char path[300], line[512] = "";
		FILE *f;
		size_t got;

		snprintf(path, sizeof(path), "/proc/%s/cmdline", d->d_name);
		f = strspn(d->d_name, "0123456789") ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		got = fread(line, 1, sizeof(line) - 1, f);
		fclose(f);
		n += memmem(line, got, mark, strlen(mark)) != NULL;
	}
	closedir(proc);
	return n;
}

static void assert_gone(const char *mark)
{
	int64_t end = clock_mono() + DEADLINE_S * NS_PER_S;

	while (count_processes(mark) && clock_mono() < end)
		usleep(1000);
	assert_int_equal(count_processes(mark), 0);
}

static void test_output_input_and_status(void **state)
{
	struct result r = run_sh("cat; echo error >&2; pwd; echo $CHILD_TEST$HOME; exit 3", "in\n");

	(void)state;
	assert_int_equal(r.rc, 0);
	assert_true(WIFEXITED(r.status));
	assert_int_equal(WEXITSTATUS(r.status), 3);
	assert_string_equal(buf_str(&r.out), "in\n/\nadded/changed\n");
	assert_string_equal(buf_str(&r.err), "error\n");
	result_clear(&r);
}

static void test_input_that_nobody_reads(void **state)
{
	char *input = malloc(1024 * 1024 + 1);
	struct result r;

	(void)state;
	assert_non_null(input);
	memset(input, 'x', 1024 * 1024);
	input[1024 * 1024] = '\0';
	r = run_sh("exit 0", input);
	assert_int_equal(r.rc, 0);
	result_clear(&r);
	r = run_sh("exec 0<&-; echo done", input);
	assert_int_equal(r.rc, 0);
	assert_string_equal(buf_str(&r.out), "done\n");
	result_clear(&r);
	free(input);
}

static void test_no_such_program(void **state)
{
	const char *argv[] = {"mlenvfs-no-such-program", NULL};
	struct result r = run_within(argv, NULL, DEADLINE_S * NS_PER_S);

	(void)state;
	assert_int_equal(r.rc, -ENOENT);
	assert_non_null(strstr(r.e.msg, "no such program"));
	result_clear(&r);
}

static void test_too_much_output(void **state)
{
	struct result r = run_sh("while :; do echo mlenvfs-flood-7261; done", NULL);

	(void)state;
	assert_int_equal(r.rc, -EFBIG);
	assert_null(strstr(r.e.msg, "flood"));
	assert_true(r.out.len <= OUT_MAX);
	result_clear(&r);
	assert_gone("mlenvfs-flood-7261");
}

/* What it started ends with it: az is a script around another program. */
static void test_deadline_ends_the_whole_group(void **state)
{
	const char *argv[] = {"sh", "-c",
			      "sh -c 'sleep 600; : mlenvfs-deep-5518' & sleep 600; "
			      ": mlenvfs-deep-5518",
			      NULL};
	int64_t start = clock_mono();
	struct result r = run_within(argv, NULL, 300 * NS_PER_MS);

	(void)state;
	assert_int_equal(r.rc, -ETIMEDOUT);
	assert_true(clock_mono() - start < DEADLINE_S * NS_PER_S);
	result_clear(&r);
	assert_gone("mlenvfs-deep-5518");
}

/* Its end is the end, whoever still holds its output. */
static void test_what_it_leaves_behind_is_ended(void **state)
{
	struct result r = run_sh("sh -c 'sleep 600; : mlenvfs-left-9920' & echo started", NULL);

	(void)state;
	assert_int_equal(r.rc, 0);
	assert_string_equal(buf_str(&r.out), "started\n");
	result_clear(&r);
	assert_gone("mlenvfs-left-9920");
}

static void *cancel_soon(void *call)
{
	while (!count_processes("mlenvfs-cancel-1187"))
		usleep(1000);
	call_cancel(call);
	return NULL;
}

static void test_cancel(void **state)
{
	const char *argv[] = {"sh", "-c", "sleep 600; : mlenvfs-cancel-1187", NULL};
	struct buf out = BUF_INIT(100), err = BUF_INIT(100);
	struct child_spec spec = {.argv = argv, .out = &out, .err = &err};
	struct call call;
	pthread_t thread;
	int status;

	(void)state;
	call_init(&call, clock_mono() + 2 * DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &call), 0);
	assert_int_equal(child_run(&spec, &call, &status, NULL), -ECANCELED);
	pthread_join(thread, NULL);
	call_destroy(&call);
	assert_gone("mlenvfs-cancel-1187");
}

/* ---- the Azure CLI ---- */

struct az {
	char dir[64];
	char *path;
};

static int az_setup(void **state)
{
	struct az *a = calloc(1, sizeof(*a));

	assert_non_null(a);
	log_set_level(LOG_LEVEL_ERROR);
	snprintf(a->dir, sizeof(a->dir), "/tmp/mlenvfs-az-XXXXXX");
	assert_non_null(mkdtemp(a->dir));
	a->path = strdup(getenv("PATH"));
	*state = a;
	return 0;
}

static int az_teardown(void **state)
{
	struct az *a = *state;
	char path[80];

	setenv("PATH", a->path, 1);
	snprintf(path, sizeof(path), "%s/az", a->dir);
	unlink(path);
	assert_int_equal(rmdir(a->dir), 0);
	free(a->path);
	free(a);
	return 0;
}

static void install(struct az *a, const char *script)
{
	char path[80], all[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/az", a->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
	snprintf(all, sizeof(all), "%s:%s", a->dir, a->path);
	setenv("PATH", all, 1);
}

static int ask_az(const char *subscription, char token[64], struct err *e)
{
	struct auth_source *s = NULL;
	struct auth_token t = {0};
	struct call call;
	int rc;

	assert_int_equal(auth_azcli_new(subscription, &s, NULL), 0);
	call_init(&call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = auth_source_get(s, SCOPE_ARM, &call, &t, e);
	call_destroy(&call);
	snprintf(token, 64, "%s", buf_str(&t.value));
	auth_token_clear(&t);
	auth_source_free(s);
	return rc;
}

static void test_az(void **state)
{
	struct az *a = *state;
	char token[64];

	install(a, "[ \"$*\" = 'account get-access-token --output json --resource "
		   "https://management.azure.com --subscription sub-1' ] || exit 9\n"
		   "[ \"$(pwd)\" = / ] && [ -z \"$(cat)\" ] || exit 9\n"
		   "echo '{\"accessToken\":\"tok-az\",\"expires_on\":4102444800}'");
	assert_int_equal(ask_az("sub-1", token, NULL), 0);
	assert_string_equal(token, "tok-az");
}

static void test_az_failures(void **state)
{
	static const struct {
		const char *script;
		int rc;
		const char *words;
	} table[] = {
		{"echo \"Please run 'az login' to setup account.\" >&2; exit 1", AUTH_UNAVAILABLE,
		 "nobody is signed in"},
		{"exit 127", AUTH_UNAVAILABLE, "not installed"},
		{"echo 'AADSTS50076: use MFA' >&2; exit 1", -EACCES, "AADSTS50076: use MFA"},
		{"echo 'bad refresh_token=s3cret-value' >&2; exit 1", -EACCES, "bad refresh"},
		{"kill -9 $$", -EACCES, "signal 9"},
		{"echo '{\"accessToken\":\"s3cret-value\"'", -EBADMSG, "no JSON"},
		{"echo '{\"other\":\"s3cret-value\"}'", -EBADMSG, "no access token"},
		{"while :; do echo s3cret-value-xxxxxxxxxxxxxxxxxxxxxxxxxx; done", -EFBIG,
		 "says too much"},
	};
	struct az *a = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct err e = ERR_INIT;
		char token[64];

		install(a, table[i].script);
		assert_int_equal(ask_az(NULL, token, &e), table[i].rc);
		if (!strstr(e.msg, table[i].words) || strstr(e.msg, "s3cret-value"))
			fail_msg("%s: %s", table[i].script, e.msg);
	}
}

static void test_az_is_not_there(void **state)
{
	struct az *a = *state;
	struct err e = ERR_INIT;
	char token[64];

	setenv("PATH", a->dir, 1);
	assert_int_equal(ask_az(NULL, token, &e), AUTH_UNAVAILABLE);
	assert_non_null(strstr(e.msg, "not installed"));
}

/* Nothing of a setting can become an option of az. */
static void test_az_arguments(void **state)
{
	static const char *const bad[] = {"--debug", "a b", "$(id)", "", "x;y", "\n"};
	struct auth_source *s = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(auth_azcli_new(bad[i], &s, NULL), -EINVAL);
}

#define WITH_AZ(test) cmocka_unit_test_setup_teardown(test, az_setup, az_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_input_and_status),
		cmocka_unit_test(test_input_that_nobody_reads),
		cmocka_unit_test(test_no_such_program),
		cmocka_unit_test(test_too_much_output),
		cmocka_unit_test(test_deadline_ends_the_whole_group),
		cmocka_unit_test(test_what_it_leaves_behind_is_ended),
		cmocka_unit_test(test_cancel),
		WITH_AZ(test_az),
		WITH_AZ(test_az_failures),
		WITH_AZ(test_az_is_not_there),
		cmocka_unit_test(test_az_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
