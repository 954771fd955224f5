#include "fs/spec_patch.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "client/yamltree.h"

/* A run of bytes to be replaced. */
struct cut {
	size_t from, to;
	const char *by;
	const char *key; /* a line of its own, with this key; NULL: only the value */
	bool quoted;
};

/* A byte order mark is in no column. */
static size_t skip_mark(const char *text, size_t len)
{
	static const char mark[] = "\xef\xbb\xbf";

	return len >= sizeof(mark) - 1 && memcmp(text, mark, sizeof(mark) - 1) == 0
		       ? sizeof(mark) - 1
		       : 0;
}

/* The offset of a place, whose column counts characters; len when it is past the end. */
static size_t offset_of(const char *text, size_t len, int line, int column)
{
	size_t at = skip_mark(text, len);

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
		return end ? (size_t)(end - text) + 1 : 0;
	}
	while (n < len && text[n] != '\n' && text[n] != '\r' &&
	       !(text[n] == '#' && n && (text[n - 1] == ' ' || text[n - 1] == '\t')))
		n++;
	while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
		n--;
	return n;
}

/* Whether the n bytes at text are all of the value, and nothing else: no escapes, no second line,
 * nothing of a mapping in braces. */
static bool is_whole(const char *text, size_t n, const struct yaml_node *value)
{
	if (n && (*text == '"' || *text == '\'')) {
		text++;
		n -= 2;
	}
	return n == value->len && memcmp(text, value->text, n) == 0;
}

/* A name that is not there gets a line of its own before the first key. */
static int insert(const char *text, size_t len, const struct yaml_node *root, const char *key,
		  const char *by, struct cut *cut)
{
	if (!root->count || root->keys[0]->column != 1)
		return -EBADMSG;
	cut->from = cut->to = offset_of(text, len, root->keys[0]->line, 1);
	cut->by = by;
	cut->key = key;
	return 0;
}

static int find_cut(const char *text, size_t len, const struct yaml_node *root, const char *key,
		    const char *by, bool missing, struct cut *cut)
{
	*cut = (struct cut){0};
	for (size_t i = 0; i < root->count; i++) {
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
		return n && is_whole(text + cut->from, n, value) ? 0 : -EBADMSG;
	}
	return missing ? insert(text, len, root, key, by, cut) : 0;
}

/* The line end that the text has. */
static const char *line_end(const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len);

	return end && end > text && end[-1] == '\r' ? "\r\n" : "\n";
}

static void add_value(struct buf *out, const struct cut *cut, const char *end)
{
	if (cut->key)
		buf_addf(out, "%s: ", cut->key);
	buf_addf(out, cut->quoted ? "\"%s\"" : "%s", cut->by);
	if (cut->key)
		buf_addstr(out, end);
}

int spec_patch(const char *text, size_t len, const char *name, const char *version, bool whole,
	       struct buf *out)
{
	struct yaml_tree *tree;
	struct cut first, second;
	size_t at = 0;
	int rc = yamltree_load(text, len, &tree, NULL);

	if (rc)
		return rc;
	rc = yamltree_root(tree)->kind == YAML_MAP ? 0 : -EBADMSG;
	if (!rc)
		rc = find_cut(text, len, yamltree_root(tree), "name", name, true, &first);
	if (!rc)
		rc = find_cut(text, len, yamltree_root(tree), "version", version,
			      whole || first.key, &second);
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
		add_value(out, cut, line_end(text, len));
		at = cut->to;
	}
	return buf_add(out, text + at, len - at);
}
