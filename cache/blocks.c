#include "cache/blocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store.h"
#include "client/cleanup.h"

/* One block's bytes. Immutable, reference-counted. */
struct block {
	atomic_uint refs;
	size_t len;
	char data[];
};

static void *block_ref(void *p)
{
	struct block *b = p;

	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

static void block_unref(void *p)
{
	struct block *b = p;

	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

/* A copy of its exact size: a buffer may have room for twice as much. */
static struct block *block_new(const struct buf *content)
{
	struct block *b = malloc(sizeof(*b) + content->len);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->len = content->len;
	if (b->len)
		memcpy(b->data, content->data, b->len);
	return b;
}

static uint64_t block_start(uint64_t index)
{
	return index * BLOCK_SIZE;
}

/* How long the block has to be; 0 behind the end. */
static size_t block_len(const struct context_file *file, uint64_t index)
{
	uint64_t start = block_start(index);

	if (start >= file->size)
		return 0;
	return file->size - start < BLOCK_SIZE ? (size_t)(file->size - start) : BLOCK_SIZE;
}

int block_key(struct buf *key, const struct want *w)
{
	const struct context_file *f = w->file;
	const char *uri = w->context->uri ? w->context->uri : "";
	const char *etag = f->etag ? f->etag : "";

	(void)buf_add(key, uri, strlen(uri) + 1);
	(void)buf_addf(key, "%zu:", f->path_len);
	(void)buf_add(key, f->path, f->path_len);
	(void)buf_add(key, etag, strlen(etag) + 1);
	return buf_addf(key, "%" PRIu64 ":%" PRId64 ":%" PRIu64, f->size, f->modified, w->index);
}

static int block_find(struct catalog *c, const struct want *w, struct entry **out,
		      struct entry **trash)
{
	struct entry_time t = catalog_time(c);

	*out = lru_find(c->blocks, w->key.data, w->key.len);
	if (*out)
		return 0;
	return lru_add(c->blocks, w->key.data, w->key.len, &w->kind->type, &t, out, trash);
}

static int block_ask(struct catalog *c, const struct want *w, struct call *call, void **out,
		     struct err *e)
{
	_cleanup_buf_ struct buf content = BUF_INIT(BLOCK_SIZE);
	size_t len = block_len(w->file, w->index);
	int rc = c->conf.source->ops->read_context(c->conf.source, w->scope, w->context, w->file,
						   block_start(w->index), len, call, &content, e);

	if (!rc && buf_error(&content))
		rc = err_set(e, buf_error(&content), "can't keep the content");
	if (rc)
		return rc;
	/* The size was promised in stat: neither a hole nor a surplus may be shown. */
	if (content.len != len)
		return err_set(e, -EIO, "the file has another length than its context lists");
	*out = block_new(&content);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for content");
}

static void block_stored(struct catalog *c, const struct want *w, struct entry *entry,
			 void *snapshot, struct entry **trash)
{
	struct block *b = snapshot;

	(void)w;
	if (b)
		lru_loaded(c->blocks, entry, sizeof(*b) + b->len, trash);
}

/* Whether the block of w is there, without using it. Locked. */
static bool block_is_loaded(struct catalog *c, struct want *w)
{
	struct entry *entry;

	buf_reset(&w->key);
	if (block_key(&w->key, w))
		return false;
	entry = lru_peek(c->blocks, w->key.data, w->key.len);
	return entry && entry->snapshot;
}

/*
 * Somebody who has got past the middle of a block, and came from the block before it, will want
 * the one behind it. Where hardly more than that fits into memory it would only push out others.
 */
static void block_ahead(struct catalog *c, const struct want *w, struct entry **trash)
{
	enum { WORTH_IT = 4 };
	struct want other = *w;

	if (w->index == 0)
		walk_files(c, w, trash);
	if (!w->ahead || !block_len(w->file, w->index + 1) ||
	    c->conf.content_max < (size_t)WORTH_IT * BLOCK_SIZE)
		return;
	other.key = (struct buf)BUF_INIT(CATALOG_KEY_MAX);
	other.index = w->index - 1;
	if (w->index == 0 || block_is_loaded(c, &other)) {
		other.index = w->index + 1;
		buf_reset(&other.key);
		if (!block_key(&other.key, &other))
			fetch_ahead(c, &other, trash);
	}
	buf_free(&other.key);
}

static void block_ahead_failed(struct catalog *c, const struct want *w)
{
	(void)w;
	c->file_walk = (struct file_walk){0};
}

static void block_describe(const struct want *w, char *text, size_t size)
{
	snprintf(text, size, "bytes %" PRIu64 "... of %.*s in a build context",
		 block_start(w->index), w->file->path_len < 200 ? (int)w->file->path_len : 200,
		 w->file->path);
}

const struct fetch_kind fetch_block = {
	.type = {.ref = block_ref, .unref = block_unref, .forever = true},
	.find = block_find,
	.ask = block_ask,
	.stored = block_stored,
	.ahead = block_ahead,
	.ahead_failed = block_ahead_failed,
	.describe = block_describe,
};

/* ---- on the disk ---- */

int block_recall(struct catalog *c, const struct want *w, void **out)
{
	_cleanup_buf_ struct buf content = BUF_INIT(BLOCK_SIZE);

	*out = NULL;
	if (store_get_content(c->conf.store, w->key.data, w->key.len, &content) ||
	    content.len != block_len(w->file, w->index))
		return -ENOENT;
	*out = block_new(&content);
	return *out ? 0 : -ENOENT;
}

void block_keep(struct catalog *c, const struct want *w, void *block)
{
	struct block *b = block_ref(block);

	store_put_content(c->conf.store, w->key.data, w->key.len, b->data, b->len, block_unref, b);
}

/* ---- reading ---- */

/* Appends what the read from offset to end wants of the block that offset lies in. */
static int read_block(struct catalog *c, struct want *w, uint64_t offset, uint64_t end,
		      struct call *call, struct buf *out, struct err *e)
{
	size_t skip = (size_t)(offset % BLOCK_SIZE);
	struct block *b;
	void *snapshot;
	size_t want_len;
	int rc;

	w->index = offset / BLOCK_SIZE;
	/* A read that goes on in the next block wants that in any case. */
	w->ahead = end - block_start(w->index) > BLOCK_SIZE / 2;
	buf_reset(&w->key);
	rc = block_key(&w->key, w);
	if (rc)
		return err_set(e, rc, "the name of a context file is too long");
	rc = fetch_get(c, w, call, &snapshot, e);
	if (rc)
		return rc;
	b = snapshot;
	want_len = b->len - skip;
	if (want_len > end - offset)
		want_len = (size_t)(end - offset);
	rc = buf_add(out, b->data + skip, want_len);
	block_unref(b);
	return rc ? err_set(e, rc, "can't hold that much content") : 0;
}

static bool file_is_in(const struct context_file *file, const struct context *ctx)
{
	uintptr_t at = (uintptr_t)file, first = (uintptr_t)ctx->files;

	return at >= first && at < first + ctx->n_files * sizeof(*file);
}

int catalog_read(struct catalog *c, struct scope *s, struct context *ctx,
		 const struct context_file *file, uint64_t offset, size_t len, struct call *call,
		 struct buf *out, struct err *e)
{
	struct want w = {
		.kind = &fetch_block,
		.key = BUF_INIT(CATALOG_KEY_MAX),
		.scope = s,
		.context = ctx,
		.file = file,
	};
	size_t before = out->len;
	uint64_t end;
	int rc = 0;

	if (!file_is_in(file, ctx))
		return err_set(e, -EINVAL, "the file is not in that build context");
	if (offset >= file->size)
		return 0;
	end = len < file->size - offset ? offset + len : file->size;
	while (!rc && offset < end) {
		rc = read_block(c, &w, offset, end, call, out, e);
		offset = block_start(w.index + 1);
	}
	buf_free(&w.key);
	if (rc)
		out->len = before;
	return rc;
}
