/*
 * conda - conda specifications between the forms they take: YAML text as users write it, JSON text
 * as the service gives it back, and the block-style YAML that conda.yml shows.
 *
 * Scalars stay text: `python: 3.10` in YAML becomes the JSON string "3.10". Only unquoted text that
 * YAML 1.1 and 1.2 readers all take for the same thing becomes something else in JSON:
 *
 *   null, true, false       also in the spellings Null, NULL, ~ and nothing; True, TRUE, ...
 *   0, 7, -12               decimal integers in their shortest form, of at most 15 digits
 *
 * Everything else, `yes`, `0755`, `1_000`, `1e3`, `2024-01-31` and all floats included, is a string
 * with the characters written. conda_render() quotes what is a string and would not be read as one,
 * so nothing changes its meaning on the way there and back. Keys are always strings.
 */
#ifndef MLENVFS_CLIENT_CONDA_H
#define MLENVFS_CLIENT_CONDA_H

#include <stddef.h>

#include "client/buf.h"
#include "client/err.h"

struct yaml_node;

/*
 * The service's normalisation: YAML (or JSON) text to pretty-printed JSON text, two spaces of
 * indent, "\n" line ends, keys in the order received. Idempotent. -EBADMSG with line and column
 * when it is not YAML or not a mapping.
 */
int conda_to_json(const char *text, size_t len, struct buf *out, struct err *e);

/*
 * Block-style YAML of conda text in either form: what conda.yml shows. Order as received, stable
 * quoting: a string that YAML would read as something else is quoted, everything else is plain
 * where YAML allows it. conda_to_json() of the result equals conda_to_json() of the input, and
 * rendering a rendered text gives the same bytes.
 */
int conda_render(const char *text, size_t len, struct buf *out, struct err *e);

/* The same for a mapping that is part of a YAML tree. */
int conda_render_node(const struct yaml_node *map, struct buf *out, struct err *e);

/*
 * 1 when both texts say the same, 0 when not, or a negative errno. The order of keys says nothing,
 * that of list items does.
 */
int conda_same(const char *a, size_t a_len, const char *b, size_t b_len, struct err *e);

#endif
