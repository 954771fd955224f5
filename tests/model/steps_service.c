/* steps_service - what changes versions: publications of drafts, tags, removals, other people. */
#include "tests/model/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "fs/spec.h"

enum { TAGS = 32, NAMES = 64 };

/* What a fault makes of a change. */
static int change_errno(const struct model *m)
{
	switch (m->fault) {
	case FAULT_DOWN:
		return -EHOSTUNREACH;
	case FAULT_DENIED:
		return -EACCES;
	case FAULT_BUSY:
		return -EBUSY;
	default:
		return 0;
	}
}

/* What it makes of a publication; 1 for one that is made, with its answer lost. */
static int publish_errno(const struct model *m, bool context)
{
	switch (m->fault) {
	case FAULT_PUT:
		return -EIO;
	case FAULT_UPLOAD:
		return context ? -EIO : 0;
	case FAULT_LOOK:
		return -ETIMEDOUT;
	case FAULT_LOST:
		return 1;
	default:
		return change_errno(m);
	}
}

/* ---- publishing ---- */

/* Takes out of a draft what is in the version made of it, and directories that are empty then. */
static bool clear_dir(struct tree *dir, const struct tree *published)
{
	for (struct tree *t = dir->first, *next; t; t = next) {
		const struct tree *twin = NULL;

		next = t->next;
		for (const struct tree *p = published ? published->first : NULL; p; p = p->next)
			if (strcmp(p->name, t->name) == 0)
				twin = p;
		if (t->kind == TREE_DIR ? clear_dir(t, twin) : twin && twin->kind == TREE_FILE)
			tree_free(tree_take(dir, t->name));
	}
	return !dir->first;
}

/* The files that a version is made of, and those derived from it, as a draft has them. */
static void clear_draft(struct menv *env, const char *draft, const struct version *v,
			const struct tree *context)
{
	static const char *const names[] = {"spec.yml", "Dockerfile", "build.log", "conda.yml"};
	struct tree *dir = tree_child(env->top, draft), *published = tree_new("", TREE_DIR);
	struct bytes *none = bytes_new("", 0);
	struct mversion like = {.v = (struct version *)v, .context = (struct tree *)context};
	struct tree *files = model_files(&like);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (v->conda || strcmp(names[i], "conda.yml") != 0)
			tree_put(files, names[i], none);
	if (clear_dir(dir, files))
		tree_free(tree_take(env->top, draft));
	tree_free(files);
	tree_free(published);
	bytes_unref(none);
}

/* What mv says, and whether the version is made; *v and *context are what is to be. */
static int predict(struct model *m, struct menv *env, const char *draft, const char *version,
		   struct version **v, struct tree **context)
{
	struct tree *dir = tree_child(env->top, draft);
	int rc;

	if (!dir)
		return -ENOENT;
	if (dir->kind != TREE_DIR)
		return -EROFS;
	if (spec_check_name("version", version, NULL))
		return -EBADMSG;
	if (model_version(env, version))
		return -EEXIST;
	rc = model_read(dir, env->name, version, v, context);
	return rc ? rc : publish_errno(m, *context != NULL);
}

static struct bytes *text_of(struct menv *env, const char *draft, const char *name)
{
	struct tree *t = tree_child(tree_child(env->top, draft), name);

	return t && t->kind == TREE_FILE ? bytes_new(t->bytes->data, t->bytes->len) : NULL;
}

/* For whoever published it the file goes on being what it was. */
static void go_on_showing(struct model *m, struct mversion *v, const char *rel,
			  const struct bytes *text, int proc)
{
	if (!text)
		return;
	model_keep(v, rel, text, false);
	model_echo(m, v, rel, text, proc);
}

void step_publish(struct model *m, int proc, struct menv *env, const char *draft,
		  const char *version)
{
	char from[TREE_PATH], to[TREE_PATH], a[TREE_PATH], b[TREE_PATH];
	struct mversion *made;
	struct bytes *spec, *conda;
	struct version *v = NULL;
	struct tree *context = NULL;
	const struct mversion *shown = model_version(env, version);
	int expected = predict(m, env, draft, version, &v, &context), got;

	path_print(from, "%s/%s", env->name, draft);
	path_print(to, "%s/%s", env->name, version);
	got = m->b->ops->rename(m->b, proc, step_path(m, from, a), step_path(m, to, b), 0);
	if (shown && model_shows(env, shown, false) && got == -ENOTEMPTY)
		got = -EEXIST; /* the kernel may ask first whether the directory is empty */
	if (expected == 1) {
		/* Looked up: it is there. */
		expected = got == 0 ? 0 : -ETIMEDOUT;
		m->expected.puts++;
		if (got)
			model_add(m, env, version_ref(v), context ? context : NULL);
	} else if (!expected) {
		m->expected.puts++;
	}
	step_expect(m, "publish", to, got, expected);
	if (!expected) {
		spec = text_of(env, draft, "spec.yml");
		conda = text_of(env, draft, "conda.yml");
		clear_draft(env, draft, v, context);
		made = model_add(m, env, v, context);
		made->noted = made->glowing = true;
		go_on_showing(m, made, "spec.yml", spec, proc);
		go_on_showing(m, made, "conda.yml", v->conda ? conda : NULL, proc);
		bytes_unref(spec);
		bytes_unref(conda);
		return;
	}
	version_unref(v);
	if (expected != -ETIMEDOUT)
		tree_free(context);
}

/* ---- tags ---- */

static int change_tag(struct kv *tags, size_t *n, const char *key, const char *value)
{
	size_t i = 0;

	while (i < *n && strcmp(tags[i].key, key) != 0)
		i++;
	if (!value) {
		if (i == *n)
			return -ENODATA;
		memmove(&tags[i], &tags[i + 1], (--*n - i) * sizeof(*tags));
		return 0;
	}
	if (i == *n)
		++*n;
	tags[i] = (struct kv){key, value};
	return 0;
}

/* The record with the change in it; NULL with *rc set. */
static struct version *changed(const struct version *v, const char *key, const char *value, int *rc)
{
	struct version fields = *v;
	struct kv tags[TAGS];

	for (size_t i = 0; i < v->n_tags && i < TAGS - 1; i++)
		tags[i] = v->tags[i];
	fields.tags = tags;
	*rc = 0;
	if (key)
		*rc = change_tag(tags, &fields.n_tags, key, value);
	else if (!value && !v->description)
		*rc = -ENODATA;
	else
		fields.description = value;
	return *rc ? NULL : version_new(&fields);
}

static void adopt(struct mversion *v, struct version *now)
{
	version_unref(v->v);
	v->v = now;
}

void step_tag(struct model *m, int proc, struct menv *env, struct mversion *v, const char *key,
	      const char *value)
{
	char path[TREE_PATH], real[TREE_PATH], name[TREE_NAME];
	struct version *now;
	int expected, got;

	path_print(path, "%s/%s", env->name, v->name);
	snprintf(name, sizeof(name), "%s%s", key ? "user.tag." : "user.description",
		 key ? key : "");
	step_path(m, path, real);
	now = changed(v->v, key, value, &expected);
	if (change_errno(m) && (key || !expected))
		expected = change_errno(m);
	got = value ? m->b->ops->setxattr(m->b, proc, real, name, value, strlen(value), 0)
		    : m->b->ops->removexattr(m->b, proc, real, name);
	step_expect(m, name, path, got, expected);
	if (expected) {
		version_unref(now);
		return;
	}
	m->expected.updates += !version_same_content(now, v->v);
	adopt(v, now);
}

/* ---- removing ---- */

struct names {
	char names[NAMES][TREE_NAME];
	size_t n;
};

static void note_name(void *arg, const char *name)
{
	struct names *all = arg;

	if (all->n < NAMES)
		snprintf(all->names[all->n++], TREE_NAME, "%s", name);
}

/* rm -r: what is in a directory, then itself; the last rmdir's answer. Others must succeed. */
static int rm_recursive(struct model *m, int proc, const char *path)
{
	_cleanup_free_ struct names *all = calloc(1, sizeof(*all));
	char below[TREE_PATH];
	struct stat st;

	if (!all)
		return -ENOMEM;
	step_expect(m, "list", path, m->b->ops->list(m->b, proc, path, note_name, all), 0);
	for (size_t i = 0; i < all->n && !model_failed(m); i++) {
		path_print(below, "%s/%s", path, all->names[i]);
		step_expect(m, "stat", below, m->b->ops->stat(m->b, proc, below, &st), 0);
		if (S_ISDIR(st.st_mode))
			step_expect(m, "rm -r", below, rm_recursive(m, proc, below), 0);
		else
			step_expect(m, "unlink", below, m->b->ops->unlink(m->b, proc, below), 0);
	}
	return m->b->ops->rmdir(m->b, proc, path);
}

/* What only the unlinks hid is back, and a dangling `latest` gone. */
static void let_pass(struct model *m)
{
	if (!m->b->ops->pass(m->b))
		model_pass(m);
}

/* What rm -r saw of the scratch in a version's directory is gone with it. */
static void clear_seen(struct tree *scratch, struct tree *view)
{
	for (struct tree *c = scratch->first, *next; c; c = next) {
		struct tree *seen = tree_child(view, c->name);

		next = c->next;
		if (!seen)
			continue;
		if (c->kind == TREE_DIR)
			clear_seen(c, seen);
		if (!c->first)
			tree_free(tree_take(scratch, c->name));
	}
}

static void clear_beside(struct menv *env, struct mversion *v)
{
	struct tree *view = model_view(env, v);

	clear_seen(env->scratch, view);
	tree_free(view);
	tree_free(v->local);
	v->local = tree_new("", TREE_DIR);
	while (v->edits)
		model_edit_drop(v, v->edits->rel);
}

void step_rm_version(struct model *m, int proc, struct menv *env, struct mversion *v)
{
	char path[TREE_PATH], real[TREE_PATH];
	int expected = change_errno(m);

	path_print(path, "%s/%s", env->name, v->name);
	model_sweep(m);
	clear_beside(env, v);
	step_expect(m, "rm -r", path, rm_recursive(m, proc, step_path(m, path, real)), expected);
	if (expected) {
		let_pass(m);
		return;
	}
	v->archived = true;
	m->expected.updates++;
	if (!model_latest(env))
		let_pass(m);
}

void step_restore_version(struct model *m, int proc, struct menv *env, struct mversion *v)
{
	char from[TREE_PATH], to[TREE_PATH], a[TREE_PATH], b[TREE_PATH];
	int expected = change_errno(m), got;

	path_print(from, ".archived/%s/%s", env->name, v->name);
	path_print(to, "%s/%s", env->name, v->name);
	got = m->b->ops->rename(m->b, proc, step_path(m, from, a), step_path(m, to, b), 0);
	step_expect(m, "mv", from, got, expected);
	if (expected)
		return;
	v->archived = false;
	m->expected.updates++;
}

void step_purge_version(struct model *m, int proc, struct menv *env, struct mversion *v)
{
	char path[TREE_PATH], real[TREE_PATH];
	int expected = change_errno(m);

	path_print(path, ".archived/%s/%s", env->name, v->name);
	step_expect(m, "rm -r", path, rm_recursive(m, proc, step_path(m, path, real)), expected);
	let_pass(m);
	if (expected)
		return;
	model_remove(env, v->name);
	m->expected.deletes++;
}

void step_rm_env(struct model *m, int proc, struct menv *env)
{
	struct service_counts counts;
	char real[TREE_PATH];

	if (m->fault != FAULT_NONE)
		return; /* how far it gets is its own matter */
	step_expect(m, "rm -r", env->name, rm_recursive(m, proc, step_path(m, env->name, real)), 0);
	let_pass(m);
	for (struct mversion *v = env->versions; v; v = v->next)
		if (model_shows(env, v, false))
			clear_beside(env, v);
	tree_free(env->top);
	env->top = tree_new("", TREE_DIR);
	env->local = false;
	env->archived = env->there;
	if (m->b->ops->counts(m->b, &counts))
		m->expected.updates = counts.updates; /* there and back */
}

void step_restore_env(struct model *m, int proc, struct menv *env)
{
	char from[TREE_PATH], a[TREE_PATH], b[TREE_PATH];
	int expected = change_errno(m), got;

	path_print(from, ".archived/%s", env->name);
	got = m->b->ops->rename(m->b, proc, step_path(m, from, a), step_path(m, env->name, b), 0);
	step_expect(m, "mv", from, got, expected);
	if (expected)
		return;
	env->archived = false;
	m->expected.updates++;
}

/* ---- the others ---- */

void step_others_put(struct model *m, struct menv *env, int image)
{
	char name[VERSION_NAME], text[64];
	const struct version fields = {.env = env->name, .version = name, .image = text};
	struct version *v;

	snprintf(name, sizeof(name), "%ld", model_next(env, true));
	snprintf(text, sizeof(text), "base:%d", image);
	v = version_new(&fields);
	if (!v)
		return;
	m->b->ops->fault(m->b, FAULT_NONE); /* theirs is another connection */
	m->b->ops->put(m->b, v, NULL);
	m->b->ops->fault(m->b, m->fault);
	m->b->ops->expire(m->b);
	model_add(m, env, v, NULL);
}

void step_others_tag(struct model *m, struct menv *env, struct mversion *v, const char *key,
		     const char *value)
{
	struct version *now;
	int rc;

	now = changed(v->v, key, value, &rc);
	if (rc)
		return;
	m->b->ops->fault(m->b, FAULT_NONE);
	m->b->ops->tag(m->b, env->name, v->name, key, value);
	m->b->ops->fault(m->b, m->fault);
	m->b->ops->expire(m->b);
	adopt(v, now);
}

void step_fault(struct model *m, enum service_fault fault)
{
	m->fault = m->b->ops->fault(m->b, fault);
}

/* What is on show, hidden or expected to come goes with the mount; it was all saved or refused. */
void step_remount(struct model *m, bool crash)
{
	step_fault(m, FAULT_NONE);
	if (m->b->ops->remount(m->b, crash) == -ENOSYS)
		return;
	for (int proc = 1; proc < BACKEND_PROCS; proc++)
		m->generations[proc]++;
	model_pass(m);
	for (size_t i = 0; i < MODEL_ENVS; i++)
		for (struct mversion *v = m->envs[i].versions; v; v = v->next)
			while (v->edits)
				model_edit_drop(v, v->edits->rel);
}
