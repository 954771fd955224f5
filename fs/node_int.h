/*
 * node_int - the table itself, for the files that implement node.h.
 */
#ifndef MLENVFS_FS_NODE_INT_H
#define MLENVFS_FS_NODE_INT_H

#include <pthread.h>

#include "fs/node.h"

struct node_table {
	pthread_mutex_t lock;
	struct node root;
	/* protected by lock */
	struct node **buckets;
	uint64_t n_buckets;
	uint64_t count;
	struct node *locals;
	struct node *aliases;
};

/* The node of that number, or NULL. With the lock held. */
struct node *node_find_locked(struct node_table *t, uint64_t ino);

#endif
