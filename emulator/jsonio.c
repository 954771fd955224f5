#include "emulator/jsonio.h"

#include <errno.h>
#include <string.h>

#include "client/utf8.h"

static int add_escaped(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"':
		return buf_addstr(b, "\\\"");
	case '\\':
		return buf_addstr(b, "\\\\");
	case '\n':
		return buf_addstr(b, "\\n");
	case '\r':
		return buf_addstr(b, "\\r");
	case '\t':
		return buf_addstr(b, "\\t");
	default:
		return buf_addf(b, "\\u%04x", c);
	}
}

int json_add_text(struct buf *b, const char *text, size_t len)
{
	size_t from = 0;

	buf_addch(b, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_add(b, text + from, i - from);
		add_escaped(b, c);
		from = i + 1;
	}
	buf_add(b, text + from, len - from);
	return buf_addch(b, '"');
}

int json_add_string(struct buf *b, const char *s)
{
	return s ? json_add_text(b, s, strlen(s)) : buf_addstr(b, "null");
}

/* cJSON would end a string at an escaped NUL without a word. */
static bool has_nul_escape(const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		if (text[i] != '\\')
			continue;
		if (len - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
			return true;
		i++;
	}
	return false;
}

static bool only_space(const char *p, const char *end)
{
	for (; p < end; p++)
		if (!strchr(" \t\r\n", *p) || !*p)
			return false;
	return true;
}

int json_parse(const char *text, size_t len, cJSON **out, struct err *e)
{
	const char *end = NULL;
	cJSON *json;

	*out = NULL;
	if (!len)
		return err_set(e, -EBADMSG, "The request has no content.");
	if (!utf8_valid(text, len) || has_nul_escape(text, len))
		return err_set(e, -EBADMSG, "The content is not UTF-8 or holds a NUL character.");
	json = cJSON_ParseWithLengthOpts(text, len, &end, 0);
	if (!json || !only_space(end, text + len)) {
		cJSON_Delete(json);
		return err_set(e, -EBADMSG,
			       "The request content was invalid and could not be deserialized: "
			       "not JSON at byte %td.",
			       end ? end - text : (ptrdiff_t)0);
	}
	if (!cJSON_IsObject(json)) {
		cJSON_Delete(json);
		return err_set(e, -EBADMSG, "The content is not a JSON object.");
	}
	*out = json;
	return 0;
}

const char *json_get_string(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}
