#include "fs/shown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fuse_lowlevel.h>
#include <openssl/evp.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "client/sha256.h"
#include "fs/change.h"
#include "fs/edits.h"
#include "fs/kept.h"
#include "fs/register.h"
#include "fs/render.h"
#include "fs/rendered.h"
#include "fs/spec.h"
#include "fs/spec_patch.h"
#include "fs/tree.h"
#include "fs/upper.h"

enum { DIGEST_SIZE = 2 * SHA256_BYTES + 1, PERMISSIONS = 0777 };

/*
 * Which record the kept things belong to, a line each: "created <ns>" for all of them, "spec.yml
 * <digest>" and "conda.yml <digest>" for these two (of what the record amounts to), "unlisted".
 */
static const char CREATED[] = "created ", UNLISTED[] = "unlisted\n";

/* ---- names and digests ---- */

static char *version_dir(const struct scope *scope, const struct version *v)
{
	_cleanup_free_ char *env = local_env_path(scope, v->env);
	char name[NAME_SIZE];

	name_encode(NAME_VERSION, v->version, strlen(v->version), name);
	return env ? local_join(env, name) : NULL;
}

static int digest_of(const struct version *v, enum node_kind kind, char out[DIGEST_SIZE])
{
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	unsigned char digest[SHA256_BYTES];
	int rc = render_file(v, kind, &text);

	if (rc)
		return rc;
	if (!EVP_Digest(buf_str(&text), text.len, digest, NULL, sha256(), NULL))
		return -EIO;
	for (int i = 0; i < SHA256_BYTES; i++)
		snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
	return 0;
}

static enum node_kind kind_of(const char *rel)
{
	return strcmp(rel, "spec.yml") == 0 ? NODE_SPEC : NODE_CONDA;
}

static bool is_text(const char *rel)
{
	return strcmp(rel, "spec.yml") == 0 || strcmp(rel, "conda.yml") == 0;
}

/* ---- which record ---- */

static int created_line(const struct version *v, char *out, size_t size)
{
	int n = snprintf(out, size, "%s%lld\n", CREATED, (long long)v->created);

	return n < 0 || (size_t)n >= size ? -EFBIG : 0;
}

static int text_line(const struct version *v, const char *rel, char *out, size_t size)
{
	char digest[DIGEST_SIZE];
	int rc = digest_of(v, kind_of(rel), digest);

	if (!rc)
		snprintf(out, size, "%s %s\n", rel, digest);
	return rc;
}

enum { LINE_SIZE = 128 };

/* Sets the line that begins with `key` in the record of dir; lines of another version go. */
static int set_line(struct fsys *fs, const char *dir, const struct version *v, const char *key,
		    const char *line)
{
	_cleanup_buf_ struct buf old = BUF_INIT(KEPT_RECORD_MAX);
	_cleanup_buf_ struct buf fresh = BUF_INIT(KEPT_RECORD_MAX);
	char created[LINE_SIZE];
	const char *p, *end;
	int rc = created_line(v, created, sizeof(created));

	if (rc)
		return rc;
	rc = kept_get_record(fs->kept, dir, &old);
	if (rc || !strstr(buf_str(&old), created)) {
		kept_drop(fs->kept, dir);
		buf_reset(&old);
	}
	buf_addstr(&fresh, created);
	for (p = buf_str(&old); *p; p = end) {
		end = p + strcspn(p, "\n");
		end += *end == '\n';
		if (strncmp(p, CREATED, sizeof(CREATED) - 1) != 0 &&
		    strncmp(p, key, strlen(key)) != 0)
			buf_add(&fresh, p, (size_t)(end - p));
	}
	buf_addstr(&fresh, line);
	rc = buf_error(&fresh);
	return rc ? rc : kept_set_record(fs->kept, dir, buf_str(&fresh));
}

/* ---- what is known of a version's directory ---- */

static bool has_line(const struct buf *record, const char *line)
{
	return strstr(buf_str(record), line) != NULL;
}

/* Whether the text of rel that is kept is of the record v, with its size and time. */
static void read_text(struct fsys *fs, const char *dir, const struct version *v,
		      const struct buf *record, const char *rel, struct node_shown_file *out)
{
	char line[LINE_SIZE];
	struct stat st;

	*out = (struct node_shown_file){0};
	if (text_line(v, rel, line, sizeof(line)) || !has_line(record, line) ||
	    kept_get_attr(fs->kept, dir, rel, &st))
		return;
	out->kept = true;
	out->size = st.st_size;
	out->mtime = st.st_mtim;
	out->mode = st.st_mode;
}

static void read_shown(struct fsys *fs, struct node *version, const struct version *v,
		       struct node_shown *s)
{
	_cleanup_buf_ struct buf record = BUF_INIT(KEPT_RECORD_MAX);
	_cleanup_free_ char *dir = version_dir(version->scope, v);
	char created[LINE_SIZE];

	*s = (struct node_shown){.of = v, .generation = atomic_load(&fs->shown_generation)};
	if (!dir || kept_get_record(fs->kept, dir, &record) ||
	    created_line(v, created, sizeof(created)) || !has_line(&record, created))
		return;
	s->any = true;
	read_text(fs, dir, v, &record, "spec.yml", &s->spec);
	read_text(fs, dir, v, &record, "conda.yml", &s->conda);
	s->unlisted = s->spec.kept && has_line(&record, UNLISTED);
}

static struct node_shown get_shown(struct fsys *fs, struct node *version, const struct version *v)
{
	struct node_shown s = {.of = v};

	if (!fs->kept)
		return s;
	s = node_get_shown(fs->nodes, version);
	if (s.of != v || s.generation != atomic_load(&fs->shown_generation)) {
		read_shown(fs, version, v, &s);
		node_set_shown(fs->nodes, version, &s);
	}
	return s;
}

bool shown_lists_tags(struct fsys *fs, struct node *version, const struct version *v)
{
	return !get_shown(fs, version, v).unlisted;
}

/* ---- reading ---- */

int shown_text(struct fsys *fs, struct node *version, enum node_kind kind, struct buf *out)
{
	struct version *v = node_get_version(fs->nodes, version);
	struct node_shown s = get_shown(fs, version, v);
	_cleanup_free_ char *dir = NULL;
	struct stat st;
	int rc = -ENOENT;

	if ((kind == NODE_SPEC && s.spec.size) || (kind == NODE_CONDA && s.conda.size)) {
		dir = version_dir(version->scope, v);
		rc = dir ? kept_get_text(fs->kept, dir,
					 kind == NODE_SPEC ? "spec.yml" : "conda.yml", out, &st)
			 : -ENOMEM;
	}
	if (rc == -ENOENT)
		rc = rendered_file(fs->rendered, v, kind, out);
	version_unref(v);
	return rc;
}

static void put_times(struct stat *st, const struct timespec *mtime)
{
	if (mtime->tv_nsec == UTIME_OMIT)
		return;
	st->st_mtim = *mtime;
	st->st_atim = *mtime;
}

static void put_mode(struct stat *st, mode_t mode)
{
	if (mode && !S_ISLNK(st->st_mode))
		st->st_mode = (st->st_mode & S_IFMT) | (mode & PERMISSIONS);
}

static void put_file(const struct node_shown_file *f, struct stat *st)
{
	if (!f->kept)
		return;
	if (f->size) {
		st->st_size = f->size;
		st->st_blocks = (f->size + 511) / 512;
	}
	put_times(st, &f->mtime);
	put_mode(st, f->mode);
}

/* The path in its version of what is neither spec.yml nor conda.yml. To be freed. */
static char *rel_of(struct fsys *fs, struct node *n)
{
	_cleanup_free_ char *vdir = NULL;
	char *rel = NULL;

	if (n->kind == NODE_VERSION)
		return strdup("");
	if (n->kind == NODE_DOCKERFILE)
		return strdup("Dockerfile");
	if (n->kind == NODE_BUILD_LOG)
		return strdup("build.log");
	if (n->kind == NODE_CONTEXT && !upper_of_dir(fs, n, &vdir, &rel))
		return rel;
	return NULL;
}

static int put_other(struct fsys *fs, struct node *n, const struct version *v, struct stat *st)
{
	_cleanup_free_ char *dir = version_dir(n->scope, v);
	_cleanup_free_ char *rel = rel_of(fs, n);
	struct stat kept;

	if (!dir)
		return -ENOMEM;
	if (!rel || kept_get_attr(fs->kept, dir, rel, &kept))
		return 0;
	put_times(st, &kept.st_mtim);
	put_mode(st, kept.st_mode);
	return 0;
}

int shown_stat(struct fsys *fs, struct node *n, const struct version *v, struct stat *st)
{
	struct node *version = tree_version_of(n);
	struct node_shown s;

	if (!fs->kept || !version)
		return 0;
	s = get_shown(fs, version, v);
	if (!s.any)
		return 0;
	if (n->kind == NODE_SPEC)
		put_file(&s.spec, st);
	else if (n->kind == NODE_CONDA)
		put_file(&s.conda, st);
	else
		return put_other(fs, n, v, st);
	return 0;
}

/* ---- keeping ---- */

static void complain(const struct version *v, const char *rel, int rc)
{
	if (rc)
		log_warn("op=save env=%s version=%s file=%s: what was set here can't be kept: %s",
			 v->env, v->version, rel, strerror(-rc));
}

static void moved_on(struct fsys *fs)
{
	atomic_fetch_add(&fs->shown_generation, 1);
}

/* Whether a spec.yml says right where the other files of a published version are. */
static bool stands_alone(const struct spec *s)
{
	return (!s->conda_path || strcmp(s->conda_path, "conda.yml") == 0 ||
		strcmp(s->conda_path, "./conda.yml") == 0) &&
	       (!s->build_path || s->build_is_url || strcmp(s->build_path, "context") == 0 ||
		strcmp(s->build_path, "./context") == 0 || strcmp(s->build_path, "context/") == 0);
}

/* Whether it says what the record says: somebody else may have changed a tag of that. */
static bool says_same(const struct spec *s, const struct version *v)
{
	char text[REGISTER_DIGEST_SIZE], record[REGISTER_DIGEST_SIZE];
	struct version *said = spec_to_version(s, v->env, v->version, v->conda,
					       s->build_is_url ? NULL : v->context_uri);
	bool same = said && !register_digest(said, text) && !register_digest(v, record) &&
		    strcmp(text, record) == 0;

	version_unref(said);
	return same;
}

static bool fits(const char *text, size_t len, const struct version *v)
{
	struct spec *s;
	bool ok;

	if (spec_parse(text, len, &s, NULL))
		return false;
	ok = stands_alone(s) && says_same(s, v);
	spec_free(s);
	return ok;
}

static int keep_text(struct fsys *fs, const char *dir, const struct version *v, const char *rel,
		     const char *text, size_t len, bool edited, const struct stat *st)
{
	_cleanup_buf_ struct buf patched = BUF_INIT(RENDER_MAX);
	bool spec = strcmp(rel, "spec.yml") == 0, whole = true;
	char line[LINE_SIZE];
	int rc = text_line(v, rel, line, sizeof(line));

	if (!rc)
		rc = set_line(fs, dir, v, rel, line);
	if (rc)
		return rc;
	if (spec)
		whole = fits(text, len, v) &&
			!spec_patch(text, len, v->env, v->version, edited, &patched);
	else
		buf_add(&patched, text, len);
	if (!whole || buf_error(&patched))
		buf_reset(&patched);
	rc = kept_put_text(fs->kept, dir, rel, buf_str(&patched), patched.len, &st->st_mtim,
			   st->st_mode & PERMISSIONS);
	/* What was kept before is not of this record. */
	if (rc)
		kept_drop_file(fs->kept, dir, rel);
	return rc;
}

void shown_keep_text(struct fsys *fs, struct scope *scope, const struct version *v, const char *rel,
		     const char *text, size_t len, bool edited, const struct stat *st)
{
	_cleanup_free_ char *dir = version_dir(scope, v);

	if (!fs->kept)
		return;
	complain(v, rel, dir ? keep_text(fs, dir, v, rel, text, len, edited, st) : -ENOMEM);
	moved_on(fs);
}

void shown_keep_attributes(struct fsys *fs, struct scope *scope, const struct version *v,
			   const char *rel, const struct stat *st)
{
	_cleanup_free_ char *dir = version_dir(scope, v);
	int rc = dir ? 0 : -ENOMEM;

	if (!fs->kept)
		return;
	if (!rc)
		rc = set_line(fs, dir, v, CREATED, "");
	if (!rc)
		rc = kept_put_attr(fs->kept, dir, rel, &st->st_mtim, st->st_mode & PERMISSIONS);
	complain(v, rel, rc);
	moved_on(fs);
}

void shown_keep_derived(struct fsys *fs, struct node *version, const char *rel,
			const struct stat *st)
{
	struct version *v = node_get_version(fs->nodes, version);

	shown_keep_attributes(fs, version->scope, v, rel, st);
	version_unref(v);
}

void shown_keep_unlisted(struct fsys *fs, struct scope *scope, const struct version *v)
{
	_cleanup_free_ char *dir = version_dir(scope, v);

	if (!fs->kept || (!v->n_tags && !v->description))
		return;
	complain(v, "spec.yml", dir ? set_line(fs, dir, v, UNLISTED, UNLISTED) : -ENOMEM);
	moved_on(fs);
}

/* ---- chmod and utimensat ---- */

/* Marks what is kept of rel as v's; what was kept of another state of the record does not become
 * this one's. */
static int claim(struct fsys *fs, const char *dir, const struct version *v, const char *rel)
{
	_cleanup_buf_ struct buf record = BUF_INIT(KEPT_RECORD_MAX);
	char line[LINE_SIZE];
	int rc;

	if (!is_text(rel))
		return set_line(fs, dir, v, CREATED, "");
	rc = text_line(v, rel, line, sizeof(line));
	if (!rc && (kept_get_record(fs->kept, dir, &record) || !has_line(&record, line)))
		rc = kept_drop_file(fs->kept, dir, rel);
	return rc ? rc : set_line(fs, dir, v, rel, line);
}

static const struct timespec *asked_time(const struct stat *attr, int to_set, struct timespec *now)
{
	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		clock_gettime(CLOCK_REALTIME, now);
		return now;
	}
	return to_set & FUSE_SET_ATTR_MTIME ? &attr->st_mtim : NULL;
}

int shown_set_attributes(struct fsys *fs, struct node *n, const struct stat *attr, int to_set,
			 struct err *e)
{
	struct node *version = tree_version_of(n);
	mode_t mode = to_set & FUSE_SET_ATTR_MODE ? attr->st_mode & PERMISSIONS : 0;
	_cleanup_free_ char *dir = NULL;
	_cleanup_free_ char *rel = NULL;
	const struct timespec *mtime;
	struct timespec now;
	struct version *v;
	int rc = n->kind == NODE_ROOT ? 0 : change_allowed(n, e);

	if (rc || !fs->kept)
		return rc ? rc : err_set(e, -EROFS, "this mount is read-only");
	mtime = asked_time(attr, to_set, &now);
	/* Owners are the mount's, and directories of lists have the times of their lists. */
	if (!version || n->archived || (!mtime && !mode))
		return n->archived ? err_set(e, -EROFS, "what is archived is not changed") : 0;
	v = node_get_version(fs->nodes, version);
	dir = version_dir(n->scope, v);
	rel = n->kind == NODE_SPEC    ? strdup("spec.yml")
	      : n->kind == NODE_CONDA ? strdup("conda.yml")
				      : rel_of(fs, n);
	rc = dir && rel ? 0 : -ENOMEM;
	if (!rc)
		rc = claim(fs, dir, v, rel);
	if (!rc)
		rc = kept_put_attr(fs->kept, dir, rel, mtime, mode);
	version_unref(v);
	moved_on(fs);
	return rc;
}

void shown_note_attributes(struct fsys *fs, struct node *n, const char *path)
{
	_cleanup_free_ char *vdir = NULL;
	_cleanup_free_ char *base = NULL;
	_cleanup_free_ char *dir = NULL;
	struct upper_place p;
	struct edit edit;
	struct stat st;
	char name[NAME_SIZE];

	(void)n;
	if (upper_parse(path, &p) || p.area != UPPER_SHOWN || local_stat(fs->local, path, &st))
		return;
	vdir = upper_dir(&p);
	if (!vdir || !edits_get(fs->edits, vdir, p.rel, &edit) || !edit_is_saved(&edit))
		return;
	base = edits_get_base(fs->edits, vdir);
	if (base) {
		name_encode(NAME_VERSION, base, strlen(base), name);
		if (asprintf(&dir, "%s/%s/%s", p.scope, p.env, name) < 0)
			dir = NULL;
	}
	if (kept_put_attr(fs->kept, dir ? dir : vdir, p.rel, &st.st_mtim, st.st_mode & PERMISSIONS))
		log_debug("op=setattr path=%s: can't be kept", path);
	moved_on(fs);
}
