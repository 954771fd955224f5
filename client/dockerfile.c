#include "client/dockerfile.h"

#include <ctype.h>
#include <string.h>

#include "client/utf8.h"

bool dockerfile_is_derived(const struct version *v)
{
	return version_kind(v) == VERSION_IMAGE;
}

/* One line whatever the text holds: what does not belong in a line is written as \xNN or \uNNNN. */
static void add_escaped(struct buf *b, const char *text)
{
	size_t len = strlen(text);
	uint32_t cp;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n) {
			cp = (unsigned char)text[i];
			n = 1;
		} else if (utf8_printable(cp)) {
			buf_add(b, text + i, n);
			continue;
		}
		buf_addf(b, cp > 0xff ? "\\u%04X" : "\\x%02X", cp);
	}
}

/* The name as a path component that needs no quoting in a shell. */
static void add_prefix(struct buf *b, const char *env)
{
	buf_addstr(b, "/azureml-envs/");
	for (; *env; env++)
		buf_addch(b, isalnum((unsigned char)*env) || strchr("-_.", *env) ? *env : '_');
}

static void add_conda_steps(struct buf *b, const char *env)
{
	buf_addstr(b, "USER root\n"
		      "WORKDIR /\n"
		      "COPY conda.yml azureml-environment-setup/conda.yml\n"
		      "RUN conda env create -p ");
	add_prefix(b, env);
	buf_addstr(b, " -f azureml-environment-setup/conda.yml\nENV PATH=");
	add_prefix(b, env);
	buf_addstr(b, "/bin:$PATH\nENV AZUREML_CONDA_ENVIRONMENT_PATH=");
	add_prefix(b, env);
	buf_addstr(b, "\nENV AZUREML_ENVIRONMENT_IMAGE=True\nCMD [\"bash\"]\n");
}

int dockerfile_render(const struct version *v, struct buf *out)
{
	buf_addstr(out,
		   "# Derived from the definition; what Azure ML itself builds has more steps.\n"
		   "FROM ");
	add_escaped(out, v->image);
	buf_addch(out, '\n');
	if (v->conda)
		add_conda_steps(out, v->env);
	return buf_error(out);
}
