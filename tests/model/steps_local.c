/* steps_local - names of the local disk: drafts and what is in them. */
#include "tests/model/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

const char *step_path(struct model *m, const char *path, char out[TREE_PATH])
{
	path_print(out, "%s/%s", m->b->scope, path);
	return out;
}

void step_expect(struct model *m, const char *what, const char *path, long got, long expected)
{
	if (m->verbose)
		fprintf(stderr, "    %s %s = %ld (%ld)\n", what, path, got, expected);
	if (got != expected)
		model_fail(m, "%s %s: said %ld (%s), should have said %ld (%s)", what, path, got,
			   got < 0 ? strerror((int)-got) : "", expected,
			   expected < 0 ? strerror((int)-expected) : "");
}

/* The tree that a path lies in, and the path within it. */
static struct tree *area_of(struct model *m, const char *path, const char **rest)
{
	const char *slash = strchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	for (size_t i = 0; slash && i < MODEL_ENVS; i++) {
		if (strlen(m->envs[i].name) == len && memcmp(m->envs[i].name, path, len) == 0) {
			*rest = slash + 1;
			return m->envs[i].top;
		}
	}
	return NULL;
}

#define REAL(call, proc, path, ...)                                                                \
	({                                                                                         \
		char real_[TREE_PATH];                                                             \
		m->b->ops->call(m->b, proc, step_path(m, path, real_) __VA_OPT__(, ) __VA_ARGS__); \
	})

int step_mkdir(struct model *m, int proc, const char *path)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest);
	int expected = dir ? tree_mkdir(dir, rest) : -EPERM;

	step_expect(m, "mkdir", path, REAL(mkdir, proc, path, 0755), expected);
	return expected;
}

int step_rmdir(struct model *m, int proc, const char *path)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest);
	int expected = tree_rmdir(dir, rest);

	step_expect(m, "rmdir", path, REAL(rmdir, proc, path), expected);
	return expected;
}

int step_unlink(struct model *m, int proc, const char *path)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest);
	int expected = tree_unlink(dir, rest);

	step_expect(m, "unlink", path, REAL(unlink, proc, path), expected);
	return expected;
}

int step_symlink(struct model *m, int proc, const char *target, const char *path)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest);
	int expected = tree_symlink(dir, target, rest);
	char real[TREE_PATH];

	step_expect(m, "symlink", path,
		    m->b->ops->symlink(m->b, proc, target, step_path(m, path, real)), expected);
	return expected;
}

static int tree_link(struct tree *from, const char *from_path, struct tree *to, const char *to_path)
{
	struct tree *t = tree_at(from, from_path), *copy;
	const char *name;
	int rc;

	if (!t)
		return -ENOENT;
	to = tree_parent(to, to_path, &name, &rc);
	if (!to)
		return rc;
	if (tree_child(to, name))
		return -EEXIST;
	if (t->kind == TREE_DIR)
		return -EPERM;
	copy = tree_new(name, t->kind);
	copy->bytes = t->bytes ? bytes_ref(t->bytes) : NULL;
	copy->target = t->target ? strdup(t->target) : NULL;
	tree_add(to, copy);
	return 0;
}

int step_link(struct model *m, int proc, const char *from, const char *to)
{
	const char *from_rest, *to_rest;
	struct tree *a = area_of(m, from, &from_rest), *b = area_of(m, to, &to_rest);
	int expected = tree_link(a, from_rest, b, to_rest);
	char real[TREE_PATH];

	step_expect(m, "link", from, REAL(link, proc, from, step_path(m, to, real)), expected);
	return expected;
}

int step_rename(struct model *m, int proc, const char *from, const char *to)
{
	const char *from_rest, *to_rest;
	struct tree *a = area_of(m, from, &from_rest), *b = area_of(m, to, &to_rest);
	int expected = tree_rename(a, from_rest, b, to_rest);
	char real[TREE_PATH], what[TREE_PATH];

	snprintf(what, sizeof(what), "rename %s", from);
	step_expect(m, what, to, REAL(rename, proc, from, step_path(m, to, real), 0), expected);
	return expected;
}

int step_truncate(struct model *m, int proc, const char *path, size_t size)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest), *t = tree_at(dir, rest);
	int expected = t ? (t->kind == TREE_FILE ? 0 : -EISDIR) : -ENOENT;

	if (!t || t->kind != TREE_FILE)
		return expected; /* the kernel's own business */
	bytes_resize(t->bytes, size);
	step_expect(m, "truncate", path, REAL(truncate, proc, path, (off_t)size), 0);
	return 0;
}

/* ---- open files ---- */

static int new_fd(struct model *m)
{
	for (int i = 0; i < MODEL_FDS; i++)
		if (!m->fds[i].open)
			return i;
	return -EMFILE;
}

int step_open(struct model *m, int proc, const char *path, int flags)
{
	const char *rest;
	struct tree *dir = area_of(m, path, &rest), *t;
	int expected, got, at = new_fd(m);

	if (at < 0)
		return at;
	t = tree_open(dir, rest, flags & O_CREAT, flags & O_EXCL, &expected);
	got = REAL(open, proc, path, flags | O_NOFOLLOW, 0644);
	step_expect(m, "open", path, got < 0 ? got : 0, expected);
	if (expected || got < 0)
		return expected;
	if (flags & O_TRUNC)
		bytes_resize(t->bytes, 0);
	m->fds[at] = (struct mfd){.open = true,
				  .fd = got,
				  .proc = proc,
				  .flags = flags,
				  .bytes = bytes_ref(t->bytes)};
	return at;
}

int step_write(struct model *m, int fd, const void *data, size_t len, size_t off)
{
	struct mfd *f = &m->fds[fd];

	if (f->flags & O_APPEND)
		off = f->bytes->len;
	bytes_write(f->bytes, data, len, off);
	step_expect(m, "write", "", m->b->ops->pwrite(m->b, f->fd, data, len, (off_t)off),
		    (long)len);
	return 0;
}

int step_ftruncate(struct model *m, int fd, size_t size)
{
	struct mfd *f = &m->fds[fd];

	bytes_resize(f->bytes, size);
	step_expect(m, "ftruncate", "", m->b->ops->ftruncate(m->b, f->fd, (off_t)size), 0);
	return 0;
}

int step_fsync(struct model *m, int fd)
{
	step_expect(m, "fsync", "", m->b->ops->fsync(m->b, m->fds[fd].fd), 0);
	return 0;
}

static void forget_fd(struct mfd *f)
{
	bytes_unref(f->bytes);
	*f = (struct mfd){0};
}

int step_close(struct model *m, int fd, enum step_close how)
{
	const struct backend_ops *ops = m->b->ops;
	struct mfd *f = &m->fds[fd];
	int rc = how == CLOSE_THREAD ? ops->close_in_thread(m->b, f->fd) : ops->close(m->b, f->fd);

	step_expect(m, "close", "", rc, 0);
	forget_fd(f);
	return 0;
}

void step_child(struct model *m, int fd)
{
	step_expect(m, "close by a child", "", m->b->ops->close_in_child(m->b, m->fds[fd].fd), 0);
}

int step_close_mapped(struct model *m, int fd, const void *data, size_t len)
{
	struct mfd *f = &m->fds[fd];

	/* A mapping reaches as far as the file. */
	if (len > f->bytes->len)
		len = f->bytes->len;
	bytes_write(f->bytes, data, len, 0);
	step_expect(m, "close, write mapped", "",
		    m->b->ops->close_then_write_mapped(m->b, f->fd, data, len), 0);
	forget_fd(f);
	return 0;
}

void step_end(struct model *m, int proc, enum proc_end how)
{
	m->b->ops->end(m->b, proc, how);
	for (int i = 0; i < MODEL_FDS; i++)
		if (m->fds[i].open && m->fds[i].proc == proc)
			forget_fd(&m->fds[i]);
}
