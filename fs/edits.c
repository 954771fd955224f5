#include "fs/edits.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

struct file {
	struct file *next;
	struct edit edit;
	void *held;
	char rel[];
};

struct dir {
	struct dir *next;
	struct file *files;
	char *base;
	char *said;
	uint64_t refused[EDITS_REFUSALS]; /* the newest first */
	unsigned int n_refused;
	int64_t kept_until; /* all this, when there are no files */
	int64_t glows_until;
	char name[];
};

struct edits {
	int64_t (*now)(void);
	void (*release)(void *arg, void *held);
	void *release_arg;
	pthread_mutex_t moving;
	pthread_mutex_t lock; /* taken inside moving */
	struct dir *dirs;     /* protected by lock; as many as somebody works in at the moment */
};

struct edits *edits_new(int64_t (*now)(void))
{
	struct edits *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->now = now ? now : clock_mono;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->moving, NULL);
	return t;
}

void edits_set_release(struct edits *t, void (*fn)(void *arg, void *held), void *arg)
{
	t->release = fn;
	t->release_arg = arg;
}

void edits_lock(struct edits *t)
{
	pthread_mutex_lock(&t->moving);
}

void edits_unlock(struct edits *t)
{
	pthread_mutex_unlock(&t->moving);
}

static void give_back(struct edits *t, void *held)
{
	if (held && t->release)
		t->release(t->release_arg, held);
}

/* Of a directory without files, or at the end of the table: nobody has a lock. */
static void dir_free(struct edits *t, struct dir *d)
{
	for (struct file *f = d->files, *next; f; f = next) {
		next = f->next;
		give_back(t, f->held);
		free(f);
	}
	free(d->base);
	free(d->said);
	free(d);
}

void edits_free(struct edits *t)
{
	if (!t)
		return;
	for (struct dir *d = t->dirs, *next; d; d = next) {
		next = d->next;
		dir_free(t, d);
	}
	pthread_mutex_destroy(&t->moving);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ---- finding, under the lock ---- */

static struct dir *find_dir(struct edits *t, const char *name)
{
	for (struct dir *d = t->dirs; d; d = d->next)
		if (strcmp(d->name, name) == 0)
			return d;
	return NULL;
}

static struct file *find(struct edits *t, const char *dir, const char *rel)
{
	struct dir *d = find_dir(t, dir);

	for (struct file *f = d ? d->files : NULL; f; f = f->next)
		if (strcmp(f->rel, rel) == 0)
			return f;
	return NULL;
}

static struct dir *need_dir(struct edits *t, const char *name)
{
	struct dir *d = find_dir(t, name);

	if (d)
		return d;
	d = calloc(1, sizeof(*d) + strlen(name) + 1);
	if (!d)
		return NULL;
	memcpy(d->name, name, strlen(name) + 1);
	d->next = t->dirs;
	t->dirs = d;
	return d;
}

/* Forgets directories of which there is nothing to say any more. */
static void tidy(struct edits *t)
{
	int64_t now = t->now();

	for (struct dir **p = &t->dirs, *d; (d = *p);) {
		if (d->files || d->glows_until > now || d->kept_until > now) {
			p = &d->next;
			continue;
		}
		*p = d->next;
		dir_free(t, d);
	}
}

static void forget_texts(struct dir *d)
{
	free(d->base);
	free(d->said);
	d->base = d->said = NULL;
	d->n_refused = 0;
}

/* ---- files ---- */

int edits_add(struct edits *t, const char *dir, const char *rel, bool fresh)
{
	struct dir *d;
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	d = f ? NULL : need_dir(t, dir);
	if (d && !d->files && d->kept_until <= t->now())
		forget_texts(d);
	if (d) {
		f = calloc(1, sizeof(*f) + strlen(rel) + 1);
		if (f) {
			memcpy(f->rel, rel, strlen(rel) + 1);
			f->edit.fresh = fresh;
			f->next = d->files;
			d->files = f;
		}
	}
	if (f)
		f->edit.touched = t->now();
	pthread_mutex_unlock(&t->lock);
	return f ? 0 : -ENOMEM;
}

static void remove_file(struct edits *t, const char *dir, const char *rel, int64_t kept_until)
{
	void *held = NULL;
	struct dir *d;

	pthread_mutex_lock(&t->lock);
	d = find_dir(t, dir);
	for (struct file **p = d ? &d->files : NULL, *f; p && (f = *p); p = &f->next) {
		if (strcmp(f->rel, rel) != 0)
			continue;
		*p = f->next;
		held = f->held;
		free(f);
		if (!d->files)
			d->kept_until = kept_until;
		break;
	}
	tidy(t);
	pthread_mutex_unlock(&t->lock);
	give_back(t, held);
}

void edits_hold(struct edits *t, const char *dir, const char *rel, void *held)
{
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f && !f->held) {
		f->held = held;
		held = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	give_back(t, held);
}

void edits_remove(struct edits *t, const char *dir, const char *rel)
{
	remove_file(t, dir, rel, 0);
}

void edits_leave(struct edits *t, const char *dir, const char *rel)
{
	remove_file(t, dir, rel, t->now() + EDITS_LIFE);
}

bool edits_get(struct edits *t, const char *dir, const char *rel, struct edit *out)
{
	const struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f && out)
		*out = f->edit;
	pthread_mutex_unlock(&t->lock);
	return f != NULL;
}

bool edits_any(struct edits *t, const char *dir)
{
	const struct dir *d;
	bool any;

	pthread_mutex_lock(&t->lock);
	d = find_dir(t, dir);
	any = d && d->files;
	pthread_mutex_unlock(&t->lock);
	return any;
}

/* ---- lists ---- */

void edits_list_free(char **list, int n)
{
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

static int copy_name(char ***list, int n, const char *name)
{
	char **more = reallocarray(*list, (size_t)n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[n] = strdup(name);
	return more[n] ? n + 1 : -ENOMEM;
}

static int finish_list(char ***list, int n, int kept)
{
	if (n >= 0)
		return n;
	edits_list_free(*list, kept);
	*list = NULL;
	return n;
}

int edits_list(struct edits *t, const char *dir, char ***out)
{
	const struct dir *d;
	int n = 0, kept = 0;

	*out = NULL;
	pthread_mutex_lock(&t->lock);
	d = find_dir(t, dir);
	for (const struct file *f = d ? d->files : NULL; f && n >= 0; f = f->next) {
		kept = n;
		n = copy_name(out, n, f->rel);
	}
	pthread_mutex_unlock(&t->lock);
	return finish_list(out, n, kept);
}

int edits_dirs(struct edits *t, char ***out)
{
	int n = 0, kept = 0;

	*out = NULL;
	pthread_mutex_lock(&t->lock);
	for (const struct dir *d = t->dirs; d && n >= 0; d = d->next) {
		kept = n;
		n = d->files ? copy_name(out, n, d->name) : n;
	}
	pthread_mutex_unlock(&t->lock);
	return finish_list(out, n, kept);
}

/* ---- states ---- */

bool edits_dirty(struct edits *t, const char *dir, const char *rel)
{
	struct file *f;
	bool was_clean = false;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f) {
		was_clean = !f->edit.dirty;
		f->edit.dirty = true;
		f->edit.killed = false;
		f->edit.touched = t->now();
	}
	pthread_mutex_unlock(&t->lock);
	return was_clean;
}

void edits_emptied(struct edits *t, const char *dir, const char *rel)
{
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f) {
		f->edit.emptied = true;
		f->edit.touched = t->now();
	}
	pthread_mutex_unlock(&t->lock);
}

bool edits_take(struct edits *t, const char *dir, const char *rel)
{
	struct file *f;
	bool dirty = false;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f) {
		dirty = f->edit.dirty;
		f->edit.dirty = false;
		f->edit.touched = t->now();
	}
	pthread_mutex_unlock(&t->lock);
	return dirty;
}

unsigned int edits_writers(struct edits *t, const char *dir, const char *rel, int change)
{
	unsigned int writers = 0;
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f) {
		if (change > 0)
			f->edit.writers++;
		else if (change < 0 && f->edit.writers)
			f->edit.writers--;
		f->edit.touched = t->now();
		writers = f->edit.writers;
	}
	pthread_mutex_unlock(&t->lock);
	return writers;
}

void edits_attempted(struct edits *t, const char *dir, const char *rel, const struct proc_id *who,
		     int result)
{
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f) {
		f->edit.attempted = true;
		f->edit.emptied = false;
		f->edit.result = result;
		f->edit.owner = *who;
		f->edit.touched = t->now();
	}
	pthread_mutex_unlock(&t->lock);
}

void edits_set_killed(struct edits *t, const char *dir, const char *rel, bool killed)
{
	struct file *f;

	pthread_mutex_lock(&t->lock);
	f = find(t, dir, rel);
	if (f)
		f->edit.killed = killed;
	pthread_mutex_unlock(&t->lock);
}

bool edits_is_over(struct edits *t, const char *dir, const char *rel)
{
	struct edit e;

	if (!edits_get(t, dir, rel, &e) || e.dirty || e.writers)
		return false;
	/* The owner may be a process that runs elsewhere, of which nothing is known. */
	if (e.attempted && !e.emptied && e.owner.tgid)
		return !proc_alive(&e.owner);
	return e.touched + EDITS_LIFE <= t->now();
}

/* ---- directories ---- */

/* Under the lock: what is known of the directory, unless it has had its time. */
static struct dir *known_dir(struct edits *t, const char *name)
{
	struct dir *d = find_dir(t, name);

	return d && (d->files || d->kept_until > t->now()) ? d : NULL;
}

static void set_text(struct edits *t, const char *dir, bool base, const char *value)
{
	char *copy = value ? strdup(value) : NULL, **field, *old = copy;
	struct dir *d;

	pthread_mutex_lock(&t->lock);
	d = known_dir(t, dir);
	if (d && (copy || !value)) {
		field = base ? &d->base : &d->said;
		old = *field;
		*field = copy;
	}
	pthread_mutex_unlock(&t->lock);
	free(old);
}

void edits_set_base(struct edits *t, const char *dir, const char *version)
{
	set_text(t, dir, true, version);
}

void edits_set_said(struct edits *t, const char *dir, const char *version)
{
	set_text(t, dir, false, version);
}

char *edits_get_base(struct edits *t, const char *dir)
{
	const struct dir *d;
	char *base;

	pthread_mutex_lock(&t->lock);
	d = known_dir(t, dir);
	base = d && d->base ? strdup(d->base) : NULL;
	pthread_mutex_unlock(&t->lock);
	return base;
}

bool edits_said(struct edits *t, const char *dir, const char *version)
{
	const struct dir *d;
	bool said;

	pthread_mutex_lock(&t->lock);
	d = known_dir(t, dir);
	said = d && d->said && strcmp(d->said, version) == 0;
	pthread_mutex_unlock(&t->lock);
	return said;
}

/* Puts a digest in front; gives where it was. */
static unsigned int move_to_front(struct dir *d, uint64_t digest)
{
	unsigned int at = 0, last;

	while (at < d->n_refused && d->refused[at] != digest)
		at++;
	if (at == d->n_refused && d->n_refused < EDITS_REFUSALS)
		d->n_refused++;
	last = at < EDITS_REFUSALS ? at : EDITS_REFUSALS - 1;
	memmove(d->refused + 1, d->refused, last * sizeof(d->refused[0]));
	d->refused[0] = digest;
	return at;
}

bool edits_refused(struct edits *t, const char *dir, uint64_t digest)
{
	struct dir *d;
	bool back = false;

	pthread_mutex_lock(&t->lock);
	d = known_dir(t, dir);
	if (d) {
		unsigned int known = d->n_refused, at = move_to_front(d, digest);

		back = at > 0 && at < known;
	}
	pthread_mutex_unlock(&t->lock);
	return back;
}

void edits_set_glowing(struct edits *t, const char *dir)
{
	struct dir *d;

	pthread_mutex_lock(&t->lock);
	tidy(t);
	d = need_dir(t, dir);
	if (d)
		d->glows_until = t->now() + EDITS_LIFE;
	pthread_mutex_unlock(&t->lock);
}

bool edits_glowing(struct edits *t, const char *dir)
{
	const struct dir *d;
	bool glows;

	pthread_mutex_lock(&t->lock);
	d = find_dir(t, dir);
	glows = d && d->glows_until > t->now();
	pthread_mutex_unlock(&t->lock);
	return glows;
}
