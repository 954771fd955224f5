/* fs/rendered: the texts that were rendered last. */
#include "fs/rendered.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/render.h"

static struct version *make(int number)
{
	char image[32];

	snprintf(image, sizeof(image), "registry/image:%d", number);
	return version_new(&(struct version){.env = "e",
					     .version = "1",
					     .image = image,
					     .conda = "{\"dependencies\": [\"python=3.11\"]}"});
}

static void assert_rendered(struct rendered *r, struct version *v, enum node_kind kind)
{
	struct buf text = BUF_INIT(RENDER_MAX), expected = BUF_INIT(RENDER_MAX);

	assert_int_equal(render_file(v, kind, &expected), 0);
	assert_int_equal(buf_addstr(&text, "before"), 0);
	assert_int_equal(rendered_file(r, v, kind, &text), 0);
	assert_int_equal(text.len, expected.len + 6);
	assert_memory_equal(text.data + 6, expected.data, expected.len);
	buf_free(&text);
	buf_free(&expected);
}

static void test_what_was_rendered_last_is_kept(void **state)
{
	struct rendered *r = rendered_new();
	struct version *v = make(1);
	struct buf first = BUF_INIT(RENDER_MAX), again = BUF_INIT(RENDER_MAX);

	(void)state;
	assert_int_equal(rendered_file(r, v, NODE_SPEC, &first), 0);
	/* No record changes; this one does, to show where the text is from. */
	((char *)(uintptr_t)v->image)[0] = 'X';
	assert_int_equal(rendered_file(r, v, NODE_SPEC, &again), 0);
	assert_string_equal(buf_str(&again), buf_str(&first));
	buf_reset(&again);
	assert_int_equal(rendered_file(NULL, v, NODE_SPEC, &again), 0);
	assert_string_not_equal(buf_str(&again), buf_str(&first));
	buf_free(&first);
	buf_free(&again);
	version_unref(v);
	rendered_free(r);
}

static void test_every_text_is_its_own(void **state)
{
	struct rendered *r = rendered_new();
	struct version *v[3 * RENDERED_KEPT];
	const size_t n = sizeof(v) / sizeof(*v);

	(void)state;
	for (size_t i = 0; i < n; i++)
		v[i] = make((int)i);
	for (size_t i = 0; i < 4 * n; i++) {
		assert_rendered(r, v[i * i % n], NODE_SPEC);
		assert_rendered(r, v[i * i % n], NODE_CONDA);
	}
	for (size_t i = 0; i < n; i++)
		version_unref(v[i]);
	rendered_free(r);
}

static void test_a_long_text_is_not_kept(void **state)
{
	struct rendered *r = rendered_new();
	char *words = malloc(2 * RENDERED_TEXT_MAX);
	struct version *v;

	(void)state;
	memset(words, 'w', 2 * RENDERED_TEXT_MAX);
	words[2 * RENDERED_TEXT_MAX - 1] = '\0';
	v = version_new(
		&(struct version){.env = "e", .version = "1", .image = "i", .description = words});
	assert_rendered(r, v, NODE_SPEC);
	((char *)(uintptr_t)v->description)[0] = 'X';
	assert_rendered(r, v, NODE_SPEC);
	version_unref(v);
	free(words);
	rendered_free(r);
}

static void test_the_size(void **state)
{
	struct rendered *r = rendered_new();
	struct node_table *t = node_table_new();
	struct version *v = make(1), *other = make(1234);
	const struct node_fields fields = {.kind = NODE_VERSION, .name = "1", .version = v};
	struct node *n = node_intern(t, node_root(t), &fields);
	struct buf text = BUF_INIT(RENDER_MAX);
	int64_t size, longer;

	(void)state;
	assert_int_equal(rendered_file(NULL, v, NODE_SPEC, &text), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rendered_size(r, t, n, v, NODE_SPEC, &size), 0);
		assert_int_equal(size, text.len);
	}
	assert_int_equal(rendered_size(r, t, n, other, NODE_SPEC, &longer), 0);
	assert_int_equal(longer, size + 3);
	buf_free(&text);
	version_unref(v);
	version_unref(other);
	node_table_free(t);
	rendered_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_rendered_last_is_kept),
		cmocka_unit_test(test_every_text_is_its_own),
		cmocka_unit_test(test_a_long_text_is_not_kept),
		cmocka_unit_test(test_the_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
