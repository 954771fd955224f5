/* The embedded service as a server: tokens, bounds, faults, its store, crashes, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/clock.h"
#include "tests/unit/emuclient.h"

#define IMAGE    "{\"properties\":{\"image\":\"ubuntu:22.04\"}}"
#define FAULTS   "/__mlenvfs/faults"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { ACKNOWLEDGED = 40, THREADS = 8, ROUNDS = 15 };

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct emuclient));
	emuclient_start(*state, NULL);
	return 0;
}

static int teardown(void **state)
{
	emuclient_end(*state);
	free(*state);
	return 0;
}

static void plan(struct emuclient *c, const char *members)
{
	char body[1024];

	snprintf(body, sizeof(body), "{\"rules\":[{\"path\":\"*/environments*\",%s}]}", members);
	emu_ask_status(c, "PUT", FAULTS, body, 204);
}

static void test_token(void **state)
{
	const struct emu_conf conf = {.token = "right-token"};
	struct emuclient c;
	struct emu_answer a;

	(void)state;
	emuclient_start(&c, &conf);
	a = emu_ask(&c, "GET", "W", NULL);
	assert_int_equal(a.status, 401);
	assert_string_equal(json_text_at(a.json, "error.code"), "AuthenticationFailed");
	assert_non_null(strstr(emu_header_of(&a, "WWW-Authenticate"), "error=\"invalid_token\""));
	emu_answer_free(&a);
	c.token = "wrong-token";
	a = emu_ask(&c, "GET", "/nothing", NULL);
	assert_int_equal(a.status, 401);
	assert_string_equal(json_text_at(a.json, "error.code"), "InvalidAuthenticationToken");
	assert_null(strstr(a.body, "wrong-token"));
	emu_answer_free(&a);
	emu_ask_status(&c, "GET", "/__mlenvfs/counters", NULL, 401);
	emu_ask_status(&c, "GET", "/discovery", NULL, 401);
	c.token = "right-token2";
	emu_ask_status(&c, "GET", "W", NULL, 401);
	c.token = "right-token";
	emu_ask_status(&c, "GET", "W", NULL, 200);
	emu_ask_status(&c, "GET", "/__mlenvfs/counters", NULL, 200);
	emuclient_end(&c);
}

static void test_large_requests(void **state)
{
	size_t len = 9 * 1024 * 1024;
	char *body = malloc(len + 1);

	assert_non_null(body);
	memset(body, ' ', len);
	body[len] = '\0';
	emu_ask_status(*state, "PUT", "W/environments/e/versions/1", body, 413);
	memset(body, 'x', len);
	body[0] = '/';
	body[70 * 1024] = '\0';
	emu_ask_status(*state, "GET", body, NULL, 414);
	emu_ask_status(*state, "GET", "W", NULL, 200);
	free(body);
}

static void test_keep_alive(void **state)
{
	cJSON *json;

	for (int i = 0; i < 20; i++)
		emu_ask_status(*state, "GET", "W", NULL, 200);
	json = emu_ask_json(*state, "GET", "/__mlenvfs/counters", NULL, 200);
	assert_int_equal(json_at(json, "connections")->valueint, 1);
	cJSON_Delete(json);
}

static void test_fault_answers(void **state)
{
	static const struct {
		const char *members;
		long status;
		const char *code, *retry_after;
	} cases[] = {
		{"\"status\":429,\"retry_after\":7", 429, "TooManyRequests", "7"},
		{"\"status\":503", 503, "ServiceUnavailable", ""},
		{"\"status\":403,\"code\":\"Mine\"", 403, "Mine", ""},
		{"\"status\":404", 404, "ResourceNotFound", ""},
	};
	struct emuclient *c = *state;
	struct emu_answer a;

	for (size_t i = 0; i < COUNT(cases); i++) {
		plan(c, cases[i].members);
		a = emu_ask(c, "GET", "W/environments", NULL);
		assert_int_equal(a.status, cases[i].status);
		assert_string_equal(json_text_at(a.json, "error.code"), cases[i].code);
		assert_string_equal(emu_header_of(&a, "Retry-After"), cases[i].retry_after);
		emu_answer_free(&a);
	}
	plan(c, "\"status\":500,\"body\":\"<oops>\"");
	a = emu_ask(c, "GET", "W/environments", NULL);
	assert_string_equal(a.body, "<oops>");
	emu_answer_free(&a);
	plan(c, "\"garbage_body\":true");
	a = emu_ask(c, "GET", "W/environments", NULL);
	assert_int_equal(a.status, 200);
	assert_null(a.json);
	assert_true(a.len > 0);
	emu_answer_free(&a);
	/* Others are left alone, and a plan can be taken back. */
	emu_ask_status(c, "GET", "W", NULL, 200);
	emu_ask_status(c, "PUT", FAULTS, "{\"rules\":[]}", 204);
	emu_ask_status(c, "GET", "W/environments", NULL, 200);
	emu_ask_status(c, "PUT", FAULTS, "not a plan", 400);
}

static void test_fault_connections(void **state)
{
	static const struct {
		const char *members;
		CURLcode rc;
	} cases[] = {
		{"\"close\":true", CURLE_GOT_NOTHING},
		{"\"reset\":true", CURLE_GOT_NOTHING},
		{"\"truncate\":5", CURLE_PARTIAL_FILE},
		{"\"truncate\":0", CURLE_PARTIAL_FILE},
		{"\"wrong_length\":10", CURLE_PARTIAL_FILE},
		{"\"huge\":3000000,\"times\":1", CURLE_OK},
	};
	struct emuclient *c = *state;
	struct emu_answer a;

	for (size_t i = 0; i < COUNT(cases); i++) {
		plan(c, cases[i].members);
		a = emu_ask(c, "GET", "W/environments", NULL);
		assert_int_equal(a.rc, cases[i].rc);
		if (a.rc == CURLE_OK)
			assert_int_equal(a.len, 3000000);
		emu_answer_free(&a);
	}
	plan(c, "\"garbage\":true");
	a = emu_ask(c, "GET", "W/environments", NULL);
	assert_int_not_equal(a.rc, CURLE_OK);
	emu_answer_free(&a);
	plan(c, "\"wrong_length\":-3");
	a = emu_ask(c, "GET", "W/environments", NULL);
	assert_int_equal(a.status, 200);
	assert_null(a.json);
	emu_answer_free(&a);
}

static void test_fault_lost(void **state)
{
	struct emuclient *c = *state;
	struct emu_answer a;

	plan(c, "\"lost\":true,\"times\":1");
	c->fresh = true;
	a = emu_ask(c, "PUT", "W/environments/e/versions/1", IMAGE);
	assert_int_equal(a.rc, CURLE_GOT_NOTHING);
	emu_answer_free(&a);
	emu_ask_status(c, "GET", "W/environments/e/versions/1", NULL, 200);
}

static void test_fault_delays(void **state)
{
	static const char *const members[] = {"\"delay_ms\":300", "\"body_delay_ms\":300"};

	for (size_t i = 0; i < COUNT(members); i++) {
		int64_t begun = clock_mono();

		plan(*state, members[i]);
		emu_ask_status(*state, "GET", "W/environments", NULL, 200);
		assert_in_range((clock_mono() - begun) / NS_PER_MS, 300, 5000);
	}
}

static uint16_t listen_tcp(struct emuclient *c)
{
	struct err e = ERR_INIT;
	uint16_t port = 0;

	if (emu_listen_tcp(c->emu, "127.0.0.1", &port, &e))
		fail_msg("%s", e.msg);
	assert_int_not_equal(port, 0);
	return port;
}

static CURLcode get_tcp(uint16_t port, const char *path)
{
	CURL *curl = curl_easy_init();
	char url[512];
	CURLcode rc;

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
	rc = curl_easy_perform(curl);
	curl_easy_cleanup(curl);
	return rc;
}

static void test_tcp(void **state)
{
	struct emuclient *c = *state;
	uint16_t port = listen_tcp(c), other = port;
	struct err e = ERR_INIT;

	assert_int_equal(get_tcp(port, "/discovery"), CURLE_OK);
	emu_ask_status(c, "PUT", FAULTS, "{\"rules\":[{\"path\":\"/discovery\",\"reset\":true}]}",
		       204);
	assert_int_equal(get_tcp(port, "/discovery"), CURLE_RECV_ERROR);
	assert_int_equal(emu_listen_tcp(c->emu, "127.0.0.1", &other, &e), -EADDRINUSE);
}

static void *ask_slow(void *arg)
{
	struct emuclient own = *(struct emuclient *)arg;
	struct emu_answer a;

	own.curl = curl_easy_init();
	a = emu_ask(&own, "GET", "W/environments", NULL);
	emu_answer_free(&a);
	curl_easy_cleanup(own.curl);
	return NULL;
}

/* Waits until the service has accepted so many connections. */
static void await_connections(struct emuclient *c, int n)
{
	for (int i = 0; i < 1000; i++) {
		cJSON *json = emu_ask_json(c, "GET", "/__mlenvfs/counters", NULL, 200);
		bool there = json_at(json, "connections")->valueint >= n;

		cJSON_Delete(json);
		if (there)
			return;
		usleep(2000);
	}
	fail_msg("the connections did not come");
}

static void test_stop_ends_delays(void **state)
{
	struct emuclient c;
	pthread_t thread[3];
	int64_t begun;

	(void)state;
	emuclient_start(&c, NULL);
	plan(&c, "\"delay_ms\":60000");
	for (size_t i = 0; i < COUNT(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, ask_slow, &c), 0);
	await_connections(&c, 1 + (int)COUNT(thread));
	begun = clock_mono();
	emu_free(c.emu);
	assert_true(clock_mono() - begun < NS_PER_S);
	c.emu = NULL;
	for (size_t i = 0; i < COUNT(thread); i++)
		pthread_join(thread[i], NULL);
	emuclient_end(&c);
}

/* Whether the answer is a success of that kind; asserts belong to the main thread. */
static bool succeeds(struct emuclient *c, const char *method, const char *path, const char *body)
{
	struct emu_answer a = emu_ask(c, method, path, body);
	bool ok = a.rc == CURLE_OK && a.status / 100 == 2 && a.json;

	emu_answer_free(&a);
	return ok;
}

/* Gives NULL when all went well. */
static void *write_and_list(void *arg)
{
	struct emuclient own = *(struct emuclient *)arg;
	char path[128];
	bool ok = true;

	own.curl = curl_easy_init();
	for (int i = 0; i < ROUNDS && ok; i++) {
		snprintf(path, sizeof(path), "W/environments/e/versions/%lx-%d",
			 (unsigned long)pthread_self(), i);
		ok = succeeds(&own, "PUT", path, IMAGE) && succeeds(&own, "GET", path, NULL) &&
		     succeeds(&own, "GET", "W/environments/e/versions", NULL);
	}
	curl_easy_cleanup(own.curl);
	return ok ? NULL : arg;
}

static void test_many_at_once(void **state)
{
	struct emuclient *c = *state;
	pthread_t thread[THREADS];
	int rows = 0;
	char *next = strdup("W/environments/e/versions");

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_and_list, c), 0);
	for (size_t i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
	}
	while (next) {
		cJSON *json = emu_ask_json(c, "GET", next, NULL, 200);
		const char *link = cJSON_GetStringValue(json_at(json, "nextLink"));

		rows += cJSON_GetArraySize(json_at(json, "value"));
		free(next);
		next = link ? strdup(link) : NULL;
		cJSON_Delete(json);
	}
	assert_int_equal(rows, THREADS * ROUNDS);
}

static void test_second_opener(void **state)
{
	struct emuclient *c = *state;
	struct emu_conf conf = {.store = c->store};
	struct err e = ERR_INIT;
	struct emu *second = NULL;
	char expected[256];

	snprintf(expected, sizeof(expected), "the store %s is in use by process %ld", c->store,
		 (long)getpid());
	assert_int_equal(emu_new(&conf, &second, &e), -EBUSY);
	assert_string_equal(e.msg, expected);
	assert_null(second);
	emu_ask_status(c, "GET", "W", NULL, 200);
}

static void run_sql(const char *path, const char *sql)
{
	sqlite3 *conn;

	assert_int_equal(sqlite3_open(path, &conn), SQLITE_OK);
	assert_int_equal(sqlite3_exec(conn, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(conn);
}

static void test_strange_stores(void **state)
{
	struct emuclient *c = *state;
	struct emu_conf conf = {.store = c->store};
	struct err e = ERR_INIT;
	struct emu *emu = NULL;
	struct stat st;
	FILE *f;

	assert_int_equal(stat(c->store, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	emuclient_stop(c);
	run_sql(c->store, "PRAGMA user_version = 99");
	assert_int_equal(emu_new(&conf, &emu, &e), -EMEDIUMTYPE);
	assert_non_null(strstr(e.msg, "newer mlenvfs"));
	run_sql(c->store, "PRAGMA user_version = 1; PRAGMA application_id = 7");
	assert_int_equal(emu_new(&conf, &emu, &e), -EMEDIUMTYPE);
	assert_non_null(strstr(e.msg, "not a store of mlenvfs"));
	f = fopen(c->store, "w");
	assert_non_null(f);
	fputs("this is a text, not a database, and longer than a header\n", f);
	fclose(f);
	assert_true(emu_new(&conf, &emu, &e) < 0);
	unlink(c->store);
	emuclient_restart(c, NULL);
}

static void test_open_directory(void **state)
{
	struct emuclient *c = *state;
	struct err e = ERR_INIT;
	char path[128];

	snprintf(path, sizeof(path), "%s/second", c->dir);
	assert_int_equal(chmod(c->dir, 0755), 0);
	assert_int_equal(emu_listen_unix(c->emu, path, &e), -EPERM);
	assert_int_equal(chmod(c->dir, 0700), 0);
}

/* The child: writes versions 1, 2, ... and says through the pipe which were acknowledged. */
static void write_forever(struct emuclient *c, int fd)
{
	char path[96];

	emuclient_restart(c, NULL);
	for (int i = 1;; i++) {
		struct emu_answer a;

		snprintf(path, sizeof(path), "W/environments/e/versions/%d", i);
		a = emu_ask(c, "PUT", path, IMAGE);
		if (a.status != 201 || write(fd, &i, sizeof(i)) != (ssize_t)sizeof(i))
			_exit(1);
		emu_answer_free(&a);
	}
}

static void test_killed(void **state)
{
	struct emuclient c;
	int pipe_fd[2], last = 0, status;
	char path[96];
	pid_t pid;

	(void)state;
	emuclient_prepare(&c);
	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		write_forever(&c, pipe_fd[1]);
	close(pipe_fd[1]);
	while (last < ACKNOWLEDGED)
		assert_int_equal(read(pipe_fd[0], &last, sizeof(last)), sizeof(last));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	while (read(pipe_fd[0], &status, sizeof(status)) == (ssize_t)sizeof(status))
		last = status;
	close(pipe_fd[0]);
	emuclient_restart(&c, NULL);
	for (int i = 1; i <= last; i++) {
		snprintf(path, sizeof(path), "W/environments/e/versions/%d", i);
		emu_ask_status(&c, "GET", path, NULL, 200);
	}
	emuclient_end(&c);
}

/* A page of a hundred versions is one query and some copying, not a hundred of anything. */
static void test_list_is_fast(void **state)
{
	int64_t begun, best = INT64_MAX;
	char path[96];

	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "W/environments/e/versions/%d", i);
		emu_ask_status(*state, "PUT", path, IMAGE, 201);
	}
	for (int i = 0; i < 10; i++) {
		begun = clock_mono();
		emu_ask_status(*state, "GET", "W/environments/e/versions", NULL, 200);
		if (clock_mono() - begun < best)
			best = clock_mono() - begun;
	}
	print_message("list of 100 versions: %lld us\n", (long long)(best / 1000));
	assert_true(best < 100 * NS_PER_MS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed), /* forks, so it comes before all threads */
		cmocka_unit_test(test_token),
		T(test_large_requests),
		T(test_keep_alive),
		T(test_fault_answers),
		T(test_fault_connections),
		T(test_fault_lost),
		T(test_fault_delays),
		T(test_tcp),
		cmocka_unit_test(test_stop_ends_delays),
		T(test_many_at_once),
		T(test_second_opener),
		T(test_strange_stores),
		T(test_open_directory),
		T(test_list_is_fast),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_ALL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
