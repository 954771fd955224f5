#include "fs/context_edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "fs/context_walk.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/register.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/whiteout.h"

enum { BLOCK = 1024 * 1024, ROOT_INO = 1 };

static const char CONTEXT[] = "context/";

struct staging {
	struct fsys *fs;
	const struct publish_edit *p;
	const struct version *base;
	struct stage *stage;
	struct call *c;
	struct context_edit *x;
	uint64_t version_ino;
	struct err *e;
};

/* The part of rel behind "context/", or NULL. */
static const char *in_context(const char *rel)
{
	size_t len = sizeof(CONTEXT) - 1;

	return strncmp(rel, CONTEXT, len) == 0 ? rel + len : NULL;
}

/* ---- what is not as in the base ---- */

static uint64_t version_number(const struct publish_edit *p)
{
	struct upper_place place;
	char key[SCOPE_KEY_SIZE];
	uint64_t ino;

	if (upper_parse(p->vdir, &place))
		return 0;
	ino = node_number(ROOT_INO, NODE_SCOPE, tree_scope_key(p->scope, key));
	ino = node_number(ino, NODE_ENV, place.env);
	return node_number(ino, NODE_VERSION, place.version);
}

static int add_overlaid(struct context_edit *x, const char *path)
{
	char **more = reallocarray(x->overlaid, x->n_overlaid + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	x->overlaid = more;
	more[x->n_overlaid] = strdup(path);
	return more[x->n_overlaid++] ? 0 : -ENOMEM;
}

/* The edited files that count: the one that is saved, and those that were saved before. */
static int find_overlaid(struct staging *s)
{
	char **rels;
	int n = edits_list(s->fs->edits, s->p->vdir, &rels), rc = n < 0 ? n : 0;
	struct edit edit;

	s->x->saved = in_context(s->p->rel);
	if (!rc && s->x->saved)
		rc = add_overlaid(s->x, s->x->saved);
	for (int i = 0; !rc && i < n; i++) {
		const char *path = in_context(rels[i]);

		if (path && strcmp(rels[i], s->p->rel) != 0 &&
		    edits_get(s->fs->edits, s->p->vdir, rels[i], &edit) && edit_is_saved(&edit) &&
		    !edit.dirty)
			rc = add_overlaid(s->x, path);
	}
	if (n >= 0)
		edits_list_free(rels, n);
	return rc;
}

static char *local_context(const struct staging *s)
{
	return upper_path(s->fs, UPPER_LOCAL, s->p->vdir, "context");
}

static bool has_local_context(const struct staging *s)
{
	_cleanup_free_ char *path = local_context(s);
	struct stat st;

	return path && !local_stat(s->fs->local, path, &st);
}

/* The names in a version's directory itself are no part of its context. */
static bool removed_in_context(const struct staging *s)
{
	static const struct {
		enum node_kind kind;
		const char *name;
	} own[] = {{NODE_SPEC, "spec.yml"},
		   {NODE_CONDA, "conda.yml"},
		   {NODE_DOCKERFILE, "Dockerfile"},
		   {NODE_BUILD_LOG, "build.log"}};
	enum { N = sizeof(own) / sizeof(*own) };
	uint64_t numbers[N];

	for (int i = 0; i < N; i++)
		numbers[i] = node_number(s->version_ino, own[i].kind, own[i].name);
	return whiteout_others(s->fs->whiteouts, s->version_ino, numbers, N);
}

static bool same_dockerfile(const struct version *base, const struct spec *spec)
{
	const char *path = spec->dockerfile_path ? spec->dockerfile_path : "Dockerfile";

	return strcmp(version_dockerfile_path(base), path) == 0;
}

/* ---- staging ---- */

static bool is_overlaid(const struct context_edit *x, const char *path)
{
	for (size_t i = 0; i < x->n_overlaid; i++)
		if (strcmp(x->overlaid[i], path) == 0)
			return true;
	return false;
}

static int write_file(struct staging *s, const struct context_file *file, int fd)
{
	int rc = 0;

	for (uint64_t off = 0; !rc && off < file->size; off += BLOCK) {
		_cleanup_buf_ struct buf data = BUF_INIT(BLOCK);

		rc = catalog_read(s->fs->catalog, s->p->scope, ctxtree_context(s->x->tree), file,
				  off, BLOCK, s->c, &data, s->e);
		if (!rc && write(fd, data.data, data.len) != (ssize_t)data.len)
			rc = errno ? -errno : -EIO;
	}
	return rc;
}

static int stage_dir(struct staging *s, uint32_t index, const char *path, uint64_t ino);

static int stage_entry(struct staging *s, const struct ctxtree_entry *entry, uint32_t index,
		       const char *path, uint64_t ino)
{
	_cleanup_free_ char *rel = NULL;
	_cleanup_close_ int fd = -1;

	if (whiteout_has(s->fs->whiteouts, s->version_ino, ino) && !is_overlaid(s->x, path)) {
		s->x->n_removed++;
		return 0;
	}
	if (!entry->file)
		return stage_dir(s, index, path, ino);
	if (is_overlaid(s->x, path))
		return 0;
	rel = local_join("context", path);
	fd = rel ? stage_create(s->stage, rel) : -ENOMEM;
	return fd < 0 ? fd : write_file(s, entry->file, fd);
}

static int stage_dir(struct staging *s, uint32_t index, const char *path, uint64_t ino)
{
	const struct ctxtree_entry *dir = ctxtree_get(s->x->tree, index);
	int rc = 0;

	for (uint32_t i = 0; !rc && i < dir->count; i++) {
		const struct ctxtree_entry *entry = ctxtree_get(s->x->tree, dir->first + i);
		_cleanup_free_ char *below =
			*path ? local_join(path, entry->name) : strdup(entry->name);

		rc = below ? stage_entry(s, entry, dir->first + i, below,
					 node_number(ino, NODE_CONTEXT, entry->name))
			   : -ENOMEM;
	}
	return rc;
}

static int stage_base(struct staging *s)
{
	struct version *base = version_ref((struct version *)s->base);
	struct context *context = NULL;
	int rc = catalog_context(s->fs->catalog, s->p->scope, base, s->c, &context, s->e);

	version_unref(base);
	if (rc)
		return rc;
	rc = ctxtree_new(context, &s->x->tree, s->e);
	context_unref(context);
	return rc ? rc
		  : stage_dir(s, CTXTREE_ROOT, "",
			      node_number(s->version_ino, NODE_CONTEXT, "context"));
}

/* Bytes that were saved, from where they are on show or about to be. */
static int stage_overlaid(struct staging *s, const char *path)
{
	_cleanup_free_ char *rel = local_join("context", path);
	_cleanup_free_ char *from = NULL;
	int rc;

	if (!rel)
		return -ENOMEM;
	if (strcmp(rel, s->p->rel) == 0)
		return stage_add_file(s->stage, rel, s->p->bytes);
	from = upper_path(s->fs, UPPER_SHOWN, s->p->vdir, rel);
	rc = from ? stage_add_file(s->stage, rel, from) : -ENOMEM;
	return rc == -ENOENT ? 0 : rc;
}

static int stage_all(struct staging *s)
{
	_cleanup_free_ char *local = local_context(s);
	int rc = local ? stage_make_dir(s->stage, "context") : -ENOMEM;

	if (!rc && s->base && version_context_has_files(s->base))
		rc = stage_base(s);
	for (size_t i = 0; !rc && i < s->x->n_overlaid; i++)
		rc = stage_overlaid(s, s->x->overlaid[i]);
	/* What was made here and never saved by itself, such as an empty file. */
	return rc ? rc : stage_add_tree(s->stage, "context", local);
}

int context_edit_stage(struct fsys *fs, const struct publish_edit *p, const struct version *base,
		       const struct spec *spec, struct stage *stage, struct call *c,
		       struct context_edit *out, struct err *e)
{
	struct staging s = {.fs = fs,
			    .p = p,
			    .base = base,
			    .stage = stage,
			    .c = c,
			    .x = out,
			    .version_ino = version_number(p),
			    .e = e};
	bool published = base && version_context_has_files(base);
	int rc;

	*out = (struct context_edit){0};
	rc = find_overlaid(&s);
	if (rc)
		return rc;
	out->touched = out->n_overlaid || !published || !same_dockerfile(base, spec) ||
		       removed_in_context(&s) || has_local_context(&s);
	return out->touched ? register_errno(stage_all(&s)) : 0;
}

/* ---- comparing ---- */

static const struct context_file *published_file(const struct context_edit *x, const char *path)
{
	uint32_t at = CTXTREE_ROOT;
	int64_t found = -1;

	while (x->tree && *path) {
		size_t len = strcspn(path, "/");
		char name[NAME_SIZE];

		if (len >= sizeof(name) || ctxtree_get(x->tree, at)->file)
			return NULL;
		memcpy(name, path, len);
		name[len] = '\0';
		found = ctxtree_find(x->tree, at, name);
		if (found < 0)
			return NULL;
		at = (uint32_t)found;
		path += len + (path[len] == '/');
	}
	return found < 0 ? NULL : ctxtree_get(x->tree, at)->file;
}

/* 1 when the file that is open says the same as the published one, 0 when not. */
static int same_bytes(struct context_edit *x, struct fsys *fs, struct scope *scope,
		      const struct upload_file *mine, const struct context_file *theirs,
		      struct call *c, struct err *e)
{
	_cleanup_free_ char *chunk = malloc(BLOCK);

	if (!chunk)
		return -ENOMEM;
	if (mine->size != theirs->size)
		return 0;
	for (uint64_t off = 0; off < theirs->size; off += BLOCK) {
		_cleanup_buf_ struct buf data = BUF_INIT(BLOCK);
		int rc = catalog_read(fs->catalog, scope, ctxtree_context(x->tree), theirs, off,
				      BLOCK, c, &data, e);

		if (rc)
			return rc;
		if (pread(mine->fd, chunk, BLOCK, (off_t)off) != (ssize_t)data.len ||
		    memcmp(chunk, data.data, data.len) != 0)
			return 0;
	}
	return 1;
}

/* The service's own name, for a file that it has already. */
static int rename_file(struct upload_file *file, const struct context_file *published)
{
	char *path = strdup(published->path);

	if (!path)
		return -ENOMEM;
	free((char *)(uintptr_t)file->path);
	file->path = path;
	return 0;
}

static int compare_file(struct context_edit *x, struct fsys *fs, struct scope *scope,
			struct upload_file *file, struct call *c, struct err *e)
{
	const struct context_file *published = published_file(x, file->path);
	int same = published != NULL;

	if (x->saved && strcmp(file->path, x->saved) == 0)
		x->has_saved = true;
	if (published && is_overlaid(x, file->path))
		same = same_bytes(x, fs, scope, file, published, c, e);
	if (same < 0)
		return same;
	if (!same)
		x->changed = true;
	if (same) {
		file->from = ctxtree_context(x->tree);
		file->from_file = published;
	}
	return published ? rename_file(file, published) : 0;
}

int context_edit_compare(struct context_edit *x, struct fsys *fs, struct scope *scope,
			 struct assetdir *dir, struct call *c, struct err *e)
{
	int rc = 0;

	x->changed = x->n_removed > 0 || !x->tree;
	for (size_t i = 0; !rc && i < dir->n_files; i++)
		rc = compare_file(x, fs, scope, &dir->files[i], c, e);
	if (!rc && !x->changed) {
		context_walk_free(dir->files, dir->n_files);
		dir->files = NULL;
		dir->n_files = 0;
	}
	return rc;
}

void context_edit_clear(struct context_edit *x)
{
	for (size_t i = 0; i < x->n_overlaid; i++)
		free(x->overlaid[i]);
	free(x->overlaid);
	ctxtree_unref(x->tree);
	*x = (struct context_edit){0};
}
