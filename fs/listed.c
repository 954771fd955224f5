#include "fs/listed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "cache/catalog.h"
#include "client/clock.h"
#include "fs/notify.h"
#include "fs/tree.h"

/*
 * An offset: the snapshot's mark, and how many items are behind the reader. "." and ".." count as
 * items; 0 is the start of any snapshot. Snapshots without an identity get marks of their own.
 */
enum { MARK_SHIFT = 32, MARK_OWN = 0x40000000, MARK_MASK = 0x3fffffff };

struct snapshot {
	uint64_t ino;
	uint64_t relisted; /* node_relisted() before it was made */
	uint64_t mark;
	struct listing *listing;
	/* protected by the lock */
	unsigned int refs;
	struct snapshot *next;
};

struct listed {
	pthread_mutex_t lock;
	/* protected by lock */
	struct snapshot *first; /* the newest first */
	size_t count;
	uint64_t marks;
};

struct listed *listed_new(void)
{
	struct listed *ls = calloc(1, sizeof(*ls));

	if (ls)
		pthread_mutex_init(&ls->lock, NULL);
	return ls;
}

static void snapshot_free(struct snapshot *s)
{
	listing_free(s->listing);
	free(s);
}

void listed_free(struct listed *ls)
{
	if (!ls)
		return;
	for (struct snapshot *s = ls->first, *next; s; s = next) {
		next = s->next;
		snapshot_free(s);
	}
	pthread_mutex_destroy(&ls->lock);
	free(ls);
}

/* ---- snapshots that are being read (under the lock) ---- */

static bool unref_locked(struct snapshot *s)
{
	return --s->refs == 0;
}

/* Takes s out; it is returned when nobody else has it. */
static struct snapshot *drop_locked(struct listed *ls, struct snapshot *s)
{
	struct snapshot **p = &ls->first;

	while (*p && *p != s)
		p = &(*p)->next;
	if (!*p)
		return NULL;
	*p = s->next;
	ls->count--;
	return unref_locked(s) ? s : NULL;
}

static struct snapshot *oldest_locked(struct listed *ls)
{
	struct snapshot *s = ls->first;

	while (s && s->next)
		s = s->next;
	return s;
}

static struct snapshot *find_locked(struct listed *ls, uint64_t ino, uint64_t mark)
{
	for (struct snapshot *s = ls->first; s; s = s->next)
		if (s->ino == ino && s->mark == mark)
			return s;
	return NULL;
}

static struct snapshot *take_up(struct listed *ls, uint64_t ino, uint64_t mark)
{
	struct snapshot *s;

	pthread_mutex_lock(&ls->lock);
	s = find_locked(ls, ino, mark);
	if (s)
		s->refs++;
	pthread_mutex_unlock(&ls->lock);
	return s;
}

/* Puts s in, for the requests that follow, with a reference for the caller. */
static void keep(struct listed *ls, struct snapshot *s)
{
	struct snapshot *dead = NULL;

	pthread_mutex_lock(&ls->lock);
	s->mark = s->listing->identity ? s->listing->identity & MARK_MASK
				       : MARK_OWN | (ls->marks++ & MARK_MASK);
	s->refs = 2;
	s->next = ls->first;
	ls->first = s;
	if (++ls->count > LISTED_READINGS_MAX)
		dead = drop_locked(ls, oldest_locked(ls));
	pthread_mutex_unlock(&ls->lock);
	if (dead)
		snapshot_free(dead);
}

/* ---- reading ---- */

static int snapshot_make(struct fsys *fs, struct node *dir, uint64_t ino, struct call *c,
			 struct snapshot **out, struct err *e)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->ino = ino;
	s->relisted = node_list(fs->nodes, ino);
	rc = tree_list(fs, dir, c, &s->listing, e);
	if (rc) {
		free(s);
		return rc;
	}
	keep(fs->listed, s);
	*out = s;
	return 0;
}

int listed_begin(struct fsys *fs, struct node *dir, uint64_t ino, off_t offset, struct call *c,
		 struct reading *out, struct err *e)
{
	struct snapshot *s = NULL;
	int rc;

	if (offset)
		s = take_up(fs->listed, ino, (uint64_t)offset >> MARK_SHIFT);
	if (!s) {
		rc = snapshot_make(fs, dir, ino, c, &s, e);
		if (rc)
			return rc;
	}
	*out = (struct reading){
		.dir = dir,
		.ino = ino,
		.listing = s->listing,
		.next = (size_t)((uint64_t)offset & UINT32_MAX),
		.snapshot = s,
	};
	return 0;
}

off_t listed_offset(const struct reading *r, size_t n)
{
	return (off_t)(r->snapshot->mark << MARK_SHIFT | n);
}

void listed_put(struct fsys *fs, struct reading *r)
{
	bool last;

	pthread_mutex_lock(&fs->listed->lock);
	last = unref_locked(r->snapshot);
	pthread_mutex_unlock(&fs->listed->lock);
	if (last)
		snapshot_free(r->snapshot);
}

/* ---- whether it may be kept ---- */

/* Where changes in n are noted: its environment, else what it is itself. */
static struct node *holder_of(struct node *n)
{
	for (struct node *at = n; at; at = at->parent)
		if (at->kind == NODE_ENV)
			return at;
	return n;
}

static bool is_quiet(struct fsys *fs, struct node *dir)
{
	int64_t touched = node_touched(fs->nodes, holder_of(dir));

	return !touched || clock_mono() - touched > LISTED_QUIET;
}

/* For how long, in ns, the names in dir are what they are as far as is known. */
static int64_t left_of(struct fsys *fs, const struct node *dir)
{
	switch (dir->kind) {
	case NODE_ROOT:
		return catalog_left(fs->catalog, NULL, NULL);
	case NODE_SCOPE:
		return catalog_left(fs->catalog, dir->scope, NULL);
	case NODE_ENV:
		return catalog_left(fs->catalog, dir->scope, dir->name);
	case NODE_VERSION:
	case NODE_CONTEXT:
		/* Another mount of this machine may put files there. */
		return (int64_t)((tree_has_local(fs, dir) ? fs->refresh_s : FSYS_FOREVER_S) *
				 (double)NS_PER_S);
	default:
		return 0;
	}
}

void listed_end(struct fsys *fs, struct reading *r)
{
	const struct snapshot *s = r->snapshot;
	int64_t left = 0;
	struct snapshot *dead;

	/* A draft's directory that became a version is told of under the version's number. */
	if (r->dir->ino == r->ino && r->listing->identity && is_quiet(fs, r->dir) &&
	    node_relisted(fs->nodes, r->ino) == s->relisted)
		left = left_of(fs, r->dir);
	if (left > 0)
		notify_listing_at(fs->notify, r->ino, clock_mono() + left);
	else
		notify_listing(fs->notify, r->ino);
	pthread_mutex_lock(&fs->listed->lock);
	dead = drop_locked(fs->listed, r->snapshot);
	pthread_mutex_unlock(&fs->listed->lock);
	(void)dead; /* the reader has a reference */
}

/* ---- changes that are made here ---- */

static void touch(struct fsys *fs, struct node *n)
{
	int64_t now = clock_mono(), before = node_touch(fs->nodes, n, now);

	/* While something goes on here nothing is kept. */
	if (before && now - before < LISTED_QUIET / 2)
		return;
	if (n->kind == NODE_ENV)
		notify_listings_below(fs->notify, n);
	else
		notify_listing(fs->notify, n->ino);
}

void listed_touch(struct fsys *fs, struct node *n)
{
	struct node *holder = holder_of(n);

	touch(fs, holder);
	/* An environment that is only here comes and goes with what is in it. */
	if (holder->kind == NODE_ENV && holder->parent)
		touch(fs, holder->parent);
}
