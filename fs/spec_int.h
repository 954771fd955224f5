/*
 * spec_int - what the parts of the spec module share.
 */
#ifndef MLENVFS_FS_SPEC_INT_H
#define MLENVFS_FS_SPEC_INT_H

#include "fs/spec.h"

/* How spec_check_name()'s sentence about the name ends, or NULL when the name is good. */
const char *spec_name_problem(const char *name);

/* The value of $schema that is written, and what any value of it ends in. */
#define SPEC_SCHEMA_FILE "environment.schema.json"
#define SPEC_SCHEMA      "https://azuremlschemas.azureedge.net/latest/" SPEC_SCHEMA_FILE

#endif
