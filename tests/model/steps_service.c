/* steps_service - what changes versions: publications of drafts, tags, removals, other people. */
#include "tests/model/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"

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

/* ---- publishing ---- */

void step_publish(struct model *m, int proc, struct menv *env, const char *draft,
		  const char *version)
{
	char from[TREE_PATH], to[TREE_PATH], a[TREE_PATH], b[TREE_PATH];
	const struct mversion *shown = model_version(env, version);
	struct msave s;
	int got;

	path_print(from, "%s/%s", env->name, draft);
	path_print(to, "%s/%s", env->name, version);
	model_publish(m, env, draft, version, &s);
	got = m->b->ops->rename(m->b, proc, step_path(m, from, a), step_path(m, to, b), 0);
	if (shown && model_shows(env, shown, false) && got == -ENOTEMPTY)
		got = -EEXIST; /* the kernel may ask first whether the directory is empty */
	step_expect_either(m, "publish", to, got, s.rc, s.lost ? -ETIMEDOUT : s.rc);
	model_published_draft(m, env, draft, &s, got, proc);
	model_save_clear(&s);
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
		model_edit_leave(v, v->edits->rel);
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
	tree_free(v->gone);
	v->gone = tree_new("", TREE_DIR);
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
	for (struct mversion *v = env->versions; v; v = v->next)
		if (model_shows(env, v, false))
			clear_beside(env, v);
	clear_beside(env, &env->self);
	let_pass(m);
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
	if (m->b->patience_ms)
		return; /* it is somebody else's mount */
	if (crash)
		step_lose_files(m);
	for (int i = 0; i < MODEL_FDS; i++)
		if (m->fds[i].open)
			step_close(m, i, CLOSE_OWN);
	m->b->ops->remount(m->b, crash);
	for (int proc = 1; proc < BACKEND_PROCS; proc++)
		m->generations[proc]++;
	model_draft_flush(m, !crash);
	model_pass(m);
	for (size_t i = 0; i < MODEL_ENVS; i++)
		FOR_EACH_DIR(&m->envs[i], v)
	while (v->edits)
		model_edit_drop(v, v->edits->rel);
}
