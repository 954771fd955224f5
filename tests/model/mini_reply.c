/* mini_reply - libfuse's side of a request: what the operations answer with. These functions take
 * the place of libfuse's own, because the program's symbols come before a library's. */
#include "tests/model/mini_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

enum { PATIENCE_S = 60 };

/* The request that this thread is in: an invalidation of a name must not come from inside one. */
static __thread struct fuse_req *current;

static void complain_locked(struct mini *m, const char *fmt, va_list ap)
{
	if (!m->problem[0])
		vsnprintf(m->problem, sizeof(m->problem), fmt, ap);
}

void mini_complain(struct mini *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&m->lock);
	complain_locked(m, fmt, ap);
	pthread_mutex_unlock(&m->lock);
	va_end(ap);
}

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "mini: no memory\n");
		exit(1);
	}
	return p;
}

/* Whether a request leaves everything as it is. */
static bool only_reads(const char *what)
{
	static const char *const reading[] = {"lookup",
					      "getattr",
					      "fstat",
					      "read",
					      "readlink",
					      "readdir",
					      "opendir",
					      "releasedir",
					      "getxattr",
					      "listxattr",
					      "open to read",
					      "flush of a reader",
					      "release of a reader"};

	for (size_t i = 0; i < sizeof(reading) / sizeof(*reading); i++)
		if (strcmp(what, reading[i]) == 0)
			return true;
	return false;
}

struct fuse_req *mini_request(struct mini *m, pid_t by, const char *what)
{
	struct fuse_req *req = must(calloc(1, sizeof(*req)));

	if (!only_reads(what))
		mini_changed(m);
	req->m = m;
	req->what = what;
	req->ctx = (struct fuse_ctx){.uid = m->fs->uid, .gid = m->fs->gid, .pid = by, .umask = 022};
	pthread_mutex_lock(&m->lock);
	req->next = m->requests;
	m->requests = req;
	pthread_mutex_unlock(&m->lock);
	current = req;
	return req;
}

int mini_wait(struct fuse_req *req, enum reply_kind kind)
{
	struct mini *m = req->m;
	struct timespec until = clock_timespec(clock_wall() + PATIENCE_S * NS_PER_S);
	int rc = 0;

	current = NULL;
	pthread_mutex_lock(&m->lock);
	while (!req->replies && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&m->replied, &m->lock, &until);
	pthread_mutex_unlock(&m->lock);
	if (rc == ETIMEDOUT) {
		fprintf(stderr, "mini: %s was never answered\n", req->what);
		abort(); /* what would come later finds nobody */
	}
	if (req->kind == REPLY_ERR && req->err)
		return -req->err;
	if (req->kind == kind)
		return 0;
	mini_complain(m, "%s was answered with the wrong kind of reply (%d)", req->what, req->kind);
	return -EIO;
}

/* Notes the answer; what was allocated for it is taken. */
static int answer(fuse_req_t req, enum reply_kind kind, int err, char *data, size_t len)
{
	struct mini *m = req->m;

	pthread_mutex_lock(&m->lock);
	if (req->replies++) {
		if (!m->problem[0])
			snprintf(m->problem, sizeof(m->problem), "%s was answered twice",
				 req->what);
		free(data);
	} else {
		req->kind = kind;
		req->err = err;
		req->data = data;
		req->len = len;
		pthread_cond_broadcast(&m->replied);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int answer_copy(fuse_req_t req, const void *data, size_t len)
{
	char *copy = must(malloc(len + 1));

	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return answer(req, REPLY_DATA, 0, copy, len);
}

/* ---- the functions of libfuse ---- */

int fuse_reply_err(fuse_req_t req, int err)
{
	if (err < 0 || err > 1000)
		mini_complain(req->m, "%s was answered with the errno %d", req->what, err);
	return answer(req, REPLY_ERR, err, NULL, 0);
}

void fuse_reply_none(fuse_req_t req)
{
	answer(req, REPLY_FORGOTTEN, 0, NULL, 0);
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	req->entry = *e;
	return answer(req, REPLY_ENTRY, 0, NULL, 0);
}

int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *e,
		      const struct fuse_file_info *fi)
{
	req->entry = *e;
	req->fi = *fi;
	return answer(req, REPLY_CREATE, 0, NULL, 0);
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	(void)timeout;
	req->attr = *attr;
	return answer(req, REPLY_ATTR, 0, NULL, 0);
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->fi = *fi;
	return answer(req, REPLY_OPEN, 0, NULL, 0);
}

int fuse_reply_readlink(fuse_req_t req, const char *link)
{
	return answer_copy(req, link, strlen(link));
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	return answer_copy(req, buf, size);
}

int fuse_reply_data(fuse_req_t req, struct fuse_bufvec *bufv, enum fuse_buf_copy_flags flags)
{
	size_t size = fuse_buf_size(bufv);
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(size);
	ssize_t n;

	to.buf[0].mem = must(malloc(size + 1));
	n = fuse_buf_copy(&to, bufv, flags);
	if (n < 0) {
		free(to.buf[0].mem);
		return answer(req, REPLY_ERR, (int)-n, NULL, 0);
	}
	return answer(req, REPLY_DATA, 0, to.buf[0].mem, (size_t)n);
}

static int answer_count(fuse_req_t req, size_t count)
{
	req->count = count;
	return answer(req, REPLY_COUNT, 0, NULL, 0);
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	return answer_count(req, count);
}

int fuse_reply_xattr(fuse_req_t req, size_t count)
{
	return answer_count(req, count);
}

int fuse_reply_lseek(fuse_req_t req, off_t off)
{
	return answer_count(req, (size_t)off);
}

int fuse_reply_statfs(fuse_req_t req, const struct statvfs *stbuf)
{
	(void)stbuf;
	return answer(req, REPLY_OTHER, 0, NULL, 0);
}

void *fuse_req_userdata(fuse_req_t req)
{
	return req->m->fs;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	(void)req, (void)func, (void)data; /* nobody is interrupted here */
}

int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return 0;
}

/* ---- invalidations; the session that they are given is the kernel ---- */

static int invalidate_name(struct fuse_session *se, const char *what)
{
	struct mini *m = (struct mini *)(void *)se;

	if (m && current)
		mini_complain(m, "%s: %s from inside a request would wait for its own lock",
			      current->what, what);
	return 0;
}

int fuse_lowlevel_notify_inval_entry(struct fuse_session *se, fuse_ino_t parent, const char *name,
				     size_t namelen)
{
	(void)parent, (void)name, (void)namelen;
	return invalidate_name(se, "an invalidation of a name");
}

int fuse_lowlevel_notify_delete(struct fuse_session *se, fuse_ino_t parent, fuse_ino_t child,
				const char *name, size_t namelen)
{
	(void)parent, (void)child, (void)name, (void)namelen;
	return invalidate_name(se, "a notice of a removal");
}

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino, off_t off, off_t len)
{
	(void)se, (void)ino, (void)off, (void)len; /* nothing is cached */
	return 0;
}
