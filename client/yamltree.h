/*
 * yamltree - a YAML document as a tree of nodes with positions, loaded within bounds.
 *
 * Built on libyaml's parser events. Scalars stay text: nothing is converted to a number, date or
 * boolean. Refused with -EBADMSG and a text that begins "line L, column C: ": syntax errors, more
 * than one document, duplicate keys, keys that are not scalars, unknown (language-specific) tags,
 * aliases to nothing or to their own ancestors, NUL or other non-printable bytes, bad UTF-8, and
 * anything past the bounds below. Tags of the core schema (!!str, !!int, ...) are accepted. Aliases
 * are expanded by sharing nodes, and the expanded size is counted, so an alias bomb ends at once.
 * Merge keys ("<<") are merged (YAML 1.1). A tree is immutable once loaded; any thread may read it.
 */
#ifndef MLENVFS_CLIENT_YAMLTREE_H
#define MLENVFS_CLIENT_YAMLTREE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/err.h"

enum {
	YAML_SIZE_MAX = 4 * 1024 * 1024, /* bytes of input */
	YAML_DEPTH_MAX = 64,
	YAML_NODES_MAX = 100000, /* with every alias counted as what it expands to */
	YAML_ANCHORS_MAX = 256,
	YAML_KEY_MAX = 1000, /* characters of a key, one that must be escaped counting as six */
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	int line; /* from 1 */
	int column;
	bool plain;       /* scalar without quotes and without block style, untagged or not !!str */
	const char *text; /* scalar: its text, no NUL inside; else NULL */
	size_t len;
	size_t count;                   /* list: items; map: pairs */
	struct yaml_node *const *keys;  /* map only: scalars */
	struct yaml_node *const *items; /* list: items; map: values */
};

struct yaml_tree;

/*
 * Loads exactly one document from len bytes. -EBADMSG as above, also for an empty stream;
 * -EFBIG past YAML_SIZE_MAX; -ENOMEM.
 */
int yamltree_load(const char *text, size_t len, struct yaml_tree **out, struct err *e);
void yamltree_free(struct yaml_tree *t);

/* Borrowed until yamltree_free(). Never NULL. */
const struct yaml_node *yamltree_root(const struct yaml_tree *t);

/* The value of a key in a map, or NULL. */
const struct yaml_node *yamltree_get(const struct yaml_node *map, const char *key);

/*
 * What a reader (YAML 1.1 as PyYAML reads it, or the 1.2 core schema) would take a plain scalar
 * for. Quoted ones are always text.
 */
enum yaml_type {
	YAML_IS_TEXT,
	YAML_IS_NULL,
	YAML_IS_BOOL,
	YAML_IS_INT,
	YAML_IS_FLOAT,
	YAML_IS_DATE
};
enum yaml_type yaml_scalar_type(const struct yaml_node *scalar);

/* The same question for text that would be written without quotes. */
enum yaml_type yaml_text_type(const char *text, size_t len);

#endif
