/*
 * xattr - extended attributes of versions (semantics.md section 2) and of the mount itself.
 *
 * On a version directory and its spec.yml: user.tag.<key> and user.description (listed),
 * user.azureml.* and user.mlenvfs.* (read by name only, because rsync -X, cp -a and borg copy what
 * is listed and fail on what they can't set). On the root: user.mlenvfs.status, JSON about the
 * mount.
 */
#ifndef MLENVFS_FS_XATTR_H
#define MLENVFS_FS_XATTR_H

#include <stdbool.h>

#include "client/buf.h"
#include "fs/fsys.h"
#include "fs/node.h"

/* The kernel's own limits on one value and on the list of names. */
enum { XATTR_VALUE_MAX = 65536, XATTR_NAMES_MAX = 65536 };

#define XATTR_USER        "user."
#define XATTR_TAG         "user.tag."
#define XATTR_DESCRIPTION "user.description"
#define XATTR_AZUREML     "user.azureml."
#define XATTR_IMAGE       "user.azureml.image"
#define XATTR_BUILD_STATE "user.azureml.build_state"
#define XATTR_BUILD_STAGE "user.azureml.build_stage"
#define XATTR_BUILD       "user.azureml.build"
#define XATTR_ERROR       "user.mlenvfs.error"
#define XATTR_STATE       "user.mlenvfs.state"
#define XATTR_MLENVFS     "user.mlenvfs."
#define XATTR_STATUS      "user.mlenvfs.status"
#define XATTR_REFRESH     "user.mlenvfs.refresh"
#define XATTR_WARM        "user.mlenvfs.warm"
#define XATTR_DISCARD     "user.mlenvfs.discard"

/*
 * Appends the value. -ENODATA when n has no such attribute, -EOPNOTSUPP for namespaces other than
 * user.*, -E2BIG when the value is larger than an attribute can be. Makes no request: what is known
 * of images and builds is not here but in buildlog.h.
 */
int xattr_get(struct fsys *fs, struct node *n, const char *name, struct buf *out);

/*
 * The node whose attributes n has: those of a spec.yml that is edited are its version's. n itself
 * for all others.
 */
struct node *xattr_node(struct fsys *fs, struct node *n);

/* Appends the listed names, each with its NUL. -E2BIG as above. */
int xattr_list(struct fsys *fs, struct node *n, struct buf *out);

/* Whether that is the attribute of the root that has the state of the mount. */
bool xattr_is_status(const char *name);

/* The facts that are read by name, in the order in which `mlenvfs info` prints them; NULL ends. */
extern const char *const xattr_facts[];

#endif
