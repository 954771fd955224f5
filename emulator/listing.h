/*
 * listing - a page of a list: its query parameters, its rows, and the link to the next one.
 *
 * Lists are paged by key: $skip (opaque to clients) holds the sort key of the row before the page,
 * so rows that come or go meanwhile neither repeat nor hide others.
 */
#ifndef MLENVFS_EMULATOR_LISTING_H
#define MLENVFS_EMULATOR_LISTING_H

#include "emulator/exchange.h"

enum listing_view { VIEW_ACTIVE = 0, VIEW_ARCHIVED = 1, VIEW_ALL = 2 };

struct listing {
	enum listing_view view;
	bool ascending;
	int64_t cutoff; /* what happened later is not in the list yet */
	/* The key of the row before this page: (major, minor). */
	int64_t major;
	int64_t minor;
	int64_t fetch; /* rows to ask the store for */
	int64_t page;  /* rows to give */
	int64_t seen;
	bool more;
	int64_t next_major, next_minor;
};

/*
 * Reads $top, $skip, $orderBy and listViewType, and begins the body. by_time: the list can be
 * ordered by creation time (newest first unless asked). -EINVAL: the reply is a 400.
 */
int listing_begin(struct exchange *x, struct listing *l, bool by_time);

/* The store's next row has this key: true when it is to be appended to the body. */
bool listing_row(struct exchange *x, struct listing *l, int64_t major, int64_t minor);

/* Ends the body, with a nextLink where there is more. */
void listing_end(struct exchange *x, struct listing *l);

#endif
