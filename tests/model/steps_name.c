/* steps_name - calls on names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/steps.h"

#define REAL(call, proc, path, ...)                                                                \
	({                                                                                         \
		char real_[TREE_PATH];                                                             \
		m->b->ops->call(m->b, proc, step_path(m, path, real_) __VA_OPT__(, ) __VA_ARGS__); \
	})

static int64_t time_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Whether something can be made at the place: what the kernel says. */
static int can_make(const struct place *p)
{
	const char *name;
	int rc;

	tree_parent(p->view, p->rel, &name, &rc);
	return rc ? rc : p->t ? -EEXIST : 0;
}

int step_mkdir(struct model *m, int proc, const char *path)
{
	struct place p;
	int expected;

	place_at(m, path, &p);
	expected = can_make(&p);
	if (!expected && !p.v && !strchr(p.rel, '/') && model_version(p.env, p.rel))
		expected = -EEXIST; /* in the archive */
	if (!expected)
		expected = tree_mkdir(place_tree(&p), p.rel);
	if (!expected && !p.v)
		model_draft_touched(p.env, p.rel);
	step_expect(m, "mkdir", path, REAL(mkdir, proc, path, 0755), expected);
	place_clear(&p);
	return expected;
}

int step_rmdir(struct model *m, int proc, const char *path)
{
	struct place p;
	int expected;

	place_at(m, path, &p);
	if (!p.t)
		expected = -ENOENT;
	else if (p.t->kind != TREE_DIR)
		expected = -ENOTDIR;
	else
		expected = tree_rmdir(place_tree(&p), p.rel);
	if (!expected && !p.v)
		model_draft_touched(p.env, p.rel);
	step_expect(m, "rmdir", path, REAL(rmdir, proc, path), expected);
	place_clear(&p);
	return expected;
}

int step_unlink(struct model *m, int proc, const char *path)
{
	struct place p;
	int expected = 0;

	place_at(m, path, &p);
	if (!p.t)
		expected = -ENOENT;
	else if (p.t->kind == TREE_DIR)
		expected = -EISDIR;
	else if (p.asset)
		bytes_unref(place_leave(&p));
	else
		expected = tree_unlink(place_tree(&p), p.rel);
	if (!expected && !p.v)
		model_draft_touched(p.env, p.rel);
	step_expect(m, "unlink", path, REAL(unlink, proc, path), expected);
	place_clear(&p);
	return expected;
}

int step_symlink(struct model *m, int proc, const char *target, const char *path)
{
	char real[TREE_PATH];
	struct place p;
	int expected;

	place_at(m, path, &p);
	expected = can_make(&p);
	if (!expected && p.asset)
		expected = -EPERM;
	if (!expected)
		expected = tree_symlink(place_tree(&p), target, p.rel);
	if (!expected && !p.v)
		model_draft_touched(p.env, p.rel);
	step_expect(m, "symlink", path,
		    m->b->ops->symlink(m->b, proc, target, step_path(m, path, real)), expected);
	place_clear(&p);
	return expected;
}

/* ---- rename and link ---- */

/* The bytes of from are saved as the asset file to, by a rename or a link: got is its answer. */
static void bring(struct model *m, int proc, struct place *from, struct place *to, bool link,
		  const char *what, const char *path, int got)
{
	struct bytes *bytes = bytes_ref(from->t->bytes);
	struct medit *edit;
	struct msave save;
	const char *name;
	struct tree *dir;
	int rc;

	model_save(m, to->env, to->v, to->rel, bytes, &save);
	step_expect_either(m, what, path, got, save.rc, save.lost ? -ETIMEDOUT : save.also);
	if (got) {
		/* As it was, with the bytes beside it. */
		model_refused(m, to->env, to->v, to->rel, bytes, &save, proc);
	} else {
		dir = link ? NULL : tree_parent(place_tree(from), from->rel, &name, &rc);
		if (dir)
			tree_free(tree_take(dir, name));
		tree_unlink(to->v->local, to->rel);
		model_edit_leave(to->v, to->rel);
		edit = model_edit_begin(to->v, to->rel, bytes_ref(bytes));
		model_saved(m, to->env, to->v, edit, &save, got, proc);
	}
	model_save_clear(&save);
	bytes_unref(bytes);
}

/* An asset file leaves its name for one of the local disk. */
static void take_away(struct place *from, struct place *to)
{
	struct bytes *bytes = place_leave(from);

	tree_put(place_tree(to), to->rel, bytes);
	bytes_unref(bytes);
}

/* A file has come to its place in a draft, which may publish itself now: what that should say. */
static int arrived(struct model *m, const struct place *to, struct msave *s, bool *publish)
{
	char draft[TREE_PATH];
	const char *slash = strchr(to->rel, '/');

	*publish = false;
	if (to->v || !slash)
		return 0;
	path_print(draft, "%.*s", (int)(slash - to->rel), to->rel);
	s->rc = model_draft_step(m, to->env, draft, slash + 1, publish);
	if (*publish)
		model_publish(m, to->env, draft, draft, s);
	return s->rc;
}

/* Compares the answer of the call that brought it there. */
static void came(struct model *m, int proc, const struct place *to, const char *what,
		 const char *path, int expected, int got)
{
	struct msave s = {.rc = expected};
	char draft[TREE_PATH];
	bool publish = false;

	if (!expected) {
		if (!to->v)
			model_draft_touched(to->env, to->rel);
		arrived(m, to, &s, &publish);
	}
	step_expect_either(m, what, path, got, s.rc, s.lost ? -ETIMEDOUT : s.rc);
	path_print(draft, "%.*s", (int)strcspn(to->rel, "/"), to->rel);
	if (publish)
		model_published_draft(m, to->env, draft, &s, got, proc);
	model_save_clear(&s);
}

/* What the kernel refuses by itself; 1: both are one file already. */
static int check_rename(const struct place *a, const struct place *b)
{
	const char *name;
	int rc;

	if (!a->t)
		return -ENOENT;
	tree_parent(b->view, b->rel, &name, &rc);
	if (rc || !b->t)
		return rc;
	if (a->t == b->t || (a->t->bytes && a->t->bytes == b->t->bytes))
		return 1;
	if (b->t->kind == TREE_DIR && a->t->kind != TREE_DIR)
		return -EISDIR;
	return b->t->kind != TREE_DIR && a->t->kind == TREE_DIR ? -ENOTDIR : 0;
}

int step_rename(struct model *m, int proc, const char *from, const char *to)
{
	char real[TREE_PATH], what[TREE_PATH];
	struct place a, b;
	int expected, got;

	path_print(what, "rename %s", from);
	place_at(m, from, &a);
	place_at(m, to, &b);
	expected = check_rename(&a, &b);
	if (!expected && b.asset && a.t->kind == TREE_LINK)
		expected = -EACCES; /* a definition has no links */
	got = REAL(rename, proc, from, step_path(m, to, real), 0);
	if (!expected && b.asset && a.t->kind == TREE_FILE && !a.asset) {
		bring(m, proc, &a, &b, false, what, to, got);
		expected = got;
	} else {
		if (!expected && a.asset)
			take_away(&a, &b);
		else if (!expected)
			expected = tree_rename(place_tree(&a), a.rel, place_tree(&b), b.rel);
		if (!expected && !a.v)
			model_draft_touched(a.env, a.rel);
		if (expected > 0)
			step_expect(m, what, to, got, 0);
		else
			came(m, proc, &b, what, to, expected, got);
		expected = got;
	}
	place_clear(&a);
	place_clear(&b);
	return expected;
}

static void link_local(struct place *from, struct place *to)
{
	struct tree *t, *dir;
	struct bytes *bytes;
	const char *name;
	int rc;

	dir = tree_parent(place_tree(to), to->rel, &name, &rc);
	t = tree_new(name, from->t->kind);
	t->target = from->t->target ? strdup(from->t->target) : NULL;
	bytes = from->t->bytes;
	/* Of what is only published, a copy is made. */
	if (bytes && from->asset && !model_edit(from->v, from->rel) &&
	    !tree_at(from->v->local, from->rel))
		t->bytes = bytes_new(bytes->data, bytes->len);
	else
		t->bytes = bytes ? bytes_ref(bytes) : NULL;
	tree_add(dir, t);
}

int step_link(struct model *m, int proc, const char *from, const char *to)
{
	char real[TREE_PATH], what[TREE_PATH];
	struct place a, b;
	int expected, got;

	path_print(what, "link %s", from);
	place_at(m, from, &a);
	place_at(m, to, &b);
	expected = !a.t ? -ENOENT : can_make(&b);
	if (!expected && a.t->kind == TREE_DIR)
		expected = -EPERM;
	got = REAL(link, proc, from, step_path(m, to, real));
	if (!expected && b.asset) {
		bring(m, proc, &a, &b, true, what, to, got);
		expected = got;
	} else {
		if (!expected)
			link_local(&a, &b);
		came(m, proc, &b, what, to, expected, got);
		expected = got;
	}
	place_clear(&a);
	place_clear(&b);
	return expected;
}

/* Times and modes are taken, shown, and save nothing. */
int step_attributes(struct model *m, int proc, const char *path, int64_t mtime, mode_t mode)
{
	char real[TREE_PATH];
	struct medit *edit;
	struct place p;
	struct stat st;
	int expected;

	place_at(m, path, &p);
	expected = !p.t ? -ENOENT : 0;
	if (!p.t || p.t->kind == TREE_FILE) {
		step_expect(m, "utimens", path, REAL(utimens, proc, path, mtime), expected);
		step_expect(m, "chmod", path, REAL(chmod, proc, path, mode), expected);
	}
	if (p.t && p.t->kind == TREE_FILE) {
		step_expect(m, "stat", path, REAL(stat, proc, path, &st), 0);
		if (time_of(&st) != mtime || (st.st_mode & 0777) != mode)
			model_fail(m, "%s has the time %lld and the mode %o, was given %lld and %o",
				   step_path(m, path, real), (long long)time_of(&st),
				   st.st_mode & 0777, (long long)mtime, mode);
		edit = p.asset ? model_edit(p.v, p.rel) : NULL;
		if (edit)
			edit->stamped = edit->old = false;
		if (edit)
			for (struct mversion *v = p.env->versions; v; v = v->next)
				if (v->spec_from == edit->bytes)
					v->spec_from = NULL; /* its time is its own now */
		if (p.asset)
			p.v->spec_from = NULL;
		if (!p.v)
			model_draft_touched(p.env, p.rel);
	}
	place_clear(&p);
	return expected;
}

struct looking {
	const struct model *m;
	bool found;
};

static void look_for(void *arg, const char *path, struct tree *t)
{
	struct looking *l = arg;

	(void)path;
	for (int i = 0; i < MODEL_FDS; i++)
		l->found |= l->m->fds[i].open && l->m->fds[i].wrote && t->bytes &&
			    l->m->fds[i].bytes == t->bytes;
}

/* Half of a file is no file. */
static bool is_half_written(const struct model *m, struct tree *draft)
{
	struct looking l = {.m = m};

	tree_each(draft, look_for, &l);
	return l.found;
}

int step_fsyncdir(struct model *m, int proc, const char *path)
{
	struct msave s = {0};
	struct place p;
	bool draft;
	int got = REAL(fsyncdir, proc, path);

	place_at(m, path, &p);
	draft = !p.v && !strchr(p.rel, '/') && p.rel[0] != '.' && p.t && p.t->kind == TREE_DIR &&
		tree_child(p.t, "spec.yml") && !is_half_written(m, p.t);
	if (draft)
		model_publish(m, p.env, p.rel, p.rel, &s);
	step_expect_either(m, "fsync", path, got, s.rc, s.lost ? -ETIMEDOUT : s.rc);
	if (draft)
		model_published_draft(m, p.env, p.rel, &s, got, -1);
	model_save_clear(&s);
	place_clear(&p);
	return got;
}
