#include "fs/buildlog.h"

#include <errno.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "fs/edit.h"
#include "fs/handle.h"
#include "fs/notify.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/xattr.h"

void buildlog_info(struct fsys *fs, struct node *version, struct build_info *out)
{
	struct version *v;

	*out = (struct build_info){0};
	if (!fs->builds)
		return;
	v = node_get_version(fs->nodes, version);
	if (v)
		builds_peek(fs->builds, version->scope, v, out);
	version_unref(v);
}

/* ---- the file ---- */

/* A watch of its own, *out NULL where there are no builds. */
static int watch(struct fsys *fs, struct node *n, struct call *c, struct build_watch **out,
		 struct err *e)
{
	struct version *v;
	int rc;

	*out = NULL;
	if (!fs->builds)
		return 0;
	v = node_get_version(fs->nodes, n->parent);
	rc = v ? builds_watch(fs->builds, n->scope, v, c, out, e) : -ENOENT;
	version_unref(v);
	return rc;
}

int buildlog_open(struct fsys *fs, struct node *n, struct call *c, struct handle *h, bool *grows,
		  struct err *e)
{
	struct build_info before, now;
	int rc;

	*grows = false;
	buildlog_info(fs, n->parent, &before);
	rc = watch(fs, n, c, &h->build, e);
	if (rc || !h->build)
		return rc;
	buildlog_info(fs, n->parent, &now);
	/* Before the open is answered: who seeks to the end first asks the kernel where that is. */
	if (now.size != before.size || now.modified != before.modified)
		notify_attributes(fs->notify, n->ino);
	*grows = now.growing;
	return 0;
}

int buildlog_look(struct fsys *fs, struct node *n, struct call *c, struct err *e)
{
	struct version *v = fs->builds ? node_get_version(fs->nodes, n->parent) : NULL;
	int rc = v ? builds_look(fs->builds, n->scope, v, c, e) : fs->builds ? -ENOENT : 0;

	version_unref(v);
	return rc;
}

int buildlog_read(struct fsys *fs, struct node *n, const struct handle *h, uint64_t offset,
		  size_t len, struct call *c, struct buf *out, struct err *e)
{
	struct build_watch *w;
	int rc;

	if (h)
		return h->build ? builds_read(h->build, offset, len, c, out, e) : 0;
	rc = watch(fs, n, c, &w, e);
	if (!rc && w)
		rc = builds_read(w, offset, len, c, out, e);
	builds_unwatch(w);
	return rc;
}

/* ---- attributes ---- */

bool buildlog_is_fact(const char *name)
{
	return strcmp(name, XATTR_IMAGE) == 0 || strcmp(name, XATTR_BUILD_STATE) == 0 ||
	       strcmp(name, XATTR_BUILD_STAGE) == 0;
}

/* The version's node that an attribute of n is about; NULL: none. */
static struct node *version_node(struct node *n)
{
	if (n->kind == NODE_SPEC)
		n = n->parent;
	return n->kind == NODE_VERSION ? n : NULL;
}

int buildlog_get(struct fsys *fs, struct node *n, const char *name, struct call *c, struct buf *out,
		 struct err *e)
{
	struct node *version = version_node(n);
	struct version *v = version ? node_get_version(fs->nodes, version) : NULL;
	struct build_info info = {.state = IMAGE_UNKNOWN};
	int rc = 0;

	if (!v)
		return -ENODATA;
	if (strcmp(name, XATTR_IMAGE) == 0)
		rc = fs->builds ? builds_image(fs->builds, n->scope, v, c, out, e) : -ENODATA;
	else if (fs->builds)
		rc = builds_state(fs->builds, n->scope, v, c, &info, e);
	version_unref(v);
	if (rc || strcmp(name, XATTR_IMAGE) == 0)
		return rc;
	if (strcmp(name, XATTR_BUILD_STATE) == 0)
		return buf_addstr(out, image_state_name(info.state));
	return info.stage[0] ? buf_addstr(out, info.stage) : -ENODATA;
}

/* Why it could not be done, for user.mlenvfs.error; NULL takes away what was said before. */
static void note_reason(struct fsys *fs, struct node *version, const char *reason)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *rel = NULL;

	if (!upper_of_dir(fs, version, &vdir, &rel))
		edit_set_reason(fs, vdir, reason);
}

/* The word, without the line's end that a shell's pipe may leave. */
static bool is_word(const char *value, const char *word)
{
	size_t n = strlen(word);

	return strncmp(value, word, n) == 0 && (!value[n] || strcmp(value + n, "\n") == 0);
}

static int set(struct fsys *fs, struct node *version, struct version *v, const char *value,
	       struct call *c, struct err *e)
{
	if (is_word(value, "start"))
		return builds_start(fs->builds, version->scope, v, c, e);
	if (is_word(value, "cancel"))
		return builds_cancel(fs->builds, version->scope, v, c, e);
	return err_set(e, -EINVAL, "a build is told \"start\" or \"cancel\", nothing else");
}

int buildlog_set(struct fsys *fs, struct node *n, const char *value, struct call *c, struct err *e)
{
	struct node *version = version_node(n);
	struct version *v = version ? node_get_version(fs->nodes, version) : NULL;
	int rc;

	if (!v)
		return err_set(e, -EOPNOTSUPP, "only a published version can be built");
	rc = fs->builds ? set(fs, version, v, value, c, e)
			: err_set(e, -EOPNOTSUPP, "there are no image builds here");
	if (rc)
		log_warn("op=build env=%s version=%s told=%s errno=%d: %s", v->env, v->version,
			 value, -rc, err_text(e, rc));
	note_reason(fs, version, rc ? err_text(e, rc) : NULL);
	version_unref(v);
	return rc;
}
