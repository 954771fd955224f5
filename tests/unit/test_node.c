/* fs/node: inode numbers and lifetimes. */
#include "fs/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct scope *a_scope(void)
{
	return scope_new(&(struct scope){.name = "ws"});
}

static struct node *add(struct node_table *t, struct node *parent, enum node_kind kind,
			const char *name, struct scope *s)
{
	return node_intern(t, parent,
			   &(struct node_fields){.kind = kind, .name = name, .scope = s});
}

static void test_numbers_are_the_same_every_time(void **state)
{
	uint64_t ws = node_number(1, NODE_SCOPE, "ws\nrg\nsub");

	(void)state;
	assert_int_equal(ws, node_number(1, NODE_SCOPE, "ws\nrg\nsub"));
	assert_true(ws != node_number(1, NODE_ENV, "ws\nrg\nsub"));
	assert_true(ws != node_number(2, NODE_SCOPE, "ws\nrg\nsub"));
	/* Backups know files by their number: it must not change from release to release. */
	assert_int_equal(node_number(1, NODE_SCOPE, "x"), UINT64_C(2191518895826223854));
}

static void test_forget_frees_children_and_parents(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *ws = add(t, node_root(t), NODE_SCOPE, "ws", s);
	struct node *env = add(t, ws, NODE_ENV, "e", s);
	uint64_t ws_ino = ws->ino, env_ino = env->ino;

	(void)state;
	assert_int_equal(node_count(t), 2);
	/* The parent is forgotten first: its child keeps it. */
	node_forget(t, ws_ino, 1);
	assert_ptr_equal(node_get(t, ws_ino), ws);
	node_forget(t, env_ino, 1);
	assert_null(node_get(t, env_ino));
	assert_null(node_get(t, ws_ino));
	assert_int_equal(node_count(t), 0);
	scope_unref(s);
	node_table_free(t);
}

static void test_lookups_are_counted(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *n = add(t, node_root(t), NODE_SCOPE, "ws", s);
	uint64_t ino = n->ino;

	(void)state;
	assert_ptr_equal(add(t, node_root(t), NODE_SCOPE, "ws", s), n);
	node_forget(t, ino, 1);
	assert_ptr_equal(node_get(t, ino), n);
	assert_ptr_equal(node_hold(t, ino), n);
	node_forget(t, ino, 5); /* more than there are: a kernel's lie does no harm */
	assert_ptr_equal(node_get(t, ino), n);
	node_put(t, n);
	assert_null(node_get(t, ino));
	node_forget(t, 1, 1000);
	assert_non_null(node_get(t, 1));
	scope_unref(s);
	node_table_free(t);
}

/* A number that is taken by another asset goes to neither of them twice. */
static void test_collision(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *a =
		node_intern(t, node_root(t),
			    &(struct node_fields){
				    .kind = NODE_SCOPE, .name = "a", .label = "same", .scope = s});
	struct node *b =
		node_intern(t, node_root(t),
			    &(struct node_fields){
				    .kind = NODE_SCOPE, .name = "b", .label = "same", .scope = s});

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_int_equal(b->ino, a->ino + 1);
	assert_ptr_equal(node_get(t, b->ino), b);
	scope_unref(s);
	node_table_free(t);
}

static void test_records_are_replaced(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct version *v1 = version_new(&(struct version){.env = "e", .version = "1"});
	struct version *v2 =
		version_new(&(struct version){.env = "e", .version = "1", .description = "d"});
	struct node *ws = add(t, node_root(t), NODE_SCOPE, "ws", s);
	struct node *n =
		node_intern(t, ws,
			    &(struct node_fields){
				    .kind = NODE_VERSION, .name = "1", .scope = s, .version = v1});
	struct version *got;

	(void)state;
	assert_ptr_equal(
		n,
		node_intern(t, ws,
			    &(struct node_fields){
				    .kind = NODE_VERSION, .name = "1", .scope = s, .version = v2}));
	got = node_get_version(t, n);
	assert_ptr_equal(got, v2);
	version_unref(got);
	/* Sizes know their record by its address, which the next one may get. */
	node_set_sizes(t, n, &(struct node_sizes){v2, 1, 2, 3});
	node_set_version(t, n, v2);
	assert_ptr_equal(node_get_sizes(t, n).of, v2);
	node_set_version(t, n, v1);
	assert_null(node_get_sizes(t, n).of);
	got = node_get_version(t, n);
	assert_ptr_equal(got, v1);
	version_unref(got);
	version_unref(v1);
	version_unref(v2);
	scope_unref(s);
	node_table_free(t);
}

static void test_an_older_listing_is_not_trusted(void **state)
{
	struct node_table *t = node_table_new();
	struct node *n = node_root(t);

	(void)state;
	assert_false(node_swap_listed(t, n, 7));
	assert_true(node_swap_listed(t, n, 7));
	node_unlist(t, n, 7);
	assert_true(node_swap_listed(t, n, 7));
	node_unlist(t, n, 6);
	assert_false(node_swap_listed(t, n, 7));
	assert_true(node_swap_listed(t, n, 7));
	node_table_free(t);
}

static void test_a_forward_and_its_target_end_together(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *ws = add(t, node_root(t), NODE_SCOPE, "ws", s);
	struct node *env = add(t, ws, NODE_ENV, "e", s);
	struct node *draft = add(t, env, NODE_LOCAL, "1-2-3", s);
	struct node *version = add(t, env, NODE_VERSION, "4", s);
	uint64_t draft_ino = draft->ino;

	(void)state;
	node_set_forward(t, draft, version);
	assert_ptr_equal(node_get(t, draft_ino), version);
	/* The draft is the last that keeps all of them. */
	node_forget(t, version->ino, 1);
	node_forget(t, env->ino, 1);
	node_forget(t, ws->ino, 1);
	assert_int_equal(node_count(t), 4);
	node_forget(t, draft_ino, 1);
	assert_int_equal(node_count(t), 0);
	scope_unref(s);
	node_table_free(t);
}

static void test_many(void **state)
{
	enum { MANY = 20000 };
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *ws = add(t, node_root(t), NODE_SCOPE, "ws", s);
	char name[32];
	uint64_t *dirs;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "e%d", i);
		assert_non_null(add(t, ws, NODE_ENV, name, s));
	}
	assert_int_equal(node_count(t), MANY + 1);
	assert_int_equal(node_list_mutable(t, &dirs), MANY + 2);
	free(dirs);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "e%d", i);
		node_forget(t, node_number(ws->ino, NODE_ENV, name), 1);
	}
	assert_int_equal(node_count(t), 1);
	scope_unref(s);
	node_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_the_same_every_time),
		cmocka_unit_test(test_forget_frees_children_and_parents),
		cmocka_unit_test(test_lookups_are_counted),
		cmocka_unit_test(test_collision),
		cmocka_unit_test(test_records_are_replaced),
		cmocka_unit_test(test_an_older_listing_is_not_trusted),
		cmocka_unit_test(test_a_forward_and_its_target_end_together),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
