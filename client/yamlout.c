#include "client/yamlout.h"

#include <string.h>
#include <strings.h>

#include "client/utf8.h"
#include "client/yamltree.h"

/* Readers give up on a key whose ":" is further away than 1024 characters. */
enum { SIMPLE_KEY_MAX = 1000 };

int yamlout_indent(struct buf *b, int n)
{
	while (n-- > 0)
		buf_addch(b, ' ');
	return buf_error(b);
}

/* ---- plain ---- */

/* Words that some reader takes for something else although yaml_text_type() says text. */
static bool is_special_word(const char *text, size_t len)
{
	return (len == 1 && strchr("yYnN=", text[0])) || (len == 2 && memcmp(text, "<<", 2) == 0);
}

static bool starts_plain(const char *text, size_t len)
{
	if (strchr("?:,[]{}#&*!|>'\"%@`", text[0]))
		return false;
	if (len >= 3 && (memcmp(text, "---", 3) == 0 || memcmp(text, "...", 3) == 0))
		return false;
	return text[0] != '-' || (len > 1 && text[1] != ' ');
}

/* True when every character may stand in a plain scalar where it does. */
static bool continues_plain(const char *text, size_t len)
{
	uint32_t cp;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n || !utf8_printable(cp))
			return false;
		if (cp == ':' && (i + 1 == len || text[i + 1] == ' '))
			return false;
		if (cp == '#' && i && text[i - 1] == ' ')
			return false;
	}
	return text[0] != ' ' && text[len - 1] != ' ';
}

static bool is_plain(const char *text, size_t len)
{
	return len && yaml_text_type(text, len) == YAML_IS_TEXT && !is_special_word(text, len) &&
	       starts_plain(text, len) && continues_plain(text, len);
}

/* ---- double quotes ---- */

static void add_escape(struct buf *b, uint32_t cp)
{
	static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
	const char *p = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;

	if (p)
		buf_addf(b, "\\%c", to[p - from]);
	else if (cp < 0x100)
		buf_addf(b, "\\x%02X", cp);
	else
		buf_addf(b, "\\u%04X", cp);
}

static void add_quoted(struct buf *b, const char *text, size_t len)
{
	uint32_t cp;

	buf_addch(b, '"');
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n) {
			cp = (unsigned char)text[i];
			n = 1;
			add_escape(b, cp);
		} else if (!utf8_printable(cp) || cp == '"' || cp == '\\') {
			add_escape(b, cp);
		} else {
			buf_add(b, text + i, n);
		}
	}
	buf_addch(b, '"');
}

int yamlout_scalar(struct buf *b, const char *text, size_t len)
{
	if (is_plain(text, len))
		return buf_add(b, text, len);
	add_quoted(b, text, len);
	return buf_error(b);
}

int yamlout_key(struct buf *b, const char *text, size_t len, int indent)
{
	_cleanup_buf_ struct buf key = BUF_INIT(b->max);

	if (yamlout_scalar(&key, text, len))
		return b->error = buf_error(&key);
	if (utf8_count(key.data, key.len) > SIMPLE_KEY_MAX) {
		buf_addstr(b, "? ");
		buf_add(b, key.data, key.len);
		buf_addch(b, '\n');
		yamlout_indent(b, indent);
		return buf_addch(b, ':');
	}
	buf_add(b, key.data, key.len);
	return buf_addch(b, ':');
}

/* ---- literal blocks ---- */

/*
 * Whether a literal block without an indentation indicator holds the text exactly: the first line
 * sets the indentation, so it must begin with its own first character; tabs are fine elsewhere.
 */
static bool fits_literal(const char *text, size_t len)
{
	uint32_t cp;

	if (!memchr(text, '\n', len) || strchr(" \t\n", text[0]))
		return false;
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n || (!utf8_printable(cp) && cp != '\n' && cp != '\t'))
			return false;
	}
	return true;
}

static const char *chomping(const char *text, size_t len)
{
	if (text[len - 1] != '\n')
		return "-";
	return text[len - 2] == '\n' ? "+" : "";
}

int yamlout_text(struct buf *b, const char *text, size_t len, int indent)
{
	const char *p = text, *end;

	if (!len || !fits_literal(text, len))
		return yamlout_scalar(b, text, len);
	buf_addf(b, "|%s", chomping(text, len));
	end = text + len - (text[len - 1] == '\n');
	for (;;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);

		buf_addch(b, '\n');
		if (n)
			yamlout_indent(b, indent);
		buf_add(b, p, n);
		if (!eol)
			return buf_error(b);
		p = eol + 1;
	}
}
