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

static void test_what_is_cached_of_directories(void **state)
{
	struct node_table *t = node_table_new();
	struct scope *s = a_scope();
	struct node *ws = add(t, node_root(t), NODE_SCOPE, "ws", s);
	struct node *env = add(t, ws, NODE_ENV, "e", s);
	struct node *other = add(t, ws, NODE_ENV, "f", s);
	struct node *version = add(t, env, NODE_VERSION, "4", s);
	uint64_t *inos;

	(void)state;
	assert_false(node_unlist(t, env->ino));
	assert_int_equal(node_list(t, env->ino), 1);
	assert_true(node_unlist(t, env->ino));
	assert_int_equal(node_relisted(t, env->ino), 2);
	node_list(t, version->ino);
	node_list(t, other->ino);
	assert_int_equal(node_unlist_below(t, env, &inos), 1);
	assert_int_equal(inos[0], version->ino);
	free(inos);
	/* Who is reading it finds out, although nothing was cached. */
	assert_int_equal(node_relisted(t, env->ino), 3);
	assert_int_equal(node_relisted(t, version->ino), 1);
	assert_true(node_unlist(t, other->ino));
	assert_int_equal(node_relisted(t, 12345), 0);
	assert_false(node_unlist(t, 12345));

	assert_true(node_set_expiry(t, env->ino, 100));
	assert_false(node_set_expiry(t, env->ino, 200));
	assert_int_equal(node_expire(t, env->ino, 100), 200);
	assert_int_equal(node_expire(t, env->ino, 200), 0);
	assert_true(node_set_expiry(t, env->ino, 300));
	assert_false(node_set_expiry(t, 12345, 300));

	assert_int_equal(node_touch(t, env, 5), 0);
	assert_int_equal(node_touch(t, env, 7), 5);
	assert_int_equal(node_touched(t, env), 7);
	assert_true(node_set_stored(t, version));
	assert_false(node_set_stored(t, version));
	scope_unref(s);
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

/* ---- published files that are edited, and drafts ---- */

/* A version's directory with its spec.yml. */
struct published {
	struct node_table *t;
	struct scope *s;
	struct node *ws, *env, *version, *spec;
};

static void publish(struct published *p)
{
	p->t = node_table_new();
	p->s = a_scope();
	p->ws = add(p->t, node_root(p->t), NODE_SCOPE, "ws", p->s);
	p->env = add(p->t, p->ws, NODE_ENV, "e", p->s);
	p->version = add(p->t, p->env, NODE_VERSION, "1", p->s);
	p->spec = node_intern(
		p->t, p->version,
		&(struct node_fields){.kind = NODE_SPEC, .label = "spec.yml", .scope = p->s});
}

static void published_end(struct published *p)
{
	scope_unref(p->s);
	node_table_free(p->t);
}

/* The file of the disk that number tells, at path, as a lookup in the directory finds it. */
static struct node *find_file(struct published *p, struct node *dir, const char *number,
			      const char *path)
{
	return node_intern(
		p->t, dir,
		&(struct node_fields){
			.kind = NODE_LOCAL, .name = number, .scope = p->s, .local = path});
}

static struct node *find_spec(struct published *p)
{
	return node_intern(
		p->t, p->version,
		&(struct node_fields){.kind = NODE_SPEC, .label = "spec.yml", .scope = p->s});
}

static void assert_lies_at(struct published *p, struct node *n, const char *expected)
{
	char *path = node_get_local(p->t, n);

	assert_int_equal(node_is_local(p->t, n), expected != NULL);
	if (expected)
		assert_string_equal(path, expected);
	else
		assert_null(path);
	free(path);
}

/* While it is edited its bytes are a file of the disk, and that file has its number. */
static void test_an_edited_file_keeps_its_number(void **state)
{
	struct published p;
	struct node *found;

	(void)state;
	publish(&p);
	assert_lies_at(&p, p.spec, NULL);
	assert_false(node_was_edited(p.t, p.spec));
	assert_int_equal(node_set_local(p.t, p.spec, "shown/spec.yml", "1-2-3"), 0);
	assert_lies_at(&p, p.spec, "shown/spec.yml");
	assert_true(node_is_file(p.t, p.spec, "1-2-3"));
	assert_false(node_is_file(p.t, p.spec, "1-2-4"));
	/* Found there, or wherever it is moved. */
	assert_ptr_equal(find_file(&p, p.version, "1-2-3", "shown/spec.yml"), p.spec);
	found = find_file(&p, p.env, "1-2-3", "e/spec.yml~");
	assert_ptr_equal(found, p.spec);
	assert_lies_at(&p, p.spec, "e/spec.yml~");
	/* Another file is another one. */
	found = find_file(&p, p.version, "9-9-9", "shown/conda.yml");
	assert_ptr_not_equal(found, p.spec);
	assert_true(node_is_file(p.t, found, "9-9-9"));
	assert_lies_at(&p, found, "shown/conda.yml");
	published_end(&p);
}

/* Moved away: the published file that is seen under the name again is not the one that is edited.
 */
static void test_the_published_file_beside_the_edited_one(void **state)
{
	struct published p;
	struct node *again;

	(void)state;
	publish(&p);
	assert_int_equal(node_set_local(p.t, p.spec, "shown/spec.yml", "1-2-3"), 0);
	again = find_spec(&p);
	assert_ptr_not_equal(again, p.spec);
	assert_int_equal(again->ino, p.spec->ino + 1);
	assert_lies_at(&p, again, NULL);
	published_end(&p);
}

static void test_a_file_that_is_the_published_one_again(void **state)
{
	struct published p;

	(void)state;
	publish(&p);
	assert_int_equal(node_set_local(p.t, p.spec, "shown/spec.yml", "1-2-3"), 0);
	node_clear_local(p.t, "shown/spec");
	node_clear_local(p.t, "shown/spec.yml/x");
	assert_lies_at(&p, p.spec, "shown/spec.yml");
	node_clear_local(p.t, "shown/spec.yml");
	assert_lies_at(&p, p.spec, NULL);
	assert_false(node_is_file(p.t, p.spec, "1-2-3"));
	/* The kernel may have the other bytes still. */
	assert_true(node_was_edited(p.t, p.spec));
	assert_ptr_equal(find_spec(&p), p.spec);
	assert_ptr_not_equal(find_file(&p, p.version, "1-2-3", "shown/spec.yml"), p.spec);
	/* Once more, in another file. */
	assert_int_equal(node_set_local(p.t, p.spec, "shown/spec.yml", "5-6-7"), 0);
	assert_ptr_equal(find_file(&p, p.version, "5-6-7", "shown/spec.yml"), p.spec);
	published_end(&p);
}

static void test_another_file_takes_the_place_of_the_edited_one(void **state)
{
	struct published p;

	(void)state;
	publish(&p);
	assert_int_equal(node_set_local(p.t, p.spec, "shown/spec.yml", "1-2-3"), 0);
	assert_int_equal(node_set_local(p.t, p.spec, "edit/spec.yml", "4-5-6"), 0);
	assert_lies_at(&p, p.spec, "edit/spec.yml");
	assert_false(node_is_file(p.t, p.spec, "1-2-3"));
	assert_ptr_equal(find_file(&p, p.version, "4-5-6", "edit/spec.yml"), p.spec);
	assert_ptr_not_equal(find_file(&p, p.version, "1-2-3", "x"), p.spec);
	node_clear_local(p.t, "shown/spec.yml");
	assert_lies_at(&p, p.spec, "edit/spec.yml");
	published_end(&p);
}

/* A file that goes on the disk stays what it is to who has it open. */
static void test_a_file_of_the_disk_is_not_cleared(void **state)
{
	struct published p;
	struct node *scratch;

	(void)state;
	publish(&p);
	scratch = find_file(&p, p.version, "1-1-1", ".scratch/x");
	node_clear_local(p.t, ".scratch/x");
	assert_lies_at(&p, scratch, ".scratch/x");
	published_end(&p);
}

static void test_moves_take_along_what_is_below(void **state)
{
	struct published p;
	struct node *dir, *below, *beside;

	(void)state;
	publish(&p);
	dir = find_file(&p, p.env, "1-1-1", "e/.next");
	below = find_file(&p, dir, "1-1-2", "e/.next/context/a");
	beside = find_file(&p, p.env, "1-1-3", "e/.next2");
	assert_int_equal(node_set_local(p.t, p.spec, "e/.next/spec.yml", "1-1-4"), 0);
	node_moved_local(p.t, "e/.next", "e/4");
	assert_lies_at(&p, dir, "e/4");
	assert_lies_at(&p, below, "e/4/context/a");
	assert_lies_at(&p, p.spec, "e/4/spec.yml");
	assert_lies_at(&p, beside, "e/.next2");
	node_moved_local(p.t, "e/4/context/a", "e/b");
	assert_lies_at(&p, below, "e/b");
	assert_lies_at(&p, dir, "e/4");
	published_end(&p);
}

/* A forgotten node is in no list any more. */
static void test_forgotten_files_are_not_found(void **state)
{
	struct published p;
	struct node *first, *second, *third;

	(void)state;
	publish(&p);
	first = find_file(&p, p.version, "1", "a");
	second = find_file(&p, p.version, "2", "b");
	third = find_file(&p, p.version, "3", "c");
	assert_int_equal(node_set_local(p.t, p.spec, "d", "4"), 0);
	node_forget(p.t, second->ino, 1);
	node_forget(p.t, p.spec->ino, 1);
	node_moved_local(p.t, "a", "x/a");
	node_moved_local(p.t, "d", "x/d");
	node_clear_local(p.t, "d");
	assert_lies_at(&p, first, "x/a");
	assert_lies_at(&p, third, "c");
	node_forget(p.t, first->ino, 1);
	node_forget(p.t, third->ino, 1);
	assert_int_equal(node_count(p.t), 3);
	published_end(&p);
}

/* ---- drafts that became versions ---- */

static void test_a_draft_is_its_version_from_then_on(void **state)
{
	struct published p;
	struct node *draft, *held;
	uint64_t ino;

	(void)state;
	publish(&p);
	draft = find_file(&p, p.env, "1-1-1", "e/1");
	ino = draft->ino;
	node_set_forward(p.t, draft, p.version);
	assert_ptr_equal(node_get(p.t, ino), p.version);
	/* Whoever holds it itself has it itself. */
	held = node_hold(p.t, ino);
	assert_ptr_equal(held, draft);
	node_put(p.t, held);
	/* The version lives as long as somebody has the draft. */
	node_forget(p.t, p.spec->ino, 1);
	node_forget(p.t, p.version->ino, 1);
	assert_ptr_equal(node_get(p.t, ino), p.version);
	node_forget(p.t, ino, 1);
	assert_null(node_get(p.t, ino));
	assert_int_equal(node_count(p.t), 2);
	published_end(&p);
}

/* Whichever is forgotten first, and with the directory they lie in, all of it goes. */
static void test_all_of_it_is_forgotten(void **state)
{
	for (int order = 0; order < 2; order++) {
		struct published p;
		struct node *draft;
		uint64_t inos[2];

		(void)state;
		publish(&p);
		draft = find_file(&p, p.env, "1-1-1", "e/1");
		inos[order] = draft->ino;
		inos[1 - order] = p.version->ino;
		node_set_forward(p.t, draft, p.version);
		node_forget(p.t, p.spec->ino, 1);
		node_forget(p.t, p.env->ino, 1);
		node_forget(p.t, p.ws->ino, 1);
		node_forget(p.t, inos[0], 1);
		node_forget(p.t, inos[1], 1);
		assert_int_equal(node_count(p.t), 0);
		published_end(&p);
	}
}

static void test_nothing_is_forwarded_in_a_circle(void **state)
{
	struct published p;
	struct node *draft, *other;
	uint64_t ino;

	(void)state;
	publish(&p);
	draft = find_file(&p, p.env, "1-1-1", "e/1");
	other = find_file(&p, p.env, "1-1-2", "e/2");
	ino = other->ino;
	node_set_forward(p.t, draft, draft);
	assert_ptr_equal(node_get(p.t, draft->ino), draft);
	node_set_forward(p.t, draft, p.version);
	node_set_forward(p.t, draft, other); /* it has become something */
	assert_ptr_equal(node_get(p.t, draft->ino), p.version);
	node_set_forward(p.t, p.version, draft); /* that is none any more */
	assert_ptr_equal(node_get(p.t, p.version->ino), p.version);
	node_forget(p.t, ino, 1);
	assert_null(node_get(p.t, ino));
	published_end(&p);
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
		cmocka_unit_test(test_what_is_cached_of_directories),
		cmocka_unit_test(test_a_forward_and_its_target_end_together),
		cmocka_unit_test(test_an_edited_file_keeps_its_number),
		cmocka_unit_test(test_the_published_file_beside_the_edited_one),
		cmocka_unit_test(test_a_file_that_is_the_published_one_again),
		cmocka_unit_test(test_another_file_takes_the_place_of_the_edited_one),
		cmocka_unit_test(test_a_file_of_the_disk_is_not_cleared),
		cmocka_unit_test(test_moves_take_along_what_is_below),
		cmocka_unit_test(test_forgotten_files_are_not_found),
		cmocka_unit_test(test_a_draft_is_its_version_from_then_on),
		cmocka_unit_test(test_all_of_it_is_forgotten),
		cmocka_unit_test(test_nothing_is_forwarded_in_a_circle),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
