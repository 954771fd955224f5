#include "fs/ignore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rule {
	const char *pattern; /* without "!", and without slashes at either end */
	size_t len;
	bool negated;
	bool dirs_only;
	bool anchored; /* matches from the top; otherwise any last name */
};

struct ignore {
	char *text;
	size_t count;
	struct rule rules[IGNORE_RULES_MAX];
};

/* ---- reading ---- */

/* Spaces at the end of a line do not count, unless a backslash is before them. */
static size_t trim(const char *line, size_t len)
{
	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r') &&
	       !(len > 1 && line[len - 2] == '\\'))
		len--;
	return len;
}

static bool parse_rule(const char *line, size_t len, struct rule *r)
{
	len = trim(line, len);
	*r = (struct rule){0};
	if (!len || line[0] == '#')
		return false;
	if (line[0] == '!') {
		r->negated = true;
		line++;
		len--;
	}
	while (len && line[len - 1] == '/') {
		r->dirs_only = true;
		len--;
	}
	r->anchored = memchr(line, '/', len) != NULL;
	if (len && line[0] == '/') {
		line++;
		len--;
	}
	r->pattern = line;
	r->len = len;
	return len > 0;
}

int ignore_parse(const char *text, size_t len, struct ignore **out, struct err *e)
{
	struct ignore *ig;
	const char *p, *end;

	*out = NULL;
	if (len > IGNORE_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than %d bytes", IGNORE_SIZE_MAX);
	ig = calloc(1, sizeof(*ig));
	if (ig)
		ig->text = malloc(len + 1);
	if (!ig || !ig->text) {
		free(ig);
		return err_set(e, -ENOMEM, "out of memory");
	}
	memcpy(ig->text, text, len);
	end = ig->text + len;
	for (p = ig->text; p < end;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);
		struct rule rule;

		if (parse_rule(p, n, &rule)) {
			if (ig->count == IGNORE_RULES_MAX) {
				ignore_free(ig);
				return err_set(e, -EFBIG, "more than %d rules", IGNORE_RULES_MAX);
			}
			ig->rules[ig->count++] = rule;
		}
		p += n + 1;
	}
	*out = ig;
	return 0;
}

void ignore_free(struct ignore *ig)
{
	if (!ig)
		return;
	free(ig->text);
	free(ig);
}

/* ---- matching ---- */

/* A part of a pattern or path: bytes from p up to end. */
struct span {
	const char *p;
	const char *end;
};

/*
 * Whether c is in the set that begins behind "[". *after gets where the pattern goes on; false with
 * *after NULL when the bracket is never closed, and so is one itself.
 */
static bool match_set(struct span set, unsigned char c, const char **after)
{
	bool negated = set.p < set.end && (*set.p == '!' || *set.p == '^');
	const char *p = set.p + negated, *first = p;
	bool found = false;

	*after = NULL;
	for (; p < set.end && (*p != ']' || p == first); p++) {
		unsigned char low, high;

		if (*p == '\\' && p + 1 < set.end)
			p++;
		low = high = (unsigned char)*p;
		if (p + 2 < set.end && p[1] == '-' && p[2] != ']') {
			p += 2;
			if (*p == '\\' && p + 1 < set.end)
				p++;
			high = (unsigned char)*p;
		}
		found = found || (c >= low && c <= high);
	}
	if (p < set.end)
		*after = p + 1;
	return p < set.end && found != negated;
}

/* Matches one character at pat (not "*"); where the pattern goes on, or NULL when it differs. */
static const char *match_one(struct span pat, char c)
{
	const char *after;

	if (*pat.p == '?')
		return pat.p + 1;
	if (*pat.p == '[') {
		bool in = match_set((struct span){pat.p + 1, pat.end}, (unsigned char)c, &after);

		if (after)
			return in ? after : NULL;
	}
	if (*pat.p == '\\' && pat.p + 1 < pat.end)
		pat.p++;
	return *pat.p == c ? pat.p + 1 : NULL;
}

/* One name against one part of a pattern. Going back to the last "*" only is enough. */
static bool match_name(struct span pat, struct span name)
{
	struct span star = {NULL, NULL};

	while (name.p < name.end) {
		const char *next = NULL;

		if (pat.p < pat.end && *pat.p == '*') {
			star = (struct span){++pat.p, name.p};
			continue;
		}
		if (pat.p < pat.end)
			next = match_one(pat, *name.p);
		if (next) {
			pat.p = next;
			name.p++;
		} else if (star.p) {
			pat.p = star.p;
			name.p = ++star.end;
		} else {
			return false;
		}
	}
	while (pat.p < pat.end && *pat.p == '*')
		pat.p++;
	return pat.p == pat.end;
}

static struct span first_part(struct span path)
{
	const char *slash = memchr(path.p, '/', (size_t)(path.end - path.p));

	return (struct span){path.p, slash ? slash : path.end};
}

static struct span behind_part(struct span path)
{
	struct span part = first_part(path);

	return (struct span){part.end < path.end ? part.end + 1 : path.end, path.end};
}

static bool is_double_star(struct span part)
{
	return part.end - part.p == 2 && memcmp(part.p, "**", 2) == 0;
}

/* A path against a pattern, part by part; "**" is to parts what "*" is to characters. */
static bool match_path(struct span pat, struct span path)
{
	struct span star_pat = {NULL, NULL}, star_path = {NULL, NULL};

	while (path.p < path.end) {
		struct span part = first_part(pat);

		if (pat.p < pat.end && is_double_star(part)) {
			pat = behind_part(pat);
			if (pat.p == pat.end)
				return true;
			star_pat = pat;
			star_path = path;
		} else if (pat.p < pat.end && match_name(part, first_part(path))) {
			pat = behind_part(pat);
			path = behind_part(path);
		} else if (star_pat.p) {
			star_path = behind_part(star_path);
			pat = star_pat;
			path = star_path;
		} else {
			return false;
		}
	}
	return pat.p == pat.end;
}

bool ignore_match(const struct ignore *ig, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	const struct span whole = {path, path + strlen(path)};
	const struct span last = {slash ? slash + 1 : path, whole.end};

	for (size_t i = ig ? ig->count : 0; i > 0; i--) {
		const struct rule *r = &ig->rules[i - 1];
		const struct span pat = {r->pattern, r->pattern + r->len};

		if (r->dirs_only && !is_dir)
			continue;
		if (r->anchored ? match_path(pat, whole) : match_name(pat, last))
			return !r->negated;
	}
	return false;
}
