#include "fs/desktop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/redact.h"
#include "client/utf8.h"

enum { TEXT_MAX = 1024, ESCAPED_MAX = 8 * TEXT_MAX };

extern char **environ;

/* There is one desktop: whether a notification is on its way, and when the last one was begun. */
static atomic_bool busy;
static int64_t last_begun; /* clock_mono(), 0: none yet; belongs to who set busy */

struct notice {
	char *summary;
	char *body;
};

/* ---- texts ---- */

/* A copy without secrets, in characters that can be shown. */
static char *clean(const char *text)
{
	size_t len = strnlen(text, TEXT_MAX), n;
	char *copy = strndup(text, len);
	uint32_t cp;

	if (!copy)
		return NULL;
	for (size_t at = 0; at < len; at += n ? n : 1) {
		n = utf8_decode(copy + at, len - at, &cp);
		if (!n || (cp < ' ' && cp != '\n'))
			copy[at] = '?';
	}
	redact(copy);
	return copy;
}

/* The body is markup, in which notify-send itself replaces what follows a backslash. */
static char *escape(const char *text)
{
	_cleanup_buf_ struct buf b = BUF_INIT(ESCAPED_MAX);

	for (; *text; text++) {
		switch (*text) {
		case '&':
			buf_addstr(&b, "&amp;");
			break;
		case '<':
			buf_addstr(&b, "&lt;");
			break;
		case '>':
			buf_addstr(&b, "&gt;");
			break;
		case '\\':
			buf_addstr(&b, "\\\\");
			break;
		default:
			buf_addch(&b, *text);
		}
	}
	return strdup(buf_str(&b));
}

static void notice_free(struct notice *n)
{
	if (!n)
		return;
	free(n->summary);
	free(n->body);
	free(n);
}

static struct notice *notice_new(const char *summary, const char *body)
{
	_cleanup_free_ char *plain = clean(body);
	struct notice *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->summary = clean(summary);
	n->body = plain ? escape(plain) : NULL;
	if (n->summary && n->body)
		return n;
	notice_free(n);
	return NULL;
}

/* ---- the program ---- */

/* It writes nothing where our log goes, and takes the signals that this thread does not. */
static int spawn(char *const argv[], pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc = posix_spawn_file_actions_init(&files);

	if (rc)
		return rc;
	rc = posix_spawnattr_init(&attr);
	if (rc) {
		posix_spawn_file_actions_destroy(&files);
		return rc;
	}
	sigemptyset(&none);
	rc = posix_spawnattr_setsigmask(&attr, &none);
	if (!rc)
		rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	for (int fd = 0; !rc && fd <= STDERR_FILENO; fd++)
		rc = posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
	if (!rc)
		rc = posix_spawnp(pid, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* Waits for the program's end, so that it is collected whatever this process does with SIGCHLD. */
static void show(const struct notice *n)
{
	char *const argv[] = {"notify-send", "--app-name=mlenvfs", "--", n->summary, n->body, NULL};
	pid_t pid;
	int rc = spawn(argv, &pid);

	if (rc) {
		log_debug("op=notify error=\"%s\"", strerror(rc));
		return;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void *notify_main(void *arg)
{
	struct notice *n = arg;

	show(n);
	notice_free(n);
	atomic_store(&busy, false);
	return NULL;
}

/* With all signals blocked: they are for the threads that expect them. */
static int start_thread(struct notice *n)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!rc)
		rc = pthread_create(&thread, &attr, notify_main, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

/* ---- for all ---- */

static bool has_desktop(void)
{
	const char *bus = getenv("DBUS_SESSION_BUS_ADDRESS");

	return bus && *bus;
}

void desktop_notify(const char *summary, const char *body)
{
	struct notice *n = NULL;
	int64_t now = clock_mono();

	if (!has_desktop() || atomic_exchange(&busy, true))
		return;
	if (!last_begun || now - last_begun >= DESKTOP_PAUSE)
		n = notice_new(summary, body);
	if (n) {
		last_begun = now;
		if (!start_thread(n))
			return; /* busy until it has ended */
	}
	notice_free(n);
	atomic_store(&busy, false);
}
