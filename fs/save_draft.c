/*
 * save_draft - when a draft with the name of a version is complete, and published by itself.
 *
 * Without a build context that is the moment in which its spec.yml, or the conda file that this
 * names, is closed or renamed into place and both are there. With one only quiet says so
 * (settle.h), or an fsync of the directory. A draft whose name begins with a dot waits for its
 * rename.
 */
#include "fs/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/turns.h"
#include "fs/beneath.h"
#include "fs/context_walk.h"
#include "fs/edit.h"
#include "fs/local.h"
#include "fs/publish.h"
#include "fs/settle.h"
#include "fs/spec.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/writing.h"

/* A draft that publishes itself. */
struct draft {
	struct fsys *fs;
	struct scope *scope;
	struct upper_place place;
	char *dir;         /* "<scope>/<env>/<version>"; owned */
	struct spec *spec; /* NULL: none, or no valid one */
};

/* 1 for the path of something in (or of) such a draft, 0 for others, or -ENOMEM. */
static int draft_begin(struct draft *d, struct fsys *fs, struct scope *scope, const char *path)
{
	*d = (struct draft){.fs = fs, .scope = scope};
	if (!scope || upper_parse(path, &d->place) || d->place.area != UPPER_DRAFT ||
	    tree_is_draft_name(d->place.version) || strcmp(d->place.version, "latest") == 0)
		return 0;
	d->dir = upper_dir(&d->place);
	return d->dir ? 1 : -ENOMEM;
}

static void draft_end(struct draft *d)
{
	spec_free(d->spec);
	free(d->dir);
}

static int parse_file(struct fsys *fs, const char *path, struct spec **spec, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SPEC_SIZE_MAX);
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int rc = fd < 0 ? -errno : context_read_file(fd, &text);

	if (rc == -EFBIG)
		return err_set(e, rc, "spec.yml: larger than %d bytes", SPEC_SIZE_MAX);
	if (!rc)
		rc = spec_parse(buf_str(&text), text.len, spec, e);
	return rc == -ENOENT ? rc : rc ? err_prefix(e, rc, "spec.yml: ") : 0;
}

int publish_check_draft(struct fsys *fs, const char *path, struct err *e)
{
	struct spec *spec = NULL;
	int rc = parse_file(fs, path, &spec, e);

	spec_free(spec);
	return rc;
}

static int read_spec(struct draft *d, struct err *e)
{
	_cleanup_free_ char *path = local_join(d->dir, "spec.yml");

	return path ? parse_file(d->fs, path, &d->spec, e) : -ENOMEM;
}

static bool has_folder(const struct draft *d)
{
	return d->spec->build_path && !d->spec->build_is_url;
}

static const char *conda_name(const struct draft *d)
{
	const char *path = d->spec->conda_path;

	while (path && strncmp(path, "./", 2) == 0)
		path += 2;
	return path;
}

/* Whether the conda file that the spec names is there, in the environment's directory at most. */
static bool has_conda(const struct draft *d)
{
	_cleanup_free_ char *env = strndup(d->dir, (size_t)(strrchr(d->dir, '/') - d->dir));
	_cleanup_close_ int root = env ? local_open_dir(d->fs->local, env) : -1;
	_cleanup_close_ int dir = local_open_dir(d->fs->local, d->dir);
	_cleanup_close_ int fd = -1;

	if (!conda_name(d))
		return true;
	fd = root < 0 || dir < 0 ? -1 : beneath_open(root, dir, conda_name(d), O_RDONLY);
	/* What is there and can't be read is for the publication to complain of. */
	return fd >= 0 || (fd != -ENOENT && fd != -ENOTDIR);
}

/* One save of an environment at a time. */
static int publish_in_turn(struct draft *d, const char *env, const char *version,
			   const struct proc_id *by, int64_t deadline, struct err *e)
{
	_cleanup_free_ char *key = strndup(d->dir, (size_t)(strrchr(d->dir, '/') - d->dir));
	struct turn turn;
	struct call c;
	int rc;

	if (!key)
		return -ENOMEM;
	settle_forget(d->fs->settle, d->dir);
	call_init(&c, deadline, CALL_INTERACTIVE);
	rc = turn_take(d->fs->saving, &turn, key, &c);
	if (!rc) {
		rc = publish_draft_at(d->fs, d->dir, d->scope, env, version, by, &c, e);
		turn_end(&turn);
	}
	call_destroy(&c);
	return rc;
}

static int publish(struct draft *d, const struct proc_id *by, int64_t deadline, struct err *e)
{
	char env[NAME_SIZE], version[NAME_SIZE];
	size_t len;

	if (name_decode(NAME_ENV, d->place.env, env, &len) ||
	    name_decode(NAME_VERSION, d->place.version, version, &len))
		return err_set(e, -EBADMSG, "%s is no name for a version", d->place.version);
	return publish_in_turn(d, env, version, by, deadline, e);
}

static int64_t deadline_of(const struct fsys *fs)
{
	return clock_mono() + fs->save_timeout;
}

/* Whether a file of the draft is being written by another program, or is about to be. */
static bool is_in_the_making(const struct draft *d, const char *name)
{
	_cleanup_free_ char *path = name ? local_join(d->dir, name) : NULL;
	struct stat st;

	return path && (writing_at(d->fs, path, WRITING_HALF) ||
			(!local_stat(d->fs->local, path, &st) && !st.st_size &&
			 writing_at(d->fs, path, WRITING_OPEN)));
}

/* The file at d->place was completed: what that means for the draft. */
static int completed(struct draft *d, pid_t by, struct err *e)
{
	bool is_spec = strcmp(d->place.rel, "spec.yml") == 0;
	struct proc_id who = {0};
	int rc = read_spec(d, e);

	if (rc == -ENOENT)
		return 0;
	if (rc) {
		if (is_spec)
			edit_note(d->fs, d->dir, err_text(e, rc));
		return is_spec ? rc : 0;
	}
	if (has_folder(d)) {
		settle_touch(d->fs->settle, d->scope, d->dir);
		return 0;
	}
	if (!is_spec && (!conda_name(d) || strcmp(d->place.rel, conda_name(d)) != 0))
		return 0;
	/* With the close of the other one it is complete. */
	if (!has_conda(d) || is_in_the_making(d, is_spec ? conda_name(d) : "spec.yml"))
		return 0;
	if (proc_of_thread(by, &who))
		who = (struct proc_id){0};
	return publish(d, &who, deadline_of(d->fs), e);
}

int save_in_draft(struct fsys *fs, struct scope *s, const char *path, pid_t by, struct err *e)
{
	struct draft d;
	int rc = draft_begin(&d, fs, s, path);

	if (rc == 1)
		rc = *d.place.rel ? completed(&d, by, e) : 0;
	draft_end(&d);
	return rc;
}

int save_draft_as(struct fsys *fs, struct node *env, const char *path, const char *version,
		  pid_t by, struct err *e)
{
	struct draft d = {.fs = fs, .scope = env->scope, .dir = strdup(path)};
	struct proc_id who = {0};
	int rc;

	if (proc_of_thread(by, &who))
		who = (struct proc_id){0};
	rc = d.dir ? publish_in_turn(&d, env->name, version, &who, deadline_of(fs), e) : -ENOMEM;
	draft_end(&d);
	return rc;
}

void save_touched(struct fsys *fs, struct scope *s, const char *path)
{
	struct draft d;

	if (draft_begin(&d, fs, s, path) == 1)
		settle_touch(fs->settle, s, d.dir);
	draft_end(&d);
}

int save_draft_now(struct fsys *fs, struct scope *s, const char *path, struct err *e)
{
	const struct proc_id nobody = {0};
	struct draft d;
	int rc = draft_begin(&d, fs, s, path);

	if (rc == 1) {
		rc = *d.place.rel ? -ENOENT : read_spec(&d, e);
		if (rc && rc != -ENOENT)
			edit_note(fs, d.dir, err_text(e, rc));
		/* Half of a file is no file: its close is what completes the draft. */
		if (!rc && !writing_at(fs, d.dir, WRITING_HALF))
			rc = publish(&d, &nobody, deadline_of(fs), e);
		rc = rc == -ENOENT ? 0 : rc;
	}
	draft_end(&d);
	return rc;
}

int save_draft_quiet(struct fsys *fs, struct scope *s, const char *path, int64_t deadline,
		     struct err *e)
{
	const struct proc_id nobody = {0};
	struct draft d;
	int rc = draft_begin(&d, fs, s, path);

	if (rc == 1) {
		/* What is not valid was told to whoever wrote it, or is for later. */
		rc = read_spec(&d, e);
		rc = !rc && has_folder(&d) ? publish(&d, &nobody, deadline, e) : 0;
	}
	draft_end(&d);
	return rc;
}
