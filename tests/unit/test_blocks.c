/*
 * Content through the catalog: every byte of memsource's files is known from its offset.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/blocks.h"
#include "cache/catalog.h"
#include "client/buf.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/memsource.h"

enum { PATIENCE_S = 10, BLOCK = BLOCK_SIZE, OVERHEAD = 4096 };

struct fixture {
	struct memsource *m;
	struct catalog *c;
	struct scope *scope;
	struct context *context;
};

static void load_context(struct fixture *f, const char *uri)
{
	struct version fields = {.env = "a", .version = "1", .context_uri = uri};
	struct version *v = version_new(&fields);
	struct call call;

	assert_non_null(v);
	context_unref(f->context);
	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(catalog_context(f->c, f->scope, v, &call, &f->context, NULL), 0);
	call_destroy(&call);
	version_unref(v);
}

static void open_fixture(struct fixture *f, uint64_t size, size_t content_max)
{
	struct catalog_conf conf = {
		.refresh = NS_PER_S,
		.negative = 3600 * NS_PER_S,
		.request_deadline = PATIENCE_S * NS_PER_S,
		.max_in_flight = 8,
		.content_max = content_max,
	};
	struct scope fields = {.name = "ws"};

	*f = (struct fixture){.m = memsource_new(), .scope = scope_new(&fields)};
	assert_non_null(f->scope);
	memsource_set_file(f->m, "data.bin", size, "\"1\"");
	conf.source = memsource_source(f->m);
	f->c = catalog_new(&conf, NULL);
	assert_non_null(f->c);
	load_context(f, "https://x/1");
}

static void close_fixture(struct fixture *f)
{
	memsource_release(f->m);
	catalog_free(f->c);
	context_unref(f->context);
	scope_unref(f->scope);
	memsource_free(f->m);
}

static int read_into(struct fixture *f, uint64_t offset, size_t len, struct buf *out)
{
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	rc = catalog_read(f->c, f->scope, f->context, &f->context->files[0], offset, len, &call,
			  out, NULL);
	call_destroy(&call);
	return rc;
}

/* Reads and compares: the number of bytes, or an error; -EILSEQ when they are wrong. */
static int read_checked(struct fixture *f, uint64_t offset, size_t len)
{
	struct buf out = BUF_INIT(16 * BLOCK);
	int rc = read_into(f, offset, len, &out);

	for (size_t i = 0; !rc && i < out.len; i++)
		if (out.data[i] != memsource_byte(offset + i))
			rc = -EILSEQ;
	if (!rc)
		rc = (int)out.len;
	buf_free(&out);
	return rc;
}

static unsigned int reads(struct fixture *f)
{
	return memsource_calls(f->m, MEM_READ);
}

static size_t content_bytes(struct fixture *f)
{
	struct catalog_stats stats;

	catalog_get_stats(f->c, &stats);
	return stats.content_bytes;
}

static void a_small_file_is_one_block(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 1000, 64 * BLOCK);
	assert_int_equal(read_checked(&f, 0, 4096), 1000);
	assert_int_equal(read_checked(&f, 0, 10), 10);
	assert_int_equal(read_checked(&f, 999, 10), 1);
	assert_int_equal(read_checked(&f, 1000, 10), 0);
	assert_int_equal(read_checked(&f, UINT64_MAX, SIZE_MAX), 0);
	assert_int_equal(read_checked(&f, 5, 0), 0);
	assert_int_equal(read_checked(&f, 990, SIZE_MAX), 10);
	assert_int_equal(reads(&f), 1);
	assert_in_range(content_bytes(&f), 1000, 1000 + OVERHEAD);
	close_fixture(&f);
}

static void an_empty_file_costs_nothing(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 64 * BLOCK);
	assert_int_equal(read_checked(&f, 0, 4096), 0);
	assert_int_equal(reads(&f), 0);
	close_fixture(&f);
}

static void a_read_across_blocks_is_put_together(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 5 * BLOCK + 17, 64 * BLOCK);
	assert_int_equal(read_checked(&f, BLOCK - 5, 3 * BLOCK), 3 * BLOCK);
	assert_int_equal(read_checked(&f, 0, 16 * BLOCK), 5 * BLOCK + 17);
	assert_int_equal(reads(&f), 6);
	assert_int_equal(read_checked(&f, 5 * BLOCK, BLOCK), 17);
	assert_int_equal(reads(&f), 6);
	close_fixture(&f);
}

struct reader {
	struct fixture *f;
	uint64_t offset;
	size_t len;
	int rc;
	pthread_t thread;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	r->rc = read_checked(r->f, r->offset, r->len);
	return NULL;
}

static void reader_start(struct reader *r, struct fixture *f, uint64_t offset, size_t len)
{
	*r = (struct reader){.f = f, .offset = offset, .len = len};
	assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
}

static int reader_join(struct reader *r)
{
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	return r->rc;
}

static void wait_joined(struct fixture *f, uint64_t n)
{
	const struct timespec tick = {.tv_nsec = NS_PER_MS};
	int64_t until = clock_mono() + PATIENCE_S * NS_PER_S;
	struct catalog_stats stats;

	do {
		nanosleep(&tick, NULL);
		catalog_get_stats(f->c, &stats);
	} while (stats.joined < n && clock_mono() < until);
	assert_int_equal(stats.joined, n);
}

static void two_readers_of_a_block_are_one_request(void **state)
{
	struct reader r[2];
	struct fixture f;

	(void)state;
	open_fixture(&f, 10 * BLOCK, 64 * BLOCK);
	memsource_hold(f.m);
	reader_start(&r[0], &f, 10, 100);
	reader_start(&r[1], &f, 5000, 100);
	wait_joined(&f, 1);
	memsource_release(f.m);
	assert_int_equal(reader_join(&r[0]), 100);
	assert_int_equal(reader_join(&r[1]), 100);
	assert_int_equal(reads(&f), 1);
	close_fixture(&f);
}

static void two_blocks_are_read_at_once(void **state)
{
	struct reader r[2];
	struct fixture f;

	(void)state;
	open_fixture(&f, 10 * BLOCK, 64 * BLOCK);
	memsource_hold(f.m);
	reader_start(&r[0], &f, 10, 100);
	reader_start(&r[1], &f, 5 * BLOCK, 100);
	assert_true(memsource_wait_inside(f.m, 2));
	memsource_release(f.m);
	assert_int_equal(reader_join(&r[0]), 100);
	assert_int_equal(reader_join(&r[1]), 100);
	close_fixture(&f);
}

/* In steps as the kernel makes them; each block is on its way before it is needed. */
static void sequential_reading_fetches_ahead(void **state)
{
	enum { STEP = BLOCK / 8, BLOCKS = 4 };
	struct catalog_stats stats;
	struct fixture f;

	(void)state;
	open_fixture(&f, BLOCKS * BLOCK, 64 * BLOCK);
	assert_int_equal(read_checked(&f, 0, STEP), STEP); /* a look at the beginning only */
	catalog_get_stats(f.c, &stats);
	assert_int_equal(stats.prefetched, 0);
	for (uint64_t at = STEP; at < BLOCKS * BLOCK; at += STEP)
		assert_int_equal(read_checked(&f, at, STEP), STEP);
	catalog_get_stats(f.c, &stats);
	assert_int_equal(stats.prefetched, BLOCKS - 1);
	assert_int_equal(reads(&f), BLOCKS);
	close_fixture(&f);
}

static void jumping_around_fetches_nothing_ahead(void **state)
{
	struct catalog_stats stats;
	struct fixture f;

	(void)state;
	open_fixture(&f, 20 * BLOCK, 64 * BLOCK);
	for (uint64_t i = 3; i < 19; i += 3)
		assert_int_equal(read_checked(&f, i * BLOCK + BLOCK - 100, 100), 100);
	catalog_get_stats(f.c, &stats);
	assert_int_equal(stats.prefetched, 0);
	close_fixture(&f);
}

static void the_least_recently_used_go(void **state)
{
	enum { MAX = 3 * BLOCK + OVERHEAD };
	struct fixture f;

	(void)state;
	open_fixture(&f, 10 * BLOCK, MAX);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(read_checked(&f, i * BLOCK, 10), 10);
	assert_int_equal(read_checked(&f, 0, 10), 10);
	assert_int_equal(reads(&f), 3);
	assert_int_equal(read_checked(&f, 7 * BLOCK, 10), 10); /* for which block 1 has to go */
	assert_in_range(content_bytes(&f), 3 * BLOCK, MAX);
	assert_int_equal(read_checked(&f, 0, 10), 10);
	assert_int_equal(read_checked(&f, 2 * BLOCK, 10), 10);
	assert_int_equal(reads(&f), 4);
	assert_int_equal(read_checked(&f, 1 * BLOCK, 10), 10);
	assert_int_equal(reads(&f), 5);
	assert_in_range(content_bytes(&f), 3 * BLOCK, MAX);
	close_fixture(&f);
}

static void what_never_fits_is_still_read(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 3 * BLOCK, 100);
	assert_int_equal(read_checked(&f, 0, 3 * BLOCK), 3 * BLOCK);
	assert_int_equal(content_bytes(&f), 0);
	close_fixture(&f);
}

static void another_length_than_listed_is_an_error(void **state)
{
	struct buf out = BUF_INIT(BLOCK);
	struct fixture f;

	(void)state;
	open_fixture(&f, 1000, 64 * BLOCK);
	memsource_set_surplus(f.m, -1);
	assert_int_equal(buf_addstr(&out, "kept"), 0);
	assert_int_equal(read_into(&f, 0, 100, &out), -EIO);
	assert_int_equal(out.len, 4);
	buf_free(&out);
	close_fixture(&f);
}

static void errors_are_remembered_and_told(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 1000, 64 * BLOCK);
	memsource_fail(f.m, MEM_READ, -EHOSTUNREACH, "no route");
	assert_int_equal(read_checked(&f, 0, 10), -EHOSTUNREACH);
	assert_int_equal(read_checked(&f, 0, 10), -EHOSTUNREACH);
	assert_int_equal(reads(&f), 1);
	close_fixture(&f);
}

static void another_file_has_other_blocks(void **state)
{
	struct context_file stranger = {.path = "x", .path_len = 1, .size = 1};
	struct buf out = BUF_INIT(BLOCK);
	struct fixture f;
	struct call call;

	(void)state;
	open_fixture(&f, 1000, 64 * BLOCK);
	assert_int_equal(read_checked(&f, 0, 10), 10);
	memsource_set_file(f.m, "data.bin", 1000, "\"2\"");
	load_context(&f, "https://x/1"); /* still the old list: contexts don't change */
	assert_int_equal(read_checked(&f, 0, 10), 10);
	assert_int_equal(reads(&f), 1);
	load_context(&f, "https://x/2");
	assert_int_equal(read_checked(&f, 0, 10), 10);
	assert_int_equal(reads(&f), 2);

	call_init(&call, clock_mono() + PATIENCE_S * NS_PER_S, CALL_INTERACTIVE);
	assert_int_equal(catalog_read(f.c, f.scope, f.context, &stranger, 0, 1, &call, &out, NULL),
			 -EINVAL);
	call_destroy(&call);
	close_fixture(&f);
}

struct crowd {
	struct fixture *f;
	unsigned int seed;
	int bad;
	pthread_t thread;
};

static void *crowd_main(void *arg)
{
	struct crowd *r = arg;

	for (int i = 0; i < 40; i++) {
		uint64_t offset = (uint64_t)rand_r(&r->seed) % (6 * BLOCK);
		size_t len = (size_t)rand_r(&r->seed) % (BLOCK / 4) + 1;

		r->bad += read_checked(r->f, offset, len) < 0;
	}
	return NULL;
}

/* Blocks come, go and are read at once; no byte is wrong. */
static void a_crowd_reads_right_bytes(void **state)
{
	struct crowd crowd[6];
	struct fixture f;

	(void)state;
	open_fixture(&f, 6 * BLOCK, 4 * BLOCK);
	for (unsigned int i = 0; i < 6; i++) {
		crowd[i] = (struct crowd){.f = &f, .seed = i};
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, crowd_main, &crowd[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_int_equal(crowd[i].bad, 0);
	}
	assert_in_range(content_bytes(&f), 0, 4 * BLOCK);
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_file_is_one_block),
		cmocka_unit_test(an_empty_file_costs_nothing),
		cmocka_unit_test(a_read_across_blocks_is_put_together),
		cmocka_unit_test(two_readers_of_a_block_are_one_request),
		cmocka_unit_test(two_blocks_are_read_at_once),
		cmocka_unit_test(sequential_reading_fetches_ahead),
		cmocka_unit_test(jumping_around_fetches_nothing_ahead),
		cmocka_unit_test(the_least_recently_used_go),
		cmocka_unit_test(what_never_fits_is_still_read),
		cmocka_unit_test(another_length_than_listed_is_an_error),
		cmocka_unit_test(errors_are_remembered_and_told),
		cmocka_unit_test(another_file_has_other_blocks),
		cmocka_unit_test(a_crowd_reads_right_bytes),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
