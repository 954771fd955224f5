/*
 * share - writes to registries as the long-running operations they are, and copies of versions
 * from workspaces into registries. Source: azureml-rest.md sections 11 and 13, official-clients.md.
 *
 * A new version in a registry is stored at once, with a number of polls that it takes until its
 * operation (and its provisioningState) says that it is done.
 */
#ifndef MLENVFS_EMULATOR_SHARE_H
#define MLENVFS_EMULATOR_SHARE_H

#include <sqlite3.h>

#include "emulator/exchange.h"

enum { SHARE_OPERATION_SIZE = 640 };

/* Makes an operation for the version in that row and gives it a name: registry_env_version_n. */
int share_operation_new(sqlite3 *conn, const char *registry, struct text env, struct text version,
			int64_t row, char out[SHARE_OPERATION_SIZE], struct err *e);

/*
 * Ends the reply to a PUT of a version, whose body is the version already: status and headers,
 * and on the data plane the literal null as its body.
 */
void share_put_answer(struct exchange *x, bool created, const char *operation);

/* The version that the exchange names was asked for once more. 1, or a negative errno. */
int share_count_poll(struct exchange *x, struct err *e);

#endif
