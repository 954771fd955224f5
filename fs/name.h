/*
 * name - names of the service as file names, and back.
 *
 * What cannot be a file name, or would be taken for one of ours, is percent-encoded; the encoding
 * is reversible. Encoded are: '/' and NUL; a name that is "." or ".." or empty; a '%' that would
 * read as an escape; the first character of a name that the place reserves (a leading dot, '@', the
 * word "latest"). A name that would be longer than 255 bytes is cut and ends in "%~" and 16 hex
 * digits of its SHA-256: such a name is found again by encoding, not by decoding.
 */
#ifndef MLENVFS_FS_NAME_H
#define MLENVFS_FS_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "client/buf.h"

enum { NAME_SIZE = 256 }; /* NAME_MAX and the NUL */

enum name_place {
	NAME_SCOPE,   /* at the root: no leading '.' or '@' */
	NAME_ENV,     /* in a workspace: no leading '.' */
	NAME_VERSION, /* in an environment: no leading '.', not "latest" */
	NAME_CONTEXT, /* in a build context: anything goes */
};

/* Encodes len bytes as a file name. */
void name_encode(enum name_place place, const char *text, size_t len, char out[NAME_SIZE]);

/*
 * Decodes a file name to the service's name: 0, or -ENOENT when no encoding gives this name (so no
 * such file exists) or it was cut ("%~"). *len gets the length; out is NUL-terminated besides.
 */
int name_decode(enum name_place place, const char *name, char out[NAME_SIZE], size_t *len);

/*
 * Appends a path of the service with every part encoded. A '/' that begins the path, follows
 * another '/', or ends it belongs to the part beside it and is encoded.
 */
int name_encode_path(const char *path, size_t len, struct buf *out);

/*
 * Splits the first part off a service path: its length, with slashes that belong to it; *next gets
 * the offset behind the slash that ends it (len when it is the last).
 */
size_t name_split(const char *path, size_t len, size_t *next);

/* Names that tools only look for (".git", "RCS", "autorun.inf", ...): never there, never asked. */
bool name_is_probe(const char *name);

#endif
