/* op_versions - operations on versions and environments, of others, and of the world. */
#include <stdio.h>

#include "tests/model/check.h"
#include "tests/model/dances.h"

/* Programs like rm and mv are processes of their own: they end. */
enum { COMMAND = BACKEND_PROCS - 1 };

static const char *const keys[] = {"team", "stage", "a key"};
static const char *const values[] = {NULL, "t1", "t2", "\xc3\xa9"};

struct looking {
	const struct model *m;
	bool found;
};

static void look_for(void *arg, const char *path, struct tree *t)
{
	struct looking *l = arg;

	(void)path;
	for (int i = 0; i < MODEL_FDS; i++)
		l->found |= l->m->fds[i].open && t->bytes && l->m->fds[i].bytes == t->bytes;
}

/* What becomes of a file that is open while it is published is another story. */
static bool is_held(const struct model *m, struct tree *draft)
{
	struct looking l = {.m = m};

	tree_each(draft, look_for, &l);
	return l.found;
}

/* env, draft, name, process */
void op_publish(struct model *m, const int *args)
{
	struct menv *env = &m->envs[args[0]];
	char draft[VERSION_NAME], name[VERSION_NAME];
	const struct mversion *v = model_pick(env, (unsigned int)args[1], false);

	if (!model_env_shown(env, false))
		return;
	snprintf(draft, sizeof(draft), ".d%d", args[1]);
	if (args[2] == 0 && v)
		snprintf(name, sizeof(name), "%s", v->name);
	else if (args[2] == 1)
		snprintf(name, sizeof(name), op_name(m, "v%d", "60%d"), args[1]);
	else if (args[2] == 2)
		snprintf(name, sizeof(name), "no good");
	else
		snprintf(name, sizeof(name), "%ld", model_next(env, false));
	if (tree_child(env->top, draft) && !is_held(m, tree_child(env->top, draft)))
		step_publish(m, args[3], env, draft, name);
}

/* env, version, key, value, process */
void op_tag(struct model *m, const int *args)
{
	struct mversion *v = model_pick(&m->envs[args[0]], (unsigned int)args[1], false);

	if (v)
		step_tag(m, args[4], &m->envs[args[0]], v, keys[args[2] % 3], values[args[3] % 4]);
}

void op_describe(struct model *m, const int *args)
{
	struct mversion *v = model_pick(&m->envs[args[0]], (unsigned int)args[1], false);

	if (v)
		step_tag(m, args[3], &m->envs[args[0]], v, NULL, values[args[2] % 4]);
}

/* Names that are removed and not archived, and a dangling `latest`, take their time to go. */
static bool takes_time(const struct model *m, const struct menv *env)
{
	unsigned int shown = 0;

	for (const struct mversion *v = env->versions; v; v = v->next)
		shown += model_shows(env, v, false);
	return m->b->patience_ms && (m->fault != FAULT_NONE || shown < 2);
}

void op_rm_version(struct model *m, const int *args)
{
	struct mversion *v = model_pick(&m->envs[args[0]], (unsigned int)args[1], false);

	if (v && !takes_time(m, &m->envs[args[0]]))
		step_rm_version(m, COMMAND, &m->envs[args[0]], v);
	step_end(m, COMMAND, PROC_EXITS);
}

void op_restore_version(struct model *m, const int *args)
{
	struct menv *env = &m->envs[args[0]];
	struct mversion *v = model_pick(env, (unsigned int)args[1], true);

	if (v && !env->archived)
		step_restore_version(m, COMMAND, env, v);
}

void op_purge_version(struct model *m, const int *args)
{
	struct mversion *v = model_pick(&m->envs[args[0]], (unsigned int)args[1], true);

	if (v && (m->fault == FAULT_NONE || !m->b->patience_ms))
		step_purge_version(m, COMMAND, &m->envs[args[0]], v);
	step_end(m, COMMAND, PROC_EXITS);
}

void op_rm_env(struct model *m, const int *args)
{
	if (model_env_shown(&m->envs[args[0]], false) && !m->b->patience_ms)
		step_rm_env(m, COMMAND, &m->envs[args[0]]);
	step_end(m, COMMAND, PROC_EXITS);
}

void op_restore_env(struct model *m, const int *args)
{
	if (m->envs[args[0]].archived)
		step_restore_env(m, COMMAND, &m->envs[args[0]]);
}

void op_others_put(struct model *m, const int *args)
{
	step_others_put(m, &m->envs[args[0]], args[1]);
}

/* A tag of their own: of one that was set here less than a minute ago, a list that says something
 * else is not believed (written.h). */
void op_others_tag(struct model *m, const int *args)
{
	struct mversion *v = model_pick(&m->envs[args[0]], (unsigned int)args[1], false);

	if (v)
		step_others_tag(m, &m->envs[args[0]], v, "theirs", values[args[2] % 4]);
}

void op_fault(struct model *m, const int *args)
{
	step_fault(m, (enum service_fault)args[0]);
}

void op_well(struct model *m, const int *args)
{
	(void)args;
	step_fault(m, FAULT_NONE);
}

void op_remount(struct model *m, const int *args)
{
	step_remount(m, args[0]);
	check_all(m, true); /* content is known again, also when the service fails next */
}

void op_pass(struct model *m, const int *args)
{
	(void)args;
	if (!m->b->ops->pass(m->b))
		model_pass(m);
}

/* Memory is short: the kernel lets go of inodes, and nobody may notice. */
void op_drop(struct model *m, const int *args)
{
	(void)args;
	m->b->ops->forget(m->b);
}

/* The same, with new lists; an inode may come back with another number. */
void op_forget(struct model *m, const int *args)
{
	(void)args;
	m->b->ops->expire(m->b);
	if (m->b->ops->forget(m->b))
		return;
	for (size_t i = 0; i < MODEL_ENVS; i++)
		FOR_EACH_DIR(&m->envs[i], v)
	for (struct medit *e = v->edits; e; e = e->next)
		e->stamped = false;
}

void op_end(struct model *m, const int *args)
{
	if (args[0])
		step_end(m, args[0], args[1] ? PROC_KILLED : PROC_EXITS);
}
