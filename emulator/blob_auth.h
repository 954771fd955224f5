/*
 * blob_auth - who may do what with blobs: SharedKey signatures, service SAS tokens, bearer tokens.
 * Source: azureml-rest.md section 10.
 */
#ifndef MLENVFS_EMULATOR_BLOB_AUTH_H
#define MLENVFS_EMULATOR_BLOB_AUTH_H

#include <stddef.h>

#include "emulator/emu_int.h"

/* The rights of a SAS, and what only the account itself may do. */
enum blob_right {
	BLOB_READ = 1 << 0,
	BLOB_LIST = 1 << 1,
	BLOB_CREATE = 1 << 2, /* write what is not there yet */
	BLOB_WRITE = 1 << 3,
	BLOB_DELETE = 1 << 4,
	BLOB_ACCOUNT = 1 << 5, /* containers: make them, read their properties */
	BLOB_ALL = (1 << 6) - 1,
};

/* Why a request is refused. The texts are constants and hold no secret. */
struct blob_denial {
	int status;
	const char *code;
	const char *message;
};

/*
 * What the request may do with that container and blob (name NULL: the container itself), as
 * enum blob_right bits. Returns 0, or -EACCES with *why filled.
 */
int blob_auth(struct emu *emu, const struct emu_request *r, const char *container, const char *name,
	      size_t name_len, unsigned int *rights, struct blob_denial *why);

#endif
