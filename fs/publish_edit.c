/*
 * publish_edit - a file of a published version is saved: what the version's directory shows then is
 * put together, compared with the version that it stands for, and published when it is another.
 *
 * That is: the bytes that are saved; of the other files those that were saved before and are still
 * on show; of all others what that version (the base) has. Bytes of other files that nobody saved
 * yet are left alone.
 */
#include "fs/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/assetdir.h"
#include "fs/change.h"
#include "fs/context_edit.h"
#include "fs/context_walk.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/register.h"
#include "fs/render.h"
#include "fs/seen.h"
#include "fs/stage.h"
#include "fs/tree.h"
#include "fs/upper.h"

struct gathering {
	struct fsys *fs;
	const struct publish_edit *p;
	struct upper_place place; /* of vdir */
	char *env;                /* the service's name */
	char *own;                /* the directory's version; NULL: an environment's directory */
	struct version *base;     /* NULL: there is none */
	struct stage *stage;
	struct spec *spec; /* as it is shown, for the decisions before all is read */
	struct assetdir *dir;
	struct context_edit context;
	struct call *c;
	enum {
		PUBLISH,
		PROBE,
		CHECK
	} how; /* do it, ask whether it could be done, only look at it */
	struct err *e;
};

/* ---- names and the base ---- */

static char *decode(enum name_place place, const char *file)
{
	char name[NAME_SIZE];
	size_t len;

	return name_decode(place, file, name, &len) ? NULL : strdup(name);
}

/* The base's record: what was published last from this directory, or its own version. */
static int find_base(struct gathering *g)
{
	_cleanup_free_ char *last = edits_get_base(g->fs->edits, g->p->vdir);
	const char *name = last ? last : g->own;
	struct version_list *list;
	int rc;

	if (!name)
		return 0;
	if (!catalog_peek_versions(g->fs->catalog, g->p->scope, g->env, &list)) {
		rc = catalog_versions(g->fs->catalog, g->p->scope, g->env, g->c, &list, g->e);
		if (rc)
			return register_errno(rc);
	}
	g->base = version_ref(version_list_find(list, name));
	version_list_unref(list);
	return g->base ? 0
		       : err_set(g->e, -EIO, "version %s of %s is not there any more", name,
				 g->env);
}

static int begin(struct gathering *g)
{
	if (upper_parse(g->p->vdir, &g->place))
		return -EIO;
	g->env = decode(NAME_ENV, g->place.env);
	if (!g->env)
		return -ENOMEM;
	if (strcmp(g->place.version, UPPER_ENV) != 0) {
		g->own = decode(NAME_VERSION, g->place.version);
		if (!g->own)
			return -ENOMEM;
	}
	return stage_new(g->fs, &g->stage);
}

static void clear(struct gathering *g)
{
	context_edit_clear(&g->context);
	assetdir_free(g->dir);
	spec_free(g->spec);
	stage_free(g->stage);
	version_unref(g->base);
	free(g->own);
	free(g->env);
}

/* ---- spec.yml and conda.yml ---- */

/* Where the bytes of a file lie that counts as saved; NULL: nowhere, the base's count. */
static char *saved_bytes(struct gathering *g, const char *rel)
{
	static const enum upper_area areas[] = {UPPER_SHOWN, UPPER_LOCAL};
	struct edit edit;
	bool known = edits_get(g->fs->edits, g->p->vdir, rel, &edit);

	if (strcmp(rel, g->p->rel) == 0)
		return strdup(g->p->bytes);
	if (known && (edit.dirty || !edit_is_saved(&edit)))
		return NULL;
	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		char *path = upper_path(g->fs, areas[i], g->p->vdir, rel);
		struct stat st;

		if (path && !local_stat(g->fs->local, path, &st) && S_ISREG(st.st_mode))
			return path;
		free(path);
	}
	return NULL;
}

static int add_rendered(struct gathering *g, enum node_kind kind, const char *rel)
{
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	int rc = render_file(g->base, kind, &text);

	return rc ? rc : stage_add_text(g->stage, rel, buf_str(&text), text.len);
}

static int stage_spec(struct gathering *g)
{
	_cleanup_free_ char *bytes = saved_bytes(g, "spec.yml");

	if (bytes)
		return stage_add_file(g->stage, "spec.yml", bytes);
	return g->base ? add_rendered(g, NODE_SPEC, "spec.yml") : -ENOENT;
}

static int read_spec(struct gathering *g)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SPEC_SIZE_MAX);
	_cleanup_close_ int fd =
		openat(stage_fd(g->stage), "spec.yml", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : context_read_file(fd, &text);

	if (rc == -EFBIG)
		return err_set(g->e, rc, "spec.yml: larger than %d bytes", SPEC_SIZE_MAX);
	if (!rc)
		rc = spec_parse(buf_str(&text), text.len, &g->spec, g->e);
	return rc ? err_prefix(g->e, rc, "spec.yml: ") : 0;
}

static const char *plain(const char *path)
{
	while (path && strncmp(path, "./", 2) == 0)
		path += 2;
	return path;
}

/* The conda file that the spec names: the version's own, or another file that is seen there. */
static int stage_conda(struct gathering *g)
{
	const char *rel = plain(g->spec->conda_path);
	_cleanup_free_ char *bytes = NULL;
	_cleanup_free_ char *scratch = NULL;
	int rc = 0;

	if (!rel || strchr(rel, '/'))
		return 0; /* read where it is, or refused, by assetdir_read() */
	bytes = saved_bytes(g, rel);
	if (bytes)
		return stage_add_file(g->stage, rel, bytes);
	if (strcmp(rel, "conda.yml") == 0)
		return g->base && g->base->conda ? add_rendered(g, NODE_CONDA, rel) : 0;
	scratch = upper_path(g->fs, UPPER_SCRATCH, g->p->vdir, rel);
	rc = scratch ? stage_add_file(g->stage, rel, scratch) : -ENOMEM;
	return rc == -ENOENT ? 0 : rc;
}

/* ---- the whole ---- */

/* Editing changes a version, not which environment it belongs to; a new file's name gives way. */
static int check_name(struct gathering *g)
{
	if (!g->own || !g->spec->name || strcmp(g->spec->name, g->env) == 0)
		return 0;
	return err_set(g->e, -EBADMSG,
		       "spec.yml: name: this is the environment %s; to make %s of it, copy the "
		       "directory there",
		       g->env, g->spec->name);
}

static bool has_context_folder(const struct spec *s)
{
	return s->build_path && !s->build_is_url;
}

/* In a published version the context is in context/, whatever it was called before. */
static int check_build_path(struct gathering *g)
{
	size_t len;
	const char *path = plain(g->spec->build_path);

	if (!has_context_folder(g->spec) || !g->own)
		return 0;
	len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	if (len == strlen("context") && strncmp(path, "context", len) == 0)
		return 0;
	return err_set(g->e, -EBADMSG,
		       "spec.yml: line %d, column %d: build.path: the build context of a version "
		       "is its folder context, not %s",
		       g->spec->build_at.line, g->spec->build_at.column, g->spec->build_path);
}

/* What a spec.yml that is written in an environment's directory names there. */
static int stage_environment(struct gathering *g)
{
	const char *conda = plain(g->spec->conda_path), *build = plain(g->spec->build_path);
	_cleanup_free_ char *env = NULL;
	_cleanup_free_ char *from = NULL;
	int rc = 0;

	if (g->own)
		return 0;
	env = strndup(g->p->vdir, (size_t)(strrchr(g->p->vdir, '/') - g->p->vdir));
	if (env && has_context_folder(g->spec)) {
		from = local_join(env, build);
		rc = from ? stage_add_tree(g->stage, build, from) : -ENOMEM;
	} else if (env && conda && strcmp(conda, "conda.yml") != 0) {
		from = local_join(env, conda);
		rc = from ? stage_add_file(g->stage, conda, from) : -ENOMEM;
	}
	return !env ? -ENOMEM : rc == -ENOENT ? 0 : rc;
}

static int stage_context(struct gathering *g)
{
	if (!g->own || !has_context_folder(g->spec))
		return 0;
	return context_edit_stage(g->fs, g->p, g->base, g->spec, g->stage, g->c, &g->context, g->e);
}

static int read_all(struct gathering *g)
{
	/* A context that nobody touched is not fetched for that. */
	unsigned int flags = g->own && has_context_folder(g->spec) && !g->context.touched
				     ? ASSETDIR_NO_CONTEXT
				     : 0;
	int rc = assetdir_read_with(stage_fd(g->stage), "spec.yml", -1, flags, g->env, NULL,
				    &g->dir, g->e);

	if (!rc && g->context.touched)
		rc = context_edit_compare(&g->context, g->fs, g->p->scope, g->dir, g->c, g->e);
	return rc;
}

static int gather(struct gathering *g)
{
	int rc = begin(g);

	if (!rc)
		rc = find_base(g);
	if (!rc)
		rc = stage_spec(g);
	if (!rc)
		rc = read_spec(g);
	if (!rc)
		rc = check_name(g);
	if (!rc)
		rc = check_build_path(g);
	if (!rc)
		rc = stage_conda(g);
	if (!rc)
		rc = stage_environment(g);
	if (!rc)
		rc = stage_context(g);
	if (!rc)
		rc = read_all(g);
	return rc;
}

/* ---- the decision ---- */

static const char *unchanged_uri(const struct gathering *g)
{
	if (!g->own || !has_context_folder(g->spec) || g->context.changed || !g->base)
		return NULL;
	return g->base->context_uri;
}

/* Whether the file that is saved is part of what the directory defines. */
static bool is_part(const struct gathering *g)
{
	const char *conda = plain(g->dir->spec->conda_path);

	if (strcmp(g->p->rel, "spec.yml") == 0)
		return true;
	if (strcmp(g->p->rel, "conda.yml") == 0)
		return conda && strcmp(conda, "conda.yml") == 0;
	return g->context.touched && g->context.has_saved;
}

/* What the program that saves saw of the base, or the base as it is now. */
static struct version *seen_base(const struct gathering *g)
{
	struct version *seen = seen_find(g->fs->seen, g->p->who, g->env, g->base->version);

	return seen ? seen : version_ref(g->base);
}

static const char *text(const char *value)
{
	return value ? value : "";
}

static const struct kv *find_tag(const struct kv *tags, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(tags[i].key, key) == 0)
			return &tags[i];
	return NULL;
}

/* The tags that the text has otherwise than they were seen. Returns how many; changes has room. */
static size_t changed_tags(const struct spec *s, const struct version *seen,
			   const struct version *now, struct tag_change *changes)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_tags; i++) {
		const struct kv *was = find_tag(seen->tags, seen->n_tags, s->tags[i].key);

		if (!was || strcmp(text(was->value), text(s->tags[i].value)) != 0)
			changes[n++] = (struct tag_change){.key = s->tags[i].key,
							   .value = text(s->tags[i].value)};
	}
	for (size_t i = 0; i < seen->n_tags; i++)
		if (!find_tag(s->tags, s->n_tags, seen->tags[i].key) &&
		    find_tag(now->tags, now->n_tags, seen->tags[i].key))
			changes[n++] = (struct tag_change){.key = seen->tags[i].key,
							   .flags = TAG_IF_THERE};
	return n;
}

/* From now on the program that saves has seen what it wrote itself. */
static void note_seen(const struct gathering *g, const struct publish_outcome *out)
{
	struct version *v;

	if (!out->version || strcmp(g->p->rel, "spec.yml") != 0)
		return;
	v = spec_to_version(g->dir->spec, g->env, out->version->version, NULL, NULL);
	seen_note(g->fs->seen, g->p->who->tgid, v);
	version_unref(v);
}

/* The version that spec.yml asks for; NULL: the next one. */
static const char *wanted(const struct gathering *g)
{
	const char *said = g->dir->spec->version;

	if (!said || (g->own && strcmp(said, g->own) == 0) ||
	    (g->base && strcmp(said, g->base->version) == 0) ||
	    edits_said(g->fs->edits, g->p->vdir, said))
		return NULL;
	return said;
}

/* place is what the journal calls it: wherever the bytes are now, they are refused there. */
static struct registration registration_of(const struct gathering *g, const char *place)
{
	return (struct registration){
		.scope = g->p->scope,
		.env = g->env,
		.wanted = wanted(g),
		.spec = g->dir->spec,
		.conda = g->dir->conda,
		.uri = unchanged_uri(g),
		.files = g->dir->files,
		.n_files = g->dir->n_files,
		.from = place,
		.bytes = g->p->bytes,
	};
}

static int make_new(struct gathering *g, struct publish_outcome *out)
{
	_cleanup_free_ char *place = upper_path(g->fs, UPPER_EDIT, g->p->vdir, g->p->rel);
	struct registration r = registration_of(g, place);

	version_unref(out->version);
	out->version = NULL;
	out->what = PUBLISH_NEW;
	if (!place)
		return -ENOMEM;
	if (g->how != PUBLISH)
		return g->how == PROBE ? register_probe(g->fs, &r, g->c, g->e) : 0;
	return register_version(g->fs, &r, g->c, &out->version, &out->journal, g->e);
}

/* The change, written down before: after a crash it is known what was to be there then. */
static int send_update(struct gathering *g, const struct version_change *change,
		       struct publish_outcome *out)
{
	_cleanup_free_ char *place = upper_path(g->fs, UPPER_EDIT, g->p->vdir, g->p->rel);
	struct registration r = registration_of(g, place);
	struct version *expected = spec_to_version(g->dir->spec, g->env, g->base->version,
						   g->dir->conda, unchanged_uri(g));
	int rc = place && expected ? register_update(g->fs, &r, expected, &out->journal, g->e)
				   : -ENOMEM;

	version_unref(expected);
	if (rc)
		return rc;
	rc = change_version_named(g->fs, g->p->scope, g->env, g->base->version, change, g->c,
				  &out->version, g->e);
	register_updated(g->fs, &out->journal, rc);
	return register_errno(rc);
}

/* Changes of tags and description, one by one: nobody else's is touched. */
static int update(struct gathering *g, struct publish_outcome *out)
{
	const struct spec *s = g->dir->spec;
	struct version_change change = VERSION_CHANGE_INIT;
	struct version *seen = seen_base(g);
	_cleanup_free_ struct tag_change *tags =
		calloc(s->n_tags + seen->n_tags + 1, sizeof(*tags));
	int rc = tags ? 0 : -ENOMEM;

	if (!rc) {
		change.tags = tags;
		change.n_tags = changed_tags(s, seen, g->base, tags);
		change.set_description = strcmp(text(s->description), text(seen->description)) != 0;
		change.description = s->description;
		out->what = PUBLISH_NOTHING;
	}
	if (!rc && (change.n_tags || change.set_description)) {
		version_unref(out->version);
		out->version = NULL;
		out->what = PUBLISH_UPDATED;
		rc = send_update(g, &change, out);
	}
	version_unref(seen);
	return rc;
}

/* 1 when the definition, or (*labels) tags or description, are other than the base's. */
static int compare(struct gathering *g, bool *definition, bool *labels)
{
	const struct spec *s = g->dir->spec;
	struct version *v =
		spec_to_version(s, g->env, g->base->version, g->dir->conda, unchanged_uri(g));
	char mine[REGISTER_DIGEST_SIZE], base[REGISTER_DIGEST_SIZE];
	int rc = v ? register_same_definition(v, g->base, definition) : -ENOMEM;

	*definition = !*definition || g->dir->n_files;
	*labels = false;
	if (!rc && !*definition) {
		rc = register_digest(v, mine);
		if (!rc)
			rc = register_digest(g->base, base);
		*labels = !rc && strcmp(mine, base) != 0;
	}
	version_unref(v);
	return rc;
}

static int note_texts(const struct gathering *g, struct publish_outcome *out)
{
	const char *said = g->dir->spec->version, *note = g->dir->warnings;

	out->said = said ? strdup(said) : NULL;
	out->note = note ? strdup(note) : NULL;
	return (said && !out->said) || (note && !out->note) ? -ENOMEM : 0;
}

static int decide(struct gathering *g, struct publish_outcome *out)
{
	bool definition = true, labels = false;
	int rc = note_texts(g, out);

	if (rc)
		return rc;

	out->version = version_ref(g->base);
	out->what = PUBLISH_ASIDE;
	if (!is_part(g))
		return 0;
	if (g->base)
		rc = compare(g, &definition, &labels);
	if (rc)
		return rc;
	/* A number of one's own is another version, whatever is in it. */
	if (definition || wanted(g))
		return make_new(g, out);
	if (labels && g->how == PUBLISH)
		return update(g, out);
	out->what = PUBLISH_NOTHING;
	return 0;
}

static int run(struct gathering *g, struct publish_outcome *out)
{
	int rc = gather(g);

	*out = (struct publish_outcome){0};
	/* A file beside a spec.yml that is still to be written. */
	if (rc == -ENOENT && !g->own && !g->spec) {
		out->what = PUBLISH_ASIDE;
		rc = 0;
	} else if (!rc) {
		rc = decide(g, out);
		if (!rc && g->how == PUBLISH)
			note_seen(g, out);
	}
	clear(g);
	if (rc)
		publish_outcome_clear(out);
	return rc;
}

int publish_edit(struct fsys *fs, const struct publish_edit *p, struct call *c,
		 struct publish_outcome *out, struct err *e)
{
	struct gathering g = {.fs = fs, .p = p, .c = c, .e = e};

	return run(&g, out);
}

int publish_probe(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e)
{
	struct gathering g = {.fs = fs, .p = p, .c = c, .how = PROBE, .e = e};
	struct publish_outcome out;
	int rc = run(&g, &out);

	publish_outcome_clear(&out);
	return rc;
}

int publish_check(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e)
{
	struct gathering g = {.fs = fs, .p = p, .c = c, .how = CHECK, .e = e};
	struct publish_outcome out;
	int rc = run(&g, &out);

	publish_outcome_clear(&out);
	return rc;
}

void publish_outcome_clear(struct publish_outcome *o)
{
	version_unref(o->version);
	free(o->said);
	free(o->note);
	*o = (struct publish_outcome){0};
}
