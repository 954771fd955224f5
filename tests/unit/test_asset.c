/* Records: copied whole, shared by reference, compared by content; lists sorted and without
 * doubles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset.h"

static struct version *make(const char *name, int64_t created)
{
	const struct version v = {.env = "e", .version = name, .created = created};

	return version_new(&v);
}

static void a_record_owns_copies_of_its_texts(void **state)
{
	char name[] = "env", key[] = "k", value[] = "v", path[] = "/p";
	struct kv tags[] = {{key, value}, {"null", NULL}};
	const struct version fields = {
		.env = name,
		.version = "1",
		.tags = tags,
		.n_tags = 2,
		.properties = tags,
		.n_properties = 1,
		.liveness = {.path = path, .port = 80},
	};
	struct version *v = version_new(&fields);

	(void)state;
	memset(name, 'x', 3);
	memset(key, 'x', 1);
	memset(path, 'x', 2);
	memset(tags, 0, sizeof(tags));
	assert_string_equal(v->env, "env");
	assert_string_equal(v->tags[0].key, "k");
	assert_null(v->tags[1].value);
	assert_string_equal(v->properties[0].value, "v");
	assert_string_equal(v->liveness.path, "/p");
	assert_null(v->description);
	version_unref(v);
	version_unref(NULL);
	assert_null(version_ref(NULL));
}

static void a_context_owns_its_files_sorted(void **state)
{
	struct context_file files[] = {
		{.path = "b", .path_len = 1, .etag = "e2"},
		{.path = "a\0b", .path_len = 3, .size = 7, .md5 = "m"},
		{.path = "a", .path_len = 1},
		{.path = "a/b", .path_len = 3},
	};
	const struct context fields = {.uri = "u", .files = files, .n_files = 4};
	struct context *c = context_new(&fields);

	(void)state;
	memset(files, 0, sizeof(files));
	assert_int_equal(c->n_files, 4);
	assert_int_equal(c->files[0].path_len, 1);
	assert_memory_equal(c->files[1].path, "a\0b", 4);
	assert_string_equal(c->files[1].md5, "m");
	assert_string_equal(c->files[2].path, "a/b");
	assert_string_equal(c->files[3].etag, "e2");
	assert_string_equal(c->uri, "u");
	assert_null(c->note);
	context_unref(context_ref(c));
	context_unref(c);
}

static void lists_are_sorted_without_doubles(void **state)
{
	struct version *items[] = {make("2", 1), make("10", 2), make("1", 3), make("2", 4)};
	struct version_list *l = version_list_take(items, 4);

	(void)state;
	assert_int_equal(l->count, 3);
	assert_string_equal(l->items[0]->version, "1");
	assert_string_equal(l->items[1]->version, "10");
	assert_string_equal(l->items[2]->version, "2");
	assert_ptr_equal(version_list_find(l, "10"), l->items[1]);
	assert_null(version_list_find(l, "3"));
	version_list_unref(version_list_ref(l));
	version_list_unref(l);
	l = version_list_take(NULL, 0);
	assert_int_equal(l->count, 0);
	assert_null(version_list_find(l, "1"));
	assert_null(version_list_latest(l));
	version_list_unref(l);
}

static void scopes_of_one_name_in_two_groups_both_stay(void **state)
{
	const struct scope fields[] = {
		{.name = "ws", .resource_group = "b", .kind = SCOPE_WORKSPACE},
		{.name = "ws", .resource_group = "a", .kind = SCOPE_WORKSPACE},
		{.name = "ws", .resource_group = "a", .kind = SCOPE_WORKSPACE},
		{.name = "ws", .kind = SCOPE_REGISTRY},
	};
	struct scope *items[4];
	struct scope_list *l;

	(void)state;
	for (int i = 0; i < 4; i++)
		items[i] = scope_new(&fields[i]);
	l = scope_list_take(items, 4);
	assert_int_equal(l->count, 3);
	assert_string_equal(scope_list_find(l, "ws")->resource_group, "a");
	assert_null(scope_list_find(l, "no"));
	scope_list_unref(l);
}

static void latest_is_the_newest_that_is_not_archived(void **state)
{
	const struct version archived = {
		.env = "e", .version = "99", .created = 100, .archived = true};
	struct version *items[] = {make("9", 5), make("10", 5), make("foo", 4),
				   version_new(&archived)};
	struct version_list *l = version_list_take(items, 4);

	(void)state;
	assert_string_equal(version_list_latest(l)->version, "10");
	version_list_unref(l);
}

static void version_names_sort_numbers_by_value(void **state)
{
	static const char *const order[] = {
		"1", "2", "10", "0010", "99999999999999999999999", "2022-09-14", "a", "b"};

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		for (size_t k = 0; k < 8; k++) {
			int c = version_name_compare(order[i], order[k]);

			/* "10" and "0010" are the same number; some fixed order is enough. */
			if (i / 2 == 1 && k / 2 == 1)
				assert_int_equal(c == 0, i == k);
			else
				assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
		}
	}
}

static void content_is_compared_without_names_and_times(void **state)
{
	const struct kv ab[] = {{"a", "1"}, {"b", NULL}}, ba[] = {{"b", NULL}, {"a", "1"}};
	struct version a = {.env = "e", .version = "1", .tags = ab, .n_tags = 2, .image = "i"};
	struct version b = {.env = "f", .version = "2", .tags = ba, .n_tags = 2, .image = "i"};

	(void)state;
	b.created = 7;
	b.os_type = "linux";
	b.dockerfile_path = "Dockerfile";
	assert_true(version_same_content(&a, &b));
	assert_false(version_equal(&a, &b));
	assert_true(version_equal(&a, &a));
	b.os_type = "windows";
	assert_false(version_same_content(&a, &b));
	b.os_type = NULL;
	b.startup = (struct route){"/s", 80};
	assert_false(version_same_content(&a, &b));
	b.startup = a.startup;
	b.n_tags = 1;
	assert_false(version_same_content(&a, &b));
}

static void environments_and_scopes_are_compared(void **state)
{
	const struct env a = {.name = "e", .latest_version = "1"};
	struct env b = {.name = "e", .latest_version = "1"};
	const struct scope s = {.name = "s"};
	struct scope t = {.name = "s"};

	(void)state;
	assert_true(env_equal(&a, &b));
	b.latest_version = "2";
	assert_false(env_equal(&a, &b));
	assert_true(scope_equal(&s, &t));
	t.writable = true;
	assert_false(scope_equal(&s, &t));
}

static void kinds_and_contexts_are_told_apart(void **state)
{
	static const struct {
		const char *uri;
		bool files;
	} cases[] = {
		{"https://a.blob.core.windows.net/c/LocalUpload/x/", true},
		{"http://127.0.0.1:1/a/c/x/", true},
		{"https://git.example.test/team/repo.git#main:docker", false},
		{"https://git.example.test/team/repo.git", false},
		{"git@git.example.test:team/repo", false},
		{"", false},
	};
	struct version v = {.env = "e", .version = "1"};
	bool found;

	(void)state;
	assert_int_equal(version_kind(&v), VERSION_EMPTY);
	assert_false(version_context_has_files(&v));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		v.context_uri = cases[i].uri;
		assert_int_equal(version_context_has_files(&v), cases[i].files);
	}
	assert_int_equal(version_kind(&v), VERSION_BUILD);
	assert_string_equal(version_dockerfile_path(&v), "Dockerfile");
	v.context_uri = NULL;
	v.image = "i";
	assert_int_equal(version_kind(&v), VERSION_IMAGE);
	v.tags = &(const struct kv){"k", NULL};
	v.n_tags = 1;
	assert_null(version_tag(&v, "k", &found));
	assert_true(found);
	assert_null(version_tag(&v, "z", &found));
	assert_false(found);
}

static void *ref_and_unref(void *arg)
{
	for (int i = 0; i < 20000; i++)
		version_unref(version_ref(arg));
	version_unref(arg);
	return NULL;
}

static void threads_share_a_record(void **state)
{
	struct version *v = make("1", 1);
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, version_ref(v)),
				 0);
	version_unref(v);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_owns_copies_of_its_texts),
		cmocka_unit_test(a_context_owns_its_files_sorted),
		cmocka_unit_test(lists_are_sorted_without_doubles),
		cmocka_unit_test(scopes_of_one_name_in_two_groups_both_stay),
		cmocka_unit_test(latest_is_the_newest_that_is_not_archived),
		cmocka_unit_test(version_names_sort_numbers_by_value),
		cmocka_unit_test(content_is_compared_without_names_and_times),
		cmocka_unit_test(environments_and_scopes_are_compared),
		cmocka_unit_test(kinds_and_contexts_are_told_apart),
		cmocka_unit_test(threads_share_a_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
