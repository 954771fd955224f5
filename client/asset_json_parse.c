/*
 * JSON text from outside: looked over once before cJSON sees it, because cJSON takes bytes that
 * are not UTF-8, cuts texts at NUL, and needs 64 bytes for a value of two.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "client/asset_json.h"
#include "client/utf8.h"

struct scan {
	const char *p;
	const char *end;
	int depth;
	int values;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* From behind a quote to behind the next one. */
static const char *scan_string(struct scan *s)
{
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p++;

		if (c == '"')
			return NULL;
		if (c < 0x20)
			return "a control character in a text";
		if (c != '\\')
			continue;
		if (s->end - s->p >= 5 && memcmp(s->p, "u0000", 5) == 0)
			return "a NUL character in a text";
		if (s->p < s->end)
			s->p++;
	}
	return "cut off within a text";
}

static const char *scan_step(struct scan *s)
{
	char c = *s->p++;

	switch (c) {
	case '"':
		return scan_string(s);
	case '{':
	case '[':
		if (++s->depth > ASSET_JSON_DEPTH_MAX)
			return "nested too deep";
		break;
	case '}':
	case ']':
		s->depth--;
		return NULL;
	case ',':
		break;
	default:
		return (unsigned char)c < 0x20 && !is_blank(c) ? "a control character" : NULL;
	}
	return ++s->values > ASSET_JSON_VALUES_MAX ? "too many values" : NULL;
}

/* Why the text is not to be parsed; NULL when nothing speaks against it. */
static const char *scan(const char *text, size_t len)
{
	struct scan s = {.p = text, .end = text + len};
	const char *why = NULL;

	if (len > ASSET_JSON_SIZE_MAX)
		return "too large";
	if (!utf8_valid(text, len))
		return "not UTF-8";
	while (s.p < s.end && !why)
		why = scan_step(&s);
	return why;
}

int asset_json_parse(const char *text, size_t len, cJSON **out, struct err *e)
{
	const char *why = scan(text, len), *end = NULL;
	cJSON *json;

	*out = NULL;
	if (why)
		return err_set(e, -EBADMSG, "the JSON can't be read: %s", why);
	json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (!json)
		return err_set(e, -EBADMSG, "not JSON, or cut off");
	while (end < text + len && is_blank(*end))
		end++;
	if (end < text + len) {
		cJSON_Delete(json);
		return err_set(e, -EBADMSG, "bytes follow the end of the JSON");
	}
	*out = json;
	return 0;
}
