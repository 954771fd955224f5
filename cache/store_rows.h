/*
 * store_rows - lists and facts as rows of the cache's database: read whole or not at all, written
 * where they differ.
 *
 * Every row has the SHA-256 of what it says and of what it belongs to, so that no row is taken for
 * another, and no list with a row too few for a whole one.
 */
#ifndef MLENVFS_CACHE_STORE_ROWS_H
#define MLENVFS_CACHE_STORE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cachedb.h"
#include "cache/record.h"
#include "client/buf.h"

/* What the rows of a list are. */
struct rows_list {
	enum record_kind kind;
	const struct buf *key;
	void *list;     /* struct scope_list, env_list or version_list */
	int64_t learnt; /* ns since the epoch */
	bool changed;   /* since then, here: a newer one does not have that */
};

/* Lists of any kind, as what they have in common. */
size_t rows_count(const void *list);
void *rows_item(const void *list, size_t i);
void rows_unref(enum record_kind kind, void *list);
void *rows_ref(enum record_kind kind, void *list);

/*
 * Reads the list of kind and key: a reference, and when it was learnt. *used: when that was last
 * noted. -ENOENT; -EBADMSG: it is damaged.
 */
_must_check_ int rows_get_list(struct cachedb *db, sqlite3 *conn, struct rows_list *l,
			       int64_t *used);

/*
 * In a transaction: writes a list, unless what is there is newer; when that has not the change that
 * was made here, neither is kept. What is in the way is overwritten. When environments or scopes
 * left, what was known below them goes too. *rows is increased by the number of rows that were
 * written.
 */
_must_check_ int rows_put_list(struct cachedb *db, sqlite3 *conn, const struct rows_list *l,
			       int64_t now, uint64_t *rows);

/* In a transaction: the list says the same at `learnt`. 0 also when it is not there. */
_must_check_ int rows_touch_list(struct cachedb *db, sqlite3 *conn, const struct buf *key,
				 int64_t learnt, int64_t now, uint64_t *rows);

/* In a transaction: notes that it was used. */
_must_check_ int rows_use(struct cachedb *db, sqlite3 *conn, const struct buf *key, int64_t now);

/* In a transaction: removes a list, or all that have keys beginning so. */
_must_check_ int rows_drop_list(struct cachedb *db, sqlite3 *conn, const struct buf *key);
_must_check_ int rows_drop_below(struct cachedb *db, sqlite3 *conn, const void *prefix, size_t len);

/* Appends the fact of that key. -ENOENT, -EBADMSG. */
_must_check_ int rows_get_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key,
			       struct buf *out, int64_t *used);
_must_check_ int rows_put_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key,
			       const void *data, size_t len, int64_t now, uint64_t *rows);
_must_check_ int rows_drop_fact(struct cachedb *db, sqlite3 *conn, const struct buf *key);

/* Calls fn for every fact whose key begins so, in the order of the keys; damaged ones are left out.
 */
typedef void rows_fact_fn(void *arg, const void *key, size_t key_len, const void *data, size_t len);
_must_check_ int rows_each_fact(struct cachedb *db, sqlite3 *conn, const void *prefix, size_t len,
				rows_fact_fn *fn, void *arg);

/* In a transaction: removes the least recently used part of everything. */
_must_check_ int rows_make_room(struct cachedb *db, sqlite3 *conn);

/* How many there are, and their room in the file. */
struct rows_report {
	int64_t lists;
	int64_t items;
	int64_t facts;
	int64_t bytes;
	int64_t oldest; /* when the list was learnt that was learnt first; 0: there is none */
	int64_t bad;    /* removed by rows_verify() */
};
_must_check_ int rows_report(struct cachedb *db, sqlite3 *conn, struct rows_report *out);

/* Not in a transaction: reads everything and removes what is damaged. */
_must_check_ int rows_verify(struct cachedb *db, sqlite3 *conn, struct rows_report *out);

#endif
