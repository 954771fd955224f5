/*
 * yamltree_int - what the parts of the YAML loader share while a tree is built.
 */
#ifndef MLENVFS_CLIENT_YAMLTREE_INT_H
#define MLENVFS_CLIENT_YAMLTREE_INT_H

#include <stddef.h>
#include <stdlib.h>
#include <yaml.h>

#include "client/yamltree.h"

/* A node while the tree is built; the public part comes first. */
struct node {
	struct yaml_node pub;
	size_t weight; /* nodes it expands to, itself included */
	int height;    /* levels below it */
	bool open;     /* its end was not seen yet: an alias to it would be a cycle */
};

struct anchor {
	const char *name;
	struct node *node;
};

struct loader {
	yaml_parser_t parser;
	struct yaml_tree *tree;
	const char *text;
	size_t len;
	struct anchor anchors[YAML_ANCHORS_MAX];
	size_t n_anchors;
	size_t weight; /* of all nodes so far, aliases expanded */
	struct err *e;
};

/* A growing list of nodes: the items of a list, or keys and values in turn. */
struct nodes {
	struct node **at;
	size_t count, cap;
};

static inline void nodes_cleanup(struct nodes *n)
{
	free(n->at);
}
#define _cleanup_nodes_ __attribute__((cleanup(nodes_cleanup)))

/* Memory that lives as long as the tree; NULL when there is none. */
void *yamltree_alloc(struct yaml_tree *t, size_t size);

/* Describe a failure in l->e and return it: -ENOMEM, or -EBADMSG with the place of n. */
int yamltree_no_memory(struct loader *l);
int yamltree_fail_node(struct loader *l, const struct yaml_node *n, const char *what);

/* Makes the pairs of map from what stands in it: keys and values in turn, "<<" among them. */
int yamltree_map_fill(struct loader *l, struct node *map, const struct nodes *list);

#endif
