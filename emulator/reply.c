#include "emulator/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "client/clock.h"
#include "emulator/entra_reply.h"
#include "emulator/jsonio.h"

#define LOCATION "local"

void reply_init(struct emu_reply *r)
{
	r->status = 200;
	r->body = (struct buf)BUF_INIT(EMU_BODY_MAX);
	snprintf(r->content_type, sizeof(r->content_type), "application/json; charset=utf-8");
	r->n_headers = 0;
	r->head_only = false;
	r->content_length = 0;
	r->requests_left = -1;
}

void reply_free(struct emu_reply *r)
{
	buf_free(&r->body);
}

int guid_new(char out[GUID_SIZE])
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return -EIO;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(out, GUID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
	return 0;
}

static const char *inner_code(int status)
{
	switch (status) {
	case 400:
		return "BadArgument";
	case 401:
	case 403:
		return "AuthorizationError";
	case 404:
		return "NotFoundError";
	case 409:
		return "ImmutableError";
	case 429:
		return "TooManyRequests";
	default:
		return status >= 500 ? "ServiceError" : "UserError";
	}
}

const char *reply_code(int status)
{
	switch (status) {
	case 401:
		return "InvalidAuthenticationToken";
	case 403:
		return "AuthorizationFailed";
	case 404:
		return "ResourceNotFound";
	case 429:
		return "TooManyRequests";
	case 500:
		return "InternalServerError";
	case 503:
		return "ServiceUnavailable";
	default:
		return status >= 500 ? "ServiceError" : "UserError";
	}
}

static void add_ids(struct buf *b)
{
	unsigned long long id[3] = {0};

	/* Correlation ids are for people to quote: zeros are better than no answer. */
	if (getrandom(id, sizeof(id), 0) < 0)
		id[0] = 0;
	buf_addf(b, "{\"operation\":\"%016llx%016llx\",\"request\":\"%016llx\"}", id[0], id[1],
		 id[2]);
}

static void add_arm_body(struct buf *b, int status, const char *code, const char *message)
{
	char now[CLOCK_ISO_SIZE];

	clock_format_iso(clock_wall(), now);
	buf_addstr(b, "{\"error\":{\"code\":");
	json_add_string(b, code);
	buf_addstr(b, ",\"message\":");
	json_add_string(b, message);
	buf_addstr(b, ",\"details\":[],\"additionalInfo\":["
		      "{\"type\":\"ComponentName\",\"info\":{\"value\":\"managementfrontend\"}},"
		      "{\"type\":\"Correlation\",\"info\":{\"value\":");
	add_ids(b);
	buf_addf(b,
		 "}},{\"type\":\"Environment\",\"info\":{\"value\":\"" LOCATION "\"}},"
		 "{\"type\":\"Location\",\"info\":{\"value\":\"" LOCATION "\"}},"
		 "{\"type\":\"Time\",\"info\":{\"value\":\"%s\"}},"
		 "{\"type\":\"InnerError\",\"info\":{\"value\":{\"code\":\"%s\","
		 "\"innerError\":null}}}]}}",
		 now, inner_code(status));
}

static void add_data_body(struct buf *b, int status, const char *code, const char *message)
{
	char now[CLOCK_ISO_SIZE];

	clock_format_iso(clock_wall(), now);
	buf_addstr(b, "{\"error\":{\"code\":");
	json_add_string(b, code);
	buf_addstr(b, ",\"severity\":null,\"message\":");
	json_add_string(b, message);
	buf_addf(b,
		 ",\"messageFormat\":null,\"messageParameters\":null,\"referenceCode\":null,"
		 "\"detailsUri\":null,\"target\":null,\"details\":[],"
		 "\"innerError\":{\"code\":\"%s\",\"innerError\":null},\"debugInfo\":null,"
		 "\"additionalInfo\":null},\"correlation\":",
		 inner_code(status));
	add_ids(b);
	buf_addf(b,
		 ",\"environment\":\"" LOCATION "\",\"location\":\"" LOCATION "\",\"time\":\"%s\","
		 "\"componentName\":\"managementfrontend\"}",
		 now);
}

void reply_error(struct emu_reply *r, enum reply_plane plane, int status, const char *code,
		 const char *fmt, ...)
{
	char message[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	buf_free(&r->body);
	reply_init(r);
	r->status = status;
	if (plane == REPLY_ARM)
		add_arm_body(&r->body, status, code, message);
	else if (plane == REPLY_ENTRA)
		entra_reply_error(&r->body, status, message);
	else
		add_data_body(&r->body, status, code, message);
}

void reply_failure(struct emu_reply *r, enum reply_plane plane, int error, const struct err *e)
{
	int status = error == -ENOSPC ? 507 : error == -EBUSY ? 503 : 500;

	reply_error(r, plane, status, reply_code(status), "%s", err_text(e, error));
}

/* Which bucket of the throttle a request draws from; without one, the number never goes down. */
static void add_rate_header(struct emu_reply *r, const char *method)
{
	const char *name = "x-ms-ratelimit-remaining-subscription-writes";
	long left = 1199;

	if (strcasecmp(method, "GET") == 0 || strcasecmp(method, "HEAD") == 0) {
		name = "x-ms-ratelimit-remaining-subscription-reads";
		left = 11999;
	} else if (strcasecmp(method, "DELETE") == 0) {
		name = "x-ms-ratelimit-remaining-subscription-deletes";
		left = 14999;
	}
	emu_reply_header(r, name, "%ld", r->requests_left < 0 ? left : r->requests_left);
}

void reply_headers(struct emu_reply *r, const char *method, double seconds)
{
	char id[GUID_SIZE], now[32] = "";
	time_t t = time(NULL);
	struct tm tm;

	emu_reply_header(r, "Cache-Control", "no-cache");
	emu_reply_header(r, "Pragma", "no-cache");
	emu_reply_header(r, "Expires", "-1");
	emu_reply_header(r, "Request-Context", "appId=cid-v1:mlenvfs");
	emu_reply_header(r, "X-Content-Type-Options", "nosniff");
	emu_reply_header(r, "x-aml-cluster", "mlenvfs-" LOCATION);
	emu_reply_header(r, "x-ms-response-type", r->status < 400 ? "standard" : "error");
	emu_reply_header(r, "x-request-time", "%.3f", seconds);
	add_rate_header(r, method);
	if (guid_new(id) || !gmtime_r(&t, &tm) ||
	    !strftime(now, sizeof(now), "%Y%m%dT%H%M%SZ", &tm))
		return;
	emu_reply_header(r, "x-ms-request-id", "%s", id);
	emu_reply_header(r, "x-ms-correlation-request-id", "%s", id);
	emu_reply_header(r, "x-ms-routing-request-id", "LOCAL:%s:%s", now, id);
}
