#include "fs/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/source.h"
#include "fs/assetdir.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/xattr.h"

/* A version that is there already, archived or not, keeps its name. */
static int check_free(struct fsys *fs, struct node *env, const char *version, struct call *c,
		      struct err *e)
{
	struct version_list *versions;
	int rc = catalog_versions(fs->catalog, env->scope, env->name, c, &versions, e);
	const struct version *taken;

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	taken = version_list_find(versions, version);
	if (taken)
		rc = err_set(e, -EEXIST, "version %s of %s exists already%s", version, env->name,
			     taken->archived ? " (it is archived)" : "");
	version_list_unref(versions);
	return rc;
}

static int upload(struct fsys *fs, const struct assetdir *dir, struct node *env,
		  const char *version, struct call *c, char **uri, struct err *e)
{
	if (!dir->n_files)
		return 0;
	return fs->source->ops->upload_context(fs->source, env->scope, env->name, version,
					       dir->files, dir->n_files, c, uri, e);
}

static int register_version(struct fsys *fs, const struct assetdir *dir, struct node *env,
			    const char *version, struct call *c, struct err *e)
{
	_cleanup_free_ char *uri = NULL;
	struct version *record, *stored = NULL;
	int rc = upload(fs, dir, env, version, c, &uri, e);

	if (rc)
		return rc;
	record = spec_to_version(dir->spec, env->name, version, dir->conda, uri);
	if (!record)
		return -ENOMEM;
	rc = catalog_put_version(fs->catalog, env->scope, record, c, &stored, e);
	version_unref(stored);
	version_unref(record);
	return rc;
}

/* ---- what a draft leaves behind ---- */

/* One file that was published, as it was when it was read. */
struct part {
	char *path;
	struct stat st;
};

struct parts {
	struct part *parts;
	size_t n;
};

static void parts_free(struct parts *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->parts[i].path);
	free(p->parts);
}

/* Takes dir/name over when it is there. */
static int add_part(struct fsys *fs, struct parts *p, const char *dir, const char *name)
{
	struct part *part = &p->parts[p->n];
	int rc;

	part->path = local_join(dir, name);
	if (!part->path)
		return -ENOMEM;
	rc = local_stat(fs->local, part->path, &part->st);
	if (!rc && !S_ISDIR(part->st.st_mode)) {
		p->n++;
		return 0;
	}
	free(part->path);
	return rc == -ENOENT ? 0 : rc;
}

/* The files that the version is made of, and those that are derived from it. */
static int collect_parts(struct fsys *fs, const char *path, const struct assetdir *dir,
			 struct parts *p)
{
	const char *const names[] = {"spec.yml", "Dockerfile", "build.log", dir->spec->conda_path};
	const size_t n_names = sizeof(names) / sizeof(*names);
	_cleanup_free_ char *context = NULL;
	int rc = 0;

	p->parts = calloc(dir->n_files + n_names, sizeof(*p->parts));
	context = local_join(path, dir->spec->build_path ? dir->spec->build_path : "");
	if (!p->parts || !context)
		return -ENOMEM;
	for (size_t i = 0; !rc && i < n_names; i++)
		rc = names[i] ? add_part(fs, p, path, names[i]) : 0;
	for (size_t i = 0; !rc && i < dir->n_files; i++)
		rc = add_part(fs, p, context, dir->files[i].path);
	return rc;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/*
 * Removes what is in the version now. Everything else stays where it is: notes, a repository, what
 * an ignore file excludes, and what somebody wrote while it was published.
 */
static void clear_draft(struct fsys *fs, const char *path, const struct parts *p)
{
	struct stat now;

	for (size_t i = 0; i < p->n; i++)
		if (local_stat(fs->local, p->parts[i].path, &now) == 0 &&
		    unchanged(&now, &p->parts[i].st))
			unlinkat(local_fd(fs->local), p->parts[i].path, 0);
	if (local_remove_empty(fs->local, path))
		log_info("op=publish draft=%s: what is not part of the version stays in the draft",
			 path);
}

static int publish_open(struct fsys *fs, int fd, const char *path, struct node *env,
			const char *version, struct call *c, struct err *e)
{
	struct parts parts = {0};
	struct assetdir *dir;
	int rc = assetdir_read(fd, "spec.yml", -1, env->name, version, &dir, e);

	if (rc)
		return rc;
	if (dir->warnings)
		log_warn("op=publish env=%s version=%s: %s", env->name, version, dir->warnings);
	rc = collect_parts(fs, path, dir, &parts);
	if (!rc)
		rc = register_version(fs, dir, env, version, c, e);
	if (!rc)
		clear_draft(fs, path, &parts);
	parts_free(&parts);
	assetdir_free(dir);
	return rc;
}

/* The reason stays with the draft, for whoever asks later. */
static void note_error(int fd, const struct err *e, int rc)
{
	const char *text = err_text(e, rc);

	if (fsetxattr(fd, XATTR_ERROR, text, strlen(text), 0) < 0)
		log_debug("op=publish: the reason can't be kept: %s", strerror(errno));
}

int publish_draft(struct fsys *fs, const char *path, struct node *env, const char *version,
		  struct call *c, struct err *e)
{
	_cleanup_close_ int fd = local_open_dir(fs->local, path);
	int rc = fd < 0 ? fd : spec_check_name("version", version, e);

	if (!rc)
		rc = spec_check_name("environment", env->name, e);
	if (!rc)
		rc = check_free(fs, env, version, c, e);
	if (!rc)
		rc = publish_open(fs, fd, path, env, version, c, e);
	if (rc && fd >= 0)
		note_error(fd, e, rc);
	return rc;
}
