/* check_stamp - numbers and times of files that were saved: an editor takes a change of them for
 * somebody else's. */
#include <stdio.h>
#include <string.h>

#include "client/clock.h"
#include "tests/model/check.h"
#include "tests/model/steps.h"

static bool stat_of(struct model *m, const struct menv *env, const struct mversion *v,
		    const char *rel, struct stat *st)
{
	char path[TREE_PATH], real[TREE_PATH];
	int rc;

	path_print(path, "%s/%s%s%s", env->name, v->name, v->v ? "/" : "", rel);
	rc = m->b->ops->stat(m->b, 0, step_path(m, path, real), st);
	if (rc)
		model_fail(m, "stat %s: %s", path, strerror(-rc));
	return !rc;
}

static int64_t time_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

static void check_edit(struct model *m, struct menv *env, struct mversion *v, struct medit *e)
{
	struct stat st;

	if (!e->attempted || e->cut || e->dirty || !stat_of(m, env, v, e->rel, &st))
		return;
	if (e->stamped && (e->ino != st.st_ino || e->mtime != time_of(&st)))
		model_fail(m,
			   "%s/%s/%s has inode %llu and the time %lld now, and had %llu and %lld "
			   "after its save",
			   env->name, v->name, e->rel, (unsigned long long)st.st_ino,
			   (long long)time_of(&st), (unsigned long long)e->ino,
			   (long long)e->mtime);
	e->ino = st.st_ino;
	e->mtime = time_of(&st);
	e->stamped = true;
}

/* Whether target shows what was saved as e, and nothing that came later. */
static bool shows_saved(const struct menv *env, struct mversion *target, const struct medit *e)
{
	const struct medit *own = model_edit(target, "spec.yml");

	return model_shows(env, target, false) && !tree_at(target->gone, "spec.yml") &&
	       target->spec_from == e->bytes && version_same_content(target->spec_of, target->v) &&
	       (!own || bytes_equal(own->bytes, e->bytes->data, e->bytes->len));
}

/* The new version's spec.yml has the time of the one that it was saved as. */
static void check_target(struct model *m, struct menv *env, struct mversion *v)
{
	struct mversion *target = v->base[0] ? model_version(env, v->base) : NULL;
	const struct medit *e = model_edit(v, "spec.yml");
	struct stat st;

	if (!e || !e->stamped || !e->saved || !target || target == v ||
	    !shows_saved(env, target, e) || !stat_of(m, env, target, "spec.yml", &st))
		return;
	if (time_of(&st) != e->mtime)
		model_fail(m,
			   "%s/%s/spec.yml has the time %lld, %s/%s/spec.yml, as which it was "
			   "saved, %lld",
			   env->name, target->name, (long long)time_of(&st), env->name, v->name,
			   (long long)e->mtime);
}

void check_stamps(struct model *m, struct menv *env, struct mversion *v)
{
	for (struct medit *e = v->edits; e && !model_failed(m); e = e->next)
		check_edit(m, env, v, e);
	if (!model_failed(m))
		check_target(m, env, v);
}
