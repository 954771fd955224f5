#include "client/jsonwipe.h"

#include <string.h>

/* Of the item and all behind it. */
static void wipe_texts(cJSON *json)
{
	for (cJSON *at = json; at; at = at->next) {
		if (at->valuestring)
			explicit_bzero(at->valuestring, strlen(at->valuestring));
		wipe_texts(at->child);
	}
}

void json_wipe(cJSON *json)
{
	wipe_texts(json);
	cJSON_Delete(json);
}
