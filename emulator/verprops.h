/*
 * verprops - the properties of an environment version as the service keeps them: checked,
 * normalised, compared. Source: azureml-rest.md section 3.
 */
#ifndef MLENVFS_EMULATOR_VERPROPS_H
#define MLENVFS_EMULATOR_VERPROPS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "client/err.h"

enum {
	VERPROPS_MAP_MAX = 10000, /* tags of one version */
	VERPROPS_DOCKERFILE_MAX = 1024,
};

struct verprops {
	/*
	 * Normalised; without isArchived, and without the build when its context lies in this
	 * service. Members that may be updated are only there when they were given; null means
	 * that they are to be emptied.
	 */
	cJSON *props;
	char *context;    /* path of a context in this service, "/account/container/..."; or NULL */
	char *dockerfile; /* with context: its Dockerfile */
	bool archived;
	bool has_archived;
};

/*
 * Reads the properties of a PUT. -EINVAL with a text for people when they can't be accepted,
 * -ENOMEM. Release *out in any case.
 */
int verprops_read(const cJSON *properties, struct verprops *out, struct err *e);
void verprops_release(struct verprops *p);

/* Whether b would leave everything as in a that can't change once a version exists. */
bool verprops_same_content(const struct verprops *a, const struct verprops *b);

/* Puts what may be updated and is in given into old. 0 or -ENOMEM. */
int verprops_merge(cJSON *old, const cJSON *given);

/* Makes given complete for a new version: nulls out, empty maps in. 0 or -ENOMEM. */
int verprops_fill(cJSON *given);

#endif
