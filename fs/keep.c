#include "fs/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "fs/context_walk.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/render.h"
#include "fs/shown.h"
#include "fs/upper.h"

static bool is_text(const char *rel)
{
	return strcmp(rel, "spec.yml") == 0 || strcmp(rel, "conda.yml") == 0;
}

/* vdir: where the file is edited meanwhile; NULL: nowhere. */
static void keep(struct fsys *fs, struct scope *scope, const struct version *v, const char *vdir,
		 const char *rel, const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct edit now;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return; /* renamed on already: what the record says is shown */
	if (!is_text(rel)) {
		shown_keep_attributes(fs, scope, v, rel, &st);
		return;
	}
	if (context_read_file(fd, &text))
		return;
	/* What was read may have been written after the save: the record does not say that. */
	if (!vdir || !edits_get(fs->edits, vdir, rel, &now) || !now.dirty)
		shown_keep_text(fs, scope, v, rel, buf_str(&text), text.len, vdir != NULL, &st);
}

void keep_drafted(struct fsys *fs, struct scope *scope, const struct version *v, const char *rel,
		  const char *path)
{
	keep(fs, scope, v, NULL, rel, path);
}

/* The directory of v beside that of vdir; NULL when it is the same one. To be freed. */
static char *other_dir(const struct version *v, const char *vdir)
{
	const char *own = strrchr(vdir, '/');
	_cleanup_free_ char *env = strndup(vdir, (size_t)(own - vdir));
	char name[NAME_SIZE];

	name_encode(NAME_VERSION, v->version, strlen(v->version), name);
	if (!env || strcmp(own + 1, name) == 0)
		return NULL;
	return local_join(env, name);
}

void keep_saved(struct fsys *fs, struct scope *scope, const struct version *v, const char *vdir,
		const char *rel, const char *path, const char *said, const struct proc_id *who)
{
	_cleanup_free_ char *other = NULL;
	int rc;

	if (!v)
		return;
	keep(fs, scope, v, vdir, rel, path);
	other = strcmp(rel, "spec.yml") == 0 ? other_dir(v, vdir) : NULL;
	if (!other || !who->tgid)
		return;
	rc = edit_echo(fs, other, rel, path, who);
	if (!rc)
		edits_set_said(fs->edits, other, said);
	if (rc && rc != -EEXIST)
		log_debug("op=save env=%s version=%s: not shown as it was typed: %s", v->env,
			  v->version, strerror(-rc));
}
