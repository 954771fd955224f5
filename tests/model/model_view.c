/* model_view - what a version's directory shows: the published files, what was removed taken out,
 * what is edited or was saved a moment ago instead of them, and what lies beside them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "fs/tempname.h"
#include "tests/model/model.h"

enum { TEXT_MAX = 1 << 20 };

bool model_is_asset(const char *rel)
{
	const char *last = strrchr(rel, '/');

	if (strcmp(rel, "spec.yml") == 0 || strcmp(rel, "conda.yml") == 0)
		return true;
	return strncmp(rel, "context/", 8) == 0 && !tempname_is(last + 1) &&
	       !strstr(rel, ".rejected");
}

/* ---- edits ---- */

struct medit *model_edit(struct mversion *v, const char *rel)
{
	struct medit *e = v->edits;

	while (e && strcmp(e->rel, rel) != 0)
		e = e->next;
	return e;
}

struct medit *model_edit_begin(struct mversion *v, const char *rel, struct bytes *bytes)
{
	struct medit *e = model_edit(v, rel);

	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			exit(1);
		path_print(e->rel, "%s", rel);
		e->next = v->edits;
		v->edits = e;
	}
	if (e->bytes != bytes) {
		bytes_unref(e->bytes);
		e->bytes = bytes;
	} else {
		bytes_unref(bytes);
	}
	e->old = false;
	e->stamped = false;
	if (tree_at(v->gone, rel))
		tree_unlink(v->gone, rel);
	return e;
}

static void take_edit(struct mversion *v, const char *rel)
{
	for (struct medit **at = &v->edits, *e; (e = *at); at = &e->next) {
		if (strcmp(e->rel, rel) != 0)
			continue;
		*at = e->next;
		bytes_unref(e->bytes);
		free(e);
		break;
	}
}

void model_forget(struct mversion *v)
{
	v->base[0] = '\0';
	for (size_t i = 0; i < MODEL_REFUSALS; i++) {
		bytes_unref(v->refusals[i].bytes);
		v->refusals[i].bytes = NULL;
	}
}

void model_edit_drop(struct mversion *v, const char *rel)
{
	bool any = v->edits;

	take_edit(v, rel);
	if (any && !v->edits)
		model_forget(v);
}

void model_edit_leave(struct mversion *v, const char *rel)
{
	v->remembered = v->remembered || v->edits;
	take_edit(v, rel);
}

struct medit *model_edit_of(struct model *m, const struct bytes *bytes, struct menv **env,
			    struct mversion **v)
{
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		*env = &m->envs[i];
		FOR_EACH_DIR(*env, dir)
		{
			*v = dir;
			for (struct medit *e = dir->edits; e; e = e->next)
				if (e->bytes == bytes)
					return e;
		}
	}
	return NULL;
}

static bool is_over(const struct model *m, const struct medit *e)
{
	if (e->dirty || e->writers)
		return false;
	return e->attempted && !e->cut ? m->generations[e->owner] != e->generation : e->old;
}

static void sweep(struct model *m, struct mversion *v)
{
	for (struct medit *e = v->edits, *next; e; e = next) {
		char rel[TREE_PATH];

		next = e->next;
		path_print(rel, "%s", e->rel);
		if (is_over(m, e))
			model_edit_drop(v, rel);
	}
}

void model_sweep(struct model *m)
{
	for (size_t i = 0; i < MODEL_ENVS; i++)
		FOR_EACH_DIR(&m->envs[i], v)
	sweep(m, v);
}

void model_pass(struct model *m)
{
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		FOR_EACH_DIR(&m->envs[i], v)
		{
			tree_free(v->gone);
			v->gone = tree_new("", TREE_DIR);
			if (v->remembered && !v->edits)
				model_forget(v);
			v->glowing = v->remembered = false;
			for (struct medit *e = v->edits; e; e = e->next)
				e->old = true;
		}
	}
	model_sweep(m);
}

/* ---- the view ---- */

/* A text with the names that its place gives it, in the making. */
struct naming {
	struct buf out;
	const char *env;
	const char *version;
	bool has_name, has_version;
};

static bool begins(const char *line, size_t len, const char *key)
{
	return len >= strlen(key) && memcmp(line, key, strlen(key)) == 0;
}

/* One line with what it says of a name replaced: "version: '1' # the first". */
static void add_line(struct naming *n, const char *line, size_t len)
{
	const char *comment = memchr(line, '#', len);

	if (begins(line, len, "version:"))
		buf_addf(&n->out, "version: \"%s\"", n->version);
	else if (begins(line, len, "name:"))
		buf_addf(&n->out, "name: %s", n->env);
	else
		comment = line;
	if (comment == line)
		buf_add(&n->out, line, len);
	else if (comment)
		buf_addf(&n->out, " %.*s", (int)(line + len - comment), comment);
	else
		buf_addch(&n->out, '\n');
}

/* What it does not say comes before the first key. */
static void add_missing(struct naming *n)
{
	if (!n->has_name)
		buf_addf(&n->out, "name: %s\n", n->env);
	if (!n->has_version)
		buf_addf(&n->out, "version: \"%s\"\n", n->version);
	n->has_name = n->has_version = true;
}

struct bytes *model_with_names(const struct bytes *text, const char *env, const char *version,
			       bool whole)
{
	struct naming n = {.out = BUF_INIT(TEXT_MAX), .env = env, .version = version};
	const char *end = text->data + text->len;
	struct bytes *result;

	n.has_name = begins(text->data, text->len, "name:") || strstr(text->data, "\nname:");
	n.has_version = begins(text->data, text->len, "version:") ||
			strstr(text->data, "\nversion:") || (n.has_name && !whole);
	for (const char *p = text->data; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);

		if (*p != '#')
			add_missing(&n);
		add_line(&n, p, len);
		p += len;
	}
	result = bytes_new(buf_str(&n.out), n.out.len);
	buf_free(&n.out);
	return result;
}

/* Bytes that were saved here, for as long as they say what the record says. */
static void show_kept(struct tree *files, struct mversion *v)
{
	if (v->spec && version_same_content(v->spec_of, v->v))
		tree_put(files, "spec.yml", v->spec);
	if (v->conda && v->v->conda && strcmp(v->conda_of->conda, v->v->conda) == 0)
		tree_put(files, "conda.yml", v->conda);
}

struct removing {
	struct tree *from;
};

static void remove_gone(void *arg, const char *path, struct tree *t)
{
	const struct removing *r = arg;
	const char *name;
	struct tree *dir;
	int rc;

	(void)t;
	dir = tree_parent(r->from, path, &name, &rc);
	if (dir)
		tree_free(tree_take(dir, name));
}

/* Below context, what lies beside is seen only in directories that the version has. */
static void prune(struct tree *beside, const struct tree *in, struct tree *above)
{
	struct tree *twin;

	if (!beside || beside->kind != TREE_DIR)
		return;
	twin = tree_child((struct tree *)in, beside->name);
	if (!twin) {
		tree_free(tree_take(above, beside->name));
		return;
	}
	for (struct tree *c = beside->first, *next; c; c = next) {
		next = c->next;
		prune(c, twin, beside);
	}
}

struct tree *model_published(struct mversion *v)
{
	struct tree *files = model_files(v);

	if (!v->v)
		return files;
	tree_add(files, tree_new("Dockerfile", TREE_DERIVED));
	tree_add(files, tree_new("build.log", TREE_DERIVED));
	show_kept(files, v);
	return files;
}

/* Puts what is in from below what is in to. */
static void underlay(struct tree *to, struct tree *from)
{
	for (struct tree *c = from->first, *next; c; c = next) {
		struct tree *t = tree_child(to, c->name);

		next = c->next;
		if (!t)
			tree_add(to, tree_take(from, c->name));
		else if (t->kind == TREE_DIR && c->kind == TREE_DIR)
			underlay(t, c);
	}
}

struct tree *model_view(struct menv *env, struct mversion *v)
{
	struct tree *files = model_published(v), *beside;
	struct removing r = {files};

	tree_each(v->gone, remove_gone, &r);
	tree_overlay(files, v->local);
	for (struct medit *e = v->edits; e; e = e->next)
		tree_put(files, e->rel, e->bytes);
	if (!v->v)
		return files;
	beside = tree_new("", TREE_DIR);
	tree_overlay(beside, env->scratch);
	prune(tree_child(beside, "context"), files, beside);
	underlay(files, beside);
	tree_free(beside);
	return files;
}
