#include "client/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"

extern char **environ;

enum {
	AT_OUT,
	AT_ERR,
	AT_IN,
	AT_END,    /* readable once it has ended */
	AT_CANCEL, /* readable once the call is cancelled */
	AT_COUNT,
	ENDED_POLL_MS = 20, /* where the kernel has no pidfd */
};

struct child {
	const struct child_spec *spec;
	pid_t pid;
	struct pollfd at[AT_COUNT];
	int theirs[3]; /* its stdin, stdout, stderr */
	size_t sent;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void child_clear(struct child *c)
{
	for (int i = 0; i < 3; i++)
		close_fd(&c->theirs[i]);
	for (int i = 0; i < AT_COUNT; i++)
		close_fd(&c->at[i].fd);
}

/* ---- starting ---- */

static int open_pipe(int *ours, int *theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[0];
	*theirs = fds[1];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* For its stdin: to a socket that nobody reads from can be written without a signal. */
static int open_socket(int *ours, int *theirs)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ours = fds[0];
	*theirs = fds[1];
	return 0;
}

static int open_pipes(struct child *c)
{
	int rc = open_pipe(&c->at[AT_OUT].fd, &c->theirs[1]);

	if (!rc)
		rc = open_pipe(&c->at[AT_ERR].fd, &c->theirs[2]);
	if (!rc)
		rc = open_socket(&c->at[AT_IN].fd, &c->theirs[0]);
	if (!rc) {
		c->at[AT_CANCEL].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rc = c->at[AT_CANCEL].fd < 0 ? -errno : 0;
	}
	return rc;
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Our environment with spec's variables; the array is to be freed, the texts are borrowed. */
static char **make_environment(const struct child_spec *spec)
{
	size_t n = 0, added = 0, k = 0;
	char **env;

	while (environ[n])
		n++;
	while (spec->env && spec->env[added])
		added++;
	env = calloc(n + added + 1, sizeof(*env));
	for (size_t i = 0; env && i < n; i++) {
		bool replaced = false;

		for (size_t j = 0; j < added && !replaced; j++)
			replaced = same_name(spec->env[j], environ[i]);
		if (!replaced)
			env[k++] = environ[i];
	}
	for (size_t j = 0; env && j < added; j++)
		env[k++] = (char *)(uintptr_t)spec->env[j];
	return env;
}

static int set_actions(const struct child *c, posix_spawn_file_actions_t *actions)
{
	int rc = 0;

	for (int i = 0; i < 3 && !rc; i++)
		rc = posix_spawn_file_actions_adddup2(actions, c->theirs[i], i);
	return rc ? rc : posix_spawn_file_actions_addchdir_np(actions, "/");
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						    POSIX_SPAWN_SETSIGDEF);
	if (!rc)
		rc = posix_spawnattr_setpgroup(attr, 0);
	if (!rc)
		rc = posix_spawnattr_setsigmask(attr, &none);
	return rc ? rc : posix_spawnattr_setsigdefault(attr, &all);
}

static int spawn(struct child *c)
{
	_cleanup_free_ char **env = make_environment(c->spec);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc = env ? 0 : ENOMEM;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	if (!rc)
		rc = set_actions(c, &actions);
	if (!rc)
		rc = set_attributes(&attr);
	if (!rc)
		rc = posix_spawnp(&c->pid, c->spec->argv[0], &actions, &attr,
				  (char *const *)(uintptr_t)c->spec->argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return -rc;
}

static int start(struct child *c)
{
	int rc = open_pipes(c);

	if (!rc)
		rc = spawn(c);
	for (int i = 0; i < 3; i++)
		close_fd(&c->theirs[i]);
	if (rc)
		return rc;
	/* None before Linux 5.3: then its end is looked for now and then. */
	c->at[AT_END].fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	c->at[AT_END].events = c->at[AT_CANCEL].events = POLLIN;
	c->at[AT_OUT].events = c->at[AT_ERR].events = POLLIN;
	c->at[AT_IN].events = POLLOUT;
	return 0;
}

/* ---- running ---- */

/* Takes what is there. 1 when there may be more, 0 at its end. */
static int drain(int *fd, struct buf *to)
{
	char data[4096];
	ssize_t n;
	int rc = 1;

	while (*fd >= 0 && (n = read(*fd, data, sizeof(data))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		rc = buf_add(to, data, (size_t)n);
		explicit_bzero(data, sizeof(data));
		if (rc)
			return rc;
	}
	close_fd(fd);
	return 0;
}

/* A program that does not read its input is not our problem. */
static void feed(struct child *c)
{
	const struct child_spec *s = c->spec;
	ssize_t n = 0;

	while (c->sent < s->input_len && n >= 0) {
		n = send(c->at[AT_IN].fd, (const char *)s->input + c->sent, s->input_len - c->sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			c->sent += (size_t)n;
		else if (errno == EINTR)
			n = 0;
	}
	if (c->sent == s->input_len || errno != EAGAIN)
		close_fd(&c->at[AT_IN].fd);
}

/* True once it can be waited for without waiting. It stays a zombie, so that its number is its. */
static bool has_ended(const struct child *c)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == c->pid;
}

static int poll_ms(const struct child *c, const struct call *call)
{
	int64_t left = (call->deadline - clock_mono()) / NS_PER_MS + 1;
	int64_t most = c->at[AT_END].fd < 0 ? ENDED_POLL_MS : 60 * 1000;

	return (int)(left < 0 ? 0 : left < most ? left : most);
}

/* Until it has ended and everything that it said is read. */
static int attend(struct child *c, struct call *call)
{
	for (;;) {
		int rc = call_check(call);
		bool ended = has_ended(c);

		if (rc)
			return rc;
		if (c->at[AT_IN].fd >= 0)
			feed(c);
		rc = drain(&c->at[AT_OUT].fd, c->spec->out);
		if (rc >= 0)
			rc = drain(&c->at[AT_ERR].fd, c->spec->err);
		if (rc < 0)
			return rc;
		if (ended)
			return 0;
		if (poll(c->at, AT_COUNT, poll_ms(c, call)) < 0 && errno != EINTR)
			return -errno;
	}
}

/* Called by call_cancel(). */
static void wake(void *arg)
{
	struct child *c = arg;
	uint64_t one = 1;
	ssize_t n = write(c->at[AT_CANCEL].fd, &one, sizeof(one));

	(void)n;
}

/* All of its group, before its number can be anybody else's. */
static void end(const struct child *c, int *status)
{
	kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, status, 0) < 0 && errno == EINTR)
		;
}

static int fail(const struct child_spec *spec, int rc, struct err *e)
{
	const char *why = strerror(-rc);

	if (rc == -ETIMEDOUT)
		why = "it took too long";
	else if (rc == -ECANCELED)
		why = "cancelled";
	else if (rc == -EFBIG)
		why = "it says too much";
	else if (rc == -ENOENT)
		why = "there is no such program";
	return err_set(e, rc, "%s: %s", spec->argv[0], why);
}

int child_run(const struct child_spec *spec, struct call *call, int *status, struct err *e)
{
	struct child c = {.spec = spec, .theirs = {-1, -1, -1}};
	int rc;

	for (int i = 0; i < AT_COUNT; i++)
		c.at[i].fd = -1;
	rc = start(&c);
	if (!rc) {
		call_set_wake(call, wake, &c);
		rc = attend(&c, call);
		call_set_wake(call, NULL, NULL);
		end(&c, status);
	}
	child_clear(&c);
	return rc ? fail(spec, rc, e) : 0;
}
