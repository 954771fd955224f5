/*
 * spec_patch - puts other names into the text of a spec.yml, with everything else left as it was
 * written: comments, order, quoting.
 */
#ifndef MLENVFS_FS_SPEC_PATCH_H
#define MLENVFS_FS_SPEC_PATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "client/buf.h"

/*
 * Appends text with name and version made to be those given. A name that is missing gets a line
 * before the first key, since the CLI wants one; then, or when `whole`, so does the version.
 * -EBADMSG when it is not YAML, or has them in a form that can't be replaced in its line. Any
 * thread.
 */
int spec_patch(const char *text, size_t len, const char *name, const char *version, bool whole,
	       struct buf *out);

#endif
