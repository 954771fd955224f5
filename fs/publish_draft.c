/*
 * publish_draft - a directory of the disk becomes a version: it is read and checked as the CLI
 * would read it, published, and what is in the version then is removed from the disk. Everything
 * else stays: notes, a repository, what an ignore file excludes, what somebody wrote meanwhile.
 */
#include "fs/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cache/catalog.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/assetdir.h"
#include "fs/context_walk.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/handle.h"
#include "fs/keep.h"
#include "fs/local.h"
#include "fs/name.h"
#include "fs/register.h"
#include "fs/settle.h"
#include "fs/shown.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/xattr.h"

enum { NAMES_MAX = 100 };

/* ---- what a draft leaves behind ---- */

/* One file that was published, as it was when it was read. */
struct part {
	char *path; /* below the state directory */
	char *rel;  /* in the version; NULL: derived, not part of it */
	struct stat st;
};

struct parts {
	struct part *parts;
	size_t n;
};

static void parts_free(struct parts *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->parts[i].path);
		free(p->parts[i].rel);
	}
	free(p->parts);
}

/* Takes dir/name over when it is there. */
static int add_part(struct fsys *fs, struct parts *p, const char *dir, const char *name,
		    const char *rel)
{
	struct part *part = &p->parts[p->n];
	int rc;

	part->path = local_join(dir, name);
	part->rel = rel ? strdup(rel) : NULL;
	if (!part->path || (rel && !part->rel)) {
		free(part->path);
		free(part->rel);
		return -ENOMEM;
	}
	rc = local_stat(fs->local, part->path, &part->st);
	if (!rc && !S_ISDIR(part->st.st_mode)) {
		p->n++;
		return 0;
	}
	free(part->path);
	free(part->rel);
	return rc == -ENOENT ? 0 : rc;
}

/* The files that the version is made of, and those that are derived from it. */
static int collect_parts(struct fsys *fs, const char *path, const struct assetdir *dir,
			 struct parts *p)
{
	const struct spec *s = dir->spec;
	const struct {
		const char *name, *rel;
	} files[] = {{"spec.yml", "spec.yml"},
		     {"Dockerfile", NULL},
		     {"build.log", NULL},
		     {s->conda_path, "conda.yml"}};
	const size_t n_files = sizeof(files) / sizeof(*files);
	_cleanup_free_ char *context = local_join(path, s->build_path ? s->build_path : "");
	int rc = 0;

	p->parts = calloc(dir->n_files + n_files, sizeof(*p->parts));
	if (!p->parts || !context)
		return -ENOMEM;
	for (size_t i = 0; !rc && i < n_files; i++)
		if (files[i].name && strncmp(files[i].name, "../", 3) != 0)
			rc = add_part(fs, p, path, files[i].name, files[i].rel);
	for (size_t i = 0; !rc && i < dir->n_files; i++) {
		_cleanup_free_ char *rel = local_join("context", dir->files[i].path);

		rc = rel ? add_part(fs, p, context, dir->files[i].path, rel) : -ENOMEM;
	}
	return rc;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool is_unchanged(struct fsys *fs, const struct part *part)
{
	struct stat now;

	return local_stat(fs->local, part->path, &now) == 0 && unchanged(&now, &part->st);
}

/* ---- after the publication ---- */

/* Everything below is about one draft that is a version now. */
struct published {
	struct fsys *fs;
	struct scope *scope;
	const char *path;  /* of the draft */
	char *vdir;        /* of the version */
	struct version *v; /* as the service has it */
	const struct proc_id *by;
	const struct parts *parts;
	char *kept; /* the directory whose time was kept last */
};

static bool is_text(const struct part *part)
{
	return strcmp(part->rel, "spec.yml") == 0 || strcmp(part->rel, "conda.yml") == 0;
}

/* The number of the part's node, if the kernel knows it. */
static uint64_t part_number(struct published *p, const struct part *part)
{
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;

	return local_identify(p->fs->local, part->path, &st, number)
		       ? 0
		       : node_number(1, NODE_LOCAL, number);
}

/* The version that the text names is no wish, when it is saved once more. */
static void remember_said(struct published *p, const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SPEC_SIZE_MAX);
	_cleanup_close_ int fd =
		openat(local_fd(p->fs->local), path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct spec *spec;

	if (fd < 0 || context_read_file(fd, &text) ||
	    spec_parse(buf_str(&text), text.len, &spec, NULL))
		return;
	edits_set_said(p->fs->edits, p->vdir, spec->version);
	spec_free(spec);
}

/*
 * The file is one of a published version that is edited from now on: for whoever saved it, it goes
 * on being what it was, and what those write who have it open is theirs to save.
 */
static int go_on_editing(struct published *p, const struct part *part, unsigned int writers)
{
	const struct proc_id nobody = {0};
	_cleanup_free_ char *to = upper_path(p->fs, UPPER_SHOWN, p->vdir, part->rel);
	int rc = to ? local_make_parents(p->fs->local, to) : -ENOMEM;

	if (!rc)
		rc = edits_add(p->fs->edits, p->vdir, part->rel, false);
	if (rc)
		return rc;
	if (renameat(local_fd(p->fs->local), part->path, local_fd(p->fs->local), to) < 0) {
		rc = -errno;
		edits_remove(p->fs->edits, p->vdir, part->rel);
		return rc;
	}
	node_moved_local(p->fs->nodes, part->path, to);
	if (strcmp(part->rel, "spec.yml") == 0)
		remember_said(p, to);
	for (; writers; writers--)
		edits_writers(p->fs->edits, p->vdir, part->rel, 1);
	edits_attempted(p->fs->edits, p->vdir, part->rel, p->by ? p->by : &nobody, 0);
	return 0;
}

/* One file of the draft that the version has now. Nobody opens it meanwhile. */
static void remove_part(struct published *p, const struct part *part)
{
	unsigned int writers;

	if (!is_unchanged(p->fs, part))
		return;
	writers = part->rel ? handles_adopt(p->fs->handles, part_number(p, part)) : 0;
	if (part->rel && (writers || (p->by && p->by->tgid && is_text(part))) &&
	    (!go_on_editing(p, part, writers) || writers))
		return;
	unlinkat(local_fd(p->fs->local), part->path, 0);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void keep_directory(struct published *p, const char *rel, const char *path)
{
	struct stat st;

	if (!local_stat(p->fs->local, path, &st) && S_ISDIR(st.st_mode))
		shown_keep_attributes(p->fs, p->scope, p->v, rel, &st);
}

/* The directories of a context that a file lies in, up to the context itself. Those that were kept
 * for the file before are not kept again. */
static void keep_directories(struct published *p, const char *rel, const char *path)
{
	_cleanup_free_ char *in = strdup(rel);
	_cleanup_free_ char *at = strdup(path);
	char *a, *b;

	while (in && at && (a = strrchr(in, '/')) && (b = strrchr(at, '/'))) {
		*a = '\0';
		*b = '\0';
		if (p->kept && strcmp(p->kept, in) == 0)
			return;
		keep_directory(p, in, at);
		if (!strchr(in, '/'))
			break;
	}
	a = strrchr(rel, '/');
	free(p->kept);
	p->kept = a ? strndup(rel, (size_t)(a - rel)) : NULL;
}

/* Before anything is removed: that changes the times of directories. */
static void keep_parts(struct published *p, const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++) {
		const struct part *part = &parts->parts[i];

		if (!is_unchanged(p->fs, part))
			continue;
		/* Derived files are dropped, but a copy of them is told by its time. */
		keep_drafted(p->fs, p->scope, p->v, part->rel ? part->rel : base_name(part->path),
			     part->path);
		if (part->rel)
			keep_directories(p, part->rel, part->path);
	}
}

static void remove_parts(struct published *p, const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++) {
		edits_lock(p->fs->edits);
		remove_part(p, &parts->parts[i]);
		edits_unlock(p->fs->edits);
	}
}

/* rsync -X and cp -a compare attributes: files that came without tags are shown without. */
static bool has_user_attributes(struct fsys *fs, const char *path)
{
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *names = malloc(XATTR_NAMES_MAX);
	ssize_t len = fd < 0 || !names ? -1 : flistxattr(fd, names, XATTR_NAMES_MAX);

	for (const char *n = names; len > 0 && n < names + len; n += strlen(n) + 1)
		if (strncmp(n, XATTR_TAG, strlen(XATTR_TAG)) == 0 ||
		    strcmp(n, XATTR_DESCRIPTION) == 0)
			return true;
	return false;
}

/* Moves what is left to where it is seen in the version's directory. */
static int move_leftover(struct published *p, const char *name)
{
	_cleanup_free_ char *from = local_join(p->path, name);
	_cleanup_free_ char *rel =
		upper_is_asset("", name) ? upper_rejected_name(name) : strdup(name);
	_cleanup_free_ char *to = rel ? upper_path(p->fs, UPPER_LOCAL, p->vdir, rel) : NULL;
	int dir = local_fd(p->fs->local);
	int rc = from && to ? local_make_parents(p->fs->local, to) : -ENOMEM;

	if (rc)
		return rc;
	if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) < 0)
		return -errno;
	node_moved_local(p->fs->nodes, from, to);
	return 0;
}

static int move_name(void *arg, const char *path, const char *name)
{
	struct published *p = arg;

	if (move_leftover(p, name))
		log_info("op=publish draft=%s name=%s: stays in the draft", path, name);
	return 0;
}

/*
 * What is not in the version belongs to it all the same. Bytes of an asset file that were written
 * while it was published are put aside. What can't be moved stays in a draft with a dot.
 */
static void move_leftovers(struct published *p)
{
	int rc = local_each(p->fs->local, p->path, move_name, p);

	if (rc && rc != -ENOENT)
		log_warn("op=publish draft=%s: %s", p->path, strerror(-rc));
}

/* A draft that gives way to a version of its name keeps its files under a name with a dot. */
void publish_step_aside(struct fsys *fs, const char *path)
{
	const char *slash = strrchr(path, '/');
	int dir = local_fd(fs->local);

	for (int i = 0; i < NAMES_MAX; i++) {
		_cleanup_free_ char *to = NULL;
		char number[16] = "";

		if (i)
			snprintf(number, sizeof(number), ".%d", i);
		if (asprintf(&to, "%.*s/.%s%s", (int)(slash - path), path, slash + 1, number) < 0) {
			to = NULL;
			return;
		}
		if (!renameat2(dir, path, dir, to, RENAME_NOREPLACE)) {
			node_moved_local(fs->nodes, path, to);
			log_warn("op=publish draft=%s: its files are in %s now", path,
				 strrchr(to, '/') + 1);
			return;
		}
		if (errno != EEXIST)
			return;
	}
}

/* Programs that are in the draft's directory are in the version's from now on. */
static void forward(struct published *p, uint64_t draft, uint64_t env)
{
	struct node *from = node_hold(p->fs->nodes, draft), *dir = node_hold(p->fs->nodes, env);
	struct listing *found = NULL;
	char name[NAME_SIZE];
	struct node *to;
	struct call c;

	name_encode(NAME_VERSION, p->v->version, strlen(p->v->version), name);
	call_init(&c, clock_mono() + p->fs->save_timeout, CALL_INTERACTIVE);
	if (from && dir && from->kind == NODE_LOCAL &&
	    !tree_published(p->fs, dir, name, &c, &found, NULL) && found->count) {
		to = tree_intern(p->fs, dir, &found->items[0]);
		if (to) {
			node_set_forward(p->fs->nodes, from, to);
			node_forget(p->fs->nodes, to->ino, 1);
		}
	}
	listing_free(found);
	call_destroy(&c);
	node_put(p->fs->nodes, dir);
	node_put(p->fs->nodes, from);
}

static uint64_t env_number(const struct scope *scope, const char *env)
{
	char key[SCOPE_KEY_SIZE], name[NAME_SIZE];

	name_encode(NAME_ENV, env, strlen(env), name);
	return node_number(node_number(1, NODE_SCOPE, tree_scope_key(scope, key)), NODE_ENV, name);
}

static bool is_dotted(const char *path)
{
	return tree_is_draft_name(strrchr(path, '/') + 1);
}

static void settle_files(struct published *p, const struct parts *parts)
{
	_cleanup_free_ char *spec = local_join(p->path, "spec.yml");
	char number[LOCAL_NUMBER_SIZE];
	struct stat st;
	uint64_t draft = 0;
	bool unlisted =
		spec && !has_user_attributes(p->fs, spec) && !has_user_attributes(p->fs, p->path);

	if (!local_identify(p->fs->local, p->path, &st, number))
		draft = node_number(1, NODE_LOCAL, number);
	p->parts = parts;
	keep_directory(p, "", p->path);
	keep_parts(p, parts);
	remove_parts(p, parts);
	if (unlisted)
		shown_keep_unlisted(p->fs, p->scope, p->v);
	local_remove_empty(p->fs->local, p->path);
	if (!is_dotted(p->path)) {
		move_leftovers(p);
		if (local_remove_empty(p->fs->local, p->path) == -ENOTEMPTY)
			publish_step_aside(p->fs, p->path);
	}
	edits_set_glowing(p->fs->edits, p->vdir);
	if (local_stat(p->fs->local, p->path, &st) == -ENOENT)
		forward(p, draft, env_number(p->scope, p->v->env));
}

/* ---- the publication ---- */

static char *version_dir(const struct scope *scope, const struct version *v)
{
	_cleanup_free_ char *env = local_env_path(scope, v->env);
	char name[NAME_SIZE];

	name_encode(NAME_VERSION, v->version, strlen(v->version), name);
	return env ? local_join(env, name) : NULL;
}

static int register_draft(struct published *p, const struct assetdir *dir, const char *env,
			  const char *version, struct call *c, uint64_t *id, struct err *e)
{
	const struct registration r = {
		.scope = p->scope,
		.env = env,
		.wanted = version,
		.spec = dir->spec,
		.conda = dir->conda,
		.files = dir->files,
		.n_files = dir->n_files,
		.from = p->path,
	};
	int rc = register_version(p->fs, &r, c, &p->v, id, e);

	if (rc)
		return rc;
	p->vdir = version_dir(p->scope, p->v);
	return p->vdir ? 0 : -ENOMEM;
}

/* spec.yml and conda.yml as they were before they were read: what was written since is not
 * published. */
struct texts {
	struct stat spec, conda; /* st_ino 0: not there */
};

static void stat_texts(int dir, struct texts *t)
{
	if (fstatat(dir, "spec.yml", &t->spec, AT_SYMLINK_NOFOLLOW) < 0)
		t->spec = (struct stat){0};
	if (fstatat(dir, "conda.yml", &t->conda, AT_SYMLINK_NOFOLLOW) < 0)
		t->conda = (struct stat){0};
}

static void as_before(struct parts *parts, const struct texts *before)
{
	for (size_t i = 0; i < parts->n; i++) {
		struct part *part = &parts->parts[i];

		if (!part->rel)
			continue;
		if (strcmp(part->rel, "spec.yml") == 0 && before->spec.st_ino)
			part->st = before->spec;
		/* Under another name it was not looked at. */
		if (strcmp(part->rel, "conda.yml") == 0 && before->conda.st_ino &&
		    strcmp(base_name(part->path), "conda.yml") == 0)
			part->st = before->conda;
	}
}

static int publish_open(struct published *p, int fd, int root, const char *env, const char *version,
			struct call *c, struct err *e)
{
	struct parts parts = {0};
	struct assetdir *dir;
	struct texts before;
	uint64_t id = 0;
	int rc;

	stat_texts(fd, &before);
	rc = assetdir_read(fd, "spec.yml", root, env, version, &dir, e);
	if (rc)
		return rc;
	rc = collect_parts(p->fs, p->path, dir, &parts);
	if (!rc)
		as_before(&parts, &before);
	if (!rc)
		rc = register_draft(p, dir, env, version, c, &id, e);
	if (!rc) {
		log_info("op=publish draft=%s: published as version %s", p->path, version);
		settle_files(p, &parts);
		/* A note of what was taken otherwise than it is written. */
		edit_set_reason(p->fs, p->vdir, dir->warnings);
		if (dir->warnings)
			log_warn("op=publish env=%s version=%s: %s", env, version, dir->warnings);
	}
	register_done(p->fs, id);
	p->parts = NULL;
	parts_free(&parts);
	assetdir_free(dir);
	return rc;
}

int publish_draft_at(struct fsys *fs, const char *path, struct scope *scope, const char *env,
		     const char *version, const struct proc_id *by, struct call *c, struct err *e)
{
	struct published p = {.fs = fs, .scope = scope, .path = path, .by = by};
	_cleanup_free_ char *above = strndup(path, (size_t)(strrchr(path, '/') - path));
	_cleanup_close_ int root = above ? local_open_dir(fs->local, above) : -1;
	_cleanup_close_ int fd = local_open_dir(fs->local, path);
	int rc = fd < 0 ? fd : spec_check_name("version", version, e);

	settle_busy(fs->settle, path, true);
	if (!rc)
		rc = spec_check_name("environment", env, e);
	if (!rc)
		rc = publish_open(&p, fd, root, env, version, c, e);
	/* The reason stays with the draft, for whoever asks later. */
	if (rc && fd >= 0)
		edit_note(fs, path, err_text(e, rc));
	settle_busy(fs->settle, path, false);
	if (rc == -EEXIST && !is_dotted(path))
		publish_step_aside(fs, path);
	free(p.vdir);
	free(p.kept);
	version_unref(p.v);
	return rc;
}

/* ---- after a crash ---- */

struct clearing {
	struct fsys *fs;
	int64_t when;
	int depth;
};

static int clear_name(void *arg, const char *path, const char *name)
{
	struct clearing *c = arg;
	_cleanup_free_ char *at = local_join(path, name);
	struct stat st;
	int rc = 0;

	if (!at || local_stat(c->fs->local, at, &st))
		return 0;
	if (S_ISDIR(st.st_mode) && c->depth < ASSETDIR_DEPTH_MAX) {
		c->depth++;
		rc = local_each(c->fs->local, at, clear_name, c);
		c->depth--;
	} else if (!S_ISDIR(st.st_mode) && clock_from_timespec(&st.st_ctim) <= c->when) {
		unlinkat(local_fd(c->fs->local), at, 0);
	}
	return rc;
}

void publish_clear_draft(struct fsys *fs, const char *path, int64_t when)
{
	static const char *const parts[] = {"spec.yml", "conda.yml", "Dockerfile", "build.log"};
	struct clearing clearing = {.fs = fs, .when = when};
	struct stat st;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		_cleanup_free_ char *at = local_join(path, parts[i]);

		if (at && !local_stat(fs->local, at, &st) &&
		    clock_from_timespec(&st.st_ctim) <= when)
			unlinkat(local_fd(fs->local), at, 0);
	}
	_cleanup_free_ char *context = local_join(path, "context");

	if (context && local_each(fs->local, context, clear_name, &clearing))
		log_debug("op=publish draft=%s: it has no context to be cleared", path);
	if (local_remove_empty(fs->local, path) == -ENOTEMPTY && !is_dotted(path))
		publish_step_aside(fs, path);
}
