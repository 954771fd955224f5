#include "fs/render.h"

#include <errno.h>
#include <string.h>

#include "client/conda.h"
#include "client/dockerfile.h"
#include "fs/name.h"
#include "fs/spec.h"

static bool is_json(const char *text)
{
	text += strspn(text, " \t\r\n");
	return *text == '{' || *text == '[';
}

static int render_conda(const char *conda, struct buf *out)
{
	size_t before = out->len, len = strlen(conda);
	int rc;

	if (is_json(conda)) {
		rc = conda_render(conda, len, out, NULL);
		if (rc != -EBADMSG)
			return rc;
		out->len = before;
	}
	return buf_add(out, conda, len);
}

int render_file(const struct version *v, enum node_kind kind, struct buf *out)
{
	switch (kind) {
	case NODE_SPEC:
		return spec_render(v, out);
	case NODE_CONDA:
		return v->conda ? render_conda(v->conda, out) : 0;
	case NODE_DOCKERFILE:
		return dockerfile_render(v, out);
	default:
		return 0;
	}
}

int render_dockerfile_link(const struct version *v, struct buf *out)
{
	const char *path = version_dockerfile_path(v);

	while (strncmp(path, "./", 2) == 0)
		path += 2;
	buf_addstr(out, "context/");
	return name_encode_path(path, strlen(path), out);
}
