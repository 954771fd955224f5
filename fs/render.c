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

static int64_t *size_field(struct node_sizes *s, enum node_kind kind)
{
	switch (kind) {
	case NODE_SPEC:
		return &s->spec;
	case NODE_CONDA:
		return &s->conda;
	default:
		return &s->dockerfile;
	}
}

int render_size(struct node_table *t, struct node *n, const struct version *v, enum node_kind kind,
		int64_t *size)
{
	struct node_sizes sizes = node_get_sizes(t, n);
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	int rc;

	*size = 0;
	if (sizes.of != v)
		sizes = (struct node_sizes){v, -1, -1, -1};
	if (*size_field(&sizes, kind) < 0) {
		rc = render_file(v, kind, &text);
		if (rc)
			return rc;
		*size_field(&sizes, kind) = (int64_t)text.len;
		node_set_sizes(t, n, &sizes);
	}
	*size = *size_field(&sizes, kind);
	return 0;
}
