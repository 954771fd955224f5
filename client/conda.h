/*
 * conda - conda specifications between the forms they take: YAML text as users write it, JSON text
 * as the service gives it back, and the block-style YAML that conda.yml shows.
 *
 * Scalars stay text: `python: 3.10` in YAML becomes the JSON string "3.10" - except what a YAML
 * reader takes for null, true, false or a plain integer, which become those. Keys keep their order.
 * Source: azureml-rest.md section 3, normalisation 1; spec-yaml.md section 6, conda.yml.
 */
#ifndef MLENVFS_CLIENT_CONDA_H
#define MLENVFS_CLIENT_CONDA_H

#include <stddef.h>

#include "client/buf.h"
#include "client/err.h"

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

/* 1 when both texts say the same, 0 when not, or a negative errno. */
int conda_same(const char *a, size_t a_len, const char *b, size_t b_len, struct err *e);

#endif
