/* ops_xattr - extended attributes. Namespaces other than user.* are EOPNOTSUPP, never EPERM. */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/utf8.h"
#include "fs/buildlog.h"
#include "fs/change.h"
#include "fs/notify.h"
#include "fs/pending.h"
#include "fs/tree.h"
#include "fs/warm.h"
#include "fs/xattr.h"

/* Answers a size query or a value, as getxattr(2) and listxattr(2) have it. */
static void reply_value(fuse_req_t req, const struct buf *value, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, value->len);
	else if (value->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, buf_str(value), value->len);
}

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_user(const char *name)
{
	return has_prefix(name, XATTR_USER);
}

/* What a version's record or the mount knows; everything else in user.* is kept with a file. */
static bool is_of_version(const char *name)
{
	return has_prefix(name, XATTR_TAG) || strcmp(name, XATTR_DESCRIPTION) == 0 ||
	       has_prefix(name, XATTR_AZUREML) || has_prefix(name, XATTR_MLENVFS);
}

/* Brings what the attributes are read from up to date. */
static int refresh(fuse_req_t req, struct node *n, struct err *e)
{
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = tree_refresh(ops_fsys(req), n, &w.call, e);
	ops_wait_end(&w);
	return rc;
}

/* What is asked of the service when it is read. */
static int get_fact(fuse_req_t req, struct node *n, const char *name, struct buf *value,
		    struct err *e)
{
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = buildlog_get(ops_fsys(req), n, name, &w.call, value, e);
	ops_wait_end(&w);
	return rc;
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct node *n = ops_node(req, ino);
	_cleanup_buf_ struct buf value = BUF_INIT(XATTR_VALUE_MAX);
	struct err e = ERR_INIT;
	int rc = 0;

	if (!n)
		return;
	if (is_of_version(name))
		n = xattr_node(ops_fsys(req), n);
	if (is_user(name))
		rc = refresh(req, n, &e);
	if (!rc && node_is_local(ops_fsys(req)->nodes, n) && is_user(name))
		rc = ops_local_getxattr(ops_fsys(req), n, name, &value);
	else if (!rc && buildlog_is_fact(name))
		rc = get_fact(req, n, name, &value, &e);
	else if (!rc)
		rc = xattr_get(ops_fsys(req), n, name, &value);
	if (rc)
		ops_reply_error(req, "getxattr", n, name, rc, &e);
	else
		reply_value(req, &value, size);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct node *n = ops_node(req, ino);
	_cleanup_buf_ struct buf names = BUF_INIT(XATTR_NAMES_MAX);
	struct err e = ERR_INIT;
	int rc;

	if (!n)
		return;
	n = xattr_node(ops_fsys(req), n);
	rc = refresh(req, n, &e);
	if (!rc && node_is_local(ops_fsys(req)->nodes, n))
		rc = ops_local_listxattr(ops_fsys(req), n, &names);
	else if (!rc)
		rc = xattr_list(ops_fsys(req), n, &names);
	if (rc)
		ops_reply_error(req, "listxattr", n, NULL, rc, &e);
	else
		reply_value(req, &names, size);
}

/* XATTR_CREATE, XATTR_REPLACE and removing, for the one attribute that is no tag. */
static int check_description(struct fsys *fs, struct node *n, const char *value, unsigned int flags)
{
	struct version *v = node_get_version(fs->nodes, n);
	bool there = v->description != NULL;

	version_unref(v);
	if (there && flags & TAG_CREATE)
		return -EEXIST;
	return !there && (!value || flags & TAG_REPLACE) ? -ENODATA : 0;
}

/* What a user.* attribute of a version stands for, as a change of its record. */
static int set_attribute(struct fsys *fs, struct node *n, const char *name, const char *value,
			 unsigned int flags, struct call *c, struct err *e)
{
	struct tag_change tag = {.value = value, .flags = flags};
	struct version_change change = {.archived = -1};
	struct node *version = n->kind == NODE_SPEC ? n->parent : n;
	int rc = change_allowed(n, e);

	if (rc)
		return rc;
	if (version->kind != NODE_VERSION)
		return -EOPNOTSUPP;
	if (strncmp(name, XATTR_TAG, strlen(XATTR_TAG)) == 0 && name[strlen(XATTR_TAG)]) {
		tag.key = name + strlen(XATTR_TAG);
		change.tags = &tag;
		change.n_tags = 1;
	} else if (strcmp(name, XATTR_DESCRIPTION) == 0) {
		rc = check_description(fs, version, value, flags);
		change.set_description = true;
		change.description = value;
	} else {
		/* Facts are read by name, not set; others have no place where they could be kept.
		 */
		rc = is_of_version(name) ? -EACCES : -EOPNOTSUPP;
	}
	return rc ? rc : change_version(fs, version, &change, c, e);
}

static void change_attribute(fuse_req_t req, struct node *n, const char *name, const char *value,
			     unsigned int flags)
{
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = set_attribute(ops_fsys(req), n, name, value, flags, &w.call, &e);
	ops_wait_end(&w);
	if (rc == -EEXIST || rc == -EOPNOTSUPP)
		fuse_reply_err(req, -rc);
	else if (rc)
		ops_reply_error(req, value ? "setxattr" : "removexattr", n, name, rc, &e);
	else
		fuse_reply_err(req, 0);
}

static unsigned int tag_flags(int flags)
{
	return (flags & XATTR_CREATE ? TAG_CREATE : 0U) |
	       (flags & XATTR_REPLACE ? TAG_REPLACE : 0U);
}

/* Tags and descriptions are text: -EINVAL for what no JSON string can hold. */
static int copy_text(const char *value, size_t size, char **out)
{
	if (memchr(value, '\0', size) || !utf8_valid(value, size))
		return -EINVAL;
	*out = strndup(value, size);
	return *out ? 0 : -ENOMEM;
}

static void discard(fuse_req_t req, struct node *n)
{
	struct err e = ERR_INIT;
	int rc = pending_discard(ops_fsys(req), n, &e);

	if (rc)
		log_info("op=discard errno=%d: %s", -rc, err_text(&e, rc));
	fuse_reply_err(req, -rc);
}

static void tell_build(fuse_req_t req, struct node *n, const char *value, int flags)
{
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc = flags & XATTR_REPLACE ? -ENODATA : 0; /* it is never there */

	ops_wait_begin(&w, req);
	if (!rc && node_is_local(ops_fsys(req)->nodes, n))
		rc = -EOPNOTSUPP;
	if (!rc)
		rc = buildlog_set(ops_fsys(req), n, value, &w.call, &e);
	ops_wait_end(&w);
	fuse_reply_err(req, rc == -ECANCELED ? EINTR : rc == -EBADMSG ? EIO : -rc);
}

static void warm(fuse_req_t req, struct node *n, const char *value, size_t size)
{
	struct err e = ERR_INIT;
	struct ops_wait w;
	int rc;

	ops_wait_begin(&w, req);
	rc = warm_node(ops_fsys(req), n, value, size, &w.call, &e);
	ops_wait_end(&w);
	if (rc)
		ops_reply_error(req, "warm", n, NULL, rc, &e);
	else
		fuse_reply_err(req, 0);
}

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags)
{
	struct node *n = ops_node(req, ino);
	_cleanup_free_ char *text = NULL;
	int rc;

	if (!n)
		return;
	if (strcmp(name, XATTR_DISCARD) == 0) {
		discard(req, n);
		return;
	}
	if (strcmp(name, XATTR_WARM) == 0) {
		warm(req, n, value, size);
		return;
	}
	if (is_of_version(name))
		n = xattr_node(ops_fsys(req), n);
	if (!is_user(name)) {
		fuse_reply_err(req, EOPNOTSUPP);
	} else if (n->kind == NODE_ROOT && strcmp(name, XATTR_REFRESH) == 0) {
		catalog_expire(ops_fsys(req)->catalog);
		notify_expire(ops_fsys(req)->notify);
		fuse_reply_err(req, 0);
	} else if (strcmp(name, XATTR_BUILD) == 0) {
		rc = copy_text(value, size, &text);
		if (rc)
			fuse_reply_err(req, -rc);
		else
			tell_build(req, n, text, flags);
	} else if (node_is_local(ops_fsys(req)->nodes, n)) {
		rc = ops_local_setxattr(ops_fsys(req), n, name, value, size, flags);
		fuse_reply_err(req, -rc);
	} else if ((rc = copy_text(value, size, &text))) {
		fuse_reply_err(req, -rc);
	} else {
		change_attribute(req, n, name, text, tag_flags(flags));
	}
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *n = ops_node(req, ino);

	if (!n)
		return;
	if (is_of_version(name))
		n = xattr_node(ops_fsys(req), n);
	if (is_user(name) && node_is_local(ops_fsys(req)->nodes, n))
		fuse_reply_err(req, -ops_local_setxattr(ops_fsys(req), n, name, NULL, 0, 0));
	else if (is_user(name))
		change_attribute(req, n, name, NULL, 0);
	else
		fuse_reply_err(req, EOPNOTSUPP);
}
