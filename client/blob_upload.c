#include "client/blob_upload.h"

#include <errno.h>
#include <string.h>

#include "client/blob_put.h"
#include "client/parallel.h"

enum {
	/* Of the client's 8 transfers some are left to those who only want to look at something. */
	FILES_AT_ONCE = 6,
	PARTS_MEMORY_MAX = 4 * BLOB_PART_MAX, /* bytes read and not yet sent, of one upload */
};

/* ---- whether it is there ---- */

struct marker {
	bool exists;
	bool completed;
};

/* The file whose metadata speaks for all: the first by plain order of the paths. */
static const struct upload_file *indicator(const struct blob_upload *u)
{
	const struct upload_file *first = &u->files[0];

	for (size_t i = 1; i < u->n; i++)
		if (strcmp(u->files[i].path, first->path) < 0)
			first = &u->files[i];
	return first;
}

static int look_at(const struct blob_upload *u, const char *folder, struct marker *out,
		   struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(2 * ASSET_PATH_MAX);
	struct http_response r = {0};
	struct blob_request q = {.method = "HEAD"};
	const char *status;
	int rc = blob_put_name(&name, folder, indicator(u), e);

	*out = (struct marker){0};
	if (rc)
		return rc;
	q.name = name.data;
	q.name_len = name.len;
	rc = blob_perform(u->http, u->place, u->access, &q, u->call, &r, e);
	if (!rc && r.status != 404 && http_status_errno(r.status))
		rc = blob_error(u->place, &q, &r, e);
	status = http_response_header(&r, "x-ms-meta-upload_status");
	out->exists = !rc && r.status != 404;
	out->completed = out->exists && status && strcmp(status, "completed") == 0;
	http_response_clear(&r);
	return rc;
}

/* ---- all files ---- */

/* What can be a header's value as it is; other names are left out of the metadata. */
static bool is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return *text != '\0';
}

static int confirm(const struct blob_upload *u, const char *folder, struct err *e)
{
	_cleanup_buf_ struct buf name = BUF_INIT(2 * ASSET_PATH_MAX);
	struct kv params[] = {{"comp", "metadata"}};
	struct kv headers[3] = {{"x-ms-meta-upload_status", "completed"}};
	struct blob_request q = {.method = "PUT",
				 .params = params,
				 .n_params = 1,
				 .headers = headers,
				 .n_headers = 1,
				 .max_body = BLOB_SMALL_ANSWER};
	struct http_response r = {0};
	int rc = blob_put_name(&name, folder, indicator(u), e);

	if (rc)
		return rc;
	if (is_plain(u->env))
		headers[q.n_headers++] = (struct kv){"x-ms-meta-name", u->env};
	if (is_plain(u->version))
		headers[q.n_headers++] = (struct kv){"x-ms-meta-version", u->version};
	q.name = name.data;
	q.name_len = name.len;
	rc = blob_perform(u->http, u->place, u->access, &q, u->call, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = blob_error(u->place, &q, &r, e);
	http_response_clear(&r);
	return rc;
}

struct upload_all {
	const struct blob_upload *upload;
	const char *folder;
	const struct upload_file *indicator;
	bool overwrite;
	atomic_bool copies_refused;
};

static size_t memory_of(void *arg, size_t i)
{
	return blob_put_memory(&((struct upload_all *)arg)->upload->files[i]);
}

static int put_one(void *arg, size_t i, struct call *c, struct err *e)
{
	struct upload_all *all = arg;
	const struct upload_file *file = &all->upload->files[i];
	struct blob_put put = {.upload = all->upload,
			       .folder = all->folder,
			       .file = file,
			       .overwrite = all->overwrite,
			       .indicator = file == all->indicator,
			       .copies_refused = &all->copies_refused,
			       .call = c};

	return blob_put(&put, e);
}

static int upload_all(const struct blob_upload *u, const char *folder, bool overwrite,
		      struct err *e)
{
	struct upload_all all = {
		.upload = u, .folder = folder, .indicator = indicator(u), .overwrite = overwrite};
	struct parallel job = {.n = u->n,
			       .threads = FILES_AT_ONCE,
			       .memory = PARTS_MEMORY_MAX,
			       .arg = &all,
			       .memory_of = memory_of,
			       .work = put_one};
	int rc = parallel_run(&job, u->call, e);

	return rc ? rc : confirm(u, folder, e);
}

int blob_upload(const struct blob_upload *u, const char *folder, const char *legacy,
		const char **used, struct err *e)
{
	struct marker here, there = {0};
	int rc = look_at(u, folder, &here, e);

	*used = folder;
	if (!rc && here.exists && legacy)
		rc = look_at(u, legacy, &there, e);
	if (rc)
		return rc;
	if (there.completed)
		*used = legacy;
	else if (!here.completed)
		rc = upload_all(u, folder, here.exists, e);
	return rc;
}
