/* ops_xattr - extended attributes. Namespaces other than user.* are EOPNOTSUPP, never EPERM. */
#include "fs/ops.h"

#include <errno.h>
#include <string.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "fs/notify.h"
#include "fs/tree.h"
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

static bool is_user(const char *name)
{
	return strncmp(name, XATTR_USER, strlen(XATTR_USER)) == 0;
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

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct node *n = ops_node(req, ino);
	_cleanup_buf_ struct buf value = BUF_INIT(XATTR_VALUE_MAX);
	struct err e = ERR_INIT;
	int rc = 0;

	if (!n)
		return;
	if (is_user(name))
		rc = refresh(req, n, &e);
	if (!rc)
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
	rc = refresh(req, n, &e);
	if (!rc)
		rc = xattr_list(ops_fsys(req), n, &names);
	if (rc)
		ops_reply_error(req, "listxattr", n, NULL, rc, &e);
	else
		reply_value(req, &names, size);
}

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags)
{
	struct node *n = ops_node(req, ino);

	(void)value, (void)size, (void)flags;
	if (!n)
		return;
	if (!is_user(name)) {
		fuse_reply_err(req, EOPNOTSUPP);
	} else if (n->kind == NODE_ROOT && strcmp(name, XATTR_REFRESH) == 0) {
		catalog_expire(ops_fsys(req)->catalog);
		notify_expire(ops_fsys(req)->notify);
		fuse_reply_err(req, 0);
	} else {
		fuse_reply_err(req, EROFS);
	}
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino;
	fuse_reply_err(req, is_user(name) ? EROFS : EOPNOTSUPP);
}
