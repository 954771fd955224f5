/* cmd_build - mlenvfs build: builds the image of an environment version, and shows how far it is.
 */
#include "fs/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/image.h"
#include "fs/xattr.h"

const char cmd_build_help[] =
	"usage: mlenvfs build [--follow] PATH\n"
	"       mlenvfs build --cancel PATH\n"
	"\n"
	"Builds the image of an environment version (its directory, or anything in it) and shows "
	"how\n"
	"far that is. A build that runs already is joined. The image's name is printed when it is\n"
	"there. Exit status 0: the image was built; 1: it was not; 130: Ctrl-C, which leaves the "
	"build\n"
	"running.\n"
	"\n"
	"  -f, --follow             print the log as it is written (it is PATH/build.log)\n"
	"      --cancel             cancel the build that runs, where the service can\n";

enum {
	CMD_DETACHED = 130,
	LOOK_MS = 200,  /* between two looks at the log */
	STATE_MS = 500, /* at the state */
	CALM_MS = 1200, /* a log may still grow after the end of its build */
	LOST_S = 10,    /* so long nobody may know how it is */
	LINE_MAX_SHOWN = 400,
	CHUNK = 64 * 1024,
	VALUE_SIZE = 2048,
};

struct building {
	char dir[PATH_MAX]; /* of the version */
	int log;            /* descriptor of build.log */
	bool follow;
	bool live; /* stderr is a terminal: one line that changes */
	off_t at;  /* how much of the log was read */
	int64_t began;
	int64_t ended; /* 0: not yet */
	char state[VALUE_SIZE];
	char step[LINE_MAX_SHOWN]; /* the last line that says which step it is */
	char line[LINE_MAX_SHOWN]; /* the line that is being written, cut off */
	char last[LINE_MAX_SHOWN]; /* the last line that says something */
	char shown[VALUE_SIZE];    /* what progress said last */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void catch_interrupt(void)
{
	struct sigaction act = {.sa_handler = on_interrupt};

	sigemptyset(&act.sa_mask);
	(void)sigaction(SIGINT, &act, NULL);
}

/* ---- the version ---- */

static bool is_version(const char *path)
{
	char value[VALUE_SIZE];
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
	       getxattr(path, "user.azureml.id", value, sizeof(value)) >= 0;
}

/* The version's directory that path is or lies in, to dir. */
static int find_version(const char *path, char dir[PATH_MAX])
{
	char *slash;

	if (!realpath(path, dir))
		return -errno;
	while (!is_version(dir)) {
		slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			return -ENODATA;
		*slash = '\0';
	}
	return 0;
}

/* An attribute as a text; "" when it has none. */
static void get(const char *dir, const char *name, char value[VALUE_SIZE])
{
	ssize_t n = getxattr(dir, name, value, VALUE_SIZE - 1);

	value[n < 0 ? 0 : n] = '\0';
}

/* Tells the mount to do something; explains what went wrong. */
static int tell(const char *path, const char *dir, const char *what)
{
	char reason[VALUE_SIZE];
	int error;

	if (setxattr(dir, XATTR_BUILD, what, strlen(what), 0) == 0)
		return CMD_OK;
	error = errno;
	if (error == EINTR && interrupted) {
		cmd_complain("%s: interrupted before the service had answered; "
			     "'getfattr -n " XATTR_BUILD_STATE "' says whether it did it",
			     path);
		return CMD_DETACHED;
	}
	/* The kernel itself refuses where nothing can be written: no reason is left there. */
	reason[0] = '\0';
	if (error != EROFS)
		get(dir, XATTR_ERROR, reason);
	if (!reason[0] && error == EOPNOTSUPP)
		snprintf(reason, sizeof(reason),
			 "it can't be built here: that is for versions in a workspace");
	cmd_complain("%s: %s", path, reason[0] ? reason : strerror(error));
	return CMD_FAILED;
}

/* ---- the log ---- */

/* "Step 3/17 : RUN ..." of docker, "STEP 3/17: RUN ..." of buildah, behind the time or not. */
static const char *find_step(const char *line)
{
	for (const char *p = line; (p = strcasestr(p, "step ")); p++) {
		const char *q = p + 5;

		if (!isdigit((unsigned char)*q))
			continue;
		q += strspn(q, "0123456789");
		if (*q == '/' && isdigit((unsigned char)q[1]))
			return p;
	}
	return NULL;
}

static void end_line(struct building *b)
{
	const char *step = find_step(b->line);

	if (b->line[strspn(b->line, " \t\r")])
		snprintf(b->last, sizeof(b->last), "%s", b->line);
	if (step)
		snprintf(b->step, sizeof(b->step), "%s", step);
	b->line[0] = '\0';
}

/* Takes notice of what a part of the log says; a line is as long as it likes. */
static void take_lines(struct building *b, const char *data, size_t len)
{
	size_t n = strlen(b->line);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == '\n') {
			end_line(b);
			n = 0;
		} else if (n + 1 < sizeof(b->line)) {
			b->line[n++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
			b->line[n] = '\0';
		}
	}
}

/* Reads what was written since. 1 when there was something, 0, or a negative errno. */
static int read_log(struct building *b)
{
	static char chunk[CHUNK];
	struct stat st;
	int some = 0;
	ssize_t n;

	/* Somebody has started another build: another log. */
	if (fstat(b->log, &st) == 0 && st.st_size < b->at)
		b->at = 0;
	while (!interrupted && (n = pread(b->log, chunk, sizeof(chunk), b->at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		some = 1;
		b->at += n;
		take_lines(b, chunk, (size_t)n);
		if (b->follow && fwrite(chunk, 1, (size_t)n, stdout) != (size_t)n)
			return -errno;
	}
	if (some && b->follow && fflush(stdout))
		return -errno;
	return some;
}

/* ---- progress ---- */

static void format_elapsed(const struct building *b, char out[32])
{
	int64_t s = ((b->ended ? b->ended : clock_mono()) - b->began) / NS_PER_S;

	if (s >= 3600)
		snprintf(out, 32, "%d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60),
			 (int)(s % 60));
	else
		snprintf(out, 32, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

static int columns(void)
{
	struct winsize w = {0};

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

/* One line that changes on a terminal, a line for every change elsewhere. */
static void show_progress(struct building *b)
{
	char elapsed[32], what[VALUE_SIZE + LINE_MAX_SHOWN + 4];

	format_elapsed(b, elapsed);
	snprintf(what, sizeof(what), "%s%s%s", b->state[0] ? b->state : "Starting",
		 b->step[0] && !b->follow ? ": " : "", b->follow ? "" : b->step);
	if (b->live) {
		fprintf(stderr, "\r\033[K%s %.*s", elapsed, columns() - (int)strlen(elapsed) - 2,
			what);
		fflush(stderr);
	} else if (strncmp(b->shown, what, sizeof(b->shown) - 1) != 0) {
		fprintf(stderr, "%s %s\n", elapsed, what);
		snprintf(b->shown, sizeof(b->shown), "%.*s", (int)sizeof(b->shown) - 1, what);
	}
}

static void end_progress(const struct building *b)
{
	if (b->live)
		fputs("\r\033[K", stderr);
}

/* ---- following ---- */

/* What the mount says of the build; the service's own word where that says more. */
static enum image_state look_at_state(struct building *b)
{
	char stage[VALUE_SIZE];
	enum image_state state;

	get(b->dir, XATTR_BUILD_STATE, b->state);
	state = image_state_parse(b->state);
	if (state == IMAGE_RUNNING || state == IMAGE_UNKNOWN) {
		get(b->dir, XATTR_BUILD_STAGE, stage);
		if (stage[0])
			snprintf(b->state, sizeof(b->state), "%s", stage);
	}
	return state;
}

static int log_failed(const struct building *b, int rc)
{
	end_progress(b);
	cmd_complain("%s/build.log: %s (the build goes on)", b->dir, strerror(-rc));
	return rc;
}

/* Asks for the state, now and then. */
static void update_state(struct building *b, enum image_state *state, int64_t *asked,
			 int64_t *known)
{
	int64_t now = clock_mono();

	if (b->ended || now - *asked < STATE_MS * NS_PER_MS)
		return;
	*state = look_at_state(b);
	*asked = now;
	if (*state != IMAGE_UNKNOWN)
		*known = now;
	if (image_state_is_final(*state))
		b->ended = now;
}

/* The build has ended and its log with it, or nobody knows of it any more. */
static bool is_over(const struct building *b, enum image_state state, int64_t calm, int64_t known)
{
	int64_t now = clock_mono();

	if (!b->ended)
		return now - known >= LOST_S * NS_PER_S;
	/* Where the log is not shown, only a failure's last line counts. */
	return (!b->follow && state == IMAGE_SUCCEEDED) ||
	       (now - calm >= CALM_MS * NS_PER_MS && now - b->ended >= CALM_MS * NS_PER_MS);
}

/* Until the build has ended, or the user leaves. */
static int wait_for_end(struct building *b, enum image_state *state)
{
	int64_t known = clock_mono(), calm = known, asked = 0;

	*state = IMAGE_UNKNOWN;
	while (!interrupted) {
		int rc = read_log(b);

		if (rc < 0)
			return log_failed(b, rc);
		if (rc)
			calm = clock_mono();
		update_state(b, state, &asked, &known);
		if (is_over(b, *state, calm, known))
			return 0;
		if (!b->ended)
			show_progress(b);
		(void)poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

static int report(struct building *b, enum image_state state)
{
	char elapsed[32], image[VALUE_SIZE];

	end_line(b);
	end_progress(b);
	format_elapsed(b, elapsed);
	if (state == IMAGE_SUCCEEDED) {
		get(b->dir, XATTR_IMAGE, image);
		fprintf(stderr, "%s Succeeded\n", elapsed);
		if (!b->follow && image[0])
			puts(image);
		return CMD_OK;
	}
	if (state == IMAGE_CANCELED)
		cmd_complain("the build was cancelled after %s", elapsed);
	else if (state == IMAGE_FAILED)
		cmd_complain("the build failed after %s%s%s\n  all of it is in %s/build.log",
			     elapsed, b->last[0] ? ": " : "", b->last, b->dir);
	else
		cmd_complain("nobody knows how the build ended (%s)", b->state);
	return CMD_FAILED;
}

static int leave_running(const struct building *b, const char *path)
{
	end_progress(b);
	cmd_complain("the build goes on; 'mlenvfs build --cancel %s' ends it", path);
	return CMD_DETACHED;
}

static int follow(struct building *b, const char *path)
{
	char log[PATH_MAX];
	enum image_state state;
	int rc;

	if (snprintf(log, sizeof(log), "%s/build.log", b->dir) >= (int)sizeof(log)) {
		cmd_complain("%s: %s", path, strerror(ENAMETOOLONG));
		return CMD_FAILED;
	}
	b->log = open(log, O_RDONLY | O_CLOEXEC);
	if (b->log < 0 && errno == EINTR && interrupted)
		return leave_running(b, path);
	if (b->log < 0) {
		cmd_complain("%s: %s (the build goes on)", log, strerror(errno));
		return CMD_FAILED;
	}
	rc = wait_for_end(b, &state);
	close(b->log);
	if (rc)
		return CMD_FAILED;
	if (interrupted && !image_state_is_final(state))
		return leave_running(b, path);
	return report(b, state);
}

static int build(const char *path, bool follow_log, bool cancel)
{
	struct building b = {.follow = follow_log, .log = -1, .began = clock_mono()};
	int rc = find_version(path, b.dir);

	if (rc == -ENODATA) {
		cmd_complain("%s is not an environment version in an mlenvfs mount", path);
		return CMD_FAILED;
	}
	if (rc) {
		cmd_complain("%s: %s", path, strerror(-rc));
		return CMD_FAILED;
	}
	b.live = isatty(STDERR_FILENO) && !follow_log;
	catch_interrupt();
	rc = tell(path, b.dir, cancel ? "cancel" : "start");
	return rc || cancel ? rc : follow(&b, path);
}

int cmd_build(int argc, char **argv)
{
	static const struct option longs[] = {{"follow", no_argument, NULL, 'f'},
					      {"cancel", no_argument, NULL, 'c'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	bool follow_log = false, cancel = false;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "fh", longs, NULL)) != -1) {
		switch (c) {
		case 'h':
			fputs(cmd_build_help, stdout);
			return CMD_OK;
		case 'f':
			follow_log = true;
			break;
		case 'c':
			cancel = true;
			break;
		default:
			return cmd_usage("build", "unknown option '%s'", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return cmd_usage("build", "of what? A path is missing");
	if (optind + 1 < argc)
		return cmd_usage("build", "one path at a time, '%s' is too many", argv[optind + 1]);
	if (follow_log && cancel)
		return cmd_usage("build", "--follow and --cancel exclude each other");
	return build(argv[optind], follow_log, cancel);
}
