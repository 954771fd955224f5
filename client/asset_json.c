#include "client/asset_json.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/clock.h"

/* ---- members ---- */

static const cJSON *member(const cJSON *object, const char *key)
{
	const cJSON *m = object ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;

	return cJSON_IsNull(m) ? NULL : m;
}

/* The member as a text borrowed from the JSON; NULL when absent, null or empty. */
static int get_text(const cJSON *object, const char *key, size_t max, const char **out,
		    struct err *e)
{
	const cJSON *m = member(object, key);

	*out = NULL;
	if (!m)
		return 0;
	if (!cJSON_IsString(m))
		return err_set(e, -EBADMSG, "%s is not a text", key);
	if (strlen(m->valuestring) > max)
		return err_set(e, -EBADMSG, "%s is longer than %zu bytes", key, max);
	if (m->valuestring[0])
		*out = m->valuestring;
	return 0;
}

static int get_object(const cJSON *object, const char *key, const cJSON **out, struct err *e)
{
	*out = member(object, key);
	if (*out && !cJSON_IsObject(*out))
		return err_set(e, -EBADMSG, "%s is not an object", key);
	return 0;
}

static int get_bool(const cJSON *object, const char *key, bool *out, struct err *e)
{
	const cJSON *m = member(object, key);

	if (m && !cJSON_IsBool(m))
		return err_set(e, -EBADMSG, "%s is not true or false", key);
	*out = cJSON_IsTrue(m);
	return 0;
}

/* One text member of a record: where it comes from and where it goes. */
struct text_field {
	const char *key;
	size_t max;
	size_t offset;
};

static int get_texts(const cJSON *object, const struct text_field *fields, size_t n, void *record,
		     struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		rc = get_text(object, fields[i].key, fields[i].max,
			      (const char **)((char *)record + fields[i].offset), e);
	return rc;
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Who and when. A time that can't be read is an unknown one. */
struct system_data {
	const char *created_by;
	const char *modified_by;
	int64_t created;
	int64_t modified;
};

static int get_system_data(const cJSON *item, struct system_data *out, struct err *e)
{
	static const struct text_field by[] = {
		{"createdBy", ASSET_NAME_MAX, offsetof(struct system_data, created_by)},
		{"lastModifiedBy", ASSET_NAME_MAX, offsetof(struct system_data, modified_by)},
	};
	const char *created, *modified;
	const cJSON *data;
	int rc = get_object(item, "systemData", &data, e);

	*out = (struct system_data){0};
	if (!rc)
		rc = get_texts(data, by, COUNT(by), out, e);
	if (!rc)
		rc = get_text(data, "createdAt", ASSET_NAME_MAX, &created, e);
	if (!rc)
		rc = get_text(data, "lastModifiedAt", ASSET_NAME_MAX, &modified, e);
	if (rc)
		return rc;
	if (created)
		(void)clock_parse_iso(created, &out->created);
	if (modified)
		(void)clock_parse_iso(modified, &out->modified);
	return 0;
}

/* ---- ids ---- */

/* Finds "/word/" in an id (ARM does not mind the case of its literals); what follows it, or NULL.
 */
static const char *id_after(const char *id, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = id; p && *p; p = strchr(p + 1, '/'))
		if (*p == '/' && strncasecmp(p + 1, word, n) == 0 && p[n + 1] == '/')
			return p + n + 2;
	return NULL;
}

/* The segment behind "/word/", for the caller to free; NULL: none (*rc says when memory ran out).
 */
static char *id_segment(const char *id, const char *word, int *rc)
{
	const char *p = id ? id_after(id, word) : NULL;
	size_t n = p ? strcspn(p, "/") : 0;
	char *copy = NULL;

	*rc = 0;
	if (n) {
		copy = strndup(p, n);
		if (!copy)
			*rc = -ENOMEM;
	}
	return copy;
}

/* .../environments/{name}/versions/{version}: the name, whatever is in it. For the caller to free.
 */
static char *id_environment(const char *id, int *rc)
{
	const char *name = id ? id_after(id, "environments") : NULL;
	const char *end = NULL;
	char *copy = NULL;

	*rc = 0;
	for (const char *p = name; p; p = id_after(p, "versions"))
		if (p != name)
			end = p - strlen("/versions/");
	if (end && end > name) {
		copy = strndup(name, (size_t)(end - name));
		if (!copy)
			*rc = -ENOMEM;
	}
	return copy;
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* ---- scopes ---- */

static int scope_finish(const struct scope *fields, struct scope **out, struct err *e)
{
	*out = scope_new(fields);
	return *out ? 0 : no_memory(e);
}

/* A scope out of an ARM resource, whose properties carry its GUID under guid_key. */
static int arm_scope(const cJSON *item, struct scope *s, const char *guid_key,
		     const cJSON **properties, struct err *e)
{
	static const struct text_field top[] = {
		{"name", ASSET_NAME_MAX, offsetof(struct scope, name)},
		{"location", ASSET_NAME_MAX, offsetof(struct scope, location)},
	};
	struct system_data sys;
	int rc;

	if (!cJSON_IsObject(item))
		return err_set(e, -EBADMSG, "the resource is not an object");
	rc = get_texts(item, top, COUNT(top), s, e);
	if (!rc && !s->name)
		rc = err_set(e, -EBADMSG, "the resource has no name");
	if (!rc)
		rc = get_object(item, "properties", properties, e);
	if (!rc)
		rc = get_text(*properties, guid_key, ASSET_NAME_MAX, &s->guid, e);
	if (!rc)
		rc = get_text(*properties, "discoveryUrl", ASSET_PATH_MAX, &s->discovery_url, e);
	if (!rc)
		rc = get_system_data(item, &sys, e);
	if (rc)
		return rc;
	s->created = sys.created;
	s->modified = sys.modified;
	return 0;
}

static int arm_scope_record(const cJSON *item, struct scope *s, const char *guid_key,
			    bool id_required, struct scope **out, struct err *e)
{
	_cleanup_free_ char *subscription = NULL, *group = NULL;
	const cJSON *properties;
	const char *id = NULL;
	int rc = arm_scope(item, s, guid_key, &properties, e), oom = 0;

	*out = NULL;
	if (!rc)
		rc = get_text(item, "id", ASSET_PATH_MAX, &id, e);
	if (rc)
		return rc;
	subscription = id_segment(id, "subscriptions", &oom);
	if (!oom)
		group = id_segment(id, "resourceGroups", &oom);
	if (oom)
		return no_memory(e);
	if (id_required && (!subscription || !group))
		return err_set(e, -EBADMSG, "the id does not say subscription and resource group");
	s->subscription = subscription;
	s->resource_group = group;
	return scope_finish(s, out, e);
}

int asset_json_workspace(const cJSON *item, struct scope **out, struct err *e)
{
	struct scope s = {.kind = SCOPE_WORKSPACE, .writable = true};

	return arm_scope_record(item, &s, "workspaceId", true, out, e);
}

/* The registry that Microsoft publishes the curated environments in. */
static bool registry_is_writable(const char *name)
{
	return !name || strcasecmp(name, "azureml") != 0;
}

int asset_json_registry(const cJSON *item, struct scope **out, struct err *e)
{
	const cJSON *name = member(item, "name");
	struct scope s = {.kind = SCOPE_REGISTRY};

	s.writable = registry_is_writable(cJSON_GetStringValue(name));
	return arm_scope_record(item, &s, "registryId", false, out, e);
}

static bool is_http_url(const char *url)
{
	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		return false;
	for (; *url; url++)
		if ((unsigned char)*url <= ' ' || *url == 0x7f)
			return false;
	return true;
}

int asset_json_discovery(const cJSON *item, struct scope **out, struct err *e)
{
	static const struct text_field fields[] = {
		{"registryName", ASSET_NAME_MAX, offsetof(struct scope, name)},
		{"registryId", ASSET_NAME_MAX, offsetof(struct scope, guid)},
		{"subscriptionId", ASSET_NAME_MAX, offsetof(struct scope, subscription)},
		{"resourceGroup", ASSET_NAME_MAX, offsetof(struct scope, resource_group)},
		{"primaryRegion", ASSET_NAME_MAX, offsetof(struct scope, location)},
		{"primaryRegionResourceProviderUri", ASSET_PATH_MAX,
		 offsetof(struct scope, base_url)},
	};
	_cleanup_buf_ struct buf url = BUF_INIT(2 * ASSET_PATH_MAX);
	struct scope s = {.kind = SCOPE_REGISTRY};
	int rc;

	*out = NULL;
	if (!cJSON_IsObject(item))
		return err_set(e, -EBADMSG, "the answer of the discovery is not an object");
	rc = get_texts(item, fields, COUNT(fields), &s, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < COUNT(fields); i++)
		if (!*(const char **)((char *)&s + fields[i].offset))
			return err_set(e, -EBADMSG, "%s is missing", fields[i].key);
	if (!is_http_url(s.base_url))
		return err_set(e, -EBADMSG, "primaryRegionResourceProviderUri is not a URL");
	buf_addstr(&url, s.base_url);
	if (url.len && url.data[url.len - 1] != '/')
		buf_addch(&url, '/');
	if (buf_addstr(&url, "mferp/managementfrontend"))
		return no_memory(e);
	s.base_url = buf_str(&url);
	s.writable = registry_is_writable(s.name);
	return scope_finish(&s, out, e);
}

/* ---- tags and properties ---- */

static int kv_key_order(const void *pa, const void *pb)
{
	const struct kv *const *a = pa, *const *b = pb;

	return strcmp((*a)->key, (*b)->key);
}

static int check_doubles(const struct kv *kv, size_t n, const char *what, struct err *e)
{
	_cleanup_free_ const struct kv **sorted = malloc((n + 1) * sizeof(*sorted));

	if (!sorted)
		return no_memory(e);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &kv[i];
	qsort(sorted, n, sizeof(*sorted), kv_key_order);
	for (size_t i = 1; i < n; i++)
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			return err_set(e, -EBADMSG, "%s has the same key twice", what);
	return 0;
}

static int fill_kvs(const cJSON *object, const char *what, struct kv *kv, struct err *e)
{
	const cJSON *m;
	size_t i = 0;

	cJSON_ArrayForEach(m, object) {
		if (!cJSON_IsString(m) && !cJSON_IsNull(m))
			return err_set(e, -EBADMSG, "%s has a value that is not a text", what);
		kv[i].key = m->string;
		kv[i].value = cJSON_IsNull(m) ? "" : m->valuestring;
		if (strlen(kv[i].key) > ASSET_TEXT_MAX || strlen(kv[i].value) > ASSET_TEXT_MAX)
			return err_set(e, -EBADMSG, "%s has a text that is too long", what);
		i++;
	}
	return 0;
}

/* The object of texts under key: an array of texts borrowed from the JSON; free *kv. */
static int get_kvs(const cJSON *parent, const char *key, const struct kv **kv, size_t *n,
		   struct err *e)
{
	const cJSON *object;
	struct kv *list = NULL;
	int count, rc = get_object(parent, key, &object, e);

	*kv = NULL;
	*n = 0;
	if (rc || !object)
		return rc;
	count = cJSON_GetArraySize(object);
	if (count > ASSET_KV_MAX)
		return err_set(e, -EBADMSG, "%s has more than %d entries", key, ASSET_KV_MAX);
	list = calloc((size_t)count + 1, sizeof(*list));
	if (!list)
		return no_memory(e);
	rc = fill_kvs(object, key, list, e);
	if (!rc)
		rc = check_doubles(list, (size_t)count, key, e);
	if (rc) {
		free(list);
		return rc;
	}
	*kv = list;
	*n = (size_t)count;
	return 0;
}

/* ---- environments ---- */

static int env_fields(const cJSON *item, struct env *env, struct err *e)
{
	static const struct text_field top[] = {
		{"name", ASSET_NAME_MAX, offsetof(struct env, name)},
	};
	static const struct text_field props[] = {
		{"description", ASSET_TEXT_MAX, offsetof(struct env, description)},
		{"latestVersion", ASSET_NAME_MAX, offsetof(struct env, latest_version)},
		{"nextVersion", ASSET_NAME_MAX, offsetof(struct env, next_version)},
	};
	struct system_data sys;
	const cJSON *p = NULL;
	int rc = get_texts(item, top, COUNT(top), env, e);

	if (!rc && !env->name)
		rc = err_set(e, -EBADMSG, "the environment has no name");
	if (!rc)
		rc = get_object(item, "properties", &p, e);
	if (!rc)
		rc = get_texts(p, props, COUNT(props), env, e);
	if (!rc)
		rc = get_bool(p, "isArchived", &env->archived, e);
	if (!rc)
		rc = get_system_data(item, &sys, e);
	if (!rc)
		rc = get_kvs(p, "tags", &env->tags, &env->n_tags, e);
	if (rc)
		return rc;
	env->created = sys.created;
	env->modified = sys.modified;
	return 0;
}

int asset_json_env(const cJSON *item, struct env **out, struct err *e)
{
	struct env env = {0};
	int rc;

	*out = NULL;
	if (!cJSON_IsObject(item))
		return err_set(e, -EBADMSG, "the environment is not an object");
	rc = env_fields(item, &env, e);
	if (!rc) {
		*out = env_new(&env);
		rc = *out ? 0 : no_memory(e);
	}
	free((void *)(uintptr_t)env.tags);
	return rc;
}

/* ---- versions ---- */

static int get_route(const cJSON *config, const char *key, struct route *out, struct err *e)
{
	const cJSON *route, *port;
	int rc = get_object(config, key, &route, e);

	if (rc || !route)
		return rc;
	port = member(route, "port");
	if (!cJSON_IsNumber(port) || port->valuedouble < 1 || port->valuedouble > 65535)
		return err_set(e, -EBADMSG, "%s.port is not a port number", key);
	out->port = port->valueint;
	rc = get_text(route, "path", ASSET_PATH_MAX, &out->path, e);
	if (!rc && !out->path)
		rc = err_set(e, -EBADMSG, "%s.path is missing", key);
	return rc;
}

static int get_routes(const cJSON *properties, struct version *v, struct err *e)
{
	const cJSON *config;
	int rc = get_object(properties, "inferenceConfig", &config, e);

	if (!rc)
		rc = get_route(config, "livenessRoute", &v->liveness, e);
	if (!rc)
		rc = get_route(config, "readinessRoute", &v->readiness, e);
	if (!rc)
		rc = get_route(config, "scoringRoute", &v->scoring, e);
	if (!rc)
		rc = get_route(config, "startupRoute", &v->startup, e);
	return rc;
}

static int get_build(const cJSON *properties, struct version *v, struct err *e)
{
	static const struct text_field fields[] = {
		{"contextUri", ASSET_PATH_MAX, offsetof(struct version, context_uri)},
		{"dockerfilePath", ASSET_PATH_MAX, offsetof(struct version, dockerfile_path)},
	};
	const cJSON *build;
	int rc = get_object(properties, "build", &build, e);

	if (!rc)
		rc = get_texts(build, fields, COUNT(fields), v, e);
	if (!rc && !v->context_uri) /* a Dockerfile of no context says nothing */
		v->dockerfile_path = NULL;
	return rc;
}

static int version_properties(const cJSON *p, struct version *v, struct err *e)
{
	static const struct text_field fields[] = {
		{"description", ASSET_TEXT_MAX, offsetof(struct version, description)},
		{"image", ASSET_PATH_MAX, offsetof(struct version, image)},
		{"condaFile", ASSET_TEXT_MAX, offsetof(struct version, conda)},
		{"osType", ASSET_NAME_MAX, offsetof(struct version, os_type)},
		{"stage", ASSET_NAME_MAX, offsetof(struct version, stage)},
		{"environmentType", ASSET_NAME_MAX, offsetof(struct version, environment_type)},
		{"provisioningState", ASSET_NAME_MAX, offsetof(struct version, provisioning_state)},
		{"autoRebuild", ASSET_NAME_MAX, offsetof(struct version, auto_rebuild)},
	};
	int rc = get_texts(p, fields, COUNT(fields), v, e);

	if (!rc)
		rc = get_bool(p, "isArchived", &v->archived, e);
	if (!rc)
		rc = get_bool(p, "isAnonymous", &v->anonymous, e);
	if (!rc)
		rc = get_build(p, v, e);
	if (!rc)
		rc = get_routes(p, v, e);
	if (!rc)
		rc = get_kvs(p, "tags", &v->tags, &v->n_tags, e);
	if (!rc)
		rc = get_kvs(p, "properties", &v->properties, &v->n_properties, e);
	return rc;
}

/* Everything but the names; tags and properties are for the caller to free, also on failure. */
static int version_fields(const cJSON *item, struct version *v, struct err *e)
{
	static const struct text_field top[] = {
		{"id", ASSET_PATH_MAX, offsetof(struct version, id)},
		{"name", ASSET_NAME_MAX, offsetof(struct version, version)},
	};
	struct system_data sys;
	const cJSON *p = NULL;
	int rc = get_texts(item, top, COUNT(top), v, e);

	if (!rc)
		rc = get_object(item, "properties", &p, e);
	if (!rc && !p)
		rc = err_set(e, -EBADMSG, "properties is missing");
	if (!rc)
		rc = get_system_data(item, &sys, e);
	if (!rc)
		rc = version_properties(p, v, e);
	if (rc)
		return rc;
	v->created_by = sys.created_by;
	v->modified_by = sys.modified_by;
	v->created = sys.created;
	v->modified = sys.modified;
	return 0;
}

static int version_record(struct version *v, const char *env, struct version **out, struct err *e)
{
	_cleanup_free_ char *id_env = NULL, *os = NULL;
	int rc;

	id_env = id_environment(v->id, &rc);
	if (!rc && v->os_type) {
		os = strdup(v->os_type);
		rc = os ? 0 : -ENOMEM;
	}
	if (rc)
		return no_memory(e);
	for (char *p = os; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	v->os_type = os;
	v->env = id_env ? id_env : env;
	if (!v->version)
		return err_set(e, -EBADMSG, "the version has no name");
	if (!v->env)
		return err_set(e, -EBADMSG, "the id does not say the environment's name");
	if (strlen(v->env) > ASSET_NAME_MAX)
		return err_set(e, -EBADMSG, "the environment's name is too long");
	*out = version_new(v);
	return *out ? 0 : no_memory(e);
}

int asset_json_version(const cJSON *item, const char *env, struct version **out, struct err *e)
{
	struct version v = {0};
	int rc;

	*out = NULL;
	if (!cJSON_IsObject(item))
		return err_set(e, -EBADMSG, "the version is not an object");
	rc = version_fields(item, &v, e);
	if (!rc)
		rc = version_record(&v, env, out, e);
	free((void *)(uintptr_t)v.tags);
	free((void *)(uintptr_t)v.properties);
	return rc;
}
