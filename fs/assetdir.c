#include "fs/assetdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/conda.h"
#include "client/yamltree.h"
#include "fs/beneath.h"
#include "fs/context_walk.h"

enum { WARNINGS_MAX = 128 * 1024 };

struct reader {
	int dir;
	int root;
	const char *spec_name;
	struct assetdir *d;
	struct err *e;
};

static int no_memory(struct reader *r)
{
	err_set(r->e, -ENOMEM, "out of memory");
	return -ENOMEM;
}

/* ---- files that the spec names ---- */

/* What is wrong with a path of the spec, in words; NULL for failures of the disk. */
static const char *path_problem(int rc)
{
	switch (rc) {
	case -ENOENT:
		return "does not exist";
	case -ENOTDIR:
		return "is not a folder, or leads through a file";
	case -EISDIR:
		return "is a folder";
	case -EINVAL:
		return "is no regular file";
	case -ELOOP:
		return "is in a circle of links";
	case -ENAMETOOLONG:
		return "is too long";
	case -EXDEV:
		return "leads out of the folder of the environment";
	default:
		return NULL;
	}
}

static int path_failed(struct reader *r, int rc, struct spec_place at, const char *key,
		       const char *path)
{
	const char *problem = path_problem(rc);

	return err_set(r->e, problem ? -EBADMSG : rc, "%s: line %d, column %d: %s: %s %s",
		       r->spec_name, at.line, at.column, key, path,
		       problem ? problem : strerror(-rc));
}

static int read_spec(struct reader *r)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SPEC_SIZE_MAX);
	_cleanup_close_ int fd = beneath_open(r->dir, r->dir, r->spec_name, O_RDONLY);
	int rc = fd < 0 ? fd : context_read_file(fd, &text);

	if (rc == -EFBIG) {
		err_set(r->e, rc, "%s: larger than %d bytes", r->spec_name, SPEC_SIZE_MAX);
	} else if (rc) {
		const char *problem = path_problem(rc);

		err_set(r->e, problem ? -EBADMSG : rc, "%s %s", r->spec_name,
			problem ? problem : strerror(-rc));
		rc = problem ? -EBADMSG : rc;
	} else {
		rc = spec_parse(buf_str(&text), text.len, &r->d->spec, r->e);
		if (rc)
			err_prefix(r->e, rc, "%s: ", r->spec_name);
	}
	return rc;
}

/* ---- names ---- */

/* One of the two names: the path's wins, and a difference is a warning. */
static int settle_name(struct reader *r, const char *what, const char *from_path, char **name,
		       struct buf *warnings)
{
	char *copy;
	int rc;

	if (!from_path)
		return 0;
	rc = spec_check_name(what, from_path, r->e);
	if (rc)
		return err_prefix(r->e, rc, "the folder gives a bad name: ");
	if (*name && strcmp(*name, from_path) == 0)
		return 0;
	if (*name)
		buf_addf(warnings, "%s%s says %s %s, the folder %s; the folder's counts",
			 warnings->len ? "\n" : "", r->spec_name, what, *name, from_path);
	else if (strcmp(what, "name") == 0)
		buf_addf(warnings, "%s%s has no name; it is that of the folder, %s",
			 warnings->len ? "\n" : "", r->spec_name, from_path);
	copy = strdup(from_path);
	if (!copy)
		return no_memory(r);
	free(*name);
	*name = copy;
	return 0;
}

static int settle_names(struct reader *r, const char *path_env, const char *path_version)
{
	_cleanup_buf_ struct buf warnings = BUF_INIT(WARNINGS_MAX);
	struct spec *s = r->d->spec;
	int rc;

	if (s->warnings)
		buf_addstr(&warnings, s->warnings);
	rc = settle_name(r, "name", path_env, &s->name, &warnings);
	if (!rc)
		rc = settle_name(r, "version", path_version, &s->version, &warnings);
	if (!rc && !s->name)
		rc = err_set(r->e, -EBADMSG, "%s: line 1, column 1: the name is missing",
			     r->spec_name);
	if (rc)
		return rc;
	if (buf_error(&warnings))
		return err_set(r->e, buf_error(&warnings), "too many warnings");
	if (warnings.len) {
		r->d->warnings = buf_steal(&warnings, NULL);
		if (!r->d->warnings)
			return no_memory(r);
	}
	return 0;
}

/* ---- conda ---- */

static int check_conda(const struct buf *text, struct err *e)
{
	_cleanup_buf_ struct buf json = BUF_INIT(2 * YAML_SIZE_MAX);

	return conda_to_json(buf_str(text), text->len, &json, e);
}

static int read_conda(struct reader *r)
{
	_cleanup_buf_ struct buf text = BUF_INIT(ASSET_TEXT_MAX);
	_cleanup_close_ int fd = -1;
	const struct spec *s = r->d->spec;
	int rc;

	if (s->conda_inline)
		buf_addstr(&text, s->conda_inline);
	if (s->conda_path) {
		fd = beneath_open(r->root < 0 ? r->dir : r->root, r->dir, s->conda_path, O_RDONLY);
		rc = fd < 0 ? fd : context_read_file(fd, &text);
		if (rc == -EFBIG)
			return err_set(r->e, rc, "%s: larger than %d bytes", s->conda_path,
				       ASSET_TEXT_MAX);
		if (rc)
			return path_failed(r, rc, s->conda_at, "conda_file", s->conda_path);
		rc = check_conda(&text, r->e);
		if (rc)
			return err_prefix(r->e, rc, "%s: ", s->conda_path);
	}
	if (!s->conda_inline && !s->conda_path)
		return 0;
	r->d->conda = buf_steal(&text, NULL);
	return r->d->conda ? 0 : no_memory(r);
}

/* ---- build context ---- */

static int file_by_path(const void *key, const void *item)
{
	return strcmp(key, ((const struct upload_file *)item)->path);
}

static int check_dockerfile(struct reader *r)
{
	const struct spec *s = r->d->spec;
	const char *path = s->dockerfile_path ? s->dockerfile_path : "Dockerfile";
	struct spec_place at = s->dockerfile_path ? s->dockerfile_at : s->build_at;

	if (r->d->n_files &&
	    bsearch(path, r->d->files, r->d->n_files, sizeof(*r->d->files), file_by_path))
		return 0;
	return err_set(
		r->e, -EBADMSG,
		"%s: line %d, column %d: the build context has no file %s (or an ignore file "
		"or its temporary name leaves it out)",
		r->spec_name, at.line, at.column, path);
}

static int read_context(struct reader *r)
{
	const struct spec *s = r->d->spec;
	_cleanup_close_ int fd = -1;
	int rc;

	if (!s->build_path || s->build_is_url)
		return 0;
	fd = beneath_open(r->dir, r->dir, s->build_path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return path_failed(r, fd, s->build_at, "build.path", s->build_path);
	rc = context_walk(fd, &r->d->files, &r->d->n_files, r->e);
	return rc ? rc : check_dockerfile(r);
}

/* ---- the whole ---- */

int assetdir_read_with(int dirfd, const char *spec_name, int root, unsigned int flags,
		       const char *path_env, const char *path_version, struct assetdir **out,
		       struct err *e)
{
	struct reader r = {.dir = dirfd, .root = root, .spec_name = spec_name, .e = e};
	int rc;

	*out = NULL;
	r.d = calloc(1, sizeof(*r.d));
	if (!r.d)
		return no_memory(&r);
	rc = read_spec(&r);
	if (!rc)
		rc = settle_names(&r, path_env, path_version);
	if (!rc)
		rc = read_conda(&r);
	if (!rc && !(flags & ASSETDIR_NO_CONTEXT))
		rc = read_context(&r);
	if (rc) {
		assetdir_free(r.d);
		return rc;
	}
	*out = r.d;
	return 0;
}

int assetdir_read(int dirfd, const char *spec_name, int root, const char *path_env,
		  const char *path_version, struct assetdir **out, struct err *e)
{
	return assetdir_read_with(dirfd, spec_name, root, 0, path_env, path_version, out, e);
}

void assetdir_free(struct assetdir *d)
{
	if (!d)
		return;
	context_walk_free(d->files, d->n_files);
	spec_free(d->spec);
	free(d->conda);
	free(d->warnings);
	free(d);
}
