/* cmd_warm - mlenvfs warm: fetches everything below a path, for work without a network. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "cache/cachedir.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/parallel.h"
#include "fs/warm.h"
#include "fs/xattr.h"

enum {
	THREADS = PARALLEL_THREADS_MAX,
	DEPTH_MAX = 140,     /* of directories; a context has less */
	COMPLAINTS_MAX = 20, /* after that, failures are only counted */
	BAR_WIDTH = 30,
	BAR_MS = 100,   /* between two states of the bar */
	LINE_MS = 5000, /* between two lines where there is no terminal */
	READ_SIZE = 64 * 1024,
};

const char cmd_warm_help[] =
	"usage: mlenvfs warm [--quiet] PATH...\n"
	"\n"
	"Fetches everything below PATH (a mount, a workspace, an environment, a version, or a\n"
	"part of a build context) and keeps it on the disk, so that it is there without a\n"
	"network, and after the next mount. What is there already is checked, not fetched. Lists\n"
	"are asked for anew. Status 1 when something could not be had or kept.\n"
	"\n"
	"  -q, --quiet              say nothing but what fails\n";

/* One call of the command. */
struct warm {
	char **versions; /* and other things that have content of their own */
	size_t n, cap;
	bool quiet;
	bool terminal;
	pthread_mutex_t lock;
	/* protected by lock */
	size_t lists;
	size_t done;
	uint64_t bytes;
	size_t failed;
	int64_t shown_at;
};

/* ---- telling ---- */

static void show(struct warm *w)
{
	double mib = (double)w->bytes / (1024 * 1024);
	size_t filled = w->n ? w->done * BAR_WIDTH / w->n : 0;
	int64_t now = clock_mono();

	if (w->quiet || now - w->shown_at < (w->terminal ? BAR_MS : LINE_MS) * NS_PER_MS)
		return;
	w->shown_at = now;
	if (!w->terminal) {
		printf("%zu of %zu versions, %.1f MiB\n", w->done, w->n, mib);
		fflush(stdout);
		return;
	}
	if (w->done) {
		fprintf(stderr, "\r[%.*s%.*s] %zu of %zu versions, %.1f MiB \033[K", (int)filled,
			"##############################", (int)(BAR_WIDTH - filled),
			"                              ", w->done, w->n, mib);
	} else {
		fprintf(stderr, "\rreading lists: %zu, %zu versions \033[K", w->lists, w->n);
	}
	fflush(stderr);
}

static void clear_bar(const struct warm *w)
{
	if (w->terminal && !w->quiet)
		fputs("\r\033[K", stderr);
}

/* What failed, and where; the log of the mount says more. */
static void fail(struct warm *w, const char *path, int code)
{
	pthread_mutex_lock(&w->lock);
	if (w->failed++ < COMPLAINTS_MAX) {
		clear_bar(w);
		if (code == EOPNOTSUPP)
			cmd_complain(
				"%s: nothing is kept on the disk here; 'mlenvfs status' says why",
				path);
		else
			cmd_complain("%s: %s", path, strerror(code));
	}
	pthread_mutex_unlock(&w->lock);
}

static void progress(struct warm *w, uint64_t bytes, size_t done)
{
	pthread_mutex_lock(&w->lock);
	w->bytes += bytes;
	w->done += done;
	show(w);
	pthread_mutex_unlock(&w->lock);
}

/* ---- content ---- */

static int set_warm(const char *path, const char *value)
{
	return lsetxattr(path, XATTR_WARM, value, strlen(value), 0) < 0 ? errno : 0;
}

static void warm_file(struct warm *w, const char *path, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += WARM_PIECE) {
		uint64_t len = size - at < WARM_PIECE ? size - at : WARM_PIECE;
		char value[64];
		int code;

		snprintf(value, sizeof(value), "%" PRIu64 " %" PRIu64, at, len);
		code = set_warm(path, value);
		if (code) {
			fail(w, path, code);
			return;
		}
		progress(w, len, 0);
	}
}

/* PATH/NAME, to be freed. */
static char *join(const char *path, const char *name)
{
	char *out;

	return asprintf(&out, "%s/%s", path, name) < 0 ? NULL : out;
}

/* Calls fn for every name in a directory but . and .. */
static void each_name(struct warm *w, const char *path, int depth,
		      void (*fn)(struct warm *w, const char *path, const struct stat *st,
				 int depth))
{
	_cleanup_names_ DIR *dir = depth ? opendir(path) : NULL;
	const char *name;

	if (!dir) {
		fail(w, path, depth ? errno : ELOOP);
		return;
	}
	while ((name = cachedir_next(dir))) {
		_cleanup_free_ char *below = join(path, name);
		struct stat st;

		if (!below || lstat(below, &st) < 0)
			fail(w, below ? below : path, errno);
		else
			fn(w, below, &st, depth - 1);
	}
	if (errno)
		fail(w, path, errno);
}

static void warm_content(struct warm *w, const char *path, const struct stat *st, int depth)
{
	if (S_ISDIR(st->st_mode))
		each_name(w, path, depth, warm_content);
	else if (S_ISREG(st->st_mode))
		warm_file(w, path, (uint64_t)st->st_size);
}

/* Reading a log is what makes the mount keep it. */
static void read_file(struct warm *w, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_free_ char *data = malloc(READ_SIZE);
	ssize_t n = fd < 0 || !data ? -1 : 1;

	while (n > 0)
		n = read(fd, data, READ_SIZE);
	if (n < 0)
		fail(w, path, errno);
}

static void warm_version(struct warm *w, const char *path)
{
	_cleanup_free_ char *context = join(path, "context");
	_cleanup_free_ char *log = join(path, "build.log");
	int code = context && log ? set_warm(path, "") : ENOMEM;
	struct stat st;

	if (code) {
		fail(w, path, code);
		return;
	}
	if (lstat(context, &st) == 0)
		warm_content(w, context, &st, DEPTH_MAX);
	if (lstat(log, &st) == 0)
		read_file(w, log);
}

static int work(void *arg, size_t item, struct call *c, struct err *e)
{
	struct warm *w = arg;
	const char *path = w->versions[item];
	struct stat st;

	(void)c;
	(void)e;
	if (lstat(path, &st) < 0)
		fail(w, path, errno);
	else if (getxattr(path, XATTR_STATE, NULL, 0) > 0 && S_ISDIR(st.st_mode))
		warm_version(w, path);
	else
		warm_content(w, path, &st, DEPTH_MAX);
	progress(w, 0, 1);
	return 0;
}

static size_t no_memory(void *arg, size_t item)
{
	(void)arg;
	(void)item;
	return 0;
}

/* ---- lists ---- */

static void add_version(struct warm *w, const char *path)
{
	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 256;
		char **more = reallocarray(w->versions, cap, sizeof(*more));

		if (!more) {
			fail(w, path, ENOMEM);
			return;
		}
		w->versions = more;
		w->cap = cap;
	}
	w->versions[w->n] = strdup(path);
	if (w->versions[w->n])
		w->n++;
	else
		fail(w, path, ENOMEM);
}

/* "published", "draft", ... of a version's directory; "" for what is none. */
static void state_of(const char *path, char out[32])
{
	ssize_t n = getxattr(path, XATTR_STATE, out, 31);

	out[n > 0 ? n : 0] = '\0';
}

static void walk(struct warm *w, const char *path, const struct stat *st, int depth)
{
	char state[32];
	int code;

	if (!S_ISDIR(st->st_mode))
		return;
	state_of(path, state);
	if (*state) {
		if (strcmp(state, "published") == 0)
			add_version(w, path);
		return;
	}
	code = set_warm(path, "");
	if (code) {
		fail(w, path, code);
		return;
	}
	pthread_mutex_lock(&w->lock);
	w->lists++;
	show(w);
	pthread_mutex_unlock(&w->lock);
	each_name(w, path, depth, walk);
}

/* ---- the command ---- */

/* The mount that path lies in, to be freed. NULL: in none. */
static char *mount_of(const char *path)
{
	struct cmd_mounted *mounts;
	char *found = NULL;
	size_t n, best = 0;

	if (cmd_mounts(&mounts, &n, NULL))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(mounts[i].mountpoint);

		if (len < best || strncmp(path, mounts[i].mountpoint, len) != 0 ||
		    (path[len] && path[len] != '/'))
			continue;
		best = len;
		free(found);
		found = strdup(mounts[i].mountpoint);
	}
	cmd_mounts_free(mounts, n);
	return found;
}

/* Whether a path in the mount (SCOPE/[.archived/]ENV/VERSION/...) leads to a part of a version. */
static bool is_below_version(const char *path)
{
	static const char archive[] = "/.archived/";
	const char *at = *path ? strchr(path + 1, '/') : NULL;

	if (at && strncmp(at, archive, strlen(archive)) == 0)
		at = strchr(at + 1, '/');
	for (int i = 0; at && i < 2; i++)
		at = strchr(at + 1, '/');
	return at;
}

/* What the mount says about itself that bears on whether all is there. */
struct health {
	double evicted; /* content that had to go for other content */
	bool away;
};

static struct health health_of(const char *mount)
{
	_cleanup_free_ char *text = NULL;
	cJSON *status = cmd_read_status(mount, &text, NULL) ? NULL : cJSON_Parse(text);
	const cJSON *cache = cJSON_GetObjectItemCaseSensitive(status, "cache");
	const cJSON *catalog = cJSON_GetObjectItemCaseSensitive(status, "catalog");
	const cJSON *evicted = cJSON_GetObjectItemCaseSensitive(cache, "evicted");
	struct health h = {
		.evicted = cJSON_IsNumber(evicted) ? evicted->valuedouble : 0,
		.away = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(catalog, "away")),
	};

	cJSON_Delete(status);
	return h;
}

static void check_health(struct warm *w, const char *mount, double evicted_before)
{
	struct health h = health_of(mount);

	clear_bar(w);
	if (h.away) {
		cmd_complain("%s: the service can't be reached: what is there was known before",
			     mount);
		w->failed++;
	}
	if (h.evicted > evicted_before) {
		cmd_complain("%s: not all of it can be kept: mount with a larger -o cache_size",
			     mount);
		w->failed++;
	}
}

/* The lists that lead to path, without which it could not be reached. */
static void warm_above(struct warm *w, const char *mount, const char *path)
{
	size_t len = strlen(mount);

	while (path[len]) {
		_cleanup_free_ char *above = strndup(path, len);
		int code = above ? set_warm(above, "") : ENOMEM;

		if (code)
			fail(w, path, code);
		len++;
		len += strcspn(path + len, "/");
	}
}

static void run_one(struct warm *w, const char *given)
{
	struct err e = ERR_INIT;
	_cleanup_free_ char *path = cmd_real_path(given, &e);
	_cleanup_free_ char *mount = NULL;
	const struct parallel p = {.threads = THREADS,
				   .memory = SIZE_MAX,
				   .arg = w,
				   .memory_of = no_memory,
				   .work = work};
	struct parallel all = p;
	struct stat st;
	struct call c;
	double evicted;
	int code;

	if (path)
		mount = mount_of(path);
	if (!mount || lstat(path, &st) < 0) {
		cmd_complain("%s: %s", given, path ? "this is not in an mlenvfs mount" : e.msg);
		w->failed++;
		return;
	}
	evicted = health_of(mount).evicted;
	if (setxattr(mount, XATTR_REFRESH, "", 0, 0) < 0)
		fail(w, mount, errno);
	warm_above(w, mount, path);
	/* Below a version there are no lists. */
	if (is_below_version(path + strlen(mount)))
		add_version(w, path);
	else
		walk(w, path, &st, DEPTH_MAX);
	all.n = w->n;
	call_init(&c, INT64_MAX, CALL_INTERACTIVE);
	if (parallel_run(&all, &c, &e))
		fail(w, path, ENOMEM);
	call_destroy(&c);
	code = set_warm(mount, WARM_FLUSH);
	if (code && !w->failed)
		fail(w, mount, code);
	check_health(w, mount, evicted);
}

static int run(bool quiet, int argc, char **argv)
{
	int status = CMD_OK;

	for (int i = 0; i < argc; i++) {
		struct warm w = {.quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1};

		w.shown_at = clock_mono();
		pthread_mutex_init(&w.lock, NULL);
		run_one(&w, argv[i]);
		clear_bar(&w);
		if (!quiet)
			printf("%s: %zu versions, %.1f MiB of build contexts, %zu failed\n",
			       argv[i], w.n, (double)w.bytes / (1024 * 1024), w.failed);
		if (w.failed)
			status = CMD_FAILED;
		for (size_t k = 0; k < w.n; k++)
			free(w.versions[k]);
		free(w.versions);
		pthread_mutex_destroy(&w.lock);
	}
	return status;
}

int cmd_warm(int argc, char **argv)
{
	static const struct option longs[] = {
		{"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {0}};
	bool quiet = false;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "qh", longs, NULL)) != -1) {
		switch (c) {
		case 'q':
			quiet = true;
			break;
		case 'h':
			fputs(cmd_warm_help, stdout);
			return CMD_OK;
		default:
			return cmd_usage("warm", "unknown option '%s'", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return cmd_usage("warm", "what? A path is missing");
	return run(quiet, argc - optind, argv + optind);
}
