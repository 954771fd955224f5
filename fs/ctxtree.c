#include "fs/ctxtree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "fs/name.h"

struct ctxtree {
	atomic_uint refs;
	struct context *ctx;
	struct ctxtree_entry *entries;
	char **names; /* owned; entries point to them */
	size_t count;
	size_t cap;
};

/* One file on its way into a directory: what is left of its path. */
struct rest {
	const struct context_file *file;
	const char *path;
	size_t len;
	char name[NAME_SIZE]; /* of the first part */
	size_t next;
};

static int entries_grow(struct ctxtree *t, size_t extra)
{
	size_t cap = t->cap ? t->cap : 16;
	struct ctxtree_entry *entries;
	char **names;

	while (cap < t->count + extra)
		cap *= 2;
	if (cap == t->cap)
		return 0;
	entries = reallocarray(t->entries, cap, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	t->entries = entries;
	names = reallocarray(t->names, cap, sizeof(*names));
	if (!names)
		return -ENOMEM;
	t->names = names;
	t->cap = cap;
	return 0;
}

static int entry_add(struct ctxtree *t, const char *name, const struct context_file *file)
{
	char *copy;
	int rc = entries_grow(t, 1);

	if (rc)
		return rc;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	t->names[t->count] = copy;
	t->entries[t->count++] = (struct ctxtree_entry){
		.name = copy, .file = file, .modified = file ? file->modified : 0};
	return 0;
}

static int rest_compare(const void *pa, const void *pb)
{
	const struct rest *a = *(struct rest *const *)pa, *b = *(struct rest *const *)pb;
	bool da = a->next < a->len, db = b->next < b->len;
	int c = strcmp(a->name, b->name);

	/* Directories before a file of the same name, so that the file is the one renamed. */
	return c ? c : (int)db - (int)da;
}

static bool is_dir(const struct rest *r)
{
	return r->next < r->len;
}

/* Gives a file whose name a directory has already another one that nothing else encodes to. */
static void dodge(struct rest *r)
{
	char tail[NAME_SIZE];

	memcpy(tail, r->name + 1, NAME_SIZE - 1);
	snprintf(r->name, NAME_SIZE, "%%%02X%.*s", (unsigned char)r->name[0], NAME_SIZE - 4, tail);
}

static void split_first_parts(struct rest **rests, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rest *r = rests[i];
		size_t part = name_split(r->path, r->len, &r->next);

		name_encode(NAME_CONTEXT, r->path, part, r->name);
	}
	qsort(rests, n, sizeof(*rests), rest_compare);
	for (size_t i = 1; i < n; i++)
		if (strcmp(rests[i]->name, rests[i - 1]->name) == 0 && is_dir(rests[i - 1]) &&
		    !is_dir(rests[i]))
			dodge(rests[i]);
	qsort(rests, n, sizeof(*rests), rest_compare);
}

/* The end of the run of rests that lie in one directory with rests[i]. */
static size_t run_end(struct rest **rests, size_t n, size_t i)
{
	size_t end = i + 1;

	while (end < n && is_dir(rests[i]) && is_dir(rests[end]) &&
	       strcmp(rests[end]->name, rests[i]->name) == 0)
		end++;
	return end;
}

static int fill_dir(struct ctxtree *t, uint32_t dir, struct rest **rests, size_t n, int depth);

static int fill_children(struct ctxtree *t, uint32_t first, struct rest **rests, size_t n,
			 int depth)
{
	uint32_t child = first;

	for (size_t i = 0; i < n; child++) {
		size_t end = run_end(rests, n, i);

		if (is_dir(rests[i])) {
			for (size_t k = i; k < end; k++) {
				rests[k]->path += rests[k]->next;
				rests[k]->len -= rests[k]->next;
			}
			int rc = fill_dir(t, child, rests + i, end - i, depth + 1);

			if (rc)
				return rc;
		}
		i = end;
	}
	return 0;
}

static int fill_dir(struct ctxtree *t, uint32_t dir, struct rest **rests, size_t n, int depth)
{
	uint32_t first = (uint32_t)t->count, count = 0;
	int64_t newest = 0;
	int rc;

	if (depth > CTXTREE_DEPTH_MAX) {
		log_warn("op=context uri=%s: %zu files below %d directories are left out",
			 t->ctx->uri, n, CTXTREE_DEPTH_MAX);
		return 0;
	}
	split_first_parts(rests, n);
	for (size_t i = 0; i < n; count++) {
		size_t end = run_end(rests, n, i);

		rc = entry_add(t, rests[i]->name, is_dir(rests[i]) ? NULL : rests[i]->file);
		if (rc)
			return rc;
		i = end;
	}
	rc = fill_children(t, first, rests, n, depth);
	if (rc)
		return rc;
	for (uint32_t i = first; i < first + count; i++)
		if (t->entries[i].modified > newest)
			newest = t->entries[i].modified;
	t->entries[dir].first = first;
	t->entries[dir].count = count;
	t->entries[dir].modified = newest;
	return 0;
}

int ctxtree_new(struct context *ctx, struct ctxtree **out, struct err *e)
{
	struct ctxtree *t = calloc(1, sizeof(*t));
	struct rest *rests = calloc(ctx->n_files + 1, sizeof(*rests));
	struct rest **order = calloc(ctx->n_files + 1, sizeof(*order));
	int rc = -ENOMEM;

	*out = NULL;
	if (!t || !rests || !order)
		goto out;
	atomic_init(&t->refs, 1);
	t->ctx = context_ref(ctx);
	for (size_t i = 0; i < ctx->n_files; i++) {
		rests[i].file = &ctx->files[i];
		rests[i].path = ctx->files[i].path;
		rests[i].len = ctx->files[i].path_len;
		order[i] = &rests[i];
	}
	rc = entry_add(t, "", NULL);
	if (!rc)
		rc = fill_dir(t, CTXTREE_ROOT, order, ctx->n_files, 0);
	if (!rc)
		*out = steal_ptr(&t);
out:
	free(rests);
	free(order);
	ctxtree_unref(t);
	return rc ? err_set(e, rc, "not enough memory for the files of a build context") : 0;
}

struct ctxtree *ctxtree_ref(struct ctxtree *t)
{
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void ctxtree_unref(struct ctxtree *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->names[i]);
	free(t->names);
	free(t->entries);
	context_unref(t->ctx);
	free(t);
}

struct context *ctxtree_context(const struct ctxtree *t)
{
	return t->ctx;
}

const struct ctxtree_entry *ctxtree_get(const struct ctxtree *t, uint32_t i)
{
	return &t->entries[i];
}

int64_t ctxtree_find(const struct ctxtree *t, uint32_t dir, const char *name)
{
	uint32_t lo = t->entries[dir].first, hi = lo + t->entries[dir].count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = strcmp(name, t->entries[mid].name);

		if (c == 0)
			return mid;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return -1;
}
