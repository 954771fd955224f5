#include "tests/model/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/dances.h"
#include "tests/model/steps.h"
#include "tests/model/texts.h"

/* ---- the operations ---- */

static const struct {
	const char *name;
	const char *fields; /* a letter for each argument: see limit_of() */
	void (*run)(struct model *m, const int *args);
	unsigned int weight;
} kinds[] = {
	{"mkdraft", "edp", op_mkdraft, 6},
	{"mkauto", "edp", op_mkauto, 6},
	{"fill", "ednitcp", op_fill, 8},
	{"fillauto", "ednitcp", op_fill_auto, 6},
	{"syncdir", "eDp", op_fsyncdir, 2},
	{"save", "eDfwkitcap", op_save, 30},
	{"mkdir", "eDgp", op_mkdir, 3},
	{"rmdir", "eDgp", op_rmdir, 2},
	{"unlink", "eDfp", op_unlink, 3},
	{"rename", "eDfDfp", op_rename, 5},
	{"link", "eDfDfp", op_link, 2},
	{"symlink", "eDfp", op_symlink, 2},
	{"truncate", "eDfnp", op_truncate, 2},
	{"attributes", "eDfnp", op_attributes, 4},
	{"mvdraft", "eddp", op_move_draft, 2},
	{"rmdraft", "edp", op_rm_draft, 2},
	{"publish", "edxp", op_publish, 12},
	{"tag", "evktp", op_tag, 5},
	{"describe", "evtp", op_describe, 2},
	{"rm", "ev", op_rm_version, 3},
	{"restore", "ev", op_restore_version, 3},
	{"purge", "ev", op_purge_version, 1},
	{"rmenv", "e", op_rm_env, 1},
	{"restoreenv", "e", op_restore_env, 3},
	{"put", "ei", op_others_put, 4},
	{"theirtag", "evt", op_others_tag, 3},
	{"fault", "F", op_fault, 3},
	{"well", "", op_well, 6},
	{"remount", "c", op_remount, 2},
	{"pass", "", op_pass, 3},
	{"forget", "", op_forget, 3},
	{"hold", "saeDfp", op_hold, 6},
	{"holdwrite", "skit", op_hold_write, 6},
	{"holdcut", "sn", op_hold_cut, 2},
	{"holdsync", "s", op_hold_sync, 2},
	{"holdclose", "sa", op_hold_close, 6},
	{"drop", "", op_drop, 0},
	{"end", "ph", op_end, 3},
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* Numbers from 0 below this. */
static int limit_of(char field)
{
	switch (field) {
	case 'e': /* environment */
		return MODEL_ENVS;
	case 'd': /* draft */
		return 3;
	case 'D': /* draft, from 3 on a version, 9 latest, 10 and 11 drafts that publish themselves,
		   * 12 the environment's own directory
		   */
		return 13;
	case 'v': /* version, the i-th modulo */
		return 8;
	case 'x': /* name of a new version */
		return 6;
	case 'f': /* file */
		return FILES;
	case 'g': /* directory */
		return DIRS;
	case 'w': /* way of saving */
		return DANCES;
	case 'k': /* kind of text; key of a tag */
		return TEXT_KINDS;
	case 'F':
		return FAULTS;
	case 'p': /* process */
		return BACKEND_PROCS - 1;
	case 'a': /* how it is closed, or opened */
		return 4;
	case 's': /* file that is held open */
		return MODEL_HOLDS;
	case 'h':
	case 'c':
		return 2;
	default: /* i: image, t: tag, c: comment, n: any */
		return 4;
	}
}

/* ---- drawing ---- */

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int draw_kind(uint64_t *state)
{
	unsigned int total = 0;
	uint64_t at;
	int kind = 0;

	for (size_t i = 0; i < KINDS; i++)
		total += kinds[i].weight;
	for (at = draw(state) % total; at >= kinds[kind].weight; kind++)
		at -= kinds[kind].weight;
	return kind;
}

void ops_draw(struct ops *ops, uint64_t seed, size_t n)
{
	uint64_t state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;

	ops->n = n < OPS_MAX ? n : OPS_MAX;
	for (size_t i = 0; i < ops->n; i++) {
		struct op *op = &ops->list[i];
		const char *fields;

		*op = (struct op){.kind = draw_kind(&state)};
		fields = kinds[op->kind].fields;
		for (size_t k = 0; fields[k]; k++)
			op->args[k] = (int)(draw(&state) % (uint64_t)limit_of(fields[k]));
	}
}

/* ---- text ---- */

const char *op_text(const struct op *op, char out[OP_TEXT])
{
	const char *fields = kinds[op->kind].fields;
	int n = snprintf(out, OP_TEXT, "%s", kinds[op->kind].name);

	for (size_t i = 0; fields[i]; i++)
		n += snprintf(out + n, OP_TEXT - (size_t)n, " %c%d", fields[i], op->args[i]);
	snprintf(out + n, OP_TEXT - (size_t)n, ";");
	return out;
}

static int kind_of(const char *name, size_t len)
{
	for (int i = 0; i < KINDS; i++)
		if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, name, len) == 0)
			return i;
	return -1;
}

static const char *parse_one(const char *p, struct op *op)
{
	size_t len = strcspn(p, " ;");
	const char *fields;
	char *end;

	*op = (struct op){.kind = kind_of(p, len)};
	if (op->kind < 0)
		return NULL;
	p += len;
	fields = kinds[op->kind].fields;
	for (size_t i = 0; fields[i]; i++) {
		p += strspn(p, " ");
		if (*p++ != fields[i])
			return NULL;
		op->args[i] = (int)strtol(p, &end, 10);
		p = end;
	}
	return *p == ';' ? p + 1 : NULL;
}

bool ops_parse(struct ops *ops, const char *text)
{
	ops->n = 0;
	for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
		if (ops->n == OPS_MAX)
			return false;
		p = parse_one(p, &ops->list[ops->n++]);
		if (!p)
			return false;
	}
	return true;
}

void op_run(struct model *m, const struct op *op)
{
	kinds[op->kind].run(m, op->args);
}

/* ---- the beginning: a has an image with conda, b a build context ---- */

static void begin(struct model *m, struct menv *env, struct tree *dir)
{
	struct tree *context;
	struct version *v;

	if (model_read(dir, env->name, "1", &v, &context)) {
		model_fail(m, "the first version of %s is not valid", env->name);
		return;
	}
	m->b->ops->put(m->b, v, context);
	model_add(m, env, v, context);
}

static void put(struct tree *dir, const char *path, const char *text)
{
	struct bytes *bytes = bytes_new(text, strlen(text));

	tree_put(dir, path, bytes);
	bytes_unref(bytes);
}

void ops_begin(struct model *m)
{
	struct tree *a = tree_new("", TREE_DIR), *b = tree_new("", TREE_DIR);

	put(a, "spec.yml", "image: base:0\nconda_file: conda.yml\ntags: {team: t1}\n");
	put(a, "conda.yml", "dependencies: [python=3.10]\n");
	begin(m, &m->envs[0], a);
	put(b, "spec.yml", "build: {path: context}\n");
	put(b, "context/Dockerfile", "FROM base:0\n");
	put(b, "context/a.txt", "a\n");
	put(b, "context/sub/b.txt", "b\n");
	begin(m, &m->envs[1], b);
	m->b->ops->expire(m->b);
	tree_free(a);
	tree_free(b);
}
