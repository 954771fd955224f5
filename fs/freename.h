/*
 * freename - names of versions that the service did not have a moment ago: what fsync(2) found out
 * is not asked again by the close(2) that follows. Each is used once. Any thread; nothing blocks.
 */
#ifndef MLENVFS_FS_FREENAME_H
#define MLENVFS_FS_FREENAME_H

#include <stdbool.h>

struct freenames;

struct freenames *freenames_new(void);
void freenames_free(struct freenames *f); /* NULL is allowed */

/* key names scope, environment and version. */
void freename_note(struct freenames *f, const char *key);

/* Whether it was noted within the last seconds; forgets it. */
bool freename_take(struct freenames *f, const char *key);

#endif
