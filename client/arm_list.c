#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/cleanup.h"
#include "client/log.h"

int records_add(struct records *r, void *record)
{
	if (r->n == ASSET_LIST_MAX)
		return -EFBIG;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		void **items = realloc(r->items, cap * sizeof(*items));

		if (!items)
			return -ENOMEM;
		r->items = items;
		r->cap = cap;
	}
	r->items[r->n++] = record;
	return 0;
}

struct pages {
	struct arm *arm;
	struct call *call;
	arm_item_fn *fn;
	void *arg;
	struct url origin; /* where the list is: the only place its links may lead to */
	void *seen;        /* tsearch() tree of the links followed */
	size_t n_pages;
	size_t n_items;
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Remembers that url is asked for; -EBADMSG when it was before. */
static int pages_mark(struct pages *p, const char *url, struct err *e)
{
	char **found, *copy = strdup(url);

	if (!copy)
		return err_set(e, -ENOMEM, "no memory for a list");
	found = tsearch(copy, &p->seen, compare_text);
	if (!found) {
		free(copy);
		return err_set(e, -ENOMEM, "no memory for a list");
	}
	if (*found != copy) {
		free(copy);
		return err_set(e, -EBADMSG,
			       "the service repeats itself: a page of the list links "
			       "to one that was read already");
	}
	if (++p->n_pages > ARM_PAGES_MAX)
		return err_set(e, -EFBIG, "a list of more than %d pages", ARM_PAGES_MAX);
	return 0;
}

static int pages_items(struct pages *p, const cJSON *page, struct err *e)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(page, "value"), *item;

	if (!cJSON_IsArray(value))
		return err_set(e, -EBADMSG, "the answer is not a list: it has no \"value\"");
	cJSON_ArrayForEach(item, value) {
		struct err why = ERR_INIT;
		int rc;

		if (++p->n_items > ASSET_LIST_MAX)
			return err_set(e, -EFBIG, "a list of more than %d items", ASSET_LIST_MAX);
		rc = p->fn(p->arg, item, &why);
		if (rc == -ENOMEM || rc == -EFBIG)
			return err_set(e, rc, "%s", err_text(&why, rc));
		if (rc)
			log_warn("op=list msg=\"item left out: %s\"", err_text(&why, rc));
	}
	return 0;
}

/* The next page's URL goes to *next (owned), NULL at the end. */
static int pages_next(struct pages *p, const cJSON *page, char **next, struct err *e)
{
	const cJSON *link = cJSON_GetObjectItemCaseSensitive(page, "nextLink");
	_cleanup_url_ struct url u = {0};
	int rc;

	*next = NULL;
	if (!link || cJSON_IsNull(link) || (cJSON_IsString(link) && link->valuestring[0] == '\0'))
		return 0;
	if (!cJSON_IsString(link))
		return err_set(e, -EBADMSG, "nextLink is not a text");
	rc = url_parse(link->valuestring, &u, e);
	if (rc)
		return err_prefix(e, rc, "nextLink: ");
	if (!url_same_origin(&u, &p->origin))
		return err_set(e, -EBADMSG, "nextLink leads to another host (%s)", u.host);
	*next = strdup(link->valuestring);
	return *next ? 0 : err_set(e, -ENOMEM, "no memory for a list");
}

static int pages_read(struct pages *p, char **url, struct err *e)
{
	char path[HTTP_SHOWN_PATH], *next = NULL;
	cJSON *page = NULL;
	int rc = pages_mark(p, *url, e);

	if (!rc) {
		rc = arm_get(p->arm, *url, p->call, &page, e);
		if (rc)
			return rc;
		rc = pages_items(p, page, e);
	}
	if (!rc)
		rc = pages_next(p, page, &next, e);
	cJSON_Delete(page);
	http_shown_path(*url, path);
	free(*url);
	*url = next;
	return rc ? err_prefix(e, rc, "GET %s: ", path) : 0;
}

int arm_list(struct arm *a, const char *url, struct call *c, arm_item_fn *fn, void *arg,
	     struct err *e)
{
	struct pages p = {.arm = a, .call = c, .fn = fn, .arg = arg};
	char *at = strdup(url);
	int rc = at ? url_parse(url, &p.origin, e) : err_set(e, -ENOMEM, "no memory for a list");

	while (!rc && at)
		rc = pages_read(&p, &at, e);
	tdestroy(p.seen, free);
	url_clear(&p.origin);
	free(at);
	return rc;
}
