/*
 * render - the texts that a version's record amounts to: spec.yml, conda.yml, the derived
 * Dockerfile.
 */
#ifndef MLENVFS_FS_RENDER_H
#define MLENVFS_FS_RENDER_H

#include "client/asset.h"
#include "client/buf.h"
#include "fs/node.h"

enum { RENDER_MAX = 16 * 1024 * 1024 };

/*
 * Appends the file's text; kind is NODE_SPEC, NODE_CONDA or NODE_DOCKERFILE (derived). Conda text
 * that the service still has as the user wrote it is given as it is, and so is text that is neither
 * JSON nor YAML. 0, -ENOMEM or -EFBIG.
 */
int render_file(const struct version *v, enum node_kind kind, struct buf *out);

/* Where a build context's Dockerfile symlink points: "context/<dockerfile_path>", encoded. */
int render_dockerfile_link(const struct version *v, struct buf *out);

#endif
