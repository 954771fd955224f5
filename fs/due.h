/*
 * due - numbers with a time each, the earliest first (a binary heap). No locks: its owner has one.
 */
#ifndef MLENVFS_FS_DUE_H
#define MLENVFS_FS_DUE_H

#include <stddef.h>
#include <stdint.h>

struct due_item;

/* Start with all zero. */
struct due {
	struct due_item *items;
	size_t count;
	size_t cap;
};

void due_clear(struct due *d);

/* 0 or -ENOMEM. A number may be in there more than once. */
int due_add(struct due *d, int64_t when, uint64_t number);

/* The earliest time; 0 when there is none. */
int64_t due_first(const struct due *d);

/* Takes out the earliest one. There must be one. */
uint64_t due_take(struct due *d);

#endif
