#include "fs/spec_patch.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "client/yamltree.h"

/* A run of bytes to be replaced. */
struct cut {
	size_t from, to;
	const char *by;
	bool quoted;
};

/* The offset of a place, whose column counts characters; len when it is past the end. */
static size_t offset_of(const char *text, size_t len, int line, int column)
{
	size_t at = 0;

	for (; line > 1 && at < len; at++)
		line -= text[at] == '\n';
	for (; at < len && (column > 1 || ((unsigned char)text[at] & 0xc0) == 0x80); at++)
		column -= ((unsigned char)text[at] & 0xc0) != 0x80;
	return at;
}

/* How long the value that begins at text is, in its line; 0 when it is of another form. */
static size_t value_length(const char *text, size_t len)
{
	const char *end;
	size_t n = 0;

	if (!len || strchr("|>&*!", *text))
		return 0;
	if (*text == '"' || *text == '\'') {
		end = memchr(text + 1, *text, len - 1);
		/* Escaped or doubled quotes: no name has them. */
		if (!end || memchr(text, '\n', (size_t)(end - text)) ||
		    memchr(text, '\\', (size_t)(end - text)))
			return 0;
		return (size_t)(end - text) + 1;
	}
	while (n < len && text[n] != '\n' && text[n] != '\r' && strncmp(text + n, " #", 2) != 0)
		n++;
	while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
		n--;
	return n;
}

static int find_cut(const char *text, size_t len, const struct yaml_node *root, const char *key,
		    const char *by, struct cut *cut)
{
	*cut = (struct cut){0};
	for (size_t i = 0; root->kind == YAML_MAP && i < root->count; i++) {
		const struct yaml_node *value = root->items[i];
		size_t n;

		if (strcmp(root->keys[i]->text, key) != 0)
			continue;
		if (value->kind != YAML_SCALAR)
			return -EBADMSG;
		if (value->len == strlen(by) && memcmp(value->text, by, value->len) == 0)
			return 0;
		cut->from = offset_of(text, len, value->line, value->column);
		n = value_length(text + cut->from, len - cut->from);
		cut->to = cut->from + n;
		cut->by = by;
		return n ? 0 : -EBADMSG;
	}
	return 0;
}

static void add_value(struct buf *out, const struct cut *cut)
{
	buf_addf(out, cut->quoted ? "\"%s\"" : "%s", cut->by);
}

int spec_patch(const char *text, size_t len, const char *name, const char *version, struct buf *out)
{
	struct yaml_tree *tree;
	struct cut first, second;
	size_t at = 0;
	int rc = yamltree_load(text, len, &tree, NULL);

	if (rc)
		return rc;
	rc = find_cut(text, len, yamltree_root(tree), "name", name, &first);
	if (!rc)
		rc = find_cut(text, len, yamltree_root(tree), "version", version, &second);
	yamltree_free(tree);
	if (rc)
		return rc;
	/* A version that looks like a number is one only in quotes. */
	second.quoted = true;
	if (first.from > second.from) {
		struct cut other = first;

		first = second;
		second = other;
	}
	for (int i = 0; i < 2; i++) {
		const struct cut *cut = i ? &second : &first;

		if (!cut->by)
			continue;
		buf_add(out, text + at, cut->from - at);
		add_value(out, cut);
		at = cut->to;
	}
	return buf_add(out, text + at, len - at);
}
