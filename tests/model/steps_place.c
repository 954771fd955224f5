/* steps_place - where paths lead. */
#include "tests/model/steps.h"

#include <stdio.h>
#include <string.h>

#include "fs/tempname.h"

const char *step_path(struct model *m, const char *path, char out[TREE_PATH])
{
	return path_print(out, "%s/%s", m->b->scope, path);
}

void step_expect_either(struct model *m, const char *what, const char *path, long got, long one,
			long other)
{
	if (m->verbose)
		fprintf(stderr, "    %s %s = %ld (%ld)\n", what, path, got, one);
	if (got != one && got != other)
		model_fail(m, "%s %s: said %ld (%s), should have said %ld (%s)", what, path, got,
			   got < 0 ? strerror((int)-got) : "", one,
			   one < 0 ? strerror((int)-one) : "");
}

void step_expect(struct model *m, const char *what, const char *path, long got, long expected)
{
	step_expect_either(m, what, path, got, expected, expected);
}

static struct menv *env_of(struct model *m, const char *path, const char **rest)
{
	size_t len = strcspn(path, "/");

	*rest = path[len] ? path + len + 1 : path + len;
	for (size_t i = 0; i < MODEL_ENVS; i++)
		if (strlen(m->envs[i].name) == len && memcmp(m->envs[i].name, path, len) == 0)
			return &m->envs[i];
	model_fail(m, "the model has no place for %s", path);
	return &m->envs[0];
}

void place_at(struct model *m, const char *path, struct place *out)
{
	const char *rest;
	char name[TREE_PATH];
	size_t len;

	model_sweep(m);
	*out = (struct place){.env = env_of(m, path, &rest)};
	len = strcspn(rest, "/");
	path_print(name, "%.*s", (int)len, rest);
	out->v = strcmp(name, "latest") == 0 ? model_latest(out->env)
					     : model_version(out->env, name);
	if (out->v && (!model_shows(out->env, out->v, false) || !rest[len]))
		out->v = NULL;
	if (!rest[len] && (strcmp(rest, "spec.yml") == 0 || strcmp(rest, "conda.yml") == 0))
		out->v = &out->env->self;
	if (out->v) {
		out->v->touched = true;
		rest += out->v->v ? len + 1 : 0;
		out->view = model_view(out->env, out->v);
		out->asset = model_is_asset(rest);
	} else {
		out->view = out->env->top;
	}
	path_print(out->rel, "%s", rest);
	out->t = tree_at(out->view, out->rel);
}

void place_clear(struct place *p)
{
	if (p->v)
		tree_free(p->view);
}

/* Whether the directory that the path lies in is one of these. */
static bool has_parent(struct tree *dir, const char *rel)
{
	const char *name;
	int rc;

	return strchr(rel, '/') && tree_parent(dir, rel, &name, &rc);
}

struct tree *place_tree(struct place *p)
{
	const char *last = strrchr(p->rel, '/');
	struct tree *to, *published;
	bool own_dir;

	if (!p->v)
		return p->env->top;
	if (tree_at(p->v->local, p->rel))
		return p->v->local;
	if (tree_at(p->env->scratch, p->rel))
		return p->env->scratch;
	/* In a directory that only this version has, what is made is its own. */
	published = model_files(p->v);
	own_dir = has_parent(p->v->local, p->rel) && !has_parent(published, p->rel);
	tree_free(published);
	if (own_dir)
		return p->v->local;
	to = p->env->scratch;
	if (p->v->glowing && !tempname_is(last ? last + 1 : p->rel) &&
	    !has_parent(p->env->scratch, p->rel))
		to = p->v->local;
	tree_make_parents(to, p->rel);
	return to;
}

struct bytes *place_leave(struct place *p)
{
	const struct medit *edit = model_edit(p->v, p->rel);
	struct tree *published = model_files(p->v);
	struct bytes *bytes;

	if (edit)
		bytes = bytes_ref(edit->bytes);
	else if (tree_at(p->v->local, p->rel))
		bytes = bytes_ref(p->t->bytes);
	else
		bytes = bytes_new(p->t->bytes->data, p->t->bytes->len);
	model_edit_leave(p->v, p->rel);
	tree_unlink(p->v->local, p->rel); /* where it is there */
	if (tree_at(published, p->rel))
		tree_put(p->v->gone, p->rel, bytes);
	tree_free(published);
	return bytes;
}
