/*
 * disk - the mount's cache on the disk: whether there is one, where, and what it is good for.
 *
 * A mount works without it: whatever is wrong is a warning, and said in the status.
 */
#ifndef MLENVFS_FS_DISK_H
#define MLENVFS_FS_DISK_H

#include <cjson/cJSON.h>

#include "cache/store.h"
#include "fs/backend.h"
#include "fs/options.h"

struct disk;

/*
 * Opens the cache of the service that b is. Always gives one in *out, which may have no store.
 * -ENOMEM.
 */
int disk_open(const struct options *o, const struct backend *b, struct disk **out);

/* Writes what is queued, and ends. NULL is allowed. */
void disk_close(struct disk *d);

/* The store; NULL: none. Borrowed. */
struct store *disk_store(const struct disk *d);

/* Adds the member "cache" to the status; nothing when d is NULL. 0 or -ENOMEM. */
int disk_status(const struct disk *d, cJSON *status);

#endif
