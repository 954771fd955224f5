#include "client/conda.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/utf8.h"
#include "client/yamlout.h"
#include "client/yamltree.h"

enum {
	STEP = 2,        /* spaces of indentation */
	INT_DIGITS = 15, /* what every reader of JSON holds exactly, doubles included */
};

static void tree_cleanup(struct yaml_tree **t)
{
	yamltree_free(*t);
}
#define _cleanup_tree_ __attribute__((cleanup(tree_cleanup)))

/* ---- reading ---- */

static bool is_json(const char *text, size_t len)
{
	cJSON *json;
	size_t i = 0;

	while (i < len && isspace((unsigned char)text[i]))
		i++;
	if (i == len || text[i] != '{' || asset_json_parse(text, len, &json, NULL))
		return false;
	cJSON_Delete(json);
	return true;
}

/* The value of the four hex digits of "\uXXXX" at p, or 0. */
static uint32_t hex_escape(const char *p, const char *end)
{
	char digits[5] = "";

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return 0;
	memcpy(digits, p + 2, 4);
	return (uint32_t)strtoul(digits, NULL, 16);
}

/*
 * JSON is YAML but for two escapes of strings that YAML readers refuse: surrogate pairs, and a
 * control character (DEL) written raw. Rewrites both; text is known to be JSON.
 */
static int json_to_yaml(const char *text, size_t len, struct buf *out)
{
	const char *end = text + len, *p = text;

	while (p < end) {
		uint32_t high = hex_escape(p, end), low = high ? hex_escape(p + 6, end) : 0;

		if (high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			buf_addf(out, "\\U%08X",
				 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
			p += 12;
		} else if (*p == '\\' && end - p > 1) {
			buf_add(out, p, 2);
			p += 2;
		} else if (*p == 0x7f) {
			buf_addstr(out, "\\x7F");
			p++;
		} else {
			buf_addch(out, *p++);
		}
	}
	return buf_error(out);
}

static int conda_load(const char *text, size_t len, struct yaml_tree **tree, struct err *e)
{
	_cleanup_buf_ struct buf yaml = BUF_INIT(YAML_SIZE_MAX);
	const struct yaml_node *root;
	int rc;

	*tree = NULL;
	if (len <= YAML_SIZE_MAX && is_json(text, len)) {
		rc = json_to_yaml(text, len, &yaml);
		if (rc)
			return err_set(e, rc, "the conda specification is too large");
		text = buf_str(&yaml);
		len = yaml.len;
	}
	rc = yamltree_load(text, len, tree, e);
	if (rc)
		return rc;
	root = yamltree_root(*tree);
	if (root->kind == YAML_MAP)
		return 0;
	rc = err_set(e, -EBADMSG,
		     "line %d, column %d: a conda specification is a mapping with keys like "
		     "\"dependencies\"",
		     root->line, root->column);
	yamltree_free(*tree);
	*tree = NULL;
	return rc;
}

/* ---- scalars ---- */

static bool is_short_int(const char *text, size_t len)
{
	size_t sign = len && text[0] == '-', digits = len - sign;

	if (!digits || digits > INT_DIGITS || strspn(text + sign, "0123456789") != digits)
		return false;
	return text[sign] != '0' || len == 1;
}

/* What an unquoted scalar is in JSON, and in YAML, when it is not a string; else NULL. */
static const char *literal_of(const struct yaml_node *n)
{
	static const char *const words[][2] = {
		{"", "null"},       {"~", "null"},      {"null", "null"},   {"Null", "null"},
		{"NULL", "null"},   {"true", "true"},   {"True", "true"},   {"TRUE", "true"},
		{"false", "false"}, {"False", "false"}, {"FALSE", "false"},
	};

	if (!n->plain)
		return NULL;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(n->text, words[i][0]) == 0)
			return words[i][1];
	return is_short_int(n->text, n->len) ? n->text : NULL;
}

/* ---- to JSON ---- */

static void add_json_escape(struct buf *b, uint32_t cp)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *p = cp < 0x80 ? strchr(from, (int)cp) : NULL;

	if (p)
		buf_addf(b, "\\%c", to[p - from]);
	else
		buf_addf(b, "\\u%04x", cp);
}

static void add_json_string(struct buf *b, const struct yaml_node *n)
{
	uint32_t cp;

	buf_addch(b, '"');
	for (size_t i = 0, size; i < n->len; i += size) {
		size = utf8_decode(n->text + i, n->len - i, &cp);
		if (!size) /* the loader lets no such byte through */
			break;
		if (!utf8_printable(cp) || cp == '"' || cp == '\\')
			add_json_escape(b, cp);
		else
			buf_add(b, n->text + i, size);
	}
	buf_addch(b, '"');
}

static void add_json(struct buf *b, const struct yaml_node *n, int indent)
{
	bool map = n->kind == YAML_MAP;
	const char *literal;

	if (n->kind == YAML_SCALAR) {
		literal = literal_of(n);
		if (literal)
			buf_addstr(b, literal);
		else
			add_json_string(b, n);
		return;
	}
	buf_addch(b, map ? '{' : '[');
	for (size_t i = 0; i < n->count && !buf_error(b); i++) {
		buf_addstr(b, i ? ",\n" : "\n");
		yamlout_indent(b, indent + STEP);
		if (map) {
			add_json_string(b, n->keys[i]);
			buf_addstr(b, ": ");
		}
		add_json(b, n->items[i], indent + STEP);
	}
	if (n->count) {
		buf_addch(b, '\n');
		yamlout_indent(b, indent);
	}
	buf_addch(b, map ? '}' : ']');
}

static int out_error(const struct buf *out, struct err *e)
{
	int rc = buf_error(out);

	return rc ? err_set(e, rc, "the conda specification is too large") : 0;
}

int conda_to_json(const char *text, size_t len, struct buf *out, struct err *e)
{
	_cleanup_tree_ struct yaml_tree *tree = NULL;
	int rc = conda_load(text, len, &tree, e);

	if (rc)
		return rc;
	add_json(out, yamltree_root(tree), 0);
	return out_error(out, e);
}

/* ---- to YAML ---- */

static void add_block(struct buf *b, const struct yaml_node *n, int indent, bool same_line);

static bool is_block(const struct yaml_node *n)
{
	return n->kind != YAML_SCALAR && n->count;
}

static void add_scalar(struct buf *b, const struct yaml_node *n, int indent)
{
	const char *literal;

	if (n->kind != YAML_SCALAR) {
		buf_addstr(b, n->kind == YAML_MAP ? "{}" : "[]");
		return;
	}
	literal = literal_of(n);
	if (literal)
		buf_addstr(b, literal);
	else
		yamlout_text(b, n->text, n->len, indent);
}

/* A value behind its key: on the same line, or as a block below. */
static void add_value(struct buf *b, const struct yaml_node *n, int indent)
{
	if (is_block(n)) {
		buf_addch(b, '\n');
		add_block(b, n, indent + STEP, false);
		return;
	}
	buf_addch(b, ' ');
	add_scalar(b, n, indent + STEP);
	buf_addch(b, '\n');
}

/* An item behind its "- ": a block begins on the same line. */
static void add_item(struct buf *b, const struct yaml_node *n, int indent)
{
	buf_addstr(b, "- ");
	if (is_block(n)) {
		add_block(b, n, indent + STEP, true);
		return;
	}
	add_scalar(b, n, indent + STEP);
	buf_addch(b, '\n');
}

static void add_block(struct buf *b, const struct yaml_node *n, int indent, bool same_line)
{
	for (size_t i = 0; i < n->count && !buf_error(b); i++) {
		if (i || !same_line)
			yamlout_indent(b, indent);
		if (n->kind == YAML_LIST) {
			add_item(b, n->items[i], indent);
			continue;
		}
		yamlout_key(b, n->keys[i]->text, n->keys[i]->len, indent);
		add_value(b, n->items[i], indent);
	}
}

int conda_render_node(const struct yaml_node *map, struct buf *out, struct err *e)
{
	if (is_block(map))
		add_block(out, map, 0, false);
	else
		buf_addstr(out, "{}\n");
	return out_error(out, e);
}

int conda_render(const char *text, size_t len, struct buf *out, struct err *e)
{
	_cleanup_tree_ struct yaml_tree *tree = NULL;
	int rc = conda_load(text, len, &tree, e);

	return rc ? rc : conda_render_node(yamltree_root(tree), out, e);
}

/* ---- comparing ---- */

static int same(const struct yaml_node *a, const struct yaml_node *b);

struct member {
	const struct yaml_node *key, *value;
};

static int member_order(const void *pa, const void *pb)
{
	const struct member *a = pa, *b = pb;

	return strcmp(a->key->text, b->key->text);
}

/* The pairs of a map sorted by key; the caller frees them. NULL when memory ran out. */
static struct member *sorted_members(const struct yaml_node *map)
{
	struct member *m = malloc((map->count + 1) * sizeof(*m));

	if (!m)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		m[i] = (struct member){map->keys[i], map->items[i]};
	qsort(m, map->count, sizeof(*m), member_order);
	return m;
}

static int same_maps(const struct yaml_node *a, const struct yaml_node *b)
{
	_cleanup_free_ struct member *ma = sorted_members(a);
	_cleanup_free_ struct member *mb = sorted_members(b);
	int rc = 1;

	if (!ma || !mb)
		return -ENOMEM;
	for (size_t i = 0; i < a->count && rc == 1; i++) {
		rc = strcmp(ma[i].key->text, mb[i].key->text) == 0;
		if (rc)
			rc = same(ma[i].value, mb[i].value);
	}
	return rc;
}

static int same_scalars(const struct yaml_node *a, const struct yaml_node *b)
{
	const char *la = literal_of(a), *lb = literal_of(b);

	if (!la != !lb)
		return 0;
	return strcmp(la ? la : a->text, lb ? lb : b->text) == 0;
}

static int same(const struct yaml_node *a, const struct yaml_node *b)
{
	int rc = 1;

	if (a->kind != b->kind || a->count != b->count)
		return 0;
	if (a->kind == YAML_SCALAR)
		return same_scalars(a, b);
	if (a->kind == YAML_MAP)
		return same_maps(a, b);
	for (size_t i = 0; i < a->count && rc == 1; i++)
		rc = same(a->items[i], b->items[i]);
	return rc;
}

int conda_same(const char *a, size_t a_len, const char *b, size_t b_len, struct err *e)
{
	_cleanup_tree_ struct yaml_tree *ta = NULL, *tb = NULL;
	int rc = conda_load(a, a_len, &ta, e);

	if (!rc)
		rc = conda_load(b, b_len, &tb, e);
	if (rc)
		return rc;
	rc = same(yamltree_root(ta), yamltree_root(tb));
	return rc < 0 ? err_set(e, rc, "out of memory") : rc;
}
