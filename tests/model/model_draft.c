/* model_draft - drafts with the name of a version: when they are complete, and what they become. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/spec.h"
#include "tests/model/model.h"

/* ---- what a draft becomes ---- */

static struct bytes *text_of(struct tree *dir, const char *name)
{
	struct tree *t = tree_child(dir, name);

	return t && t->kind == TREE_FILE ? bytes_ref(t->bytes) : NULL;
}

static bool writes(const struct mfd *f, const struct bytes *bytes)
{
	return f->open && f->bytes == bytes && (f->flags & O_ACCMODE) != O_RDONLY;
}

/* Who has the file open goes on writing to it. */
static void adopt(struct model *m, struct medit *edit)
{
	for (int i = 0; i < MODEL_FDS; i++) {
		if (!writes(&m->fds[i], edit->bytes))
			continue;
		m->fds[i].counted = true;
		m->fds[i].wrote = false; /* that is in the version */
		edit->writers++;
	}
}

/* For whoever published it the file goes on being what it was. */
static void go_on_showing(struct model *m, struct mversion *v, const char *rel, struct bytes *text,
			  int proc)
{
	if (text && proc >= 0) {
		model_echo(m, v, rel, bytes_ref(text), proc);
		adopt(m, model_edit(v, rel));
	}
	if (text)
		model_keep(v, rel, text, false);
	bytes_unref(text);
}

/* Takes out of a draft what is in the version made of it, and directories that are empty then. */
static bool clear_dir(struct tree *dir, struct tree *published)
{
	for (struct tree *t = dir->first, *next; t; t = next) {
		struct tree *twin = published ? tree_child(published, t->name) : NULL;

		next = t->next;
		if (t->kind == TREE_DIR ? clear_dir(t, twin) : twin && twin->kind != TREE_DIR)
			tree_free(tree_take(dir, t->name));
	}
	return !dir->first;
}

/* What is left belongs to the version; under the name of a file of it, as refused bytes. */
static void move_leftovers(struct mversion *v, struct tree *dir)
{
	char name[TREE_PATH];

	for (struct tree *t = dir->first, *next; t; t = next) {
		next = t->next;
		path_print(name, "%s%s", t->name, model_is_asset(t->name) ? ".rejected" : "");
		tree_rename(dir, t->name, v->local, name);
	}
}

static int publish_errno(const struct model *m, bool context)
{
	switch (m->fault) {
	case FAULT_DOWN:
		return -EHOSTUNREACH;
	case FAULT_DENIED:
		return -EACCES;
	case FAULT_BUSY:
		return -EBUSY;
	case FAULT_PUT:
		return -EIO;
	case FAULT_UPLOAD:
		return context ? -EIO : 0;
	case FAULT_LOOK:
		return -ETIMEDOUT;
	default:
		return 0;
	}
}

void model_publish(struct model *m, struct menv *env, const char *draft, const char *version,
		   struct msave *out)
{
	struct tree *dir = tree_child(env->top, draft);

	*out = (struct msave){.what = SAVE_NEW, .lost = m->fault == FAULT_LOST};
	if (!dir)
		out->rc = -ENOENT;
	else if (dir->kind != TREE_DIR)
		out->rc = -EROFS;
	else if (spec_check_name("version", version, NULL))
		out->rc = -EBADMSG;
	else if (model_version(env, version))
		out->rc = -EEXIST;
	else
		out->rc = model_read(dir, env->name, version, &out->v, &out->context);
	if (!out->rc)
		out->rc = publish_errno(m, out->context != NULL);
	out->lost = out->lost && !out->rc;
}

static struct mversion *made_of(struct model *m, struct menv *env, const struct msave *s)
{
	struct tree *context = NULL;

	if (s->context) {
		context = tree_new("context", TREE_DIR);
		tree_overlay(context, s->context);
	}
	m->expected.puts++;
	return model_add(m, env, version_ref(s->v), context);
}

void model_published_draft(struct model *m, struct menv *env, const char *draft,
			   const struct msave *s, int got, int proc)
{
	struct tree *dir = tree_child(env->top, draft), *files;
	struct bytes *spec, *conda;
	struct mversion *made;

	if (dir)
		dir->waiting = false;
	if (got && !s->lost)
		return;
	made = made_of(m, env, s);
	if (got)
		return; /* its answer was lost, and the draft stays */
	spec = text_of(dir, "spec.yml");
	conda = s->v->conda ? text_of(dir, "conda.yml") : NULL;
	files = model_published(made);
	made->noted = made->glowing = true;
	if (clear_dir(dir, files) || draft[0] != '.') {
		move_leftovers(made, dir);
		tree_free(tree_take(env->top, draft));
	}
	tree_free(files);
	go_on_showing(m, made, "spec.yml", spec, proc);
	go_on_showing(m, made, "conda.yml", conda, proc);
}

/* ---- when it is complete ---- */

static const char *conda_of(const struct spec *spec)
{
	return spec->conda_path ? spec->conda_path : "";
}

/* Whether somebody is writing to it, or about to. */
static bool is_in_the_making(const struct model *m, const struct tree *t)
{
	for (int i = 0; t && i < MODEL_FDS; i++)
		if (writes(&m->fds[i], t->bytes) && (m->fds[i].wrote || !t->bytes->len))
			return true;
	return false;
}

int model_draft_step(struct model *m, struct menv *env, const char *draft, const char *rel,
		     bool *publish)
{
	struct tree *dir = tree_child(env->top, draft), *t = tree_child(dir, "spec.yml"), *conda;
	bool is_spec = strcmp(rel, "spec.yml") == 0;
	struct spec *spec;
	int rc;

	*publish = false;
	if (draft[0] == '.' || !t || t->kind != TREE_FILE)
		return 0;
	rc = spec_parse(t->bytes->data, t->bytes->len, &spec, NULL);
	if (rc)
		return is_spec ? rc : 0;
	conda = tree_child(dir, conda_of(spec));
	*publish = (!spec->build_path || spec->build_is_url) &&
		   (is_spec || strcmp(rel, conda_of(spec)) == 0) && (!spec->conda_path || conda) &&
		   !is_in_the_making(m, is_spec ? conda : t);
	spec_free(spec);
	return 0;
}

struct finding {
	const struct bytes *bytes;
	char *rel;
	bool found;
};

static void look_for(void *arg, const char *path, struct tree *t)
{
	struct finding *f = arg;

	if (f->found || t->bytes != f->bytes)
		return;
	path_print(f->rel, "%s", path);
	f->found = true;
}

bool model_draft_of(struct model *m, const struct bytes *bytes, struct draft_place *out)
{
	struct finding f = {.bytes = bytes, .rel = out->rel};

	for (size_t i = 0; i < MODEL_ENVS; i++) {
		out->env = &m->envs[i];
		for (struct tree *t = out->env->top->first; t; t = t->next) {
			if (t->kind != TREE_DIR || t->name[0] == '.')
				continue;
			snprintf(out->draft, sizeof(out->draft), "%s", t->name);
			tree_each(t, look_for, &f);
			if (f.found)
				return true;
		}
	}
	return false;
}

void model_draft_touched(struct menv *env, const char *rel)
{
	char name[TREE_PATH];
	struct tree *dir;

	path_print(name, "%.*s", (int)strcspn(rel, "/"), rel);
	dir = tree_child(env->top, name);
	if (dir && dir->kind == TREE_DIR && name[0] != '.')
		dir->waiting = true;
}

static bool has_folder(struct tree *dir)
{
	struct tree *t = tree_child(dir, "spec.yml");
	struct spec *spec;
	bool has;

	if (!t || t->kind != TREE_FILE || spec_parse(t->bytes->data, t->bytes->len, &spec, NULL))
		return false;
	has = spec->build_path && !spec->build_is_url;
	spec_free(spec);
	return has;
}

void model_draft_flush(struct model *m, bool publish)
{
	for (size_t i = 0; i < MODEL_ENVS; i++) {
		struct menv *env = &m->envs[i];

		for (struct tree *t = env->top->first, *next; t; t = next) {
			char name[TREE_NAME];
			struct msave s;

			next = t->next;
			snprintf(name, sizeof(name), "%s", t->name);
			if (!publish || !t->waiting || !has_folder(t)) {
				t->waiting = false;
				continue;
			}
			model_publish(m, env, name, name, &s);
			model_published_draft(m, env, name, &s, s.rc, -1);
			model_save_clear(&s);
		}
	}
}
