/* JSON Web Tokens: taken apart, checked, made. */
#include "emulator/jwt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <cmocka.h>

#include "client/base64.h"

enum { KEY_BITS = 2048 };

struct keys {
	EVP_PKEY *own;
	EVP_PKEY *other;
	EVP_PKEY *ec;
};

static int setup(void **state)
{
	static struct keys k;

	k.own = EVP_RSA_gen(KEY_BITS);
	k.other = EVP_RSA_gen(KEY_BITS);
	k.ec = EVP_EC_gen("P-256");
	*state = &k;
	return k.own && k.other && k.ec ? 0 : -1;
}

static int teardown(void **state)
{
	struct keys *k = *state;

	EVP_PKEY_free(k->own);
	EVP_PKEY_free(k->other);
	EVP_PKEY_free(k->ec);
	return 0;
}

static void encoded(const char *data, const char *text)
{
	struct buf b = BUF_INIT(1024);
	unsigned char back[64];

	assert_int_equal(base64url_add(&b, data, strlen(data)), 0);
	assert_string_equal(buf_str(&b), text);
	assert_int_equal(base64url_decode(text, strlen(text), back, sizeof(back)), strlen(data));
	assert_memory_equal(back, data, strlen(data));
	buf_free(&b);
}

/* RFC 4648 section 10, and the two letters that differ. */
static void test_base64url(void **state)
{
	unsigned char out[8];

	(void)state;
	encoded("", "");
	encoded("f", "Zg");
	encoded("fo", "Zm8");
	encoded("foo", "Zm9v");
	encoded("foob", "Zm9vYg");
	encoded("\xfb\xff\xbf", "-_-_");
	assert_int_equal(base64url_decode("Zg==", 4, out, sizeof(out)), 1);
	assert_int_equal(base64url_decode("+/+/", 4, out, sizeof(out)), -EINVAL);
	assert_int_equal(base64url_decode("Z", 1, out, sizeof(out)), -EINVAL);
	assert_int_equal(base64url_decode("Zm 9", 4, out, sizeof(out)), -EINVAL);
	assert_int_equal(base64url_decode("Zm9vYg", 6, out, 3), -EINVAL);
}

static void test_what_is_signed_here_is_good_here(void **state)
{
	struct keys *k = *state;
	struct buf token = BUF_INIT(JWT_MAX);
	struct jwt j;

	assert_int_equal(
		jwt_sign("{\"alg\":\"RS256\"}", "{\"exp\":1234567890,\"a\":\"b\"}", k->own, &token),
		0);
	assert_int_equal(jwt_parse(buf_str(&token), &j, NULL), 0);
	assert_true(jwt_verify(&j, k->own));
	assert_false(jwt_verify(&j, k->other));
	assert_false(jwt_verify(&j, k->ec));
	assert_int_equal(jwt_number(&j, "exp"), 1234567890);
	assert_int_equal(jwt_number(&j, "a"), -1);
	assert_int_equal(jwt_number(&j, "none"), -1);
	j.signature[7] ^= 1;
	assert_false(jwt_verify(&j, k->own));
	jwt_clear(&j);
	buf_free(&token);
}

/* The header chooses among what is accepted, and nothing else. */
static void test_algorithms(void **state)
{
	static const char *const headers[] = {"{\"alg\":\"none\"}",  "{\"alg\":\"HS256\"}",
					      "{\"alg\":\"PS256\"}", "{\"alg\":\"RS512\"}",
					      "{\"alg\":7}",         "{}"};
	struct keys *k = *state;

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct buf token = BUF_INIT(JWT_MAX);
		struct jwt j;

		assert_int_equal(jwt_sign(headers[i], "{}", k->own, &token), 0);
		assert_int_equal(jwt_parse(buf_str(&token), &j, NULL), 0);
		assert_false(jwt_verify(&j, k->own));
		jwt_clear(&j);
		buf_free(&token);
	}
}

/* RFC 7515 appendix A.2: a token that somebody else has signed. */
static void test_a_token_of_the_standard(void **state)
{
	static const char token[] =
		"eyJhbGciOiJSUzI1NiJ9."
		"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
		"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
		"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
		"AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
		"BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
		"0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
		"hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
		"p0igcN_IoypGlUPQGe77Rw";
	struct jwt j;

	(void)state;
	assert_int_equal(jwt_parse(token, &j, NULL), 0);
	assert_string_equal(cJSON_GetObjectItem(j.header, "alg")->valuestring, "RS256");
	assert_int_equal(jwt_number(&j, "exp"), 1300819380);
	assert_int_equal(j.signature_len, KEY_BITS / 8);
	assert_int_equal(j.signature[0], 112);
	assert_int_equal(j.signature[j.signature_len - 1], 71);
	jwt_clear(&j);
}

static void test_what_is_no_token(void **state)
{
	static const char *const texts[] = {"",
					    ".",
					    "..",
					    "a.b",
					    "e30.e30",
					    "e30.e30.",
					    "e30.e30.*",
					    "e30.e30.eA.eA",
					    "W10.e30.eA",
					    "e30.W10.eA",
					    "e30.e3.eA",
					    "bnVsbA.e30.eA",
					    "e30.bnVsbA.eA",
					    "e30 .e30.eA",
					    "\n.e30.eA",
					    ".e30.eA",
					    "e30..eA",
					    "eyJhIjoiXHUwMDAwIn0.e30.eA"};
	struct buf large = BUF_INIT(2 * JWT_MAX);
	struct jwt j;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(jwt_parse(texts[i], &j, NULL), -EBADMSG);
		jwt_clear(&j);
	}
	buf_addstr(&large, "e30.e30.");
	for (size_t i = 0; i < JWT_MAX; i++)
		buf_addch(&large, 'A');
	assert_int_equal(jwt_parse(buf_str(&large), &j, NULL), -EBADMSG);
	jwt_clear(&j);
	large.data[8 + 2 * JWT_SIGNATURE_MAX] = '\0';
	assert_int_equal(jwt_parse(large.data, &j, NULL), -EBADMSG);
	jwt_clear(&j);
	buf_free(&large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64url),
		cmocka_unit_test(test_what_is_signed_here_is_good_here),
		cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_a_token_of_the_standard),
		cmocka_unit_test(test_what_is_no_token),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
