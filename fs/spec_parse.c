#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/cleanup.h"
#include "client/conda.h"
#include "client/utf8.h"
#include "client/yamltree.h"
#include "client/nearest.h"
#include "fs/spec_int.h"

enum { WARNINGS_MAX = 64 * 1024, PORT_MAX = 65535 };

struct parser {
	struct spec *s;
	const struct yaml_node *root;
	struct buf warnings;
	struct err *e;
};

/* A key of a mapping and what reads its value. */
struct key {
	const char *name;
	int (*parse)(struct parser *p, const char *key, const struct yaml_node *value);
};

/* ---- messages ---- */

__attribute__((format(printf, 3, 4))) static int fail(struct parser *p, const struct yaml_node *at,
						      const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(p->e, -EBADMSG, "line %d, column %d: %s", at->line, at->column, text);
	return -EBADMSG;
}

static int no_memory(struct parser *p)
{
	err_set(p->e, -ENOMEM, "out of memory");
	return -ENOMEM;
}

__attribute__((format(printf, 3, 4))) static int warn(struct parser *p, const struct yaml_node *at,
						      const char *fmt, ...)
{
	va_list ap;
	int rc;

	if (p->warnings.len)
		buf_addch(&p->warnings, '\n');
	buf_addf(&p->warnings, "line %d: ", at->line);
	va_start(ap, fmt);
	rc = buf_vaddf(&p->warnings, fmt, ap);
	va_end(ap);
	return rc ? err_set(p->e, rc, "too many warnings") : 0;
}

/* ---- unknown keys ---- */

/* prefix is where the map lies ("build."); names in the table have it when skip is its length. */
static int unknown_key(struct parser *p, const struct key *keys, size_t n, const char *prefix,
		       size_t skip, const struct yaml_node *key)
{
	const char *near = NULL;
	size_t least = nearest_limit(key->text);
	char shown[UTF8_EXCERPT_SIZE];

	for (size_t i = 0; i < n; i++)
		if (nearest_closer(key->text, keys[i].name + skip, &least))
			near = keys[i].name + skip;
	utf8_excerpt(shown, key->text, key->len);
	if (near)
		return fail(p, key, "unknown key \"%s%s\"; is \"%s\" meant?", prefix, shown, near);
	return fail(p, key, "unknown key \"%s%s\"", prefix, shown);
}

/* Reads each pair of a map with what the table says for its key. */
static int parse_keys(struct parser *p, const struct yaml_node *map, const struct key *keys,
		      size_t n, const char *prefix)
{
	size_t skip = strlen(prefix);
	int rc = 0;

	for (size_t i = 0; i < map->count && !rc; i++) {
		const struct yaml_node *key = map->keys[i];
		size_t k = 0;

		while (k < n && strcmp(keys[k].name + skip, key->text) != 0)
			k++;
		rc = k == n ? unknown_key(p, keys, n, prefix, skip, key)
			    : keys[k].parse(p, keys[k].name, map->items[i]);
	}
	return rc;
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- values ---- */

static int expect_map(struct parser *p, const char *key, const struct yaml_node *value)
{
	return value->kind == YAML_MAP
		       ? 0
		       : fail(p, value, "%s must be a mapping (\"key: value\" lines)", key);
}

static int copy_text(struct parser *p, const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : no_memory(p);
}

/* Checks that the value is a text of at most max characters. */
static int expect_text(struct parser *p, const char *key, const struct yaml_node *value, size_t max)
{
	enum yaml_type type;

	if (value->kind != YAML_SCALAR)
		return fail(p, value, "%s must be a text, not a %s", key,
			    value->kind == YAML_MAP ? "mapping" : "list");
	type = yaml_scalar_type(value);
	if (type == YAML_IS_NULL)
		return fail(p, value, "%s has no value; leave the key out instead", key);
	if (type != YAML_IS_TEXT)
		return fail(p, value, "%s must be a text; put it in quotes: \"%.*s\"", key,
			    (int)(value->len < 40 ? value->len : 40), value->text);
	if (utf8_count(value->text, value->len) > max)
		return fail(p, value, "%s is longer than %zu characters", key, max);
	return 0;
}

/* A text, or NULL in *out where it is empty. */
static int parse_text(struct parser *p, const char *key, const struct yaml_node *value, size_t max,
		      char **out)
{
	int rc = expect_text(p, key, value, max);

	return rc || !value->len ? rc : copy_text(p, value->text, out);
}

static int parse_schema(struct parser *p, const char *key, const struct yaml_node *value)
{
	size_t n = strlen(SPEC_SCHEMA_FILE);

	if (value->kind == YAML_SCALAR && value->len >= n &&
	    strcmp(value->text + value->len - n, SPEC_SCHEMA_FILE) == 0)
		return 0;
	return warn(p, value, "%s is not that of an environment; it is ignored", key);
}

static int parse_read_only(struct parser *p, const char *key, const struct yaml_node *value)
{
	return warn(p, value, "%s is set by the service; it is ignored here", key);
}

static int parse_name(struct parser *p, const char *key, const struct yaml_node *value)
{
	char shown[UTF8_EXCERPT_SIZE];
	const char *problem;
	int rc = expect_text(p, key, value, ASSET_NAME_MAX);

	if (rc)
		return rc;
	problem = spec_name_problem(value->text);
	if (problem)
		return fail(p, value, "the %s \"%s\" %s", key,
			    utf8_excerpt(shown, value->text, value->len), problem);
	return copy_text(p, value->text, &p->s->name);
}

/* A decimal integer in the one form in which its text is also its value. */
static bool is_short_int(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && !text[digits] && (text[0] != '0' || digits == 1);
}

static int parse_version(struct parser *p, const char *key, const struct yaml_node *value)
{
	char shown[UTF8_EXCERPT_SIZE];
	const char *problem;
	int rc = 0;

	if (value->kind != YAML_SCALAR || yaml_scalar_type(value) == YAML_IS_NULL)
		return expect_text(p, key, value, SPEC_NAME_MAX);
	problem = spec_name_problem(value->text);
	utf8_excerpt(shown, value->text, value->len);
	if (problem)
		return fail(p, value, "the %s \"%s\" %s", key, shown, problem);
	if (yaml_scalar_type(value) != YAML_IS_TEXT && !is_short_int(value->text))
		rc = warn(p, value,
			  "version %s is taken as the text it is; put it in quotes, because other "
			  "tools change it",
			  shown);
	return rc ? rc : copy_text(p, value->text, &p->s->version);
}

static int parse_description(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_text(p, key, value, SPEC_DESCRIPTION_MAX, &p->s->description);
}

static int parse_image(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_text(p, key, value, ASSET_PATH_MAX, &p->s->image);
}

static int parse_datastore(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_text(p, key, value, SPEC_NAME_MAX, &p->s->datastore);
}

static int parse_os_type(struct parser *p, const char *key, const struct yaml_node *value)
{
	int rc = expect_text(p, key, value, SPEC_NAME_MAX);

	if (rc)
		return rc;
	if (strcasecmp(value->text, "linux") == 0)
		return copy_text(p, "linux", &p->s->os_type);
	if (strcasecmp(value->text, "windows") == 0)
		return copy_text(p, "windows", &p->s->os_type);
	return fail(p, value, "%s must be linux or windows", key);
}

/* ---- tags ---- */

static int parse_tag(struct parser *p, const struct yaml_node *key, const struct yaml_node *value,
		     struct kv *out)
{
	char name[UTF8_EXCERPT_SIZE], shown[UTF8_EXCERPT_SIZE];
	enum yaml_type type;
	int rc = 0;

	utf8_excerpt(name, key->text, key->len);
	if (value->kind != YAML_SCALAR)
		return fail(p, value, "the tag \"%s\" must be a text, not a %s", name,
			    value->kind == YAML_MAP ? "mapping" : "list");
	if (utf8_count(key->text, key->len) > SPEC_TAG_KEY_MAX)
		return fail(p, key, "the tag's key \"%s\" is longer than %d characters", name,
			    SPEC_TAG_KEY_MAX);
	if (utf8_count(value->text, value->len) > SPEC_TAG_VALUE_MAX)
		return fail(p, value, "the tag \"%s\" is longer than %d characters", name,
			    SPEC_TAG_VALUE_MAX);
	type = yaml_scalar_type(value);
	if (type == YAML_IS_NULL)
		rc = warn(p, value, "the tag \"%s\" has no value; it is taken as empty", name);
	else if (type != YAML_IS_TEXT)
		rc = warn(p, value, "the tag \"%s\" is taken as the text %s; put it in quotes",
			  name, utf8_excerpt(shown, value->text, value->len));
	if (rc)
		return rc;
	out->key = strdup(key->text);
	out->value = strdup(type == YAML_IS_NULL ? "" : value->text);
	return out->key && out->value ? 0 : no_memory(p);
}

static int parse_tags(struct parser *p, const char *key, const struct yaml_node *value)
{
	int rc = expect_map(p, key, value);

	if (rc)
		return rc;
	if (value->count > SPEC_TAGS_MAX)
		return fail(p, value->keys[SPEC_TAGS_MAX], "more than %d tags", SPEC_TAGS_MAX);
	p->s->tags = calloc(value->count + 1, sizeof(*p->s->tags));
	if (!p->s->tags)
		return no_memory(p);
	p->s->n_tags = value->count;
	for (size_t i = 0; i < value->count && !rc; i++)
		rc = parse_tag(p, value->keys[i], value->items[i], &p->s->tags[i]);
	return rc;
}

/* ---- paths ---- */

static bool is_url(const char *text)
{
	size_t n =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n && isalpha((unsigned char)text[0]) && strncmp(text + n, "://", 3) == 0;
}

static bool climbs(const char *path)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "/");

		if (n == 2 && memcmp(p, "..", 2) == 0)
			return true;
		p += n;
		if (!*p)
			return false;
	}
}

static int expect_path(struct parser *p, const char *key, const struct yaml_node *value,
		       bool may_climb)
{
	int rc = expect_text(p, key, value, ASSET_PATH_MAX);

	if (rc)
		return rc;
	if (!value->len || value->len > ASSET_PATH_MAX)
		return fail(p, value, "%s is %s", key, value->len ? "too long" : "empty");
	if (value->text[0] == '/')
		return fail(p, value, "%s must be relative, not an absolute path", key);
	if (!may_climb && climbs(value->text))
		return fail(p, value, "%s must not lead out of its folder with \"..\"", key);
	return 0;
}

static struct spec_place place_of(const struct yaml_node *n)
{
	return (struct spec_place){n->line, n->column};
}

static int parse_conda_file(struct parser *p, const char *key, const struct yaml_node *value)
{
	_cleanup_buf_ struct buf text = BUF_INIT(ASSET_TEXT_MAX);
	int rc;

	if (value->kind == YAML_MAP) {
		rc = conda_render_node(value, &text, p->e);
		if (rc)
			return err_prefix(p->e, rc, "line %d, column %d: ", value->line,
					  value->column);
		p->s->conda_inline = buf_steal(&text, NULL);
		return p->s->conda_inline ? 0 : no_memory(p);
	}
	p->s->conda_at = place_of(value);
	rc = expect_path(p, key, value, true);
	return rc ? rc : copy_text(p, value->text, &p->s->conda_path);
}

/* Drops "." and empty parts from a relative path. */
static void clean_path(char *path)
{
	char *to = path;

	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n && !(n == 1 && *p == '.')) {
			if (to != path)
				*to++ = '/';
			memmove(to, p, n);
			to += n;
		}
		p += n + (p[n] == '/');
	}
	*to = '\0';
}

static int parse_dockerfile_path(struct parser *p, const char *key, const struct yaml_node *value)
{
	char **out = &p->s->dockerfile_path;
	int rc = expect_path(p, key, value, false);

	if (!rc)
		rc = copy_text(p, value->text, out);
	if (rc)
		return rc;
	p->s->dockerfile_at = place_of(value);
	clean_path(*out);
	return **out ? 0 : fail(p, value, "%s must name a file", key);
}

static int parse_build_path(struct parser *p, const char *key, const struct yaml_node *value)
{
	int rc = expect_text(p, key, value, ASSET_PATH_MAX);

	if (rc)
		return rc;
	if (p->s->build_path)
		return fail(p, value, "build has both path and local_path");
	p->s->build_at = place_of(value);
	p->s->build_is_url = is_url(value->text);
	if (p->s->build_is_url)
		rc = warn(p, value, "%s is a URL; it is kept as a reference and not fetched", key);
	else
		rc = expect_path(p, key, value, false);
	return rc ? rc : copy_text(p, value->text, &p->s->build_path);
}

static int parse_local_path(struct parser *p, const char *key, const struct yaml_node *value)
{
	int rc = warn(p, value, "%s is an old name of build.path; the CLI refuses it", key);

	return rc ? rc : parse_build_path(p, key, value);
}

static int parse_build(struct parser *p, const char *key, const struct yaml_node *value)
{
	static const struct key keys[] = {
		{"build.path", parse_build_path},
		{"build.dockerfile_path", parse_dockerfile_path},
		{"build.local_path", parse_local_path},
	};
	int rc = expect_map(p, key, value);

	if (!rc)
		rc = parse_keys(p, value, keys, COUNT(keys), "build.");
	if (!rc && !p->s->build_path)
		rc = fail(p, value, "build needs a path");
	return rc;
}

/* ---- inference_config ---- */

static int parse_port(struct parser *p, const char *route, const struct yaml_node *value, int *port)
{
	char *end;
	long n;

	if (value->kind == YAML_SCALAR && value->len && value->len < 6 &&
	    isdigit((unsigned char)value->text[0])) {
		n = strtol(value->text, &end, 10);
		if (!*end && n > 0 && n <= PORT_MAX) {
			*port = (int)n;
			return 0;
		}
	}
	return fail(p, value, "%s.port must be a number from 1 to %d", route, PORT_MAX);
}

static int parse_route(struct parser *p, const char *key, const struct yaml_node *value,
		       struct route *out)
{
	static const struct key known[] = {{"port", NULL}, {"path", NULL}};
	const struct yaml_node *port = yamltree_get(value, "port"),
			       *path = yamltree_get(value, "path");
	char *text = NULL;
	int rc = expect_map(p, key, value);

	for (size_t i = 0; !rc && i < value->count; i++)
		if (strcmp(value->keys[i]->text, "port") && strcmp(value->keys[i]->text, "path"))
			rc = unknown_key(p, known, COUNT(known), "", 0, value->keys[i]);
	if (rc)
		return rc;
	if (!port || !path)
		return fail(p, value, "%s needs port and path", key);
	rc = parse_port(p, key, port, &out->port);
	if (!rc)
		rc = parse_text(p, key, path, ASSET_PATH_MAX, &text);
	if (!rc && !text)
		rc = fail(p, path, "%s.path is empty", key);
	out->path = text;
	return rc;
}

static int parse_liveness(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_route(p, key, value, &p->s->liveness);
}

static int parse_readiness(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_route(p, key, value, &p->s->readiness);
}

static int parse_scoring(struct parser *p, const char *key, const struct yaml_node *value)
{
	return parse_route(p, key, value, &p->s->scoring);
}

static int parse_startup(struct parser *p, const char *key, const struct yaml_node *value)
{
	int rc = warn(p, value, "%s is not in the CLI's schema; the CLI refuses it", key);

	return rc ? rc : parse_route(p, key, value, &p->s->startup);
}

static int parse_inference(struct parser *p, const char *key, const struct yaml_node *value)
{
	static const struct key keys[] = {
		{"inference_config.liveness_route", parse_liveness},
		{"inference_config.readiness_route", parse_readiness},
		{"inference_config.scoring_route", parse_scoring},
		{"inference_config.startup_route", parse_startup},
	};
	int rc = expect_map(p, key, value);

	if (!rc)
		rc = parse_keys(p, value, keys, COUNT(keys), "inference_config.");
	if (!rc && !value->count)
		rc = fail(p, value, "%s needs liveness_route, readiness_route and scoring_route",
			  key);
	if (!rc && (!p->s->liveness.path || !p->s->readiness.path || !p->s->scoring.path))
		rc = warn(
			p, value,
			"the CLI wants liveness_route, readiness_route and scoring_route together");
	return rc;
}

/* ---- the whole ---- */

static const struct key spec_keys[] = {
	{"$schema", parse_schema},
	{"name", parse_name},
	{"version", parse_version},
	{"description", parse_description},
	{"tags", parse_tags},
	{"image", parse_image},
	{"conda_file", parse_conda_file},
	{"build", parse_build},
	{"os_type", parse_os_type},
	{"inference_config", parse_inference},
	{"datastore", parse_datastore},
	{"id", parse_read_only},
	{"creation_context", parse_read_only},
	{"latest_version", parse_read_only},
	{"resourceGroup", parse_read_only},
};

/* A conda file saved as the spec is common enough for the CLI to have words for it. */
static int check_not_conda(struct parser *p)
{
	const struct yaml_node *n = yamltree_get(p->root, "dependencies");

	if (!n)
		n = yamltree_get(p->root, "channels");
	if (!n)
		return 0;
	return fail(p, n,
		    "this is a conda specification; save it as conda.yml and name it in spec.yml: "
		    "\"conda_file: conda.yml\"");
}

static int check_together(struct parser *p)
{
	const struct yaml_node *build = yamltree_get(p->root, "build");
	const struct yaml_node *conda = yamltree_get(p->root, "conda_file");
	const struct spec *s = p->s;

	if (s->image && build)
		return fail(p, build, "image and build exclude each other; keep one of them");
	if (conda && !s->image && !build)
		return fail(p, conda, "conda_file needs an image that it is installed into");
	if (!s->image && !build)
		return fail(p, p->root, "an environment needs an image or a build");
	if (conda && build)
		return warn(p, conda, "conda_file is meant to go with image, not with build");
	return 0;
}

static int parse_root(struct parser *p)
{
	int rc = 0;

	if (p->root->kind != YAML_MAP)
		return fail(p, p->root,
			    "a spec is a mapping with keys like \"name\" and \"image\"");
	rc = check_not_conda(p);
	if (!rc)
		rc = parse_keys(p, p->root, spec_keys, COUNT(spec_keys), "");
	if (!rc)
		rc = check_together(p);
	if (!rc && p->warnings.len) {
		p->s->warnings = buf_steal(&p->warnings, NULL);
		rc = p->s->warnings ? 0 : no_memory(p);
	}
	return rc;
}

int spec_parse(const char *text, size_t len, struct spec **out, struct err *e)
{
	struct parser p = {.warnings = BUF_INIT(WARNINGS_MAX), .e = e};
	struct yaml_tree *tree;
	int rc;

	*out = NULL;
	if (len > SPEC_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than %d bytes", SPEC_SIZE_MAX);
	rc = yamltree_load(text, len, &tree, e);
	if (rc)
		return rc;
	p.root = yamltree_root(tree);
	p.s = calloc(1, sizeof(*p.s));
	rc = p.s ? parse_root(&p) : no_memory(&p);
	buf_free(&p.warnings);
	yamltree_free(tree);
	if (rc) {
		spec_free(p.s);
		return rc;
	}
	*out = p.s;
	return 0;
}
