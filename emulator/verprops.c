#include "emulator/verprops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/buf.h"
#include "client/conda.h"
#include "emulator/emu_int.h"
#include "emulator/jsonio.h"

#define DOCKERFILE_DEFAULT "Dockerfile"

static const char *const updatable[] = {"description", "tags", "properties", "stage"};
static const char *const fixed[] = {"image", "build", "osType", "inferenceConfig", "autoRebuild"};
static const char *const routes[] = {"livenessRoute", "readinessRoute", "scoringRoute",
				     "startupRoute"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const cJSON *get(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* A member as text; absent, null and "" are all NULL. -EINVAL when it is something else. */
static int get_text(const cJSON *from, const char *name, const char **out, struct err *e)
{
	const cJSON *item = get(from, name);

	*out = NULL;
	if (!item || cJSON_IsNull(item))
		return 0;
	if (!cJSON_IsString(item))
		return err_set(e, -EINVAL, "%s: not a string.", name);
	if (*item->valuestring)
		*out = item->valuestring;
	return 0;
}

static int get_bool(const cJSON *from, const char *name, bool *given, bool *out, struct err *e)
{
	const cJSON *item = get(from, name);

	*given = item && !cJSON_IsNull(item);
	*out = cJSON_IsTrue(item);
	if (*given && !cJSON_IsBool(item))
		return err_set(e, -EINVAL, "%s: not true or false.", name);
	return 0;
}

static int add_text(cJSON *to, const char *name, const char *value)
{
	return !value || cJSON_AddStringToObject(to, name, value) ? 0 : -ENOMEM;
}

/* description and stage: null and "" empty them, absent leaves them as they are. */
static int read_note(const cJSON *from, const char *name, cJSON *to, struct err *e)
{
	const cJSON *item = get(from, name);

	if (!item)
		return 0;
	if (cJSON_IsNull(item))
		return cJSON_AddNullToObject(to, name) ? 0 : -ENOMEM;
	if (!cJSON_IsString(item))
		return err_set(e, -EINVAL, "%s: not a string.", name);
	return cJSON_AddStringToObject(to, name, item->valuestring) ? 0 : -ENOMEM;
}

/* tags and properties: maps of strings (and nulls). Of keys given twice the last counts. */
static int read_map(const cJSON *from, const char *name, cJSON *to, struct err *e)
{
	const cJSON *map = get(from, name), *item;
	cJSON *copy;
	int n = 0;

	if (!map)
		return 0;
	if (!cJSON_IsObject(map) && !cJSON_IsNull(map))
		return err_set(e, -EINVAL, "%s: not a map of strings.", name);
	copy = cJSON_AddObjectToObject(to, name);
	if (!copy)
		return -ENOMEM;
	cJSON_ArrayForEach(item, map) {
		cJSON *value;

		if (++n > VERPROPS_MAP_MAX)
			return err_set(e, -EINVAL, "%s: more than %d entries.", name,
				       VERPROPS_MAP_MAX);
		if (!cJSON_IsString(item) && !cJSON_IsNull(item))
			return err_set(e, -EINVAL, "%s: '%s' is not a string.", name, item->string);
		cJSON_DeleteItemFromObjectCaseSensitive(copy, item->string);
		value = cJSON_Duplicate(item, 0);
		if (!value || !cJSON_AddItemToObject(copy, item->string, value)) {
			cJSON_Delete(value);
			return -ENOMEM;
		}
	}
	return 0;
}

static int read_conda(const cJSON *from, bool has_build, cJSON *to, struct err *e)
{
	_cleanup_buf_ struct buf json = BUF_INIT(EMU_JSON_MAX);
	const char *text;
	int ret = get_text(from, "condaFile", &text, e);

	if (ret)
		return ret;
	/* The service gives "" back beside a build, and nothing beside an image. */
	if (!text || strspn(text, " \t\r\n") == strlen(text))
		return has_build ? add_text(to, "condaFile", "") : 0;
	ret = conda_to_json(text, strlen(text), &json, e);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		return err_prefix(e, -EINVAL, "condaFile is not a conda specification: ");
	return add_text(to, "condaFile", buf_str(&json));
}

/*
 * The path of a URI that lies in this service, whatever address the client knew it by; else NULL.
 */
static const char *local_path(const char *uri)
{
	const char *host, *path;

	if (strncasecmp(uri, "http://", 7) == 0)
		host = uri + 7;
	else if (strncasecmp(uri, "https://", 8) == 0)
		host = uri + 8;
	else
		return NULL;
	path = strchr(host, '/');
	if (!path || path == host || strncmp(path, "/" EMU_ACCOUNT "/", sizeof(EMU_ACCOUNT) + 1))
		return NULL;
	return path;
}

static int read_build(const cJSON *from, struct verprops *out, struct err *e)
{
	const cJSON *build = get(from, "build");
	const char *uri, *dockerfile, *path;
	cJSON *copy;

	if (!build || cJSON_IsNull(build))
		return 0;
	if (!cJSON_IsObject(build))
		return err_set(e, -EINVAL, "build: not an object.");
	if (get_text(build, "contextUri", &uri, e) ||
	    get_text(build, "dockerfilePath", &dockerfile, e))
		return -EINVAL;
	if (!uri)
		return err_set(e, -EINVAL, "build.contextUri is required.");
	if (!dockerfile)
		dockerfile = DOCKERFILE_DEFAULT;
	if (strlen(dockerfile) > VERPROPS_DOCKERFILE_MAX)
		return err_set(e, -EINVAL, "build.dockerfilePath is too long.");
	path = local_path(uri);
	if (path) {
		out->context = strdup(path);
		out->dockerfile = strdup(dockerfile);
		return out->context && out->dockerfile ? 0 : -ENOMEM;
	}
	copy = cJSON_AddObjectToObject(out->props, "build");
	if (!copy || add_text(copy, "contextUri", uri) ||
	    add_text(copy, "dockerfilePath", dockerfile))
		return -ENOMEM;
	return 0;
}

/* One of a few words, in any case, as the service writes it. */
static int read_word(const cJSON *from, const char *name, const char *const words[2],
		     const char *fallback, cJSON *to, struct err *e)
{
	const char *given;

	if (get_text(from, name, &given, e))
		return -EINVAL;
	if (!given)
		return add_text(to, name, fallback);
	for (int i = 0; i < 2; i++)
		if (strcasecmp(given, words[i]) == 0)
			return add_text(to, name, words[i]);
	return err_set(e, -EINVAL, "%s: '%s' is neither %s nor %s.", name, given, words[0],
		       words[1]);
}

static int read_route(const cJSON *from, const char *name, cJSON *to, struct err *e)
{
	const cJSON *route = get(from, name), *port;
	const char *path;
	cJSON *copy;

	if (!route || cJSON_IsNull(route))
		return 0;
	if (get_text(route, "path", &path, e))
		return -EINVAL;
	port = get(route, "port");
	if (!path || !cJSON_IsNumber(port) || port->valuedouble != port->valueint ||
	    port->valueint < 1 || port->valueint > 65535)
		return err_set(e, -EINVAL, "inferenceConfig.%s needs a path and a port.", name);
	copy = cJSON_AddObjectToObject(to, name);
	if (!copy || add_text(copy, "path", path) ||
	    !cJSON_AddNumberToObject(copy, "port", port->valueint))
		return -ENOMEM;
	return 0;
}

static int read_inference(const cJSON *from, cJSON *to, struct err *e)
{
	const cJSON *config = get(from, "inferenceConfig");
	_cleanup_json_ cJSON *copy = NULL;
	int ret = 0;

	if (!config || cJSON_IsNull(config))
		return 0;
	if (!cJSON_IsObject(config))
		return err_set(e, -EINVAL, "inferenceConfig: not an object.");
	copy = cJSON_CreateObject();
	for (size_t i = 0; i < COUNT(routes) && !ret; i++)
		ret = read_route(config, routes[i], copy, e);
	if (ret || !copy)
		return ret ? ret : -ENOMEM;
	/* One without routes says nothing, as if it were absent. */
	if (!copy->child)
		return 0;
	if (!cJSON_AddItemToObject(to, "inferenceConfig", copy))
		return -ENOMEM;
	copy = NULL;
	return 0;
}

static int read_flags(const cJSON *from, struct verprops *out, struct err *e)
{
	bool given, anonymous;
	int ret = get_bool(from, "isArchived", &out->has_archived, &out->archived, e);

	if (!ret)
		ret = get_bool(from, "isAnonymous", &given, &anonymous, e);
	if (ret)
		return ret;
	return cJSON_AddBoolToObject(out->props, "isAnonymous", anonymous) &&
			       cJSON_AddStringToObject(out->props, "environmentType", "UserCreated")
		       ? 0
		       : -ENOMEM;
}

static int read_content(const cJSON *from, struct verprops *out, struct err *e)
{
	static const char *const systems[] = {"Linux", "Windows"};
	static const char *const rebuilds[] = {"Disabled", "OnBaseImageUpdate"};
	const char *image;
	bool has_build;
	int ret = get_text(from, "image", &image, e);

	if (!ret)
		ret = add_text(out->props, "image", image);
	if (!ret)
		ret = read_build(from, out, e);
	if (ret)
		return ret;
	has_build = out->context || get(out->props, "build");
	if (!image == !has_build)
		return err_set(e, -EINVAL, "Exactly one of image and build must be given; %s.",
			       image ? "there are both" : "there is neither");
	ret = read_conda(from, has_build, out->props, e);
	if (!ret)
		ret = read_word(from, "osType", systems, systems[0], out->props, e);
	if (!ret)
		ret = read_inference(from, out->props, e);
	if (!ret)
		ret = read_word(from, "autoRebuild", rebuilds, NULL, out->props, e);
	return ret;
}

int verprops_read(const cJSON *properties, struct verprops *out, struct err *e)
{
	int ret;

	*out = (struct verprops){0};
	if (!cJSON_IsObject(properties))
		return err_set(e, -EINVAL, "properties is required.");
	out->props = cJSON_CreateObject();
	if (!out->props)
		return err_set(e, -ENOMEM, "no memory");
	ret = read_note(properties, "description", out->props, e);
	if (!ret)
		ret = read_map(properties, "tags", out->props, e);
	if (!ret)
		ret = read_map(properties, "properties", out->props, e);
	if (!ret)
		ret = read_flags(properties, out, e);
	if (!ret)
		ret = read_content(properties, out, e);
	if (!ret)
		ret = read_note(properties, "stage", out->props, e);
	return ret == -ENOMEM ? err_set(e, ret, "no memory") : ret;
}

void verprops_release(struct verprops *p)
{
	cJSON_Delete(p->props);
	free(p->context);
	free(p->dockerfile);
	*p = (struct verprops){0};
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_conda(const cJSON *a, const cJSON *b)
{
	const char *left = json_get_string(a, "condaFile"),
		   *right = json_get_string(b, "condaFile");

	left = left ? left : "";
	right = right ? right : "";
	if (strcmp(left, right) == 0)
		return true;
	if (!*left || !*right)
		return false;
	return conda_same(left, strlen(left), right, strlen(right), NULL) == 1;
}

/* What an absent member means. */
static bool is_default(const char *name, const cJSON *item)
{
	static const struct {
		const char *name, *value;
	} defaults[] = {{"autoRebuild", "Disabled"}, {"osType", "Linux"}};

	for (size_t i = 0; item && i < COUNT(defaults); i++)
		if (strcmp(name, defaults[i].name) == 0)
			return cJSON_IsString(item) &&
			       strcmp(item->valuestring, defaults[i].value) == 0;
	return !item;
}

bool verprops_same_content(const struct verprops *a, const struct verprops *b)
{
	for (size_t i = 0; i < COUNT(fixed); i++) {
		const cJSON *left = get(a->props, fixed[i]), *right = get(b->props, fixed[i]);

		if (is_default(fixed[i], left) && is_default(fixed[i], right))
			continue;
		if (!cJSON_Compare(left, right, 1))
			return false;
	}
	return same_text(a->context, b->context) && same_text(a->dockerfile, b->dockerfile) &&
	       same_conda(a->props, b->props);
}

int verprops_merge(cJSON *old, const cJSON *given)
{
	for (size_t i = 0; i < COUNT(updatable); i++) {
		const cJSON *item = get(given, updatable[i]), *was = get(old, updatable[i]);
		cJSON *copy;
		bool done;

		if (!item || (was && cJSON_Compare(was, item, 1)))
			continue;
		if (cJSON_IsNull(item)) {
			cJSON_DeleteItemFromObjectCaseSensitive(old, updatable[i]);
			continue;
		}
		copy = cJSON_Duplicate(item, 1);
		done = copy &&
		       (was ? cJSON_ReplaceItemInObjectCaseSensitive(old, updatable[i], copy)
			    : cJSON_AddItemToObject(old, updatable[i], copy));
		if (!done) {
			cJSON_Delete(copy);
			return -ENOMEM;
		}
	}
	return 0;
}

int verprops_fill(cJSON *given)
{
	for (size_t i = 0; i < COUNT(updatable); i++)
		if (cJSON_IsNull(get(given, updatable[i])))
			cJSON_DeleteItemFromObjectCaseSensitive(given, updatable[i]);
	if (!get(given, "tags") && !cJSON_AddObjectToObject(given, "tags"))
		return -ENOMEM;
	if (!get(given, "properties") && !cJSON_AddObjectToObject(given, "properties"))
		return -ENOMEM;
	return 0;
}
