/* cache/record: records as bytes and back, and bytes that are none. */
#include "cache/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset.h"

enum { MUTATIONS = 20000, BYTES_MAX = 1024 * 1024 };

static const struct kv tags[] = {{"team", "ml"}, {"empty", ""}, {"null", NULL}};
static const struct kv properties[] = {{"p", "q"}};

static const struct version full_version = {
	.id = "/subscriptions/s/versions/1",
	.env = "env",
	.version = "1",
	.description = "two\nlines",
	.tags = tags,
	.n_tags = 3,
	.properties = properties,
	.n_properties = 1,
	.image = "registry.example/i:1",
	.conda = "{\"name\":\"c\"}",
	.context_uri = "https://x/c/",
	.dockerfile_path = "a/Dockerfile",
	.os_type = "windows",
	.stage = "Production",
	.environment_type = "Curated",
	.provisioning_state = "Succeeded",
	.auto_rebuild = "OnBaseImageUpdate",
	.created_by = "me",
	.modified_by = "you",
	.liveness = {"/live", 1},
	.readiness = {"/ready", 2},
	.scoring = {"/score", 65535},
	.startup = {NULL, -1},
	.anonymous = true,
	.archived = true,
	.created = INT64_MAX,
	.modified = INT64_MIN,
};

static const struct env full_env = {
	.name = "env",
	.description = "d",
	.tags = tags,
	.n_tags = 3,
	.latest_version = "9",
	.next_version = "10",
	.archived = true,
	.created = 5,
	.modified = 6,
};

static const struct scope full_scope = {
	.kind = SCOPE_REGISTRY,
	.name = "r",
	.subscription = "s",
	.resource_group = "g",
	.location = "l",
	.guid = "u",
	.base_url = "https://b",
	.discovery_url = "https://d",
	.writable = true,
	.created = 1,
	.modified = 2,
};

static const struct context_file files[] = {
	{.path = "a/b", .path_len = 3, .size = 7, .modified = 9, .etag = "\"1\"", .md5 = "m"},
	{.path = "c\0d", .path_len = 3, .size = INT64_MAX},
};
static const struct context full_context = {
	.uri = "https://x/c/",
	.note = "n",
	.files = files,
	.n_files = 2,
};

static void *full_record(enum record_kind kind)
{
	switch (kind) {
	case RECORD_SCOPE:
		return scope_new(&full_scope);
	case RECORD_ENV:
		return env_new(&full_env);
	case RECORD_VERSION:
		return version_new(&full_version);
	default:
		return context_new(&full_context);
	}
}

static void encode(enum record_kind kind, const void *record, struct buf *out)
{
	assert_int_equal(record_encode(kind, record, out), 0);
}

static void everything_comes_back(void **state)
{
	struct version *v, plain = {.env = "e", .version = "v"};
	struct context *c;
	struct scope *s;
	struct env *e;

	(void)state;
	for (enum record_kind kind = 0; kind < RECORD_KINDS; kind++) {
		_cleanup_buf_ struct buf bytes = BUF_INIT(BYTES_MAX);
		_cleanup_buf_ struct buf again = BUF_INIT(BYTES_MAX);
		void *record = full_record(kind), *back;

		encode(kind, record, &bytes);
		assert_int_equal(record_decode(kind, bytes.data, bytes.len, &back), 0);
		encode(kind, back, &again);
		assert_int_equal(again.len, bytes.len);
		assert_memory_equal(again.data, bytes.data, bytes.len);
		s = back;
		e = back;
		v = back;
		c = back;
		if (kind == RECORD_SCOPE)
			assert_true(scope_equal(s, record));
		else if (kind == RECORD_ENV)
			assert_true(env_equal(e, record));
		else if (kind == RECORD_VERSION)
			assert_true(version_equal(v, record));
		else
			assert_memory_equal(c->files[1].path, "c\0d", 3);
		record_unref(kind, back);
		record_unref(kind, record);
	}
	{
		_cleanup_buf_ struct buf bytes = BUF_INIT(BYTES_MAX);
		void *back;

		encode(RECORD_VERSION, &plain, &bytes);
		assert_int_equal(record_decode(RECORD_VERSION, bytes.data, bytes.len, &back), 0);
		v = back;
		assert_null(v->description);
		assert_int_equal(v->n_tags, 0);
		version_unref(v);
	}
}

/* Memory of its exact size, so that a sanitizer sees a byte too far. */
static int decode_exact(enum record_kind kind, const char *bytes, size_t len, void **out)
{
	char *copy = malloc(len ? len : 1);
	int rc;

	if (len)
		memcpy(copy, bytes, len);
	rc = record_decode(kind, copy, len, out);
	free(copy);
	return rc;
}

static void parts_are_no_record(void **state)
{
	(void)state;
	for (enum record_kind kind = 0; kind < RECORD_KINDS; kind++) {
		_cleanup_buf_ struct buf bytes = BUF_INIT(BYTES_MAX);
		void *record = full_record(kind), *back;

		encode(kind, record, &bytes);
		for (size_t len = 0; len < bytes.len; len++) {
			assert_int_equal(decode_exact(kind, bytes.data, len, &back), -EBADMSG);
			assert_null(back);
		}
		assert_int_equal(buf_addch(&bytes, 0), 0);
		assert_int_equal(decode_exact(kind, bytes.data, bytes.len, &back), -EBADMSG);
		record_unref(kind, record);
	}
}

static void names_are_needed(void **state)
{
	const struct version v = {.env = "e"}, w = {.version = "1"};
	const struct env e = {.description = "d"};
	const struct scope s = {.kind = SCOPE_WORKSPACE};
	const struct {
		enum record_kind kind;
		const void *record;
	} nameless[] = {
		{RECORD_VERSION, &v}, {RECORD_VERSION, &w}, {RECORD_ENV, &e}, {RECORD_SCOPE, &s}};

	(void)state;
	for (size_t i = 0; i < sizeof(nameless) / sizeof(*nameless); i++) {
		_cleanup_buf_ struct buf bytes = BUF_INIT(BYTES_MAX);
		void *back;

		encode(nameless[i].kind, nameless[i].record, &bytes);
		assert_int_equal(decode_exact(nameless[i].kind, bytes.data, bytes.len, &back),
				 -EBADMSG);
	}
}

/* Whatever is on the disk: a record, or none; never anything else. */
static void changed_bytes_do_no_harm(void **state)
{
	unsigned int seed = 1;

	(void)state;
	for (enum record_kind kind = 0; kind < RECORD_KINDS; kind++) {
		_cleanup_buf_ struct buf bytes = BUF_INIT(BYTES_MAX);
		void *record = full_record(kind), *back;

		encode(kind, record, &bytes);
		for (int i = 0; i < MUTATIONS; i++) {
			_cleanup_buf_ struct buf odd = BUF_INIT(BYTES_MAX);

			assert_int_equal(buf_add(&odd, bytes.data, bytes.len), 0);
			for (int k = rand_r(&seed) % 4; k >= 0; k--)
				odd.data[(size_t)rand_r(&seed) % odd.len] = (char)rand_r(&seed);
			if (!decode_exact(kind, odd.data, odd.len, &back))
				record_unref(kind, back);
		}
		record_unref(kind, record);
	}
}

static void a_claim_of_many_files_costs_nothing(void **state)
{
	const char bytes[] = "\0\0\0\0\0\0\0\0\xff\xff\xff\xff";
	void *back;

	(void)state;
	assert_int_equal(decode_exact(RECORD_CONTEXT, bytes, sizeof(bytes) - 1, &back), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_back),
		cmocka_unit_test(parts_are_no_record),
		cmocka_unit_test(names_are_needed),
		cmocka_unit_test(changed_bytes_do_no_harm),
		cmocka_unit_test(a_claim_of_many_files_costs_nothing),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
