/*
 * Build logs: a part of one, by the signed URL that a build's operation gives; and logs that the
 * builds of others left in the workspace's storage account (azureml-rest.md section 12, 5.).
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/datastore.h"
#include "client/log.h"
#include "client/turns.h"

enum {
	LISTS_MAX = 64,      /* workspaces whose list of logs is kept */
	LIST_S = 30,         /* and how long */
	SLACK_S = 2,         /* a list's times are whole seconds, of another clock */
	NAMES_IN_LOG = 4096, /* bytes kept of what a log says of images */
};

#define LOGS_CONTAINER "azureml"
#define LOGS_PREFIX    "ImageLogs/"
#define LOG_NAME       "/build.log"

/* ---- a part of a log ---- */

/* "bytes 0-5/6", and "bytes * /6" for what is behind the end. */
static int total_of(const struct http_response *r, uint64_t offset, uint64_t *size, struct err *e)
{
	const char *text = http_response_header(r, "Content-Range");
	unsigned long long first, last, total;

	if (r->status == 416) {
		*size = text && sscanf(text, "bytes */%20llu", &total) == 1 ? total : offset;
		return 0;
	}
	if (!text || sscanf(text, "bytes %20llu-%20llu/%20llu", &first, &last, &total) != 3 ||
	    first != offset || last < first || last - first + 1 != r->body.len || total <= last)
		return err_set(e, -EBADMSG, "a part of a log is not the one that was asked for");
	*size = total;
	return 0;
}

/* Takes the part out of an answer; a service that knows no ranges gives all of the log. */
static int take_part(const struct http_response *r, uint64_t offset, size_t len, struct buf *out,
		     uint64_t *size, struct err *e)
{
	size_t skip = 0, n = r->body.len;
	int rc = 0;

	if (r->status == 200) {
		*size = n;
		skip = offset < n ? (size_t)offset : n;
		n -= skip;
	} else {
		rc = total_of(r, offset, size, e);
		if (r->status == 416)
			n = 0;
	}
	if (rc)
		return rc;
	rc = buf_add(out, buf_str(&r->body) + skip, n < len ? n : len);
	return rc ? err_set(e, rc, "no room for a part of a log") : 0;
}

static void range_of(uint64_t offset, size_t len, char out[64])
{
	snprintf(out, 64, "bytes=%llu-%llu", (unsigned long long)offset,
		 (unsigned long long)(offset + len - 1));
}

/* The signature in the URL is all that is needed; our token has no business there. */
static int read_signed(struct arm *a, const char *url, uint64_t offset, size_t len, struct call *c,
		       struct buf *out, uint64_t *size, struct err *e)
{
	_cleanup_url_ struct url u = {0};
	struct http_response r = {0};
	char range[64];
	struct kv headers[] = {{"Range", range}};
	struct http_request q = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.n_headers = 1,
		.max_body = IMAGE_LOG_PART_MAX,
		.identity = true,
	};
	int rc = url_parse(url, &u, e);

	if (rc)
		return err_prefix(e, rc, "a log's address: ");
	if (!arm_may_ask(a, &u))
		return err_set(e, -EACCES,
			       "a log at %s is not read: that is neither the endpoint "
			       "nor https",
			       u.host);
	range_of(offset, len, range);
	rc = http_perform(a->http, &q, c, &r, e);
	if (!rc && r.status != 416 && http_status_errno(r.status))
		rc = arm_error(q.method, q.url, &r, e);
	if (!rc)
		rc = take_part(&r, offset, len, out, size, e);
	http_response_clear(&r);
	return rc;
}

/* A blob of the workspace's storage, as the datastores open it. */
struct blob_log {
	struct blob_place place;
	char *name; /* in its container */
};

static void blob_log_clear(struct blob_log *l)
{
	blob_place_clear(&l->place);
	free(l->name);
}

static int read_blob(struct arm *a, struct blob_log *l, const struct blob_access *access,
		     uint64_t offset, size_t len, struct call *c, struct buf *out, uint64_t *size,
		     struct err *e)
{
	char range[64];
	struct kv headers[] = {{"x-ms-range", range}};
	struct blob_request q = {
		.method = "GET",
		.name = l->name,
		.name_len = strlen(l->name),
		.headers = headers,
		.n_headers = 1,
		.max_body = IMAGE_LOG_PART_MAX,
	};
	struct http_response r = {0};
	int rc;

	range_of(offset, len, range);
	rc = blob_perform(a->http, &l->place, access, &q, c, &r, e);
	if (!rc && r.status != 416 && http_status_errno(r.status))
		rc = blob_error(&l->place, &q, &r, e);
	if (!rc)
		rc = take_part(&r, offset, len, out, size, e);
	http_response_clear(&r);
	return rc;
}

/* An access that is refused is asked for anew, once. */
static int read_stored(struct arm *a, struct scope *scope, const char *url, uint64_t offset,
		       size_t len, struct call *c, struct buf *out, uint64_t *size, struct err *e)
{
	struct blob_log l = {0};
	int rc = blob_place_parse(url, &a->origin, &l.place, e);

	if (rc)
		return rc;
	l.name = strndup(l.place.prefix, strlen(l.place.prefix) - (l.place.prefix[0] != '\0'));
	rc = l.name ? 0 : err_set(e, -ENOMEM, "no memory for a log's name");
	for (int attempt = 0; !rc && attempt < 2; attempt++) {
		_cleanup_access_ struct blob_access access = {0};

		rc = datastore_access(a, scope, &l.place, attempt > 0, c, &access, e);
		if (rc)
			break;
		rc = read_blob(a, &l, &access, offset, len, c, out, size, e);
		if (rc != -EACCES || !access.secret)
			break;
		rc = attempt ? rc : 0;
	}
	blob_log_clear(&l);
	return rc;
}

int arm_read_log(struct source *source, struct scope *scope, const char *log, uint64_t offset,
		 size_t len, struct call *c, struct buf *out, uint64_t *size, struct err *e)
{
	struct arm *a = arm_of(source);

	*size = 0;
	if (!len || len > IMAGE_LOG_PART_MAX || offset > INT64_MAX - IMAGE_LOG_PART_MAX)
		return err_set(e, -EINVAL, "that part of a log can't be asked for");
	return strchr(log, '?') ? read_signed(a, log, offset, len, c, out, size, e)
				: read_stored(a, scope, log, offset, len, c, out, size, e);
}

/* ---- logs of others ---- */

/* One of a workspace's logs. */
struct found_log {
	char *name; /* in the container */
	uint64_t size;
	int64_t modified;
	char *text; /* what it says of images; NULL: it was not looked into yet */
};

/* The logs of a workspace, newest first; immutable but for texts, which the lock protects. */
struct found_logs {
	unsigned int refs;
	char *workspace; /* its URL */
	char *container; /* its URL, with a slash at the end */
	int64_t at;      /* clock_mono() */
	struct found_log *items;
	size_t n;
};

struct image_logs {
	pthread_mutex_t lock;
	/* protected by lock */
	struct found_logs *lists[LISTS_MAX];
};

static void found_logs_free(struct found_logs *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].name);
		free(l->items[i].text);
	}
	free(l->items);
	free(l->workspace);
	free(l->container);
	free(l);
}

static void found_logs_unref(struct image_logs *all, struct found_logs *l)
{
	bool last;

	if (!l)
		return;
	pthread_mutex_lock(&all->lock);
	last = --l->refs == 0;
	pthread_mutex_unlock(&all->lock);
	if (last)
		found_logs_free(l);
}

int image_logs_new(struct image_logs **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void image_logs_free(struct image_logs *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < LISTS_MAX; i++)
		if (all->lists[i])
			found_logs_free(all->lists[i]);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

static struct found_logs *list_get(struct image_logs *all, const char *workspace)
{
	struct found_logs *found = NULL;

	pthread_mutex_lock(&all->lock);
	for (size_t i = 0; i < LISTS_MAX && !found; i++)
		if (all->lists[i] && strcmp(all->lists[i]->workspace, workspace) == 0 &&
		    clock_mono() - all->lists[i]->at < LIST_S * NS_PER_S)
			found = all->lists[i];
	if (found)
		found->refs++;
	pthread_mutex_unlock(&all->lock);
	return found;
}

/* What a log says of images was read once: it is not read again while the log stays as it is. */
static void keep_texts(const struct found_logs *old, struct found_logs *fresh)
{
	for (size_t i = 0; i < fresh->n; i++) {
		struct found_log *f = &fresh->items[i];

		for (size_t k = 0; k < old->n && !f->text; k++) {
			const struct found_log *o = &old->items[k];

			if (o->text && o->size == f->size && o->modified == f->modified &&
			    strcmp(o->name, f->name) == 0)
				f->text = strdup(o->text);
		}
	}
}

/* Puts l in the place of the one for its workspace, or of the oldest. */
static void list_put(struct image_logs *all, struct found_logs *l)
{
	struct found_logs *old;
	size_t at = 0;

	pthread_mutex_lock(&all->lock);
	for (size_t i = 0; i < LISTS_MAX; i++) {
		if (!all->lists[i] || strcmp(all->lists[i]->workspace, l->workspace) == 0) {
			at = i;
			break;
		}
		if (all->lists[i]->at < all->lists[at]->at)
			at = i;
	}
	old = all->lists[at];
	if (old && strcmp(old->workspace, l->workspace) == 0)
		keep_texts(old, l);
	l->refs++;
	all->lists[at] = l;
	pthread_mutex_unlock(&all->lock);
	found_logs_unref(all, old);
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = ((const struct found_log *)a)->modified;
	int64_t y = ((const struct found_log *)b)->modified;

	return (x < y) - (x > y);
}

static bool is_log(const struct context_file *f)
{
	size_t n = strlen(LOG_NAME);

	return f->path_len > n && !memchr(f->path, '\0', f->path_len) &&
	       strcmp(f->path + f->path_len - n, LOG_NAME) == 0;
}

static int take_logs(struct found_logs *l, const struct context *files)
{
	l->items = calloc(files->n_files + 1, sizeof(*l->items));
	if (!l->items)
		return -ENOMEM;
	for (size_t i = 0; i < files->n_files; i++) {
		const struct context_file *f = &files->files[i];
		struct found_log *log = &l->items[l->n];

		if (!is_log(f))
			continue;
		if (asprintf(&log->name, LOGS_PREFIX "%s", f->path) < 0) {
			log->name = NULL;
			return -ENOMEM;
		}
		log->size = f->size;
		log->modified = f->modified;
		l->n++;
	}
	qsort(l->items, l->n, sizeof(*l->items), newest_first);
	return 0;
}

/* The place of the workspace's own storage account where its services keep logs. */
static int logs_place(struct arm *a, struct scope *scope, struct call *c, struct blob_place *out,
		      struct err *e)
{
	int rc = datastore_upload_place(a, scope, c, out, e);

	if (rc)
		return rc;
	free(out->container);
	free(out->prefix);
	out->container = strdup(LOGS_CONTAINER);
	out->prefix = strdup(LOGS_PREFIX);
	if (out->container && out->prefix)
		return 0;
	blob_place_clear(out);
	return err_set(e, -ENOMEM, "no memory for a place");
}

static int list_fetch(struct arm *a, struct scope *scope, const char *workspace, struct call *c,
		      struct found_logs **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_access_ struct blob_access access = {0};
	_cleanup_place_ struct blob_place place = {0};
	struct found_logs *l = calloc(1, sizeof(*l));
	struct context *files = NULL;
	int rc = l ? logs_place(a, scope, c, &place, e) : -ENOMEM;

	if (!rc)
		rc = datastore_access(a, scope, &place, false, c, &access, e);
	if (!rc)
		rc = blob_list(a->http, &place, &access, workspace, c, &files, e);
	if (rc == -ENOENT) /* nothing was ever built: there is no such container */
		rc = 0;
	if (!rc) {
		blob_add_url(&url, &place, "");
		l->refs = 1;
		l->at = clock_mono();
		l->workspace = strdup(workspace);
		l->container = buf_steal(&url, NULL);
		rc = l->workspace && l->container ? 0 : -ENOMEM;
	}
	if (!rc && files)
		rc = take_logs(l, files);
	context_unref(files);
	if (rc) {
		if (l)
			found_logs_free(l);
		return rc == -ENOMEM ? err_set(e, rc, "no memory for a list of logs") : rc;
	}
	list_put(a->image_logs, l);
	*out = l;
	return 0;
}

static int logs_of(struct arm *a, struct scope *scope, struct call *c, struct found_logs **out,
		   struct err *e)
{
	_cleanup_buf_ struct buf workspace = BUF_INIT(URL_MAX);
	_cleanup_buf_ struct buf name = BUF_INIT(URL_MAX);
	int rc = arm_add_scope_url(a, &workspace, scope);
	struct turn turn;

	if (rc)
		return err_set(e, rc, "the workspace's URL is too long");
	*out = list_get(a->image_logs, buf_str(&workspace));
	if (*out)
		return 0;
	if (buf_addstr(&name, buf_str(&workspace)) || buf_addstr(&name, "#logs"))
		return err_set(e, -ENAMETOOLONG, "the workspace's URL is too long");
	rc = turn_take(a->turns, &turn, buf_str(&name), c);
	if (rc)
		return err_set(e, rc, "the list of logs did not come in time");
	/* Whoever had the turn before has fetched it. */
	*out = list_get(a->image_logs, buf_str(&workspace));
	rc = *out ? 0 : list_fetch(a, scope, buf_str(&workspace), c, out, e);
	turn_end(&turn);
	return rc;
}

static int log_url(const struct found_logs *l, const struct found_log *log, struct buf *url,
		   struct err *e)
{
	buf_addstr(url, l->container);
	url_add_path(url, log->name, strlen(log->name));
	return buf_error(url) ? err_set(e, buf_error(url), "a log's URL is too long") : 0;
}

/* What a part of a log says of images, a name a line. */
static void collect_names(const struct buf *part, struct buf *names)
{
	static const char mark[] = "azureml_";
	const char *p = buf_str(part), *end = p + part->len;

	while ((p = memmem(p, (size_t)(end - p), mark, strlen(mark)))) {
		const char *from = p, *to = p + strlen(mark);

		while (from > buf_str(part) && from[-1] > ' ' && from[-1] != '"')
			from--;
		while (to<end && * to> ' ' && *to != '"' && *to != ':' && *to != '@')
			to++;
		if ((size_t)(to - from) < IMAGE_TEXT_MAX &&
		    names->len + (size_t)(to - from) + 1 < names->max &&
		    !memmem(buf_str(names), names->len, from, (size_t)(to - from))) {
			buf_add(names, from, (size_t)(to - from));
			buf_addch(names, '\n');
		}
		p = to;
	}
}

/* Both ends of a log: an image is named where a build begins, and where it was pushed. */
static int look_into(struct arm *a, struct scope *scope, struct found_logs *l,
		     struct found_log *log, struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_buf_ struct buf part = BUF_INIT(2 * IMAGE_LOG_SEARCHED);
	_cleanup_buf_ struct buf names = BUF_INIT(NAMES_IN_LOG);
	uint64_t size = 0;
	int rc = log_url(l, log, &url, e);

	if (!rc)
		rc = read_stored(a, scope, buf_str(&url), 0, IMAGE_LOG_SEARCHED, c, &part, &size,
				 e);
	if (!rc && size > 2 * IMAGE_LOG_SEARCHED)
		rc = read_stored(a, scope, buf_str(&url), size - IMAGE_LOG_SEARCHED,
				 IMAGE_LOG_SEARCHED, c, &part, &size, e);
	else if (!rc && size > IMAGE_LOG_SEARCHED)
		rc = read_stored(a, scope, buf_str(&url), IMAGE_LOG_SEARCHED, IMAGE_LOG_SEARCHED, c,
				 &part, &size, e);
	if (rc)
		return rc;
	collect_names(&part, &names);
	pthread_mutex_lock(&a->image_logs->lock);
	if (!log->text)
		log->text = strdup(buf_str(&names));
	pthread_mutex_unlock(&a->image_logs->lock);
	return 0;
}

static int is_about(struct arm *a, struct scope *scope, struct found_logs *l, struct found_log *log,
		    const char *repository, struct call *c, bool *is, struct err *e)
{
	bool known;
	int rc;

	pthread_mutex_lock(&a->image_logs->lock);
	known = log->text != NULL;
	pthread_mutex_unlock(&a->image_logs->lock);
	rc = known ? 0 : look_into(a, scope, l, log, c, e);
	if (rc == -ENOENT) /* it was removed since */
		return 0;
	if (rc)
		return rc;
	pthread_mutex_lock(&a->image_logs->lock);
	*is = log->text && image_is_in_log(log->text, strlen(log->text), repository);
	pthread_mutex_unlock(&a->image_logs->lock);
	return 0;
}

static int search(struct arm *a, struct scope *scope, const struct version *v, struct found_logs *l,
		  struct call *c, char **log, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_image_ struct image image = {0};
	int rc = 0;

	assert(l);
	/* A version is not built before it is there, which saves asking about most of them. */
	for (size_t i = 0; !rc && i < l->n && i < IMAGE_LOGS_MAX; i++) {
		bool is = false;

		if (l->items[i].modified < v->created - SLACK_S * NS_PER_S)
			break;
		if (!image.repository)
			rc = arm_get_image(&a->source, scope, v, c, &image, e);
		if (!rc && !image.repository)
			break;
		if (!rc)
			rc = is_about(a, scope, l, &l->items[i], image.repository, c, &is, e);
		if (rc || !is)
			continue;
		rc = log_url(l, &l->items[i], &url, e);
		if (!rc)
			*log = buf_steal(&url, NULL);
		return rc || *log ? rc : err_set(e, -ENOMEM, "no memory for a log's URL");
	}
	return rc ? rc : err_set(e, -ENOENT, "no log of a build of it is to be found");
}

int arm_find_log(struct source *source, struct scope *scope, const struct version *v,
		 struct call *c, char **log, struct err *e)
{
	struct arm *a = arm_of(source);
	struct found_logs *l = NULL;
	int rc;

	*log = NULL;
	if (scope->kind != SCOPE_WORKSPACE)
		return err_set(e, -EOPNOTSUPP, "a registry shows no logs");
	rc = logs_of(a, scope, c, &l, e);
	if (rc)
		return rc;
	rc = search(a, scope, v, l, c, log, e);
	found_logs_unref(a->image_logs, l);
	return rc;
}

int arm_expect_logs(struct source *source, struct scope *scope, struct call *c, struct err *e)
{
	struct arm *a = arm_of(source);
	struct found_logs *l = NULL;
	int rc = scope->kind == SCOPE_WORKSPACE ? logs_of(a, scope, c, &l, e) : 0;

	found_logs_unref(a->image_logs, l);
	return rc;
}

int64_t arm_no_log(struct source *source, struct scope *scope, const struct version *v)
{
	_cleanup_buf_ struct buf workspace = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct found_logs *l = NULL;
	int64_t left = 0;

	if (scope->kind != SCOPE_WORKSPACE || arm_add_scope_url(a, &workspace, scope))
		return 0;
	l = list_get(a->image_logs, buf_str(&workspace));
	if (l && (!l->n || l->items[0].modified < v->created - SLACK_S * NS_PER_S))
		left = l->at + LIST_S * NS_PER_S - clock_mono();
	found_logs_unref(a->image_logs, l);
	return left > 0 ? left : 0;
}
