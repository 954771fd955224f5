/*
 * JSON text from outside: looked over once before cJSON sees it, because cJSON takes bytes that
 * are not UTF-8, cuts texts at NUL, and needs 64 bytes for a value of two.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/utf8.h"

struct scan {
	const char *text;
	const char *p;
	const char *end;
	char *copy; /* of text, in which NULs are replaced; NULL at first */
	bool nul;   /* there is one */
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
		if (s->end - s->p >= 5 && memcmp(s->p, "u0000", 5) == 0) {
			s->nul = true;
			if (s->copy)
				memcpy(s->copy + (s->p - s->text), "ufffd", 5);
		}
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

static const char *scan_all(struct scan *s)
{
	const char *why = NULL;

	while (s->p < s->end && !why)
		why = scan_step(s);
	return why;
}

/*
 * Why the text is not to be parsed; NULL when nothing speaks against it. One NUL in one name must
 * not cost the whole list, and no C string can hold it: *patched gets a copy of the text (to be
 * freed) with U+FFFD in its place, or NULL when there is none.
 */
static const char *scan(const char *text, size_t len, char **patched)
{
	struct scan s = {.text = text, .p = text, .end = text + len};
	const char *why;

	*patched = NULL;
	if (len > ASSET_JSON_SIZE_MAX)
		return "too large";
	if (!utf8_valid(text, len))
		return "not UTF-8";
	why = scan_all(&s);
	if (why || !s.nul)
		return why;
	*patched = malloc(len);
	if (!*patched)
		return "no memory";
	memcpy(*patched, text, len);
	s = (struct scan){.text = text, .p = text, .end = text + len, .copy = *patched};
	return scan_all(&s);
}

int asset_json_parse(const char *text, size_t len, cJSON **out, struct err *e)
{
	_cleanup_free_ char *patched = NULL;
	const char *why = scan(text, len, &patched), *end = NULL;
	cJSON *json;

	*out = NULL;
	if (patched)
		text = patched;
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
