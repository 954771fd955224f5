#include "fs/writing.h"

#include <stdatomic.h>
#include <string.h>

#include "client/cleanup.h"
#include "fs/handle.h"
#include "fs/node.h"

struct wanted {
	struct fsys *fs;
	const char *path;
	enum writing_which which;
};

static bool is_wanted(const struct handle *h, void *arg)
{
	const struct wanted *w = arg;
	_cleanup_free_ char *path = NULL;
	size_t len = strlen(w->path);
	struct node *n;

	if (w->which == WRITING_HALF && !atomic_load(&h->wrote))
		return false;
	/* Its open may be over already: nothing else keeps the node here. */
	n = node_hold(w->fs->nodes, h->ino);
	path = n ? node_get_local(w->fs->nodes, n) : NULL;
	node_put(w->fs->nodes, n);
	return path && strncmp(path, w->path, len) == 0 && (!path[len] || path[len] == '/');
}

bool writing_at(struct fsys *fs, const char *path, enum writing_which which)
{
	struct wanted w = {fs, path, which};

	return handles_writing(fs->handles, is_wanted, &w);
}
