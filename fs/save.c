#include "fs/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/call.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "client/turns.h"
#include "fs/desktop.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/keep.h"
#include "fs/local.h"
#include "fs/publish.h"
#include "fs/refuse.h"
#include "fs/register.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/upper.h"

static const char INTERRUPTED[] =
	"the program that wrote it was ended by a signal before it was done";

int save_errno(int rc)
{
	switch (-rc) {
	case ENOSYS:
	case ESTALE:
	case EXDEV:
	case EINTR:
	case EAGAIN:
	case ECANCELED:
		return -EIO;
	case EINPROGRESS:
		return -ETIMEDOUT;
	case EINVAL:
		return -EBADMSG;
	case EPERM:
		return -EACCES;
	default:
		return rc;
	}
}

/* ---- one file that is saved ---- */

struct saving {
	struct fsys *fs;
	struct scope *scope;
	char *vdir; /* owned */
	char *rel;  /* owned */
	struct upper_place place;
	struct proc_id who;
	struct call call;
	struct turn turn;
	char *key; /* owned: of the turn */
	struct err *e;
};

static bool is_edited_place(const struct upper_place *p)
{
	return (p->area == UPPER_SHOWN || p->area == UPPER_EDIT) &&
	       upper_is_asset(p->version, p->rel);
}

/* One save of an environment at a time: two at once would choose the same name. */
static int saving_begin(struct saving *s, struct fsys *fs, struct scope *scope, const char *path,
			const struct proc_id *who, struct err *e)
{
	int rc;

	*s = (struct saving){.fs = fs, .scope = scope, .who = *who, .e = e};
	if (upper_parse(path, &s->place))
		return -EIO;
	s->vdir = upper_dir(&s->place);
	s->rel = strdup(s->place.rel);
	if (asprintf(&s->key, "%s/%s", s->place.scope, s->place.env) < 0)
		s->key = NULL;
	call_init(&s->call, clock_mono() + fs->save_timeout, CALL_INTERACTIVE);
	rc = s->vdir && s->rel && s->key ? turn_take(fs->saving, &s->turn, s->key, &s->call)
					 : -ENOMEM;
	if (!rc)
		return 0;
	call_destroy(&s->call);
	free(s->vdir);
	free(s->rel);
	free(s->key);
	return err_set(e, rc, "another save of this environment takes long: %s", strerror(-rc));
}

static void saving_end(struct saving *s)
{
	turn_end(&s->turn);
	call_destroy(&s->call);
	free(s->vdir);
	free(s->rel);
	free(s->key);
}

/* ---- what comes of it ---- */

/* Everybody who may want to know: the directory, the log, the desktop. */
static void tell_failure(struct saving *s, const char *bytes, int rc)
{
	const char *reason = err_text(s->e, rc);
	int kept;

	if (s->e && !s->e->msg[0])
		err_set(s->e, rc, "%s", reason);
	kept = refuse_bytes(s->fs, s->vdir, s->rel, bytes, &s->who, reason);
	if (kept)
		log_error("op=save path=%s/%s/%s: its bytes can't be put aside: %s", s->place.env,
			  s->place.version, s->rel, strerror(-kept));
	edit_set_reason(s->fs, s->vdir, reason);
	log_warn("op=save env=%s version=%s file=%s errno=%d: %s", s->place.env, s->place.version,
		 s->rel, -rc, reason);
	desktop_notify("An environment could not be saved", reason);
}

static void set_base(struct saving *s, const struct publish_outcome *o)
{
	if (o->version)
		edits_set_base(s->fs->edits, s->vdir, o->version->version);
	edits_set_said(s->fs->edits, s->vdir, o->said);
}

/* The bytes at path, which nobody has to send any more, go on being shown. */
static int keep_showing(struct saving *s, const struct publish_outcome *o, const char *path)
{
	edits_attempted(s->fs->edits, s->vdir, s->rel, &s->who, 0);
	set_base(s, o);
	if (o->what == PUBLISH_NEW || o->what == PUBLISH_UPDATED || o->what == PUBLISH_NOTHING)
		keep_saved(s->fs, s->scope, o->version, s->vdir, s->rel, path, o->said, &s->who);
	/* An editor that puts the old bytes back after a failure does not undo the failure. */
	if (o->what == PUBLISH_NEW || o->what == PUBLISH_UPDATED)
		edit_set_reason(s->fs, s->vdir, o->note);
	return 0;
}

/* Under the lock of moves: where the bytes lie says what they are from now on. */
static int put_away(struct saving *s, bool aside)
{
	struct edit now;
	int rc;

	/* Written to again meanwhile: they are not saved. */
	if (!edits_get(s->fs->edits, s->vdir, s->rel, &now) || now.dirty)
		return 0;
	rc = edit_move(s->fs, UPPER_EDIT, aside ? UPPER_LOCAL : UPPER_SHOWN, s->vdir, s->rel);
	if (!rc && aside)
		edits_remove(s->fs->edits, s->vdir, s->rel);
	return rc;
}

static int finish(struct saving *s, const struct publish_outcome *o, const char *path, int rc)
{
	int moved;

	if (rc) {
		tell_failure(s, path, rc);
		edits_attempted(s->fs->edits, s->vdir, s->rel, &s->who, rc);
	} else if (o->what != PUBLISH_ASIDE) {
		keep_showing(s, o, path);
	} else {
		edit_set_reason(s->fs, s->vdir, NULL);
	}
	edits_lock(s->fs->edits);
	moved = put_away(s, !rc && o->what == PUBLISH_ASIDE);
	edits_unlock(s->fs->edits);
	if (moved)
		log_warn("op=save path=%s/%s/%s: %s", s->place.env, s->place.version, s->rel,
			 strerror(-moved));
	return rc;
}

static void log_outcome(const struct saving *s, const struct publish_outcome *o)
{
	static const char *const what[] = {[PUBLISH_NOTHING] = "the same as before",
					   [PUBLISH_ASIDE] = "no part of the definition",
					   [PUBLISH_UPDATED] = "tags or description changed",
					   [PUBLISH_NEW] = "published"};

	log_info("op=save path=%s/%s/%s: %s%s%s", s->place.env, s->place.version, s->rel,
		 what[o->what], o->what == PUBLISH_NEW ? " as version " : "",
		 o->what == PUBLISH_NEW && o->version ? o->version->version : "");
}

/* Another call was faster, and has ended: what came of it. */
static int result_of_other(struct saving *s)
{
	struct edit edit;

	if (!edits_get(s->fs->edits, s->vdir, s->rel, &edit) || !edit.attempted || !edit.result)
		return 0;
	return err_set(s->e, edit.result, "it was written to by several at once, and refused: %s",
		       strerror(-edit.result));
}

/* Saves an edited file that is dirty. */
static int save_edited(struct fsys *fs, struct scope *scope, const char *path,
		       const struct proc_id *who, struct err *e)
{
	struct publish_outcome outcome = {0};
	_cleanup_free_ char *bytes = NULL;
	struct saving s;
	int rc = saving_begin(&s, fs, scope, path, who, e);

	if (rc)
		return rc;
	bytes = upper_path(fs, UPPER_EDIT, s.vdir, s.rel);
	if (!bytes) {
		rc = -ENOMEM;
	} else if (edits_take(fs->edits, s.vdir, s.rel)) {
		const struct publish_edit p = {scope, s.vdir, s.rel, bytes, &s.who};

		rc = publish_edit(fs, &p, &s.call, &outcome, e);
		if (!rc)
			log_outcome(&s, &outcome);
		rc = finish(&s, &outcome, bytes, rc);
		register_done(fs, outcome.journal);
	} else {
		rc = result_of_other(&s);
	}
	publish_outcome_clear(&outcome);
	saving_end(&s);
	return rc;
}

/* ---- rename and link onto an asset file ---- */

static int bring(struct saving *s, const char *from, const char *to, bool link)
{
	int dir = local_fd(s->fs->local), rc = local_make_parents(s->fs->local, to);

	edit_leave(s->fs, s->vdir, s->rel);
	if (rc)
		return rc;
	if (link)
		rc = linkat(dir, from, dir, to, 0) < 0 ? -errno : 0;
	else
		rc = renameat(dir, from, dir, to) < 0 ? -errno : 0;
	if (!rc && !link)
		node_moved_local(s->fs->nodes, from, to);
	return rc;
}

static int finish_onto(struct saving *s, const struct publish_outcome *o, const char *from,
		       bool link)
{
	bool aside = o->what == PUBLISH_ASIDE;
	_cleanup_free_ char *to =
		upper_path(s->fs, aside ? UPPER_LOCAL : UPPER_SHOWN, s->vdir, s->rel);
	int rc = to ? bring(s, from, to, link) : -ENOMEM;

	if (!rc && aside)
		edit_set_reason(s->fs, s->vdir, NULL);
	if (rc || aside)
		return rc;
	rc = edits_add(s->fs->edits, s->vdir, s->rel, false);
	return rc ? rc : keep_showing(s, o, to);
}

int save_onto(struct fsys *fs, struct scope *scope, const char *from, const char *to, bool link,
	      pid_t by, struct err *e)
{
	struct publish_outcome outcome = {0};
	struct proc_id who = {0};
	struct saving s;
	int rc;

	if (proc_of_thread(by, &who))
		who = (struct proc_id){0};
	rc = saving_begin(&s, fs, scope, to, &who, e);
	if (rc)
		return rc;
	const struct publish_edit p = {scope, s.vdir, s.rel, from, &s.who};

	rc = publish_edit(fs, &p, &s.call, &outcome, e);
	if (rc) {
		tell_failure(&s, from, rc);
	} else {
		log_outcome(&s, &outcome);
		rc = finish_onto(&s, &outcome, from, link);
	}
	register_done(fs, outcome.journal);
	publish_outcome_clear(&outcome);
	saving_end(&s);
	return rc;
}

/* ---- the calls ---- */

/* How a file is looked at that is not to be published now: publish_probe or publish_check. */
typedef int check_fn(struct fsys *fs, const struct publish_edit *p, struct call *c, struct err *e);

static int check_edited(struct fsys *fs, struct scope *scope, const struct upper_place *p,
			const char *path, const struct proc_id *who, check_fn *fn, struct err *e)
{
	_cleanup_free_ char *vdir = upper_dir(p);
	const struct publish_edit edit = {scope, vdir, p->rel, path, who};
	struct call c;
	int rc;

	if (!vdir)
		return -ENOMEM;
	call_init(&c, clock_mono() + fs->save_timeout, CALL_INTERACTIVE);
	rc = fn(fs, &edit, &c, e);
	call_destroy(&c);
	return rc;
}

static int check(struct fsys *fs, struct scope *scope, const char *path, const struct proc_id *who,
		 check_fn *fn, struct err *e)
{
	struct upper_place p;

	if (upper_parse(path, &p))
		return 0;
	/* A draft with a dot may hold anything until it is renamed. */
	if (p.area == UPPER_DRAFT)
		return strcmp(p.rel, "spec.yml") == 0 && !tree_is_draft_name(p.version)
			       ? publish_check_draft(fs, path, e)
			       : 0;
	if (p.area != UPPER_EDIT || !upper_is_asset(p.version, p.rel))
		return 0;
	return check_edited(fs, scope, &p, path, who, fn, e);
}

int save_check(struct fsys *fs, struct node *n, const struct handle *h, struct err *e)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);

	return path ? check(fs, n->scope, path, &h->who, publish_probe, e) : 0;
}

/* A draft in which a file was left half-written is not complete, however quiet it is. */
static void hold_draft(struct fsys *fs, const struct upper_place *p)
{
	_cleanup_free_ char *dir = upper_dir(p);

	if (!dir)
		return;
	settle_forget(fs->settle, dir);
	edit_note(fs, dir, INTERRUPTED);
}

static bool is_of_another(const struct handle *h, const struct proc_id *who)
{
	return who->tgid && h->who.tgid && !proc_same(who, &h->who);
}

static int flush_edited(struct fsys *fs, struct node *n, const char *path,
			const struct upper_place *p, struct handle *h, pid_t by, struct err *e)
{
	_cleanup_free_ char *vdir = upper_dir(p);
	bool wrote = atomic_load(&h->wrote), killed;
	struct proc_id who = {0};
	struct edit edit;
	int rc;

	if (!vdir)
		return -ENOMEM;
	/* What others are writing is theirs to save, when they have all of it. */
	if (!edits_get(fs->edits, vdir, p->rel, &edit) ||
	    (!wrote && (!edit.dirty || edit.writers > 1)))
		return 0;
	killed = proc_killed(by);
	edits_set_killed(fs->edits, vdir, p->rel, killed);
	if (killed)
		return 0;
	if (!proc_of_thread(by, &who) && is_of_another(h, &who))
		return check(fs, n->scope, path, &h->who, publish_check, e);
	atomic_store(&h->wrote, false);
	/* Written while the draft that it was in became the version. */
	rc = edit.dirty ? 0 : edit_wrote(fs, n);
	return rc ? rc : save_edited(fs, n->scope, path, h->who.tgid ? &h->who : &who, e);
}

int save_flush(struct fsys *fs, struct node *n, struct handle *h, pid_t by, struct err *e)
{
	_cleanup_free_ char *path = node_get_local(fs->nodes, n);
	struct upper_place p;
	struct proc_id who = {0};

	if (!path || upper_parse(path, &p))
		return 0;
	if (is_edited_place(&p))
		return flush_edited(fs, n, path, &p, h, by, e);
	if (p.area != UPPER_DRAFT || !atomic_load(&h->wrote))
		return 0;
	if (proc_killed(by)) {
		atomic_store(&h->wrote, false);
		hold_draft(fs, &p);
		return 0;
	}
	if (!proc_of_thread(by, &who) && is_of_another(h, &who))
		return check(fs, n->scope, path, &h->who, publish_check, e);
	atomic_store(&h->wrote, false);
	return save_in_draft(fs, n->scope, path, by, e);
}

/* What was written after the last flush, such as pages of a mapping, is saved without anybody to
 * tell. */
static void release_edited(struct fsys *fs, struct node *n, const char *path,
			   const struct upper_place *p, const struct handle *h)
{
	_cleanup_free_ char *vdir = upper_dir(p);
	unsigned int writers =
		vdir ? edits_writers(fs->edits, vdir, p->rel, h->counted ? -1 : 0) : 1;
	struct err e = ERR_INIT;
	struct edit edit;

	if (!vdir || writers || !edits_get(fs->edits, vdir, p->rel, &edit))
		return;
	if (edit.dirty && edit.killed) {
		if (refuse_bytes(fs, vdir, p->rel, path, &h->who, INTERRUPTED))
			return; /* it stays dirty, and is put aside at the next mount */
		edit_set_reason(fs, vdir, INTERRUPTED);
		log_warn("op=save path=%s/%s/%s: %s", p->env, p->version, p->rel, INTERRUPTED);
		edit_drop(fs, vdir, p->rel);
	} else if (edit.dirty) {
		/* A failure is told in every way that there is but this. */
		if (save_edited(fs, n->scope, path, &h->who, &e))
			log_debug("op=release: %s", e.msg);
	} else if (edit.fresh && !edit.attempted) {
		edits_lock(fs->edits);
		if (!edit_move(fs, UPPER_SHOWN, UPPER_LOCAL, vdir, p->rel))
			edits_remove(fs->edits, vdir, p->rel);
		edits_unlock(fs->edits);
	}
}

void save_release(struct fsys *fs, struct node *n, struct handle *h)
{
	_cleanup_free_ char *path = n ? node_get_local(fs->nodes, n) : NULL;
	struct upper_place p;
	struct err e = ERR_INIT;

	if (!path || upper_parse(path, &p))
		return;
	if (is_edited_place(&p)) {
		release_edited(fs, n, path, &p, h);
	} else if (p.area == UPPER_DRAFT && atomic_exchange(&h->wrote, false)) {
		if (save_in_draft(fs, n->scope, path, 0, &e))
			log_debug("op=release: %s", e.msg);
	}
}
