#include "cache/readahead.h"

#include <string.h>

void readahead_reset(struct readahead *r)
{
	*r = (struct readahead){0};
}

size_t readahead_position(const struct env_list *list, const char *name)
{
	size_t lo = 0, hi = list->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(name, list->items[mid]->name);

		if (c == 0)
			return mid;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return list->count;
}

/* The position behind the n-th item of the kind, counted from from; fewer where the list ends. */
static size_t skip(const struct readahead *r, const struct env_list *list, size_t from, size_t n)
{
	size_t scanned = 0;

	while (n && from < list->count && scanned < READAHEAD_SCAN) {
		bool counts = list->items[from++]->archived == r->archived;

		n -= counts;
		scanned = counts ? 0 : scanned + 1;
	}
	return from;
}

/* Whether position continues the walk; a walker may look back and skip a little ahead. */
static bool continues(const struct readahead *r, const struct env_list *list, size_t position)
{
	size_t reach = r->window ? r->window : 1;

	if (!r->walking || list->items[position]->archived != r->archived)
		return false;
	return position < r->ahead || position < skip(r, list, r->last + 1, reach);
}

static bool looks_back(const struct readahead *r, size_t position)
{
	return position <= r->last && r->last - position <= r->window;
}

static void start(struct readahead *r, const struct env_list *list, size_t position)
{
	*r = (struct readahead){
		.walking = true,
		.archived = list->items[position]->archived,
		.last = position,
		.mark = position + 1,
		.ahead = position + 1,
	};
}

static unsigned int next_window(unsigned int window, unsigned int max)
{
	if (!window)
		return max < READAHEAD_FIRST ? max : READAHEAD_FIRST;
	return window > max / 2 ? max : 2 * window;
}

struct readahead_range readahead_read(struct readahead *r, const struct env_list *list,
				      size_t position, unsigned int max)
{
	struct readahead_range range = {0, 0};

	if (!max || position >= list->count)
		return range;
	if (!continues(r, list, position) || (position <= r->last && !looks_back(r, position))) {
		start(r, list, position);
		return range;
	}
	if (position <= r->last)
		return range;
	r->last = position;
	r->run++;
	if (position < r->mark)
		return range;
	if (r->ahead <= position)
		r->ahead = position + 1;
	r->window = next_window(r->window, max);
	range.from = r->mark = r->ahead;
	range.to = r->ahead = skip(r, list, r->ahead, r->window);
	return range;
}

struct readahead_range readahead_begin(struct readahead *r, const struct env_list *list,
				       size_t position, unsigned int max)
{
	struct readahead_range range = readahead_read(r, list, position, max);

	if (!max || position >= list->count || range.from != range.to || r->window ||
	    position + 1 != skip(r, list, 0, 1))
		return range;
	r->window = max < READAHEAD_SURE ? max : READAHEAD_SURE;
	range.from = r->mark = r->ahead;
	range.to = r->ahead = skip(r, list, r->ahead, r->window);
	return range;
}

bool readahead_walks(const struct readahead *r, const struct env_list *list, size_t position)
{
	return position < list->count && r->run >= READAHEAD_LONG && continues(r, list, position);
}
