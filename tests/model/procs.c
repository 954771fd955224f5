/* procs - a small process forks the others, so that each is cheap and their parent, which decides
 * when a zombie goes, is not the program under test. */
#include "tests/model/procs.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum request { REQUEST_NEW, REQUEST_EXIT, REQUEST_KILL, REQUEST_REAP };

struct message {
	enum request request;
	struct proc proc;
};

static int zygote = -1;

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

/* ---- in the processes ---- */

static void *second_thread(void *arg)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	check(write(*(int *)arg, &tid, sizeof(tid)) == sizeof(tid), "procs: write");
	for (;;)
		pause();
	return NULL;
}

/* Without what a sanitizer does at the end of a process: it takes a second. */
static void leave(void)
{
	syscall(SYS_exit_group, 0);
}

static void exist(int told)
{
	pthread_t thread;
	sigset_t set;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	check(pthread_create(&thread, NULL, second_thread, &told) == 0, "procs: thread");
	sigwait(&set, &sig);
	leave();
}

/* ---- in their parent ---- */

static struct proc make(void)
{
	struct proc p;
	int tell[2];

	check(pipe(tell) == 0, "procs: pipe");
	p.pid = fork();
	check(p.pid >= 0, "procs: fork");
	if (!p.pid)
		exist(tell[1]);
	close(tell[1]);
	check(read(tell[0], &p.thread, sizeof(p.thread)) == sizeof(p.thread), "procs: read");
	close(tell[0]);
	return p;
}

static void finish(const struct proc *p, int sig)
{
	siginfo_t info;

	kill(p->pid, sig);
	check(waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) == 0, "procs: waitid");
}

static void serve(int fd)
{
	struct message m;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fd, &m, sizeof(m)) == sizeof(m)) {
		switch (m.request) {
		case REQUEST_NEW:
			m.proc = make();
			break;
		case REQUEST_EXIT:
			finish(&m.proc, SIGUSR1);
			break;
		case REQUEST_KILL:
			finish(&m.proc, SIGKILL);
			break;
		case REQUEST_REAP:
			waitpid(m.proc.pid, NULL, 0);
			break;
		}
		check(write(fd, &m, sizeof(m)) == sizeof(m), "procs: write");
	}
	leave();
}

/* ---- in the program ---- */

void procs_start(void)
{
	int ends[2];
	pid_t pid;

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "procs: socketpair");
	pid = fork();
	check(pid >= 0, "procs: fork");
	if (!pid) {
		close(ends[0]);
		serve(ends[1]);
	}
	close(ends[1]);
	zygote = ends[0];
}

static struct message ask(enum request request, const struct proc *p)
{
	struct message m = {.request = request, .proc = p ? *p : (struct proc){0}};

	check(write(zygote, &m, sizeof(m)) == sizeof(m), "procs: write");
	check(read(zygote, &m, sizeof(m)) == sizeof(m), "procs: read");
	return m;
}

struct proc procs_new(void)
{
	return ask(REQUEST_NEW, NULL).proc;
}

void procs_end(const struct proc *p, enum proc_end how)
{
	ask(how == PROC_KILLED ? REQUEST_KILL : REQUEST_EXIT, p);
}

void procs_reap(const struct proc *p)
{
	ask(REQUEST_REAP, p);
}
