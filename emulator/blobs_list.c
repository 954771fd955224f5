/* List Blobs: pages of a container's names in XML. Source: azureml-rest.md section 10. */
#include "emulator/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/base64.h"
#include "client/cleanup.h"
#include "client/utf8.h"
#include "emulator/blob_auth.h"
#include "emulator/blob_date.h"
#include "emulator/db.h"
#include "emulator/faults.h"

enum {
	PAGE_MAX = 5000,
	PAGE_BYTES_MAX = 16 * 1024 * 1024, /* a page ends here even with fewer names */
	NAME_BYTES_MAX = 64 * 1024,
};

struct listing {
	const struct blob_request *req;
	struct buf *xml;
	const char *prefix;
	size_t prefix_len;
	const char *delimiter; /* "": all names, however deep */
	unsigned long max;
	bool metadata;
	unsigned long count;
	struct buf first; /* the name that this page begins with */
	struct buf next;  /* the name that the next one begins with; empty: this was the last */
	bool skip_page;   /* of the fault plan: the marker is to lead past the next page */
	struct buf skipped;
};

/* The characters of XML 1.0. */
static bool is_xml_char(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xd7ff) ||
	       (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff);
}

static bool is_xml_text(const char *text, size_t len)
{
	uint32_t c;

	while (len > 0) {
		size_t n = utf8_decode(text, len, &c);

		if (n == 0 || !is_xml_char(c))
			return false;
		text += n;
		len -= n;
	}
	return true;
}

static void add_escaped(struct buf *b, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		switch (text[i]) {
		case '&':
			(void)buf_addstr(b, "&amp;");
			break;
		case '<':
			(void)buf_addstr(b, "&lt;");
			break;
		case '>':
			(void)buf_addstr(b, "&gt;");
			break;
		case '"':
			(void)buf_addstr(b, "&quot;");
			break;
		case '\r': /* a parser would make it a line end */
		case '\n': /* and, in an attribute, these spaces */
		case '\t':
			(void)buf_addf(b, "&#%d;", text[i]);
			break;
		default:
			(void)buf_addch(b, text[i]);
		}
	}
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~", c));
}

/* An element with a name of any bytes: as Azure does, in percent form where XML can't hold it. */
static void add_name(struct buf *b, const char *element, const char *name, size_t len)
{
	size_t i;

	if (is_xml_text(name, len)) {
		(void)buf_addf(b, "<%s>", element);
		add_escaped(b, name, len);
	} else {
		(void)buf_addf(b, "<%s Encoded=\"true\">", element);
		for (i = 0; i < len; i++) {
			if (is_unreserved(name[i]))
				(void)buf_addch(b, name[i]);
			else
				(void)buf_addf(b, "%%%02X", (unsigned int)(unsigned char)name[i]);
		}
	}
	(void)buf_addf(b, "</%s>", element);
}

static void add_text(struct buf *b, const char *element, const char *text)
{
	if (text[0])
		add_name(b, element, text, strlen(text));
	else
		(void)buf_addf(b, "<%s />", element);
}

static void add_metadata(struct buf *b, const char *metadata)
{
	struct blob_meta meta;

	(void)buf_addstr(b, "<Metadata>");
	while (blobs_meta_next(&metadata, &meta)) {
		(void)buf_addf(b, "<%.*s>", (int)meta.name_len, meta.name);
		add_escaped(b, meta.value, meta.value_len);
		(void)buf_addf(b, "</%.*s>", (int)meta.name_len, meta.name);
	}
	(void)buf_addstr(b, "</Metadata>");
}

static void add_blob(struct listing *l, const char *name, size_t len, const struct blob *blob)
{
	char created[BLOB_DATE_SIZE], modified[BLOB_DATE_SIZE];
	struct buf *b = l->xml;

	blob_date_format(blob->created, created);
	blob_date_format(blob->modified, modified);
	(void)buf_addstr(b, "<Blob>");
	add_name(b, "Name", name, len);
	(void)buf_addf(b,
		       "<Properties><Creation-Time>%s</Creation-Time>"
		       "<Last-Modified>%s</Last-Modified><Etag>0x%llX</Etag>"
		       "<Content-Length>%llu</Content-Length>",
		       created, modified, (unsigned long long)blob->etag,
		       (unsigned long long)blob->size);
	add_text(b, "Content-Type", blob->content_type);
	add_text(b, "Content-Encoding", blob->content_encoding);
	add_text(b, "Content-Language", blob->content_language);
	(void)buf_addstr(b, "<Content-CRC64 />");
	add_text(b, "Content-MD5", blob->md5);
	add_text(b, "Cache-Control", blob->cache_control);
	add_text(b, "Content-Disposition", blob->content_disposition);
	(void)buf_addstr(b, "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
			    "<AccessTierInferred>true</AccessTierInferred>"
			    "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
			    "<ServerEncrypted>true</ServerEncrypted></Properties>");
	if (l->metadata)
		add_metadata(b, blob->metadata);
	(void)buf_addstr(b, "<OrMetadata /></Blob>");
}

/* The length of name up to and with the first delimiter behind the prefix; 0: there is none. */
static size_t group_len(const struct listing *l, const char *name, size_t len)
{
	const char *at;

	if (!l->delimiter[0])
		return 0;
	at = memmem(name + l->prefix_len, len - l->prefix_len, l->delimiter, strlen(l->delimiter));
	return at ? (size_t)(at - name) + strlen(l->delimiter) : 0;
}

/* Seeks behind every name that begins with these bytes. -ENOENT when nothing can be. */
static int seek_behind(struct blob_scan *scan, const char *group, size_t len, struct err *e)
{
	_cleanup_free_ char *from = malloc(len);

	if (!from)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(from, group, len);
	while (len > 0 && (unsigned char)from[len - 1] == 0xff)
		len--;
	if (len == 0)
		return -ENOENT;
	from[len - 1]++;
	return blob_scan_seek(scan, from, len, e);
}

/* Adds the scan's row, or the group it begins. */
static int add_row(struct listing *l, struct blob_scan *scan, const struct blob *blob,
		   struct err *e)
{
	size_t group = group_len(l, scan->name, scan->len);

	l->count++;
	if (!group) {
		add_blob(l, scan->name, scan->len, blob);
		return 0;
	}
	(void)buf_addstr(l->xml, "<BlobPrefix>");
	add_name(l->xml, "Name", scan->name, group);
	(void)buf_addstr(l->xml, "</BlobPrefix>");
	return seek_behind(scan, scan->name, group, e);
}

static bool has_prefix(const struct listing *l, const struct blob_scan *scan)
{
	return scan->len >= l->prefix_len && memcmp(scan->name, l->prefix, l->prefix_len) == 0;
}

static bool is_full(const struct listing *l)
{
	return l->count >= l->max || l->xml->len > PAGE_BYTES_MAX;
}

/* Goes on as if a page began, which nobody sees. */
static void skip_page(struct listing *l)
{
	l->skip_page = false;
	l->xml = &l->skipped;
	l->count = 0;
}

static int add_rows(struct listing *l, struct blob_scan *scan, struct err *e)
{
	struct blob blob;
	int rc;

	while ((rc = blob_scan_next(scan, &blob, e)) == 0 && has_prefix(l, scan)) {
		if (is_full(l) && l->skip_page)
			skip_page(l);
		else if (is_full(l))
			return buf_add(&l->next, scan->name, scan->len);
		if (!l->first.len)
			(void)buf_add(&l->first, scan->name, scan->len);
		rc = add_row(l, scan, &blob, e);
		if (rc)
			break;
	}
	return rc == -ENOENT ? 0 : rc;
}

/* A marker is the next page's first name in base64, as URLs can hold it. */
static int add_marker(struct listing *l)
{
	const struct fault *fault = l->req->http->fault;
	const struct buf *next = fault && fault->duplicate_page ? &l->first : &l->next;
	_cleanup_free_ char *text = NULL;
	char *p;

	if (l->next.len == 0)
		return buf_addstr(l->xml, "<NextMarker />");
	text = malloc(BASE64_SIZE(next->len));
	if (!text)
		return -ENOMEM;
	base64_encode(next->data, next->len, text);
	for (p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return buf_addf(l->xml, "<NextMarker>%s</NextMarker>", text);
}

/* The name in a marker; the caller frees *name. False: not a marker of ours. */
static bool read_marker(const char *marker, char **name, size_t *len)
{
	size_t n = strlen(marker);
	_cleanup_free_ char *text = strdup(marker);
	char *p, *out = n <= NAME_BYTES_MAX ? malloc(n + 1) : NULL;
	ssize_t got = -1;

	if (text && out) {
		for (p = text; *p; p++)
			*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
		got = base64_decode(text, n, out, n);
	}
	if (got < 0) {
		free(out);
		return false;
	}
	*name = out;
	*len = (size_t)got;
	return true;
}

/* A marker of another list could lie before the prefix; the page begins at the later of both. */
static bool lies_before(const char *name, size_t len, const char *prefix, size_t prefix_len)
{
	int order = memcmp(name, prefix, len < prefix_len ? len : prefix_len);

	return order < 0 || (order == 0 && len < prefix_len);
}

static int seek_start(struct listing *l, struct blob_scan *scan, struct err *e)
{
	const char *marker = emu_param(l->req->http, "marker");
	_cleanup_free_ char *name = NULL;
	size_t len;

	if (!marker || !*marker)
		return blob_scan_seek(scan, l->prefix, l->prefix_len, e);
	if (!read_marker(marker, &name, &len))
		return err_set(e, -EINVAL, "the marker is not one of this service");
	if (lies_before(name, len, l->prefix, l->prefix_len))
		return blob_scan_seek(scan, l->prefix, l->prefix_len, e);
	return blob_scan_seek(scan, name, len, e);
}

static void add_head(struct listing *l)
{
	const char *marker = emu_param(l->req->http, "marker");
	const char *maxresults = emu_param(l->req->http, "maxresults");

	(void)buf_addstr(l->xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
				 "<EnumerationResults ServiceEndpoint=\"");
	add_escaped(l->xml, l->req->http->base_url, strlen(l->req->http->base_url));
	(void)buf_addf(l->xml, "/" EMU_ACCOUNT "/\" ContainerName=\"%s\">", l->req->container);
	if (l->prefix_len)
		add_name(l->xml, "Prefix", l->prefix, l->prefix_len);
	if (marker && *marker)
		add_name(l->xml, "Marker", marker, strlen(marker));
	if (maxresults && *maxresults)
		(void)buf_addf(l->xml, "<MaxResults>%lu</MaxResults>", l->max);
	if (l->delimiter[0])
		add_name(l->xml, "Delimiter", l->delimiter, strlen(l->delimiter));
	(void)buf_addstr(l->xml, "<Blobs>");
}

static int render(struct listing *l, sqlite3 *conn, int64_t container, struct err *e)
{
	struct blob_scan scan;
	int rc = blob_scan_open(conn, container, &scan, e);

	add_head(l);
	if (rc == 0)
		rc = seek_start(l, &scan, e);
	if (rc == 0)
		rc = add_rows(l, &scan, e);
	blob_scan_close(&scan);
	l->xml = &l->req->reply->body;
	(void)buf_addstr(l->xml, "</Blobs>");
	if (rc == 0)
		rc = add_marker(l);
	(void)buf_addstr(l->xml, "</EnumerationResults>");
	return rc ? rc : buf_error(l->xml);
}

/* False when maxresults is not a number from 1; more than a page holds means a page. */
static bool read_max(const struct blob_request *req, unsigned long *max)
{
	const char *text = emu_param(req->http, "maxresults");
	unsigned long page = PAGE_MAX;
	char *end;

	if (req->emu->conf.page_size && req->emu->conf.page_size < page)
		page = req->emu->conf.page_size;
	*max = page;
	if (!text || !*text)
		return true;
	if (strspn(text, "0123456789") != strlen(text))
		return false;
	*max = strtoul(text, &end, 10);
	if (*max > page)
		*max = page;
	return *max > 0;
}

/* Whether a comma-separated list has that word. */
static bool has_word(const char *list, const char *word)
{
	while (*list) {
		size_t len = strcspn(list, ",");

		if (len == strlen(word) && strncasecmp(list, word, len) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

static const char *param(const struct emu_request *r, const char *name)
{
	const char *value = emu_param(r, name);

	return value ? value : "";
}

void blobs_list(const struct blob_request *req)
{
	struct listing l = {
		.req = req,
		.xml = &req->reply->body,
		.prefix = param(req->http, "prefix"),
		.delimiter = param(req->http, "delimiter"),
		.metadata = has_word(param(req->http, "include"), "metadata"),
		.first = BUF_INIT(NAME_BYTES_MAX),
		.next = BUF_INIT(NAME_BYTES_MAX),
		.skip_page = req->http->fault && req->http->fault->skip_page,
		.skipped = BUF_INIT(2 * PAGE_BYTES_MAX),
	};
	struct err e = ERR_INIT;
	struct container container;
	sqlite3 *conn;
	int rc;

	l.prefix_len = strlen(l.prefix);
	if (!blobs_allowed(req, BLOB_LIST))
		return;
	if (!read_max(req, &l.max)) {
		blobs_reply_error(req, 400, "OutOfRangeQueryParameterValue",
				  "The value of maxresults is outside the permissible range.");
		return;
	}
	conn = blobs_read_begin(req, &container);
	if (!conn)
		return;
	rc = render(&l, conn, container.id, &e);
	blobs_read_end(req, conn);
	buf_free(&l.first);
	buf_free(&l.next);
	buf_free(&l.skipped);
	if (rc == -EINVAL)
		blobs_reply_error(req, 400, "OutOfRangeInput", "The marker is not valid.");
	else if (rc)
		blobs_store_error(req, rc, &e);
	else
		memcpy(req->reply->content_type, "application/xml", sizeof("application/xml"));
}
