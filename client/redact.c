#include "client/redact.h"

#include <string.h>
#include <strings.h>

/* A secret follows each of these marks (matched without case) ... */
static const char *const marks[] = {
	"sig=",          "sig%3d",       "bearer ",           "sharedkey ",
	"access_token",  "accesstoken",  "refresh_token",     "id_token",
	"client_secret", "clientsecret", "client_assertion",  "device_code",
	"refreshtoken",  "accountkey",   "\"key\"",           "sastoken",
	"\"secret\"",    "assertion",    "x-identity-header",
};

/* ... after at most these characters of punctuation: `"key": "…`, `access_token=…` */
static const char punctuation[] = "\"' \t:=";

static int is_secret_char(unsigned char c)
{
	return c > ' ' && !strchr("\"'<>&,;{}()[]", c);
}

/*
 * named: the mark ends the name of a variable (AZURE_CLIENT_SECRET), which sentences are about, so
 * that behind a blank there is a word of the sentence.
 */
static char *mask(char *p, int named)
{
	if (named && (*p == ' ' || *p == '\t'))
		return p;
	while (*p && strchr(punctuation, *p))
		p++;
	for (; is_secret_char((unsigned char)*p); p++)
		*p = '*';
	return p;
}

void redact(char *text)
{
	for (char *p = text; *p; p++) {
		for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
			size_t n = strlen(marks[i]);

			if (strncasecmp(p, marks[i], n) == 0) {
				p = mask(p + n, p > text && p[-1] == '_') - 1;
				break;
			}
		}
	}
}

enum { OPAQUE_MIN = 32, GUID_LEN = 36 };

/* 8-4-4-4-12: what tenants, applications and requests are called. */
static int is_guid(const char *run, size_t len)
{
	return len == GUID_LEN && run[8] == '-' && run[13] == '-' && run[18] == '-' &&
	       run[23] == '-';
}

void redact_opaque(char *text)
{
	static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-._~+/=";

	redact(text);
	for (char *p = text; *p;) {
		size_t n = strspn(p, token);

		if (n >= OPAQUE_MIN && !is_guid(p, n))
			memset(p, '*', n);
		p += n ? n : 1;
	}
}

void redact_secret(char *text, const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;

	for (char *at = len ? strstr(text, secret) : NULL; at; at = strstr(at + len, secret))
		memset(at, '*', len);
}

void redact_words(char *words, char *out, size_t size)
{
	size_t n;

	redact_opaque(words);
	n = strnlen(words, size - 1);
	while (n && ((unsigned char)words[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)words[i] < ' ' || words[i] == 0x7f ? ' ' : words[i];
	out[n] = '\0';
}
