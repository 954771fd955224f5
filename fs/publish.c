#include "fs/publish.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

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

static int publish_open(struct fsys *fs, int fd, struct node *env, const char *version,
			struct call *c, struct err *e)
{
	struct assetdir *dir;
	int rc = assetdir_read(fd, "spec.yml", -1, env->name, version, &dir, e);

	if (rc)
		return rc;
	if (dir->warnings)
		log_warn("op=publish env=%s version=%s: %s", env->name, version, dir->warnings);
	rc = register_version(fs, dir, env, version, c, e);
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
		rc = publish_open(fs, fd, env, version, c, e);
	if (rc) {
		if (fd >= 0)
			note_error(fd, e, rc);
		return rc;
	}
	rc = local_remove_tree(fs->local, path);
	if (rc)
		log_warn("op=publish env=%s version=%s: it is published, but the draft can't be "
			 "removed: %s",
			 env->name, version, strerror(-rc));
	return 0;
}
