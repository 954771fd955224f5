#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/url.h"

static void test_parts(void **state)
{
	static const struct {
		const char *text;
		bool https;
		const char *host;
		unsigned int port;
		bool explicit_port;
		const char *path;
		const char *query;
	} cases[] = {
		{"https://Example.COM", true, "example.com", 443, false, "/", NULL},
		{"https://example.com:443/a", true, "example.com", 443, false, "/a", NULL},
		{"http://localhost:8080/a/b?x=1&y=2", false, "localhost", 8080, true, "/a/b",
		 "x=1&y=2"},
		{"HTTP://127.0.0.1?q", false, "127.0.0.1", 80, false, "/", "q"},
		{"http://[::1]:90/", false, "[::1]", 90, true, "/", NULL},
		{"https://a.b/%2E%2e/c?", true, "a.b", 443, false, "/%2E%2e/c", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct url u;

		assert_int_equal(url_parse(cases[i].text, &u, NULL), 0);
		assert_int_equal(u.https, cases[i].https);
		assert_string_equal(u.host, cases[i].host);
		assert_int_equal(u.port, cases[i].port);
		assert_int_equal(u.explicit_port, cases[i].explicit_port);
		assert_string_equal(u.path, cases[i].path);
		if (cases[i].query)
			assert_string_equal(u.query, cases[i].query);
		else
			assert_null(u.query);
		url_clear(&u);
		url_clear(&u);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"/relative",
		"ftp://h/",
		"file:///etc/passwd",
		"https://",
		"https:///path",
		"https://user@host/",
		"https://user:pw@host/",
		"https://host:0/",
		"https://host:65536/",
		"https://host:12x/",
		"https://host:-1/",
		"https://ho st/",
		"https://host/a b",
		"https://host/a\nb",
		"https://host\\@evil/",
		"https://host/#f",
		"https://h%6fst/",
		"https://[::1",
		"https://[zz]/",
	};
	char *longer = malloc(URL_MAX + 64);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct url u;
		struct err e = ERR_INIT;

		assert_int_equal(url_parse(cases[i], &u, &e), -EBADMSG);
		assert_true(e.msg[0]);
	}
	assert_non_null(longer);
	memset(longer, 'a', URL_MAX + 63);
	longer[URL_MAX + 63] = '\0';
	memcpy(longer, "https://h/", 10);
	assert_int_equal(url_parse(longer, &(struct url){0}, NULL), -EBADMSG);
	free(longer);
}

static bool same(const char *a, const char *b)
{
	struct url x, y;
	bool result;

	assert_int_equal(url_parse(a, &x, NULL), 0);
	assert_int_equal(url_parse(b, &y, NULL), 0);
	result = url_same_origin(&x, &y);
	url_clear(&x);
	url_clear(&y);
	return result;
}

static void test_origin(void **state)
{
	(void)state;
	assert_true(same("https://a.b/x", "HTTPS://A.B:443/y?z"));
	assert_false(same("https://a.b/", "http://a.b/"));
	assert_false(same("https://a.b/", "https://a.b:444/"));
	assert_false(same("https://a.b/", "https://a.b.evil/"));
	assert_false(same("https://a.b/", "https://xa.b/"));
}

static void test_hosts(void **state)
{
	static const struct {
		const char *text;
		bool loopback, address;
	} cases[] = {
		{"http://localhost", true, false},
		{"http://127.1.2.3:1", true, true},
		{"http://[::1]", true, true},
		{"http://128.0.0.1", false, true},
		{"http://localhost.evil", false, false},
		{"http://127.0.0.1.evil", false, false},
	};
	struct url u;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(url_parse(cases[i].text, &u, NULL), 0);
		assert_int_equal(url_is_loopback(&u), cases[i].loopback);
		assert_int_equal(url_host_is_address(&u), cases[i].address);
		url_clear(&u);
	}
	assert_int_equal(url_parse("https://acct.blob.core.windows.net/c", &u, NULL), 0);
	assert_true(url_host_under(&u, ".blob.core.windows.net"));
	assert_false(url_host_under(&u, ".core.windows.ne"));
	url_clear(&u);
	assert_int_equal(url_parse("https://evilblob.core.windows.net.evil/c", &u, NULL), 0);
	assert_false(url_host_under(&u, ".blob.core.windows.net"));
	url_clear(&u);
}

static void test_encode(void **state)
{
	struct buf b = BUF_INIT(1024);

	(void)state;
	url_add_segment(&b, "a b/ü~.", strlen("a b/ü~."));
	assert_string_equal(buf_str(&b), "a%20b%2F%C3%BC~.");
	buf_reset(&b);
	url_add_segment(&b, "..", 2);
	url_add_segment(&b, ".", 1);
	url_add_segment(&b, "...", 3);
	assert_string_equal(buf_str(&b), "%2E%2E%2E...");
	buf_reset(&b);
	url_add_path(&b, "x/../my ctx/a.txt", strlen("x/../my ctx/a.txt"));
	assert_string_equal(buf_str(&b), "x/%2E%2E/my%20ctx/a.txt");
	buf_reset(&b);
	url_add_path(&b, "a\0b", 3);
	assert_string_equal(buf_str(&b), "a%00b");
	buf_free(&b);
}

static void test_decode(void **state)
{
	struct buf b = BUF_INIT(16);

	(void)state;
	assert_int_equal(url_decode(&b, "a%20%2f%C3%bc", 13), 0);
	assert_string_equal(buf_str(&b), "a /ü");
	buf_reset(&b);
	assert_int_equal(url_decode(&b, "%", 1), -EBADMSG);
	assert_int_equal(url_decode(&b, "%4", 2), -EBADMSG);
	assert_int_equal(url_decode(&b, "%zz", 3), -EBADMSG);
	buf_reset(&b);
	assert_int_equal(url_decode(&b, "12345678901234567", 17), -EFBIG);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_origin), cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_encode), cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
