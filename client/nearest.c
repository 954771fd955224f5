#include "client/nearest.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 31 };

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t least_of(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return c < least ? c : least;
}

/* Levenshtein's distance, one row of the matrix at a time. */
static size_t distance(const char *a, const char *b)
{
	size_t row[LONGEST + 1], na = strlen(a), nb = strlen(b);

	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t corner = row[0]++;

		for (size_t j = 1; j <= nb; j++) {
			size_t above = row[j];

			row[j] = least_of(corner + !same_letter(a[i - 1], b[j - 1]), above + 1,
					  row[j - 1] + 1);
			corner = above;
		}
	}
	return row[nb];
}

size_t nearest_limit(const char *word)
{
	return strlen(word) / 3 + 2;
}

bool nearest_closer(const char *word, const char *known, size_t *least)
{
	size_t d;

	if (strlen(word) > LONGEST || strlen(known) > LONGEST)
		return false;
	d = distance(word, known);
	if (d >= *least)
		return false;
	*least = d;
	return true;
}

const char *nearest_word(const char *word, const char *const *list)
{
	size_t least = nearest_limit(word);
	const char *best = NULL;

	for (; *list; list++)
		if (nearest_closer(word, *list, &least))
			best = *list;
	return best;
}
