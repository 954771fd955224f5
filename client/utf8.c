#include "client/utf8.h"

#include <string.h>

enum { EXCERPT_CHARS = 40 };

/* Size of a sequence and the bits of its first byte that count; 0 for a byte that starts none. */
static size_t sequence_size(unsigned char first, uint32_t *bits)
{
	if (first < 0x80) {
		*bits = first;
		return 1;
	}
	if (first >= 0xc2 && first < 0xe0) {
		*bits = first & 0x1f;
		return 2;
	}
	if (first >= 0xe0 && first < 0xf0) {
		*bits = first & 0x0f;
		return 3;
	}
	if (first >= 0xf0 && first < 0xf5) {
		*bits = first & 0x07;
		return 4;
	}
	return 0;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)text;
	size_t n = sequence_size(p[0], cp);

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (p[i] & 0x3f);
	}
	if (*cp < least[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000))
		return 0;
	return n;
}

bool utf8_valid(const char *text, size_t len)
{
	uint32_t cp;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n)
			return false;
	}
	return true;
}

size_t utf8_count(const char *text, size_t len)
{
	size_t count = 0;
	uint32_t cp;

	for (size_t i = 0, n; i < len; i += n, count++) {
		n = utf8_decode(text + i, len - i, &cp);
		if (!n)
			n = 1;
	}
	return count;
}

bool utf8_printable(uint32_t cp)
{
	if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
		return false;
	return cp != 0x2028 && cp != 0x2029 && cp != 0xfeff && cp != 0xfffe && cp != 0xffff &&
	       !(cp >= 0xd800 && cp < 0xe000);
}

const char *utf8_excerpt(char out[UTF8_EXCERPT_SIZE], const char *text, size_t len)
{
	size_t i = 0, used = 0, count = 0;
	uint32_t cp;

	while (i < len && count < EXCERPT_CHARS) {
		size_t n = utf8_decode(text + i, len - i, &cp);

		if (n && utf8_printable(cp)) {
			memcpy(out + used, text + i, n);
			used += n;
		} else {
			out[used++] = '?';
		}
		i += n ? n : 1;
		count++;
	}
	if (i < len) {
		memcpy(out + used, "...", 3);
		used += 3;
	}
	out[used] = '\0';
	return out;
}
