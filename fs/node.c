#include "fs/node.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "client/buf.h"
#include "client/sha256.h"
#include "fs/node_int.h"

enum {
	ROOT_INO = 1,
	TABLE_FIRST = 1024, /* buckets; a power of two */
	LABEL_MAX = 64 * 1024,
	LATEST_SHIFT = 16,
};

uint64_t node_number(uint64_t parent, enum node_kind kind, const char *label)
{
	unsigned char digest[SHA256_BYTES];
	_cleanup_buf_ struct buf b = BUF_INIT(LABEL_MAX);
	unsigned char k = (unsigned char)kind;
	uint64_t ino;

	buf_add(&b, &parent, sizeof(parent));
	buf_add(&b, &k, 1);
	buf_addstr(&b, label);
	if (buf_error(&b) || !EVP_Digest(b.data, b.len, digest, NULL, sha256(), NULL))
		return parent + k + 1;
	memcpy(&ino, digest, sizeof(ino));
	/* 0 is no inode and 1 the root; keep clear of what some tools take for negative. */
	ino &= INT64_MAX;
	/* cp takes names in the order of their numbers: before there is any version to point to,
	 * the link can be copied. */
	if (kind == NODE_LATEST)
		ino >>= LATEST_SHIFT;
	return ino > ROOT_INO ? ino : ino + ROOT_INO + 1;
}

struct node_table *node_table_new(void)
{
	struct node_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->n_buckets = TABLE_FIRST;
	t->buckets = calloc(t->n_buckets, sizeof(struct node *));
	if (!t->buckets) {
		free(t);
		return NULL;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->root =
		(struct node){.ino = ROOT_INO, .kind = NODE_ROOT, .name = (char *)"", .lookups = 1};
	return t;
}

static void node_free(struct node *n)
{
	scope_unref(n->scope);
	env_unref(n->env);
	version_unref(n->version);
	ctxtree_unref(n->ctx);
	ctxtree_unref(n->tree);
	free(n->local);
	free(n->disk);
	free(n->shown);
	free(n->name);
	free(n);
}

void node_table_free(struct node_table *t)
{
	if (!t)
		return;
	for (uint64_t i = 0; i < t->n_buckets; i++) {
		for (struct node *n = t->buckets[i], *next; n; n = next) {
			next = n->next;
			node_free(n);
		}
	}
	free(t->buckets);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct node *node_root(struct node_table *t)
{
	return &t->root;
}

static struct node **bucket(struct node_table *t, uint64_t ino)
{
	return &t->buckets[ino & (t->n_buckets - 1)];
}

struct node *node_find_locked(struct node_table *t, uint64_t ino)
{
	if (ino == ROOT_INO)
		return &t->root;
	for (struct node *n = *bucket(t, ino); n; n = n->next)
		if (n->ino == ino)
			return n;
	return NULL;
}

struct node *node_get(struct node_table *t, uint64_t ino)
{
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	while (n && n->forward)
		n = n->forward;
	pthread_mutex_unlock(&t->lock);
	return n;
}

struct node *node_hold(struct node_table *t, uint64_t ino)
{
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	if (n)
		n->holds++;
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* ---- lists of those that lie on the disk ---- */

static void list_local(struct node_table *t, struct node *n)
{
	n->next_local = t->locals;
	n->local_link = &t->locals;
	if (n->next_local)
		n->next_local->local_link = &n->next_local;
	t->locals = n;
}

static void unlist_local(struct node *n)
{
	if (!n->local_link)
		return;
	*n->local_link = n->next_local;
	if (n->next_local)
		n->next_local->local_link = n->local_link;
	n->local_link = NULL;
}

static void list_alias(struct node_table *t, struct node *n)
{
	n->next_alias = t->aliases;
	n->alias_link = &t->aliases;
	if (n->next_alias)
		n->next_alias->alias_link = &n->next_alias;
	t->aliases = n;
}

static void unlist_alias(struct node *n)
{
	if (!n->alias_link)
		return;
	*n->alias_link = n->next_alias;
	if (n->next_alias)
		n->next_alias->alias_link = n->alias_link;
	n->alias_link = NULL;
}

/* ---- the end of a node ---- */

static void unlink_locked(struct node_table *t, struct node *n)
{
	struct node **p = bucket(t, n->ino);

	unlist_local(n);
	unlist_alias(n);

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	t->count--;
}

/*
 * Takes n, and its parents, out of the table while nothing needs them; they are chained through
 * `next` for the caller to free without the lock.
 */
static void collect_onto(struct node_table *t, struct node *n, struct node **dead)
{
	struct node *parent;

	for (; n != &t->root && !n->lookups && !n->holds; n = parent) {
		parent = n->parent;
		unlink_locked(t, n);
		n->next = *dead;
		*dead = n;
		if (n->forward) {
			/* A version's directory, which forwards nowhere. Both may lie in one
			 * parent: n holds that until the other is done with. */
			n->forward->holds--;
			collect_onto(t, n->forward, dead);
		}
		parent->holds--;
	}
}

static struct node *collect_locked(struct node_table *t, struct node *n)
{
	struct node *dead = NULL;

	collect_onto(t, n, &dead);
	return dead;
}

static void free_chain(struct node *dead)
{
	for (struct node *next; dead; dead = next) {
		next = dead->next;
		node_free(dead);
	}
}

void node_put(struct node_table *t, struct node *n)
{
	struct node *dead;

	if (!n)
		return;
	pthread_mutex_lock(&t->lock);
	n->holds--;
	dead = collect_locked(t, n);
	pthread_mutex_unlock(&t->lock);
	free_chain(dead);
}

void node_forget(struct node_table *t, uint64_t ino, uint64_t count)
{
	struct node *dead = NULL;
	struct node *n;

	pthread_mutex_lock(&t->lock);
	n = node_find_locked(t, ino);
	if (n && n != &t->root) {
		n->lookups -= count < n->lookups ? count : n->lookups;
		dead = collect_locked(t, n);
	}
	pthread_mutex_unlock(&t->lock);
	free_chain(dead);
}

static struct node *node_make(struct node *parent, uint64_t ino, const struct node_fields *f)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->name = strdup(f->name ? f->name : "");
	if (!n->name) {
		free(n);
		return NULL;
	}
	n->ino = ino;
	n->kind = f->kind;
	n->archived = f->archived;
	n->ctx_index = f->ctx_index;
	n->parent = parent;
	n->scope = scope_ref(f->scope);
	n->env = env_ref(f->env);
	n->version = version_ref(f->version);
	n->ctx = ctxtree_ref(f->ctx);
	n->sizes = (struct node_sizes){NULL, -1, -1, -1};
	n->local = f->local ? strdup(f->local) : NULL;
	if (f->local && !n->local) {
		node_free(n);
		return NULL;
	}
	return n;
}

static bool same_context(const struct ctxtree *a, const struct ctxtree *b)
{
	const char *ua = ctxtree_context(a)->uri, *ub = ctxtree_context(b)->uri;

	return ua && ub && strcmp(ua, ub) == 0;
}

static bool node_is(const struct node *n, const struct node *parent, const struct node_fields *f)
{
	/* A local file is told by its number on the disk, wherever it has been moved. */
	if (n->kind == NODE_LOCAL && f->kind == NODE_LOCAL)
		return strcmp(n->name, f->name) == 0;
	if (n->parent != parent || n->kind != f->kind ||
	    strcmp(n->name, f->name ? f->name : "") != 0)
		return false;
	/* While it is edited it lies on the disk, perhaps under another name. */
	if (n->local && n->kind != NODE_LOCAL)
		return false;
	/* A context's own entries are told apart by their place in it. */
	return f->kind != NODE_CONTEXT || (n->ctx == f->ctx && n->ctx_index == f->ctx_index) ||
	       (n->ctx && f->ctx && same_context(n->ctx, f->ctx) &&
		strcmp(ctxtree_get(n->ctx, n->ctx_index)->name,
		       ctxtree_get(f->ctx, f->ctx_index)->name) == 0);
}

/*
 * Gives n another record; *v becomes the one it had. The sizes go too: they know their record by
 * its address only, which a later one may get.
 */
static void swap_version_locked(struct node *n, struct version **v)
{
	struct version *old = n->version;

	n->version = *v;
	*v = old;
	if (n->version == old)
		return;
	n->sizes.of = NULL;
	n->stored = false;
	if (n->shown)
		n->shown->of = NULL;
}

static void grow_locked(struct node_table *t)
{
	uint64_t n_buckets = t->n_buckets * 2;
	struct node **old = t->buckets, **buckets = calloc(n_buckets, sizeof(*buckets));

	if (!buckets)
		return; /* longer chains are slower, not wrong */
	t->buckets = buckets;
	for (uint64_t i = 0; i < n_buckets / 2; i++) {
		for (struct node *n = old[i], *next; n; n = next) {
			next = n->next;
			n->next = buckets[n->ino & (n_buckets - 1)];
			buckets[n->ino & (n_buckets - 1)] = n;
		}
	}
	t->n_buckets = n_buckets;
	free(old);
}

static void insert_locked(struct node_table *t, struct node *n)
{
	struct node **b;

	if (t->count >= t->n_buckets)
		grow_locked(t);
	b = bucket(t, n->ino);
	n->next = *b;
	*b = n;
	t->count++;
	n->parent->holds++;
	if (n->local)
		list_local(t, n);
}

/* The published file that is edited in the file of the disk that f is. */
static struct node *find_alias_locked(struct node_table *t, const struct node_fields *f)
{
	if (f->kind != NODE_LOCAL)
		return NULL;
	for (struct node *n = t->aliases; n; n = n->next_alias)
		if (n->disk && strcmp(n->disk, f->name) == 0)
			return n;
	return NULL;
}

/* The node that f means, or NULL; then fresh has the number that it is to get. */
static struct node *find_same_locked(struct node_table *t, struct node *fresh, struct node *parent,
				     const struct node_fields *f)
{
	struct node *n = find_alias_locked(t, f);

	if (n)
		return n;
	while ((n = node_find_locked(t, fresh->ino)) && !node_is(n, parent, f))
		fresh->ino = fresh->ino == INT64_MAX ? ROOT_INO + 1 : fresh->ino + 1;
	return n;
}

/* The newer records go over to the node that stays; the old ones are freed with `fresh`. */
static void update_locked(struct node *n, struct node *fresh, const struct node_fields *f)
{
	if (f->env) {
		struct env *e = n->env;

		n->env = fresh->env;
		fresh->env = e;
	}
	if (f->version)
		swap_version_locked(n, &fresh->version);
	if (f->local) {
		char *path = n->local;

		n->local = fresh->local;
		fresh->local = path;
	}
}

struct node *node_intern(struct node_table *t, struct node *parent, const struct node_fields *f)
{
	uint64_t ino = f->kind == NODE_LOCAL
			       ? node_number(ROOT_INO, f->kind, f->name)
			       : node_number(parent->ino, f->kind, f->label ? f->label : f->name);
	struct node *fresh = node_make(parent, ino, f);
	struct node *n;

	if (!fresh)
		return NULL;
	pthread_mutex_lock(&t->lock);
	n = find_same_locked(t, fresh, parent, f);
	if (n) {
		update_locked(n, fresh, f);
	} else {
		n = fresh;
		fresh = NULL;
		insert_locked(t, n);
	}
	n->lookups++;
	pthread_mutex_unlock(&t->lock);
	if (fresh)
		node_free(fresh);
	return n;
}

/* ---- fields that change ---- */

struct version *node_get_version(struct node_table *t, struct node *n)
{
	struct version *v;

	pthread_mutex_lock(&t->lock);
	v = version_ref(n->version);
	pthread_mutex_unlock(&t->lock);
	return v;
}

struct env *node_get_env(struct node_table *t, struct node *n)
{
	struct env *e;

	pthread_mutex_lock(&t->lock);
	e = env_ref(n->env);
	pthread_mutex_unlock(&t->lock);
	return e;
}

struct ctxtree *node_get_tree(struct node_table *t, struct node *n)
{
	struct ctxtree *tree;

	pthread_mutex_lock(&t->lock);
	tree = ctxtree_ref(n->tree);
	pthread_mutex_unlock(&t->lock);
	return tree;
}

char *node_get_local(struct node_table *t, struct node *n)
{
	char *path;

	pthread_mutex_lock(&t->lock);
	path = n->local ? strdup(n->local) : NULL;
	pthread_mutex_unlock(&t->lock);
	return path;
}

/* The path that n has after the move; NULL when it is not concerned or there is no memory. */
static char *moved_path(const struct node *n, const char *from, const char *to)
{
	size_t len = strlen(from);
	char *path;

	if (!n->local || strncmp(n->local, from, len) != 0 ||
	    (n->local[len] && n->local[len] != '/'))
		return NULL;
	return asprintf(&path, "%s%s", to, n->local + len) < 0 ? NULL : path;
}

void node_moved_local(struct node_table *t, const char *from, const char *to)
{
	pthread_mutex_lock(&t->lock);
	for (struct node *n = t->locals; n; n = n->next_local) {
		char *path = moved_path(n, from, to);

		if (path) {
			free(n->local);
			n->local = path;
		}
	}
	pthread_mutex_unlock(&t->lock);
}

bool node_is_local(struct node_table *t, struct node *n)
{
	bool local;

	pthread_mutex_lock(&t->lock);
	local = n->local != NULL;
	pthread_mutex_unlock(&t->lock);
	return local;
}

bool node_is_file(struct node_table *t, struct node *n, const char *number)
{
	bool same;

	pthread_mutex_lock(&t->lock);
	same = n->local && strcmp(n->disk ? n->disk : n->name, number) == 0;
	pthread_mutex_unlock(&t->lock);
	return same;
}

bool node_was_edited(struct node_table *t, struct node *n)
{
	bool edited;

	pthread_mutex_lock(&t->lock);
	edited = n->edited;
	pthread_mutex_unlock(&t->lock);
	return edited;
}

int node_set_local(struct node_table *t, struct node *n, const char *path, const char *number)
{
	char *local = strdup(path), *disk = strdup(number);

	if (!local || !disk) {
		free(local);
		free(disk);
		return -ENOMEM;
	}
	pthread_mutex_lock(&t->lock);
	unlist_local(n);
	unlist_alias(n);
	free(n->local);
	free(n->disk);
	n->local = local;
	n->disk = disk;
	n->edited = true;
	list_local(t, n);
	list_alias(t, n);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

void node_clear_local(struct node_table *t, const char *path)
{
	struct node *next;

	pthread_mutex_lock(&t->lock);
	for (struct node *n = t->aliases; n; n = next) {
		next = n->next_alias;
		if (strcmp(n->local, path) != 0)
			continue;
		unlist_local(n);
		unlist_alias(n);
		free(n->local);
		free(n->disk);
		n->local = NULL;
		n->disk = NULL;
	}
	pthread_mutex_unlock(&t->lock);
}

void node_set_forward(struct node_table *t, struct node *from, struct node *to)
{
	pthread_mutex_lock(&t->lock);
	if (!from->forward && from != to && !to->forward) {
		from->forward = to;
		to->holds++;
	}
	pthread_mutex_unlock(&t->lock);
}

void node_set_version(struct node_table *t, struct node *n, struct version *v)
{
	struct version *other = version_ref(v);

	pthread_mutex_lock(&t->lock);
	swap_version_locked(n, &other);
	pthread_mutex_unlock(&t->lock);
	version_unref(other);
}

void node_set_env(struct node_table *t, struct node *n, struct env *e)
{
	struct env *fresh = env_ref(e), *old;

	pthread_mutex_lock(&t->lock);
	old = n->env;
	n->env = fresh;
	pthread_mutex_unlock(&t->lock);
	env_unref(old);
}

void node_set_tree(struct node_table *t, struct node *n, struct ctxtree *tree)
{
	struct ctxtree *fresh = ctxtree_ref(tree), *old;

	pthread_mutex_lock(&t->lock);
	old = n->tree;
	n->tree = fresh;
	pthread_mutex_unlock(&t->lock);
	ctxtree_unref(old);
}

struct node_sizes node_get_sizes(struct node_table *t, struct node *n)
{
	struct node_sizes s;

	pthread_mutex_lock(&t->lock);
	s = n->sizes;
	pthread_mutex_unlock(&t->lock);
	return s;
}

void node_set_sizes(struct node_table *t, struct node *n, const struct node_sizes *s)
{
	pthread_mutex_lock(&t->lock);
	n->sizes = *s;
	pthread_mutex_unlock(&t->lock);
}

struct node_shown node_get_shown(struct node_table *t, struct node *n)
{
	struct node_shown s = {0};

	pthread_mutex_lock(&t->lock);
	if (n->shown)
		s = *n->shown;
	pthread_mutex_unlock(&t->lock);
	return s;
}

void node_set_shown(struct node_table *t, struct node *n, const struct node_shown *s)
{
	struct node_shown *fresh = malloc(sizeof(*fresh));

	if (!fresh)
		return; /* it is read again next time */
	*fresh = *s;
	pthread_mutex_lock(&t->lock);
	free(n->shown);
	n->shown = fresh;
	pthread_mutex_unlock(&t->lock);
}

uint64_t node_count(struct node_table *t)
{
	uint64_t count;

	pthread_mutex_lock(&t->lock);
	count = t->count;
	pthread_mutex_unlock(&t->lock);
	return count;
}

static bool is_of_list(const struct node *n)
{
	switch (n->kind) {
	case NODE_SCOPE:
	case NODE_ARCHIVE:
	case NODE_ENV:
	case NODE_LATEST:
	case NODE_VERSION:
	case NODE_SPEC:
		return true;
	default:
		return false;
	}
}

ssize_t node_list_mutable(struct node_table *t, uint64_t **out)
{
	ssize_t count = 0;

	pthread_mutex_lock(&t->lock);
	*out = calloc(t->count + 1, sizeof(**out));
	if (*out) {
		(*out)[count++] = ROOT_INO;
		for (uint64_t i = 0; i < t->n_buckets; i++)
			for (const struct node *n = t->buckets[i]; n; n = n->next)
				if (is_of_list(n))
					(*out)[count++] = n->ino;
	}
	pthread_mutex_unlock(&t->lock);
	return *out ? count : -ENOMEM;
}
