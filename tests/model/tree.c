#include "tests/model/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "tree: no memory\n");
		exit(1);
	}
	return p;
}

const char *path_print(char out[TREE_PATH], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, TREE_PATH, fmt, ap);
	va_end(ap);
	must(n >= 0 && n < TREE_PATH ? out : NULL);
	return out;
}

/* ---- bytes ---- */

struct bytes *bytes_new(const void *data, size_t len)
{
	struct bytes *b = must(calloc(1, sizeof(*b)));

	b->refs = 1;
	bytes_write(b, data, len, 0);
	return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
	b->refs++;
	return b;
}

void bytes_unref(struct bytes *b)
{
	if (!b || --b->refs)
		return;
	free(b->data);
	free(b);
}

bool bytes_equal(const struct bytes *b, const void *data, size_t len)
{
	return b->len == len && (!len || memcmp(b->data, data, len) == 0);
}

void bytes_resize(struct bytes *b, size_t len)
{
	b->data = must(realloc(b->data, len + 1));
	if (len > b->len)
		memset(b->data + b->len, 0, len - b->len);
	b->len = len;
	b->data[len] = '\0';
}

void bytes_write(struct bytes *b, const void *data, size_t len, size_t off)
{
	if (off + len > b->len || !b->data)
		bytes_resize(b, off + len);
	if (len)
		memcpy(b->data + off, data, len);
}

/* ---- trees ---- */

struct tree *tree_new(const char *name, enum tree_kind kind)
{
	struct tree *t = must(calloc(1, sizeof(*t)));

	snprintf(t->name, sizeof(t->name), "%s", name);
	t->kind = kind;
	return t;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (struct tree *c = t->first, *next; c; c = next) {
		next = c->next;
		tree_free(c);
	}
	bytes_unref(t->bytes);
	bytes_unref(t->other);
	free(t->target);
	free(t);
}

static struct tree **slot(struct tree *dir, const char *name, size_t len)
{
	struct tree **at = &dir->first;

	while (*at && (strncmp((*at)->name, name, len) != 0 || (*at)->name[len]))
		at = &(*at)->next;
	return at;
}

struct tree *tree_child(struct tree *dir, const char *name)
{
	return *slot(dir, name, strlen(name));
}

void tree_add(struct tree *dir, struct tree *child)
{
	child->next = dir->first;
	dir->first = child;
}

struct tree *tree_take(struct tree *dir, const char *name)
{
	struct tree **at = slot(dir, name, strlen(name)), *t = *at;

	if (t) {
		*at = t->next;
		t->next = NULL;
	}
	return t;
}

struct tree *tree_parent(struct tree *dir, const char *path, const char **name, int *rc)
{
	const char *slash;

	*rc = 0;
	while ((slash = strchr(path, '/'))) {
		dir = *slot(dir, path, (size_t)(slash - path));
		if (!dir || dir->kind != TREE_DIR) {
			*rc = dir ? -ENOTDIR : -ENOENT;
			return NULL;
		}
		path = slash + 1;
	}
	*name = path;
	return dir;
}

struct tree *tree_at(struct tree *dir, const char *path)
{
	const char *name;
	int rc;

	if (!path[0])
		return dir;
	dir = tree_parent(dir, path, &name, &rc);
	return dir ? tree_child(dir, name) : NULL;
}

/* A new, empty thing; NULL with *rc set. */
static struct tree *make(struct tree *dir, const char *path, enum tree_kind kind, int *rc)
{
	const char *name;
	struct tree *t;

	dir = tree_parent(dir, path, &name, rc);
	if (dir && tree_child(dir, name))
		*rc = -EEXIST;
	if (*rc)
		return NULL;
	t = tree_new(name, kind);
	if (kind == TREE_FILE)
		t->bytes = bytes_new("", 0);
	tree_add(dir, t);
	return t;
}

int tree_mkdir(struct tree *dir, const char *path)
{
	int rc;

	make(dir, path, TREE_DIR, &rc);
	return rc;
}

int tree_symlink(struct tree *dir, const char *target, const char *path)
{
	int rc;
	struct tree *t = make(dir, path, TREE_LINK, &rc);

	if (t)
		t->target = must(strdup(target));
	return rc;
}

static int remove_at(struct tree *dir, const char *path, bool is_dir)
{
	const char *name;
	struct tree *t;
	int rc;

	dir = tree_parent(dir, path, &name, &rc);
	t = dir ? tree_child(dir, name) : NULL;
	if (!t)
		return rc ? rc : -ENOENT;
	if (is_dir != (t->kind == TREE_DIR))
		return is_dir ? -ENOTDIR : -EISDIR;
	if (t->first)
		return -ENOTEMPTY;
	tree_free(tree_take(dir, name));
	return 0;
}

int tree_unlink(struct tree *dir, const char *path)
{
	return remove_at(dir, path, false);
}

int tree_rmdir(struct tree *dir, const char *path)
{
	return remove_at(dir, path, true);
}

static bool is_below(const struct tree *t, const struct tree *dir)
{
	if (t == dir)
		return true;
	for (const struct tree *c = t->first; c; c = c->next)
		if (is_below(c, dir))
			return true;
	return false;
}

int tree_rename(struct tree *from, const char *from_path, struct tree *to, const char *to_path)
{
	const char *name, *to_name;
	struct tree *t, *old;
	int rc;

	from = tree_parent(from, from_path, &name, &rc);
	t = from ? tree_child(from, name) : NULL;
	if (!t)
		return rc ? rc : -ENOENT;
	to = tree_parent(to, to_path, &to_name, &rc);
	if (!to)
		return rc;
	if (is_below(t, to))
		return -EINVAL;
	old = tree_child(to, to_name);
	if (old == t || (old && old->bytes && old->bytes == t->bytes))
		return 0;
	if (old && t->kind == TREE_DIR && old->kind != TREE_DIR)
		return -ENOTDIR;
	if (old && t->kind != TREE_DIR && old->kind == TREE_DIR)
		return -EISDIR;
	if (old && old->first)
		return -ENOTEMPTY;
	tree_free(tree_take(to, to_name));
	tree_take(from, name);
	snprintf(t->name, sizeof(t->name), "%s", to_name);
	tree_add(to, t);
	return 0;
}

struct tree *tree_open(struct tree *dir, const char *path, bool create, bool exclusive, int *rc)
{
	struct tree *t = tree_at(dir, path);

	if (!t)
		t = create ? make(dir, path, TREE_FILE, rc) : (*rc = -ENOENT, NULL);
	else if (create && exclusive)
		*rc = -EEXIST;
	else
		*rc = t->kind == TREE_DIR ? -EISDIR : t->kind == TREE_LINK ? -ELOOP : 0;
	return *rc ? NULL : t;
}

void tree_make_parents(struct tree *dir, const char *path)
{
	const char *slash;

	while ((slash = strchr(path, '/'))) {
		size_t len = (size_t)(slash - path);
		struct tree *t = *slot(dir, path, len);

		if (!t) {
			t = tree_new("", TREE_DIR);
			snprintf(t->name, sizeof(t->name), "%.*s", (int)len, path);
			tree_add(dir, t);
		}
		dir = t;
		path = slash + 1;
	}
}

void tree_put(struct tree *dir, const char *path, struct bytes *bytes)
{
	const char *name;
	struct tree *t;
	int rc;

	tree_make_parents(dir, path);
	dir = tree_parent(dir, path, &name, &rc);
	must(dir);
	tree_free(tree_take(dir, name));
	t = tree_new(name, TREE_FILE);
	t->bytes = bytes_ref(bytes);
	tree_add(dir, t);
}

void tree_overlay(struct tree *to, const struct tree *from)
{
	for (const struct tree *c = from->first; c; c = c->next) {
		struct tree *t = tree_child(to, c->name);

		if (t && (t->kind != TREE_DIR || c->kind != TREE_DIR)) {
			tree_free(tree_take(to, c->name));
			t = NULL;
		}
		if (!t) {
			t = tree_new(c->name, c->kind);
			t->bytes = c->bytes ? bytes_ref(c->bytes) : NULL;
			t->target = c->target ? must(strdup(c->target)) : NULL;
			tree_add(to, t);
		}
		tree_overlay(t, c);
	}
}

static void each_below(struct tree *dir, const char *prefix, tree_tell_fn *tell, void *arg)
{
	char path[TREE_PATH];

	for (struct tree *c = dir->first, *next; c; c = next) {
		next = c->next;
		path_print(path, "%s%s", prefix, c->name);
		if (c->kind != TREE_DIR) {
			tell(arg, path, c);
			continue;
		}
		path_print(path, "%s%s/", prefix, c->name);
		each_below(c, path, tell, arg);
	}
}

void tree_each(struct tree *dir, tree_tell_fn *tell, void *arg)
{
	each_below(dir, "", tell, arg);
}
