#include "fs/spec.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/utf8.h"
#include "fs/spec_int.h"

/* Of the fields whose type, shared with the records, is const. */
static void free_text(const char *text)
{
	free((char *)(uintptr_t)text);
}

void spec_free(struct spec *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_tags; i++) {
		free_text(s->tags[i].key);
		free_text(s->tags[i].value);
	}
	free_text(s->liveness.path);
	free_text(s->readiness.path);
	free_text(s->scoring.path);
	free_text(s->startup.path);
	free(s->tags);
	free(s->name);
	free(s->version);
	free(s->description);
	free(s->image);
	free(s->conda_path);
	free(s->conda_inline);
	free(s->build_path);
	free(s->dockerfile_path);
	free(s->os_type);
	free(s->datastore);
	free(s->warnings);
	free(s);
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

const char *spec_name_problem(const char *name)
{
	if (!name[0])
		return "is empty";
	if (utf8_count(name, strlen(name)) > SPEC_NAME_MAX)
		return "is longer than 255 characters";
	for (const char *p = name; *p; p++)
		if (!is_name_char(*p))
			return "may only have the letters a to z and A to Z, digits, '-', '_' and "
			       "'.'";
	return strchr("-_.", name[0]) ? "must begin with a letter or a digit" : NULL;
}

int spec_check_name(const char *what, const char *name, struct err *e)
{
	const char *problem = spec_name_problem(name);
	char shown[UTF8_EXCERPT_SIZE];

	if (!problem)
		return 0;
	return err_set(e, -EBADMSG, "the %s \"%s\" %s", what,
		       utf8_excerpt(shown, name, strlen(name)), problem);
}

struct version *spec_to_version(const struct spec *s, const char *env, const char *version,
				const char *conda, const char *context_uri)
{
	const struct version fields = {
		.env = env,
		.version = version,
		.description = s->description,
		.tags = s->tags,
		.n_tags = s->n_tags,
		.image = s->image,
		.conda = conda,
		.context_uri = context_uri || !s->build_is_url ? context_uri : s->build_path,
		.dockerfile_path = s->dockerfile_path,
		.os_type = s->os_type,
		.liveness = s->liveness,
		.readiness = s->readiness,
		.scoring = s->scoring,
		.startup = s->startup,
	};

	return version_new(&fields);
}
