#include "tests/model/texts.h"

static void names(struct buf *out, enum text_kind kind, const struct text_place *at)
{
	switch (kind) {
	case TEXT_NAMED:
		buf_addf(out, "name: %s\nversion: \"%ld\"\n", at->env, at->next);
		break;
	case TEXT_OWN_NAME:
		buf_addf(out, "name: %s\nversion: \"%s\"\n", at->env, at->version);
		break;
	case TEXT_FAR_VERSION:
		buf_addf(out, "version: \"%ld\"\n", at->next + 7);
		break;
	case TEXT_OLD_VERSION:
		buf_addstr(out, "version: '1' # the first\n");
		break;
	case TEXT_OTHER_NAME:
		buf_addstr(out, "name: somebody-elses\n");
		break;
	default:
		break;
	}
}

void text_spec(struct buf *out, enum text_kind kind, int image, int tag, int comment,
	       const struct text_place *at)
{
	if (kind == TEXT_EMPTY)
		return;
	if (comment)
		buf_addf(out, "# comment %d\n", comment);
	names(out, kind, at);
	if (kind == TEXT_BUILD)
		buf_addf(out, "build:\n  path: context\nos_type: %s\n",
			 image % 2 ? "linux" : "windows");
	else if (kind != TEXT_NO_IMAGE)
		buf_addf(out, "image: base:%d\n", image);
	if (kind == TEXT_CONDA)
		buf_addstr(out, "conda_file: conda.yml\n");
	if (tag)
		buf_addf(out, "tags: {team: t%d}\n", tag);
	if (kind == TEXT_UNKNOWN_KEY)
		buf_addstr(out, "imagee: x\n");
	if (kind == TEXT_NO_YAML)
		buf_addstr(out, "tags: {a: [\n");
}

void text_conda(struct buf *out, int n)
{
	if (n % 4 == 3)
		buf_addf(out, "- a list %d\n", n);
	else
		buf_addf(out, "# conda\nname: e%d\ndependencies:\n- python=3.%d\n", n / 4,
			 8 + n % 4);
}

void text_dockerfile(struct buf *out, int n)
{
	buf_addf(out, "FROM base:%d\nCOPY . /x\n", n);
}

void text_file(struct buf *out, int n)
{
	for (int i = 0; i <= n; i++)
		buf_addf(out, "line %d of %d\n", i, n);
}
