#include "client/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/cleanup.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t len, char *out)
{
	const unsigned char *in = data;
	size_t i;

	for (i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)in[i] << 16;

		if (left > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			v |= in[i + 2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
		*out++ = left > 2 ? alphabet[v & 63] : '=';
	}
	*out = '\0';
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Four characters, of which the last `pad` are '='; gives 3 - pad bytes. */
static int decode_quad(const char *text, size_t pad, unsigned char bytes[3])
{
	uint32_t v = 0;
	size_t i;

	for (i = 0; i < 4; i++) {
		int d = i < 4 - pad ? digit(text[i]) : 0;

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
	}
	/* Bits that padding cuts off must be zero, or one value would have many spellings. */
	if (v & ((UINT32_C(1) << 8 * pad) - 1))
		return -EINVAL;
	bytes[0] = (unsigned char)(v >> 16);
	bytes[1] = (unsigned char)(v >> 8);
	bytes[2] = (unsigned char)v;
	return 0;
}

ssize_t base64_decode(const char *text, size_t len, void *out, size_t size)
{
	unsigned char *to = out;
	size_t pad = 0, n, i, k;

	if (len % 4)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	n = len / 4 * 3 - pad;
	if (n > size)
		return -EINVAL;
	for (i = 0; i < len; i += 4) {
		size_t quad_pad = i + 4 == len ? pad : 0;
		unsigned char bytes[3];

		if (decode_quad(text + i, quad_pad, bytes))
			return -EINVAL;
		for (k = 0; k < 3 - quad_pad; k++)
			*to++ = bytes[k];
	}
	return (ssize_t)n;
}

int base64url_add(struct buf *b, const void *data, size_t len)
{
	_cleanup_free_ char *text = malloc(BASE64_SIZE(len));

	if (!text)
		return -ENOMEM;
	base64_encode(data, len, text);
	for (char *p = text; *p && *p != '='; p++)
		buf_addch(b, (char)(*p == '+' ? '-' : *p == '/' ? '_' : *p));
	return buf_error(b);
}

ssize_t base64url_decode(const char *text, size_t len, void *out, size_t size)
{
	_cleanup_free_ char *standard = NULL;
	size_t n;

	while (len && text[len - 1] == '=')
		len--;
	standard = malloc(len + 4);
	if (!standard)
		return -ENOMEM;
	for (n = 0; n < len; n++) {
		if (text[n] == '+' || text[n] == '/')
			return -EINVAL;
		standard[n] = (char)(text[n] == '-' ? '+' : text[n] == '_' ? '/' : text[n]);
	}
	while (n % 4)
		standard[n++] = '=';
	return base64_decode(standard, n, out, size);
}
