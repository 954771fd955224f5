#include "fs/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fuse_lowlevel.h>

#include "cache/store.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/name.h"
#include "fs/tree.h"

enum {
	NOTICED_BUCKETS = 1024,
	FACT_SIZE = 40,     /* of a key or a time */
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
	struct fuse_session *se;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t ready;
	/* protected by lock */
	bool stopping;
	bool pushing; /* the session is there */
	unsigned int held;
	struct push *first, **last;
	size_t queued;
	struct noticed *noticed[NOTICED_BUCKETS];
};

struct notify *notify_new(struct node_table *nodes)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->nodes = nodes;
	n->last = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->ready, NULL);
	return n;
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

static struct push *dequeue(struct notify *n)
{
	struct push *p;

	pthread_mutex_lock(&n->lock);
	while ((!n->first || n->held) && !n->stopping)
		pthread_cond_wait(&n->ready, &n->lock);
	p = n->stopping ? NULL : n->first;
	if (p) {
		n->first = p->next;
		if (!n->first)
			n->last = &n->first;
		n->queued--;
	}
	pthread_mutex_unlock(&n->lock);
	return p;
}

static void push(struct notify *n, const struct push *p)
{
	struct node *node = node_hold(n->nodes, p->ino);
	int rc;

	if (!node)
		return;
	if (p->name) {
		rc = fuse_lowlevel_notify_inval_entry(n->se, p->ino, p->name, strlen(p->name));
	} else {
		node_unlist(n->nodes, node, 0);
		rc = fuse_lowlevel_notify_inval_inode(n->se, p->ino, 0, 0);
	}
	if (rc && rc != -ENOENT && rc != -ENOTDIR)
		log_debug("op=notify ino=%llu name=%s error=%d", (unsigned long long)p->ino,
			  p->name ? p->name : "", rc);
	node_put(n->nodes, node);
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;
	struct push *p;

	while ((p = dequeue(n))) {
		push(n, p);
		push_free(p);
	}
	return NULL;
}

int notify_start(struct notify *n, struct fuse_session *se)
{
	int rc;

	n->se = se;
	pthread_mutex_lock(&n->lock);
	n->pushing = true;
	pthread_mutex_unlock(&n->lock);
	rc = pthread_create(&n->thread, NULL, notify_main, n);
	n->started = rc == 0;
	return -rc;
}

void notify_stop(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	n->pushing = false;
	pthread_cond_broadcast(&n->ready);
	pthread_mutex_unlock(&n->lock);
	if (n->started)
		pthread_join(n->thread, NULL);
	n->started = false;
}

void notify_expire(struct notify *n)
{
	uint64_t *inos;
	ssize_t count = node_list_mutable(n->nodes, &inos);

	for (ssize_t i = 0; i < count; i++)
		enqueue(n, inos[i], NULL);
	if (count >= 0)
		free(inos);
}

void notify_attributes(struct notify *n, uint64_t ino)
{
	int rc = 0;

	/* Without pages to be dropped there is nothing that it could wait for. */
	pthread_mutex_lock(&n->lock);
	if (n->pushing)
		rc = fuse_lowlevel_notify_inval_inode(n->se, ino, -1, 0);
	pthread_mutex_unlock(&n->lock);
	if (rc && rc != -ENOENT)
		log_debug("op=notify ino=%llu error=%d", (unsigned long long)ino, rc);
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
			enqueue(n, node_number(dir, NODE_ENV, name), NULL);
	}
	for (size_t i = 0; i < b->count; i++)
		if (!env_list_find(a, b->items[i]->name))
			name_changed(n, dir, file_name(NAME_ENV, b->items[i]->name, name));
	enqueue(n, dir, NULL);
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
		name_changed(n, version, files[i].name);
		enqueue(n, node_number(version, files[i].kind, files[i].name), NULL);
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
	enqueue(n, ino, NULL);
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
	enqueue(n, dir, NULL);
}

void notify_changed(void *arg, enum catalog_event event, struct scope *scope, const char *env,
		    const void *before, const void *after)
{
	struct notify *n = arg;
	char name[NAME_SIZE];
	uint64_t dir, archive;

	if (event == CATALOG_SCOPES) {
		enqueue(n, FUSE_ROOT_ID, NULL);
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
