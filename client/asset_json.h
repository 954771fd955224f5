/*
 * asset_json - ARM resources (JSON) to records and back. Source: azureml-rest.md section 3.
 *
 * What comes in is hostile: types, lengths and counts are checked against the bounds of asset.h;
 * -EBADMSG with a text names the member that is wrong, -ENOMEM otherwise. Unknown members are
 * ignored. Any thread.
 */
#ifndef MLENVFS_CLIENT_ASSET_JSON_H
#define MLENVFS_CLIENT_ASSET_JSON_H

#include <cjson/cJSON.h>

#include "client/asset.h"
#include "client/err.h"

/* Bounds of one JSON text. */
enum {
	ASSET_JSON_SIZE_MAX = 64 * 1024 * 1024,
	ASSET_JSON_DEPTH_MAX = 64,
	ASSET_JSON_VALUES_MAX = 2000000,
};

/*
 * Parses len bytes of JSON. -EBADMSG when it is not JSON, is cut off, has bytes behind its end,
 * holds bytes that are not UTF-8, or is past the bounds. A NUL character in a text, which no record
 * can hold, becomes U+FFFD. The caller frees *out with cJSON_Delete().
 */
int asset_json_parse(const char *text, size_t len, cJSON **out, struct err *e);

/* A workspace resource. Its subscription and resource group are taken from the id. */
int asset_json_workspace(const cJSON *item, struct scope **out, struct err *e);

/*
 * A registry resource (ARM; base_url is NULL), or the answer of registry discovery, where base_url
 * becomes its data plane (azureml-rest.md section 11 B). The registry "azureml" is not writable.
 */
int asset_json_registry(const cJSON *item, struct scope **out, struct err *e);
int asset_json_discovery(const cJSON *item, struct scope **out, struct err *e);

/* An environment container. */
int asset_json_env(const cJSON *item, struct env **out, struct err *e);

/*
 * An environment version. Its environment's name is taken from the id
 * (.../environments/{name}/versions/{version}), else from env, which may be NULL.
 * Empty text counts as absent; os_type is folded to lower case; a tag that is null becomes empty
 * text, because a file cannot show the difference. A key given twice is refused.
 */
int asset_json_version(const cJSON *item, const char *env, struct version **out, struct err *e);

/*
 * The body of a PUT: {"properties": {...}} with what a user can set, and what a PUT of the whole
 * object would lose otherwise (properties, stage, autoRebuild). NULL when memory ran out.
 * The caller frees it with cJSON_Delete().
 */
cJSON *asset_json_version_body(const struct version *v);

#endif
