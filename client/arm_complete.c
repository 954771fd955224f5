/*
 * Versions that come without content. A list has been seen to leave fields out, and a workspace
 * shows a curated environment with neither image nor build (azureml-rest.md section 3, 4.): such an
 * item is asked for by itself, and a curated one then looked up in its registry. Content never
 * changes, so what was found is kept, and what was not is not asked for again for a while.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/arm_int.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"

enum {
	COMPLETIONS_MAX = 4096, /* kept; a power of two, each key has one place */
	ABSENT_S = 600,         /* that a version has no content is believed so long */
	DOWN_S = 60,            /* a registry that failed is left alone so long */
};

struct completion {
	char *key;
	struct version *content; /* NULL: there is none */
	int64_t at;
};

struct completions {
	pthread_mutex_t lock;
	/* protected by lock */
	struct completion places[COMPLETIONS_MAX];
	int64_t down_until; /* registries are not asked before */
};

int completions_new(struct completions **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void completions_free(struct completions *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < COMPLETIONS_MAX; i++) {
		free(c->places[i].key);
		version_unref(c->places[i].content);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* FNV-1a: spreads keys over places, nothing more depends on it. */
static struct completion *place_of(struct completions *c, const char *key)
{
	uint32_t h = 2166136261u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return &c->places[h % COMPLETIONS_MAX];
}

/* True when the answer is known; *content gets a reference, or NULL when there is none. */
static bool completion_get(struct completions *c, const char *key, struct version **content)
{
	struct completion *p = place_of(c, key);
	bool known;

	pthread_mutex_lock(&c->lock);
	known = p->key && strcmp(p->key, key) == 0 &&
		(p->content || clock_mono() - p->at < ABSENT_S * NS_PER_S);
	*content = known ? version_ref(p->content) : NULL;
	pthread_mutex_unlock(&c->lock);
	return known;
}

static void completion_put(struct completions *c, const char *key, struct version *content)
{
	struct completion *p = place_of(c, key), old;
	char *copy = strdup(key);

	if (!copy)
		return;
	pthread_mutex_lock(&c->lock);
	old = *p;
	*p = (struct completion){.key = copy, .content = version_ref(content), .at = clock_mono()};
	pthread_mutex_unlock(&c->lock);
	free(old.key);
	version_unref(old.content);
}

/* v with the content fields of other: what is published with a version and never changes. */
static struct version *with_content(const struct version *v, const struct version *other)
{
	struct version fields = version_copy_fields(v);

	fields.image = other->image;
	fields.conda = other->conda ? other->conda : v->conda;
	fields.context_uri = other->context_uri;
	fields.dockerfile_path = other->dockerfile_path;
	fields.os_type = v->os_type ? v->os_type : other->os_type;
	fields.auto_rebuild = other->auto_rebuild ? other->auto_rebuild : v->auto_rebuild;
	fields.liveness = other->liveness;
	fields.readiness = other->readiness;
	fields.scoring = other->scoring;
	fields.startup = other->startup;
	if (!fields.environment_type)
		fields.environment_type = other->environment_type;
	return version_new(&fields);
}

/* These say something about the service or the call, not about this one version. */
static bool hits_all(int rc)
{
	return rc != -ENOENT && rc != -EACCES && rc != -EBADMSG && rc != -EINVAL && rc != -EFBIG;
}

/*
 * Fetches a version that may have content; *out stays NULL when it has none or can't be had.
 * *certain is cleared when that may be different the next time.
 */
static int try_fetch(struct arm *a, struct scope *scope, const char *env, const char *version,
		     struct call *c, struct version **out, bool *certain, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = arm_fetch_version(a, scope, env, version, c, out, &why);

	if (!rc || rc == -ENOENT)
		return 0;
	*certain = false;
	if (hits_all(rc))
		return err_set(e, rc, "%s", err_text(&why, rc));
	log_warn("op=complete msg=\"%s\"", err_text(&why, rc));
	return 0;
}

/* The registry that an asset id or a property names, else the one of curated environments. */
static void registry_of(const struct version *v, struct buf *name)
{
	static const char prefix[] = "azureml://registries/";
	const char *text = v->id;

	for (size_t i = 0; i <= v->n_properties; i++) {
		if (text && strncasecmp(text, prefix, sizeof(prefix) - 1) == 0) {
			text += sizeof(prefix) - 1;
			buf_add(name, text, strcspn(text, "/"));
			return;
		}
		if (i < v->n_properties)
			text = v->properties[i].value;
	}
	buf_addstr(name, ARM_CURATED_REGISTRY);
}

static bool registries_down(struct completions *c)
{
	bool down;

	pthread_mutex_lock(&c->lock);
	down = clock_mono() < c->down_until;
	pthread_mutex_unlock(&c->lock);
	return down;
}

static void set_registries_down(struct completions *c)
{
	pthread_mutex_lock(&c->lock);
	c->down_until = clock_mono() + DOWN_S * NS_PER_S;
	pthread_mutex_unlock(&c->lock);
}

/* One failure counts for all versions of a list: none waits for what the one before waited for. */
static int try_registry(struct arm *a, const struct version *v, struct call *c,
			struct version **out, bool *certain, struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(ASSET_NAME_MAX);
	struct scope *registry = NULL;
	struct err why = ERR_INIT;
	int rc;

	if (registries_down(a->completions)) {
		*certain = false;
		return 0;
	}
	registry_of(v, &name);
	rc = registry_find(a, buf_str(&name), c, &registry, &why);
	if (!rc)
		rc = try_fetch(a, registry, v->env, v->version, c, out, certain, &why);
	scope_unref(registry);
	/* A registry that does not answer makes no workspace unreadable, unless time is up. */
	if (rc == -ECANCELED || rc == -ENOMEM || (rc && call_check(c)))
		return err_set(e, rc, "%s", err_text(&why, rc));
	if (rc) {
		*certain = false;
		set_registries_down(a->completions);
		log_warn("op=complete registry=%s msg=\"%s\"", buf_str(&name), err_text(&why, rc));
	}
	return 0;
}

static bool is_empty(const struct version *v)
{
	return !v || version_kind(v) == VERSION_EMPTY;
}

/* Looks where the content may be; *out is NULL when it is nowhere. */
static int find_content(struct arm *a, struct scope *scope, const struct version *v,
			bool ask_itself, struct call *c, struct version **out, bool *certain,
			struct err *e)
{
	struct version *found = NULL;
	bool curated = version_is_curated(v);
	int rc = 0;

	if (ask_itself)
		rc = try_fetch(a, scope, v->env, v->version, c, &found, certain, e);
	if (found && version_is_curated(found))
		curated = true;
	if (!rc && is_empty(found) && curated && scope->kind == SCOPE_WORKSPACE) {
		version_unref(found);
		found = NULL;
		rc = try_registry(a, v, c, &found, certain, e);
	}
	if (rc || is_empty(found)) {
		version_unref(found);
		found = NULL;
	}
	*out = found;
	return rc;
}

/* The time of creation tells a version from one that was deleted and made again. */
static int completion_key(const struct scope *s, const struct version *v, struct buf *key)
{
	assert(v);
	return buf_addf(key, "%d\n%s\n%s\n%s\n%s\n%s\n%lld", s->kind, s->subscription,
			s->resource_group, s->name, v->env, v->version, (long long)v->created);
}

int arm_complete(struct arm *a, struct scope *scope, struct version **v, bool ask_itself,
		 struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf key = BUF_INIT(ASSET_NAME_MAX * 6);
	struct version *content = NULL, *whole;
	bool certain = true;
	int rc;

	if (!is_empty(*v))
		return 0;
	if (completion_key(scope, *v, &key))
		return err_set(e, buf_error(&key), "a version's name is too long");
	if (!completion_get(a->completions, buf_str(&key), &content)) {
		rc = find_content(a, scope, *v, ask_itself, c, &content, &certain, e);
		if (rc)
			return rc;
		if (content || certain)
			completion_put(a->completions, buf_str(&key), content);
	}
	if (!content)
		return 0;
	whole = with_content(*v, content);
	version_unref(content);
	if (!whole)
		return err_set(e, -ENOMEM, "no memory for a version");
	version_unref(*v);
	*v = whole;
	return 0;
}
