/*
 * spec_patch - puts other names into the text of a spec.yml, with everything else left as it was
 * written: comments, order, quoting.
 */
#ifndef MLENVFS_FS_SPEC_PATCH_H
#define MLENVFS_FS_SPEC_PATCH_H

#include <stddef.h>

#include "client/buf.h"

/*
 * Appends text with name and version, where it has them, made to be those given. -EBADMSG when it
 * is not YAML, or has one of them in a form that can't be replaced in its line. Any thread.
 */
int spec_patch(const char *text, size_t len, const char *name, const char *version,
	       struct buf *out);

#endif
