/* Conda specifications: what the service makes of them, and what conda.yml shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/conda.h"

enum { TEXT_MAX = 16 * 1024 * 1024 };

typedef int convert_fn(const char *text, size_t len, struct buf *out, struct err *e);

static char *convert(convert_fn *fn, const char *text)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	struct err e = ERR_INIT;

	if (fn(text, strlen(text), &b, &e))
		fail_msg("%s in: %s", e.msg, text);
	return buf_steal(&b, NULL);
}

/* What holds for every specification: both directions are idempotent and lose nothing. */
static void assert_stable(const char *text)
{
	_cleanup_free_ char *json = convert(conda_to_json, text);
	_cleanup_free_ char *yaml = convert(conda_render, text);
	_cleanup_free_ char *json_json = convert(conda_to_json, json);
	_cleanup_free_ char *yaml_json = convert(conda_to_json, yaml);
	_cleanup_free_ char *yaml_yaml = convert(conda_render, yaml);
	_cleanup_free_ char *json_yaml = convert(conda_render, json);

	assert_string_equal(json, json_json);
	assert_string_equal(json, yaml_json);
	assert_string_equal(yaml, yaml_yaml);
	assert_string_equal(yaml, json_yaml);
	assert_int_equal(conda_same(text, strlen(text), json, strlen(json), NULL), 1);
}

static void assert_json(const char *text, const char *expected)
{
	_cleanup_free_ char *json = convert(conda_to_json, text);

	assert_string_equal(json, expected);
	assert_stable(text);
}

static void assert_yaml(const char *text, const char *expected)
{
	_cleanup_free_ char *yaml = convert(conda_render, text);

	assert_string_equal(yaml, expected);
	assert_stable(text);
}

/* The request and the answer of the recorded exchange 02_put_version_201. */
static void the_recorded_exchange_is_reproduced(void **state)
{
	static const char sent[] = "channels:\n- conda-forge\ndependencies:\n- python=3.8\n- pip\n"
				   "- pip:\n  - nbgitpuller\n  - sphinx-gallery\n  - pandas\n"
				   "  - matplotlib\nname: example-environment\n";
	static const char answered[] =
		"{\n  \"channels\": [\n    \"conda-forge\"\n  ],\n  \"dependencies\": [\n"
		"    \"python=3.8\",\n    \"pip\",\n    {\n      \"pip\": [\n"
		"        \"nbgitpuller\",\n        \"sphinx-gallery\",\n        \"pandas\",\n"
		"        \"matplotlib\"\n      ]\n    }\n  ],\n"
		"  \"name\": \"example-environment\"\n}";

	(void)state;
	assert_json(sent, answered);
	assert_yaml(answered,
		    "channels:\n  - conda-forge\ndependencies:\n  - python=3.8\n  - pip\n  - pip:\n"
		    "      - nbgitpuller\n      - sphinx-gallery\n      - pandas\n"
		    "      - matplotlib\nname: example-environment\n");
}

static void scalars_stay_text(void **state)
{
	(void)state;
	assert_json("a: 3.10\nb: yes\nc: 0755\nd: 1e3\ne: 2024-01-31\nf: 1_000\ng: 0x1F\n",
		    "{\n  \"a\": \"3.10\",\n  \"b\": \"yes\",\n  \"c\": \"0755\",\n"
		    "  \"d\": \"1e3\",\n  \"e\": \"2024-01-31\",\n  \"f\": \"1_000\",\n"
		    "  \"g\": \"0x1F\"\n}");
	assert_yaml("a: 3.10\nb: yes\nc: 0755\nd: text\n",
		    "a: \"3.10\"\nb: \"yes\"\nc: \"0755\"\nd: text\n");
	assert_json("a: 1234567890123456\nb: -0\nc: +5\nd: 007\n",
		    "{\n  \"a\": \"1234567890123456\",\n  \"b\": \"-0\",\n  \"c\": \"+5\",\n"
		    "  \"d\": \"007\"\n}");
}

static void what_all_readers_agree_on_is_typed(void **state)
{
	(void)state;
	assert_json("a: ~\nb:\nc: True\nd: false\ne: 12\nf: -3\ng: 0\n",
		    "{\n  \"a\": null,\n  \"b\": null,\n  \"c\": true,\n  \"d\": false,\n"
		    "  \"e\": 12,\n  \"f\": -3,\n  \"g\": 0\n}");
	assert_json("a: '~'\nb: ''\nc: \"true\"\nd: '12'\n1: x\n",
		    "{\n  \"a\": \"~\",\n  \"b\": \"\",\n  \"c\": \"true\",\n  \"d\": \"12\",\n"
		    "  \"1\": \"x\"\n}");
	assert_yaml("{\"a\": null, \"b\": \"null\", \"c\": 12, \"d\": \"12\", \"e\": true}",
		    "a: null\nb: \"null\"\nc: 12\nd: \"12\"\ne: true\n");
}

static void shapes_are_kept(void **state)
{
	(void)state;
	assert_json("{}", "{}");
	assert_yaml("{}", "{}\n");
	assert_yaml("a: []\nb: {}\nc: [[], {}, [x, [z]]]\nd: [{e: f, g: [h]}]\n",
		    "a: []\nb: {}\nc:\n  - []\n  - {}\n  - - x\n    - - z\nd:\n  - e: f\n    g:\n"
		    "      - h\n");
	assert_stable("a: |\n  x\n  y\nb: \"x\\ny\"\nc: [\"p\\n\\nq\\n\", \" lead\\nline\"]\n");
	assert_stable("a: &x [1, b]\nc: *x\nd: {<<: {e: f}}\n");
	assert_stable("'': empty key\n\"a: b\": c\n? |\n  x\n  y\n: z\n");
}

static void json_text_is_read_as_json(void **state)
{
	(void)state;
	assert_yaml("{\"a\":\"\\ud83d\\ude00 \\u00e9 \\/ \\\\ud83d \\\"\"}",
		    "a: \xf0\x9f\x98\x80 \xc3\xa9 / \\ud83d \"\n");
	assert_json("\n{\"a\": \"\x7f\", \"b\": \"\\u0001\\b\\f\\t\"}\n",
		    "{\n  \"a\": \"\\u007f\",\n  \"b\": \"\\u0001\\b\\f\\t\"\n}");
	assert_stable("{\"a\":3.10,\"b\":1e5,\"c\":-0.5,\"d\":[true,null]}");
	assert_stable("{\"\\ud83d\\ude00\": \"\xc2\x85 \xe2\x80\xa8\"}");
}

static void order_of_keys_says_nothing_order_of_items_does(void **state)
{
	static const struct {
		const char *a, *b;
		int same;
	} cases[] = {
		{"a: 1\nb: 2\n", "{\"b\": 2, \"a\": 1}", 1},
		{"a: 1\n", "a: '1'\n", 0},
		{"a: ~\n", "a: null\n", 1},
		{"a: ~\n", "a: 'null'\n", 0},
		{"a: [x, y]\n", "a: [y, x]\n", 0},
		{"a: [x]\n", "a: [x, x]\n", 0},
		{"a: x\n", "b: x\n", 0},
		{"a: 3.10\n", "a: '3.10'\n", 1},
		{"a: 3.10\n", "a: 3.1\n", 0},
		{"a: {}\n", "a: []\n", 0},
		{"a: # note\n - 'x'\n", "{a: [x]}", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(conda_same(cases[i].a, strlen(cases[i].a), cases[i].b,
					    strlen(cases[i].b), NULL),
				 cases[i].same);
	assert_int_equal(conda_same("a: 1", 4, "[", 1, NULL), -EBADMSG);
}

static void what_is_no_specification_is_refused(void **state)
{
	static const char *const bad[] = {"",     "text", "- a\n",    "a: [b\n", "a: 1\na: 2\n",
					  "null", "{",    "a: !!x y", "[]"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
		struct err e = ERR_INIT;

		assert_int_equal(conda_to_json(bad[i], strlen(bad[i]), &b, &e), -EBADMSG);
		assert_int_equal(strncmp(e.msg, "line ", 5), 0);
		assert_int_equal(conda_render(bad[i], strlen(bad[i]), &b, &e), -EBADMSG);
	}
}

static void output_is_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(5);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(conda_to_json("a: bcdef", 8, &b, &e), -EFBIG);
	buf_reset(&b);
	assert_int_equal(conda_render("a: bcdef", 8, &b, &e), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_recorded_exchange_is_reproduced),
		cmocka_unit_test(scalars_stay_text),
		cmocka_unit_test(what_all_readers_agree_on_is_typed),
		cmocka_unit_test(shapes_are_kept),
		cmocka_unit_test(json_text_is_read_as_json),
		cmocka_unit_test(order_of_keys_says_nothing_order_of_items_does),
		cmocka_unit_test(what_is_no_specification_is_refused),
		cmocka_unit_test(output_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
