/* model_update - saves of which only tags or the description differ. */
#include <string.h>

#include "tests/model/model.h"

struct finding {
	const char *env;
	const char *version;
	struct version *found;
};

static void find_record(void *arg, bool env_archived, const struct version *v)
{
	struct finding *f = arg;

	(void)env_archived;
	if (strcmp(v->env, f->env) == 0 && strcmp(v->version, f->version) == 0)
		f->found = version_ref((struct version *)v);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static const char *tag_of(const struct version *v, const char *key)
{
	bool found;
	const char *value = version_tag(v, key, &found);

	return found ? (value ? value : "") : NULL;
}

/* A tag is as the text has it, or as it was: what the user did not touch is somebody else's. */
static bool is_either(const struct version *now, const struct version *text,
		      const struct version *before, const char *key)
{
	const char *value = tag_of(now, key), *a = tag_of(text, key), *b = tag_of(before, key);

	return (!value && (!a || !b)) || (value && a && strcmp(value, a) == 0) ||
	       (value && b && strcmp(value, b) == 0);
}

static bool is_update(const struct version *now, const struct version *text,
		      const struct version *before)
{
	const struct version *const all[] = {now, text, before};

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < all[i]->n_tags; k++)
			if (!is_either(now, text, before, all[i]->tags[k].key))
				return false;
	return same_text(now->description, text->description) ||
	       same_text(now->description, before->description);
}

void model_updated(struct model *m, struct mversion *target, const struct version *text)
{
	struct finding f = {.env = text->env, .version = text->version};
	struct version fields, *now;

	m->b->ops->each(m->b, find_record, &f);
	if (!f.found || !is_update(f.found, text, target->v)) {
		model_fail(m,
			   "the tags of %s/%s are neither those that were saved nor what they were",
			   text->env, text->version);
		version_unref(f.found);
		return;
	}
	fields = *target->v;
	fields.tags = f.found->tags;
	fields.n_tags = f.found->n_tags;
	fields.description = f.found->description;
	now = version_new(&fields);
	m->expected.updates += !version_same_content(now, target->v);
	version_unref(target->v);
	target->v = now;
	version_unref(f.found);
}
