#include "fs/ahead.h"

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/attr.h"
#include "fs/notify.h"
#include "fs/shown.h"
#include "fs/tree.h"

static bool is_small_text(enum node_kind kind)
{
	return kind == NODE_SPEC || kind == NODE_CONDA || kind == NODE_DOCKERFILE;
}

static bool is_published(struct fsys *fs, struct node *n)
{
	return !node_is_local(fs->nodes, n) && !node_was_edited(fs->nodes, n);
}

static void store_file(struct fsys *fs, struct node *dir, struct node *n)
{
	_cleanup_buf_ struct buf text = BUF_INIT(AHEAD_FILE_MAX);

	if (n->parent != dir || !is_small_text(n->kind) || !is_published(fs, n) ||
	    attr_type(fs->nodes, n) != S_IFREG)
		return;
	/* Larger than that, or no memory: it is read when it is wanted. */
	if (shown_text(fs, dir, n->kind, &text) || !text.len)
		return;
	notify_store(fs->notify, n->ino, text.data, text.len);
	/*
	 * Somebody may have begun to write meanwhile, and what was just stored may cover that. When
	 * the record changed meanwhile, so did time and size, which the kernel compares.
	 */
	if (!is_published(fs, n))
		notify_file(fs->notify, n->ino);
}

void ahead_store(struct fsys *fs, struct node *dir, const struct listing *l)
{
	/* Without an identity: something in it is edited or removed. */
	if (!fs->kernel.store || dir->kind != NODE_VERSION || !l->identity ||
	    !node_set_stored(fs->nodes, dir))
		return;
	for (size_t i = 0; i < l->count; i++) {
		struct node *n = node_hold(fs->nodes, tree_number(dir, &l->items[i]));

		if (n)
			store_file(fs, dir, n);
		node_put(fs->nodes, n);
	}
}
