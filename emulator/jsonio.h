/*
 * jsonio - JSON in and out of the embedded service: strict on what comes in, able to write any
 * bytes as a string on the way out (names in the store may be hostile on purpose).
 */
#ifndef MLENVFS_EMULATOR_JSONIO_H
#define MLENVFS_EMULATOR_JSONIO_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "client/buf.h"
#include "client/err.h"

/* Appends text as a JSON string with its quotes; control characters and NUL escaped. */
int json_add_text(struct buf *b, const char *text, size_t len);

/* The same for a C string; NULL is written as null. */
int json_add_string(struct buf *b, const char *s);

/*
 * Parses a JSON object. -EBADMSG with a text when it is not one, is not UTF-8, or holds a NUL
 * character; -ENOMEM. Free *out with cJSON_Delete().
 */
int json_parse(const char *text, size_t len, cJSON **out, struct err *e);

/* The string value of a member, or NULL when it is absent or not a string. Borrowed. */
const char *json_get_string(const cJSON *object, const char *name);

static inline void json_cleanup(cJSON **item)
{
	cJSON_Delete(*item);
}
#define _cleanup_json_ __attribute__((cleanup(json_cleanup)))

#endif
