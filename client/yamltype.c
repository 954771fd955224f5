/*
 * What readers take unquoted text for. The forms are those of PyYAML's resolver (YAML 1.1, what the
 * CLI uses) and of the YAML 1.2 core schema together: text that either would not read as a string
 * is not YAML_IS_TEXT.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "client/yamltree.h"

/* A position in text that has an end; at() is NUL past it. */
struct cursor {
	const char *p;
	const char *end;
};

static char at(const struct cursor *c)
{
	return c->p < c->end ? *c->p : '\0';
}

static bool digit(char ch)
{
	return ch >= '0' && ch <= '9';
}

static bool done(const struct cursor *c)
{
	return c->p == c->end;
}

static size_t skip(struct cursor *c, const char *set)
{
	const char *start = c->p;

	while (c->p < c->end && *c->p && strchr(set, *c->p))
		c->p++;
	return (size_t)(c->p - start);
}

static bool is_word(const char *text, size_t len, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == len && strncasecmp(text, *words, len) == 0)
			return true;
	return false;
}

/* 0x1F, 0o17, 0b11 behind the sign. */
static bool is_based_int(struct cursor c)
{
	static const struct {
		const char *prefix, *digits;
	} bases[] = {
		{"0x", "0123456789abcdefABCDEF_"},
		{"0o", "01234567_"},
		{"0b", "01_"},
	};

	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		struct cursor rest = {c.p + 2, c.end};

		if (c.end - c.p > 2 && memcmp(c.p, bases[i].prefix, 2) == 0 &&
		    skip(&rest, bases[i].digits) && done(&rest))
			return true;
	}
	return false;
}

/* What follows the digits of 1:30 or 1:30:07.5, the base-60 numbers of YAML 1.1. */
static enum yaml_type base60_type(struct cursor c)
{
	while (at(&c) == ':') {
		struct cursor part = {c.p + 1, c.end};
		size_t n = skip(&part, "0123456789");

		if (n < 1 || n > 2)
			return YAML_IS_TEXT;
		c = part;
	}
	if (done(&c))
		return YAML_IS_INT;
	if (at(&c) != '.')
		return YAML_IS_TEXT;
	c.p++;
	skip(&c, "0123456789_");
	return done(&c) ? YAML_IS_FLOAT : YAML_IS_TEXT;
}

static bool is_exponent(struct cursor c)
{
	if (done(&c))
		return true;
	if (at(&c) != 'e' && at(&c) != 'E')
		return false;
	c.p++;
	if (at(&c) == '+' || at(&c) == '-')
		c.p++;
	return skip(&c, "0123456789") && done(&c);
}

static enum yaml_type number_type(const char *text, size_t len)
{
	static const char *const specials[] = {".inf", ".nan", NULL};
	struct cursor c = {text, text + len};
	size_t whole, fraction = 0;

	if (at(&c) == '+' || at(&c) == '-')
		c.p++;
	if (is_word(c.p, (size_t)(c.end - c.p), specials))
		return YAML_IS_FLOAT;
	if (is_based_int(c))
		return YAML_IS_INT;
	if (!digit(at(&c)) && at(&c) != '.')
		return YAML_IS_TEXT;
	whole = skip(&c, "0123456789_");
	if (done(&c))
		return YAML_IS_INT;
	if (at(&c) == ':' && whole)
		return base60_type(c);
	if (at(&c) == '.') {
		c.p++;
		if (!whole && !digit(at(&c)))
			return YAML_IS_TEXT;
		fraction = skip(&c, "0123456789_");
	}
	return whole + fraction && is_exponent(c) ? YAML_IS_FLOAT : YAML_IS_TEXT;
}

/* 2024-01-31, alone or with a time behind it. */
static bool is_date(const char *text, size_t len)
{
	struct cursor c = {text, text + len};

	if (skip(&c, "0123456789") != 4)
		return false;
	for (int i = 0; i < 2; i++) {
		size_t n;

		if (at(&c) != '-')
			return false;
		c.p++;
		n = skip(&c, "0123456789");
		if (n < 1 || n > 2)
			return false;
	}
	if (done(&c))
		return true;
	return skip(&c, "Tt \t") && digit(at(&c));
}

enum yaml_type yaml_text_type(const char *text, size_t len)
{
	static const char *const nulls[] = {"", "~", "null", NULL};
	static const char *const bools[] = {"true", "false", "yes", "no", "on", "off", NULL};

	if (is_word(text, len, nulls))
		return YAML_IS_NULL;
	if (is_word(text, len, bools))
		return YAML_IS_BOOL;
	if (is_date(text, len))
		return YAML_IS_DATE;
	return number_type(text, len);
}

enum yaml_type yaml_scalar_type(const struct yaml_node *scalar)
{
	return scalar->plain ? yaml_text_type(scalar->text, scalar->len) : YAML_IS_TEXT;
}
