#include "fs/name.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "client/sha256.h"

enum {
	CUT_HASH_BYTES = 8,
	CUT_TAIL = 2 + 2 * CUT_HASH_BYTES, /* "%~" and the digits */
	ESCAPE = 3,                        /* "%41" */
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)toupper((unsigned char)c);
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Whether the character at i, a '%', would read as an escape when left as it is. */
static bool looks_escaped(const char *text, size_t len, size_t i)
{
	if (i + 1 < len && text[i + 1] == '~')
		return true;
	return i + 2 < len && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0;
}

static bool reserved_start(enum name_place place, const char *text, size_t len)
{
	if (len == 0)
		return false;
	switch (place) {
	case NAME_SCOPE:
		return text[0] == '.' || text[0] == '@';
	case NAME_ENV:
		return text[0] == '.';
	case NAME_VERSION:
		return text[0] == '.' || (len == 6 && memcmp(text, "latest", len) == 0);
	case NAME_CONTEXT:
		break;
	}
	return (len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", len) == 0);
}

static bool must_escape(enum name_place place, const char *text, size_t len, size_t i)
{
	if (text[i] == '/' || text[i] == '\0')
		return true;
	if (text[i] == '%')
		return looks_escaped(text, len, i);
	return i == 0 && reserved_start(place, text, len);
}

static void cut(const char *text, size_t len, char out[NAME_SIZE], size_t keep)
{
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};

	if (!EVP_Digest(text, len, digest, NULL, sha256(), NULL))
		memset(digest, 0, sizeof(digest));
	/* Do not end in the middle of a UTF-8 character. */
	while (keep && ((unsigned char)out[keep] & 0xc0) == 0x80)
		keep--;
	out[keep++] = '%';
	out[keep++] = '~';
	for (size_t i = 0; i < CUT_HASH_BYTES; i++, keep += 2)
		snprintf(out + keep, NAME_SIZE - keep, "%02x", digest[i]);
}

void name_encode(enum name_place place, const char *text, size_t len, char out[NAME_SIZE])
{
	size_t n = 0, keep = 0;

	if (len == 0) {
		/* An empty name: an escape that nothing else gives. */
		snprintf(out, NAME_SIZE, "%%~");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		bool escape = must_escape(place, text, len, i);
		size_t need = escape ? ESCAPE : 1;

		if (n + need >= NAME_SIZE) {
			cut(text, len, out, keep);
			return;
		}
		if (escape)
			snprintf(out + n, NAME_SIZE - n, "%%%02X", (unsigned char)text[i]);
		else
			out[n] = text[i];
		n += need;
		if (n < NAME_SIZE - CUT_TAIL)
			keep = n;
	}
	out[n] = '\0';
}

int name_decode(enum name_place place, const char *name, char out[NAME_SIZE], size_t *len)
{
	char again[NAME_SIZE];
	size_t n = 0;

	if (strlen(name) >= NAME_SIZE)
		return -ENOENT;
	if (strcmp(name, "%~") == 0) {
		out[0] = '\0';
		*len = 0;
		return 0;
	}
	for (const char *p = name; *p; n++) {
		if (p[0] == '%' && p[1] == '~')
			return -ENOENT;
		if (p[0] == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
			out[n] = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
			p += ESCAPE;
		} else {
			out[n] = *p++;
		}
	}
	out[n] = '\0';
	*len = n;
	/* One name, one file: "%61" is not another way to write "a". */
	name_encode(place, out, n, again);
	return strcmp(again, name) == 0 ? 0 : -ENOENT;
}

size_t name_split(const char *path, size_t len, size_t *next)
{
	size_t end = 0;

	while (end < len && path[end] == '/')
		end++;
	while (end < len && path[end] != '/')
		end++;
	/* Slashes at the very end belong to the last part. */
	for (size_t i = end; i <= len; i++) {
		if (i == len) {
			*next = len;
			return len;
		}
		if (path[i] != '/')
			break;
	}
	*next = end + 1;
	return end;
}

int name_encode_path(const char *path, size_t len, struct buf *out)
{
	char part[NAME_SIZE];
	size_t at = 0, next;

	while (at < len) {
		size_t n = name_split(path + at, len - at, &next);

		name_encode(NAME_CONTEXT, path + at, n, part);
		if (at)
			buf_addch(out, '/');
		buf_addstr(out, part);
		at += next;
	}
	return buf_error(out);
}

bool name_is_probe(const char *name)
{
	static const char *const probes[] = {
		".git",
		".hg",
		".bzr",
		".svn",
		"CVS",
		"RCS",
		"SCCS",
		"_MTN",
		".src",
		".dir-locals.el",
		".dir-locals-2.el",
		".le.ini",
		".menus",
		".keys",
		".hidden",
		".xdg-volume-info",
		"autorun.inf",
		".Trash",
		".directory",
		".nomedia",
		"Thumbs.db",
		".DS_Store",
		".editorconfig",
		".vscode",
		".envrc",
	};

	for (size_t i = 0; i < sizeof(probes) / sizeof(*probes); i++)
		if (strcmp(name, probes[i]) == 0)
			return true;
	return strncmp(name, ".Trash-", 7) == 0;
}
