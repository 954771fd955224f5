#include "fs/warm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/warm.h"
#include "fs/tree.h"

enum { VALUE_SIZE = 64 };

static int warm_version(struct fsys *fs, struct node *n, struct call *c, struct err *e)
{
	struct version *v = node_get_version(fs->nodes, n);
	int rc = warm_context(fs->catalog, n->scope, v, c, e);

	version_unref(v);
	return rc;
}

static int warm_file(struct fsys *fs, struct node *n, const char *value, struct call *c,
		     struct err *e)
{
	const struct context_file *file = n->ctx ? ctxtree_get(n->ctx, n->ctx_index)->file : NULL;
	uint64_t offset = 0, len = 0;

	if (!file)
		return 0;
	if (sscanf(value, "%" SCNu64 " %" SCNu64, &offset, &len) != 2 || offset > file->size)
		return err_set(e, -EINVAL, "the value is no part of the file");
	return warm_content(fs->catalog, n->scope, ctxtree_context(n->ctx), file, offset, len, c,
			    e);
}

int warm_node(struct fsys *fs, struct node *n, const char *value, size_t size, struct call *c,
	      struct err *e)
{
	char text[VALUE_SIZE] = "";

	if (size >= sizeof(text))
		return -EINVAL;
	if (size)
		memcpy(text, value, size);
	if (node_is_local(fs->nodes, n))
		return 0;
	switch (n->kind) {
	case NODE_ROOT:
		if (strcmp(text, WARM_FLUSH) == 0)
			return warm_finish(fs->catalog, c, e);
		return warm_list(fs->catalog, NULL, NULL, c, e);
	case NODE_SCOPE:
	case NODE_ARCHIVE:
		return warm_list(fs->catalog, n->scope, NULL, c, e);
	case NODE_ENV:
		return warm_list(fs->catalog, n->scope, n->name, c, e);
	case NODE_VERSION:
		return warm_version(fs, n, c, e);
	case NODE_CONTEXT:
		return warm_file(fs, n, text, c, e);
	default:
		return 0;
	}
}
