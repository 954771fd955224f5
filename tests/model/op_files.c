/* op_files - operations on files and directories. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/dances.h"
#include "tests/model/texts.h"

enum { TEXT_MAX = 1 << 16, DRAFTS = 3, LATEST = 9, AUTO = 10, ENVIRONMENT = 12 };

enum file {
	FILE_SPEC,
	FILE_CONDA,
	FILE_DOCKERFILE,
	FILE_A,
	FILE_B,
	FILE_NOTES,
	FILE_SWAP,
	FILE_SUB
};

static const char *const file_names[FILES] = {
	[FILE_SPEC] = "spec.yml",
	[FILE_CONDA] = "conda.yml",
	[FILE_DOCKERFILE] = "context/Dockerfile",
	[FILE_A] = "context/a.txt",
	[FILE_B] = "context/sub/b.txt",
	[FILE_NOTES] = "notes.txt",
	[FILE_SWAP] = ".spec.yml.swp",
	[FILE_SUB] = "sub/x",
};

static const char *const dir_names[DIRS] = {"context", "context/sub", "sub", "sub/deep"};

const char *op_name(const struct model *m, const char *any, const char *number)
{
	return m->b->patience_ms ? number : any;
}

/* env/wN: a draft that publishes itself, or the version that it became. */
static bool auto_path(struct model *m, struct menv *env, int n, char out[TREE_PATH])
{
	const struct mversion *v;

	path_print(out, op_name(m, "%s/w%d", "%s/50%d"), env->name, n);
	v = model_version(env, strchr(out, '/') + 1);
	return v ? model_shows(env, v, false) : tree_child(env->top, strchr(out, '/') + 1) != NULL;
}

/* env/.dN, a version, latest, env/wN, or env itself. False: there is none. */
static bool dir_path(struct model *m, int env, int dir, char out[TREE_PATH])
{
	struct menv *e = &m->envs[env];
	const struct mversion *v;

	if (dir < DRAFTS) {
		path_print(out, "%s/.d%d", e->name, dir);
		return tree_child(e->top, strchr(out, '/') + 1);
	}
	if (dir == ENVIRONMENT)
		return model_env_shown(e, false) && path_print(out, "%s", e->name);
	if (dir >= AUTO)
		return auto_path(m, e, dir - AUTO, out);
	if (!model_env_shown(e, false))
		return false;
	v = dir == LATEST ? model_latest(e) : model_pick(e, (unsigned int)dir - DRAFTS, false);
	if (v && dir == LATEST)
		path_print(out, "%s/latest", e->name);
	else if (v)
		path_print(out, "%s/%s", e->name, v->name);
	return v;
}

static bool path_in(struct model *m, int env, int dir, const char *name, char out[TREE_PATH])
{
	char at[TREE_PATH];

	if (dir == ENVIRONMENT && strchr(name, '/'))
		return false; /* that would be a draft */
	return dir_path(m, env, dir, at) && path_print(out, "%s/%s", at, name);
}

bool op_path(struct model *m, int env, int dir, int file, char out[TREE_PATH])
{
	return path_in(m, env, dir, file_names[file], out);
}

/* ---- drafts ---- */

/* A draft needs its environment. */
static bool have_env(struct model *m, int proc, struct menv *env)
{
	char real[TREE_PATH];

	if (model_env_shown(env, false))
		return true;
	if (env->there)
		return false; /* archived */
	step_expect(m, "mkdir", env->name,
		    m->b->ops->mkdir(m->b, proc, step_path(m, env->name, real), 0755), 0);
	env->local = true;
	return !model_failed(m);
}

/* One that publishes itself. */
void op_mkauto(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (!have_env(m, args[2], &m->envs[args[0]]))
		return;
	path_print(path, op_name(m, "%s/w%d", "%s/50%d"), m->envs[args[0]].name, args[1] % 2);
	step_mkdir(m, args[2], path);
}

void op_fsyncdir(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (dir_path(m, args[0], args[1], path))
		step_fsyncdir(m, args[2], path);
}

void op_mkdraft(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (!have_env(m, args[2], &m->envs[args[0]]))
		return;
	path_print(path, "%s/.d%d", m->envs[args[0]].name, args[1]);
	step_mkdir(m, args[2], path);
}

static void put(struct model *m, int proc, const char *dir, const char *name,
		const struct buf *text)
{
	char path[TREE_PATH];

	path_print(path, "%s/%s", dir, name);
	dance(m, DANCE_TRUNCATE, proc, path, buf_str(text), text->len, CLOSE_OWN);
}

/* A whole version: an image, one with conda, or a build context, by n. */
void op_fill(struct model *m, const int *args)
{
	static const enum text_kind all[] = {TEXT_IMAGE, TEXT_CONDA, TEXT_BUILD, TEXT_OTHER_NAME};
	enum text_kind kind = all[args[2] % 4];
	struct menv *env = &m->envs[args[0]];
	struct text_place at = {.env = env->name, .version = "9", .next = model_next(env, false)};
	struct buf text = BUF_INIT(TEXT_MAX);
	char dir[TREE_PATH], path[TREE_PATH];
	int proc = args[6];

	if (!dir_path(m, args[0], args[1], dir))
		return;
	text_spec(&text, kind, args[3], args[4], args[5], &at);
	put(m, proc, dir, "spec.yml", &text);
	buf_reset(&text);
	if (kind == TEXT_CONDA) {
		text_conda(&text, args[3]);
		put(m, proc, dir, "conda.yml", &text);
	}
	if (kind == TEXT_BUILD) {
		path_print(path, "%s/context", dir);
		step_mkdir(m, proc, path);
		text_dockerfile(&text, args[3]);
		put(m, proc, path, "Dockerfile", &text);
	}
	buf_free(&text);
}

void op_fill_auto(struct model *m, const int *args)
{
	const int changed[] = {args[0], AUTO + args[1] % 2, args[2], args[3], args[4], args[5],
			       args[6]};
	char dir[TREE_PATH];

	/* Not a version that it has become already. */
	if (dir_path(m, changed[0], changed[1], dir) &&
	    tree_child(m->envs[args[0]].top, strchr(dir, '/') + 1))
		op_fill(m, changed);
}

void op_move_draft(struct model *m, const int *args)
{
	char from[TREE_PATH], to[TREE_PATH];

	if (!dir_path(m, args[0], args[1], from))
		return;
	path_print(to, "%s/.d%d", m->envs[args[0]].name, args[2]);
	step_rename(m, args[3], from, to);
}

static void rm_tree(struct model *m, int proc, const char *path, struct tree *t)
{
	char below[TREE_PATH];

	for (struct tree *c = t->first, *next; c && !model_failed(m); c = next) {
		next = c->next;
		path_print(below, "%s/%s", path, c->name);
		if (c->kind == TREE_DIR)
			rm_tree(m, proc, below, c);
		else
			step_unlink(m, proc, below);
	}
	step_rmdir(m, proc, path);
}

void op_rm_draft(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (dir_path(m, args[0], args[1], path))
		rm_tree(m, args[2], path, tree_child(m->envs[args[0]].top, strchr(path, '/') + 1));
}

/* ---- saving ---- */

void op_make_text(struct model *m, struct buf *text, const int *args)
{
	struct menv *env = &m->envs[args[0]];
	char dir[TREE_PATH];
	struct text_place at = {.env = env->name, .next = model_next(env, false)};

	at.version = "0";
	if (args[1] != ENVIRONMENT && dir_path(m, args[0], args[1], dir))
		at.version = args[1] == LATEST ? model_latest(env)->name : strchr(dir, '/') + 1;
	switch (args[2]) {
	case FILE_SPEC:
		text_spec(text, (enum text_kind)args[3], args[4], args[5], args[6], &at);
		break;
	case FILE_CONDA:
		text_conda(text, args[4] + 4 * args[5]);
		break;
	case FILE_DOCKERFILE:
		text_dockerfile(text, args[4]);
		break;
	default:
		text_file(text, args[4]);
		break;
	}
}

/* env, directory, file, way of saving, kind, image, tag, comment, closing, process */
void op_save(struct model *m, const int *args)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	char path[TREE_PATH];

	const int about[] = {args[0], args[1], args[2], args[4], args[5], args[6], args[7]};

	if (!op_path(m, args[0], args[1], args[2], path))
		return;
	op_make_text(m, &text, about);
	dance(m, (enum dance)args[3], args[9], path, buf_str(&text), text.len,
	      (enum step_close)(args[8] % CLOSES));
	buf_free(&text);
}

/* ---- names ---- */

/* Directories in a context are what its files make of them: only drafts have others. */
static bool is_plain_dir(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (args[1] == ENVIRONMENT)
		return false;
	if (args[1] < DRAFTS || strncmp(dir_names[args[2]], "context", 7) != 0)
		return true;
	return args[1] >= AUTO && dir_path(m, args[0], args[1], path) &&
	       !model_version(&m->envs[args[0]], strchr(path, '/') + 1);
}

void op_mkdir(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (is_plain_dir(m, args) && path_in(m, args[0], args[1], dir_names[args[2]], path))
		step_mkdir(m, args[3], path);
}

void op_rmdir(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (is_plain_dir(m, args) && path_in(m, args[0], args[1], dir_names[args[2]], path))
		step_rmdir(m, args[3], path);
}

void op_unlink(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (path_in(m, args[0], args[1], file_names[args[2]], path))
		step_unlink(m, args[3], path);
}

/* In a version's directory the files of the definition keep their names among themselves. */
static bool is_between_assets(int from_dir, int from, int to_dir, int to)
{
	return from_dir >= DRAFTS && to_dir >= DRAFTS && from < FILE_NOTES && to < FILE_NOTES;
}

void op_rename(struct model *m, const int *args)
{
	char from[TREE_PATH], to[TREE_PATH];

	if (is_between_assets(args[1], args[2], args[3], args[4]))
		return;
	if (path_in(m, args[0], args[1], file_names[args[2]], from) &&
	    path_in(m, args[0], args[3], file_names[args[4]], to))
		step_rename(m, args[5], from, to);
}

/* Onto a file of a definition, the other name goes: two that are written to would be one too many.
 */
void op_link(struct model *m, const int *args)
{
	char from[TREE_PATH], to[TREE_PATH];

	if (is_between_assets(args[1], args[2], args[3], args[4]))
		return;
	if (!path_in(m, args[0], args[1], file_names[args[2]], from) ||
	    !path_in(m, args[0], args[3], file_names[args[4]], to))
		return;
	if (!step_link(m, args[5], from, to) && args[3] >= DRAFTS && args[4] < FILE_NOTES)
		step_unlink(m, args[5], from);
}

/* Dangling, as editors' lock files are; only where it is no part of a version. */
void op_symlink(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (args[2] >= FILE_NOTES && path_in(m, args[0], args[1], file_names[args[2]], path))
		step_symlink(m, args[3], "user@host.123:456", path);
}

void op_truncate(struct model *m, const int *args)
{
	char path[TREE_PATH];

	if (path_in(m, args[0], args[1], file_names[args[2]], path))
		step_truncate(m, args[4], path, (size_t)args[3] * 8);
}

void op_attributes(struct model *m, const int *args)
{
	static const mode_t modes[] = {0644, 0600, 0664, 0755};
	char path[TREE_PATH];

	if (op_path(m, args[0], args[1], args[2], path))
		step_attributes(m, args[4], path,
				INT64_C(1600000000123456789) + args[3] * INT64_C(86400000000000),
				modes[args[3] % 4]);
}
