/* spec.yml to and from records, and the Dockerfile derived from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/conda.h"
#include "client/dockerfile.h"
#include "fs/spec.h"

enum { TEXT_MAX = 16 * 1024 * 1024 };

#define HEAD "name: n\nimage: i\n"

static struct spec *parse(const char *text)
{
	struct spec *s = NULL;
	struct err e = ERR_INIT;

	if (spec_parse(text, strlen(text), &s, &e))
		fail_msg("%s in: %s", e.msg, text);
	return s;
}

static void assert_refused(const char *text, const char *message)
{
	struct spec *s = NULL;
	struct err e = ERR_INIT;

	if (spec_parse(text, strlen(text), &s, &e) != -EBADMSG)
		fail_msg("accepted: %s", text);
	assert_null(s);
	assert_int_equal(strncmp(e.msg, "line ", 5), 0);
	if (!strstr(e.msg, message))
		fail_msg("\"%s\" is not in \"%s\"", message, e.msg);
}

static void assert_warned(const char *text, const char *message)
{
	struct spec *s = parse(text);

	if (!s->warnings || !strstr(s->warnings, message))
		fail_msg("\"%s\" is not in \"%s\"", message, s->warnings ? s->warnings : "");
	spec_free(s);
}

/* ---- parsing ---- */

static void every_key_is_read(void **state)
{
	struct spec *s = parse("$schema: https://x/latest/environment.schema.json\n"
			       "name: n-1.5_x\nversion: \"2.10\"\ndescription: |\n  a\n  b\n"
			       "tags:\n  k: v\n  e: \"\"\nimage: host/repo@sha256:00\n"
			       "conda_file: ../x/conda.yml\nos_type: LINUX\ndatastore: ds\n"
			       "inference_config:\n  liveness_route: {port: \"80\", path: /l}\n"
			       "  readiness_route: {port: 81, path: /r}\n"
			       "  scoring_route: {port: 82, path: /s}\n");

	(void)state;
	assert_null(s->warnings);
	assert_string_equal(s->name, "n-1.5_x");
	assert_string_equal(s->version, "2.10");
	assert_string_equal(s->description, "a\nb\n");
	assert_int_equal(s->n_tags, 2);
	assert_string_equal(s->tags[1].value, "");
	assert_string_equal(s->image, "host/repo@sha256:00");
	assert_string_equal(s->conda_path, "../x/conda.yml");
	assert_string_equal(s->os_type, "linux");
	assert_string_equal(s->datastore, "ds");
	assert_int_equal(s->liveness.port, 80);
	assert_string_equal(s->scoring.path, "/s");
	spec_free(s);
	s = parse("build: {path: ./ctx/, dockerfile_path: ./a//Dockerfile}\n");
	assert_null(s->name);
	assert_string_equal(s->build_path, "./ctx/");
	assert_string_equal(s->dockerfile_path, "a/Dockerfile");
	assert_int_equal(s->build_at.line, 1);
	spec_free(s);
	spec_free(NULL);
}

static void an_inline_conda_mapping_becomes_yaml(void **state)
{
	struct spec *s = parse(HEAD "conda_file:\n  dependencies: [python=3.10, {pip: [a==1.10]}]\n"
				    "  name: 1.10\n");

	(void)state;
	assert_string_equal(s->conda_inline, "dependencies:\n  - python=3.10\n  - pip:\n"
					     "      - a==1.10\nname: \"1.10\"\n");
	spec_free(s);
}

static void wrong_specs_are_refused_with_place_and_advice(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"x", "line 1, column 1: a spec is a mapping"},
		{HEAD "imagee: x\n",
		 "line 3, column 1: unknown key \"imagee\"; is \"image\" meant?"},
		{HEAD "zzzzz: x\n", "unknown key \"zzzzz\""},
		{HEAD "properties: {}\n", "unknown key"},
		{"name: n\nbuild: {pth: x}\n",
		 "line 2, column 9: unknown key \"build.pth\"; is \"path\" meant?"},
		{"name: 1\nimage: i\n", "line 1, column 7: name must be a text"},
		{"name: yes\nimage: i\n", "put it in quotes"},
		{"name:\nimage: i\n", "has no value"},
		{"name: n\nimage: [i]\n", "image must be a text, not a list"},
		{"name: n\nimage: {a: b}\n", "image must be a text, not a mapping"},
		{"name: n\nimage: ''\n", "needs an image or a build"},
		{"name: -n\nimage: i\n", "must begin with a letter"},
		{HEAD "version: a/b\n", "line 3, column 10: the version"},
		{HEAD "version: ''\n", "is empty"},
		{HEAD "version: [1]\n", "version must be a text"},
		{HEAD "version: ~\n", "version has no value"},
		{HEAD "description: 5\n", "description must be a text"},
		{HEAD "tags: []\n", "tags must be a mapping"},
		{HEAD "tags: {a: [b]}\n", "the tag \"a\" must be a text, not a list"},
		{HEAD "os_type: mac\n", "os_type must be linux or windows"},
		{HEAD "conda_file: [a]\n", "conda_file must be a text"},
		{HEAD "conda_file: /etc/passwd\n", "must be relative"},
		{HEAD "conda_file: ''\n", "conda_file is empty"},
		{"name: n\nconda_file: c.yml\n", "needs an image"},
		{"name: n\nbuild: ctx\n", "build must be a mapping"},
		{"name: n\nbuild: {}\n", "build needs a path"},
		{"name: n\nbuild: {path: a, local_path: b}\n", "both path and local_path"},
		{"name: n\nbuild: {path: /a}\n", "build.path must be relative"},
		{"name: n\nbuild: {path: a/../../b}\n", "build.path must not lead out"},
		{"name: n\nbuild: {path: a, dockerfile_path: ../D}\n",
		 "build.dockerfile_path must not lead out"},
		{"name: n\nbuild: {path: a, dockerfile_path: .}\n", "must name a file"},
		{HEAD "build: {path: a}\n", "exclude each other"},
		{HEAD "inference_config: {}\n", "needs liveness_route"},
		{HEAD "inference_config: {liveness_route: {port: 1}}\n", "needs port and path"},
		{HEAD "inference_config: {liveness_route: {port: x, path: /}}\n",
		 "port must be a number"},
		{HEAD "inference_config: {liveness_route: {port: 65536, path: /}}\n",
		 "port must be a number"},
		{HEAD "inference_config: {liveness_route: {port: 1, path: /, pat: x}}\n",
		 "unknown key \"pat\"; is \"path\" meant?"},
		{HEAD "inference_config: {livenes_route: {}}\n",
		 "unknown key \"inference_config.livenes_route\"; is \"liveness_route\" meant?"},
		{"channels: [a]\ndependencies: [b]\n", "save it as conda.yml"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_refused(bad[i].text, bad[i].message);
}

static void odd_but_clear_specs_are_accepted_with_a_warning(void **state)
{
	static const struct {
		const char *text, *message;
	} odd[] = {
		{HEAD "version: 2.10\n", "line 3: version 2.10 is taken as the text"},
		{HEAD "version: 007\n", "version 007"},
		{HEAD "version: true\n", "version true"},
		{HEAD "id: x\n", "line 3: id is set by the service"},
		{HEAD "creation_context: {a: b}\n", "creation_context"},
		{HEAD "latest_version: '1'\n", "latest_version"},
		{HEAD "resourceGroup: rg\n", "resourceGroup"},
		{"$schema: https://x/commandJob.schema.json\n" HEAD, "line 1: $schema"},
		{"$schema: 5\n" HEAD, "$schema"},
		{HEAD "tags: {a: 2.10}\n", "the tag \"a\" is taken as the text 2.10"},
		{HEAD "tags: {a: ~}\n", "taken as empty"},
		{"name: n\nbuild: {path: 'https://h/r.git#main:d'}\n", "is a URL"},
		{"name: n\nbuild: {local_path: ctx}\n", "old name of build.path"},
		{"name: n\nbuild: {path: ctx}\nconda_file: c.yml\n", "meant to go with image"},
		{HEAD "inference_config: {scoring_route: {port: 1, path: /}}\n", "together"},
		{HEAD "inference_config: {startup_route: {port: 1, path: /}}\n", "CLI's schema"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
		assert_warned(odd[i].text, odd[i].message);
}

static void integer_versions_and_urls_keep_their_text(void **state)
{
	struct spec *s = parse(HEAD "version: 3\n");
	struct version *v;

	(void)state;
	assert_null(s->warnings);
	assert_string_equal(s->version, "3");
	spec_free(s);
	s = parse("name: n\nbuild: {path: 'https://h/r.git#main:d'}\n");
	assert_true(s->build_is_url);
	v = spec_to_version(s, "n", "1", NULL, NULL);
	assert_string_equal(v->context_uri, "https://h/r.git#main:d");
	version_unref(v);
	spec_free(s);
}

static void add_repeated(struct buf *b, const char *text, int n)
{
	for (int i = 0; i < n; i++)
		buf_addstr(b, text);
}

static void limits_count_characters(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	struct spec *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	buf_addstr(&b, HEAD "description: ");
	add_repeated(&b, "\xc3\xa9", SPEC_DESCRIPTION_MAX);
	spec_free(parse(buf_str(&b)));
	buf_addstr(&b, "x");
	assert_refused(buf_str(&b), "description is longer than 5000 characters");
	buf_reset(&b);
	buf_addstr(&b, HEAD "tags:\n  ");
	add_repeated(&b, "\xe6\x97\xa5", SPEC_TAG_KEY_MAX);
	buf_addstr(&b, ": ");
	add_repeated(&b, "\xe6\x97\xa5", SPEC_TAG_VALUE_MAX);
	spec_free(parse(buf_str(&b)));
	buf_addstr(&b, "x");
	assert_refused(buf_str(&b), "longer than 1000 characters");
	buf_reset(&b);
	buf_addstr(&b, HEAD "tags:\n");
	for (int i = 0; i < SPEC_TAGS_MAX; i++)
		buf_addf(&b, "  t%d: x\n", i);
	spec_free(parse(buf_str(&b)));
	buf_addstr(&b, "  more: x\n");
	assert_refused(buf_str(&b), "line 54, column 3: more than 50 tags");
	buf_reset(&b);
	add_repeated(&b, "#", SPEC_SIZE_MAX + 1);
	assert_int_equal(spec_parse(buf_str(&b), b.len, &s, &e), -EFBIG);
}

static void names_are_checked(void **state)
{
	static const char *const good[] = {"a", "1", "sklearn-1.5_py3.11", "A.", "2022-09-14-20"};
	static const char *const bad[] = {"",    ".",   "..",       ".a",   "-a",  "_a",
					  "a b", "a/b", "\xc3\xa9", "a\nb", "a:b", "a%"};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(spec_check_name("name", good[i], &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(spec_check_name("name", bad[i], &e), -EBADMSG);
		assert_null(strchr(e.msg, '\n'));
	}
}

/* ---- rendering ---- */

static char *render(const struct version *v)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	assert_int_equal(spec_render(v, &b), 0);
	return buf_steal(&b, NULL);
}

static void the_rendered_text_is_stable(void **state)
{
	const struct kv tags[] = {
		{"z", "1.10"}, {"a b", "x: y"}, {"null", NULL}, {"m", "l1\nl2\n"}};
	const struct version v = {
		.env = "sklearn-1.5",
		.version = "3",
		.image = "mcr.microsoft.com/x:1",
		.conda = "{}",
		.description = "first\nsecond",
		.tags = tags,
		.n_tags = 4,
		.scoring = {"/s", 5001},
	};
	_cleanup_free_ char *text = render(&v);

	(void)state;
	assert_string_equal(
		text,
		"$schema: https://azuremlschemas.azureedge.net/latest/environment.schema.json\n"
		"name: sklearn-1.5\nversion: \"3\"\nimage: mcr.microsoft.com/x:1\n"
		"conda_file: conda.yml\nos_type: linux\ninference_config:\n"
		"  scoring_route:\n    port: 5001\n    path: /s\n"
		"description: |-\n  first\n  second\n"
		"tags:\n  z: \"1.10\"\n  a b: \"x: y\"\n  \"null\": \"\"\n  m: |\n    l1\n"
		"    l2\n");
}

static void contexts_are_rendered_as_folder_or_url(void **state)
{
	struct version v = {.env = "e", .version = "a", .os_type = "windows"};
	_cleanup_free_ char *empty = render(&v), *folder = NULL, *url = NULL;

	(void)state;
	assert_non_null(strstr(empty, "\n# The service gives neither image nor build"));
	v.context_uri = "https://a.blob.core.windows.net/c/x/";
	v.dockerfile_path = "prod/Dockerfile";
	folder = render(&v);
	assert_non_null(strstr(folder, "\nbuild:\n  path: context\n  dockerfile_path: "
				       "prod/Dockerfile\nos_type: windows\n"));
	v.context_uri = "https://h/r.git#main:d";
	v.dockerfile_path = NULL;
	url = render(&v);
	assert_non_null(strstr(url, "\n  path: https://h/r.git#main:d\n"
				    "  dockerfile_path: Dockerfile\n"));
}

/* Same content renders the same bytes, whether defaults are written out or not. */
static void equal_records_render_equal_bytes(void **state)
{
	struct version a = {.env = "e", .version = "1", .context_uri = "https://h/x/"}, b = a;
	_cleanup_free_ char *one = render(&a), *two = NULL;

	(void)state;
	b.os_type = "linux";
	b.dockerfile_path = "Dockerfile";
	assert_true(version_same_content(&a, &b));
	two = render(&b);
	assert_string_equal(one, two);
}

static void awkward_records_parse_back(void **state)
{
	const struct kv tags[] = {
		{"a: b", "# x"},  {"- k", "- v"},      {"~", "~"},        {"", ""},
		{"<<", "*a"},     {"y", "no"},         {"1.10", "1e3"},   {"q\"'", "a\tb"},
		{"n\nl", "\n\n"}, {"\xc2\x85", "|\n"}, {"? q", "'x'\n "}, {"{a}", "[b]\n\n"}};
	const struct version v = {
		.env = "e",
		.version = "2024-01-31",
		.image = "a image: with # things",
		.description = " lead\n\ttab\ntrail \n\n",
		.tags = tags,
		.n_tags = sizeof(tags) / sizeof(*tags),
		.os_type = "windows",
		.liveness = {"/a b", 1},
		.readiness = {"true", 2},
		.scoring = {"null", 65535},
	};
	_cleanup_free_ char *text = render(&v), *again = NULL;
	struct spec *s = parse(text);
	struct version *back = spec_to_version(s, s->name, s->version, NULL, NULL);

	(void)state;
	assert_null(s->warnings);
	assert_true(version_same_content(&v, back));
	assert_string_equal(back->version, "2024-01-31");
	again = render(back);
	assert_string_equal(text, again);
	version_unref(back);
	spec_free(s);
}

/* ---- Dockerfile ---- */

static void a_dockerfile_is_derived_from_image_and_conda(void **state)
{
	struct version v = {.env = "my env", .version = "1"};
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX), small = BUF_INIT(10);

	(void)state;
	assert_false(dockerfile_is_derived(&v));
	v.context_uri = "https://h/x/";
	assert_false(dockerfile_is_derived(&v));
	v.context_uri = NULL;
	v.image = "img:1\nRUN evil\x7f \xe2\x80\xa8";
	assert_true(dockerfile_is_derived(&v));
	assert_int_equal(dockerfile_render(&v, &b), 0);
	assert_non_null(strstr(buf_str(&b), "\nFROM img:1\\x0ARUN evil\\x7F \\u2028\n"));
	assert_null(strstr(buf_str(&b), "conda"));
	buf_reset(&b);
	v.image = "img:1";
	v.conda = "{}";
	assert_int_equal(dockerfile_render(&v, &b), 0);
	assert_non_null(strstr(buf_str(&b), "# Derived"));
	assert_non_null(strstr(buf_str(&b), "\nFROM img:1\nUSER root\nWORKDIR /\n"
					    "COPY conda.yml azureml-environment-setup/conda.yml\n"
					    "RUN conda env create -p /azureml-envs/my_env -f "
					    "azureml-environment-setup/conda.yml\n"
					    "ENV PATH=/azureml-envs/my_env/bin:$PATH\n"));
	assert_int_equal(dockerfile_render(&v, &small), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(an_inline_conda_mapping_becomes_yaml),
		cmocka_unit_test(wrong_specs_are_refused_with_place_and_advice),
		cmocka_unit_test(odd_but_clear_specs_are_accepted_with_a_warning),
		cmocka_unit_test(integer_versions_and_urls_keep_their_text),
		cmocka_unit_test(limits_count_characters),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(the_rendered_text_is_stable),
		cmocka_unit_test(contexts_are_rendered_as_folder_or_url),
		cmocka_unit_test(equal_records_render_equal_bytes),
		cmocka_unit_test(awkward_records_parse_back),
		cmocka_unit_test(a_dockerfile_is_derived_from_image_and_conda),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
