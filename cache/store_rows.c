#include "cache/store_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/lists.h"
#include "cache/store_key.h"
#include "cache/store_sql.h"
#include "cache/sum.h"
#include "client/asset.h"

/* ---- lists of any kind ---- */

/* They differ in the type of their items only. */
size_t rows_count(const void *list)
{
	return ((const struct env_list *)list)->count;
}

void *rows_item(const void *list, size_t i)
{
	return ((const struct env_list *)list)->items[i];
}

void rows_unref(enum record_kind kind, void *list)
{
	if (kind == RECORD_SCOPE)
		scope_list_unref(list);
	else if (kind == RECORD_ENV)
		env_list_unref(list);
	else
		version_list_unref(list);
}

void *rows_ref(enum record_kind kind, void *list)
{
	if (kind == RECORD_SCOPE)
		return scope_list_ref(list);
	if (kind == RECORD_ENV)
		return env_list_ref(list);
	return version_list_ref(list);
}

/* Takes the items. */
static void *make_list(enum record_kind kind, void **items, size_t n)
{
	if (kind == RECORD_SCOPE)
		return scope_list_take((struct scope **)items, n);
	if (kind == RECORD_ENV)
		return env_list_take((struct env **)items, n);
	return version_list_take((struct version **)items, n);
}

static int add_part(struct buf *out, const char *s)
{
	return buf_add(out, s ? s : "", s ? strlen(s) + 1 : 1);
}

/*
 * Appends what tells an item from the others of its list. Names sort (memcmp) as the items of a
 * list do, and end a scope's parts with NUL.
 */
static int add_name(enum record_kind kind, const void *item, struct buf *out)
{
	const struct scope *s = item;

	if (kind == RECORD_ENV)
		return buf_addstr(out, ((const struct env *)item)->name);
	if (kind == RECORD_VERSION)
		return buf_addstr(out, ((const struct version *)item)->version);
	(void)buf_addch(out, s->kind == SCOPE_REGISTRY ? '1' : '0');
	(void)add_part(out, s->name);
	(void)add_part(out, s->subscription);
	return add_part(out, s->resource_group);
}

/* Appends the key (scope_key()) of the scope that has that name; -EINVAL when it is none. */
static int add_scope_key(const char *name, size_t len, struct buf *out)
{
	const char *parts[3], *at = name + 1;
	struct scope s = {.kind = SCOPE_WORKSPACE};

	if (len < 2 || name[len - 1])
		return -EINVAL;
	for (int i = 0; i < 3; i++) {
		if (at >= name + len)
			return -EINVAL;
		parts[i] = at;
		at += strlen(at) + 1;
	}
	if (name[0] == '1')
		s.kind = SCOPE_REGISTRY;
	s.name = parts[0];
	s.subscription = parts[1];
	s.resource_group = parts[2];
	return scope_key(out, &s);
}

/* ---- the head of a list ---- */

struct head {
	int64_t id;
	int64_t learnt;
	int64_t used;
	int64_t count;
	struct sum items; /* of the sums of the items, in order */
};

static int head_sum(const struct buf *key, const struct head *h, struct sum *out)
{
	const struct sum_part parts[] = {{key->data, key->len},
					 {&h->learnt, sizeof(h->learnt)},
					 {&h->count, sizeof(h->count)},
					 {h->items.bytes, SUM_SIZE}};

	return sum_parts(parts, 4, out);
}

/* -ENOENT: there is none. -EBADMSG: there is, but it is damaged; *h has its id. */
static int get_head(struct cachedb *db, sqlite3 *conn, const struct buf *key, struct head *h)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum is, should;
	int rc = cachedb_prepare(
		db, conn, "SELECT id, learnt, used, count, items, sum FROM lists WHERE key = ?",
		&stmt);

	if (rc)
		return rc;
	sql_bind(stmt, 1, key->data, key->len);
	rc = sql_step(db, stmt);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	h->id = sqlite3_column_int64(stmt, 0);
	h->learnt = sqlite3_column_int64(stmt, 1);
	h->used = sqlite3_column_int64(stmt, 2);
	h->count = sqlite3_column_int64(stmt, 3);
	if (!sql_sum(stmt, 4, &h->items) || !sql_sum(stmt, 5, &is))
		return -EBADMSG;
	rc = head_sum(key, h, &should);
	if (rc)
		return rc;
	if (!sum_equal(&is, &should) || h->count < 0 || h->count > ASSET_LIST_MAX || h->learnt < 0)
		return -EBADMSG;
	return 0;
}

static int put_head(struct cachedb *db, sqlite3 *conn, const struct buf *key, struct head *h,
		    bool known)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum sum;
	int rc = head_sum(key, h, &sum);

	if (!rc)
		rc = cachedb_prepare(
			db, conn,
			known ? "UPDATE lists SET learnt = ?, used = ?, count = ?, items = ?, "
				"sum = ?, key = ? WHERE id = ?"
			      : "INSERT INTO lists (learnt, used, count, items, sum, key) "
				"VALUES (?, ?, ?, ?, ?, ?)",
			&stmt);
	if (rc)
		return rc;
	sqlite3_bind_int64(stmt, 1, h->learnt);
	sqlite3_bind_int64(stmt, 2, h->used);
	sqlite3_bind_int64(stmt, 3, h->count);
	sql_bind(stmt, 4, h->items.bytes, SUM_SIZE);
	sql_bind(stmt, 5, sum.bytes, SUM_SIZE);
	sql_bind(stmt, 6, key->data, key->len);
	if (known)
		sqlite3_bind_int64(stmt, 7, h->id);
	rc = sql_finish(db, stmt);
	if (!rc && !known)
		h->id = sqlite3_last_insert_rowid(conn);
	return rc;
}

/* ---- reading a list ---- */

static int item_sum(const struct sum_part *name, const struct sum_part *body, struct sum *out)
{
	const struct sum_part parts[] = {*name, *body};

	return sum_parts(parts, 2, out);
}

/* The items of a list under way. */
struct gather {
	enum record_kind kind;
	void **items;
	struct buf sums;
	size_t n, max;
};

static int take_item(struct gather *g, sqlite3_stmt *stmt)
{
	const struct sum_part name = sql_part(stmt, 0), body = sql_part(stmt, 1);
	struct sum is, should;
	int rc;

	if (g->n == g->max || !sql_sum(stmt, 2, &is))
		return -EBADMSG;
	rc = item_sum(&name, &body, &should);
	if (!rc && !sum_equal(&is, &should))
		rc = -EBADMSG;
	if (!rc)
		rc = buf_add(&g->sums, is.bytes, SUM_SIZE);
	if (!rc)
		rc = record_decode(g->kind, body.data, body.len, &g->items[g->n]);
	if (!rc)
		g->n++;
	return rc;
}

static int read_items(struct cachedb *db, sqlite3 *conn, const struct head *h, struct gather *g)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	struct sum sum;
	int rc = cachedb_prepare(
		db, conn, "SELECT name, body, sum FROM items WHERE list = ? ORDER BY name", &stmt);

	if (rc)
		return rc;
	sqlite3_bind_int64(stmt, 1, h->id);
	while ((rc = sql_step(db, stmt)) > 0) {
		rc = take_item(g, stmt);
		if (rc)
			return rc;
	}
	if (!rc && g->n != g->max)
		return -EBADMSG;
	if (!rc)
		rc = sum_of(g->sums.data, g->sums.len, &sum);
	return rc || sum_equal(&sum, &h->items) ? rc : -EBADMSG;
}

static int read_list(struct cachedb *db, sqlite3 *conn, struct rows_list *l, int64_t *used)
{
	struct gather g = {.kind = l->kind, .sums = BUF_INIT((size_t)ASSET_LIST_MAX * SUM_SIZE)};
	struct head h = {0};
	int rc = get_head(db, conn, l->key, &h);

	if (rc)
		return rc;
	g.max = (size_t)h.count;
	g.items = calloc(g.max + 1, sizeof(*g.items));
	rc = g.items ? read_items(db, conn, &h, &g) : -ENOMEM;
	if (!rc) {
		l->list = make_list(l->kind, g.items, g.n);
		rc = l->list ? 0 : -ENOMEM;
		g.n = 0;
	}
	for (size_t i = 0; i < g.n; i++)
		record_unref(l->kind, g.items[i]);
	free(g.items);
	buf_free(&g.sums);
	l->learnt = h.learnt;
	*used = h.used;
	if (rc || rows_count(l->list) == g.max)
		return rc;
	/* Items that say they are the same one. */
	rows_unref(l->kind, l->list);
	l->list = NULL;
	return -EBADMSG;
}

int rows_get_list(struct cachedb *db, sqlite3 *conn, struct rows_list *l, int64_t *used)
{
	int rc;

	l->list = NULL;
	/* Head and items as of one moment. */
	rc = cachedb_errno(db, sqlite3_exec(conn, "BEGIN", NULL, NULL, NULL));
	if (rc)
		return rc;
	rc = read_list(db, conn, l, used);
	sqlite3_exec(conn, "COMMIT", NULL, NULL, NULL);
	return rc;
}

/* ---- writing a list ---- */

/* An item as it is to be written. */
struct row {
	struct buf name;
	struct buf body;
	struct sum sum;
};

struct rows {
	struct cachedb *db;
	sqlite3 *conn;
	enum record_kind kind;
	const struct buf *key;
	int64_t list;
	sqlite3_stmt *insert;
	sqlite3_stmt *update;
	sqlite3_stmt *remove;
	uint64_t written;
};

static void row_clear(struct row *r)
{
	buf_free(&r->name);
	buf_free(&r->body);
}

static int row_make(struct row *r, enum record_kind kind, const void *item)
{
	struct sum_part name, body;
	int rc;

	r->name = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	r->body = (struct buf)BUF_INIT(RECORD_MAX);
	rc = add_name(kind, item, &r->name);
	if (!rc)
		rc = record_encode(kind, item, &r->body);
	name = (struct sum_part){r->name.data, r->name.len};
	body = (struct sum_part){r->body.data, r->body.len};
	return rc ? rc : item_sum(&name, &body, &r->sum);
}

static int rows_prepare(struct rows *w)
{
	int rc = cachedb_prepare(w->db, w->conn,
				 "INSERT INTO items (body, sum, list, name) VALUES (?, ?, ?, ?)",
				 &w->insert);

	if (!rc)
		rc = cachedb_prepare(
			w->db, w->conn,
			"UPDATE items SET body = ?, sum = ? WHERE list = ? AND name = ?",
			&w->update);
	if (!rc)
		rc = cachedb_prepare(w->db, w->conn,
				     "DELETE FROM items WHERE list = ? AND name = ?", &w->remove);
	return rc;
}

static void rows_release(struct rows *w)
{
	cachedb_stmt_cleanup(&w->insert);
	cachedb_stmt_cleanup(&w->update);
	cachedb_stmt_cleanup(&w->remove);
}

static int write_row(struct rows *w, sqlite3_stmt *stmt, const struct row *r)
{
	sql_bind(stmt, 1, r->body.data, r->body.len);
	sql_bind(stmt, 2, r->sum.bytes, SUM_SIZE);
	sqlite3_bind_int64(stmt, 3, w->list);
	sql_bind(stmt, 4, r->name.data, r->name.len);
	w->written++;
	return sql_finish(w->db, stmt);
}

/* What was below something that is gone must not come back with a new one of that name. */
static int drop_below(struct rows *w, const void *name, size_t len)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	int rc = buf_addch(&key, STORE_KEY_VERSIONS);

	if (w->kind == RECORD_ENV) {
		(void)buf_add(&key, w->key->data + 1, w->key->len - 1);
		rc = buf_add(&key, name, len);
		return rc ? rc : rows_drop_list(w->db, w->conn, &key);
	}
	if (w->kind != RECORD_SCOPE || rc)
		return rc;
	rc = add_scope_key(name, len, &key);
	if (rc == -EINVAL)
		return 0;
	if (!rc)
		rc = rows_drop_below(w->db, w->conn, key.data, key.len);
	if (!rc) {
		key.data[0] = STORE_KEY_ENVS;
		rc = rows_drop_list(w->db, w->conn, &key);
	}
	return rc;
}

static int remove_row(struct rows *w, const void *name, size_t len)
{
	int rc;

	sqlite3_bind_int64(w->remove, 1, w->list);
	sql_bind(w->remove, 2, name, len);
	w->written++;
	rc = sql_finish(w->db, w->remove);
	return rc ? rc : drop_below(w, name, len);
}

/* What is there now, by name: a sorted array. */
struct there {
	struct buf names; /* one behind the other */
	struct there_item {
		size_t at, len;
		struct sum sum;
	} * items;
	size_t n, cap;
};

static int there_add(struct there *t, sqlite3_stmt *stmt)
{
	const struct sum_part name = sql_part(stmt, 0);
	struct there_item *item;

	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct there_item *more = reallocarray(t->items, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->items = more;
		t->cap = cap;
	}
	item = &t->items[t->n];
	*item = (struct there_item){.at = t->names.len, .len = name.len};
	(void)sql_sum(stmt, 1, &item->sum); /* else all zero, which none is */
	t->n++;
	return buf_add(&t->names, name.data, name.len);
}

static int there_read(struct rows *w, struct there *t)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int rc = cachedb_prepare(w->db, w->conn,
				 "SELECT name, sum FROM items WHERE list = ? ORDER BY name", &stmt);

	if (rc)
		return rc;
	sqlite3_bind_int64(stmt, 1, w->list);
	while ((rc = sql_step(w->db, stmt)) > 0) {
		rc = there_add(t, stmt);
		if (rc)
			break;
	}
	return rc;
}

static int compare_names(const struct there *t, const struct there_item *a, const struct buf *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = n ? memcmp(t->names.data + a->at, b->data, n) : 0;

	if (order)
		return order;
	return (a->len > b->len) - (a->len < b->len);
}

static int remove_there(struct rows *w, const struct there *t, const struct there_item *item)
{
	return remove_row(w, t->names.data + item->at, item->len);
}

/* Two sorted sequences: what is there, and what is to be. */
static int merge(struct rows *w, const struct there *t, const void *list, struct buf *sums)
{
	size_t count = rows_count(list), k = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++) {
		struct row r = {0};

		rc = row_make(&r, w->kind, rows_item(list, i));
		while (!rc && k < t->n && compare_names(t, &t->items[k], &r.name) < 0)
			rc = remove_there(w, t, &t->items[k++]);
		if (!rc && k < t->n && compare_names(t, &t->items[k], &r.name) == 0) {
			if (!sum_equal(&t->items[k++].sum, &r.sum))
				rc = write_row(w, w->update, &r);
		} else if (!rc) {
			rc = write_row(w, w->insert, &r);
		}
		if (!rc)
			rc = buf_add(sums, r.sum.bytes, SUM_SIZE);
		row_clear(&r);
	}
	while (!rc && k < t->n)
		rc = remove_there(w, t, &t->items[k++]);
	return rc;
}

static int write_items(struct rows *w, const void *list, struct buf *sums)
{
	struct there t = {.names = BUF_INIT((size_t)256 * 1024 * 1024)};
	int rc = rows_prepare(w);

	if (!rc)
		rc = there_read(w, &t);
	if (!rc)
		rc = merge(w, &t, list, sums);
	rows_release(w);
	buf_free(&t.names);
	free(t.items);
	return rc;
}

int rows_put_list(struct cachedb *db, sqlite3 *conn, const struct rows_list *l, int64_t now,
		  uint64_t *rows)
{
	_cleanup_buf_ struct buf sums = BUF_INIT((size_t)ASSET_LIST_MAX * SUM_SIZE);
	struct rows w = {.db = db, .conn = conn, .kind = l->kind, .key = l->key};
	struct head h = {0}, next;
	int rc = get_head(db, conn, l->key, &h);
	bool known = rc != -ENOENT;

	if (rc && rc != -ENOENT && rc != -EBADMSG)
		return rc;
	if (cachedb_is_damaged(db))
		return -EBADMSG;
	/* What another mount asked for later; but no time that is still to come. */
	if (!rc && h.learnt > l->learnt && h.learnt <= now)
		return l->changed ? rows_drop_list(db, conn, l->key) : 0;
	next = (struct head){.id = h.id,
			     .learnt = l->learnt,
			     .used = now,
			     .count = (int64_t)rows_count(l->list)};
	rc = known ? 0 : put_head(db, conn, l->key, &next, false);
	w.list = next.id;
	if (!rc)
		rc = write_items(&w, l->list, &sums);
	if (!rc)
		rc = sum_of(sums.data, sums.len, &next.items);
	if (!rc)
		rc = put_head(db, conn, l->key, &next, true);
	*rows += w.written + 1;
	return rc;
}

int rows_touch_list(struct cachedb *db, sqlite3 *conn, const struct buf *key, int64_t learnt,
		    int64_t now, uint64_t *rows)
{
	struct head h = {0};
	int rc = get_head(db, conn, key, &h);

	if (rc == -ENOENT || rc == -EBADMSG)
		return cachedb_is_damaged(db) ? rc : 0;
	if (rc || (h.learnt > learnt && h.learnt <= now))
		return rc;
	h.learnt = learnt;
	h.used = now;
	(*rows)++;
	return put_head(db, conn, key, &h, true);
}

int rows_use(struct cachedb *db, sqlite3 *conn, const struct buf *key, int64_t now)
{
	int rc = sql_run_key(db, conn, "UPDATE lists SET used = ?2 WHERE key = ?1", key->data,
			     key->len, &now);

	return rc ? rc
		  : sql_run_key(db, conn, "UPDATE facts SET used = ?2 WHERE key = ?1", key->data,
				key->len, &now);
}

int rows_drop_list(struct cachedb *db, sqlite3 *conn, const struct buf *key)
{
	int rc = sql_run_key(db, conn,
			     "DELETE FROM items WHERE list = (SELECT id FROM lists WHERE key = ?)",
			     key->data, key->len, NULL);

	return rc ? rc
		  : sql_run_key(db, conn, "DELETE FROM lists WHERE key = ?", key->data, key->len,
				NULL);
}

int rows_drop_below(struct cachedb *db, sqlite3 *conn, const void *prefix, size_t len)
{
	static const char *const statements[] = {
		"DELETE FROM items WHERE list IN (SELECT id FROM lists WHERE key >= ? AND key < ?)",
		"DELETE FROM lists WHERE key >= ? AND key < ?",
	};
	int rc = 0;

	for (int i = 0; !rc && i < 2; i++) {
		_cleanup_buf_ struct buf end = BUF_INIT(CATALOG_KEY_MAX);
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;

		rc = cachedb_prepare(db, conn, statements[i], &stmt);
		if (!rc)
			rc = sql_bind_prefix(stmt, prefix, len, &end);
		if (!rc)
			rc = sql_finish(db, stmt);
	}
	return rc;
}
