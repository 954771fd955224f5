/* The small modules that everything stands on: buf, err, redact, clock, log, utf8, nearest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/clock.h"
#include "client/err.h"
#include "client/log.h"
#include "client/redact.h"
#include "client/utf8.h"
#include "client/nearest.h"

/* ---- buf ---- */

static void buf_appends_and_terminates(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100);

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_addstr(&b, "abc"), 0);
	assert_int_equal(buf_addch(&b, '-'), 0);
	assert_int_equal(buf_addf(&b, "%d/%s", 42, "x"), 0);
	assert_int_equal(buf_add(&b, "\0z", 2), 0);
	assert_int_equal(b.len, 10);
	assert_memory_equal(b.data, "abc-42/x\0z", 11);
}

static void buf_failure_sticks_at_the_bound(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(5);

	(void)state;
	assert_int_equal(buf_addstr(&b, "12345"), 0);
	assert_int_equal(buf_addch(&b, '6'), -EFBIG);
	assert_int_equal(buf_addf(&b, "%d", 7), -EFBIG);
	assert_int_equal(buf_add(&b, "", 0), -EFBIG);
	assert_int_equal(buf_error(&b), -EFBIG);
	assert_string_equal(buf_str(&b), "12345");
	assert_null(buf_steal(&b, NULL));
	buf_reset(&b);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_addstr(&b, "1234567"), -EFBIG);
	assert_int_equal(b.len, 0);
}

static void buf_hands_its_memory_over(void **state)
{
	struct buf b = BUF_INIT(10);
	size_t len = 99;
	char *text = buf_steal(&b, &len);

	(void)state;
	assert_string_equal(text, "");
	assert_int_equal(len, 0);
	free(text);
	buf_addstr(&b, "again");
	text = buf_steal(&b, &len);
	assert_string_equal(text, "again");
	assert_int_equal(len, 5);
	assert_null(b.data);
	free(text);
	buf_addstr(&b, "secret");
	buf_wipe(&b);
	assert_null(b.data);
}

/* ---- err ---- */

static void err_keeps_code_and_text(void **state)
{
	struct err e = ERR_INIT;
	char longer[2 * ERR_MSG_MAX];

	(void)state;
	assert_string_equal(err_text(&e, -ENOENT), strerror(ENOENT));
	assert_string_equal(err_text(NULL, -EIO), strerror(EIO));
	assert_int_equal(err_set(&e, -EBADMSG, "line %d", 7), -EBADMSG);
	assert_string_equal(err_text(&e, -EIO), "line 7");
	assert_int_equal(err_prefix(&e, -EBADMSG, "%s: ", "spec.yml"), -EBADMSG);
	assert_string_equal(e.msg, "spec.yml: line 7");
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_prefix(NULL, -EIO, "x"), -EIO);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	err_set(&e, -EIO, "%s", longer);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	err_prefix(&e, -EIO, "p: ");
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	err_clear(&e);
	err_clear(NULL);
	assert_int_equal(e.code, 0);
	assert_int_equal(err_prefix(&e, -EIO, "reading: "), -EIO);
	assert_non_null(strstr(e.msg, strerror(EIO)));
}

static void err_texts_are_redacted(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EIO, "GET https://h/c?sv=1&sig=abc%%2Fdef&se=2");
	assert_null(strstr(e.msg, "abc"));
	assert_non_null(strstr(e.msg, "&se=2"));
}

/* ---- redact ---- */

static void redact_masks_every_kind_of_secret(void **state)
{
	static const char *const texts[] = {
		"?sig=S3cret&x=1",
		"?SIG=S3cret",
		"Authorization: Bearer S3cret",
		"authorization: bearer S3cret.a-b_c",
		"SharedKey S3cret:S3cret",
		"{\"access_token\": \"S3cret\"}",
		"refresh_token=S3cret&y",
		"client_secret='S3cret'",
		"{\"sasToken\":\"S3cret\"}",
		"{\"key\":\"S3cret==\"}",
		"client_assertion=S3cret.S3cret",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char text[128];

		snprintf(text, sizeof(text), "%s", texts[i]);
		redact(text);
		if (strstr(text, "S3cret"))
			fail_msg("%s", text);
		assert_int_equal(strlen(text), strlen(texts[i]));
	}
}

static void redact_leaves_other_text(void **state)
{
	char text[] = "design=x; signature of the bearer; key: value, tokens";
	char end[] = "ends with sig=";

	(void)state;
	redact(text);
	assert_non_null(strstr(text, "key: value, tokens"));
	redact(end);
	assert_string_equal(end, "ends with sig=");
}

/* ---- clock ---- */

static void clock_reads_the_times_of_arm(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} times[] = {
		{"2022-09-16T02:50:45.0191406+00:00", INT64_C(1663296645019140600)},
		{"2022-09-16T02:50:45.019Z", INT64_C(1663296645019000000)},
		{"2022-09-16T02:50:45Z", INT64_C(1663296645000000000)},
		{"2022-09-16T02:50:45", INT64_C(1663296645000000000)},
		{"2022-09-16T04:50:45+02:00", INT64_C(1663296645000000000)},
		{"2022-09-15T21:20:45-05:30", INT64_C(1663296645000000000)},
		{"2020-01-01T12:34:56.999+00:40", INT64_C(1577879696999000000)},
		{"2022-09-16T02:50:45.0191406999999Z", INT64_C(1663296645019140699)},
		{"1970-01-01T00:00:00Z", 0},
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		assert_int_equal(clock_parse_iso(times[i].text, &ns), 0);
		assert_true(ns == times[i].ns);
	}
}

static void clock_refuses_what_is_no_time(void **state)
{
	static const char *const texts[] = {
		"",
		"now",
		"2022-09-16",
		"2022-09-16T02:50",
		"2022-13-16T02:50:45Z",
		"2022-09-16T02:50:45X",
		"2022-09-16T02:50:45+2",
		"2022-09-16T02:50:45+25:00",
		"2022-09-16T02:50:45Zx",
		"9999-12-31T23:59:59Z",
		"0001-01-01T00:00:00Z",
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		ns = 1;
		assert_int_equal(clock_parse_iso(texts[i], &ns), -EINVAL);
		assert_true(ns == 0);
	}
}

static void clock_writes_what_it_reads(void **state)
{
	char text[CLOCK_ISO_SIZE];
	int64_t ns, wall = clock_wall() / 100 * 100;

	(void)state;
	clock_format_iso(INT64_C(1663296645019140600), text);
	assert_string_equal(text, "2022-09-16T02:50:45.0191406+00:00");
	clock_format_iso(wall, text);
	assert_int_equal(clock_parse_iso(text, &ns), 0);
	assert_true(ns == wall);
	clock_format_iso(-1, text);
	assert_string_equal(text, "1969-12-31T23:59:59.9999999+00:00");
	assert_true(clock_mono() <= clock_mono());
}

/* ---- log ---- */

static size_t read_log(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	return (size_t)n;
}

static void log_writes_one_redacted_line(void **state)
{
	static char text[1024 * 1024];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	log_set_fd(fds[1]);
	log_set_level(LOG_LEVEL_INFO);
	log_debug("unseen");
	log_info("op=get url=%s\nsecond", "https://h/?sig=S3cret");
	read_log(fds[0], text, sizeof(text));
	assert_null(strstr(text, "unseen"));
	assert_null(strstr(text, "S3cret"));
	assert_non_null(strstr(text, " info op=get"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	log_set_level(LOG_LEVEL_DEBUG);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	log_debug("seen");
	read_log(fds[0], text, sizeof(text));
	assert_non_null(strstr(text, "debug seen"));
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
	close(fds[0]);
	close(fds[1]);
}

static void log_limits_a_flood(void **state)
{
	char path[] = "/tmp/mlenvfs-log-XXXXXX";
	static char text[1024 * 1024];
	int fd = mkstemp(path), lines = 0;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	log_set_fd(fd);
	for (int i = 0; i < 20 * LOG_BURST; i++)
		log_warn("flood %d", i);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	read_log(fd, text, sizeof(text));
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	/* Two seconds may have begun on the way, not twenty. */
	assert_true(lines >= LOG_BURST - 2 && lines <= 5 * LOG_BURST);
	log_set_fd(STDERR_FILENO);
	close(fd);
}

/* ---- utf8, nearest ---- */

static void utf8_knows_good_from_bad(void **state)
{
	static const char *const bad[] = {
		"\xc3\x28", "\xc0\x80",         "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xe2\x82", "\xf0\x80\x80\x80", "\x80",         "\xff",
	};
	uint32_t cp;

	(void)state;
	assert_true(utf8_valid("na\xc3\xafve \xe6\x97\xa5 \xf0\x9f\x98\x80", 15));
	assert_int_equal(utf8_count("na\xc3\xafve", 6), 5);
	assert_int_equal(utf8_decode("\xf0\x9f\x98\x80", 4, &cp), 4);
	assert_int_equal(cp, 0x1f600);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(utf8_valid(bad[i], strlen(bad[i])));
	assert_true(utf8_printable('~'));
	assert_false(utf8_printable(0x7f));
	assert_false(utf8_printable(0x2028));
	assert_false(utf8_printable(0xfeff));
}

static void utf8_excerpts_are_short_and_clean(void **state)
{
	char out[UTF8_EXCERPT_SIZE], text[1000];

	(void)state;
	assert_string_equal(utf8_excerpt(out, "a\nb\x80", 4), "a?b?");
	for (size_t i = 0; i < sizeof(text); i += 4)
		memcpy(text + i, "\xf0\x9f\x98\x80", 4);
	utf8_excerpt(out, text, sizeof(text));
	assert_true(utf8_valid(out, strlen(out)));
	assert_string_equal(out + strlen(out) - 3, "...");
}

static void nearest_finds_typing_errors(void **state)
{
	size_t least = nearest_limit("imagee");

	(void)state;
	assert_true(nearest_closer("imagee", "image", &least));
	assert_int_equal(least, 1);
	assert_false(nearest_closer("imagee", "name", &least));
	least = nearest_limit("os_typ");
	assert_true(nearest_closer("OS_TYP", "os_type", &least));
	least = nearest_limit("zzz");
	assert_false(nearest_closer("zzz", "image", &least));
	least = 1000;
	assert_false(nearest_closer("a-word-that-is-far-too-long-to-be-one", "image", &least));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_appends_and_terminates),
		cmocka_unit_test(buf_failure_sticks_at_the_bound),
		cmocka_unit_test(buf_hands_its_memory_over),
		cmocka_unit_test(err_keeps_code_and_text),
		cmocka_unit_test(err_texts_are_redacted),
		cmocka_unit_test(redact_masks_every_kind_of_secret),
		cmocka_unit_test(redact_leaves_other_text),
		cmocka_unit_test(clock_reads_the_times_of_arm),
		cmocka_unit_test(clock_refuses_what_is_no_time),
		cmocka_unit_test(clock_writes_what_it_reads),
		cmocka_unit_test(log_writes_one_redacted_line),
		cmocka_unit_test(log_limits_a_flood),
		cmocka_unit_test(utf8_knows_good_from_bad),
		cmocka_unit_test(utf8_excerpts_are_short_and_clean),
		cmocka_unit_test(nearest_finds_typing_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
