#include "client/asset.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/asset_layout.h"

/*
 * How a record is packed: the struct, then its arrays, then the bytes of its strings, all in one
 * allocation. A table of offsets names the strings; arrays of pairs are described beside them.
 */

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const char **string_at(void *record, size_t offset)
{
	return (const char **)((char *)record + offset);
}

static const struct kv **array_at(void *record, size_t offset)
{
	return (const struct kv **)((char *)record + offset);
}

static size_t count_at(const void *record, size_t offset)
{
	size_t n;

	memcpy(&n, (const char *)record + offset, sizeof(n));
	return n;
}

static size_t text_size(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

/* Copies s to *end and moves *end behind it. */
static const char *text_put(char **end, const char *s)
{
	size_t n = text_size(s);
	char *at = *end;

	if (!s)
		return NULL;
	memcpy(at, s, n);
	*end += n;
	return at;
}

static size_t packed_size(const struct asset_layout *l, const void *fields)
{
	void *src = (void *)(uintptr_t)fields;
	size_t size = l->size;

	for (size_t i = 0; i < l->n_strings; i++)
		size += text_size(*string_at(src, l->strings[i]));
	for (size_t i = 0; i < l->n_arrays; i += 2) {
		const struct kv *kv = *array_at(src, l->arrays[i]);
		size_t n = count_at(src, l->arrays[i + 1]);

		size += n * sizeof(*kv);
		for (size_t k = 0; k < n; k++)
			size += text_size(kv[k].key) + text_size(kv[k].value);
	}
	return size;
}

static void *record_pack(const struct asset_layout *l, const void *fields)
{
	char *record = malloc(packed_size(l, fields));
	char *end;

	if (!record)
		return NULL;
	memcpy(record, fields, l->size);
	end = record + l->size;
	for (size_t i = 0; i < l->n_arrays; i += 2) {
		const struct kv **kv = array_at(record, l->arrays[i]);
		size_t n = count_at(record, l->arrays[i + 1]);

		if (n)
			memcpy(end, *kv, n * sizeof(**kv));
		*kv = (const struct kv *)(const void *)end;
		end += n * sizeof(**kv);
	}
	for (size_t i = 0; i < l->n_arrays; i += 2) {
		struct kv *kv = (struct kv *)(uintptr_t)*array_at(record, l->arrays[i]);
		size_t n = count_at(record, l->arrays[i + 1]);

		for (size_t k = 0; k < n; k++) {
			kv[k].key = text_put(&end, kv[k].key);
			kv[k].value = text_put(&end, kv[k].value);
		}
	}
	for (size_t i = 0; i < l->n_strings; i++) {
		const char **s = string_at(record, l->strings[i]);

		*s = text_put(&end, *s);
	}
	return record;
}

#define RECORD_REFS(type)                                                                   \
	struct type *type##_ref(struct type *r)                                             \
	{                                                                                   \
		if (r)                                                                      \
			atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);       \
		return r;                                                                   \
	}                                                                                   \
	void type##_unref(struct type *r)                                                   \
	{                                                                                   \
		if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) \
			free(r);                                                            \
	}

#define RECORD_DEFINE(type)                                                   \
	struct type *type##_new(const struct type *fields)                    \
	{                                                                     \
		struct type *r = record_pack(&asset_##type##_layout, fields); \
                                                                              \
		if (r)                                                        \
			atomic_init(&r->refs, 1);                             \
		return r;                                                     \
	}                                                                     \
	RECORD_REFS(type)

#define S(type, field) offsetof(struct type, field)

static const size_t scope_strings[] = {
	S(scope, name), S(scope, subscription), S(scope, resource_group), S(scope, location),
	S(scope, guid), S(scope, base_url),     S(scope, discovery_url),
};
const struct asset_layout asset_scope_layout = {sizeof(struct scope), scope_strings,
						COUNT(scope_strings), NULL, 0};

static const size_t env_strings[] = {
	S(env, name),
	S(env, description),
	S(env, latest_version),
	S(env, next_version),
};
static const size_t env_arrays[] = {S(env, tags), S(env, n_tags)};
const struct asset_layout asset_env_layout = {sizeof(struct env), env_strings, COUNT(env_strings),
					      env_arrays, COUNT(env_arrays)};

static const size_t version_strings[] = {
	S(version, id),
	S(version, env),
	S(version, version),
	S(version, description),
	S(version, image),
	S(version, conda),
	S(version, context_uri),
	S(version, dockerfile_path),
	S(version, os_type),
	S(version, stage),
	S(version, environment_type),
	S(version, provisioning_state),
	S(version, auto_rebuild),
	S(version, created_by),
	S(version, modified_by),
	S(version, liveness.path),
	S(version, readiness.path),
	S(version, scoring.path),
	S(version, startup.path),
};
static const size_t version_arrays[] = {S(version, tags), S(version, n_tags),
					S(version, properties), S(version, n_properties)};
const struct asset_layout asset_version_layout = {sizeof(struct version), version_strings,
						  COUNT(version_strings), version_arrays,
						  COUNT(version_arrays)};

RECORD_DEFINE(scope)
RECORD_DEFINE(env)
RECORD_DEFINE(version)
RECORD_REFS(context)

/* ---- comparing ---- */

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool kvs_equal(const struct kv *a, size_t na, const struct kv *b, size_t nb)
{
	if (na != nb)
		return false;
	for (size_t i = 0; i < na; i++)
		if (!text_equal(a[i].key, b[i].key) || !text_equal(a[i].value, b[i].value))
			return false;
	return true;
}

/* Same keys with the same values, in any order: JSON objects have none. */
static bool kvs_same(const struct kv *a, size_t na, const struct kv *b, size_t nb)
{
	if (na != nb)
		return false;
	for (size_t i = 0; i < na; i++) {
		size_t k = 0;

		while (k < nb && !text_equal(a[i].key, b[k].key))
			k++;
		if (k == nb || !text_equal(a[i].value, b[k].value))
			return false;
	}
	return true;
}

static bool strings_equal(const struct asset_layout *l, const void *a, const void *b)
{
	for (size_t i = 0; i < l->n_strings; i++)
		if (!text_equal(*string_at((void *)(uintptr_t)a, l->strings[i]),
				*string_at((void *)(uintptr_t)b, l->strings[i])))
			return false;
	return true;
}

static bool route_same(const struct route *a, const struct route *b)
{
	return a->port == b->port && text_equal(a->path, b->path);
}

static bool routes_same(const struct version *a, const struct version *b)
{
	return route_same(&a->liveness, &b->liveness) && route_same(&a->readiness, &b->readiness) &&
	       route_same(&a->scoring, &b->scoring) && route_same(&a->startup, &b->startup);
}

static const char *os_of(const struct version *v)
{
	return v->os_type ? v->os_type : "linux";
}

bool version_same_content(const struct version *a, const struct version *b)
{
	return text_equal(a->description, b->description) &&
	       kvs_same(a->tags, a->n_tags, b->tags, b->n_tags) && text_equal(a->image, b->image) &&
	       text_equal(a->conda, b->conda) && text_equal(a->context_uri, b->context_uri) &&
	       text_equal(version_dockerfile_path(a), version_dockerfile_path(b)) &&
	       text_equal(os_of(a), os_of(b)) && routes_same(a, b);
}

bool version_equal(const struct version *a, const struct version *b)
{
	return strings_equal(&asset_version_layout, a, b) && routes_same(a, b) &&
	       kvs_equal(a->tags, a->n_tags, b->tags, b->n_tags) &&
	       kvs_equal(a->properties, a->n_properties, b->properties, b->n_properties) &&
	       a->anonymous == b->anonymous && a->archived == b->archived &&
	       a->created == b->created && a->modified == b->modified;
}

bool env_equal(const struct env *a, const struct env *b)
{
	return strings_equal(&asset_env_layout, a, b) &&
	       kvs_equal(a->tags, a->n_tags, b->tags, b->n_tags) && a->archived == b->archived &&
	       a->created == b->created && a->modified == b->modified;
}

bool scope_equal(const struct scope *a, const struct scope *b)
{
	return a->kind == b->kind && strings_equal(&asset_scope_layout, a, b) &&
	       a->writable == b->writable && a->created == b->created && a->modified == b->modified;
}

/* ---- versions ---- */

struct version version_copy_fields(const struct version *v)
{
	struct version fields = {0};
	const size_t first = offsetof(struct version, id);

	memcpy((char *)&fields + first, (const char *)v + first, sizeof(fields) - first);
	return fields;
}

struct env env_copy_fields(const struct env *e)
{
	struct env fields = {0};
	const size_t first = offsetof(struct env, name);

	memcpy((char *)&fields + first, (const char *)e + first, sizeof(fields) - first);
	return fields;
}

enum version_kind version_kind(const struct version *v)
{
	if (v->context_uri)
		return VERSION_BUILD;
	return v->image ? VERSION_IMAGE : VERSION_EMPTY;
}

static bool in_state(const struct version *v, const char *name)
{
	return v->provisioning_state && strcasecmp(v->provisioning_state, name) == 0;
}

bool version_has_failed(const struct version *v)
{
	return in_state(v, "Failed") || in_state(v, "Canceled");
}

bool version_is_unfinished(const struct version *v)
{
	return v->provisioning_state && !in_state(v, "Succeeded") && !version_has_failed(v);
}

bool version_is_curated(const struct version *v)
{
	return v->environment_type && strcmp(v->environment_type, "Curated") == 0;
}

bool version_context_has_files(const struct version *v)
{
	const char *uri = v->context_uri;
	size_t n;

	if (!uri || (strncmp(uri, "https://", 8) != 0 && strncmp(uri, "http://", 7) != 0))
		return false;
	n = strlen(uri);
	while (n && uri[n - 1] == '/')
		n--;
	return !strchr(uri, '#') && !(n >= 4 && memcmp(uri + n - 4, ".git", 4) == 0);
}

const char *version_dockerfile_path(const struct version *v)
{
	return v->dockerfile_path ? v->dockerfile_path : "Dockerfile";
}

const char *version_tag(const struct version *v, const char *key, bool *found)
{
	for (size_t i = 0; i < v->n_tags; i++) {
		if (strcmp(v->tags[i].key, key) == 0) {
			if (found)
				*found = true;
			return v->tags[i].value;
		}
	}
	if (found)
		*found = false;
	return NULL;
}

static bool all_digits(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s))
			return false;
	return true;
}

int version_name_compare(const char *a, const char *b)
{
	bool na = all_digits(a), nb = all_digits(b);

	if (na != nb)
		return na ? -1 : 1;
	if (na) {
		const char *pa = a + strspn(a, "0"), *pb = b + strspn(b, "0");
		size_t la = strlen(pa), lb = strlen(pb);

		if (la != lb)
			return la < lb ? -1 : 1;
		if (strcmp(pa, pb) != 0)
			return strcmp(pa, pb);
	}
	return strcmp(a, b);
}

struct version *version_list_latest(const struct version_list *l)
{
	struct version *best = NULL;

	for (size_t i = 0; i < l->count; i++) {
		struct version *v = l->items[i];

		if (v->archived || v->anonymous)
			continue;
		if (!best || v->created > best->created ||
		    (v->created == best->created &&
		     version_name_compare(v->version, best->version) > 0))
			best = v;
	}
	return best;
}

/* ---- contexts ---- */

static int context_file_compare(const void *pa, const void *pb)
{
	const struct context_file *a = pa, *b = pb;
	size_t n = a->path_len < b->path_len ? a->path_len : b->path_len;
	int c = memcmp(a->path, b->path, n);

	if (c)
		return c;
	return a->path_len < b->path_len ? -1 : a->path_len > b->path_len;
}

/* Keeps the first of the files that have one path; returns how many are left. */
static size_t drop_doubles(struct context_file *files, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!kept || context_file_compare(&files[kept - 1], &files[i]) != 0)
			files[kept++] = files[i];
	return kept;
}

struct context *context_new(const struct context *fields)
{
	size_t n = fields->n_files;
	size_t size = sizeof(struct context) + n * sizeof(struct context_file) +
		      text_size(fields->uri) + text_size(fields->note);
	struct context_file *files;
	struct context *c;
	char *end;

	for (size_t i = 0; i < n; i++)
		size += fields->files[i].path_len + 1 + text_size(fields->files[i].etag) +
			text_size(fields->files[i].md5);
	c = malloc(size);
	if (!c)
		return NULL;
	*c = *fields;
	atomic_init(&c->refs, 1);
	files = (struct context_file *)(c + 1);
	end = (char *)(files + n);
	if (n)
		memcpy(files, fields->files, n * sizeof(*files));
	for (size_t i = 0; i < n; i++) {
		memcpy(end, files[i].path, files[i].path_len);
		files[i].path = end;
		end += files[i].path_len;
		*end++ = '\0';
		files[i].etag = text_put(&end, files[i].etag);
		files[i].md5 = text_put(&end, files[i].md5);
	}
	c->uri = text_put(&end, fields->uri);
	c->note = text_put(&end, fields->note);
	c->files = files;
	if (n)
		qsort(files, n, sizeof(*files), context_file_compare);
	c->n_files = drop_doubles(files, n);
	return c;
}

/* ---- lists ---- */

static uint64_t next_serial(void)
{
	static _Atomic uint64_t serial;

	return atomic_fetch_add_explicit(&serial, 1, memory_order_relaxed) + 1;
}

/* What a list needs: the order of its items, which are the same when it says 0. */
static int env_order(const struct env *a, const struct env *b)
{
	return strcmp(a->name, b->name);
}

static int version_order(const struct version *a, const struct version *b)
{
	return strcmp(a->version, b->version);
}

/* Scopes of one name may live in two resource groups or subscriptions. */
static int scope_order(const struct scope *a, const struct scope *b)
{
	const char *const x[] = {a->name, a->subscription, a->resource_group};
	const char *const y[] = {b->name, b->subscription, b->resource_group};

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	for (size_t i = 0; i < COUNT(x); i++) {
		int c = strcmp(x[i] ? x[i] : "", y[i] ? y[i] : "");

		if (c)
			return c;
	}
	return 0;
}

#define LIST_DEFINE(type)                                                                    \
	static int type##_item_compare(const void *a, const void *b)                         \
	{                                                                                    \
		return type##_order(*(struct type *const *)a, *(struct type *const *)b);     \
	}                                                                                    \
                                                                                             \
	struct type##_list *type##_list_take(struct type **items, size_t count)              \
	{                                                                                    \
		struct type##_list *l = malloc(sizeof(*l) + count * sizeof(struct type *));  \
		size_t n = 0;                                                                \
                                                                                             \
		if (count)                                                                   \
			qsort(items, count, sizeof(struct type *), type##_item_compare);     \
		for (size_t i = 0; i < count; i++) {                                         \
			if (!l || (n && type##_order(l->items[n - 1], items[i]) == 0))       \
				type##_unref(items[i]);                                      \
			else                                                                 \
				l->items[n++] = items[i];                                    \
		}                                                                            \
		if (!l)                                                                      \
			return NULL;                                                         \
		l->count = n;                                                                \
		l->serial = next_serial();                                                   \
		atomic_init(&l->refs, 1);                                                    \
		return l;                                                                    \
	}                                                                                    \
                                                                                             \
	struct type##_list *type##_list_ref(struct type##_list *l)                           \
	{                                                                                    \
		if (l)                                                                       \
			atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);        \
		return l;                                                                    \
	}                                                                                    \
                                                                                             \
	void type##_list_unref(struct type##_list *l)                                        \
	{                                                                                    \
		if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) \
			return;                                                              \
		for (size_t i = 0; i < l->count; i++)                                        \
			type##_unref(l->items[i]);                                           \
		free(l);                                                                     \
	}

LIST_DEFINE(env)
LIST_DEFINE(version)
LIST_DEFINE(scope)

#define FIND_DEFINE(type, key)                                                       \
	struct type *type##_list_find(const struct type##_list *l, const char *name) \
	{                                                                            \
		size_t lo = 0, hi = l->count;                                        \
                                                                                     \
		while (lo < hi) {                                                    \
			size_t mid = lo + (hi - lo) / 2;                             \
			int c = strcmp(name, l->items[mid]->key);                    \
                                                                                     \
			if (c == 0)                                                  \
				return l->items[mid];                                \
			if (c < 0)                                                   \
				hi = mid;                                            \
			else                                                         \
				lo = mid + 1;                                        \
		}                                                                    \
		return NULL;                                                         \
	}

FIND_DEFINE(env, name)
FIND_DEFINE(version, version)

/* Workspaces come before registries and are few: from one end to the other. */
struct scope *scope_list_find(const struct scope_list *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->items[i]->name, name) == 0)
			return l->items[i];
	return NULL;
}
