/*
 * Changes of what is published. Each goes: the source makes it; it is remembered (written.h); the
 * lists that are known get it; the owner is told. Without a list that it could be put into, what
 * may be under way for that list is dropped, so that the next reader asks.
 *
 * Changes of one version (or of one environment) are made one after the other, bookkeeping
 * included: else the older of two results could be remembered last.
 */
#include "cache/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/lists.h"
#include "cache/recall.h"
#include "cache/written.h"
#include "client/cleanup.h"
#include "client/turns.h"

/* One change under way. */
struct change {
	struct catalog *c;
	struct scope *scope;
	const char *env;
	const char *version; /* NULL: the environment itself */
	struct buf key;      /* of the scope */
	struct buf name;     /* for its turn */
	struct turn turn;
	struct store_doubt *doubts[2]; /* of its versions, of the environments */
};

/* ---- entries (all under the lock) ---- */

static struct entry *find_entry(const struct change *ch, const char *env)
{
	struct place *p = place_find(ch->c, &ch->key);

	if (!p || !env)
		return p ? p->envs : NULL;
	return hashmap_get(p->versions, env, strlen(env));
}

static void drop_entry(const struct change *ch, const char *env, struct entry **trash)
{
	struct place *p = place_find(ch->c, &ch->key);
	struct entry *entry = find_entry(ch, env);

	if (!entry)
		return;
	if (env)
		hashmap_remove(p->versions, env, strlen(env));
	else
		p->envs = NULL;
	entry_drop(entry, trash);
}

static struct version *known_version(const struct change *ch)
{
	const struct entry *entry = find_entry(ch, ch->env);

	return entry && entry->snapshot ? version_list_find(entry->snapshot, ch->version) : NULL;
}

static struct env *known_env(const struct change *ch)
{
	const struct entry *entry = find_entry(ch, NULL);

	return entry && entry->snapshot ? env_list_find(entry->snapshot, ch->env) : NULL;
}

/* ---- putting a record into a list ---- */

/* The two kinds of list, for what is the same with both. */
struct list_ops {
	const struct fetch_kind *kind;
	void *(*with)(const void *list, const char *name, void *record);
};

static void *versions_with(const void *list, const char *name, void *record)
{
	return version_list_with(list, name, record);
}

static void *envs_with(const void *list, const char *name, void *record)
{
	return env_list_with(list, name, record);
}

static const struct list_ops versions_ops = {&fetch_versions, versions_with};
static const struct list_ops envs_ops = {&fetch_envs, envs_with};

/* What the disk is told about. */
static struct want want_of(const struct change *ch, const struct list_ops *ops, const char *env)
{
	struct want w = {.kind = ops->kind, .scope = ch->scope, .env = env};

	w.key = ch->key; /* borrowed */
	return w;
}

/* Locked. Takes the list's reference over, and leaves one in *list for telling. */
static void *amend(const struct change *ch, const struct list_ops *ops, const char *env,
		   struct entry *entry, void *list)
{
	const struct want w = want_of(ch, ops, env);
	struct catalog *c = ch->c;
	struct entry_time t = catalog_time(c);
	void *old;

	c->epoch++;
	old = entry_amend(entry, c->epoch, entry->type->ref(list), &t);
	c->epoch++;
	recall_change(c, &w, list, t.now - entry->stamp);
	return old;
}

static void unref_list(const struct list_ops *ops, void *list)
{
	if (list)
		ops->kind->type.unref(list);
}

static void tell(const struct change *ch, const struct list_ops *ops, const char *env, void *before,
		 void *after)
{
	const struct want w = want_of(ch, ops, env);

	if (ch->c->conf.changed && !ops->kind->type.equal(before, after))
		ops->kind->changed(ch->c, &w, before, after);
}

/*
 * Puts the record (NULL: its absence) into the list that is known. Making the new list is slow, so
 * that happens without the lock; hence the loop. Tells about it.
 */
static void put_record(const struct change *ch, const struct list_ops *ops, const char *env,
		       const char *name, void *record)
{
	const struct want w = want_of(ch, ops, env);
	struct entry *entry, *trash = NULL;
	void *base = NULL, *list = NULL, *old = NULL;

	catalog_lock(ch->c);
	while ((entry = find_entry(ch, env)) && entry->snapshot && entry->snapshot != base) {
		void *stale_base = base, *stale_list = list;

		base = entry->type->ref(entry->snapshot);
		catalog_unlock(ch->c);
		unref_list(ops, stale_base);
		unref_list(ops, stale_list);
		list = ops->with(base, name, record);
		catalog_lock(ch->c);
	}
	if (entry && entry->snapshot && list)
		old = amend(ch, ops, env, entry, list);
	else
		drop_entry(ch, env, &trash);
	if (!old)
		recall_drop(ch->c, &w);
	catalog_unlock(ch->c);

	if (old)
		tell(ch, ops, env, old, list);
	unref_list(ops, old);
	unref_list(ops, base);
	unref_list(ops, list);
	entry_trash_free(trash);
}

/* ---- remembering (under the lock) ---- */

/* Without memory to remember it, the list may for a while not show it. */
static void remember(const struct change *ch, const char *env, const char *name, void *before,
		     void *after, bool created)
{
	struct write write = {
		.key = &ch->key,
		.env = env,
		.name = name,
		.before = before,
		.after = after,
		.created = created,
		.epoch = ++ch->c->epoch,
		.now = ch->c->conf.now(),
	};

	(void)written_add(ch->c->written, &write);
	ch->c->epoch++;
}

/* ---- the way of every change ---- */

static int change_init(struct change *ch, struct catalog *c, struct scope *s, const char *env,
		       const char *version, struct err *e)
{
	*ch = (struct change){
		.c = c,
		.scope = s,
		.env = env,
		.version = version,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.name = BUF_INIT(CATALOG_KEY_MAX),
	};
	/* Two things of one name here only wait for each other. */
	if (!scope_key(&ch->key, s) && !buf_addf(&ch->name, "%d %s/%s/%s/%s/%s", (int)s->kind,
						 s->subscription ? s->subscription : "",
						 s->resource_group ? s->resource_group : "",
						 s->name, env, version ? version : ""))
		return 0;
	return err_set(e, -ENOMEM, "the names of what is to be changed are too long");
}

static void change_clear(struct change *ch)
{
	buf_free(&ch->key);
	buf_free(&ch->name);
}

/* What is known to be curated is not even asked for. */
static bool is_curated(const struct change *ch)
{
	const struct entry *entry = find_entry(ch, ch->env);
	const struct version_list *l = entry ? entry->snapshot : NULL;
	const struct version *v = NULL;

	if (l && ch->version)
		v = version_list_find(l, ch->version);
	else if (l && l->count)
		v = l->items[0];
	return v && version_is_curated(v);
}

/* Until the lists have the change, the ones on the disk are not to be believed. */
static void begin_doubts(struct change *ch)
{
	const struct want versions = want_of(ch, &versions_ops, ch->env);
	const struct want envs = want_of(ch, &envs_ops, NULL);

	ch->doubts[0] = recall_doubt(ch->c, &versions);
	ch->doubts[1] = recall_doubt(ch->c, &envs);
}

static int change_start(struct change *ch, struct call *call, struct err *e)
{
	bool stopped, curated;
	int rc;

	catalog_lock(ch->c);
	stopped = ch->c->stopped;
	curated = is_curated(ch);
	catalog_unlock(ch->c);
	if (stopped)
		return fetch_stopped(e);
	if (curated)
		return err_set(e, -EROFS, "%s is a curated environment", ch->env);
	rc = turn_take(ch->c->turns, &ch->turn, buf_str(&ch->name), call);
	if (rc)
		return err_set(e, rc, "%s is being changed by somebody else here", ch->env);
	begin_doubts(ch);
	return 0;
}

/* Whether a change that ended so may have been made, or shows that what is known is not right. */
static bool is_doubtful(int rc)
{
	switch (rc) {
	case -EROFS:
	case -EACCES:
	case -EPERM:
	case -EINVAL:
	case -ENOMEM:
		return false;
	default:
		return true;
	}
}

static void invalidate(const struct change *ch, const char *env)
{
	const struct want w = want_of(ch, env ? &versions_ops : &envs_ops, env);
	struct entry *entry;

	catalog_lock(ch->c);
	entry = find_entry(ch, env);
	ch->c->epoch++;
	if (entry)
		entry_invalidate(entry, ch->c->epoch);
	else
		recall_drop(ch->c, &w);
	catalog_unlock(ch->c);
}

static void change_end(struct change *ch, int rc)
{
	bool settled = !rc || !is_doubtful(rc);

	if (!settled) {
		if (ch->version)
			invalidate(ch, ch->env);
		invalidate(ch, NULL);
	}
	/* An answer from before settles nothing now. With their environment, versions may be
	 * listed otherwise. */
	recall_doubt_end(ch->c, ch->doubts[0], settled && (rc || ch->version));
	recall_doubt_end(ch->c, ch->doubts[1], settled);
	turn_end(&ch->turn);
}

/* ---- changes ---- */

static void version_changed(const struct change *ch, struct version *v)
{
	catalog_lock(ch->c);
	remember(ch, ch->env, ch->version, known_version(ch), v, false);
	catalog_unlock(ch->c);
	put_record(ch, &versions_ops, ch->env, ch->version, v);
}

int catalog_update_version(struct catalog *c, struct scope *s, const char *env, const char *version,
			   const struct version_change *change, struct call *call,
			   struct version **out, struct err *e)
{
	struct source *source = c->conf.source;
	struct change ch;
	int rc = change_init(&ch, c, s, env, version, e);

	*out = NULL;
	if (!rc)
		rc = change_start(&ch, call, e);
	if (!rc) {
		rc = source->ops->update_version(source, s, env, version, change, call, out, e);
		if (!rc)
			version_changed(&ch, *out);
		change_end(&ch, rc);
	}
	change_clear(&ch);
	return rc;
}

/* Its versions may be listed otherwise now. */
static void env_changed(const struct change *ch, struct env *env)
{
	catalog_lock(ch->c);
	remember(ch, NULL, ch->env, known_env(ch), env, false);
	catalog_unlock(ch->c);
	put_record(ch, &envs_ops, NULL, ch->env, env);
	invalidate(ch, ch->env);
}

int catalog_update_env(struct catalog *c, struct scope *s, const char *env, bool archived,
		       struct call *call, struct env **out, struct err *e)
{
	struct source *source = c->conf.source;
	struct change ch;
	int rc = change_init(&ch, c, s, env, NULL, e);

	*out = NULL;
	if (!rc)
		rc = change_start(&ch, call, e);
	if (!rc) {
		rc = source->ops->update_env(source, s, env, archived, call, out, e);
		if (!rc)
			env_changed(&ch, *out);
		change_end(&ch, rc);
	}
	change_clear(&ch);
	return rc;
}

static void version_deleted(const struct change *ch)
{
	catalog_lock(ch->c);
	remember(ch, ch->env, ch->version, NULL, NULL, false);
	catalog_unlock(ch->c);
	put_record(ch, &versions_ops, ch->env, ch->version, NULL);
}

int catalog_delete_version(struct catalog *c, struct scope *s, const char *env, const char *version,
			   struct call *call, struct err *e)
{
	struct source *source = c->conf.source;
	struct change ch;
	int rc = change_init(&ch, c, s, env, version, e);

	if (!rc)
		rc = change_start(&ch, call, e);
	if (!rc) {
		rc = source->ops->delete_version(source, s, env, version, call, e);
		if (!rc)
			version_deleted(&ch);
		change_end(&ch, rc);
	}
	change_clear(&ch);
	return rc;
}

static void env_deleted(const struct change *ch)
{
	const struct want versions = want_of(ch, &versions_ops, ch->env);
	struct entry *trash = NULL;

	catalog_lock(ch->c);
	remember(ch, NULL, ch->env, NULL, NULL, false);
	written_forget(ch->c->written, &ch->key, ch->env);
	drop_entry(ch, ch->env, &trash);
	recall_drop(ch->c, &versions);
	catalog_unlock(ch->c);
	entry_trash_free(trash);
	put_record(ch, &envs_ops, NULL, ch->env, NULL);
}

int catalog_delete_env(struct catalog *c, struct scope *s, const char *env, struct call *call,
		       struct err *e)
{
	struct source *source = c->conf.source;
	struct change ch;
	int rc = change_init(&ch, c, s, env, NULL, e);

	if (!rc)
		rc = change_start(&ch, call, e);
	if (!rc) {
		rc = source->ops->delete_env(source, s, env, call, e);
		if (!rc)
			env_deleted(&ch);
		change_end(&ch, rc);
	}
	change_clear(&ch);
	return rc;
}

/* ---- new versions ---- */

/*
 * The environment as it is with that version: a new one, or the known one with its hints put right.
 * The service's next version is not known then. NULL when there is no memory.
 */
static struct env *env_with(const struct env *known, const char *name, const struct version *v)
{
	struct env fields = {.name = name, .created = v->created, .modified = v->modified};

	if (known)
		fields = env_copy_fields(known);
	fields.latest_version = v->version;
	fields.next_version = NULL;
	return env_new(&fields);
}

static void version_put(const struct change *ch, struct version *v)
{
	struct version *known;
	struct env *env, *old;

	catalog_lock(ch->c);
	known = known_version(ch);
	remember(ch, ch->env, ch->version, known, v, !known);
	old = known_env(ch);
	env = env_with(old, ch->env, v);
	if (!old && env)
		remember(ch, NULL, ch->env, NULL, env, true);
	catalog_unlock(ch->c);

	/* The environment first: its versions are known only while it is. */
	if (env && !known)
		put_record(ch, &envs_ops, NULL, ch->env, env);
	put_record(ch, &versions_ops, ch->env, ch->version, v);
	env_unref(env);
}

int catalog_put_version(struct catalog *c, struct scope *s, const struct version *v,
			struct call *call, struct version **out, struct err *e)
{
	struct source *source = c->conf.source;
	struct change ch;
	int rc;

	*out = NULL;
	if (!v->env || !v->version)
		return err_set(e, -EINVAL, "a version to be registered has no name");
	rc = change_init(&ch, c, s, v->env, v->version, e);
	if (!rc)
		rc = change_start(&ch, call, e);
	if (!rc) {
		rc = source->ops->put_version(source, s, v, call, out, e);
		if (!rc)
			version_put(&ch, *out);
		change_end(&ch, rc);
	}
	change_clear(&ch);
	return rc;
}

void catalog_note_version(struct catalog *c, struct scope *s, struct version *v, struct call *call)
{
	struct change ch;

	if (!change_init(&ch, c, s, v->env, v->version, NULL) && !change_start(&ch, call, NULL)) {
		version_put(&ch, v);
		change_end(&ch, 0);
	}
	change_clear(&ch);
}

/* ---- lists that arrive ---- */

uint64_t change_begin(struct catalog *c)
{
	uint64_t epoch;

	catalog_lock(c);
	epoch = c->epoch;
	catalog_unlock(c);
	return epoch;
}

static void settle(struct catalog *c, const struct want *w, const struct writes *writes,
		   uint64_t asked)
{
	catalog_lock(c);
	written_settle(c->written, &w->key, w->env, writes, asked);
	catalog_unlock(c);
}

int change_merge_versions(struct catalog *c, const struct want *w, uint64_t asked, int rc,
			  struct version_list **list, struct err *e)
{
	struct writes writes = {0};
	bool deleted;
	int no_memory;

	if (rc && rc != -ENOENT)
		return rc;
	catalog_lock(c);
	deleted = written_is_deleted(c->written, &w->key, w->env, c->conf.now());
	no_memory = written_get(c->written, &w->key, w->env, c->conf.now(), &writes);
	catalog_unlock(c);

	if (!rc && deleted) {
		version_list_unref(*list);
		*list = NULL;
		rc = err_set(e, -ENOENT, "the environment %.200s was deleted", w->env);
	} else if (rc && !deleted && writes_create(&writes)) {
		*list = version_list_take(NULL, 0);
		no_memory = *list ? no_memory : -ENOMEM;
		rc = 0;
	}
	if (!rc && !no_memory && writes.n) {
		*list = writes_merge_versions(&writes, *list);
		no_memory = *list ? 0 : -ENOMEM;
		settle(c, w, &writes, asked);
	}
	writes_clear(&writes);
	if (rc || !no_memory)
		return rc;
	version_list_unref(*list);
	*list = NULL;
	return err_set(e, -ENOMEM, "no memory for the list of versions");
}

int change_merge_envs(struct catalog *c, const struct want *w, uint64_t asked,
		      struct env_list **list, struct err *e)
{
	struct writes writes = {0};
	int rc;

	catalog_lock(c);
	rc = written_get(c->written, &w->key, NULL, c->conf.now(), &writes);
	catalog_unlock(c);
	if (!rc && writes.n) {
		*list = writes_merge_envs(&writes, *list);
		rc = *list ? 0 : -ENOMEM;
		settle(c, w, &writes, asked);
	}
	writes_clear(&writes);
	if (!rc)
		return 0;
	env_list_unref(*list);
	*list = NULL;
	return err_set(e, rc, "no memory for the list of environments");
}
