/* model_save - what a save comes to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/spec.h"
#include "tests/model/model.h"

enum { TEXT_MAX = 1 << 20 };

static int check_spec(const char *env, const struct bytes *bytes)
{
	struct spec *spec;
	int rc = spec_parse(bytes->data, bytes->len, &spec, NULL);

	if (rc)
		return rc;
	if (spec->name && strcmp(spec->name, env) != 0)
		rc = -EBADMSG;
	if (spec->build_path && !spec->build_is_url && strcmp(spec->build_path, "context") != 0)
		rc = -EBADMSG;
	spec_free(spec);
	return rc;
}

/* ---- what the directory says then ---- */

/* The version that the directory's files were published as; NULL: it is gone, or there is none. */
static struct mversion *base_of(struct menv *env, struct mversion *v)
{
	return v->base[0] ? model_version(env, v->base) : v->v ? v : NULL;
}

static void put_edits(struct tree *stage, struct mversion *v)
{
	for (struct medit *e = v->edits; e; e = e->next)
		if (e->saved && !e->cut && !e->dirty)
			tree_put(stage, e->rel, e->bytes);
}

struct taking {
	struct tree *from;
};

static void take_out(void *arg, const char *path, struct tree *t)
{
	const struct taking *k = arg;
	const char *name;
	struct tree *dir;
	int rc;

	(void)t;
	if (strncmp(path, "context/", 8) != 0)
		return;
	dir = tree_parent(k->from, path, &name, &rc);
	if (dir)
		tree_free(tree_take(dir, name));
}

static void put_aside(void *arg, const char *path, struct tree *t)
{
	if (t->kind == TREE_FILE && model_is_asset(path))
		tree_put(arg, path, t->bytes);
}

/* The bytes that are saved; other files as they were saved before, else as the base has them. */
static struct tree *stage_of(struct mversion *v, struct mversion *base, const char *rel,
			     struct bytes *bytes)
{
	struct tree *stage = base ? model_files(base) : tree_new("", TREE_DIR);
	struct taking k = {stage};

	tree_each(v->gone, take_out, &k);
	tree_each(v->local, put_aside, stage);
	put_edits(stage, v);
	tree_put(stage, rel, bytes);
	return stage;
}

static struct spec *spec_of(struct tree *stage)
{
	struct tree *t = tree_child(stage, "spec.yml");
	struct spec *spec = NULL;

	if (!t || spec_parse(t->bytes->data, t->bytes->len, &spec, NULL))
		return NULL;
	return spec;
}

static bool is_part(const struct spec *spec, const char *rel)
{
	if (strcmp(rel, "spec.yml") == 0)
		return true;
	if (strcmp(rel, "conda.yml") == 0)
		return spec->conda_path && strcmp(spec->conda_path, rel) == 0;
	return spec->build_path && !spec->build_is_url;
}

static bool same_definition(const struct version *a, const struct version *b)
{
	struct version fields = *a, *like;
	bool same;

	fields.tags = b->tags;
	fields.n_tags = b->n_tags;
	fields.description = b->description;
	like = version_new(&fields);
	same = like && version_same_content(like, b);
	version_unref(like);
	return same;
}

/* ---- the decision ---- */

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

static void publish_fault(const struct model *m, struct msave *s, bool uploads)
{
	switch (m->fault) {
	case FAULT_PUT:
		s->rc = -EIO;
		break;
	case FAULT_UPLOAD:
		s->rc = uploads ? -EIO : 0;
		break;
	case FAULT_LOOK:
		s->rc = -ETIMEDOUT;
		break;
	case FAULT_LOST:
		s->lost = true;
		break;
	default:
		s->rc = change_errno(m);
		break;
	}
}

/* Its number: the one that is asked for, else the next. What stood there before asks for nothing.
 */
static void choose_name(struct menv *env, struct mversion *v, struct mversion *base,
			const struct spec *spec, char name[VERSION_NAME], bool *wanted)
{
	const char *said = spec->version;
	const struct medit *before = model_edit(v, "spec.yml");

	*wanted = said && strcmp(said, v->name) != 0 && !(base && strcmp(said, base->name) == 0) &&
		  !(before && strcmp(said, before->said) == 0);
	if (*wanted)
		snprintf(name, VERSION_NAME, "%s", said);
	else
		snprintf(name, VERSION_NAME, "%ld", model_next(env, false));
}

static struct version *renamed(const struct version *v, const char *name)
{
	struct version fields = *v, *new;

	fields.version = name;
	new = version_new(&fields);
	if (!new)
		exit(1);
	return new;
}

/* That the name is taken is known, or asked for first. */
static void refuse_taken(const struct model *m, struct msave *s)
{
	s->rc = -EEXIST;
	if (m->fault == FAULT_LOOK)
		s->also = -ETIMEDOUT;
	else if (m->fault == FAULT_DOWN)
		s->also = -EHOSTUNREACH;
}

static void decide(struct model *m, struct menv *env, struct mversion *v, struct mversion *base,
		   const struct spec *spec, struct msave *s)
{
	const struct mversion *taken;
	char name[VERSION_NAME];
	struct version *record = s->v;
	bool wanted, same = base && same_definition(record, base->v);

	choose_name(env, v, base, spec, name, &wanted);
	if (same && !wanted) {
		s->what = version_same_content(record, base->v) ? SAVE_NOTHING : SAVE_UPDATED;
		s->rc = s->what == SAVE_UPDATED ? change_errno(m) : 0;
		s->v = renamed(record, base->name);
		version_unref(record);
		return;
	}
	s->what = SAVE_NEW;
	s->v = renamed(record, name);
	version_unref(record);
	taken = wanted ? model_version(env, name) : NULL;
	if (taken && version_same_content(taken->v, s->v))
		s->what = SAVE_NOTHING; /* it is there, as it is wanted */
	else if (taken)
		refuse_taken(m, s);
	else
		publish_fault(m, s,
			      s->v->context_uri &&
				      (!base->v->context_uri ||
				       strcmp(s->v->context_uri, base->v->context_uri) != 0));
}

void model_save(struct model *m, struct menv *env, struct mversion *v, const char *rel,
		struct bytes *bytes, struct msave *out)
{
	struct mversion *base = base_of(env, v);
	struct tree *stage;
	struct spec *spec;

	*out = (struct msave){0};
	if (!base && v->v) {
		out->rc = out->also = -EIO;
		return;
	}
	stage = stage_of(v, base, rel, bytes);
	if (!tree_child(stage, "spec.yml")) {
		out->what = SAVE_ASIDE; /* of a spec.yml that is still to be written */
		tree_free(stage);
		return;
	}
	spec = spec_of(stage);
	/* Written beside the versions it is a new one, whose place says what it is called. */
	if (v->v)
		out->rc = check_spec(env->name, tree_child(stage, "spec.yml")->bytes);
	if (!out->rc)
		out->rc = model_read(stage, env->name, base ? base->name : "1", &out->v,
				     &out->context);
	out->warned = spec && (!spec->name || spec->warnings);
	if (!out->rc && !is_part(spec, rel))
		out->what = SAVE_ASIDE;
	else if (!out->rc)
		decide(m, env, v, base, spec, out);
	out->also = out->also ? out->also : out->rc;
	spec_free(spec);
	tree_free(stage);
}

void model_save_clear(struct msave *s)
{
	version_unref(s->v);
	tree_free(s->context);
}

/* ---- what becomes of it ---- */

void model_keep(struct mversion *v, const char *rel, const struct bytes *text, bool edited)
{
	bool spec = strcmp(rel, "spec.yml") == 0;
	struct bytes **kept = spec ? &v->spec : &v->conda;
	struct version **of = spec ? &v->spec_of : &v->conda_of;

	bytes_unref(*kept);
	version_unref(*of);
	*kept = spec ? model_with_names(text, v->v->env, v->name, edited)
		     : bytes_new(text->data, text->len);
	*of = version_ref(v->v);
}

/* The version that a text names; "" when it names none. */
static void said_in(const struct bytes *text, char out[VERSION_NAME])
{
	struct spec *spec;

	out[0] = '\0';
	if (spec_parse(text->data, text->len, &spec, NULL))
		return;
	if (spec->version)
		snprintf(out, VERSION_NAME, "%s", spec->version);
	spec_free(spec);
}

static void on_show(struct model *m, struct medit *e, int proc)
{
	e->dirty = e->cut = e->stamped = false;
	e->attempted = true;
	e->owner = proc;
	e->generation = m->generations[proc];
	e->old = false;
	if (strcmp(e->rel, "spec.yml") == 0)
		said_in(e->bytes, e->said);
}

void model_echo(struct model *m, struct mversion *v, const char *rel, struct bytes *bytes, int proc)
{
	struct medit *e = model_edit_begin(v, rel, bytes);

	e->saved = true;
	on_show(m, e, proc);
}

/* What was saved is kept for the version that says it, and shown in its directory as well. */
static void keep(struct model *m, struct mversion *v, struct mversion *target,
		 const struct medit *e, int proc)
{
	bool spec = strcmp(e->rel, "spec.yml") == 0;

	if (spec || strcmp(e->rel, "conda.yml") == 0)
		model_keep(target, e->rel, e->bytes, true);
	if (spec)
		target->spec_from = e->bytes;
	if (spec && target != v && !model_edit(target, e->rel))
		model_echo(m, target, e->rel, bytes_new(e->bytes->data, e->bytes->len), proc);
}

/* Notes that a text was refused: whether it had been before, and another one since. */
static bool comes_back(struct mversion *v, const char *rel, struct bytes *bytes)
{
	struct mrefusal *all = v->refusals, now = {.bytes = bytes_ref(bytes)};
	size_t at = 0;
	bool known;

	path_print(now.rel, "%s", rel);
	while (at < MODEL_REFUSALS && all[at].bytes &&
	       !(strcmp(all[at].rel, rel) == 0 &&
		 bytes_equal(all[at].bytes, bytes->data, bytes->len)))
		at++;
	known = at > 0 && at < MODEL_REFUSALS && all[at].bytes;
	if (at == MODEL_REFUSALS)
		at--;
	bytes_unref(all[at].bytes);
	memmove(all + 1, all, at * sizeof(*all));
	all[0] = now;
	return known;
}

/* The bytes are put beside the file. Those that the same process had refused before go for them,
 * unless it is a backup that comes back. */
static void refuse(struct model *m, struct mversion *v, const char *rel, const struct bytes *bytes,
		   int proc)
{
	char name[TREE_PATH], other[TREE_PATH];
	struct bytes *copy = bytes_new(bytes->data, bytes->len);
	const struct medit *e = model_edit(v, rel);
	const struct tree *there;
	bool replaced = e && e->attempted && !e->saved && e->owner == proc &&
			e->generation == m->generations[proc];

	path_print(name, "%s.rejected", rel);
	there = tree_at(v->local, name);
	if (comes_back(v, rel, copy))
		replaced = false;
	if (there && there->bytes && bytes_equal(there->bytes, bytes->data, bytes->len))
		replaced = true;
	for (int i = 1; !replaced && tree_at(v->local, name); i++) {
		path_print(other, "%s.%d", name, i);
		if (!tree_at(v->local, other))
			tree_rename(v->local, name, v->local, other);
	}
	tree_put(v->local, name, copy);
	bytes_unref(copy);
	v->refused = true;
	v->noted = false;
}

static void apply(struct model *m, struct menv *env, struct mversion *v, struct medit *e,
		  const struct msave *s, int proc)
{
	struct mversion *target;

	switch (s->what) {
	case SAVE_ASIDE:
		tree_put(v->local, e->rel, e->bytes);
		break;
	case SAVE_NOTHING:
	case SAVE_UPDATED:
		target = model_version(env, s->v->version);
		if (s->what == SAVE_UPDATED)
			model_updated(m, target, s->v);
		/* Where somebody else's tags stay, the text does not say what the record does. */
		if (version_same_content(target->v, s->v))
			keep(m, v, target, e, proc);
		snprintf(v->base, sizeof(v->base), "%s", target->name);
		break;
	case SAVE_NEW:
		m->expected.puts++;
		target = model_add(m, env, version_ref(s->v), NULL);
		if (s->context) {
			target->context = tree_new("context", TREE_DIR);
			tree_overlay(target->context, s->context);
		}
		keep(m, v, target, e, proc);
		snprintf(v->base, sizeof(v->base), "%s", target->name);
		break;
	}
}

/* The version is there all the same. */
static void add_lost(struct model *m, struct menv *env, const struct msave *s)
{
	struct mversion *made = model_add(m, env, version_ref(s->v), NULL);

	if (s->context) {
		made->context = tree_new("context", TREE_DIR);
		tree_overlay(made->context, s->context);
	}
	m->expected.puts++;
}

void model_refused(struct model *m, struct menv *env, struct mversion *v, const char *rel,
		   const struct bytes *bytes, const struct msave *s, int proc)
{
	refuse(m, v, rel, bytes, proc);
	if (s->lost)
		add_lost(m, env, s);
}

/* A save that came to something ends what is said of one that failed; it may say something itself.
 */
static void told(struct mversion *v, const struct msave *s)
{
	bool may_be_nothing = s->what == SAVE_NOTHING || s->what == SAVE_UPDATED;

	v->noted = v->noted || may_be_nothing || s->warned;
	if (!may_be_nothing)
		v->refused = false;
}

void model_saved(struct model *m, struct menv *env, struct mversion *v, struct medit *edit,
		 const struct msave *s, int got, int proc)
{
	if (model_failed(m))
		return; /* it was something else than was foreseen */
	if (!got) {
		apply(m, env, v, edit, s, proc);
		told(v, s);
	} else {
		model_refused(m, env, v, edit->rel, edit->bytes, s, proc);
	}
	edit->saved = !got;
	on_show(m, edit, proc);
	if (!got && s->what == SAVE_ASIDE)
		model_edit_drop(v, edit->rel);
}
