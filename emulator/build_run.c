#include "emulator/build_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"

enum {
	PIECE = 64 * 1024,
	KEEPER_FD = 3, /* the keeper's end of the socket, where the keeper has it */
	ABOVE_FDS = 10,
	FD_LIMIT = 65536, /* of descriptors that are closed one by one */
	CHILDREN_SIZE = 4096,
	POLL_KILL_MS = 20,
	/* Behind the keeper's own limits: it is ended then, which leaves its children to init. */
	GIVE_UP_MS = BUILD_RUN_TERM_MS + BUILD_RUN_KILL_MS + 5000,
};

/* What the keeper says of the program. */
struct report {
	int end; /* enum build_run_end */
	int value;
};

/* ---- the keeper: after fork() in a process with threads, so nothing here may allocate ---- */

static void on_child(int sig)
{
	(void)sig;
}

static void close_above(int fd)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned int)fd, ~0U, 0U) == 0)
		return;
#endif
	for (int i = fd; i < FD_LIMIT; i++)
		close(i);
}

/* Puts null, output and socket where they belong, and closes everything else. */
static int arrange_fds(int null, int output, int socket)
{
	int in = fcntl(null, F_DUPFD_CLOEXEC, ABOVE_FDS);
	int out = fcntl(output, F_DUPFD_CLOEXEC, ABOVE_FDS);
	int sock = fcntl(socket, F_DUPFD_CLOEXEC, ABOVE_FDS);

	if (in < 0 || out < 0 || sock < 0 || dup2(in, STDIN_FILENO) < 0 ||
	    dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0 ||
	    dup3(sock, KEEPER_FD, O_CLOEXEC) < 0)
		return -1;
	close_above(KEEPER_FD + 1);
	return 0;
}

static void reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL}, wake = {.sa_handler = on_child};
	sigset_t chld;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigaction(SIGCHLD, &wake, NULL);
	/* SIGCHLD comes in during ppoll() only, so none is missed. */
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_SETMASK, &chld, NULL);
}

static void report(int end, int value)
{
	const struct report r = {end, value};

	/* When nobody is there to read it, the keeper finds out at its next ppoll(). */
	(void)!send(KEEPER_FD, &r, sizeof(r), MSG_NOSIGNAL);
}

static _Noreturn void become(const struct build_run *run, pid_t keeper)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!chdir(run->dir))
		execve(run->argv[0], (char *const *)run->argv, (char *const *)run->envp);
	report(BUILD_RUN_NOT_RUN, errno);
	_exit(127);
}

/* Kills every process whose parent we are. Theirs come to us then, for the next round. */
static void kill_children(void)
{
	static char text[CHILDREN_SIZE];
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	pid_t pid = 0;

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] >= '0' && text[i] <= '9') {
			pid = pid * 10 + (text[i] - '0');
		} else if (pid > 0) {
			kill(pid, SIGKILL);
			pid = 0;
		}
	}
}

/* Collects who has ended; of the program itself the status. false: nobody is left. */
static bool collect(pid_t program, bool *ended, int *status)
{
	pid_t pid;
	int s;

	while ((pid = waitpid(-1, &s, WNOHANG)) > 0)
		if (pid == program) {
			*ended = true;
			*status = s;
		}
	return pid == 0;
}

/* Waits for a child to end, or for word from the service; ms < 0: without limit. */
static bool told_to_stop(int ms)
{
	struct pollfd p = {.fd = KEEPER_FD, .events = POLLIN};
	struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * NS_PER_MS};
	sigset_t none;

	sigemptyset(&none);
	return ppoll(&p, 1, ms < 0 ? NULL : &limit, &none) > 0;
}

/* Without a look at the socket, on which there will be no more news. */
static void wait_for_child(int ms)
{
	struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * NS_PER_MS};
	sigset_t none;

	sigemptyset(&none);
	ppoll(NULL, 0, &limit, &none);
}

/* The program gets SIGTERM, and nobody else, so that it can clean up as it knows to. */
static void stop(pid_t program, bool *ended, int *status)
{
	int64_t until = clock_mono() + BUILD_RUN_TERM_MS * NS_PER_MS;

	kill(program, SIGTERM);
	while (collect(program, ended, status) && !*ended && clock_mono() < until)
		wait_for_child(POLL_KILL_MS);
}

static void end_all(pid_t program, bool *ended, int *status)
{
	int64_t until = clock_mono() + BUILD_RUN_KILL_MS * NS_PER_MS;

	/* What is left of its group, should there be no list of children to go by. */
	kill(-program, SIGKILL);
	while (collect(program, ended, status) && clock_mono() < until) {
		kill_children();
		wait_for_child(POLL_KILL_MS);
	}
}

static _Noreturn void keep(const struct build_run *run, int null, int output, int socket)
{
	bool ended = false, alive = true;
	pid_t keeper, program;
	int status = 0;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "mlenvfs-build");
	reset_signals();
	if (arrange_fds(null, output, socket))
		_exit(1);
	keeper = getpid();
	program = fork();
	if (program == 0)
		become(run, keeper);
	/* So that the output ends with the last of those who write it. */
	dup2(STDIN_FILENO, STDOUT_FILENO);
	dup2(STDIN_FILENO, STDERR_FILENO);
	if (program < 0) {
		report(BUILD_RUN_NOT_RUN, errno);
		_exit(1);
	}
	while (alive && !ended) {
		if (told_to_stop(-1)) {
			stop(program, &ended, &status);
			break;
		}
		alive = collect(program, &ended, &status);
	}
	end_all(program, &ended, &status);
	if (ended && WIFSIGNALED(status))
		report(BUILD_RUN_SIGNALED, WTERMSIG(status));
	else if (ended)
		report(BUILD_RUN_EXITED, WEXITSTATUS(status));
	_exit(0);
}

/* ---- the service ---- */

struct running {
	struct build_run *run;
	pid_t keeper;
	int output; /* -1: has ended */
	int socket;
	bool stopping;
	int64_t give_up; /* when stopping: the keeper itself is ended then */
	char *piece;     /* PIECE bytes */
};

/* Reads what is there. false: there is nothing more for now. */
static bool take_output(struct running *r)
{
	ssize_t n = read(r->output, r->piece, PIECE);

	if (n > 0) {
		r->run->output(r->run->ctx, r->piece, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(r->output);
		r->output = -1;
	}
	return false;
}

/* A report of the keeper. false: it has ended. */
static bool take_report(struct running *r)
{
	struct report report;
	ssize_t n = recv(r->socket, &report, sizeof(report), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	/* That exec failed is said before the status that comes of it. */
	if (n == sizeof(report) && r->run->end != BUILD_RUN_NOT_RUN) {
		r->run->end = (enum build_run_end)report.end;
		r->run->value = report.value;
	}
	return n > 0;
}

static void begin_stop(struct running *r)
{
	r->stopping = true;
	r->give_up = clock_mono() + GIVE_UP_MS * NS_PER_MS;
	shutdown(r->socket, SHUT_WR);
}

/* Milliseconds until then, rounded up. */
static int ms_until(int64_t when)
{
	int64_t left = when - clock_mono();

	if (left <= 0)
		return 0;
	return left / NS_PER_MS >= INT32_MAX ? INT32_MAX : (int)(left / NS_PER_MS) + 1;
}

/* Waits for what comes next, and deals with it. false: the keeper has ended. */
static bool step(struct running *r)
{
	struct pollfd p[] = {{.fd = r->output, .events = POLLIN},
			     {.fd = r->socket, .events = POLLIN},
			     {.fd = r->stopping ? -1 : r->run->wake_fd, .events = POLLIN}};
	int64_t until = r->run->idle(r->run->ctx);

	if (!until && !r->stopping)
		begin_stop(r);
	if (r->stopping && (!until || until > r->give_up))
		until = r->give_up;
	p[2].fd = r->stopping ? -1 : p[2].fd;
	if (poll(p, 3, ms_until(until)) < 0)
		return true;
	if (p[0].revents)
		take_output(r);
	if (p[1].revents)
		return take_report(r);
	if (r->stopping && clock_mono() >= r->give_up)
		kill(r->keeper, SIGKILL);
	return true;
}

static void follow(struct running *r)
{
	while (step(r))
		;
	/* Who wrote has ended, so what is there is all. */
	while (r->output >= 0 && take_output(r))
		;
	while (waitpid(r->keeper, NULL, 0) < 0 && errno == EINTR)
		;
}

/* The keeper is running, or a negative errno. output and socket are its ends. */
static int start(struct running *r, int null, int output, int socket, struct err *e)
{
	sigset_t all, old;

	/* No handler of ours may run in the keeper. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r->keeper = fork();
	if (r->keeper == 0)
		keep(r->run, null, output, socket);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r->keeper < 0 ? err_set(e, -errno, "fork: %s", strerror(errno)) : 0;
}

static int start_and_follow(struct running *r, int output[2], int socket[2], struct err *e)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ret;

	if (null < 0)
		return err_set(e, -errno, "/dev/null: %s", strerror(errno));
	ret = start(r, null, output[1], socket[1], e);
	close(output[1]);
	close(socket[1]);
	output[1] = socket[1] = -1;
	if (!ret)
		follow(r);
	return ret;
}

int build_run(struct build_run *run, struct err *e)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	struct running r = {.run = run, .piece = piece};
	int output[2] = {-1, -1}, socket[2] = {-1, -1};
	int ret;

	run->end = BUILD_RUN_LOST;
	run->value = 0;
	if (!piece)
		return err_set(e, -ENOMEM, "no memory");
	if (pipe2(output, O_CLOEXEC) || fcntl(output[0], F_SETFL, O_NONBLOCK) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socket)) {
		ret = err_set(e, -errno, "no pipe to a program: %s", strerror(errno));
	} else {
		r.output = output[0];
		r.socket = socket[0];
		ret = start_and_follow(&r, output, socket, e);
		output[0] = r.output;
	}
	for (int i = 0; i < 2; i++) {
		if (output[i] >= 0)
			close(output[i]);
		if (socket[i] >= 0)
			close(socket[i]);
	}
	return ret;
}
