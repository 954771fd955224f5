/* fs/spec_patch: other names in a spec.yml, with everything else as it was written. */
#include "fs/spec_patch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "client/cleanup.h"
#include "fs/spec.h"

enum { TEXT_MAX = 64 * 1024 };

/* The name becomes env, the version 12. expected NULL: it can't be done in its line. */
static void patch(const char *text, const char *expected)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	_cleanup_buf_ struct buf again = BUF_INIT(TEXT_MAX);
	int rc = spec_patch(text, strlen(text), "env", "12", true, &out);

	if (rc != (expected ? 0 : -EBADMSG))
		fail_msg("%d of:\n%s", rc, text);
	if (!expected) {
		assert_int_equal(out.len, 0);
		return;
	}
	assert_string_equal(buf_str(&out), expected);
	/* What says that already is not touched. */
	assert_int_equal(spec_patch(expected, strlen(expected), "env", "12", true, &again), 0);
	assert_string_equal(buf_str(&again), expected);
}

static void test_both_are_replaced(void **state)
{
	(void)state;
	patch("name: old\nversion: \"1\"\nimage: i\n", "name: env\nversion: \"12\"\nimage: i\n");
	/* In any order and any place. */
	patch("image: i\nversion: 1\ntags: {a: b}\nname: old\n",
	      "image: i\nversion: \"12\"\ntags: {a: b}\nname: env\n");
	/* Without a line end. */
	patch("version: 1\nname: old", "version: \"12\"\nname: env");
	/* Longer and shorter ones. */
	patch("name: a\nversion: 2024-01-01.1\n", "name: env\nversion: \"12\"\n");
}

static void test_one_that_is_right_stays_as_it_is(void **state)
{
	(void)state;
	patch("name: 'env' # mine\nversion: 12\n", "name: 'env' # mine\nversion: 12\n");
	patch("name: \"env\"\nversion: 7 # mine\n", "name: \"env\"\nversion: \"12\" # mine\n");
	patch("name: old\nversion: '12'\n", "name: env\nversion: '12'\n");
}

static void test_comments_and_spaces_stay(void **state)
{
	(void)state;
	patch("# top\n\nname:   old   # the name\n# between\nversion:\t1 # v\n\n\nimage: i  \n# "
	      "end\n",
	      "# top\n\nname:   env   # the name\n# between\nversion:\t\"12\" # v\n\n\nimage: i  \n"
	      "# end\n");
	patch("\"name\": old\n'version' : 1\n", "\"name\": env\n'version' : \"12\"\n");
	patch("name: old\t# n\nversion: 1 \t#\n", "name: env\t# n\nversion: \"12\" \t#\n");
	patch("name: old#1\nversion: 1#2 #3\n", "name: env\nversion: \"12\" #3\n");
	patch("---\nname: old\nversion: 1\n...\n", "---\nname: env\nversion: \"12\"\n...\n");
}

static void test_quoted_values(void **state)
{
	(void)state;
	patch("name: 'old' # n\nversion: \"1\" # v\n", "name: env # n\nversion: \"12\" # v\n");
	patch("name: \"a # b\"\nversion: '1: 2'\n", "name: env\nversion: \"12\"\n");
	patch("name: \"\"\nversion: ''\n", "name: env\nversion: \"12\"\n");
	/* In a form that no name needs. */
	patch("name: \"o\\x6cd\"\nversion: 1\n", NULL);
	patch("name: 'it''s'\nversion: 1\n", NULL);
	patch("name: \"o\n  ld\"\nversion: 1\n", NULL);
}

static void test_values_that_are_no_plain_text(void **state)
{
	static const char *const texts[] = {
		"name: |\n  old\nversion: 1\n",
		"name: >-\n  old\nversion: 1\n",
		"name: &anchor old\nversion: 1\n",
		"tags: {a: &x old}\nname: *x\nversion: 1\n",
		"name: !!str old\nversion: 1\n",
		"name: [old]\nversion: 1\n",
		"name: {a: b}\nversion: 1\n",
		"name: old\nversion:\n  a: b\n",
		"name: old\n  and more\nversion: 1\n",
		"name:\nversion: 1\n",
		"name: # nothing\nversion: 1\n",
		"name:\n  old\nversion: 1\n",
		"? name\n: old\nversion: 1\n",
		"? [a, b]\n: c\nname: old\nversion: 1\n",
		"{name: old, version: 1}\n",
		"[name, version]\n",
		"name\n",
		"",
		"name: [old\n",
		"a: b: c\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
		struct spec *spec;

		/* It can't be done, or it was: there is nothing in between. */
		if (spec_patch(texts[i], strlen(texts[i]), "env", "12", true, &out)) {
			assert_int_equal(out.len, 0);
			continue;
		}
		buf_addstr(&out, "\nimage: i\n");
		if (spec_parse(buf_str(&out), out.len, &spec, NULL))
			fail_msg("%s", buf_str(&out));
		assert_string_equal(spec->name, "env");
		assert_string_equal(spec->version, "12");
		spec_free(spec);
	}
}

/* Columns count characters, bytes are what is cut. */
static void test_text_that_is_not_ascii(void **state)
{
	(void)state;
	patch("# \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\nname: old # \xc3\xa4\nversion: 1\n",
	      "# \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\nname: env # \xc3\xa4\nversion: \"12\"\n");
	patch("\"n\\u0061me\": old\nversion: 1\n", "\"n\\u0061me\": env\nversion: \"12\"\n");
	patch("name: \xc3\xa4lt\nversion: \xe2\x82\xac\n", "name: env\nversion: \"12\"\n");
	patch("name: \"\xf0\x9f\x98\x80 x\" # y\nversion: 1\n", "name: env # y\nversion: \"12\"\n");
	/* A byte order mark is no character. */
	patch("\xef\xbb\xbfname: old\nversion: 1\n", "\xef\xbb\xbfname: env\nversion: \"12\"\n");
}

/* Keys of the same line, with characters of several bytes before them. */
static void test_characters_before_the_value(void **state)
{
	(void)state;
	patch("{description: \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80, name: old, version: 1}\n", NULL);
	patch("? \xc3\xa4\n: 1\nname: old\nversion: 1\n",
	      "? \xc3\xa4\n: 1\nname: env\nversion: \"12\"\n");
}

static void test_other_line_ends(void **state)
{
	(void)state;
	patch("name: old\r\nversion: 1\r\nimage: i\r\n",
	      "name: env\r\nversion: \"12\"\r\nimage: i\r\n");
	patch("# c\r\nname: \"old\" # c\r\nversion: '1'\r\n",
	      "# c\r\nname: env # c\r\nversion: \"12\"\r\n");
}

/* A name that is missing gets a line of its own before the first key. */
static void test_names_that_are_missing(void **state)
{
	(void)state;
	patch("image: i\n", "name: env\nversion: \"12\"\nimage: i\n");
	patch("# c\n\nname: old\nimage: i\n", "# c\n\nversion: \"12\"\nname: env\nimage: i\n");
	patch("version: 1\nimage: i\n", "name: env\nversion: \"12\"\nimage: i\n");
	patch("---\nimage: i\n", "---\nname: env\nversion: \"12\"\nimage: i\n");
	patch("--- # c\nimage: i\n", "--- # c\nname: env\nversion: \"12\"\nimage: i\n");
	/* Only the keys of the whole count. */
	patch("tags:\n  name: x\n  version: y\nimage: i\n",
	      "name: env\nversion: \"12\"\ntags:\n  name: x\n  version: y\nimage: i\n");
	/* There is no line for them. */
	patch("{image: i}\n", NULL);
	patch("  image: i\n", NULL);
	patch("--- {image: i}\n", NULL);
}

/* A text that nobody edited gets only what it needs to be complete: a name, and then a version. */
static void test_a_version_that_nobody_needs(void **state)
{
	static const struct {
		const char *text, *expected;
	} texts[] = {
		{"name: old\nimage: i\n", "name: env\nimage: i\n"},
		{"name: old\nversion: 1\n", "name: env\nversion: \"12\"\n"},
		{"image: i\n", "name: env\nversion: \"12\"\nimage: i\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);

		assert_int_equal(
			spec_patch(texts[i].text, strlen(texts[i].text), "env", "12", false, &out),
			0);
		assert_string_equal(buf_str(&out), texts[i].expected);
	}
}

/* With the line end that the text has. */
static void test_a_line_that_is_added_ends_as_others(void **state)
{
	(void)state;
	patch("# c\r\nname: old\r\nimage: i\r\n",
	      "# c\r\nversion: \"12\"\r\nname: env\r\nimage: i\r\n");
	patch("\xef\xbb\xbfimage: i\n", "\xef\xbb\xbfname: env\nversion: \"12\"\nimage: i\n");
}

/* Where it ends with an error nothing is there, and the buffer's own bound is one. */
static void test_what_does_not_fit(void **state)
{
	static const char text[] = "name: old\nversion: 1\n";
	_cleanup_buf_ struct buf out = BUF_INIT(10);

	(void)state;
	assert_int_equal(spec_patch(text, sizeof(text) - 1, "env", "12", true, &out), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_are_replaced),
		cmocka_unit_test(test_one_that_is_right_stays_as_it_is),
		cmocka_unit_test(test_comments_and_spaces_stay),
		cmocka_unit_test(test_quoted_values),
		cmocka_unit_test(test_values_that_are_no_plain_text),
		cmocka_unit_test(test_text_that_is_not_ascii),
		cmocka_unit_test(test_characters_before_the_value),
		cmocka_unit_test(test_other_line_ends),
		cmocka_unit_test(test_names_that_are_missing),
		cmocka_unit_test(test_a_version_that_nobody_needs),
		cmocka_unit_test(test_a_line_that_is_added_ends_as_others),
		cmocka_unit_test(test_what_does_not_fit),
	};

	return cmocka_run_group_tests_name("spec_patch", tests, NULL, NULL);
}
