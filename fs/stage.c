#include "fs/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "client/writeall.h"
#include "fs/local.h"
#include "fs/upper.h"

enum { DEPTH_MAX = 128, COPY_BLOCK = 1024 * 1024 };

struct stage {
	struct fsys *fs;
	char *path;
	int fd;
};

int stage_new(struct fsys *fs, struct stage **out)
{
	static _Atomic unsigned int count;
	struct stage *s = calloc(1, sizeof(*s));
	int rc = s ? 0 : -ENOMEM;

	*out = NULL;
	if (rc)
		return rc;
	s->fs = fs;
	s->fd = -1;
	if (asprintf(&s->path, "%s/tmp/stage-%u", upper_run_path(fs->run), count++) < 0)
		s->path = NULL;
	rc = s->path ? local_make_dirs(fs->local, s->path) : -ENOMEM;
	if (!rc) {
		s->fd = local_open_dir(fs->local, s->path);
		rc = s->fd < 0 ? s->fd : 0;
	}
	if (rc)
		stage_free(s);
	else
		*out = s;
	return rc;
}

void stage_free(struct stage *s)
{
	if (!s)
		return;
	if (s->fd >= 0) {
		close(s->fd);
		/* What can't be removed now goes at the next mount. */
		if (local_remove_all(s->fs->local, s->path))
			log_debug("op=save path=%s: stays for now", s->path);
	}
	free(s->path);
	free(s);
}

int stage_fd(const struct stage *s)
{
	return s->fd;
}

static int make_parents(struct stage *s, const char *rel)
{
	_cleanup_free_ char *copy = strdup(rel);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdirat(s->fd, copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

int stage_make_dir(struct stage *s, const char *rel)
{
	int rc = make_parents(s, rel);

	if (!rc && mkdirat(s->fd, rel, 0700) < 0 && errno != EEXIST)
		rc = -errno;
	return rc;
}

int stage_create(struct stage *s, const char *rel)
{
	int rc = make_parents(s, rel), fd;

	if (rc)
		return rc;
	fd = openat(s->fd, rel, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int stage_add_text(struct stage *s, const char *rel, const char *text, size_t len)
{
	_cleanup_close_ int fd = stage_create(s, rel);

	return fd < 0 ? fd : write_all(fd, text, len);
}

int stage_add_file(struct stage *s, const char *rel, const char *from)
{
	_cleanup_close_ int in = openat(local_fd(s->fs->local), from,
					O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	ssize_t n = 1;

	if (in < 0)
		return -errno;
	out = stage_create(s, rel);
	if (out < 0)
		return out;
	while (n > 0)
		n = copy_file_range(in, NULL, out, NULL, COPY_BLOCK, 0);
	return n < 0 ? -errno : 0;
}

/* A directory of the disk that is copied into the stage. */
struct tree_copy {
	struct stage *stage;
	const char *rel; /* where it goes */
	int depth;
};

static int add_name(void *arg, const char *from, const char *name)
{
	const struct tree_copy *c = arg;
	_cleanup_free_ char *at = local_join(from, name);
	_cleanup_free_ char *rel = local_join(c->rel, name);
	struct tree_copy below = {c->stage, rel, c->depth + 1};
	struct stat st;
	int rc = at && rel ? local_stat(c->stage->fs->local, at, &st) : -ENOMEM;

	if (!rc && S_ISDIR(st.st_mode))
		rc = c->depth < DEPTH_MAX ? local_each(c->stage->fs->local, at, add_name, &below)
					  : -EFBIG;
	else if (!rc && S_ISREG(st.st_mode))
		rc = stage_add_file(c->stage, rel, at);
	/* Gone meanwhile, or there already. */
	return rc == -ENOENT || rc == -EEXIST ? 0 : rc;
}

int stage_add_tree(struct stage *s, const char *rel, const char *from)
{
	struct tree_copy c = {s, rel, 0};
	int rc = local_each(s->fs->local, from, add_name, &c);

	return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
}
