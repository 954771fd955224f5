#include <string.h>

#include "client/yamlout.h"
#include "fs/spec_int.h"

enum { STEP = 2 }; /* spaces of indentation */

static void add_line(struct buf *b, int indent, const char *key, const char *text)
{
	yamlout_indent(b, indent);
	buf_addf(b, "%s: ", key);
	yamlout_scalar(b, text, strlen(text));
	buf_addch(b, '\n');
}

static void add_build(struct buf *b, const struct version *v)
{
	buf_addstr(b, "build:\n");
	add_line(b, STEP, "path", version_context_has_files(v) ? "context" : v->context_uri);
	add_line(b, STEP, "dockerfile_path", version_dockerfile_path(v));
}

static void add_content(struct buf *b, const struct version *v)
{
	enum version_kind kind = version_kind(v);

	if (kind == VERSION_EMPTY)
		buf_addstr(b, "# The service gives neither image nor build for this version.\n");
	if (kind == VERSION_IMAGE)
		add_line(b, 0, "image", v->image);
	if (v->conda)
		add_line(b, 0, "conda_file", "conda.yml");
	if (kind == VERSION_BUILD)
		add_build(b, v);
}

static bool has_route(const struct route *r)
{
	return r->path || r->port;
}

static void add_route(struct buf *b, const char *key, const struct route *r)
{
	if (!has_route(r))
		return;
	yamlout_indent(b, STEP);
	buf_addf(b, "%s:\n", key);
	yamlout_indent(b, 2 * STEP);
	buf_addf(b, "port: %d\n", r->port);
	add_line(b, 2 * STEP, "path", r->path ? r->path : "");
}

static void add_routes(struct buf *b, const struct version *v)
{
	if (!has_route(&v->liveness) && !has_route(&v->readiness) && !has_route(&v->scoring) &&
	    !has_route(&v->startup))
		return;
	buf_addstr(b, "inference_config:\n");
	add_route(b, "liveness_route", &v->liveness);
	add_route(b, "readiness_route", &v->readiness);
	add_route(b, "scoring_route", &v->scoring);
	add_route(b, "startup_route", &v->startup);
}

static void add_tags(struct buf *b, const struct version *v)
{
	if (v->n_tags)
		buf_addstr(b, "tags:\n");
	for (size_t i = 0; i < v->n_tags; i++) {
		const struct kv *tag = &v->tags[i];

		yamlout_indent(b, STEP);
		yamlout_key(b, tag->key, strlen(tag->key), STEP);
		buf_addch(b, ' ');
		yamlout_text(b, tag->value ? tag->value : "", tag->value ? strlen(tag->value) : 0,
			     2 * STEP);
		buf_addch(b, '\n');
	}
}

int spec_render(const struct version *v, struct buf *out)
{
	add_line(out, 0, "$schema", SPEC_SCHEMA);
	add_line(out, 0, "name", v->env);
	add_line(out, 0, "version", v->version);
	add_content(out, v);
	add_line(out, 0, "os_type", v->os_type ? v->os_type : "linux");
	add_routes(out, v);
	if (v->description) {
		buf_addstr(out, "description: ");
		yamlout_text(out, v->description, strlen(v->description), STEP);
		buf_addch(out, '\n');
	}
	add_tags(out, v);
	return buf_error(out);
}
