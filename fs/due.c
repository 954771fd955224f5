#include "fs/due.h"

#include <errno.h>
#include <stdlib.h>

enum { DUE_FIRST = 64 };

struct due_item {
	int64_t when;
	uint64_t number;
};

void due_clear(struct due *d)
{
	free(d->items);
	*d = (struct due){0};
}

static int make_room(struct due *d)
{
	size_t cap = d->cap ? 2 * d->cap : DUE_FIRST;
	struct due_item *items;

	if (d->count < d->cap)
		return 0;
	items = reallocarray(d->items, cap, sizeof(*items));
	if (!items)
		return -ENOMEM;
	d->items = items;
	d->cap = cap;
	return 0;
}

int due_add(struct due *d, int64_t when, uint64_t number)
{
	size_t at = d->count;
	int rc = make_room(d);

	if (rc)
		return rc;
	for (; at && d->items[(at - 1) / 2].when > when; at = (at - 1) / 2)
		d->items[at] = d->items[(at - 1) / 2];
	d->items[at] = (struct due_item){when, number};
	d->count++;
	return 0;
}

int64_t due_first(const struct due *d)
{
	return d->count ? d->items[0].when : 0;
}

uint64_t due_take(struct due *d)
{
	uint64_t number = d->items[0].number;
	struct due_item last = d->items[--d->count];
	size_t at = 0, next;

	for (; (next = 2 * at + 1) < d->count; at = next) {
		if (next + 1 < d->count && d->items[next + 1].when < d->items[next].when)
			next++;
		if (d->items[next].when >= last.when)
			break;
		d->items[at] = d->items[next];
	}
	d->items[at] = last;
	return number;
}
