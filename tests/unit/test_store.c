/* cache/store: what is known, on the disk: written, found, shared, doubted, and damaged in every
 * way. */
#include "cache/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/cache_fixture.h"

enum { LIMIT = 64 * 1024 * 1024, MANY = 500, PATIENCE_S = 20, TEXT_MAX = 256 };

#define SCOPE "wsub\0group\0ws"
#define DB    "svc/lists.db"

struct place {
	char path[CACHE_PATH_MAX];
	int dir;
	struct store *s;
};

static struct buf scope = {.data = (char *)(uintptr_t)SCOPE, .len = sizeof(SCOPE), .max = 64};

static int open_store(struct place *p, uint64_t max, struct store **out)
{
	const struct store_conf conf = {.dir = p->path, .name = "svc", .max = max};

	return store_open(&conf, out, NULL);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	p->dir = cache_dir_make(p->path);
	*state = p;
	return open_store(p, LIMIT, &p->s);
}

static int teardown(void **state)
{
	struct place *p = *state;

	store_close(p->s);
	close(p->dir);
	cache_dir_remove(p->path);
	free(p);
	return 0;
}

static void flush(struct store *s)
{
	assert_int_equal(store_flush(s, clock_mono() + PATIENCE_S * NS_PER_S), 0);
}

static void reopen(struct place *p)
{
	store_close(p->s);
	p->s = NULL;
	assert_int_equal(open_store(p, LIMIT, &p->s), 0);
}

static struct store_stats stats(struct store *s)
{
	struct store_stats out;

	store_get_stats(s, &out);
	return out;
}

/* ---- lists ---- */

static struct store_list envs_list(void)
{
	return (struct store_list){.kind = RECORD_ENV, .key = &scope};
}

static struct store_list versions_list(const char *env)
{
	return (struct store_list){.kind = RECORD_VERSION, .key = &scope, .env = env};
}

/* Environments e0, e1, ... of which the one named odd has the description. */
static struct env_list *make_envs(int n, int odd, const char *description)
{
	struct env **items = calloc((size_t)n + 1, sizeof(*items));
	struct env_list *list;

	for (int i = 0; i < n; i++) {
		char name[32];
		struct env fields = {.name = name, .description = i == odd ? description : NULL};

		snprintf(name, sizeof(name), "e%d", i);
		items[i] = env_new(&fields);
	}
	list = env_list_take(items, (size_t)n);
	free(items);
	return list;
}

static struct version_list *make_versions(const char *env, const char *text)
{
	struct version fields = {.env = env, .version = "1", .image = "i", .description = text};
	struct version *v = version_new(&fields);

	return version_list_take(&v, 1);
}

static void put_versions(struct store *s, const char *env, const char *text, int64_t learnt)
{
	struct store_list l = versions_list(env);
	struct version_list *list = make_versions(env, text);

	store_put_list(s, &l, list, learnt, true);
	version_list_unref(list);
}

static void put_envs(struct store *s, int n, int odd, const char *text, int64_t learnt)
{
	struct store_list l = envs_list();
	struct env_list *list = make_envs(n, odd, text);

	store_put_list(s, &l, list, learnt, true);
	env_list_unref(list);
}

/* What the store says of an environment's version: its text; "" when it says nothing. */
static const char *versions_text(struct store *s, const char *env, char text[TEXT_MAX],
				 struct store_found *found)
{
	struct store_list l = versions_list(env);
	struct version_list *list;

	if (store_get_list(s, &l, found))
		return "";
	list = found->list;
	assert_int_equal(list->count, 1);
	assert_string_equal(list->items[0]->env, env);
	snprintf(text, TEXT_MAX, "%s", list->items[0]->description);
	version_list_unref(list);
	return text;
}

static void assert_versions(struct store *s, const char *env, const char *expected)
{
	struct store_found found;
	char text[TEXT_MAX];

	assert_string_equal(versions_text(s, env, text, &found), expected);
}

static void lists_are_found_again(void **state)
{
	struct place *p = *state;
	struct store_list l = envs_list();
	struct env_list *list = make_envs(MANY, 7, "odd");
	struct store_found found;

	assert_int_equal(store_get_list(p->s, &l, &found), -ENOENT);
	store_put_list(p->s, &l, list, 1234, true);
	for (int i = 0; i < 3; i++) {
		struct env_list *back;

		/* Queued, written, and in another process's life. */
		assert_int_equal(store_get_list(p->s, &l, &found), 0);
		back = found.list;
		assert_int_equal(back->count, MANY);
		for (size_t k = 0; k < MANY; k++)
			assert_true(env_equal(back->items[k], list->items[k]));
		assert_int_equal(found.learnt, 1234);
		assert_false(found.doubtful);
		env_list_unref(back);
		if (i == 0)
			flush(p->s);
		else
			reopen(p);
	}
	env_list_unref(list);
}

static void empty_lists_are_lists(void **state)
{
	struct place *p = *state;
	struct store_list l = envs_list();
	struct store_found found;

	put_envs(p->s, 0, -1, NULL, 5);
	reopen(p);
	assert_int_equal(store_get_list(p->s, &l, &found), 0);
	assert_int_equal(((struct env_list *)found.list)->count, 0);
	env_list_unref(found.list);
}

static void only_what_differs_is_written(void **state)
{
	struct place *p = *state;
	uint64_t before;

	put_envs(p->s, MANY, -1, NULL, 1);
	flush(p->s);
	before = stats(p->s).written;
	assert_true(before >= MANY);
	put_envs(p->s, MANY, 3, "changed", 2);
	flush(p->s);
	assert_int_equal(stats(p->s).written - before, 2); /* the item and the list's head */
	before = stats(p->s).written;
	put_envs(p->s, MANY + 1, 3, "changed", 3);
	flush(p->s);
	assert_int_equal(stats(p->s).written - before, 2);
}

static void ages_are_renewed(void **state)
{
	struct place *p = *state;
	struct store_list l = versions_list("e0");
	struct store_found found;
	char text[TEXT_MAX];

	put_versions(p->s, "e0", "a", 100);
	store_touch_list(p->s, &l, 200, true);
	versions_text(p->s, "e0", text, &found);
	assert_int_equal(found.learnt, 200);
	flush(p->s);
	store_touch_list(p->s, &l, 300, true);
	reopen(p);
	versions_text(p->s, "e0", text, &found);
	assert_int_equal(found.learnt, 300);
	assert_string_equal(text, "a");
	/* Something older that another mount writes late, and what says that it is of the future.
	 */
	put_versions(p->s, "e0", "old", 250);
	flush(p->s);
	assert_versions(p->s, "e0", "a");
	put_versions(p->s, "e0", "of the future", INT64_MAX);
	flush(p->s);
	put_versions(p->s, "e0", "now", 400);
	flush(p->s);
	assert_versions(p->s, "e0", "now");
	/* A time that no clock has shown is damage. */
	put_versions(p->s, "e1", "never", INT64_MIN);
	flush(p->s);
	assert_versions(p->s, "e1", "");
}

static void what_left_takes_along_what_was_below(void **state)
{
	struct place *p = *state;
	struct store_list l;

	put_envs(p->s, 3, -1, NULL, 1);
	for (int i = 0; i < 3; i++) {
		char env[16];

		snprintf(env, sizeof(env), "e%d", i);
		put_versions(p->s, env, "text", 1);
	}
	flush(p->s);
	put_envs(p->s, 2, -1, NULL, 2);
	flush(p->s);
	assert_versions(p->s, "e1", "text");
	assert_versions(p->s, "e2", "");
	l = versions_list("e1");
	store_drop_list(p->s, &l);
	assert_versions(p->s, "e1", "");
	flush(p->s);
	assert_versions(p->s, "e1", "");
	store_drop_scope(p->s, &scope);
	assert_versions(p->s, "e0", "");
	flush(p->s);
	assert_versions(p->s, "e0", "");
	l = envs_list();
	assert_int_equal(store_get_list(p->s, &l, &(struct store_found){0}), -ENOENT);
}

static void scopes_that_left_take_everything_along(void **state)
{
	struct place *p = *state;
	struct scope fields = {.name = "ws", .subscription = "sub", .resource_group = "group"};
	struct scope other = {.kind = SCOPE_REGISTRY, .name = "a"};
	struct scope *items[] = {scope_new(&other), scope_new(&fields)};
	struct scope_list *two = scope_list_take(items, 2), *one;
	struct buf view = {.data = (char *)(uintptr_t) "view", .len = 4, .max = 8};
	struct store_list l = {.kind = RECORD_SCOPE, .key = &view}, envs = envs_list();
	struct store_found found;

	store_put_list(p->s, &l, two, 1, true);
	put_versions(p->s, "e0", "text", 1);
	put_envs(p->s, 1, -1, NULL, 1);
	flush(p->s);
	assert_int_equal(store_get_list(p->s, &l, &found), 0);
	assert_int_equal(((struct scope_list *)found.list)->count, 2);
	assert_true(scope_equal(((struct scope_list *)found.list)->items[0], two->items[0]));
	scope_list_unref(found.list);
	assert_versions(p->s, "e0", "text");
	items[0] = scope_ref(two->items[1]);
	one = scope_list_take(items, 1);
	store_put_list(p->s, &l, one, 2, true);
	flush(p->s);
	assert_versions(p->s, "e0", "");
	assert_int_equal(store_get_list(p->s, &envs, &found), -ENOENT);
	scope_list_unref(one);
	scope_list_unref(two);
}

/* ---- contexts, content and facts ---- */

static void release_nothing(void *owner)
{
	int *n = owner;

	(*n)++;
}

static void everything_else_is_found_again(void **state)
{
	const struct context_file file = {.path = "a", .path_len = 1, .size = 3};
	const struct context fields = {.uri = "u", .files = &file, .n_files = 1};
	struct context *context = context_new(&fields), *back;
	struct place *p = *state;
	int released = 0;

	store_put_context(p->s, &scope, context);
	store_put_content(p->s, "k", 1, "content", 7, release_nothing, &released);
	store_put_fact(p->s, "fact", 4, "text", 4);
	for (int i = 0; i < 2; i++) {
		_cleanup_buf_ struct buf fact = BUF_INIT(100);
		_cleanup_buf_ struct buf content = BUF_INIT(100);

		assert_int_equal(store_get_fact(p->s, "fact", 4, &fact), 0);
		assert_string_equal(buf_str(&fact), "text");
		assert_int_equal(store_get_context(p->s, &scope, &back), 0);
		assert_int_equal(back->n_files, 1);
		context_unref(back);
		if (i == 0)
			reopen(p);
		else
			assert_int_equal(store_get_content(p->s, "k", 1, &content), 0);
	}
	assert_int_equal(released, 1);
	assert_int_equal(store_get_fact(p->s, "fac", 3, &(struct buf)BUF_INIT(10)), -ENOENT);
	context_unref(context);
}

static void count_fact(void *arg, const void *key, size_t key_len, const void *data, size_t len)
{
	int *n = arg;

	assert_memory_equal(key, "a:", 2);
	assert_int_equal(key_len, 3);
	assert_memory_equal(data, "v", 1);
	assert_int_equal(len, 1);
	(*n)++;
}

static void facts_are_found_by_how_they_begin(void **state)
{
	struct place *p = *state;
	int n = 0;

	store_put_fact(p->s, "a:1", 3, "v", 1);
	store_put_fact(p->s, "a:2", 3, "v", 1);
	store_put_fact(p->s, "b:3", 3, "w", 1);
	flush(p->s);
	store_each_fact(p->s, "a:", 2, count_fact, &n);
	assert_int_equal(n, 2);
}

/* ---- doubts ---- */

static void an_unfinished_change_is_remembered(void **state)
{
	struct place *p = *state;
	struct store_list l = versions_list("e0"), other = versions_list("e1");
	struct store_doubt *d;
	struct store_found found;
	char text[TEXT_MAX];

	put_versions(p->s, "e0", "before", 1);
	put_versions(p->s, "e1", "before", 1);
	flush(p->s);
	d = store_doubt_begin(p->s, &l);
	assert_non_null(d);
	assert_non_null(store_doubt_begin(p->s, &other));
	versions_text(p->s, "e0", text, &found);
	assert_false(found.doubtful); /* this process knows what it does */
	store_doubt_end(p->s, d, false);
	reopen(p); /* as if it had ended in the middle of it; its files are those of this process */
	assert_string_equal(versions_text(p->s, "e0", text, &found), "before");
	assert_true(found.doubtful);

	/* An answer that was asked for after that ends the doubt. */
	put_versions(p->s, "e0", "after", 2);
	reopen(p);
	assert_string_equal(versions_text(p->s, "e0", text, &found), "after");
	assert_false(found.doubtful);
	versions_text(p->s, "e1", text, &found);
	assert_true(found.doubtful);
}

static void a_change_that_is_written_leaves_no_doubt(void **state)
{
	struct place *p = *state;
	struct store_list l = versions_list("e0");
	struct version_list *list = make_versions("e0", "changed");
	struct store_doubt *d;
	struct store_found found;
	char text[TEXT_MAX];

	put_versions(p->s, "e0", "before", 5);
	flush(p->s);
	d = store_doubt_begin(p->s, &l);
	assert_int_equal(cache_count(p->path, "svc/doubts"), 1);
	store_change_list(p->s, &l, list, 5);
	store_doubt_end(p->s, d, true);
	flush(p->s);
	assert_int_equal(cache_count(p->path, "svc/doubts"), 0);
	reopen(p);
	assert_string_equal(versions_text(p->s, "e0", text, &found), "changed");
	assert_false(found.doubtful);
	/* What another mount learnt later may not have it: neither is kept. */
	put_versions(p->s, "e0", "of another mount", 9);
	store_change_list(p->s, &l, list, 5);
	flush(p->s);
	put_versions(p->s, "e0", "of another mount", 9);
	flush(p->s);
	store_change_list(p->s, &l, list, 5);
	flush(p->s);
	assert_versions(p->s, "e0", "");
	version_list_unref(list);
}

/* What another process with our number left does not stand in the way of our own. */
static void a_doubt_has_a_name_of_its_own(void **state)
{
	struct place *p = *state;
	struct store_list l = versions_list("e0");

	for (size_t i = 1; i < 4; i++) {
		assert_non_null(store_doubt_begin(p->s, &l));
		assert_int_equal(cache_count(p->path, "svc/doubts"), i);
		reopen(p);
	}
}

/* The list that has the change is not written: what the disk has stays in doubt. */
static void a_change_that_can_not_be_written_is_doubted(void **state)
{
	enum { SMALL = 8 * 1024 * 1024, LARGE = 2 * SMALL };
	struct place *p = *state;
	struct store_list l = versions_list("e0");
	char *text = malloc(LARGE + 1);
	struct version_list *list;
	struct store_found found;
	struct store_doubt *d;
	char is[TEXT_MAX];

	memset(text, 'x', LARGE);
	text[LARGE] = '\0';
	list = make_versions("e0", text);
	free(text);
	store_close(p->s);
	assert_int_equal(open_store(p, SMALL, &p->s), 0);
	for (int i = 1; i < 8; i++) {
		char env[16];

		snprintf(env, sizeof(env), "e%d", i);
		put_versions(p->s, env, "other", 1);
		flush(p->s);
	}
	put_versions(p->s, "e0", "before", 1);
	flush(p->s);
	d = store_doubt_begin(p->s, &l);
	assert_non_null(d);
	store_change_list(p->s, &l, list, 1);
	flush(p->s);
	assert_true(stats(p->s).lost > 0);
	store_doubt_end(p->s, d, true);
	version_list_unref(list);
	reopen(p);
	assert_string_equal(versions_text(p->s, "e0", is, &found), "before");
	assert_true(found.doubtful);
	assert_int_equal(stats(p->s).damaged, 0);
}

/* ---- several at once ---- */

static void two_mounts_share_it(void **state)
{
	struct place *p = *state;
	struct store *other;

	assert_int_equal(open_store(p, LIMIT, &other), 0);
	for (int i = 0; i < MANY; i++) {
		char env[16];

		snprintf(env, sizeof(env), "e%d", i);
		put_versions(i % 2 ? p->s : other, env, "text", i);
		put_versions(i % 2 ? other : p->s, "both", "text", i);
	}
	flush(p->s);
	flush(other);
	for (int i = 0; i < MANY; i++) {
		char env[16];

		snprintf(env, sizeof(env), "e%d", i);
		assert_versions(p->s, env, "text");
		assert_versions(other, env, "text");
	}
	assert_int_equal(stats(p->s).lost + stats(other).lost, 0);
	store_close(other);
}

static void a_locked_database_is_done_without(void **state)
{
	struct place *p = *state;
	char path[2 * CACHE_PATH_MAX];
	struct store *other;
	sqlite3 *db;

	store_close(p->s);
	p->s = NULL;
	snprintf(path, sizeof(path), "%s/" DB, p->path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	assert_true(open_store(p, LIMIT, &other) < 0);
	assert_null(other);
	sqlite3_close(db);
	assert_int_equal(open_store(p, LIMIT, &p->s), 0);
}

/* Whatever a killed process had written, another one reads whole lists. */
static void a_killed_writer_leaves_whole_lists(void **state)
{
	struct place *p = *state;

	store_close(p->s);
	p->s = NULL;
	for (int round = 0; round < 8; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct store *s;

			if (open_store(p, LIMIT, &s))
				_exit(1);
			for (int i = 0;; i++) {
				put_envs(s, 50 + i % 50, i % 50, "odd", i);
				put_versions(s, "e0", "text", i);
			}
		}
		poll(NULL, 0, 20 + 7 * round);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(open_store(p, LIMIT, &p->s), 0);
		{
			struct store_list l = envs_list();
			struct store_found found;

			if (!store_get_list(p->s, &l, &found)) {
				assert_true(((struct env_list *)found.list)->count >= 50);
				env_list_unref(found.list);
			}
			assert_int_equal(stats(p->s).damaged, 0);
		}
		store_close(p->s);
		p->s = NULL;
	}
}

/* ---- the limit ---- */

static void the_database_is_bounded(void **state)
{
	struct place *p = *state;
	char *text = malloc(100000);
	char path[2 * CACHE_PATH_MAX];
	struct stat st;

	memset(text, 'x', 99999);
	text[99999] = '\0';
	store_close(p->s);
	assert_int_equal(open_store(p, 8 * 1024 * 1024, &p->s), 0);
	put_envs(p->s, 100, 0, "odd", 0);
	flush(p->s);
	for (int i = 0; i < 100; i++) {
		char env[16];

		snprintf(env, sizeof(env), "e%d", i);
		put_versions(p->s, env, text, i);
		flush(p->s);
	}
	free(text);
	assert_int_equal(stats(p->s).damaged, 0);
	snprintf(path, sizeof(path), "%s/" DB, p->path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 2 * 1024 * 1024);
	{
		struct store_list l = versions_list("e99"), first = versions_list("e0"),
				  envs = envs_list();
		struct store_found found;

		assert_int_equal(store_get_list(p->s, &l, &found), 0);
		version_list_unref(found.list);
		assert_int_equal(store_get_list(p->s, &first, &found), -ENOENT);
		/* Nobody has read it for longest, but it leads to all the others. */
		assert_int_equal(store_get_list(p->s, &envs, &found), 0);
		env_list_unref(found.list);
	}
	assert_versions(p->s, "e0", "");
}

/* ---- damage ---- */

/* Right, or not there; and in the end it works again. */
static void check_after_damage(struct place *p)
{
	struct store_found found;
	char text[TEXT_MAX];
	const char *is;

	if (open_store(p, LIMIT, &p->s)) {
		p->s = NULL;
		return;
	}
	is = versions_text(p->s, "e0", text, &found);
	assert_true(strcmp(is, "text") == 0 || strcmp(is, "") == 0);
	put_versions(p->s, "e0", "text", 2);
	flush(p->s);
	put_versions(p->s, "e0", "text", 3);
	flush(p->s);
	assert_versions(p->s, "e0", "text");
	store_close(p->s);
	p->s = NULL;
}

static void fill(struct place *p)
{
	if (!p->s)
		assert_int_equal(open_store(p, LIMIT, &p->s), 0);
	put_envs(p->s, 40, 3, "odd", 1);
	put_versions(p->s, "e0", "text", 1);
	store_put_fact(p->s, "fact", 4, "text", 4);
	store_close(p->s);
	p->s = NULL;
}

static void a_damaged_file_is_made_anew(void **state)
{
	static const char garbage[8192] = "SQLite format 3";
	struct place *p = *state;
	char path[2 * CACHE_PATH_MAX], other[3 * CACHE_PATH_MAX];
	unsigned int seed = 7;
	struct stat st;

	snprintf(path, sizeof(path), "%s/" DB, p->path);
	for (int i = 0; i < 120; i++) {
		fill(p);
		assert_int_equal(stat(path, &st), 0);
		for (int k = 0; k <= i % 8; k++)
			cache_flip(path, rand_r(&seed) % st.st_size);
		check_after_damage(p);
	}
	for (int i = 0; i < 12; i++) {
		fill(p);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(truncate(path, st.st_size * i / 12), 0);
		check_after_damage(p);
	}
	for (int i = 0; i < 3; i++) {
		int fd;

		fill(p);
		snprintf(other, sizeof(other), "%s%s", path,
			 i == 0   ? ""
			 : i == 1 ? "-wal"
				  : "-shm");
		fd = open(other, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
		close(fd);
		check_after_damage(p);
	}
}

static void odd_files_are_not_used(void **state)
{
	struct place *p = *state;
	char path[2 * CACHE_PATH_MAX];

	snprintf(path, sizeof(path), "%s/" DB, p->path);
	for (int i = 0; i < 5; i++) {
		fill(p);
		if (i == 0)
			assert_int_equal(chmod(path, 0666), 0);
		else if (i == 4 && geteuid() == 0)
			assert_int_equal(chown(path, 1, (gid_t)-1), 0);
		else
			assert_int_equal(unlink(path), 0);
		if (i == 1)
			assert_int_equal(symlink("/etc/passwd", path), 0);
		else if (i == 2)
			assert_int_equal(mkdir(path, 0700), 0);
		else if (i == 3)
			assert_int_equal(mkfifo(path, 0600), 0);
		check_after_damage(p);
	}
}

/* Somebody writes into it what we would not. */
static void run_sql(struct place *p, const char *sql)
{
	char path[2 * CACHE_PATH_MAX];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/" DB, p->path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void forged_rows_are_dropped(void **state)
{
	static const char *const forgeries[] = {
		"UPDATE items SET body = zeroblob(100)",
		"UPDATE items SET body = 'text'",
		"UPDATE items SET name = x'00' || name",
		"UPDATE items SET sum = zeroblob(32)",
		"UPDATE items SET sum = NULL WHERE 0; DELETE FROM items WHERE name = 'e5' OR 1",
		"UPDATE items SET body = zeroblob(50000000) WHERE list = 2",
		"UPDATE lists SET count = 1000000000",
		"UPDATE lists SET count = -1",
		"UPDATE lists SET learnt = learnt + 1",
		"UPDATE lists SET items = zeroblob(32)",
		"UPDATE lists SET used = -9223372036854775807; "
		"UPDATE facts SET used = -9223372036854775807",
		"UPDATE lists SET sum = 'x'",
		"UPDATE lists SET id = 5 - id",
		"UPDATE lists SET key = x'76' WHERE 0; UPDATE facts SET body = 'forged'",
		"DROP TABLE items",
		"CREATE TABLE more (x)",
		"CREATE TRIGGER t AFTER UPDATE ON lists BEGIN DELETE FROM items; END",
		"CREATE VIEW v AS SELECT 1",
		"PRAGMA user_version = 1",
		"PRAGMA application_id = 1",
		"PRAGMA journal_mode = DELETE",
	};
	struct place *p = *state;

	for (size_t i = 0; i < sizeof(forgeries) / sizeof(*forgeries); i++) {
		_cleanup_buf_ struct buf fact = BUF_INIT(100);

		fill(p);
		run_sql(p, forgeries[i]);
		assert_int_equal(open_store(p, LIMIT, &p->s), 0);
		if (!store_get_fact(p->s, "fact", 4, &fact))
			assert_string_equal(buf_str(&fact), "text");
		store_close(p->s);
		check_after_damage(p);
	}
}

/* A database that another mount uses is not taken away from it. */
static void damage_under_two_mounts_is_survived(void **state)
{
	struct place *p = *state;
	char path[2 * CACHE_PATH_MAX];
	struct store *other;
	struct stat st;

	fill(p);
	assert_int_equal(open_store(p, LIMIT, &p->s), 0);
	assert_int_equal(open_store(p, LIMIT, &other), 0);
	snprintf(path, sizeof(path), "%s/" DB, p->path);
	assert_int_equal(stat(path, &st), 0);
	for (long at = 4096; at < st.st_size; at += 16)
		cache_flip(path, at);
	for (int i = 0; i < 3; i++) {
		struct store_found found;
		char text[TEXT_MAX];

		put_versions(i % 2 ? other : p->s, "e0", "text", 10 + i);
		versions_text(p->s, "e0", text, &found);
		versions_text(other, "e1", text, &found);
		flush(p->s);
		flush(other);
	}
	store_close(other);
	store_close(p->s);
	p->s = NULL;
	check_after_damage(p);
	check_after_damage(p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lists_are_found_again),
		TEST(empty_lists_are_lists),
		TEST(only_what_differs_is_written),
		TEST(ages_are_renewed),
		TEST(what_left_takes_along_what_was_below),
		TEST(scopes_that_left_take_everything_along),
		TEST(everything_else_is_found_again),
		TEST(facts_are_found_by_how_they_begin),
		TEST(an_unfinished_change_is_remembered),
		TEST(a_change_that_is_written_leaves_no_doubt),
		TEST(a_doubt_has_a_name_of_its_own),
		TEST(a_change_that_can_not_be_written_is_doubted),
		TEST(two_mounts_share_it),
		TEST(a_locked_database_is_done_without),
		TEST(a_killed_writer_leaves_whole_lists),
		TEST(the_database_is_bounded),
		TEST(a_damaged_file_is_made_anew),
		TEST(odd_files_are_not_used),
		TEST(forged_rows_are_dropped),
		TEST(damage_under_two_mounts_is_survived),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
