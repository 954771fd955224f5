#include "fs/rendered.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "fs/render.h"

struct text {
	struct version *of; /* a reference; NULL: none is kept here */
	enum node_kind kind;
	char *data;
	size_t len;
};

struct rendered {
	pthread_mutex_t lock;
	struct text texts[RENDERED_KEPT];
	size_t next; /* where the next one goes */
};

struct rendered *rendered_new(void)
{
	struct rendered *r = calloc(1, sizeof(*r));

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

static void drop(struct text *t)
{
	version_unref(t->of);
	free(t->data);
}

void rendered_free(struct rendered *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < RENDERED_KEPT; i++)
		drop(&r->texts[i]);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static bool find(struct rendered *r, const struct version *v, enum node_kind kind, struct buf *out,
		 int *rc)
{
	const struct text *t = NULL;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < RENDERED_KEPT && !t; i++)
		if (r->texts[i].of == v && r->texts[i].kind == kind)
			t = &r->texts[i];
	if (t)
		*rc = buf_add(out, t->data, t->len);
	pthread_mutex_unlock(&r->lock);
	return t;
}

/* Failing to is no error. */
static void keep(struct rendered *r, struct version *v, enum node_kind kind, const char *data,
		 size_t len)
{
	struct text old, fresh = {.of = version_ref(v), .kind = kind, .len = len};

	fresh.data = malloc(len + 1);
	if (!fresh.data) {
		drop(&fresh);
		return;
	}
	memcpy(fresh.data, data, len);
	pthread_mutex_lock(&r->lock);
	old = r->texts[r->next];
	r->texts[r->next] = fresh;
	r->next = (r->next + 1) % RENDERED_KEPT;
	pthread_mutex_unlock(&r->lock);
	drop(&old);
}

int rendered_file(struct rendered *r, struct version *v, enum node_kind kind, struct buf *out)
{
	size_t before = out->len;
	int rc;

	if (r && find(r, v, kind, out, &rc))
		return rc;
	rc = render_file(v, kind, out);
	if (r && !rc && out->len > before && out->len - before <= RENDERED_TEXT_MAX)
		keep(r, v, kind, out->data + before, out->len - before);
	return rc;
}

static int64_t *size_field(struct node_sizes *s, enum node_kind kind)
{
	switch (kind) {
	case NODE_SPEC:
		return &s->spec;
	case NODE_CONDA:
		return &s->conda;
	default:
		return &s->dockerfile;
	}
}

int rendered_size(struct rendered *r, struct node_table *t, struct node *n, struct version *v,
		  enum node_kind kind, int64_t *size)
{
	struct node_sizes sizes = node_get_sizes(t, n);
	_cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
	int rc;

	*size = 0;
	if (sizes.of != v)
		sizes = (struct node_sizes){v, -1, -1, -1};
	if (*size_field(&sizes, kind) < 0) {
		rc = rendered_file(r, v, kind, &text);
		if (rc)
			return rc;
		*size_field(&sizes, kind) = (int64_t)text.len;
		node_set_sizes(t, n, &sizes);
	}
	*size = *size_field(&sizes, kind);
	return 0;
}
