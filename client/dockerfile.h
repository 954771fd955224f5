/*
 * dockerfile - the Dockerfile that image (+ conda) amounts to. Derived, for reading; labelled so in
 * a comment. Source: spec-yaml.md section 6.
 */
#ifndef MLENVFS_CLIENT_DOCKERFILE_H
#define MLENVFS_CLIENT_DOCKERFILE_H

#include "client/asset.h"
#include "client/buf.h"

/* True when the version has a derived Dockerfile: it has an image and no build context. */
bool dockerfile_is_derived(const struct version *v);

/* Appends it. 0, -ENOMEM or -EFBIG. Image references with line ends in them are written escaped. */
int dockerfile_render(const struct version *v, struct buf *out);

#endif
