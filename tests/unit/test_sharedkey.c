/*
 * Vectors marked RUN in azureml-rest.md section 10 were computed with the official Python client's
 * own signing code; the SAS one with an independent HMAC over the documented string.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/base64.h"
#include "client/sharedkey.h"

#define KEY     "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define ACCOUNT "exampleacct"
#define DATE                                                 \
	{                                                    \
		"x-ms-date", "Wed, 14 Sep 2022 20:33:51 GMT" \
	}
#define VERSION                              \
	{                                    \
		"x-ms-version", "2021-12-02" \
	}
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void put_blob_vector(void **state)
{
	static const struct kv headers[] = {
		{"Content-Length", "6"},
		{"Content-Type", "application/octet-stream"},
		{"Content-MD5", "sZRqySSS0jR8YjW00mERhA=="},
		{"If-None-Match", "*"},
		{"x-ms-blob-type", "BlockBlob"},
		DATE,
		VERSION,
	};
	char sig[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("PUT", "/c1/LocalUpload/cf6f/my%20ctx/a.txt", headers,
					COUNT(headers), NULL, 0, ACCOUNT, KEY, sig, NULL),
			 0);
	assert_string_equal(sig, "WegdWf2sWsEMBO63+wIxPl9hldQOFur0vg5bl5gqKGw=");
}

/* The order in which the parameters are sent does not matter, nor the case of names. */
static void list_vector(void **state)
{
	static const struct kv headers[] = {VERSION,
					    {"X-MS-Date", " Wed, 14 Sep 2022 20:33:51 GMT "}};
	static const struct kv params[] = {
		{"ResType", "container"},
		{"comp", "list"},
		{"prefix", "LocalUpload/cf6f/my ctx/"},
		{"include", "metadata"},
	};
	char sig[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("GET", "/c1", headers, COUNT(headers), params,
					COUNT(params), ACCOUNT, KEY, sig, NULL),
			 0);
	assert_string_equal(sig, "6zcqxybEzNF7rqiu92FPwDr/eoASbM0r08qsB3QUpOg=");
}

static void metadata_vector(void **state)
{
	static const struct kv headers[] = {
		DATE,
		VERSION,
		{"Content-Length", "0"},
		{"x-ms-meta-version", "1"},
		{"x-ms-meta-name", "demo"},
		{"x-ms-meta-upload_status", "completed"},
	};
	static const struct kv params[] = {{"comp", "metadata"}};
	char sig[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("PUT", "/c1/a.txt", headers, COUNT(headers), params, 1,
					ACCOUNT, KEY, sig, NULL),
			 0);
	assert_string_equal(sig, "6KZPl7PcEkKufBqcFwrdVfNX1DGCB6d8mKHxX8RJRHc=");
}

/* A path-style URL has the account in its path, so the name is signed twice. */
static void path_style(void **state)
{
	static const struct kv headers[] = {DATE, VERSION};
	char once[SHAREDKEY_SIGNATURE_SIZE], twice[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("GET", "/exampleacct/c1/a.txt", headers, COUNT(headers),
					NULL, 0, ACCOUNT, KEY, twice, NULL),
			 0);
	assert_string_equal(twice, "JV/pe/XNJF3WiG9sjZnLkzwhE1SkLXTSEG/a9II0MLE=");
	assert_int_equal(sharedkey_sign("GET", "/c1/a.txt", headers, COUNT(headers), NULL, 0,
					ACCOUNT, KEY, once, NULL),
			 0);
	assert_string_not_equal(once, twice);
}

/* Several values of one parameter: sorted and joined by commas. */
static void repeated_parameter(void **state)
{
	static const struct kv headers[] = {DATE, VERSION};
	static const struct kv two[] = {{"x", "b"}, {"x", "a"}};
	static const struct kv one[] = {{"x", "a,b"}};
	char a[SHAREDKEY_SIGNATURE_SIZE], b[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("GET", "/c", headers, 2, two, 2, ACCOUNT, KEY, a, NULL), 0);
	assert_int_equal(sharedkey_sign("GET", "/c", headers, 2, one, 1, ACCOUNT, KEY, b, NULL), 0);
	assert_string_equal(a, b);
}

static void date_header_counts_only_alone(void **state)
{
	static const struct kv both[] = {DATE, {"Date", "Thu, 15 Sep 2022 20:33:51 GMT"}};
	static const struct kv alone[] = {{"Date", "Thu, 15 Sep 2022 20:33:51 GMT"}};
	static const struct kv ms[] = {DATE};
	char a[SHAREDKEY_SIGNATURE_SIZE], b[SHAREDKEY_SIGNATURE_SIZE], c[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sign("GET", "/c", both, 2, NULL, 0, ACCOUNT, KEY, a, NULL), 0);
	assert_int_equal(sharedkey_sign("GET", "/c", ms, 1, NULL, 0, ACCOUNT, KEY, b, NULL), 0);
	assert_int_equal(sharedkey_sign("GET", "/c", alone, 1, NULL, 0, ACCOUNT, KEY, c, NULL), 0);
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
}

static void sas_vector(void **state)
{
	char sig[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(sharedkey_sas("rcwl", "", "2030-01-01T00:00:00Z", "", "2021-12-02", "c",
				       "/blob/exampleacct/c1", KEY, sig, NULL),
			 0);
	assert_string_equal(sig, "CHgu//c3uMJGOEwGBVHMQo5iOjbgVt8fGOGl96NRcA0=");
}

static void sas_text(void **state)
{
	struct sas sas = {.sv = "2021-12-02",
			  .sr = "c",
			  .st = "",
			  .se = "2030-01-01T00:00:00Z",
			  .sp = "rcwl",
			  .spr = "",
			  .canonical = "/blob/exampleacct/c1"};
	struct buf text = BUF_INIT(1024), small = BUF_INIT(20);
	char time[CLOCK_ISO_SIZE];

	(void)state;
	assert_int_equal(sharedkey_add_sas(&text, &sas, KEY, NULL), 0);
	assert_string_equal(buf_str(&text),
			    "sv=2021-12-02&sr=c&se=2030-01-01T00%3A00%3A00Z&sp=rcwl"
			    "&sig=CHgu%2F%2Fc3uMJGOEwGBVHMQo5iOjbgVt8fGOGl96NRcA0%3D");
	buf_reset(&text);
	sas.st = "2022-01-01T00:00:00Z";
	sas.spr = "https";
	assert_int_equal(sharedkey_add_sas(&text, &sas, KEY, NULL), 0);
	assert_non_null(strstr(buf_str(&text), "&st=2022-01-01T00%3A00%3A00Z&"));
	assert_non_null(strstr(buf_str(&text), "&spr=https&sig="));
	assert_int_equal(sharedkey_add_sas(&small, &sas, KEY, NULL), -EFBIG);
	assert_int_equal(sharedkey_add_sas(&text, &sas, "not base64!", NULL), -EINVAL);
	sharedkey_sas_time(INT64_C(1663187631999999999), time);
	assert_string_equal(time, "2022-09-14T20:33:51Z");
	buf_free(&text);
	buf_free(&small);
}

static void bad_key(void **state)
{
	struct err e = ERR_INIT;
	char sig[SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	assert_int_equal(
		sharedkey_sign("GET", "/c", NULL, 0, NULL, 0, ACCOUNT, "not base64!", sig, &e),
		-EINVAL);
	assert_null(strstr(e.msg, "not base64!"));
	assert_int_equal(sharedkey_sign("GET", "/c", NULL, 0, NULL, 0, ACCOUNT, "", sig, &e),
			 -EINVAL);
}

static void equal(void **state)
{
	char longer[2 * SHAREDKEY_SIGNATURE_SIZE];

	(void)state;
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_true(sharedkey_equal("abc=", "abc="));
	assert_false(sharedkey_equal("abc=", "abd="));
	assert_false(sharedkey_equal("abc=", "abc"));
	assert_false(sharedkey_equal("", "abc"));
	assert_false(sharedkey_equal(longer, longer));
}

static void base64_vectors(void **state)
{
	/* RFC 4648, section 10. */
	static const char *const vectors[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};
	static const char *const bad[] = {"Z",    "Zg=",   "Zg",    "Zh==", "Zm9=",     "Z===",
					  "====", "Zm9v ", "Zm\n9", "=m9v", "Zg==Zg==", "Zm-_"};
	char text[32], data[8];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(vectors); i++) {
		size_t len = strlen(vectors[i][0]);

		base64_encode(vectors[i][0], len, text);
		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(base64_decode(text, strlen(text), data, sizeof(data)), len);
		assert_memory_equal(data, vectors[i][0], len);
	}
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), data, sizeof(data)),
				 -EINVAL);
	assert_int_equal(base64_decode("Zm9v", 4, data, 2), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_blob_vector),
		cmocka_unit_test(list_vector),
		cmocka_unit_test(metadata_vector),
		cmocka_unit_test(path_style),
		cmocka_unit_test(repeated_parameter),
		cmocka_unit_test(date_header_counts_only_alone),
		cmocka_unit_test(sas_vector),
		cmocka_unit_test(sas_text),
		cmocka_unit_test(bad_key),
		cmocka_unit_test(equal),
		cmocka_unit_test(base64_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
