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

/*
 * Parses len bytes of JSON with bounds on size and depth. -EBADMSG when it is not JSON, is cut
 * off, or has bytes behind its end. The caller frees *out with cJSON_Delete().
 */
int asset_json_parse(const char *text, size_t len, cJSON **out, struct err *e);

/* A workspace resource. */
int asset_json_workspace(const cJSON *item, struct scope **out, struct err *e);

/* A registry resource (ARM), or the answer of registry discovery. */
int asset_json_registry(const cJSON *item, struct scope **out, struct err *e);
int asset_json_discovery(const cJSON *item, struct scope **out, struct err *e);

/* An environment container. */
int asset_json_env(const cJSON *item, struct env **out, struct err *e);

/*
 * An environment version. Its environment's name is taken from the id
 * (.../environments/{name}/versions/{version}), else from env, which may be NULL.
 * Empty text counts as absent; os_type is folded to lower case.
 */
int asset_json_version(const cJSON *item, const char *env, struct version **out, struct err *e);

/*
 * The body of a PUT: {"properties": {...}} with what a user can set. NULL when memory ran out.
 * The caller frees it with cJSON_Delete().
 */
cJSON *asset_json_version_body(const struct version *v);

#endif
