/* The YAML loader within its bounds, and scalars that are written and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/clock.h"
#include "client/yamlout.h"
#include "client/yamltree.h"

enum { TEXT_MAX = 16 * 1024 * 1024 };

static struct yaml_tree *load(const char *text)
{
	struct yaml_tree *t = NULL;
	struct err e = ERR_INIT;

	if (yamltree_load(text, strlen(text), &t, &e))
		fail_msg("%s in: %s", e.msg, text);
	return t;
}

static void assert_refused(const char *text, size_t len, const char *message)
{
	struct yaml_tree *t = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(yamltree_load(text, len, &t, &e), -EBADMSG);
	assert_null(t);
	if (!strstr(e.msg, message))
		fail_msg("\"%s\" is not in \"%s\"", message, e.msg);
}

static const char *text_at(const struct yaml_tree *t, const char *key)
{
	const struct yaml_node *n = yamltree_get(yamltree_root(t), key);

	assert_non_null(n);
	assert_int_equal(n->kind, YAML_SCALAR);
	return n->text;
}

/* ---- loading ---- */

static void a_document_becomes_a_tree(void **state)
{
	struct yaml_tree *t = load("a: 1.10\nb: [x, 'y']\nc:\n  d: |\n    e\n    f\n");
	const struct yaml_node *root = yamltree_root(t), *b, *d;

	(void)state;
	assert_int_equal(root->kind, YAML_MAP);
	assert_int_equal(root->count, 3);
	assert_string_equal(text_at(t, "a"), "1.10");
	b = yamltree_get(root, "b");
	assert_int_equal(b->kind, YAML_LIST);
	assert_int_equal(b->line, 2);
	assert_int_equal(b->column, 4);
	assert_true(b->items[0]->plain);
	assert_false(b->items[1]->plain);
	d = yamltree_get(yamltree_get(root, "c"), "d");
	assert_string_equal(d->text, "e\nf\n");
	assert_false(d->plain);
	assert_null(yamltree_get(root, "z"));
	assert_null(yamltree_get(b, "z"));
	yamltree_free(t);
	yamltree_free(NULL);
}

static void tags_of_the_core_schema_are_plain_data(void **state)
{
	struct yaml_tree *t = load("a: !!str 5\nb: !!int 5\nc: ! 5\nd: !!map {}\ne: !!seq []\n");
	const struct yaml_node *root = yamltree_root(t);

	(void)state;
	assert_false(yamltree_get(root, "a")->plain);
	assert_true(yamltree_get(root, "b")->plain);
	assert_false(yamltree_get(root, "c")->plain);
	yamltree_free(t);
	assert_refused("a: !!python/object:os.system x", 30, "line 1, column 4: the tag");
	assert_refused("a: !mine x", 10, "the tag");
	assert_refused("a: !!binary aGk=", 16, "the tag");
	assert_refused("a: !!map x", 10, "the tag");
	assert_refused("!!set {a, b}", 12, "the tag");
}

static void what_is_not_one_document_is_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"", "line 1, column 1: the file is empty"},
		{"# only\n", "the file is empty"},
		{"a: 1\n---\nb: 2\n", "line 2, column 1: a second document"},
		{"a: 1\n...\nb: 2\n", "line 3, column 1"},
		{"a: 1\na: 2\n", "line 2, column 1: this key is given twice: \"a\""},
		{"a: 1\n\"a\": 2\n", "given twice"},
		{"[a]: 1\n", "a key must be a text"},
		{"a: {{B}}\n", "placeholder"},
		{"a: *b\n", "line 1, column 4: the alias *b has no anchor"},
		{"a: &b [*b]\n", "refers to what contains it"},
		{"&a {x: *a}\n", "refers to what contains it"},
		{"a: [1\n", "line 2, column 1"},
		{"a: \"\\0\"\n", "NUL"},
		{"a: \x07\n", "line 1, column 4"},
		{"b: 1\na: \xc3\x28\n", "line 2, column 5"},
		{"b: \xc3\xa9\n\xff", "line 2, column 1"},
		{"\ta: 1\n", "line 1, column 1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_refused(bad[i].text, strlen(bad[i].text), bad[i].message);
	assert_refused("a: b\0c\n", 7, "line 1, column 5");
	assert_refused("\xff\xfe\x61\x00", 4, "not allowed");
}

static void aliases_share_and_merge_keys_merge(void **state)
{
	struct yaml_tree *t = load("base: &b {x: 1, y: 2}\n"
				   "other: &o {y: 3, z: 4}\n"
				   "one: {<<: *b, y: own}\n"
				   "two: {<<: [*b, *o], w: 0}\n"
				   "three: *b\n"
				   "four: {'<<': text}\n");
	const struct yaml_node *root = yamltree_root(t), *two;

	(void)state;
	assert_string_equal(yamltree_get(yamltree_get(root, "one"), "y")->text, "own");
	assert_string_equal(yamltree_get(yamltree_get(root, "one"), "x")->text, "1");
	assert_int_equal(yamltree_get(root, "one")->count, 2);
	two = yamltree_get(root, "two");
	assert_int_equal(two->count, 4);
	assert_string_equal(two->keys[0]->text, "w");
	assert_string_equal(yamltree_get(two, "y")->text, "2");
	assert_string_equal(yamltree_get(two, "z")->text, "4");
	assert_ptr_equal(yamltree_get(root, "three"), yamltree_get(root, "base"));
	assert_string_equal(yamltree_get(yamltree_get(root, "four"), "<<")->text, "text");
	yamltree_free(t);
	assert_refused("a: {<<: text}\n", 14, "merges mappings only");
	assert_refused("a: {<<: [text]}\n", 16, "merges mappings only");
}

static void a_byte_order_mark_and_crlf_are_no_content(void **state)
{
	struct yaml_tree *t = load("\xef\xbb\xbf"
				   "a: b\r\nc: d\r\n");

	(void)state;
	assert_string_equal(text_at(t, "a"), "b");
	assert_string_equal(text_at(t, "c"), "d");
	yamltree_free(t);
}

/* ---- bounds ---- */

static void assert_fast(int64_t start)
{
	assert_true(clock_mono() - start < 5 * NS_PER_S);
}

static void an_alias_bomb_ends_at_once(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	int64_t start = clock_mono();

	(void)state;
	buf_addstr(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 20; i++) {
		buf_addf(&b, "a%d: &a%d [", i, i);
		for (int k = 0; k < 9; k++)
			buf_addf(&b, "*a%d,", i - 1);
		buf_addstr(&b, "]\n");
	}
	assert_refused(buf_str(&b), b.len, "aliases expanded");
	buf_reset(&b);
	buf_addstr(&b, "a0: &a0 {k: v}\n");
	for (int i = 1; i < 30; i++)
		buf_addf(&b, "a%d: &a%d {<<: [*a%d, *a%d], k%d: *a%d}\n", i, i, i - 1, i - 1, i,
			 i - 1);
	assert_refused(buf_str(&b), b.len, "aliases expanded");
	assert_fast(start);
}

static void depth_is_bounded_through_aliases_too(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	int64_t start = clock_mono();

	(void)state;
	for (int i = 0; i < 10000; i++)
		buf_addch(&b, '[');
	assert_refused(buf_str(&b), b.len, "nested more than 64");
	buf_reset(&b);
	for (int i = 0; i < 10000; i++)
		buf_addstr(&b, "{a: ");
	assert_refused(buf_str(&b), b.len, "nested more than 64");
	buf_reset(&b);
	for (int i = 0; i < 10000; i++)
		buf_addstr(&b, "- ");
	assert_refused(buf_str(&b), b.len, "nested more than 64");
	buf_reset(&b);
	buf_addstr(&b, "a0: &a0 [x]\n");
	for (int i = 1; i < 80; i++)
		buf_addf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	assert_refused(buf_str(&b), b.len, "nested more than 64");
	assert_fast(start);
}

static void size_nodes_keys_and_anchors_are_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	struct yaml_tree *t = NULL;
	int64_t start = clock_mono();
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < YAML_NODES_MAX; i++)
		buf_addstr(&b, "- x\n");
	assert_refused(buf_str(&b), b.len, "more than 100000 values");
	buf_reset(&b);
	for (int i = 0; i <= YAML_ANCHORS_MAX; i++)
		buf_addf(&b, "- &a%d x\n", i);
	assert_refused(buf_str(&b), b.len, "anchors");
	buf_reset(&b);
	buf_addstr(&b, "? ");
	for (int i = 0; i <= YAML_KEY_MAX; i++)
		buf_addch(&b, 'k');
	assert_refused(buf_str(&b), b.len, "this key is too long");
	buf_reset(&b);
	for (int i = 0; i < 40000; i++)
		buf_addf(&b, "key%d: v\n", i);
	assert_int_equal(yamltree_load(buf_str(&b), b.len, &t, &e), 0);
	assert_int_equal(yamltree_root(t)->count, 40000);
	yamltree_free(t);
	buf_reset(&b);
	for (int i = 0; i <= YAML_SIZE_MAX; i++)
		buf_addch(&b, ' ');
	assert_int_equal(yamltree_load(buf_str(&b), b.len, &t, &e), -EFBIG);
	assert_fast(start);
}

/* ---- types ---- */

static void text_is_taken_for_what_readers_take_it_for(void **state)
{
	static const struct {
		const char *texts[16];
		enum yaml_type type;
	} cases[] = {
		{{"", "~", "null", "Null", "NULL"}, YAML_IS_NULL},
		{{"true", "False", "YES", "no", "On", "off"}, YAML_IS_BOOL},
		{{"0", "7", "-12", "+5", "0755", "08", "1_000", "0x1F", "0o17", "0b11", "1:30",
		  "190:20:30"},
		 YAML_IS_INT},
		{{"2.10", "1e3", "1.5e-3", ".5", "-.5", "6.", ".inf", "-.INF", ".nan", "1:30.5",
		  "1E+2"},
		 YAML_IS_FLOAT},
		{{"2024-01-31", "2024-1-3", "2024-01-31T10:00:00Z", "2024-01-31 10:00:00"},
		 YAML_IS_DATE},
		{{"1.2.3", "a", "1.2-3", "0.5.1", "y", ".", "-", "+", "e5", "1e", "0x",
		  "1:", "2022-09-14-20-33", "python=3.8", "v1"},
		 YAML_IS_TEXT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t k = 0; k < 16 && cases[i].texts[k]; k++) {
			const char *text = cases[i].texts[k];

			if (yaml_text_type(text, strlen(text)) != cases[i].type)
				fail_msg("%s is taken for %d", text,
					 yaml_text_type(text, strlen(text)));
		}
	}
}

/* ---- writing ---- */

static const char *const plain_texts[] = {
	"a",       "python=3.8",   "-r requirements.txt",
	"a:b",     "a#b",          "https://h/p?q=1#f",
	"1.2.3",   "na\xc3\xafve", "a b",
	"a,b",     "x'y",          "say \"hi\"",
	"--index", "a]b",          "\\",
};

static const char *const quoted_texts[] = {
	"",
	" a",
	"a ",
	"1.10",
	"yes",
	"null",
	"~",
	"*a",
	"&a",
	"!a",
	"%a",
	"@a",
	"`a",
	"a: b",
	"a #b",
	"#a",
	"- a",
	"-",
	"?a",
	":a",
	"[a",
	"{a",
	"]",
	"|",
	">",
	"'a",
	"\"a",
	"a:",
	"---",
	"--- a",
	"...",
	"2024-01-31",
	"0x1F",
	"1:30",
	"=",
	"<<",
	"y",
	"N",
	"a\tb",
	"\x01",
	"\x7f",
	"a\rb",
	"\xc2\x85",
	"\xe2\x80\xa8",
	"\xef\xbb\xbfx",

	",a",
	"1e3",
	"off",
};

static char *written(const char *text, size_t len, bool block)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	buf_addstr(&b, "k:\n  - ");
	if (block)
		assert_int_equal(yamlout_text(&b, text, len, 4), 0);
	else
		assert_int_equal(yamlout_scalar(&b, text, len), 0);
	buf_addstr(&b, "\n  - next\n");
	return buf_steal(&b, NULL);
}

static void assert_reads_back(const char *text, size_t len)
{
	for (int block = 0; block < 2; block++) {
		char *yaml = written(text, len, block);
		struct yaml_tree *t = load(yaml);
		const struct yaml_node *list = yamltree_get(yamltree_root(t), "k");

		assert_int_equal(list->count, 2);
		assert_int_equal(list->items[0]->len, len);
		assert_memory_equal(list->items[0]->text, text, len);
		assert_int_equal(yaml_scalar_type(list->items[0]), YAML_IS_TEXT);
		assert_string_equal(list->items[1]->text, "next");
		yamltree_free(t);
		free(yaml);
	}
}

static void scalars_are_plain_where_all_readers_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(plain_texts) / sizeof(*plain_texts); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(1000);

		yamlout_scalar(&b, plain_texts[i], strlen(plain_texts[i]));
		assert_string_equal(buf_str(&b), plain_texts[i]);
		assert_reads_back(plain_texts[i], strlen(plain_texts[i]));
	}
	for (size_t i = 0; i < sizeof(quoted_texts) / sizeof(*quoted_texts); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(1000);

		yamlout_scalar(&b, quoted_texts[i], strlen(quoted_texts[i]));
		if (buf_str(&b)[0] != '"')
			fail_msg("%s is not quoted", buf_str(&b));
		assert_reads_back(quoted_texts[i], strlen(quoted_texts[i]));
	}
}

static void texts_of_several_lines_are_literal_blocks(void **state)
{
	static const struct {
		const char *text, *yaml;
	} cases[] = {
		{"a\nb", "|-\n    a\n    b"},
		{"a\nb\n", "|\n    a\n    b"},
		{"a\n\n", "|+\n    a\n"},
		{"a\n\n  b  \n", "|\n    a\n\n      b  "},
		{"a\n\tb", "|-\n    a\n    \tb"},
		{"# a\n--- b", "|-\n    # a\n    --- b"},
		{"\na", "\"\\na\""},
		{" a\nb", "\" a\\nb\""},
		{"a\r\nb", "\"a\\r\\nb\""},
		{"one", "one"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(1000);

		yamlout_text(&b, cases[i].text, strlen(cases[i].text), 4);
		assert_string_equal(buf_str(&b), cases[i].yaml);
		assert_reads_back(cases[i].text, strlen(cases[i].text));
	}
}

/* Texts made of the characters that YAML cares about, from a fixed seed. */
static void any_text_reads_back(void **state)
{
	static const char *const parts[] = {
		"a",        " ", "\n", "\t", ":", "#",    "-",
		"\"",       "'",

		"|",        ">", "1",  ".",  "e", "\r",   "\xc2\x85",
		"\xc3\xa9", "%", "&",  "*",  "!", "?",    ",",
		"[",        "]", "{",  "}",  "~", "\x01", "\xf0\x9f\x98\x80",
		"\n\n",     "  "};
	uint32_t seed = 12345;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(1000);
		unsigned int n;

		seed = seed * 1664525 + 1013904223;
		n = (seed >> 16) % 8;
		buf_addstr(&b, "");
		for (unsigned int k = 0; k < n; k++) {
			seed = seed * 1664525 + 1013904223;
			buf_addstr(&b, parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))]);
		}
		assert_reads_back(buf_str(&b), b.len);
	}
}

static void keys_of_any_length_are_written(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX), key = BUF_INIT(TEXT_MAX);

	(void)state;
	yamlout_key(&b, "a b", 3, 2);
	assert_string_equal(buf_str(&b), "a b:");
	for (int i = 0; i < 2000; i++)
		buf_addch(&key, 'k');
	buf_reset(&b);
	yamlout_key(&b, buf_str(&key), key.len, 2);
	assert_memory_equal(b.data, "? k", 3);
	assert_string_equal(b.data + b.len - 4, "\n  :");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_document_becomes_a_tree),
		cmocka_unit_test(tags_of_the_core_schema_are_plain_data),
		cmocka_unit_test(what_is_not_one_document_is_refused),
		cmocka_unit_test(aliases_share_and_merge_keys_merge),
		cmocka_unit_test(a_byte_order_mark_and_crlf_are_no_content),
		cmocka_unit_test(an_alias_bomb_ends_at_once),
		cmocka_unit_test(depth_is_bounded_through_aliases_too),
		cmocka_unit_test(size_nodes_keys_and_anchors_are_bounded),
		cmocka_unit_test(text_is_taken_for_what_readers_take_it_for),
		cmocka_unit_test(scalars_are_plain_where_all_readers_agree),
		cmocka_unit_test(texts_of_several_lines_are_literal_blocks),
		cmocka_unit_test(any_text_reads_back),
		cmocka_unit_test(keys_of_any_length_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
