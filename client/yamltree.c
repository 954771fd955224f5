#include "client/yamltree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/utf8.h"
#include "client/yamltree_int.h"

/* One allocation of a tree; they are freed together. */
struct block {
	struct block *next;
	max_align_t data[];
};

struct yaml_tree {
	struct block *blocks;
	const struct yaml_node *root;
};

static void event_cleanup(yaml_event_t *ev)
{
	yaml_event_delete(ev);
}
#define _cleanup_event_ __attribute__((cleanup(event_cleanup)))

static int nodes_add(struct nodes *list, struct node *node)
{
	if (list->count == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 16;
		struct node **at = realloc(list->at, cap * sizeof(struct node *));

		if (!at)
			return -ENOMEM;
		list->at = at;
		list->cap = cap;
	}
	list->at[list->count++] = node;
	return 0;
}

void *yamltree_alloc(struct yaml_tree *t, size_t size)
{
	struct block *b = malloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	b->next = t->blocks;
	t->blocks = b;
	return b->data;
}

/* ---- errors ---- */

__attribute__((format(printf, 4, 5))) static int fail_at(struct loader *l, size_t line,
							 size_t column, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(l->e, -EBADMSG, "line %zu, column %zu: %s", line + 1, column + 1, text);
	return -EBADMSG;
}

#define fail(l, mark, ...) fail_at(l, (mark).line, (mark).column, __VA_ARGS__)

int yamltree_no_memory(struct loader *l)
{
	err_set(l->e, -ENOMEM, "out of memory");
	return -ENOMEM;
}

int yamltree_fail_node(struct loader *l, const struct yaml_node *n, const char *what)
{
	char shown[UTF8_EXCERPT_SIZE] = "";

	if (n->text)
		utf8_excerpt(shown, n->text, n->len);
	return fail_at(l, (size_t)n->line - 1, (size_t)n->column - 1, "%s%s%s%s", what,
		       n->text ? ": \"" : "", shown, n->text ? "\"" : "");
}

/* The reader says only which byte it did not like. */
static int reader_error(struct loader *l)
{
	size_t offset = l->parser.problem_offset < l->len ? l->parser.problem_offset : l->len;
	size_t line = 0, start = 0;

	for (size_t i = 0; i < offset; i++) {
		if (l->text[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	return fail_at(l, line, utf8_count(l->text + start, offset - start),
		       "not allowed in a text: %s", l->parser.problem);
}

static int parser_error(struct loader *l)
{
	const yaml_parser_t *p = &l->parser;
	const char *problem = p->problem ? p->problem : "syntax error";

	if (p->error == YAML_MEMORY_ERROR)
		return yamltree_no_memory(l);
	if (p->error == YAML_READER_ERROR)
		return reader_error(l);
	if (p->context)
		return fail(l, p->problem_mark, "%s (%s, which begins in line %zu)", problem,
			    p->context, p->context_mark.line + 1);
	return fail(l, p->problem_mark, "%s", problem);
}

static int next_event(struct loader *l, yaml_event_t *ev)
{
	return yaml_parser_parse(&l->parser, ev) ? 0 : parser_error(l);
}

/* ---- nodes ---- */

/* Counts the nodes that come into the document, be it written out or through an alias. */
static int add_weight(struct loader *l, yaml_mark_t mark, size_t weight)
{
	l->weight += weight;
	if (l->weight > YAML_NODES_MAX)
		return fail(l, mark, "more than %d values, aliases expanded", YAML_NODES_MAX);
	return 0;
}

static int check_depth(struct loader *l, yaml_mark_t mark, int depth)
{
	if (depth > YAML_DEPTH_MAX)
		return fail(l, mark, "nested more than %d levels deep", YAML_DEPTH_MAX);
	return 0;
}

static int new_node(struct loader *l, const yaml_event_t *ev, enum yaml_kind kind, size_t text_len,
		    struct node **out)
{
	struct node *n;
	int rc = add_weight(l, ev->start_mark, 1);

	if (rc)
		return rc;
	n = yamltree_alloc(l->tree, sizeof(*n) + text_len + 1);
	if (!n)
		return yamltree_no_memory(l);
	*n = (struct node){.weight = 1, .open = true};
	n->pub.kind = kind;
	n->pub.line = (int)ev->start_mark.line + 1;
	n->pub.column = (int)ev->start_mark.column + 1;
	*out = n;
	return 0;
}

static int add_anchor(struct loader *l, const yaml_event_t *ev, const yaml_char_t *name,
		      struct node *node)
{
	size_t size;
	char *copy;

	if (!name)
		return 0;
	if (l->n_anchors == YAML_ANCHORS_MAX)
		return fail(l, ev->start_mark, "more than %d anchors", YAML_ANCHORS_MAX);
	size = strlen((const char *)name) + 1;
	copy = yamltree_alloc(l->tree, size);
	if (!copy)
		return yamltree_no_memory(l);
	memcpy(copy, name, size);
	l->anchors[l->n_anchors++] = (struct anchor){copy, node};
	return 0;
}

/* Only tags of the core schema: nothing is ever constructed from what a file names. */
static int check_tag(struct loader *l, const yaml_event_t *ev, const yaml_char_t *tag,
		     enum yaml_kind kind)
{
	static const char *const known[] = {
		[YAML_SCALAR] = "!|tag:yaml.org,2002:str|tag:yaml.org,2002:int|"
				"tag:yaml.org,2002:float|tag:yaml.org,2002:bool|"
				"tag:yaml.org,2002:null|tag:yaml.org,2002:timestamp|",
		[YAML_LIST] = "!|tag:yaml.org,2002:seq|",
		[YAML_MAP] = "!|tag:yaml.org,2002:map|",
	};
	const char *text = (const char *)tag;
	size_t n = text ? strlen(text) : 0;
	char shown[UTF8_EXCERPT_SIZE];

	if (!text)
		return 0;
	for (const char *p = known[kind]; *p; p = strchr(p, '|') + 1)
		if (strncmp(p, text, n) == 0 && p[n] == '|')
			return 0;
	return fail(l, ev->start_mark, "the tag %s is not allowed here: only plain data is read",
		    utf8_excerpt(shown, text, n));
}

static bool is_plain(const yaml_event_t *ev)
{
	const char *tag = (const char *)ev->data.scalar.tag;

	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!tag || (strcmp(tag, "!") != 0 && strcmp(tag, YAML_STR_TAG) != 0));
}

static int load_scalar(struct loader *l, const yaml_event_t *ev, struct node **out)
{
	size_t len = ev->data.scalar.length;
	struct node *n = NULL;
	char *text;
	int rc = check_tag(l, ev, ev->data.scalar.tag, YAML_SCALAR);

	if (!rc && memchr(ev->data.scalar.value, '\0', len))
		rc = fail(l, ev->start_mark, "a NUL character is not allowed in a text");
	if (!rc)
		rc = new_node(l, ev, YAML_SCALAR, len, &n);
	if (!rc)
		rc = add_anchor(l, ev, ev->data.scalar.anchor, n);
	if (rc)
		return rc;
	text = (char *)(n + 1);
	memcpy(text, ev->data.scalar.value, len);
	text[len] = '\0';
	n->pub.text = text;
	n->pub.len = len;
	n->pub.plain = is_plain(ev);
	n->open = false;
	*out = n;
	return 0;
}

static int load_alias(struct loader *l, const yaml_event_t *ev, int depth, struct node **out)
{
	const char *name = (const char *)ev->data.alias.anchor;
	struct node *n = NULL;
	char shown[UTF8_EXCERPT_SIZE];
	int rc;

	for (size_t i = l->n_anchors; i > 0 && !n; i--)
		if (strcmp(l->anchors[i - 1].name, name) == 0)
			n = l->anchors[i - 1].node;
	utf8_excerpt(shown, name, strlen(name));
	if (!n)
		return fail(l, ev->start_mark, "the alias *%s has no anchor &%s", shown, shown);
	if (n->open)
		return fail(l, ev->start_mark, "the alias *%s refers to what contains it", shown);
	rc = add_weight(l, ev->start_mark, n->weight);
	if (!rc)
		rc = check_depth(l, ev->start_mark, depth + n->height);
	*out = n;
	return rc;
}

static int load_node(struct loader *l, const yaml_event_t *ev, int depth, struct node **out);

/* Loads nodes up to the end event of the collection that was just begun. */
static int load_children(struct loader *l, struct node *parent, yaml_event_type_t end, int depth,
			 struct nodes *list)
{
	for (;;) {
		_cleanup_event_ yaml_event_t ev = {0};
		struct node *child = NULL;
		int rc = next_event(l, &ev);

		if (rc)
			return rc;
		if (ev.type == end)
			return 0;
		rc = load_node(l, &ev, depth + 1, &child);
		if (rc)
			return rc;
		if (nodes_add(list, child))
			return yamltree_no_memory(l);
		parent->weight += child->weight;
		if (child->height >= parent->height)
			parent->height = child->height + 1;
	}
}

static int load_list(struct loader *l, const yaml_event_t *ev, int depth, struct node **out)
{
	_cleanup_nodes_ struct nodes list = {0};
	struct node *n = NULL;
	struct yaml_node **items;
	int rc = check_tag(l, ev, ev->data.sequence_start.tag, YAML_LIST);

	if (!rc)
		rc = new_node(l, ev, YAML_LIST, 0, &n);
	if (!rc)
		rc = add_anchor(l, ev, ev->data.sequence_start.anchor, n);
	if (!rc)
		rc = load_children(l, n, YAML_SEQUENCE_END_EVENT, depth, &list);
	if (rc)
		return rc;
	items = yamltree_alloc(l->tree, list.count * sizeof(struct yaml_node *));
	if (!items)
		return yamltree_no_memory(l);
	for (size_t i = 0; i < list.count; i++)
		items[i] = &list.at[i]->pub;
	n->pub.items = items;
	n->pub.count = list.count;
	n->open = false;
	*out = n;
	return 0;
}

static int load_map(struct loader *l, const yaml_event_t *ev, int depth, struct node **out)
{
	_cleanup_nodes_ struct nodes list = {0};
	struct node *n = NULL;
	int rc = check_tag(l, ev, ev->data.mapping_start.tag, YAML_MAP);

	if (!rc)
		rc = new_node(l, ev, YAML_MAP, 0, &n);
	if (!rc)
		rc = add_anchor(l, ev, ev->data.mapping_start.anchor, n);
	if (!rc)
		rc = load_children(l, n, YAML_MAPPING_END_EVENT, depth, &list);
	if (!rc)
		rc = yamltree_map_fill(l, n, &list);
	if (rc)
		return rc;
	n->open = false;
	*out = n;
	return 0;
}

static int load_node(struct loader *l, const yaml_event_t *ev, int depth, struct node **out)
{
	int rc = check_depth(l, ev->start_mark, depth);

	if (rc)
		return rc;
	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return load_alias(l, ev, depth, out);
	case YAML_SCALAR_EVENT:
		return load_scalar(l, ev, out);
	case YAML_SEQUENCE_START_EVENT:
		return load_list(l, ev, depth, out);
	case YAML_MAPPING_START_EVENT:
		return load_map(l, ev, depth, out);
	default:
		return fail(l, ev->start_mark, "a value was expected");
	}
}

/* ---- documents ---- */

static int expect(struct loader *l, yaml_event_type_t type, const char *otherwise)
{
	_cleanup_event_ yaml_event_t ev = {0};
	int rc = next_event(l, &ev);

	if (rc)
		return rc;
	return ev.type == type ? 0 : fail(l, ev.start_mark, "%s", otherwise);
}

static int load_document(struct loader *l, struct node **root)
{
	_cleanup_event_ yaml_event_t ev = {0};
	int rc = expect(l, YAML_STREAM_START_EVENT, "not a YAML text");

	if (!rc)
		rc = expect(l, YAML_DOCUMENT_START_EVENT, "the file is empty: it has no document");
	if (!rc)
		rc = next_event(l, &ev);
	if (!rc)
		rc = load_node(l, &ev, 1, root);
	if (!rc)
		rc = expect(l, YAML_DOCUMENT_END_EVENT, "more follows the document");
	if (!rc)
		rc = expect(l, YAML_STREAM_END_EVENT,
			    "a second document begins here; only one is read");
	return rc;
}

int yamltree_load(const char *text, size_t len, struct yaml_tree **out, struct err *e)
{
	static const char bom[] = {'\xef', '\xbb', '\xbf'};
	_cleanup_free_ struct loader *l = NULL;
	struct node *root = NULL;
	int rc;

	*out = NULL;
	if (len > YAML_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than %d bytes", YAML_SIZE_MAX);
	l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	if (len >= sizeof(bom) && memcmp(text, bom, sizeof(bom)) == 0) {
		text += sizeof(bom);
		len -= sizeof(bom);
	}
	l->text = text;
	l->len = len;
	l->e = e;
	l->tree = calloc(1, sizeof(*l->tree));
	if (!l->tree || !yaml_parser_initialize(&l->parser)) {
		free(l->tree);
		return yamltree_no_memory(l);
	}
	yaml_parser_set_encoding(&l->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&l->parser, (const yaml_char_t *)text, len);
	rc = load_document(l, &root);
	yaml_parser_delete(&l->parser);
	if (rc) {
		yamltree_free(l->tree);
		return rc;
	}
	l->tree->root = &root->pub;
	*out = l->tree;
	return 0;
}

void yamltree_free(struct yaml_tree *t)
{
	struct block *next;

	if (!t)
		return;
	for (struct block *b = t->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(t);
}

const struct yaml_node *yamltree_root(const struct yaml_tree *t)
{
	return t->root;
}

const struct yaml_node *yamltree_get(const struct yaml_node *map, const char *key)
{
	if (map->kind != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->keys[i]->text, key) == 0)
			return map->items[i];
	return NULL;
}
