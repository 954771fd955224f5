#include "emulator/blobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/clock.h"
#include "client/log.h"
#include "client/sharedkey.h"
#include "client/url.h"
#include "emulator/blob_auth.h"
#include "emulator/blob_date.h"
#include "emulator/db.h"
#include "emulator/entra.h"
#include "emulator/reply.h"

enum {
	CONTAINER_MIN = 3,
	CONTAINER_MAX = 63,
	SAS_BACKDATE_S = 300, /* a SAS is valid from a little before now: clocks differ */
};

/* The service version that SAS tokens are made for, and that answers name by default. */
#define SERVICE_VERSION "2021-12-02"

static bool is_head(const struct emu_request *r)
{
	return strcmp(r->method, "HEAD") == 0;
}

/* The headers of every answer. */
static void reply_common(const struct blob_request *req)
{
	const char *version = emu_header(req->http, "x-ms-version");
	const char *client_id = emu_header(req->http, "x-ms-client-request-id");
	struct emu_reply *reply = req->reply;
	char id[GUID_SIZE];

	if (guid_new(id) == 0)
		emu_reply_header(reply, "x-ms-request-id", "%s", id);
	if (client_id)
		emu_reply_header(reply, "x-ms-client-request-id", "%s", client_id);
	emu_reply_header(reply, "x-ms-version", "%s", version ? version : SERVICE_VERSION);
	emu_reply_header(reply, "Vary", "Origin");
	reply->head_only = is_head(req->http);
	reply->content_length = 0;
}

void blobs_reply_error(const struct blob_request *req, int status, const char *code,
		       const char *message)
{
	struct emu_reply *reply = req->reply;
	char now[CLOCK_ISO_SIZE];

	buf_reset(&reply->body);
	reply->n_headers = 0;
	reply->content_type[0] = '\0';
	reply->status = status;
	reply_common(req);
	emu_reply_header(reply, "x-ms-error-code", "%s", code);
	if (status == 401)
		emu_reply_header(reply, "WWW-Authenticate",
				 "Bearer authorization_uri=%s/" ENTRA_TENANT
				 "/oauth2/authorize resource_id=https://storage.azure.com",
				 req->http->base_url);
	if (reply->head_only)
		return;
	clock_format_iso(clock_wall(), now);
	snprintf(reply->content_type, sizeof(reply->content_type), "application/xml");
	(void)buf_addf(&reply->body,
		       "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code>"
		       "<Message>%s\nTime:%s</Message></Error>",
		       code, message, now);
}

void blobs_store_error(const struct blob_request *req, int rc, const struct err *e)
{
	log_error("op=blob method=%s container=%s error=\"%s\"", req->http->method, req->container,
		  err_text(e, rc));
	if (rc == -EBUSY)
		blobs_reply_error(req, 503, "ServerBusy", "The store is busy.");
	else if (rc == -ENOSPC)
		blobs_reply_error(req, 507, "InsufficientStorage", "The disk is full.");
	else
		blobs_reply_error(req, 500, "InternalError",
				  "The server encountered an internal error. Its log says more.");
}

bool blobs_allowed(const struct blob_request *req, unsigned int right)
{
	if (req->rights & right)
		return true;
	blobs_reply_error(
		req, 403, "AuthorizationPermissionMismatch",
		"This request is not authorized to perform this operation using this permission.");
	return false;
}

void blobs_reply_stamp(struct emu_reply *reply, int64_t etag, int64_t modified)
{
	char date[BLOB_DATE_SIZE];

	blob_date_format(modified, date);
	emu_reply_header(reply, "ETag", "\"0x%llX\"", (unsigned long long)etag);
	emu_reply_header(reply, "Last-Modified", "%s", date);
}

bool blobs_meta_next(const char **at, struct blob_meta *out)
{
	const char *end = strchr(*at, '\n'), *colon = strchr(*at, ':');

	if (!end || !colon || colon > end)
		return false;
	out->name = *at;
	out->name_len = (size_t)(colon - *at);
	out->value = colon + 1;
	out->value_len = (size_t)(end - out->value);
	*at = end + 1;
	return true;
}

void blobs_reply_metadata(struct emu_reply *reply, const char *metadata)
{
	struct blob_meta meta;

	while (blobs_meta_next(&metadata, &meta)) {
		char name[sizeof(reply->headers[0].name)];

		snprintf(name, sizeof(name), "x-ms-meta-%.*s", (int)meta.name_len, meta.name);
		emu_reply_header(reply, name, "%.*s", (int)meta.value_len, meta.value);
	}
}

sqlite3 *blobs_read_begin(const struct blob_request *req, struct container *container)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(req->emu->db, &e);
	int rc;

	if (!conn) {
		blobs_store_error(req, e.code ? e.code : -EIO, &e);
		return NULL;
	}
	rc = db_run(conn, &e, "BEGIN", "");
	if (rc) {
		db_release(req->emu->db, conn);
		blobs_store_error(req, rc, &e);
		return NULL;
	}
	rc = blob_store_find_container(conn, req->container, container, &e);
	if (rc == 0)
		return conn;
	blobs_read_end(req, conn);
	if (rc == -ENOENT)
		blobs_reply_error(req, 404, "ContainerNotFound",
				  "The specified container does not exist.");
	else
		blobs_store_error(req, rc, &e);
	return NULL;
}

void blobs_read_end(const struct blob_request *req, sqlite3 *conn)
{
	struct err e = ERR_INIT;

	if (db_run(conn, &e, "COMMIT", ""))
		log_error("op=blob error=\"%s\"", e.msg);
	db_release(req->emu->db, conn);
}

/* Whether a list of etags (or "*") names this one; etag 0: there is no blob. */
static bool etag_listed(const char *list, int64_t etag)
{
	char own[32];

	if (!etag)
		return false;
	if (strcmp(list, "*") == 0)
		return true;
	snprintf(own, sizeof(own), "0x%llX", (unsigned long long)etag);
	while (*list) {
		size_t len;

		list += strspn(list, " \t,\"");
		len = strcspn(list, " \t,\"");
		if (len == strlen(own) && strncasecmp(list, own, len) == 0)
			return true;
		list += len;
	}
	return false;
}

/* Last-Modified has whole seconds, so what is compared with it has too. */
static bool modified_since(const char *date, const struct blob *blob, bool if_unclear)
{
	int64_t then;

	if (blob_date_parse(date, &then))
		return if_unclear;
	return blob->modified / NS_PER_S > then / NS_PER_S;
}

static bool not_met(const struct blob_request *req, const struct blob *blob, int status)
{
	blobs_reply_error(req, status, "ConditionNotMet",
			  "The condition specified using HTTP conditional header(s) is not met.");
	if (status == 304) {
		buf_reset(&req->reply->body);
		req->reply->content_type[0] = '\0';
		blobs_reply_stamp(req->reply, blob->etag, blob->modified);
	}
	return false;
}

bool blobs_source_conditions(const struct blob_request *req, const struct blob *source)
{
	const char *match = emu_header(req->http, "x-ms-source-if-match");
	const char *none_match = emu_header(req->http, "x-ms-source-if-none-match");
	const char *since = emu_header(req->http, "x-ms-source-if-modified-since");
	const char *unmodified = emu_header(req->http, "x-ms-source-if-unmodified-since");

	if ((!match || etag_listed(match, source->etag)) &&
	    (!none_match || !etag_listed(none_match, source->etag)) &&
	    (!unmodified || match || !modified_since(unmodified, source, false)) &&
	    (!since || none_match || modified_since(since, source, true)))
		return true;
	blobs_reply_error(req, 412, "SourceConditionNotMet",
			  "The source condition specified using HTTP conditional header(s) is not "
			  "met.");
	return false;
}

bool blobs_conditions(const struct blob_request *req, const struct blob *blob, bool write)
{
	const char *match = emu_header(req->http, "If-Match");
	const char *none_match = emu_header(req->http, "If-None-Match");
	const char *since = emu_header(req->http, "If-Modified-Since");
	const char *unmodified = emu_header(req->http, "If-Unmodified-Since");
	int64_t etag = blob ? blob->etag : 0;

	if (match && !etag_listed(match, etag))
		return not_met(req, blob, 412);
	if (none_match && etag_listed(none_match, etag)) {
		if (!write)
			return not_met(req, blob, 304);
		if (strcmp(none_match, "*") != 0)
			return not_met(req, blob, 412);
		blobs_reply_error(req, 409, "BlobAlreadyExists",
				  "The specified blob already exists.");
		return false;
	}
	if (blob && unmodified && !match && modified_since(unmodified, blob, false))
		return not_met(req, blob, 412);
	if (blob && since && !none_match && !modified_since(since, blob, true))
		return not_met(req, blob, write ? 412 : 304);
	return true;
}

static void create_container(const struct blob_request *req)
{
	struct err e = ERR_INIT;
	struct container container;
	sqlite3 *conn;
	int rc;

	if (!blobs_allowed(req, BLOB_ACCOUNT))
		return;
	conn = db_begin(req->emu->db, &e);
	if (!conn) {
		blobs_store_error(req, e.code ? e.code : -EIO, &e);
		return;
	}
	rc = blob_store_add_container(conn, req->container, &container, &e);
	if (rc)
		db_rollback(req->emu->db);
	else
		rc = db_commit(req->emu->db, &e);
	if (rc == -EEXIST) {
		blobs_reply_error(req, 409, "ContainerAlreadyExists",
				  "The specified container already exists.");
	} else if (rc) {
		blobs_store_error(req, rc, &e);
	} else {
		req->reply->status = 201;
		reply_common(req);
		blobs_reply_stamp(req->reply, container.etag, container.modified);
	}
}

static void container_properties(const struct blob_request *req)
{
	struct container container;
	sqlite3 *conn;

	if (!blobs_allowed(req, BLOB_ACCOUNT))
		return;
	conn = blobs_read_begin(req, &container);
	if (!conn)
		return;
	blobs_read_end(req, conn);
	blobs_reply_stamp(req->reply, container.etag, container.modified);
	emu_reply_header(req->reply, "x-ms-lease-status", "unlocked");
	emu_reply_header(req->reply, "x-ms-lease-state", "available");
	emu_reply_header(req->reply, "x-ms-has-immutability-policy", "false");
	emu_reply_header(req->reply, "x-ms-has-legal-hold", "false");
}

struct blob_call {
	const char *method;
	const char *comp; /* the comp parameter; "" for none */
	void (*handle)(const struct blob_request *req);
};

static const struct blob_call container_calls[] = {
	{"PUT", "", create_container},
	{"GET", "", container_properties},
	{"HEAD", "", container_properties},
	{"GET", "list", blobs_list},
};

static const struct blob_call blob_calls[] = {
	{"GET", "", blobs_get},
	{"HEAD", "", blobs_get},
	{"PUT", "", blobs_put},
	{"PUT", "block", blobs_put_block},
	{"PUT", "blocklist", blobs_put_block_list},
	{"PUT", "metadata", blobs_set_metadata},
	{"DELETE", "", blobs_delete},
};

static void route(const struct blob_request *req, const struct blob_call *calls, size_t n)
{
	const char *comp = emu_param(req->http, "comp");
	bool known_method = false;
	size_t i;

	for (i = 0; i < n; i++) {
		if (strcmp(calls[i].method, req->http->method) != 0)
			continue;
		if (strcasecmp(calls[i].comp, comp ? comp : "") == 0) {
			calls[i].handle(req);
			return;
		}
		known_method = true;
	}
	if (known_method)
		blobs_reply_error(
			req, 400, "InvalidQueryParameterValue",
			"The value of the query parameter comp is not one this service has.");
	else
		blobs_reply_error(req, 405, "UnsupportedHttpVerb",
				  "The resource doesn't support the specified HTTP verb.");
}

/* Appends the decoded text. -EBADMSG for a bad escape or a NUL, which no name can have. */
static int decode(struct buf *out, const char *text, size_t len)
{
	int rc = url_decode(out, text, len);

	return rc == 0 && memchr(buf_str(out), '\0', out->len) ? -EBADMSG : rc;
}

/* Lower-case letters, digits, and single '-' between them; or $root and $logs. */
static bool is_container_name(const char *name)
{
	size_t len = strlen(name), i;

	if (strcmp(name, "$root") == 0 || strcmp(name, "$logs") == 0)
		return true;
	if (len < CONTAINER_MIN || len > CONTAINER_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", name[i]) ||
		    (name[i] == '-' && (i == 0 || i == len - 1 || name[i - 1] == '-')))
			return false;
	return true;
}

static bool parse_container(struct blob_request *req, const char *text, size_t len)
{
	_cleanup_buf_ struct buf name = BUF_INIT(CONTAINER_MAX);

	if (decode(&name, text, len) || !is_container_name(buf_str(&name))) {
		blobs_reply_error(req, 400, "InvalidResourceName",
				  "The specified resource name contains invalid characters.");
		return false;
	}
	memcpy(req->container, buf_str(&name), name.len + 1);
	return true;
}

bool blobs_parse_path(struct blob_request *req, struct buf *name)
{
	static const char root[] = "/" EMU_ACCOUNT "/";
	const char *path = req->http->path;
	size_t len;

	if (strncmp(path, root, strlen(root)) != 0) {
		blobs_reply_error(req, 400, "InvalidUri",
				  "The path names no container of this account.");
		return false;
	}
	path += strlen(root);
	len = strcspn(path, "/");
	if (!parse_container(req, path, len))
		return false;
	path += len;
	if (!*path || !*++path)
		return true;
	if (decode(name, path, strlen(path))) {
		blobs_reply_error(
			req, 400, "InvalidUri",
			"The requested URI does not represent any resource on the server.");
		return false;
	}
	req->name = buf_str(name);
	req->name_len = name->len;
	return true;
}

void blobs_handle(struct emu *emu, const struct emu_request *r, struct emu_reply *reply)
{
	struct blob_request req = {.emu = emu, .http = r, .reply = reply};
	_cleanup_buf_ struct buf name = BUF_INIT(BLOB_NAME_MAX);
	const char *restype = emu_param(r, "restype");
	struct blob_denial why;

	buf_reset(&reply->body);
	reply->status = 200;
	reply->n_headers = 0;
	reply->content_type[0] = '\0';
	reply_common(&req);
	if (!blobs_parse_path(&req, &name))
		return;
	if (blob_auth(emu, r, req.container, req.name, req.name_len, &req.rights, &why)) {
		blobs_reply_error(&req, why.status, why.code, why.message);
		return;
	}
	if (req.name)
		route(&req, blob_calls, sizeof(blob_calls) / sizeof(blob_calls[0]));
	else if (restype && strcasecmp(restype, "container") == 0)
		route(&req, container_calls, sizeof(container_calls) / sizeof(container_calls[0]));
	else
		blobs_reply_error(&req, 404, "ResourceNotFound",
				  "The specified resource does not exist.");
}

int blobs_create_container(struct emu *emu, const char *container, struct err *e)
{
	struct container made;
	sqlite3 *conn;
	int rc;

	if (!is_container_name(container))
		return err_set(e, -EINVAL, "%s is not a container's name", container);
	conn = db_begin(emu->db, e);
	if (!conn)
		return e && e->code ? e->code : -EIO;
	rc = blob_store_add_container(conn, container, &made, e);
	if (rc == 0)
		return db_commit(emu->db, e);
	db_rollback(emu->db);
	return rc == -EEXIST ? 0 : rc;
}

static int make_account_key(struct emu *emu, char *out, size_t size, struct err *e)
{
	sqlite3 *conn = db_begin(emu->db, e);
	int rc;

	if (!conn)
		return e && e->code ? e->code : -EIO;
	rc = blob_store_make_key(conn, e);
	if (rc == 0)
		rc = blob_store_key(conn, out, size, e);
	if (rc == 0)
		return db_commit(emu->db, e);
	db_rollback(emu->db);
	return rc;
}

int blobs_account_key(struct emu *emu, char *out, size_t size, struct err *e)
{
	sqlite3 *conn = db_reader(emu->db, e);
	int rc;

	if (!conn)
		return e && e->code ? e->code : -EIO;
	rc = blob_store_key(conn, out, size, e);
	db_release(emu->db, conn);
	return rc == -ENOENT ? make_account_key(emu, out, size, e) : rc;
}

/* name: "container" or "container/blob"; resource: which of these ("c", "b") */
static int make_sas(struct emu *emu, const char *name, const char *resource,
		    const char *permissions, int seconds, char *out, size_t size, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(size - 1);
	char key[BLOB_KEY_SIZE] = "", st[CLOCK_ISO_SIZE], se[CLOCK_ISO_SIZE], canonical[256];
	const struct sas sas = {.sv = SERVICE_VERSION,
				.sr = resource,
				.st = st,
				.se = se,
				.sp = permissions,
				.spr = "",
				.canonical = canonical};
	int64_t now = clock_wall();
	int rc = blobs_account_key(emu, key, sizeof(key), e);

	if (rc)
		return rc;
	sharedkey_sas_time(now - SAS_BACKDATE_S * NS_PER_S, st);
	sharedkey_sas_time(now + seconds * NS_PER_S, se);
	snprintf(canonical, sizeof(canonical), "/blob/" EMU_ACCOUNT "/%s", name);
	rc = sharedkey_add_sas(&text, &sas, key, e);
	explicit_bzero(key, sizeof(key));
	if (rc)
		return rc;
	memcpy(out, buf_str(&text), text.len + 1);
	return 0;
}

int blobs_make_sas(struct emu *emu, const char *container, const char *permissions, int seconds,
		   char *out, size_t size, struct err *e)
{
	return make_sas(emu, container, "c", permissions, seconds, out, size, e);
}

int blobs_make_blob_sas(struct emu *emu, const char *container, const char *blob, int seconds,
			char *out, size_t size, struct err *e)
{
	char name[160];

	if (snprintf(name, sizeof(name), "%s/%s", container, blob) >= (int)sizeof(name))
		return err_set(e, -ENAMETOOLONG, "the blob's name is too long");
	return make_sas(emu, name, "b", "r", seconds, out, size, e);
}
