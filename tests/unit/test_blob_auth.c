/* Who may do what with blobs, asked through blobs_handle(). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/clock.h"
#include "client/sharedkey.h"
#include "emulator/blob_date.h"
#include "emulator/db.h"
#include "tests/unit/blobs_fixture.h"

static void authorization(void **state)
{
	struct test *t = *state;

	put_blob(t, C1 "/a", "x");
	RAW(t, "GET", C1 "/a", NULL, 0, NONE);
	assert_blob_error(t, 401, "NoAuthenticationInformation");
	assert_memory_equal(reply_header(t, "WWW-Authenticate"), "Bearer ", 7);
	RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "Bearer wrong"});
	assert_blob_error(t, 401, "InvalidAuthenticationInfo");
	RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "Basic eDp4"});
	assert_blob_error(t, 400, "InvalidAuthenticationInfo");
	RAW(t, "HEAD", C1 "/a", NULL, 0, NONE);
	assert_blob_error(t, 401, "NoAuthenticationInformation");
	/* Without a token of the service, only storage that asks for nothing is open. */
	t->emu.conf.token = NULL;
	RAW(t, "GET", C1 "/a", NULL, 0, NONE);
	assert_blob_error(t, 401, "NoAuthenticationInformation");
	RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "Bearer any"});
	assert_blob_error(t, 401, "InvalidAuthenticationInfo");
	t->emu.conf.storage_auth = EMU_STORAGE_NONE;
	assert_int_equal(RAW(t, "GET", C1 "/a", NULL, 0, NONE), 200);
	assert_int_equal(RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "Bearer any"}), 200);
}

/* A GET of C/a signed at a time, with the signature's key. */
static int get_signed(struct test *t, const char *key, int64_t when, const char *extra)
{
	char date[BLOB_DATE_SIZE], sig[SHAREDKEY_SIGNATURE_SIZE], authorize[128];
	struct kv headers[4] = {{"x-ms-version", "2021-12-02"}};

	blob_date_format(when, date);
	headers[1] = (struct kv){"x-ms-date", date};
	assert_int_equal(
		sharedkey_sign("GET", C1 "/a", headers, 2, NULL, 0, EMU_ACCOUNT, key, sig, NULL),
		0);
	snprintf(authorize, sizeof(authorize), "SharedKey " EMU_ACCOUNT ":%s", sig);
	headers[2] = (struct kv){"Authorization", authorize};
	headers[3] = (struct kv){extra ? extra : "Accept", "1"};
	return blobs_request(t, "GET", C1 "/a", headers, 4, NULL, 0);
}

static void shared_key(void **state)
{
	struct test *t = *state;
	char key[128], again[128];
	int64_t now = clock_wall();

	put_blob(t, C1 "/a", "x");
	assert_int_equal(blobs_account_key(&t->emu, key, sizeof(key), NULL), 0);
	assert_int_equal(strlen(key), 88);
	assert_int_equal(get_signed(t, key, now, NULL), 200);
	assert_int_equal(get_signed(t, key, now - 14 * 60 * NS_PER_S, NULL), 200);
	get_signed(t, key, now - 16 * 60 * NS_PER_S, NULL);
	assert_blob_error(t, 403, "AuthenticationFailed");
	get_signed(t, key, now + 16 * 60 * NS_PER_S, NULL);
	assert_blob_error(t, 403, "AuthenticationFailed");
	/* A header that was not signed. */
	get_signed(t, key, now, "x-ms-range");
	assert_blob_error(t, 403, "AuthenticationFailed");
	get_signed(t, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", now, NULL);
	assert_blob_error(t, 403, "AuthenticationFailed");
	RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "SharedKey other:AAAA"});
	assert_blob_error(t, 403, "AuthenticationFailed");
	RAW(t, "GET", C1 "/a", NULL, 0, {"Authorization", "SharedKey " EMU_ACCOUNT ":AAAA"});
	assert_blob_error(t, 403, "AuthenticationFailed");
	/* The key is the store's, for good. */
	db_close(t->emu.db);
	blobs_open_store(t);
	assert_int_equal(blobs_account_key(&t->emu, again, sizeof(again), NULL), 0);
	assert_string_equal(key, again);
	assert_blob(t, C1 "/a", "x");
}

/* A call with a SAS of that container and those permissions as its only authorization. */
static void sas_call(struct test *t, const char *permissions, const char *method,
		     const char *target)
{
	char sas[512], whole[1024];

	assert_int_equal(blobs_make_sas(&t->emu, "c-1", permissions, 60, sas, sizeof(sas), NULL),
			 0);
	snprintf(whole, sizeof(whole), "%s%c%s", target, strchr(target, '?') ? '&' : '?', sas);
	RAW(t, method, whole, "x", strcmp(method, "PUT") == 0, BLOCKBLOB);
}

static void container_sas(void **state)
{
	static const char list_c[] = C1 "?restype=container&comp=list";
	static const struct {
		const char *permissions, *method, *target;
		int status;
	} calls[] = {
		{"r", "GET", C1 "/a", 200},
		{"wlcd", "GET", C1 "/a", 403},
		{"r", "HEAD", C1 "/a", 200},
		{"l", "GET", list_c, 200},
		{"rwcd", "GET", list_c, 403},
		{"w", "PUT", C1 "/a", 201},
		{"c", "PUT", C1 "/a", 403},
		{"c", "PUT", C1 "/new", 201},
		{"rld", "PUT", C1 "/a", 403},
		{"w", "PUT", C1 "/a?comp=metadata", 200},
		{"c", "PUT", C1 "/a?comp=metadata", 403},
		{"c", "PUT", C1 "/b?comp=block&blockid=QUE%3D", 201},
		{"r", "PUT", C1 "/b?comp=block&blockid=QUE%3D", 403},
		{"w", "DELETE", C1 "/new", 403},
		{"d", "DELETE", C1 "/new", 202},
		{"rwlcd", "PUT", "/mlenvfslocal/c-2?restype=container", 403},
		{"rwlcd", "GET", C1 "?restype=container", 403},
		{"r", "GET", "/mlenvfslocal/c-2/a", 403},
	};
	struct test *t = *state;
	size_t i;

	assert_int_equal(blobs_create_container(&t->emu, "c-2", NULL), 0);
	put_blob(t, C1 "/a", "x");
	put_blob(t, "/mlenvfslocal/c-2/a", "x");
	for (i = 0; i < COUNT(calls); i++) {
		sas_call(t, calls[i].permissions, calls[i].method, calls[i].target);
		if (t->reply.status != calls[i].status)
			fail_msg("%s %s with %s: %d", calls[i].method, calls[i].target,
				 calls[i].permissions, t->reply.status);
		if (calls[i].status == 403 && !strstr(calls[i].target, "c-2"))
			assert_blob_error(t, 403, "AuthorizationPermissionMismatch");
	}
}

/* What a SAS that is signed by hand gives. */
static void sas_of(struct test *t, const char *st, const char *se, const char *spr, const char *sv,
		   const char *sr, const char *canonical, const char *target)
{
	char key[128], sig[SHAREDKEY_SIGNATURE_SIZE], encoded[4 * SHAREDKEY_SIGNATURE_SIZE] = "";
	char whole[1024];
	size_t i;

	assert_int_equal(blobs_account_key(&t->emu, key, sizeof(key), NULL), 0);
	assert_int_equal(sharedkey_sas("r", st, se, spr, sv, sr, canonical, key, sig, NULL), 0);
	for (i = 0; sig[i]; i++)
		snprintf(encoded + 3 * i, 4, "%%%02hhx", (unsigned char)sig[i]);
	snprintf(whole, sizeof(whole), "%s?sp=r&st=%s&se=%s&spr=%s&sv=%s&sr=%s&sig=%s", target, st,
		 se, spr, sv, sr, encoded);
	RAW(t, "GET", whole, NULL, 0, NONE);
}

static void sas_is_checked(void **state)
{
	static const char c[] = "/blob/" EMU_ACCOUNT "/c-1", b[] = "/blob/" EMU_ACCOUNT "/c-1/a b";
	static const char sv[] = "2021-12-02", never[] = "2199-01-01T00:00:00Z";
	struct test *t = *state;
	char whole[1024], sas[512];

	put_blob(t, C1 "/a%20b", "x");
	put_blob(t, C1 "/other", "x");
	sas_of(t, "", never, "", sv, "c", c, C1 "/a%20b");
	assert_int_equal(t->reply.status, 200);
	sas_of(t, "2022-01-01", "2199-01-01", "https,http", sv, "c", c, C1 "/a%20b");
	assert_int_equal(t->reply.status, 200);
	sas_of(t, "", never, "", sv, "b", b, C1 "/a%20b");
	assert_int_equal(t->reply.status, 200);
	sas_of(t, "", never, "", sv, "b", b, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "", "2022-01-01T00:00:00Z", "", sv, "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "2198-01-01T00:00:00Z", never, "", sv, "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "", "", "", sv, "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "", "soon", "", sv, "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "", never, "https", sv, "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthorizationProtocolMismatch");
	sas_of(t, "", never, "", "2019-12-12", "c", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	sas_of(t, "", never, "", sv, "d", c, C1 "/other");
	assert_blob_error(t, 403, "AuthenticationFailed");
	/* Changed after it was signed. */
	assert_int_equal(blobs_make_sas(&t->emu, "c-1", "r", 60, sas, sizeof(sas), NULL), 0);
	snprintf(whole, sizeof(whole), C1 "/other?%s", sas);
	assert_int_equal(RAW(t, "GET", whole, NULL, 0, NONE), 200);
	*strstr(whole, "sp=r") = 'x';
	RAW(t, "GET", whole, NULL, 0, NONE);
	assert_blob_error(t, 403, "AuthenticationFailed");
	assert_null(strstr(reply_body(t), "sig="));
	assert_int_equal(blobs_make_sas(&t->emu, "c-1", "r", 60, sas, 20, NULL), -EFBIG);
}

static void dates(void **state)
{
	static const char *const bad[] = {"",
					  "Wed",
					  "Wed, 14 Sep 2022 20:33:51",
					  "Wed, 14 Sep 2022 20:33:51 GMT ",
					  "Wed, 14 Foo 2022 20:33:51 GMT",
					  "Wed, 00 Sep 2022 20:33:51 GMT",
					  "Wed, 14 Sep 2022 24:33:51 GMT",
					  "Wed, 14 Sep 1922 20:33:51 GMT"};
	static const char *const bad_iso[] = {"",
					      "2022",
					      "2022-09",
					      "2022-09-14T",
					      "2022-09-14T20:33",
					      "2022-13-14",
					      "2022-09-14T20:33:51",
					      "2022-09-14T20:33:51ZZ"};
	char text[BLOB_DATE_SIZE];
	int64_t ns;
	size_t i;

	(void)state;
	blob_date_format(1663187631 * NS_PER_S + 5, text);
	assert_string_equal(text, "Wed, 14 Sep 2022 20:33:51 GMT");
	assert_int_equal(blob_date_parse(text, &ns), 0);
	assert_int_equal(ns, 1663187631 * NS_PER_S);
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(blob_date_parse(bad[i], &ns), -EINVAL);
	assert_int_equal(blob_date_parse_iso("2022-09-14T20:33:51Z", &ns), 0);
	assert_int_equal(ns, 1663187631 * NS_PER_S);
	assert_int_equal(blob_date_parse_iso("2022-09-14T20:33:51.123Z", &ns), 0);
	assert_int_equal(blob_date_parse_iso("2022-09-14T20:33Z", &ns), 0);
	assert_int_equal(ns, 1663187580 * NS_PER_S);
	assert_int_equal(blob_date_parse_iso("9999-12-31", &ns), 0);
	assert_true(ns > clock_wall());
	for (i = 0; i < COUNT(bad_iso); i++)
		assert_int_equal(blob_date_parse_iso(bad_iso[i], &ns), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, blobs_setup, blobs_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(authorization),  TEST(shared_key),        TEST(container_sas),
		TEST(sas_is_checked), cmocka_unit_test(dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
