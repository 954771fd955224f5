/*
 * rendered - the texts that were rendered last (render.h), for what asks for the same once more
 * right away: a listing needs its size, and a moment later the kernel is given the text.
 *
 * Any thread; nothing blocks.
 */
#ifndef MLENVFS_FS_RENDERED_H
#define MLENVFS_FS_RENDERED_H

#include "client/asset.h"
#include "client/buf.h"
#include "fs/node.h"

enum {
	RENDERED_KEPT = 32,
	RENDERED_TEXT_MAX = 16 * 1024, /* bytes; longer ones are not kept */
};

struct rendered;

struct rendered *rendered_new(void);
void rendered_free(struct rendered *r); /* NULL is allowed */

/* As render_file(). r NULL: nothing is kept. */
int rendered_file(struct rendered *r, struct version *v, enum node_kind kind, struct buf *out);

/* The size of that text; kept with the node n (a NODE_VERSION). */
int rendered_size(struct rendered *r, struct node_table *t, struct node *n, struct version *v,
		  enum node_kind kind, int64_t *size);

#endif
