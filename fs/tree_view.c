/* tree_view - what a directory shows: what is published in it, without what was removed here, with
 * what lies on the disk. */
#include "fs/tree_int.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/name.h"
#include "fs/whiteout.h"

/* Takes out what was removed here (whiteout.h); such a listing is not kept by the kernel. */
static void hide_removed(struct fsys *fs, struct node *dir, struct listing *l)
{
	uint64_t group = tree_group(dir);
	size_t kept = 0;

	if (dir->kind == NODE_ROOT || !whiteout_any(fs->whiteouts, group))
		return;
	for (size_t i = 0; i < l->count; i++)
		if (!whiteout_has(fs->whiteouts, group, tree_number(dir, &l->items[i])))
			l->items[kept++] = l->items[i];
	l->count = kept;
	l->identity = 0;
}

static int finish(int rc, struct listing **out)
{
	if (rc) {
		listing_free(*out);
		*out = NULL;
	}
	return rc;
}

static int list_local(struct fsys *fs, struct node *dir, const char *wanted, struct listing **out)
{
	*out = tree_listing_new(0);
	if (!*out)
		return -ENOMEM;
	(*out)->scope = scope_ref(dir->scope);
	return tree_merge_local(fs, dir, *out, wanted);
}

/* The answer needs nobody but the disk. */
static bool is_local_name(const struct fsys *fs, const struct node *dir, const char *name)
{
	if (dir->kind == NODE_LOCAL)
		return true;
	if (!tree_has_local(fs, dir) || dir->kind == NODE_SCOPE)
		return false;
	return tree_is_probe(dir, name) || (dir->kind == NODE_ENV && tree_is_draft_name(name));
}

/* Adds what lies on the disk to what is published: rc says whether that was found. */
static int merge(struct fsys *fs, struct node *dir, const char *wanted, int rc,
		 struct listing **out)
{
	bool local = tree_has_local(fs, dir);

	if (rc == -ENOENT && local && !*out)
		*out = tree_listing_new(0);
	if ((rc && rc != -ENOENT) || !*out)
		return rc;
	hide_removed(fs, dir, *out);
	if (!local)
		return rc;
	if (!(*out)->scope)
		(*out)->scope = scope_ref(dir->scope);
	return tree_merge_local(fs, dir, *out, wanted);
}

/* An environment that has no version yet, as far as is known: the service is not needed to show it.
 */
static bool is_local_env(struct fsys *fs, struct node *dir)
{
	struct env *env = dir->kind == NODE_ENV ? node_get_env(fs->nodes, dir) : NULL;
	bool published = env != NULL;

	env_unref(env);
	return dir->kind == NODE_ENV && !published && tree_has_local(fs, dir) &&
	       tree_env_is_local(fs, dir);
}

int tree_list(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
	      struct err *e)
{
	int rc;

	*out = NULL;
	if (dir->kind == NODE_LOCAL)
		return finish(list_local(fs, dir, NULL, out), out);
	rc = tree_list_any(fs, dir, c, out, e);
	if (rc == -ENOENT &&
	    !(dir->kind == NODE_ENV && tree_has_local(fs, dir) && tree_env_is_local(fs, dir)))
		return finish(rc, out);
	return finish(merge(fs, dir, NULL, rc, out), out);
}

bool tree_is_probe(const struct node *dir, const char *name)
{
	if (dir->kind == NODE_CONTEXT || !name_is_probe(name))
		return false;
	/* An environment can be called CVS; a leading dot is encoded in what the service names. */
	return name[0] == '.' || dir->kind == NODE_VERSION;
}

static int lookup_both(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		       struct listing **out, struct err *e)
{
	int rc = tree_lookup_any(fs, dir, name, c, out, e);

	if (rc && is_local_env(fs, dir))
		rc = -ENOENT;
	return finish(merge(fs, dir, name, rc, out), out);
}

int tree_lookup(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		struct listing **out, struct err *e)
{
	int rc;

	*out = NULL;
	if (is_local_name(fs, dir, name))
		rc = finish(list_local(fs, dir, name, out), out);
	else if (tree_is_probe(dir, name))
		return -ENOENT;
	else
		rc = lookup_both(fs, dir, name, c, out, e);
	if (!rc && (!*out || (*out)->count == 0))
		rc = finish(-ENOENT, out);
	return rc;
}

int tree_published(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		   struct listing **out, struct err *e)
{
	*out = NULL;
	if (dir->kind == NODE_LOCAL || tree_is_probe(dir, name))
		return -ENOENT;
	return finish(tree_lookup_any(fs, dir, name, c, out, e), out);
}
