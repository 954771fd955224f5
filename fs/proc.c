#include "fs/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"

enum {
	PATH_SIZE = 64,
	TEXT_SIZE = 4096, /* stat is shorter; of status the beginning is enough */
	/* Fields of stat behind the name, counted from the state, which is field 3 of proc(5). */
	FLAGS = 9 - 3,
	THREADS = 20 - 3,
	START = 22 - 3,
	EXIT_CODE = 52 - 3,
	FIELDS = EXIT_CODE + 1,
	EXIT_SIGNAL = 0x7f, /* wait(2): the signal in an exit status */
	/* include/linux/sched.h: "killed by a signal" */
	PF_SIGNALED = 0x400,
};

struct proc_stat {
	char state;
	unsigned long long fields[FIELDS];
};

/* Reads a file of /proc/<tid>. 0, -ESRCH or what open(2) and read(2) say. */
static int read_text(pid_t tid, const char *name, char text[TEXT_SIZE])
{
	char path[PATH_SIZE];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, TEXT_SIZE - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

/* The name, in parentheses, may hold anything: what follows the last one is numbers only. */
static int read_stat(pid_t tid, struct proc_stat *out)
{
	char text[TEXT_SIZE];
	const char *p;
	char *end;
	int rc = read_text(tid, "stat", text);

	if (rc)
		return rc;
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || !p[2])
		return -EIO;
	out->state = p[2];
	p += 3;
	for (int i = 1; i < FIELDS; i++) {
		out->fields[i] = strtoull(p, &end, 10);
		if (end == p)
			return -EIO;
		p = end;
	}
	return 0;
}

static int read_tgid(pid_t tid, pid_t *out)
{
	static const char key[] = "\nTgid:";
	char text[TEXT_SIZE];
	const char *p;
	int rc = read_text(tid, "status", text);

	if (rc)
		return rc;
	p = strstr(text, key);
	*out = p ? (pid_t)strtol(p + sizeof(key) - 1, NULL, 10) : 0;
	return *out > 0 ? 0 : -EIO;
}

int proc_of_thread(pid_t tid, struct proc_id *out)
{
	struct proc_stat st;
	pid_t tgid = 0;
	int rc;

	*out = (struct proc_id){0};
	if (tid <= 0)
		return 0;
	rc = read_tgid(tid, &tgid);
	if (!rc)
		rc = read_stat(tgid, &st);
	if (!rc)
		*out = (struct proc_id){.tgid = tgid, .start = st.fields[START]};
	return rc;
}

bool proc_alive(const struct proc_id *p)
{
	struct proc_stat st;

	if (p->tgid <= 0 || read_stat(p->tgid, &st) || st.fields[START] != p->start)
		return false;
	/* A first thread that has ended is a zombie too, as long as others go on. */
	return (st.state != 'Z' && st.state != 'X') || st.fields[THREADS] > 1;
}

bool proc_same(const struct proc_id *a, const struct proc_id *b)
{
	return a->tgid > 0 && a->tgid == b->tgid && a->start == b->start;
}

bool proc_killed(pid_t tid)
{
	struct proc_stat st;
	pid_t tgid;

	if (tid <= 0 || read_stat(tid, &st) || !(st.fields[FLAGS] & PF_SIGNALED))
		return false;
	/* The other threads of a process that ends by itself are ended in the same way. */
	if (read_tgid(tid, &tgid) || read_stat(tgid, &st))
		return true;
	/* 0 is also shown to who may not trace the process. */
	return (st.fields[EXIT_CODE] & EXIT_SIGNAL) ||
	       (!st.fields[EXIT_CODE] && st.fields[THREADS] <= 1);
}
