/* fs/options: -o and SOURCE. */
#include "fs/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_values(void **state)
{
	struct options o;
	struct err e = ERR_INIT;

	(void)state;
	options_init(&o);
	assert_int_equal(
		options_parse(&o, "refresh=0.5,registry=a,registry=b,ro,cache_memory=2G", &e), 0);
	assert_int_equal(
		options_parse(&o, "store=/a\\,b/c,uid=1000,log_level=DEBUG,nosuid,nodev", &e), 0);
	assert_int_equal(options_parse(&o, "x-systemd.automount,_netdev,noauto,,rw", &e), 0);
	assert_int_equal(options_parse(&o, "user=bob,X-mount.mkdir,relatime,sync", &e), 0);
	assert_true(o.refresh > 0.49 && o.refresh < 0.51);
	assert_int_equal(o.n_registries, 2);
	assert_string_equal(o.registries[1], "b");
	assert_true(o.ro);
	assert_int_equal(o.cache_memory, UINT64_C(2) << 30);
	assert_string_equal(o.store, "/a,b/c");
	assert_int_equal(o.uid, 1000);
	assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(o.kernel, "nosuid,nodev");
	options_clear(&o);
}

static void test_errors_name_the_option(void **state)
{
	static const char *const table[][2] = {
		{"refesh=3", "did you mean 'refresh'"},
		{"refresh", "needs a value"},
		{"ro=1", "takes no value"},
		{"refresh=soon", "refresh=soon"},
		{"timeout=-1", "timeout=-1"},
		{"cache_memory=12Q", "cache_memory"},
		{"max_requests=99999", "max_requests"},
		{"completely_unknown_thing", "unknown option"},
		{"log_level=loud", "log_level"},
		{"refresh=nan", "refresh"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct options o;
		struct err e = ERR_INIT;

		options_init(&o);
		assert_int_equal(options_parse(&o, table[i][0], &e), -EINVAL);
		assert_non_null(strstr(e.msg, table[i][1]));
		options_clear(&o);
	}
}

static void test_sources(void **state)
{
	struct source_uri u;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(source_uri_parse(NULL, &u, &e), 0);
	assert_true(u.embedded);
	source_uri_clear(&u);
	assert_int_equal(
		source_uri_parse("azureml://subscriptions/S/resourceGroups/G/workspaces/W", &u, &e),
		0);
	assert_string_equal(u.subscription, "S");
	assert_string_equal(u.resource_group, "G");
	assert_string_equal(u.workspace, "W");
	source_uri_clear(&u);
	assert_int_equal(source_uri_parse("azureml://subscriptions/S", &u, &e), 0);
	assert_null(u.resource_group);
	source_uri_clear(&u);
	assert_int_equal(source_uri_parse("azureml://registries/azureml", &u, &e), 0);
	assert_string_equal(u.registry, "azureml");
	source_uri_clear(&u);
}

static void test_bad_sources(void **state)
{
	static const char *const bad[] = {
		"https://x",
		"azureml://",
		"azureml://subscriptions",
		"azureml://subscriptions//x",
		"azureml://subscriptions/S/workspaces/W",
		"azureml://registries/a/b",
		"azureml://subscriptions/S/resourceGroups/G/workspaces/W/more",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct source_uri u;
		struct err e = ERR_INIT;

		assert_int_equal(source_uri_parse(bad[i], &u, &e), -EINVAL);
		assert_non_null(strstr(e.msg, bad[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_errors_name_the_option),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_bad_sources),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
