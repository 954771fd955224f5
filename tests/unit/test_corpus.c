/*
 * The corpus: 270 environment versions that other people wrote go from their files to a record, to
 * JSON and back without a change, and every malformed input gets the result its manifest names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/conda.h"
#include "fs/assetdir.h"

enum { TEXT_MAX = 64 * 1024 * 1024, BAD_CASES = 68, VERSIONS = 270 };

#define CONTEXT_URI "https://acct.blob.core.windows.net/c1/LocalUpload/0123/context/"

static const char *corpus_dir(void)
{
	const char *dir = getenv("MLENVFS_CORPUS");

	return dir && *dir ? dir : "../shared/corpus";
}

/* The corpus is not part of the repository: without it these tests say so and are skipped. */
static int open_corpus(void)
{
	int fd = open(corpus_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		printf("SKIPPED: no corpus in %s (set MLENVFS_CORPUS)\n", corpus_dir());
		fflush(stdout);
		skip();
	}
	return fd;
}

static char *read_at(int dir, const char *path, size_t *len)
{
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	struct buf b = BUF_INIT(TEXT_MAX);
	char chunk[65536];
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		assert_int_equal(buf_add(&b, chunk, (size_t)n), 0);
	assert_int_equal(n, 0);
	return buf_steal(&b, len);
}

/* ---- malformed inputs ---- */

/* Which names the path of an input gives it, by what the input is about. */
static void names_for(const char *file, const char **env, const char **version)
{
	*env = NULL;
	*version = NULL;
	if (strncmp(file, "mismatch-", 9) == 0 || strcmp(file, "key-missing-name.yml") == 0) {
		*env = "alpha";
		*version = strncmp(file, "mismatch-version/", 17) == 0 ? "2" : "1";
	}
}

/* conda_file may climb as high as the folder of its case. */
static int open_case_root(int bad, const char *file)
{
	const char *slash = strchr(file, '/');
	char top[256];

	if (!slash)
		return -1;
	snprintf(top, sizeof(top), "%.*s", (int)(slash - file), file);
	return openat(bad, top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *outcome(int rc, const struct assetdir *d)
{
	if (rc)
		return "reject";
	return d->warnings ? "accept-with-warning" : "accept";
}

/*
 * Links do not survive every way of copying a corpus: where they came as files that hold the
 * target's name, the case is put together again in a directory of its own.
 */
static const char *const link_files[] = {
	"spec.yml",          "outside.txt", "context/Dockerfile", "context/requirements.txt",
	"context/again.txt",
};

static bool is_link_file(const char *file, const char *path)
{
	return strncmp(file, "symlink-cycle/", 14) == 0
		       ? strcmp(path, "context/again.txt") == 0 ||
				 strcmp(path, "context/requirements.txt") == 0
		       : strcmp(path, "context/requirements.txt") == 0;
}

static void copy_link_file(int from, int to, const char *file, const char *path)
{
	_cleanup_free_ char *text = NULL;
	char target[256] = "";
	size_t len;
	int fd;

	if (readlinkat(from, path, target, sizeof(target) - 1) > 0) {
		assert_int_equal(symlinkat(target, to, path), 0);
		return;
	}
	if (faccessat(from, path, R_OK, 0))
		return;
	text = read_at(from, path, &len);
	if (is_link_file(file, path)) {
		assert_int_equal(symlinkat(text, to, path), 0);
		return;
	}
	fd = openat(to, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

/* Opens a copy of the case's directory; it is deleted again by drop_links(). */
static int open_with_links(int dir, const char *file, char *temp)
{
	int to;

	assert_non_null(mkdtemp(temp));
	to = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(to, "context", 0700), 0);
	for (size_t i = 0; i < sizeof(link_files) / sizeof(*link_files); i++)
		copy_link_file(dir, to, file, link_files[i]);
	return to;
}

static void drop_links(int dir, const char *temp)
{
	for (size_t i = 0; i < sizeof(link_files) / sizeof(*link_files); i++)
		unlinkat(dir, link_files[i], 0);
	unlinkat(dir, "context", AT_REMOVEDIR);
	rmdir(temp);
}

/* Where a message must say the place: everything that the YAML or the spec itself has wrong. */
static bool has_place(const char *file, int rc)
{
	return rc == -EBADMSG && strncmp(file, "symlink-", 8) != 0;
}

static bool check_case(int bad, const char *file, const char *expected)
{
	char dir_name[512], base_name[512], temp[] = "/tmp/mlenvfs-corpus-XXXXXX";
	bool links = strncmp(file, "symlink-", 8) == 0;
	_cleanup_close_ int linked = -1;
	_cleanup_close_ int dir = -1, root = open_case_root(bad, file);
	const char *env, *version, *got;
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;
	int64_t start = clock_mono();
	bool ok = true;
	int rc;

	snprintf(dir_name, sizeof(dir_name), "%s", file);
	snprintf(base_name, sizeof(base_name), "%s", file);
	dir = openat(bad, dirname(dir_name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	names_for(file, &env, &version);
	if (links) {
		linked = open_with_links(dir, file, temp);
		close(dir);
		dir = dup(linked);
	}
	rc = assetdir_read(dir, basename(base_name), root, env, version, &d, &e);
	got = outcome(rc, d);
	if (links)
		drop_links(linked, temp);
	if (strcmp(got, expected) != 0 || (rc && rc != -EBADMSG && rc != -EFBIG) ||
	    (rc && !e.msg[0]) ||
	    (has_place(file, rc) && (!strstr(e.msg, "line ") || !strstr(e.msg, "column "))) ||
	    clock_mono() - start > 5 * NS_PER_S) {
		printf("%s: expected %s, got %s (%d): %s %s\n", file, expected, got, rc, e.msg,
		       d && d->warnings ? d->warnings : "");
		ok = false;
	}
	if (getenv("MLENVFS_VERBOSE"))
		printf("%-45s %s\n", file, rc ? e.msg : (d->warnings ? d->warnings : "accepted"));
	if (d && strstr(file, "mismatch-")) {
		assert_string_equal(d->spec->name, "alpha");
		assert_string_equal(d->spec->version, version);
	}
	assetdir_free(d);
	return ok;
}

static void bad_inputs_get_the_result_their_manifest_names(void **state)
{
	_cleanup_close_ int corpus = open_corpus();
	_cleanup_close_ int bad = openat(corpus, "bad", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *manifest = NULL;
	char *line, *save = NULL;
	int cases = 0, failed = 0;

	(void)state;
	assert_true(bad >= 0);
	manifest = read_at(bad, "manifest.tsv", NULL);
	line = strtok_r(manifest, "\n", &save);
	while ((line = strtok_r(NULL, "\n", &save))) {
		char *rest = line, *file = strsep(&rest, "\t"), *expected = strsep(&rest, "\t");

		assert_non_null(expected);
		cases++;
		if (!check_case(bad, file, expected))
			failed++;
	}
	assert_int_equal(failed, 0);
	assert_int_equal(cases, BAD_CASES);
}

/* ---- single inputs, looked at more closely ---- */

static struct assetdir *read_good(int corpus, const char *dir_path, const char *name)
{
	_cleanup_close_ int dir = openat(corpus, dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	assert_true(dir >= 0);
	if (assetdir_read(dir, name, -1, NULL, NULL, &d, &e))
		fail_msg("%s/%s: %s", dir_path, name, e.msg);
	return d;
}

static void scalars_stay_the_text_they_are(void **state)
{
	_cleanup_close_ int corpus = open_corpus();
	static const struct kv tags[] = {{"int", "7"},    {"float", "2.10"},      {"octal", "0755"},
					 {"bool", "yes"}, {"date", "2024-01-31"}, {"null", ""}};
	struct assetdir *d = read_good(corpus, "bad", "tag-non-string.yml");

	(void)state;
	assert_int_equal(d->spec->n_tags, sizeof(tags) / sizeof(*tags));
	for (size_t i = 0; i < d->spec->n_tags; i++) {
		assert_string_equal(d->spec->tags[i].key, tags[i].key);
		assert_string_equal(d->spec->tags[i].value, tags[i].value);
	}
	assetdir_free(d);
	d = read_good(corpus, "bad", "type-version-float.yml");
	assert_string_equal(d->spec->version, "2.10");
	assetdir_free(d);
	d = read_good(corpus, "bad", "bytes-crlf.yml");
	assert_string_equal(d->spec->image, "docker.io/library/python:3.11");
	assetdir_free(d);
	d = read_good(corpus, "bad", "bytes-bom.yml");
	assert_string_equal(d->spec->name, "bom");
	assetdir_free(d);
	d = read_good(corpus, "bad", "yaml-merge-key.yml");
	assert_string_equal(d->spec->readiness.path, "/health");
	assert_string_equal(d->spec->scoring.path, "/score");
	assert_int_equal(d->spec->scoring.port, 8080);
	assetdir_free(d);
}

static void odd_file_names_are_kept(void **state)
{
	static const char *const names[] = {"-dash.txt",      ".hidden",          "100%25.txt",
					    "Dockerfile",     "a#b&c.txt",        "dot.",
					    "naïve 日本.txt", "requirements.txt", "with space.txt"};
	_cleanup_close_ int corpus = open_corpus();
	struct assetdir *d = read_good(corpus, "bad/odd-file-names", "spec.yml");

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		size_t k = 0;

		while (k < d->n_files && strcmp(d->files[k].path, names[i]) != 0)
			k++;
		if (k == d->n_files)
			fail_msg("%s is missing", names[i]);
	}
	assert_int_equal(d->n_files, sizeof(names) / sizeof(*names));
	assetdir_free(d);
}

/* ---- round trips ---- */

static char *render_spec(const struct version *v)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	assert_int_equal(spec_render(v, &b), 0);
	return buf_steal(&b, NULL);
}

typedef int convert_fn(const char *text, size_t len, struct buf *out, struct err *e);

static char *convert(convert_fn *fn, const char *text)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	struct err e = ERR_INIT;

	if (fn(text, strlen(text), &b, &e))
		fail_msg("%s in:\n%s", e.msg, text);
	return buf_steal(&b, NULL);
}

/* The resource as the service would answer with it: names, times, and conda as JSON. */
static cJSON *as_resource(const struct version *v)
{
	cJSON *root = asset_json_version_body(v), *props, *sys;
	char id[2048];

	assert_non_null(root);
	snprintf(id, sizeof(id),
		 "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/"
		 "Microsoft.MachineLearningServices/workspaces/ws/environments/%s/versions/%s",
		 v->env, v->version);
	assert_non_null(cJSON_AddStringToObject(root, "id", id));
	assert_non_null(cJSON_AddStringToObject(root, "name", v->version));
	sys = cJSON_AddObjectToObject(root, "systemData");
	assert_non_null(
		cJSON_AddStringToObject(sys, "createdAt", "2022-09-16T02:50:45.0191406+00:00"));
	props = cJSON_GetObjectItem(root, "properties");
	if (v->conda) {
		_cleanup_free_ char *json = convert(conda_to_json, v->conda);

		cJSON_ReplaceItemInObject(props, "condaFile", cJSON_CreateString(json));
	} else {
		cJSON_AddStringToObject(props, "condaFile", "");
	}
	return root;
}

static struct version *through_json(const struct version *v)
{
	cJSON *sent = as_resource(v), *parsed = NULL;
	_cleanup_free_ char *text = cJSON_PrintUnformatted(sent);
	struct version *out = NULL;
	struct err e = ERR_INIT;

	assert_non_null(text);
	if (asset_json_parse(text, strlen(text), &parsed, &e) ||
	    asset_json_version(parsed, NULL, &out, &e))
		fail_msg("%s", e.msg);
	cJSON_Delete(sent);
	cJSON_Delete(parsed);
	assert_string_equal(out->env, v->env);
	assert_string_equal(out->version, v->version);
	assert_int_equal(out->created, INT64_C(1663296645019140600));
	return out;
}

static void assert_same(const struct version *a, const struct version *b)
{
	struct version x = *a, y = *b;

	x.conda = NULL;
	y.conda = NULL;
	assert_true(version_same_content(&x, &y));
	assert_int_equal(a->conda != NULL, b->conda != NULL);
	if (a->conda)
		assert_int_equal(
			conda_same(a->conda, strlen(a->conda), b->conda, strlen(b->conda), NULL),
			1);
}

static void check_conda(const char *text)
{
	_cleanup_free_ char *once = convert(conda_render, text);
	_cleanup_free_ char *twice = convert(conda_render, once);
	_cleanup_free_ char *json = convert(conda_to_json, text);
	_cleanup_free_ char *json_again = convert(conda_to_json, json);
	_cleanup_free_ char *of_rendered = convert(conda_to_json, once);
	_cleanup_free_ char *of_json = convert(conda_render, json);

	assert_string_equal(once, twice);
	assert_string_equal(json, json_again);
	assert_string_equal(json, of_rendered);
	assert_string_equal(once, of_json);
}

/* What is shown, parsed again, is the record that it was rendered from. */
static void check_rendered(const struct version *v)
{
	_cleanup_free_ char *text = render_spec(v), *again = NULL, *conda = NULL;
	struct version *back;
	struct spec *s = NULL;
	struct err e = ERR_INIT;

	if (spec_parse(text, strlen(text), &s, &e))
		fail_msg("%s in:\n%s", e.msg, text);
	assert_null(s->warnings);
	assert_string_equal(s->name, v->env);
	assert_string_equal(s->version, v->version);
	if (v->conda)
		conda = convert(conda_render, v->conda);
	back = spec_to_version(s, s->name, s->version, conda, v->context_uri);
	assert_non_null(back);
	assert_same(v, back);
	again = render_spec(back);
	assert_string_equal(text, again);
	version_unref(back);
	spec_free(s);
}

static void check_version(int corpus, const cJSON *entry)
{
	const char *dir_path = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "dir"));
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "name"));
	const char *number = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "version"));
	_cleanup_close_ int dir = openat(corpus, dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct version *v, *from_service;
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	assert_true(dir >= 0);
	if (assetdir_read(dir, "spec.yml", -1, name, number, &d, &e))
		fail_msg("%s: %s", dir_path, e.msg);
	v = spec_to_version(d->spec, d->spec->name, d->spec->version, d->conda,
			    d->spec->build_path ? CONTEXT_URI : NULL);
	assert_non_null(v);
	from_service = through_json(v);
	assert_same(v, from_service);
	check_rendered(v);
	check_rendered(from_service);
	if (d->conda)
		check_conda(d->conda);
	version_unref(from_service);
	version_unref(v);
	assetdir_free(d);
}

static void every_version_survives_the_round_trip(void **state)
{
	_cleanup_close_ int corpus = open_corpus();
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	cJSON *manifest = NULL;
	const cJSON *entry;
	size_t len;

	(void)state;
	text = read_at(corpus, "manifest.json", &len);
	if (asset_json_parse(text, len, &manifest, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(cJSON_GetArraySize(manifest), VERSIONS);
	cJSON_ArrayForEach(entry, manifest) {
		check_version(corpus, entry);
	}
	cJSON_Delete(manifest);
}

static void memory_stayed_bounded(void **state)
{
	struct rusage use;

	(void)state;
	assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
#ifdef __SANITIZE_ADDRESS__
	assert_true(use.ru_maxrss < 1024 * 1024);
#else
	assert_true(use.ru_maxrss < 128 * 1024);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_inputs_get_the_result_their_manifest_names),
		cmocka_unit_test(scalars_stay_the_text_they_are),
		cmocka_unit_test(odd_file_names_are_kept),
		cmocka_unit_test(every_version_survives_the_round_trip),
		cmocka_unit_test(memory_stayed_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
