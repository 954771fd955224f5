/* conda specifications: both conversions are idempotent, and neither changes what is said. */
#include <errno.h>

#include "client/cleanup.h"
#include "client/conda.h"

static const char *const FUZZ_SEEDS[] = {
	"name: x\nchannels:\n- conda-forge\ndependencies:\n- python=3.10\n- pip:\n  - a==1.10\n",
	"{\n  \"a\": [\n    \"b\",\n    null,\n    3.10,\n    {\"c\": \"\\ud83d\\ude00\"}\n  ]\n}",
	"a: &x [1, yes, 0755, ~, '', \"\\u2028\"]\nb: *x\nc: {<<: {d: e}, f: {}}\ng: []\n",
	"a: |\n  x\n\n   y\nb: >\n  z\n  w\n? key\n: value\n",
};

static const char *const FUZZ_WORDS[] = {
	"\n",
	"  ",
	": ",
	"- ",
	"#",
	"&a ",
	"*a",
	"<<: *a\n",
	"!!int ",
	"{",
	"}",
	"[",
	"]",
	",",
	"'",
	"\"",
	"|\n",
	">-\n",
	"\\ud83d\\ude00",
	"\\/",
	"\\\"",
	"\x7f",
	"\t",
	"\r\n",
	"null",
	"true",
	"-0",
	"1e3",
	"12",
	"? ",
	"\xef\xbb\xbf",
	"\xc2\x85",
	"\xe2\x80\xa8",
	"\\\\",
};

#include "tests/fuzz/driver.h"

enum { TEXT_MAX = 64 * 1024 * 1024 };

typedef int convert_fn(const char *text, size_t len, struct buf *out, struct err *e);

/* Converting what was converted; past the bounds of the loader there is nothing to compare. */
static void check_equal(convert_fn *fn, const struct buf *from, const struct buf *expected)
{
	_cleanup_buf_ struct buf b = BUF_INIT(TEXT_MAX);
	int rc = fn(buf_str(from), from->len, &b, NULL);

	if (rc == -EFBIG)
		return;
	FUZZ_CHECK(rc == 0, from->data, from->len);
	FUZZ_CHECK(b.len == expected->len && memcmp(b.data, expected->data, b.len) == 0, from->data,
		   from->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf json = BUF_INIT(TEXT_MAX), yaml = BUF_INIT(TEXT_MAX);
	const char *text = (const char *)data;
	struct err e = ERR_INIT;
	int rc = conda_to_json(text, size, &json, &e);

	FUZZ_CHECK(rc == 0 || e.msg[0], data, size);
	if (rc) {
		FUZZ_CHECK(conda_render(text, size, &yaml, NULL) == rc, data, size);
		return 0;
	}
	FUZZ_CHECK(conda_render(text, size, &yaml, NULL) == 0, data, size);
	check_equal(conda_to_json, &json, &json);
	check_equal(conda_to_json, &yaml, &json);
	check_equal(conda_render, &yaml, &yaml);
	check_equal(conda_render, &json, &yaml);
	rc = conda_same(text, size, json.data, json.len, NULL);
	FUZZ_CHECK(rc == 1 || rc == -EFBIG, data, size);
	return 0;
}
