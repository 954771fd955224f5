/*
 * List Blobs: XML pages of names and properties. The parser knows no document types and no
 * entities of its own, so a page costs no more than its bytes.
 */
#include <curl/curl.h>
#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/arm_int.h"
#include "client/blob.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"

enum {
	PAGE_SIZE = 5000,     /* the most that storage gives at once */
	DEPTH_MAX = 16,       /* of elements; real lists have 6 */
	TEXT_MAX = 16 * 1024, /* bytes of one element's text; a name has up to 1,024 characters */
};

/* ---- one page ---- */

struct page_parser {
	XML_Parser xml;
	struct blob_page *page;
	const char *prefix;
	int error; /* why parsing was stopped */
	unsigned int depth;
	struct buf text; /* of the innermost element */
	bool in_blob;
	bool in_metadata;
	bool name_encoded;

	/* the blob that is being read */
	struct buf name;
	struct context_file file; /* etag and md5 owned */
	bool has_size;
	bool folder;
	bool broken;
};

static void stop(struct page_parser *p, int error)
{
	if (!p->error)
		p->error = error;
	XML_StopParser(p->xml, XML_FALSE);
}

static void file_clear(struct context_file *f)
{
	free((char *)(uintptr_t)f->path);
	free((char *)(uintptr_t)f->etag);
	free((char *)(uintptr_t)f->md5);
	*f = (struct context_file){0};
}

void blob_page_clear(struct blob_page *page)
{
	for (size_t i = 0; i < page->n; i++)
		file_clear(&page->files[i]);
	free(page->files);
	free(page->next_marker);
	*page = (struct blob_page){0};
}

static int page_grow(struct blob_page *page)
{
	size_t cap = page->cap ? page->cap * 2 : 64;
	struct context_file *files;

	if (page->n < page->cap)
		return 0;
	if (page->n >= ASSET_CONTEXT_MAX)
		return -EFBIG;
	files = realloc(page->files, cap * sizeof(*files));
	if (!files)
		return -ENOMEM;
	page->files = files;
	page->cap = cap;
	return 0;
}

static void begin_blob(struct page_parser *p)
{
	p->in_blob = true;
	p->has_size = false;
	p->folder = false;
	p->broken = false;
	buf_reset(&p->name);
	file_clear(&p->file);
}

static bool is_encoded(const XML_Char **attributes)
{
	for (; attributes[0]; attributes += 2)
		if (strcmp(attributes[0], "Encoded") == 0)
			return strcmp(attributes[1], "true") == 0;
	return false;
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct page_parser *p = arg;

	if (++p->depth > DEPTH_MAX) {
		stop(p, -EBADMSG);
		return;
	}
	if (strcmp(name, "Blob") == 0)
		begin_blob(p);
	else if (strcmp(name, "Metadata") == 0)
		p->in_metadata = true;
	else if (strcmp(name, "Name") == 0)
		p->name_encoded = is_encoded(attributes);
	buf_reset(&p->text);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
	struct page_parser *p = arg;

	/* Too long is noticed where the element ends. */
	(void)buf_add(&p->text, text, (size_t)len);
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_internal_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	stop(arg, -EBADMSG);
}

static void end_name(struct page_parser *p)
{
	int rc = p->name_encoded ? url_decode(&p->name, p->text.data, p->text.len)
				 : buf_add(&p->name, p->text.data, p->text.len);

	if (rc)
		p->broken = true;
}

static void end_size(struct page_parser *p)
{
	const char *text = buf_str(&p->text);
	char *end;

	errno = 0;
	p->file.size = strtoull(text, &end, 10);
	p->has_size = end != text && !*end && !errno && text[0] != '-' && p->file.size <= INT64_MAX;
}

static void end_modified(struct page_parser *p)
{
	time_t t = curl_getdate(buf_str(&p->text), NULL);

	p->file.modified = t > 0 ? (int64_t)t * NS_PER_S : 0;
}

static void end_text(struct page_parser *p, const char **field)
{
	if (*field || !p->text.len)
		return;
	*field = strdup(buf_str(&p->text));
	if (!*field)
		stop(p, -ENOMEM);
}

static void end_property(struct page_parser *p, const char *name)
{
	if (buf_error(&p->text))
		p->broken = true;
	else if (p->in_metadata)
		p->folder |= strcasecmp(name, "hdi_isfolder") == 0 &&
			     strcasecmp(buf_str(&p->text), "true") == 0;
	else if (strcmp(name, "Name") == 0)
		end_name(p);
	else if (strcmp(name, "Content-Length") == 0)
		end_size(p);
	else if (strcmp(name, "Last-Modified") == 0)
		end_modified(p);
	else if (strcasecmp(name, "Etag") == 0)
		end_text(p, &p->file.etag);
	else if (strcmp(name, "Content-MD5") == 0)
		end_text(p, &p->file.md5);
}

static bool blob_is_file(struct page_parser *p)
{
	size_t skip = strlen(p->prefix);

	if (p->broken || !p->has_size || p->name.len < skip ||
	    (skip && memcmp(p->name.data, p->prefix, skip) != 0)) {
		log_warn("op=list-context msg=\"a broken item is left out\"");
		return false;
	}
	if (p->folder || p->name.len == skip || p->name.data[p->name.len - 1] == '/')
		return false;
	if (p->name.len - skip > ASSET_PATH_MAX) {
		log_warn("op=list-context msg=\"a file with a name of %zu bytes is left out\"",
			 p->name.len - skip);
		return false;
	}
	return true;
}

static void end_blob(struct page_parser *p)
{
	size_t skip = strlen(p->prefix);
	char *path;
	int rc;

	p->in_blob = false;
	if (!blob_is_file(p))
		return;
	rc = page_grow(p->page);
	path = rc ? NULL : malloc(p->name.len - skip + 1);
	if (!path) {
		stop(p, rc ? rc : -ENOMEM);
		return;
	}
	memcpy(path, p->name.data + skip, p->name.len - skip + 1);
	p->file.path = path;
	p->file.path_len = p->name.len - skip;
	p->page->files[p->page->n++] = p->file;
	p->file = (struct context_file){0};
}

static void end_marker(struct page_parser *p)
{
	free(p->page->next_marker);
	p->page->next_marker = NULL;
	if (buf_error(&p->text)) {
		stop(p, -EBADMSG);
	} else if (p->text.len) {
		p->page->next_marker = strdup(buf_str(&p->text));
		if (!p->page->next_marker)
			stop(p, -ENOMEM);
	}
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct page_parser *p = arg;

	p->depth--;
	if (strcmp(name, "Blob") == 0)
		end_blob(p);
	else if (strcmp(name, "Metadata") == 0)
		p->in_metadata = false;
	else if (p->in_blob)
		end_property(p, name);
	else if (strcmp(name, "NextMarker") == 0)
		end_marker(p);
	buf_reset(&p->text);
}

static int parse(struct page_parser *p, const char *xml, size_t len, struct err *e)
{
	XML_SetUserData(p->xml, p);
	XML_SetElementHandler(p->xml, on_start, on_end);
	XML_SetCharacterDataHandler(p->xml, on_text);
	XML_SetStartDoctypeDeclHandler(p->xml, on_doctype);
	if (XML_Parse(p->xml, xml, (int)len, XML_TRUE) == XML_STATUS_OK && !p->error)
		return 0;
	if (p->error == -EFBIG)
		return err_set(e, -EFBIG, "a build context of more than %d files",
			       ASSET_CONTEXT_MAX);
	if (p->error == -ENOMEM || XML_GetErrorCode(p->xml) == XML_ERROR_NO_MEMORY)
		return err_set(e, -ENOMEM, "no memory for a build context's list");
	return err_set(e, -EBADMSG, "the list of a build context is not a list (line %lu)",
		       (unsigned long)XML_GetCurrentLineNumber(p->xml));
}

int blob_page_parse(const char *xml, size_t len, const char *prefix, struct blob_page *page,
		    struct err *e)
{
	struct page_parser p = {
		.page = page,
		.prefix = prefix,
		.text = BUF_INIT(TEXT_MAX),
		.name = BUF_INIT(TEXT_MAX),
	};
	int rc;

	if (len > BLOB_LIST_MAX)
		return err_set(e, -EFBIG, "a list of more than %d bytes", BLOB_LIST_MAX);
	p.xml = XML_ParserCreate(NULL);
	if (!p.xml)
		return err_set(e, -ENOMEM, "no memory for a build context's list");
	rc = parse(&p, xml, len, e);
	XML_ParserFree(p.xml);
	file_clear(&p.file);
	buf_free(&p.text);
	buf_free(&p.name);
	return rc;
}

/* ---- all pages ---- */

static int list_page(struct http *h, const struct blob_place *p, const struct blob_access *a,
		     const char *marker, struct call *c, struct blob_page *page, struct err *e)
{
	char size[16];
	struct kv params[] = {{"restype", "container"}, {"comp", "list"},
			      {"prefix", p->prefix},    {"maxresults", size},
			      {"include", "metadata"},  {"marker", marker}};
	struct blob_request q = {
		.method = "GET",
		.params = params,
		.n_params = marker ? 6 : 5,
		.max_body = BLOB_LIST_MAX,
	};
	struct http_response r = {0};
	int rc;

	snprintf(size, sizeof(size), "%d", PAGE_SIZE);
	rc = blob_perform(h, p, a, &q, c, &r, e);
	if (!rc && http_status_errno(r.status))
		rc = blob_error(p, &q, &r, e);
	if (!rc)
		rc = blob_page_parse(buf_str(&r.body), r.body.len, p->prefix, page, e);
	http_response_clear(&r);
	return rc;
}

static int list_pages(struct http *h, const struct blob_place *p, const struct blob_access *a,
		      struct call *c, struct blob_page *all, struct err *e)
{
	_cleanup_free_ char *marker = NULL;
	int rc;

	for (unsigned int n = 0; n < BLOB_PAGES_MAX; n++) {
		rc = list_page(h, p, a, marker, c, all, e);
		if (rc || !all->next_marker)
			return rc;
		if (marker && strcmp(marker, all->next_marker) == 0)
			return err_set(e, -EBADMSG,
				       "the service repeats itself: a page of a build "
				       "context's list links to itself");
		free(marker);
		marker = steal_ptr(&all->next_marker);
	}
	return err_set(e, -EFBIG, "a build context's list of more than %d pages", BLOB_PAGES_MAX);
}

int blob_list(struct http *h, const struct blob_place *p, const struct blob_access *a,
	      const char *uri, struct call *c, struct context **out, struct err *e)
{
	struct blob_page all = {0};
	int rc = list_pages(h, p, a, c, &all, e);

	if (!rc) {
		struct context fields = {.uri = uri, .files = all.files, .n_files = all.n};

		*out = context_new(&fields);
		if (!*out)
			rc = err_set(e, -ENOMEM, "no memory for a build context");
	} else {
		err_prefix(e, rc, "build context in container %s of %s: ", p->container,
			   p->account);
	}
	blob_page_clear(&all);
	return rc;
}
