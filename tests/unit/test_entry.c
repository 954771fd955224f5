/*
 * The state table at the top of cache/entry.c, row by row. Snapshots are numbers that count their
 * references, so that none is lost or kept on the way.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cache/entry.h"

enum { REFRESH = 100, NEGATIVE = 10, SNAPSHOTS = 2 };

struct number {
	int refs;
};

static void *number_ref(void *p)
{
	((struct number *)p)->refs++;
	return p;
}

static void number_unref(void *p)
{
	((struct number *)p)->refs--;
}

static const struct entry_type ages = {.ref = number_ref, .unref = number_unref};
static const struct entry_type forever = {
	.ref = number_ref,
	.unref = number_unref,
	.forever = true,
};

/* What happens, in the words of the table. A flight begins in epoch `asked`. */
enum event {
	END,
	BEGIN,      /* a reader has to ask: a flight is under way */
	ANSWER,     /* the flight brings snapshot 0 */
	OTHER,      /* the flight brings snapshot 1 */
	FAIL,       /* the service fails */
	GONE,       /* -ENOENT */
	DENIED,     /* -EACCES */
	CANCELLED,  /* -ECANCELED */
	NO_MEMORY,  /* -ENOMEM */
	TIME,       /* `refresh` passes */
	MOMENT,     /* `negative` passes */
	EXPIRE,     /* all is invalidated */
	INVALIDATE, /* this one is invalidated */
	LATE,       /* snapshot 1, asked for in epoch 0, before all the others */
	LATE_FAIL,  /* a failure of epoch 0 */
};

struct row {
	const char *name;
	enum event events[8];
	enum entry_state state;
	enum entry_verdict verdict;
	int snapshot; /* the number of the one that is there; -1: none */
};

static const struct row rows[] = {
	{"absent", {END}, ENTRY_ABSENT, ENTRY_ASK, -1},
	{"absent, read", {BEGIN}, ENTRY_FETCHING, ENTRY_ASK, -1},
	{"fetching, read", {BEGIN, BEGIN}, ENTRY_FETCHING, ENTRY_ASK, -1},
	{"fetching, answer", {BEGIN, ANSWER}, ENTRY_FRESH, ENTRY_USE, 0},
	{"fetching, answer, expired since", {BEGIN, EXPIRE, ANSWER}, ENTRY_OLD, ENTRY_ASK, 0},
	{"fetching, answer, invalidated since",
	 {BEGIN, INVALIDATE, ANSWER},
	 ENTRY_OLD,
	 ENTRY_ASK,
	 0},
	{"fetching, failure, a snapshot",
	 {BEGIN, ANSWER, TIME, BEGIN, FAIL},
	 ENTRY_FAILED,
	 ENTRY_USE_STALE,
	 0},
	{"fetching, failure, none", {BEGIN, FAIL}, ENTRY_FAILED, ENTRY_REFUSE, -1},
	{"fetching, -ENOENT", {BEGIN, ANSWER, TIME, BEGIN, GONE}, ENTRY_FAILED, ENTRY_REFUSE, -1},
	{"fetching, another error",
	 {BEGIN, ANSWER, TIME, BEGIN, DENIED},
	 ENTRY_FAILED,
	 ENTRY_REFUSE,
	 0},
	{"fetching, cancelled", {BEGIN, CANCELLED}, ENTRY_ABSENT, ENTRY_ASK, -1},
	{"fetching, cancelled, a snapshot",
	 {BEGIN, ANSWER, TIME, BEGIN, CANCELLED},
	 ENTRY_OLD,
	 ENTRY_ASK,
	 0},
	{"fetching, no memory", {BEGIN, NO_MEMORY}, ENTRY_ABSENT, ENTRY_ASK, -1},
	{"fetching, invalidated", {BEGIN, INVALIDATE}, ENTRY_FETCHING, ENTRY_ASK, -1},
	{"fresh, read", {BEGIN, ANSWER, MOMENT}, ENTRY_FRESH, ENTRY_USE, 0},
	{"fresh, time passes", {BEGIN, ANSWER, TIME}, ENTRY_OLD, ENTRY_ASK, 0},
	{"fresh, expired", {BEGIN, ANSWER, EXPIRE}, ENTRY_OLD, ENTRY_ASK, 0},
	{"fresh, invalidated", {BEGIN, ANSWER, INVALIDATE}, ENTRY_OLD, ENTRY_ASK, 0},
	{"old, read", {BEGIN, ANSWER, TIME, BEGIN}, ENTRY_FETCHING, ENTRY_ASK, 0},
	{"old, another answer", {BEGIN, ANSWER, TIME, BEGIN, OTHER}, ENTRY_FRESH, ENTRY_USE, 1},
	{"old, the same answer", {BEGIN, ANSWER, TIME, BEGIN, ANSWER}, ENTRY_FRESH, ENTRY_USE, 0},
	{"failed, time passes", {BEGIN, FAIL, MOMENT}, ENTRY_ABSENT, ENTRY_ASK, -1},
	{"failed, time passes, a snapshot",
	 {BEGIN, ANSWER, TIME, BEGIN, FAIL, MOMENT},
	 ENTRY_OLD,
	 ENTRY_ASK,
	 0},
	{"failed, expired", {BEGIN, FAIL, EXPIRE}, ENTRY_ABSENT, ENTRY_ASK, -1},
	{"failed, invalidated, a snapshot",
	 {BEGIN, ANSWER, TIME, BEGIN, FAIL, INVALIDATE},
	 ENTRY_OLD,
	 ENTRY_ASK,
	 0},
	{"failed, a late answer", {BEGIN, FAIL, ANSWER}, ENTRY_FRESH, ENTRY_USE, 0},
	{"an older answer", {BEGIN, ANSWER, LATE}, ENTRY_FRESH, ENTRY_USE, 0},
	{"an older failure", {BEGIN, ANSWER, LATE_FAIL}, ENTRY_FRESH, ENTRY_USE, 0},
};

struct walk {
	struct entry *entry;
	struct entry_time time;
	uint64_t epoch;
	uint64_t asked;
	struct number numbers[SNAPSHOTS];
};

static void answer(struct walk *w, uint64_t asked, int number)
{
	void *old;

	w->entry->fetch = NULL;
	(void)entry_store(w->entry, asked, &w->numbers[number], &w->time, &old);
	if (old)
		number_unref(old);
}

static void failure(struct walk *w, uint64_t asked, int code)
{
	void *old;

	w->entry->fetch = NULL;
	(void)entry_fail(w->entry, asked, code, "text", &w->time, &old);
	if (old)
		number_unref(old);
}

static void step_time(struct walk *w, enum event event)
{
	switch (event) {
	case TIME:
		w->time.now += REFRESH;
		break;
	case MOMENT:
		w->time.now += NEGATIVE;
		break;
	case EXPIRE:
		w->time.floor = ++w->epoch;
		break;
	default:
		entry_invalidate(w->entry, ++w->epoch);
	}
}

static void step(struct walk *w, enum event event)
{
	static const int codes[] = {
		[FAIL] = -EHOSTUNREACH,   [GONE] = -ENOENT,      [DENIED] = -EACCES,
		[CANCELLED] = -ECANCELED, [NO_MEMORY] = -ENOMEM,
	};

	switch (event) {
	case BEGIN:
		w->asked = w->epoch;
		w->entry->fetch = (struct fetch *)w;
		break;
	case ANSWER:
		answer(w, w->asked, 0);
		break;
	case OTHER:
		answer(w, w->asked, 1);
		break;
	case LATE:
		answer(w, 0, 1);
		break;
	case LATE_FAIL:
		failure(w, 0, -EHOSTUNREACH);
		break;
	case TIME:
	case MOMENT:
	case EXPIRE:
	case INVALIDATE:
		step_time(w, event);
		break;
	default:
		failure(w, w->asked, codes[event]);
	}
}

static void walk_init(struct walk *w, const struct entry_type *type)
{
	*w = (struct walk){
		.entry = entry_new(type),
		.time = {.now = 1000, .refresh = REFRESH, .negative = NEGATIVE},
		.epoch = 1,
	};
	assert_non_null(w->entry);
}

static void walk_end(struct walk *w)
{
	struct entry *trash = NULL;

	entry_drop(w->entry, &trash);
	entry_trash_free(trash);
	for (int i = 0; i < SNAPSHOTS; i++)
		assert_int_equal(w->numbers[i].refs, 0);
}

static void the_table_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct walk w;
		void *expected;

		walk_init(&w, &ages);
		for (const enum event *e = row->events; *e != END; e++)
			step(&w, *e);
		expected = row->snapshot < 0 ? NULL : &w.numbers[row->snapshot];
		if (entry_state(w.entry, &w.time) != row->state ||
		    entry_read(w.entry, &w.time) != row->verdict || w.entry->snapshot != expected)
			fail_msg("row \"%s\": state %d, verdict %d", row->name,
				 (int)entry_state(w.entry, &w.time),
				 (int)entry_read(w.entry, &w.time));
		walk_end(&w);
	}
}

static void only_failures_of_the_service_allow_old_snapshots(void **state)
{
	static const int failures[] = {-ETIMEDOUT, -EHOSTUNREACH, -EBUSY, -EIO, -EBADMSG, -EFBIG};
	static const int answers[] = {0,       -ENOENT, -EACCES, -ECANCELED,
				      -ENOMEM, -EINVAL, -EROFS,  -EEXIST};

	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		assert_true(entry_error_is_failure(failures[i]));
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		assert_false(entry_error_is_failure(answers[i]));
}

static void what_is_named_by_its_content_stays(void **state)
{
	struct walk w;

	(void)state;
	walk_init(&w, &forever);
	step(&w, BEGIN);
	step(&w, ANSWER);
	step(&w, TIME);
	step(&w, EXPIRE);
	assert_int_equal(entry_state(w.entry, &w.time), ENTRY_FRESH);
	walk_end(&w);
}

/* A change made here: as fresh as what was there, and not undone by an answer from before. */
static void an_amended_snapshot_is_as_fresh_as_before(void **state)
{
	struct walk w;

	(void)state;
	for (int expired = 0; expired < 2; expired++) {
		walk_init(&w, &ages);
		step(&w, BEGIN);
		step(&w, ANSWER);
		if (expired)
			step(&w, EXPIRE);
		step(&w, BEGIN);
		w.epoch++;
		number_unref(entry_amend(w.entry, w.epoch++, number_ref(&w.numbers[1]), &w.time));
		assert_int_equal(entry_read(w.entry, &w.time), expired ? ENTRY_ASK : ENTRY_USE);
		step(&w, ANSWER); /* asked for before */
		assert_ptr_equal(w.entry->snapshot, &w.numbers[1]);
		step(&w, BEGIN);
		step(&w, ANSWER);
		assert_ptr_equal(w.entry->snapshot, &w.numbers[0]);
		assert_int_equal(entry_read(w.entry, &w.time), ENTRY_USE);
		walk_end(&w);
	}
}

static void a_dead_entry_keeps_nothing(void **state)
{
	struct entry *trash = NULL;
	struct walk w;

	(void)state;
	walk_init(&w, &ages);
	entry_ref(w.entry);
	entry_drop(w.entry, &trash);
	assert_null(trash);
	step(&w, BEGIN);
	step(&w, ANSWER);
	assert_null(w.entry->snapshot);
	step(&w, FAIL);
	assert_int_equal(w.entry->error, 0);
	walk_end(&w);
}

static void useless_is_what_says_nothing(void **state)
{
	struct walk w;

	(void)state;
	walk_init(&w, &ages);
	assert_false(entry_is_useful(w.entry, &w.time));
	step(&w, BEGIN);
	assert_true(entry_is_useful(w.entry, &w.time));
	step(&w, GONE);
	assert_true(entry_is_useful(w.entry, &w.time));
	step(&w, MOMENT);
	assert_false(entry_is_useful(w.entry, &w.time));
	step(&w, ANSWER);
	assert_true(entry_is_useful(w.entry, &w.time));
	walk_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_holds),
		cmocka_unit_test(only_failures_of_the_service_allow_old_snapshots),
		cmocka_unit_test(what_is_named_by_its_content_stays),
		cmocka_unit_test(an_amended_snapshot_is_as_fresh_as_before),
		cmocka_unit_test(a_dead_entry_keeps_nothing),
		cmocka_unit_test(useless_is_what_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
