/*
 * The body of a PUT. Members are added through functions that remember a failure, so that the
 * order of the members can be read off and is checked once.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "client/asset_json.h"

struct body {
	bool failed;
};

static void add(struct body *b, cJSON *object, const char *key, cJSON *item)
{
	if (!object || !item || !cJSON_AddItemToObject(object, key, item)) {
		cJSON_Delete(item);
		b->failed = true;
	}
}

static void add_text(struct body *b, cJSON *object, const char *key, const char *text)
{
	if (text)
		add(b, object, key, cJSON_CreateString(text));
}

/* An object that is in its parent already; NULL when memory ran out. */
static cJSON *add_object(struct body *b, cJSON *object, const char *key)
{
	cJSON *child = object ? cJSON_AddObjectToObject(object, key) : NULL;

	if (!child)
		b->failed = true;
	return child;
}

static void add_kvs(struct body *b, cJSON *object, const char *key, const struct kv *kv, size_t n)
{
	cJSON *child;

	if (!n)
		return;
	child = add_object(b, object, key);
	for (size_t i = 0; i < n && !b->failed; i++)
		add(b, child, kv[i].key,
		    kv[i].value ? cJSON_CreateString(kv[i].value) : cJSON_CreateNull());
}

static void add_route(struct body *b, cJSON *config, const char *key, const struct route *r)
{
	cJSON *route;

	if (!r->path && !r->port)
		return;
	route = add_object(b, config, key);
	add(b, route, "port", cJSON_CreateNumber(r->port));
	add_text(b, route, "path", r->path);
}

static void add_routes(struct body *b, cJSON *properties, const struct version *v)
{
	cJSON *config = add_object(b, properties, "inferenceConfig");

	add_route(b, config, "livenessRoute", &v->liveness);
	add_route(b, config, "readinessRoute", &v->readiness);
	add_route(b, config, "scoringRoute", &v->scoring);
	add_route(b, config, "startupRoute", &v->startup);
	if (config && !config->child)
		cJSON_DeleteItemFromObjectCaseSensitive(properties, "inferenceConfig");
}

static void add_build(struct body *b, cJSON *properties, const struct version *v)
{
	cJSON *build;

	if (!v->context_uri)
		return;
	build = add_object(b, properties, "build");
	add_text(b, build, "contextUri", v->context_uri);
	add_text(b, build, "dockerfilePath", v->dockerfile_path);
}

/* The schema's spelling; other text goes as it is, for the service to judge. */
static const char *os_name(const char *os)
{
	if (os && strcasecmp(os, "linux") == 0)
		return "Linux";
	if (os && strcasecmp(os, "windows") == 0)
		return "Windows";
	return os;
}

cJSON *asset_json_version_body(const struct version *v)
{
	cJSON *root = cJSON_CreateObject();
	struct body b = {0};
	cJSON *p = add_object(&b, root, "properties");

	add_text(&b, p, "description", v->description);
	add_kvs(&b, p, "tags", v->tags, v->n_tags);
	add_kvs(&b, p, "properties", v->properties, v->n_properties);
	add(&b, p, "isAnonymous", cJSON_CreateBool(v->anonymous));
	add(&b, p, "isArchived", cJSON_CreateBool(v->archived));
	add_text(&b, p, "image", v->image);
	add_text(&b, p, "condaFile", v->conda);
	add_build(&b, p, v);
	add_routes(&b, p, v);
	add_text(&b, p, "osType", os_name(v->os_type));
	add_text(&b, p, "stage", v->stage);
	add_text(&b, p, "autoRebuild", v->auto_rebuild);
	if (!b.failed)
		return root;
	cJSON_Delete(root);
	return NULL;
}
