#include "fs/register.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "cache/catalog.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/conda.h"
#include "client/log.h"
#include "client/sha256.h"
#include "fs/edit.h"
#include "fs/freename.h"
#include "fs/journal.h"
#include "fs/local.h"
#include "fs/publish.h"
#include "fs/settle.h"
#include "fs/tree.h"
#include "fs/upper.h"
#include "fs/whiteout.h"
#include "fs/xattr.h"

enum {
	TRIES_MAX = 16,   /* names that others took, one after the other */
	TRIES_BLIND = 2,  /* ... before the list is asked for */
	LOOKUP_SHARE = 5, /* a fifth of the time is left for looking up what was answered */
	DIGEST_BYTES = 32,
	CANONICAL_MAX = 16 * 1024 * 1024,
	KEY_MAX = 8 * 1024,
	ROOT_INO = 1,
};

/* ---- digests ---- */

static void add_field(struct buf *b, const char *name, const char *text)
{
	buf_addf(b, "%s %zu\n", name, text ? strlen(text) : 0);
	buf_addstr(b, text ? text : "");
	buf_addch(b, '\n');
}

static void add_route(struct buf *b, const char *name, const struct route *r)
{
	buf_addf(b, "%s %d\n", name, r->port);
	add_field(b, name, r->path);
}

/* The same text for the YAML that is sent and the JSON that comes back. */
static int add_conda(struct buf *b, const char *conda)
{
	_cleanup_buf_ struct buf text = BUF_INIT(CANONICAL_MAX);
	int rc = conda ? conda_to_json(conda, strlen(conda), &text, NULL) : 0;

	if (rc == -ENOMEM)
		return rc;
	add_field(b, "conda", rc ? conda : buf_str(&text));
	return buf_error(b);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct kv *)a)->key, ((const struct kv *)b)->key);
}

static int add_tags(struct buf *b, const struct version *v)
{
	_cleanup_free_ struct kv *tags = calloc(v->n_tags + 1, sizeof(*tags));

	if (!tags)
		return -ENOMEM;
	if (v->n_tags)
		memcpy(tags, v->tags, v->n_tags * sizeof(*tags));
	qsort(tags, v->n_tags, sizeof(*tags), by_key);
	for (size_t i = 0; i < v->n_tags; i++) {
		add_field(b, "tag", tags[i].key);
		add_field(b, "is", tags[i].value);
	}
	return buf_error(b);
}

static int add_definition(struct buf *b, const struct version *v)
{
	add_field(b, "image", v->image);
	add_field(b, "context", v->context_uri);
	add_field(b, "dockerfile", v->context_uri ? version_dockerfile_path(v) : NULL);
	add_field(b, "os", v->os_type ? v->os_type : "linux");
	add_route(b, "liveness", &v->liveness);
	add_route(b, "readiness", &v->readiness);
	add_route(b, "scoring", &v->scoring);
	add_route(b, "startup", &v->startup);
	return add_conda(b, v->conda);
}

static int digest_text(const char *text, size_t len, char out[REGISTER_DIGEST_SIZE])
{
	unsigned char digest[DIGEST_BYTES];

	if (!EVP_Digest(text, len, digest, NULL, sha256(), NULL))
		return -EIO;
	for (int i = 0; i < DIGEST_BYTES; i++)
		snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
	return 0;
}

int register_digest(const struct version *v, char out[REGISTER_DIGEST_SIZE])
{
	_cleanup_buf_ struct buf b = BUF_INIT(2 * CANONICAL_MAX);
	int rc = add_definition(&b, v);

	if (!rc)
		rc = add_tags(&b, v);
	add_field(&b, "description", v->description);
	return rc ? rc : digest_text(buf_str(&b), b.len, out);
}

int register_same_definition(const struct version *a, const struct version *b, bool *same)
{
	_cleanup_buf_ struct buf x = BUF_INIT(2 * CANONICAL_MAX);
	_cleanup_buf_ struct buf y = BUF_INIT(2 * CANONICAL_MAX);
	int rc = add_definition(&x, a);

	if (!rc)
		rc = add_definition(&y, b);
	*same = !rc && strcmp(buf_str(&x), buf_str(&y)) == 0;
	return rc;
}

/* Of the bytes of a file of the disk; "" for what is no file. */
static void digest_file(struct fsys *fs, const char *path, char out[REGISTER_DIGEST_SIZE])
{
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char digest[DIGEST_BYTES];
	char chunk[16 * 1024];
	ssize_t n = -1;
	bool ok = fd >= 0 && ctx && EVP_DigestInit_ex(ctx, sha256(), NULL);

	while (ok && (n = read(fd, chunk, sizeof(chunk))) > 0)
		ok = EVP_DigestUpdate(ctx, chunk, (size_t)n);
	out[0] = '\0';
	if (ok && !n && EVP_DigestFinal_ex(ctx, digest, NULL))
		for (int i = 0; i < DIGEST_BYTES; i++)
			snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
	EVP_MD_CTX_free(ctx);
}

/* ---- names ---- */

/* The number that text is, or -1. */
static int64_t number_of(const char *text)
{
	size_t len = strspn(text, "0123456789");

	return !len || text[len] || len > 17 ? -1 : strtoll(text, NULL, 10);
}

static int64_t highest(const struct version_list *l)
{
	int64_t most = 0;

	for (size_t i = 0; l && i < l->count; i++) {
		int64_t n = number_of(l->items[i]->version);

		if (n > most)
			most = n;
	}
	return most;
}

/* What the service says is next; for environments whose versions are no numbers. */
static char *service_next(struct fsys *fs, struct scope *s, const char *env, struct call *c)
{
	struct env_list *envs;
	const struct env *found;
	char *next = NULL;

	if (catalog_envs(fs->catalog, s, c, &envs, NULL))
		return NULL;
	found = env_list_find(envs, env);
	if (found && found->next_version)
		next = strdup(found->next_version);
	env_list_unref(envs);
	return next;
}

static char *number_text(int64_t n)
{
	char *text;

	return asprintf(&text, "%" PRId64, n) < 0 ? NULL : text;
}

/*
 * The next version's name by what is known, however old: that it is free is asked before it is
 * taken.
 */
static int next_name(struct fsys *fs, const struct registration *r, struct call *c, char **out,
		     struct err *e)
{
	struct version_list *list = NULL;
	const struct version *latest;
	int rc = 0;

	*out = NULL;
	if (!catalog_peek_versions(fs->catalog, r->scope, r->env, &list))
		rc = catalog_versions(fs->catalog, r->scope, r->env, c, &list, e);
	if (rc && rc != -ENOENT)
		return rc;
	latest = rc ? NULL : version_list_latest(list);
	if (latest && number_of(latest->version) < 0) {
		char *said = service_next(fs, r->scope, r->env, c);

		if (said && !version_list_find(list, said))
			*out = said;
		else
			free(said);
	}
	if (!*out)
		*out = number_text(highest(rc ? NULL : list) + 1);
	if (!rc)
		version_list_unref(list);
	err_clear(e);
	return *out ? 0 : -ENOMEM;
}

/*
 * That name was taken: the one behind it, or the next by a list that is asked for now. That list
 * may lag behind what was just found taken.
 */
static int name_after(struct fsys *fs, const struct registration *r, int tries, struct call *c,
		      char **name, struct err *e)
{
	int64_t n = number_of(*name);
	struct version_list *list = NULL;
	int rc = 0;

	free(*name);
	*name = NULL;
	if (tries >= TRIES_BLIND || n < 0) {
		catalog_expire(fs->catalog);
		rc = catalog_versions(fs->catalog, r->scope, r->env, c, &list, e);
		if (!rc)
			version_list_unref(list);
		if (!rc)
			rc = next_name(fs, r, c, name, e);
		if (rc || n < 0 || number_of(*name) < 0 || number_of(*name) > n)
			return rc;
		free(*name);
	}
	*name = number_text(n + 1);
	return *name ? 0 : -ENOMEM;
}

/* ---- one name ---- */

static int look(struct fsys *fs, struct scope *s, const char *env, const char *version,
		struct call *c, struct version **out, struct err *e)
{
	return fs->source->ops->get_version(fs->source, s, env, version, c, out, e);
}

/* 1 when the service has just this under the name, 0 when it has something else there. */
static int has_same(const struct version *there, const char *digest)
{
	char other[REGISTER_DIGEST_SIZE];
	int rc = register_digest(there, other);

	return rc ? rc : strcmp(other, digest) == 0;
}

static bool is_doubtful(int rc)
{
	return rc == -EINPROGRESS || rc == -ETIMEDOUT || rc == -EIO || rc == -EHOSTUNREACH ||
	       rc == -EBUSY || rc == -ECANCELED || rc == -EBADMSG || rc == -ENOMEM;
}

static int begin_entry(struct fsys *fs, const struct registration *r, const struct version *v,
		       const char *digest, uint64_t *id, struct err *e)
{
	char scope[SCOPE_KEY_SIZE], bytes[REGISTER_DIGEST_SIZE];
	struct journal_entry entry = {
		.scope = tree_scope_key(r->scope, scope),
		.env = r->env,
		.version = v->version,
		.from = r->from,
		.digest = digest,
		.bytes = bytes,
		.when = clock_wall(),
	};

	bytes[0] = '\0';
	if (r->bytes)
		digest_file(fs, r->bytes, bytes);
	return journal_begin(fs->journal, &entry, id, e);
}

void register_done(struct fsys *fs, uint64_t id)
{
	int rc = id ? journal_end(fs->journal, id) : 0;

	settle_active(fs->settle, id, false);
	if (rc)
		log_warn("op=publish: the journal: %s", strerror(-rc));
}

/*
 * As look(), for whether a publication has reached the service: one that is being registered still
 * (registries take minutes) may yet fail, and one that did fail is not there.
 */
static int look_whether_done(struct fsys *fs, struct scope *s, const char *env, const char *version,
			     struct call *c, struct version **out, bool *failed, struct err *e)
{
	int rc = look(fs, s, env, version, c, out, e);

	*failed = !rc && version_has_failed(*out);
	if (rc)
		return rc;
	if (version_is_unfinished(*out))
		rc = err_set(e, -EINPROGRESS, "%s:%s is still being registered", env, version);
	else if (*failed)
		rc = err_set(e, -ENOENT, "the service could not register %s:%s: %s", env, version,
			     (*out)->provisioning_state);
	if (rc) {
		version_unref(*out);
		*out = NULL;
	}
	return rc;
}

/*
 * The request failed in a way that leaves open whether it was done: asked once more, with the time
 * that was kept for it. What stays open is in doubt.
 */
static int settle_doubt(struct fsys *fs, const struct registration *r, const struct version *v,
			const char *digest, uint64_t *id, int rc, struct call *c,
			struct version **out)
{
	struct version *there = NULL;
	bool failed;
	int found = look_whether_done(fs, r->scope, r->env, v->version, c, &there, &failed, NULL);
	bool same = !found && has_same(there, digest) == 1;

	if (same) {
		*out = there;
		catalog_note_version(fs->catalog, r->scope, there, c);
		return 0;
	}
	version_unref(there);
	/* Not there at this moment, but the request may still be on its way. */
	if (found == -ENOENT && rc != -ETIMEDOUT && rc != -ECANCELED && rc != -EINPROGRESS) {
		register_done(fs, *id);
		*id = 0;
		return rc;
	}
	if (!found) {
		register_done(fs, *id);
		*id = 0;
		return rc;
	}
	if (rc == -EINPROGRESS)
		log_info("op=publish env=%s version=%s: the service has accepted it; how it ends "
			 "is looked up later",
			 r->env, v->version);
	else
		log_warn("op=publish env=%s version=%s: whether the service has it is not known; "
			 "it is looked up later",
			 r->env, v->version);
	/* It may be listed before that: the draft waits here for it. */
	settle_in_doubt(fs->settle, r->from, *id);
	settle_active(fs->settle, *id, false);
	settle_doubtful(fs->settle);
	*id = 0;
	return rc;
}

static int put(struct fsys *fs, const struct registration *r, const struct version *v,
	       struct call *c, struct version **out, uint64_t *id, struct err *e)
{
	char digest[REGISTER_DIGEST_SIZE];
	struct call first;
	int64_t now = clock_mono(), left = c->deadline - now;
	int rc = register_digest(v, digest);

	if (!rc)
		rc = begin_entry(fs, r, v, digest, id, e);
	if (rc)
		return rc;
	settle_active(fs->settle, *id, true);
	call_init(&first, c->deadline - (left > 0 ? left / LOOKUP_SHARE : 0), CALL_INTERACTIVE);
	rc = catalog_put_version(fs->catalog, r->scope, v, &first, out, e);
	call_destroy(&first);
	if (!rc)
		return 0;
	if (is_doubtful(rc))
		return settle_doubt(fs, r, v, digest, id, rc, c, out);
	register_done(fs, *id);
	*id = 0;
	return rc;
}

int register_update(struct fsys *fs, const struct registration *r, const struct version *expected,
		    uint64_t *id, struct err *e)
{
	char digest[REGISTER_DIGEST_SIZE];
	int rc = register_digest(expected, digest);

	if (!rc)
		rc = begin_entry(fs, r, expected, digest, id, e);
	if (!rc)
		settle_active(fs->settle, *id, true);
	return rc;
}

void register_updated(struct fsys *fs, uint64_t *id, int rc)
{
	if (!rc)
		return; /* the caller ends it when the local files say so */
	if (is_doubtful(rc)) {
		settle_active(fs->settle, *id, false);
		settle_doubtful(fs->settle);
	} else {
		register_done(fs, *id);
	}
	*id = 0;
}

static int upload(struct fsys *fs, const struct registration *r, const char *version,
		  struct call *c, char **uri, struct err *e)
{
	*uri = r->uri ? strdup(r->uri) : NULL;
	if (r->uri)
		return *uri ? 0 : -ENOMEM;
	if (!r->n_files)
		return 0;
	return fs->source->ops->upload_context(fs->source, r->scope, r->env, version, r->files,
					       r->n_files, c, uri, e);
}

int register_errno(int rc)
{
	switch (-rc) {
	case EBADMSG:
	case ENOENT:
	case EAGAIN:
		return -EIO;
	case EINVAL:
		return -EBADMSG;
	default:
		return rc;
	}
}

static int name_key(const struct registration *r, const char *name, struct buf *key)
{
	char scope[SCOPE_KEY_SIZE];

	return buf_addf(key, "%s\n%s\n%s", tree_scope_key(r->scope, scope), r->env, name);
}

static int taken(const struct registration *r, const struct version *there, struct err *e)
{
	return err_set(e, -EEXIST, "version %s of %s exists already%s", there->version, r->env,
		       there->archived ? " (it is archived)" : "");
}

/* The version of that name as the service has it: -ENOENT is what one hopes for. */
static int ask(struct fsys *fs, const struct registration *r, const char *name, struct call *c,
	       struct version **there, struct err *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT(KEY_MAX);
	int rc = name_key(r, name, &key);

	if (rc)
		return rc;
	if (freename_take(fs->freenames, buf_str(&key)))
		return -ENOENT;
	rc = look(fs, r->scope, r->env, name, c, there, e);
	/* What failed is listed nowhere, so it is not what was asked for: the service has the last
	 * word on whether that name can be had again. */
	if (!rc && r->wanted && version_has_failed(*there)) {
		version_unref(*there);
		*there = NULL;
		rc = -ENOENT;
	}
	if (rc == -ENOENT)
		err_clear(e);
	return rc;
}

/* -EEXIST when the name is taken by something else; 0 with *out when by just this. */
static int try_name(struct fsys *fs, const struct registration *r, const char *name, struct call *c,
		    struct version **out, uint64_t *id, struct err *e)
{
	_cleanup_free_ char *uri = NULL;
	struct version *v = NULL, *there = NULL;
	char digest[REGISTER_DIGEST_SIZE];
	int rc = upload(fs, r, name, c, &uri, e);

	if (rc)
		return register_errno(rc);
	v = spec_to_version(r->spec, r->env, name, r->conda, uri);
	if (!v)
		return -ENOMEM;
	rc = ask(fs, r, name, c, &there, e);
	if (rc == -ENOENT) {
		rc = register_errno(put(fs, r, v, c, out, id, e));
	} else if (rc) {
		rc = register_errno(rc);
	} else if (r->wanted && version_is_unfinished(there)) {
		rc = err_set(e, -EINPROGRESS, "version %s of %s is still being registered",
			     there->version, r->env);
	} else if (r->wanted && !register_digest(v, digest) && has_same(there, digest) == 1) {
		*out = version_ref(there);
		catalog_note_version(fs->catalog, r->scope, there, c);
	} else {
		rc = taken(r, there, e);
	}
	version_unref(there);
	version_unref(v);
	return rc;
}

/* Calls `one` with one name after the other until it does not say that the name is taken. */
static int with_name(struct fsys *fs, const struct registration *r, struct call *c,
		     int (*one)(struct fsys *, const struct registration *, const char *,
				struct call *, void *, struct err *),
		     void *arg, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int rc;

	if (r->wanted)
		return one(fs, r, r->wanted, c, arg, e);
	rc = next_name(fs, r, c, &name, e);
	for (int tries = 0; !rc && tries < TRIES_MAX; tries++) {
		rc = one(fs, r, name, c, arg, e);
		if (rc != -EEXIST)
			return rc;
		err_clear(e);
		rc = name_after(fs, r, tries, c, &name, e);
	}
	if (rc)
		return register_errno(rc);
	return err_set(e, -EBUSY, "others make versions of %s faster than this one gets a name",
		       r->env);
}

struct registered {
	struct version *version;
	uint64_t id;
};

static int register_one(struct fsys *fs, const struct registration *r, const char *name,
			struct call *c, void *arg, struct err *e)
{
	struct registered *out = arg;

	return try_name(fs, r, name, c, &out->version, &out->id, e);
}

/* A version of that name may have been removed here a moment ago. */
static void uncover(struct fsys *fs, const struct scope *s, const struct version *v)
{
	char key[SCOPE_KEY_SIZE], name[NAME_SIZE];
	uint64_t env, ino;

	name_encode(NAME_ENV, v->env, strlen(v->env), name);
	env = node_number(node_number(ROOT_INO, NODE_SCOPE, tree_scope_key(s, key)), NODE_ENV,
			  name);
	name_encode(NAME_VERSION, v->version, strlen(v->version), name);
	ino = node_number(env, NODE_VERSION, name);
	whiteout_remove(fs->whiteouts, env, ino);
	whiteout_clear(fs->whiteouts, ino);
}

int register_version(struct fsys *fs, const struct registration *r, struct call *c,
		     struct version **version, uint64_t *id, struct err *e)
{
	struct registered out = {0};
	int rc = with_name(fs, r, c, register_one, &out, e);

	if (out.version)
		uncover(fs, r->scope, out.version);
	*version = out.version;
	*id = out.id;
	return rc;
}

static int probe_one(struct fsys *fs, const struct registration *r, const char *name,
		     struct call *c, void *arg, struct err *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT(KEY_MAX);
	struct version *there = NULL;
	int rc = ask(fs, r, name, c, &there, e);

	(void)arg;
	if (rc == -ENOENT) {
		rc = name_key(r, name, &key);
		if (!rc)
			freename_note(fs->freenames, buf_str(&key));
		return rc;
	}
	if (!rc)
		rc = taken(r, there, e);
	version_unref(there);
	return rc == -EEXIST ? rc : register_errno(rc);
}

int register_probe(struct fsys *fs, const struct registration *r, struct call *c, struct err *e)
{
	return with_name(fs, r, c, probe_one, NULL, e);
}

/* ---- what is in doubt ---- */

struct resolving {
	struct fsys *fs;
	struct journal *journal;
	struct call *c;
	int left;
};

static struct scope *find_scope(struct fsys *fs, const char *key, struct call *c)
{
	struct scope_list *scopes;
	struct scope *found = NULL;
	char other[SCOPE_KEY_SIZE];

	if (catalog_scopes(fs->catalog, c, &scopes, NULL))
		return NULL;
	for (size_t i = 0; !found && i < scopes->count; i++)
		if (strcmp(tree_scope_key(scopes->items[i], other), key) == 0)
			found = scope_ref(scopes->items[i]);
	scope_list_unref(scopes);
	return found;
}

/* The publication did reach the service: what lies on the disk of it is not needed any more. */
static void forget_bytes(struct fsys *fs, const struct journal_entry *entry)
{
	char digest[REGISTER_DIGEST_SIZE];
	struct upper_place p;
	_cleanup_free_ char *dir = NULL;

	if (upper_parse(entry->from, &p))
		return;
	if (p.area == UPPER_DRAFT) {
		publish_clear_draft(fs, entry->from, entry->when);
		return;
	}
	dir = upper_dir(&p);
	for (int i = 0; dir && entry->bytes[0] && i < 100; i++) {
		_cleanup_free_ char *path = NULL;
		char number[16] = "";

		if (i)
			snprintf(number, sizeof(number), ".%d", i);
		if (asprintf(&path, ".local/%s/%s.rejected%s", dir, p.rel, number) < 0) {
			path = NULL;
			return;
		}
		digest_file(fs, path, digest);
		if (strcmp(digest, entry->bytes) == 0 && !unlinkat(local_fd(fs->local), path, 0))
			edit_set_reason(fs, dir, NULL);
	}
}

/*
 * It never will: whoever asks the draft, or the version that was edited, learns why. failure NULL:
 * the service has never heard of it; what the program was told when it saved says more than that.
 */
static void tell_lost(struct fsys *fs, const struct journal_entry *entry, const char *failure)
{
	_cleanup_buf_ struct buf said = BUF_INIT(XATTR_VALUE_MAX);
	_cleanup_free_ char *dir = NULL;
	char why[ERR_MSG_MAX];
	struct upper_place p;
	bool draft;

	if (upper_parse(entry->from, &p))
		return;
	draft = p.area == UPPER_DRAFT;
	dir = draft ? strdup(entry->from) : upper_dir(&p);
	if (!dir || (!failure && !(draft ? edit_get_note : edit_get_reason)(fs, dir, &said)))
		return;
	snprintf(why, sizeof(why), "version %s of %s did not reach the service: save it once more",
		 entry->version, entry->env);
	(draft ? edit_note : edit_set_reason)(fs, dir, failure ? failure : why);
}

static void resolve(void *arg, uint64_t id, const struct journal_entry *entry)
{
	struct resolving *r = arg;
	struct version *there = NULL;
	struct err e = ERR_INIT;
	struct scope *scope;
	bool failed = false;
	int rc;

	if (r->journal == r->fs->journal && settle_is_active(r->fs->settle, id))
		return;
	scope = find_scope(r->fs, entry->scope, r->c);
	rc = scope ? look_whether_done(r->fs, scope, entry->env, entry->version, r->c, &there,
				       &failed, &e)
		   : -EHOSTUNREACH;
	if (rc && rc != -ENOENT) {
		scope_unref(scope);
		if (r->journal == r->fs->journal)
			settle_in_doubt(r->fs->settle, entry->from, id);
		r->left++;
		return;
	}
	if (!rc && has_same(there, entry->digest) == 1) {
		log_info("op=publish env=%s version=%s: it did reach the service", entry->env,
			 entry->version);
		catalog_note_version(r->fs->catalog, scope, there, r->c);
		forget_bytes(r->fs, entry);
	} else {
		log_info("op=publish env=%s version=%s: it did not reach the service: %s",
			 entry->env, entry->version, rc ? err_text(&e, rc) : "another one did");
		if (rc)
			tell_lost(r->fs, entry, failed ? err_text(&e, rc) : NULL);
	}
	version_unref(there);
	scope_unref(scope);
	if (r->journal == r->fs->journal)
		settle_sure(r->fs->settle, id);
	rc = journal_end(r->journal, id);
	if (rc)
		log_warn("op=publish: the journal: %s", strerror(-rc));
}

int register_resolve_of(struct fsys *fs, struct journal *journal, struct call *c)
{
	struct resolving r = {.fs = fs, .journal = journal, .c = c};
	int rc = journal_each(journal, resolve, &r);

	return rc ? rc : r.left;
}

int register_resolve(struct fsys *fs, struct call *c)
{
	return register_resolve_of(fs, fs->journal, c);
}
