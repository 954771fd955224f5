/* steps_close - what saves: closing files, one way or another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/steps.h"

/* ---- fsync and close ---- */

/*
 * The edit that the close of a descriptor saves; NULL: none. What others are writing is theirs to
 * save; what was written by it is saved again when somebody else did so before.
 */
static struct medit *saves(struct model *m, const struct mfd *f, struct menv **env,
			   struct mversion **v)
{
	struct medit *edit = model_edit_of(m, f->bytes, env, v);

	if (!edit || !step_for_writing(f->flags))
		return NULL;
	return f->wrote || (edit->dirty && edit->writers <= 1) ? edit : NULL;
}

/*
 * What is told when a file is only checked: that it is not valid, as the save will tell. What takes
 * a request to find out may be told, too.
 */
static int checked(struct model *m, const struct mfd *f, const char *what, int got)
{
	struct mversion *v;
	struct menv *env;
	const struct medit *edit = model_edit_of(m, f->bytes, &env, &v);
	struct msave save = {0};

	if (edit && edit->dirty && step_for_writing(f->flags))
		model_save(m, env, v, edit->rel, edit->bytes, &save);
	step_expect_either(m, what, edit ? edit->rel : "", got, save.rc,
			   save.rc == -EBADMSG ? save.rc : 0);
	model_save_clear(&save);
	return got;
}

/* In a draft that publishes itself, a spec.yml is checked by itself. */
static int check_in_draft(struct model *m, const struct mfd *f)
{
	struct draft_place at;
	bool publish;

	if (!step_for_writing(f->flags) || !model_draft_of(m, f->bytes, &at) ||
	    strcmp(at.rel, "spec.yml") != 0)
		return 0;
	return model_draft_step(m, at.env, at.draft, at.rel, &publish);
}

int step_fsync(struct model *m, int fd)
{
	int in_draft = check_in_draft(m, &m->fds[fd]);

	if (in_draft) {
		step_expect(m, "fsync", "spec.yml", m->b->ops->fsync(m->b, m->fds[fd].fd),
			    in_draft);
		return in_draft;
	}
	return checked(m, &m->fds[fd], "fsync", m->b->ops->fsync(m->b, m->fds[fd].fd));
}

/* Half of a file: put aside, and published by nobody. */
static void left_behind(struct model *m, struct menv *env, struct mversion *v, struct medit *edit,
			int proc)
{
	struct msave none = {0};

	model_refused(m, env, v, edit->rel, edit->bytes, &none, proc);
	model_edit_drop(v, edit->rel);
}

static void saved_unheard(struct model *m, struct menv *env, struct mversion *v, struct medit *edit,
			  int proc)
{
	struct msave save;

	model_save(m, env, v, edit->rel, edit->bytes, &save);
	model_saved(m, env, v, edit, &save, save.rc, proc);
	model_save_clear(&save);
}

/* The close of a file in a draft that publishes itself said got. False: it is none. */
static bool closed_in_draft(struct model *m, struct mfd *f, int got, bool heard)
{
	struct draft_place at;
	struct msave s = {0};
	bool publish;

	if (!f->wrote || !model_draft_of(m, f->bytes, &at))
		return false;
	f->wrote = false; /* its close sees all of it */
	s.rc = model_draft_step(m, at.env, at.draft, at.rel, &publish);
	if (publish)
		model_publish(m, at.env, at.draft, at.draft, &s);
	if (heard)
		step_expect_either(m, "close", at.rel, got, s.rc, s.lost ? -ETIMEDOUT : s.rc);
	if (publish)
		model_published_draft(m, at.env, at.draft, &s, heard ? got : s.rc, f->proc);
	model_save_clear(&s);
	return true;
}

/* The last close(2) was before; nobody hears what this comes to. */
static void released(struct model *m, struct mfd *f)
{
	struct mversion *v;
	struct menv *env;
	struct medit *edit;

	closed_in_draft(m, f, 0, false);
	edit = model_edit_of(m, f->bytes, &env, &v);
	if (edit && step_for_writing(f->flags)) {
		edit->writers -= f->counted;
		edit->old = false;
		if (!edit->writers && edit->dirty && edit->killed) {
			left_behind(m, env, v, edit, f->proc);
		} else if (!edit->writers && edit->dirty) {
			saved_unheard(m, env, v, edit, f->proc);
		} else if (!edit->writers && edit->fresh && !edit->attempted) {
			/* Made and left empty: a file all the same. */
			tree_put(v->local, edit->rel, edit->bytes);
			model_edit_drop(v, edit->rel);
		}
	}
	bytes_unref(f->bytes);
	*f = (struct mfd){0};
}

/* The close of a descriptor said got: what became of the file. */
static void closed(struct model *m, struct mfd *f, int got)
{
	struct mversion *v;
	struct menv *env;
	struct medit *edit = saves(m, f, &env, &v);
	struct msave save = {0};

	if (closed_in_draft(m, f, got, true))
		return;
	if (edit) {
		edit->killed = false;
		model_save(m, env, v, edit->rel, edit->bytes, &save);
	}
	step_expect_either(m, "close", edit ? edit->rel : "", got, save.rc,
			   save.lost ? -ETIMEDOUT : save.also);
	if (edit)
		model_saved(m, env, v, edit, &save, got, f->proc);
	model_save_clear(&save);
	f->wrote = false;
}

int step_close(struct model *m, int fd, enum step_close how)
{
	const struct backend_ops *ops = m->b->ops;
	struct mfd *f = &m->fds[fd];
	int got = how == CLOSE_THREAD ? ops->close_in_thread(m->b, f->fd) : ops->close(m->b, f->fd);

	closed(m, f, got);
	released(m, f);
	return got;
}

void step_child(struct model *m, int fd)
{
	struct mfd *f = &m->fds[fd];
	int got = m->b->ops->close_in_child(m->b, f->fd);
	struct mversion *v;
	struct menv *env;

	if (saves(m, f, &env, &v))
		checked(m, f, "close by a child", got);
	else
		step_expect(m, "close by a child", "", got, f->wrote ? check_in_draft(m, f) : 0);
}

int step_close_mapped(struct model *m, int fd, const void *data, size_t len)
{
	struct mfd *f = &m->fds[fd];
	int got;

	/* A mapping reaches as far as the file. */
	if (len > f->bytes->len)
		len = f->bytes->len;
	got = m->b->ops->close_then_write_mapped(m->b, f->fd, data, len);
	closed(m, f, got);
	bytes_write(f->bytes, data, len, 0);
	f->wrote = len;
	if (len)
		step_wrote(m, f->bytes);
	released(m, f);
	return got;
}

/* ---- the end of a process ---- */

static void killed(struct model *m, struct mfd *f)
{
	struct draft_place at;
	struct mversion *v;
	struct menv *env;
	struct medit *edit = saves(m, f, &env, &v);

	if (edit)
		edit->killed = true;
	if (f->wrote && model_draft_of(m, f->bytes, &at))
		tree_child(at.env->top, at.draft)->waiting = f->wrote = false;
	released(m, f);
}

static void exited(struct model *m, struct mfd *f)
{
	struct mversion *v;
	struct menv *env;
	struct medit *edit = saves(m, f, &env, &v);

	if (edit)
		saved_unheard(m, env, v, edit, f->proc);
	f->wrote = f->wrote && !closed_in_draft(m, f, 0, false);
	released(m, f);
}

void step_end(struct model *m, int proc, enum proc_end how)
{
	if (m->fault == FAULT_LOST)
		step_fault(m, FAULT_NONE); /* nobody would hear what became of it */
	m->b->ops->end(m->b, proc, how);
	for (int i = 0; i < MODEL_FDS; i++) {
		if (!m->fds[i].open || m->fds[i].proc != proc)
			continue;
		if (how == PROC_KILLED)
			killed(m, &m->fds[i]);
		else
			exited(m, &m->fds[i]);
	}
	m->generations[proc]++;
	model_sweep(m);
}

/* ---- the end of the file system ---- */

/* What was not saved lies beside the published file at the next mount, under a name that is free.
 */
static void put_aside(struct mversion *v, const struct medit *e)
{
	struct bytes *copy = bytes_new(e->bytes->data, e->bytes->len);
	char name[TREE_PATH];

	path_print(name, "%s.rejected", e->rel);
	for (int i = 1; tree_at(v->local, name); i++)
		path_print(name, "%s.rejected.%d", e->rel, i);
	tree_put(v->local, name, copy);
	bytes_unref(copy);
	v->refused = true;
	v->noted = false;
}

void step_lose_files(struct model *m)
{
	for (size_t i = 0; i < MODEL_ENVS; i++)
		FOR_EACH_DIR(&m->envs[i], v)
	for (const struct medit *e = v->edits; e; e = e->next)
		if (e->dirty)
			put_aside(v, e);
	for (int i = 0; i < MODEL_FDS; i++)
		if (m->fds[i].open) {
			bytes_unref(m->fds[i].bytes);
			m->fds[i] = (struct mfd){0};
		}
}
