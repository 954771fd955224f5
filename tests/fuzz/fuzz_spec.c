/* spec.yml: what is accepted is rendered, and the rendered text is the same record again. */
#include "client/cleanup.h"
#include "client/dockerfile.h"
#include "fs/spec.h"

static const char *const FUZZ_SEEDS[] = {
	"$schema: https://x/environment.schema.json\nname: n\nversion: 2.10\nimage: i:1\n"
	"conda_file: conda.yml\nos_type: Linux\ndescription: |\n  a\n\n  b\ntags:\n  a: 1.10\n"
	"  \"b\": ~\n",
	"name: n\nbuild:\n  path: ctx\n  dockerfile_path: a/Dockerfile\n",
	"name: n\nbuild: {path: 'https://h/r.git#main:d'}\ndatastore: d\n",
	"name: &n x\nimage: *n\ninference_config:\n  liveness_route: &r {port: 80, path: /a}\n"
	"  readiness_route: {<<: *r}\n  scoring_route:\n    <<: [*r]\n    path: \"/\\u00e9\"\n",
	"image: i\nconda_file:\n  dependencies: [python=3.10, {pip: [a, 'b c', \"1\"]}]\n",
	"--- # x\nname: n\nimage: >-\n  folded\n  text\ntags: {a: 'b', \"c\\n\": \"\\x01\"}\n...\n",
};

static const char *const FUZZ_WORDS[] = {
	"\n",        "  ",         ": ",
	"- ",        "#",          "&a ",
	"*a",        "<<: *a\n",   "!!str ",
	"{",         "}",          "[",
	"]",         ",",          "'",
	"\"",        "|\n",        ">\n",
	"---\n",     "...\n",      "name:",
	"tags:\n  ", "image: x\n", "build:\n",
	"\t",        "\r\n",       "\xef\xbb\xbf",
	"\xc2\x85",  "~",          "null",
	"yes",       "1e3",        "? ",
	"\\",        "%",          "@",
	"../",       "/",
};

#include "tests/fuzz/driver.h"

#define CONTEXT_URI "https://acct.blob.core.windows.net/c/x/"

enum { TEXT_MAX = 16 * 1024 * 1024 };

static struct version *record_of(const struct spec *s)
{
	return spec_to_version(s, s->name ? s->name : "n", s->version ? s->version : "1",
			       s->conda_path ? "{}" : s->conda_inline,
			       s->build_path && !s->build_is_url ? CONTEXT_URI : NULL);
}

static void check_render(const struct spec *s, const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX), again = BUF_INIT(TEXT_MAX);
	struct version *v = record_of(s), *back;
	struct spec *parsed = NULL;
	struct err e = ERR_INIT;

	FUZZ_CHECK(v, data, size);
	FUZZ_CHECK(!spec_render(v, &text), data, size);
	FUZZ_CHECK(!spec_parse(text.data, text.len, &parsed, &e), text.data, text.len);
	back = spec_to_version(parsed, parsed->name, parsed->version, v->conda, v->context_uri);
	FUZZ_CHECK(back, data, size);
	FUZZ_CHECK(version_same_content(v, back), data, size);
	FUZZ_CHECK(strcmp(v->version, back->version) == 0, data, size);
	FUZZ_CHECK(!spec_render(back, &again), data, size);
	FUZZ_CHECK(strcmp(text.data, again.data) == 0, data, size);
	buf_reset(&again);
	if (dockerfile_is_derived(v))
		FUZZ_CHECK(!dockerfile_render(v, &again), data, size);
	version_unref(v);
	version_unref(back);
	spec_free(parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spec *s = NULL;
	struct err e = ERR_INIT;
	int rc = spec_parse((const char *)data, size, &s, &e);

	FUZZ_CHECK(rc == 0 || (e.msg[0] && !s), data, size);
	if (rc == 0)
		check_render(s, data, size);
	spec_free(s);
	return 0;
}
