#include "emulator/listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "emulator/faults.h"
#include "emulator/jsonio.h"

enum {
	PAGE_DEFAULT = 100,
	PAGE_MAX = 1000,
	TOKEN_SIZE = 64,
};

static int refuse(struct exchange *x, const char *name, const char *value)
{
	exchange_error(x, 400, "UserError", "The query parameter %s has the invalid value '%s'.",
		       name, value);
	return -EINVAL;
}

static int read_view(struct exchange *x, struct listing *l)
{
	const char *view = emu_param(x->req, "listViewType");

	l->view = VIEW_ACTIVE;
	if (!view || !*view || strcasecmp(view, "ActiveOnly") == 0)
		return 0;
	if (strcasecmp(view, "ArchivedOnly") == 0)
		l->view = VIEW_ARCHIVED;
	else if (strcasecmp(view, "All") == 0)
		l->view = VIEW_ALL;
	else
		return refuse(x, "listViewType", view);
	return 0;
}

static int read_order(struct exchange *x, struct listing *l, bool by_time)
{
	const char *order = emu_param(x->req, "$orderBy");

	l->ascending = !by_time;
	if (!by_time || !order || !*order || strcasecmp(order, "createdtime desc") == 0)
		return 0;
	if (strcasecmp(order, "createdtime asc") && strcasecmp(order, "createdtime"))
		return refuse(x, "$orderBy", order);
	l->ascending = true;
	return 0;
}

static int read_page_size(struct exchange *x, struct listing *l)
{
	const char *top = emu_param(x->req, "$top");
	char *end;
	long n;

	l->page = x->emu->conf.page_size ? x->emu->conf.page_size : PAGE_DEFAULT;
	if (l->page > PAGE_MAX)
		l->page = PAGE_MAX;
	if (!top || !*top)
		return 0;
	n = strtol(top, &end, 10);
	if (*end || n < 1)
		return refuse(x, "$top", top);
	if (n < l->page)
		l->page = n;
	return 0;
}

static const char *skip_name(const struct exchange *x)
{
	return x->plane == REPLY_DATA ? "$skiptoken" : "$skip";
}

static int read_skip(struct exchange *x, struct listing *l)
{
	const char *token = emu_param(x->req, skip_name(x));
	char *end;

	l->major = l->minor = l->ascending ? INT64_MIN : INT64_MAX;
	if (!token || !*token)
		return 0;
	errno = 0;
	l->major = strtoll(token, &end, 10);
	if (errno || end == token || *end != '.')
		return refuse(x, skip_name(x), token);
	l->minor = strtoll(end + 1, &end, 10);
	return errno || *end ? refuse(x, skip_name(x), token) : 0;
}

int listing_begin(struct exchange *x, struct listing *l, bool by_time)
{
	*l = (struct listing){.cutoff = exchange_list_cutoff(x)};
	if (read_view(x, l) || read_order(x, l, by_time) || read_page_size(x, l) || read_skip(x, l))
		return -EINVAL;
	/* One row more tells whether there is a next page; the fault needs to see past that one. */
	l->fetch = l->page + 1;
	if (x->req->fault && x->req->fault->skip_page)
		l->fetch = 2 * l->page + 1;
	l->next_major = l->major;
	l->next_minor = l->minor;
	buf_addstr(&x->reply->body, "{\"value\":[");
	return 0;
}

bool listing_row(struct exchange *x, struct listing *l, int64_t major, int64_t minor)
{
	bool duplicate = x->req->fault && x->req->fault->duplicate_page;
	bool wanted = l->seen < l->page;

	if (l->seen + 1 == l->fetch) {
		l->more = true;
	} else if (!duplicate) {
		l->next_major = major;
		l->next_minor = minor;
	}
	if (wanted && l->seen)
		buf_addch(&x->reply->body, ',');
	l->seen++;
	return wanted;
}

static void add_encoded(struct buf *b, const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~";

	for (; *s; s++)
		if (strchr(plain, *s))
			buf_addch(b, *s);
		else
			buf_addf(b, "%%%02X", (unsigned char)*s);
}

/* The same request again, with another $skip. */
static void add_link(struct exchange *x, const struct listing *l, struct buf *link)
{
	char token[TOKEN_SIZE];

	buf_addf(link, "%s%s?", x->req->base_url, x->req->path);
	for (size_t i = 0; i < x->req->n_params; i++) {
		const struct kv *param = &x->req->params[i];

		if (strcasecmp(param->key, skip_name(x)) == 0)
			continue;
		add_encoded(link, param->key);
		buf_addch(link, '=');
		add_encoded(link, param->value ? param->value : "");
		buf_addch(link, '&');
	}
	snprintf(token, sizeof(token), "%lld.%lld", (long long)l->next_major,
		 (long long)l->next_minor);
	add_encoded(link, skip_name(x));
	buf_addf(link, "=%s", token);
}

void listing_end(struct exchange *x, struct listing *l)
{
	_cleanup_buf_ struct buf link = BUF_INIT(EMU_JSON_MAX);

	buf_addch(&x->reply->body, ']');
	if (l->more) {
		add_link(x, l, &link);
		buf_addstr(&x->reply->body, ",\"nextLink\":");
		json_add_text(&x->reply->body, buf_str(&link), link.len);
	}
	buf_addch(&x->reply->body, '}');
	if (buf_error(&link) || buf_error(&x->reply->body))
		exchange_failure(x, -ENOMEM, NULL);
}
