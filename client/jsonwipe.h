/*
 * jsonwipe - the end of JSON that held secrets.
 */
#ifndef MLENVFS_CLIENT_JSONWIPE_H
#define MLENVFS_CLIENT_JSONWIPE_H

#include <cjson/cJSON.h>

/* Overwrites all texts in it, then frees it. NULL is allowed. */
void json_wipe(cJSON *json);

#endif
