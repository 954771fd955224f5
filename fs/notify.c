#include "fs/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fuse_lowlevel.h>

#include "cache/store.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/due.h"
#include "fs/name.h"
#include "fs/tree.h"
#include "fs/upcalls.h"

enum {
	NOTICED_BUCKETS = 1024,
	FACT_SIZE = 40,     /* of a key or a time */
	STORING_MAX = 4,    /* files given to the kernel at once */
	QUEUE_MAX = 100000, /* beyond that the oldest are dropped: timeouts catch up */
};

/* One thing to push: a name in a directory (name not NULL), or an inode. */
struct push {
	uint64_t ino;
	char *name;
	struct push *next;
};

struct noticed {
	uint64_t ino;
	int64_t when;
	struct noticed *next;
};

struct notify {
	struct node_table *nodes;
	struct store *store; /* NULL: none */
	struct upcalls *counts;
	atomic_uint storing; /* threads that give the kernel a file */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t ready;
	pthread_cond_t told;
	/* protected by lock */
	struct fuse_session *se; /* NULL: nobody is there to be told */
	unsigned int telling;    /* calls that use it */
	struct due due;          /* when listings are dropped */
	bool stopping;
	unsigned int held;
	struct push *first, **last;
	size_t queued;
	struct noticed *noticed[NOTICED_BUCKETS];
};

struct notify *notify_new(struct node_table *nodes)
{
	struct notify *n = calloc(1, sizeof(*n));
	pthread_condattr_t attr;

	if (!n)
		return NULL;
	n->nodes = nodes;
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->ready, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&n->told, NULL);
	return n;
}

void notify_count(struct notify *n, struct upcalls *counts)
{
	n->counts = counts;
}

static void push_free(struct push *p)
{
	free(p->name);
	free(p);
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	notify_stop(n);
	for (struct push *p = n->first, *next; p; p = next) {
		next = p->next;
		push_free(p);
	}
	for (size_t i = 0; i < NOTICED_BUCKETS; i++) {
		for (struct noticed *s = n->noticed[i], *next; s; s = next) {
			next = s->next;
			free(s);
		}
	}
	due_clear(&n->due);
	pthread_cond_destroy(&n->told);
	pthread_cond_destroy(&n->ready);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* ---- when changes were noticed ---- */

int64_t notify_noticed(struct notify *n, uint64_t ino)
{
	int64_t when = 0;

	pthread_mutex_lock(&n->lock);
	for (struct noticed *s = n->noticed[ino % NOTICED_BUCKETS]; s; s = s->next)
		if (s->ino == ino)
			when = s->when;
	pthread_mutex_unlock(&n->lock);
	return when;
}

static void notice_at(struct notify *n, uint64_t ino, int64_t when)
{
	struct noticed *s, *fresh = calloc(1, sizeof(*fresh));

	pthread_mutex_lock(&n->lock);
	for (s = n->noticed[ino % NOTICED_BUCKETS]; s && s->ino != ino; s = s->next)
		;
	if (!s && fresh) {
		s = steal_ptr(&fresh);
		s->ino = ino;
		s->next = n->noticed[ino % NOTICED_BUCKETS];
		n->noticed[ino % NOTICED_BUCKETS] = s;
	}
	if (s)
		s->when = when;
	pthread_mutex_unlock(&n->lock);
	free(fresh);
}

static const char noticed_prefix[] = "noticed ";

/* The time stays the same in later mounts: programs that compare it would else copy again. */
static void notice(struct notify *n, uint64_t ino)
{
	int64_t now = clock_wall();
	char key[FACT_SIZE], value[FACT_SIZE];

	notice_at(n, ino, now);
	if (!n->store)
		return;
	snprintf(key, sizeof(key), "%s%016" PRIx64, noticed_prefix, ino);
	snprintf(value, sizeof(value), "%" PRId64, now);
	store_put_fact(n->store, key, strlen(key), value, strlen(value));
}

static void remember(void *arg, const void *key, size_t key_len, const void *data, size_t len)
{
	const size_t prefix = strlen(noticed_prefix);
	char name[FACT_SIZE] = "", value[FACT_SIZE] = "";
	uint64_t ino;
	int64_t when;

	if (key_len >= sizeof(name) || key_len < prefix || len >= sizeof(value))
		return;
	memcpy(name, key, key_len);
	memcpy(value, data, len);
	/* What is still to come was not noticed. */
	if (sscanf(name + prefix, "%" SCNx64, &ino) == 1 && sscanf(value, "%" SCNd64, &when) == 1 &&
	    when > 0 && when <= clock_wall())
		notice_at(arg, ino, when);
}

void notify_remember(struct notify *n, struct store *store)
{
	n->store = store;
	if (store)
		store_each_fact(store, noticed_prefix, strlen(noticed_prefix), remember, n);
}

/* ---- the queue ---- */

static void enqueue(struct notify *n, uint64_t ino, const char *name)
{
	struct push *p = calloc(1, sizeof(*p)), *dropped = NULL;

	if (!p)
		return; /* the kernel's timeouts catch up */
	p->ino = ino;
	p->name = name ? strdup(name) : NULL;
	pthread_mutex_lock(&n->lock);
	if (n->queued >= QUEUE_MAX) {
		dropped = n->first;
		n->first = dropped->next;
		n->queued--;
	}
	if (!n->first)
		n->last = &n->first;
	*n->last = p;
	n->last = &p->next;
	n->queued++;
	pthread_cond_signal(&n->ready);
	pthread_mutex_unlock(&n->lock);
	if (dropped)
		push_free(dropped);
}

void notify_file(struct notify *n, uint64_t ino)
{
	enqueue(n, ino, NULL);
}

void notify_hold(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->held++;
	pthread_mutex_unlock(&n->lock);
}

void notify_release(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->held--;
	if (!n->held)
		pthread_cond_signal(&n->ready);
	pthread_mutex_unlock(&n->lock);
}

/* ---- at once ---- */

/* The kernel, until tell_end(); NULL when there is none to tell any more. */
static struct fuse_session *tell_begin(struct notify *n)
{
	struct fuse_session *se;

	pthread_mutex_lock(&n->lock);
	se = n->stopping ? NULL : n->se;
	if (se)
		n->telling++;
	pthread_mutex_unlock(&n->lock);
	return se;
}

static void tell_end(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	if (--n->telling == 0)
		pthread_cond_broadcast(&n->told);
	pthread_mutex_unlock(&n->lock);
}

static void note_result(const char *what, uint64_t ino, const char *name, int rc)
{
	if (rc && rc != -ENOENT && rc != -ENOTDIR)
		log_debug("op=%s ino=%llu name=%s error=%d", what, (unsigned long long)ino, name,
			  rc);
}

static void drop_now(struct notify *n, uint64_t ino)
{
	struct fuse_session *se = tell_begin(n);

	if (!se)
		return;
	upcalls_add(n->counts, UPCALL_INVAL_INODE);
	note_result("notify", ino, "", fuse_lowlevel_notify_inval_inode(se, ino, 0, 0));
	tell_end(n);
}

void notify_listing(struct notify *n, uint64_t ino)
{
	struct node *node = node_hold(n->nodes, ino);

	if (!node)
		return;
	/* Attributes go with it, which may be known of a directory that was never listed. */
	(void)node_unlist(n->nodes, ino);
	drop_now(n, ino);
	node_put(n->nodes, node);
}

void notify_link(struct notify *n, uint64_t ino)
{
	struct node *node = node_hold(n->nodes, ino);

	if (node)
		drop_now(n, ino);
	node_put(n->nodes, node);
}

void notify_listings_below(struct notify *n, struct node *top)
{
	uint64_t *inos;
	ssize_t count = node_unlist_below(n->nodes, top, &inos);

	for (ssize_t i = 0; i < count; i++)
		drop_now(n, inos[i]);
	if (count >= 0)
		free(inos);
	else
		log_warn("op=notify: no memory to tell what has changed");
}

void notify_listing_at(struct notify *n, uint64_t ino, int64_t due)
{
	if (!node_set_expiry(n->nodes, ino, due))
		return;
	pthread_mutex_lock(&n->lock);
	if (due_add(&n->due, due, ino))
		log_warn(
			"op=notify: no memory: a listing may be shown for longer than it is fresh");
	if (due_first(&n->due) == due)
		pthread_cond_signal(&n->ready);
	pthread_mutex_unlock(&n->lock);
}

void notify_store(struct notify *n, uint64_t ino, const char *data, size_t size)
{
	struct fuse_bufvec bufs = FUSE_BUFVEC_INIT(size);
	struct fuse_session *se = NULL;

	/* A page that is being read is waited for; threads have to be left that answer the read. */
	if (atomic_fetch_add(&n->storing, 1) < STORING_MAX)
		se = tell_begin(n);
	if (se) {
		bufs.buf[0].mem = (void *)(uintptr_t)data;
		upcalls_add(n->counts, UPCALL_STORE);
		note_result("store", ino, "", fuse_lowlevel_notify_store(se, ino, 0, &bufs, 0));
		tell_end(n);
	}
	atomic_fetch_sub(&n->storing, 1);
}

/* ---- the thread ---- */

/* What there is to do: a push, or a listing to drop (its number; 0: neither, the end). */
static struct push *next_task(struct notify *n, uint64_t *listing)
{
	struct push *p = NULL;

	*listing = 0;
	pthread_mutex_lock(&n->lock);
	while (!n->stopping && (!n->first || n->held)) {
		int64_t due = due_first(&n->due);
		struct timespec until = clock_timespec(due);

		if (!due)
			pthread_cond_wait(&n->ready, &n->lock);
		else if (due > clock_mono())
			pthread_cond_timedwait(&n->ready, &n->lock, &until);
		else
			break;
	}
	if (!n->stopping && n->first && !n->held) {
		p = n->first;
		n->first = p->next;
		if (!n->first)
			n->last = &n->first;
		n->queued--;
	} else if (!n->stopping) {
		*listing = due_take(&n->due);
	}
	pthread_mutex_unlock(&n->lock);
	return p;
}

static void push(struct notify *n, const struct push *p)
{
	struct node *node = node_hold(n->nodes, p->ino);
	struct fuse_session *se = node ? tell_begin(n) : NULL;
	int rc;

	if (se) {
		upcalls_add(n->counts, p->name ? UPCALL_INVAL_ENTRY : UPCALL_INVAL_INODE);
		rc = p->name ? fuse_lowlevel_notify_inval_entry(se, p->ino, p->name,
								strlen(p->name))
			     : fuse_lowlevel_notify_inval_inode(se, p->ino, 0, 0);
		note_result("notify", p->ino, p->name ? p->name : "", rc);
		tell_end(n);
	}
	node_put(n->nodes, node);
}

/* Where it was read again since, its time is a later one. */
static void expire_listing(struct notify *n, uint64_t ino)
{
	int64_t now = clock_mono(), later = node_expire(n->nodes, ino, now);

	if (!later && node_unlist(n->nodes, ino))
		drop_now(n, ino);
	if (!later)
		return;
	pthread_mutex_lock(&n->lock);
	if (due_add(&n->due, later, ino))
		log_warn(
			"op=notify: no memory: a listing may be shown for longer than it is fresh");
	pthread_mutex_unlock(&n->lock);
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;
	uint64_t listing;
	struct push *p;

	while ((p = next_task(n, &listing)) || listing) {
		if (listing) {
			expire_listing(n, listing);
			continue;
		}
		push(n, p);
		push_free(p);
	}
	return NULL;
}

int notify_start(struct notify *n, struct fuse_session *se)
{
	int rc;

	pthread_mutex_lock(&n->lock);
	n->se = se;
	pthread_mutex_unlock(&n->lock);
	rc = pthread_create(&n->thread, NULL, notify_main, n);
	n->started = rc == 0;
	return -rc;
}

void notify_stop(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_cond_broadcast(&n->ready);
	while (n->telling)
		pthread_cond_wait(&n->told, &n->lock);
	pthread_mutex_unlock(&n->lock);
	if (n->started)
		pthread_join(n->thread, NULL);
	n->started = false;
}

void notify_expire(struct notify *n)
{
	uint64_t *inos;
	ssize_t count = node_list_mutable(n->nodes, &inos);

	for (ssize_t i = 0; i < count; i++) {
		if (node_unlist(n->nodes, inos[i]))
			drop_now(n, inos[i]);
		else
			enqueue(n, inos[i], NULL);
	}
	if (count >= 0)
		free(inos);
}

void notify_attributes(struct notify *n, uint64_t ino)
{
	struct fuse_session *se = tell_begin(n);

	if (!se)
		return;
	/* Without pages to be dropped there is nothing that it could wait for. */
	upcalls_add(n->counts, UPCALL_INVAL_INODE);
	note_result("notify", ino, "", fuse_lowlevel_notify_inval_inode(se, ino, -1, 0));
	tell_end(n);
}

/* ---- what a changed list means ---- */

static uint64_t scope_ino(const struct scope *s)
{
	char key[SCOPE_KEY_SIZE];

	return node_number(FUSE_ROOT_ID, NODE_SCOPE, tree_scope_key(s, key));
}

static const char *file_name(enum name_place place, const char *name, char out[NAME_SIZE])
{
	name_encode(place, name, strlen(name), out);
	return out;
}

/* A name came or went in a directory: its entry, negative or not, is wrong. */
static void name_changed(struct notify *n, uint64_t dir, const char *name)
{
	enqueue(n, dir, name);
}

static void envs_changed(struct notify *n, uint64_t dir, const struct env_list *a,
			 const struct env_list *b)
{
	char name[NAME_SIZE];

	for (size_t i = 0; i < a->count; i++) {
		struct env *was = a->items[i], *is = env_list_find(b, was->name);

		file_name(NAME_ENV, was->name, name);
		if (!is || is->archived != was->archived)
			name_changed(n, dir, name);
		/* Below .archived it may stay, with other versions to show. */
		if (is && !env_equal(was, is))
			notify_listing(n, node_number(dir, NODE_ENV, name));
	}
	for (size_t i = 0; i < b->count; i++)
		if (!env_list_find(a, b->items[i]->name))
			name_changed(n, dir, file_name(NAME_ENV, b->items[i]->name, name));
	notify_listing(n, dir);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What a version's files come from. */
static bool same_files(const struct version *a, const struct version *b)
{
	return a->created == b->created && same_text(a->image, b->image) &&
	       same_text(a->conda, b->conda) && same_text(a->context_uri, b->context_uri) &&
	       same_text(version_dockerfile_path(a), version_dockerfile_path(b));
}

/* Another version took the name (deleted and made anew): what was kept for ever is wrong. */
static void files_changed(struct notify *n, uint64_t version)
{
	static const struct {
		const char *name;
		enum node_kind kind;
	} files[] = {{"Dockerfile", NODE_DOCKERFILE},
		     {"build.log", NODE_BUILD_LOG},
		     {"conda.yml", NODE_CONDA},
		     {"context", NODE_CONTEXT}};

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		uint64_t ino = node_number(version, files[i].kind, files[i].name);

		name_changed(n, version, files[i].name);
		if (files[i].kind == NODE_CONTEXT)
			notify_listing(n, ino);
		else
			enqueue(n, ino, NULL);
	}
}

static void version_changed(struct notify *n, uint64_t dir, const struct version *was,
			    const struct version *is, const char *name)
{
	uint64_t ino = node_number(dir, NODE_VERSION, name);

	if (!version_same_content(was, is) && is->modified == was->modified)
		notice(n, ino);
	if (!same_files(was, is))
		files_changed(n, ino);
	notify_listing(n, ino);
	enqueue(n, node_number(ino, NODE_SPEC, "spec.yml"), NULL);
}

static void versions_changed(struct notify *n, uint64_t dir, const struct version_list *a,
			     const struct version_list *b)
{
	char name[NAME_SIZE];

	for (size_t i = 0; i < a->count; i++) {
		struct version *was = a->items[i], *is = version_list_find(b, was->version);

		file_name(NAME_VERSION, was->version, name);
		if (!is || is->archived != was->archived)
			name_changed(n, dir, name);
		else if (!version_equal(was, is))
			version_changed(n, dir, was, is, name);
	}
	for (size_t i = 0; i < b->count; i++)
		if (!version_list_find(a, b->items[i]->version))
			name_changed(n, dir, file_name(NAME_VERSION, b->items[i]->version, name));
	name_changed(n, dir, "latest");
	notify_link(n, node_number(dir, NODE_LATEST, "latest"));
	notify_listing(n, dir);
}

void notify_changed(void *arg, enum catalog_event event, struct scope *scope, const char *env,
		    const void *before, const void *after)
{
	struct notify *n = arg;
	char name[NAME_SIZE];
	uint64_t dir, archive;

	if (event == CATALOG_SCOPES) {
		notify_listing(n, FUSE_ROOT_ID);
		return;
	}
	dir = scope_ino(scope);
	archive = node_number(dir, NODE_ARCHIVE, ".archived");
	if (event == CATALOG_ENVS) {
		envs_changed(n, dir, before, after);
		envs_changed(n, archive, before, after);
		return;
	}
	file_name(NAME_ENV, env, name);
	versions_changed(n, node_number(dir, NODE_ENV, name), before, after);
	versions_changed(n, node_number(archive, NODE_ENV, name), before, after);
}

void notify_build(void *arg, const struct scope *scope, const char *env, const char *version)
{
	uint64_t dir = scope_ino(scope), archive = node_number(dir, NODE_ARCHIVE, ".archived");
	const uint64_t dirs[] = {dir, archive};
	struct notify *n = arg;
	char env_name[NAME_SIZE], version_name[NAME_SIZE];

	file_name(NAME_ENV, env, env_name);
	file_name(NAME_VERSION, version, version_name);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		uint64_t at = node_number(dirs[i], NODE_ENV, env_name);

		at = node_number(at, NODE_VERSION, version_name);
		notify_attributes(n, node_number(at, NODE_BUILD_LOG, "build.log"));
	}
}
